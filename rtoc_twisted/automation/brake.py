"""The brake of a rule: so many events a minute, and no storm (a token bucket)."""

from __future__ import annotations

from typing import NamedTuple

CALM = 60.0
"""Seconds without an event left out after which a storm is over."""


class BrakeNews(NamedTuple):
    """What people are told of a storm: that it began, or that it is over and what it cost.

    began: whether it began; per_minute: the rate allowed; left_out: events left out until now.
    """

    began: bool
    per_minute: int
    left_out: int

    @property
    def text(self) -> str:
        """The news in words, to follow the name of the rule."""
        if self.began:
            return f"more than {self.per_minute} events a minute, further ones are left out"
        return f"the storm of events is over, {self.left_out} were left out"


class Brake:
    """Allows `per_minute` events a minute on average, and `burst` at once after some calm.

    per_minute: 0 allows everything; burst: as many, unless it is told. Times are wall times in seconds.
    """

    __slots__ = ("_at", "_began", "_burst", "_last", "_left_out", "_tokens", "per_minute")

    def __init__(self, per_minute: int, burst: int | None = None) -> None:
        self.per_minute = per_minute
        self._burst = float(per_minute if burst is None else burst)
        self._tokens = self._burst
        self._at: float | None = None
        # Of the storm that goes on: whether its beginning was told, its newest event left out, and how many.
        self._began = False
        self._last = 0.0
        self._left_out = 0

    def allow(self, now: float) -> bool:
        """Return whether an event may be raised now, and count it; afterwards `news` may have something."""
        if not self.per_minute:
            return True
        if self._at is not None and now > self._at:
            earned = (now - self._at) * self.per_minute / 60.0
            self._tokens = min(self._burst, self._tokens + earned)
        self._at = now
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return True
        self._last = now
        self._left_out += 1
        return False

    def news(self, now: float) -> BrakeNews | None:
        """Return what is to be told now, once: a storm that began, or that is over; None for nothing."""
        if not self._left_out:
            return None
        if not self._began:
            self._began = True
            return BrakeNews(True, self.per_minute, self._left_out)
        if now < self._last + CALM:
            return None
        told = BrakeNews(False, self.per_minute, self._left_out)
        self._began, self._left_out = False, 0
        return told

    def due(self) -> float | None:
        """Return when `news` is to be asked for again, None while there is no storm."""
        return self._last + CALM if self._left_out else None

    def shift(self, seconds: float) -> None:
        """Move all times: the wall clock jumped by that much."""
        self._last += seconds
        if self._at is not None:
            self._at += seconds
