"""What a damaged chunk costs: its samples, and no more of what was drawn of them than has to be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..model import SignalName
from .blobs import plain
from .sound import sound_blob, sound_chunk, sum_up_again

_PACKED, _RETIRED = 1, 2


@dataclass(frozen=True)
class Found:
    """What a step has found.

    last: the newest chunk that it saw, None behind the last one; checked: how many it saw; damaged: the ids
    of chunks that are not as they were written, and their signals; undrawn: the ids of those whose outline
    or rollups are not.
    """

    last: int | None
    checked: int
    damaged: Mapping[int, int]
    undrawn: Sequence[int]


@dataclass(frozen=True)
class Loss:
    """Samples of one signal that are lost.

    x_min, x_max: the bounds of their x, None where there are none; outlined: of how many an outline
    is left.
    """

    signal_id: int
    name: SignalName
    samples: int
    x_min: float | None
    x_max: float | None
    outlined: int = 0

    @property
    def text(self) -> str:
        """Say it in one line."""
        where = "" if self.x_min is None else f" between x = {self.x_min} and {self.x_max}"
        left = f"; of {self.outlined} of them an outline is left" if self.outlined else ""
        return (
            f"{self.samples} samples of {self.name.device}.{self.name.name}{where} are lost: "
            f"their block on disk was damaged, and is set aside in the table lost{left}"
        )


def lose(sql: sqlite3.Connection, found: Found, moment: float) -> list[Loss]:
    """Copy damaged chunks to the table `lost`, and let damaged outlines and rollups be drawn again.

    A packed chunk whose outline is sound retires; any other goes. sql: the connection that writes, within a
    transaction; moment: now, in seconds since the epoch. What was replaced since it was found stays.
    Returns what was lost, by signals.
    """
    losses: dict[int, Loss] = {}
    for number in found.damaged:
        loss = _lose_one(sql, number, moment)
        if loss is not None:
            before = losses.get(loss.signal_id)
            losses[loss.signal_id] = loss if before is None else _both(before, loss)
    for signal_id in losses:
        sum_up_again(sql, signal_id)
    for number in found.undrawn:
        _undraw(sql, number)
    return list(losses.values())


def _lose_one(sql: sqlite3.Connection, number: int, moment: float) -> Loss | None:
    row = sql.execute(
        "SELECT c.samples, c.packed, c.data, c.x_min, c.x_max, c.signal_id, d.name, s.name, o.data"
        " FROM chunks c JOIN signals s ON s.id = c.signal_id JOIN devices d ON d.id = s.device_id"
        " LEFT JOIN outlines o ON o.chunk_id = c.id WHERE c.id = ?",
        (number,),
    ).fetchone()
    if row is None or sound_chunk(*row[:3]) is not None:
        return None
    samples, packed, _, low, high, signal_id, device, name, outline = row
    sql.execute(
        "INSERT OR IGNORE INTO lost (id, signal_id, samples, x_min, x_max, packed, data, moment)"
        " SELECT id, signal_id, samples, x_min, x_max, packed, data, ? FROM chunks WHERE id = ?",
        (moment, number),
    )
    outlined = (
        packed == _PACKED and outline is not None and sound_chunk(samples, _RETIRED, outline) is not None
    )
    if outlined:
        sql.execute("UPDATE chunks SET packed = 2, data = ? WHERE id = ?", (outline, number))
        sql.execute("DELETE FROM outlines WHERE chunk_id = ?", (number,))
    else:
        sql.execute("DELETE FROM chunks WHERE id = ?", (number,))
    return Loss(signal_id, SignalName(device, name), samples, low, high, samples if outlined else 0)


def _both(one: Loss, other: Loss) -> Loss:
    return replace(
        one,
        samples=one.samples + other.samples,
        x_min=_outer(min, one.x_min, other.x_min),
        x_max=_outer(max, one.x_max, other.x_max),
        outlined=one.outlined + other.outlined,
    )


def _outer(choose: Callable[..., float], *figures: float | None) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return choose(known) if known else None


def _undraw(sql: sqlite3.Connection, number: int) -> None:
    """Remove what is damaged of a chunk's outline and rollups, and let them be drawn again."""
    for table, key in (("rollups", "id"), ("outlines", "chunk_id")):
        rows = sql.execute(
            f"SELECT {key}, data FROM {table} WHERE chunk_id = ?",  # noqa: S608 - names of our own
            (number,),
        ).fetchall()
        for place, data in rows:
            if not sound_blob(data):
                sql.execute(f"DELETE FROM {table} WHERE {key} = ?", (place,))  # noqa: S608
    row = sql.execute("SELECT samples, packed, data FROM chunks WHERE id = ?", (number,)).fetchone()
    columns = sound_chunk(*row) if row and row[1] == _PACKED else None
    if columns is not None:
        # Plain again, it is packed once more when it is quiet, and gets what it lacks.
        sql.execute("UPDATE chunks SET packed = 0, data = ? WHERE id = ?", (plain(*columns), number))
