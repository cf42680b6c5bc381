"""Sums by buckets of any number of parts, in memory that grows with the buckets alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..errors import BadValue, RTOCError, TooLarge
from ..model import Buckets, Sums
from .aggregate import EMPTY, Partials, merge

_MERGE_AT = 65_536
"""How many rows of parts are merged at a time, at least."""


def sum_up(parts: Iterable[Partials], buckets: Buckets) -> Sums:
    """Return the sums of parts by the same buckets, given in the order of arrival.

    Where a part cannot be had (BadValue), or there are too many buckets, the sums tell that alone.
    """
    whole, waiting, rows = EMPTY, list[Partials](), 0
    try:
        for part in parts:
            waiting.append(part)
            rows += len(part.start)
            # In proportion to what is there: however many parts there are, a row is merged a few times.
            if rows >= max(_MERGE_AT, len(whole.start)):
                whole, waiting, rows = _merged([whole, *waiting], buckets), [], 0
        return _told(_merged([whole, *waiting], buckets))
    except (BadValue, TooLarge) as problem:
        return _told(EMPTY, problem)


def _merged(parts: list[Partials], buckets: Buckets) -> Partials:
    whole = merge(parts)
    if buckets.limit is not None and len(whole.start) > buckets.limit:
        raise TooLarge(f"more than {buckets.limit} buckets have samples: ask for wider ones")
    return whole


def _told(sums: Partials, error: RTOCError | None = None) -> Sums:
    with np.errstate(over="ignore", invalid="ignore"):
        return Sums(
            start=sums.start,
            count=sums.count,
            minimum=sums.minimum,
            maximum=sums.maximum,
            mean=sums.total / sums.count,
            total=sums.total,
            deviation=np.sqrt(sums.m2 / sums.count),
            first=sums.first,
            last=sums.last,
            error=error,
        )
