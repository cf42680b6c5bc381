"""The keys that read samples: getSignalList, getLatest, getSignal, getSession (protocol section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from zope.interface import implementer

from ..command import Command, command, tagged
from ..errors import Damaged, RTOCError, TooLarge
from ..interfaces import ICommandSource, IConnection, IEvents, IStorage
from ..model import HIDDEN_DEVICE, Columns, FloatColumn, Permission, Signal, SignalName, Sums, Window
from ..wire.answer import Partly
from ..wire.answers import EVENTS_AT_ONCE, session_event, session_signal
from ..wire.codec import Column, CountColumn, ExactColumn
from ..wire.request import lenient
from .windows import FUNCTIONS, Wanted, cursor_text, wanted_of


@dataclass(frozen=True, slots=True)
class _Request:
    """What is wanted of a signal; None: of one that does not exist."""

    signal: Signal | None
    wanted: Wanted


class _Answered:
    """The answer to getSignal while it grows."""

    def __init__(self, requests: Sequence[_Request]) -> None:
        summed = [request.wanted.buckets is not None for request in requests]
        self._values: dict[str, dict[str, Any]] = {}
        if any(summed):
            self._values["aggregates"] = {}
        if not all(summed) or not summed:
            self._values["signals"] = {}
        self._errors: list[RTOCError] = []

    def add_samples(self, signal: Signal, wanted: Wanted, columns: Columns) -> None:
        """Take what was read of a signal."""
        key = signal.name.key
        if columns.error is not None and not self._is_partly(columns.error, "after", key):
            return
        x, y = _told(wanted, columns.x), _told(wanted, columns.y)
        self._put("signals", key, [x, y, signal.unit, signal.id, columns.x_min, columns.x_max])
        self._put_decimated(key, len(columns.x), columns.left_out)
        if columns.cursor is not None:
            self._put("pages", key, {"after": cursor_text(columns.cursor), "more": columns.more})

    def add_sums(self, signal: Signal, wanted: Wanted, sums: Sums) -> None:
        """Take the sums of a signal."""
        key = signal.name.key
        if sums.error is not None and not self._is_partly(sums.error, "aggregate.width", key):
            return
        columns = {name: _told(wanted, getattr(sums, FUNCTIONS[name]), name) for name in wanted.functions}
        width = None if wanted.buckets is None else wanted.buckets.width
        self._put("aggregates", key, {"width": width, "x": _told(wanted, sums.start), **columns})
        self._put_decimated(key, int(sums.count.sum()), sums.left_out)

    def _put_decimated(self, key: str, points: int, left_out: int) -> None:
        if left_out:
            self._put("decimated", key, {"points": points, "of": points + left_out})

    def _is_partly(self, error: RTOCError, path: str, key: str) -> bool:
        """Take note of an error; return whether there is something to answer all the same."""
        partly = isinstance(error, Damaged)
        self._errors.append(_named(error, "getSignal" if partly else f"getSignal.{path}", key))
        return partly

    def _put(self, topic: str, key: str, value: Any) -> None:
        self._values.setdefault(topic, {})[key] = value

    def result(self) -> Partly:
        """Return the answer."""
        return Partly(self._values, self._errors)


def _told(wanted: Wanted, values: FloatColumn, function: str = "") -> Column:
    if wanted.exact:
        return ExactColumn(values)
    return CountColumn(values) if function == "count" else Column(values)


def _named(error: RTOCError, where: str, key: str) -> RTOCError:
    """Return an error of the store with the place in the request and the signal in front."""
    return type(error)(f"{where}: {key}: {error.message}")


@implementer(ICommandSource)
class ReadingCommands:
    """Reads samples.

    record_length: how many of a signal's newest samples are at hand, as RTOC means it; reads that do
    not ask for the database see these alone. max_points: more than so many in one answer are refused.
    """

    def __init__(
        self,
        storage: IStorage,
        events: IEvents,
        *,
        record_length: Callable[[], int],
        max_points: int = 5_000_000,
    ) -> None:
        self._storage = storage
        self._events = events
        self._record_length = record_length
        self._max_points = max_points

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)

    def _listed(self) -> list[Signal]:
        return [signal for signal in self._storage.signals() if signal.name != (HIDDEN_DEVICE, "")]

    @command("getSignalList", Any, Permission.READ)
    def signal_list(self, connection: IConnection, _: Any) -> dict[str, Any]:
        """List all signals as [device, name], in the order of their creation."""
        return {"signalList": [list(signal.name) for signal in self._listed()]}

    @command("getLatest", lenient(bool | list[str]), Permission.READ)
    def latest(self, connection: IConnection, wanted: Any) -> dict[str, Any]:
        """Answer the newest value of all signals, or of those that are named."""
        if wanted is True:
            signals = {signal.name.key: signal for signal in self._listed()}
        else:
            signals = resolved(self._storage, wanted)
        latest = {}
        for key, signal in signals.items():
            summary = self._storage.summary(signal.id)
            if summary is not None:
                x_range = [summary.first_x, summary.last_x]
                latest[key] = [summary.last_x, summary.last_y, signal.unit, signal.id, *x_range]
        return {"latest": latest}

    @command("getSignal", lenient(str | list[str | dict[str, Any]] | dict[str, Any]), Permission.READ)
    def signals(self, connection: IConnection, wanted: Any) -> Deferred[Partly] | dict[str, Any]:
        """Answer samples, or sums of them: of sigKeys, of {dname, sname, xmin, xmax, ...}, or of "all"."""
        if isinstance(wanted, dict) and not {"dname", "sname"} <= wanted.keys():
            return {"signals": False}
        at_hand = Wanted(Window(newest=self._record_length(), partly=True))
        requests: list[_Request] = []
        if wanted == "all":
            requests = [_Request(signal, at_hand) for signal in self._listed()]
        elif isinstance(wanted, (dict, list)):
            for element in [wanted] if isinstance(wanted, dict) else wanted:
                if isinstance(element, dict):
                    requests.append(self._windowed(element))
                else:
                    found = resolved(self._storage, [element]).values()
                    requests += [_Request(signal, at_hand) for signal in found]
        return self._read(requests)

    def _windowed(self, request: Mapping[str, Any]) -> _Request:
        """Return what one dict of getSignal asks for."""
        wanted = wanted_of(request, self._record_length(), self._max_points)
        device, name = request.get("dname"), request.get("sname")
        if not isinstance(device, str) or not isinstance(name, str):
            return _Request(None, wanted)
        return _Request(self._storage.find(SignalName(device, name)), wanted)

    @inlineCallbacks
    def _read(self, requests: Sequence[_Request]) -> Any:
        known = [(request.signal, request.wanted) for request in requests if request.signal is not None]
        samples = [(signal, wanted) for signal, wanted in known if wanted.buckets is None]
        sums = [(signal, wanted, wanted.buckets) for signal, wanted in known if wanted.buckets is not None]
        if sum(self._at_least(signal, wanted.window) for signal, wanted in samples) > self._max_points:
            raise self._too_large()
        answered = _Answered(requests)
        windows = [(signal.id, wanted.window) for signal, wanted in samples]
        try:
            read = yield self._storage.read(windows, self._max_points)
        except TooLarge:
            raise self._too_large() from None
        for (signal, wanted), columns in zip(samples, read, strict=True):
            answered.add_samples(signal, wanted, columns)
        if sums:
            read = yield self._storage.aggregate(
                [(signal.id, wanted.window, buckets) for signal, wanted, buckets in sums]
            )
            for (signal, wanted, _), summed in zip(sums, read, strict=True):
                answered.add_sums(signal, wanted, summed)
        return answered.result()

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"getSignal: there are more samples than an answer may hold ({self._max_points}): ask for a "
            "smaller window (xmin, xmax), fewer points (maxN), pages (limit), or sums (aggregate)"
        )

    def _at_least(self, signal: Signal, window: Window) -> int:
        """Return how many samples a read answers, as far as that is known without reading."""
        summary = self._storage.summary(signal.id)
        if summary is None or window.x_min is not None or window.x_max is not None:
            return 0
        if window.page is not None:
            after = 0 if window.page.after is None else window.page.after.ordinal
            return max(0, min(summary.count - after, window.page.limit))
        return min([summary.count, *(n for n in (window.newest, window.max_points) if n is not None)])

    @command("getSession", Any, Permission.READ)
    @inlineCallbacks
    def session(self, connection: IConnection, _: Any) -> Any:
        """Answer everything at hand: devices, signals with their samples, events."""
        length = self._record_length()
        signals = self._listed()
        at_hand = Window(newest=length, partly=True)
        if sum(self._at_least(signal, at_hand) for signal in signals) > self._max_points:
            raise TooLarge(
                f"getSession: more than {self._max_points} samples are at hand: use getSignal or an export"
            )
        columns = yield self._storage.read([(signal.id, at_hand) for signal in signals])
        events = yield self._events.query(None, EVENTS_AT_ONCE + 1)
        by_name = {signal.name: signal for signal in self._storage.signals()}
        session = {
            "maxLength": length,
            "signals": {
                signal.id: session_signal(signal, part) for signal, part in zip(signals, columns, strict=True)
            },
            "events": {
                event.number: session_event(by_name[event.name], event)
                for event in events[-EVENTS_AT_ONCE:]
                if event.name in by_name
            },
            "devices": {signal.device_id: signal.name.device for signal in by_name.values()},
        }
        errors = [
            _named(part.error, "getSession", signal.name.key)
            for signal, part in zip(signals, columns, strict=True)
            if part.error is not None
        ]
        left_out = {"eventsLeftOut": True} if len(events) > EVENTS_AT_ONCE else {}
        return Partly({"session": session, "getSession": session, **left_out}, errors)


def resolved(storage: IStorage, keys: Any) -> dict[str, Signal]:
    """Return the signals of those sigKeys in a list that exist."""
    named = [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
    found = ((key, storage.resolve(key)) for key in named)
    return {key: signal for key, signal in found if signal is not None}
