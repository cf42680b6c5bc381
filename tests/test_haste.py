"""Short commits are done at once, in the reactor's thread; all others by the writer."""

from __future__ import annotations

from pathlib import Path
from queue import Queue

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.model import SignalName, Window
from rtoc_twisted.storage.group import Group, Task
from rtoc_twisted.storage.haste import CAUTIOUS_SECONDS, SHORT_VALUES, SLOW_SECONDS, Haste
from rtoc_twisted.storage.writer import WriterThread
from tests.storage_support import BROKEN, FULL, Bench, Queues, floats, pairs


class HasteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.haste = Haste(self.clock, allowed=True)

    def group(self, values: int = 1) -> Group:
        group = Group()
        group.append([1] * values, [0.0] * values, [0.0] * values)
        return group

    def test_short_groups(self) -> None:
        self.assertTrue(self.haste.allows(self.group()))
        self.assertFalse(self.haste.allows(self.group(SHORT_VALUES + 1)))

    def test_who_waits_for_a_result_waits_for_the_writer(self) -> None:
        group = self.group()
        group.add(Task(lambda _: None))
        self.assertTrue(self.haste.allows(group))
        group.add(Task(lambda _: None, Deferred()))
        self.assertFalse(self.haste.allows(group))

    def test_what_waits_for_the_disk_does_not_hold_up_the_reactor(self) -> None:
        group = self.group()
        group.commit.durable = True
        self.assertFalse(self.haste.allows(group))
        self.assertFalse(Haste(self.clock, allowed=False).allows(self.group()))

    def test_a_slow_disk_is_left_to_the_writer_for_a_while(self) -> None:
        self.haste.took(SLOW_SECONDS)
        self.assertTrue(self.haste.allows(self.group()))
        self.haste.took(2 * SLOW_SECONDS)
        self.assertFalse(self.haste.allows(self.group()))
        self.clock.advance(CAUTIOUS_SECONDS)
        self.assertTrue(self.haste.allows(self.group()))
        self.assertEqual((self.haste.hasty, self.haste.slow), (2, 1))


class IdleQueues(Queues):
    """A writer that has nothing to do unless it was given something."""

    @property
    def idle(self) -> bool:  # type: ignore[override]  # a class attribute of the others
        return not self.jobs


class CommitTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp()).resolve()
        self.bench = Bench(directory, IdleQueues)
        self.addCleanup(lambda: self.bench.close())
        self.storage, self.queues = self.bench.storage, self.bench.queues
        (self.signal,) = self.storage.add_signals([SignalName("a", "b")])
        self.bench.pump()

    def samples(self) -> list[tuple[float, float]]:
        (columns,) = self.bench.result(self.bench.storage.read([(self.signal.id, Window())]))
        return pairs(columns)

    def test_a_value_is_stored_in_the_turn_after(self) -> None:
        commit = self.storage.append([self.signal.id], [1.0], [2.0])
        self.assertFalse(commit.done)
        self.queues.clock.advance(0)
        self.assertEqual((commit.done, commit.error, len(self.queues.jobs)), (True, None, 0))
        self.bench.reopen()
        self.assertEqual(self.samples(), [(1.0, 2.0)])

    def test_behind_a_job_it_waits_for_its_turn(self) -> None:
        order: list[str] = []
        self.queues.do(lambda: order.append("job"))
        self.storage.append([self.signal.id], [1.0], [2.0]).when_done(lambda: order.append("stored"))
        self.queues.clock.advance(0)
        self.assertEqual(len(self.queues.jobs), 2)
        self.bench.pump()
        self.assertEqual(order, ["job", "stored"])

    def test_what_is_taken_while_it_is_told_goes_with_the_next(self) -> None:
        done: list[float] = []

        def again(number: float) -> None:
            done.append(number)
            if number < 500:
                self.storage.append([self.signal.id], [number], [number]).when_done(lambda: again(number + 1))

        again(0.0)
        self.bench.pump()
        self.assertEqual(len(done), 501)
        self.assertEqual(len(self.samples()), 500)

    def test_a_failure_is_told_and_recording_goes_on(self) -> None:
        for fault in (FULL, BROKEN):
            self.bench.database.faults.append(OSError(fault))
            failed = self.storage.append([self.signal.id], [1.0], [2.0])
            self.queues.clock.advance(0)
            # To make room is left to the writer.
            self.assertEqual((failed.done, len(self.queues.jobs)), (False, 1))
            self.bench.pump()
            assert failed.error is not None
            self.assertIn(fault, failed.error.message)
        self.storage.append([self.signal.id], [3.0], [4.0])
        self.bench.pump()
        self.assertEqual(self.samples(), [(3.0, 4.0)])

    def test_to_replace_many_samples_is_for_the_writer(self) -> None:
        many = floats(range(SHORT_VALUES + 1))
        for x, jobs in ((many, 1), (floats([1.0]), 1), (floats([2.0]), 0)):
            self.storage.replace(self.signal.id, x, x)
            self.queues.clock.advance(0)
            self.assertEqual(len(self.queues.jobs), jobs)
            self.bench.pump()
        self.assertEqual(self.samples(), [(2.0, 2.0)])

    def test_counters(self) -> None:
        self.storage.append([self.signal.id], [1.0], [2.0])
        self.bench.pump()
        counters = self.storage.counters()
        self.assertEqual((counters["commits_at_once"], counters["commits_slow"]), (2, 0))
        self.assertEqual((counters["largest_commit"], counters["values_a_commit"]), (1, 0.5))


class WriterTests(SynchronousTestCase):
    def test_idle_when_all_is_done(self) -> None:
        writer = WriterThread()
        self.addCleanup(writer.stop)
        begun: Queue[bool] = Queue()
        go_on: Queue[bool] = Queue()
        self.assertTrue(writer.idle)

        def wait() -> None:
            begun.put(True)
            go_on.get()

        writer.do(wait)
        begun.get()
        self.assertFalse(writer.idle)
        done: Queue[bool] = Queue()
        writer.do(lambda: done.put(writer.idle))
        go_on.put(True)
        # It is not idle as long as a job of it runs.
        self.assertFalse(done.get())
