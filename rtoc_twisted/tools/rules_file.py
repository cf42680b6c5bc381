"""Rules in files: TOML for people and git, and RTOC's JSON; where in the file each of them is."""

from __future__ import annotations

import datetime
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..client.rtoc_rules import ACTION, EVENT, USER_ACTION, Rule, kind_of, read
from ..errors import BadValue

TABLES: Final[Mapping[str, str]] = {EVENT: "events", ACTION: "actions", USER_ACTION: "user_actions"}
"""The tables of a file, by the call of `automation` that sets what is in them."""

TEST: Final = "test"

_LARGEST = 16 << 20
_TOO_DEEP = "brackets within brackets, too many"
_QUOTES = ('"""', "'''")
_JSON_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+|\n')

Place = tuple[str, ...]
"""Where something is in a document: ("events", "hot", "cond")."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong in a file, and its line, 0 where that is not known."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        """Return it as compilers do."""
        return f"{self.path}:{self.line}: {self.text}" if self.line else f"{self.path}: {self.text}"


@dataclass(frozen=True, slots=True)
class RuleFile:
    """What a file holds.

    tests: the tables [[test]], as they are; faults: what none of these could be made of; lines: the number of
    each place's line; begins: the line at which a text of several begins.
    """

    path: Path
    rules: list[Rule] = field(default_factory=list)
    tests: list[Mapping[str, Any]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lines: dict[Place, int] = field(default_factory=dict)
    begins: dict[Place, int] = field(default_factory=dict)

    def fault(self, place: Place, text: str) -> Fault:
        """Return a fault at the line of a place, or of the nearest around it whose line is known.

        A text "line 3, ..." means the third line of what is there.
        """
        line = next((self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines), 0)
        within = re.match(r"line (\d+)", text)
        if within is not None and place in self.begins:
            line = self.begins[place] + int(within[1]) - 1
        joint = "" if not place or text.startswith((".", "[")) else ": "
        return Fault(self.path, line, f"{'.'.join(place)}{joint}{text}")


def load(path: Path) -> RuleFile:
    """Return what a file holds; BadValue if it cannot be read at all."""
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise BadValue(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadValue(f"{path}: not UTF-8") from None
    if len(content) > _LARGEST:
        raise BadValue(f"{path}: more than {_LARGEST} bytes")
    found = RuleFile(path)
    if path.suffix == ".json":
        _load_json(text, found)
    else:
        _load_toml(text, found)
    return found


def _load_json(text: str, found: RuleFile) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        found.faults.append(Fault(found.path, error.lineno, f"column {error.colno}: {error.msg}"))
        return
    except RecursionError:
        found.faults.append(Fault(found.path, 0, _TOO_DEEP))
        return
    kind = kind_of(found.path)
    if kind is None:
        found.faults.append(Fault(found.path, 0, "neither rules, nor actions, nor user actions of RTOC's"))
        return
    for place, line in _json_lines(text):
        found.lines[TABLES[kind], *place] = line
    try:
        found.rules.extend(read(found.path, kind))
    except BadValue as error:
        found.faults.append(found.fault((), error.message))


def _load_toml(text: str, found: RuleFile) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        told = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error))
        line, words = (int(told[2]), f"column {told[3]}: {told[1]}") if told else (0, str(error))
        found.faults.append(Fault(found.path, line, words))
        return
    except RecursionError:
        found.faults.append(Fault(found.path, 0, _TOO_DEEP))
        return
    _find_lines(text, found)
    kinds = {table: kind for kind, table in TABLES.items()}
    for table, entries in document.items():
        if table == TEST and isinstance(entries, list):
            found.tests.extend(entry for entry in entries if isinstance(entry, dict))
        elif table not in kinds or not isinstance(entries, dict):
            known = ", ".join(f"[{each}.NAME]" for each in kinds)
            found.faults.append(found.fault((table,), f"expected {known} or [[{TEST}]]"))
        else:
            for name, fields in entries.items():
                if isinstance(fields, dict) and "name" not in fields:
                    found.rules.append(Rule(kinds[table], name, _plain(fields)))
                else:
                    expected = "a table" if not isinstance(fields, dict) else "no name but that of the table"
                    found.faults.append(found.fault((table, name), f"expected {expected}"))


def _plain(value: Any) -> Any:
    """Return a value of TOML as JSON has it: dates and times as ISO 8601 texts."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, datetime.time):
        return value.isoformat(timespec="minutes")
    return value.isoformat() if isinstance(value, datetime.date) else value


def _find_lines(text: str, found: RuleFile) -> None:
    """Note the lines of tables and keys, as people write them: a header or a key to a line."""
    table: Place = ()
    tests = 0
    quotes = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quotes:
            quotes = "" if quotes in line else quotes
        elif line.lstrip().startswith("[") and (header := _keys(line)):
            tests += header == (TEST,)
            table = (TEST, str(tests)) if header == (TEST,) else header
            found.lines.setdefault(table[:1], number)
            found.lines.setdefault(table, number)
        elif "=" in line and (key := _keys(line.partition("=")[0] + "= 0")):
            place = (*table, *key)
            found.lines.setdefault(place, number)
            quotes = next((each for each in _QUOTES if line.count(each) % 2), "")
            if quotes:
                # A line end right after the quotes is not a part of the text.
                found.begins[place] = number + line.rstrip().endswith(quotes)


def _keys(line: str) -> Place:
    """Return the path that a line of TOML opens, () where it is none by itself."""
    try:
        document: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return ()
    path: list[str] = []
    while isinstance(document, dict | list) and document:
        if isinstance(document, list):
            document = document[0]
            continue
        key = next(iter(document))
        path.append(key)
        document = document[key]
    return tuple(path)


def _json_lines(text: str) -> Iterator[tuple[Place, int]]:
    """Yield the places of a document's keys, two deep, with their lines. text: is JSON."""
    line, path, last = 1, [""], ""
    for word in _JSON_WORD.findall(text):
        if word == "\n":
            line += 1
            continue
        if word in "{[":
            path.append("")
        elif word in "}]":
            path.pop()
        elif word == ":":
            path[-1] = json.loads(last)
            if len(path) <= 3:
                yield tuple(path[1:]), line
        last = word


def dump(rules: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return rules as TOML, which has no word for null: that is left out. rules: {table: {name: fields}}."""
    lines: list[str] = []
    for table, entries in rules.items():
        for name, fields in entries.items():
            lines += [f"[{table}.{_key(name)}]"]
            lines += [f"{_key(key)} = {_toml(value)}" for key, value in fields.items() if value is not None]
            lines += [""]
    return "\n".join(lines)


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else _quoted(text)


def _quoted(text: str) -> str:
    """Return a text in quotes. JSON's escapes are TOML's, but for DEL and lone surrogates."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(value: Any) -> str:
    if isinstance(value, str):
        if "\n" in value and "'''" not in value and re.fullmatch(r"[\t\n -~\x80-\U0010ffff]*", value):
            return f"'''\n{value}'''"
        return _quoted(value)
    if isinstance(value, dict):
        inner = ", ".join(f"{_key(key)} = {_toml(it)}" for key, it in value.items() if it is not None)
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(it) for it in value if it is not None)}]"
    # Numbers and booleans are the same in both.
    return json.dumps(value)
