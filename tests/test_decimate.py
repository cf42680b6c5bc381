"""Fewer points: never too many, spikes among them, in order."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.model import Columns, FloatColumn
from rtoc_twisted.storage.decimate import decimate
from tests.process_support import environment
from tests.storage_support import floats, pairs, unhurried

NAN, INF = float("nan"), float("inf")
ODD = st.sampled_from([NAN, INF, -INF, 0.0, 5e-324, 1.0, 1e308, -1e308, 1e18, 1e18 + 128])
SAMPLES = st.lists(st.tuples(ODD | st.floats(), ODD | st.floats()), max_size=60)


def places(found: Columns, x: FloatColumn, y: FloatColumn) -> list[int]:
    """Return where each sample that was kept stood, the earliest place that keeps their order.

    Raises StopIteration if they are not among the samples in that order.
    """
    rest = ((place, x[place].tobytes() + y[place].tobytes()) for place in range(len(x)))
    kept = [found.x[index].tobytes() + found.y[index].tobytes() for index in range(len(found.x))]
    return [next(place for place, sample in rest if sample == one) for one in kept]


class DecimateTest(SynchronousTestCase):
    def check(self, x: FloatColumn, y: FloatColumn, max_points: int) -> Columns:
        """Check what always holds; return what was kept."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = decimate(Columns(x, y, 0.0, 1.0), max_points)
        self.assertLessEqual(len(places(found, x, y)), max_points)
        self.assertEqual(found.decimated, len(y) > max_points)
        self.assertEqual((found.x_min, found.x_max), (0.0, 1.0))
        finite = y[np.isfinite(y)]
        if max_points >= 2 and len(finite):
            self.assertIn(finite.min(), found.y)
            self.assertIn(finite.max(), found.y)
        if len(y) <= max_points:
            self.assertEqual(len(found.y), len(y))
        else:
            self.assertGreater(len(found.y), 0)
        return found

    @unhurried
    @given(SAMPLES, st.integers(1, 50), st.booleans())
    @example([(1e18 + 128 * n, float(n)) for n in range(60)], 40, False)
    @example([(0.0, 1.0)] * 9 + [(5e-324, 2.0)], 8, True)
    def test_any_samples(self, samples: list[tuple[float, float]], max_points: int, is_sorted: bool) -> None:
        x, y = floats([x for x, _ in samples]), floats([y for _, y in samples])
        self.check(np.sort(x) if is_sorted else x, y, max_points)

    def test_numbers_that_do_not_stand_at_whole_words(self) -> None:
        random = np.random.default_rng(5)
        for offset in range(1, 8):
            raw = bytes(offset) + random.normal(size=300).tobytes()
            x, y = np.sort(random.normal(size=300)), np.frombuffer(raw, np.float64, 300, offset)
            for max_points in (1, 2, 7, 8, 40):
                self.check(x, y, max_points)
                self.check(y, y[::-1], max_points)

    def test_the_first_time_imports_nothing(self) -> None:
        # The first call of some functions of numpy takes longer than all the rest of an answer.
        code = (
            "import sys, numpy as np\n"
            "from rtoc_twisted.model import Columns\n"
            "from rtoc_twisted.storage.decimate import decimate, warm_up\n"
            "warm_up()\n"
            "known, x = set(sys.modules), np.arange(1000.0)\n"
            "for max_points in (1, 7, 100):\n"
            "    for values in (x, -x):\n"
            "        decimate(Columns(values, x, 0.0, 1.0), max_points)\n"
            "print(sorted(set(sys.modules) - known), 'numpy.ma' in sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
        self.assertEqual((done.stdout, done.stderr), ("[] False\n", ""))

    def test_every_number_of_points(self) -> None:
        random = np.random.default_rng(7)
        y = random.normal(size=1000)
        gaps = y.copy()
        gaps[random.random(1000) < 0.9] = NAN
        axes = {
            "even": np.arange(1000.0),
            "uneven": np.sort(random.normal(size=1000)),
            "unsorted": random.normal(size=1000),
            "constant": np.zeros(1000),
            "in bursts": np.repeat(np.arange(10.0), 100),
            "closer than floats are": 1.7e18 + np.arange(1000.0),
            "exponential": np.exp(np.arange(1000) / 2),
            "with a gap": np.where(np.arange(1000) == 500, NAN, np.arange(1000.0)),
            "endless": np.append(np.arange(999.0), INF),
        }
        for name, x in axes.items():
            for max_points in (*range(1, 51), 100, 500, 999, 1000, 2000):
                with self.subTest(axis=name, max_points=max_points):
                    self.check(x, y, max_points)
                    self.check(x, gaps, max_points)

    def test_few_samples(self) -> None:
        for count in range(4):
            for max_points in range(1, 5):
                self.check(np.arange(float(count)), np.arange(float(count)), max_points)

    def test_the_only_number_among_gaps_is_kept(self) -> None:
        y = np.full(100, NAN)
        y[70] = 5.0
        self.assertEqual(pairs(self.check(np.arange(100.0), y, 10)), [(70.0, 5.0)])

    def test_only_gaps(self) -> None:
        found = self.check(np.arange(100.0), np.full(100, NAN), 10)
        np.testing.assert_array_equal(found.x, np.arange(90.0, 100.0))

    def test_one_point_is_the_newest(self) -> None:
        self.assertEqual(pairs(self.check(np.arange(9.0), np.arange(9.0), 1)), [(8.0, 8.0)])

    def test_all_points_are_made_use_of(self) -> None:
        random = np.random.default_rng(7)
        found = self.check(np.arange(10_000.0), random.normal(size=10_000), 400)
        self.assertGreater(len(found.x), 350)

    def test_stretches_are_equal_in_x(self) -> None:
        # Half of the time is told by a hundredth of the samples: it keeps half of the points.
        x = np.concatenate([np.linspace(0.0, 1.0, 9_900), np.linspace(1.0, 2.0, 100)])
        found = self.check(x, np.random.default_rng(7).normal(size=10_000), 100)
        self.assertGreater(np.count_nonzero(found.x > 1.0), 40)
