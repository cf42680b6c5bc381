"""What is kept beside an event: on disk, through damage and restarts, and on the wire."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client.values import listed_event
from rtoc_twisted.errors import StorageFailed
from rtoc_twisted.model import Event, SignalName
from rtoc_twisted.storage.copy import copy_store
from rtoc_twisted.storage.pages import Pages, Tree
from rtoc_twisted.storage.restore import restore
from rtoc_twisted.storage.salvage import salvage
from rtoc_twisted.storage.schema import UPGRADES, upgrade
from rtoc_twisted.storage.verify import verify
from tests.doubles import house
from tests.storage_support import BROKEN, Bench

A = SignalName("one", "a")
ALARM, CAUSE = {"active": True, "acknowledged": False}, {"id": "c0ffee", "depth": 0, "text": "x" * 9000}


class DiskTest(SynchronousTestCase):
    """A store with four events, the first of which has no notes."""

    def setUp(self) -> None:
        # No test cuts the power.
        self.patch(os, "fsync", lambda _: None)
        self.bench = Bench(Path(self.mktemp()))
        self.bench.storage.add_signals([A])
        for notes in ({}, {"alarm": ALARM}, {"cause": CAUSE}, {"alarm": ALARM, "cause": CAUSE}):
            self.bench.storage.add_event(1, Event(A, "x", 1.0, **notes))
        self.bench.pump()

    def tearDown(self) -> None:
        if not self.bench.queues.stopped:
            self.bench.close()

    def notes(self) -> list[Any]:
        return [self.bench.result(self.bench.storage.event_notes(number)) for number in (1, 2, 3, 4)]

    def change(self, *statements: str) -> None:
        """Change the file of a store that is closed."""
        with closing(sqlite3.connect(self.bench.path, isolation_level=None)) as sql:
            for statement in statements:
                sql.execute(statement)

    def salvage(self) -> None:
        """Salvage the file of a store that is closed, and go on with it."""
        salvage(self.bench.path)
        self.assertEqual(verify(self.bench.path).problems, ())
        self.bench.open()

    def test_an_event_and_its_notes_are_one_transaction(self) -> None:
        before = self.bench.database.transactions
        self.bench.storage.add_event(1, Event(A, "x", 1.0, alarm=ALARM, cause=CAUSE))
        self.bench.storage.note_event(1, {"cause": CAUSE})
        self.bench.pump()
        self.assertEqual(self.bench.database.transactions, before + 1)

    def test_only_events_with_notes_have_a_row(self) -> None:
        self.assertEqual(self.bench.sql("SELECT event_id FROM notes ORDER BY event_id"), [(2,), (3,), (4,)])
        self.bench.storage.remove_events([2])
        self.bench.storage.remove_signals([1])
        self.bench.pump()
        self.assertEqual(self.bench.sql("SELECT * FROM notes"), [])

    def test_clearing_leaves_no_row(self) -> None:
        self.bench.storage.clear()
        self.bench.pump()
        self.assertEqual(self.bench.sql("SELECT * FROM notes"), [])

    def test_what_the_disk_refuses_is_not_kept(self) -> None:
        self.bench.database.faults.append(StorageFailed(BROKEN))
        noted = self.bench.storage.note_event(1, {"alarm": ALARM})
        document = self.bench.storage.put_document("key", 1)
        self.bench.pump()
        self.assertIsInstance(noted.error, StorageFailed)
        self.assertIs(noted, document)
        self.assertEqual(self.notes()[0], {})
        self.assertEqual(self.bench.storage.documents(""), {})

    def test_a_restart(self) -> None:
        self.bench.storage.note_event(4, {"alarm": None})
        self.bench.storage.put_document("a", 1)
        self.bench.storage.put_document("b", 2)
        self.bench.storage.put_document("a", None)
        self.bench.reopen()
        self.assertEqual(self.notes(), [{}, {"alarm": ALARM}, {"cause": CAUSE}, {"cause": CAUSE}])
        self.assertEqual(self.bench.storage.documents(""), {"b": 2})

    def test_a_copy_that_is_restored(self) -> None:
        copy = self.bench.directory.with_name("copy.sqlite")
        self.addCleanup(copy.unlink)
        copy_store(self.bench.path, copy)
        self.bench.storage.remove_events(None)
        self.bench.close()
        self.assertEqual(restore(copy, self.bench.directory).contents.problems, ())
        self.bench.open()
        self.assertEqual(self.notes()[3], {"alarm": ALARM, "cause": CAUSE})

    def test_a_copy_from_before_there_were_notes(self) -> None:
        old = Path(self.mktemp())
        with closing(sqlite3.connect(old, isolation_level=None)) as sql:
            upgrade(sql, old, UPGRADES[:2])
            sql.execute("INSERT INTO devices VALUES (1, 'one')")
            sql.execute("INSERT INTO signals (id, device_id, name) VALUES (1, 1, 'a')")
            sql.execute("INSERT INTO events VALUES (1, 1, 'old', 1.5, 1, '', 'null')")
        self.bench.close()
        self.assertEqual(restore(old, self.bench.directory).contents.problems, ())
        self.bench.open()
        (event,) = self.bench.result(self.bench.storage.events())
        self.assertEqual((event.text, event.alarm), ("old", None))
        self.bench.storage.note_event(1, {"alarm": ALARM})
        self.assertEqual(self.notes()[0], {"alarm": ALARM})

    # Damage.

    def test_notes_are_salvaged(self) -> None:
        before = self.notes()
        self.bench.close()
        self.salvage()
        self.assertEqual(self.notes(), before)

    def test_notes_whose_way_from_the_root_is_gone(self) -> None:
        for number in range(5, 400):
            self.bench.storage.add_event(1, Event(A, "x", 1.0, alarm={"number": number}))
        self.bench.close()
        with Pages(self.bench.path) as pages:
            (root,) = [int(str(row[3])) for _, row in Tree(pages, 1).rows() if row[1] == "notes"]
            size = pages.size
        content = bytearray(self.bench.path.read_bytes())
        content[(root - 1) * size : root * size] = bytes(size)
        self.bench.path.write_bytes(content)
        self.salvage()
        self.assertEqual(
            self.notes()[1:], [{"alarm": ALARM}, {"cause": CAUSE}, {"alarm": ALARM, "cause": CAUSE}]
        )
        events = self.bench.result(self.bench.storage.events(after=4))
        self.assertEqual([event.alarm for event in events], [{"number": number} for number in range(5, 400)])

    def test_a_note_that_makes_no_sense_takes_no_other_along(self) -> None:
        self.bench.close()
        self.change("UPDATE notes SET alarm = '{' WHERE event_id = 4")
        self.assertEqual(verify(self.bench.path).problems, ("a note of an event makes no sense",))
        self.salvage()
        self.assertEqual(self.notes()[2:], [{"cause": CAUSE}, {"cause": CAUSE}])

    def test_notes_without_an_event(self) -> None:
        self.bench.close()
        self.change("INSERT INTO notes VALUES (77, NULL, 'null')")
        self.assertEqual(verify(self.bench.path).problems, ("there are 1 notes without an event",))
        self.salvage()
        self.assertEqual(self.bench.sql("SELECT event_id FROM notes"), [(2,), (3,), (4,)])


class WireTest(SynchronousTestCase):
    """Rows of getEventList and getEvent; a session keeps RTOC's form."""

    def setUp(self) -> None:
        self.rooms = house()
        self.client = self.rooms.connect()
        self.rooms.recorder.raise_event(Event(A, "plain", 1.0, action_id="i"))
        self.rooms.recorder.raise_event(Event(A, "alarm", 2.0, 2, "i", alarm=ALARM, cause=CAUSE))

    def ask(self, request: Any) -> Any:
        return self.client.send(request)[-1]

    def test_how_the_alarm_stands_comes_last(self) -> None:
        plain = ["one", "a", 1, "plain", 1.0, None, 0, "i"]
        alarm = ["one", "a", 2, "alarm", 2.0, None, 2, "i", ALARM]
        self.assertEqual(self.ask({"getEventList": True})["events"], {"1": plain, "2": alarm})
        self.assertEqual(self.ask({"getEventList": {"limit": 5}})["events"], {"1": plain, "2": alarm})
        self.assertEqual(self.ask({"getEvent": [A.key]})["events"], {A.key: [plain, alarm]})

    def test_it_is_how_it_stands_now(self) -> None:
        self.rooms.storage.note_event(2, {"alarm": {"active": False}})
        self.assertEqual(self.ask({"getEventList": True})["events"]["2"][8:], [{"active": False}])
        self.rooms.storage.note_event(2, {"alarm": None})
        self.assertEqual(self.ask({"getEventList": True})["events"]["2"][8:], [])

    def test_a_session_has_rows_of_eight(self) -> None:
        events = self.ask({"getSession": True})["session"]["events"]
        self.assertEqual([len(row) for row in events.values()], [8, 8])

    def test_a_client_reads_both(self) -> None:
        events = self.ask({"getEventList": True})["events"]
        found = [listed_event(json.loads(json.dumps(row))) for row in events.values()]
        self.assertEqual([(event.text, event.alarm) for event in found], [("plain", None), ("alarm", ALARM)])
