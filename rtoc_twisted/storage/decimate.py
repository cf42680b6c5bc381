"""Fewer samples that draw the same line: the extremes of every stretch are kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tsdownsample import M4Downsampler, MinMaxDownsampler

from ..model import Columns, FloatColumn

_M4_GROUP = 4
_EVEN = 2


def decimate(columns: Columns, max_points: int) -> Columns:
    """Return at most `max_points` of the samples, spikes among them, in their order.

    With eight points or more each stretch keeps its first, last, lowest and highest sample (M4:
    Jugel et al., VLDB 2014), below that its extremes. Stretches are of equal length in x where x
    is sorted, else in the number of samples.
    """
    if len(columns.y) <= max_points:
        return columns
    keep = _indices(columns.x, columns.y, max_points)
    left_out = columns.left_out + len(columns.y) - len(keep)
    return replace(columns, x=columns.x[keep], y=columns.y[keep], left_out=left_out)


def _indices(x: FloatColumn, y: FloatColumn, max_points: int) -> NDArray[np.intp]:
    finite = np.flatnonzero(np.isfinite(y))
    if not len(finite):
        return np.arange(len(y) - max_points, len(y))
    if len(finite) <= max_points:
        return finite
    x, y = x[finite], y[finite]
    if max_points < _EVEN * _M4_GROUP:
        return np.asarray(finite[_few(y, max_points)])
    count = max_points - max_points % _M4_GROUP
    share = _share(x)
    picked = (
        M4Downsampler().downsample(y, n_out=count)
        if share is None
        else M4Downsampler().downsample(share, y, n_out=count)
    )
    return np.asarray(finite[np.unique(picked)])


def _share(x: FloatColumn) -> FloatColumn | None:
    """Return how far each x is on the way from the first to the last; None where x is not sorted.

    The sampler panics where a stretch of x is shorter than the distance of two floats: from 0 to 1
    there are enough of them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        way = x[-1] - x[0]
        if not (way > 0 and np.isfinite(way) and np.all(x[1:] >= x[:-1])):
            return None
        return np.asarray((x - x[0]) / way)


def _few(y: FloatColumn, max_points: int) -> NDArray[np.intp]:
    """Return the extremes of as many equal stretches as fit; the newest sample alone for one point."""
    if max_points == 1:
        return np.array([len(y) - 1])
    picked = MinMaxDownsampler().downsample(y, n_out=max_points - max_points % _EVEN)
    return np.unique(picked).astype(np.intp)
