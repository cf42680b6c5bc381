"""JSON Lines: one object a line, for a page of a signal's samples or for an event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import orjson

from rtoc_twisted.errors import BadValue
from rtoc_twisted.model import Event, FloatColumn

from .records import Page, Record, Wrong, checked_name, event_of, paged
from .streams import lines, text_of

_WORDS = {"NaN": np.nan, "Infinity": np.inf, "-Infinity": -np.inf}


class JsonLinesWriter:
    """Write {"dname", "sname", "unit", "x": [..], "y": [..]} and {"event": {..}} lines.

    What JSON has no number for are the texts "NaN", "Infinity" and "-Infinity".
    """

    def __init__(self, stream: TextIO, *, events: bool) -> None:
        self._stream = stream

    def write(self, record: Page | Event) -> None:
        """Write a line for an event; for a page as many as its length needs."""
        if isinstance(record, Event):
            self._line({"event": _event(record)})
            return
        for page in paged(record.name, record.unit, record.x, record.y):
            device, signal = page.name
            head = {"dname": device, "sname": signal, "unit": page.unit}
            self._line({**head, "x": _spelled(page.x), "y": _spelled(page.y)})

    def _line(self, document: Mapping[str, Any]) -> None:
        self._stream.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE).decode())

    def close(self) -> None:
        """Do nothing: every line is written already."""


def _event(event: Event) -> dict[str, Any]:
    return {
        "dname": event.name.device,
        "sname": event.name.name,
        "text": event.text,
        "x": _spelled(np.array([event.x]))[0],
        "priority": event.priority,
        "id": event.action_id,
        "value": event.value,
    }


def _spelled(column: FloatColumn) -> list[Any]:
    values: list[Any] = column.tolist()
    for index in np.flatnonzero(~np.isfinite(column)).tolist():
        number = values[index]
        values[index] = "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"
    return values


def read(path: Path) -> Iterator[Record]:
    """Yield what a file holds, line by line."""
    with text_of(path) as text:
        for number, line in enumerate(lines(text), 1):
            if line.isspace():
                continue
            try:
                yield from _records(orjson.loads(line.encode(errors="surrogateescape")))
            except BadValue as error:
                yield Wrong(f"line {number}", error.message)
            except orjson.JSONDecodeError as error:
                yield Wrong(f"line {number}", f"no JSON: {error.msg} at column {error.colno}")


def _records(document: Any) -> list[Record]:
    """Return what a line holds; all of it, or BadValue."""
    if not isinstance(document, dict):
        raise BadValue("expected an object")
    if isinstance(event := document.get("event"), dict):
        x = event.get("x")
        return [event_of(event | {"x": _WORDS.get(x, x) if isinstance(x, str) else x})]
    texts = [document.get("dname"), document.get("sname"), document.get("unit", "")]
    for text, key in zip(texts, ("dname", "sname", "unit"), strict=True):
        if not isinstance(text, str):
            raise BadValue(f"{key}: expected a text")
    name = checked_name(*texts)
    x, y = _column(document, "x"), _column(document, "y")
    if len(x) != len(y):
        raise BadValue(f"x has {len(x)} values and y has {len(y)}")
    return list(paged(name, document.get("unit", ""), x, y))


def _column(document: Mapping[str, Any], key: str) -> FloatColumn:
    values = document.get(key)
    if not isinstance(values, list):
        raise BadValue(f"{key}: expected a list of numbers")
    numbers = [_WORDS.get(value) if isinstance(value, str) else value for value in values]
    for index, number in enumerate(numbers):
        if type(number) is not float and type(number) is not int:
            raise BadValue(f"{key}[{index}]: expected a number, found {str(values[index])[:40]!r}")
    return np.array(numbers, dtype=np.float64)
