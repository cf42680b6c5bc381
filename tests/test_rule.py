"""The fields of setEvent, setAction and setUserAction: what is taken, what is refused, and how it is said."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.fields import MAX_TEXT
from rtoc_twisted.automation.rule import MAX_LISTENED, ActionRule, EventRule, UserAction
from rtoc_twisted.automation.trigger import Trigger
from rtoc_twisted.errors import BadValue
from tests.storage_support import unhurried

LEAST = {"name": "E1", "cond": "Dev.A.latest >= 2"}
GOLDEN = {
    "cond": "Dev.A.latest >= 2",
    "text": "big",
    "priority": 1,
    "return": "7",
    "id": "evA",
    "trigger": "rising",
    "sname": "A",
    "dname": "Dev",
    "active": True,
}
OURS = {
    "off": "Dev.A.latest < 1",
    "for": 10,
    "forOff": 2.5,
    "nOfM": [2, 3],
    "schedule": [{"days": "mon-fri", "from": "08:00", "to": "17:30"}],
    "mute": [{"from": "2026-12-24T00:00", "to": "2026-12-27T00:00"}],
    "zone": "Europe/Berlin",
    "latch": True,
    "ack": True,
    "confirm": True,
    "perMinute": 5,
}


class Refusing(SynchronousTestCase):
    """Asks for the words of a refusal."""

    def refused(self, kind: Any, words: str, **fields: Any) -> None:
        with self.assertRaises(BadValue) as caught:
            kind.read(fields)
        self.assertIn(words, caught.exception.message)


class EventRules(Refusing):
    def test_golden(self) -> None:
        """RTOC's form is answered as RTOC answers it, with `return` for `retur`."""
        sent = {"name": "E1", **GOLDEN}
        sent["retur"] = sent.pop("return")
        self.assertEqual(EventRule.read(sent).told(), GOLDEN)
        self.assertEqual(list(EventRule.read(sent).told()), list(GOLDEN))

    def test_defaults(self) -> None:
        """What is left out, or null, is as it always was."""
        told = EventRule.read(LEAST).told()
        self.assertEqual(
            told,
            {**GOLDEN, "text": "E1", "priority": 0, "return": "", "id": "E1", "sname": "", "dname": ""},
        )
        nothing = dict.fromkeys([*GOLDEN, *OURS])
        self.assertEqual(EventRule.read({**nothing, **LEAST}), EventRule.read(LEAST))

    def test_ours(self) -> None:
        """Our fields are kept as they were given, and mean what they say."""
        rule = EventRule.read({**LEAST, **OURS})
        self.assertEqual({key: rule.told()[key] for key in OURS}, OURS)
        self.assertEqual((rule.hold_on, rule.hold_off, rule.votes), (10.0, 2.5, (2, 3)))
        self.assertEqual(
            (rule.latch, rule.wants_ack, rule.wants_confirm, rule.per_minute), (True, True, True, 5)
        )
        self.assertTrue(rule.schedule and rule.mute and rule.off_condition)
        self.assertEqual(rule.condition.uses[0].key, "Dev.A")

    def test_read_again(self) -> None:
        """What is told makes the same rule, after JSON too."""
        rule = EventRule.read({**LEAST, **OURS, "priority": 2, "return": [1, {"a": None}]})
        self.assertEqual(EventRule.read({"name": "E1", **json.loads(json.dumps(rule.told()))}), rule)

    def test_confirm_wants_ack(self) -> None:
        """Nothing can be confirmed that is not acknowledged."""
        self.assertTrue(EventRule.read({**LEAST, "confirm": True}).wants_ack)

    def test_lenient(self) -> None:
        """RTOC's way with priorities, its leaks, and 0 and 1 for a bool."""
        for given_, taken in (
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 0),
            (-1, 0),
            ("1", 0),
            (True, 0),
            (2.0, 2),
            (None, 0),
        ):
            self.assertEqual(EventRule.read({**LEAST, "priority": given_}).told()["priority"], taken, given_)
        self.assertEqual(EventRule.read({**LEAST, "errors": False, "latest": True}), EventRule.read(LEAST))
        self.assertFalse(EventRule.read({**LEAST, "active": 0}).active)
        self.assertEqual(EventRule.read({**LEAST, "retur": " ", "return": "7"}).value, "7")
        self.assertEqual(EventRule.read({**LEAST, "id": "", "text": ""}).told()["id"], "")

    def test_triggers(self) -> None:
        """All five, by their words."""
        for trigger in Trigger:
            self.assertIs(EventRule.read({**LEAST, "trigger": trigger.value}).trigger, trigger)

    def test_refused(self) -> None:
        """The field is named, and what was expected."""
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"name": None}, "setEvent.name: missing"),
            ({"name": ""}, "setEvent.name: expected 1 to 200 characters, got none"),
            ({"name": "n" * 201}, "setEvent.name: 201 characters are too many, the limit is 200"),
            ({"name": 5}, "setEvent.name: expected a text, got 5"),
            ({"name": "\ud800"}, "setEvent.name: the text holds a lone surrogate"),
            ({"cond": None}, "setEvent.cond: missing"),
            ({"cond": "Dev.A.latest >="}, "setEvent.cond: column "),
            ({"off": "import os"}, "setEvent.off: "),
            ({"text": ["x"]}, "setEvent.text: expected a text, got ['x']"),
            ({"id": "i" * 1001}, "setEvent.id: 1001 characters are too many"),
            (
                {"trigger": "up"},
                "setEvent.trigger: expected one of rising, falling, both, true, false, got 'up'",
            ),
            ({"trigger": []}, "setEvent.trigger: expected one of"),
            ({"return": object()}, "setEvent.return: "),
            ({"active": "yes"}, "setEvent.active: expected true or false, got 'yes'"),
            ({"for": -1}, "setEvent.for: expected seconds of 0 or more, got -1"),
            ({"for": True}, "setEvent.for: expected seconds"),
            ({"for": float("nan")}, "setEvent.for: expected seconds"),
            ({"for": 10**400}, "setEvent.for: expected seconds"),
            ({"forOff": "5"}, "setEvent.forOff: expected seconds of 0 or more, got '5'"),
            ({"nOfM": [3, 2]}, "setEvent.nOfM: expected [n, m] with 1 <= n <= m <= 1000, got [3, 2]"),
            ({"nOfM": [1, 1001]}, "setEvent.nOfM"),
            ({"nOfM": [True, 2]}, "setEvent.nOfM"),
            ({"nOfM": 2}, "setEvent.nOfM"),
            ({"zone": "Europe/berlin"}, "did you mean Europe/Berlin?"),
            ({"zone": "../passwd"}, "setEvent.zone: unknown time zone '../passwd'"),
            ({"zone": 5}, "setEvent.zone: unknown time zone 5"),
            ({"schedule": [{"from": "8"}], "zone": "UTC"}, "setEvent.schedule[0].from: expected a time"),
            ({"latch": 2}, "setEvent.latch: expected true or false, got 2"),
            ({"perMinute": 1.5}, "setEvent.perMinute: expected a whole number from 0 to 1000000, got 1.5"),
            ({"perMinute": -1}, "setEvent.perMinute: "),
            ({"fro": 5}, "setEvent.fro: unknown field; did you mean for?"),
            ({"zzz": 5}, "setEvent.zzz: unknown field"),
        ]
        for fields, words in wrong:
            self.refused(EventRule, words, **{**LEAST, **fields})
        for nothing in (None, [], "x"):
            with self.assertRaises(BadValue):
                EventRule.read(nothing)  # type: ignore[arg-type]  # what a client may send

    def test_where(self) -> None:
        """The caller says what the object is called."""
        with self.assertRaises(BadValue) as caught:
            EventRule.read({**LEAST, "for": -1}, "backtest.event")
        self.assertIn("backtest.event.for: ", caught.exception.message)

    @unhurried
    @given(
        st.dictionaries(
            st.sampled_from(["name", "cond", *GOLDEN, *OURS]),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats()
                | st.text(max_size=5)
                | st.just("1 > 0"),
                lambda inner: (
                    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
                ),
                max_leaves=6,
            ),
        )
    )
    def test_anything(self, fields: dict[str, Any]) -> None:
        """Whatever comes is taken or refused, and what is taken can be read again."""
        try:
            rule = EventRule.read({**LEAST, **fields})
        except BadValue:
            return
        self.assertEqual(EventRule.read({"name": rule.name, **rule.told()}).told(), rule.told())


class Actions(Refusing):
    def test_golden(self) -> None:
        """listenID may be one text; the answer is RTOC's."""
        sent = {"name": "A1", "listenID": "evA", "script": "plot()", "parameters": "", "active": True}
        told = {"listenID": ["evA"], "script": "plot()", "parameters": "", "active": True}
        self.assertEqual(ActionRule.read(sent).told(), told)
        self.assertEqual(ActionRule.read({"name": "A1", **told, "errors": True}), ActionRule.read(sent))

    def test_defaults(self) -> None:
        """parameters and active may be left out; seconds is told where it was given."""
        least = {"name": "A", "listenID": ["x", "y", "x"], "script": "print(1)"}
        action = ActionRule.read(least)
        self.assertEqual((action.listen_ids, action.parameters, action.active), (("x", "y"), "", True))
        self.assertNotIn("seconds", action.told())
        self.assertEqual(ActionRule.read({**least, "seconds": 0}).told()["seconds"], 0.0)

    def test_refused(self) -> None:
        """The field is named, and what was expected."""
        least = {"name": "A", "listenID": "x", "script": ""}
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"listenID": None}, "setAction.listenID: missing"),
            ({"listenID": [1]}, "setAction.listenID: expected"),
            ({"listenID": ["x"] * (MAX_LISTENED + 1)}, "setAction.listenID: 1001 are too many"),
            ({"script": None}, "setAction.script: missing"),
            ({"script": "x" * (MAX_TEXT + 1)}, "setAction.script: 100001 characters are too many"),
            ({"seconds": -1}, "setAction.seconds: expected seconds of 0 or more, got -1"),
            ({"listenId": "x"}, "setAction.listenId: unknown field; did you mean listenID?"),
        ]
        for fields, words in wrong:
            self.refused(ActionRule, words, **{**least, **fields})


class UserActions(Refusing):
    def test_told(self) -> None:
        """A name and a script."""
        fields = {"name": "hello", "script": "return 'text', 'Hello'"}
        self.assertEqual(UserAction.read(fields).told(), fields)

    def test_refused(self) -> None:
        """Both are needed, and there is nothing else."""
        self.refused(UserAction, "setUserAction.script: missing", name="hello")
        self.refused(UserAction, "setUserAction.name: missing", script="")
        self.refused(
            UserAction, "setUserAction.scrip: unknown field; did you mean script?", name="x", scrip=""
        )
