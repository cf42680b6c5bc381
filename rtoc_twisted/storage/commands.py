"""The keys that change samples: y, remove (protocol section 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import inlineCallbacks
from zope.interface import implementer

from ..command import Command, command, tagged
from ..errors import BadValue, NotAvailable
from ..interfaces import ICommandSource, IConnection, IEvents, IRecorder, IStorage
from ..model import Event, Permission, Plot, Samples, Signal, SignalName
from ..wire.answers import batch_told
from ..wire.batch import DATA_KEYS, DEFAULT_DEVICE, Batch, BatchDecoder
from ..wire.request import lenient
from .reading import resolved

_TEXT_EVENT = SignalName(DEFAULT_DEVICE, "noName")
_ACKS = ("received", "stored", "durable", "none")
_COMPANIONS = {key: kind for key, kind in DATA_KEYS.items() if key != "y"}


@implementer(ICommandSource)
class StorageCommands:
    """Records and removes samples. clock: tells the seconds since the epoch."""

    def __init__(
        self,
        storage: IStorage,
        events: IEvents,
        recorder: IRecorder,
        batches: BatchDecoder,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._events = events
        self._recorder = recorder
        self._batches = batches
        self._clock = clock

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)

    @command("y", DATA_KEYS["y"], Permission.WRITE, _COMPANIONS)
    def record(self, connection: IConnection, data: Mapping[str, Any]) -> dict[str, Any]:
        """Record values: one for each signal, or a whole signal with `plot`; a text becomes an event."""
        ack = self._ack(data.get("ack", "stored"))
        durable = ack == "durable"
        found: Samples | Plot | Event | str = self._batches.decode(data)
        if isinstance(found, str):
            found = Event(_TEXT_EVENT, found, self._clock())
        batch: Batch | None = data.get("batch")
        told: dict[str, Any] = {"sent": True}
        if batch is None:
            commit = self._recorder.record(found)
        else:
            commit, duplicate = self._recorder.once(batch.source, batch.seq, found, durable)
            told["batch"] = batch_told(batch.source, batch.seq, found, duplicate)
        commit.durable |= durable
        connection.settle(commit, ack)
        return told

    def _ack(self, wanted: Any) -> str:
        """Return when the sender of data wants to hear of it; raises BadValue, NotAvailable."""
        if wanted not in _ACKS:
            raise BadValue(f"ack: expected one of {', '.join(_ACKS)}, got {str(wanted)[:40]!r}")
        if wanted == "durable" and self._storage.durability == "none":
            raise NotAvailable("ack: this server keeps its data in memory, which nothing makes durable")
        return str(wanted)

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
            return list(resolved(self._storage, wanted).values()), []
        if len(wanted) != 2:
            raise BadValue(f"remove: expected two elements, [{wanted[0]!r}, which]")
        which = wanted[1] if isinstance(wanted[1], list) else [wanted[1]]
        if wanted[0] == "event":
            return [], _numbers(which, "remove[1]")
        if wanted[0] == "signal":
            return list(resolved(self._storage, which).values()), []
        return [signal for signal in self._storage.signals() if signal.name.device in which], []


def _numbers(values: Any, path: str) -> list[int]:
    if not isinstance(values, list):
        raise BadValue(f"{path}: expected a list of numbers")
    for index, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int):
            raise BadValue(f"{path}[{index}]: expected a number, got {str(value)[:40]!r}")
    return values
