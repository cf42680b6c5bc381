"""When to tell everybody that something changed: at once, but not again and again."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

SOON = 0.05
"""Seconds between two tellings at least."""

LATER = 1.0
"""Seconds that a change may wait which nobody asked for."""


class Telling:
    """Calls `tell` after changes; many within a moment are one."""

    def __init__(self, clock: IReactorTime, tell: Callable[[], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._timer: IDelayedCall | None = None
        self._last = -SOON

    def changed(self, within: float = SOON) -> None:
        """Take note of a change that is to be told within that many seconds."""
        due = self._clock.seconds() + within
        if self._timer is None:
            self._timer = self._clock.callLater(within, self._fire)
        elif self._timer.getTime() > due:
            self._timer.reset(within)

    def hurry(self) -> None:
        """Tell what there is to tell now, unless something was told a moment ago."""
        if self._timer is not None and self._clock.seconds() - self._last >= SOON:
            self._timer.cancel()
            self._fire()

    def stop(self) -> None:
        """Tell nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._last = self._clock.seconds()
        self._tell()
