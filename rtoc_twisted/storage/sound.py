"""Whether what lies on disk is as it was written, and what a signal's chunks amount to."""

from __future__ import annotations

import sqlite3
import zlib

from ..errors import StorageFailed
from ..model import FloatColumn
from .runs import read_chunk
from .select import new_epoch

_RETIRED = 2
_CRC_BYTES = 4


def sound_chunk(samples: int, packed: int, data: bytes) -> tuple[FloatColumn, FloatColumn] | None:
    """Return the columns of a chunk's row, None if they are not as they were written.

    Of a retired chunk these are its outline.
    """
    try:
        x, y = read_chunk(packed, data)
    except StorageFailed:
        return None
    as_many = len(x) <= samples if packed == _RETIRED else len(x) == samples
    return (x, y) if as_many and len(x) == len(y) else None


def sound_blob(data: bytes) -> bool:
    """Return whether a blob of any kind agrees with the checksum in front of it."""
    return zlib.crc32(memoryview(data)[_CRC_BYTES:]) == int.from_bytes(data[:_CRC_BYTES], "little")


def sum_up_again(sql: sqlite3.Connection, signal_id: int) -> None:
    """Set the figures of a signal to those of its chunks, after some of these were lost.

    Its epoch changes: places in the order of its samples are not what they were.
    """
    count, low, high = sql.execute(
        "SELECT COALESCE(SUM(samples), 0), MIN(x_min), MAX(x_max) FROM chunks WHERE signal_id = ?",
        (signal_id,),
    ).fetchone()
    oldest, newest = _outermost(sql, signal_id, "ASC"), _outermost(sql, signal_id, "DESC")
    sql.execute(
        "UPDATE signals SET samples = ?, first_x = ?, last_x = ?, last_y = ?, x_min = ?, x_max = ?,"
        " epoch = ? WHERE id = ?",
        (
            count,
            None if oldest is None else float(oldest[0][0]),
            None if newest is None else float(newest[0][-1]),
            None if newest is None else float(newest[1][-1]),
            low,
            high,
            new_epoch(),
            signal_id,
        ),
    )


def _outermost(sql: sqlite3.Connection, signal_id: int, order: str) -> tuple[FloatColumn, FloatColumn] | None:
    rows = sql.execute(
        f"SELECT samples, packed, data FROM chunks WHERE signal_id = ? ORDER BY id {order}",  # noqa: S608 - ours
        (signal_id,),
    )
    return next((columns for row in rows if (columns := sound_chunk(*row)) and len(columns[0])), None)
