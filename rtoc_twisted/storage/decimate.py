"""Fewer samples that draw the same line: the extremes of every stretch are kept."""

from __future__ import annotations

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
    return Columns(columns.x[keep], columns.y[keep], columns.x_min, columns.x_max, decimated=True)


def _indices(x: FloatColumn, y: FloatColumn, max_points: int) -> NDArray[np.intp]:
    finite = np.flatnonzero(np.isfinite(y))
    if len(finite) < _EVEN:
        return np.arange(max_points)
    if max_points < _EVEN * _M4_GROUP:
        return _few(y, finite, max_points)
    x, y = x[finite], y[finite]
    if len(y) <= max_points:
        return finite
    sampler, count = M4Downsampler(), max_points - max_points % _M4_GROUP
    # Samples at equal x within one stretch are the sampler's to choose from; a falling x would be an error.
    if np.all(x[1:] >= x[:-1]) and np.isfinite(x[-1] - x[0]) and x[-1] > x[0]:
        picked = sampler.downsample(x, y, n_out=count)
    else:
        picked = sampler.downsample(y, n_out=count)
    return np.asarray(finite[np.unique(picked)])


def _few(y: FloatColumn, finite: NDArray[np.intp], max_points: int) -> NDArray[np.intp]:
    """Return the extremes of as many equal stretches as fit; the newest sample alone for one point."""
    if max_points == 1:
        return finite[-1:]
    count = min(max_points - max_points % _EVEN, len(finite) - len(finite) % _EVEN)
    picked = MinMaxDownsampler().downsample(y[finite], n_out=count) if len(finite) > count else slice(None)
    return np.unique(finite[picked])
