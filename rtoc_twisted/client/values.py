"""Typed values of answers and pushes, made from the wire's lists and dicts (protocol sections 5 and 6)."""

from __future__ import annotations

import base64
import binascii
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtoc_twisted.model import Event, SignalName


@dataclass(frozen=True, slots=True)
class Latest:
    """A signal's newest sample; id, first_x and last_x are None from servers that leave them out."""

    x: float
    y: float
    unit: str
    id: int | None = None
    first_x: float | None = None
    last_x: float | None = None


@dataclass(frozen=True, slots=True)
class SignalData:
    """Samples of a signal: x[n], y[n] in order of arrival; x_min, x_max: of the whole signal.

    decimated: how many of how many samples these are, None where nothing was left out.
    """

    x: list[float]
    y: list[float]
    unit: str
    id: int
    x_min: float
    x_max: float
    decimated: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SignalSums:
    """Sums of a signal by buckets of x, those that have samples.

    x: where each bucket begins, width: how wide they are; columns: by function (count, min, ..) a number for
    each bucket. decimated: of how many of how many samples these are, None where nothing was left out.
    """

    width: float
    x: list[float]
    columns: Mapping[str, list[float]]
    decimated: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class SignalPage:
    """Some samples of a signal: x[n], y[n] in order of arrival, every bit as it was recorded.

    after: what to ask with for those that came after them; more: whether there were any.
    """

    x: array[float]
    y: array[float]
    unit: str
    after: str
    more: bool


@dataclass(frozen=True, slots=True)
class ActionResult:
    """What a user action returned: text as str, a picture or document as bytes."""

    name: str
    success: bool
    type: str
    data: str | bytes


@dataclass(frozen=True, slots=True)
class SignalAdded:
    """A signal was created (P1)."""

    name: SignalName
    id: int


@dataclass(frozen=True, slots=True)
class Values:
    """New samples of a subscribed signal (P2): x[n], y[n]."""

    name: SignalName
    id: int
    x: list[float]
    y: list[float]
    unit: str


@dataclass(frozen=True, slots=True)
class EventRaised:
    """An event was raised (P3)."""

    event: Event


@dataclass(frozen=True, slots=True)
class PluginsChanged:
    """The plugins changed (P4); plugins: the new getPluginList."""

    plugins: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClientConnected:
    """Another client connected (P5)."""


Push = SignalAdded | Values | EventRaised | PluginsChanged | ClientConnected


def push_of(message: Mapping[str, Any]) -> Push | None:
    """Return the push that a message is, or None if it is none that is known.

    Raises KeyError, TypeError or ValueError where a known push lacks what protocol section 6 promises.
    """
    if "signal" in message:
        return _signal_push(message["signal"])
    if "event" in message:
        return EventRaised(_pushed_event(message["event"]))
    if "client" in message:
        return ClientConnected()
    if "pluginList" in message:
        return PluginsChanged(message["pluginList"])
    return None


def _signal_push(fields: Mapping[str, Any]) -> SignalAdded | Values:
    name = SignalName(fields["dname"], fields["sname"])
    if not fields["x"]:
        return SignalAdded(name, fields["id"])
    return Values(name, fields["id"], floats(fields["x"]), floats(fields["y"]), fields["unit"] or "")


def _pushed_event(fields: Mapping[str, Any]) -> Event:
    return Event(
        name=SignalName(fields["dname"], fields["sname"]),
        text=fields["text"],
        x=number(fields["x"]),
        priority=fields["priority"],
        action_id=str(fields["id"]),
        value=fields["value"],
        number=int(fields["eventId"]),
        alarm=fields.get("alarm"),
    )


def listed_event(fields: Sequence[Any]) -> Event:
    """Return the event of [dname, sname, evID, text, x, value, priority, id(, alarm)]."""
    device, name, event_number, text, x, value, priority, action_id, *alarm = fields
    return Event(
        name=SignalName(device, name),
        text=text,
        x=number(x),
        priority=priority,
        action_id=str(action_id),
        value=value,
        number=int(event_number),
        alarm=alarm[0] if alarm else None,
    )


def latest_of(fields: Sequence[Any]) -> Latest:
    """Return the sample of [x, y, unit(, sigID, x_first, x_last)]."""
    x, y, unit = fields[:3]
    if len(fields) < 6:
        return Latest(number(x), number(y), unit or "")
    return Latest(number(x), number(y), unit or "", fields[3], number(fields[4]), number(fields[5]))


def signal_of(fields: Sequence[Any], told: Mapping[str, Any] | None = None) -> SignalData:
    """Return the samples of [x[], y[], unit, sigID, xMin, xMax]; told: their part of `decimated`."""
    x, y, unit, signal_id, x_min, x_max = fields
    x_range = number(x_min), number(x_max)
    return SignalData(floats(x), floats(y), unit or "", signal_id, *x_range, _decimated(told))


def sums_of(fields: Mapping[str, Any], told: Mapping[str, Any] | None = None) -> SignalSums:
    """Return the sums of {width, x: [], function: [], ..}; told: their part of `decimated`."""
    columns = {key: floats(column) for key, column in fields.items() if key not in ("width", "x")}
    return SignalSums(fields["width"], floats(fields["x"]), columns, _decimated(told))


def page_of(signals: Mapping[str, Any], pages: Mapping[str, Any]) -> SignalPage:
    """Return the page of an answer: its `signals`, as of `binary: true`, and `pages`, both of one signal."""
    ((x, y, unit, *_),) = signals.values()
    (cursor,) = pages.values()
    return SignalPage(_exact(x), _exact(y), unit or "", cursor["after"], bool(cursor["more"]))


def _decimated(told: Mapping[str, Any] | None) -> tuple[int, int] | None:
    return None if told is None else (told["points"], told["of"])


def _exact(packed: bytes | str) -> array[float]:
    """Return a column of `binary: true`: little-endian float64, in base64 where it came as JSON."""
    column = array("d", packed if isinstance(packed, bytes) else base64.b64decode(packed, validate=True))
    if sys.byteorder == "big":
        column.byteswap()
    return column


def action_of(fields: Mapping[str, Any]) -> ActionResult:
    """Return what a userAction answered, base64 undone; ValueError if it is none."""
    data: str | bytes = fields["data"]
    if fields["success"] and fields["type"] != "text":
        try:
            data = base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the data of {fields['name']} are no base64") from error
    return ActionResult(fields["name"], bool(fields["success"]), fields["type"], data)


def number(value: float | None) -> float:
    """Return a wire number; null, which stands for NaN and the infinities, as NaN."""
    return math.nan if value is None else float(value)


def floats(values: Sequence[float | None]) -> list[float]:
    """Return wire numbers, null as NaN."""
    return [number(value) for value in values]
