"""Sums by buckets: of parts as of the whole, in whatever order the parts come."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.storage.aggregate import COLUMNS, EMPTY, Partials, coarsen, merge, partials
from tests.storage_support import floats, unhurried

SAMPLES = st.lists(
    st.tuples(
        st.floats(-1000, 1000) | st.sampled_from([0.0, 60.0, -60.0, float("nan"), float("inf")]),
        st.floats(-1e6, 1e6) | st.just(float("nan")),
    ),
    max_size=60,
)


def columns(samples: list[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    return floats([x for x, _ in samples]), floats([y for _, y in samples])


def slowly(samples: list[tuple[float, float]], width: float) -> dict[float, list[tuple[float, float]]]:
    buckets: dict[float, list[tuple[float, float]]] = {}
    for x, y in samples:
        if np.isfinite(x) and not np.isnan(y):
            buckets.setdefault(float(np.floor(x / width) * width), []).append((x, y))
    return buckets


class AggregateTest(SynchronousTestCase):
    def same(self, found: Partials, expected: Partials) -> None:
        for name in COLUMNS:
            np.testing.assert_allclose(
                getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-3, err_msg=name
            )

    @given(SAMPLES, st.sampled_from([0.5, 7.0, 60.0]))
    @unhurried
    def test_each_bucket_is_summed_up(self, samples: list[tuple[float, float]], width: float) -> None:
        found = partials(*columns(samples), width)
        buckets = slowly(samples, width)
        self.assertEqual(found.start.tolist(), sorted(buckets))
        for row, start in enumerate(found.start.tolist()):
            values = buckets[start]
            y = floats([value for _, value in values])
            self.assertEqual(found.count[row], len(y))
            self.assertEqual((found.minimum[row], found.maximum[row]), (y.min(), y.max()))
            np.testing.assert_allclose(found.total[row], y.sum(), rtol=1e-9, atol=1e-6)
            np.testing.assert_allclose(found.m2[row], ((y - y.mean()) ** 2).sum(), rtol=1e-6, atol=1e-3)
            first = min(values, key=lambda value: value[0])
            last = max(reversed(values), key=lambda value: value[0])
            self.assertEqual((found.first_x[row], found.first[row]), first)
            self.assertEqual((found.last_x[row], found.last[row]), last)

    @given(SAMPLES, st.integers(1, 59), st.integers(1, 59))
    @unhurried
    def test_parts_merge_to_the_whole(self, samples: list[tuple[float, float]], one: int, other: int) -> None:
        cuts = [0, *sorted((one, other)), len(samples)]
        parts = [
            partials(*columns(samples[start:stop]), 60.0) for start, stop in zip(cuts, cuts[1:], strict=False)
        ]
        self.same(merge(parts), partials(*columns(samples), 60.0))

    @given(SAMPLES)
    @unhurried
    def test_wider_buckets_come_from_narrow_ones(self, samples: list[tuple[float, float]]) -> None:
        self.same(coarsen(partials(*columns(samples), 60.0), 3600.0), partials(*columns(samples), 3600.0))

    def test_an_origin_shifts_the_buckets(self) -> None:
        found = partials(floats([9.0, 10.0, 19.0, 20.0]), floats([1, 2, 3, 4]), 10.0, origin=5.0)
        self.assertEqual(found.start.tolist(), [5.0, 15.0])
        self.assertEqual(found.total.tolist(), [3.0, 7.0])

    def test_a_large_mean_hides_no_deviation(self) -> None:
        y = floats([1e9, 1e9 + 1, 1e9 + 2, 1e9 + 3])
        parts = [partials(floats([0, 1]), y[:2], 60.0), partials(floats([2, 3]), y[2:], 60.0)]
        self.assertEqual(merge(parts).m2.tolist(), [5.0])

    def test_nothing_sums_up_to_nothing(self) -> None:
        self.same(merge([]), EMPTY)
        self.same(partials(floats([]), floats([]), 60.0), EMPTY)
        self.same(partials(floats([float("nan")]), floats([1.0]), 60.0), EMPTY)
