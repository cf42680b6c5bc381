"""The reading half of the SQLite file behind the store: SQL, called from one thread at a time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import BadValue, Damaged
from ..model import Buckets, Columns, Event, FloatColumn, SignalName, SignalSummary, Sums, Window
from .aggregate import partials
from .blobs import unpack_journal
from .catalog import IdColumn, split
from .documents import from_text
from .runs import Runs
from .select import EMPTY, NOTHING, Run, bounds, told, view
from .summing import Summing
from .sums import sum_up

_NAN = float("nan")
_ENDLESS = 2**63 - 1

_Found = TypeVar("_Found", Columns, Sums)


class Reader:
    """A connection to the file, which is made if it is missing.

    synchronous: SQLite's word for when a commit is safe, for who writes.
    """

    def __init__(self, path: Path, synchronous: str = "NORMAL") -> None:
        self._sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            self._sql.execute("PRAGMA journal_mode = WAL")
            self._sql.execute(f"PRAGMA synchronous = {synchronous}")
            self._sql.execute("PRAGMA cache_size = -16384")
        except sqlite3.Error:
            self._sql.close()
            raise

    def close(self) -> None:
        """Let the file go."""
        self._sql.close()

    def read(self, requests: Sequence[tuple[int, Window]]) -> list[Columns]:
        """Return the samples of each request, all out of one snapshot."""
        with self._snapshot():
            journal = self._journal_of({number for number, _ in requests})
            return [
                self._read_one(number, window, journal.get(number, NOTHING)) for number, window in requests
            ]

    def aggregate(self, requests: Sequence[tuple[int, Window, Buckets]]) -> list[Sums]:
        """Return the sums of each request, all out of one snapshot."""
        with self._snapshot():
            journal = self._journal_of({number for number, _, _ in requests})
            return [self._sum_up(*request, journal.get(request[0], NOTHING)) for request in requests]

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        self._sql.execute("BEGIN")
        try:
            yield
        finally:
            self._sql.execute("COMMIT")

    def _read_one(self, signal_id: int, window: Window, newer: Run) -> Columns:
        """Return what a window shows of a signal. newer: its samples that are in the journal."""
        row = self._sql.execute(
            "SELECT x_min, x_max, epoch, dropped FROM signals WHERE id = ?", (signal_id,)
        ).fetchone()
        if row is None:
            return Columns(EMPTY, EMPTY, _NAN, _NAN)
        (low, high), (epoch, oldest) = zip(row[:2], bounds(newer.x), strict=True), row[2:]
        x_range = _extreme(np.fmin, low), _extreme(np.fmax, high)
        chunks = Runs(self._sql, signal_id)
        try:
            runs = [*chunks.read(window, epoch, oldest, newer.recorded), newer]
            columns = view(runs, window, *x_range, epoch, oldest)
        except BadValue as problem:
            columns = Columns(EMPTY, EMPTY, *x_range, error=problem)
        return told(_with_damage(columns, chunks.damaged), window)

    def _sum_up(self, signal_id: int, window: Window, buckets: Buckets, newer: Run) -> Sums:
        chunks = Summing(self._sql, signal_id, window, buckets)
        newer = newer.within(window)
        newest = partials(newer.x, newer.y, buckets.width, buckets.origin)
        sums = sum_up(chain(chunks.chunks(), (newest,)), buckets)
        return told(_with_damage(sums, chunks.damaged), window)

    def _journal_of(self, ids: set[int]) -> dict[int, Run]:
        rows = self._sql.execute(
            "SELECT id, folded FROM signals WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(ids)),),
        ).fetchall()
        return {number: Run(x, y, len(x)) for number, x, y in split(*self._journal(dict(rows)))}

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
        limit = _ENDLESS if limit is None else min(max(limit, 0), _ENDLESS)
        rows = self._sql.execute(
            "SELECT e.id, d.name, s.name, e.text, e.x, e.priority, e.action_id, e.value FROM events e"
            " JOIN signals s ON s.id = e.signal_id JOIN devices d ON d.id = s.device_id"
            " WHERE ?1 IS NULL OR e.signal_id IN (SELECT value FROM json_each(?1))"
            " ORDER BY e.id DESC LIMIT ?2",
            (None if ids is None else json.dumps(list(ids)), limit),
        ).fetchall()
        return [
            Event(
                SignalName(device, name),
                text,
                _NAN if x is None else x,
                priority,
                action_id,
                from_text(value),
                number,
            )
            for number, device, name, text, x, priority, action_id, value in reversed(rows)
        ]


def summary_of(row: Sequence[Any]) -> SignalSummary | None:
    """Return the summary that a row of figures tells; None where there are no samples."""
    count, *figures = row
    # SQLite has no NaN: it keeps NULL instead.
    return (
        SignalSummary(count, *(_NAN if figure is None else figure for figure in figures)) if count else None
    )


def _with_damage(found: _Found, count: int) -> _Found:
    """Return what was found, telling how many samples are damaged."""
    if not count or found.error is not None:
        return found
    return replace(found, error=Damaged(f"{count} samples are damaged on disk and left out"))


def _extreme(choose: Callable[[float, float], float], figures: Iterable[float | None]) -> float:
    extreme = _NAN
    for figure in figures:
        extreme = float(choose(extreme, _NAN if figure is None else figure))
    return extreme
