"""The way out of the process: reports in order, values gathered for a few milliseconds."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterator
from threading import Event, Lock
from time import sleep

from ..orders import Message, Pong, Samples, pack
from .columns import Series

HOLD = 0.004
"""Seconds for which values wait for others."""

FULL = 4096
"""Values that wait for no others; 16 bytes each, as much as a pipe of Linux holds."""

MOST_ENTRIES = 256

SLICE = 1 << 16
"""Values of one message."""


class _Gathered:
    """Values with the same names, one call after the other."""

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

    write: takes all of the bytes, raises OSError when nobody is there any more.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._lock = Lock()
        self._gathered: list[_Gathered] = []
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
        """Take values, to be written within HOLD seconds or together with what comes after them."""
        for part in parts(series):
            if part.y:
                self._gather(dname, part)
        return self.open

    def _gather(self, dname: str, series: Series) -> None:
        with self._lock:
            last = self._gathered[-1] if self._gathered else None
            if (
                last is not None
                and last.names == series.names
                and last.units == series.units
                and last.dname == dname
            ):
                last.x += series.x
                last.y += series.y
            else:
                self._gathered.append(_Gathered(dname, series))
            waiting, self._count = self._count, self._count + len(series.y)
            if self._count >= FULL or len(self._gathered) >= MOST_ENTRIES:
                self._written(b"")
                return
        if not waiting:
            self._wake.set()

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
        if not self.open:
            self._gathered, self._count = [], 0
            return False
        gathered, self._gathered, self._count = self._gathered, [], 0
        try:
            self._write(b"".join([*(entry.frames() for entry in gathered), frame]))
        except OSError:
            self.open = False
        return self.open
