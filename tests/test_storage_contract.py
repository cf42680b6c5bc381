"""What IStorage promises: one body of tests for every provider, and random sequences of changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from rtoc_twisted.errors import BadValue, StorageFailed, TooLarge
from rtoc_twisted.interfaces import ICommit, IStorage
from rtoc_twisted.model import (
    Buckets,
    Columns,
    Cursor,
    Event,
    Hold,
    Page,
    SignalName,
    SignalSummary,
    Sums,
    Window,
)
from rtoc_twisted.storage import chunks, journal
from rtoc_twisted.storage.memory import MemoryStorage
from rtoc_twisted.storage.sources import INTERVALS, SOURCES
from rtoc_twisted.storage.sqlite import SqliteStorage
from rtoc_twisted.storage.writer import WriterThread
from tests.storage_support import (
    BROKEN,
    Bench,
    InstantQueues,
    Queues,
    assert_same_columns,
    assert_same_summary,
    floats,
    ids,
    pairs,
    unhurried,
)

NAN, INF = float("nan"), float("inf")
A, B, C = SignalName("one", "a"), SignalName("one", "b"), SignalName("two", "a")


class ContractTests:
    """The contract; a subclass sets `storage` and says how to wait."""

    storage: IStorage

    def result(self, waiting: Deferred[Any]) -> Any:
        raise AssertionError("a subclass says how to wait")

    def stored(self, commit: ICommit) -> None:
        """Check that a commit becomes done without error."""
        told: list[bool] = []
        commit.when_done(lambda: told.append(commit.done))
        self.result(self.storage.flush())
        self.assertEqual((told, commit.error), ([True], None))

    def samples(self, signal_id: int, **window: Any) -> list[tuple[float, float]]:
        (columns,) = self.result(self.storage.read([(signal_id, Window(**window))]))
        return pairs(columns)

    def filled(self) -> int:
        """Return a signal with x unsorted and repeated."""
        (signal,) = self.storage.add_signals([A])
        self.storage.append([signal.id] * 3, [5.0, 1.0, 3.0], [50.0, 10.0, 30.0])
        self.storage.append([signal.id] * 2, [3.0, 2.0], [31.0, 20.0])
        return signal.id

    def test_interface(self) -> None:
        verifyObject(IStorage, self.storage)
        verifyObject(ICommit, self.storage.append([], [], []))

    # The catalog.

    def test_a_new_store_is_empty(self) -> None:
        self.assertEqual(list(self.storage.signals()), [])
        self.assertEqual(self.result(self.storage.events()), [])
        self.assertIsNone(self.storage.document("anything"))
        self.assertFalse(self.storage.congested)

    def test_signals_are_numbered_in_order(self) -> None:
        signals = self.storage.add_signals([B, C, A])
        self.assertEqual([(s.id, s.device_id, s.name, s.unit) for s in signals],
                         [(1, 1, B, None), (2, 2, C, None), (3, 1, A, None)])  # fmt: skip
        self.assertEqual(list(self.storage.signals()), list(signals))
        self.assertEqual(self.storage.find(C), signals[1])
        self.assertEqual(self.storage.get(3), signals[2])
        self.assertIsNone(self.storage.find(SignalName("two", "b")))
        self.assertIsNone(self.storage.get(4))

    def test_numbers_are_not_used_again(self) -> None:
        self.storage.add_signals([A, C])
        self.result(self.storage.remove_signals([2]))
        (again,) = self.storage.add_signals([C])
        self.assertEqual((again.id, again.device_id), (3, 3))

    def test_generation_changes_with_the_catalog(self) -> None:
        changes: list[Callable[[], object]] = [
            lambda: self.storage.add_signals([A, B]),
            lambda: self.storage.set_unit(1, "V"),
            lambda: self.storage.remove_signals([1]),
            lambda: self.storage.clear(),
        ]
        seen = [self.storage.generation]
        for change in changes:
            change()
            seen.append(self.storage.generation)
        self.assertEqual(len(set(seen)), len(seen))
        self.storage.append([2], [1.0], [1.0])
        self.assertEqual(self.storage.generation, seen[-1])

    def test_a_key_that_is_longer_than_names_can_be_is_looked_up_at_once(self) -> None:
        # With a look at each dot this takes minutes.
        self.assertIsNone(self.storage.resolve("a." * 1_000_000))

    def test_a_key_with_dots_means_the_longest_device(self) -> None:
        names = [SignalName("a", "b.c"), SignalName("a.b", "c"), SignalName("a", "b"), SignalName("", ".x")]
        first, second, third, fourth = self.storage.add_signals(names)
        self.assertEqual(self.storage.resolve("a.b.c"), second)
        self.result(self.storage.remove_signals([second.id]))
        self.assertEqual(self.storage.resolve("a.b.c"), first)
        self.assertEqual(self.storage.resolve("a.b"), third)
        self.assertEqual(self.storage.resolve("..x"), fourth)
        for unknown in ("", "a", "a.", ".b", "a.b.c.d"):
            self.assertIsNone(self.storage.resolve(unknown), unknown)

    def test_too_many_signals_are_refused_whole(self) -> None:
        self.storage.add_signals([A, B])
        generation = self.storage.generation
        with self.assertRaises(TooLarge):
            self.storage.add_signals([C, SignalName("three", "a"), SignalName("three", "b")])
        self.assertEqual((ids(self.storage), self.storage.generation), ([1, 2], generation))
        (last,) = self.storage.add_signals([C])
        self.assertEqual((last.id, last.device_id), (3, 2))

    def test_units(self) -> None:
        self.storage.add_signals([A])
        self.storage.set_unit(1, "°C")
        self.assertEqual((self.storage.get(1).unit, self.storage.find(A).unit), ("°C", "°C"))

    # Samples.

    def test_order_of_arrival_is_kept(self) -> None:
        signal = self.filled()
        expected = [(5.0, 50.0), (1.0, 10.0), (3.0, 30.0), (3.0, 31.0), (2.0, 20.0)]
        self.assertEqual(self.samples(signal), expected)
        self.assertEqual(self.storage.summary(signal), SignalSummary(5, 5.0, 2.0, 20.0, 1.0, 5.0))

    def test_values_of_several_signals_in_one_append(self) -> None:
        self.storage.add_signals([A, B])
        self.stored(self.storage.append([2, 1, 2], [1.0, 2.0, 3.0], [10.0, 20.0, 30.0]))
        found = self.result(self.storage.read([(1, Window()), (2, Window()), (7, Window()), (1, Window())]))
        self.assertEqual([pairs(c) for c in found],
                         [[(2.0, 20.0)], [(1.0, 10.0), (3.0, 30.0)], [], [(2.0, 20.0)]])  # fmt: skip
        self.assertTrue(np.isnan(found[2].x_min))

    def test_nothing_is_known_of_a_signal_without_samples(self) -> None:
        self.storage.add_signals([A])
        self.assertIsNone(self.storage.summary(1))
        self.assertIsNone(self.storage.summary(2))
        self.assertEqual(self.samples(1), [])

    def test_an_empty_append_changes_nothing(self) -> None:
        self.storage.add_signals([A])
        self.stored(self.storage.append([], [], []))
        self.assertIsNone(self.storage.summary(1))

    def test_what_is_no_number_is_kept(self) -> None:
        self.storage.add_signals([A])
        x, y = [NAN, 1.0, INF, -INF], [INF, NAN, -INF, 1e308]
        self.storage.append([1] * 4, x, y)
        (columns,) = self.result(self.storage.read([(1, Window())]))
        np.testing.assert_array_equal(columns.x, x)
        np.testing.assert_array_equal(columns.y, y)
        self.assertEqual((columns.x_min, columns.x_max), (-INF, INF))
        summary = self.storage.summary(1)
        self.assertEqual((summary.count, summary.x_min, summary.last_y), (4, -INF, 1e308))

    def test_x_that_is_nowhere_a_number(self) -> None:
        self.storage.add_signals([A])
        self.storage.append([1], [NAN], [1.0])
        assert_same_summary(self.storage.summary(1), SignalSummary(1, NAN, NAN, 1.0, NAN, NAN))
        self.assertEqual(len(self.samples(1)), 1)
        self.assertEqual(self.samples(1, x_min=0.0), [])

    def test_a_window_is_open_below_and_closed_above(self) -> None:
        signal = self.filled()
        self.assertEqual(self.samples(signal, x_min=1.0, x_max=3.0), [(3.0, 30.0), (3.0, 31.0), (2.0, 20.0)])
        self.assertEqual(self.samples(signal, x_min=3.0), [(5.0, 50.0)])
        self.assertEqual(self.samples(signal, x_max=1.0), [(1.0, 10.0)])
        self.assertEqual(self.samples(signal, x_min=5.0), [])
        self.assertEqual(self.samples(signal, x_max=0.5), [])

    def test_the_newest_come_before_the_bounds(self) -> None:
        signal = self.filled()
        self.assertEqual(self.samples(signal, newest=2), [(3.0, 31.0), (2.0, 20.0)])
        self.assertEqual(self.samples(signal, newest=3, x_max=2.5), [(2.0, 20.0)])
        self.assertEqual(self.samples(signal, newest=0), [])
        self.assertEqual(len(self.samples(signal, newest=100)), 5)

    def test_the_range_is_that_of_the_whole_signal(self) -> None:
        signal = self.filled()
        windows = [Window(x_min=2.0, x_max=3.0), Window(newest=1), Window(max_points=1), Window(x_min=9.0)]
        for columns in self.result(self.storage.read([(signal, window) for window in windows])):
            self.assertEqual((columns.x_min, columns.x_max), (1.0, 5.0))

    def test_fewer_points(self) -> None:
        self.storage.add_signals([A])
        y = np.zeros(1000)
        y[[123, 777]] = 99.0, -99.0
        self.storage.append([1] * 1000, np.arange(1000.0).tolist(), y.tolist())
        (few, all_of_them) = self.result(
            self.storage.read([(1, Window(max_points=10)), (1, Window(max_points=1000))])
        )
        self.assertLessEqual(len(few.x), 10)
        self.assertLessEqual({(123.0, 99.0), (777.0, -99.0)}, set(pairs(few)))
        self.assertEqual((few.decimated, few.x_min, few.x_max), (True, 0.0, 999.0))
        self.assertEqual(len(few.x) + few.left_out, 1000)
        self.assertEqual((all_of_them.decimated, len(all_of_them.x)), (False, 1000))

    # Pages.

    def page(self, signal_id: int, after: Cursor | None, limit: int, **bounds: float) -> Columns:
        window = Window(page=Page(after, limit), **bounds)
        (columns,) = self.result(self.storage.read([(signal_id, window)]))
        self.assertEqual((columns.left_out, columns.error), (0, None))
        return columns

    def test_pages(self) -> None:
        signal = self.filled()
        whole = self.samples(signal)
        first = self.page(signal, None, 2)
        second = self.page(signal, first.cursor, 2)
        last = self.page(signal, second.cursor, 2)
        self.assertEqual([pairs(page) for page in (first, second, last)], [whole[:2], whole[2:4], whole[4:]])
        self.assertEqual([page.more for page in (first, second, last)], [True, True, False])
        self.assertEqual((first.x_min, first.x_max), (1.0, 5.0))
        again = self.page(signal, last.cursor, 2)
        self.assertEqual((pairs(again), again.cursor, again.more), ([], last.cursor, False))
        exactly = self.page(signal, None, 5)
        self.assertEqual((pairs(exactly), exactly.cursor, exactly.more), (whole, last.cursor, False))

    def test_what_is_new_is_read_from_a_cursor_that_was_kept(self) -> None:
        signal = self.filled()
        kept = self.page(signal, None, 100).cursor
        self.storage.append([signal] * 2, [0.0, 9.0], [1.0, 2.0])
        self.storage.merge(signal, floats([9.0, 8.0]), floats([0.0, 3.0]), Hold.MERGE_X, lambda x, y: None)
        self.storage.set_unit(signal, "V")
        self.assertEqual(pairs(self.page(signal, kept, 100)), [(0.0, 1.0), (9.0, 2.0), (8.0, 3.0)])

    def test_bounds_of_a_page_choose_within_it(self) -> None:
        signal = self.filled()
        first = self.page(signal, None, 2, x_min=4.0)
        rest = self.page(signal, first.cursor, 3, x_min=2.5, x_max=3.0)
        self.assertEqual((pairs(first), first.more), ([(5.0, 50.0)], True))
        self.assertEqual((pairs(rest), rest.more), ([(3.0, 30.0), (3.0, 31.0)], False))

    def test_pages_of_a_signal_without_samples(self) -> None:
        self.storage.add_signals([A])
        empty = self.page(1, None, 3)
        self.assertEqual((pairs(empty), empty.more), ([], False))
        self.storage.append([1], [1.0], [10.0])
        self.assertEqual(pairs(self.page(1, empty.cursor, 3)), [(1.0, 10.0)])
        self.assertIsNone(self.page(7, None, 3).cursor)

    def test_a_cursor_ends_with_its_samples(self) -> None:
        signal = self.filled()
        (other,) = self.storage.add_signals([B])
        kept = self.page(signal, None, 1).cursor
        self.assertNotEqual(self.page(other.id, None, 1).cursor.epoch, kept.epoch)
        self.storage.replace(signal, floats([7.0, 6.0]), floats([70.0, 60.0]))
        self.assert_stale(signal, kept)
        fresh = self.page(signal, None, 1)
        self.assertEqual(pairs(fresh), [(7.0, 70.0)])
        self.result(self.storage.remove_signals([signal]))
        (again,) = self.storage.add_signals([A])
        self.storage.append([again.id] * 2, [1.0, 2.0], [1.0, 2.0])
        self.assert_stale(again.id, fresh.cursor)
        self.result(self.storage.clear())
        self.storage.add_signals([A])
        self.assert_stale(1, kept)

    def test_a_cursor_behind_the_end_is_none(self) -> None:
        signal = self.filled()
        end = self.page(signal, None, 9).cursor
        self.assert_stale(signal, end._replace(ordinal=end.ordinal + 1))

    def assert_stale(self, signal: int, after: Cursor) -> None:
        """Check that a cursor fails its read, or is told beside the other requests."""
        window = Window(page=Page(after, 1))
        with self.assertRaisesRegex(BadValue, "begin anew"):
            self.result(self.storage.read([(signal, Window()), (signal, window)]))
        partly = Window(page=Page(after, 1), partly=True)
        whole, page = self.result(self.storage.read([(signal, Window()), (signal, partly)]))
        self.assertIsInstance(page.error, BadValue)
        self.assertEqual((pairs(page), page.cursor), ([], None))
        np.testing.assert_array_equal((page.x_min, page.x_max), (whole.x_min, whole.x_max))

    # Sums.

    def sums(self, signal_id: int, buckets: Buckets, **bounds: float) -> Sums:
        (sums,) = self.result(self.storage.aggregate([(signal_id, Window(**bounds), buckets)]))
        return sums

    def test_sums(self) -> None:
        self.storage.add_signals([A, B])
        x = [3.0, 1.0, NAN, 0.0, 3.5, 2.5, INF, 1.0, 2.0, -0.5]
        y = [30.0, 10.0, 5.0, 1.0, NAN, 25.0, 5.0, 12.0, 20.0, 7.0]
        self.storage.append([1] * 10, x, y)
        found = self.sums(1, Buckets(2.0))
        expected = {
            "start": [-2, 0, 2],
            "count": [1, 3, 3],
            "minimum": [7, 1, 20],
            "maximum": [7, 12, 30],
            "mean": [7, 23 / 3, 25],
            "total": [7, 23, 75],
            "deviation": [0, np.std([10, 1, 12]), np.std([30, 25, 20])],
            "first": [7, 1, 20],
            "last": [7, 12, 30],
        }
        for column, values in expected.items():
            np.testing.assert_allclose(getattr(found, column), values, err_msg=column)
        self.assertIsNone(found.error)
        self.assertEqual(self.sums(1, Buckets(2.0, 1.0)).start.tolist(), [-1.0, 1.0, 3.0])
        bounded = self.sums(1, Buckets(2.0), x_min=0.0, x_max=2.0)
        self.assertEqual((bounded.start.tolist(), bounded.count.tolist()), ([0.0, 2.0], [2.0, 1.0]))
        for nothing in (2, 7):
            self.assertEqual(len(self.sums(nothing, Buckets(1.0)).start), 0)

    def test_too_many_buckets(self) -> None:
        signal = self.filled()
        self.assertEqual(len(self.sums(signal, Buckets(1.0, limit=4)).start), 4)
        request = (signal, Window(), Buckets(1.0, limit=3))
        with self.assertRaisesRegex(TooLarge, "more than 3 buckets"):
            self.result(self.storage.aggregate([request]))
        partly = (signal, Window(partly=True), request[2])
        told, others = self.result(self.storage.aggregate([partly, (signal, Window(), Buckets(9.0))]))
        self.assertIsInstance(told.error, TooLarge)
        self.assertEqual((len(told.start), others.count.tolist()), (0, [5.0]))

    def test_a_bad_append_leaves_the_others_in_step(self) -> None:
        self.storage.add_signals([A])
        self.storage.append([1], [1.0], [10.0])
        for x, y in (([2.0, "no"], [2.0, 2.0]), ([2.0, 2.0], [2.0]), ([2.0, 10**400], [2.0, 2.0])):
            with self.assertRaises((ValueError, TypeError, OverflowError, IndexError)):
                self.storage.append([1, 1], x, y)
        self.storage.append([1], [3.0], [30.0])
        self.assertEqual(self.samples(1), [(1.0, 10.0), (3.0, 30.0)])

    def test_replace(self) -> None:
        signal = self.filled()
        x, y = floats([7.0, 6.0]), floats([70.0, 60.0])
        self.storage.replace(signal, x, y)
        x[:] = y[:] = 0
        self.assertEqual(self.storage.summary(signal), SignalSummary(2, 7.0, 6.0, 60.0, 6.0, 7.0))
        self.assertEqual(self.samples(signal), [(7.0, 70.0), (6.0, 60.0)])
        self.storage.replace(signal, floats([]), floats([]))
        self.assertIsNone(self.storage.summary(signal))
        self.assertEqual(self.samples(signal), [])

    def test_replace_among_appends(self) -> None:
        self.storage.add_signals([A, B])
        self.storage.append([1, 2], [1.0, 1.0], [1.0, 1.0])
        self.storage.replace(1, floats([2.0]), floats([2.0]))
        self.storage.append([1, 2], [3.0, 3.0], [3.0, 3.0])
        self.storage.replace(2, floats([4.0]), floats([4.0]))
        self.storage.replace(2, floats([5.0]), floats([5.0]))
        self.assertEqual(self.storage.summary(1), SignalSummary(2, 2.0, 3.0, 3.0, 2.0, 3.0))
        self.assertEqual(self.samples(1), [(2.0, 2.0), (3.0, 3.0)])
        self.assertEqual(self.samples(2), [(5.0, 5.0)])

    def merge(self, hold: Hold) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
        """Merge into a signal; return what was told to be added, and all samples."""
        self.storage.add_signals([A])
        self.storage.append([1, 1], [1.0, 2.0], [10.0, 20.0])
        told: list[tuple[float, float]] = []

        def added(x: Any, y: Any) -> None:
            told.extend(zip(x.tolist(), y.tolist(), strict=True))

        x, y = floats([2.0, 3.0, 3.0, 4.0, 1.5]), floats([21.0, 30.0, 31.0, 10.0, 30.0])
        commit = self.storage.merge(1, x, y, hold, added)
        x[:] = y[:] = 0
        before: list[int] = []
        commit.when_done(lambda: before.append(len(told)))
        self.stored(commit)
        self.assertEqual(before, [len(told)])
        return told, self.samples(1)

    def check_merge(self, hold: Hold, new: list[tuple[float, float]]) -> None:
        told, samples = self.merge(hold)
        self.assertEqual((told, samples), (new, [(1.0, 10.0), (2.0, 20.0), *new]))
        self.assertEqual(self.storage.summary(1).count, 2 + len(new))
        self.assertEqual(self.storage.summary(1).last_y, new[-1][1])

    def test_hold_on_appends(self) -> None:
        self.check_merge(Hold.ON, [(2.0, 21.0), (3.0, 30.0), (3.0, 31.0), (4.0, 10.0), (1.5, 30.0)])

    def test_merge_by_x(self) -> None:
        self.check_merge(Hold.MERGE_X, [(3.0, 30.0), (4.0, 10.0), (1.5, 30.0)])

    def test_merge_by_y(self) -> None:
        self.check_merge(Hold.MERGE_Y, [(2.0, 21.0), (3.0, 30.0), (3.0, 31.0)])

    def test_merge_meets_what_is_replaced_in_the_same_turn(self) -> None:
        self.storage.add_signals([A])
        told: list[list[float]] = []
        self.storage.replace(1, floats([1.0]), floats([1.0]))
        self.storage.merge(1, floats([1.0, 2.0]), floats([9.0, 9.0]), Hold.MERGE_X,
                           lambda x, y: told.append(x.tolist()))  # fmt: skip
        self.storage.replace(1, floats([5.0]), floats([5.0]))
        self.assertEqual(self.samples(1), [(5.0, 5.0)])
        self.assertEqual(told, [[2.0]])
        self.assertEqual(self.storage.summary(1), SignalSummary(1, 5.0, 5.0, 5.0, 5.0, 5.0))

    def test_merge_keeps_its_place_in_the_summary(self) -> None:
        self.storage.add_signals([A])
        self.storage.append([1], [1.0], [1.0])
        self.storage.merge(1, floats([1.0, 2.0]), floats([9.0, 9.0]), Hold.MERGE_X, lambda x, y: None)
        self.storage.set_unit(1, "V")
        self.storage.append([1], [3.0], [3.0])
        self.assertEqual(self.storage.summary(1).last_y, 3.0)
        self.storage.merge(
            1, floats([0.0, 2.0, 3.0]), floats([8.0, 8.0, 8.0]), Hold.MERGE_X, lambda x, y: None
        )
        self.result(self.storage.flush())
        self.assertEqual(self.storage.summary(1), SignalSummary(4, 1.0, 0.0, 8.0, 0.0, 3.0))

    # Removing.

    def test_remove_counts_truly(self) -> None:
        self.storage.add_signals([A, B, C])
        self.storage.append([1, 2, 3], [1.0] * 3, [1.0] * 3)
        for signal_id, name in ((1, A), (2, B), (1, A)):
            self.storage.add_event(signal_id, Event(name, "x", 1.0))
        self.assertEqual(self.result(self.storage.remove_signals([1, 1, 9])), (1, 2))
        self.assertEqual(
            (ids(self.storage), self.storage.find(A), self.storage.summary(1)), ([2, 3], None, None)
        )
        self.assertEqual(self.samples(1), [])
        self.assertEqual([e.number for e in self.result(self.storage.events())], [2])
        self.assertEqual(self.result(self.storage.remove_signals([])), (0, 0))

    def test_the_catalog_forgets_at_once(self) -> None:
        self.storage.add_signals([A])
        removed = self.storage.remove_signals([1])
        self.assertEqual(ids(self.storage), [])
        self.assertEqual(self.result(removed), (1, 0))

    def test_a_removed_signal_takes_no_more(self) -> None:
        self.storage.add_signals([A, B])
        self.storage.remove_signals([1])
        self.storage.append([1, 2], [1.0, 1.0], [1.0, 1.0])
        self.assertEqual((self.samples(1), self.samples(2)), ([], [(1.0, 1.0)]))

    def test_a_removed_signal_merges_no_more(self) -> None:
        self.storage.add_signals([A])
        self.storage.remove_signals([1])
        self.stored(self.storage.merge(1, floats([1.0]), floats([1.0]), Hold.ON, lambda x, y: None))
        self.assertEqual((self.samples(1), self.storage.summary(1)), ([], None))

    def test_a_device_goes_with_its_last_signal(self) -> None:
        self.storage.add_signals([A, B])
        self.storage.remove_signals([1])
        (kept,) = self.storage.add_signals([SignalName("one", "c")])
        self.assertEqual(kept.device_id, 1)
        self.storage.remove_signals([2, kept.id])
        (new,) = self.storage.add_signals([A])
        self.assertEqual(new.device_id, 2)
        self.result(self.storage.flush())

    def test_clear_starts_again(self) -> None:
        signal = self.filled()
        self.storage.add_event(signal, Event(A, "x", 1.0))
        self.storage.put_document("kept", 1)
        cleared = self.storage.clear()
        self.assertEqual(ids(self.storage), [])
        (again,) = self.storage.add_signals([B])
        event, _ = self.storage.add_event(again.id, Event(B, "y", 2.0))
        self.result(cleared)
        self.assertEqual((again.id, again.device_id, event.number), (1, 1, 1))
        self.assertEqual((self.samples(1), self.storage.summary(1)), ([], None))
        self.assertEqual([e.text for e in self.result(self.storage.events())], ["y"])
        self.assertEqual(self.storage.document("kept"), 1)

    def test_after_clear_a_signal_is_replaced_and_appended_to(self) -> None:
        self.storage.add_signals([A])
        for value in range(3):
            self.stored(self.storage.append([1], [float(value)], [1.0]))
        self.storage.clear()
        self.storage.add_signals([B])
        self.storage.replace(1, floats([5.0]), floats([5.0]))
        self.stored(self.storage.append([1], [6.0], [6.0]))
        self.assertEqual(self.samples(1), [(5.0, 5.0), (6.0, 6.0)])

    # Events.

    def test_events(self) -> None:
        self.storage.add_signals([A, B])
        given = [
            (1, Event(A, "first", 1.5, 2, "act", {"k": [1, None, "ü"]})),
            (2, Event(B, "\0 second", -1.0, 0, "", "text")),
            (1, Event(A, "", INF)),
        ]
        kept = [self.storage.add_event(*event) for event in given]
        for number, ((event, commit), (_, raised)) in enumerate(zip(kept, given, strict=True), start=1):
            self.stored(commit)
            self.assertEqual((event.number, event.text, event.value), (number, raised.text, raised.value))
        events = [event for event, _ in kept]
        self.assertEqual(self.result(self.storage.events()), events)
        self.assertEqual(self.result(self.storage.events(limit=2)), events[1:])
        self.assertEqual(self.result(self.storage.events([1])), [events[0], events[2]])
        self.assertEqual(self.result(self.storage.events([1, 2, 3], 1)), events[2:])
        for nothing in (self.storage.events([]), self.storage.events([9]), self.storage.events(limit=0)):
            self.assertEqual(self.result(nothing), [])
        self.assertEqual(self.result(self.storage.events(limit=10**30)), events)
        self.assertEqual(self.result(self.storage.events(limit=2, after=0)), events[:2])
        self.assertEqual(self.result(self.storage.events(after=1)), events[1:])
        self.assertEqual(self.result(self.storage.events([1], 1, after=1)), events[2:])
        self.assertEqual(self.result(self.storage.events(limit=2, after=3)), [])

    def test_removing_events(self) -> None:
        self.storage.add_signals([A])
        for _ in range(3):
            self.storage.add_event(1, Event(A, "x", 1.0))
        self.assertEqual(self.result(self.storage.remove_events([3, 1, 3, 0, -1, 77, 2**70])), 2)
        self.assertEqual(self.storage.add_event(1, Event(A, "y", 1.0))[0].number, 4)
        self.assertEqual([e.number for e in self.result(self.storage.events())], [2, 4])
        self.assertEqual(self.result(self.storage.remove_events(None)), 2)
        self.assertEqual(self.storage.add_event(1, Event(A, "z", 1.0))[0].number, 1)
        self.assertEqual([e.text for e in self.result(self.storage.events())], ["z"])

    def test_a_value_that_json_cannot_say_is_refused(self) -> None:
        self.storage.add_signals([A])
        with self.assertRaises(BadValue):
            self.storage.add_event(1, Event(A, "x", 1.0, value=b"bytes"))
        with self.assertRaises(BadValue):
            self.storage.put_document("key", {1, 2})
        self.assertEqual(self.storage.add_event(1, Event(A, "y", 1.0))[0].number, 1)
        self.assertIsNone(self.storage.document("key"))

    def test_notes_of_an_event(self) -> None:
        self.storage.add_signals([A])
        alarm, cause = {"active": True, "by": ["ü", None]}, {"id": "c0ffee", "values": {"one.a": 1.5}}
        given = Event(A, "x", 1.0, alarm=alarm, cause=cause)
        kept, commit = self.storage.add_event(1, given)
        self.stored(commit)
        self.assertEqual((kept.alarm, kept.cause), (alarm, cause))
        alarm["by"] = "changed later"
        plain, _ = self.storage.add_event(1, Event(A, "y", 2.0))
        self.assertEqual((plain.alarm, plain.cause), (None, None))
        # Whoever reads events does not read why they came.
        self.assertEqual(
            [(event.alarm, event.cause) for event in self.result(self.storage.events())],
            [({"active": True, "by": ["ü", None]}, None), (None, None)],
        )
        notes = {"alarm": {"active": True, "by": ["ü", None]}, "cause": cause}
        self.assertEqual(self.notes(1), notes)
        self.assertEqual(self.notes(2), {})
        for number in (3, 0, -1, 2**70):
            self.assertIsNone(self.notes(number))

    def notes(self, number: int) -> Any:
        return self.result(self.storage.event_notes(number))

    def test_notes_change_one_by_one(self) -> None:
        self.storage.add_signals([A])
        for _ in range(2):
            self.storage.add_event(1, Event(A, "x", 1.0))
        note = {"alarm": {"active": True}, "cause": [1]}
        self.stored(self.storage.note_event(2, note))
        note["alarm"] = "changed later"
        self.assertEqual((self.notes(1), self.notes(2)), ({}, {"alarm": {"active": True}, "cause": [1]}))
        self.storage.note_event(2, {"cause": [1, 2]})
        self.assertEqual(self.notes(2), {"alarm": {"active": True}, "cause": [1, 2]})
        self.storage.note_event(2, {"alarm": None})
        self.assertEqual(self.notes(2), {"cause": [1, 2]})
        self.assertEqual([event.alarm for event in self.result(self.storage.events())], [None, None])
        self.storage.note_event(2, {})
        self.storage.note_event(2, {"alarm": False, "cause": None})
        self.assertEqual(self.notes(2), {"alarm": False})
        self.assertEqual([event.alarm for event in self.result(self.storage.events([1]))], [None, False])

    def test_an_event_is_noted_in_the_turn_in_which_it_was_raised(self) -> None:
        self.storage.add_signals([A])
        event, commit = self.storage.add_event(1, Event(A, "x", 1.0, cause={"actions": []}))
        self.storage.note_event(event.number, {"cause": {"actions": ["one"]}})
        self.stored(commit)
        self.assertEqual(self.notes(1), {"cause": {"actions": ["one"]}})

    def test_notes_go_with_their_events(self) -> None:
        def add() -> None:
            for number, name in enumerate((A, B, B), start=1):
                self.storage.add_event(number, Event(name, "x", 1.0, alarm={}, cause={}))

        self.storage.add_signals([A, B, C])
        add()
        self.result(self.storage.remove_events([1]))
        self.result(self.storage.remove_signals([2]))
        self.assertEqual(
            [self.notes(number) for number in (1, 2, 3)], [None, None, {"alarm": {}, "cause": {}}]
        )
        for remove in (lambda: self.storage.remove_events(None), self.storage.clear):
            self.result(remove())
            self.assertIsNone(self.notes(1))
            if self.storage.get(1) is None:
                self.storage.add_signals([A])
            # Their numbers come again, their notes do not.
            self.assertEqual(self.storage.add_event(1, Event(A, "x", 1.0))[0].number, 1)
            self.assertEqual(self.notes(1), {})

    def test_what_is_gone_takes_no_notes(self) -> None:
        self.storage.add_signals([A])
        self.storage.add_event(1, Event(A, "x", 1.0))
        self.result(self.storage.remove_events([1]))
        for number in (1, 2, 0, -1, 2**70):
            self.stored(self.storage.note_event(number, {"alarm": {}}))
        self.storage.add_event(1, Event(A, "x", 1.0))
        self.assertEqual([self.notes(1), self.notes(2)], [None, {}])

    def test_notes_that_cannot_be_kept_are_refused(self) -> None:
        self.storage.add_signals([A])
        for wrong in ({"alarm": {"at": {1}}}, {"cause": b"bytes"}):
            with self.assertRaisesRegex(BadValue, "event"):
                self.storage.add_event(1, Event(A, "x", 1.0, **wrong))
        self.assertEqual(self.storage.add_event(1, Event(A, "x", 1.0, alarm={}))[0].number, 1)
        for wrong in ({"alarm": 1, "cause": {1}}, {"text": "y"}, {"value": None}):
            with self.assertRaisesRegex(BadValue, "event"):
                self.storage.note_event(1, wrong)
        self.assertEqual(self.notes(1), {"alarm": {}})

    # Batches.

    def test_a_batch_is_seen_once_it_was_added(self) -> None:
        self.assertIsNone(self.storage.seen_batch("device", 7))
        self.stored(self.storage.add_batch("device", 7))
        self.stored(self.storage.seen_batch("device", 7))
        for source, seq in (("device", 6), ("device", 8), ("devic", 7)):
            self.assertIsNone(self.storage.seen_batch(source, seq), (source, seq))

    def test_a_batch_waits_for_what_was_written_with_it(self) -> None:
        self.storage.add_signals([A])
        written = self.storage.append([1], [1.0], [1.0])
        added = self.storage.add_batch("device", 0)
        seen = self.storage.seen_batch("device", 0)
        verifyObject(ICommit, seen)
        self.assertEqual((seen.done, added.done), (written.done, written.done))
        self.stored(seen)
        self.assertTrue(written.done and added.done)
        self.assertEqual(self.storage.counters()["values_waiting"], 0)
        self.stored(self.storage.seen_batch("device", 0))

    def test_batches_out_of_order_and_of_long_ago(self) -> None:
        for seq in range(2 * INTERVALS + 1, 1, -2):
            self.storage.add_batch("device", seq)
        self.storage.add_batch("device", 2 * INTERVALS + 3)
        self.stored(self.storage.seen_batch("device", 2 * INTERVALS + 3))
        self.assertIsNone(self.storage.seen_batch("device", 6))
        for old in (0, 2, 3):
            with self.assertRaisesRegex(BadValue, f"^batch.seq: {old} is too old"):
                self.storage.seen_batch("device", old)
        self.assertIsNone(self.storage.seen_batch("another", 0))

    def test_clearing_keeps_what_was_seen(self) -> None:
        self.storage.add_batch("device", 7)
        self.result(self.storage.clear())
        self.stored(self.storage.seen_batch("device", 7))

    def test_forgotten_sources_are_counted(self) -> None:
        for number in range(SOURCES + 2):
            self.storage.add_batch(f"device {number}", 7)
            if number == SOURCES - 1:
                self.storage.add_batch("device 1", 8)
        self.result(self.storage.flush())
        seen = [self.storage.seen_batch(f"device {number}", 7) is not None for number in range(5)]
        self.assertEqual(seen, [False, True, False, True, True])
        self.assertEqual(self.storage.counters()["sources_forgotten"], 2)

    # Documents, and the rest.

    def test_documents(self) -> None:
        value = {"a": [1, 2.5, None, True], "ü": {}}
        self.stored(self.storage.put_document("rules", value))
        value["a"] = "changed later"
        self.assertEqual(self.storage.document("rules"), {"a": [1, 2.5, None, True], "ü": {}})
        self.storage.put_document("rules", [])
        self.assertEqual(self.storage.document("rules"), [])

    def test_documents_are_removed(self) -> None:
        self.storage.put_document("rules", 1)
        self.stored(self.storage.put_document("rules", None))
        self.stored(self.storage.put_document("never there", None))
        self.assertIsNone(self.storage.document("rules"))
        self.assertEqual(self.storage.documents(""), {})
        self.storage.put_document("rules", 2)
        self.assertEqual(self.storage.document("rules"), 2)

    def test_documents_by_the_beginning_of_their_keys(self) -> None:
        for number, key in enumerate(("b", "a.2", "a.1", "a", "a_1", "A.1", "%")):
            self.storage.put_document(key, number)
        self.storage.put_document("a.0", None)
        self.assertEqual(list(self.storage.documents("a.").items()), [("a.1", 2), ("a.2", 1)])
        self.assertEqual(list(self.storage.documents("")), ["%", "A.1", "a", "a.1", "a.2", "a_1", "b"])
        self.assertEqual(self.storage.documents("c"), {})

    def test_counters(self) -> None:
        self.storage.add_signals([A])
        self.storage.append([1, 1], [1.0, 2.0], [1.0, 2.0])
        self.storage.replace(1, floats([5.0]), floats([5.0]))
        self.storage.merge(1, floats([5.0, 6.0]), floats([5.0, 6.0]), Hold.MERGE_X, lambda x, y: None)
        self.result(self.storage.flush())
        counters = self.storage.counters()
        self.assertEqual((counters["values_taken"], counters["values_waiting"]), (4, 0))
        self.assertLessEqual({"commits", "bytes_on_disk"}, counters.keys())

    def test_closing_keeps_the_promise(self) -> None:
        self.storage.add_signals([A])
        commit = self.storage.append([1], [1.0], [1.0])
        self.result(self.storage.close())
        self.assertEqual((commit.done, commit.error), (True, None))


class MemoryContractTest(ContractTests, SynchronousTestCase):
    """The reference."""

    def setUp(self) -> None:
        self.storage = MemoryStorage(max_signals=4)

    def result(self, waiting: Deferred[Any]) -> Any:
        return _now(waiting)


class SqliteContractTest(ContractTests, SynchronousTestCase):
    """SQLite whose jobs are done when they are given, folding all the time."""

    queues: type[Queues] = InstantQueues

    def setUp(self) -> None:
        self.patch(journal, "FOLD_AT_ROWS", 2)
        self.patch(chunks, "CHUNK_SAMPLES", 3)
        self.bench = Bench(Path(self.mktemp()), self.queues, max_signals=4)
        self.addCleanup(self.let_go)
        self.storage = self.bench.storage

    def let_go(self) -> None:
        if not self.bench.queues.stopped:
            self.bench.close()

    def result(self, waiting: Deferred[Any]) -> Any:
        return self.bench.result(waiting)


class PumpedSqliteContractTest(SqliteContractTest):
    """SQLite whose jobs wait until a test needs their result: whole tests in one group."""

    queues = Queues

    def test_one_turn_is_one_commit(self) -> None:
        before = self.bench.database.transactions
        self.filled()
        self.storage.add_event(1, Event(A, "x", 1.0))
        self.storage.put_document("key", 1)
        self.storage.replace(1, floats([1.0]), floats([1.0]))
        self.bench.queues.clock.advance(0)
        self.bench.queues.write_one()
        # Two, as the journal is folded after the commit.
        self.assertLessEqual(self.bench.database.transactions - before, 2)
        self.bench.pump()
        self.assertEqual(self.storage.counters()["commits"], 1)

    def test_nothing_is_done_before_it_is_written(self) -> None:
        self.storage.add_signals([A])
        first = self.storage.append([1], [1.0], [1.0])
        self.assertIs(self.storage.append([1], [2.0], [2.0]), first)
        self.bench.queues.clock.advance(0)
        second = self.storage.append([1], [3.0], [3.0])
        self.assertIsNot(second, first)
        self.assertEqual(self.storage.summary(1).count, 3)
        read = self.storage.read([(1, Window())])
        self.bench.queues.write_one()
        self.assertFalse(first.done)
        self.bench.queues.posts.popleft()()
        self.assertEqual((first.done, second.done), (True, False))
        self.assertNoResult(read)
        self.assertEqual(len(pairs(self.result(read)[0])), 3)

    def test_what_is_being_written_is_waited_for(self) -> None:
        self.bench.pump()
        self.filled()
        self.bench.queues.clock.advance(0)
        read, flushed = self.storage.read([(1, Window())]), self.storage.flush()
        self.assertEqual(len(self.bench.queues.queries), 0)
        self.assertNoResult(flushed)
        self.assertEqual(len(self.result(read)[0].x), 5)
        self.successResultOf(flushed)

    def test_a_read_needs_no_turn_of_its_own(self) -> None:
        self.filled()
        self.bench.pump()
        read = self.storage.read([(1, Window())])
        self.bench.queues.queries.popleft()()
        self.assertEqual(len(self.successResultOf(read)[0].x), 5)


class ThreadedSqliteTest(TestCase):
    """The real writer's thread, the real pool, the real reactor."""

    timeout = 30

    @inlineCallbacks
    def test_everything_is_there_after_a_restart(self) -> Any:
        directory = Path(self.mktemp())
        directory.mkdir()
        storage = self.open(directory)
        storage.add_signals([A, B])
        commits = []
        for turn in range(300):
            commits.append(storage.append([1, 2], [float(turn)] * 2, [turn * 1.0, turn * 2.0]))
            if not turn % 10:
                yield storage.flush()
        event, _ = storage.add_event(2, Event(B, "x", 1.0))
        (found,) = yield storage.read([(2, Window())])
        self.assertEqual(pairs(found), [(float(turn), turn * 2.0) for turn in range(300)])
        self.assertTrue(all(commit.done and commit.error is None for commit in commits))
        self.assertLess(storage.counters()["commits"], 300)
        yield storage.close()
        storage = self.open(directory)
        (again,) = yield storage.read([(2, Window())])
        assert_same_columns(again, found)
        self.assertEqual((yield storage.events()), [event])
        yield storage.close()

    @inlineCallbacks
    def test_many_read_at_a_time(self) -> Any:
        directory = Path(self.mktemp())
        directory.mkdir()
        storage = self.open(directory)
        storage.add_signals([A])
        reads = []
        for turn in range(40):
            storage.append([1], [float(turn)], [1.0])
            reads.append(storage.read([(1, Window())]))
        for turn, read in enumerate(reads):
            (columns,) = yield read
            self.assertGreaterEqual(len(columns.x), turn + 1)
        yield storage.close()

    def open(self, directory: Path) -> SqliteStorage:
        return SqliteStorage(
            directory,
            clock=reactor,
            writer=WriterThread(),
            post=reactor.callFromThread,
            in_thread=deferToThread,
        )


NUMBERS = st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, 1e300, NAN, INF, -INF]) | st.floats()
SAMPLES = st.lists(st.tuples(NUMBERS, NUMBERS), max_size=12)
NAMES = [SignalName(device, name) for device in ("one", "two") for name in ("a", "b", "c")]
WINDOWS = st.builds(
    Window,
    x_min=st.none() | NUMBERS,
    x_max=st.none() | NUMBERS,
    max_points=st.none() | st.integers(1, 20),
    newest=st.none() | st.integers(0, 20),
)
WHICH = st.integers(0, 5)
NOTES = st.dictionaries(
    st.sampled_from(["alarm", "cause"]), st.none() | st.lists(st.integers() | st.none(), max_size=2)
)


class Against(RuleBasedStateMachine):
    """SQLite against the reference: random changes, turns, commits, folds, failures and restarts.

    A change is kept as a function of a store, with the commit that carries it: after a failure the
    reference is made anew of those that were committed.
    """

    base = Path()
    made = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        self.bench = Bench(self.base / str(self.made))
        self.memory = MemoryStorage()
        self.log: list[tuple[Callable[[IStorage, list[Any]], object], ICommit]] = []
        self.told: list[Any] = []
        self.expected_told: list[Any] = []
        # Of each signal a place in either store, both the same.
        self.cursors: dict[int, tuple[Cursor, Cursor]] = {}
        self.failing = False

    def change(self, how: Callable[[IStorage, list[Any]], object]) -> None:
        storage = self.bench.storage
        how(self.memory, self.expected_told)
        how(storage, self.told)
        # What was taken in one turn has one commit.
        self.log.append((how, storage.append([], [], [])))

    def some(self, which: int) -> int | None:
        """Return the number of some signal."""
        signals = self.memory.signals()
        return signals[which % len(signals)].id if signals else None

    @rule(name=st.sampled_from(NAMES))
    def add(self, name: SignalName) -> None:
        if self.memory.find(name) is None:
            self.change(lambda storage, _: storage.add_signals([name]))

    @rule(which=WHICH, unit=st.sampled_from(["", "V", "°C"]))
    def unit(self, which: int, unit: str) -> None:
        if (number := self.some(which)) is not None:
            self.change(lambda storage, _: storage.set_unit(number, unit))

    @rule(values=st.lists(st.tuples(WHICH, NUMBERS, NUMBERS), max_size=30))
    def append(self, values: list[tuple[int, float, float]]) -> None:
        if self.memory.signals():
            columns = (
                [self.some(which) for which, _, _ in values],
                [x for _, x, _ in values],
                [y for _, _, y in values],
            )
            self.change(lambda storage, _: storage.append(*columns))

    @rule(which=WHICH, samples=SAMPLES)
    def replace(self, which: int, samples: list[tuple[float, float]]) -> None:
        if (number := self.some(which)) is not None:
            x, y = floats([x for x, _ in samples]), floats([y for _, y in samples])
            self.change(lambda storage, _: storage.replace(number, x, y))

    @rule(which=WHICH, samples=SAMPLES, hold=st.sampled_from([Hold.ON, Hold.MERGE_X, Hold.MERGE_Y]))
    def merge(self, which: int, samples: list[tuple[float, float]], hold: Hold) -> None:
        if (number := self.some(which)) is not None:
            x, y = floats([x for x, _ in samples]), floats([y for _, y in samples])

            def merge(storage: IStorage, told: list[Any]) -> None:
                storage.merge(number, x, y, hold, lambda *pairs: told.append(np.stack(pairs)))

            self.change(merge)

    @rule(which=st.lists(WHICH, max_size=3))
    def remove(self, which: list[int]) -> None:
        numbers = [self.some(one) or 77 for one in which]
        self.change(lambda storage, told: _tell(storage.remove_signals(numbers), told))

    @rule(sure=st.integers(0, 4))
    def clear(self, sure: int) -> None:
        if not sure:
            self.change(lambda storage, told: _tell(storage.clear(), told))

    @rule(which=WHICH, text=st.text(st.characters(codec="utf-8"), max_size=5), x=NUMBERS)
    def event(self, which: int, text: str, x: float) -> None:
        if (number := self.some(which)) is not None:
            notes = {"alarm": {"text": text}, "cause": [text]} if which else {}
            event = Event(self.memory.get(number).name, text, x, value=[text], **notes)
            self.change(lambda storage, _: storage.add_event(number, event))

    @rule(number=st.integers(0, 8), notes=NOTES)
    def note(self, number: int, notes: dict[str, Any]) -> None:
        self.change(lambda storage, _: storage.note_event(number, notes))

    @rule(numbers=st.none() | st.lists(st.integers(0, 8), max_size=3))
    def remove_events(self, numbers: list[int] | None) -> None:
        self.change(lambda storage, told: _tell(storage.remove_events(numbers), told))

    @rule(
        key=st.sampled_from(["a", "b"]),
        value=st.none() | st.integers() | st.text(st.characters(codec="utf-8")),
    )
    def document(self, key: str, value: Any) -> None:
        self.change(lambda storage, _: storage.put_document(key, value))

    @rule(source=st.sampled_from("ab"), seq=st.integers(0, 9))
    def batch(self, source: str, seq: int) -> None:
        self.change(lambda storage, _: storage.add_batch(source, seq))

    @rule()
    def turn(self) -> None:
        self.bench.queues.clock.advance(0)

    @precondition(lambda self: self.bench.queues.jobs)
    @rule()
    def write(self) -> None:
        self.bench.queues.write_one()

    @rule(windows=st.lists(st.tuples(WHICH, WINDOWS), max_size=4))
    def read(self, windows: list[tuple[int, Window]]) -> None:
        self.pump()
        requests = [(self.some(which) or 77, window) for which, window in windows]
        found = self.bench.result(self.bench.storage.read(requests))
        for columns, expected in zip(found, _now(self.memory.read(requests)), strict=True):
            assert_same_columns(columns, expected)

    @rule(which=WHICH, limit=st.integers(1, 20), x_min=st.none() | NUMBERS, anew=st.booleans())
    def page(self, which: int, limit: int, x_min: float | None, anew: bool) -> None:
        self.pump()
        number = self.some(which)
        if number is None:
            return
        after: Any = (None, None) if anew else self.cursors.get(number, (None, None))
        windows = [Window(x_min=x_min, page=Page(place, limit), partly=True) for place in after]
        (columns,) = self.bench.result(self.bench.storage.read([(number, windows[0])]))
        (expected,) = _now(self.memory.read([(number, windows[1])]))
        assert_same_columns(columns, expected)
        assert (columns.more, type(columns.error)) == (expected.more, type(expected.error))
        if columns.cursor is None:
            assert expected.cursor is None and not anew
            del self.cursors[number]
        else:
            assert columns.cursor.ordinal == expected.cursor.ordinal
            self.cursors[number] = columns.cursor, expected.cursor

    @rule(which=WHICH, window=WINDOWS, width=st.sampled_from([0.5, 2.0, 1e6]), origin=st.integers(-1, 1))
    def aggregate(self, which: int, window: Window, width: float, origin: float) -> None:
        self.pump()
        request = [(self.some(which) or 77, window, Buckets(width, float(origin)))]
        (found,) = self.bench.result(self.bench.storage.aggregate(request))
        (expected,) = _now(self.memory.aggregate(request))
        # What is added up depends on the order where it is beyond what floats can hold.
        for column in ("start", "count", "minimum", "maximum", "first", "last"):
            np.testing.assert_array_equal(getattr(found, column), getattr(expected, column), column)

    @rule(
        which=st.none() | st.lists(WHICH, max_size=2),
        limit=st.none() | st.integers(0, 4),
        after=st.none() | st.integers(0, 4),
    )
    def events(self, which: list[int] | None, limit: int | None, after: int | None = None) -> None:
        self.pump()
        numbers = None if which is None else [self.some(one) or 77 for one in which]
        found = self.bench.result(self.bench.storage.events(numbers, limit, after))
        assert repr(found) == repr(_now(self.memory.events(numbers, limit, after)))
        for number in range(9):
            notes = self.bench.result(self.bench.storage.event_notes(number))
            assert notes == _now(self.memory.event_notes(number))

    @rule()
    def break_disk(self) -> None:
        self.pump()
        self.bench.database.faults.append(StorageFailed(BROKEN))
        self.failing = True

    @rule()
    def restart(self) -> None:
        self.pump()
        self.bench.reopen()
        self.check()

    def pump(self) -> None:
        """Commit everything; where that fails, make the reference anew of what was committed."""
        self.bench.pump()
        kept = [(how, commit) for how, commit in self.log if commit.error is None]
        if len(kept) < len(self.log):
            self.log, self.memory, self.expected_told, self.cursors = kept, MemoryStorage(), [], {}
            for how, _ in kept:
                how(self.memory, self.expected_told)
        self.bench.database.faults.clear()
        self.failing = False
        assert len(self.told) == len(self.expected_told)
        for found, expected in zip(self.told, self.expected_told, strict=True):
            np.testing.assert_array_equal(found, expected)

    @invariant()
    def check(self) -> None:
        storage = self.bench.storage
        if not self.failing:
            assert storage.signals() == self.memory.signals()
            assert storage.documents("") == self.memory.documents("")
            assert _batches(storage) == _batches(self.memory)

    @rule()
    def summaries(self) -> None:
        # Those that are asked for early are counted in parts.
        for number in ids(self.bench.storage):
            self.bench.storage.summary(number)

    def teardown(self) -> None:
        self.pump()
        for number in ids(self.memory):
            assert_same_summary(self.bench.storage.summary(number), self.memory.summary(number))
        self.bench.reopen()
        self.check()
        for number in ids(self.memory):
            assert_same_summary(self.bench.storage.summary(number), self.memory.summary(number))
            self.read([(0, Window()), (1, Window()), (2, Window())])
        self.events(None, None)
        self.bench.close()


def _batches(storage: IStorage) -> list[tuple[str, int]]:
    """Return the batches that were seen."""
    every = [(source, seq) for source in "ab" for seq in range(10)]
    return [batch for batch in every if storage.seen_batch(*batch) is not None]


def _tell(waiting: Deferred[Any], told: list[Any]) -> None:
    waiting.addCallbacks(lambda result: told.append(np.array(result, dtype=object)), lambda _: None)


def _now(waiting: Deferred[Any]) -> Any:
    found: list[Any] = []
    waiting.addBoth(found.append)
    (result,) = found
    if isinstance(result, Failure):
        result.raiseException()
    return result


class RandomSequencesTest(SynchronousTestCase):
    """SQLite does what the reference does."""

    def test_random_sequences(self) -> None:
        self.patch(journal, "FOLD_AT_VALUES", 40)
        self.patch(journal, "FOLD_AT_ROWS", 6)
        self.patch(chunks, "CHUNK_SAMPLES", 16)
        base = Path(self.mktemp())
        base.mkdir()
        self.patch(Against, "base", base)
        run_state_machine_as_test(
            Against,
            settings=settings(unhurried, max_examples=60, stateful_step_count=30),
        )
        self.assertGreater(Against.made, 50)
