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
    finite = np.isfinite(y)
    if finite.all():
        return _picked(x, y, max_points)
    places = np.flatnonzero(finite)
    if not len(places):
        return np.arange(len(y) - max_points, len(y))
    if len(places) <= max_points:
        return places
    return places[_picked(x[places], y[places], max_points)]


def _picked(x: FloatColumn, y: FloatColumn, max_points: int) -> NDArray[np.intp]:
    # The samplers panic where numbers do not stand at whole words, as in a block from disk.
    y = np.require(y, requirements=["C", "A"])
    if max_points < _EVEN * _M4_GROUP:
        return _few(y, max_points)
    count = max_points - max_points % _M4_GROUP
    share = _share(x)
    picked = (
        M4Downsampler().downsample(y, n_out=count)
        if share is None
        else M4Downsampler().downsample(share, y, n_out=count)
    )
    return _once(picked, len(y))


def _share(x: FloatColumn) -> FloatColumn | None:
    """Return how far each x is on the way from the first to the last; None where x is not sorted.

    The sampler panics where a stretch of x is shorter than the distance of two floats: from 0 to 1
    there are enough of them.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        way = x[-1] - x[0]
        if not (way > 0 and np.isfinite(way) and np.all(x[1:] >= x[:-1])):
            return None
        share: FloatColumn = x - x[0]
        share /= way
        return share


def _few(y: FloatColumn, max_points: int) -> NDArray[np.intp]:
    """Return the extremes of as many equal stretches as fit; the newest sample alone for one point."""
    if max_points == 1:
        return np.array([len(y) - 1])
    picked = MinMaxDownsampler().downsample(y, n_out=max_points - max_points % _EVEN)
    return _once(picked, len(y))


def _once(picked: NDArray[np.uint64], count: int) -> NDArray[np.intp]:
    """Return in their order, and each once, what was picked of so many."""
    # The first np.unique of a process imports numpy.ma, which takes longer than all the rest.
    chosen = np.zeros(count, dtype=bool)
    chosen[picked] = True
    return np.flatnonzero(chosen)


def warm_up() -> None:
    """Let the samplers do once what is slow only the first time."""
    ramp = np.arange(_M4_GROUP * _M4_GROUP, dtype=np.float64)
    for max_points in (_EVEN, _EVEN * _M4_GROUP):
        for x in (ramp, -ramp):
            decimate(Columns(x, ramp, 0.0, 0.0), max_points)
