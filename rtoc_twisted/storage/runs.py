"""The chunks of one signal that a read needs, and no more of them than that."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from ..errors import StorageFailed
from ..model import FloatColumn, Window
from .blobs import read_plain, unpack_chunk
from .select import EMPTY, Run, check_room, span

OUTLINE_RATIO = 32
"""How many samples of a chunk one of its outline stands for."""

FINER = 4
"""How many samples of outlines there must be for each that is answered."""

_PACKED = 1

IN_WINDOW = (
    " FROM chunks WHERE signal_id = ?1 AND (?2 IS NULL OR x_max > ?2) AND (?3 IS NULL OR x_min <= ?3)"
    " ORDER BY id"
)
"""Which chunks may hold samples of a window; takes the signal's id, x_min and x_max."""

_INSIDE = (
    "SELECT coalesce(sum(samples), 0) FROM chunks WHERE signal_id = ?1 AND packed <> 2"
    " AND (?2 IS NULL OR x_min > ?2) AND (?3 IS NULL OR x_max <= ?3)"
)
"""How many samples there are in the chunks within a window that have not retired; takes the same."""


class _Place(NamedTuple):
    """Where a chunk is: its number, how many samples were recorded in it, and the bounds of their x."""

    number: int
    samples: int
    x_min: float | None
    x_max: float | None


class Runs:
    """Reads chunks of a signal as runs, in the order of arrival.

    `damaged` counts the samples of those that cannot be read, whose runs are empty. room: how many samples
    of bounds of x there may be.
    """

    def __init__(self, sql: sqlite3.Connection, signal_id: int, room: int | None = None) -> None:
        self._sql = sql
        self._signal_id = signal_id
        self._room = room
        self.damaged = 0

    def read(self, window: Window, epoch: int, oldest: int, newer: int) -> list[Run]:
        """Return what a window needs of the chunks, the runs that matter to its ordinals with their length.

        oldest: the ordinal of the first sample; newer: how many samples there are after the chunks.
        Raises BadValue where the window is a page after a cursor that has no meaning here, TooLarge where
        there is no room for what is between bounds of x.
        """
        if window.page is not None:
            places = self._places()
            start, stop = span(window, epoch, oldest, oldest + sum(place.samples for place in places) + newer)
            return list(self._between(places, start - oldest, stop - oldest, window))
        if window.newest is not None:
            return self._newest(window.newest - newer)
        return self._within(window)

    def _within(self, window: Window) -> list[Run]:
        """Return the chunks that may hold samples of a window; of those inside outlines, if they suffice."""
        if window.max_points is not None:
            outlined = self._outlined(window, window.max_points)
            if outlined is not None:
                return outlined
        room = self._room if window.max_points is None else None
        bounds = (self._signal_id, window.x_min, window.x_max)
        if room is not None:
            (surely,) = self._sql.execute(_INSIDE, bounds).fetchone()
            check_room(surely, room)
        rows = self._sql.execute(
            "SELECT samples, packed, data" + IN_WINDOW,  # noqa: S608 - a constant of ours
            bounds,
        )
        runs, found = [], 0
        for row in rows:
            runs.append(self._run(*row).within(window))
            found += len(runs[-1].x)
            check_room(found, room)
        return runs

    def _outlined(self, window: Window, max_points: int) -> list[Run] | None:
        """Return the outlines of the chunks within the window, and the chunks at its edges.

        None where there are so few samples that outlines would be coarser than the answer.
        """
        rows = self._sql.execute(
            "SELECT id, samples, x_min, x_max" + IN_WINDOW,  # noqa: S608 - a constant of ours
            (self._signal_id, window.x_min, window.x_max),
        ).fetchall()
        if sum(row[1] for row in rows) < max_points * OUTLINE_RATIO * FINER:
            return None
        outlines = self._outlines([number for number, _, low, high in rows if is_inside(window, low, high)])
        return [
            Run(*outlines[number], samples) if number in outlines else self.chunk(number)
            for number, samples, _, _ in rows
        ]

    def _outlines(self, numbers: list[int]) -> dict[int, tuple[FloatColumn, FloatColumn]]:
        """Return the outlines of chunks, as far as there are any that can be read."""
        outlines = {}
        for number, data in self._sql.execute(
            "SELECT chunk_id, data FROM outlines WHERE chunk_id IN (SELECT value FROM json_each(?))",
            (json.dumps(numbers),),
        ):
            with suppress(StorageFailed):
                outlines[number] = read_plain(data)
        return outlines

    def chunk(self, number: int) -> Run:
        """Return a chunk."""
        return self._run(
            *self._sql.execute("SELECT samples, packed, data FROM chunks WHERE id = ?", (number,)).fetchone()
        )

    def _newest(self, count: int) -> list[Run]:
        """Return the newest chunks, as many as are needed for that many samples."""
        runs: list[Run] = []
        rows = self._sql.execute(
            "SELECT samples, packed, data FROM chunks WHERE signal_id = ? ORDER BY id DESC",
            (self._signal_id,),
        )
        while count > 0 and (row := rows.fetchone()):
            runs.append(self._run(*row))
            count -= row[0]
        return runs[::-1]

    def _places(self) -> list[_Place]:
        """Return where the chunks are."""
        rows = self._sql.execute(
            "SELECT id, samples, x_min, x_max FROM chunks WHERE signal_id = ? ORDER BY id", (self._signal_id,)
        )
        return [_Place(*row) for row in rows]

    def _between(self, places: list[_Place], start: int, stop: int, window: Window) -> Iterator[Run]:
        """Yield the chunks; those that are not from `start` to before `stop` are not read, and empty.

        What is outside the window's bounds of x is not read, either: NaN is within no bounds.
        """
        place = 0
        for chunk in places:
            if not (place < stop and place + chunk.samples > start):
                yield Run(EMPTY, EMPTY, chunk.samples)
            elif is_outside(window, chunk.x_min, chunk.x_max):
                elsewhere = np.broadcast_to(np.nan, chunk.samples)
                yield Run(elsewhere, elsewhere, chunk.samples)
            else:
                yield self.chunk(chunk.number)
            place += chunk.samples

    def _run(self, samples: int, packed: int, data: bytes) -> Run:
        try:
            return Run(*read_chunk(packed, data), samples)
        except StorageFailed:
            self.damaged += samples
            return Run(EMPTY, EMPTY, samples)


def is_inside(window: Window, low: float | None, high: float | None) -> bool:
    """Return whether a chunk whose x are between these lies within a window's bounds."""
    above = window.x_min is None or (low is not None and low > window.x_min)
    return above and (window.x_max is None or (high is not None and high <= window.x_max))


def is_outside(window: Window, low: float | None, high: float | None) -> bool:
    """Return whether nothing of a chunk whose x are between these lies within a window's bounds."""
    below = window.x_min is not None and (high is None or high <= window.x_min)
    return below or (window.x_max is not None and (low is None or low > window.x_max))


def read_chunk(packed: int, data: bytes) -> tuple[FloatColumn, FloatColumn]:
    """Return the columns of a chunk, or the outline of one that retired; raises StorageFailed if damaged.

    packed: as in the table (storage.schema).
    """
    return unpack_chunk(data) if packed == _PACKED else read_plain(data)
