"""The writing half of the SQLite file behind the store: SQL, called from one thread, nothing of Twisted.

Samples arrive in the journal, one row a commit, all signals together; when it has grown they are
folded into chunks, a signal each, in steps between the commits. So a commit costs one row whatever
it carries and waits for one step at most, reading costs the chunks of a signal and the short journal,
and starting costs the catalog and the journal.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import NotAvailable
from ..model import FloatColumn, Hold, Signal, SignalName, SignalSummary, Window
from .catalog import IdColumn, join, summarize, summary_of
from .chunks import Chunks
from .documents import from_text
from .drawing import Drawn, Packed
from .entries import Entries, last_number
from .journal import Journal
from .kept import Kept
from .losses import Found, Loss, lose
from .place import make_private
from .retention import Moments
from .rollups import WIDTHS
from .rows import read_rows
from .salvage import is_damage, salvage, salvage_pending
from .schema import upgrade
from .select import NOTHING, fresh

CHECKPOINT_AT_BYTES = 4 << 20
"""What is written, roughly, between two checkpoints: as much as SQLite itself lets its log grow."""

_A_COMMIT = 8192

_ALL = Window()
_FIGURES = "samples, first_x, last_x, last_y, x_min, x_max"


class Database(Entries):
    """The connection that writes.

    path: made if it is missing; fsync: whether a commit waits for the disk (else the data of a
    commit survives the process, not a power cut). widths, moments: see Chunks.
    """

    def __init__(
        self,
        path: Path,
        fsync: bool = False,
        widths: Sequence[float] = WIDTHS,
        moments: Moments | None = None,
    ) -> None:
        super().__init__(path, "FULL" if fsync else "NORMAL")
        self._path = path
        self._fsync = fsync
        self._written = 0
        self.checkpoints = 0
        # A checkpoint waits for the disk, which a commit must not.
        self._sql.execute("PRAGMA wal_autocheckpoint = 0")
        self._sql.execute("PRAGMA journal_size_limit = 67108864")
        self.chunks = Chunks(self._sql, widths, moments)
        self.journal = Journal(
            self._sql, self.chunks, self.transaction, self.wrote, lambda: self.damage_found()
        )

    def upgrade(self) -> None:
        """Bring the schema up to date and take stock of the journal; raises NotAvailable if it is newer."""
        upgrade(self._sql, self._path)
        self.journal.take_stock()

    @contextmanager
    def transaction(self, single: bool = False) -> Iterator[None]:
        """Do all of a block or nothing; refuses to nest.

        single: the block is one statement, which is a transaction by itself. Each statement less is one
        time less that this thread waits for the interpreter, which the reactor may hold for milliseconds.
        """
        if self._sql.in_transaction:
            raise RuntimeError("a transaction within a transaction")
        try:
            if not single:
                self._sql.execute("BEGIN IMMEDIATE")
            yield
            if not single:
                self._sql.execute("COMMIT")
            self._written += _A_COMMIT
        except BaseException:
            self.recover()
            raise

    @contextmanager
    def synchronous(self, durable: bool) -> Iterator[None]:
        """Let the commit of a block, and all before it, wait for the disk itself if it is to be durable."""
        if not durable or self._fsync:
            yield
            return
        self._sql.execute("PRAGMA synchronous = FULL")
        try:
            yield
        finally:
            self._sql.execute("PRAGMA synchronous = NORMAL")

    def recover(self) -> None:
        """Undo what is half done, and take stock again."""
        if self._sql.in_transaction:
            self._sql.execute("ROLLBACK")
        self.chunks.undo()
        self.journal.take_stock()

    def load(self) -> Kept:
        """Return what the store remembers, damaged rows of the journal set aside."""
        damaged = 0
        if read_rows(self._sql, {}).damaged:
            with self.transaction():
                damaged = self.journal.set_damaged_aside()
        devices = self._sql.execute("SELECT id, name FROM devices ORDER BY id").fetchall()
        names = dict(devices)
        signals: list[tuple[Signal, SignalSummary | None]] = []
        folded: dict[int, int] = {}
        for number, device_id, name, unit, upto, *summary in self._sql.execute(
            f"SELECT id, device_id, name, unit, folded, {_FIGURES} FROM signals ORDER BY id"  # noqa: S608 - ours
        ):
            signal = Signal(number, device_id, SignalName(names[device_id], name), unit)
            signals.append((signal, summary_of(summary)))
            folded[number] = upto
        rows = read_rows(self._sql, folded)
        return Kept(
            devices=devices,
            signals=signals,
            journal=(rows.ids, rows.x, rows.y),
            documents={
                key: from_text(value) for key, value in self._sql.execute("SELECT key, value FROM documents")
            },
            sources=self._sql.execute("SELECT name, seen, used FROM sources ORDER BY used").fetchall(),
            last_device=last_number(self._sql, "devices"),
            last_signal=last_number(self._sql, "signals"),
            last_event=last_number(self._sql, "events"),
            damaged=damaged,
        )

    # Writing: inside of a transaction.

    def append(self, ids: IdColumn, x: FloatColumn, y: FloatColumn) -> None:
        """Enter values of any signals as one row of the journal."""
        self.journal.append(ids, x, y)

    def replace(self, signal_id: int, x: FloatColumn, y: FloatColumn, summary: SignalSummary | None) -> None:
        """Enter a signal's samples, and their summary, instead of those that it had."""
        self.chunks.replace(signal_id, x, y, summary, self.journal.last)
        self._written += x.nbytes + y.nbytes

    def merge(
        self, signal_id: int, x: FloatColumn, y: FloatColumn, hold: Hold
    ) -> tuple[FloatColumn, FloatColumn]:
        """Append the pairs that are new by `hold`; return them."""
        new_x, new_y = x, y
        if hold is not Hold.ON:
            known = self._read_one(signal_id, _ALL, self._journal_of({signal_id}).get(signal_id, NOTHING))
            new_x, new_y = fresh(x, y, known.x, known.y, hold)
        if len(new_x):
            self.append(np.full(len(new_x), signal_id, np.uint32), new_x, new_y)
        return new_x, new_y

    def drop(self, signal_id: int, numbers: Sequence[int]) -> None:
        """Remove chunks of a signal for good."""
        self.chunks.drop(signal_id, numbers)

    def lose(self, found: Found) -> list[Loss]:
        """Set aside what was found to be damaged; return what is lost."""
        return lose(self._sql, found, self.chunks.moments())

    def set_damaged_aside(self) -> int:
        """Set damaged rows of the journal aside; return how many samples they had."""
        return self.journal.set_damaged_aside()

    def summaries(self, ids: Sequence[int]) -> dict[int, SignalSummary | None]:
        """Return what is known of the samples of signals; those that there are not are left out."""
        found = self._sql.execute(
            f"SELECT id, {_FIGURES} FROM signals WHERE id IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(list(ids)),),
        )
        summaries = {number: summary_of(figures) for number, *figures in found}
        for number, run in self._journal_of(set(summaries)).items():
            summaries[number] = join(summaries[number], summarize(run.x, run.y))
        return summaries

    def remove_signals(self, ids: Sequence[int], devices: Sequence[str]) -> int:
        """Remove signals with their samples and events, and these devices; return the count of events."""
        events = 0
        for number in ids:
            self.chunks.remove(number)
            events += self._sql.execute("DELETE FROM events WHERE signal_id = ?", (number,)).rowcount
            self._sql.execute("DELETE FROM signals WHERE id = ?", (number,))
        self._sql.executemany("DELETE FROM devices WHERE name = ?", [(name,) for name in devices])
        return events

    def clear(self) -> None:
        """Remove everything recorded and start all numbers again."""
        self.journal.clear()
        self.chunks.clear()
        # Notes before their events: then each of these has none to take along.
        for table in ("damaged", "notes", "events", "signals", "devices"):
            self._sql.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
        self._sql.execute("DELETE FROM sqlite_sequence WHERE name <> 'journal'")

    # Care: the log, and the steps that make chunks.

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether so much was written that the log is to be emptied into the file."""
        return self._written >= CHECKPOINT_AT_BYTES

    def wrote(self, size: int) -> None:
        """Take note of bytes written by others than `replace` and the journal."""
        self._written += size

    def checkpoint(self) -> None:
        """Copy what is in the log into the file, so that the log begins anew; waits for the disk.

        What somebody reads just now stays in the log until the next checkpoint.
        """
        self._written = 0
        super().checkpoint()
        self.checkpoints += 1

    def fold(self) -> None:
        """Move the whole journal into chunks."""
        self.journal.fold()

    def fold_step(self) -> bool:
        """Move some of the journal into chunks, in a transaction; return whether more is left."""
        return self.journal.fold_step()

    def pack_step(self) -> bool:
        """Pack a large chunk and draw its outline, in a transaction; return whether there was one."""
        with self.transaction():
            return self.chunks.pack_one()

    def enter(self, made: Packed | Drawn) -> None:
        """Put in what was made of a chunk elsewhere, in a transaction."""
        with self.transaction():
            self.chunks.enter(made)

    def space(self) -> tuple[int, int]:
        """Return the bytes of the file that are in use, and those that are free in it."""
        pages, free, size = (
            self._sql.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size, free * size


def open_database(
    path: Path, fsync: bool, widths: Sequence[float] = WIDTHS, moments: Moments | None = None
) -> tuple[Database, Kept]:
    """Return the opened store and what it remembers; raises NotAvailable if that cannot be had.

    A store that is damaged is salvaged first.
    """
    try:
        salvaged = salvage_pending(path)
        try:
            database, kept = _open(path, fsync, widths, moments)
        except Exception as problem:
            if not is_damage(problem):
                raise
            salvaged = salvage(path)
            database, kept = _open(path, fsync, widths, moments)
    except Exception as problem:
        if isinstance(problem, (sqlite3.Error, OSError)) or is_damage(problem):
            raise NotAvailable(f"{path} cannot be used: {problem}") from None
        raise
    return database, replace(kept, salvaged=salvaged)


def _open(path: Path, fsync: bool, widths: Sequence[float], moments: Moments | None) -> tuple[Database, Kept]:
    make_private(path)
    database = Database(path, fsync, widths, moments)
    try:
        database.upgrade()
        return database, database.load()
    except BaseException:
        database.close()
        raise
