"""The keys of samples: y, getSignalList, getLatest, getSignal, getSession, remove (protocol section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from zope.interface import implementer

from ..command import Command, command, tagged
from ..errors import BadValue, NotAvailable, TooLarge
from ..interfaces import ICommandSource, IConnection, IEvents, IRecorder, IStorage
from ..model import HIDDEN_DEVICE, Columns, Event, Permission, Plot, Samples, Signal, SignalName, Window
from ..wire.answers import session_event, session_signal
from ..wire.batch import DATA_KEYS, DEFAULT_DEVICE, BatchDecoder
from ..wire.codec import Column
from ..wire.request import lenient

_TEXT_EVENT = SignalName(DEFAULT_DEVICE, "noName")
_ACKS = ("received", "stored", "durable", "none")
_COMPANIONS = {key: kind for key, kind in DATA_KEYS.items() if key != "y"}


@implementer(ICommandSource)
class StorageCommands:
    """Records and reads samples.

    record_length: how many of a signal's newest samples are at hand, as RTOC means it; reads that do
    not ask for the database see these alone. max_points: more than so many in one answer are refused.
    """

    def __init__(
        self,
        storage: IStorage,
        events: IEvents,
        recorder: IRecorder,
        batches: BatchDecoder,
        *,
        clock: Callable[[], float],
        record_length: Callable[[], int],
        max_points: int = 5_000_000,
    ) -> None:
        self._storage = storage
        self._events = events
        self._recorder = recorder
        self._batches = batches
        self._clock = clock
        self._record_length = record_length
        self._max_points = max_points

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)

    @command("y", DATA_KEYS["y"], Permission.WRITE, _COMPANIONS)
    def record(self, connection: IConnection, data: Mapping[str, Any]) -> dict[str, Any]:
        """Record values: one for each signal, or a whole signal with `plot`; a text becomes an event."""
        ack = self._ack(data.get("ack", "stored"))
        found = self._batches.decode(data)
        if isinstance(found, Samples):
            commit = self._recorder.append(found)
        elif isinstance(found, Plot):
            commit = self._recorder.draw(found)
        else:
            commit = self._recorder.raise_event(Event(_TEXT_EVENT, found, self._clock()))
        commit.durable |= ack == "durable"
        connection.settle(commit, ack)
        return {"sent": True}

    def _ack(self, wanted: Any) -> str:
        """Return when the sender of data wants to hear of it; raises BadValue, NotAvailable."""
        if wanted not in _ACKS:
            raise BadValue(f"ack: expected one of {', '.join(_ACKS)}, got {str(wanted)[:40]!r}")
        if wanted == "durable" and self._storage.durability == "none":
            raise NotAvailable("ack: this server keeps its data in memory, which nothing makes durable")
        return str(wanted)

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
            signals = self._resolve(wanted)
        latest = {}
        for key, signal in signals.items():
            summary = self._storage.summary(signal.id)
            if summary is not None:
                x_range = [summary.first_x, summary.last_x]
                latest[key] = [summary.last_x, summary.last_y, signal.unit, signal.id, *x_range]
        return {"latest": latest}

    def _resolve(self, keys: Any) -> dict[str, Signal]:
        """Return the signals of those sigKeys in a list that exist."""
        named = [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
        found = ((key, self._storage.resolve(key)) for key in named)
        return {key: signal for key, signal in found if signal is not None}

    @command("getSignal", lenient(str | list[str | dict[str, Any]] | dict[str, Any]), Permission.READ)
    def signals(self, connection: IConnection, wanted: Any) -> Deferred[dict[str, Any]] | dict[str, Any]:
        """Answer samples: of sigKeys, of {dname, sname, xmin, xmax, maxN, database}, or of "all"."""
        if isinstance(wanted, dict) and not {"dname", "sname"} <= wanted.keys():
            return {"signals": False}
        at_hand = Window(newest=self._record_length())
        requests: list[tuple[str, Signal, Window]] = []
        if wanted == "all":
            requests = [(signal.name.key, signal, at_hand) for signal in self._listed()]
        elif isinstance(wanted, (dict, list)):
            for element in [wanted] if isinstance(wanted, dict) else wanted:
                if isinstance(element, dict):
                    requests += self._windowed(element)
                else:
                    requests += [(key, found, at_hand) for key, found in self._resolve([element]).items()]
        return self._read(requests)

    def _windowed(self, request: Mapping[str, Any]) -> list[tuple[str, Signal, Window]]:
        """Return what one dict of getSignal asks for; nothing if the signal is unknown."""
        device, name = request.get("dname"), request.get("sname")
        max_points = _number(request, "maxN")
        if max_points is not None and not max_points >= 1:
            raise BadValue(f"getSignal.maxN: expected 1 or more, got {max_points}")
        window = Window(
            x_min=_number(request, "xmin"),
            x_max=_number(request, "xmax"),
            max_points=None if max_points is None else int(min(max_points, self._max_points + 1)),
            newest=self._record_length() if request.get("database") is False else None,
        )
        if not isinstance(device, str) or not isinstance(name, str):
            return []
        signal = self._storage.find(SignalName(device, name))
        return [] if signal is None else [(signal.name.key, signal, window)]

    @inlineCallbacks
    def _read(self, requests: Sequence[tuple[str, Signal, Window]]) -> Any:
        least = sum(self._at_least(signal, window) for _, signal, window in requests)
        if least > self._max_points:
            raise TooLarge(
                f"getSignal: {least} samples are more than an answer may hold ({self._max_points}): "
                "ask for a window (xmin, xmax), for fewer points (maxN), or for an export"
            )
        read = yield self._storage.read([(signal.id, window) for _, signal, window in requests])
        pairs = zip(requests, read, strict=True)
        return {"signals": {key: _signal_answer(signal, columns) for (key, signal, _), columns in pairs}}

    def _at_least(self, signal: Signal, window: Window) -> int:
        """Return how many samples a read answers, as far as that is known without reading."""
        summary = self._storage.summary(signal.id)
        if summary is None or window.x_min is not None or window.x_max is not None:
            return 0
        return min([summary.count, *(n for n in (window.newest, window.max_points) if n is not None)])

    @command("getSession", Any, Permission.READ)
    @inlineCallbacks
    def session(self, connection: IConnection, _: Any) -> Any:
        """Answer everything at hand: devices, signals with their samples, events."""
        length = self._record_length()
        signals = self._listed()
        requests = [(signal.name.key, signal, Window(newest=length)) for signal in signals]
        if sum(self._at_least(signal, window) for _, signal, window in requests) > self._max_points:
            raise TooLarge(
                f"getSession: more than {self._max_points} samples are at hand: use getSignal or an export"
            )
        columns = yield self._storage.read([(signal.id, window) for _, signal, window in requests])
        events = yield self._events.query(None, None)
        by_name = {signal.name: signal for signal in self._storage.signals()}
        session = {
            "maxLength": length,
            "signals": {
                signal.id: session_signal(signal, part) for signal, part in zip(signals, columns, strict=True)
            },
            "events": {
                event.number: session_event(by_name[event.name], event)
                for event in events
                if event.name in by_name
            },
            "devices": {signal.device_id: signal.name.device for signal in by_name.values()},
        }
        return {"session": session, "getSession": session}

    @command("remove", lenient(list[Any]), Permission.CONTROL)
    @inlineCallbacks
    def remove(self, connection: IConnection, wanted: Any) -> Any:
        """Remove signals, devices or events; answers [number of signals, number of events]."""
        if isinstance(wanted, dict):
            return {"remove": [0, 0]}
        signals, numbers = self._to_remove(wanted)
        removed_signals = removed_events = 0
        if signals:
            removed_signals, removed_events = yield self._recorder.remove(signals)
        if numbers:
            removed_events += yield self._events.remove(numbers)
        return {"remove": [removed_signals, removed_events]}

    def _to_remove(self, wanted: Any) -> tuple[list[Signal], list[int]]:
        if not isinstance(wanted, list):
            raise BadValue('remove: expected a list such as ["signal", "DEVICE.SIGNAL"]')
        if not wanted:
            return [], []
        if isinstance(wanted[0], list):
            if len(wanted) > 2:
                raise BadValue("remove[2]: expected [signal numbers, event numbers]")
            by_number = [self._storage.get(number) for number in _numbers(wanted[0], "remove[0]")]
            return [s for s in by_number if s is not None], _numbers(wanted[1:] and wanted[1], "remove[1]")
        if wanted[0] not in ("signal", "device", "event"):
            return list(self._resolve(wanted).values()), []
        if len(wanted) != 2:
            raise BadValue(f"remove: expected two elements, [{wanted[0]!r}, which]")
        which = wanted[1] if isinstance(wanted[1], list) else [wanted[1]]
        if wanted[0] == "event":
            return [], _numbers(which, "remove[1]")
        if wanted[0] == "signal":
            return list(self._resolve(which).values()), []
        return [signal for signal in self._storage.signals() if signal.name.device in which], []


def _signal_answer(signal: Signal, columns: Columns) -> list[Any]:
    return [Column(columns.x), Column(columns.y), signal.unit, signal.id, columns.x_min, columns.x_max]


def _number(request: Mapping[str, Any], key: str) -> float | None:
    value = request.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise BadValue(f"getSignal.{key}: expected a number, got {str(value)[:40]!r}")
    try:
        return None if value is None else float(value)
    except OverflowError:
        raise BadValue(f"getSignal.{key}: the number is out of range") from None


def _numbers(values: Any, path: str) -> list[int]:
    if not isinstance(values, list):
        raise BadValue(f"{path}: expected a list of numbers")
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadValue(f"{path}[{index}]: expected a number, got {str(value)[:40]!r}")
    return values
