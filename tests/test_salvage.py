"""Damaged files: whatever was done to one, all that is readable is salvaged, and nothing else appears."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import NotAvailable
from rtoc_twisted.model import Event, SignalName, Window
from rtoc_twisted.storage import salvage as module
from rtoc_twisted.storage.blobs import plain, read_plain
from rtoc_twisted.storage.pages import Pages, Tree
from rtoc_twisted.storage.salvage import Salvaged, is_damage, mark_suspect, salvage, salvage_pending
from rtoc_twisted.storage.schema import UPGRADES, upgrade
from tests.damage_support import PAGE, REPLACED, Store, ask
from tests.storage_support import Bench, floats, pairs, unhurried

FRAME = 24 + PAGE


class SalvageCase(SynchronousTestCase):
    """A store, what is done to it, and what comes out."""

    def setUp(self) -> None:
        # No test cuts the power.
        self.patch(os, "fsync", lambda _: None)
        self.take(Store(Path(self.mktemp())))

    def take(self, store: Store) -> None:
        """Go on with this store."""
        self.store = store
        self.path = store.path
        self.whole = store.content
        self.count = len(self.whole) // PAGE
        self.where = {data: self.store.pages_of(data) for data in self.store.blobs()}

    def aside(self, number: int = 1) -> Path:
        return self.path.with_name(f"{self.path.name}.damaged-{number}")

    def salvage(self, content: bytes) -> Salvaged:
        """Salvage a file of this content; what earlier calls left is removed."""
        for file in self.path.parent.iterdir():
            file.unlink()
        self.path.write_bytes(content)
        salvaged = salvage(self.path)
        self.assertEqual(ask(self.path, "PRAGMA integrity_check"), [("ok",)])
        self.assertEqual((salvaged.aside, self.aside().read_bytes()), (self.aside().name, content))
        return salvaged

    def change(self, statement: str, *values: object) -> None:
        """Change the store before it is damaged."""
        with closing(sqlite3.connect(self.path)) as sql:
            sql.execute(statement, values)
            sql.commit()
        self.whole = self.store.content

    def rows(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield table, key and content of all that the new store has."""
        for number, signal_id, data in ask(self.path, "SELECT id, signal_id, data FROM chunks"):
            yield "chunks", number, (signal_id, data)
        for seq, data in ask(self.path, "SELECT seq, data FROM journal"):
            yield "journal", seq, data
        for table in ("events", "documents"):
            for (text,) in ask(self.path, f"SELECT {'text' if table == 'events' else 'value'} FROM {table}"):
                yield table, text, None
        for number, name in ask(self.path, "SELECT id, name FROM signals"):
            yield "signals", number, name

    def expected(self, gone: set[int]) -> dict[tuple[str, Any], Any]:
        """Return table, key and content of all of which no page is gone; names are there in any case."""
        store = self.store
        rows: list[tuple[str, Any, Any, bytes]] = []
        rows += [("chunks", number, chunk, chunk[1]) for number, chunk in store.chunks.items()]
        rows += [("journal", seq, data, data) for seq, data in store.journal.items()]
        rows += [(table, text, None, text.encode()) for text, table in store.texts.items()]
        names = {("signals", number): name for number, name in store.signals.items()}
        return {
            (table, key): value for table, key, value, data in rows if not self.where[data] & gone
        } | names

    def check(self, gone: set[int], what: object = None) -> None:
        """Check that the new store has what it can have, and nothing that was removed or never was."""
        found = {(table, key): value for table, key, value in self.rows()}
        expected = self.expected(gone)
        self.assertEqual({key: found.get(key) for key in expected}, expected, what)
        everything = self.expected(set())
        self.assertEqual({key: everything.get(key) for key in found}, found, what)


class PageTest(SalvageCase):
    """Whole pages that are gone."""

    def without(self, *numbers: int) -> bytes:
        content = bytearray(self.whole)
        for number in numbers:
            content[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)
        return bytes(content)

    def test_a_sound_file(self) -> None:
        salvaged = self.salvage(self.whole)
        self.check(set())
        self.assertEqual((salvaged.lost, salvaged.lost_commits), ({}, 0))
        self.assertIn("no loss is known", salvaged.text)
        self.assertEqual(ask(self.path, "SELECT * FROM sources"), [("a source", "0:1-9", 1)])
        for table in ("signals", "rollups", "outlines", "chunks"):
            self.assertEqual(
                ask(self.path, f"SELECT * FROM {table}"), ask(self.aside(), f"SELECT * FROM {table}"), table
            )

    def test_any_page_gone(self) -> None:
        lost = 0
        for number in range(1, self.count + 1):
            salvaged = self.salvage(self.without(number))
            self.check({number}, number)
            (samples,) = ask(self.path, "SELECT SUM(samples) FROM chunks")[0]
            self.assertEqual(samples + sum(salvaged.lost.values()), self.store.samples, number)
            lost += sum(salvaged.lost.values())
        self.assertGreater(lost, 0)

    def test_the_header_gone(self) -> None:
        self.salvage(bytes(100) + self.whole[100:])
        self.check(set())

    def test_cut_short(self) -> None:
        names = self.store.signals
        for pages in range(0, self.count, 3):
            self.salvage(self.whole[: pages * PAGE + pages % 2 * 1000])
            # Names may be among what is gone.
            self.store.signals = {
                number: name
                for number, name in ask(self.path, "SELECT id, name FROM signals")
                if name in (names.get(number), f"signal_{number}")
            }
            self.check(set(range(pages + 1, self.count + 1)), pages)

    def test_two_pages_gone(self) -> None:
        chance = random.Random(3)
        for _ in range(25):
            gone = chance.sample(range(2, self.count + 1), 2)
            self.salvage(self.without(*gone))
            self.check(set(gone), gone)

    def test_anything_written_anywhere(self) -> None:
        chance = random.Random(4)
        for turn in range(60):
            content = bytearray(self.whole)
            for _ in range(chance.randint(1, 3)):
                start, length = chance.randrange(len(content)), chance.choice((1, 8, 100, PAGE, 5 * PAGE))
                content[start : start + length] = chance.randbytes(min(length, len(content) - start))
            self.salvage(bytes(content))
            for table, key, value in self.rows():
                if table in ("chunks", "journal"):
                    data = value[1] if table == "chunks" else value
                    self.assertIn(data, self.store.ever, (turn, key))

    def test_free_pages(self) -> None:
        (count,) = ask(self.path, "PRAGMA freelist_count")[0]
        self.assertGreater(count, 1)
        with Pages(self.path) as pages:
            free, reached = pages.free(), set[int]()
            for (root,) in ask(self.path, "SELECT rootpage FROM sqlite_schema WHERE type = 'table'"):
                tree = Tree(pages, root)
                list(tree.rows())
                reached |= tree.reached
            self.assertEqual((len(free), free & reached), (count, set()))

    def test_the_header_and_the_root_of_the_chunks_gone(self) -> None:
        ((root,),) = ask(self.path, "SELECT rootpage FROM sqlite_schema WHERE name = 'chunks'")
        self.salvage(self.without(1, root))
        self.check({1, root})

    def test_the_header_gone_of_a_store_that_was_upgraded(self) -> None:
        self.take(Store(Path(self.mktemp()), versions=1))
        with closing(sqlite3.connect(self.path)) as sql:
            upgrade(sql, self.path)
        self.change("INSERT INTO sources VALUES ('a source', '0:1-9', 1)")
        self.salvage(self.without(1))
        self.check({1})
        self.assertEqual(ask(self.path, "SELECT * FROM sources"), [("a source", "0:1-9", 1)])

    def test_any_bytes(self) -> None:
        chance = random.Random(5)
        for length in (0, 1, 99, 100, 5000, 50_000):
            salvaged = self.salvage(chance.randbytes(length))
            self.assertEqual((salvaged.signals, salvaged.samples), (0, 0))
            with_header = self.whole[:100] + chance.randbytes(length)
            self.assertEqual(self.salvage(with_header).samples, 0)


class CatalogTest(SalvageCase):
    """Names and numbers when the rows that have them are gone."""

    def roots(self, *names: str) -> list[int]:
        return [
            ask(self.path, "SELECT rootpage FROM sqlite_schema WHERE name = ?", name)[0][0] for name in names
        ]

    def overwritten(self, *names: str) -> bytes:
        """Return the content of the file without the trees of these names, and their pages."""
        with Pages(self.path) as pages:
            trees = [Tree(pages, root) for root in self.roots(*names)]
            for tree in trees:
                list(tree.rows())
            self.gone = set().union(*(tree.reached for tree in trees))
        content = bytearray(self.whole)
        for number in self.gone:
            content[(number - 1) * PAGE : number * PAGE] = bytes(PAGE)
        return bytes(content)

    def test_names_of_signals_come_from_their_index(self) -> None:
        self.salvage(self.overwritten("signals"))
        self.check(self.gone)
        (unit, samples) = ask(self.path, "SELECT unit, samples FROM signals WHERE id = 8")[0]
        self.assertEqual((unit, samples), (None, 500))

    def test_names_of_devices_come_from_their_index(self) -> None:
        self.salvage(self.overwritten("devices"))
        self.check(self.gone)
        self.assertEqual(ask(self.path, "SELECT id, name FROM devices"), [(1, "left"), (2, "right")])

    def test_devices_without_a_name_get_one(self) -> None:
        content = self.overwritten("devices", "sqlite_autoindex_devices_1")
        self.salvage(content)
        self.check(self.gone)
        names = ask(self.path, "SELECT id, name FROM devices")
        self.assertEqual(names, [(1, "salvaged_1"), (2, "salvaged_2")])

    def test_signals_without_a_name_get_one(self) -> None:
        self.salvage(self.overwritten("signals", "sqlite_autoindex_signals_1"))
        rows = ask(self.path, "SELECT s.id, d.name, s.name FROM signals s JOIN devices d ON d.id = device_id")
        self.assertEqual({device for _, device, _ in rows}, {"salvaged"})
        self.assertEqual([name for _, _, name in rows], [f"signal_{number}" for number, _, _ in rows])
        self.store.signals = {number: name for number, _, name in rows}
        self.check(self.gone)
        self.assertLess({signal for signal, _ in self.store.chunks.values()}, set(self.store.signals))

    def test_numbers_go_on(self) -> None:
        self.change("UPDATE sqlite_sequence SET seq = 1000 WHERE name IN ('signals', 'journal')")
        for content, expected in ((self.whole, 1000), (self.overwritten("sqlite_sequence"), 36)):
            self.salvage(content)
            numbers = dict(ask(self.path, "SELECT name, seq FROM sqlite_sequence"))
            self.assertEqual((numbers["signals"], numbers["devices"], numbers["events"]), (expected, 2, 39))

    def test_the_journal_goes_on_behind_what_is_folded(self) -> None:
        self.change("UPDATE signals SET folded = 77 WHERE id = 5")
        salvaged = self.salvage(self.overwritten("sqlite_sequence", "journal"))
        self.assertEqual(ask(self.path, "SELECT seq FROM sqlite_sequence WHERE name = 'journal'"), [(77,)])
        self.assertEqual(salvaged.lost_commits, 0)

    def test_an_older_schema(self) -> None:
        self.take(Store(Path(self.mktemp()), versions=1))
        salvaged = self.salvage(self.store.content)
        self.check(set())
        self.assertEqual(ask(self.path, "PRAGMA user_version"), [(len(UPGRADES),)])
        self.assertEqual((salvaged.lost, ask(self.path, "SELECT * FROM rollups")), ({}, []))

    def test_other_sizes_of_pages(self) -> None:
        for size in (512, 1024, 65536):
            self.take(Store(Path(self.mktemp()), size))
            self.salvage(self.store.content)
            self.check(set(), size)


class LossTest(SalvageCase):
    """What is lost is told, by signals, and its place is kept."""

    def damaged(self, *numbers: int) -> bytes:
        """Return the file's content with one bit of each of these chunks turned."""
        content = bytearray(self.whole)
        for number in numbers:
            content[self.whole.find(self.store.chunks[number][1][-16:])] ^= 1
        return bytes(content)

    def test_a_damaged_chunk(self) -> None:
        number, (signal, data) = next(iter(self.store.chunks.items()))
        samples = (len(data) - 4) // 16
        epoch = ask(self.path, "SELECT epoch FROM signals WHERE id = ?", signal)
        salvaged = self.salvage(self.damaged(number))
        name = f"{'left' if signal % 2 == 0 else 'right'}.{self.store.signals[signal]}"
        self.assertEqual(salvaged.lost, {name: samples})
        self.assertIn(f"lost are {samples} samples ({samples} of {name})", salvaged.text)
        self.assertIn("kept as rtoc.sqlite.damaged-1", salvaged.text)
        self.assertEqual(ask(self.path, "SELECT signal_id, samples FROM lost"), [(signal, samples)])
        self.assertNotEqual(ask(self.path, "SELECT epoch FROM signals WHERE id = ?", signal), epoch)
        left = ask(self.path, "SELECT COALESCE(SUM(samples), 0) FROM chunks WHERE signal_id = ?", signal)
        self.assertEqual(ask(self.path, "SELECT samples FROM signals WHERE id = ?", signal), left)

    def test_what_was_lost_before_stays(self) -> None:
        self.change("INSERT INTO lost VALUES (1, 3, 10, 1.5, 2.5, 0, x'00', 99.5)")
        number = max(self.store.chunks)
        self.salvage(self.damaged(number))
        self.assertEqual(
            ask(self.path, "SELECT id, signal_id, samples, moment = 99.5 FROM lost"),
            [(1, 3, 10, 1), (number, REPLACED, 500, 0)],
        )

    def test_a_retired_chunk(self) -> None:
        """Its samples are gone on purpose; what is left of it is an outline."""
        row = (400, 3, 9000, -5.0, 5.0, 2, plain(floats([1, 2, 3]), floats([4, 5, 6])))
        self.change("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)", *row)
        self.change("UPDATE signals SET samples = samples + 9000, last_y = 6 WHERE id = 3")
        salvaged = self.salvage(self.whole)
        self.assertEqual(ask(self.path, "SELECT * FROM chunks WHERE id = 400"), [row])
        self.assertEqual(salvaged.lost, {})
        self.salvage(
            self.damaged(*(number for number, (owner, _) in self.store.chunks.items() if owner == 3))
        )
        (figures,) = ask(
            self.path, "SELECT samples, first_x, last_x, last_y, x_min, x_max FROM signals WHERE id = 3"
        )
        self.assertEqual(figures, (9000, 1.0, 3.0, 6.0, -5.0, 5.0))

    def test_figures_are_those_of_what_is_left(self) -> None:
        signal = next(signal for signal, _ in self.store.chunks.values() if self.chunks_of(signal) > 2)
        numbers = [number for number, (owner, _) in self.store.chunks.items() if owner == signal]
        self.salvage(self.damaged(numbers[0], numbers[-1]))
        kept = [read_plain(self.store.chunks[number][1]) for number in numbers[1:-1]]
        (figures,) = ask(
            self.path,
            "SELECT samples, first_x, last_x, last_y, x_min, x_max FROM signals WHERE id = ?",
            signal,
        )
        x = [value for column, _ in kept for value in column]
        self.assertEqual(figures, (len(x), x[0], x[-1], kept[-1][1][-1], min(x), max(x)))

    def chunks_of(self, signal: int) -> int:
        return sum(owner == signal for owner, _ in self.store.chunks.values())

    def test_a_damaged_row_of_the_journal(self) -> None:
        content = bytearray(self.whole)
        content[self.whole.find(self.store.journal[4][-16:])] ^= 1
        salvaged = self.salvage(bytes(content))
        self.assertEqual(
            [seq for (seq,) in ask(self.path, "SELECT seq FROM journal")], [1, 2, 3, *range(5, 12)]
        )
        self.assertEqual((salvaged.lost, salvaged.lost_commits), ({}, 1))
        self.assertIn("at least 1 of the newest commits", salvaged.text)
        self.assertEqual(ask(self.path, "SELECT COUNT(*) FROM signals WHERE epoch = 0"), [(0,)])

    def test_damaged_outlines_are_left_out(self) -> None:
        ((place, data),) = ask(self.path, "SELECT chunk_id, data FROM outlines LIMIT 1")
        content = bytearray(self.whole)
        content[self.whole.find(data[-16:])] ^= 1
        salvaged = self.salvage(bytes(content))
        self.assertEqual(ask(self.path, "SELECT 1 FROM outlines WHERE chunk_id = ?", place), [])
        self.assertEqual(salvaged.lost, {})

    def test_many_losses_in_one_line(self) -> None:
        lost = {f"d.s{number}": number for number in range(1, 14)}
        text = Salvaged("f.damaged-2", 20, 1000, 3, 4, lost, 0).text
        self.assertTrue(
            text.startswith(
                "the store was damaged: 1000 samples of 20 signals, 3 events and 4 documents were salvaged;"
                " lost are 91 samples (13 of d.s13, 12 of d.s12,"
            ),
            text,
        )
        self.assertTrue(text.endswith("6 of other signals); the damaged file is kept as f.damaged-2"), text)


class WalTest(SalvageCase):
    """A last write that is torn: what was committed before it is there, by SQLite or by us."""

    COMMITS = 8

    def setUp(self) -> None:
        super().setUp()
        self.wal = self.path.with_name(f"{self.path.name}-wal")
        with closing(sqlite3.connect(self.path, isolation_level=None)) as sql:
            sql.execute("PRAGMA wal_autocheckpoint = 0")
            for number in range(self.COMMITS):
                data = plain(floats([number] * 200), floats([0.5] * 200))
                row = (500 + number, REPLACED, 200, data)
                sql.execute("INSERT INTO chunks (id, signal_id, samples, data) VALUES (?, ?, ?, ?)", row)
            self.log = self.wal.read_bytes()
            self.whole = self.store.content
        # The offset 4 of a frame's head: pages of the database after a commit, else 0.
        self.ends = [
            start + FRAME
            for start in range(32, len(self.log), FRAME)
            if struct.unpack_from(">I", self.log, start + 4)[0]
        ]

    def chunks(self) -> int:
        return int(ask(self.path, "SELECT COUNT(*) FROM chunks WHERE id >= 500")[0][0])

    def put(self, content: bytes, log: bytes) -> None:
        for file in self.path.parent.iterdir():
            file.unlink()
        self.path.write_bytes(content)
        self.wal.write_bytes(log)

    def check_log(self, log: bytes, commits: int, what: object) -> None:
        self.put(self.whole, log)
        with Pages(self.path) as pages:
            read = b"".join(pages.page(number + 1) for number in range(pages.count))
        self.assertEqual(self.chunks(), commits, what)
        ask(self.path, "PRAGMA wal_checkpoint(TRUNCATE)")
        self.assertTrue(read == self.store.content, what)
        # Without SQLite, which cannot open this one.
        self.put(b"x" * 100 + self.whole[100:], log)
        salvage(self.path)
        self.assertEqual(self.chunks(), commits, what)
        self.assertEqual(self.wal.exists(), False)
        self.assertEqual(self.aside().with_name(f"{self.aside().name}-wal").read_bytes(), log)

    def test_cut_anywhere(self) -> None:
        self.assertEqual(len(self.ends), self.COMMITS)
        for end in (0, 20, *range(32, len(self.log) + 1, FRAME)):
            for length in (end, end + 24, end + FRAME // 2):
                if length <= len(self.log):
                    self.check_log(self.log[:length], sum(place <= length for place in self.ends), length)

    def test_a_bit_turned_anywhere(self) -> None:
        chance = random.Random(6)
        for place in (0, 17, *(chance.randrange(32, len(self.log)) for _ in range(8))):
            log = bytearray(self.log)
            log[place] ^= 4
            commits = 0 if place < 32 else sum(end <= place for end in self.ends)
            self.check_log(bytes(log), commits, place)

    def test_the_first_page_is_in_the_log(self) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as sql:
            sql.execute("CREATE TABLE another (a)")
            self.log, self.whole = self.wal.read_bytes(), self.store.content
        self.put(bytes(len(self.whole)), self.log)
        with Pages(self.path) as pages:
            self.assertTrue(pages.has_header)


class PlaceTest(SalvageCase):
    """Files change places such that a kill at any point loses nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.damaged = b"x" * 100 + self.whole[100:]
        self.path.write_bytes(self.damaged)
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).write_bytes(suffix.encode())

    def files(self) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in self.path.parent.iterdir()}

    def check_places(self) -> None:
        files = self.files()
        self.assertEqual(
            sorted(files),
            ["rtoc.sqlite", *(f"rtoc.sqlite.damaged-1{end}" for end in ("", "-shm", "-wal", ".report"))],
        )
        self.assertEqual(files["rtoc.sqlite.damaged-1"], self.damaged)
        self.assertEqual((files["rtoc.sqlite.damaged-1-wal"]), b"-wal")
        self.assertEqual({file.stat().st_mode & 0o077 for file in (self.path, self.report)}, {0})
        self.check(set())

    @property
    def report(self) -> Path:
        return self.path.with_name("rtoc.sqlite.damaged-1.report")

    def test_a_kill_between_any_two_steps(self) -> None:
        before, rename = self.files(), Path.rename

        class Killed(BaseException):
            pass

        for steps in range(20):
            left = steps

            def count(path: Path, target: Path) -> Path:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return rename(path, target)

            for name in self.files():
                self.path.with_name(name).unlink()
            for name, content in before.items():
                self.path.with_name(name).write_bytes(content)
            patch = self.patch(Path, "rename", count)
            try:
                salvage(self.path)
                self.assertEqual(steps, 6)
                break
            except Killed:
                # Nobody has lost a byte.
                self.assertLessEqual(set(before.values()), set(self.files().values()), steps)
            finally:
                patch.restore()
            salvaged = salvage_pending(self.path)
            if steps == 0:
                # It was not decided yet: the file is as damaged as it was.
                self.assertIsNone(salvaged)
                salvaged = salvage(self.path)
            self.assertIsNotNone(salvaged)
            self.assertEqual(salvaged.aside, "rtoc.sqlite.damaged-1")
            self.check_places()
        self.check_places()

    def test_one_after_the_other(self) -> None:
        for number in (1, 2, 3):
            self.path.write_bytes(self.damaged)
            self.assertEqual(salvage(self.path).aside, f"rtoc.sqlite.damaged-{number}")

    def test_the_report(self) -> None:
        salvaged = salvage(self.path)
        fields = asdict(salvaged)
        self.assertEqual(fields.pop("aside"), self.aside().name)
        self.assertEqual(json.loads(self.report.read_text()), fields)

    def test_no_room(self) -> None:
        before = self.files()

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        self.patch(module, "upgrade", full)
        with self.assertRaisesRegex(NotAvailable, "is full .it takes as much room as the file has"):
            salvage(self.path)
        self.assertEqual(self.files(), before)

    def test_nothing_pending(self) -> None:
        before = self.files()
        self.assertIsNone(salvage_pending(self.path))
        self.assertEqual(self.files(), before)

    def test_a_mark(self) -> None:
        mark_suspect(self.path)
        mark_suspect(self.path)
        self.assertIsNotNone(salvage_pending(self.path))
        self.assertIsNone(salvage_pending(self.path))

    def test_what_is_damage(self) -> None:
        self.assertTrue(is_damage(self.error("SELECT * FROM signals")))
        self.path.write_bytes(self.whole[: len(self.whole) // 2])
        self.assertTrue(is_damage(self.error("SELECT * FROM signals")))
        self.path.write_bytes(self.whole)
        self.assertFalse(is_damage(self.error("SELECT * FROM nothing")))
        with closing(sqlite3.connect(self.path)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.assertFalse(is_damage(self.error("BEGIN IMMEDIATE")))
        self.assertTrue(is_damage(KeyError(3)))
        self.assertFalse(is_damage(NotAvailable("a newer version")))
        self.assertFalse(is_damage(OSError(13, "Permission denied")))

    def error(self, query: str) -> BaseException:
        with (
            closing(sqlite3.connect(self.path, timeout=0)) as sql,
            self.assertRaises(sqlite3.Error) as raised,
        ):
            sql.execute(query).fetchall()
        return raised.exception


class ServerTest(SynchronousTestCase):
    """A store of the server itself, before and after."""

    def test_it_goes_on_with_what_was_salvaged(self) -> None:
        bench = Bench(Path(self.mktemp()))
        a, b = SignalName("one", "a"), SignalName("one", "b")
        bench.storage.add_signals([a, b])
        bench.storage.set_unit(2, "V")
        bench.storage.replace(1, floats(range(5000)), floats(range(5000)))
        bench.storage.add_event(2, Event(b, "told", 1.0))
        bench.storage.put_document("key", {"a": 1})
        bench.reopen()
        bench.storage.append([2, 2], [1.0, 2.0], [3.0, 4.0])
        bench.pump()
        # As after a kill: the newest values are in the -wal alone.
        content = {file: file.read_bytes() for file in bench.directory.iterdir()}
        bench.close()
        for file, data in content.items():
            file.write_bytes(data)
        bench.path.write_bytes(b"x" * 4096 + content[bench.path][4096:])
        salvaged = salvage(bench.path)
        self.assertEqual((salvaged.signals, salvaged.samples, salvaged.events), (2, 5002, 1))
        bench.open()
        storage = bench.storage
        found = bench.result(storage.read([(1, Window()), (2, Window())]))
        self.assertEqual([len(columns.x) for columns in found], [5000, 2])
        self.assertEqual(pairs(found[1]), [(1.0, 3.0), (2.0, 4.0)])
        self.assertEqual((storage.find(b).unit, storage.document("key")), ("V", {"a": 1}))
        self.assertEqual([event.text for event in bench.result(storage.events())], ["told"])
        (new,) = storage.add_signals([SignalName("one", "c")])
        self.assertEqual(new.id, 3)
        bench.close()


values = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 1, -1, 127, 128, -(2**15), 2**23, 2**47, 2**48]),
    st.floats(allow_nan=False),
    st.text(max_size=300).map(lambda text: text.replace("\0", "").encode("utf-8", "ignore").decode()),
    st.integers(0, 9000).map(lambda length: b"\x07" * length),
)


class TreeTest(SynchronousTestCase):
    """Our reading of the file format, against SQLite's."""

    @unhurried
    @given(st.sampled_from([512, 1024, 4096, 65536]), st.lists(st.tuples(values, values), max_size=40))
    def test_rows(self, page_size: int, rows: list[tuple[Any, Any]]) -> None:
        path = Path(self.mktemp())
        with closing(sqlite3.connect(path)) as sql:
            sql.execute(f"PRAGMA page_size = {page_size}")
            sql.execute("CREATE TABLE t (a, b)")
            sql.execute("CREATE INDEX i ON t (b)")
            sql.executemany("INSERT INTO t VALUES (?, ?)", rows)
            sql.commit()
            expected = sql.execute("SELECT rowid, a, b FROM t ORDER BY rowid").fetchall()
            roots = dict(sql.execute("SELECT name, rootpage FROM sqlite_schema").fetchall())
        with Pages(path) as pages:
            self.assertEqual(pages.size, page_size)
            table, index = Tree(pages, roots["t"]), Tree(pages, roots["i"])
            self.assertEqual([(number, *row) for number, row in table.rows()], expected)
            entries = sorted(row[::-1] for _, row in index.rows())
            self.assertEqual([key for key, _ in entries], list(range(1, len(rows) + 1)))
            self.assertEqual([value for _, value in entries], [row[1] for row in rows])
            self.assertTrue(table.whole and index.whole)
        path.unlink()
