"""`ack`: when the sender of data hears of it, and what that means."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import StorageFailed
from tests.doubles import Client, house, sqlite_storage
from tests.test_connection import Slow

SENT = {"error": False, "sent": True}


def data(ack: str | None, **more: Any) -> dict[str, Any]:
    found = {"y": [1.5], "sname": ["A"], "dname": "D", "x": [1], **more}
    return found if ack is None else {**found, "ack": ack}


class AckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.storage, self.full = Slow(), False
        self.storage.durability = "normal"
        self.rooms = house(storage=self.storage, congested=lambda: self.full)
        self.client = self.rooms.connect()
        self.client.send(data(None))
        self.storage.commits.pop().finish()
        self.client.heard()

    def finish(self, error: StorageFailed | None = None) -> list[Any]:
        self.storage.commits.pop(0).finish(error)
        return self.client.heard()

    def assert_failed(self, heard: list[Any], sent: Any = False) -> None:
        (answer,) = heard
        (error,) = answer["errors"]
        self.assertEqual((answer["error"], answer.get("sent"), error["key"]), (True, sent, "y"))

    def test_received_is_answered_at_once(self) -> None:
        self.assertEqual(self.client.send(data("received")), [SENT])
        self.assertEqual(self.finish(), [])
        self.assertEqual(self.client.send(data("received", id=7)), [{**SENT, "id": 7}])
        # It was said before it failed.
        self.assertEqual(self.finish(StorageFailed("full")), [])

    def test_received_spares_a_congested_store(self) -> None:
        self.full = True
        self.assertEqual(self.client.send(data("received")), [SENT])
        self.assertEqual(self.client.send(data("received")), [])
        self.assertTrue(self.client.socket.paused)
        self.full = False
        self.assertEqual(self.finish(), [SENT])
        self.assertFalse(self.client.socket.paused)

    def test_stored_and_durable_wait_for_the_commit(self) -> None:
        for ack in ("stored", "durable"):
            self.assertEqual(self.client.send(data(ack)), [])
            self.assertEqual(self.storage.commits[0].durable, ack == "durable")
            self.assertEqual(self.finish(), [SENT])
            self.client.send(data(ack))
            self.assert_failed(self.finish(StorageFailed("full")))

    def test_none_is_told_of_failures_alone(self) -> None:
        self.assertEqual(self.client.send(data("none")), [])
        self.assertEqual(self.finish(), [])
        self.assertEqual(self.client.send(data("none", id=1)), [])
        self.assert_failed(self.finish(StorageFailed("full")))
        self.assert_failed(self.client.send(data("none", y=["x"])))
        self.assertEqual(self.client.ask(getSignalList=1)["signalList"], [["D", "A"]])

    def test_none_with_more_to_say(self) -> None:
        self.assertEqual(self.client.send(data("none", getSignalList=1)), [])
        self.assertEqual(self.finish(), [{**SENT, "signalList": [["D", "A"]]}])

    def test_none_among_others_keeps_the_order(self) -> None:
        for ack in ("stored", "none", "stored"):
            self.client.send(data(ack))
        self.assertEqual([self.finish(), self.finish(), self.finish()], [[SENT], [], [SENT]])

    def test_of_plots_and_texts(self) -> None:
        for change in ({"plot": True}, {"y": "an event"}):
            self.client.send(data("received", **change))
            self.finish()
            self.client.send(data("none", **change))
            self.assertEqual([message for message in self.finish() if "error" in message], [])

    def test_what_it_cannot_be(self) -> None:
        for ack in ("later", "", 5, None, ["stored"], {}):
            self.assert_failed(self.client.send({**data(None), "ack": ack}))
        self.assertEqual(self.storage.commits, [])


class DurableTests(SynchronousTestCase):
    """What a power cut cannot take."""

    def open(self, **options: Any) -> Client:
        self.clock = Clock()
        directory = Path(self.mktemp())
        directory.mkdir()
        self.storage = sqlite_storage(directory, self.clock, **options)
        self.addCleanup(self.storage.close)
        self.statements: list[str] = []
        connection: sqlite3.Connection = self.storage._database._sql
        connection.set_trace_callback(self.statements.append)
        return house(clock=self.clock, storage=self.storage).connect()

    def synchronous(self) -> int:
        ((level,),) = self.storage._database._sql.execute("PRAGMA synchronous").fetchall()
        return int(level)

    def test_the_commit_waits_for_the_disk_and_others_do_not(self) -> None:
        client = self.open()
        for ack, expected in (("stored", []), ("durable", ["FULL", "NORMAL"]), ("stored", [])):
            self.statements.clear()
            self.assertEqual(client.send(data(ack))[-1], SENT)
            levels = [s.split(" = ")[1] for s in self.statements if s.startswith("PRAGMA synchronous =")]
            self.assertEqual(levels, expected)
            if expected:
                first, *_, last = self.statements
                self.assertIn("FULL", first)
                self.assertIn("NORMAL", last)
        self.assertEqual(self.synchronous(), 1)

    def test_where_every_commit_waits(self) -> None:
        client = self.open(fsync=True)
        self.assertEqual(client.send(data("durable"))[-1], SENT)
        self.assertEqual([s for s in self.statements if "synchronous" in s], [])
        self.assertEqual(self.synchronous(), 2)

    def test_memory_refuses_and_stores_nothing(self) -> None:
        client = house().connect()
        (answer,) = client.send(data("durable"))
        self.assertEqual((answer["sent"], answer["errors"][0]["code"]), (False, "not-available"))
        self.assertEqual(client.ask(getLatest=True)["latest"], {})

    def test_hello_says_what_may_be_lost(self) -> None:
        told = [self.open(**options).ask(hello=1)["hello"] for options in ({}, {"fsync": True})]
        self.assertEqual([hello["loses"]["crash"] for hello in told], ["nothing", "nothing"])
