"""Copies of a store are verified, and put in its place: `rtoc restore`."""

from __future__ import annotations

import io
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client.shell import Shell
from rtoc_twisted.errors import NotAvailable, StorageFailed
from rtoc_twisted.model import Event, SignalName, Window
from rtoc_twisted.storage import restore as module
from rtoc_twisted.storage import salvage
from rtoc_twisted.storage.aggregate import partials
from rtoc_twisted.storage.copy import copy_store
from rtoc_twisted.storage.restore import restore
from rtoc_twisted.storage.retention import Keeping, Rule
from rtoc_twisted.storage.rollups import pack_rollup
from rtoc_twisted.storage.schema import UPGRADES, upgrade
from rtoc_twisted.storage.verify import PROBLEMS, Contents, verify
from rtoc_twisted.tools.main import main
from tests.process_support import ProcessCase, answer, ask, client
from tests.storage_support import Bench, pairs, unhurried

A, B, OLD = SignalName("d", "a"), SignalName("d", "b"), SignalName("d", "old")
LARGE = 5_000


def fill(bench: Bench, further: float = 0) -> None:
    """Record something of every kind: chunks that are plain, packed, retired; a journal, texts."""
    storage = bench.storage
    a, b, old = (storage.find(name) or storage.add_signals([name])[0] for name in (A, B, OLD))
    x = np.arange(float(LARGE))
    storage.append(np.full(LARGE, a.id, np.uint32), x, np.sin(x))
    storage.append(np.full(LARGE, old.id, np.uint32), x, np.cos(x))
    storage.append([b.id, b.id], [float("nan"), 5.0], [1.0, float("nan")])
    bench.pump()
    bench.database.fold()
    while bench.database.pack_step():
        pass
    with bench.database.transaction():
        while bench.database.chunks.draw_one():
            pass
        bench.database.chunks.retire(bench.database.chunks.facts(old.id)[0].number)
    storage.append([a.id, b.id], [LARGE, 6.0], [further, further])
    storage.add_event(
        a.id, Event(A, "text", 1.0, 1, "", {"some": "value"}, alarm={"active": further}, cause=["why"])
    )
    storage.put_document("key", [1, 2])
    storage.add_batch("source", 7)
    bench.pump()


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


class Case(SynchronousTestCase):
    """A store with a copy of it."""

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.state = self.base / "state"
        self.backup = self.base / "backup.sqlite"
        self.bench = Bench(self.state, keeping=Keeping(rules=(Rule("none", ("none",)),)))
        fill(self.bench)
        copy_store(self.state / "rtoc.sqlite", self.backup)

    def tearDown(self) -> None:
        if not self.bench.queues.stopped:
            self.bench.close()

    def change(self, *statements: str, path: Path | None = None) -> None:
        """Change the copy behind everybody's back."""
        with closing(sqlite3.connect(path or self.backup, isolation_level=None)) as sql:
            for statement in statements:
                sql.execute(statement)

    def values(self, directory: Path | None = None, name: SignalName = A) -> list[tuple[float, float]]:
        """Return what a server finds in a directory."""
        bench = Bench(directory or self.state)
        signal = bench.storage.find(name)
        (columns,) = bench.result(bench.storage.read([(signal.id, Window(newest=3))]))
        bench.close()
        return pairs(columns)


class VerifyTests(Case):
    def test_what_it_holds(self) -> None:
        told: list[tuple[float, int, int]] = []
        contents = verify(self.backup, lambda *figures: told.append(figures))
        self.assertEqual(contents, Contents(3, 2 * LARGE + 4, 1, 0.0, float(LARGE)))
        self.assertEqual(told[-1], (1.0, 3, 2 * LARGE + 4))
        self.assertEqual(told, sorted(told))
        self.assertEqual(self.ask("SELECT DISTINCT packed FROM chunks ORDER BY packed"), [(0,), (1,), (2,)])
        self.assertGreater(self.ask("SELECT COUNT(*) FROM rollups"), [(0,)])

    def ask(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.backup)) as sql:
            return sql.execute(query).fetchall()

    def test_it_changes_nothing(self) -> None:
        before = self.backup.read_bytes()
        verify(self.backup)
        self.assertEqual((names(self.base), self.backup.read_bytes()), (["backup.sqlite", "state"], before))

    def test_a_store_that_is_recorded_to(self) -> None:
        self.assertEqual(verify(self.bench.path).problems, ())
        self.bench.storage.append([self.bench.storage.find(B).id], [7.0], [7.0])
        self.bench.pump()
        self.assertEqual(verify(self.bench.path).samples, 2 * LARGE + 5)

    def test_every_blob_is_looked_at(self) -> None:
        for table, key in (("chunks", "id"), ("journal", "seq"), ("outlines", "chunk_id"), ("rollups", "id")):
            for (number,) in self.ask(f"SELECT {key} FROM {table}"):
                row = f"FROM {table} WHERE {key} = {number}"
                ((data,),) = self.ask(f"SELECT data {row}")
                damaged = data[:-1] + bytes([data[-1] ^ 1])
                with closing(sqlite3.connect(self.backup)) as sql, sql:
                    sql.execute(f"UPDATE {table} SET data = ? WHERE {key} = ?", (damaged, number))
                self.assertIn("damaged", " ".join(verify(self.backup).problems), (table, number))
                with closing(sqlite3.connect(self.backup)) as sql, sql:
                    sql.execute(f"UPDATE {table} SET data = ? WHERE {key} = ?", (data, number))
        self.assertEqual(verify(self.backup).problems, ())

    def test_everything_that_is_said_of_blocks(self) -> None:
        for change in (
            "UPDATE signals SET samples = samples + 1 WHERE name = 'b'",
            "UPDATE signals SET x_max = x_max + 1 WHERE name = 'a'",
            "UPDATE signals SET x_min = NULL WHERE name = 'a'",
            "UPDATE signals SET x_min = 3 WHERE name = 'old'",
            "UPDATE signals SET first_x = 3 WHERE name = 'a'",
            "UPDATE signals SET last_x = 3 WHERE name = 'a'",
            "UPDATE signals SET last_y = 3 WHERE name = 'b'",
            "UPDATE chunks SET samples = samples - 1 WHERE packed = 1",
            "UPDATE chunks SET x_max = x_max - 1 WHERE packed = 1",
            "UPDATE chunks SET x_min = x_min + 99 WHERE packed = 2",
            "UPDATE journal SET samples = 99",
            "DELETE FROM chunks WHERE packed = 1",
            "DELETE FROM devices",
            "DELETE FROM signals WHERE name = 'a'",
            "INSERT INTO outlines VALUES (99, x'')",
            "INSERT INTO rollups VALUES (99, 99, 60, x'')",
            "INSERT INTO events VALUES (99, 99, 'x', 1, 1, '', 'null')",
            "UPDATE documents SET value = '{'",
            "UPDATE events SET value = '{'",
            "INSERT INTO notes VALUES (99, NULL, 'null')",
            "UPDATE notes SET alarm = '{'",
            "UPDATE notes SET cause = x'ff'",
            "UPDATE sources SET seen = 'x'",
            "UPDATE signals SET folded = 'x' WHERE name = 'a'",
        ):
            whole = self.backup.read_bytes()
            self.change(change)
            contents = verify(self.backup)
            self.assertGreater(contents.wrong, 0, change)
            self.assertEqual(len(contents.problems), min(contents.wrong, PROBLEMS))
            self.backup.write_bytes(whole)

    def test_a_rollup_of_other_samples(self) -> None:
        x = np.arange(10.0)
        with closing(sqlite3.connect(self.backup)) as sql, sql:
            blob = pack_rollup(partials(x, x, 60.0))
            sql.execute("UPDATE rollups SET data = ? WHERE chunk_id = 1 AND width = 60", (blob,))
        self.assertEqual(verify(self.backup).problems, ("a rollup (60) of block 1 of d.a counts 10 samples",))

    def test_a_page_that_is_gone(self) -> None:
        content = self.backup.read_bytes()
        for page in range(1, len(content) // 4096):
            hole = content[: page * 4096] + bytes(4096) + content[(page + 1) * 4096 :]
            self.backup.write_bytes(hole)
            if hole != content:
                self.assertGreater(verify(self.backup).wrong, 0, page)

    def test_each_part_that_cannot_be_read_is_named(self) -> None:
        self.change("DROP TABLE events")
        self.assertEqual(
            [problem.partition(":")[0] for problem in verify(self.backup).problems if "not all" in problem],
            ["structure", "names", "texts"],
        )

    @unhurried
    @given(st.data())
    def test_damage_is_told_or_does_not_matter(self, data: Any) -> None:
        """Whatever bytes are wrong: never a traceback, and values that are said to be whole are."""
        content = bytearray(self.backup.read_bytes())
        whole = verify(self.backup)
        before = bytes(content)
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        self.backup.write_bytes(content)
        try:
            contents = verify(self.backup)
        except NotAvailable:
            return
        finally:
            self.backup.write_bytes(before)
        if not contents.wrong:
            self.assertEqual(contents, whole)

    def test_cut_short(self) -> None:
        content = self.backup.read_bytes()
        for length in (0, 50, 4096, len(content) // 2, len(content) - 4096):
            self.backup.write_bytes(content[:length])
            self.assertRaisesRegex(NotAvailable, "malformed|no copy|none of", verify, self.backup)

    def test_an_older_version(self) -> None:
        path = self.base / "old.sqlite"
        with closing(sqlite3.connect(path, isolation_level=None)) as sql:
            upgrade(sql, path, UPGRADES[:1])
        self.assertEqual(verify(path).problems, ())

    def test_what_is_no_store(self) -> None:
        self.change(f"PRAGMA user_version = {len(UPGRADES) + 1}")
        other = self.base / "other.sqlite"
        self.change("CREATE TABLE t (x)", path=other)
        for path, content, words in (
            (self.backup, None, "newer version"),
            (other, None, "none of rtoc_twisted"),
            (self.base / "none", None, "No such file"),
            (self.base / "session.json", '\n {"signals": {}}', "rtoc import"),
            (self.base / "text", "something", "no copy of a store"),
        ):
            if content is not None:
                path.write_text(content)
            for use in (verify, lambda path: restore(path, self.state)):
                self.assertRaisesRegex(NotAvailable, words, use, path)


class RestoreTests(Case):
    def setUp(self) -> None:
        super().setUp()
        fill(self.bench, further=1.0)

    def test_into_a_new_directory(self) -> None:
        new = self.base / "deep" / "new"
        restored = restore(self.backup, new)
        self.assertEqual((restored.contents.samples, restored.aside), (2 * LARGE + 4, None))
        self.assertEqual(stat.S_IMODE((new / "rtoc.sqlite").stat().st_mode), 0o600)
        self.assertEqual(names(new), ["rtoc.lock", "rtoc.sqlite"])
        self.assertEqual(self.values(new)[-1], (LARGE, 0.0))
        self.assertEqual(verify(self.backup).problems, ())

    def test_root_leaves_it_to_the_owner_of_the_directory(self) -> None:
        given: list[tuple[str, int, int]] = []
        self.patch(os, "chown", lambda path, user, group: given.append((path.name, user, group)))
        owner = self.base.stat()
        for user, names_given in ((0, ["rtoc.sqlite.part", "rtoc.lock"]), (1000, [])):
            self.patch(os, "geteuid", lambda user=user: user)
            given.clear()
            restore(self.backup, self.base / "new")
            self.assertEqual(given, [(name, owner.st_uid, owner.st_gid) for name in names_given])

    def test_what_was_there_is_kept(self) -> None:
        self.bench.close()
        aside = restore(self.backup, self.state).aside
        self.assertEqual(aside, "rtoc.sqlite.before-restore-1")
        self.assertEqual(self.values()[-1], (LARGE, 0.0))
        # And back again, which is kept as well.
        self.assertEqual(restore(self.state / aside, self.state).aside, "rtoc.sqlite.before-restore-2")
        self.assertEqual(self.values()[-1], (LARGE, 1.0))

    def test_not_while_a_server_runs(self) -> None:
        self.assertRaisesRegex(NotAvailable, "in use by another", restore, self.backup, self.state)

    def test_not_while_somebody_reads(self) -> None:
        self.crash()
        with closing(sqlite3.connect(self.bench.path, isolation_level=None)) as sql:
            sql.execute("BEGIN")
            sql.execute("SELECT * FROM signals").fetchone()
            before = names(self.state)
            self.assertRaisesRegex(StorageFailed, "another program", restore, self.backup, self.state)
            self.assertEqual(names(self.state), before)
        self.assertEqual(self.values()[-1], (LARGE, 1.0))

    def test_a_damaged_copy_is_not_taken(self) -> None:
        self.bench.close()
        self.change("UPDATE chunks SET data = x'00' WHERE packed = 1")
        before = self.files()
        restored = restore(self.backup, self.state)
        self.assertGreater(restored.contents.wrong, 0)
        self.assertEqual(self.files(), before)

    def test_no_room(self) -> None:
        self.bench.close()
        before = self.files()

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(module, "transfer", full)
        self.assertRaisesRegex(StorageFailed, "disk is full", restore, self.backup, self.state)
        self.assertEqual(self.files(), before)

    def test_a_directory_that_cannot_be_made(self) -> None:
        (self.base / "file").touch()
        self.assertRaises(StorageFailed, restore, self.backup, self.base / "file" / "below")

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.state.iterdir()}

    def crash(self) -> None:
        """Leave the store as a kill would: its newest commits are in the log alone."""
        files = self.files()
        self.bench.close()
        for name, content in files.items():
            if not name.endswith("-shm"):
                (self.state / name).write_bytes(content)
        self.assertGreater(len(files["rtoc.sqlite-wal"]), 4096)

    def test_the_log_goes_with_the_store_before(self) -> None:
        self.crash()
        aside = restore(self.backup, self.state).aside
        self.assertEqual(self.values()[-1], (LARGE, 0.0))
        restore(self.state / aside, self.state)
        self.assertEqual(self.values()[-1], (LARGE, 1.0))

    def test_a_damaged_store_is_kept_with_its_log(self) -> None:
        self.crash()
        for name in ("rtoc.sqlite", "rtoc.sqlite-wal"):
            (self.state / name).write_bytes(b"damaged " + name.encode())
        aside = restore(self.backup, self.state).aside
        for suffix in ("", "-wal"):
            self.assertEqual(self.files()[f"{aside}{suffix}"], b"damaged rtoc.sqlite" + suffix.encode())
        self.assertEqual(self.values()[-1], (LARGE, 0.0))

    def test_a_salvage_that_was_due_is_called_off(self) -> None:
        self.bench.close()
        salvage.mark_suspect(self.bench.path)
        for suffix in (".salvaged", ".report"):
            self.bench.path.with_name(f"rtoc.sqlite{suffix}").write_text("a salvage")
        restore(self.backup, self.state)
        self.assertIsNone(salvage.salvage_pending(self.bench.path))
        self.assertEqual(self.values()[-1], (LARGE, 0.0))

    def test_cursors_end(self) -> None:
        (epoch,) = {row[0] for row in self.bench.sql("SELECT epoch FROM signals WHERE name = 'a'")}
        self.bench.close()
        restore(self.backup, self.state)
        self.assertNotEqual(self.bench.sql("SELECT epoch FROM signals WHERE name = 'a'"), [(epoch,)])

    def test_what_a_killed_one_left_is_no_hindrance(self) -> None:
        self.bench.close()
        (self.state / "rtoc.sqlite.part").write_text("half")
        restore(self.backup, self.state)
        self.assertEqual(self.values()[-1], (LARGE, 0.0))

    def test_a_kill_leaves_the_old_or_the_new(self) -> None:
        self.crash()
        files, found = self.files(), set()
        for count in range(100):
            with self.killed_after(count) as was_killed:
                restore(self.backup, self.state)
            found.add(self.values()[-1][1])
            if not was_killed():
                break
            for path in self.state.iterdir():
                path.unlink()
            for name, content in files.items():
                (self.state / name).write_bytes(content)
        self.assertEqual(found, {0.0, 1.0})
        self.assertGreater(count, 4)

    @contextmanager
    def killed_after(self, count: int) -> Iterator[Callable[[], bool]]:
        """Let no change of a directory happen any more after so many."""
        left = count

        class Killed(BaseException):
            pass

        def mortal(change: Callable[..., Any]) -> Callable[..., Any]:
            def changed(*args: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return change(*args, **named)

            return changed

        patches = [
            self.patch(place, name, mortal(getattr(place, name)))
            for place, name in ((os, "link"), (Path, "rename"), (Path, "unlink"), (module, "transfer"))
        ]
        patches.append(self.patch(module, "_empty_log", mortal(module._empty_log)))
        try:
            yield lambda: left < 0
        except Killed:
            pass
        finally:
            for patch in patches:
                patch.restore()


class CommandTests(Case):
    """`rtoc restore`."""

    def rtoc(self, *words: object, terminal: bool = False, **environ: str) -> tuple[int, str, str]:
        stdout, stderr = io.StringIO(), io.StringIO()
        stderr.isatty = lambda: terminal  # type: ignore[method-assign]
        shell = Shell(io.StringIO(), stdout, stderr, {"HOME": str(self.base), **environ})
        return main(["restore", *map(str, words)], shell), stdout.getvalue(), stderr.getvalue()

    def test_verify(self) -> None:
        code, told, errors = self.rtoc(self.backup, "--verify")
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual(
            told,
            f"{self.backup} is whole: 3 signals, {2 * LARGE + 4} samples, 1 events, x from 0 to {LARGE}\n",
        )
        self.assertIn("100%", self.rtoc(self.backup, "--verify", terminal=True)[2])

    def test_damage(self) -> None:
        self.change("UPDATE chunks SET data = x'00'", "UPDATE signals SET samples = 1")
        code, told, errors = self.rtoc(self.backup, "--verify")
        self.assertEqual((code, told), (1, ""))
        self.assertIn("block 1 of d.a is damaged", errors)
        self.assertRegex(errors.splitlines()[-1], rf"^rtoc: {self.backup} is damaged: \d+ problems$")
        code, told, errors = self.rtoc(self.backup, "--state-dir", self.base / "new")
        self.assertEqual((code, told), (1, ""))
        self.assertTrue(errors.endswith("problems, nothing was changed\n"))
        self.assertFalse((self.base / "new" / "rtoc.sqlite").exists())

    def test_restore(self) -> None:
        code, told, errors = self.rtoc(self.backup, "--state-dir", self.base / "new")
        self.assertEqual((code, errors), (0, ""))
        self.assertIn(f"it is the store of {self.base}/new now\n", told)
        self.assertEqual(self.values(self.base / "new")[-1], (LARGE, 0.0))
        code, told, _ = self.rtoc(self.backup, RTOC_STATE_DIR=str(self.base / "new"))
        self.assertIn("what was there is rtoc.sqlite.before-restore-1 now", told)

    def test_the_directory_is_that_of_the_server(self) -> None:
        self.assertIn("/.local/state/rtoc now", self.rtoc(self.backup)[1])
        self.assertEqual(self.values(self.base / ".local/state/rtoc")[-1], (LARGE, 0.0))

    def test_refusals(self) -> None:
        session = self.base / "RTOC_01_01_00h00m00s.json"
        session.write_text("{}")
        self.assertEqual(self.rtoc(session, "--state-dir", self.base / "new")[0], 1)
        self.assertIn("`rtoc import`", self.rtoc(session, "--verify")[2])
        self.assertIn("in use", self.rtoc(self.backup, "--state-dir", self.state)[2])
        self.assertEqual(self.rtoc()[0], 2)
        code, _, errors = self.rtoc(self.backup, RTOC_PORT="x")
        self.assertEqual((code, errors[:16]), (2, "rtoc: environmen"))

    def test_the_other_verbs_are_there(self) -> None:
        stdout = io.StringIO()
        self.assertEqual(main(["--help"], Shell(io.StringIO(), stdout, io.StringIO(), {})), 0)
        for verb in ("send", "get", "tail", "export", "import", "restore"):
            self.assertRegex(stdout.getvalue(), rf"\n +{verb} ")


class ProcessTests(ProcessCase):
    """A server under load, its backup over the wire, a kill, and another server on what was restored."""

    def test_all_that_was_acknowledged_before_the_backup(self) -> None:
        server = self.start()
        (port,) = server.ports()
        with client(port) as socket, client(port) as other:
            for number in range(100):
                ask(socket, y=[number] * 10, sname=[f"s{place}" for place in range(10)], x=[number] * 10)
            ask(socket, x=list(range(50_000)), y=list(range(50_000)), sname="plot", plot=True)
            other.send('{"logger": {"backup": {"now": "full"}}}')
            # The backup is made while these come.
            for number in range(100, 200):
                ask(socket, y=[number], sname=["s0"], x=[number])
            (file,) = [self.state / "backup" / answer(other)["logger"]["backup"]["file"]]
            server.stop(number=9)
        new = self.directory / "new"
        shell = Shell(io.StringIO(), io.StringIO(), io.StringIO(), {"HOME": str(self.directory)})
        self.assertEqual(main(["restore", str(file), "--state-dir", str(new)], shell), 0)
        self.state = new
        (port,) = self.start().ports()
        with client(port) as socket:
            signals = ask(socket, getSignal="all")["signals"]
        self.assertEqual(len(signals["noDevice.plot"][0]), 50_000)
        for place in range(10):
            self.assertEqual(signals[f"noDevice.s{place}"][1][:100], list(range(100)))
