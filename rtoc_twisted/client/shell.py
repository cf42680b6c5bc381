"""What the rtoc command reads and writes: values as typed, tables for people, JSON for programs."""

from __future__ import annotations

import getpass
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TextIO

from rtoc_twisted.client.trust import Credentials
from rtoc_twisted.errors import BadValue

_ASSIGNMENT = re.compile(
    r"(?P<name>[^=]+)=(?P<value>[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf|nan))\s*(?P<unit>.*)",
    re.DOTALL,
)

# x is mostly seconds since the epoch, but may be any axis: only what lies between 2001 and 2286 is
# shown as a time.
_TIMES = (1e9, 1e10)


@dataclass(slots=True)
class Shell:
    """The surroundings of one run of the command; ask: prompts for a secret, as getpass.getpass."""

    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    ask: Callable[[str], str] = getpass.getpass

    def credentials(self, user: str | None) -> Credentials:
        """Return the credentials of the environment: RTOC_TOKEN, RTOC_PASSWORD."""
        return Credentials(
            password=self.environ.get("RTOC_PASSWORD") or None,
            user=user,
            token=self.environ.get("RTOC_TOKEN") or None,
        )

    def write_json(self, document: Any) -> None:
        """Write one document on one line, numbers that JSON has not as null."""
        self.stdout.write(json.dumps(_finite(document), ensure_ascii=False) + "\n")
        self.stdout.flush()

    def write_table(self, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """Write rows under their heads, in columns."""
        lines = [list(heads), *([_cell(it) for it in row] for row in rows)]
        widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
        for line in lines:
            padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
            self.stdout.write("  ".join(padded).rstrip() + "\n")
        self.stdout.flush()

    def complain(self, message: str) -> None:
        """Write an error in one line."""
        self.stderr.write("rtoc: " + " ".join(message.split()) + "\n")


def assignment(text: str) -> tuple[str, float, str]:
    """Return signal, value and unit of SIGNAL=VALUE[unit]; BadValue."""
    found = _ASSIGNMENT.fullmatch(text)
    if found is None:
        raise BadValue(f"{text!r} is no SIGNAL=VALUE[unit]")
    return found["name"], float(found["value"]), found["unit"].rstrip()


def moment(text: str) -> float:
    """Return the x that a person means: a number, or an ISO date and time (local unless it says else).

    BadValue if it is neither.
    """
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise BadValue(f"{text!r} is neither a number nor a date like 2030-12-31T23:59") from None


def shown_x(x: float) -> str:
    """Return x for a table: as local time where it looks like one."""
    if _TIMES[0] <= x < _TIMES[1]:
        return datetime.fromtimestamp(x).astimezone().isoformat(sep=" ", timespec="milliseconds")
    return _cell(x)


def flat(document: Mapping[str, Any], path: str = "") -> list[tuple[str, object]]:
    """Return a nested document as (dotted path, value) rows."""
    rows: list[tuple[str, object]] = []
    for key, value in document.items():
        place = f"{path}.{key}" if path else key
        rows.extend(flat(value, place) if isinstance(value, dict) and value else [(place, value)])
    return rows


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(it) for key, it in value.items()}
    return [_finite(it) for it in value] if isinstance(value, list) else value
