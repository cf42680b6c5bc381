"""Rules, actions and user actions are kept, and every change of them can be taken back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation import kept, revisions
from rtoc_twisted.errors import BadValue, TooLarge
from tests.engine_support import EPOCH, Bench
from tests.storage_support import unhurried

RULE = {
    "cond": "Dev.A.latest >= 2",
    "text": "E1",
    "priority": 0,
    "return": "",
    "id": "E1",
    "trigger": "rising",
    "sname": "",
    "dname": "",
    "active": True,
}


class KeptTest(SynchronousTestCase):
    """What is set is told, and is there after a restart."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.automation = self.bench.automation

    def test_told(self) -> None:
        self.assertEqual(
            self.automation.told(),
            {"events": {}, "actions": {}, "active": {"events": False, "actions": False}},
        )
        self.bench.rule("E1", "Dev.A.latest >= 2")
        self.bench.action("A1", "E1", script="print(1)")
        self.bench.on(events=[], actions={"x": 1})
        expected = {
            "events": {"E1": RULE},
            "actions": {"A1": {"listenID": ["E1"], "script": "print(1)", "parameters": "", "active": True}},
            # As they were given: RTOC keeps lists, which are false.
            "active": {"events": [], "actions": {"x": 1}},
        }
        self.assertEqual(self.automation.told(), expected)
        self.bench.restart()
        self.assertEqual(self.bench.automation.told(), expected)

    def test_order_is_kept(self) -> None:
        for name in ("c", "a", "b"):
            self.bench.rule(name, "True")
        self.bench.rule("c", "False")
        self.bench.restart()
        self.bench.rule("0", "True")
        self.assertEqual(list(self.bench.automation.told()["events"]), ["c", "a", "b", "0"])

    def test_active_is_read(self) -> None:
        self.bench.rule("E1", "Dev.A.latest >= 2")
        self.bench.on()
        self.bench.restart()
        self.bench.send("Dev.A", 3.0)
        self.assertEqual(self.bench.events(), ["E1"])

    def test_refusals(self) -> None:
        automation = self.automation
        with self.assertRaises(BadValue) as caught:
            automation.set_event({"name": "x", "cond": "Dev.A.latest >="}, "me")
        self.assertRegex(caught.exception.message, r"^setEvent\.cond: column \d+")
        with self.assertRaises(BadValue) as caught:
            automation.set_action({"name": "x", "listenID": "y", "script": "wrong"}, "me")
        self.assertEqual(caught.exception.message, "setAction.script: line 1, column 1: wrong")
        with self.assertRaises(BadValue) as caught:
            automation.set_user_action({"name": "x", "script": "wrong"}, "me")
        self.assertRegex(caught.exception.message, r"^setUserAction\.script: line 1")
        self.assertRaises(BadValue, automation.activate, {"event": True}, "me")
        self.assertRaises(BadValue, automation.alarms, ["x"])
        self.assertRaises(BadValue, automation.reset, ["x"])
        self.assertIsNone(automation.remove("event", "x", "me"))
        self.assertEqual(automation.revisions(), [])

    def test_limits(self) -> None:
        self.patch(kept, "_MOST", {"event": 2, "action": 0, "userAction": 0})
        self.bench.rule("a", "True")
        self.bench.rule("b", "True")
        self.assertRaises(TooLarge, self.bench.rule, "c", "True")
        self.bench.rule("b", "False")
        self.assertRaises(TooLarge, self.bench.action, "a", "x")
        self.assertEqual(list(self.automation.told()["events"]), ["a", "b"])

    def test_too_much_to_look_back_at(self) -> None:
        """The arrays of all rules together have a limit."""
        bench = Bench(window=8_000_000)
        for name in ("a", "b"):
            bench.rule(name, f"np.sum({name}.b.y) > 1", active=False)
        self.assertRaises(TooLarge, bench.rule, "c", "np.sum(c.b.y) > 1", active=False)
        bench.rule("a", "np.sum(c.b.y) > 1", active=False)
        bench.rule("small", "c.b.y[-1] > 1 and c.b.latest > 1", active=False)

    def test_what_cannot_be_read(self) -> None:
        """A rule of another version is left alone, and the others work."""
        self.bench.rule("a", "True")
        fields = {"name": "b", "cond": "!"}
        self.bench.storage.put_document("automation/event/b", {"position": 2, "fields": fields})
        with capturedLogs() as logs:
            self.bench.restart()
        self.assertEqual([log["key"] for log in logs if "key" in log], ["automation/event/b"])
        self.assertEqual(list(self.bench.automation.told()["events"]), ["a"])

    def test_states_of_rules_that_are_gone(self) -> None:
        self.bench.storage.put_document("automation/state/gone", {"alarm": {}})
        self.bench.rule("a", "True")
        self.bench.restart()
        self.assertEqual(list(self.bench.storage.documents("automation/state/")), ["automation/state/a"])
        self.bench.automation.remove("event", "a", "me")
        self.assertEqual(list(self.bench.storage.documents("automation/state/")), [])

    def test_backtest(self) -> None:
        """A rule is tried by its name, or as it would be set."""
        self.bench.rule("a", "True")
        test = self.automation.backtest
        told = self.successResultOf(test("a", 1.0, None, lambda _: None))
        self.assertEqual(told, {"rule": "a", "from": 1.0, "to": None})
        told = self.successResultOf(test({"cond": "Dev.A.latest > 1"}, None, None, lambda _: None))
        self.assertEqual(told["rule"], "backtest")
        self.assertRaises(BadValue, test, "b", None, None, lambda _: None)
        self.assertRaises(BadValue, test, {"cond": "1 +"}, None, None, lambda _: None)


class RevisionsTest(SynchronousTestCase):
    """Who changed what, and the way back."""

    def setUp(self) -> None:
        self.bench = Bench()

    @property
    def automation(self) -> Any:
        return self.bench.automation

    def state(self) -> Any:
        told = self.automation.told()
        return told["events"], told["actions"], self.automation.user_actions()

    def test_what_is_told(self) -> None:
        self.bench.rule("E1", "Dev.A.latest >= 2")
        self.bench.rule("E1", "Dev.A.latest >= 2")
        self.bench.clock.advance(1)
        self.automation.remove("event", "E1", "anna")
        fields = {"name": "E1", **RULE}
        first = {"number": 1, "at": EPOCH, "who": "me", "what": "event", "name": "E1"}
        second = {"number": 2, "at": EPOCH + 1, "who": "anna", "what": "event", "name": "E1"}
        self.assertEqual(
            self.automation.revisions(),
            [{**first, "before": None, "after": fields}, {**second, "before": fields, "after": None}],
        )
        self.assertEqual(self.automation.revisions(1), self.automation.revisions()[1:])
        self.assertEqual(self.automation.revisions(0), [])

    def test_rollback(self) -> None:
        """It is a revision itself, and can be taken back, also after a restart."""
        self.bench.rule("E1", "Dev.A.latest >= 2")
        self.bench.action("A1", "E1", script="print(1)")
        kept_state = self.state()
        self.bench.rule("E1", "Dev.A.latest >= 3")
        self.automation.remove("action", "A1", "me")
        self.automation.set_user_action({"name": "U", "script": "print(2)"}, "me")
        later = self.state()
        self.assertTrue(self.automation.rollback_changes_scripts(2))
        self.assertTrue(self.automation.rollback(2, "anna").done)
        self.assertEqual(self.state(), kept_state)
        self.assertEqual([one["what"] for one in self.automation.revisions()][-1], "rollback")
        self.bench.restart()
        self.assertEqual(self.state(), kept_state)
        self.automation.rollback(5, "anna")
        self.assertEqual(self.state(), later)
        self.automation.rollback(0, "anna")
        self.assertEqual(self.state(), ({}, {}, {}))

    def test_rules_of_a_rollback_are_at_work(self) -> None:
        self.bench.on()
        self.bench.rule("E1", "Dev.A.latest >= 2")
        self.automation.remove("event", "E1", "me")
        self.assertFalse(self.automation.rollback_changes_scripts(1))
        self.automation.rollback(1, "me")
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(self.bench.events(), ["E1"])

    def test_unknown_revisions(self) -> None:
        self.patch(revisions, "MOST", 3)
        for number in range(6):
            self.bench.rule("E1", f"Dev.A.latest >= {number}")
        self.assertEqual([one["number"] for one in self.automation.revisions()], [4, 5, 6])
        for number in (-1, 0, 2, 7):
            self.assertRaises(BadValue, self.automation.rollback, number, "me")
            self.assertRaises(BadValue, self.automation.rollback_changes_scripts, number)
        self.automation.rollback(3, "me")
        self.assertEqual(self.automation.told()["events"]["E1"]["cond"], "Dev.A.latest >= 2")
        self.assertEqual(len(self.bench.storage.documents("automation/revisions/")), 3)

    def test_what_goes_makes_room(self) -> None:
        self.patch(kept, "_MOST", {"event": 1, "action": 1, "userAction": 1})
        self.bench.rule("a", "True")
        self.automation.remove("event", "a", "me")
        self.bench.rule("b", "True")
        self.automation.rollback(1, "me")
        self.assertEqual(list(self.automation.told()["events"]), ["a"])

    def test_all_or_nothing(self) -> None:
        """A rollback to what is refused now changes nothing."""
        self.bench.action("A1", "x", script="fine")
        self.bench.rule("E1", "True")
        self.automation.remove("action", "A1", "me")
        self.automation.remove("event", "E1", "me")
        before = self.state()

        def refuse(_: str) -> None:
            raise BadValue("line 1: not any more")

        self.patch(self.automation, "_check_script", refuse)
        self.assertRaises(BadValue, self.automation.rollback, 2, "me")
        self.assertEqual(self.state(), before)

    @unhurried
    @given(
        st.lists(
            st.one_of(
                st.tuples(
                    st.sampled_from(("event", "action", "userAction", "remove event", "remove action")),
                    st.sampled_from("ab"),
                    st.sampled_from("123"),
                ),
                st.tuples(st.just("rollback"), st.integers(0, 20), st.none()),
            ),
            max_size=12,
        )
    )
    def test_any_way_back(self, changes: list[Any]) -> None:
        """After any changes, rollbacks among them, each revision that is known leads back to its state."""
        self.bench = Bench()
        automation = self.automation
        states = [self.state()]
        for what, name, value in changes:
            if what == "event":
                self.bench.rule(name, f"Dev.A.latest > {value}")
            elif what == "action":
                self.bench.action(name, "x", script=value)
            elif what == "userAction":
                automation.set_user_action({"name": name, "script": value}, "me")
            elif what == "rollback":
                if name < len(states):
                    automation.rollback(name, "me")
                    self.assertEqual(self.state(), states[name])
            else:
                automation.remove(what.split()[1], name, "me")
            if len(automation.revisions()) == len(states):
                states.append(self.state())
        for number in range(len(states)):
            automation.rollback(number, "me")
            self.assertEqual(self.state(), states[number])
