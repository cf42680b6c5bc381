"""The chunks of signals in the SQLite file: added plain, packed when it is quiet, by the one that writes.

A chunk is plain, then packed with an outline and rollups; it retires when its samples are to go, and
what stays are the outline (now as its samples) and the rollups; in the end it is dropped.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

import numpy as np

from ..errors import StorageFailed
from ..model import FloatColumn, SignalSummary
from .blobs import plain
from .catalog import join, summarize, summary_of
from .drawing import DRAWN, Drawn, Packed, Rollups, draw_next, missing_rollups, outline, pack_next
from .retention import DAY, ChunkFacts, Moments
from .rollups import WIDTHS
from .runs import read_chunk
from .select import bounds, new_epoch

CHUNK_SAMPLES = 16_384
PLAIN, PACKED, RETIRED = range(3)
"""What chunks.packed says."""

_HOUR = 3600.0


class Chunks:
    """The chunks, and the figures of their signals. All of it inside of the caller's transaction.

    widths: of rollups; moments: tells when a chunk is written. Their numbers grow, and none is used
    twice as long as this one lives: whoever decided on a chunk can come back to it later.
    """

    def __init__(
        self, sql: sqlite3.Connection, widths: Sequence[float] = WIDTHS, moments: Moments | None = None
    ) -> None:
        self._sql = sql
        self.widths = tuple(widths)
        self.moments = moments or Moments()
        self._page: float | None = None
        self._last = 0

    def undo(self) -> None:
        """Forget what may have been rolled back."""
        self._page = None

    def replace(
        self, signal_id: int, x: FloatColumn, y: FloatColumn, summary: SignalSummary | None, folded: int
    ) -> None:
        """Enter a signal's samples, and their summary, instead of those up to a row of the journal."""
        self.remove(signal_id)
        self._sql.execute("UPDATE signals SET epoch = ?, dropped = 0 WHERE id = ?", (new_epoch(), signal_id))
        self._add(signal_id, x, y)
        self._sum_up(signal_id, summary, folded)

    def remove(self, signal_id: int) -> None:
        """Remove a signal's chunks, those that are damaged and set aside, too."""
        for table in ("chunks", "lost"):
            self._sql.execute(f"DELETE FROM {table} WHERE signal_id = ?", (signal_id,))  # noqa: S608 - ours

    def clear(self) -> None:
        """Remove all chunks."""
        for table in ("chunks", "lost"):
            self._sql.execute(f"DELETE FROM {table}")  # noqa: S608 - ours

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
        while newest and newest[1] <= len(x) <= CHUNK_SAMPLES - newest[1] and newest[2] != RETIRED:
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
            "INSERT INTO chunks (id, signal_id, samples, x_min, x_max, data) VALUES (?, ?, ?, ?, ?, ?)",
            (self._number(), signal_id, len(x), *bounds(x), plain(x, y)),
        )

    def _number(self) -> int:
        """Return the number of a new chunk, entered in the calendar if it is the first of its hour."""
        moment = self._now()
        self._last += 1
        if self._page is None or moment - self._page >= _HOUR:
            self._sql.execute("INSERT INTO calendar (chunk_id, moment) VALUES (?, ?)", (self._last, moment))
            # Of the rows that are older than all chunks the newest says all that is to say.
            self._sql.execute(
                "DELETE FROM calendar WHERE chunk_id < (SELECT MAX(chunk_id) FROM calendar"
                " WHERE chunk_id <= (SELECT MIN(id) FROM chunks))"
            )
            self._page = moment
        return self._last

    def _now(self) -> float:
        if not self._last or self._page is None:
            row = self._sql.execute(
                "SELECT chunk_id, moment FROM calendar ORDER BY chunk_id DESC LIMIT 1"
            ).fetchone()
            # Those that are lost keep their places.
            (last,) = self._sql.execute(
                "SELECT MAX(id) FROM (SELECT MAX(id) AS id FROM chunks UNION ALL SELECT MAX(id) FROM lost)"
            ).fetchone()
            self._last = max(self._last, last or 0)
            if row is not None:
                self._last = max(self._last, row[0])
                self._page = row[1]
                self.moments.not_before(row[1])
        return self.moments()

    def before(self, days: float) -> int:
        """Return the number below which all chunks were written that many days ago, or earlier."""
        (number,) = self._sql.execute(
            "SELECT MAX(chunk_id) FROM calendar WHERE moment <= ?", (self._now() - days * DAY,)
        ).fetchone()
        return number or 0

    def facts(self, signal_id: int) -> list[ChunkFacts]:
        """Return what a rule has to know of a signal's chunks, oldest first."""
        rows = self._sql.execute(
            "SELECT id, samples, length(data), packed FROM chunks WHERE signal_id = ? ORDER BY id",
            (signal_id,),
        )
        return [
            ChunkFacts(number, samples, size, packed == RETIRED) for number, samples, size, packed in rows
        ]

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

    def keys(self, above: int, limit: int) -> list[tuple[int, str]]:
        """Return the ids and the sigKeys of the signals behind an id, so many at most."""
        return self._sql.execute(
            "SELECT s.id, d.name || '.' || s.name FROM signals s JOIN devices d ON d.id = s.device_id"
            " WHERE s.id > ? ORDER BY s.id LIMIT ?",
            (above, limit),
        ).fetchall()

    def pack_one(self) -> bool:
        """Pack a large chunk and draw its outline; return whether there was one."""
        packed = pack_next(self._sql, self.widths)
        if packed is not None:
            self.enter(packed)
        return packed is not None

    def draw_one(self) -> bool:
        """Draw the rollups of a packed chunk that has none; return whether there may be more."""
        drawn = draw_next(self._sql, self.widths)
        if drawn is not None:
            self.enter(drawn)
        return drawn is not None

    def enter(self, made: Packed | Drawn) -> None:
        """Put in what was made of a chunk, if that is still there as it was."""
        if isinstance(made, Packed):
            self._enter_packed(made)
            return
        if made.number is not None:
            self._enter_rollups(made.number, made.rollups)
        self._sql.execute(
            "INSERT INTO documents (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (DRAWN, json.dumps({"widths": self.widths, "upto": made.upto})),
        )

    def _enter_packed(self, packed: Packed) -> None:
        if packed.data is None:
            # Reads of its signal tell it; the others are to be packed all the same.
            self._sql.execute("UPDATE chunks SET packed = 1 WHERE id = ? AND packed = 0", (packed.number,))
            return
        # A number stands for the same samples always.
        changed = self._sql.execute(
            "UPDATE chunks SET packed = 1, data = ? WHERE id = ? AND packed = 0", (packed.data, packed.number)
        )
        if changed.rowcount:
            self._sql.execute(
                "INSERT OR REPLACE INTO outlines (chunk_id, data) VALUES (?, ?)",
                (packed.number, packed.outline),
            )
            self._enter_rollups(packed.number, packed.rollups)

    def _enter_rollups(self, number: int, rollups: Rollups) -> None:
        self._sql.executemany(
            "INSERT OR IGNORE INTO rollups (chunk_id, width, data)"
            " SELECT ?1, ?2, ?3 WHERE EXISTS (SELECT 1 FROM chunks WHERE id = ?1)",
            [(number, width, data) for width, data in rollups],
        )

    def retire(self, number: int) -> bool:
        """Let go of a chunk's samples; its outline and its rollups stay, drawn now if they were not.

        Return whether there were any samples.
        """
        row = self._sql.execute(
            "SELECT packed, x_min, x_max, data FROM chunks WHERE id = ? AND packed <> 2", (number,)
        ).fetchone()
        if row is None:
            return False
        packed, low, high, data = row
        try:
            x, y = read_chunk(packed, data)
        except StorageFailed:
            # There is nothing to make an outline of. Reads of its signal tell it.
            self._sql.execute("UPDATE chunks SET packed = 2 WHERE id = ?", (number,))
            return True
        few = outline(x, y, low, high)
        # In this order it needs no page that is not free already.
        self._sql.execute("DELETE FROM outlines WHERE chunk_id = ?", (number,))
        self._sql.execute("UPDATE chunks SET packed = 2, data = x'' WHERE id = ?", (number,))
        self._sql.execute("UPDATE chunks SET data = ? WHERE id = ?", (few, number))
        self._enter_rollups(number, missing_rollups(self._sql, number, x, y, self.widths))
        return True

    def newest(self) -> int:
        """Return the number of the newest chunk, 0 if there is none."""
        (number,) = self._sql.execute("SELECT MAX(id) FROM chunks").fetchone()
        return number or 0

    def oldest(self, *, retired: bool, above: int = 0) -> tuple[int, int] | None:
        """Return the number and the signal of the oldest chunk that is retired, or is not; None if none is.

        above: the search begins behind that number.
        """
        row: tuple[int, int] | None = self._sql.execute(
            "SELECT id, signal_id FROM chunks WHERE id > ? AND (packed = 2) = ? ORDER BY id LIMIT 1",
            (above, retired),
        ).fetchone()
        return row

    def drop(self, signal_id: int, numbers: Sequence[int]) -> None:
        """Remove chunks of a signal for good, the oldest ones, and correct its figures.

        Lost ones as old as these go, too; they were taken out of the figures before.
        """
        wanted = json.dumps(list(numbers))
        # Without those that went another way meanwhile.
        (gone,) = self._sql.execute(
            "SELECT COALESCE(SUM(samples), 0) FROM chunks WHERE signal_id = ?"
            " AND id IN (SELECT value FROM json_each(?))",
            (signal_id, wanted),
        ).fetchone()
        self._sql.execute(
            "DELETE FROM chunks WHERE signal_id = ? AND id IN (SELECT value FROM json_each(?))",
            (signal_id, wanted),
        )
        self._sql.execute("DELETE FROM lost WHERE signal_id = ? AND id <= ?", (signal_id, max(numbers)))
        self._sql.execute(
            "UPDATE signals SET samples = samples - ?1, dropped = dropped + ?1, (first_x, x_min, x_max)"
            " = (?3, (SELECT MIN(x_min) FROM chunks WHERE signal_id = ?2),"
            " (SELECT MAX(x_max) FROM chunks WHERE signal_id = ?2)) WHERE id = ?2",
            (gone, signal_id, self._first_x(signal_id)),
        )

    def _first_x(self, signal_id: int) -> float | None:
        row = self._sql.execute(
            "SELECT packed, data, x_min FROM chunks WHERE signal_id = ? ORDER BY id LIMIT 1", (signal_id,)
        ).fetchone()
        if row is None:
            return None
        try:
            x, _ = read_chunk(*row[:2])
        except StorageFailed:
            return float("nan") if row[2] is None else row[2]
        return float(x[0]) if len(x) else None
