"""RTOC 3.0's automation: how its lines are replayed, and where this server answers otherwise."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from .doubles import Client
from .golden_replay import Scenario, comparable
from .golden_rules import CASES, Difference

_USER_ACTIONS = {
    "textAction": "return 'text', 'hi there'",
    "printAction": "print('hello')",
    "twoChars": "print('ab', end='')",
    "docAction": "return 'document', 'body.txt'",
    "picAction": "return 'picture', 'body.txt'",
    "missingDoc": "return 'document', 'nowhere.txt'",
    "raises": "1/0",
    "other": "return 'other', 'x'",
}

# What the original had in its files before it was started.
EVENT = {
    "cond": "Generator.Square.latest >= 2",
    "text": "It is big",
    "return": " ",
    "priority": 0,
    "id": "testID",
    "trigger": "rising",
    "sname": "",
    "dname": "",
    "active": True,
}
ACTION = {"listenID": ["testID"], "parameters": "", "script": "Generator.gen_level = 1", "active": False}


def set_user_actions(client: Client) -> None:
    for name, script in _USER_ACTIONS.items():
        client.ask(automation={"setUserAction": {"name": name, "script": script}})


def set_rules(client: Client) -> None:
    client.ask(
        automation={
            "setEvent": {"name": "myevent1", **EVENT},
            "setAction": {"name": "action2", **ACTION},
        }
    )


def set_rules_and_activate(client: Client) -> None:
    set_rules(client)
    client.ask(automation={"active": {"events": True}})


def asks(**calls: Any) -> Any:
    """Return what sends calls of automation."""
    return lambda client: client.ask(automation=calls)


def cases(*prefixes: str) -> list[str]:
    return [case for case in CASES if case.startswith(prefixes)]


SCENARIOS = (
    Scenario(
        "user actions",
        cases("userAction.", "logger.info.userActions"),
        setup=set_user_actions,
        files={"export/body.txt": b"document body"},
        watched_from="userAction.text",
    ),
    Scenario(
        "automation",
        cases("auto."),
        setup=set_rules,
        # What failed there and works here is taken back, and the event raised that was not here: so that all
        # other lines can be compared as they are.
        before={
            "auto.setEvent.client": asks(removeEvent="E2"),
            "auto.setAction": asks(removeEvent="Event1"),
            "auto.testAction": asks(removeAction="A3"),
            "auto.testEvent.unknown": asks(testEvent={"name": "E1", "force": True}),
        },
        watched_from="auto.get",
    ),
    Scenario(
        "triggers",
        cases("trigger."),
        setup=set_rules_and_activate,
        watched_from="trigger.set.rising",
    ),
)

_DEFAULTS = "5, automation: '(optional ones default: retur '', id name, trigger rising, active true, ..)'"
_NO_LEAKS = "5, automation: 'Nothing internal leaks into the answer'"
_HOLDS = "5, automation: 'testEvent raises the event only if the condition holds or `force` is set'"
_TEXTS = "5, automation: 'testAction, testEvent: {ok, value}'; the value says what is wrong, and where"
_RESULTS = "2: '.. `error: true`, `errors: ..`, the results of the keys that did work'"
_REASON = "5, userAction: 'failure: success false, data the reason'"
_NAME = '5, userAction: \'"name" or {"name": ..}\''
_PAIR = "a user action returns a pair: ('text', text), ('picture', data) or ('document', data)"


def _answer(case: str, **changes: Any) -> dict[str, Any]:
    """Return the answer of the original without what leaks, with changes of its `automation`."""
    answer = copy.deepcopy(comparable(CASES[case][0]["recv"][-1]))
    told = answer["automation"]
    for entries in (told["events"], told["actions"]):
        for entry in entries.values():
            entry.pop("errors", None)
            entry.pop("latest", None)
    for key, change in changes.items():
        told[key] = {**told[key], **change}
    return answer


def _failed(name: str, reason: str) -> Sequence[Any]:
    return [{"error": False, "userAction": {"name": name, "success": False, "type": "text", "data": reason}}]


DIFFERENCES: Mapping[str, Difference] = {
    **{
        f"userAction.{case}": Difference(_REASON, _failed(name, reason))
        for case, name, reason in (
            ("print", "printAction", _PAIR),
            ("print2", "twoChars", _PAIR),
            (
                "missing",
                "missingDoc",
                "there is no file 'nowhere.txt' below <directory>/media or <directory>/export",
            ),
            ("raises", "raises", "line 1: 1/0\nZeroDivisionError: division by zero"),
            ("other", "other", _PAIR),
        )
    },
    "userAction.dict.seed": Difference(_NAME, CASES["userAction.text"][0]["recv"]),
    "auto.setEvent.missing": Difference(
        _DEFAULTS,
        [
            _answer(
                "auto.setEvent",
                events={
                    "E2": {**EVENT, "cond": "True", "text": "E2", "return": "", "id": "E2"},
                },
            )
        ],
    ),
    "auto.setEvent.client": Difference(
        _DEFAULTS,
        [
            _answer(
                "auto.setEvent",
                events={
                    "Event1": {
                        **EVENT,
                        "cond": "Generator.Square>=1",
                        "text": "Big square",
                        "return": "",
                        "priority": 1,
                        "id": "Event1",
                        "sname": "Square",
                        "dname": "Generator",
                    }
                },
            )
        ],
    ),
    "auto.setAction.missing": Difference(
        _DEFAULTS,
        [
            _answer(
                "auto.setAction.list",
                actions={
                    "A3": {"listenID": ["l"], "script": "print(1)", "parameters": "", "active": True},
                },
            )
        ],
    ),
    "auto.testAction.bad": Difference(
        _TEXTS,
        [
            _answer(
                "auto.testAction.bad",
                testAction={"value": "line 1: 1/0\nZeroDivisionError: division by zero"},
            )
        ],
    ),
    "auto.testEvent.nosignal": Difference(
        _TEXTS, [_answer("auto.testEvent.nosignal", testEvent={"value": "nothing is known of Dev.A"})]
    ),
    "auto.testEvent": Difference(_HOLDS, [_answer("auto.testEvent")]),
    "auto.active.wrongtype": Difference(
        _RESULTS, [{**_answer("auto.active.off"), "error": True}], ["automation"]
    ),
    **{
        case: Difference(_NO_LEAKS, [_answer(case)])
        for case in CASES
        if case.startswith(("auto.", "trigger.set."))
        and '"errors"' in str(CASES[case][0]["recv"]).replace("'", '"')
    },
}
