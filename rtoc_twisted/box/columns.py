"""What plugins hand to stream() and plot(), as columns of numbers."""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

FURTHER_NAME = "Unnamed"
"""The name of a value for which stream() got none (protocol section 5)."""

NAMES_LIMIT = 1 << 20
"""Letters of the names and units of one call."""


class Wrong(ValueError):
    """What a plugin handed over is no measurement; the text says what and where."""


class Series(NamedTuple):
    """Values of one device: value i belongs to names[i], in units[i]; x, y: float64[n]."""

    names: tuple[str, ...]
    units: tuple[str | None, ...]
    x: array[float]
    y: array[float]


def listed(values: Any, what: str) -> list[Any]:
    """Return numbers as a list: of one number, a list, a tuple, an array; raises Wrong for anything else."""
    if type(values) is list:
        return values
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, str | bytes | dict):
        raise Wrong(f"{what} is a {type(values).__name__}, not a number or a list of numbers")
    if hasattr(values, "__iter__"):
        return list(values)
    return [values]


def number(value: Any, what: str) -> float:
    """Return a value as a number; texts of numbers and booleans count; raises Wrong."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise Wrong(f"{what}: {str(value)[:40]!r} is no number") from None


def column(values: list[Any], what: str) -> array[float]:
    """Return a list as float64[n], None as NaN; raises Wrong."""
    try:
        return array("d", values)
    except (TypeError, OverflowError):
        gap = float("nan")
        return array(
            "d", [gap if value is None else number(value, f"{what}[{i}]") for i, value in enumerate(values)]
        )


def series(y: Any, names: Any, unit: Any, x: Any, now: float) -> Series:
    """Return what stream(y, names, unit=unit, x=x) means (protocol section 10).

    Values that are None are left out; an x of another length than y is none, and the time is `now`.
    Raises Wrong where y or x are no numbers.
    """
    values = listed(y, "y")
    count = len(values)
    known = _texts([names] if isinstance(names, str) else names, count, FURTHER_NAME)
    units = (unit,) * count if unit is None or isinstance(unit, str) else _texts(unit, count, "")
    if sum(map(len, known)) > NAMES_LIMIT:
        raise Wrong(f"the names have more than {NAMES_LIMIT} letters")
    moments = _moments(x, count, now)
    try:
        return Series(known, units, moments, array("d", values))
    except (TypeError, OverflowError):
        measured = column(values, "y")
    kept = [index for index, value in enumerate(values) if value is not None]
    return Series(
        tuple(known[index] for index in kept),
        tuple(units[index] for index in kept),
        array("d", [moments[index] for index in kept]),
        array("d", [measured[index] for index in kept]),
    )


def _moments(x: Any, count: int, now: float) -> array[float]:
    if x is not None:
        moments = listed(x, "x")
        if len(moments) == count:
            return column(moments, "x")
        if len(moments) == 1 and moments[0] is x:
            now = number(x, "x")
    return array("d", (now,)) * count


def _texts(texts: Any, count: int, further: str) -> tuple[str, ...]:
    """Return exactly `count` texts: surplus ones are ignored, missing ones are `further`."""
    known = tuple(texts[:count]) if isinstance(texts, list | tuple) else tuple(listed(texts, "names"))[:count]
    if set(map(type, known)) - {str}:
        known = tuple(further if text is None else str(text) for text in known)
    return known + (further,) * (count - len(known))


def of_list(entries: Any, now: float, faults: list[str]) -> Series:
    """Return what stream(slist=[[y, name, unit], ..]) means; entries of another form become faults."""
    if not isinstance(entries, list | tuple):
        raise Wrong("slist is no list of [y, name, unit]")
    good = []
    for index, entry in enumerate(entries):
        if isinstance(entry, list | tuple) and len(entry) == 3:
            good.append(entry)
        else:
            faults.append(f"slist[{index}] is not [y, name, unit]")
    values, names, units = [list(entries) for entries in zip(*good, strict=True)] or ([], [], [])
    return series(values, names, units, None, now)


def of_dict(signals: Any, now: float, faults: list[str]) -> Series:
    """Return what the {name: [y, unit]} of one device in stream(sdict=..) means; faults as in of_list."""
    if not isinstance(signals, dict):
        raise Wrong("a device in sdict has no {name: [y, unit]}")
    good = {}
    for name, entry in signals.items():
        if isinstance(entry, list | tuple) and len(entry) == 2:
            good[name] = entry
        else:
            faults.append(f"{name} in sdict is not [y, unit]")
    measured = good.values()
    return series([entry[0] for entry in measured], list(good), [entry[1] for entry in measured], None, now)


def plotted(x: Any, y: Any) -> tuple[array[float], array[float]]:
    """Return the columns of plot(x, y); without y, x are the values and their indices the x. Raises Wrong."""
    values, axis = listed(y, "y"), listed(x, "x")
    if not values:
        values, axis = axis, list(range(len(axis)))
    if len(values) != len(axis):
        raise Wrong(f"plot: {len(axis)} of x, and {len(values)} of y")
    return column(axis, "x"), column(values, "y")
