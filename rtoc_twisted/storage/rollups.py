"""Rollups: the sums of a chunk by buckets of some width, drawn while its samples are at hand.

They stay when the samples go, and merge to the sums of the whole signal (`aggregate`).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

from ..errors import StorageFailed
from ..model import FloatColumn
from .aggregate import Partials, partials
from .blobs import seal, unseal
from .packing import pack, unpack

WIDTHS = (60.0, 3600.0, 86400.0)
"""Widths of buckets, in units of x, where none are chosen."""

_SAMPLES_A_BUCKET = 4
_FEW_BUCKETS = 4
_LENGTH = struct.Struct("<I")

_TOGETHER = (
    ("start",),
    ("count",),
    ("minimum", "maximum", "first", "last"),
    ("total",),
    ("m2",),
    ("first_x", "last_x"),
)
"""Columns of one kind are packed one behind the other: a column by itself costs more time than bytes."""


def pack_rollup(sums: Partials) -> bytes:
    """Return the bytes of sums, sealed: for each kind of column the length of the packed ones, and these."""
    parts = []
    for names in _TOGETHER:
        packed = pack(np.concatenate([getattr(sums, name) for name in names]))
        parts += [_LENGTH.pack(len(packed)), packed]
    return seal(b"".join(parts))


def unpack_rollup(data: bytes) -> Partials:
    """Return the sums of a rollup; raises StorageFailed if it is damaged."""
    body = unseal(data, 1)
    columns: dict[str, FloatColumn] = {}
    place = 0
    try:
        for names in _TOGETHER:
            (length,) = _LENGTH.unpack_from(body, place)
            place += _LENGTH.size + length
            column = unpack(body[place - length : place])
            columns.update(zip(names, column.reshape(len(names), -1), strict=True))
    except (zlib.error, struct.error, ValueError):
        raise StorageFailed("a rollup on disk is damaged (content)") from None
    return Partials(**columns)


def draw(x: FloatColumn, y: FloatColumn, widths: Sequence[float]) -> list[tuple[float, Partials]]:
    """Return the sums of a chunk for each width that has few buckets for its samples.

    x, y: float64[n] in the order of arrival. Left out is a width with more than a quarter as many
    buckets as samples (and more than four), which would cost as much as these.
    """
    most = max(len(x) // _SAMPLES_A_BUCKET, _FEW_BUCKETS)
    drawn = [(width, partials(x, y, width)) for width in widths]
    return [(width, sums) for width, sums in drawn if len(sums.start) <= most]
