"""The writing half of the SQLite file behind the store: SQL, called from one thread, nothing of Twisted.

Samples arrive in the journal, one row a commit, all signals together; when it has grown they are
folded into chunks, a signal each, in steps between the commits. So a commit costs one row whatever
it carries and waits for one step at most, reading costs the chunks of a signal and the short journal,
and starting costs the catalog and the journal.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import NotAvailable, StorageFailed
from ..model import Event, FloatColumn, Hold, Signal, SignalName, SignalSummary, Window
from .blobs import pack_journal, unpack_journal
from .catalog import IdColumn, join, split, summarize
from .chunks import Chunks
from .documents import from_text
from .kept import Kept
from .place import make_private
from .reader import Reader, summary_of
from .retention import Moments
from .rollups import WIDTHS
from .schema import upgrade
from .select import NOTHING, fresh, new_epoch
from .sources import Row
from .tail import Tail

FOLD_AT_VALUES = 131_072
FOLD_AT_ROWS = 2_048
STEP_VALUES = 8_192
STEP_SIGNALS = 16
CHECKPOINT_AT_BYTES = 4 << 20
"""What is written, roughly, between two checkpoints: as much as SQLite itself lets its log grow."""

_A_COMMIT = 8192

_ALL = Window()


@dataclass(frozen=True)
class _Folding:
    """The journal up to a row, on its way into chunks, by signals."""

    upto: int
    parts: Iterator[tuple[int, FloatColumn, FloatColumn]]


class Database(Reader):
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
        self._last_journal = 0
        self._journal_values = 0
        self._journal_rows = 0
        self._folding: _Folding | None = None
        self._tail = Tail(4 * FOLD_AT_VALUES)
        self._written = 0
        # A checkpoint waits for the disk, which a commit must not.
        self._sql.execute("PRAGMA wal_autocheckpoint = 0")
        self._sql.execute("PRAGMA journal_size_limit = 67108864")
        self.chunks = Chunks(self._sql, widths, moments)

    def upgrade(self) -> None:
        """Bring the schema up to date and take stock of the journal; raises NotAvailable if it is newer."""
        upgrade(self._sql, self._path)
        self._take_stock()

    def _take_stock(self) -> None:
        self._last_journal = self._sequence("journal")
        self._count_journal()
        self._tail.begin(empty=not self._journal_rows)

    def _count_journal(self) -> None:
        row = self._sql.execute("SELECT COUNT(*), COALESCE(SUM(samples), 0) FROM journal").fetchone()
        self._journal_rows, self._journal_values = row

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
        self._folding = None
        self.chunks.undo()
        self._take_stock()

    def load(self) -> Kept:
        """Return what the store remembers, damaged rows of the journal set aside."""
        damaged = self._set_damaged_aside()
        devices = self._sql.execute("SELECT id, name FROM devices ORDER BY id").fetchall()
        names = dict(devices)
        signals: list[tuple[Signal, SignalSummary | None]] = []
        folded: dict[int, int] = {}
        for number, device_id, name, unit, upto, *summary in self._sql.execute(
            "SELECT id, device_id, name, unit, folded, samples, first_x, last_x, last_y, x_min, x_max"
            " FROM signals ORDER BY id"
        ):
            signal = Signal(number, device_id, SignalName(names[device_id], name), unit)
            signals.append((signal, summary_of(summary)))
            folded[number] = upto
        return Kept(
            devices=devices,
            signals=signals,
            journal=self._journal(folded),
            documents={
                key: from_text(value) for key, value in self._sql.execute("SELECT key, value FROM documents")
            },
            sources=self._sql.execute("SELECT name, seen, used FROM sources ORDER BY used").fetchall(),
            last_device=self._sequence("devices"),
            last_signal=self._sequence("signals"),
            last_event=self._sequence("events"),
            damaged=damaged,
        )

    def _set_damaged_aside(self) -> int:
        damaged = []
        for seq, samples, data in self._sql.execute("SELECT seq, samples, data FROM journal"):
            try:
                unpack_journal(data)
            except StorageFailed:
                damaged.append((seq, samples, data))
        if damaged:
            with self.transaction():
                self._sql.executemany("INSERT INTO damaged (seq, samples, data) VALUES (?, ?, ?)", damaged)
                self._sql.executemany("DELETE FROM journal WHERE seq = ?", [row[:1] for row in damaged])
                # Nobody knows of which signals they were: no cursor counts right any more.
                self._sql.execute("UPDATE signals SET epoch = ?", (new_epoch(),))
            self._take_stock()
        return sum(samples for _, samples, _ in damaged)

    def _sequence(self, table: str) -> int:
        row = self._sql.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        return row[0] if row else 0

    # Writing: inside of a transaction.

    def add_device(self, number: int, name: str) -> None:
        """Enter a device."""
        self._sql.execute("INSERT INTO devices (id, name) VALUES (?, ?)", (number, name))

    def add_signal(self, signal: Signal) -> None:
        """Enter a signal."""
        self._sql.execute(
            "INSERT INTO signals (id, device_id, name, unit, epoch) VALUES (?, ?, ?, ?, ?)",
            (signal.id, signal.device_id, signal.name.name, signal.unit, new_epoch()),
        )

    def set_unit(self, signal_id: int, unit: str) -> None:
        """Change a signal's unit."""
        self._sql.execute("UPDATE signals SET unit = ? WHERE id = ?", (unit, signal_id))

    def append(self, ids: IdColumn, x: FloatColumn, y: FloatColumn) -> None:
        """Enter values of any signals as one row of the journal."""
        data = pack_journal(ids, x, y)
        cursor = self._sql.execute("INSERT INTO journal (samples, data) VALUES (?, ?)", (len(ids), data))
        self._last_journal = cursor.lastrowid or 0
        self._tail.add(self._last_journal, (ids, x, y))
        self._written += len(data)
        self._journal_values += len(ids)
        self._journal_rows += 1

    def replace(self, signal_id: int, x: FloatColumn, y: FloatColumn) -> None:
        """Enter a signal's samples instead of those that it had."""
        self.chunks.replace(signal_id, x, y, self._last_journal)
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

    def drop(self, signal_id: int, numbers: Sequence[int]) -> SignalSummary | None:
        """Remove chunks of a signal for good; return what is known of it then, None if it has no samples."""
        self.chunks.drop(signal_id, numbers)
        row = self._sql.execute(
            "SELECT samples, first_x, last_x, last_y, x_min, x_max FROM signals WHERE id = ?", (signal_id,)
        ).fetchone()
        journal = self._journal_of({signal_id}).get(signal_id)
        newer = None if journal is None else summarize(journal.x, journal.y)
        return join(summary_of(row) if row else None, newer)

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
        for table in ("chunks", "journal", "events", "signals", "devices"):
            self._sql.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
        self._sql.execute("DELETE FROM sqlite_sequence WHERE name <> 'journal'")
        self._journal_values = self._journal_rows = 0
        self._folding = None
        self._tail.begin(empty=True)

    def add_event(self, signal_id: int, event: Event, value: str) -> None:
        """Enter an event; its value comes as JSON."""
        self._sql.execute(
            "INSERT INTO events (id, signal_id, text, x, priority, action_id, value)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                event.number,
                signal_id,
                event.text,
                event.x,
                event.priority,
                event.action_id,
                value,
            ),
        )

    def remove_events(self, numbers: Sequence[int] | None) -> int:
        """Remove events; None removes all and starts their numbers again. Return the count."""
        if numbers is None:
            self._sql.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
            return self._sql.execute("DELETE FROM events").rowcount
        return sum(
            self._sql.execute("DELETE FROM events WHERE id = ?", (number,)).rowcount for number in numbers
        )

    def put_document(self, key: str, value: str) -> None:
        """Keep a JSON text under that key."""
        self._sql.execute(
            "INSERT INTO documents (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def put_sources(self, rows: Sequence[Row], forgotten: Sequence[str]) -> None:
        """Keep what was seen of these sources, and nothing of those forgotten."""
        self._sql.executemany("DELETE FROM sources WHERE name = ?", [(name,) for name in forgotten])
        self._sql.executemany(
            "INSERT INTO sources (name, seen, used) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET seen = excluded.seen, used = excluded.used",
            rows,
        )

    # Care: the log, and folding the journal into chunks.

    @property
    def checkpoint_is_due(self) -> bool:
        """Whether so much was written that the log is to be emptied into the file."""
        return self._written >= CHECKPOINT_AT_BYTES

    def wrote(self, size: int) -> None:
        """Take note of bytes written by others than `append`, `replace` and `fold_step`."""
        self._written += size

    def checkpoint(self) -> None:
        """Copy what is in the log into the file, so that the log begins anew; waits for the disk.

        What somebody reads just now stays in the log until the next checkpoint.
        """
        self._written = 0
        self._sql.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    @property
    def fold_is_due(self) -> bool:
        """Whether the journal has grown enough to fold it, or is being folded."""
        return (
            self._folding is not None
            or self._journal_values >= FOLD_AT_VALUES
            or self._journal_rows >= FOLD_AT_ROWS
        )

    def fold(self) -> None:
        """Move the whole journal into chunks."""
        while self.fold_step():
            pass

    def fold_step(self) -> bool:
        """Move some of the journal into chunks, in a transaction of its own; return whether more is left.

        The first step decides which rows of the journal go; the last one removes them. Whatever ends it
        in between, `signals.folded` says for each signal where its samples are.
        """
        if self._folding is None:
            if not self._journal_rows:
                return False
            self._folding = _Folding(self._last_journal, iter(split(*self._unfolded())))
        upto, values, signals = self._folding.upto, 0, 0
        with self.transaction():
            for number, x, y in self._folding.parts:
                self.chunks.extend(number, x, y, upto)
                self._written += x.nbytes + y.nbytes
                values, signals = values + len(x), signals + 1
                if values >= STEP_VALUES or signals >= STEP_SIGNALS:
                    return True
            self._sql.execute("DELETE FROM journal WHERE seq <= ?", (upto,))
        self._folding = None
        self._count_journal()
        self._tail.drop(upto)
        return False

    def _unfolded(self) -> tuple[IdColumn, FloatColumn, FloatColumn]:
        first = self._tail.first()
        # Signals that are in chunks up to some row already: their plots came in between.
        rows = self._sql.execute("SELECT id, folded FROM signals WHERE folded >= ?", (first or 0,))
        folded = dict(rows.fetchall())
        return self._journal(folded) if first is None else self._tail.columns(folded)

    def pack_step(self) -> bool:
        """Pack a large chunk and draw its outline, in a transaction; return whether there was one."""
        with self.transaction():
            return self.chunks.pack_one()

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
    """Return the opened store and what it remembers; raises NotAvailable if that cannot be had."""
    try:
        make_private(path)
        database = Database(path, fsync, widths, moments)
        try:
            database.upgrade()
            return database, database.load()
        except BaseException:
            database.close()
            raise
    except (sqlite3.Error, OSError) as error:
        raise NotAvailable(f"{path} cannot be used: {error}") from None
