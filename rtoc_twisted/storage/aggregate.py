"""Samples summed up by buckets of x, such that the sums of parts make the sum of the whole.

A part may be a chunk, the journal, or late data: merging does not care which came first. Means and
deviations are merged as Chan, Golub and LeVeque do (Updating Formulae and a Pairwise Algorithm for
Computing Sample Variances, 1979), which stays exact where sums of squares would cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ..model import FloatColumn

_Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Partials:
    """What is known of each bucket that has samples, in the order of `start`; all are float64[n].

    start: where the bucket begins in x; count: of its samples; total: the sum of y; m2: the sum of the
    squared distances of y from their mean; first, last: y at the least and the greatest x (first_x,
    last_x); of several at the same x the first, or last, that came.
    """

    start: FloatColumn
    count: FloatColumn
    minimum: FloatColumn
    maximum: FloatColumn
    total: FloatColumn
    m2: FloatColumn
    first_x: FloatColumn
    first: FloatColumn
    last_x: FloatColumn
    last: FloatColumn

    def take(self, keep: slice | _Indices | NDArray[np.bool_]) -> Partials:
        """Return some of the buckets."""
        return Partials(*(column[keep] for column in self.columns()))

    def columns(self) -> list[FloatColumn]:
        """Return the columns in the order of the fields."""
        return [getattr(self, name) for name in COLUMNS]


COLUMNS = tuple(field.name for field in fields(Partials))
"""The names of the columns of Partials, in their order."""


def partials(x: FloatColumn, y: FloatColumn, width: float, origin: float = 0.0) -> Partials:
    """Return the sums of samples by buckets [origin + k * width, origin + (k + 1) * width).

    x, y: float64[n] in the order of arrival. Samples whose x is not finite or whose y is NaN are left out.
    """
    keep = np.isfinite(x) & ~np.isnan(y)
    if not keep.all():
        x, y = x[keep], y[keep]
    with np.errstate(over="ignore", invalid="ignore"):
        single = Partials(
            start=np.floor((x - origin) / width) * width + origin,
            count=np.ones(len(x)),
            minimum=y,
            maximum=y,
            total=y,
            m2=np.zeros(len(x)),
            first_x=x,
            first=y,
            last_x=x,
            last=y,
        )
        return _merged(single)


def merge(parts: Sequence[Partials]) -> Partials:
    """Return the sums of several parts of the same buckets, given in the order of their arrival."""
    columns = zip(*(part.columns() for part in parts), strict=True)
    return _merged(Partials(*(np.concatenate(column) for column in columns))) if parts else EMPTY


def coarsen(sums: Partials, width: float, origin: float = 0.0) -> Partials:
    """Return the sums by wider buckets; exact where each bucket of `sums` lies within one of these."""
    start = np.floor((sums.start - origin) / width) * width + origin
    return _merged(Partials(start, *sums.columns()[1:]))


EMPTY = Partials(*(np.empty(0) for _ in COLUMNS))
"""The sums of no samples."""


def _merged(sums: Partials) -> Partials:
    """Return the same with one row for each start."""
    start = sums.start
    if not len(start):
        return sums
    if not (start[1:] >= start[:-1]).all():
        # Stable: of equal x the first that came stays the first.
        sums = sums.take(np.argsort(start, kind="stable"))
        start = sums.start
    edges = (
        np.flatnonzero(np.concatenate(([True], start[1:] != start[:-1]))) if len(start) else np.empty(0, int)
    )
    if len(edges) == len(start):
        return sums
    rows = np.diff(edges, append=len(start))
    count = np.add.reduceat(sums.count, edges)
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduceat(sums.total, edges)
        distance = sums.total / sums.count - np.repeat(total / count, rows)
        m2 = np.add.reduceat(sums.m2 + sums.count * distance * distance, edges)
    first = _extreme(sums.first_x, edges, rows, newest=False)
    last = _extreme(sums.last_x, edges, rows, newest=True)
    return Partials(
        start=start[edges],
        count=count,
        minimum=np.minimum.reduceat(sums.minimum, edges),
        maximum=np.maximum.reduceat(sums.maximum, edges),
        total=total,
        m2=m2,
        first_x=sums.first_x[first],
        first=sums.first[first],
        last_x=sums.last_x[last],
        last=sums.last[last],
    )


def _extreme(x: FloatColumn, edges: _Indices, rows: _Indices, newest: bool) -> _Indices:
    """Return the index of the least x of each stretch, the first of equals; or of the greatest, the last."""
    if newest:
        best = np.repeat(np.maximum.reduceat(x, edges), rows)
        at = np.where(x == best, np.arange(len(x)), -1)
        return np.asarray(np.maximum.reduceat(at, edges))
    best = np.repeat(np.minimum.reduceat(x, edges), rows)
    at = np.where(x == best, np.arange(len(x)), len(x))
    return np.asarray(np.minimum.reduceat(at, edges))
