"""subscribe, unsubscribe, subscribeAll, unsubscribeAll (protocol section 5)."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from rtoc_twisted.interfaces import ICommandSource
from rtoc_twisted.model import Selector, SignalName
from rtoc_twisted.subscriptions import SubscriptionCommands

from .doubles import house


class SelectorTests(SynchronousTestCase):
    def test_wants(self) -> None:
        name = SignalName("D.x", "A")
        for selector, wanted in (
            (Selector(), False),
            (Selector(all_signals=True), True),
            (Selector(all_devices=True), True),
            (Selector(devices=frozenset({"D.x"})), True),
            (Selector(devices=frozenset({"D"})), False),
            (Selector(signals=frozenset({"D.x.A"})), True),
            (Selector(signals=frozenset({"A"})), False),
        ):
            self.assertEqual(selector.wants(name), wanted, selector)


class SubscriptionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rooms = house()
        self.client, self.sender = self.rooms.connect(), self.rooms.connect()
        for name in ("A", "B"):
            for device in ("D", "E"):
                self.sender.ask(y=0, sname=name, dname=device)
        self.client.heard()

    def heard(self) -> set[str]:
        """Return which signals the client is told of."""
        for device in ("D", "E"):
            self.sender.ask(y=[1, 2], sname=["A", "B"], dname=device)
        signals = [message["signal"] for message in self.client.heard()]
        return {f"{signal['dname']}.{signal['sname']}" for signal in signals}

    def after(self, **keys: Any) -> set[str]:
        self.assertEqual(self.client.ask(**keys), {"error": False})
        return self.heard()

    def test_a_source(self) -> None:
        verifyObject(ICommandSource, SubscriptionCommands())

    def test_signals(self) -> None:
        self.assertEqual(self.after(subscribe=["signal", "D.A"]), {"D.A"})
        self.assertEqual(self.after(subscribe=["signal", "D.A"]), {"D.A"})
        self.assertEqual(self.after(subscribe=["signal", ["E.A", "E.B"]]), {"D.A", "E.A", "E.B"})
        self.assertEqual(self.after(unsubscribe=["signal", "E.A"]), {"D.A", "E.B"})
        self.assertEqual(self.after(unsubscribe=["signal", "never"]), {"D.A", "E.B"})
        self.assertEqual(self.after(unsubscribe=["signal", ["D.A", "E.B"]]), set())

    def test_devices(self) -> None:
        self.assertEqual(self.after(subscribe=["device", "D"]), {"D.A", "D.B"})
        self.assertEqual(self.after(unsubscribe=["signal", "D.A"]), {"D.A", "D.B"})
        self.assertEqual(self.after(unsubscribe=["device", "D"]), set())

    def test_everything_and_nothing(self) -> None:
        everything = {"D.A", "D.B", "E.A", "E.B"}
        for all_of in (True, "signal", "device"):
            self.assertEqual(self.after(subscribeAll=all_of), everything)
            self.assertEqual(self.after(unsubscribeAll=True), set())
        self.client.ask(subscribe=["signal", "D.A"], subscribeAll="device")
        self.assertEqual(self.after(unsubscribeAll="device"), {"D.A"})
        self.client.ask(subscribe=["device", "E"])
        self.assertEqual(self.after(unsubscribeAll="signal"), {"E.A", "E.B"})

    def test_everything_but(self) -> None:
        self.client.ask(subscribeAll=True)
        self.assertEqual(self.after(unsubscribe=["signal", "D.A"]), {"D.B", "E.A", "E.B"})
        self.assertEqual(self.after(unsubscribe=["device", "E"]), {"D.B"})
        self.assertEqual(self.after(subscribe=["device", "E"]), {"D.B", "E.A", "E.B"})
        self.assertEqual(self.after(subscribeAll=True), {"D.A", "D.B", "E.A", "E.B"})

    def test_a_signal_of_the_future(self) -> None:
        self.client.ask(subscribe=["signal", "F.new"])
        new, values, answer = self.client.send({"y": 7, "sname": "new", "dname": "F"})
        self.assertEqual((new["signal"]["y"], values["signal"]["y"], answer["sent"]), ([], [7], True))

    def test_in_one_request(self) -> None:
        subscribed = {"subscribe": ["signal", "D.A"], "unsubscribe": ["signal", "D.A"]}
        self.assertEqual(self.after(**subscribed), set())
        self.assertEqual(self.after(unsubscribeAll=True, subscribeAll=True), set())

    def test_what_is_not_understood(self) -> None:
        for key in ("subscribe", "unsubscribe"):
            for value in ([], ["signal"], ["signal", "D.A", "D.B"], "signal", True, {"signal": "D.A"}):
                answer = self.client.ask(**{key: value})
                self.assertEqual([error["code"] for error in answer["errors"]], ["bad-value"], value)
            for value in (["plugin", "D.A"], ["signal", 5], ["signal", [None, {}]], [["x"], "D.A"]):
                self.assertEqual(self.client.ask(**{key: value}), {"error": False}, value)
        for value in (False, None, 1, "all", [True]):
            self.assertEqual(self.after(subscribeAll=value), set(), value)

    def test_each_client_for_itself(self) -> None:
        self.client.ask(subscribeAll=True)
        self.assertEqual(
            self.rooms.connect().send({"y": 1, "sname": "A", "dname": "D"}), [{"error": False, "sent": True}]
        )
