"""Damage to a store that opens, or is open: told, counted out, and no hindrance to anything else."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import NotAvailable
from rtoc_twisted.model import Event, Hold, SignalName, Window
from rtoc_twisted.storage import database, journal
from rtoc_twisted.storage.check import DELAY
from tests.storage_support import BROKEN, Bench, assert_same_summary, floats, pairs

A, B = SignalName("one", "a"), SignalName("one", "b")


class CareCase(SynchronousTestCase):
    """A store on queues, which tells a list."""

    def setUp(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.directory = Path(self.mktemp())
        self.bench = Bench(self.directory, tell=lambda text, priority: self.told.append((text, priority)))
        self.addCleanup(lambda: self.bench.queues.stopped or self.bench.close())
        self.storage.add_signals([A, B])
        self.bench.pump()

    @property
    def storage(self) -> Any:
        return self.bench.storage

    def fill(self, *values: float) -> Any:
        """Commit values of both signals, x being y."""
        count = len(values)
        commit = self.storage.append([1] * count + [2] * count, values * 2, values * 2)
        self.bench.pump()
        return commit

    def samples(self, signal_id: int = 1) -> list[float]:
        (columns,) = self.bench.result(self.storage.read([(signal_id, Window())]))
        return [x for x, _ in pairs(columns)]

    def damage(self, table: str, where: str) -> None:
        ((data,),) = self.bench.sql(f"SELECT data FROM {table} WHERE {where}")
        self.bench.sql(f"UPDATE {table} SET data = ? WHERE {where}", bytes([*data[:-1], data[-1] ^ 1]))

    def kill(self) -> None:
        """Start again without having stopped."""
        self.bench.database.close()
        os.close(self.storage._lock)
        self.bench.open()

    def assert_summaries_are_those_of_a_restart(self) -> None:
        before = [self.storage.summary(number) for number in (1, 2)]
        self.kill()
        for number, summary in zip((1, 2), before, strict=True):
            assert_same_summary(self.storage.summary(number), summary)


class OpenTest(CareCase):
    """What is found to be damaged at the start."""

    def test_a_file_that_is_no_database(self) -> None:
        self.bench.close()
        self.bench.path.write_bytes(b"something else, of some length" * 100)
        before = self.bench.path.read_bytes()
        self.bench.open()
        # Whoever is told is not ready yet.
        self.assertEqual(self.told, [])
        self.bench.pump()
        ((text, priority),) = self.told
        self.assertEqual(priority, 2)
        self.assertIn("the store was damaged", text)
        self.assertIn("kept as rtoc.sqlite.damaged-1", text)
        self.assertEqual((self.directory / "rtoc.sqlite.damaged-1").read_bytes(), before)
        self.assertEqual(self.storage.signals(), [])
        self.storage.add_signals([A, B])
        self.fill(1.0)
        self.assertEqual(self.samples(), [1.0])
        self.bench.reopen()
        self.bench.pump()
        self.assertEqual((self.samples(), len(self.told)), ([1.0], 1))

    def test_the_first_page_gone(self) -> None:
        self.fill(1.0, 2.0)
        self.bench.close()
        content = self.bench.path.read_bytes()
        self.bench.path.write_bytes(bytes(4096) + content[4096:])
        self.bench.open()
        self.bench.pump()
        self.assertEqual((self.samples(1), self.samples(2)), ([1.0, 2.0], [1.0, 2.0]))
        self.assertEqual(self.storage.find(A).id, 1)
        self.assertIn("4 samples of 2 signals", self.told[0][0])

    def test_a_catalog_that_makes_no_sense(self) -> None:
        self.fill(1.0)
        self.bench.close()
        self.bench.sql("DELETE FROM devices")
        self.bench.open()
        self.bench.pump()
        self.assertEqual(self.samples(), [1.0])
        self.assertEqual([signal.name.device for signal in self.storage.signals()], ["salvaged_1"] * 2)

    def test_it_is_salvaged_once(self) -> None:
        self.bench.close()
        self.bench.path.write_bytes(b"no database" * 1000)

        def refuse(*_: object) -> None:
            raise sqlite3.DatabaseError("file is not a database") from KeyError("always")

        tried: list[object] = []
        self.patch(database, "salvage", lambda path: tried.append(path))
        with self.assertRaisesRegex(NotAvailable, "cannot be used: file is not a database"):
            self.bench.open()
        self.assertEqual(tried, [self.bench.path])

    def test_rows_of_the_journal(self) -> None:
        for value in (1.0, 2.0, 3.0):
            self.fill(value)
        self.damage("journal", "seq = 2")
        self.kill()
        self.bench.pump()
        text = "2 samples of the journal were damaged on disk: they are in the table damaged"
        self.assertEqual(self.told, [(text, 2)])
        self.assertEqual((self.samples(), len(self.flushLoggedErrors())), ([1.0, 3.0], 0))

    def test_closing_before_it_is_told(self) -> None:
        self.bench.close()
        self.bench.path.write_bytes(b"no database" * 1000)
        self.bench.open()
        self.bench.close()
        self.assertEqual(self.told, [])


class ChunkTest(CareCase):
    """Chunks that are found by the check, while values come."""

    def check(self) -> None:
        """Let the check find what there is, while a value is on its way."""
        self.bench.queues.clock.advance(DELAY)
        self.storage.append([1, 2], [50.0, 50.0], [50.0, 50.0])
        for _ in range(9):
            self.bench.queues.clock.advance(1)
            self.bench.pump()

    def test_the_catalog_counts_what_is_left(self) -> None:
        for value in (1.0, 9.0):
            self.fill(value, value, value)
            self.bench.database.fold()
            self.bench.sql("UPDATE chunks SET id = id + 10 * signal_id")
            self.bench.reopen()
        ((number,),) = self.bench.sql("SELECT MIN(id) FROM chunks WHERE signal_id = 1")
        self.damage("chunks", f"id = {number}")
        self.fill(7.0)
        count = self.storage.summary(1).count
        self.check()
        ((lost,),) = self.bench.sql("SELECT samples FROM lost")
        summary = self.storage.summary(1)
        self.assertEqual(summary.count, count + 1 - lost)
        self.assertEqual((summary.last_x, summary.x_max), (50.0, 50.0))
        self.assertEqual(len(self.samples(1)), summary.count)
        self.assertEqual(self.storage.summary(2).count, 8)
        self.assertEqual(self.storage.counters()["samples_lost"], lost)
        ((text, priority),) = self.told
        self.assertEqual(
            (text.split(" are lost")[0], priority),
            (
                f"{lost} samples of one.a between x = "
                f"{self.bench.sql('SELECT x_min FROM lost')[0][0]} and"
                f" {self.bench.sql('SELECT x_max FROM lost')[0][0]}",
                2,
            ),
        )
        self.assert_summaries_are_those_of_a_restart()

    def test_a_signal_that_is_removed_or_replaced_takes_them_along(self) -> None:
        for change in (
            lambda: self.storage.remove_signals([1]),
            lambda: self.storage.replace(1, floats([1.0]), floats([1.0])),
            lambda: self.storage.clear(),
        ):
            self.bench.sql("INSERT INTO lost VALUES (900, 1, 10, 1, 2, 0, x'00', 9)")
            self.bench.sql("INSERT OR REPLACE INTO lost VALUES (901, 2, 10, 1, 2, 0, x'00', 9)")
            change()
            self.bench.pump()
            self.assertEqual(self.bench.sql("SELECT 1 FROM lost WHERE signal_id = 1"), [])
            self.bench.sql("DELETE FROM lost WHERE id = 900")
        self.assertEqual(self.bench.sql("SELECT * FROM lost"), [])


class JournalTest(CareCase):
    """Rows of the journal that are damaged while the server runs."""

    def test_what_is_in_memory_is_not_lost(self) -> None:
        for value in (1.0, 2.0, 3.0):
            self.fill(value)
        self.damage("journal", "seq = 2")
        self.assertEqual(self.samples(2), [1.0, 3.0])
        self.assertEqual(self.samples(2), [1.0, 2.0, 3.0])
        self.assertEqual(self.bench.sql("SELECT COUNT(*) FROM damaged"), [(0,)])
        self.assertEqual([priority for _, priority in self.told], [1])
        self.assertIn("nothing is lost", self.told[0][0])
        self.assert_summaries_are_those_of_a_restart()

    def from_disk(self) -> None:
        """Let nobody but the disk know what is in the journal."""
        for value in (1.0, 2.0, 3.0):
            self.fill(value)
        self.kill()
        self.fill(4.0)
        self.damage("journal", "seq = 2")

    def test_reads_answer_the_rest_and_it_is_set_aside(self) -> None:
        self.from_disk()
        self.storage.add_signals([SignalName("new", "c")])
        self.storage.append([1, 3], [5.0, 5.0], [5.0, 5.0])
        before = self.bench.sql("SELECT epoch FROM signals WHERE id = 1")
        self.assertEqual(self.samples(1), [1.0, 3.0, 4.0, 5.0])
        text = "2 samples of the journal were damaged on disk: they are in the table damaged"
        self.assertEqual(self.told, [(text, 2)])
        self.assertEqual(self.bench.sql("SELECT seq, samples FROM damaged"), [(2, 2)])
        self.assertNotEqual(self.bench.sql("SELECT epoch FROM signals WHERE id = 1"), before)
        self.assertEqual([self.storage.summary(number).count for number in (1, 2, 3)], [4, 3, 1])
        self.fill(6.0)
        self.assertEqual((self.samples(2), len(self.told)), ([1.0, 3.0, 4.0, 6.0], 1))
        self.bench.reopen()
        self.assertEqual(self.samples(1), [1.0, 3.0, 4.0, 5.0, 6.0])

    def test_a_fold_removes_no_row_that_it_could_not_read(self) -> None:
        self.from_disk()
        self.patch(journal, "FOLD_AT_ROWS", 4)
        self.fill(5.0)
        self.fill(6.0)
        self.assertEqual(self.bench.sql("SELECT seq FROM damaged"), [(2,)])
        self.assertEqual(self.samples(1), [1.0, 3.0, 4.0, 5.0, 6.0])
        self.assertEqual(self.storage.summary(1).count, 5)

    def test_a_close_leaves_it_to_the_next_start(self) -> None:
        self.from_disk()
        self.bench.close()
        self.assertEqual(self.bench.sql("SELECT COUNT(*) FROM journal"), [(4,)])
        self.bench.open()
        self.bench.pump()
        self.assertEqual((self.samples(1), len(self.told)), ([1.0, 3.0, 4.0], 1))

    def test_a_merge_goes_on_without_it(self) -> None:
        self.from_disk()
        added: list[list[float]] = []
        commit = self.storage.merge(
            1, floats([2.0, 3.0]), floats([2.0, 3.0]), Hold.MERGE_X, lambda x, y: added.append(x.tolist())
        )
        self.bench.pump()
        self.assertEqual((commit.error, added), (None, [[2.0]]))
        self.assertEqual(self.samples(1), [1.0, 3.0, 4.0, 2.0])
        self.assertEqual(self.storage.summary(1).count, 4)
        self.assert_summaries_are_those_of_a_restart()

    def test_a_commit_that_fails_on_the_way(self) -> None:
        self.from_disk()
        self.samples_before_it_is_set_aside()
        self.bench.database.faults.append(sqlite3.OperationalError(BROKEN))
        self.bench.pump()
        # To read it all again set it aside as well.
        self.assertEqual(self.bench.sql("SELECT seq FROM damaged"), [(2,)])
        self.assertEqual((self.samples(1), len(self.told)), ([1.0, 3.0, 4.0], 1))
        self.assert_summaries_are_those_of_a_restart()

    def samples_before_it_is_set_aside(self) -> None:
        """Read, up to where the writer is asked to help."""
        self.storage.read([(1, Window())])
        queues = self.bench.queues
        while not queues.jobs:
            (queues.queries or queues.posts).popleft()()

    def test_it_is_told_to_listeners_as_an_event(self) -> None:
        self.storage.add_event(1, Event(A, "before", 1.0))
        self.from_disk()
        self.samples()
        self.assertEqual([event.text for event in self.bench.result(self.storage.events())], ["before"])
