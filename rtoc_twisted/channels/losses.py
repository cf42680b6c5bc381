"""Tells people which messages will never arrive: at once, and then once an hour at most."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_SECONDS = 3600.0


class Losses:
    """Adds losses up while it is too soon to tell of them. tell: takes the text."""

    def __init__(self, clock: IReactorTime, tell: Callable[[str], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._count = 0
        self._reason = ""
        self._timer: IDelayedCall | None = None

    def add(self, count: int, reason: str) -> None:
        """Take note of so many messages that are lost."""
        self._count += count
        self._reason = reason
        if self._timer is None:
            self._tell_now()

    def stop(self) -> None:
        """Tell what was not told yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._count:
            self._say()

    def _tell_now(self) -> None:
        self._timer = None
        if self._count:
            self._say()
            self._timer = self._clock.callLater(_SECONDS, self._tell_now)

    def _say(self) -> None:
        count, self._count = self._count, 0
        self._tell(f"{count} {'message' if count == 1 else 'messages'} lost: {self._reason}")
