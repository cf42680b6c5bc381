"""What one dict of getSignal asks for, in the words of the store (protocol section 5)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import BadValue, TooLarge
from ..model import Buckets, Cursor, Page, Window

FUNCTIONS: Mapping[str, str] = {
    "count": "count",
    "min": "minimum",
    "max": "maximum",
    "mean": "mean",
    "sum": "total",
    "std": "deviation",
    "first": "first",
    "last": "last",
}
"""The functions of an aggregate: their words on the wire, and the column of Sums."""

_CURSOR = re.compile(r"([0-9]{1,10})\.([0-9]{1,16})")
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of a signal: samples of a window, or their sums by buckets.

    functions: of the sums, by their words on the wire; exact: whether columns leave as bytes.
    """

    window: Window
    buckets: Buckets | None = None
    functions: Sequence[str] = ()
    exact: bool = False


def wanted_of(request: Mapping[str, Any], record_length: int, max_points: int) -> Wanted:
    """Return what a dict of getSignal asks for, whichever signal it names.

    record_length: how many samples are at hand; max_points: how many an answer may hold. Raises BadValue,
    TooLarge, naming the key.
    """
    points = _number(request, "getSignal", "maxN")
    if points is not None and not points >= 1:
        raise BadValue(f"getSignal.maxN: expected 1 or more, got {points}")
    at_hand = request.get("database") is False
    page, sums = _page(request, max_points), request.get("aggregate")
    _alone("limit, after", page, {"maxN": points, "aggregate": sums, "database": at_hand or None})
    _alone("aggregate", sums, {"maxN": points, "database": at_hand or None})
    window = Window(
        x_min=_number(request, "getSignal", "xmin"),
        x_max=_number(request, "getSignal", "xmax"),
        max_points=None if points is None else int(min(points, max_points + 1)),
        newest=record_length if at_hand else None,
        page=page,
        partly=True,
    )
    exact = request.get("binary")
    if not (exact is None or isinstance(exact, bool)):
        raise BadValue(f"getSignal.binary: expected true or false, got {_shown(exact)}")
    if sums is None:
        return Wanted(window, exact=exact is True)
    return Wanted(window, *_aggregate(sums, max_points), exact=exact is True)


def _alone(keys: str, value: object, others: Mapping[str, object]) -> None:
    for key, other in others.items():
        if value is not None and other is not None:
            raise BadValue(f"getSignal.{key}: this does not go together with {keys}")


def _page(request: Mapping[str, Any], max_points: int) -> Page | None:
    limit, after = request.get("limit"), request.get("after")
    if limit is None and "after" not in request:
        return None
    if limit is None:
        limit = max_points
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise BadValue("getSignal.limit: expected a whole number of 1 or more")
    if limit > max_points:
        raise TooLarge(f"getSignal.limit: an answer may hold {max_points} samples")
    return Page(None if after is None else _cursor(after), limit)


def _cursor(text: Any) -> Cursor:
    found = _CURSOR.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise BadValue(f"getSignal.after: expected null or an `after` of an answer, got {_shown(text)}")
    return Cursor(int(found[1]), int(found[2]))


def cursor_text(cursor: Cursor) -> str:
    """Return a cursor as clients are told it."""
    return f"{cursor.epoch}.{cursor.ordinal}"


def _aggregate(request: Any, max_points: int) -> tuple[Buckets, Sequence[str]]:
    path = "getSignal.aggregate"
    if not isinstance(request, dict):
        raise BadValue(f"{path}: expected an object with a width, got {_shown(request)}")
    width = _number(request, path, "width")
    if width is None or not (width > 0 and math.isfinite(width)):
        raise BadValue(f"{path}.width: expected a number of more than 0, got {_shown(request.get('width'))}")
    origin = _number(request, path, "origin") or 0.0
    if not math.isfinite(origin):
        raise BadValue(f"{path}.origin: expected a finite number, got {origin}")
    functions = request.get("functions")
    if functions is None:
        functions = list(FUNCTIONS)
    if not isinstance(functions, list):
        raise BadValue(f"{path}.functions: expected a list, got {_shown(functions)}")
    for index, function in enumerate(functions):
        if not isinstance(function, str) or function not in FUNCTIONS:
            raise BadValue(
                f"{path}.functions[{index}]: expected one of {', '.join(FUNCTIONS)}, got {_shown(function)}"
            )
    return Buckets(width, origin, max_points), functions


def _number(request: Mapping[str, Any], path: str, key: str) -> float | None:
    value = request.get(key)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise BadValue(f"{path}.{key}: expected a number, got {_shown(value)}")
    try:
        return None if value is None else float(value)
    except OverflowError:
        raise BadValue(f"{path}.{key}: the number is out of range") from None


def _shown(value: Any) -> str:
    return repr(str(value)[:_SHOWN])
