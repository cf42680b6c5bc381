"""What rules know of a signal, or of a plugin's parameter, and into which of their slots that goes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from ..model import FloatColumn
from .conditions import Use, View
from .live import LiveRule
from .windows import Rate, Ring

GRACE = 30.0
"""Seconds that a signal has, at least, to say something after the server started (or all of its `nodata`)."""

_ARRAYS = (View.X, View.Y, View.PAIR)


class Tap(NamedTuple):
    """Which slots of a rule a feed fills: with the newest y, and with what is looked up each time."""

    live: LiveRule
    latest: list[tuple[list[Any], int]]
    others: list[tuple[list[Any], int, Callable[[], Any]]]


class Silence:
    """How long a feed has been silent, for one `nodata`.

    begin: wall time from which on, at the earliest, silence counts.
    """

    __slots__ = ("_begin", "_feed", "_seconds")

    def __init__(self, feed: Feed, seconds: float, begin: float) -> None:
        self._feed = feed
        self._seconds = seconds
        self._begin = begin

    def since(self) -> float:
        """Return since when there is silence."""
        return max(self._feed.received, self._begin)

    def due(self, now: float) -> float | None:
        """Return when the silence will have lasted long enough, None if it has."""
        since = self.since()
        due = since + self._seconds
        if due - since < self._seconds:
            due = math.nextafter(due, math.inf)
        return due if due > now else None

    def shift(self, seconds: float) -> None:
        """Move all times but the feed's own."""
        self._begin += seconds


class Feed:
    """One signal, or parameter, that rules name.

    key: "Device.Signal"; signal_id: None while there is no such signal; received: wall time at which
    something of it came last, -inf if that is not known; waiting: what came since its past is being read,
    None when it is not; missed: whether rules would have been evaluated meanwhile.
    """

    __slots__ = (
        *(
            "forced",
            "key",
            "latest",
            "missed",
            "rates",
            "received",
            "ring",
            "signal_id",
            "silent",
            "taps",
            "waiting",
        ),
    )

    def __init__(self, key: str, forced: bool, received: float) -> None:
        self.key = key
        # Whether it is a parameter, whatever signal has that name.
        self.forced = forced
        self.received = received
        self.signal_id: int | None = None
        self.latest: float | None = None
        self.ring: Ring | None = None
        self.rates: dict[float, Rate] = {}
        self.waiting: deque[tuple[float, float]] | None = None
        self.missed = False
        self.taps: list[Tap] = []
        self.silent: list[LiveRule] = []

    def push(self, x: float, y: float, now: float) -> None:
        """Take the next sample."""
        self.latest = y
        self.received = now
        if self.waiting is not None:
            self.missed = True
            self.waiting.append((x, y))
            return
        if self.ring is not None:
            self.ring.push(x, y)
        if self.rates:
            for rate in self.rates.values():
                rate.push(x, y)

    def extend(self, x: FloatColumn, y: FloatColumn) -> None:
        """Take the next samples, or those of the past."""
        if self.ring is not None:
            self.ring.extend(x, y)
        if self.rates:
            for pair in zip(x.tolist(), y.tolist(), strict=True):
                for rate in self.rates.values():
                    rate.push(*pair)

    def clear(self) -> None:
        """Forget all samples."""
        self.latest = None
        self.waiting = None
        self.missed = False
        if self.ring is not None:
            self.ring.clear()
        for rate in self.rates.values():
            rate.clear()

    def require(self, use: Use, window: int) -> bool:
        """Keep what a use needs; return whether the past is to be read for that."""
        if use.view is View.RATE and use.seconds not in self.rates:
            self.rates[use.seconds] = Rate(use.seconds, window)
            return True
        if use.view not in _ARRAYS:
            return False
        count = min(use.samples or window, window)
        if self.ring is not None and self.ring.most >= count:
            return False
        self.ring = Ring(count)
        return True

    def depth(self, window: int) -> int:
        """Return how many of the newest samples it looks at, 0 for none but the last."""
        return window if self.rates else 0 if self.ring is None else self.ring.most

    def reader(self, use: Use, window: int) -> Callable[[], Any]:
        """Return what looks up the value of a use; None while it is not known."""
        if use.view is View.RECEIVED:
            return lambda: None if self.received == -math.inf else self.received
        if use.view is View.RATE:
            rate = self.rates[use.seconds]
            return lambda: None if self.waiting is not None else rate.value()
        count = min(use.samples or window, window)
        if use.view is View.PAIR:
            return lambda: self._newest(count)
        column = 0 if use.view is View.X else 1

        def look() -> FloatColumn | None:
            newest = self._newest(count)
            return None if newest is None else newest[column]

        return look

    def _newest(self, count: int) -> tuple[FloatColumn, FloatColumn] | None:
        if self.ring is None or self.latest is None or self.waiting is not None:
            return None
        return self.ring.newest(count)

    def fill(self) -> None:
        """Put what it knows into the slots of its rules."""
        for tap in self.taps:
            for values, slot in tap.latest:
                values[slot] = self.latest
            for values, slot, read in tap.others:
                values[slot] = read()
