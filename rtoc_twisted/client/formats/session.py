"""Sessions: getSession's answers, RTOC's saved JSON files, the server's own backups (protocol section 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from rtoc_twisted.errors import BadValue
from rtoc_twisted.model import HIDDEN_DEVICE, Event, FloatColumn, SignalName

from .json_stream import JsonStream
from .records import Record, Wrong, checked_name, event_of, paged
from .streams import text_of

TOPICS = ("maxLength", "signals", "events", "devices", "session", "getSession", "error", "id")
"""The keys that a session, or an answer with one, may begin with."""


@dataclass(slots=True)
class _Contents:
    """What a first reading finds: names, by the numbers that stand for them."""

    devices: dict[str, str] = field(default_factory=dict)
    signals: dict[str, tuple[str, Any, Any]] = field(default_factory=dict)
    lengths: dict[str, tuple[int, int]] = field(default_factory=dict)

    def named(self, number: str) -> tuple[SignalName, str]:
        """Return name and unit of a signal; BadValue if there is none, or not a proper one."""
        if number not in self.signals:
            raise BadValue(f"there is no signal {number}")
        device, name, unit = self.signals[number]
        if device not in self.devices:
            raise BadValue(f"there is no device {device}")
        if not isinstance(name, str) or not isinstance(unit or "", str):
            raise BadValue("name and unit must be texts")
        x, y = self.lengths[number]
        if x != y:
            raise BadValue(f"x has {x} values and y has {y}")
        return checked_name(self.devices[device], name, unit or ""), unit or ""

    def event(self, row: Any) -> Event:
        """Return an event of [device, signal, number, text, x, value, priority, id]; BadValue."""
        if not isinstance(row, list) or len(row) != 8:
            raise BadValue("expected a list of 8 elements")
        device, signal, _, text, x, value, priority, action_id = row
        if str(signal) in self.signals:
            name = self.named(str(signal))[0]
        elif self.devices.get(str(device)) == HIDDEN_DEVICE:
            # Sessions do not list the server's own signal.
            name = SignalName(HIDDEN_DEVICE, "")
        else:
            raise BadValue(f"there is no signal {signal}")
        fields = {"dname": name.device, "sname": name.name, "text": text, "value": value}
        number = float("nan") if x is None else x
        return event_of(fields | {"x": number, "priority": priority, "id": str(action_id or "")})


def read(path: Path) -> Iterator[Record]:
    """Yield the signals and events of a session, in bounded memory for signals of any length.

    Sessions have null for what is not finite: it is read as NaN. They name devices after the signals, so
    the file is read twice.
    """
    contents = _contents(path)
    with text_of(path) as text:
        stream = JsonStream(text)
        for topic in _topics(stream):
            if topic == "signals":
                yield from _signals(stream, contents)
            elif topic == "events":
                for number in stream.members():
                    try:
                        yield contents.event(stream.value())
                    except BadValue as error:
                        yield Wrong(f"event {number}", error.message)
            else:
                stream.value()


def _topics(stream: JsonStream) -> Iterator[str]:
    """Yield the keys of the session, whether the document is one or has one."""
    for key in stream.members():
        if key in ("session", "getSession"):
            # An answer holds it under both keys; nothing is read twice.
            yield from stream.members()
            return
        yield key


def _contents(path: Path) -> _Contents:
    contents = _Contents()
    found = set()
    with text_of(path) as text:
        stream = JsonStream(text)
        for topic in _topics(stream):
            found.add(topic)
            if topic == "signals":
                for number in stream.members():
                    device, name = _head(stream)
                    lengths = (_skipped(stream, ","), _skipped(stream, ","))
                    contents.signals[number] = (str(device), name, _tail(stream))
                    contents.lengths[number] = lengths
            elif topic == "events":
                for _ in stream.members():
                    stream.value()
            elif topic == "devices":
                contents.devices = {number: str(stream.value()) for number in stream.members()}
            else:
                stream.value()
    if not {"signals", "devices"} <= found:
        raise BadValue("expected a session: an object with signals, events and devices")
    return contents


def _signals(stream: JsonStream, contents: _Contents) -> Iterator[Record]:
    for number in stream.members():
        _head(stream)
        try:
            name, unit = contents.named(number)
        except BadValue as error:
            _skipped(stream, ",")
            _skipped(stream, ",")
            yield Wrong(f"signal {number}", error.message)
        else:
            for x, y in _pairs(stream):
                yield from paged(name, unit, x, y)
        _tail(stream)


def _pairs(stream: JsonStream) -> Iterator[tuple[FloatColumn, FloatColumn]]:
    """Yield pieces of x and y, which stand one behind the other in the file: x waits on the disk."""
    with TemporaryFile() as waiting:
        for column in stream.numbers():
            waiting.write(column.tobytes())
        stream.take(",")
        waiting.seek(0)
        for y in stream.numbers():
            yield np.frombuffer(waiting.read(8 * len(y))), y
        stream.take(",")


def _head(stream: JsonStream) -> tuple[Any, Any]:
    stream.take("[")
    device = stream.value()
    stream.take(",")
    name = stream.value()
    stream.take(",")
    return device, name


def _skipped(stream: JsonStream, end: str) -> int:
    """Pass a list of numbers and what ends it; return its length."""
    length = sum(len(column) for column in stream.numbers())
    stream.take(end)
    return length


def _tail(stream: JsonStream) -> Any:
    unit = stream.value()
    stream.take("]")
    return unit
