"""Builders of answers, errors and pushes (protocol sections 2, 6 and 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import RTOCError
from ..model import Columns, Event, Plot, Samples, Signal
from .codec import Column, Message

AUTHORIZED = Message({"authorized": True})
NOT_AUTHORIZED = Message({"authorized": False})
NEW_CLIENT = Message({"client": "newconnected"})


def error_entry(key: str | None, error: RTOCError) -> dict[str, Any]:
    """Return an element of `errors`: which key failed, why, and whether to try again."""
    return {"key": key, "code": error.code, "message": error.message, "retriable": error.retriable}


UNSPEAKABLE = Message(
    {"error": True, "errors": [error_entry(None, RTOCError("the answer has no form in this encoding"))]}
)
"""What is said in place of an answer that cannot be encoded."""


def batch_told(source: str, seq: int, data: Samples | Plot | Event, duplicate: bool) -> dict[str, Any]:
    """Return the `batch` of an answer: how many of the values were taken now, how many were there."""
    count = 1 if isinstance(data, Event) else len(data.y)
    accepted, known = (0, count) if duplicate else (count, 0)
    return {"source": source, "seq": seq, "accepted": accepted, "duplicate": known}


def signal_added(signal: Signal) -> Message:
    """Return push P1: a signal was created."""
    return Message({"signal": _signal(signal, [], [], None)})


def values(signal: Signal, x: Any, y: Any) -> Message:
    """Return push P2: values of one signal. x, y: lists, or Columns of equal length."""
    return Message({"signal": _signal(signal, x, y, signal.unit)})


def _signal(signal: Signal, x: Any, y: Any, unit: str | None) -> dict[str, Any]:
    device, name = signal.name
    return {"x": x, "y": y, "unit": unit, "dname": device, "sname": name, "id": signal.id}


def event_raised(event: Event) -> Message:
    """Return push P3: an event was raised; how its alarm stands, if it has one."""
    told = {
        "x": event.x,
        "text": event.text,
        "dname": event.name.device,
        "sname": event.name.name,
        "priority": event.priority,
        "value": event.value,
        "id": event.action_id,
        "eventId": event.number,
    }
    if event.alarm is not None:
        told["alarm"] = event.alarm
    return Message({"event": told})


EVENTS_AT_ONCE = 10_000
"""Events in an answer at most; so many are told within a few milliseconds."""


def event_row(event: Event) -> list[Any]:
    """Return an event as getEventList and getEvent list it; how its alarm stands is last, if it has one."""
    row = _event_row(event)
    return row if event.alarm is None else [*row, event.alarm]


def _event_row(event: Event) -> list[Any]:
    return [
        event.name.device,
        event.name.name,
        event.number,
        event.text,
        event.x,
        event.value,
        event.priority,
        event.action_id,
    ]


def session_signal(signal: Signal, columns: Columns) -> list[Any]:
    """Return a signal as a session lists it."""
    return [signal.device_id, signal.name.name, Column(columns.x), Column(columns.y), signal.unit]


def session_event(signal: Signal, event: Event) -> list[Any]:
    """Return an event as a session lists it: by numbers where the other lists have names."""
    return [signal.device_id, signal.id, *_event_row(event)[2:]]


def plugins_changed(plugins: Mapping[str, Any]) -> Message:
    """Return push P4: the state of plugins changed."""
    return Message({"pluginList": plugins})


class Pushes:
    """The pushes of the newest fact, made once however many connections hear of it."""

    def __init__(self) -> None:
        self._fact: object = None
        self._pushes: Sequence[tuple[Signal, Message]] = ()

    def of_samples(self, signals: Sequence[Signal], samples: Samples) -> Sequence[tuple[Signal, Message]]:
        """Return each signal of the samples with its push; several points of one signal share a push."""
        if self._fact is not samples:
            points: dict[Signal, tuple[list[float], list[float]]] = {}
            for signal, x, y in zip(signals, samples.x, samples.y, strict=True):
                columns = points.setdefault(signal, ([], []))
                columns[0].append(x)
                columns[1].append(y)
            self._pushes = [(signal, values(signal, x, y)) for signal, (x, y) in points.items()]
            self._fact = samples
        return self._pushes

    def of_plot(self, signal: Signal, plot: Plot) -> Message:
        """Return the push of a plot's samples."""
        if self._fact is not plot:
            self._pushes = [(signal, values(signal, Column(plot.x), Column(plot.y)))]
            self._fact = plot
        return self._pushes[0][1]

    def of_event(self, event: Event) -> Message:
        """Return the push of an event."""
        return self._of(event, event_raised)

    def of_signal(self, signal: Signal) -> Message:
        """Return the push of a new signal."""
        return self._of(signal, signal_added)

    def of_plugins(self, plugins: Mapping[str, Any]) -> Message:
        """Return the push of how plugins are now."""
        return self._of(plugins, plugins_changed)

    def _of(self, fact: Any, make: Any) -> Message:
        if self._fact is not fact:
            self._pushes = [(fact, make(fact))]
            self._fact = fact
        return self._pushes[0][1]
