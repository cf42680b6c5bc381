"""The catalog: which devices and signals exist, and what is known of them without reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TooLarge
from ..model import FloatColumn, Signal, SignalName, SignalSummary
from ..wire.batch import MAX_NAME

IdColumn = NDArray[np.uint32]

SETTLE_AT = 65_536
"""Values that may wait to be summed up before somebody asks for a summary."""

_LONGEST_KEY = 2 * MAX_NAME + 1
_SMALL = 1 << 16
_LOOK_AHEAD = 4096
_NAN = float("nan")


class Gap:
    """The place, among a signal's samples, of those that a merge will turn out to have added."""

    __slots__ = ("older",)

    def __init__(self, older: SignalSummary | None) -> None:
        self.older = older


class Catalog:
    """Devices and signals by name and number, in memory.

    max_signals: how many there may be. Numbers start at 1 and are not used again until `clear`.
    """

    def __init__(self, max_signals: int) -> None:
        self._max_signals = max_signals
        self.generation = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything and start the numbers again."""
        self.by_id: dict[int, Signal] = {}
        self.by_name: dict[SignalName, Signal] = {}
        self.devices: dict[str, int] = {}
        self._last_signal = 0
        self._last_device = 0
        # A signal's summary is that of its gaps' older samples, in order, and the one here.
        self._summaries: dict[int, SignalSummary | None] = {}
        self._gaps: dict[int, list[Gap]] = {}
        self._unsettled: list[tuple[IdColumn, FloatColumn, FloatColumn]] = []
        self._unsettled_values = 0
        self.generation += 1

    def load(
        self,
        devices: Iterable[tuple[int, str]],
        signals: Iterable[tuple[Signal, SignalSummary | None]],
        last_device: int,
        last_signal: int,
    ) -> None:
        """Take what a store had kept; signals in the order of their creation."""
        self.devices = {name: number for number, name in devices}
        for signal, summary in signals:
            self._enter(signal)
            self._summaries[signal.id] = summary
        self._last_device, self._last_signal = last_device, last_signal

    def add(self, names: Sequence[SignalName]) -> tuple[list[Signal], list[str]]:
        """Create signals; return them and the names of the devices that are new with them."""
        if len(self.by_id) + len(names) > self._max_signals:
            raise TooLarge(f"sname: the limit of {self._max_signals} signals is reached")
        created, devices = [], []
        for name in names:
            if name.device not in self.devices:
                self._last_device += 1
                self.devices[name.device] = self._last_device
                devices.append(name.device)
            self._last_signal += 1
            signal = Signal(self._last_signal, self.devices[name.device], name)
            self._enter(signal)
            created.append(signal)
        self.generation += 1
        return created, devices

    def _enter(self, signal: Signal) -> None:
        self.by_id[signal.id] = signal
        self.by_name[signal.name] = signal

    def resolve(self, key: str) -> Signal | None:
        """Return the signal of a sigKey; the longest device name that makes it a signal wins."""
        if len(key) > _LONGEST_KEY:
            # Each dot of it costs the length of the key.
            return None
        dot = key.rfind(".")
        while dot >= 0:
            signal = self.by_name.get(SignalName(key[:dot], key[dot + 1 :]))
            if signal is not None:
                return signal
            dot = key.rfind(".", 0, dot)
        return None

    def set_unit(self, signal_id: int, unit: str) -> None:
        """Change a signal's unit."""
        self._enter(replace(self.by_id[signal_id], unit=unit))
        self.generation += 1

    def remove(self, ids: Iterable[int]) -> tuple[list[Signal], list[str]]:
        """Forget signals, unknown ones left out; return them and the devices that went with them."""
        self.settle()
        gone = [self.by_id.pop(number) for number in dict.fromkeys(ids) if number in self.by_id]
        for signal in gone:
            del self.by_name[signal.name]
            self._summaries.pop(signal.id, None)
            self._gaps.pop(signal.id, None)
        alive = {name.device for name in self.by_name}
        empty = [name for name in {signal.name.device: None for signal in gone} if name not in alive]
        for name in empty:
            del self.devices[name]
        self.generation += 1
        return gone, empty

    def count(self, ids: IdColumn, x: FloatColumn, y: FloatColumn) -> None:
        """Take note of values appended; they are summed up when somebody asks."""
        self._unsettled.append((ids, x, y))
        self._unsettled_values += len(ids)
        if self._unsettled_values >= SETTLE_AT:
            self.settle()

    def summary(self, signal_id: int) -> SignalSummary | None:
        """Return what is known of a signal's samples, None while it has none."""
        self.settle()
        older = [gap.older for gap in self._gaps.get(signal_id, ())]
        return reduce(join, [*older, self._summaries.get(signal_id)])

    def set_summary(self, signal_id: int, summary: SignalSummary | None) -> None:
        """Replace what is known of a signal, whatever was counted before."""
        self.settle()
        if signal_id in self.by_id:
            self._gaps.pop(signal_id, None)
            self._summaries[signal_id] = summary

    def leave_gap(self, signal_id: int) -> Gap:
        """Keep a place, after what was counted so far, for samples that are not known yet."""
        self.settle()
        gap = Gap(self._summaries.pop(signal_id, None))
        if signal_id in self.by_id:
            self._gaps.setdefault(signal_id, []).append(gap)
        return gap

    def fill_gap(self, signal_id: int, gap: Gap, x: FloatColumn, y: FloatColumn) -> None:
        """Count the samples of a gap; gaps are filled in their order.

        Does nothing if the signal was replaced or removed: the samples are gone again.
        """
        self.settle()
        gaps = self._gaps.get(signal_id, [])
        if gap not in gaps:
            return
        gaps.remove(gap)
        older = join(gap.older, summarize(x, y) if len(x) else None)
        if gaps:
            gaps[0].older = join(older, gaps[0].older)
        else:
            del self._gaps[signal_id]
            self._summaries[signal_id] = join(older, self._summaries.get(signal_id))

    def replace_gap(self, signal_id: int, gap: Gap, older: SignalSummary | None) -> None:
        """Let a gap, and all that was counted before it, turn out to be those samples.

        Gaps are filled in their order. Does nothing if the signal was replaced or removed.
        """
        if gap in self._gaps.get(signal_id, []):
            gap.older = older
            self.fill_gap(signal_id, gap, np.empty(0), np.empty(0))

    def settle(self) -> None:
        """Sum up what was counted."""
        if not self._unsettled:
            return
        groups, self._unsettled, self._unsettled_values = self._unsettled, [], 0
        ids, x, y = (np.concatenate(columns) for columns in zip(*groups, strict=True))
        for number, part_x, part_y in split(ids, x, y):
            if number in self.by_id:
                self._summaries[number] = join(self._summaries.get(number), summarize(part_x, part_y))


def split(ids: IdColumn, x: FloatColumn, y: FloatColumn) -> Iterable[tuple[int, FloatColumn, FloatColumn]]:
    """Yield each signal's own columns out of mixed ones, the order of arrival kept."""
    for number, places in by_signal(ids):
        yield number, x[places], y[places]


def by_signal(ids: IdColumn) -> Iterator[tuple[int, NDArray[np.intp] | slice]]:
    """Yield each signal's number and the places where it stands, in their order."""
    if not len(ids):
        return
    period = _period(ids)
    if period:
        for column in range(period):
            yield int(ids[column]), slice(column, None, period)
        return
    # Of numbers of 16 bits numpy sorts the digits, which is faster.
    order = np.argsort(ids.astype(np.uint16) if ids.max() < _SMALL else ids, kind="stable")
    ids = ids[order]
    edges = [0, *(np.flatnonzero(ids[1:] != ids[:-1]) + 1).tolist(), len(ids)]
    for start, stop in zip(edges, edges[1:], strict=False):
        yield int(ids[start]), order[start:stop]


def _period(ids: IdColumn) -> int:
    """Return how many signals take turns, always in the same order, each once; 0 if it is not so.

    That is what a device looks like that is alone, or the only one that is busy.
    """
    again = np.flatnonzero(ids[1 : _LOOK_AHEAD + 1] == ids[0])
    period = int(again[0]) + 1 if len(again) else 0
    if not period or len(ids) % period or not (ids[period:] == ids[:-period]).all():
        return 0
    return period if len(set(ids[:period].tolist())) == period else 0


def summarize(x: FloatColumn, y: FloatColumn) -> SignalSummary:
    """Return the summary of samples; there is at least one."""
    numbers = x[~np.isnan(x)]
    return SignalSummary(
        count=len(x),
        first_x=float(x[0]),
        last_x=float(x[-1]),
        last_y=float(y[-1]),
        x_min=float(numbers.min()) if len(numbers) else float("nan"),
        x_max=float(numbers.max()) if len(numbers) else float("nan"),
    )


def summary_of(row: Sequence[Any]) -> SignalSummary | None:
    """Return the summary that a row of figures on disk tells; None where there are no samples."""
    count, *figures = row
    # SQLite has no NaN: it keeps NULL instead.
    return (
        SignalSummary(count, *(_NAN if figure is None else figure for figure in figures)) if count else None
    )


def join(older: SignalSummary | None, newer: SignalSummary | None) -> SignalSummary | None:
    """Return the summary of two runs of samples, one after the other; None stands for no samples."""
    if older is None or newer is None:
        return older or newer
    return SignalSummary(
        count=older.count + newer.count,
        first_x=older.first_x,
        last_x=newer.last_x,
        last_y=newer.last_y,
        x_min=float(np.fmin(older.x_min, newer.x_min)),
        x_max=float(np.fmax(older.x_max, newer.x_max)),
    )
