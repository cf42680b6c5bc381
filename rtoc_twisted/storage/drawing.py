"""What is made of a chunk beside the one that writes, who only puts it in: few bytes, outline, rollups."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import StorageFailed
from ..model import Columns, FloatColumn
from .blobs import pack_chunk, plain
from .decimate import decimate
from .rollups import draw, pack_rollup
from .runs import OUTLINE_RATIO, read_chunk

DRAWN = "storage.rollups"
"""The document that says up to which chunk there are rollups, and of which widths."""

_PLAIN, _PACKED = 0, 1
_LARGE = 4096
_LARGE_CHUNK = (
    "SELECT id, samples, x_min, x_max, data FROM chunks WHERE packed = 0 AND samples >= 4096"
    " ORDER BY id LIMIT 1"
)
"""In the words of the index `chunks_to_pack`."""

_LEAST_OUTLINE = 8
_LOOK_AHEAD = 256

Rollups = Sequence[tuple[float, bytes]]
"""Widths, and what is kept for each."""


@dataclass(frozen=True)
class Packed:
    """A plain chunk in few bytes, its outline, and its rollups if it is late for those.

    data: None if the chunk is damaged, and there is nothing to be made of it.
    """

    number: int
    samples: int
    data: bytes | None = None
    outline: bytes = b""
    rollups: Rollups = ()


@dataclass(frozen=True)
class Drawn:
    """The rollups that a packed chunk lacks, none where there is no such chunk.

    upto: with them there are all rollups of all chunks up to that one.
    """

    upto: int
    number: int | None
    rollups: Rollups


def pack_next(sql: sqlite3.Connection, widths: Sequence[float]) -> Packed | None:
    """Return the oldest large chunk that is plain, packed; None if there is none."""
    row = sql.execute(_LARGE_CHUNK).fetchone()
    if row is None:
        return None
    number, samples, low, high, data = row
    try:
        x, y = read_chunk(_PLAIN, data)
    except StorageFailed:
        return Packed(number, samples)
    # It was plain once more because it was repaired; `draw_next` will not come back to it.
    late = number <= drawn_upto(sql, widths)
    rollups = missing_rollups(sql, number, x, y, widths) if late else ()
    return Packed(number, samples, pack_chunk(x, y), outline(x, y, low, high), rollups)


def draw_next(sql: sqlite3.Connection, widths: Sequence[float]) -> Drawn | None:
    """Return the rollups of the oldest packed chunk that was not drawn; None if all were.

    All chunks are drawn again, as far as widths are missing, when the widths were changed.
    """
    before = upto = drawn_upto(sql, widths)
    found: int | None = None
    rollups: Rollups = ()
    rows = sql.execute(
        "SELECT id, packed, samples FROM chunks WHERE id > ? ORDER BY id LIMIT ?", (before, _LOOK_AHEAD)
    ).fetchall()
    for number, packed, samples in rows:
        if packed == _PLAIN and samples >= _LARGE:
            # It is to be packed first.
            break
        upto = number
        if packed == _PACKED:
            found, rollups = number, _rollups_of(sql, number, widths)
            break
    return None if upto == before else Drawn(upto, found, rollups)


def drawn_upto(sql: sqlite3.Connection, widths: Sequence[float]) -> int:
    """Return the number up to which chunks have rollups of these widths."""
    row = sql.execute("SELECT value FROM documents WHERE key = ?", (DRAWN,)).fetchone()
    kept = json.loads(row[0]) if row else {}
    return int(kept["upto"]) if kept.get("widths") == list(widths) else 0


def _rollups_of(sql: sqlite3.Connection, number: int, widths: Sequence[float]) -> Rollups:
    row = sql.execute("SELECT packed, data FROM chunks WHERE id = ?", (number,)).fetchone()
    try:
        return missing_rollups(sql, number, *read_chunk(*row), widths) if row else ()
    except StorageFailed:
        # Reads of its signal tell it.
        return ()


def missing_rollups(
    sql: sqlite3.Connection, number: int, x: FloatColumn, y: FloatColumn, widths: Sequence[float]
) -> Rollups:
    """Return the rollups of these widths that a chunk of these samples lacks."""
    known = sql.execute("SELECT width FROM rollups WHERE chunk_id = ?", (number,)).fetchall()
    missing = [width for width in widths if (width,) not in known]
    return [(width, pack_rollup(sums)) for width, sums in draw(x, y, missing)]


def outline(x: FloatColumn, y: FloatColumn, low: float, high: float) -> bytes:
    """Return what is kept as the outline of a chunk. low, high: the bounds of x."""
    few = decimate(Columns(x, y, low, high), max(len(x) // OUTLINE_RATIO, _LEAST_OUTLINE))
    return plain(few.x, few.y)
