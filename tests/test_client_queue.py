"""What waits on the client: the same contract in memory and on disk; what a crash leaves."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client.diskqueue import DiskQueue
from rtoc_twisted.client.failures import QueueFull
from rtoc_twisted.client.queue import Entry, Limits, MemoryQueue, Queue
from rtoc_twisted.errors import BadValue, Busy, StorageFailed, TooLarge

from .process_support import ROOT, environment
from .storage_support import unhurried

MANY = Limits()


def waiting(queue: Queue) -> list[Entry]:
    """Return all that waits, in order."""
    found: list[Entry] = []
    reached = -1
    while (entry := queue.after(reached)) is not None:
        found.append(entry)
        reached = entry.seq
    return found


def texts(queue: Queue) -> list[str]:
    return [entry.text for entry in waiting(queue)]


class QueueContract:
    """What every Queue promises; `make` returns a new one."""

    def make(self, limits: Limits) -> Queue:
        raise AssertionError("a subclass says which")

    def filled(self, *lines: str, limits: Limits = MANY) -> Queue:
        queue: Queue = self.make(limits)
        self.addCleanup(queue.close)
        for line in lines:
            queue.add(line)
        return queue

    def test_in_order_until_removed(self) -> None:
        queue = self.filled("a", "bb", "ccc", "dddd")
        self.assertEqual(waiting(queue), [Entry(0, "a"), Entry(1, "bb"), Entry(2, "ccc"), Entry(3, "dddd")])
        self.assertEqual((len(queue), queue.size, queue.oldest, queue.next_seq), (4, 10, 0, 4))
        self.assertEqual((queue.remove(1), queue.remove(1), queue.remove(9)), (True, False, False))
        self.assertEqual((texts(queue), queue.oldest), (["a", "ccc", "dddd"], 0))
        queue.remove(0)
        self.assertEqual((len(queue), queue.size, queue.oldest), (2, 7, 2))
        self.assertEqual(queue.after(2), Entry(3, "dddd"))
        self.assertIsNone(queue.after(3))

    def test_numbers_never_come_again(self) -> None:
        queue = self.filled("a", "b")
        queue.remove(1)
        queue.remove(0)
        self.assertEqual((len(queue), queue.size, queue.oldest), (0, 0, queue.next_seq))
        queue.add("c")
        self.assertEqual(waiting(queue), [Entry(2, "c")])

    def test_full_and_refusing(self) -> None:
        for limits in (Limits(2, 100), Limits(100, 3)):
            queue = self.filled("a", "b", limits=limits)
            self.assertRaises(QueueFull, queue.add, "cc")
            self.assertEqual((texts(queue), queue.dropped), (["a", "b"], 0))
            queue.remove(0)
            queue.add("cc")
            self.assertEqual(texts(queue), ["b", "cc"])

    def test_full_and_dropping_the_oldest(self) -> None:
        queue = self.filled("a", "b", "c", limits=Limits(100, 3, "oldest"))
        self.assertEqual(queue.add("dd"), True)
        self.assertEqual((texts(queue), queue.dropped, queue.remove(0)), (["c", "dd"], 2, False))

    def test_full_and_dropping_the_newest(self) -> None:
        queue = self.filled("a", "b", limits=Limits(2, 100, "newest"))
        self.assertEqual(queue.add("c"), False)
        self.assertEqual((texts(queue), queue.dropped), (["a", "b"], 1))

    def test_what_never_fits(self) -> None:
        for when_full in ("refuse", "oldest", "newest"):
            queue = self.filled("a", limits=Limits(9, 3, when_full))
            self.assertRaises(TooLarge, queue.add, "bbbb")
            self.assertEqual((texts(queue), queue.dropped), (["a"], 0))


class MemoryQueueTests(QueueContract, SynchronousTestCase):
    def make(self, limits: Limits) -> Queue:
        return MemoryQueue(limits)

    def test_each_has_a_name(self) -> None:
        self.assertNotEqual(MemoryQueue(MANY).source, MemoryQueue(MANY).source)


class LimitsTests(SynchronousTestCase):
    def test_limits_that_cannot_be(self) -> None:
        for wrong in ((0, 1), (1, 0), (1, 1, "wait")):
            self.assertRaises(BadValue, Limits, *wrong)


class DiskQueueTests(QueueContract, SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "queue"

    def make(self, limits: Limits) -> Queue:
        # Some contracts make two.
        shutil.rmtree(self.path, ignore_errors=True)
        return self.open(limits=limits)

    def open(self, path: Path | None = None, limits: Limits = MANY, **options: Any) -> DiskQueue:
        queue = DiskQueue(path or self.path, limits, segment_size=60, **options)
        self.addCleanup(queue.close)
        return queue

    def crashed(self, queue: DiskQueue) -> Path:
        """Return a copy of the directory as a kill would leave it, with the queue still open."""
        copy = Path(self.mktemp())
        shutil.copytree(self.path, copy)
        return copy

    def lines(self, path: Path | None = None) -> list[Path]:
        return sorted((path or self.path).glob("*.lines"))

    def test_it_outlives_its_process(self) -> None:
        first = self.open()
        for n in range(10):
            first.add(f"text {n}")
        for n in (0, 1, 4):
            first.remove(n)
        for path in (self.crashed(first), self.path):
            first.close()
            again = self.open(path)
            self.assertEqual((again.source, again.damaged), (first.source, 0))
            # What was removed behind another may wait again: it has its old number.
            self.assertEqual(waiting(again), [Entry(n, f"text {n}") for n in range(2, 10)])
            self.assertEqual((len(again), again.size, again.oldest), (8, 48, 2))
            numbers = again.next_seq
            again.add("new")
            self.assertEqual(waiting(again)[-1], Entry(numbers, "new"))
            self.assertGreaterEqual(numbers, 10)

    def test_numbers_go_on_after_a_proper_end(self) -> None:
        for n in range(3):
            queue = self.open()
            queue.add("a")
            queue.close()
            self.assertEqual(queue.next_seq, n + 1)

    def test_a_number_is_not_used_again_where_its_line_was_lost(self) -> None:
        """A power cut takes lines that were sent, and their files; the numbers are the server's for ever."""
        queue = self.open()
        for n in range(10):
            queue.add(f"text {n}")
        copy = self.crashed(queue)
        for path in self.lines(copy):
            path.unlink()
        again = self.open(copy)
        self.assertEqual(again.source, queue.source)
        self.assertGreaterEqual(again.next_seq, 10)

    def test_a_torn_last_line(self) -> None:
        queue = self.open()
        queue.add("whole")
        queue.add("torn")
        whole = self.lines()[0].read_bytes()
        start = whole.index(b"\n") + 1
        for end in range(start, len(whole)):
            copy = self.crashed(queue)
            self.lines(copy)[0].write_bytes(whole[:end])
            again = self.open(copy)
            self.assertEqual((texts(again), again.damaged), (["whole"], 0))

    def test_damaged_lines(self) -> None:
        queue = self.open()
        for text in ("aaa", "bbb", "ccc"):
            queue.add(text)
        path = self.lines(copy := self.crashed(queue))[0]
        path.write_bytes(path.read_bytes().replace(b"bbb", b"b\nb"))
        with self.assertLogs("rtoc_twisted.client", "ERROR"):
            again = self.open(copy)
        self.assertEqual((texts(again), again.damaged), (["aaa", "ccc"], 2))

    def test_one_process_at_a_time(self) -> None:
        queue = self.open()
        self.assertRaises(Busy, self.open)
        queue.close()
        self.open().add("a")

    def test_space_is_given_back(self) -> None:
        queue = self.open()
        for n in range(100):
            queue.add(f"text {n}")
        before = len(self.lines())
        self.assertGreater(before, 20)
        for n in range(50):
            queue.remove(n)
        self.assertLess(len(self.lines()), before / 2 + 2)
        for n in range(50, 100):
            queue.remove(n)
        self.assertLessEqual(len(self.lines()), 1)
        queue.add("x" * 100)
        queue.remove(queue.oldest)
        self.assertEqual(self.lines(), [])
        queue.add("again")
        self.assertEqual(texts(queue), ["again"])

    def test_a_full_disk(self) -> None:
        queue = self.open()
        queue.add("first")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = self.lines()[0].stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
        try:
            self.assertRaises(StorageFailed, queue.add, "second")
            self.assertRaises(StorageFailed, queue.add, "x" * 100)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        self.assertEqual((texts(queue), len(queue), queue.size), (["first"], 1, 5))
        queue.add("third")
        for it in (queue, self.open(self.crashed(queue))):
            self.assertEqual(
                (texts(it), it.damaged if isinstance(it, DiskQueue) else 0), (["first", "third"], 0)
            )
        self.assertEqual((queue.remove(0), queue.remove(queue.oldest), texts(queue)), (True, True, []))

    def test_fsync_before_it_is_taken(self) -> None:
        synced: list[str] = []
        real = os.fsync

        def fsync(file: int) -> None:
            synced.append(str(Path(f"/proc/self/fd/{file}").readlink()))
            real(file)

        queue = self.open(fsync=True)
        self.patch(os, "fsync", fsync)
        queue.add("a")
        path = str(self.lines()[0].absolute())
        self.assertEqual((synced[-1], synced.count(path)), (path, 1))
        self.assertIn(str(self.path.absolute()), synced)
        queue.add("b")
        self.assertEqual(synced.count(path), 2)

    def test_what_could_not_be_synchronised_is_not_there(self) -> None:
        def fsync(_: int) -> None:
            raise OSError("the disk is gone")

        queue = self.open(fsync=True)
        queue.add("first")
        patch = self.patch(os, "fsync", fsync)
        self.assertRaises(StorageFailed, queue.add, "second")
        patch.restore()
        queue.add("third")
        for it in (queue, self.open(self.crashed(queue))):
            self.assertEqual(texts(it), ["first", "third"])

    def test_directories_that_are_none(self) -> None:
        self.path.parent.mkdir()
        self.path.write_text("a file")
        self.assertRaises(BadValue, self.open)
        other = self.path.parent / "other"
        other.mkdir()
        for wrong in ("", "[]", '{"source": "a"}'):
            (other / "source.json").write_text(wrong)
            self.assertRaises(BadValue, self.open, other)

    @unhurried
    @given(
        st.lists(
            st.one_of(st.text('ab"\\ 0', max_size=30), st.integers(0, 12), st.sampled_from(["close", "kill"]))
        )
    )
    def test_against_a_list(self, steps: list[Any]) -> None:
        """Texts are added, n removes the n-th that waits, and the process ends in either way."""
        self.path = Path(self.mktemp())
        queue = self.open()
        model: list[Entry] = []
        used = -1
        for step in steps:
            if isinstance(step, int):
                if step < len(model):
                    self.assertTrue(queue.remove(model.pop(step).seq))
            elif step in ("close", "kill"):
                copy = self.crashed(queue)
                queue.close()
                self.path = copy if step == "kill" else self.path
                queue = self.open()
                found = waiting(queue)
                # Only what was removed out of order may be there again, and is then between others.
                self.assertEqual([entry for entry in found if entry in model], model)
                self.assertEqual(found[:1], model[:1])
                model = found
            else:
                model.append(Entry(queue.next_seq, step))
                self.assertTrue(queue.add(step))
                self.assertGreater(model[-1].seq, used)
                used = model[-1].seq
            self.assertEqual(waiting(queue), model)
            self.assertEqual((len(queue), queue.size), (len(model), sum(len(it.text) for it in model)))
        queue.close()


FILLER = """
import sys
from rtoc_twisted.client.diskqueue import DiskQueue
from rtoc_twisted.client.queue import Limits

queue = DiskQueue(sys.argv[1], Limits(), segment_size=1000)
for n in range(10**9):
    queue.add(f"line {n}")
    sys.stdout.write(f"{n}\\n")
    sys.stdout.flush()
    if n % 7 == 6:
        queue.remove(queue.oldest)
"""


class KillTests(SynchronousTestCase):
    def test_what_was_taken_is_there(self) -> None:
        path = Path(self.mktemp()).absolute()
        for heard in (1, 50, 500):
            shutil.rmtree(path, ignore_errors=True)
            with subprocess.Popen(
                [sys.executable, "-c", FILLER, str(path)],
                cwd=ROOT,
                env=environment(),
                stdout=subprocess.PIPE,
                text=True,
            ) as child:
                assert child.stdout is not None
                for _ in range(heard):
                    child.stdout.readline()
                child.send_signal(signal.SIGKILL)
                taken = heard + len(child.stdout.read().splitlines())
            queue = DiskQueue(path, MANY)
            found = [int(text.removeprefix("line ")) for text in texts(queue)]
            queue.close()
            # One more may have been written than told, and one more removed.
            self.assertIn(found[0], (taken // 7, taken // 7 - 1, (taken + 1) // 7))
            self.assertEqual(found, list(range(found[0], found[-1] + 1)))
            self.assertIn(found[-1], (taken - 1, taken))
            self.assertEqual(queue.damaged, 0)
