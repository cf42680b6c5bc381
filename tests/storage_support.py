"""Stores for tests: SQLite whose threads are queues, faults on demand, and comparing."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from rtoc_twisted.interfaces import IStorage
from rtoc_twisted.model import Columns, SignalSummary
from rtoc_twisted.storage import database
from rtoc_twisted.storage.database import Database
from rtoc_twisted.storage.sqlite import SqliteStorage

unhurried = settings(deadline=None, database=None, derandomize=True)
"""Settings of hypothesis: the same examples in every run, however slow the machine."""


def examples(count: int) -> settings:
    """Return such settings for so many examples; DEEP=20 in the environment means twenty times as many."""
    return settings(unhurried, max_examples=count * int(os.environ.get("DEEP", "1")))


FULL = "database or disk is full"
BROKEN = "disk I/O error"


class FailingDatabase(Database):
    """Fails at the end of a transaction, when it is rolled back, or loaded, as often as it is told to."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        # No test cuts the power.
        self._sql.execute("PRAGMA synchronous = OFF")
        self.faults: deque[Exception | None] = deque()
        self.recover_faults: deque[Exception] = deque()
        self.load_faults: deque[Exception] = deque()
        self.transactions = 0

    @contextmanager
    def transaction(self, single: bool = False) -> Iterator[None]:
        with super().transaction(single):
            fault = self.faults.popleft() if self.faults else None
            if single and fault is not None:
                # A statement that fails changes nothing.
                raise fault
            yield
            self.transactions += 1
            if fault is not None:
                raise fault

    def recover(self) -> None:
        if self.recover_faults:
            raise self.recover_faults.popleft()
        super().recover()

    def load(self) -> Any:
        if self.load_faults:
            raise self.load_faults.popleft()
        return super().load()

    def draw_step(self) -> bool:
        """Draw the rollups of a packed chunk, in a transaction; return whether there may be more."""
        with self.transaction():
            return self.chunks.draw_one()

    def fill_disk(self) -> None:
        """Let no page be added any more, as on a full disk."""
        self._sql.execute("PRAGMA max_page_count = 1")

    def empty_disk(self) -> None:
        """Let pages be added again."""
        self._sql.execute("PRAGMA max_page_count = 1000000")


class Queues:
    """A writer, the posts to the reactor and a pool of readers, none of which does anything by itself."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.jobs: deque[Callable[[], None]] = deque()
        self.posts: deque[Callable[[], object]] = deque()
        self.queries: deque[Callable[[], None]] = deque()
        self.stopped = False

    # Worker

    idle = False

    def do(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def stop(self) -> None:
        self.stopped = True

    # What a reactor and its pool offer.

    def post(self, call: Callable[..., object], *args: object, **named: object) -> None:
        self.posts.append(lambda: call(*args, **named))

    def in_thread(self, call: Callable[[], Any]) -> Deferred[Any]:
        found: Deferred[Any] = Deferred()
        self.queries.append(lambda: maybeDeferred(call).chainDeferred(found))
        return found

    # Steps.

    def write_one(self) -> None:
        """Do the writer's next job, without the reactor's hearing of it."""
        self.jobs.popleft()()

    def pump(self) -> None:
        """Do everything that is to be done."""
        self.clock.advance(0)
        while self.jobs or self.posts or self.queries or self._is_due():
            for queue in (self.jobs, self.posts, self.queries):
                while queue:
                    queue.popleft()()
            self.clock.advance(0)

    def _is_due(self) -> bool:
        return any(call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls())


class InstantQueues(Queues):
    """Does every job when it is given."""

    def do(self, job: Callable[[], None]) -> None:
        job()

    def post(self, call: Callable[..., object], *args: object, **named: object) -> None:
        call(*args, **named)

    def in_thread(self, call: Callable[[], Any]) -> Deferred[Any]:
        return maybeDeferred(call)


class Bench:
    """A SqliteStorage in a directory, on queues."""

    def __init__(self, directory: Path, queues: type[Queues] = Queues, **options: Any) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self._kind = queues
        self._options = options
        self.open()

    @property
    def path(self) -> Path:
        return self.directory / "rtoc.sqlite"

    def open(self) -> None:
        """Open the store, as at a server's start."""
        self.queues = self._kind()
        original, database.Database = database.Database, FailingDatabase  # type: ignore[misc]
        try:
            self.storage = SqliteStorage(
                self.directory,
                clock=self.queues.clock,
                writer=self.queues,
                post=self.queues.post,
                in_thread=self.queues.in_thread,
                **self._options,
            )
        finally:
            database.Database = original  # type: ignore[misc]
        self.database: FailingDatabase = self.storage._database  # type: ignore[assignment]

    def pump(self) -> None:
        self.queues.pump()

    def close(self) -> None:
        self.storage.close()
        self.pump()

    def reopen(self) -> None:
        """Stop and start."""
        self.close()
        self.open()

    def result(self, waiting: Deferred[Any]) -> Any:
        """Return what a Deferred fires with once everything is done; raises its failure."""
        found: list[Any] = []
        waiting.addCallbacks(found.append, lambda failure: found.append(failure))
        self.pump()
        (result,) = found
        if hasattr(result, "raiseException"):
            result.raiseException()
        return result

    def sql(self, statement: str, *args: object) -> list[Any]:
        """Ask, or change, the file behind the store's back."""
        with sqlite3.connect(self.path) as connection:
            rows = connection.execute(statement, args).fetchall()
        connection.close()
        return rows


def floats(values: Sequence[float]) -> Any:
    return np.array(values, dtype=np.float64)


def pairs(columns: Columns) -> list[tuple[float, float]]:
    """Return the samples of columns as pairs."""
    return list(zip(columns.x.tolist(), columns.y.tolist(), strict=True))


def assert_same_columns(found: Columns, expected: Columns) -> None:
    """Compare what was read, NaN equal to NaN."""
    np.testing.assert_array_equal(found.x, expected.x)
    np.testing.assert_array_equal(found.y, expected.y)
    np.testing.assert_array_equal((found.x_min, found.x_max), (expected.x_min, expected.x_max))
    assert found.left_out == expected.left_out, (found.left_out, expected.left_out)


def assert_same_summary(found: SignalSummary | None, expected: SignalSummary | None) -> None:
    """Compare summaries, NaN equal to NaN."""
    if found is None or expected is None:
        assert found is expected, (found, expected)
    else:
        np.testing.assert_array_equal(astuple(found), astuple(expected))


def ids(storage: IStorage) -> list[int]:
    return [signal.id for signal in storage.signals()]
