"""The event log and its keys (protocol section 5)."""

from __future__ import annotations

import hashlib
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass, verifyObject

from rtoc_twisted.events import commands
from rtoc_twisted.events.commands import EventCommands
from rtoc_twisted.events.log import EventLog
from rtoc_twisted.interfaces import ICommandSource, IEvents
from rtoc_twisted.model import Event, SignalName
from rtoc_twisted.storage.memory import MemoryStorage

from .doubles import EPOCH, house

NAME = SignalName("D", "A")


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        storage = MemoryStorage()
        self.signal, self.other = storage.add_signals([NAME, SignalName("D", "B")])
        self.log = EventLog(storage)

    def test_interfaces(self) -> None:
        verifyObject(IEvents, self.log)
        verifyClass(IEvents, EventLog)

    def test_what_an_event_must_have(self) -> None:
        kept, commit = self.log.add(self.signal, Event(NAME, "text", 1.0, priority=7))
        self.assertEqual((kept.number, kept.priority, commit.done), (1, 0, True))
        self.assertEqual(kept.action_id, hashlib.sha1(b"ADtext").hexdigest())
        for priority in (0, 1, 2):
            kept, _ = self.log.add(self.signal, Event(NAME, "text", 1.0, priority, "own"))
            self.assertEqual((kept.priority, kept.action_id), (priority, "own"))

    def test_queries(self) -> None:
        for signal in (self.signal, self.other, self.signal):
            self.log.add(signal, Event(signal.name, "", 0.0))

        def numbers(signals: Any, limit: Any) -> list[int]:
            return [event.number for event in self.successResultOf(self.log.query(signals, limit))]

        self.assertEqual(numbers(None, None), [1, 2, 3])
        self.assertEqual(numbers(None, 2), [2, 3])
        self.assertEqual(numbers(None, 0), [])
        self.assertEqual(numbers([self.signal], None), [1, 3])
        self.assertEqual(self.successResultOf(self.log.remove([1, 1, 99])), 1)
        self.assertEqual(self.successResultOf(self.log.remove(None)), 2)
        self.assertEqual(self.log.add(self.signal, Event(NAME, "", 0.0))[0].number, 1)


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rooms = house()
        self.client = self.rooms.connect()

    def raised(self, event: Any) -> dict[str, Any]:
        """Return the push of an event that the client raises."""
        *pushes, answer = self.client.send({"event": event})
        self.assertEqual(answer, {"error": False})
        (push,) = [message["event"] for message in pushes if "event" in message]
        return push

    def test_a_source(self) -> None:
        rooms = self.rooms
        verifyObject(ICommandSource, EventCommands(rooms.storage, rooms.events, rooms.recorder, rooms.wall))

    def test_defaults(self) -> None:
        self.assertEqual(
            self.raised({}),
            {
                "x": EPOCH,
                "text": "",
                "dname": "noDevice",
                "sname": "noName",
                "priority": 0,
                "value": None,
                "id": hashlib.sha1(b"noNamenoDevice").hexdigest(),
                "eventId": 1,
            },
        )

    def test_the_three_forms(self) -> None:
        fields = {"text": "t", "sname": "S", "dname": "D", "x": 5.5, "priority": 2, "id": "i", "value": [1]}
        expected = {**fields, "eventId": 1}
        self.assertEqual(self.raised(fields), expected)
        self.assertEqual(self.raised(list(fields.values())), {**expected, "eventId": 2})
        self.assertEqual(self.raised(["only"])["text"], "only")
        self.assertEqual(self.raised("only")["text"], "only")
        self.assertEqual(self.raised([])["text"], "")

    def test_priorities(self) -> None:
        for given, kept in (
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 0),
            (-1, 0),
            ("2", 0),
            (None, 0),
            (1.0, 0),
            (True, 0),
        ):
            self.assertEqual(self.raised({"priority": given})["priority"], kept, given)

    def test_x(self) -> None:
        for given, kept in ((5, 5), ("5.5", 5.5), (-1, -1), (None, EPOCH), (True, 1)):
            self.assertEqual(self.raised({"x": given})["x"], kept, given)

    def test_what_is_wrong(self) -> None:
        for event in (
            5,
            None,
            True,
            [""] * 8,
            {"x": "soon"},
            {"x": []},
            {"x": 10**400},
            {"text": 5},
            {"text": "\ud800"},
            {"dname": "\ud800"},
            {"id": 5},
            {"value": "\ud800"},
        ):
            answer = self.client.ask(event=event)
            self.assertEqual([error["code"] for error in answer["errors"]], ["bad-value"], event)
        self.assertEqual(self.client.ask(getEventList=True)["events"], {})
        self.assertEqual(self.client.ask(getSignalList=True)["signalList"], [])

    def test_an_unknown_signal_is_created(self) -> None:
        new, event, _ = self.client.send({"event": {"sname": "S", "dname": "D"}})
        self.assertEqual((new["signal"]["sname"], event["event"]["sname"]), ("S", "S"))
        self.assertEqual(self.client.ask(getSignalList=True)["signalList"], [["D", "S"]])
        self.assertEqual(self.client.ask(getLatest=True)["latest"], {})

    def test_lists(self) -> None:
        for number in range(3):
            self.raised({"text": f"{number}", "dname": "D", "sname": "S", "x": number, "id": "i"})
        row = ["D", "S", 2, "1", 1, None, 0, "i"]
        every = self.client.ask(getEventList=True)["events"]
        self.assertEqual((list(every), every["2"]), (["1", "2", "3"], row))
        self.assertEqual(list(self.client.ask(getEventList=2)["events"]), ["2", "3"])
        self.assertEqual(self.client.ask(getEventList=0)["events"], {})
        self.assertTrue(self.client.ask(getEventList=-1)["error"])
        found = self.client.ask(getEvent=["D.S", "D.none", 5], getEventList=1)["events"]
        self.assertEqual([list(found), found["D.S"][1], found["D.none"]], [["3", "D.S", "D.none"], row, []])

    def test_pages(self) -> None:
        for number in range(5):
            self.raised({"text": f"{number}"})
        pages, asked = [], {"limit": 2}
        while True:
            answer = self.client.ask(getEventList=asked)
            self.assertEqual(answer.keys(), {"error", "events", "eventPage"})
            pages.append(list(answer["events"]))
            asked = {"limit": 2, "after": answer["eventPage"]["after"]}
            if not answer["eventPage"]["more"]:
                break
        self.assertEqual(pages, [["1", "2"], ["3", "4"], ["5"]])
        self.raised({"text": "new"})
        self.assertEqual(list(self.client.ask(getEventList=asked)["events"]), ["6"])
        last = self.client.ask(getEventList={"after": 6})
        self.assertEqual((last["events"], last["eventPage"]), ({}, {"after": 6, "more": False}))
        every = self.client.ask(getEventList={})
        self.assertEqual((len(every["events"]), "eventPage" in every), (6, False))

    def test_wrong_pages(self) -> None:
        for key, wrong in (("limit", (0, -1, 1.5, "5", True, [])), ("after", (-1, 1.5, "5", True, 2**60))):
            for value in wrong:
                (error,) = self.client.ask(getEventList={key: value})["errors"]
                self.assertEqual(error["code"], "bad-value")
                self.assertRegex(error["message"], f"^getEventList.{key}: ")
        (error,) = self.client.ask(getEventList={"limit": commands.EVENTS_AT_ONCE + 1})["errors"]
        self.assertEqual(error["code"], "too-large")

    def test_more_than_an_answer_may_hold(self) -> None:
        self.patch(commands, "EVENTS_AT_ONCE", 3)
        for number in range(4):
            self.assertNotIn("eventsLeftOut", self.client.ask(getEventList=True, getEvent=["D.S"]))
            self.raised({"text": f"{number}", "dname": "D", "sname": "S"})
        for wanted in (True, 4, 10**30):
            answer = self.client.ask(getEventList=wanted)
            self.assertEqual((list(answer["events"]), answer["eventsLeftOut"]), (["2", "3", "4"], True))
        self.assertNotIn("eventsLeftOut", self.client.ask(getEventList=3))
        answer = self.client.ask(getEvent=["D.S", "D.none"])
        self.assertEqual([row[2] for row in answer["events"]["D.S"]], [2, 3, 4])
        self.assertEqual((answer["events"]["D.none"], answer["eventsLeftOut"]), ([], True))

    def test_event_levels(self) -> None:
        other = self.rooms.connect()
        for level in (0, 1, 2):
            self.assertEqual(other.ask(eventLevel=level), {"error": False})
            for priority in (0, 1, 2):
                self.raised({"priority": priority})
            told = [message["event"]["priority"] for message in other.heard() if "event" in message]
            self.assertEqual(told, list(range(level, 3)))
        for level in (3, -1, "1", None, 1.5):
            self.assertTrue(other.ask(eventLevel=level)["error"])
