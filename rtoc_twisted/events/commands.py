"""The keys of events: event, eventLevel, getEventList, getEvent (protocol section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from twisted.internet.defer import inlineCallbacks
from zope.interface import implementer

from ..command import Command, command, tagged
from ..errors import BadValue, TooLarge
from ..interfaces import ICommandSource, IConnection, IEvents, IRecorder, IStorage
from ..model import Event, Permission, SignalName
from ..wire.answers import EVENTS_AT_ONCE, event_row
from ..wire.batch import DEFAULT_DEVICE, check_name, check_text
from ..wire.codec import check_value
from ..wire.request import lenient

_FIELDS = ("text", "sname", "dname", "x", "priority", "id", "value")
_DEFAULT_NAME = "noName"
_GREATEST = 2**53


@implementer(ICommandSource)
class EventCommands:
    """Raises events and lists them."""

    def __init__(
        self, storage: IStorage, events: IEvents, recorder: IRecorder, clock: Callable[[], float]
    ) -> None:
        self._storage = storage
        self._events = events
        self._recorder = recorder
        self._clock = clock

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)

    @command("event", lenient(dict[str, Any] | list[Any] | str), Permission.WRITE)
    def raise_event(self, connection: IConnection, given: Any) -> None:
        """Raise an event: {text, dname, sname, x, priority, id, value}, the list form, or its text."""
        connection.settle(self._recorder.raise_event(self._event(given)))

    def _event(self, given: Any) -> Event:
        fields: Mapping[str, Any]
        if isinstance(given, dict):
            fields = given
        elif isinstance(given, str):
            fields = {"text": given}
        elif isinstance(given, list):
            if len(given) > len(_FIELDS):
                raise BadValue(f"event[{len(_FIELDS)}]: expected at most [{', '.join(_FIELDS)}]")
            fields = dict(zip(_FIELDS, given, strict=False))
        else:
            raise BadValue("event: expected an object, a list or a text")
        priority = fields.get("priority")
        check_value(fields.get("value"), "event.value")
        return Event(
            name=SignalName(
                _text(fields, "dname", DEFAULT_DEVICE, strict=False),
                _text(fields, "sname", _DEFAULT_NAME, strict=False),
            ),
            text=_text(fields, "text", ""),
            x=self._x(fields.get("x")),
            priority=priority if isinstance(priority, int) and not isinstance(priority, bool) else 0,
            action_id=_text(fields, "id", ""),
            value=fields.get("value"),
        )

    def _x(self, x: Any) -> float:
        if x is None:
            return self._clock()
        try:
            if isinstance(x, (int, float, str)):
                return float(x)
        except (ValueError, OverflowError):
            pass
        raise BadValue(f"event.x: expected a number, got {str(x)[:40]!r}")

    @command("eventLevel", Literal[0, 1, 2], Permission.READ)
    def event_level(self, connection: IConnection, level: int) -> None:
        """Push only events of at least this priority to this connection."""
        connection.set_event_level(level)

    @command("getEventList", lenient(bool | int | dict[str, Any]), Permission.READ)
    @inlineCallbacks
    def event_list(self, connection: IConnection, wanted: Any) -> Any:
        """List the newest events by number, at most n, or a page: {limit, after}."""
        if isinstance(wanted, dict) and not wanted.keys().isdisjoint(("limit", "after")):
            limit = _whole(wanted, "limit", EVENTS_AT_ONCE, least=1)
            if limit > EVENTS_AT_ONCE:
                raise TooLarge(f"getEventList.limit: an answer may hold {EVENTS_AT_ONCE} events")
            after = _whole(wanted, "after", 0, least=0)
            events = yield self._events.query(None, limit + 1, after)
            page, more = events[:limit], len(events) > limit
            return {**_listed(page), "eventPage": {"after": page[-1].number if page else after, "more": more}}
        limit = wanted if isinstance(wanted, int) and not isinstance(wanted, bool) else EVENTS_AT_ONCE + 1
        if limit < 0:
            raise BadValue(f"getEventList: expected true or a number of events, got {limit}")
        return _bounded((yield self._events.query(None, min(limit, EVENTS_AT_ONCE + 1))), _listed)

    @command("getEvent", list[Any], Permission.READ)
    @inlineCallbacks
    def events_of(self, connection: IConnection, keys: list[Any]) -> Any:
        """List the events of signals, by sigKey; an unknown signal has none."""
        named = [key for key in keys if isinstance(key, str)]
        for key in named:
            # What is asked for comes back in the answer.
            check_text(key, "getEvent")
        signals = {key: self._storage.resolve(key) for key in named}
        known = [signal for signal in signals.values() if signal is not None]
        events = (yield self._events.query(known, EVENTS_AT_ONCE + 1)) if known else []

        def by_key(events: Sequence[Event]) -> dict[str, Any]:
            found: dict[SignalName, list[Any]] = {signal.name: [] for signal in known}
            for event in events:
                found[event.name].append(event_row(event))
            return {"events": {key: found[signal.name] if signal else [] for key, signal in signals.items()}}

        return _bounded(events, by_key)


def _listed(events: Sequence[Event]) -> dict[str, Any]:
    return {"events": {str(event.number): event_row(event) for event in events}}


def _bounded(events: Sequence[Event], tell: Callable[[Sequence[Event]], dict[str, Any]]) -> dict[str, Any]:
    """Return the answer with the newest of the events that it may hold, saying if these are not all."""
    if len(events) <= EVENTS_AT_ONCE:
        return tell(events)
    return {**tell(events[-EVENTS_AT_ONCE:]), "eventsLeftOut": True}


def _whole(request: Mapping[str, Any], key: str, default: int, least: int) -> int:
    value = request.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _GREATEST:
        raise BadValue(f"getEventList.{key}: expected a whole number of {least} or more")
    return value


def _text(fields: Mapping[str, Any], key: str, default: str, strict: bool = True) -> str:
    value = fields.get(key)
    if value is None or (not strict and not isinstance(value, str)):
        return default
    if not isinstance(value, str):
        raise BadValue(f"event.{key}: expected a text, got {str(value)[:40]}")
    if key == "text":
        check_text(value, "event.text")
    else:
        check_name(value, f"event.{key}")
    return value
