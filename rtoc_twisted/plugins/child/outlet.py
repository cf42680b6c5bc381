"""The way out of the process: reports in order, values at once unless there are too many calls for that."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator
from threading import Event, Lock
from time import monotonic, sleep

from ...box.columns import Series
from ...box.messages import Message, Samples, pack
from ..orders import Pong

HOLD = 0.004
"""Seconds for which values of a plugin that calls often wait for others."""

AT_ONCE = 8
"""Calls within HOLD whose values wait for no others: they survive if the process dies right after."""

FULL = 4096
"""Values after which those that wait are written; 16 bytes each, as much as a pipe of Linux holds."""

MOST_ENTRIES = 256

SLICE = 1 << 16
"""Values of one message."""


_Layout = tuple[str, tuple[str, ...], tuple[str | None, ...]]


class _Gathered:
    """Values with the same names, of one call after the other."""

    __slots__ = ("dname", "names", "units", "x", "y")

    def __init__(self, dname: str, series: Series) -> None:
        self.dname = dname
        self.names, self.units, self.x, self.y = series

    def frames(self) -> bytes:
        step = SLICE - SLICE % len(self.names)
        return b"".join(self._frame(start, start + step) for start in range(0, len(self.y), step))

    def _frame(self, start: int, stop: int) -> bytes:
        x, y = little_endian(self.x[start:stop]), little_endian(self.y[start:stop])
        return pack(Samples(self.dname, list(self.names), list(self.units), x, y))


def parts(series: Series) -> Iterator[Series]:
    """Yield values, those with more names than one message has values in several series."""
    if len(series.names) <= SLICE:
        yield series
        return
    for start in range(0, len(series.y), SLICE):
        cut = slice(start, start + SLICE)
        yield Series(series.names[cut], series.units[cut], series.x[cut], series.y[cut])


def little_endian(values: array[float]) -> bytes:
    """Return the bytes of float64[n] as the reports have them."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


class Outlet:
    """Writes reports; any thread may call it, and waits while the server takes nothing.

    All keeps its order but values of different signals that were gathered together.

    write: takes all of the bytes, raises OSError when nobody is there any more; now: monotonic seconds.
    """

    def __init__(self, write: Callable[[bytes], None], now: Callable[[], float] = monotonic) -> None:
        self._write = write
        self._now = now
        self._since = 0.0
        self._calls = 0
        self._lock = Lock()
        self._gathered: dict[_Layout, _Gathered] = {}
        self._signals: set[tuple[str, str]] = set()
        self._count = 0
        self._wake = Event()
        self._pong: int | None = None
        self.open = True
        """Whether somebody may still be there to read."""

    def send(self, message: Message) -> bool:
        """Write a message after all values that came before it; return False when nobody reads.

        Raises TooLarge where it is above the limit of a frame.
        """
        frame = pack(message)
        with self._lock:
            return self._written(frame)

    def samples(self, dname: str, series: Series) -> bool:
        """Write values; where there are too many calls, within HOLD or before what comes next."""
        for part in parts(series):
            if part.y:
                self._gather(dname, part)
        return self.open

    def _gather(self, dname: str, series: Series) -> None:
        with self._lock:
            self._add(dname, series)
            waiting, self._count = self._count, self._count + len(series.y)
            prompt = self._is_prompt() and not waiting
            if prompt or self._count >= FULL or len(self._gathered) >= MOST_ENTRIES:
                self._written(b"")
                return
        if not waiting:
            self._wake.set()

    def _add(self, dname: str, series: Series) -> None:
        layout = dname, series.names, series.units
        known = self._gathered.get(layout)
        if known is not None:
            known.x += series.x
            known.y += series.y
            return
        signals = {(dname, name) for name in series.names}
        if not signals.isdisjoint(self._signals):
            # Those that wait together with other signals, or in another unit, came first.
            self._written(b"")
        self._signals |= signals
        self._gathered[layout] = _Gathered(dname, series)

    def _is_prompt(self) -> bool:
        """Count a call, and return whether there were few within HOLD."""
        now = self._now()
        if now - self._since >= HOLD:
            self._since, self._calls = now, 0
        self._calls += 1
        return self._calls <= AT_ONCE

    def flush(self) -> None:
        """Write the values that wait."""
        with self._lock:
            if self._count:
                self._written(b"")

    def pong(self, number: int) -> None:
        """Answer a Ping as soon as the pipe takes it; never waits."""
        self._pong = number
        self._wake.set()

    def keep_flushing(self) -> None:
        """Write what waits whenever something does, until nobody reads; for a thread of its own."""
        while self.open:
            self._wake.wait()
            self._wake.clear()
            number, self._pong = self._pong, None
            if number is None:
                sleep(HOLD)
                self.flush()
            else:
                self.send(Pong(number))

    def abandon(self) -> None:
        """Write nothing any more: in a process that the plugin forked, or when the server is gone."""
        self._lock = Lock()
        self.open = False

    def _written(self, frame: bytes) -> bool:
        gathered, self._gathered, self._count = self._gathered, {}, 0
        self._signals.clear()
        if not self.open:
            return False
        try:
            self._write(b"".join([*(entry.frames() for entry in gathered.values()), frame]))
        except OSError:
            self.open = False
        return self.open
