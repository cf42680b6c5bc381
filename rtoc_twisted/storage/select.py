"""Which samples a window or a merge takes: the rules, once for every provider."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from ..errors import BadValue, TooLarge
from ..model import Columns, Cursor, FloatColumn, Hold, Sums, Window
from .decimate import decimate

EMPTY: FloatColumn = np.empty(0)

_Found = TypeVar("_Found", Columns, Sums)


_EPOCH_BITS = 31


def new_epoch() -> int:
    """Return a number for the samples that a signal has from now on, other than any it had."""
    return secrets.randbits(_EPOCH_BITS)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Samples in the order of arrival: all, or what is left, of `recorded` that came one after the other.

    What is left stands for the others: sample i of n came at the place i * recorded // n.
    """

    x: FloatColumn
    y: FloatColumn
    recorded: int

    def part(self, start: int, stop: int) -> Run:
        """Return what came at the places from `start` to before `stop`, as far as the run reaches."""
        start, stop = max(start, 0), min(stop, self.recorded)
        if not start and stop == self.recorded:
            return self
        low, high = (-(-place * len(self.x) // self.recorded) for place in (start, stop))
        return Run(self.x[low:high], self.y[low:high], stop - start)

    def within(self, window: Window) -> Run:
        """Return what lies within a window's bounds of x."""
        inside = np.ones(len(self.x), dtype=bool)
        if window.x_min is not None:
            inside &= self.x > window.x_min
        if window.x_max is not None:
            inside &= self.x <= window.x_max
        count = int(np.count_nonzero(inside))
        if count == len(inside):
            return self
        return Run(self.x[inside], self.y[inside], self.recorded * count // len(inside))


NOTHING = Run(EMPTY, EMPTY, 0)


def clip(runs: Iterable[Run], start: int, stop: int) -> list[Run]:
    """Return what came at the places from `start` to before `stop` of several runs, one after the other."""
    clipped, place = [], 0
    for run in runs:
        if place < stop and place + run.recorded > start:
            clipped.append(run.part(start - place, stop - place))
        place += run.recorded
    return clipped


def span(window: Window, epoch: int, oldest: int, total: int) -> tuple[int, int]:
    """Return from which ordinal to before which one a window looks, whatever its bounds of x.

    oldest: the first that is not gone; total: one past the newest. Raises BadValue if the window begins at a
    cursor that is none of this epoch.
    """
    if window.page is None:
        newest = total if window.newest is None else window.newest
        return max(oldest, total - newest), total
    after, limit = window.page
    if after is not None and (after.epoch != epoch or after.ordinal > total):
        raise BadValue("the samples were replaced, the cursor is of those before: begin anew")
    start = oldest if after is None else max(oldest, after.ordinal)
    return start, min(start + limit, total)


def view(
    runs: Sequence[Run], window: Window, x_min: float, x_max: float, epoch: int = 0, oldest: int = 0
) -> Columns:
    """Return what a window shows of the runs of a signal.

    runs: what came from the ordinal `oldest` on, as far as the window needs it; x_min, x_max: of the whole
    signal. Raises BadValue as `span` does.
    """
    total = oldest + sum(run.recorded for run in runs)
    start, stop = span(window, epoch, oldest, total)
    inside = [run.within(window) for run in clip(runs, start - oldest, stop - oldest)]
    x, y = joined([run.x for run in inside]), joined([run.y for run in inside])
    columns = Columns(x, y, x_min, x_max, left_out=sum(run.recorded for run in inside) - len(x))
    if window.page is not None:
        columns = replace(columns, cursor=Cursor(epoch, stop), more=stop < total)
    return columns if window.max_points is None else decimate(columns, window.max_points)


def told(found: _Found, window: Window) -> _Found:
    """Return what was found; raises the error that it tells of unless the window takes it partly."""
    if found.error is not None and not window.partly:
        raise found.error
    return found


def check_room(samples: int, limit: int | None) -> None:
    """Raise TooLarge if there are more samples to answer than that."""
    if limit is not None and samples > limit:
        raise TooLarge(f"there are more samples than an answer may hold ({limit})")


def joined(columns: Sequence[FloatColumn]) -> FloatColumn:
    """Return columns as one."""
    return columns[0] if len(columns) == 1 else np.concatenate([EMPTY, *columns])


def bounds(x: FloatColumn) -> tuple[float, float]:
    """Return the least and the greatest number of a column, NaN where there is none."""
    numbers = x[~np.isnan(x)]
    if not len(numbers):
        return float("nan"), float("nan")
    return float(numbers.min()), float(numbers.max())


def fresh(
    x: FloatColumn, y: FloatColumn, known_x: FloatColumn, known_y: FloatColumn, hold: Hold
) -> tuple[FloatColumn, FloatColumn]:
    """Return the pairs that a merge adds: those whose x (or y) is new, each new one once."""
    if hold is Hold.ON:
        return x, y
    key, known = (x, known_x) if hold is Hold.MERGE_X else (y, known_y)
    first = np.zeros(len(key), dtype=bool)
    first[np.unique(key, return_index=True)[1]] = True
    keep = first & ~np.isin(key, known)
    return x[keep], y[keep]
