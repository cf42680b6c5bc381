"""The check in the background: it finds what is damaged, sets it aside, tells it, and is in nobody's way."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import StorageFailed
from rtoc_twisted.storage import check
from rtoc_twisted.storage.blobs import plain
from rtoc_twisted.storage.check import DELAY, PAUSE, SHARE, Checker
from rtoc_twisted.storage.losses import Found, Loss, lose
from rtoc_twisted.storage.runs import read_chunk
from rtoc_twisted.storage.salvage import salvage_pending
from tests.damage_support import REPLACED, Store, ask
from tests.storage_support import Queues

ROOT = Path(__file__).parent.parent
MOMENT = 1e9


class CheckCase(SynchronousTestCase):
    """A store that is checked by steps."""

    def setUp(self) -> None:
        self.store = Store(Path(self.mktemp()))
        self.path = self.store.path
        self.queues = Queues()
        self.told: list[tuple[str, int]] = []
        self.writes: list[Found] = []
        self.sql = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(self.sql.close)
        self.checker = self.new_checker()
        self.addCleanup(lambda: self.checker.stop())

    def new_checker(self, write: Callable[[Found], Deferred[list[Loss]]] | None = None) -> Checker:
        return Checker(
            self.path,
            clock=self.queues.clock,
            in_thread=self.queues.in_thread,
            write=write or self.write,
            tell=lambda text, priority: self.told.append((text, priority)),
        )

    def write(self, found: Found) -> Deferred[list[Loss]]:
        self.writes.append(found)
        return succeed(self.lose(found))

    def lose(self, found: Found) -> list[Loss]:
        self.sql.execute("BEGIN IMMEDIATE")
        losses = lose(self.sql, found, MOMENT)
        self.sql.execute("COMMIT")
        return losses

    def step(self) -> bool:
        """Let time pass until a step is done; return whether there was one."""
        calls = list(self.queues.clock.getDelayedCalls())
        if calls:
            self.queues.clock.advance(max(0.0, calls[0].getTime() - self.queues.clock.seconds()))
            self.queues.pump()
        return bool(calls)

    def run_round(self) -> int:
        """Check everything; return how many steps it took."""
        self.checker.start()
        steps = 0
        while self.step():
            steps += 1
        return steps

    def damage(self, table: str, key: str, *numbers: int) -> None:
        for number in numbers:
            ((data,),) = ask(self.path, f"SELECT data FROM {table} WHERE {key} = ?", number)
            damaged = bytes([*data[:-1], data[-1] ^ 1])
            self.sql.execute(f"UPDATE {table} SET data = ? WHERE {key} = ?", (damaged, number))

    def of(self, signal_id: int) -> list[int]:
        return [number for number, (owner, _) in self.store.chunks.items() if owner == signal_id]

    def one(self, query: str, *values: object) -> Any:
        ((value,),) = ask(self.path, query, *values)
        return value


class RoundTest(CheckCase):
    def test_a_sound_store(self) -> None:
        before = self.store.content
        self.assertGreater(self.run_round(), 2)
        self.assertEqual((self.told, self.writes), ([], []))
        self.assertEqual(
            self.checker.counters(), {"chunks_checked": len(self.store.chunks), "samples_lost": 0}
        )
        self.assertEqual(self.store.content, before)

    def test_damaged_chunks_are_set_aside_and_told_by_signals(self) -> None:
        first, second = 11, 5
        numbers = self.of(first)
        self.assertGreater(len(numbers), 2)
        rows = ask(self.path, "SELECT * FROM chunks WHERE id = ?", numbers[0])
        self.damage("chunks", "id", *numbers[:2], *self.of(second)[:1])
        lost = self.one("SELECT SUM(samples) FROM chunks WHERE id IN (?, ?)", *numbers[:2])
        low = self.one("SELECT MIN(x_min) FROM chunks WHERE id IN (?, ?)", *numbers[:2])
        high = self.one("SELECT MAX(x_max) FROM chunks WHERE id IN (?, ?)", *numbers[:2])
        self.patch(check, "STEP_CHUNKS", 10_000)
        self.run_round()
        self.assertEqual([priority for _, priority in self.told], [2, 2])
        name = f"right.{self.store.signals[first]}"
        (text,) = [text for text, _ in self.told if name in text]
        self.assertTrue(
            text.startswith(f"{lost} samples of {name} between x = {low} and {high} are lost:"), text
        )
        self.assertEqual(
            self.checker.counters()["samples_lost"],
            lost + self.one("SELECT samples FROM lost WHERE signal_id = ?", second),
        )
        kept = ask(self.path, "SELECT * FROM lost WHERE signal_id = ? ORDER BY id", first)
        self.assertEqual((kept[0][1:6], kept[0][7]), (rows[0][1:6], MOMENT))
        self.assertNotEqual(self.one("SELECT epoch FROM signals WHERE id = ?", first), 0)
        self.assertEqual([row[0] for row in kept], numbers[:2])

    def packed(self, signal_id: int = 11) -> int:
        """Return a chunk of a signal that is packed, and has an outline."""
        return self.one("SELECT MIN(id) FROM chunks WHERE signal_id = ? AND packed = 1", signal_id)

    def test_of_a_packed_chunk_the_outline_stays(self) -> None:
        number = self.packed()
        (before,) = ask(self.path, "SELECT samples, data FROM chunks WHERE id = ?", number)
        outline = self.one("SELECT data FROM outlines WHERE chunk_id = ?", number)
        rollups = ask(self.path, "SELECT * FROM rollups WHERE chunk_id = ?", number)
        count = self.one("SELECT samples FROM signals WHERE id = 11")
        self.damage("chunks", "id", number)
        self.run_round()
        self.assertEqual(
            ask(self.path, "SELECT samples, packed, data FROM chunks WHERE id = ?", number),
            [(before[0], 2, outline)],
        )
        self.assertEqual(ask(self.path, "SELECT 1 FROM outlines WHERE chunk_id = ?", number), [])
        self.assertEqual(ask(self.path, "SELECT * FROM rollups WHERE chunk_id = ?", number), rollups)
        ((kept,),) = ask(self.path, "SELECT data FROM lost WHERE id = ?", number)
        self.assertEqual(kept[:-1], before[1][:-1])
        self.assertEqual(self.one("SELECT samples FROM signals WHERE id = 11"), count)
        ((text, _),) = self.told
        self.assertIn(f"of {before[0]} of them an outline is left", text)
        # The outline may be damaged in its turn.
        self.damage("chunks", "id", number)
        self.checker = self.new_checker()
        self.run_round()
        self.assertEqual(ask(self.path, "SELECT 1 FROM chunks WHERE id = ?", number), [])
        self.assertEqual(self.one("SELECT samples FROM signals WHERE id = 11"), count - before[0])

    def test_a_packed_chunk_and_its_outline(self) -> None:
        number = self.packed()
        self.damage("chunks", "id", number)
        self.damage("outlines", "chunk_id", number)
        self.run_round()
        for query in ("chunks WHERE id", "outlines WHERE chunk_id", "rollups WHERE chunk_id"):
            self.assertEqual(ask(self.path, f"SELECT 1 FROM {query} = ?", number), [])
        self.assertNotIn("an outline", self.told[0][0])

    def test_damaged_rollups_of_a_packed_chunk_are_drawn_again(self) -> None:
        number = self.packed()
        (before,) = ask(self.path, "SELECT packed, data FROM chunks WHERE id = ?", number)
        self.damage("rollups", "chunk_id", number)
        self.run_round()
        self.assertEqual(ask(self.path, "SELECT 1 FROM rollups WHERE chunk_id = ?", number), [])
        (after,) = ask(self.path, "SELECT packed, data FROM chunks WHERE id = ?", number)
        self.assertEqual(after[0], 0)
        np.testing.assert_array_equal(read_chunk(*after), read_chunk(*before))
        self.assertEqual(self.told, [])

    def test_figures_are_those_of_what_is_left(self) -> None:
        numbers = self.of(11)
        self.damage("chunks", "id", numbers[0], numbers[-1])
        self.run_round()
        rows = ask(self.path, "SELECT packed, data FROM chunks WHERE signal_id = 11 ORDER BY id")
        columns = [read_chunk(*row) for row in rows]
        x, y = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        (figures,) = ask(
            self.path, "SELECT samples, first_x, last_x, last_y, x_min, x_max FROM signals WHERE id = 11"
        )
        self.assertEqual(figures, (len(x), x[0], x[-1], y[-1], x.min(), x.max()))

    def test_a_signal_that_loses_everything(self) -> None:
        self.damage("chunks", "id", *self.of(REPLACED))
        self.run_round()
        (figures,) = ask(
            self.path, "SELECT samples, first_x, last_y, x_max FROM signals WHERE id = ?", REPLACED
        )
        self.assertEqual(figures, (0, None, None, None))

    def test_a_wrong_count_is_damage(self) -> None:
        number = self.of(REPLACED)[0]
        self.sql.execute("UPDATE chunks SET samples = samples + 1 WHERE id = ?", (number,))
        self.run_round()
        self.assertEqual(self.one("SELECT signal_id FROM lost"), REPLACED)
        self.assertEqual(ask(self.path, "SELECT 1 FROM chunks WHERE id = ?", number), [])

    def test_no_bounds(self) -> None:
        data = plain(np.array([np.nan]), np.array([1.0]))
        self.sql.execute("INSERT INTO chunks VALUES (5000, 3, 1, NULL, NULL, 0, ?)", (data[:-1],))
        self.run_round()
        self.assertIn(f"1 samples of right.{self.store.signals[3]} are lost:", self.told[0][0])

    def test_damaged_outlines_are_drawn_again(self) -> None:
        number = self.one("SELECT MIN(chunk_id) FROM outlines")
        ((packed, data),) = ask(self.path, "SELECT packed, data FROM chunks WHERE id = ?", number)
        self.damage("outlines", "chunk_id", number)
        self.run_round()
        self.assertEqual(ask(self.path, "SELECT 1 FROM outlines WHERE chunk_id = ?", number), [])
        ((now, changed),) = ask(self.path, "SELECT packed, data FROM chunks WHERE id = ?", number)
        self.assertEqual((packed, now), (1, 0))
        np.testing.assert_array_equal(read_chunk(now, changed), read_chunk(packed, data))
        self.assertEqual(self.told, [])

    def test_damaged_rollups_are_dropped(self) -> None:
        number = self.of(3)[0]
        before = self.one("SELECT COUNT(*) FROM rollups")
        self.damage("rollups", "chunk_id", number)
        self.run_round()
        self.assertEqual(ask(self.path, "SELECT 1 FROM rollups WHERE chunk_id = ?", number), [])
        self.assertEqual((self.one("SELECT COUNT(*) FROM rollups"), self.told), (before - 1, []))

    def test_what_was_replaced_meanwhile_stays(self) -> None:
        number = self.of(REPLACED)[0]
        found = Found(number, 1, {number: REPLACED, 999_999: REPLACED}, [number])
        self.assertEqual(self.lose(found), [])
        self.assertEqual(ask(self.path, "SELECT * FROM lost"), [])

    def test_very_many_losses_are_told_in_one_sum(self) -> None:
        self.damage("chunks", "id", *self.store.chunks)
        self.patch(check, "TOLD", 4)
        self.run_round()
        self.assertEqual(len(self.told), 5)
        self.assertEqual(self.checker.counters()["samples_lost"], self.store.samples)
        told = [int(text.split()[0]) for text, _ in self.told]
        self.assertEqual(sum(told), self.store.samples)
        self.assertIn("samples more are lost", self.told[-1][0])


class PaceTest(CheckCase):
    """It goes in small steps, and ends when it is to."""

    def test_it_begins_late_and_rests(self) -> None:
        self.checker.start()
        clock = self.queues.clock
        clock.advance(DELAY - 0.5)
        self.assertEqual(len(self.queues.queries), 0)
        clock.advance(0.5)
        self.assertEqual(len(self.queues.queries), 1)
        # A step that takes two seconds.
        clock.advance(2.0)
        self.queues.pump()
        (call,) = clock.getDelayedCalls()
        self.assertEqual(call.getTime() - clock.seconds(), 2.0 * SHARE)
        clock.advance(2.0 * SHARE)
        self.queues.pump()
        (call,) = clock.getDelayedCalls()
        self.assertAlmostEqual(call.getTime() - clock.seconds(), PAUSE)

    def test_steps_are_small_in_bytes(self) -> None:
        self.patch(check, "STEP_BYTES", 1)
        self.assertEqual(self.run_round(), len(self.store.chunks) + 1)

    def test_it_holds_no_snapshot(self) -> None:
        self.patch(check, "STEP_BYTES", 1)
        self.checker.start()
        self.step()
        self.sql.execute("INSERT INTO documents VALUES ('new', '1')")
        self.assertEqual(self.sql.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone(), (0, 0, 0))

    def test_new_chunks_are_no_matter(self) -> None:
        self.checker.start()
        self.step()
        self.sql.execute("DELETE FROM chunks")
        while self.step():
            pass
        self.assertEqual(self.told, [])

    def test_stopping_before_the_first_step(self) -> None:
        self.checker.start()
        self.checker.stop()
        self.assertEqual(self.queues.clock.getDelayedCalls(), [])

    def test_stopping_between_steps(self) -> None:
        self.checker.start()
        self.step()
        self.checker.stop()
        self.assertEqual(self.queues.clock.getDelayedCalls(), [])
        self.assert_let_go()

    def test_stopping_during_a_step(self) -> None:
        self.damage("chunks", "id", min(self.store.chunks))
        self.checker.start()
        self.queues.clock.advance(DELAY)
        self.checker.stop()
        self.queues.pump()
        self.assertEqual((self.queues.clock.getDelayedCalls(), self.writes), ([], []))
        self.assert_let_go()

    def test_stopping_during_a_write(self) -> None:
        waiting: Deferred[list[Loss]] = Deferred()
        self.checker = self.new_checker(lambda _: waiting)
        self.damage("chunks", "id", min(self.store.chunks))
        self.run_round()
        self.checker.stop()
        waiting.callback([])
        self.assertEqual(self.queues.clock.getDelayedCalls(), [])
        self.assert_let_go()

    def assert_let_go(self) -> None:
        """Check that nobody else has the database open: then it leaves the mode WAL."""
        self.assertEqual(self.sql.execute("PRAGMA journal_mode = DELETE").fetchone(), ("delete",))


class TroubleTest(CheckCase):
    """What goes wrong on the way is told, and the next start makes the best of it."""

    def test_a_damaged_file(self) -> None:
        root = self.one("SELECT rootpage FROM sqlite_schema WHERE name = 'chunks'")
        self.sql.close()
        with self.path.open("r+b") as file:
            file.seek((root - 1) * 4096)
            file.write(bytes(4096))
        self.run_round()
        ((text, priority),) = self.told
        self.assertEqual(priority, 2)
        self.assertIn("malformed", text)
        self.assertIn("restart the server to salvage", text)
        self.flushLoggedErrors()
        self.assertEqual(self.queues.clock.getDelayedCalls(), [])
        salvaged = salvage_pending(self.path)
        self.assertIsNotNone(salvaged)
        self.assertEqual(self.one("SELECT COUNT(*) FROM chunks"), len(self.store.chunks))

    def test_a_damaged_file_that_cannot_be_marked(self) -> None:
        self.checker.start()

        def refuse(*_: object) -> None:
            raise OSError(30, "Read-only file system")

        self.patch(check, "mark_suspect", refuse)
        with self.path.open("r+b") as file:
            file.write(bytes(4096))
        self.sql.close()
        self.step()
        self.assertIn("could not be marked for the next start ([Errno 30] Read-only", self.told[0][0])

    def test_a_file_that_is_busy(self) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise sqlite3.OperationalError("unable to open database file")

        self.checker.start()
        self.patch(check, "Inspector", refuse)
        self.step()
        self.assertEqual((self.told, self.queues.clock.getDelayedCalls()), ([], []))
        self.assertIsNone(salvage_pending(self.path))

    def test_a_commit_that_fails(self) -> None:
        self.checker = self.new_checker(lambda _: fail(Failure(StorageFailed("the disk is full"))))
        self.damage("chunks", "id", min(self.store.chunks))
        self.run_round()
        self.assertEqual((self.told, self.queues.clock.getDelayedCalls()), ([], []))
        self.assertEqual(self.checker.counters()["samples_lost"], 0)


READ_ONLY = """
import os, sys
from pathlib import Path
from rtoc_twisted.errors import NotAvailable
from tests.storage_support import Bench
if os.getuid() == 0:
    os.setuid(65534)
try:
    Bench(Path(sys.argv[1]))
except NotAvailable as error:
    print(error)
"""


class ReadOnlyTest(SynchronousTestCase):
    def test_a_directory_that_cannot_be_written(self) -> None:
        # Not in trial's own directory, which others may not enter.
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(directory.rmdir)
        directory.chmod(0o555)
        child = subprocess.run(
            [sys.executable, "-c", READ_ONLY, directory],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        expected = (
            f"{directory} cannot be written (Permission denied): change that, or choose another --state-dir"
        )
        self.assertEqual((child.stdout, child.stderr), (f"{expected}\n", ""))
