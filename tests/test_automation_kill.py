"""kill -9 while rules wait: they go on where they were, and nothing is told twice."""

from __future__ import annotations

import json
import signal
from typing import Any

from tests.process_support import PATIENCE, Child, ProcessCase, ask, client

HOLD = 3.0
"""Seconds of the hold time: some starts of a server on a slow machine."""

RULE = {"name": "long", "cond": "Dev.A.latest > 1", "for": HOLD, "id": "evA"}
BIG = {"name": "big", "cond": "Dev.A.latest > 1", "ack": True}


class KillTest(ProcessCase):
    """A real server, killed and started again on the same state."""

    def begin(self) -> tuple[Child, int]:
        child = self.start("--no-password")
        return child, child.ports()[0]

    def kill(self, child: Child) -> None:
        self.assertEqual(child.stop(signal.SIGKILL), -signal.SIGKILL)

    def set_up(self, *rules: dict[str, Any]) -> tuple[Child, int]:
        """Start a server with rules that are on."""
        child, port = self.begin()
        with client(port) as socket:
            for rule in rules:
                self.assertFalse(ask(socket, automation={"setEvent": rule})["error"])
            active = {"events": True, "actions": False}
            self.assertFalse(ask(socket, automation={"active": active})["error"])
        return child, port

    def alarm(self, socket: Any, name: str) -> dict[str, Any]:
        told: dict[str, Any] = ask(socket, automation={"alarms": name})["automation"]["alarms"][name]
        return told

    def test_a_hold_time(self) -> None:
        """It ends when it would have, however often the server is killed before."""
        child, port = self.set_up(RULE)
        with client(port) as socket:
            self.assertTrue(ask(socket, dname="Dev", sname=["A"], y=[2.0])["sent"])
            # What was acknowledged is stored, and that the hold time began with it.
            self.kill(child)
        dues = set()
        for _ in range(2):
            child, port = self.begin()
            with client(port) as socket:
                told = self.alarm(socket, "long")
                if told["waiting"]:
                    dues.add(told["due"])
                self.kill(child)
        child, port = self.begin()
        with client(port) as socket:
            event = self.event(socket)
            told = self.alarm(socket, "long")
            why = ask(socket, automation={"why": event["eventId"]})["automation"]["why"]
        self.assertLessEqual(len(dues), 1)
        self.assertTrue(told["active"])
        for due in dues:
            self.assertGreaterEqual(event["x"], due)
        self.assertEqual((why[0]["rule"], why[0]["values"]), ("long", {"Dev.A.latest": 2.0}))
        self.assertEqual(child.stop(), -signal.SIGTERM)

    def event(self, socket: Any) -> dict[str, Any]:
        """Return the only event of the rule: one that is stored already, or the one that comes."""
        socket.send(json.dumps({"getEventList": True}))
        found: dict[str, Any] | None = None
        while True:
            message = json.loads(socket.recv(timeout=PATIENCE))
            if "event" in message:
                found = message["event"]
            for number, row in (message.get("events") or {}).items():
                found = {"eventId": int(number), "text": row[3], "x": row[4]}
            if found is not None:
                self.assertEqual(found["text"], "long")
                return found

    def test_an_event_and_its_alarm(self) -> None:
        """They are stored together: after the kill the alarm is active, and was told once."""
        child, port = self.set_up(BIG)
        with client(port) as socket:
            self.assertTrue(ask(socket, dname="Dev", sname=["A"], y=[2.0])["sent"])
            self.kill(child)
        child, port = self.begin()
        with client(port) as socket:
            self.assertTrue(self.alarm(socket, "big")["active"])
            self.assertTrue(ask(socket, dname="Dev", sname=["A"], y=[3.0])["sent"])
            told = ask(socket, automation={"acknowledge": "big"})["automation"]["acknowledge"]
            self.assertTrue(told["acknowledged"])
            self.kill(child)
        child, port = self.begin()
        with client(port) as socket:
            rows = list(ask(socket, getEventList=True)["events"].values())
            self.assertTrue(self.alarm(socket, "big")["acknowledged"])
        self.assertEqual([(row[3], row[8]["acknowledged"]) for row in rows], [("big", True)])
        self.assertEqual(child.stop(), -signal.SIGTERM)
