"""The script library: against closed forms, and against what must hold for all signals."""

from __future__ import annotations

import math
import sys
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.box import library as rtoc

from .storage_support import unhurried

EPOCH = 1.7e9
NUMBERS = st.floats(-1e6, 1e6)
SIGNALS = st.lists(NUMBERS, min_size=1, max_size=50).map(lambda y: (np.arange(float(len(y))), np.array(y)))


class LibraryTest(SynchronousTestCase):
    """Each function."""

    def assert_near(self, found: Any, wanted: Any, tolerance: float = 1e-9) -> None:
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)

    def test_fit_of_a_line(self) -> None:
        x, y, parameters = rtoc.lsfit([0, 1, 2, 3], [1, 3, 5, 7], n=3)
        self.assert_near(x, [0, 1.5, 3])
        self.assert_near(y, [1, 4, 7])
        self.assert_near(parameters, [1, 2])

    def test_fit_of_a_parabola_long_after_the_origin(self) -> None:
        t = np.linspace(0, 10, 50)
        _, y, parameters = rtoc.lsfit(EPOCH + t, 3 + t * t, "quad")
        self.assert_near(y, 3 + t * t, 1e-6)
        self.assertEqual(len(parameters), 3)

    def test_fit_minimises_the_squares(self) -> None:
        x, y = np.arange(5.0), np.array([0.0, 2, 1, 3, 2])
        _, fitted, _ = rtoc.lsfit(x, y)
        residual = y - fitted
        self.assert_near([residual.sum(), residual @ x], [0, 0])

    def test_fit_of_another_word(self) -> None:
        self.assertRaises(ValueError, rtoc.lsfit, [1], [1], "cubic")

    def test_without_scipy_it_is_said(self) -> None:
        with patch.dict(sys.modules, {"scipy": None, "scipy.optimize": None}):
            error = self.assertRaises(ImportError, rtoc.lsfit, [1, 2], [1, 2], lambda x, a: a * x, [1])
            self.assertIn("needs scipy", str(error))
            self.assertRaises(ImportError, rtoc.PT2_estimation, [1, 2, 3], [1, 2, 3], 2)

    def test_fit_of_a_function(self) -> None:
        x, y, parameters = rtoc.lsfit([1, 0, 2], [4, 1, 7], lambda x, a, b: a * x + b, [1, 1], 5)
        self.assert_near(x, [0, 0.5, 1, 1.5, 2])
        self.assert_near(y, 3 * x + 1, 1e-6)
        self.assert_near(parameters, [3, 1], 1e-6)

    def test_a_step_response_goes_on(self) -> None:
        k, t1, t2, t0 = 50, 30, 10, 20

        def response(t: Any) -> Any:
            return t0 + k * (1 - (t1 * np.exp(-t / t1) - t2 * np.exp(-t / t2)) / (t1 - t2))

        t = np.arange(0, 50, 1.0)
        x, y = rtoc.PT2_estimation(EPOCH + t, response(t), 200, k=40, t1=25, t2=12, t0=15)
        self.assert_near(x[:2], EPOCH + np.array([50, 51]))
        self.assert_near(y, response(x - EPOCH), 1e-3)
        # It rises from t0 by k.
        self.assert_near(y[-1], k + t0, 0.1)

    def test_resample(self) -> None:
        x, y = rtoc.resample([0, 2, 1], [0, 20, 10], 5)
        self.assert_near(x, [0, 0.5, 1, 1.5, 2])
        self.assert_near(y, [0, 5, 10, 15, 20])

    def test_the_first_argument_of_rtocs_own_functions(self) -> None:
        for owner in (None, object()):
            self.assert_near(rtoc.resample(owner, [0, 1], [0, 1], 3)[1], [0, 0.5, 1])
            self.assert_near(rtoc.lsfit(owner, [0, 1], [0, 1])[2], [0, 1])

    def test_fourier_resampling_of_a_periodic_signal(self) -> None:
        for count, wanted in ((8, 32), (9, 30), (32, 8), (31, 9), (8, 8), (10, 7)):
            x, y = np.arange(count) / count, 2 + np.sin(2 * np.pi * np.arange(count) / count)
            even, values = rtoc.resampleFourier(x, y, wanted)
            self.assert_near(even, np.arange(wanted) / wanted)
            self.assert_near(values, 2 + np.sin(2 * np.pi * even))

    def test_fourier_resampling_to_more_passes_through_the_samples(self) -> None:
        y = np.array([1.0, -3, 2, 5, 0, 1])
        self.assert_near(rtoc.resampleFourier(np.arange(6), y, 12)[1][::2], y)

    def test_combine(self) -> None:
        first, second = [[0, 1, 2], [0, 10, 20]], [[1, 3], [100, 300]]
        for signals in ([first, second], [*first, *second]):
            x, (a, b) = rtoc.combine(signals, 3)
            self.assert_near(x, [1, 1.5, 2])
            self.assert_near(a, [10, 15, 20])
            self.assert_near(b, [100, 150, 200])
        self.assertRaises(ValueError, rtoc.combine, [[[0, 1], [0, 1]], [[2, 3], [0, 1]]])
        self.assertRaises(ValueError, rtoc.combine, [])

    def test_running_mean(self) -> None:
        x, y = rtoc.runningMean(EPOCH + np.arange(5), [1, 2, 6, 1, 2], 3)
        self.assertEqual(x.tolist(), [EPOCH + 1, EPOCH + 2, EPOCH + 3])
        self.assert_near(y, [3, 3, 3])
        self.assertEqual(rtoc.runningMean([1], [1], 5)[1].tolist(), [])

    def test_mean(self) -> None:
        self.assertEqual(rtoc.mean([0, 1, 2], [1, 2, 6]), 3)
        self.assertEqual(rtoc.mean([0, 1, 2], [1, 2, 6], 2), 4)
        self.assertEqual(rtoc.mean([0, 1, 2], [1, 2, 6], 9), 3)
        self.assertTrue(math.isnan(rtoc.mean([], [])))

    def test_pid(self) -> None:
        x, y = [0, 0.5], [1, 3]
        self.assertEqual(rtoc.PID(x, y, 1, kp=2), 4)
        self.assertEqual(rtoc.PID(x, y, 1, kp=0, kd=3), 12)
        self.assertEqual(rtoc.PID(x, y, 1, kp=0, ki=2, initI=5), (12, 6))
        self.assertEqual(rtoc.PID([0], [3], 1, initI=5), (2, 5))

    def test_the_integral_is_that_of_the_error_whatever_the_step(self) -> None:
        for rate in (10, 1000):
            integral = 0.0
            for step in range(1, rate + 1):
                _, integral = rtoc.PID([(step - 1) / rate, step / rate], [3, 3], 1, ki=1, initI=integral)
            self.assert_near(integral, 2)

    def test_derivatives(self) -> None:
        self.assertEqual(rtoc.d([0, 1, 3], [9, 1, 5]), 2)
        self.assertEqual([rtoc.d([1, 1], [0, y]) for y in (-1, 0, 1)], [-math.inf, 0, math.inf])
        self.assertEqual(rtoc.d([1], [1]), 0)
        x, y = rtoc.diff([0, 1, 3], [0, 2, 1])
        self.assertEqual((x.tolist(), y.tolist()), ([0, 1], [2, -0.5]))
        self.assertEqual(rtoc.diff([1], [1])[0].tolist(), [])

    def test_norm(self) -> None:
        self.assert_near(rtoc.norm([0, 1, 2], [10, 15, 20], 1, -1)[1], [-1, 0, 1])
        self.assert_near(rtoc.norm([0, 1], [5, 5], 2, 1)[1], [1, 1])
        self.assert_near(rtoc.norm([0, 1], [5, 10], oldMin=0, oldMax=20)[1], [0.25, 0.5])

    @given(SIGNALS, NUMBERS, NUMBERS)
    @unhurried
    def test_norm_reaches_both_bounds(self, signal: Any, low: float, high: float) -> None:
        x, y = signal
        assume(y.max() - y.min() > 1e-3)
        _, normed = rtoc.norm(x, y, high, low)
        scale = 1e-9 * (abs(low) + abs(high) + 1)
        np.testing.assert_allclose([normed[y.argmin()], normed[y.argmax()]], [low, high], atol=scale)

    def test_an_estimate_goes_on_as_the_signal_did(self) -> None:
        t = np.arange(60.0)
        for wave in (2 * t + 1, np.sin(t / 3), 5 + 0 * t):
            x, y = rtoc.estimate(EPOCH + t[:50], wave[:50], 10)
            self.assert_near(x, EPOCH + t[50:])
            self.assert_near(y, wave[50:], 1e-5)
        self.assertRaises(ValueError, rtoc.estimate, [1, 2, 3], [1, 2, 3], 1)

    def test_correlation_finds_the_shift(self) -> None:
        x = np.arange(0, 20, 0.5)
        pulse = np.exp(-((x - 10) ** 2))
        for mode in ("full", "same"):
            shifts, values = rtoc.correlate(x, np.exp(-((x - 13) ** 2)), x, pulse, mode)
            self.assertEqual(len(shifts), len(values))
            self.assert_near(shifts[values.argmax()], 3)
        shifts, values = rtoc.correlate(x, pulse, x, pulse)
        self.assert_near([shifts, values], [[0], [pulse @ pulse]])

    def test_forward_euler(self) -> None:
        t, u = rtoc.forwardEuler([], [], lambda u, t: -u, 1, 1000, 1)
        self.assertEqual((len(t), t[-1]), (1001, 1))
        self.assert_near(u[-1], (1 - 1e-3) ** 1000)
        self.assert_near(rtoc.forwardEuler([], [], lambda u, t: t, 0, 10, 1)[1][-1], 0.45)

    def test_lengths_that_differ(self) -> None:
        self.assertRaises(ValueError, rtoc.mean, [1, 2], [1])
        self.assertRaises(ValueError, rtoc.resample, [], [])

    def test_signals_are_not_changed(self) -> None:
        x, y = np.array([0.0, 2, 1]), np.array([3.0, 1, 2])
        for function in (rtoc.lsfit, rtoc.resample, rtoc.resampleFourier, rtoc.norm, rtoc.diff):
            function(x, y)
        self.assertEqual((x.tolist(), y.tolist()), ([0, 2, 1], [3, 1, 2]))
