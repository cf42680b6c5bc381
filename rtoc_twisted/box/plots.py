"""A plot that a plugin or a script sends to people: a picture, or a table where nothing can draw."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import BadValue
from ..model import Attachment, FloatColumn

_MOST_CURVES = 50
_DPI = (50, 300)
_SIZE = (8.0, 4.5)
"""Of a picture, in inches."""

_DATES = (1e9, 1e11)
"""Between these an x is taken for seconds since the epoch."""

Curves = Mapping[str, tuple[FloatColumn, FloatColumn]]
Marks = Sequence[tuple[float, str]]


def attach(title: str, data: Any) -> Attachment:
    """Return a plot as a PNG file, or as CSV where matplotlib is not installed or cannot draw it.

    data: {signals: {name: [x, y]}, events: [[x, text], ..], dpi}, as telegram_send_plot has them. May take
    a second: to be called in a thread. Raises BadValue for what is no such plot.
    """
    curves, marks, dpi = _read(data)
    try:
        return Attachment("plot.png", _picture(title, curves, marks, dpi), "image/png")
    except (ImportError, ValueError):
        return Attachment("plot.csv", _table(curves, marks), "text/csv")


def _read(data: Any) -> tuple[Curves, Marks, int]:
    try:
        signals = dict(data["signals"])
        curves = {str(name): _curve(*pair) for name, pair in signals.items()}
        marks = [(float(x), str(text)) for x, text in data.get("events", ())]
        dpi = int(data.get("dpi", _DPI[1]))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise BadValue(f"this is no plot: {error}") from None
    if len(curves) > _MOST_CURVES:
        raise BadValue(f"a plot of {len(curves)} signals, and {_MOST_CURVES} is the limit")
    return curves, marks, min(max(dpi, _DPI[0]), _DPI[1])


def _curve(x: Any, y: Any) -> tuple[FloatColumn, FloatColumn]:
    columns = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if columns[0].ndim != 1 or columns[0].shape != columns[1].shape:
        raise ValueError("x and y are no columns of one length")
    return columns


def _picture(title: str, curves: Curves, marks: Marks, dpi: int) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    dated = all(_DATES[0] < value < _DATES[1] for x, _ in curves.values() for value in (*x[:1], *x[-1:]))
    for name, (x, y) in curves.items():
        axes.plot(_axis(x, dated), y, label=_verbatim(name))
    for moment, text in marks:
        at = _axis(np.array([moment]), dated)[0]
        axes.axvline(at, color="gray", linewidth=0.8)
        axes.annotate(_verbatim(text), (at, 1.0), xycoords=("data", "axes fraction"), rotation=90, va="top")
    axes.set_title(_verbatim(title))
    axes.set_xlabel("UTC" if dated else "")
    axes.grid(visible=True, alpha=0.3)
    if curves:
        axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return file.getvalue()


def _axis(x: FloatColumn, dated: bool) -> Any:
    with np.errstate(invalid="ignore"):
        return (x * 1e6).astype("datetime64[us]") if dated else x


def _verbatim(text: str) -> str:
    """Return a text that matplotlib shows as it is: no formulas, and not left out of a legend."""
    shown = text[:200].replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _table(curves: Curves, marks: Marks) -> bytes:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["signal", "x", "y", "event"])
    for name, (x, y) in curves.items():
        rows.writerows([name, *pair, ""] for pair in zip(x.tolist(), y.tolist(), strict=True))
    rows.writerows(["", x, "", event] for x, event in marks)
    return text.getvalue().encode()
