"""CSV (RFC 4180): one line a sample, or one line an event."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import islice, repeat
from pathlib import Path
from typing import Any, TextIO

import orjson

from rtoc_twisted.errors import BadValue
from rtoc_twisted.model import Event

from .records import Groups, Page, Record, Wrong, event_of
from .streams import lines, text_of

SAMPLES = ["device", "signal", "unit", "x", "y"]
EVENTS = ["device", "signal", "x", "priority", "id", "text", "value"]

_AT_ONCE = 256
_NOT_CSV = "not CSV: "


class CsvWriter:
    """Write samples as device,signal,unit,x,y, or events.

    Numbers are written as Python's repr, which float() reads back to the last bit. A signal without
    samples is a line with empty x and y. The value of an event is JSON.
    """

    def __init__(self, stream: TextIO, *, events: bool) -> None:
        self._rows = csv.writer(stream)
        self._rows.writerow(EVENTS if events else SAMPLES)

    def write(self, record: Page | Event) -> None:
        """Write a line for each sample of a page, or for an event."""
        if isinstance(record, Event):
            value = orjson.dumps(record.value).decode()
            self._rows.writerow(
                (*record.name, record.x, record.priority, record.action_id, record.text, value)
            )
        elif len(record.x):
            heads = (*map(repeat, record.name), repeat(record.unit))
            self._rows.writerows(zip(*heads, record.x.tolist(), record.y.tolist(), strict=False))
        else:
            self._rows.writerow((*record.name, record.unit, "", ""))

    def close(self) -> None:
        """Do nothing: every line is written already."""


def read(path: Path) -> Iterator[Record]:
    """Yield what a file holds; its first line tells whether that is samples or events."""
    with text_of(path) as text:
        rows = csv.reader(lines(text), strict=True)
        head = next(_rows(rows), (0, []))
        if head[1] == SAMPLES:
            yield from _samples(rows)
        elif head[1] == EVENTS:
            yield from _events(rows)
        else:
            raise BadValue(f"line 1: expected the columns {','.join(SAMPLES)} (or {','.join(EVENTS)})")


def _samples(rows: Any) -> Iterator[Record]:
    groups = Groups()
    numbered = _rows(rows)
    while some := list(islice(numbered, _AT_ONCE)):
        try:
            # Nearly always they are all of one signal, and right: a column at a time is fast.
            devices, signals, units, xs, ys = zip(*(row for _, row in some), strict=True)
            ((device, signal, unit),) = set(zip(devices, signals, units, strict=True))
            ready = groups.add(device, signal, unit, list(map(float, xs)), list(map(float, ys)))
        except (ValueError, BadValue):
            for number, row in some:
                yield from _sample(groups, number, row)
        else:
            yield from ready
    yield from groups.rest()


def _sample(groups: Groups, number: int, row: list[str]) -> Sequence[Record]:
    """Return the pages that are ready with this row, or what is wrong with it."""
    if len(row) != len(SAMPLES):
        return (_miscounted(number, row, SAMPLES),)
    device, signal, unit, x, y = row
    try:
        if x == y == "":
            return groups.announce(device, signal, unit)
        return groups.add(device, signal, unit, (float(x),), (float(y),))
    except BadValue as error:
        return (Wrong(f"line {number}", error.message),)
    except ValueError as error:
        return (Wrong(f"line {number}", str(error)),)


def _events(rows: Any) -> Iterator[Record]:
    for number, row in _rows(rows):
        if len(row) != len(EVENTS):
            yield _miscounted(number, row, EVENTS)
            continue
        device, signal, x, priority, action_id, text, value = row
        fields = {"dname": device, "sname": signal, "x": x, "id": action_id, "text": text}
        try:
            yield event_of(fields | {"priority": int(priority), "value": orjson.loads(value)})
        except BadValue as error:
            yield Wrong(f"line {number}", error.message)
        except ValueError as error:
            yield Wrong(f"line {number}", str(error))


def _rows(rows: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty, with its line's number; a row that is no CSV has a single field."""
    while True:
        number = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            row = [f"{_NOT_CSV}{error}"]
        if row:
            yield number, row


def _miscounted(number: int, row: list[str], columns: list[str]) -> Wrong:
    if len(row) == 1 and row[0].startswith(_NOT_CSV):
        return Wrong(f"line {number}", row[0])
    return Wrong(f"line {number}", f"expected {len(columns)} fields ({','.join(columns)}), found {len(row)}")
