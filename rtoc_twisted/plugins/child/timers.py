"""The perpetual timer of RTOC: a function, again and again, in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Event, Thread
from time import monotonic
from traceback import format_exc
from typing import Any


class _Run:
    """One stretch from start to cancel."""

    __slots__ = ("ended", "wake")

    def __init__(self) -> None:
        self.ended = False
        self.wake = Event()


class PerpetualTimer:
    """Calls a function `rate` times a second, in step with the clock; a call that takes longer is waited for.

    turn: held during each call; warn: told, as (level, text), of a function that raises: it is called again
    all the same, and the same traceback is told once until it changes. delayed: the first call comes after
    one interval (RTOC's `old` timers), else at once.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        rate: float,
        turn: AbstractContextManager[Any],
        warn: Callable[[int, str], None],
        delayed: bool = False,
    ) -> None:
        self._function = function
        self._turn = turn
        self._warn = warn
        self._delayed = delayed
        self._run: _Run | None = None
        self._rate = rate
        self._failure = ""
        self._failures = 0

    @property
    def rate(self) -> float:
        """Return the calls a second."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = rate
        run = self._run
        if run is not None:
            run.wake.set()

    def start(self) -> None:
        """Start calling; a timer that runs goes on as it does."""
        if self._run is None:
            self._run = run = _Run()
            Thread(target=self._calls, args=(run,), name="perpetual timer", daemon=True).start()

    def cancel(self) -> None:
        """Make no further call; one that is under way ends by itself."""
        run, self._run = self._run, None
        if run is not None:
            run.ended = True
            run.wake.set()

    def _calls(self, run: _Run) -> None:
        last = monotonic() if self._delayed else float("-inf")
        while not run.ended:
            now = monotonic()
            due = last + 1 / self._rate
            if now < due:
                if run.wake.wait(due - now):
                    run.wake.clear()
                continue
            # What was missed is not made up for.
            last = due if now - due < 1 / self._rate else now
            with self._turn:
                if not run.ended:
                    self.call()

    def call(self) -> None:
        """Call the function once, and tell if it raised."""
        try:
            self._function()
        except Exception:
            failure = format_exc()
            self._failures += 1
            if failure != self._failure:
                self._failure = failure
                self._warn(2, f"The timer's function failed; the timer goes on.\n{failure}")
        else:
            if self._failures:
                self._warn(0, f"The timer's function works again, after {self._failures} failures.")
                self._failure, self._failures = "", 0
