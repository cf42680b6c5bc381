"""How much a script may produce in a second: past that, it is read later."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...box import messages

_A_SECOND = 3_200_000
"""What a run may produce in a second, in bytes: 200 000 values."""

_MESSAGE = 640
_EVENT = 6400
"""What a message costs beside its bytes, and one that all clients are told of: 5000 of them, or 500."""


def cost(message: messages.Message) -> int:
    """Return what working off a message costs, beside its bytes."""
    return _EVENT if isinstance(message, messages.Event | messages.Notify) else _MESSAGE


class Pace:
    """Holds who has spent what a second allows until that is made up for.

    hold: told with True when to read no further, with False when to read on.
    """

    def __init__(self, clock: IReactorTime, hold: Callable[[bool], None]) -> None:
        self._clock = clock
        self._hold = hold
        self._left = float(_A_SECOND)
        self._since = clock.seconds()
        self._timer: IDelayedCall | None = None

    def spend(self, amount: int) -> None:
        """Take note of what was produced."""
        now = self._clock.seconds()
        self._left = min(_A_SECOND, self._left + (now - self._since) * _A_SECOND) - amount
        self._since = now
        if self._left < 0 and self._timer is None:
            self._hold(True)
            self._rest()

    def stop(self) -> None:
        """Hold nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._hold(False)

    def _rest(self) -> None:
        # Half of it is saved before going on: not to stop at every message.
        self._timer = self._clock.callLater(0.5 - self._left / _A_SECOND, self._rested)

    def _rested(self) -> None:
        self._timer = None
        self.spend(0)
        if self._timer is None:
            self._hold(False)
