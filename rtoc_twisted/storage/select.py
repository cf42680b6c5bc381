"""Which samples a window or a merge takes: the rules, once for every provider."""

from __future__ import annotations

import numpy as np

from ..model import Columns, FloatColumn, Hold, Window
from .decimate import decimate


def pick(x: FloatColumn, y: FloatColumn, window: Window, x_min: float, x_max: float) -> Columns:
    """Return the window's samples out of a signal's (protocol section 5: x_min < x <= x_max).

    x, y: float64[n] in the order of arrival; x_min, x_max: of the whole signal.
    """
    if window.newest is not None and len(x) > window.newest:
        x, y = x[len(x) - window.newest :], y[len(y) - window.newest :]
    inside = np.ones(len(x), dtype=bool)
    if window.x_min is not None:
        inside &= x > window.x_min
    if window.x_max is not None:
        inside &= x <= window.x_max
    if not inside.all():
        x, y = x[inside], y[inside]
    columns = Columns(x, y, x_min, x_max)
    return columns if window.max_points is None else decimate(columns, window.max_points)


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
