"""Rules in files looked at without a server: what is wrong in them, and where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from ..automation.rule import ActionRule, EventRule, UserAction
from ..automation.scripts import language
from ..client.rtoc_rules import ACTION, EVENT, USER_ACTION, Rule
from ..errors import BadValue
from .rules_file import TABLES, TEST, Fault, RuleFile
from .rules_trial import Trial

Item = EventRule | ActionRule | UserAction

_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], str], Item]]] = {
    EVENT: EventRule.read,
    ACTION: ActionRule.read,
    USER_ACTION: UserAction.read,
}
_NEEDED: Final[Mapping[str, Mapping[str, Any]]] = {
    EVENT: {"cond": "True"},
    ACTION: {"listenID": [], "script": ""},
    USER_ACTION: {"script": ""},
}
"""What a rule needs beside its name, so that one field of it can be looked at by itself."""


def normal(rule: Rule) -> Rule:
    """Return a rule with all its fields, as a server tells it; BadValue."""
    made = _READERS[rule.kind]({"name": rule.name, **rule.fields}, rule.kind)
    return replace(rule, fields={key: value for key, value in made.told().items() if key != "name"})


def check(files: Sequence[RuleFile], script_files: bool = False, script_network: bool = False) -> list[Fault]:
    """Return all that is wrong in these files, which are meant for one server, in their order.

    script_files, script_network: whether that server lets scripts have them.
    """
    check_script = partial(language.check, files=script_files, network=script_network)
    faults: list[Fault] = []
    owners: dict[tuple[str, str], RuleFile] = {}
    for file in files:
        faults += file.faults
        for rule in file.rules:
            owner = owners.setdefault((rule.kind, rule.name), file)
            if owner is not file:
                faults.append(file.fault((TABLES[rule.kind], rule.name), f"it is in {owner.path}, too"))
            faults += _of_rule(file, rule, check_script)
        for number, test in enumerate(file.tests, 1):
            try:
                Trial.read(test)
            except BadValue as error:
                faults.append(file.fault((TEST, str(number)), error.message))
    return faults


def _of_rule(file: RuleFile, rule: Rule, check_script: Callable[[str], None]) -> Iterator[Fault]:
    """Yield what is wrong with a rule: each field by itself, and then the whole."""
    where = f"{TABLES[rule.kind]}.{rule.name}"
    place = (TABLES[rule.kind], rule.name)
    read, needed = _READERS[rule.kind], _NEEDED[rule.kind]
    sound = True
    for key, value in rule.fields.items():
        try:
            read({"name": rule.name, **needed, key: value}, where)
            if key == "script":
                check_script(value)
        except BadValue as error:
            sound = False
            yield file.fault((*place, key), _reason(error.message, f"{where}.{key}"))
    if sound:
        try:
            read({"name": rule.name, **rule.fields}, where)
        except BadValue as error:
            yield file.fault(place, _reason(error.message, where))


def _reason(message: str, place: str) -> str:
    return message.removeprefix(place).removeprefix(": ")
