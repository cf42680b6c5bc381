"""The reading half of the SQLite file behind the store: SQL, called from one thread at a time."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import BadValue, Damaged
from ..model import Buckets, Columns, Event, SignalName, Sums, Window
from .aggregate import partials
from .catalog import split
from .documents import from_text
from .drawing import Drawn, Packed, draw_next, pack_next
from .notes import read_note, read_notes
from .rows import read_rows
from .runs import Runs
from .select import EMPTY, NOTHING, Run, bounds, check_room, told, view
from .summing import Summing
from .sums import sum_up

_NAN = float("nan")
_ENDLESS = 2**63 - 1

_EVENTS = (
    "SELECT e.id, d.name, s.name, e.text, e.x, e.priority, e.action_id, e.value, n.alarm FROM events e"
    " JOIN signals s ON s.id = e.signal_id JOIN devices d ON d.id = s.device_id"
    " LEFT JOIN notes n ON n.event_id = e.id"
    " WHERE (?1 IS NULL OR e.signal_id IN (SELECT value FROM json_each(?1))) AND e.id > ?3 ORDER BY e.id "
)

_Found = TypeVar("_Found", Columns, Sums)


class Reader:
    """A connection to the file, which is made if it is missing.

    synchronous: SQLite's word for when a commit is safe, for who writes; damage_found: called, in whatever
    thread reads, where rows of the journal are damaged, which are left out.
    """

    def __init__(
        self, path: Path, synchronous: str = "NORMAL", damage_found: Callable[[], object] = lambda: None
    ) -> None:
        self.damage_found = damage_found
        self._sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            self._sql.execute("PRAGMA journal_mode = WAL")
            self._sql.execute(f"PRAGMA synchronous = {synchronous}")
            self._sql.execute("PRAGMA cache_size = -16384")
        except sqlite3.Error:
            self._sql.close()
            raise

    def checkpoint(self) -> None:
        """Copy what is in the log into the file, so that the log begins anew; waits for the disk.

        What somebody reads just now, or writes meanwhile, stays in the log until the next checkpoint.
        """
        self._sql.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def close(self) -> None:
        """Let the file go."""
        self._sql.close()

    def next_made(self, widths: Sequence[float]) -> Packed | Drawn | None:
        """Return the next chunk packed, else the next one's rollups; None if there is nothing to be made."""
        return pack_next(self._sql, widths) or draw_next(self._sql, widths)

    def read(self, requests: Sequence[tuple[int, Window]], limit: int | None = None) -> list[Columns]:
        """Return the samples of each request, all out of one snapshot; TooLarge past so many of them."""
        found: list[Columns] = []
        samples = 0
        with self._snapshot():
            journal = self._journal_of({number for number, _ in requests})
            for number, window in requests:
                room = None if limit is None else limit - samples
                found.append(self._read_one(number, window, journal.get(number, NOTHING), room))
                samples += len(found[-1].x)
                check_room(samples, limit)
        return found

    def aggregate(self, requests: Sequence[tuple[int, Window, Buckets]]) -> list[Sums]:
        """Return the sums of each request, all out of one snapshot."""
        with self._snapshot():
            journal = self._journal_of({number for number, _, _ in requests})
            return [self._sum_up(*request, journal.get(request[0], NOTHING)) for request in requests]

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        self._sql.execute("BEGIN")
        try:
            yield
        finally:
            self._sql.execute("COMMIT")

    def _read_one(self, signal_id: int, window: Window, newer: Run, room: int | None = None) -> Columns:
        """Return what a window shows of a signal.

        newer: its samples that are in the journal; room: TooLarge as soon as there are more samples.
        """
        row = self._sql.execute(
            "SELECT x_min, x_max, epoch, dropped FROM signals WHERE id = ?", (signal_id,)
        ).fetchone()
        if row is None:
            return Columns(EMPTY, EMPTY, _NAN, _NAN)
        (low, high), (epoch, oldest) = zip(row[:2], bounds(newer.x), strict=True), row[2:]
        x_range = _extreme(np.fmin, low), _extreme(np.fmax, high)
        chunks = Runs(self._sql, signal_id, room)
        try:
            runs = [*chunks.read(window, epoch, oldest, newer.recorded), newer]
            columns = view(runs, window, *x_range, epoch, oldest)
        except BadValue as problem:
            columns = Columns(EMPTY, EMPTY, *x_range, error=problem)
        return told(_with_damage(columns, chunks.damaged), window)

    def _sum_up(self, signal_id: int, window: Window, buckets: Buckets, newer: Run) -> Sums:
        chunks = Summing(self._sql, signal_id, window, buckets)
        newer = newer.within(window)
        newest = partials(newer.x, newer.y, buckets.width, buckets.origin)
        sums = sum_up(chain(chunks.chunks(), (newest,)), buckets)
        sums = replace(sums, left_out=chunks.left_out)
        return told(_with_damage(sums, chunks.damaged), window)

    def _journal_of(self, ids: set[int]) -> dict[int, Run]:
        found = self._sql.execute(
            "SELECT id, folded FROM signals WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(ids)),),
        ).fetchall()
        rows = read_rows(self._sql, dict(found))
        if rows.damaged:
            self.damage_found()
        return {number: Run(x, y, len(x)) for number, x, y in split(rows.ids, rows.x, rows.y)}

    def events(self, ids: Sequence[int] | None, limit: int | None, after: int | None) -> list[Event]:
        """Return the newest events (of these signals), or the oldest after a number; oldest first."""
        limit = _ENDLESS if limit is None else min(max(limit, 0), _ENDLESS)
        rows = self._sql.execute(
            _EVENTS + ("DESC LIMIT ?2" if after is None else "LIMIT ?2"),
            (None if ids is None else json.dumps(list(ids)), limit, after or 0),
        ).fetchall()
        return [
            Event(
                SignalName(device, name),
                text,
                _NAN if x is None else x,
                priority,
                action_id,
                from_text(value),
                number,
                read_note(alarm),
            )
            for number, device, name, text, x, priority, action_id, value, alarm in sorted(
                rows, key=itemgetter(0)
            )
        ]

    def event_notes(self, number: int) -> Mapping[str, Any] | None:
        """Return what is kept beside an event, None where there is no such event."""
        row = self._sql.execute(
            "SELECT n.alarm, n.cause FROM events e LEFT JOIN notes n ON n.event_id = e.id WHERE e.id = ?",
            (number,),
        ).fetchone()
        return None if row is None else read_notes({"alarm": row[0], "cause": row[1]})


def _with_damage(found: _Found, count: int) -> _Found:
    """Return what was found, telling how many samples are damaged."""
    if not count or found.error is not None:
        return found
    return replace(found, error=Damaged(f"{count} samples are damaged on disk and left out"))


def _extreme(choose: Callable[[float, float], float], figures: Iterable[float | None]) -> float:
    extreme = _NAN
    for figure in figures:
        extreme = float(choose(extreme, _NAN if figure is None else figure))
    return extreme
