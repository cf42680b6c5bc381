"""Pages, sums and damage in the SQLite store: what is read of chunks, outlines, rollups and the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import BadValue, Damaged, StorageFailed, TooLarge
from rtoc_twisted.model import Buckets, Columns, Cursor, FloatColumn, Page, SignalName, Sums, Window
from rtoc_twisted.storage import chunks
from rtoc_twisted.storage.select import Run, clip
from tests.storage_support import Bench, floats, pairs, unhurried

A, B = SignalName("one", "a"), SignalName("one", "b")
CHUNK = 5_000
SAMPLES = 3 * CHUNK
REST = 500
"""Samples in a chunk too small to be packed, and as many in the journal."""


class StoredCase(SynchronousTestCase):
    """A signal of three packed chunks, a small one, and some of it in the journal; one sample a second."""

    def setUp(self) -> None:
        self.patch(chunks, "CHUNK_SAMPLES", CHUNK)
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(self.bench.close)
        self.bench.storage.add_signals([A, B])
        self.x = np.arange(SAMPLES + 2 * REST, dtype=float)
        self.y = np.random.default_rng(4).normal(size=len(self.x)).round(3)
        for start in (*range(0, SAMPLES, CHUNK), SAMPLES):
            self.append(slice(start, min(start + CHUNK, SAMPLES + REST)))
            self.bench.database.fold()
        self.pack()
        self.append(slice(SAMPLES + REST, None))
        self.numbers = [number for (number,) in self.bench.sql("SELECT id FROM chunks ORDER BY id")]

    def append(self, part: slice) -> None:
        self.bench.storage.append([1] * len(self.x[part]), self.x[part].tolist(), self.y[part].tolist())
        self.bench.pump()

    def pack(self) -> None:
        with self.bench.database.transaction():
            while self.bench.database.chunks.pack_one() or self.bench.database.chunks.draw_one():
                pass

    def retire(self, *indices: int) -> None:
        with self.bench.database.transaction():
            for index in indices:
                self.bench.database.chunks.retire(self.numbers[index])

    def spoil(self, *indices: int) -> None:
        for index in indices:
            self.bench.sql("UPDATE chunks SET data = x'00' WHERE id = ?", self.numbers[index])

    def read(self, **window: Any) -> Columns:
        (columns,) = self.bench.result(self.bench.storage.read([(1, Window(**window))]))
        return columns

    def page(self, after: Cursor | None, limit: int, **window: Any) -> Columns:
        return self.read(page=Page(after, limit), **window)

    def pages(self, limit: int, **window: Any) -> list[Columns]:
        """Return all pages, one after the other."""
        found = [self.page(None, limit, **window)]
        while found[-1].more:
            found.append(self.page(found[-1].cursor, limit, **window))
        return found

    def sums(self, width: float, origin: float = 0.0, **window: Any) -> Sums:
        request = (1, Window(**window), Buckets(width, origin))
        (sums,) = self.bench.result(self.bench.storage.aggregate([request]))
        return sums


class PageTest(StoredCase):
    def test_pages_are_the_whole(self) -> None:
        self.assertEqual(len(self.numbers), 4)
        for limit in (777, CHUNK, 8 * CHUNK):
            found = self.pages(limit)
            self.assertEqual([len(page.x) for page in found[:-1]], [limit] * (len(found) - 1))
            np.testing.assert_array_equal(np.concatenate([page.y for page in found]), self.y)
            self.assertEqual({page.left_out for page in found}, {0})

    def test_a_page_reads_its_chunks_alone(self) -> None:
        second = self.page(self.page(None, CHUNK).cursor, 10)
        self.spoil(0, 2, 3)
        again = self.page(second.cursor, CHUNK - 10)
        np.testing.assert_array_equal(again.x, self.x[CHUNK + 10 : 2 * CHUNK])
        newest = self.page(again.cursor._replace(ordinal=SAMPLES + REST), 99)
        np.testing.assert_array_equal(newest.x, self.x[-REST:][:99])
        self.assertRaises(StorageFailed, self.page, again.cursor, 1)

    def test_a_cursor_outlives_folding_and_restarts(self) -> None:
        kept = self.page(None, SAMPLES + 10).cursor
        self.bench.database.fold()
        self.bench.reopen()
        np.testing.assert_array_equal(self.page(kept, 10 * CHUNK).x, self.x[SAMPLES + 10 :])

    def test_retired_chunks_give_what_is_left_of_them(self) -> None:
        self.retire(0, 1)
        found = self.pages(1000)
        self.assertEqual([page.cursor.ordinal for page in found], [*range(1000, 16_000, 1000), 16_000])
        early = found[:10]
        self.assertEqual({len(page.x) + page.left_out for page in early}, {1000})
        counts = [len(page.x) for page in early]
        self.assertLessEqual(max(counts) - min(counts), 2)
        x = np.concatenate([page.x for page in early])
        np.testing.assert_array_equal(np.concatenate([page.y for page in early]), self.y[x.astype(int)])
        self.assertIn(self.y[: 2 * CHUNK].max(), np.concatenate([page.y for page in early]))
        np.testing.assert_array_equal(found[10].x, self.x[10_000:11_000])

    def test_samples_that_were_dropped_keep_their_ordinals(self) -> None:
        kept, gone = self.page(None, 2 * CHUNK).cursor, self.page(None, 10).cursor
        with self.bench.database.transaction():
            self.bench.database.chunks.drop(1, self.numbers[:1])
        self.assertEqual(self.page(kept, 3).x.tolist(), [10_000.0, 10_001.0, 10_002.0])
        for begin in (gone, None):
            page = self.page(begin, 3)
            self.assertEqual((page.x.tolist(), page.cursor.ordinal), ([5000.0, 5001.0, 5002.0], CHUNK + 3))
        self.assertEqual(len(self.read(newest=7).x), 7)
        self.assertEqual(len(self.read(newest=10**6).x), len(self.x) - CHUNK)

    def test_newest_across_chunks_and_journal(self) -> None:
        for newest in (REST - 1, REST + 1, 2 * REST + 1, SAMPLES):
            np.testing.assert_array_equal(self.read(newest=newest).x, self.x[-newest:])

    def test_a_damaged_journal_ends_all_cursors(self) -> None:
        kept = self.page(None, 10).cursor
        self.bench.sql("UPDATE journal SET data = x'00'")
        # Like a crash: nothing is folded at the end.
        self.patch(self.bench.database, "fold", lambda: None)
        self.bench.reopen()
        self.assertRaises(BadValue, self.page, kept, 10)
        self.assertEqual(len(self.page(None, 10**6).x), SAMPLES + REST)


class DecimatedTest(StoredCase):
    """Whoever gets fewer samples than there were is told how many there were."""

    def test_of_raw_samples(self) -> None:
        for window, count in ((self.window(), 16_000), (self.window(x_min=99.0, x_max=8_000.0), 7_901)):
            found = self.read(max_points=1000, **window)
            self.assertTrue(found.decimated)
            self.assertEqual(len(found.x) + found.left_out, count)

    def test_of_outlines(self) -> None:
        found = self.read(max_points=50, x_min=99.0)
        self.assertEqual(len(found.x) + found.left_out, 15_900)
        self.spoil(1, 2)
        again = self.read(max_points=50, x_min=99.0)
        np.testing.assert_array_equal(found.x, again.x)

    def test_of_retired_chunks(self) -> None:
        self.retire(0, 1)
        found = self.read()
        self.assertEqual(len(found.x) + found.left_out, 16_000)
        self.assertGreater(found.left_out, 9_000)
        inside = self.read(x_min=2_499.5, x_max=20_000.0)
        self.assertLess(abs(len(inside.x) + inside.left_out - 13_500), CHUNK // 100)
        self.assertEqual(self.read(x_min=2.0 * CHUNK - 1).left_out, 0)
        self.assertFalse(self.read(newest=REST).decimated)

    def window(self, **bounds: float) -> dict[str, float]:
        return bounds

    def test_outlines_that_are_damaged_are_not_needed(self) -> None:
        expected = self.read(max_points=50)
        self.bench.sql("UPDATE outlines SET data = x'00'")
        found = self.read(max_points=50)
        self.assertEqual((found.y.min(), found.y.max()), (self.y.min(), self.y.max()))
        self.assertEqual(len(found.x) + found.left_out, len(expected.x) + expected.left_out)


class DamageTest(StoredCase):
    def test_others_and_what_is_left_are_read(self) -> None:
        self.bench.storage.append([2], [1.0], [2.0])
        self.spoil(1)
        whole = (Window(partly=True), Window(max_points=1000, partly=True), Window(x_min=0.0, partly=True))
        found = self.bench.result(self.bench.storage.read([(2, Window()), *((1, one) for one in whole)]))
        self.assertEqual((pairs(found[0]), found[0].error), ([(1.0, 2.0)], None))
        rest = np.delete(self.x, slice(CHUNK, 2 * CHUNK))
        np.testing.assert_array_equal(found[1].x, rest)
        np.testing.assert_array_equal(found[3].x, rest[1:])
        for columns in found[1:]:
            self.assertIsInstance(columns.error, Damaged)
            self.assertIn("5000 samples are damaged", columns.error.message)
            self.assertEqual((columns.x_min, columns.x_max), (0.0, self.x[-1]))

    def test_who_wants_all_or_nothing_gets_nothing(self) -> None:
        self.spoil(1)
        self.assertRaises(Damaged, self.read)
        self.assertRaises(Damaged, self.read, page=Page(None, CHUNK + 1))
        self.assertRaises(Damaged, self.sums, 7.0)
        np.testing.assert_array_equal(self.read(x_max=99.0).x, self.x[:100])

    def test_pages_go_past_it(self) -> None:
        self.spoil(1)
        found = self.pages(2000, partly=True)
        self.assertEqual([page.error is not None for page in found], [False] * 2 + [True] * 3 + [False] * 3)
        x = np.concatenate([page.x for page in found])
        np.testing.assert_array_equal(x, np.delete(self.x, slice(CHUNK, 2 * CHUNK)))

    def test_sums_of_what_is_left(self) -> None:
        self.spoil(1)
        found = self.sums(7.0, partly=True)
        self.assertIsInstance(found.error, Damaged)
        self.assertEqual(found.count.sum(), len(self.x) - CHUNK)


class SumsTest(StoredCase):
    def expected(self, width: float, origin: float = 0.0, low: float = -1.0) -> dict[str, FloatColumn]:
        """Return sums made by numpy, of what is above `low`."""
        x, y = self.x[self.x > low], self.y[self.x > low]
        bucket = np.floor((x - origin) / width)
        parts = [y[bucket == one] for one in np.unique(bucket)]
        functions = {
            "minimum": np.min,
            "maximum": np.max,
            "mean": np.mean,
            "total": np.sum,
            "deviation": np.std,
        }
        return {
            "start": np.unique(bucket) * width + origin,
            "count": floats([len(part) for part in parts]),
            "first": floats([part[0] for part in parts]),
            "last": floats([part[-1] for part in parts]),
            **{name: floats([function(part) for part in parts]) for name, function in functions.items()},
        }

    def check(self, found: Sums, expected: dict[str, FloatColumn]) -> None:
        self.assertIsNone(found.error)
        for column, values in expected.items():
            np.testing.assert_allclose(getattr(found, column), values, atol=1e-9, err_msg=column)

    def test_any_width(self) -> None:
        for width, origin in ((60.0, 0.0), (3600.0, 0.0), (120.0, 60.0), (7.0, 0.0), (60.0, 1.0), (1e6, 0.0)):
            for low in (-1.0, 30.0, 7_000.0):
                with self.subTest(width=width, origin=origin, low=low):
                    self.check(self.sums(width, origin, x_min=low), self.expected(width, origin, low))

    def test_rollups_suffice(self) -> None:
        self.assertEqual(
            self.bench.sql("SELECT DISTINCT width FROM rollups ORDER BY width"),
            [(60.0,), (3600.0,), (86400.0,)],
        )
        self.spoil(0, 1, 2)
        for width, origin in ((60.0, 0.0), (180.0, 60.0), (7200.0, 0.0), (86400.0, -86400.0)):
            self.check(self.sums(width, origin), self.expected(width, origin))

    def test_a_rollup_that_is_damaged_is_not_needed(self) -> None:
        self.bench.sql("UPDATE rollups SET data = x'00' WHERE width = 3600")
        self.check(self.sums(3600.0), self.expected(3600.0))
        self.bench.sql("UPDATE rollups SET data = x'00'")
        self.check(self.sums(3600.0), self.expected(3600.0))
        self.retire(0)
        self.bench.sql("UPDATE rollups SET data = x'00'")
        self.assertEqual(self.sums(3600.0, partly=True).count.sum(), len(self.x) - CHUNK)
        self.assertRaises(Damaged, self.sums, 3600.0)

    def test_of_retired_chunks(self) -> None:
        self.retire(0, 1)
        for width, origin in ((60.0, 0.0), (180.0, 60.0), (7200.0, 0.0)):
            self.check(self.sums(width, origin), self.expected(width, origin))
        for width, origin in ((90.0, 0.0), (60.0, 1.0), (59.0, 0.0)):
            with self.assertRaisesRegex(BadValue, "multiple of one of 60, 3600, 86400"):
                self.sums(width, origin)
        self.check(self.sums(90.0, x_min=2.0 * CHUNK - 1), self.expected(90.0, low=2.0 * CHUNK - 1))

    def test_whole_buckets_count_where_single_samples_are_gone(self) -> None:
        self.retire(0)
        found = self.sums(60.0, x_min=90.0, x_max=150.0)
        self.assertEqual((found.start.tolist(), found.count.tolist()), ([60.0, 120.0], [60.0, 60.0]))
        edge = self.sums(60.0, x_min=120.0, x_max=179.0)
        self.assertEqual((edge.start.tolist(), edge.count.tolist()), ([120.0], [60.0]))

    def test_a_bound_at_the_edge_of_a_chunk(self) -> None:
        for low, high, count in ((CHUNK, 2 * CHUNK - 1, CHUNK - 1), (CHUNK - 1, 2 * CHUNK - 2, CHUNK - 1)):
            found = self.sums(3600.0, x_min=float(low), x_max=float(high))
            self.assertEqual(found.count.sum(), count)

    def test_late_samples_are_in_it(self) -> None:
        self.bench.storage.append([1] * 2, [30.5, 30.25], [1000.0, -1000.0])
        found = self.sums(60.0)
        self.assertEqual((found.count[0], found.maximum[0], found.minimum[0]), (62.0, 1000.0, -1000.0))


class SparseTest(SynchronousTestCase):
    """A signal with fewer samples than any width of rollups has buckets, retired but for the newest."""

    DAY = 86400.0

    def setUp(self) -> None:
        self.patch(chunks, "CHUNK_SAMPLES", 1000)
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(self.bench.close)
        storage = self.bench.storage
        storage.add_signals([A])
        self.x = np.arange(2000) * self.DAY
        storage.append([1] * 2000, self.x.tolist(), np.sin(self.x).tolist())
        self.bench.pump()
        self.bench.database.fold()
        with self.bench.database.transaction():
            self.bench.database.chunks.retire(1)

    def sums(self, **window: Any) -> Sums:
        request = (1, Window(**window), Buckets(90.0))
        (found,) = self.bench.result(self.bench.storage.aggregate([request]))
        return found

    def test_sums_of_what_is_left(self) -> None:
        self.assertEqual(self.bench.sql("SELECT packed FROM chunks ORDER BY id"), [(2,), (0,)])
        self.assertEqual(self.bench.sql("SELECT * FROM rollups"), [])
        found = self.sums()
        left = int(found.count.sum()) - 1000
        self.assertEqual((left > 10, found.left_out, found.error), (True, 1000 - left, None))
        (columns,) = self.bench.result(self.bench.storage.read([(1, Window())]))
        np.testing.assert_array_equal(found.first, columns.y)
        self.assertEqual(self.sums(x_min=999 * self.DAY).left_out, 0)
        half = self.sums(x_max=499 * self.DAY)
        self.assertLess(abs(half.count.sum() + half.left_out - 500), 64)

    def test_what_is_left_may_be_damaged(self) -> None:
        self.bench.sql("UPDATE chunks SET data = x'00' WHERE id = 1")
        found = self.sums(partly=True)
        self.assertIsInstance(found.error, Damaged)
        self.assertEqual((found.count.sum(), found.left_out), (1000, 1000))


class LimitTest(StoredCase):
    def read_all(self, limit: int, *windows: Window) -> list[Columns]:
        found: list[Columns] = self.bench.result(
            self.bench.storage.read([(1, window) for window in windows], limit)
        )
        return found

    def test_what_is_certain_is_refused_unread(self) -> None:
        self.spoil(0, 1, 2)
        window = Window(x_min=10.0, x_max=2.0 * CHUNK)
        self.assertRaises(TooLarge, self.read_all, CHUNK - 1, window)
        self.assertRaises(Damaged, self.read_all, CHUNK, window)

    def test_edges(self) -> None:
        window = Window(x_min=CHUNK / 2, x_max=2.5 * CHUNK)
        (found,) = self.read_all(2 * CHUNK, window)
        self.assertEqual(len(found.x), 2 * CHUNK)
        self.assertRaises(TooLarge, self.read_all, 2 * CHUNK - 1, window)
        newest = Window(x_min=SAMPLES - 10.0)
        self.assertRaises(TooLarge, self.read_all, 9 + 2 * REST - 1, newest)
        self.assertEqual(len(self.read_all(9 + 2 * REST, newest)[0].x), 9 + 2 * REST)

    def test_of_all_together(self) -> None:
        window = Window(x_max=99.0)
        self.assertEqual([len(found.x) for found in self.read_all(200, window, window)], [100, 100])
        self.assertRaises(TooLarge, self.read_all, 199, window, window)

    def test_retired_samples_count_as_far_as_they_are_left(self) -> None:
        self.retire(0, 1, 2)
        (found,) = self.read_all(CHUNK, Window(x_min=-1.0))
        self.assertGreater(found.left_out, 2 * CHUNK)

    def test_few_of_many_are_no_reason(self) -> None:
        (found,) = self.read_all(50, Window(max_points=50))
        self.assertLessEqual(len(found.x), 50)


class NumpyTest(SynchronousTestCase):
    """Sums of any samples, in chunks of any size, against numpy."""

    NUMBER = st.floats(-100.0, 100.0) | st.just(float("nan"))

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(self.bench.close)

    @unhurried
    @given(
        st.lists(st.tuples(NUMBER, NUMBER), max_size=40),
        st.integers(1, 9),
        st.sampled_from([1.0, 2.5, 64.0]),
        st.none() | st.floats(-100.0, 100.0),
    )
    @example([(1.0, 2.0), (1.0, 3.0), (0.0, 4.0)], 1, 64.0, None)
    def test_any_samples(
        self, samples: list[tuple[float, float]], chunk: int, width: float, x_max: float | None
    ) -> None:
        self.patch(chunks, "CHUNK_SAMPLES", chunk)
        storage = self.bench.storage
        self.bench.result(storage.clear())
        storage.add_signals([A])
        for x, y in samples:
            storage.append([1], [x], [y])
        self.bench.pump()
        self.bench.database.fold()
        (found,) = self.bench.result(storage.aggregate([(1, Window(x_max=x_max), Buckets(width))]))
        kept = [(x, y) for x, y in samples if x == x and y == y and (x_max is None or x <= x_max)]
        starts = sorted({float(np.floor(x / width) * width) for x, _ in kept})
        self.assertEqual(found.start.tolist(), starts)
        for index, start in enumerate(starts):
            part = [(x, y) for x, y in kept if np.floor(x / width) * width == start]
            y = [y for _, y in part]
            self.assertEqual((found.count[index], found.minimum[index], found.maximum[index]),
                             (len(y), min(y), max(y)))  # fmt: skip
            self.assertEqual(found.first[index], min(part, key=lambda sample: sample[0])[1])
            self.assertEqual(found.last[index], max(reversed(part), key=lambda sample: sample[0])[1])
            told = (found.mean[index], found.total[index], found.deviation[index])
            np.testing.assert_allclose(told, (np.mean(y), np.sum(y), np.std(y)), atol=1e-9)


class RunTest(SynchronousTestCase):
    @unhurried
    @given(
        st.lists(st.tuples(st.integers(0, 9), st.integers(0, 40)), max_size=5),
        st.integers(0, 150),
        st.integers(0, 150),
    )
    def test_parts_make_the_whole(self, sizes: list[tuple[int, int]], first: int, second: int) -> None:
        """Whatever is cut in between, no sample is lost or told twice, and none comes before its place."""
        whole = [
            Run(np.arange(left, dtype=float), np.full(left, float(index)), left + gone)
            for index, (left, gone) in enumerate(sizes)
        ]
        total = sum(run.recorded for run in whole)
        edges = [0, *sorted((min(first, total), min(second, total))), total]
        parts = [clip(whole, start, stop) for start, stop in zip(edges, edges[1:], strict=False)]
        for start, stop, part in zip(edges, edges[1:], parts, strict=False):
            self.assertEqual(sum(run.recorded for run in part), stop - start)
        told = [sample for part in parts for run in part for sample in zip(run.x, run.y, strict=True)]
        self.assertEqual(told, [sample for run in whole for sample in zip(run.x, run.y, strict=True)])

    def test_samples_of_few_are_spread(self) -> None:
        run = Run(np.arange(3.0), np.arange(3.0), 10)
        found = [clip([run], place, place + 1)[0].x.tolist() for place in range(10)]
        self.assertEqual(found, [[0.0], [], [], [1.0], [], [], [2.0], [], [], []])
