"""What is due when: one scheduler for all rules, with one delayed call; and the clock that it goes by."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_K = TypeVar("_K")

_LONGEST: Final = 60.0
"""Seconds after which it looks at the wall clock, which may have been set while nothing else happened."""

_JUMP: Final = 2.0
"""Seconds by which the wall clock must differ from the reactor's to have been set."""

_SHORTEST: Final = 1e-3

_SPARE: Final = 64
"""Times that count no more and may be kept."""


class WallClock:
    """The wall time; it is asked often enough to see that the clock was set, and not only led gently.

    jumped: called with the seconds by which it was set, and the time it shows.
    """

    def __init__(
        self, clock: IReactorTime, wall: Callable[[], float], jumped: Callable[[float, float], None]
    ) -> None:
        self._seconds = clock.seconds
        self._wall = wall
        self._jumped = jumped
        self._ahead = wall() - clock.seconds()

    def now(self) -> float:
        """Return the time in seconds since the epoch."""
        now = self._wall()
        ahead = now - self._seconds()
        jump = ahead - self._ahead
        self._ahead = ahead
        if not -_JUMP <= jump <= _JUMP:
            self._jumped(jump, now)
        return now


class Timers(Generic[_K]):
    """Calls `wake` when something may be due by the wall clock; it then takes what is, with `pop`.

    A key has one time, the earliest that it was given: who is woken too early asks again.
    """

    def __init__(self, clock: IReactorTime, wall: Callable[[], float], wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wall = wall
        self._wake = wake
        self._heap: list[tuple[float, int, _K]] = []
        self._due: dict[_K, float] = {}
        self._count = 0
        self._call: IDelayedCall | None = None
        self._at = 0.0

    def __contains__(self, key: _K) -> bool:
        return key in self._due

    def at(self, key: _K, due: float) -> None:
        """Let a key be due at a wall time, unless it is due before."""
        known = self._due.get(key)
        if known is not None and known <= due:
            return
        self._due[key] = due
        self._count += 1
        heappush(self._heap, (due, self._count, key))
        if len(self._heap) > 2 * len(self._due) + _SPARE:
            self._tidy()
        if self._call is None or due < self._at:
            self._sleep()

    def drop(self, key: _K) -> None:
        """Forget a key."""
        self._due.pop(key, None)

    def pop(self, now: float) -> list[_K]:
        """Return the keys that are due, in the order of their times, and forget them."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heappop(self._heap)
            if self._due.get(key) == due:
                del self._due[key]
                found.append(key)
        return found

    def shift(self, seconds: float) -> None:
        """Move all times."""
        self._due = {key: due + seconds for key, due in self._due.items()}
        self._tidy()
        # For what comes earlier than that.
        self._at += seconds
        if self._heap:
            self._sleep()

    def _tidy(self) -> None:
        """Keep the times alone that count."""
        self._heap = [(due, number, key) for number, (key, due) in enumerate(self._due.items())]
        heapify(self._heap)
        self._count = len(self._heap)

    def stop(self) -> None:
        """Forget everything."""
        self._heap.clear()
        self._due.clear()
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _sleep(self) -> None:
        self._at = self._heap[0][0]
        wait = min(max(self._at - self._wall(), _SHORTEST), _LONGEST)
        if self._call is None:
            self._call = self._clock.callLater(wait, self._woken)
        else:
            self._call.reset(wait)

    def _woken(self) -> None:
        self._call = None
        try:
            self._wake()
        finally:
            if self._heap and self._call is None:
                self._sleep()
