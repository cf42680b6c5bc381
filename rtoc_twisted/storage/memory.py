"""IStorage in memory: the reference for what the interface means, and the store of tests and demos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from twisted.internet.defer import Deferred, execute, fail, succeed
from zope.interface import implementer

from ..errors import BadValue, NotAvailable
from ..interfaces import IStorage
from ..model import (
    Buckets,
    Columns,
    Event,
    FloatColumn,
    Hold,
    Signal,
    SignalName,
    SignalSummary,
    Sums,
    Window,
)
from .aggregate import partials
from .catalog import split, summarize
from .commit import Commit, stored
from .known import Known
from .notes import Texts, read_note, read_notes, write_event, write_notes
from .select import EMPTY, Run, bounds, check_room, fresh, new_epoch, told, view
from .sums import sum_up

Added = Callable[[FloatColumn, FloatColumn], None]


@implementer(IStorage)
class MemoryStorage(Known):
    """Keeps everything until the process ends; every commit is done when it is returned."""

    congested = False
    durability = "none"

    def __init__(self, max_signals: int = 100_000) -> None:
        super().__init__(max_signals)
        self._runs: dict[int, list[tuple[FloatColumn, FloatColumn]]] = {}
        self._epochs: dict[int, int] = {}
        self._events: dict[int, tuple[int, Event]] = {}
        self._notes: dict[int, Texts] = {}
        self._last_event = 0
        self._values = 0

    def add_signals(self, names: Sequence[SignalName]) -> Sequence[Signal]:
        """Create signals, all of them or none."""
        signals = self._catalog.add(names)[0]
        self._epochs.update((signal.id, new_epoch()) for signal in signals)
        return signals

    def set_unit(self, signal_id: int, unit: str) -> None:
        """Change a signal's unit."""
        self._catalog.set_unit(signal_id, unit)

    def summary(self, signal_id: int) -> SignalSummary | None:
        """Return what is known of a signal's samples, None while it has none."""
        return self._catalog.summary(signal_id)

    def append(self, ids: Sequence[int], x: Sequence[float], y: Sequence[float]) -> Commit:
        """Take values; they are stored when this returns."""
        columns = (np.array(ids, np.uint32), np.array(x, np.float64), np.array(y, np.float64))
        if len({len(column) for column in columns}) > 1:
            raise ValueError("these are no columns: they differ in length")
        for number, part_x, part_y in split(*columns):
            if number in self._catalog.by_id:
                self._runs.setdefault(number, []).append((part_x, part_y))
        self._values += len(columns[0])
        self._catalog.count(*columns)
        return stored()

    def _samples(self, number: int) -> tuple[FloatColumn, FloatColumn]:
        runs = self._runs.get(number)
        if not runs:
            return EMPTY, EMPTY
        if len(runs) > 1:
            x, y = (np.concatenate(columns) for columns in zip(*runs, strict=True))
            runs[:] = [(x, y)]
        return runs[0]

    def replace(self, signal_id: int, x: FloatColumn, y: FloatColumn) -> Commit:
        """Take a signal's samples instead of those that it has."""
        self._runs[signal_id] = [(x.copy(), y.copy())]
        self._epochs[signal_id] = new_epoch()
        self._values += len(x)
        self._catalog.set_summary(signal_id, summarize(x, y) if len(x) else None)
        return stored()

    def merge(self, signal_id: int, x: FloatColumn, y: FloatColumn, hold: Hold, added: Added) -> Commit:
        """Append the pairs that are new by `hold`."""
        new_x, new_y = fresh(x, y, *self._samples(signal_id), hold)
        commit = self.append([signal_id] * len(new_x), new_x.tolist(), new_y.tolist())
        added(new_x, new_y)
        return commit

    def read(
        self, requests: Sequence[tuple[int, Window]], limit: int | None = None
    ) -> Deferred[list[Columns]]:
        """Fire with the samples of each request."""
        return execute(self._read_all, requests, limit)

    def _read_all(self, requests: Sequence[tuple[int, Window]], limit: int | None) -> list[Columns]:
        found = [self._read_one(*request) for request in requests]
        check_room(sum(len(columns.x) for columns in found), limit)
        return found

    def _read_one(self, signal_id: int, window: Window) -> Columns:
        run, epoch = self._run(signal_id), self._epochs.get(signal_id)
        if epoch is None:
            return Columns(EMPTY, EMPTY, *bounds(EMPTY))
        try:
            return view([run], window, *bounds(run.x), epoch)
        except BadValue as problem:
            return told(Columns(EMPTY, EMPTY, *bounds(run.x), error=problem), window)

    def aggregate(self, requests: Sequence[tuple[int, Window, Buckets]]) -> Deferred[list[Sums]]:
        """Fire with the sums of each request."""
        return execute(lambda: [self._sum_up(*request) for request in requests])

    def _sum_up(self, signal_id: int, window: Window, buckets: Buckets) -> Sums:
        run = self._run(signal_id).within(window)
        return told(sum_up([partials(run.x, run.y, buckets.width, buckets.origin)], buckets), window)

    def _run(self, signal_id: int) -> Run:
        x, y = self._samples(signal_id)
        return Run(x, y, len(x))

    def remove_signals(self, ids: Iterable[int]) -> Deferred[tuple[int, int]]:
        """Remove signals with their samples and events; fires with the counts."""
        gone = {signal.id for signal in self._catalog.remove(ids)[0]}
        for number in gone:
            self._runs.pop(number, None)
            del self._epochs[number]
        events = [number for number, (signal_id, _) in self._events.items() if signal_id in gone]
        for number in events:
            del self._events[number], self._notes[number]
        return succeed((len(gone), len(events)))

    def clear(self) -> Deferred[None]:
        """Remove everything recorded and start all numbers again."""
        self._catalog.clear()
        self._runs.clear()
        self._epochs.clear()
        self._events.clear()
        self._notes.clear()
        self._last_event = 0
        return succeed(None)

    def add_batch(self, source: str, seq: int) -> Commit:
        """Take note of a batch."""
        commit = stored()
        self._sources.add(source, seq, commit)
        self._sources.settle()
        # There is no disk to bring them to.
        self._sources.changes()
        return commit

    def add_event(self, signal_id: int, event: Event) -> tuple[Event, Commit]:
        """Keep an event; return it with its number."""
        kept, _, notes = write_event(event, self._last_event + 1)
        self._last_event = kept.number
        self._events[kept.number] = (signal_id, kept)
        self._notes[kept.number] = notes
        return kept, stored()

    def note_event(self, number: int, notes: Mapping[str, Any]) -> Commit:
        """Keep JSON values beside an event; None removes one."""
        texts = write_notes(notes)
        if number in self._notes:
            self._notes[number] = {**self._notes[number], **texts}
        return stored()

    def event_notes(self, number: int) -> Deferred[Mapping[str, Any] | None]:
        """Fire with what is kept beside an event, None where there is no such event."""
        texts = self._notes.get(number)
        return succeed(None if texts is None else read_notes(texts))

    def events(
        self, ids: Sequence[int] | None = None, limit: int | None = None, after: int | None = None
    ) -> Deferred[list[Event]]:
        """Fire with the newest events, or the oldest after a number; oldest first."""
        wanted = None if ids is None else set(ids)
        found = [
            replace(event, alarm=read_note(self._notes[event.number]["alarm"]), cause=None)
            for number, event in self._events.values()
            if wanted is None or number in wanted
        ]
        if after is not None:
            return succeed([event for event in found if event.number > after][:limit])
        return succeed(found if limit is None else found[max(0, len(found) - limit) :])

    def remove_events(self, numbers: Sequence[int] | None) -> Deferred[int]:
        """Remove events, None for all; fires with the count."""
        if numbers is None:
            count = len(self._events)
            self._events.clear()
            self._notes.clear()
            self._last_event = 0
            return succeed(count)
        gone = self._events.keys() & set(numbers)
        for number in gone:
            del self._events[number], self._notes[number]
        return succeed(len(gone))

    def put_document(self, key: str, value: Any) -> Commit:
        """Keep a value under that key; None removes it."""
        self._take_document(key, value)
        return stored()

    def flush(self) -> Deferred[None]:
        """Fire at once: everything is as safe as it will be."""
        return succeed(None)

    def copy_to(self, path: Path) -> Deferred[None]:
        """Fail: there is no file."""
        return fail(NotAvailable("this server keeps everything in memory: there is no file to copy"))

    def close(self) -> Deferred[None]:
        """Fire at once."""
        return succeed(None)

    def counters(self) -> Mapping[str, float]:
        """Return figures for people and monitors."""
        return {
            "values_taken": self._values,
            "commits": 0,
            "values_waiting": 0,
            "bytes_on_disk": 0,
            "sources_forgotten": self._sources.forgotten,
        }
