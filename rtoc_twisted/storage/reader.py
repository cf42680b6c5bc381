"""The reading half of the SQLite file behind the store: SQL, called from one thread at a time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..model import Columns, Event, FloatColumn, SignalName, SignalSummary, Window
from .blobs import read_plain, unpack_chunk, unpack_journal
from .catalog import IdColumn, split
from .documents import from_text
from .select import bounds, pick

_NAN = float("nan")
_ENDLESS = 2**63 - 1

OUTLINE_RATIO = 32
"""How many samples of a chunk one of its outline stands for."""

_FINER = 4
"""How many samples of outlines there must be for each that is answered."""

_IN_WINDOW = "WHERE signal_id = ?1 AND (?2 IS NULL OR x_max > ?2) AND (?3 IS NULL OR x_min <= ?3) ORDER BY id"


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
        if window.max_points is not None:
            found = self._outlined_chunks(signal_id, window, window.max_points)
            if found is not None:
                return found
        rows = self._sql.execute(
            "SELECT packed, data FROM chunks " + _IN_WINDOW,  # noqa: S608 - a constant of ours
            (signal_id, window.x_min, window.x_max),
        )
        return [read_chunk(packed, data) for packed, data in rows]

    def _outlined_chunks(
        self, signal_id: int, window: Window, max_points: int
    ) -> list[tuple[FloatColumn, FloatColumn]] | None:
        """Return the outlines of the chunks within the window, and the chunks at its edges.

        None where there are so few samples that outlines would be coarser than the answer.
        """
        rows = self._sql.execute(
            "SELECT id, samples, x_min, x_max, EXISTS (SELECT 1 FROM outlines WHERE chunk_id = id)"  # noqa: S608
            " FROM chunks " + _IN_WINDOW,
            (signal_id, window.x_min, window.x_max),
        ).fetchall()
        if sum(row[1] for row in rows) < max_points * OUTLINE_RATIO * _FINER:
            return None
        parts = []
        for number, _, low, high, outlined in rows:
            inside = (window.x_min is None or low > window.x_min) and (
                window.x_max is None or high <= window.x_max
            )
            if outlined and inside:
                query = "SELECT 0, data FROM outlines WHERE chunk_id = ?"
            else:
                query = "SELECT packed, data FROM chunks WHERE id = ?"
            parts.append(read_chunk(*self._sql.execute(query, (number,)).fetchone()))
        return parts

    def _newest_chunks(self, signal_id: int, newest: int) -> list[tuple[FloatColumn, FloatColumn]]:
        parts: list[tuple[FloatColumn, FloatColumn]] = []
        for packed, data in self._sql.execute(
            "SELECT packed, data FROM chunks WHERE signal_id = ? ORDER BY id DESC", (signal_id,)
        ):
            parts.append(read_chunk(packed, data))
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


def read_chunk(packed: int, data: bytes) -> tuple[FloatColumn, FloatColumn]:
    """Return the columns of a chunk or an outline; raises StorageFailed if it is damaged."""
    return unpack_chunk(data) if packed else read_plain(data)


def summary_of(row: Sequence[Any]) -> SignalSummary | None:
    """Return the summary that a row of figures tells; None where there are no samples."""
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
