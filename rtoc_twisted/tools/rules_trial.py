"""Tests of rules, as they are written: what comes, and which events are to come of it."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import BadValue
from ..model import Names, Samples, SignalName

_START: Final = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_LONGEST: Final = 366 * 86_400.0
"""Seconds of a test."""

_AGREE: Final = 1e-3
"""Seconds by which times may differ: numbers of this size have no more digits."""


class Fired(NamedTuple):
    """An event: the rule that raised it, seconds from the test's start, and its text; None: any text."""

    event: str
    at: float
    text: str | None = None

    def meets(self, other: Fired) -> bool:
        """Return whether another event is the one that is meant here."""
        same = self.event == other.event and math.isclose(self.at, other.at, abs_tol=_AGREE)
        return same and (self.text is None or self.text == other.text)

    def __str__(self) -> str:
        """Return it as it is written in a test."""
        text = "" if self.text is None else f", text = {msgspec.json.encode(self.text).decode()}"
        return f'{{event = "{self.event}", at = {self.at:.12g}{text}}}'


class _Expected(msgspec.Struct, forbid_unknown_fields=True):
    event: str
    at: float
    text: str | None = None


class _Test(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    input: dict[str, list[tuple[float, float]]]
    until: float
    start: datetime.datetime = _START
    expect: list[_Expected] = []


@dataclass(frozen=True)
class Trial:
    """A test. start: seconds since the epoch; steps: what comes at which second after it, in order."""

    name: str
    start: float
    steps: Sequence[tuple[float, Samples]]
    until: float
    expect: Sequence[Fired]

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Trial:
        """Return the test of a table [[test]]; BadValue."""
        try:
            test = msgspec.convert(table, _Test)
        except msgspec.ValidationError as error:
            what, _, path = str(error).partition(" - at `$")
            raise BadValue(f"{path.rstrip('`')}: {what}" if path else what) from None
        if test.start.tzinfo is None:
            raise BadValue(".start: it needs a zone, as in 2026-01-01T00:00:00Z")
        if not 0 <= test.until <= _LONGEST:
            raise BadValue(f".until: expected 0 to {_LONGEST:.0f} seconds")
        start = test.start.timestamp()
        expect = [Fired(it.event, it.at, it.text) for it in test.expect]
        return cls(test.name, start, list(_steps(test, start)), test.until, expect)


def _steps(test: _Test, start: float) -> Iterator[tuple[float, Samples]]:
    """Yield what comes together, in order of time."""
    columns: dict[float, list[tuple[SignalName, float]]] = {}
    for key, samples in test.input.items():
        device, dot, name = key.rpartition(".")
        if not dot:
            raise BadValue(f'.input: expected "Device.Signal", got {key!r}')
        for t, y in samples:
            if not 0 <= t <= test.until:
                raise BadValue(f".input.{key}: t = {t:g} is not within 0 and `until`")
            columns.setdefault(t, []).append((SignalName(device, name), y))
    for t in sorted(columns):
        names = Names([name for name, _ in columns[t]], [""] * len(columns[t]))
        yield t, Samples(names, [start + t] * len(columns[t]), [y for _, y in columns[t]])


def differences(expected: Sequence[Fired], fired: Sequence[Fired]) -> list[str]:
    """Return what fired and what did not, line by line, "-" before what is missing and "+" before too much.

    Empty if all is as expected.
    """
    lines, wrong = [], False
    left = list(fired)
    for wanted in expected:
        at = next((n for n, event in enumerate(left) if wanted.meets(event)), None)
        if at is None:
            lines.append(f"- {wanted}")
            wrong = True
            continue
        lines += [f"+ {event}" for event in left[:at]]
        wrong |= at > 0
        lines.append(f"  {wanted}")
        del left[: at + 1]
    lines += [f"+ {event}" for event in left]
    return lines if wrong or left else []
