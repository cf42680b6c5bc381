"""IStorage on a SQLite file: group commit on one writer thread, reads of a snapshot in others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import StorageFailed
from ..interfaces import IStorage
from ..model import (
    Buckets,
    Columns,
    Event,
    FloatColumn,
    Hold,
    Signal,
    SignalName,
    SignalSummary,
    Sums,
    Window,
)
from .catalog import summarize
from .commit import Commit
from .copy import copy_store
from .database import Database, open_database
from .documents import from_text, to_text
from .group import Group, Task, Values
from .haste import SHORT_VALUES, Haste
from .kept import Kept
from .known import Known
from .place import claim
from .reader import Reader
from .readers import Readers
from .reserve import Reserve, free_bytes
from .retention import KEEP_ALL, Keeping, Moments
from .thrift import Drop, Thrift
from .upkeep import Tell, Upkeep
from .writer import Worker

_T = TypeVar("_T")

InThread = Callable[[Callable[[], Any]], Deferred[Any]]
Post = Callable[..., object]
Added = Callable[[FloatColumn, FloatColumn], None]


@implementer(IStorage)
class SqliteStorage(Known):
    """Keeps everything in `rtoc.sqlite` below a directory, which one process may use at a time.

    directory: exists; clock: for the turn in which a group is handed over; writer: does the commits;
    post: calls a function in the reactor's thread; in_thread: runs a function in a thread of a pool and
    returns a Deferred of its result; fsync: see Database; max_signals: the limit of the catalog;
    ceiling: how many values may wait for the disk before `congested` turns true; keeping: for how long
    samples are kept; moments: tells how old they are; disk: returns the free bytes of a directory's disk;
    tell: called in the reactor's thread with what people should know, see Upkeep.
    Raises NotAvailable if the directory is in use or cannot be used, or its store is of a newer version.
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
        keeping: Keeping = KEEP_ALL,
        moments: Moments | None = None,
        disk: Callable[[Path], int] = free_bytes,
        tell: Tell = lambda text, priority: None,
    ) -> None:
        super().__init__(max_signals)
        self._path = directory / "rtoc.sqlite"
        self._clock = clock
        self._writer = writer
        self._post = post
        self._in_thread = in_thread
        self._ceiling = ceiling
        self.durability = "fsync" if fsync else "normal"
        self._lock = claim(directory)
        try:
            self._database, kept = open_database(self._path, fsync, keeping.widths, moments)
        except BaseException:
            os.close(self._lock)
            raise
        self._readers = Readers(self._path)
        self._last_event = 0
        self._group = Group()
        self._committing: Group | None = None
        self._due = False
        self._doubtful = False
        self._closing = False
        self._spare = keeping.keep_free
        self._haste = Haste(clock, allowed=not fsync)
        free = partial(disk, directory)
        thrift = Thrift(self._database, keeping, free, Reserve(directory / "rtoc.reserve", keeping.reserve))
        self._upkeep = Upkeep(
            self._database, clock, writer, post, lambda: self._commits, thrift, self._drop, free, tell
        )
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
        self._sources.load(kept.sources)
        if kept.damaged:
            self._log.error(
                "{count} samples of the journal are damaged; they were set aside in the table `damaged`",
                count=kept.damaged,
            )

    @property
    def congested(self) -> bool:
        """Return whether producers should pause until the next commit is done."""
        return self._waiting >= self._ceiling

    def summary(self, signal_id: int) -> SignalSummary | None:
        """Return what is known of a signal's samples, None while it has none."""
        self._settle()
        return self._catalog.summary(signal_id)

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
        group.append(ids, x, y)
        self._waiting += len(ids)
        if not self._due:
            self._schedule()
        return group.commit

    def replace(self, signal_id: int, x: FloatColumn, y: FloatColumn) -> Commit:
        """Take a signal's samples instead of those that it has; return the commit."""
        x, y = x.copy(), y.copy()
        self._settle()
        group = self._group
        known = self._catalog.summary(signal_id)
        # To free the pages of many samples takes long.
        group.short &= known is None or known.count <= SHORT_VALUES
        self._catalog.set_summary(signal_id, summarize(x, y) if len(x) else None)
        former = group.plots.get(signal_id)
        if former is not None:
            # Nobody will ever read what this one replaces within the same commit.
            former.void = True
        group.plots[signal_id] = self._take(lambda database: database.replace(signal_id, x, y), size=len(x))
        self._values += len(x)
        return group.commit

    def merge(self, signal_id: int, x: FloatColumn, y: FloatColumn, hold: Hold, added: Added) -> Commit:
        """Append the pairs that are new by `hold`; return the commit."""
        x, y = x.copy(), y.copy()
        self._settle()
        gap = self._catalog.leave_gap(signal_id)
        # What is merged with is needed, even if it is replaced at once.
        self._group.plots.pop(signal_id, None)
        merged: Deferred[tuple[FloatColumn, FloatColumn]] = Deferred()

        def known(pairs: tuple[FloatColumn, FloatColumn]) -> None:
            self._catalog.fill_gap(signal_id, gap, *pairs)
            self._values += len(pairs[0])
            added(*pairs)

        # A failure is told by the commit.
        merged.addCallbacks(known, lambda _: None)
        merged.addErrback(lambda failure: self._log.failure("a merge was not told", failure))
        self._take(lambda database: database.merge(signal_id, x, y, hold), merged, len(x))
        return self._group.commit

    def remove_signals(self, ids: Iterable[int]) -> Deferred[tuple[int, int]]:
        """Remove signals with their samples and events; fires with the counts after the commit."""
        self._settle()
        signals, devices = self._catalog.remove(ids)
        numbers = [signal.id for signal in signals]
        removed: Deferred[int] = Deferred()
        self._take(lambda database: database.remove_signals(numbers, devices), removed)
        return removed.addCallback(lambda events: (len(numbers), events))

    def _drop(self, step: Drop) -> Deferred[None]:
        self._settle()
        gap = self._catalog.leave_gap(step.signal_id)
        dropped: Deferred[SignalSummary | None] = Deferred()
        self._take(lambda database: database.drop(step.signal_id, step.numbers), dropped)
        return dropped.addCallback(lambda left: self._catalog.replace_gap(step.signal_id, gap, left))

    def clear(self) -> Deferred[None]:
        """Remove everything recorded and start all numbers again; fires after the commit."""
        self._settle()
        self._catalog.clear()
        self._last_event = 0
        cleared: Deferred[None] = Deferred()
        self._take(Database.clear, cleared)
        return cleared

    def add_batch(self, source: str, seq: int) -> Commit:
        """Take note of a batch, which counts as a value that waits; return the commit."""
        self._group.size += 1
        self._waiting += 1
        self._sources.add(source, seq, self._group.commit)
        if not self._due:
            self._schedule()
        return self._group.commit

    def add_event(self, signal_id: int, event: Event) -> tuple[Event, Commit]:
        """Take an event; return it with its number, and the commit."""
        value = to_text(event.value, "event.value")
        self._last_event += 1
        kept = replace(event, number=self._last_event, value=from_text(value))
        self._take(lambda database: database.add_event(signal_id, kept, value))
        return kept, self._group.commit

    def remove_events(self, numbers: Sequence[int] | None) -> Deferred[int]:
        """Remove events, None for all; fires with the count after the commit."""
        if numbers is None:
            self._last_event = 0
        else:
            # SQLite knows no integers of more than 64 bits.
            numbers = [number for number in numbers if 0 < number <= self._last_event]
        removed: Deferred[int] = Deferred()
        self._take(lambda database: database.remove_events(numbers), removed)
        return removed

    def put_document(self, key: str, value: Any) -> Commit:
        """Keep a value under that key; return the commit."""
        text = to_text(value, key)
        self._documents[key] = from_text(text)
        self._take(lambda database: database.put_document(key, text))
        return self._group.commit

    def _take(
        self, run: Callable[[Database], _T], deferred: Deferred[_T] | None = None, size: int = 0
    ) -> Task[Any]:
        task: Task[Any] = Task(run, deferred)
        self._group.add(task)
        self._group.size += size
        self._waiting += size
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
        group, self._group, self._due = self._group, Group(), False
        rows, forgotten = self._sources.changes()
        if rows or forgotten:
            group.add(Task(lambda database: database.put_sources(rows, forgotten)))
        self._committing = group
        if self._writer.idle and self._haste.allows(group):
            began = self._clock.seconds()
            error, kept = self._write(group)
            self._haste.took(self._clock.seconds() - began)
            self._written(group, error, kept)
        else:
            self._writer.do(lambda: self._write_and_tell(group))

    def _write_and_tell(self, group: Group) -> None:
        self._post(self._written, group, *self._write(group))

    def _write(self, group: Group) -> tuple[StorageFailed | None, Kept | None]:
        """Commit a group; return why it failed, and what the store remembers after a failure.

        In the writer's thread, or in the reactor's while the writer has nothing to do.
        """
        error: StorageFailed | None = None
        kept: Kept | None = None
        try:
            if self._doubtful:
                raise StorageFailed("the store has to be read again after a failure")
            group.write(self._database)
        except Exception as problem:
            # Whatever it was: this thread goes on, and those who wait hear of it.
            full = self._upkeep.make_room(problem)
            words = "the disk is full" if full else "the disk did not take the data"
            error = StorageFailed(f"{words}: {problem}")
            kept = self._reload()
        if error is None:
            self._upkeep.look()
        return error, kept

    def _reload(self) -> Kept | None:
        self._doubtful = True
        try:
            self._database.recover()
            kept = self._database.load()
        except Exception:
            return None
        self._doubtful = False
        return kept

    def _written(self, group: Group, error: StorageFailed | None, kept: Kept | None) -> None:
        self._committing = None
        if error is None:
            self._commits += 1
            self._waiting -= group.size
            self._count(group)
            group.finish(None)
            self._sources.settle()
        else:
            # What waits was built on what failed (a signal's number, say): it fails as well.
            self._failures += 1
            waiting, self._group, self._due, self._waiting = self._group, Group(), False, 0
            self._log.error("a commit failed: {problem}", problem=error.message)
            if kept is not None:
                self._remember(kept)
            else:
                # Whatever is taken until they are known again fails with its group.
                self._sources.load([])
            group.finish(error)
            waiting.finish(error)
            self._upkeep.refused()
        if self._due:
            self._schedule()

    def _count(self, group: Group) -> None:
        """Let the catalog know the values of a group that it does not know yet."""
        for item in group.items:
            if isinstance(item, Values) and item.counted < len(item.ids):
                self._values += len(item.ids) - item.counted
                self._catalog.count(*item.uncounted())
                item.counted = len(item.ids)

    def _settle(self) -> None:
        if self._committing is not None:
            self._count(self._committing)
        self._count(self._group)

    # Reads: when everything taken before is on disk, out of one snapshot, in a thread.

    def read(self, requests: Sequence[tuple[int, Window]]) -> Deferred[list[Columns]]:
        """Fire with the samples of each request."""
        return self._read(lambda database: database.read(requests))

    def aggregate(self, requests: Sequence[tuple[int, Window, Buckets]]) -> Deferred[list[Sums]]:
        """Fire with the sums of each request."""
        return self._read(lambda database: database.aggregate(requests))

    def events(self, ids: Sequence[int] | None = None, limit: int | None = None) -> Deferred[list[Event]]:
        """Fire with the newest events, oldest first."""
        return self._read(lambda database: database.events(ids, limit))

    def copy_to(self, path: Path) -> Deferred[None]:
        """Fire when a copy of all that was taken is on disk."""
        return self._after_commits(lambda: copy_store(self._path, path, lambda: self._closing, self._spare))

    def _read(self, query: Callable[[Reader], _T]) -> Deferred[_T]:
        return self._after_commits(lambda: self._readers.ask(query))

    def _after_commits(self, work: Callable[[], _T]) -> Deferred[_T]:
        result: Deferred[_T] = Deferred()

        def start() -> None:
            self._in_thread(work).chainDeferred(result)

        newest = self._newest_commit()
        if newest is None:
            start()
        else:
            newest.when_done(start)
        return result

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
        self._closing = True
        self._upkeep.stop()

        def finish() -> None:
            try:
                self._database.fold()
            except Exception as problem:
                self._post(self._log.error, "folding the journal failed: {problem}", problem=str(problem))
            self._database.close()
            self._post(finished)

        def finished() -> None:
            self._writer.stop()
            self._readers.close()
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
            "commits_at_once": self._haste.hasty,
            "commits_slow": self._haste.slow,
            "sources_forgotten": self._sources.forgotten,
            **self._upkeep.counters(),
            "bytes_on_disk": sum(file.stat().st_size for file in files if file.exists()),
        }
