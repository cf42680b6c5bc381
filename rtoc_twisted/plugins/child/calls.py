"""A few threads for what clients ask of a plugin, so that one that waits delays no other."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

SIZE = 4
WAITING = 256
"""Calls that wait for a thread; further ones are refused."""


class Calls:
    """Runs functions in the order of their coming, in at most SIZE threads, made when they are needed."""

    def __init__(self, size: int = SIZE, waiting: int = WAITING) -> None:
        self._size = size
        self._most = waiting
        self._waiting: SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = SimpleQueue()
        self._lock = Lock()
        self._threads = 0
        self._idle = 0
        """Threads that wait for work, less the work that waits for a thread."""

    @property
    def waiting(self) -> int:
        """Return how many wait for a thread."""
        return max(0, -self._idle)

    def run(self, function: Callable[..., Any], *args: Any) -> bool:
        """Run a function that does not raise, as soon as a thread has time; return False if too many wait."""
        with self._lock:
            if self.waiting >= self._most:
                return False
            wanted = self._idle <= 0 and self._threads < self._size
            if wanted:
                self._threads += 1
            else:
                self._idle -= 1
        self._waiting.put((function, args))
        if wanted:
            Thread(target=self._work, name="call", daemon=True).start()
        return True

    def _work(self) -> None:
        while True:
            function, args = self._waiting.get()
            function(*args)
            with self._lock:
                self._idle += 1
