"""The one thread that writes."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Protocol

Job = Callable[[], None]


class Worker(Protocol):
    """Does jobs one after the other, away from the caller.

    idle: whether all jobs are done that were given; only its jobs and its owner give it any, so while it
    is idle the owner may do work of the same kind itself.
    """

    @property
    def idle(self) -> bool:
        """Return whether it has nothing to do."""

    def do(self, job: Job) -> None:
        """Do a job after those that were given before. The job does not raise."""

    def stop(self) -> None:
        """End after the jobs given so far; returns at once."""


class WriterThread:
    """A thread that does jobs in the order in which they come."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._open = 0
        self._counting = Lock()
        self._thread = Thread(target=self._run, name="rtoc-writer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            with self._counting:
                self._open -= 1

    @property
    def idle(self) -> bool:
        """Return whether it has nothing to do."""
        return self._open == 0

    def do(self, job: Job) -> None:
        """Do a job after those that were given before. The job does not raise."""
        with self._counting:
            self._open += 1
        self._jobs.put(job)

    def stop(self) -> None:
        """End after the jobs given so far; returns at once."""
        self._jobs.put(None)
