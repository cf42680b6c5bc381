"""The SQLite file behind the store: all SQL, called from one thread at a time, nothing of Twisted.

Samples arrive in the journal, one row a commit, all signals together; when it has grown they are
folded into chunks, a signal each. So a commit costs one row whatever it carries, reading costs
the chunks of a signal and the short journal, and starting costs the catalog and the journal.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..model import Columns, Event, FloatColumn, Hold, Signal, SignalName, SignalSummary, Window
from .blobs import pack_chunk, pack_journal, unpack_chunk, unpack_journal
from .catalog import IdColumn, join, split, summarize
from .schema import upgrade
from .select import bounds, fresh, pick

FOLD_AT_VALUES = 65_536
FOLD_AT_ROWS = 1_024
CHUNK_SAMPLES = 16_384

_NAN = float("nan")
_ALL = Window()


@dataclass(frozen=True)
class Kept:
    """What a store remembers at its start; the journal's columns are not in the summaries yet."""

    devices: list[tuple[int, str]]
    signals: list[tuple[Signal, SignalSummary | None]]
    journal: tuple[IdColumn, FloatColumn, FloatColumn]
    documents: dict[str, Any]
    last_device: int
    last_signal: int
    last_event: int


class Database:
    """One connection to the file.

    path: made if it is missing; fsync: whether a commit waits for the disk (else the data of a
    commit survives the process, not a power cut).
    """

    def __init__(self, path: Path, fsync: bool = False) -> None:
        self._path = path
        self._sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        self._sql.execute("PRAGMA journal_mode = WAL")
        self._sql.execute(f"PRAGMA synchronous = {'FULL' if fsync else 'NORMAL'}")
        self._sql.execute("PRAGMA cache_size = -16384")
        self._last_journal = 0
        self._journal_values = 0
        self._journal_rows = 0

    def upgrade(self) -> None:
        """Bring the schema up to date and take stock of the journal; raises NotAvailable if it is newer."""
        upgrade(self._sql, self._path)
        self._take_stock()

    def _take_stock(self) -> None:
        self._last_journal = self._sequence("journal")
        row = self._sql.execute("SELECT COUNT(*), COALESCE(SUM(samples), 0) FROM journal").fetchone()
        self._journal_rows, self._journal_values = row

    def close(self) -> None:
        """Let the file go."""
        self._sql.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all of a block or nothing; refuses to nest."""
        if self._sql.in_transaction:
            raise RuntimeError("a transaction within a transaction")
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._sql.in_transaction:
                self._sql.execute("ROLLBACK")
            self._take_stock()
            raise
        self._sql.execute("COMMIT")

    def load(self) -> Kept:
        """Return what the store remembers."""
        devices = self._sql.execute("SELECT id, name FROM devices ORDER BY id").fetchall()
        names = dict(devices)
        signals: list[tuple[Signal, SignalSummary | None]] = []
        folded: dict[int, int] = {}
        for number, device_id, name, unit, upto, *summary in self._sql.execute(
            "SELECT id, device_id, name, unit, folded, samples, first_x, last_x, last_y, x_min, x_max"
            " FROM signals ORDER BY id"
        ):
            signal = Signal(number, device_id, SignalName(names[device_id], name), unit)
            signals.append((signal, _summary(summary)))
            folded[number] = upto
        return Kept(
            devices=devices,
            signals=signals,
            journal=self._journal(folded),
            documents={
                key: json.loads(value) for key, value in self._sql.execute("SELECT key, value FROM documents")
            },
            last_device=self._sequence("devices"),
            last_signal=self._sequence("signals"),
            last_event=self._sequence("events"),
        )

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
            "INSERT INTO signals (id, device_id, name, unit) VALUES (?, ?, ?, ?)",
            (signal.id, signal.device_id, signal.name.name, signal.unit),
        )

    def set_unit(self, signal_id: int, unit: str) -> None:
        """Change a signal's unit."""
        self._sql.execute("UPDATE signals SET unit = ? WHERE id = ?", (unit, signal_id))

    def append(self, ids: IdColumn, x: FloatColumn, y: FloatColumn) -> None:
        """Enter values of any signals as one row of the journal."""
        cursor = self._sql.execute(
            "INSERT INTO journal (samples, data) VALUES (?, ?)", (len(ids), pack_journal(ids, x, y))
        )
        self._last_journal = cursor.lastrowid or 0
        self._journal_values += len(ids)
        self._journal_rows += 1

    def replace(self, signal_id: int, x: FloatColumn, y: FloatColumn) -> None:
        """Enter a signal's samples instead of those that it had."""
        self._sql.execute("DELETE FROM chunks WHERE signal_id = ?", (signal_id,))
        for start in range(0, len(x), CHUNK_SAMPLES):
            self._add_chunk(signal_id, x[start : start + CHUNK_SAMPLES], y[start : start + CHUNK_SAMPLES])
        self._sum_up(signal_id, summarize(x, y) if len(x) else None)

    def merge(
        self, signal_id: int, x: FloatColumn, y: FloatColumn, hold: Hold
    ) -> tuple[FloatColumn, FloatColumn]:
        """Append the pairs that are new by `hold`; return them."""
        known = self._read_one(signal_id, _ALL, self._journal_of({signal_id}))
        new_x, new_y = fresh(x, y, known.x, known.y, hold)
        if len(new_x):
            self.append(np.full(len(new_x), signal_id, np.uint32), new_x, new_y)
        return new_x, new_y

    def remove_signals(self, ids: Sequence[int], devices: Sequence[str]) -> int:
        """Remove signals with their samples and events, and these devices; return the count of events."""
        events = 0
        for number in ids:
            self._sql.execute("DELETE FROM chunks WHERE signal_id = ?", (number,))
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

    def add_event(self, signal_id: int, event: Event) -> None:
        """Enter an event."""
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
                json.dumps(event.value),
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

    def put_document(self, key: str, value: Any) -> None:
        """Keep a JSON value under that key."""
        self._sql.execute(
            "INSERT INTO documents (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, json.dumps(value)),
        )

    # Folding the journal into chunks.

    @property
    def fold_is_due(self) -> bool:
        """Whether the journal has grown enough to fold it."""
        return self._journal_values >= FOLD_AT_VALUES or self._journal_rows >= FOLD_AT_ROWS

    def fold(self) -> None:
        """Move the journal into chunks, in a transaction of its own."""
        if not self._journal_rows:
            return
        with self.transaction():
            rows = self._sql.execute("SELECT id, folded FROM signals").fetchall()
            for number, x, y in split(*self._journal(dict(rows))):
                self._extend(number, x, y)
            self._sql.execute("DELETE FROM journal")
        self._journal_values = self._journal_rows = 0

    def _extend(self, signal_id: int, x: FloatColumn, y: FloatColumn) -> None:
        row = self._sql.execute(
            "SELECT samples, first_x, last_x, last_y, x_min, x_max FROM signals WHERE id = ?", (signal_id,)
        ).fetchone()
        known, new = _summary(row), summarize(x, y)
        self._sum_up(signal_id, new if known is None else join(known, new))
        # A chunk is rewritten only with at least as many new samples: each is written log n times at most.
        newest = self._sql.execute(
            "SELECT id, samples, data FROM chunks WHERE signal_id = ? ORDER BY id DESC LIMIT 1", (signal_id,)
        ).fetchone()
        while newest and newest[1] <= len(x) and newest[1] + len(x) <= CHUNK_SAMPLES:
            old_x, old_y = unpack_chunk(newest[2])
            x, y = np.concatenate((old_x, x)), np.concatenate((old_y, y))
            self._sql.execute("DELETE FROM chunks WHERE id = ?", (newest[0],))
            newest = self._sql.execute(
                "SELECT id, samples, data FROM chunks WHERE signal_id = ? ORDER BY id DESC LIMIT 1",
                (signal_id,),
            ).fetchone()
        for start in range(0, len(x), CHUNK_SAMPLES):
            self._add_chunk(signal_id, x[start : start + CHUNK_SAMPLES], y[start : start + CHUNK_SAMPLES])

    def _add_chunk(self, signal_id: int, x: FloatColumn, y: FloatColumn) -> None:
        self._sql.execute(
            "INSERT INTO chunks (signal_id, samples, x_min, x_max, data) VALUES (?, ?, ?, ?, ?)",
            (signal_id, len(x), *bounds(x), pack_chunk(x, y)),
        )

    def _sum_up(self, signal_id: int, summary: SignalSummary | None) -> None:
        figures = (
            (0, None, None, None, None, None)
            if summary is None
            else (
                summary.count,
                summary.first_x,
                summary.last_x,
                summary.last_y,
                summary.x_min,
                summary.x_max,
            )
        )
        self._sql.execute(
            "UPDATE signals SET folded = ?, samples = ?, first_x = ?, last_x = ?, last_y = ?, x_min = ?,"
            " x_max = ? WHERE id = ?",
            (self._last_journal, *figures, signal_id),
        )

    # Reading.

    def read(self, requests: Sequence[tuple[int, Window]]) -> list[Columns]:
        """Return the samples of each request, all out of one snapshot."""
        with self._snapshot():
            journal = self._journal_of({number for number, _ in requests})
            return [self._read_one(number, window, journal) for number, window in requests]

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        self._sql.execute("BEGIN")
        try:
            yield
        finally:
            self._sql.execute("COMMIT")

    def _read_one(
        self, signal_id: int, window: Window, journal: dict[int, tuple[FloatColumn, FloatColumn]]
    ) -> Columns:
        row = self._sql.execute(
            "SELECT x_min, x_max FROM signals WHERE id = ? AND samples > 0", (signal_id,)
        ).fetchone()
        lows, highs = ([value] for value in (row or (None, None)))
        parts = self._chunks(signal_id, window)
        if signal_id in journal:
            low, high = bounds(journal[signal_id][0])
            lows.append(low)
            highs.append(high)
            parts.append(journal[signal_id])
        empty = np.empty(0)
        x = np.concatenate([part[0] for part in parts]) if parts else empty
        y = np.concatenate([part[1] for part in parts]) if parts else empty
        return pick(x, y, window, _extreme(np.fmin, lows), _extreme(np.fmax, highs))

    def _chunks(self, signal_id: int, window: Window) -> list[tuple[FloatColumn, FloatColumn]]:
        if window.newest is not None:
            return self._newest_chunks(signal_id, window.newest)
        rows = self._sql.execute(
            "SELECT data FROM chunks WHERE signal_id = ? AND (?2 IS NULL OR x_max > ?2)"
            " AND (?3 IS NULL OR x_min <= ?3) ORDER BY id",
            (signal_id, window.x_min, window.x_max),
        )
        return [unpack_chunk(data) for (data,) in rows]

    def _newest_chunks(self, signal_id: int, newest: int) -> list[tuple[FloatColumn, FloatColumn]]:
        parts: list[tuple[FloatColumn, FloatColumn]] = []
        for (data,) in self._sql.execute(
            "SELECT data FROM chunks WHERE signal_id = ? ORDER BY id DESC", (signal_id,)
        ):
            parts.append(unpack_chunk(data))
            newest -= len(parts[-1][0])
            if newest <= 0:
                break
        return parts[::-1]

    def _journal_of(self, ids: set[int]) -> dict[int, tuple[FloatColumn, FloatColumn]]:
        rows = self._sql.execute(
            "SELECT id, folded FROM signals WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(ids)),),
        ).fetchall()
        return {number: (x, y) for number, x, y in split(*self._journal(dict(rows)))}

    def _journal(self, folded: dict[int, int]) -> tuple[IdColumn, FloatColumn, FloatColumn]:
        """Return the journal's columns of these signals, less what is folded already."""
        seqs, blocks = [], []
        for seq, data in self._sql.execute("SELECT seq, data FROM journal ORDER BY seq"):
            blocks.append(unpack_journal(data))
            seqs.append(seq)
        if not blocks or not folded:
            return np.empty(0, np.uint32), np.empty(0), np.empty(0)
        ids, x, y = (np.concatenate(columns) for columns in zip(*blocks, strict=True))
        rows = np.repeat(np.array(seqs), [len(block[0]) for block in blocks])
        upto = np.full(max(int(ids.max()), *folded) + 1, np.iinfo(np.int64).max)
        upto[list(folded)] = list(folded.values())
        keep = rows > upto[ids]
        return ids[keep], x[keep], y[keep]

    def events(self, ids: Sequence[int] | None, limit: int | None) -> list[Event]:
        """Return the newest events (of these signals), oldest first."""
        rows = self._sql.execute(
            "SELECT e.id, d.name, s.name, e.text, e.x, e.priority, e.action_id, e.value FROM events e"
            " JOIN signals s ON s.id = e.signal_id JOIN devices d ON d.id = s.device_id"
            " WHERE ?1 IS NULL OR e.signal_id IN (SELECT value FROM json_each(?1))"
            " ORDER BY e.id DESC LIMIT ?2",
            (None if ids is None else json.dumps(list(ids)), -1 if limit is None else limit),
        ).fetchall()
        return [
            Event(
                SignalName(device, name),
                text,
                _NAN if x is None else x,
                priority,
                action_id,
                json.loads(value),
                number,
            )
            for number, device, name, text, x, priority, action_id, value in reversed(rows)
        ]


def _summary(row: Sequence[Any]) -> SignalSummary | None:
    count, *figures = row
    # SQLite has no NaN: it keeps NULL instead.
    return (
        SignalSummary(count, *(_NAN if figure is None else figure for figure in figures)) if count else None
    )


def _extreme(choose: Callable[[float, float], float], figures: Iterable[float | None]) -> float:
    extreme = _NAN
    for figure in figures:
        extreme = float(choose(extreme, _NAN if figure is None else figure))
    return extreme
