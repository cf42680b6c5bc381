"""Copies of the whole store: IStorage.copy_to, and `logger.backup`."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.auth.accounts import Account
from rtoc_twisted.auth.passwords import token_hash
from rtoc_twisted.errors import BadValue, NotAvailable, StorageFailed
from rtoc_twisted.model import Permission, SignalName, Window
from rtoc_twisted.storage import copy as module
from rtoc_twisted.storage.copy import copy_store, transfer
from rtoc_twisted.storage.memory import MemoryStorage
from rtoc_twisted.storage.verify import verify
from tests.doubles import REMOTE, house, sqlite_storage
from tests.storage_support import Bench, pairs

A = SignalName("d", "a")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class CopyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.storage = self.bench.storage
        (self.signal,) = self.storage.add_signals([A])
        self.copies = Path(self.mktemp())
        self.copies.mkdir()
        self.target = self.copies / "copy.sqlite"

    def append(self, *values: float) -> Any:
        return self.storage.append([self.signal.id] * len(values), values, values)

    def values_in(self, path: Path) -> list[float]:
        """Return what a server finds that starts on a copy."""
        directory = Path(self.mktemp())
        directory.mkdir()
        (directory / "rtoc.sqlite").write_bytes(path.read_bytes())
        bench = Bench(directory)
        signal = bench.storage.find(A)
        assert signal is not None
        (columns,) = bench.result(bench.storage.read([(signal.id, Window())]))
        bench.close()
        return [y for _, y in pairs(columns)]

    def test_what_was_taken_before_is_in_it(self) -> None:
        self.append(1.0, 2.0)
        self.bench.pump()
        self.append(3.0)
        self.bench.result(self.storage.copy_to(self.target))
        self.assertEqual(names(self.copies), ["copy.sqlite"])
        self.assertEqual(stat.S_IMODE(self.target.stat().st_mode), 0o600)
        contents = verify(self.target)
        self.assertEqual((contents.problems, contents.samples), ((), 3))
        self.assertEqual(self.values_in(self.target), [1.0, 2.0, 3.0])

    def test_recording_goes_on_and_it_is_of_one_moment(self) -> None:
        self.patch(module, "_STEP_PAGES", 1)
        self.append(1.0)
        self.bench.pump()
        steps = 0

        def ended() -> bool:
            nonlocal steps
            steps += 1
            commit = self.append(100.0 + steps)
            self.bench.pump()
            self.assertIsNone(commit.error)
            return False

        copy_store(self.bench.path, self.target, ended)
        self.assertGreater(steps, 3)
        self.assertEqual(self.values_in(self.target), [1.0])
        self.assertEqual(self.storage.summary(self.signal.id).count, 1 + steps)

    def test_what_is_in_chunks_and_in_the_journal(self) -> None:
        values = np.arange(300_000.0)
        self.storage.append(np.full(len(values), self.signal.id, np.uint32), values, values)
        self.bench.pump()
        self.append(-1.0)
        self.bench.result(self.storage.copy_to(self.target))
        self.assertEqual(verify(self.target).samples, 300_001)
        self.assertEqual(self.values_in(self.target)[-2:], [299_999.0, -1.0])

    def test_nothing_is_overwritten(self) -> None:
        for name in ("copy.sqlite", "copy.sqlite.part"):
            (self.copies / name).write_text("somebody's")
            with self.assertRaises(BadValue):
                self.bench.result(self.storage.copy_to(self.target))
            self.assertEqual(names(self.copies), [name])
            self.assertEqual((self.copies / name).read_text(), "somebody's")
            (self.copies / name).unlink()

    def test_a_name_that_is_taken_meanwhile(self) -> None:
        def ended() -> bool:
            self.target.write_text("somebody's")
            return False

        with self.assertRaises(BadValue):
            copy_store(self.bench.path, self.target, ended)
        self.assertEqual((names(self.copies), self.target.read_text()), (["copy.sqlite"], "somebody's"))

    def test_a_disk_that_refuses_keeps_nothing(self) -> None:
        def full(*_: object) -> None:
            transfer(self.bench.path, self.target.with_name("copy.sqlite.part"))
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(module, "transfer", full)
        with self.assertRaisesRegex(StorageFailed, "copy.sqlite could not be written: .*disk is full"):
            self.bench.result(self.storage.copy_to(self.target))
        self.assertEqual(names(self.copies), [])

    def test_a_disk_with_too_little_room(self) -> None:
        self.append(1.0)
        self.bench.pump()
        needed = self.bench.path.stat().st_size + 100
        for free in (needed - 1, needed):
            self.patch(module, "free_bytes", lambda directory, free=free: free)
            if free < needed:
                with self.assertRaisesRegex(StorageFailed, f"it needs {needed} bytes"):
                    copy_store(self.bench.path, self.target, spare=100)
                self.assertEqual(names(self.copies), [])
        copy_store(self.bench.path, self.target, spare=100)
        self.assertEqual(verify(self.target).samples, 1)

    def test_a_directory_that_is_not_there(self) -> None:
        with self.assertRaisesRegex(StorageFailed, "No such file"):
            self.bench.result(self.storage.copy_to(self.copies / "none" / "copy.sqlite"))

    def test_closing_does_not_wait_for_it(self) -> None:
        self.bench.pump()
        copied = self.storage.copy_to(self.target)
        closed = self.storage.close()
        with self.assertRaisesRegex(StorageFailed, "given up"):
            self.bench.result(copied)
        self.bench.result(closed)
        self.assertEqual(names(self.copies), [])

    def test_memory_has_nothing_to_copy(self) -> None:
        self.failureResultOf(MemoryStorage().copy_to(self.target), NotAvailable)
        self.assertEqual(names(self.copies), [])


class BackupTests(SynchronousTestCase):
    """The key, and the setting."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.clock = Clock()
        self.storage: Any = sqlite_storage(self.directory, self.clock)
        self.addCleanup(self.close)
        self.rooms = house(clock=self.clock, storage=self.storage, directory=self.directory)
        self.client = self.rooms.connect()

    def close(self) -> None:
        self.storage.close()
        self.clock.advance(0)

    def copies(self) -> Iterator[Path]:
        return iter(sorted((self.directory / "backup").glob("*.sqlite")))

    def ask(self, **backup: Any) -> Any:
        answer = self.client.ask(logger={"backup": backup})
        self.clock.advance(0)
        return (self.client.heard() or [answer])[-1]

    def test_on_request(self) -> None:
        self.client.ask(y=[1, 2], sname=["a", "b"], event="here")
        for number in range(2):
            told = self.ask(now="full")["logger"]["backup"]
            *_, path = self.copies()
            self.assertEqual(told, {"now": "full", "file": path.name})
            self.assertRegex(path.name, r"^rtoc-\d{8}-\d{6}(_2)?\.sqlite$")
            contents = verify(path)
            self.assertEqual((contents.problems, contents.samples, contents.events), ((), 2, 1))
            self.assertEqual(len(list(self.copies())), number + 1)
        self.assertEqual(list((self.directory / "backup").glob("*.json")), [])

    def test_what_is_no_backup_is_refused(self) -> None:
        before = sorted(self.directory.rglob("*"))
        for now in ("Full", 1, [], {"full": True}):
            (error,) = self.ask(now=now)["errors"]
            self.assertEqual((error["key"], error["code"]), ("logger", "bad-value"))
            self.assertIn("logger.backup.now", error["message"])
        self.assertEqual(sorted(self.directory.rglob("*")), before)

    def test_a_session_is_as_it_was(self) -> None:
        self.assertEqual(self.ask(now=True)["logger"]["backup"], {"now": True})
        self.assertEqual(len(list((self.directory / "backup").glob("RTOC_*.json"))), 1)
        self.assertEqual(list(self.copies()), [])

    def test_every_so_often(self) -> None:
        self.ask(active=True, interval=60, full=True)
        self.assertIs(self.ask()["logger"]["info"]["config"]["backup"]["full"], True)
        self.clock.pump([60, 0, 60, 0])
        self.assertEqual(len(list(self.copies())), 2)
        self.ask(full=False)
        self.clock.pump([60, 0])
        self.assertEqual(len(list(self.copies())), 2)
        self.assertEqual(len(list((self.directory / "backup").glob("RTOC_*.json"))), 1)
        self.ask(active=False)

    def test_who_may(self) -> None:
        reader = Account("reader", Permission.READ, None, token_hash("token"))
        rooms = house(
            clock=self.clock, storage=self.storage, directory=self.directory, password="p", accounts=[reader]
        )
        client = rooms.connect(REMOTE)
        client.ask(authorize={"token": "token"})
        answer = client.ask(logger={"backup": {"now": "full"}})
        self.assertEqual(answer["errors"][0]["code"], "not-permitted")
        self.assertFalse((self.directory / "backup").exists())

    def test_in_memory(self) -> None:
        rooms = house(clock=self.clock, directory=self.directory)
        answer = rooms.connect().ask(logger={"backup": {"now": "full"}})
        self.assertEqual(answer["errors"][0]["code"], "not-available")
        self.assertEqual(list(self.copies()), [])

    def test_the_directory_cannot_be_made(self) -> None:
        (self.directory / "backup").write_text("a file")
        answer = self.ask(now="full")
        self.assertEqual((answer["errors"][0]["code"], answer["errors"][0]["retriable"]), ("internal", True))

    def test_one_at_a_time(self) -> None:
        waiting: list[Deferred[None]] = []

        def copy_to(path: Path) -> Deferred[None]:
            waiting.append(Deferred())
            return waiting[-1]

        self.patch(self.storage, "copy_to", copy_to)
        for number in range(2):
            self.client.send({"id": number, "logger": {"backup": {"now": "full"}}})
        self.assertEqual(len(waiting), 1)
        waiting[0].callback(None)
        self.assertEqual(len(waiting), 2)
        waiting[1].errback(StorageFailed("full"))
        done, failed = self.client.heard()
        self.assertEqual((done["id"], done["error"], failed["id"], failed["error"]), (0, False, 1, True))
