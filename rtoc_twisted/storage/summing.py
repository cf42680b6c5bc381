"""Sums of one signal by buckets, out of rollups where these suffice, chunk by chunk where they do not."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator

import numpy as np

from ..errors import BadValue, StorageFailed
from ..model import Buckets, Window
from .aggregate import Partials, coarsen, partials
from .rollups import unpack_rollup
from .runs import IN_WINDOW, Runs, is_inside
from .select import Run

_RETIRED = 2


class Summing:
    """Sums up the chunks of a signal.

    `left_out` counts samples of the window that are not in the sums, because they are gone or damaged.
    """

    def __init__(self, sql: sqlite3.Connection, signal_id: int, window: Window, buckets: Buckets) -> None:
        self._sql = sql
        self._signal_id = signal_id
        self._window = window
        self._buckets = buckets
        self._runs = Runs(sql, signal_id)
        self._damaged = 0
        self.left_out = 0

    @property
    def damaged(self) -> int:
        """Return how many samples there are that could not be summed up."""
        return self._damaged + self._runs.damaged

    def chunks(self) -> Iterator[Partials]:
        """Yield the sums of each chunk; raises BadValue where nothing is left of one with such buckets."""
        window = self._window
        rows = self._sql.execute(
            "SELECT id, samples, x_min, x_max, packed" + IN_WINDOW,  # noqa: S608 - a constant of ours
            (self._signal_id, window.x_min, window.x_max),
        ).fetchall()
        for number, samples, low, high, packed in rows:
            retired = packed == _RETIRED
            widths = self._widths(number) if retired or is_inside(window, low, high) else []
            fitting = self._fitting(widths)
            rolled = self._rolled(number, fitting)
            if rolled is not None:
                yield rolled
            elif fitting and retired:
                self._damaged += samples
                self.left_out += samples
            elif widths and retired:
                raise BadValue(_explain(widths))
            else:
                # Of a chunk too sparse for any rollup, what is left is all that there is.
                yield self._summed(self._runs.chunk(number).within(window))

    def _summed(self, run: Run) -> Partials:
        self.left_out += run.recorded - len(run.x)
        return partials(run.x, run.y, self._buckets.width, self._buckets.origin)

    def _widths(self, number: int) -> list[float]:
        """Return the widths of a chunk's rollups, the widest first."""
        rows = self._sql.execute(
            "SELECT width FROM rollups WHERE chunk_id = ? ORDER BY width DESC", (number,)
        )
        return [width for (width,) in rows]

    def _fitting(self, widths: list[float]) -> list[float]:
        """Return those of the widths whose buckets each lie within one of ours."""
        width, origin = self._buckets.width, self._buckets.origin
        return [finer for finer in widths if not math.fmod(width, finer) and not math.fmod(origin, finer)]

    def _rolled(self, number: int, widths: list[float]) -> Partials | None:
        """Return the sums of a chunk out of the first of these rollups that can be read."""
        for width in widths:
            (data,) = self._sql.execute(
                "SELECT data FROM rollups WHERE chunk_id = ? AND width = ?", (number, width)
            ).fetchone()
            try:
                rollup = self._overlapping(unpack_rollup(data), width)
            except StorageFailed:
                continue
            if width == self._buckets.width:
                return rollup
            return coarsen(rollup, self._buckets.width, self._buckets.origin)
        return None

    def _overlapping(self, rollup: Partials, width: float) -> Partials:
        keep = np.ones(len(rollup.start), dtype=bool)
        if self._window.x_min is not None:
            keep &= rollup.start + width > self._window.x_min
        if self._window.x_max is not None:
            keep &= rollup.start <= self._window.x_max
        return rollup if keep.all() else rollup.take(keep)


def _explain(widths: list[float]) -> str:
    told = ", ".join(f"{width:g}" for width in reversed(widths))
    return f"single samples are gone: expected a multiple of one of {told} (origin, too)"
