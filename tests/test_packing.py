"""Columns come out of packing as they went in, and small where sensors made them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.storage.packing import pack, unpack
from tests.test_blobs import floats, unhurried

COUNT = 4096
T0 = 1_795_359_300.0


class PackingTest(SynchronousTestCase):
    def assert_returns(self, column: np.ndarray) -> None:
        found = unpack(pack(column))
        self.assertEqual(found.dtype, np.float64)
        self.assertEqual(found.tobytes(), column.tobytes())

    @unhurried
    @given(arrays.arrays(np.float64, st.integers(0, 40), elements=st.floats(width=64)))
    def test_any_floats(self, column: np.ndarray) -> None:
        self.assert_returns(column)

    @unhurried
    @given(st.lists(st.integers(-(10**14), 10**14), max_size=200), st.integers(0, 9))
    def test_decimals(self, numbers: list[int], decimals: int) -> None:
        self.assert_returns(floats([number / 10**decimals for number in numbers]))

    @unhurried
    @given(arrays.arrays(np.int64, st.integers(0, 40)))
    def test_any_bits(self, bits: np.ndarray) -> None:
        self.assert_returns(bits.view(np.float64))

    def test_extremes(self) -> None:
        extremes = [np.inf, -np.inf, np.nan, -0.0, 0.0, 5e-324, 1.7e308, -1.7e308, 2.0**53, -(2.0**53)]
        self.assert_returns(floats(extremes))
        for value in extremes:
            self.assert_returns(floats([value]))
            self.assert_returns(floats([value, 1.25] * 100))

    def test_late_decimals(self) -> None:
        """Values that are decimals at first, and none later."""
        self.assert_returns(floats([1.5] * 200 + [np.pi]))
        self.assert_returns(floats([1.5] * 200 + [1.125] * 200))

    def size(self, column: np.ndarray) -> float:
        self.assert_returns(column)
        return len(pack(column)) / len(column)

    def test_a_slow_sensor_costs_less_than_four_bytes_a_sample(self) -> None:
        random = np.random.default_rng(1)
        seconds = T0 + np.arange(COUNT)
        clock = seconds + random.normal(0, 0.001, COUNT)
        walk = np.round(20 + np.cumsum(random.normal(0, 0.05, COUNT)), 2)
        noise = np.round(random.normal(20, 1, COUNT), 2)
        self.assertLess(self.size(seconds), 0.1)
        self.assertLess(self.size(walk), 1)
        self.assertLess(self.size(clock) + self.size(noise), 4)

    def test_noise_costs_no_more_than_it_is(self) -> None:
        self.assertLess(self.size(np.random.default_rng(2).normal(size=COUNT)), 8.1)
