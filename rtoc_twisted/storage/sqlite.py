"""IStorage on a SQLite file: group commit on one writer thread, reads of a snapshot in others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

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
from .care import Care
from .catalog import summarize
from .commit import Commit
from .copy import copy_store
from .database import Database, open_database
from .decimate import warm_up
from .drawing import Drawn, Packed
from .haste import SHORT_VALUES, Haste
from .kept import Kept
from .known import Known
from .notes import write_event, write_notes
from .pipeline import Pipeline, Post
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
        self._writer = writer
        self._post = post
        self._in_thread = in_thread
        self.durability = "fsync" if fsync else "normal"
        self._lock = claim(directory)
        try:
            self._database, kept = open_database(self._path, fsync, keeping.widths, moments)
        except BaseException:
            os.close(self._lock)
            raise
        self._readers = Readers(self._path, lambda: self._care.damage_found())
        self._last_event = 0
        self._closing = False
        self._spare = keeping.keep_free
        free = partial(disk, directory)
        thrift = Thrift(self._database, keeping, free, Reserve(directory / "rtoc.reserve", keeping.reserve))
        self._upkeep = Upkeep(
            self._database,
            clock,
            writer,
            post,
            lambda: self._pipeline.commits,
            self._make,
            lambda: in_thread(lambda: self._readers.ask(Reader.checkpoint)),
            thrift,
            self._drop,
            free,
            tell,
        )
        self._pipeline = Pipeline(
            self._database,
            self._catalog,
            self._sources,
            self._upkeep,
            clock=clock,
            writer=writer,
            post=post,
            haste=Haste(clock, allowed=not fsync),
            ceiling=ceiling,
            remember=self._remember_again,
        )
        self._care = Care(
            self._path,
            self._database,
            self._catalog,
            self._pipeline,
            clock=clock,
            writer=writer,
            post=post,
            in_thread=in_thread,
            tell=tell,
        )
        self._database.damage_found = self._care.damage_found
        self._remember(kept)
        self._care.start(kept)
        # Not now: the start does not wait for it.
        clock.callLater(0, lambda: None if self._closing else in_thread(warm_up))

    def _remember(self, kept: Kept) -> None:
        self._catalog.clear()
        self._catalog.load(kept.devices, kept.signals, kept.last_device, kept.last_signal)
        self._catalog.count(*kept.journal)
        self._documents = dict(kept.documents)
        self._last_event = kept.last_event
        self._sources.load(kept.sources)

    def _remember_again(self, kept: Kept) -> None:
        self._remember(kept)
        self._care.rows_lost(kept.damaged)

    @property
    def congested(self) -> bool:
        """Return whether producers should pause until the next commit is done."""
        return self._pipeline.congested

    def summary(self, signal_id: int) -> SignalSummary | None:
        """Return what is known of a signal's samples, None while it has none."""
        self._pipeline.settle()
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

        self._pipeline.take(enter)
        return signals

    def set_unit(self, signal_id: int, unit: str) -> None:
        """Change a signal's unit."""
        self._catalog.set_unit(signal_id, unit)
        self._pipeline.take(lambda database: database.set_unit(signal_id, unit))

    def append(self, ids: Sequence[int], x: Sequence[float], y: Sequence[float]) -> Commit:
        """Take values; return the commit that carries them."""
        return self._pipeline.append(ids, x, y)

    def replace(self, signal_id: int, x: FloatColumn, y: FloatColumn) -> Commit:
        """Take a signal's samples instead of those that it has; return the commit."""
        x, y = x.copy(), y.copy()
        self._pipeline.settle()
        group = self._pipeline.group
        known = self._catalog.summary(signal_id)
        # To free the pages of many samples takes long.
        group.short &= known is None or known.count <= SHORT_VALUES
        summary = summarize(x, y) if len(x) else None
        self._catalog.set_summary(signal_id, summary)
        former = group.plots.get(signal_id)
        if former is not None:
            # Nobody will ever read what this one replaces within the same commit.
            self._pipeline.void(former)
        group.plots[signal_id] = self._pipeline.take(
            lambda database: database.replace(signal_id, x, y, summary), size=len(x)
        )
        self._pipeline.values += len(x)
        return group.commit

    def merge(self, signal_id: int, x: FloatColumn, y: FloatColumn, hold: Hold, added: Added) -> Commit:
        """Append the pairs that are new by `hold`; return the commit."""
        x, y = x.copy(), y.copy()
        self._pipeline.settle()
        gap = self._catalog.leave_gap(signal_id)
        # What is merged with is needed, even if it is replaced at once.
        self._pipeline.group.plots.pop(signal_id, None)
        merged: Deferred[tuple[FloatColumn, FloatColumn]] = Deferred()

        def known(pairs: tuple[FloatColumn, FloatColumn]) -> None:
            self._catalog.fill_gap(signal_id, gap, *pairs)
            self._pipeline.values += len(pairs[0])
            added(*pairs)

        # A failure is told by the commit.
        merged.addCallbacks(known, lambda _: None)
        merged.addErrback(lambda failure: self._log.failure("a merge was not told", failure))
        self._pipeline.take(lambda database: database.merge(signal_id, x, y, hold), merged, len(x))
        return self._pipeline.group.commit

    def remove_signals(self, ids: Iterable[int]) -> Deferred[tuple[int, int]]:
        """Remove signals with their samples and events; fires with the counts after the commit."""
        self._pipeline.settle()
        signals, devices = self._catalog.remove(ids)
        numbers = [signal.id for signal in signals]
        removed: Deferred[int] = Deferred()
        self._pipeline.take(lambda database: database.remove_signals(numbers, devices), removed)
        return removed.addCallback(lambda events: (len(numbers), events))

    def _drop(self, step: Drop) -> Deferred[None]:
        return self._pipeline.recount(
            [step.signal_id], lambda database: database.drop(step.signal_id, step.numbers)
        )

    def clear(self) -> Deferred[None]:
        """Remove everything recorded and start all numbers again; fires after the commit."""
        self._pipeline.settle()
        self._catalog.clear()
        self._last_event = 0
        cleared: Deferred[None] = Deferred()
        self._pipeline.take(Database.clear, cleared)
        return cleared

    def add_batch(self, source: str, seq: int) -> Commit:
        """Take note of a batch, which counts as a value that waits; return the commit."""
        self._pipeline.weigh(1)
        self._sources.add(source, seq, self._pipeline.group.commit)
        return self._pipeline.group.commit

    def add_event(self, signal_id: int, event: Event) -> tuple[Event, Commit]:
        """Take an event; return it with its number, and the commit."""
        written = write_event(event, self._last_event + 1)
        self._last_event = written.event.number
        self._pipeline.take(lambda database: database.add_event(signal_id, written))
        return written.event, self._pipeline.group.commit

    def note_event(self, number: int, notes: Mapping[str, Any]) -> Commit:
        """Keep JSON values beside an event; return the commit."""
        texts = write_notes(notes)
        known = texts if self._may_be_event(number) else {}
        self._pipeline.take(lambda database: database.note_event(number, known))
        return self._pipeline.group.commit

    def remove_events(self, numbers: Sequence[int] | None) -> Deferred[int]:
        """Remove events, None for all; fires with the count after the commit."""
        if numbers is None:
            self._last_event = 0
        else:
            numbers = list(filter(self._may_be_event, numbers))
        removed: Deferred[int] = Deferred()
        self._pipeline.take(lambda database: database.remove_events(numbers), removed)
        return removed

    def _may_be_event(self, number: int) -> bool:
        # SQLite knows no integers of more than 64 bits.
        return 0 < number <= self._last_event

    def put_document(self, key: str, value: Any) -> Commit:
        """Keep a value under that key, None: nothing; return the commit."""
        text = self._take_document(key, value)
        self._pipeline.take(lambda database: database.put_document(key, text))
        return self._pipeline.group.commit

    # Reads: when everything taken before is on disk, out of one snapshot, in a thread.

    def read(
        self, requests: Sequence[tuple[int, Window]], limit: int | None = None
    ) -> Deferred[list[Columns]]:
        """Fire with the samples of each request."""
        return self._read(lambda database: database.read(requests, limit))

    def aggregate(self, requests: Sequence[tuple[int, Window, Buckets]]) -> Deferred[list[Sums]]:
        """Fire with the sums of each request."""
        return self._read(lambda database: database.aggregate(requests))

    def events(
        self, ids: Sequence[int] | None = None, limit: int | None = None, after: int | None = None
    ) -> Deferred[list[Event]]:
        """Fire with the newest events, or the oldest after a number; oldest first."""
        return self._read(lambda database: database.events(ids, limit, after))

    def event_notes(self, number: int) -> Deferred[Mapping[str, Any] | None]:
        """Fire with what is kept beside an event, None where there is no such event."""
        known = self._may_be_event(number)
        return self._read(lambda database: database.event_notes(number) if known else None)

    def copy_to(self, path: Path) -> Deferred[None]:
        """Fire when a copy of all that was taken is on disk."""
        return self._after_commits(lambda: copy_store(self._path, path, lambda: self._closing, self._spare))

    def _make(self) -> Deferred[Packed | Drawn | None]:
        widths = self._database.chunks.widths
        return self._in_thread(lambda: self._readers.ask(lambda reader: reader.next_made(widths)))

    def _read(self, query: Callable[[Reader], _T]) -> Deferred[_T]:
        return self._after_commits(lambda: self._readers.ask(query))

    def _after_commits(self, work: Callable[[], _T]) -> Deferred[_T]:
        result: Deferred[_T] = Deferred()

        def start() -> None:
            self._in_thread(work).chainDeferred(result)

        newest = self._pipeline.newest
        if newest is None:
            start()
        else:
            newest.when_done(start)
        return result

    def flush(self) -> Deferred[None]:
        """Fire when all that was taken is on disk; fails if it could not be."""
        return self._pipeline.flush()

    def close(self) -> Deferred[None]:
        """Flush, fold the journal, and let the files go; fires when that is done."""
        closed: Deferred[None] = Deferred()
        self._closing = True
        self._care.stop()
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
        files = (self._path, self._path.with_name(self._path.name + "-wal"))
        return {
            **self._pipeline.counters(),
            "sources_forgotten": self._sources.forgotten,
            **self._upkeep.counters(),
            **self._care.counters(),
            "bytes_on_disk": sum(file.stat().st_size for file in files if file.exists()),
        }
