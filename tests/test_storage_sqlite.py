"""What only the SQLite store has: folding, disks that fail, files that are wrong, other servers."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import NotAvailable, StorageFailed
from rtoc_twisted.events.log import EventLog
from rtoc_twisted.model import Columns, Event, Hold, Names, Page, Samples, SignalName, Window
from rtoc_twisted.recorder import Recorder
from rtoc_twisted.storage import chunks, journal, reader, sqlite
from rtoc_twisted.storage.blobs import plain
from rtoc_twisted.storage.schema import UPGRADES
from tests.storage_support import (
    BROKEN,
    FULL,
    Bench,
    assert_same_columns,
    assert_same_summary,
    floats,
    ids,
    pairs,
)

A, B = SignalName("one", "a"), SignalName("one", "b")
WINDOWS = (
    Window(),
    Window(x_min=2.0, x_max=7.0),
    Window(newest=5),
    Window(newest=5, x_max=3.0),
    Window(max_points=4),
)


class BenchCase(SynchronousTestCase):
    """A store on queues, with two signals."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(self.let_go)
        self.storage.add_signals([A, B])
        self.bench.pump()

    def let_go(self) -> None:
        if not self.bench.queues.stopped:
            self.bench.close()

    @property
    def storage(self) -> Any:
        return self.bench.storage

    def result(self, waiting: Deferred[Any]) -> Any:
        return self.bench.result(waiting)

    def samples(self, signal_id: int) -> list[tuple[float, float]]:
        return pairs(self.result(self.storage.read([(signal_id, Window())]))[0])

    def append(self, *values: float) -> Any:
        """Append to the first signal, x being y."""
        return self.storage.append([1] * len(values), values, values)

    def count(self, table: str) -> int:
        return self.bench.sql(f"SELECT COUNT(*) FROM {table}")[0][0]


class FoldTest(BenchCase):
    """The journal becomes chunks, and nobody notices."""

    def read_all(self) -> list[Any]:
        requests = [(number, window) for number in (1, 2) for window in WINDOWS]
        return [*self.result(self.storage.read(requests)), self.storage.summary(1), self.storage.summary(2)]

    def assert_same(self, found: list[Any], expected: list[Any]) -> None:
        for one, other in zip(found[:-2], expected[:-2], strict=True):
            assert_same_columns(one, other)
        for one, other in zip(found[-2:], expected[-2:], strict=True):
            assert_same_summary(one, other)

    def fill(self) -> None:
        """Commit nine times, values of two signals each, one of them replaced on the way."""
        for turn in range(9):
            self.storage.append([1, 2, 1], [turn, 9 - turn, turn], [turn, turn, turn + 0.5])
            if turn == 4:
                self.storage.replace(2, floats([3.0, float("nan")]), floats([1.0, 2.0]))
            self.bench.pump()

    def test_folding_changes_nothing(self) -> None:
        for chunk in (1, 2, 3, 100):
            self.patch(chunks, "CHUNK_SAMPLES", chunk)
            self.fill()
            before = self.read_all()
            self.assertEqual(self.count("journal"), 9)
            self.bench.database.fold()
            self.assertEqual(self.count("journal"), 0)
            self.assert_same(self.read_all(), before)
            self.fill()
            after = self.read_all()
            self.bench.reopen()
            self.assertEqual(self.count("journal"), 0)
            self.assert_same(self.read_all(), after)
            sizes = self.bench.sql("SELECT samples FROM chunks")
            self.assertLessEqual(max(size for (size,) in sizes), chunk)

    def test_at_so_many_rows(self) -> None:
        self.patch(journal, "FOLD_AT_ROWS", 3)
        counts = []
        for value in range(7):
            self.append(value)
            self.bench.pump()
            counts.append(self.count("journal"))
        self.assertEqual(counts, [1, 2, 0, 1, 2, 0, 1])

    def test_at_so_many_values(self) -> None:
        self.patch(journal, "FOLD_AT_VALUES", 5)
        counts = []
        for _ in range(4):
            self.append(1.0, 2.0)
            self.bench.pump()
            counts.append(self.count("journal"))
        self.assertEqual(counts, [1, 2, 0, 1])

    def test_stock_is_taken_at_the_start(self) -> None:
        self.append(1.0, 2.0)
        self.bench.pump()
        self.append(3.0)
        self.bench.pump()
        self.kill()
        self.patch(journal, "FOLD_AT_VALUES", 4)
        self.append(4.0)
        self.bench.pump()
        self.assertEqual(self.count("journal"), 0)
        self.assertEqual(len(self.samples(1)), 4)

    def kill(self) -> None:
        """Start again without having stopped."""
        self.bench.database.close()
        os.close(self.storage._lock)
        self.bench.open()

    def test_the_journal_counts_after_a_kill(self) -> None:
        self.fill()
        before = self.read_all()
        self.kill()
        self.assertEqual(self.count("journal"), 9)
        self.assert_same(self.read_all(), before)

    def test_small_chunks_are_joined(self) -> None:
        self.patch(journal, "FOLD_AT_ROWS", 1)
        for value in range(100):
            self.append(float(value))
            self.bench.pump()
        self.assertLess(self.count("chunks"), 10)
        self.assertEqual([x for x, _ in self.samples(1)], [float(value) for value in range(100)])

    def test_a_fold_that_fails_leaves_the_journal(self) -> None:
        self.patch(journal, "FOLD_AT_ROWS", 2)
        self.append(1.0)
        self.bench.pump()
        self.bench.database.faults.extend([None, sqlite3.OperationalError(FULL)])
        commit = self.append(2.0)
        self.bench.pump()
        self.assertEqual((commit.done, commit.error, self.count("journal")), (True, None, 2))
        self.assertEqual((len(self.samples(1)), self.count("chunks")), (2, 0))
        self.append(3.0)
        self.bench.pump()
        self.assertEqual((self.count("journal"), [x for x, _ in self.samples(1)]), (0, [1.0, 2.0, 3.0]))

    def test_a_fold_that_fails_at_the_end_leaves_the_journal(self) -> None:
        self.append(1.0)
        self.bench.pump()
        self.bench.database.faults.append(sqlite3.OperationalError(BROKEN))
        self.bench.reopen()
        self.assertEqual((self.count("journal"), self.samples(1)), (1, [(1.0, 1.0)]))

    def steps(self, signals: int) -> None:
        """Enter values of so many signals, and fold a step of them, a signal each."""
        self.patch(journal, "STEP_SIGNALS", 1)
        self.storage.add_signals([SignalName("Step", str(number)) for number in range(3, signals + 1)])
        for turn in range(4):
            self.storage.append(list(range(1, signals + 1)), [float(turn)] * signals, [1.5] * signals)
            self.bench.pump()
        for _ in range(2):
            self.assertTrue(self.bench.database.fold_step())

    def test_folding_goes_in_steps_that_change_nothing(self) -> None:
        self.steps(5)
        before = self.read_all()
        left = []
        while self.bench.database.fold_step():
            left.append(self.count("chunks"))
            self.assert_same(self.read_all(), before)
        self.assertEqual(left, [2, 3, 4, 5])
        self.assertEqual(self.count("journal"), 0)
        self.assert_same(self.read_all(), before)

    def test_a_kill_between_steps_loses_nothing(self) -> None:
        self.steps(5)
        self.append(7.0)
        self.bench.pump()
        before = self.read_all()
        self.kill()
        self.assert_same(self.read_all(), before)
        self.bench.database.fold()
        self.assertEqual(self.count("journal"), 0)
        self.assert_same(self.read_all(), before)

    def test_changes_between_steps(self) -> None:
        self.steps(5)
        self.storage.append([1, 5], [10.0, 10.0], [2.5, 2.5])
        self.storage.replace(3, floats([1.0]), floats([2.0]))
        self.storage.remove_signals([4])
        # The commit goes on with the folding; what came with it waits for the next time.
        self.bench.pump()
        self.assertEqual(self.count("journal"), 1)
        before = self.read_all()
        self.assertEqual([y for _, y in self.samples(1)], [1.5] * 4 + [2.5])
        self.assertEqual((self.samples(3), self.samples(4)), ([(1.0, 2.0)], []))
        self.bench.database.fold()
        self.assertEqual(self.count("journal"), 0)
        self.assert_same(self.read_all(), before)
        self.assertEqual(len(self.samples(5)), 5)

    def test_the_samples_of_one_signal_go_in_steps(self) -> None:
        self.patch(journal, "STEP_VALUES", 10)
        for turn in range(20):
            x = [float(turn * 3), float(turn * 3 + 1), float(turn * 3 + 2)]
            self.storage.append([1, 2, 1], x, x)
            self.bench.pump()
        before, steps = self.read_all(), 0
        while self.bench.database.fold_step():
            ((folded, samples),) = self.bench.sql("SELECT folded, samples FROM signals WHERE id = 1")
            self.assertIn((folded, samples), [(0, 0), (5, 10), (10, 20), (15, 30), (20, 40)])
            steps += 1
            if steps == 3:
                self.kill()
            self.assert_same(self.read_all(), before)
        self.assertEqual((steps, self.count("journal")), (8, 0))
        self.assert_same(self.read_all(), before)

    def test_rows_are_removed_in_steps(self) -> None:
        self.patch(journal, "REMOVED_VALUES", 9)
        self.fill()
        before, left = self.read_all(), []
        while self.bench.database.fold_step():
            left.append(self.count("journal"))
            self.assert_same(self.read_all(), before)
            if left == [9, 6, 3]:
                self.kill()
        self.assertEqual(left, [9, 6, 3, 3, 0])
        self.assert_same(self.read_all(), before)

    def test_a_signal_replaced_between_its_steps(self) -> None:
        self.patch(journal, "STEP_VALUES", 2)
        for turn in range(9):
            self.append(float(turn))
            self.bench.pump()
        for _ in range(2):
            self.assertTrue(self.bench.database.fold_step())
        self.storage.replace(1, floats([7.0]), floats([8.0]))
        self.append(9.0)
        self.bench.pump()
        self.bench.database.fold()
        self.bench.database.fold()
        self.assertEqual((self.samples(1), self.count("journal")), ([(7.0, 8.0), (9.0, 9.0)], 0))

    def test_clearing_between_steps(self) -> None:
        self.steps(5)
        self.storage.clear()
        self.storage.add_signals([A])
        self.append(1.0)
        self.bench.pump()
        self.bench.database.fold()
        self.assertEqual((self.count("chunks"), self.samples(1)), (1, [(1.0, 1.0)]))

    def test_a_step_that_fails_begins_anew(self) -> None:
        self.steps(5)
        before = self.read_all()
        self.bench.database.faults.append(sqlite3.OperationalError(FULL))
        self.assertRaises(sqlite3.OperationalError, self.bench.database.fold_step)
        self.assert_same(self.read_all(), before)
        self.bench.database.fold()
        self.assertEqual(self.count("journal"), 0)
        self.assert_same(self.read_all(), before)

    def test_what_replaced_in_a_group_is_written_once(self) -> None:
        for value in range(5):
            self.storage.replace(1, floats([value]), floats([value]))
        self.bench.pump()
        ((newest, count),) = self.bench.sql("SELECT MAX(id), COUNT(*) FROM chunks")
        self.assertEqual((newest, count), (1, 1))


class OutlineTest(BenchCase):
    """Reads that want few samples read outlines, and keep the spikes."""

    SAMPLES = 200_000

    def setUp(self) -> None:
        super().setUp()
        self.x = np.arange(self.SAMPLES, dtype=float)
        self.y = np.random.default_rng(4).normal(size=self.SAMPLES)
        self.y[77_777], self.y[123_456] = 1000.0, -1000.0
        for start in range(0, self.SAMPLES, 50_000):
            part = slice(start, start + 50_000)
            self.storage.append([1] * 50_000, self.x[part].tolist(), self.y[part].tolist())
            self.bench.pump()
        self.bench.database.fold()
        while self.bench.database.pack_step():
            pass

    def window(self, **bounds: Any) -> Columns:
        (columns,) = self.result(self.storage.read([(1, Window(**bounds))]))
        return columns

    def without_chunks(self) -> None:
        """Spoil the chunks that have an outline, so that nobody can read them."""
        self.bench.sql("UPDATE chunks SET data = x'00' WHERE id IN (SELECT chunk_id FROM outlines)")

    def test_few_samples_come_from_outlines(self) -> None:
        self.without_chunks()
        found = self.window(max_points=500)
        self.assertTrue(found.decimated)
        self.assertLessEqual(len(found.x), 500)
        self.assertGreater(len(found.x), 400)
        self.assertEqual((found.y.max(), found.y.min()), (1000.0, -1000.0))
        self.assertEqual((found.x_min, found.x_max), (0.0, self.SAMPLES - 1))
        np.testing.assert_array_equal(found.y, self.y[found.x.astype(int)])
        self.assertTrue((np.diff(found.x) > 0).all())

    def test_the_edges_of_a_window_come_from_chunks(self) -> None:
        found = self.window(max_points=300, x_min=20_000.5, x_max=180_000.0)
        self.assertGreaterEqual(found.x[0], 20_001)
        self.assertLessEqual(found.x[-1], 180_000)
        self.assertLess(found.x[0], 20_100)
        self.assertGreater(found.x[-1], 179_900)
        self.assertEqual((found.y.max(), found.y.min()), (1000.0, -1000.0))

    def test_many_samples_come_from_chunks(self) -> None:
        found = self.window(max_points=self.SAMPLES // 64)
        self.assertEqual((found.y.max(), found.y.min()), (1000.0, -1000.0))
        self.without_chunks()
        self.assertRaises(StorageFailed, self.window, max_points=self.SAMPLES // 64)

    def test_a_narrow_window_is_exact(self) -> None:
        found = self.window(max_points=500, x_min=77_000, x_max=77_400)
        self.assertFalse(found.decimated)
        np.testing.assert_array_equal(found.x, self.x[77_001:77_401])

    def test_a_page_reads_no_chunks_outside_of_its_bounds(self) -> None:
        bounds = {"x_min": 149_999.0, "x_max": 150_005.0}
        self.bench.sql("UPDATE chunks SET data = x'00' WHERE x_max <= 149999 OR x_min > 150005")
        found = self.window(page=Page(None, 190_000), **bounds)
        np.testing.assert_array_equal(found.x, self.x[150_000:150_006])
        self.assertEqual((found.left_out, found.more), (0, True))
        after = self.window(page=Page(found.cursor, 190_000), **bounds)
        self.assertEqual((len(after.x), after.left_out, after.more), (0, 0, False))

    def test_packing_changes_nothing(self) -> None:
        self.assertEqual(self.bench.sql("SELECT DISTINCT packed FROM chunks WHERE samples >= 4096"), [(1,)])
        found = self.window()
        np.testing.assert_array_equal(found.x, self.x)
        np.testing.assert_array_equal(found.y, self.y)
        self.assertFalse(found.decimated)

    def test_a_packed_chunk_can_grow(self) -> None:
        self.storage.remove_signals([1])
        self.storage.add_signals([A])
        for start in (0, 5000):
            self.storage.append([3] * 5000, self.x[start : start + 5000], self.y[start : start + 5000])
            self.bench.pump()
            self.bench.database.fold()
            self.assertTrue(self.bench.database.pack_step())
            self.assertFalse(self.bench.database.pack_step())
        self.assertEqual((self.count("chunks"), self.count("outlines")), (1, 1))
        (columns,) = self.result(self.storage.read([(3, Window())]))
        np.testing.assert_array_equal(columns.y, self.y[:10_000])

    def test_packing_waits_until_it_is_quiet(self) -> None:
        self.patch(journal, "FOLD_AT_VALUES", 9_000)
        self.storage.append([2] * 9_000, self.x[:9_000], self.y[:9_000])
        self.bench.pump()
        clock = self.bench.queues.clock
        for _ in range(3):
            clock.advance(0.9)
            self.append(1.0)
            self.bench.pump()
        unpacked = "SELECT COUNT(*) FROM chunks WHERE packed = 0 AND samples >= 4096"
        self.assertEqual(self.bench.sql(unpacked), [(1,)])
        clock.advance(1)
        self.bench.pump()
        clock.advance(1)
        self.bench.pump()
        self.assertEqual(self.bench.sql(unpacked), [(0,)])

    def test_who_records_goes_first(self) -> None:
        self.bench.sql("UPDATE chunks SET packed = 0 WHERE id <= 3")
        self.bench.sql("DELETE FROM outlines WHERE chunk_id <= 3")
        clock, unpacked = self.bench.queues.clock, "SELECT COUNT(*) FROM chunks WHERE packed = 0 AND id <= 3"
        self.storage._upkeep._make_next()
        clock.advance(0.5)
        self.append(1.0)
        self.bench.pump()
        self.assertEqual(self.bench.sql(unpacked), [(2,)])
        clock.advance(1.9)
        self.bench.pump()
        self.assertEqual(self.bench.sql(unpacked), [(2,)])
        # Four times as long as it took, and then all of it, because nobody records any more.
        clock.advance(0.2)
        self.bench.pump()
        self.assertEqual(self.bench.sql(unpacked), [(0,)])

    def test_closing_ends_it(self) -> None:
        self.bench.sql("UPDATE chunks SET packed = 0 WHERE id <= 3")
        self.storage._upkeep._make_next()
        self.bench.queues.queries.popleft()()
        self.assertEqual(len(self.bench.queues.jobs), 1)
        self.storage.close()
        self.bench.pump()
        ((unpacked,),) = self.bench.sql("SELECT COUNT(*) FROM chunks WHERE packed = 0 AND id <= 3")
        self.assertEqual(unpacked, 3)
        self.assertEqual((self.flushLoggedErrors(), self.bench.queues.clock.getDelayedCalls()), ([], []))
        self.assertTrue(self.bench.queues.stopped)
        self.bench.open()

    def test_packing_that_fails_is_told_and_leaves_the_chunk(self) -> None:
        self.bench.sql("UPDATE chunks SET packed = 0, data = x'00' WHERE id = 1")
        self.bench.sql("DELETE FROM outlines WHERE chunk_id = 1")
        self.storage._upkeep._make_next()
        self.bench.pump()
        self.append(1.0)
        self.bench.pump()
        self.assertRaises(StorageFailed, self.window)

    def test_what_changes_while_it_is_packed_stays_as_it_is(self) -> None:
        changes = (
            lambda number: self.bench.database.chunks.retire(number),
            lambda number: self.bench.database.chunks.drop(1, [number]),
        )
        for number, change in enumerate(changes, start=1):
            self.bench.sql(
                "UPDATE chunks SET packed = 0, data = ? WHERE id = ?", plain(self.x, self.y), number
            )
            self.storage._upkeep._make_next()
            self.bench.queues.queries.popleft()()
            with self.bench.database.transaction():
                change(number)
            left = self.bench.sql("SELECT packed, data FROM chunks WHERE id = ?", number)
            self.bench.pump()
            self.assertEqual(self.bench.sql("SELECT packed, data FROM chunks WHERE id = ?", number), left)
            self.assertEqual(self.bench.sql("SELECT 1 FROM outlines WHERE chunk_id = ?", number), [])

    def test_a_disk_that_refuses_what_was_packed(self) -> None:
        self.bench.sql("UPDATE chunks SET packed = 0, data = ? WHERE id = 1", plain(self.x, self.y))
        self.bench.database.faults.append(sqlite3.OperationalError(FULL))
        for expected in (0, 1):
            self.storage._upkeep._make_next()
            self.bench.pump()
            self.assertEqual(self.bench.sql("SELECT packed FROM chunks WHERE id = 1"), [(expected,)])

    def test_outlines_go_with_their_chunks(self) -> None:
        self.assertGreater(self.count("outlines"), 10)
        self.storage.remove_signals([1])
        self.bench.pump()
        self.assertEqual((self.count("outlines"), self.count("chunks")), (0, 0))

    def test_new_samples_are_seen(self) -> None:
        self.storage.append([1], [float(self.SAMPLES)], [5000.0])
        self.bench.pump()
        self.assertEqual(self.window(max_points=500).y.max(), 5000.0)


class FailureTest(BenchCase):
    """A commit that the disk refuses: told, forgotten, and the next one works."""

    def test_everybody_is_told(self) -> None:
        self.bench.database.faults.append(sqlite3.OperationalError(BROKEN))
        generation = self.storage.generation
        told: list[str] = []
        commit = self.append(1.0)
        waiting = [self.storage.remove_events([1]), self.storage.flush()]
        self.storage.merge(1, floats([1.0]), floats([1.0]), Hold.MERGE_X, lambda x, y: told.append("added"))
        self.storage.add_signals([SignalName("two", "a")])
        self.storage.set_unit(1, "V")
        self.storage.put_document("key", 1)
        self.storage.remove_signals([2]).addErrback(lambda failure: told.append(failure.type.__name__))
        commit.when_done(lambda: told.append("commit"))
        self.bench.pump()
        self.assertIsInstance(commit.error, StorageFailed)
        self.assertIn(BROKEN, commit.error.message)
        self.assertTrue(commit.error.retriable)
        for deferred in waiting:
            self.failureResultOf(deferred, StorageFailed)
        self.assertEqual(told, ["StorageFailed", "commit"])
        self.check_nothing(generation)

    def check_nothing(self, generation: int) -> None:
        """Check that the store is as it was, and works."""
        self.assertNotEqual(self.storage.generation, generation)
        self.assertEqual([(s.id, s.unit) for s in self.storage.signals()], [(1, None), (2, None)])
        self.assertEqual((self.storage.summary(1), self.storage.document("key")), (None, None))
        self.assertEqual(self.samples(1), [])
        self.assertEqual(self.storage.counters()["values_waiting"], 0)
        (third,) = self.storage.add_signals([SignalName("two", "b")])
        commit = self.storage.append([1, 3], [5.0, 5.0], [5.0, 5.0])
        self.bench.pump()
        self.assertEqual((third.id, third.device_id, commit.error), (3, 2, None))
        self.bench.reopen()
        self.assertEqual((self.samples(1), self.samples(3)), ([(5.0, 5.0)], [(5.0, 5.0)]))
        self.assertEqual(self.storage.summary(1).count, 1)

    def test_what_waits_fails_as_well(self) -> None:
        generation = self.storage.generation
        self.bench.database.faults.append(sqlite3.OperationalError(FULL))
        first = self.append(1.0)
        self.bench.queues.clock.advance(0)
        self.storage.add_signals([SignalName("two", "a")])
        second = self.storage.append([3], [1.0], [1.0])
        self.assertIsNot(first, second)
        self.bench.pump()
        self.assertIs(second.error, first.error)
        self.assertEqual(self.storage.counters()["commits_failed"], 1)
        self.check_nothing(generation)

    def test_what_comes_after_the_news_is_stored(self) -> None:
        self.bench.database.faults.append(sqlite3.OperationalError(FULL))
        later: list[Any] = []
        self.append(1.0).when_done(lambda: later.append(self.append(2.0)))
        self.bench.pump()
        self.assertIsNone(later[0].error)
        self.assertEqual(self.samples(1), [(2.0, 2.0)])

    def test_a_disk_that_is_really_full(self) -> None:
        generation = self.storage.generation
        self.bench.database.fill_disk()
        values = [float(value) for value in range(10_000)]
        commit = self.append(*values)
        self.bench.pump()
        self.assertIn(FULL, commit.error.message)
        self.bench.database.empty_disk()
        self.check_nothing(generation)

    def test_a_store_that_cannot_be_read_again_says_so_until_it_can(self) -> None:
        for _ in range(2):
            self.bench.database.load_faults.append(sqlite3.OperationalError(BROKEN))
        self.bench.database.faults.append(sqlite3.OperationalError(BROKEN))
        generation = self.storage.generation
        errors = []
        for value in range(3):
            commit = self.append(float(value))
            self.storage.put_document("key", value)
            self.bench.pump()
            errors.append(commit.error)
        self.assertTrue(all(isinstance(error, StorageFailed) for error in errors), errors)
        self.check_nothing(generation)

    def test_what_could_not_be_rolled_back_is_not_taken_for_stored(self) -> None:
        generation = self.storage.generation
        for faults in range(1, 3):
            self.bench.database.faults.append(sqlite3.OperationalError(BROKEN))
            self.bench.database.recover_faults.extend([sqlite3.OperationalError(BROKEN)] * faults)
            commit = self.append(1.0)
            self.storage.put_document("key", 1)
            self.bench.pump()
            self.assertIsInstance(commit.error, StorageFailed)
        # The second time nothing could be read again: one more commit fails, and repairs it.
        self.assertIsInstance(self.failed_commit().error, StorageFailed)
        self.check_nothing(generation)

    def failed_commit(self) -> Any:
        commit = self.append(1.0)
        self.bench.pump()
        return commit

    def test_the_unexpected_does_not_end_the_writer(self) -> None:
        self.bench.database.faults.append(RuntimeError("a bug"))
        commit = self.append(1.0)
        self.bench.pump()
        self.assertIsInstance(commit.error, StorageFailed)
        self.append(2.0)
        self.assertEqual(self.samples(1), [(2.0, 2.0)])

    def test_a_read_after_a_failure_tells_what_is_there(self) -> None:
        self.append(1.0)
        self.bench.pump()
        self.bench.database.faults.append(sqlite3.OperationalError(BROKEN))
        self.append(2.0)
        self.assertEqual(self.samples(1), [(1.0, 1.0)])

    def test_the_recorder_finds_its_way_back(self) -> None:
        recorder = Recorder(self.storage, EventLog(self.storage))
        names = Names([SignalName("two", "x"), SignalName("two", "y")], ["V", "A"])

        def record(value: float) -> Any:
            commit = recorder.append(Samples(names, [value, value], [value, value]))
            self.bench.pump()
            return commit

        self.bench.database.faults.append(sqlite3.OperationalError(BROKEN))
        self.assertIsInstance(record(1.0).error, StorageFailed)
        self.assertEqual(ids(self.storage), [1, 2])
        # Somebody else gets the numbers that were given to the signals that failed.
        self.storage.add_signals([SignalName("other", "z")])
        self.assertIsNone(record(2.0).error)
        found = {signal.name.key: (signal.id, signal.unit) for signal in self.storage.signals()}
        self.assertEqual((found["other.z"], found["two.x"], found["two.y"]), ((3, None), (4, "V"), (5, "A")))
        self.assertEqual((self.samples(3), self.samples(4)), ([], [(2.0, 2.0)]))

    def test_a_callback_that_fails_keeps_nobody_waiting(self) -> None:
        told: list[int] = []
        commit = self.append(1.0)
        commit.when_done(lambda: told.append(1 // 0))
        commit.when_done(lambda: told.append(2))
        self.bench.pump()
        self.assertEqual((told, len(self.flushLoggedErrors(ZeroDivisionError))), ([2], 1))
        self.append(2.0)
        self.assertEqual(len(self.samples(1)), 2)

    def test_who_hears_of_a_merge_may_fail(self) -> None:
        def hear(x: Any, y: Any) -> None:
            raise ZeroDivisionError

        commit = self.storage.merge(1, floats([1.0]), floats([1.0]), Hold.MERGE_X, hear)
        self.bench.pump()
        self.assertEqual((commit.error, len(self.flushLoggedErrors(ZeroDivisionError))), (None, 1))
        self.assertEqual(self.samples(1), [(1.0, 1.0)])


class CongestionTest(SynchronousTestCase):
    def test_the_ceiling(self) -> None:
        bench = Bench(Path(self.mktemp()), ceiling=5)
        storage = bench.storage
        storage.add_signals([A])
        changes = [
            lambda: storage.append([1] * 5, [1.0] * 5, [1.0] * 5),
            lambda: storage.replace(1, floats([1.0] * 5), floats([1.0] * 5)),
            lambda: storage.merge(1, floats([1.0] * 5), floats([1.0] * 5), Hold.ON, lambda x, y: None),
        ]
        for change in changes:
            storage.append([1] * 4, [1.0] * 4, [1.0] * 4)
            bench.queues.clock.advance(0)
            self.assertFalse(storage.congested)
            change()
            self.assertTrue(storage.congested)
            self.assertEqual(storage.counters()["values_waiting"], 9)
            bench.queues.write_one()
            bench.queues.posts.popleft()()
            self.assertTrue(storage.congested)
            bench.pump()
            self.assertFalse(storage.congested)
        bench.database.faults.append(sqlite3.OperationalError(FULL))
        storage.append([1] * 9, [1.0] * 9, [1.0] * 9)
        bench.pump()
        self.assertFalse(storage.congested)
        bench.close()


class DamageTest(BenchCase):
    """One flipped bit costs one signal's reads, never the server."""

    def damage(self, table: str, where: str = "1") -> None:
        ((data,),) = self.bench.sql(f"SELECT data FROM {table} WHERE {where} LIMIT 1")
        damaged = bytes([*data[:-1], data[-1] ^ 1])
        self.bench.sql(f"UPDATE {table} SET data = ? WHERE {where}", damaged)

    def fill(self) -> None:
        self.storage.append([1, 2], [1.0, 1.0], [1.0, 1.0])
        self.bench.pump()

    def test_a_damaged_chunk(self) -> None:
        self.fill()
        self.bench.reopen()
        self.damage("chunks", "signal_id = 1")
        with self.assertRaises(StorageFailed):
            self.samples(1)
        self.assertEqual(self.samples(2), [(1.0, 1.0)])
        self.fill()
        self.bench.reopen()
        self.assertEqual((self.count("journal"), len(self.samples(2))), (0, 2))
        with self.assertRaises(StorageFailed):
            self.samples(1)
        (newest,) = self.result(self.storage.read([(1, Window(newest=1))]))
        self.assertEqual(pairs(newest), [(1.0, 1.0)])
        self.storage.replace(1, floats([9.0]), floats([9.0]))
        self.assertEqual(self.samples(1), [(9.0, 9.0)])

    def test_a_damaged_journal_row_is_set_aside(self) -> None:
        for _ in range(3):
            self.fill()
        self.bench.database.faults.append(sqlite3.OperationalError(BROKEN))
        self.bench.close()
        self.damage("journal", "seq = 2")
        self.bench.open()
        self.assertEqual((len(self.samples(1)), self.storage.summary(2).count), (2, 2))
        self.assertEqual(
            (self.count("journal"), self.bench.sql("SELECT seq, samples FROM damaged")), (2, [(2, 2)])
        )
        self.fill()
        self.bench.reopen()
        self.assertEqual((len(self.samples(1)), self.count("damaged")), (3, 1))

    def test_a_reader_that_cannot_be_opened(self) -> None:
        self.fill()

        def refuse(*_: object, **__: object) -> None:
            raise sqlite3.OperationalError("unable to open database file")

        # None is left of those that read before.
        self.storage._readers._idle.clear()
        patch = self.patch(reader.sqlite3, "connect", refuse)
        with self.assertRaises(StorageFailed):
            self.samples(1)
        patch.restore()
        self.assertEqual(self.samples(1), [(1.0, 1.0)])


class OpenTest(SynchronousTestCase):
    """Files that are private, and what cannot be opened is refused in words."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def refused(self, words: str) -> None:
        """Check that the directory is refused, and that the claim on it was given up."""
        with self.assertRaisesRegex(NotAvailable, words):
            Bench(self.directory)
        with self.assertRaisesRegex(NotAvailable, words):
            Bench(self.directory)

    def test_files_are_private(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        bench = Bench(self.directory)
        bench.storage.add_signals([A])
        bench.result(bench.storage.read([(1, Window())]))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in self.directory.iterdir()}
        self.assertEqual(set(modes), {"rtoc.lock", "rtoc.sqlite", "rtoc.sqlite-shm", "rtoc.sqlite-wal"})
        self.assertEqual(set(modes.values()), {0o600})
        bench.close()

    def test_one_server_at_a_time(self) -> None:
        bench = Bench(self.directory)
        self.refused("in use by another")
        code = "from rtoc_twisted.storage.place import *; import sys; claim(Path(sys.argv[1]))"
        other = subprocess.run(
            [sys.executable, "-c", code, self.directory.resolve()],
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=Path(__file__).parent.parent,
        )
        self.assertIn("in use by another rtoc server", other.stderr)
        bench.reopen()
        bench.close()

    def test_a_newer_schema(self) -> None:
        bench = Bench(self.directory)
        bench.close()
        bench.sql(f"PRAGMA user_version = {len(UPGRADES) + 1}")
        self.refused("newer version")
        bench.sql(f"PRAGMA user_version = {len(UPGRADES)}")
        bench.open()
        bench.close()

    def test_a_directory_that_cannot_be_written(self) -> None:
        self.directory.mkdir()

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(os, "open", refuse)
        self.refused(r"cannot be written \(Permission denied\).*--state-dir")

    def test_a_file_that_cannot_be_made(self) -> None:
        (self.directory / "rtoc.sqlite").mkdir(parents=True)
        self.refused("cannot be used")

    def test_everything_is_there_after_a_restart(self) -> None:
        bench = Bench(self.directory)
        storage = bench.storage
        storage.add_signals([A, B, SignalName("two.three", "a.b")])
        storage.set_unit(2, "°C")
        storage.append([2, 3], [1.0, float("nan")], [float("inf"), 2.0])
        storage.add_event(3, Event(SignalName("two.three", "a.b"), "x", float("nan"), 2, "id", {"a": [1]}))
        storage.add_event(2, Event(B, "y", 2.0))
        storage.put_document("rules", {"a": [1, None]})
        bench.result(storage.remove_events([2]))
        bench.result(storage.remove_signals([1]))
        before = storage.signals(), repr(storage.summary(3)), repr(bench.result(storage.events()))
        bench.reopen()
        storage = bench.storage
        self.assertEqual(
            (storage.signals(), repr(storage.summary(3)), repr(bench.result(storage.events()))), before
        )
        self.assertEqual(storage.document("rules"), {"a": [1, None]})
        self.assertEqual(storage.find(B).unit, "°C")
        (new,) = storage.add_signals([A])
        self.assertEqual(
            (new.id, new.device_id, storage.add_event(4, Event(A, "z", 1.0))[0].number), (4, 1, 3)
        )
        bench.close()


class StartTest(SynchronousTestCase):
    """Starting costs the catalog and the journal, whatever is stored."""

    def cost(self, rounds: int) -> tuple[int, Counter[str], int]:
        """Fill a store; return SQLite's steps to open it, the tables read, and the bytes of the file."""
        self.patch(journal, "FOLD_AT_VALUES", 500)
        bench = Bench(Path(self.mktemp()))
        bench.storage.add_signals([A, B])
        for turn in range(rounds):
            x = np.random.default_rng(turn).normal(size=600)
            bench.storage.append([1, 2] * 300, x.tolist(), x.tolist())
            bench.storage.add_event(1, Event(A, "x", 1.0))
            bench.pump()
        bench.storage.append([1], [1.0], [1.0])
        bench.close()
        steps, tables = 0, Counter[str]()

        def step() -> int:
            nonlocal steps
            steps += 1
            return 0

        def authorize(action: int, first: str | None, *_: object) -> int:
            if action == sqlite3.SQLITE_READ:
                tables[str(first)] += 1
            return sqlite3.SQLITE_OK

        def watched(*args: Any, **options: Any) -> sqlite3.Connection:
            connection = connect(*args, **options)
            connection.set_authorizer(authorize)
            connection.set_progress_handler(step, 1)
            return connection

        connect = sqlite3.connect
        patch = self.patch(reader.sqlite3, "connect", watched)
        bench.open()
        patch.restore()
        bench.close()
        return steps, tables, bench.path.stat().st_size

    def test_what_is_slow_the_first_time_is_done_behind_the_start(self) -> None:
        done: list[str] = []
        self.patch(sqlite, "warm_up", lambda: done.append("warm"))
        bench = Bench(Path(self.mktemp()))
        self.assertEqual(len(bench.queues.queries), 0)
        bench.queues.clock.advance(0)
        self.assertEqual((len(bench.queues.queries), done), (1, []))
        bench.pump()
        self.assertEqual(done, ["warm"])
        bench.reopen()
        bench.close()
        self.assertEqual(done, ["warm"])

    def test_the_amount_stored_does_not_matter(self) -> None:
        few, tables, small = self.cost(2)
        many, _, large = self.cost(60)
        self.assertGreater(large, 4 * small)
        self.assertEqual(many, few)
        self.assertGreater(few, 0)
        self.assertLessEqual({"signals", "devices", "journal", "documents"}, set(tables))
        self.assertEqual(set(tables) & {"chunks", "events", "damaged"}, set())

    def test_the_journal_is_bounded(self) -> None:
        self.patch(journal, "FOLD_AT_VALUES", 100)
        bench = Bench(Path(self.mktemp()))
        bench.storage.add_signals([A])
        longest = 0
        for turn in range(200):
            bench.storage.append([1] * 7, [float(turn)] * 7, [1.0] * 7)
            bench.pump()
            ((held,),) = bench.sql("SELECT COALESCE(SUM(samples), 0) FROM journal")
            longest = max(longest, held)
        self.assertTrue(0 < longest < 100, longest)
        bench.close()
