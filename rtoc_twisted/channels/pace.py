"""How fast a channel may go: how many messages an hour, and how long to wait after one that failed."""

from __future__ import annotations

from collections.abc import Callable

_HOUR = 3600.0
_AT_ONCE = 4
"""The part of an hour's messages that may go at once is one in so many."""

_FIRST, _LONGEST = 2.0, 600.0
"""Seconds between tries."""

_OBEYED = 24 * _HOUR
"""Seconds for which a server may ask to be left alone."""


class Allowance:
    """A token bucket: `per_hour` messages in the long run, a quarter of these (one at least) at once.

    now: seconds of a clock that is not set.
    """

    def __init__(self, per_hour: int, now: float) -> None:
        self._rate = per_hour / _HOUR
        self._room = max(1.0, per_hour / _AT_ONCE)
        self._tokens = self._room
        self._at = now

    def _fill(self, now: float) -> None:
        self._tokens = min(self._room, self._tokens + (now - self._at) * self._rate)
        self._at = now

    def ready(self, now: float) -> float:
        """Return from when on a message may go."""
        self._fill(now)
        return now + max(0.0, (1.0 - self._tokens) / self._rate)

    def take(self, now: float) -> None:
        """Count a message that goes."""
        self._fill(now)
        self._tokens -= 1.0


class Backoff:
    """Delays that double up to ten minutes, each shortened by chance so that servers do not come in step.

    chance: returns a number in [0, 1), as random.random.
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._next = _FIRST

    def delay(self, asked: float) -> float:
        """Return the seconds to wait now; asked: for how many seconds the other side wants to be left."""
        current = self._next
        self._next = min(_LONGEST, current * 2)
        return max(current * (0.5 + self._chance() / 2), min(asked, _OBEYED))

    def reset(self) -> None:
        """Start over: a try succeeded."""
        self._next = _FIRST
