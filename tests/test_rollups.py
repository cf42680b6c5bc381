"""Rollups: exact, small, and together the sums of the whole."""

from __future__ import annotations

from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import StorageFailed
from rtoc_twisted.model import SignalName, Window
from rtoc_twisted.storage.aggregate import EMPTY, Partials, merge, partials
from rtoc_twisted.storage.rollups import WIDTHS, draw, pack_rollup, unpack_rollup
from tests.storage_support import Bench, floats, unhurried

WIDTH = 10.0
X = st.one_of(st.integers(-50, 300), st.floats(-1e6, 1e6), st.just(float("nan")), st.just(float("inf")))
Y = st.one_of(st.integers(-100, 100), st.floats(-1e9, 1e9), st.just(float("nan")))
SAMPLES = st.lists(st.tuples(X, Y), max_size=60)


def columns(samples: list[tuple[float, float]]) -> tuple[Any, Any]:
    return floats([x for x, _ in samples]), floats([y for _, y in samples])


def assert_same_sums(found: Partials, expected: Partials) -> None:
    """Compare sums; those of several numbers may differ in their last digits, by the order of adding."""
    for name in ("start", "count", "minimum", "maximum", "first_x", "first", "last_x", "last"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    scale = np.maximum(np.abs(expected.minimum), np.abs(expected.maximum)) * expected.count
    np.testing.assert_array_less(np.abs(found.total - expected.total), scale * 1e-12 + 1e-300)
    np.testing.assert_array_less(np.abs(found.m2 - expected.m2), scale * scale * 1e-12 + 1e-300)


class RollupTest(SynchronousTestCase):
    @unhurried
    @given(SAMPLES)
    def test_packing_is_exact(self, samples: list[tuple[float, float]]) -> None:
        sums = partials(*columns(samples), WIDTH)
        found = unpack_rollup(pack_rollup(sums))
        for column, expected in zip(found.columns(), sums.columns(), strict=True):
            self.assertEqual(column.tobytes(), expected.tobytes())

    @unhurried
    @given(st.lists(SAMPLES, max_size=4))
    def test_rollups_of_parts_make_the_sums_of_the_whole(self, parts: list[Any]) -> None:
        kept = [unpack_rollup(pack_rollup(partials(*columns(part), WIDTH))) for part in parts]
        whole = partials(*columns([sample for part in parts for sample in part]), WIDTH)
        assert_same_sums(merge(kept), whole)

    def test_nothing(self) -> None:
        self.assertEqual([len(column) for column in unpack_rollup(pack_rollup(EMPTY)).columns()], [0] * 10)

    def test_damage_is_found(self) -> None:
        data = pack_rollup(partials(floats([1, 2, 30]), floats([1, 2, 3]), WIDTH))
        for place in range(len(data)):
            damaged = bytearray(data)
            damaged[place] ^= 4
            self.assertRaises(StorageFailed, unpack_rollup, bytes(damaged))
        self.assertRaises(StorageFailed, unpack_rollup, data[:10])
        self.assertRaises(StorageFailed, unpack_rollup, b"")

    def test_what_has_too_many_buckets_is_not_drawn(self) -> None:
        x = np.arange(100.0)
        widths = [width for width, _ in draw(x, x, (1.0, 3.9, 4.0, 50.0, 1000.0))]
        self.assertEqual(widths, [4.0, 50.0, 1000.0])
        self.assertEqual([width for width, _ in draw(x[:3], x[:3], (1.0,))], [1.0])
        self.assertEqual(draw(x[:5], x[:5], (1.0,)), [])

    def test_four_bytes_a_sample_together(self) -> None:
        """Data, outline and rollups of a sensor with two decimals, one value a second."""
        rng = np.random.default_rng(7)
        bench = Bench(Path(self.mktemp()))
        self.addCleanup(bench.close)
        bench.storage.add_signals([SignalName("Lab", "warm"), SignalName("Lab", "noise")])
        count = 3 * 16_384
        x = 1.7e9 + np.arange(count)
        warm = np.round(20 + np.cumsum(rng.normal(size=count)) * 0.05, 2)
        noise = np.round(20 + rng.normal(size=count), 2)
        for number, y in ((1, warm), (2, noise)):
            bench.storage.append([number] * count, x.tolist(), y.tolist())
        bench.pump()
        bench.database.fold()
        while bench.database.pack_step() or bench.database.draw_step():
            pass
        self.assertEqual(bench.sql("SELECT DISTINCT packed FROM chunks"), [(1,)])
        self.assertEqual(bench.sql("SELECT COUNT(*) FROM rollups"), [(len(WIDTHS) * 6,)])
        for number in (1, 2):
            ((size, samples),) = bench.sql(
                "SELECT SUM(length(c.data) + (SELECT length(data) FROM outlines WHERE chunk_id = c.id)"
                " + (SELECT SUM(length(data)) FROM rollups WHERE chunk_id = c.id)), SUM(samples)"
                " FROM chunks c WHERE signal_id = ?",
                number,
            )
            self.assertEqual(samples, count)
            self.assertLessEqual(size / samples, 4.0)
        (found,) = bench.result(bench.storage.read([(1, Window())]))
        np.testing.assert_array_equal(found.y, warm)

    def test_partials_are_told_apart(self) -> None:
        """The comparison above sees a difference in each column."""
        sums = partials(floats([1, 2, 30]), floats([1, 2, 3]), WIDTH)
        for place in range(10):
            other = [column.copy() for column in astuple(sums)]
            other[place][0] += 1
            self.assertRaises(AssertionError, assert_same_sums, Partials(*other), sums)
