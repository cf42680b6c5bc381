"""`batch`: data that is sent again is stored once, and acknowledged again."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.model import SignalName, Window
from tests.doubles import Client, Rooms, house, sqlite_storage
from tests.storage_support import BROKEN, Bench, pairs

NAME = SignalName("D", "A")


def data(seq: Any = 0, source: Any = "box", **more: Any) -> dict[str, Any]:
    """Return a message of one value, in the form of the fast way."""
    return {"y": [1.5], "x": [5.0], "sname": ["A"], "dname": "D", "batch": batch(seq, source), **more}


def batch(seq: Any, source: Any = "box") -> dict[str, Any]:
    return {"source": source, "seq": seq}


def taken(seq: int, accepted: int = 1, **more: Any) -> dict[str, Any]:
    told = {**batch(seq), "accepted": accepted, "duplicate": 0}
    return {"error": False, "sent": True, "batch": told, **more}


def known(seq: int, duplicate: int = 1, **more: Any) -> dict[str, Any]:
    told = {**batch(seq), "accepted": 0, "duplicate": duplicate}
    return {"error": False, "sent": True, "batch": told, **more}


# The same data on the ways that a message may take: numbers alone, and what only the general way reads.
WAYS: tuple[dict[str, Any], ...] = ({}, {"y": ["1.5"]}, {"x": 5, "y": [1.5, None]}, {"unknownKey": 1})


class ResendTests(SynchronousTestCase):
    """In memory: what is said, and what is pushed."""

    def setUp(self) -> None:
        self.rooms = house()
        self.client = self.rooms.connect()
        self.client.send({"subscribe": ["signal", "D.A"]})
        self.client.send({"y": [0.0], "x": [0.0], "sname": ["A"], "dname": "D"})

    def stored(self) -> int:
        summary = self.rooms.storage.summary(1)
        assert summary is not None
        return summary.count - 1

    def test_once_on_every_way(self) -> None:
        for seq, way in enumerate(WAYS):
            push, answer = self.client.send(data(seq, **way))
            self.assertEqual((push["signal"]["y"], answer), ([1.5], taken(seq)))
            for again in WAYS:
                self.assertEqual(self.client.send(data(seq, **again)), [known(seq)])
        self.assertEqual(self.stored(), len(WAYS))

    def test_messagepack(self) -> None:
        for expected in ([taken(3)], [known(3)]):
            heard = self.client.send(msgspec.msgpack.encode(data(3)), binary=True)
            self.assertEqual([message for message in heard if "error" in message], expected)
        self.assertEqual(self.client.send(data(3)), [known(3)])

    def test_with_an_id_and_among_others(self) -> None:
        self.assertEqual(self.client.ask(**data(1, id="a")), taken(1, id="a"))
        self.assertEqual(self.client.ask(**data(1, id="b")), known(1, id="b"))
        answer = self.client.ask(**data(1, getSignalList=True))
        self.assertEqual(answer, known(1, signalList=[["D", "A"]]))

    def test_several_values_count(self) -> None:
        several = {"y": [1, 2, 3], "x": [1, 2, 3], "sname": ["A", "B", "C"]}
        self.assertEqual(self.client.ask(**data(0, **several)), taken(0, 3))
        self.assertEqual(self.client.ask(**data(0, **several)), known(0, 3))
        self.assertEqual(self.client.ask(**data(1, y=[])), taken(1, 0))

    def test_in_any_order(self) -> None:
        for seq in (7, 2**53, 0, 3):
            self.assertEqual(self.client.ask(**data(seq)), taken(seq))
        for seq in (3, 0, 2**53, 7):
            self.assertEqual(self.client.ask(**data(seq)), known(seq))
        self.assertEqual(self.client.ask(**data(4)), taken(4))

    def test_sources_are_apart(self) -> None:
        self.assertEqual(self.client.ask(**data(1)), taken(1))
        self.assertEqual(self.client.ask(**data(1, "other"))["batch"]["accepted"], 1)

    def test_null_is_none(self) -> None:
        for way in WAYS:
            self.assertEqual(self.client.ask(**data(**way, batch=None)), {"error": False, "sent": True})

    def test_plots_are_drawn_once(self) -> None:
        for way in ({}, {"y": ["1", 2]}):
            for hold in ("off", "on", "mergeX"):
                plot = {"plot": True, "y": [1, 2], "x": [8, 9], "hold": hold, "sname": "P", **way}
                source = f"{hold}{way}"
                *_, answer = self.client.send(data(1, source, **plot))
                self.assertEqual(answer["batch"]["accepted"], 2)
                (answer,) = self.client.send(data(1, source, **plot))
                self.assertEqual(answer["batch"]["duplicate"], 2)

    def test_a_text_is_raised_once(self) -> None:
        for expected in (taken(1), known(1)):
            heard = self.client.send(data(1, y="it happened"))
            self.assertEqual(heard[-1], expected)
            self.assertEqual("event" in heard[0] or "signal" in heard[0], expected == taken(1))
        self.assertEqual(len(self.client.ask(getEventList=True)["events"]), 1)

    def test_what_it_cannot_be(self) -> None:
        for wrong, place in (
            (batch(-1), "batch.seq: "),
            (batch(2**53 + 1), "batch.seq: "),
            (batch(1.5), "batch.seq: "),
            (batch("1"), "batch.seq: "),
            (batch(True), "batch.seq: "),
            (batch(1, ""), "batch.source: "),
            (batch(1, "x" * 201), "batch.source: "),
            (batch(1, 5), "batch.source: "),
            (batch(1, "\ud800"), "batch: "),
            ({"source": "box"}, "batch: .*`seq`"),
            ({"seq": 1}, "batch: .*`source`"),
            (7, "batch: "),
            ([], "batch: "),
        ):
            for way in (*WAYS, {"x": [float("nan")]}):
                (answer,) = self.client.send(data(**{**way, "batch": wrong}))
                (error,) = answer["errors"]
                self.assertEqual((answer["sent"], "batch" in answer), (False, False))
                self.assertEqual((error["key"], error["code"], error["retriable"]), ("y", "bad-value", False))
                self.assertRegex(error["message"], f"^{place}")
        self.assertEqual(self.stored(), 0)

    def test_data_that_is_refused_leaves_no_mark(self) -> None:
        for wrong in ({"y": ["no number"]}, {"x": []}, {"sname": ["x" * 1001]}, {"ack": "later"}):
            self.assertFalse(self.client.ask(**data(1, **wrong))["sent"])
        self.assertEqual(self.client.ask(**data(1)), taken(1))

    def test_too_old_to_tell(self) -> None:
        for seq in range(0, 2100, 2):
            self.client.send(data(seq))
        before = self.stored()
        for way in WAYS:
            (answer,) = self.client.send(data(50, **way))
            self.assertEqual((answer["sent"], answer["errors"][0]["code"]), (False, "bad-value"))
            self.assertRegex(answer["errors"][0]["message"], "^batch.seq: 50 is too old")
        self.assertEqual(self.stored(), before)


class OnDiskTests(SynchronousTestCase):
    """With commits that take their time, that fail, and restarts."""

    def setUp(self) -> None:
        self.bench = Bench(Path(self.mktemp()))
        self.addCleanup(lambda: self.bench.close())
        self.enter()
        self.bench.storage.add_signals([NAME])
        self.pump()

    def enter(self) -> None:
        self.rooms: Rooms = house(clock=self.bench.queues.clock, storage=self.bench.storage)
        self.client: Client = self.rooms.connect()

    def send(self, message: dict[str, Any]) -> None:
        """Send without any time passing."""
        self.client.connection.received(msgspec.json.encode(message))

    def pump(self) -> list[Any]:
        """Do all that is to be done; return the answers."""
        self.bench.pump()
        return [message for message in self.client.heard() if "error" in message]

    def restart(self) -> None:
        self.bench.reopen()
        self.enter()

    def stored(self) -> int:
        (columns,) = self.bench.result(self.bench.storage.read([(1, Window())]))
        self.assertEqual(set(pairs(columns)), {(5.0, 1.5)})
        return len(columns.x)

    def test_a_duplicate_waits_for_the_commit_of_the_first(self) -> None:
        for way in ({}, {"unknownKey": 1}):
            seq = len(way)
            self.send(data(seq))
            self.send(data(seq, **way))
            self.bench.queues.clock.advance(0)
            # The first is with the writer now, and another group is filling.
            self.send(data(10 + seq))
            self.send(data(seq, **way))
            self.assertEqual(self.client.heard(), [])
            self.assertEqual(self.pump(), [taken(seq), known(seq), taken(10 + seq), known(seq)])
        self.assertEqual(self.stored(), 4)

    def test_a_duplicate_of_what_is_stored_waits_for_nothing(self) -> None:
        self.send(data(1))
        self.pump()
        self.send(data(1))
        self.assertEqual(self.client.heard(), [known(1)])

    def test_after_a_restart(self) -> None:
        for seq in (1, 2, 5):
            self.send(data(seq))
        self.assertEqual(self.pump(), [taken(1), taken(2), taken(5)])
        self.restart()
        for seq in (1, 5, 3, 2):
            self.send(data(seq))
        self.assertEqual(self.pump(), [known(1), known(5), taken(3), known(2)])
        self.restart()
        self.assertEqual(self.stored(), 4)
        self.assertEqual(self.bench.sql("SELECT name, seen FROM sources"), [("box", "0:1-3,5")])

    def assert_failed(self, answers: list[Any]) -> None:
        for answer in answers:
            (error,) = answer["errors"]
            self.assertEqual((answer["sent"], "batch" in answer, error["retriable"]), (False, False, True))

    def test_after_a_failed_commit(self) -> None:
        self.send(data(1))
        self.pump()
        self.bench.database.faults.append(sqlite3.OperationalError(BROKEN))
        for way in ({}, {"unknownKey": 1}):
            self.send(data(2, **way))
        self.bench.queues.clock.advance(0)
        # What was told by now to wait for it, or fills the next group, fails as well.
        self.send(data(2))
        self.send(data(3))
        failed = self.pump()
        self.assertEqual(len(failed), 4)
        self.assert_failed(failed)
        for seq in (1, 2, 3, 2):
            self.send(data(seq))
        self.assertEqual(self.pump(), [known(1), taken(2), taken(3), known(2)])
        self.restart()
        self.assertEqual(self.stored(), 3)

    def test_while_the_store_cannot_be_read_again(self) -> None:
        self.send(data(1))
        self.pump()
        self.bench.database.faults.append(sqlite3.OperationalError(BROKEN))
        self.bench.database.recover_faults.extend([sqlite3.OperationalError(BROKEN)] * 3)
        for _ in range(2):
            for seq in (2, 2):
                self.send(data(seq))
            failed = self.pump()
            self.assertEqual(len(failed), 2)
            self.assert_failed(failed)
        while self.bench.database.recover_faults:
            self.send(data(2))
            self.assert_failed(self.pump())
        self.send(data(2))
        self.assert_failed(self.pump())
        for seq in (1, 2, 2):
            self.send(data(seq))
        self.assertEqual(self.pump(), [known(1), taken(2), known(2)])
        self.assertEqual(self.stored(), 2)

    def test_a_commit_that_was_lost_with_the_process(self) -> None:
        self.send(data(1))
        self.pump()
        self.send(data(2))
        # As kill -9 leaves it: what is not with the writer yet is gone, and nothing was said of it.
        copy = self.bench.directory.with_name("copy")
        copy.mkdir()
        for file in self.bench.directory.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        self.pump()
        self.bench.close()
        self.bench = Bench(copy)
        self.enter()
        for seq in (1, 2):
            self.send(data(seq))
        self.assertEqual(self.pump(), [known(1), taken(2)])

    def test_forgotten_sources_are_gone_from_disk(self) -> None:
        self.bench.storage._sources._limit = 2
        for source in ("a", "b", "c"):
            self.send(data(1, source))
            self.pump()
        self.assertEqual(self.bench.sql("SELECT name FROM sources ORDER BY used"), [("b",), ("c",)])

    def test_one_transaction_with_the_data(self) -> None:
        before = self.bench.database.transactions
        for seq in range(10):
            self.send(data(seq))
        self.send({"y": [1.5], "x": [5.0], "sname": ["A"], "dname": "D"})
        self.pump()
        self.assertEqual(self.bench.database.transactions, before + 1)
        self.assertEqual(self.bench.sql("SELECT seen FROM sources"), [("0:0-9",)])


class AckTests(SynchronousTestCase):
    """`ack` and `batch` together."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.clock = Clock()
        self.storage = sqlite_storage(directory, self.clock)
        self.addCleanup(self.storage.close)
        self.client = house(clock=self.clock, storage=self.storage).connect()
        self.statements: list[str] = []
        connection: sqlite3.Connection = self.storage._database._sql
        connection.set_trace_callback(self.statements.append)

    def test_received(self) -> None:
        self.assertEqual(self.client.ask(**data(1, ack="received")), taken(1))
        self.assertEqual(self.client.ask(**data(1, ack="received")), known(1))

    def test_none(self) -> None:
        self.client.send(data(1))
        for seq in (1, 2, 2):
            self.assertEqual([m for m in self.client.send(data(seq, ack="none")) if "error" in m], [])
        self.assertFalse(self.client.ask(**data(-1, ack="none"))["sent"])

    def test_a_durable_duplicate_is_written_to_be_waited_for(self) -> None:
        self.client.send(data(1))
        self.statements.clear()
        self.assertEqual(self.client.ask(**data(1)), known(1))
        self.assertEqual(self.statements, [])
        self.assertEqual(self.client.ask(**data(1, ack="durable")), known(1))
        # A commit without a change is none: what is written is the use of the source.
        first, begin, put, commit, last = (s.split()[0] for s in self.statements)
        self.assertEqual((first, begin, put, commit, last), ("PRAGMA", "BEGIN", "INSERT", "COMMIT", "PRAGMA"))
        self.assertIn("FULL", self.statements[0])

    def test_a_durable_duplicate_in_the_turn_of_the_first(self) -> None:
        for ack in ("stored", "durable"):
            self.client.connection.received(msgspec.json.encode(data(1, ack=ack)))
        self.assertEqual([message for message in self.client.heard() if "error" in message], [])
        self.clock.advance(0)
        self.assertEqual(self.client.heard(), [taken(1), known(1)])
        self.assertTrue(any("FULL" in statement for statement in self.statements))

    def test_memory_refuses_durable(self) -> None:
        client = house().connect()
        (answer,) = client.send(data(1, ack="durable"))
        self.assertEqual((answer["sent"], "batch" in answer), (False, False))
        self.assertEqual(client.ask(**data(1)), taken(1))
