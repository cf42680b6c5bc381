"""The chunks of signals in the SQLite file: added plain, packed when it is quiet, by the one that writes."""

from __future__ import annotations

import sqlite3

import numpy as np

from ..errors import StorageFailed
from ..model import Columns, FloatColumn, SignalSummary
from .blobs import pack_chunk, plain
from .catalog import join, summarize
from .decimate import decimate
from .reader import OUTLINE_RATIO, read_chunk, summary_of
from .select import bounds

CHUNK_SAMPLES = 16_384

_LARGE_CHUNK = (
    "SELECT id, x_min, x_max, data FROM chunks WHERE packed = 0 AND samples >= 4096 ORDER BY id LIMIT 1"
)
"""In the words of the index `chunks_to_pack`."""


class Chunks:
    """The chunks, and the figures of their signals. All of it inside of the caller's transaction."""

    def __init__(self, sql: sqlite3.Connection) -> None:
        self._sql = sql

    def replace(self, signal_id: int, x: FloatColumn, y: FloatColumn, folded: int) -> None:
        """Enter a signal's samples instead of those that it had up to a row of the journal."""
        self.remove(signal_id)
        self._add(signal_id, x, y)
        self._sum_up(signal_id, summarize(x, y) if len(x) else None, folded)

    def remove(self, signal_id: int) -> None:
        """Remove a signal's chunks."""
        self._sql.execute("DELETE FROM chunks WHERE signal_id = ?", (signal_id,))

    def extend(self, signal_id: int, x: FloatColumn, y: FloatColumn, folded: int) -> None:
        """Add samples that the journal held up to that row, unless they went another way meanwhile."""
        row = self._sql.execute(
            "SELECT samples, first_x, last_x, last_y, x_min, x_max FROM signals WHERE id = ? AND folded < ?",
            (signal_id, folded),
        ).fetchone()
        if row is None:
            # Removed, or replaced, since the folding began.
            return
        self._sum_up(signal_id, join(summary_of(row), summarize(x, y)), folded)
        # A chunk is rewritten only with at least as many new samples: each is written log n times at most.
        newest = self._newest(signal_id)
        while newest and newest[1] <= len(x) and newest[1] + len(x) <= CHUNK_SAMPLES:
            try:
                old_x, old_y = read_chunk(newest[2], newest[3])
            except StorageFailed:
                # Reads of this signal tell it; the journal has to be folded all the same.
                break
            x, y = np.concatenate((old_x, x)), np.concatenate((old_y, y))
            self._sql.execute("DELETE FROM chunks WHERE id = ?", (newest[0],))
            newest = self._newest(signal_id)
        self._add(signal_id, x, y)

    def _newest(self, signal_id: int) -> tuple[int, int, int, bytes] | None:
        row: tuple[int, int, int, bytes] | None = self._sql.execute(
            "SELECT id, samples, packed, data FROM chunks WHERE signal_id = ? ORDER BY id DESC LIMIT 1",
            (signal_id,),
        ).fetchone()
        return row

    def _add(self, signal_id: int, x: FloatColumn, y: FloatColumn) -> None:
        for start in range(0, len(x), CHUNK_SAMPLES):
            part = slice(start, start + CHUNK_SAMPLES)
            self._add_one(signal_id, x[part], y[part])

    def _add_one(self, signal_id: int, x: FloatColumn, y: FloatColumn) -> None:
        self._sql.execute(
            "INSERT INTO chunks (signal_id, samples, x_min, x_max, data) VALUES (?, ?, ?, ?, ?)",
            (signal_id, len(x), *bounds(x), plain(x, y)),
        )

    def _sum_up(self, signal_id: int, summary: SignalSummary | None, folded: int) -> None:
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
            (folded, *figures, signal_id),
        )

    def pack_one(self) -> bool:
        """Pack a large chunk and draw its outline; return whether there was one."""
        row = self._sql.execute(_LARGE_CHUNK).fetchone()
        if row is None:
            return False
        number, low, high, data = row
        try:
            x, y = read_chunk(0, data)
        except StorageFailed:
            # Reads of its signal tell it; the others are to be packed all the same.
            self._sql.execute("UPDATE chunks SET packed = 1 WHERE id = ?", (number,))
            return True
        outline = decimate(Columns(x, y, low, high), len(x) // OUTLINE_RATIO)
        self._sql.execute("UPDATE chunks SET packed = 1, data = ? WHERE id = ?", (pack_chunk(x, y), number))
        self._sql.execute(
            "INSERT INTO outlines (chunk_id, data) VALUES (?, ?)", (number, plain(outline.x, outline.y))
        )
        return True
