"""IStorage on a SQLite file: group commit on one writer thread, reads of a snapshot in others."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import NotAvailable, StorageFailed
from ..interfaces import IStorage
from ..model import Columns, Event, FloatColumn, Hold, Signal, SignalName, SignalSummary, Window
from .catalog import Catalog, IdColumn, summarize
from .commit import Commit
from .database import Database, Kept
from .writer import Worker

_T = TypeVar("_T")

InThread = Callable[[Callable[[], Any]], Deferred[Any]]
Post = Callable[..., object]
Added = Callable[[FloatColumn, FloatColumn], None]


class _Task(Generic[_T]):
    """One change that is no append, and who waits for its result."""

    __slots__ = ("deferred", "result", "run", "void")

    def __init__(self, run: Callable[[Database], _T], deferred: Deferred[_T] | None = None) -> None:
        self.run = run
        self.deferred = deferred
        self.result: _T | None = None
        self.void = False


class _Columns:
    """Values of any signals, growing."""

    __slots__ = ("counted", "ids", "x", "y")

    def __init__(self) -> None:
        self.counted = 0
        self.ids = array("I")
        self.x = array("d")
        self.y = array("d")

    def arrays(self) -> tuple[IdColumn, FloatColumn, FloatColumn]:
        return np.frombuffer(self.ids, np.uint32), np.frombuffer(self.x), np.frombuffer(self.y)


class _Group:
    """What travels in one commit, in the order in which it was taken."""

    __slots__ = ("columns", "commit", "items", "plots", "values")

    def __init__(self) -> None:
        self.commit = Commit()
        self.items: list[_Columns | _Task[Any]] = []
        self.columns: _Columns | None = None
        self.plots: dict[int, _Task[None]] = {}
        self.values = 0

    def add(self, task: _Task[Any]) -> None:
        self.items.append(task)
        self.columns = None


@implementer(IStorage)
class SqliteStorage:
    """Keeps everything in `rtoc.sqlite` below a directory, which one process may use at a time.

    directory: exists; clock: for the turn in which a group is handed over; writer: does the commits;
    post: calls a function in the reactor's thread; in_thread: runs a function in a thread of a pool and
    returns a Deferred of its result; fsync: see Database; max_signals: the limit of the catalog;
    ceiling: how many values may wait for the disk before `congested` turns true.
    Raises NotAvailable if the directory is in use, of a newer version, or holds no store.
    """

    _log = Logger()

    def __init__(
        self,
        directory: Path,
        *,
        clock: IReactorTime,
        writer: Worker,
        post: Post,
        in_thread: InThread,
        fsync: bool = False,
        max_signals: int = 100_000,
        ceiling: int = 1_000_000,
    ) -> None:
        self._path = directory / "rtoc.sqlite"
        self._clock = clock
        self._writer = writer
        self._post = post
        self._in_thread = in_thread
        self._ceiling = ceiling
        self._lock = _lock(directory / "rtoc.lock")
        try:
            self._database = Database(self._path, fsync)
            self._database.upgrade()
            kept = self._database.load()
        except sqlite3.Error as error:
            os.close(self._lock)
            raise NotAvailable(f"{self._path} cannot be used: {error}") from None
        self._readers: deque[Database] = deque()
        self._catalog = Catalog(max_signals)
        self._documents: dict[str, Any] = {}
        self._last_event = 0
        self._group = _Group()
        self._committing: _Group | None = None
        self._due = False
        self._doubtful = False
        self._closed = False
        self._waiting = 0
        self._values = 0
        self._commits = 0
        self._failures = 0
        self._remember(kept)

    def _remember(self, kept: Kept) -> None:
        self._catalog.clear()
        self._catalog.load(kept.devices, kept.signals, kept.last_device, kept.last_signal)
        self._catalog.count(*kept.journal)
        self._documents = dict(kept.documents)
        self._last_event = kept.last_event

    # The catalog: from memory.

    @property
    def generation(self) -> int:
        """Return what changes whenever the catalog changes."""
        return self._catalog.generation

    @property
    def congested(self) -> bool:
        """Return whether producers should pause until the next commit is done."""
        return self._waiting >= self._ceiling

    def signals(self) -> Sequence[Signal]:
        """Return all signals in the order of their creation."""
        return list(self._catalog.by_id.values())

    def find(self, name: SignalName) -> Signal | None:
        """Return the signal of that name, None if there is none."""
        return self._catalog.by_name.get(name)

    def resolve(self, key: str) -> Signal | None:
        """Return the signal of a sigKey, None if there is none."""
        return self._catalog.resolve(key)

    def get(self, signal_id: int) -> Signal | None:
        """Return the signal of that id, None if there is none."""
        return self._catalog.by_id.get(signal_id)

    def summary(self, signal_id: int) -> SignalSummary | None:
        """Return what is known of a signal's samples, None while it has none."""
        self._settle()
        return self._catalog.summary(signal_id)

    def document(self, key: str) -> Any:
        """Return the value kept under that key, None if there is none."""
        return self._documents.get(key)

    # Writes: taken at once, stored with the group.

    def add_signals(self, names: Sequence[SignalName]) -> Sequence[Signal]:
        """Create signals, all of them or none; raises TooLarge past the limit."""
        signals, devices = self._catalog.add(names)
        numbered = [(self._catalog.devices[name], name) for name in devices]

        def enter(database: Database) -> None:
            for number, name in numbered:
                database.add_device(number, name)
            for signal in signals:
                database.add_signal(signal)

        self._take(enter)
        return signals

    def set_unit(self, signal_id: int, unit: str) -> None:
        """Change a signal's unit."""
        self._catalog.set_unit(signal_id, unit)
        self._take(lambda database: database.set_unit(signal_id, unit))

    def append(self, ids: Sequence[int], x: Sequence[float], y: Sequence[float]) -> Commit:
        """Take values; return the commit that carries them."""
        group = self._group
        columns = group.columns
        if columns is None:
            columns = group.columns = _Columns()
            group.items.append(columns)
        columns.ids.extend(ids)
        columns.x.extend(x)
        columns.y.extend(y)
        count = len(ids)
        group.values += count
        self._waiting += count
        if not self._due:
            self._schedule()
        return group.commit

    def replace(self, signal_id: int, x: FloatColumn, y: FloatColumn) -> Commit:
        """Take a signal's samples instead of those that it has; return the commit."""
        x, y = x.copy(), y.copy()
        self._settle()
        self._catalog.set_summary(signal_id, summarize(x, y) if len(x) else None)
        group = self._group
        former = group.plots.get(signal_id)
        if former is not None:
            # Nobody will ever read what this one replaces within the same commit.
            former.void = True
        group.plots[signal_id] = self._take(lambda database: database.replace(signal_id, x, y))
        group.values += len(x)
        self._waiting += len(x)
        return group.commit

    def merge(self, signal_id: int, x: FloatColumn, y: FloatColumn, hold: Hold, added: Added) -> Commit:
        """Append the pairs that are new by `hold`; return the commit."""
        x, y = x.copy(), y.copy()
        signal = self._catalog.by_id[signal_id]
        merged: Deferred[tuple[FloatColumn, FloatColumn]] = Deferred()

        def known(pairs: tuple[FloatColumn, FloatColumn]) -> None:
            if self._catalog.by_name.get(signal.name) == signal:
                self._catalog.count(np.full(len(pairs[0]), signal_id, np.uint32), *pairs)
            added(*pairs)

        # A failure is told by the commit.
        merged.addCallbacks(known, lambda _: None)
        self._take(lambda database: database.merge(signal_id, x, y, hold), merged)
        return self._group.commit

    def remove_signals(self, ids: Iterable[int]) -> Deferred[tuple[int, int]]:
        """Remove signals with their samples and events; fires with the counts after the commit."""
        self._settle()
        signals, devices = self._catalog.remove(ids)
        numbers = [signal.id for signal in signals]
        removed: Deferred[int] = Deferred()
        self._take(lambda database: database.remove_signals(numbers, devices), removed)
        return removed.addCallback(lambda events: (len(numbers), events))

    def clear(self) -> Deferred[None]:
        """Remove everything recorded and start all numbers again; fires after the commit."""
        self._settle()
        self._catalog.clear()
        self._last_event = 0
        cleared: Deferred[None] = Deferred()
        self._take(Database.clear, cleared)
        return cleared

    def add_event(self, signal_id: int, event: Event) -> tuple[Event, Commit]:
        """Take an event; return it with its number, and the commit."""
        self._last_event += 1
        kept = replace(event, number=self._last_event)
        self._take(lambda database: database.add_event(signal_id, kept))
        return kept, self._group.commit

    def remove_events(self, numbers: Sequence[int] | None) -> Deferred[int]:
        """Remove events, None for all; fires with the count after the commit."""
        if numbers is None:
            self._last_event = 0
        removed: Deferred[int] = Deferred()
        self._take(lambda database: database.remove_events(numbers), removed)
        return removed

    def put_document(self, key: str, value: Any) -> Commit:
        """Keep a value under that key; return the commit."""
        self._documents[key] = value
        self._take(lambda database: database.put_document(key, value))
        return self._group.commit

    def _take(self, run: Callable[[Database], _T], deferred: Deferred[_T] | None = None) -> _Task[_T]:
        task = _Task(run, deferred)
        self._group.add(task)
        if not self._due:
            self._schedule()
        return task

    # The way of a group: filled here, written by the writer, finished here.

    def _schedule(self) -> None:
        self._due = True
        if self._committing is None:
            # The next turn: whatever this one reads from the sockets still travels along.
            self._clock.callLater(0, self._hand_over)

    def _hand_over(self) -> None:
        if not self._due or self._committing is not None:
            return
        group, self._group, self._due = self._group, _Group(), False
        self._committing = group
        self._writer.do(lambda: self._write(group))

    def _write(self, group: _Group) -> None:
        """Commit a group; in the writer's thread, like everything up to `_written`."""
        error: StorageFailed | None = None
        kept: Kept | None = None
        try:
            if self._doubtful:
                raise StorageFailed("the store has to be read again after a failure")
            with self._database.transaction():
                for item in group.items:
                    if isinstance(item, _Columns):
                        self._database.append(*item.arrays())
                    elif not item.void:
                        item.result = item.run(self._database)
        except (sqlite3.Error, OSError, StorageFailed) as problem:
            error = StorageFailed(f"the disk did not take the data: {problem}")
            kept = self._reload()
        self._post(self._written, group, error, kept)
        if self._database.fold_is_due and error is None:
            self._fold()

    def _reload(self) -> Kept | None:
        self._doubtful = True
        try:
            kept = self._database.load()
        except (sqlite3.Error, OSError, StorageFailed):
            return None
        self._doubtful = False
        return kept

    def _fold(self) -> None:
        try:
            self._database.fold()
        except (sqlite3.Error, OSError, StorageFailed) as problem:
            # Nothing is lost: the journal stays, and the next commit tries again.
            self._post(self._log.error, "folding the journal failed: {problem}", problem=str(problem))

    def _written(self, group: _Group, error: StorageFailed | None, kept: Kept | None) -> None:
        self._committing = None
        if error is None:
            self._commits += 1
            self._waiting -= group.values
            self._count(group)
            self._finish(group, None)
        else:
            # What waits was built on what failed (a signal's number, say): it fails as well.
            self._failures += 1
            waiting, self._group, self._due, self._waiting = self._group, _Group(), False, 0
            self._log.error("a commit failed: {problem}", problem=error.message)
            if kept is not None:
                self._remember(kept)
            self._finish(group, error)
            self._finish(waiting, error)
        if self._due:
            self._hand_over()

    def _finish(self, group: _Group, error: StorageFailed | None) -> None:
        for item in group.items:
            if isinstance(item, _Task) and item.deferred is not None:
                if error is None:
                    item.deferred.callback(item.result)
                else:
                    item.deferred.errback(Failure(error))
        group.commit.finish(error)

    def _count(self, group: _Group) -> None:
        """Let the catalog know the values of a group that it does not know yet."""
        for item in group.items:
            if isinstance(item, _Columns) and item.counted < len(item.ids):
                # A copy: arrays cannot grow while somebody looks into them.
                ids, x, y = item.arrays()
                new = slice(item.counted, None)
                self._catalog.count(ids[new].copy(), x[new].copy(), y[new].copy())
                self._values += len(item.ids) - item.counted
                item.counted = len(item.ids)

    def _settle(self) -> None:
        if self._committing is not None:
            self._count(self._committing)
        self._count(self._group)

    # Reads: when everything taken before is on disk, out of one snapshot, in a thread.

    def read(self, requests: Sequence[tuple[int, Window]]) -> Deferred[list[Columns]]:
        """Fire with the samples of each request."""
        return self._read(lambda database: database.read(requests))

    def events(self, ids: Sequence[int] | None = None, limit: int | None = None) -> Deferred[list[Event]]:
        """Fire with the newest events, oldest first."""
        return self._read(lambda database: database.events(ids, limit))

    def _read(self, query: Callable[[Database], _T]) -> Deferred[_T]:
        result: Deferred[_T] = Deferred()

        def start() -> None:
            self._in_thread(lambda: self._query(query)).chainDeferred(result)

        newest = self._newest_commit()
        if newest is None:
            start()
        else:
            newest.when_done(start)
        return result

    def _query(self, query: Callable[[Database], _T]) -> _T:
        """Ask a reader; in a thread of the pool."""
        try:
            reader = self._readers.pop()
        except IndexError:
            reader = Database(self._path)
        try:
            result = query(reader)
        except sqlite3.Error as problem:
            reader.close()
            raise StorageFailed(f"reading failed: {problem}") from problem
        except BaseException:
            reader.close()
            raise
        self._readers.append(reader)
        if self._closed:
            self._close_readers()
        return result

    def _close_readers(self) -> None:
        while self._readers:
            self._readers.pop().close()

    def _newest_commit(self) -> Commit | None:
        if self._due:
            return self._group.commit
        return None if self._committing is None else self._committing.commit

    def flush(self) -> Deferred[None]:
        """Fire when all that was taken is on disk; fails if it could not be."""
        flushed: Deferred[None] = Deferred()
        commit = self._newest_commit()

        def done() -> None:
            if commit is not None and commit.error is not None:
                flushed.errback(Failure(commit.error))
            else:
                flushed.callback(None)

        if commit is None:
            done()
        else:
            commit.when_done(done)
        return flushed

    def close(self) -> Deferred[None]:
        """Flush, fold the journal, and let the files go; fires when that is done."""
        closed: Deferred[None] = Deferred()

        def finish() -> None:
            self._fold()
            self._database.close()
            self._post(finished)

        def finished() -> None:
            self._writer.stop()
            self._closed = True
            self._close_readers()
            os.close(self._lock)
            closed.callback(None)

        def flushed(result: object) -> None:
            if isinstance(result, Failure):
                self._log.error("the last commit failed: {problem}", problem=result.getErrorMessage())
            self._writer.do(finish)

        self.flush().addBoth(flushed)
        return closed

    def counters(self) -> Mapping[str, float]:
        """Return figures for people and monitors."""
        self._settle()
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        return {
            "values_taken": self._values,
            "values_waiting": self._waiting,
            "commits": self._commits,
            "commits_failed": self._failures,
            "bytes_on_disk": sum(file.stat().st_size for file in files if file.exists()),
        }


def _lock(path: Path) -> int:
    """Return the descriptor of the lock file; raises NotAvailable if another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise NotAvailable(
            f"{path.parent} is in use by another rtoc server: stop it, or choose another --state-dir"
        ) from None
    return descriptor
