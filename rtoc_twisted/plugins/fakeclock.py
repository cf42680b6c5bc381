"""A plugin's process whose clock jumps: `python -m rtoc_twisted.plugins.fakeclock SECONDS`.

Time goes on as everywhere, and where all who sleep are waiting for it, it jumps to the next who wakes. So ten
seconds of a timer take some milliseconds, and its values have the moments of ten seconds. What waits in C,
for a socket or an instrument, waits in real time; `datetime.now()` tells it, too.
"""

from __future__ import annotations

import math
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

GO: Final = 5
"""The descriptor of a socket: a byte comes when it may jump, its end is told when the time is over."""

_SLICE = 0.001
_PAUSE = 0.0002
_BUSY_SECONDS = 0.05
"""Who has been awake for longer does something that this clock knows nothing of."""


class FakeClock:
    """Takes the place of the clocks and sleeps of Python.

    real: the monotonic clock and the sleep that it is made of.
    """

    def __init__(
        self, real: tuple[Callable[[], float], Callable[[float], None]] = (time.monotonic, time.sleep)
    ) -> None:
        self._now, self._sleep = real
        self._epoch = time.time() - self._now()
        self._end = -math.inf
        self._over: Callable[[], None] | None = None
        self._skipped = 0.0
        self._wakes: dict[int, tuple[float, Callable[[], bool]]] = {}
        self._awake: dict[int, float] = {}
        self._moves = 0
        self._lock = threading.Lock()

    def begin(self, seconds: float, over: Callable[[], None]) -> None:
        """Jump where that is possible, for so many seconds of this clock; over: called once, when they are.

        Where nobody sleeps until some moment they are so in real time: then nobody may look.
        """
        with self._lock:
            self._end = self.monotonic() + seconds
            self._over = over

    def monotonic(self) -> float:
        """Return seconds since some moment, those skipped included."""
        return self._now() + self._skipped

    def time(self) -> float:
        """Return seconds since the epoch."""
        return self._epoch + self.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait until so many seconds of this clock have passed."""
        with self._asleep(self.monotonic() + seconds) as wakes:
            while (left := wakes - self.monotonic()) > 0:
                if not self._jump():
                    self._sleep(min(left, _SLICE))

    def wait(self, condition: Any, timeout: float | None) -> bool:
        """Wait as `threading.Condition.wait` does, and in the same way.

        To call that with short timeouts would lose a notification that comes at the end of one.
        """
        if not condition._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        wakes = math.inf if timeout is None else self.monotonic() + timeout
        waiter = threading.Lock()
        waiter.acquire()
        condition._waiters.append(waiter)
        state = condition._release_save()
        notified = False
        try:
            with self._asleep(wakes, lambda: waiter in condition._waiters and waiter.locked()):
                while not notified and (left := wakes - self.monotonic()) > 0:
                    notified = waiter.acquire(timeout=0 if self._jump() else min(left, _SLICE))
        finally:
            condition._acquire_restore(state)
            if not notified:
                # It is not there if the notification came just now.
                with suppress(ValueError):
                    condition._waiters.remove(waiter)
        return notified

    @contextmanager
    def _asleep(self, wakes: float, really: Callable[[], bool] = lambda: True) -> Iterator[float]:
        me = threading.get_ident()
        with self._lock:
            self._moves += 1
            self._awake.pop(me, None)
            self._wakes[me] = wakes, really
        try:
            yield wakes
        finally:
            with self._lock:
                self._moves += 1
                del self._wakes[me]
                self._awake[me] = self._now()

    def _jump(self) -> bool:
        """Skip the time until somebody wakes, if nobody is awake; return whether it was skipped."""
        moves = self._moves
        # Who was just woken by another thread has its turn first.
        self._sleep(_PAUSE)
        with self._lock:
            now = self._now()
            self._awake = {who: since for who, since in self._awake.items() if now - since < _BUSY_SECONDS}
            sleepers = self._wakes.values()
            if self._awake or self._moves != moves or not all(really() for _, really in sleepers):
                return False
            wakes = min(wakes for wakes, _ in sleepers)
            ahead = min(wakes, self._end) - now - self._skipped
            if wakes < math.inf and ahead > 0:
                self._skipped += ahead
                return True
            over, self._over = (self._over, None) if now + self._skipped >= self._end else (None, self._over)
        if over is not None:
            over()
        return False


def install(clock: FakeClock) -> None:
    """Put the clock in place of Python's own, for all that is imported from now on, and for threading."""

    def wait(self: threading.Condition, timeout: float | None = None) -> bool:
        return clock.wait(self, timeout)

    # In threading and queue, other names for the same functions, taken when these were imported.
    places: list[tuple[Any, str, Any]] = [
        (time, "time", clock.time),
        (time, "monotonic", clock.monotonic),
        (time, "time_ns", lambda: int(clock.time() * 1e9)),
        (time, "monotonic_ns", lambda: int(clock.monotonic() * 1e9)),
        (time, "perf_counter", clock.monotonic),
        (time, "sleep", clock.sleep),
        (threading, "_time", clock.monotonic),
        (queue, "time", clock.monotonic),
        (threading.Condition, "wait", wait),
    ]
    for owner, name, ours in places:
        setattr(owner, name, ours)


def main(seconds: float) -> None:
    """Run a plugin's process on such a clock, which jumps from when the other end of GO says so."""
    clock = FakeClock()
    other = socket.socket(fileno=GO)

    def begin() -> None:
        if other.recv(1):
            clock.begin(seconds, lambda: other.shutdown(socket.SHUT_WR))

    threading.Thread(target=begin, daemon=True).start()
    install(clock)
    from .child.__main__ import main as child

    child()


if __name__ == "__main__":
    main(float(sys.argv[1]))
