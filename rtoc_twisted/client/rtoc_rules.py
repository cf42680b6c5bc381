"""RTOC's rules and scripts, sent to a server: globalEvents.json, globalActions.json, telegramActions.json.

Protocol section 12 tells what is in them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtoc_twisted.client.client import Client
from rtoc_twisted.client.failures import RequestFailed
from rtoc_twisted.client.formats.streams import text_of
from rtoc_twisted.client.shell import Shell
from rtoc_twisted.errors import BadValue, RTOCError

EVENT, ACTION, USER_ACTION = "setEvent", "setAction", "setUserAction"

FILES: Mapping[str, str] = {
    "globalEvents.json": EVENT,
    "globalActions.json": ACTION,
    "telegramActions.json": USER_ACTION,
}
"""What RTOC's files hold, by their names."""

KINDS: Mapping[str, str] = {EVENT: "events", ACTION: "actions", USER_ACTION: "user actions"}
"""The calls of `automation` that set something, and what people call it."""

_LARGEST = 16 << 20
"""Characters of such a file."""

_INTERNAL = ("errors", "latest")
"""What RTOC's server leaves in its files of what only it needs."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Something to set: the call of `automation`, the name, and the other fields of the call's argument."""

    kind: str
    name: str
    fields: Mapping[str, Any]

    @property
    def call(self) -> dict[str, Any]:
        """Return what the key `automation` is to be given."""
        return {self.kind: {"name": self.name, **self.fields}}


def kind_of(path: Path) -> str | None:
    """Return what a file of RTOC's holds, by its name, else by its content; None if it is another file."""
    named = FILES.get(path.name)
    if named is not None:
        return named
    try:
        document = _document(path)
    except BadValue:
        return None
    entries = list(document.values())
    if entries and all(isinstance(entry, str) for entry in entries):
        return USER_ACTION
    for kind, mark in ((EVENT, "cond"), (ACTION, "script")):
        if entries and all(isinstance(entry, dict) and mark in entry for entry in entries):
            return kind
    return None


def read(path: Path, kind: str) -> list[Rule]:
    """Return what a file of that kind holds; BadValue, with the name, for what is no rule or script."""
    rules = []
    for name, entry in _document(path).items():
        fields = {"script": entry} if kind == USER_ACTION else entry
        if not isinstance(fields, dict) or (kind == USER_ACTION and not isinstance(entry, str)):
            expected = "a text" if kind == USER_ACTION else "an object"
            raise BadValue(f"{name}: expected {expected}")
        kept = {key: value for key, value in fields.items() if key not in _INTERNAL}
        rules.append(Rule(kind, name, kept))
    return rules


def _document(path: Path) -> dict[str, Any]:
    with text_of(path) as text:
        content = text.read(_LARGEST + 1)
    if not content.isascii() and not _is_text(content):
        raise BadValue("not UTF-8")
    if len(content) > _LARGEST:
        raise BadValue(f"more than {_LARGEST} characters")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadValue(f"no JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadValue("no JSON object")
    return document


def _is_text(content: str) -> bool:
    """Return whether this can be encoded: `text_of` gives lone surrogates for bytes that are no UTF-8."""
    try:
        content.encode()
    except UnicodeEncodeError:
        return False
    return True


async def known(client: Client) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the fields of all that a server has, by kind and name."""
    told = await client.automation(userActions=True)
    scripts = {name: {"script": script} for name, script in told["userActions"].items()}
    groups = ((EVENT, told["events"]), (ACTION, told["actions"]), (USER_ACTION, scripts))
    return {(kind, name): fields for kind, entries in groups for name, fields in entries.items()}


async def set_rules(
    client: Client,
    rules: Sequence[Rule],
    there: Mapping[tuple[str, str], Mapping[str, Any]],
    shell: Shell,
) -> Counter[str]:
    """Set those that are not as they are `there`, and complain of each that the server refuses.

    Returns how many of each kind were set, how many were "there already", and how many "refused".
    """
    counts: Counter[str] = Counter(dict.fromkeys((*KINDS.values(), "there already", "refused"), 0))
    for rule in rules:
        if there.get((rule.kind, rule.name)) == rule.fields:
            counts["there already"] += 1
            continue
        try:
            await client.automation(**rule.call)
        except RequestFailed as error:
            shell.complain(f"{rule.name}: {error.message}")
            counts["refused"] += 1
        else:
            counts[KINDS[rule.kind]] += 1
    return counts


async def tell_what_is_off(client: Client, rules: Sequence[Rule], shell: Shell) -> None:
    """Complain where rules or actions are set, and the server lets none of their kind work."""
    active = (await client.automation())["active"]
    for what in switches(rules):
        if not active[what]:
            wanted = json.dumps({"automation": {"active": {what: True}}})
            shell.complain(f"{what} are switched off on the server: {wanted} switches them on")


def switches(rules: Sequence[Rule]) -> list[str]:
    """Return what of `automation.active` is to be true, for these to do anything."""
    return [KINDS[kind] for kind in (EVENT, ACTION) if any(rule.kind == kind for rule in rules)]


async def import_rules(client: Client, rules: Sequence[Rule], table: bool, shell: Shell) -> None:
    """Set what RTOC's files hold, and tell what became of it; RTOCError if anything was refused."""
    counts = await set_rules(client, rules, await known(client), shell)
    if table:
        shell.write_table(("what", "count"), list(counts.items()))
    else:
        shell.write_json(counts)
    await tell_what_is_off(client, rules, shell)
    if counts["refused"]:
        raise RTOCError(f"{counts['refused']} of {len(rules)} were refused")


def in_directory(directory: Path, shell: Shell) -> list[Rule]:
    """Return what the files of an RTOC directory hold, and say of its other files what to do with them."""
    rules = []
    for name, kind in FILES.items():
        path = directory / name
        if path.exists():
            try:
                rules += read(path, kind)
            except BadValue as error:
                raise BadValue(f"{name}: {error.message}") from None
    for name, advice in _BY_HAND.items():
        if any(directory.glob(name)):
            shell.complain(f"left out: {name}: {advice}")
    return rules


_BY_HAND: Mapping[str, str] = {
    "devices": "copy it into the state directory (docs/plugins.md)",
    "autorun_devices": "copy it into the state directory",
    "persistentVariables.json": "copy it into the state directory",
    "backup/*.json": "sessions, which overlap: import by itself the one that you want",
    "restore.json": "a session: import it by itself",
}
