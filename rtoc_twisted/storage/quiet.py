"""Waiting for a quiet moment, but not for ever."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

SECONDS = 1.0
"""How long nothing must have happened."""

TURNS = 60
"""How often it is waited for in vain."""


class Quiet:
    """Runs something once nothing has happened for a second, or after a minute that was never quiet.

    happened: returns a number that changes with whatever happens.
    """

    def __init__(self, clock: IReactorTime, happened: Callable[[], int], run: Callable[[], None]) -> None:
        self._clock = clock
        self._happened = happened
        self._run = run
        self._waiting: IDelayedCall | None = None

    def ask(self) -> None:
        """Run it at the next quiet moment; asking again before changes nothing."""
        if self._waiting is None:
            self._wait(0)

    def _wait(self, turns: int) -> None:
        self._waiting = self._clock.callLater(SECONDS, self._look, self._happened(), turns)

    def _look(self, before: int, turns: int) -> None:
        self._waiting = None
        if before == self._happened() or turns == TURNS:
            self._run()
        else:
            self._wait(turns + 1)

    def stop(self) -> None:
        """Do not run it any more, unless it is asked for again."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
