"""Whether a store's file is whole: every block, and everything that is said of it elsewhere."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NotAvailable, StorageFailed
from ..model import FloatColumn
from .blobs import read_plain, unpack_journal
from .chunks import RETIRED
from .copy import open_to_read
from .rollups import unpack_rollup
from .schema import UPGRADES
from .select import EMPTY, bounds
from .sound import sound_chunk
from .sources import Seen

PROBLEMS = 20
"""How many problems are told one by one."""

Tell = Callable[[float, int, int], object]
"""Hears how far it is (0 to 1), and how many signals and samples were looked at."""

_MAGIC = b"SQLite format 3\0"
_ROLLUPS_SINCE = 2
_NOTES_SINCE = 3
_ORPHANS = {
    "blocks without a signal": "SELECT COUNT(*) FROM chunks WHERE signal_id NOT IN (SELECT id FROM signals)",
    "events without a signal": "SELECT COUNT(*) FROM events WHERE signal_id NOT IN (SELECT id FROM signals)",
    "outlines without a block": "SELECT COUNT(*) FROM outlines WHERE chunk_id NOT IN (SELECT id FROM chunks)",
}
_TEXTS = {
    "a document": "SELECT value FROM documents",
    "the value of an event": "SELECT value FROM events",
}


@dataclass(frozen=True)
class Contents:
    """What a store holds, and what is wrong with it.

    samples: that were recorded and not removed; x_min, x_max: the bounds of their x, NaN if there are none;
    problems: the first ones in words, of `wrong` in all.
    """

    signals: int
    samples: int
    events: int
    x_min: float
    x_max: float
    problems: tuple[str, ...] = ()
    wrong: int = 0


@dataclass
class _Tally:
    """What the chunks of a signal amount to. first, last: the outermost samples, None where they are gone."""

    samples: int = 0
    x_min: float = math.nan
    x_max: float = math.nan
    first: tuple[float, float] | None = None
    last: tuple[float, float] | None = None

    def add(
        self, samples: int, low: float, high: float, columns: tuple[FloatColumn, FloatColumn] | None
    ) -> None:
        """Count the next chunk in the order of arrival; columns: None where these are not all samples."""
        x, y = columns or (EMPTY, EMPTY)
        if not self.samples and len(x):
            self.first = float(x[0]), float(y[0])
        self.last = (float(x[-1]), float(y[-1])) if len(x) else None
        self.samples += samples
        self.x_min, self.x_max = float(np.fmin(self.x_min, low)), float(np.fmax(self.x_max, high))


@dataclass
class _Findings:
    problems: list[str] = field(default_factory=list)
    wrong: int = 0

    def add(self, text: str) -> None:
        self.wrong += 1
        if len(self.problems) < PROBLEMS:
            self.problems.append(text)


def refuse_what_is_no_store(path: Path) -> None:
    """Raise NotAvailable unless a file is a store that this version can read."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
        if head == _MAGIC:
            with closing(open_to_read(path)) as sql:
                _refuse_other_databases(path, sql)
            return
    except OSError as error:
        raise NotAvailable(f"{path} cannot be read: {error.strerror}") from None
    except (sqlite3.Error, ValueError) as error:
        raise NotAvailable(f"{path} cannot be read: {error}") from None
    if head.lstrip().startswith(b"{"):
        raise NotAvailable(f"{path} is a session in JSON: `rtoc import` takes these")
    raise NotAvailable(f"{path} is no copy of a store")


def _refuse_other_databases(path: Path, sql: sqlite3.Connection) -> None:
    (version,) = sql.execute("PRAGMA user_version").fetchone()
    if version > len(UPGRADES):
        raise NotAvailable(f"{path} was written by a newer version of rtoc_twisted: upgrade rtoc_twisted")
    if not sql.execute("SELECT 1 FROM sqlite_master WHERE name = 'journal'").fetchone():
        raise NotAvailable(f"{path} is a database, but none of rtoc_twisted")


def verify(path: Path, tell: Tell = lambda part, signals, samples: None) -> Contents:
    """Read all of a store's file and return what it holds, with everything that is wrong.

    Checks the structure of the file, each checksum, the sums that are kept of blocks against the
    blocks themselves, and that nothing refers to what is not there. Changes nothing; out of one snapshot,
    so a server may be writing meanwhile.
    Raises NotAvailable if it is no store, or one of a newer version.
    """
    refuse_what_is_no_store(path)
    with closing(open_to_read(path)) as sql:
        return _Verification(sql, tell).run()


class _Verification:
    """One walk through a file."""

    def __init__(self, sql: sqlite3.Connection, tell: Tell) -> None:
        self._sql = sql
        self._tell = tell
        self._found = _Findings()
        self._tallies: dict[int, _Tally] = {}
        self._names: dict[int, str] = {}
        self._folded: dict[int, int] = {}
        self._newer = _Tally()
        self._events = 0
        self._samples = 0
        self._rows = self._done = 0
        (self._version,) = sql.execute("PRAGMA user_version").fetchone()

    def run(self) -> Contents:
        """Return what there is, once."""
        self._sql.execute("BEGIN")
        for part, step in (
            ("structure", self._structure),
            ("names", self._catalog),
            ("blocks", self._chunks),
            ("journal", self._journal),
            ("figures", self._figures),
            ("texts", self._texts),
        ):
            try:
                step()
            except (sqlite3.DatabaseError, LookupError, ValueError, TypeError) as error:
                self._found.add(f"{part}: not all could be read: {error}")
        every = [*self._tallies.values(), self._newer]
        lows, highs = [tally.x_min for tally in every], [tally.x_max for tally in every]
        return Contents(
            len(self._names),
            self._samples,
            self._events,
            float(np.fmin.reduce(lows)),
            float(np.fmax.reduce(highs)),
            tuple(self._found.problems),
            self._found.wrong,
        )

    def _structure(self) -> None:
        for (line,) in self._sql.execute(f"PRAGMA integrity_check({PROBLEMS})"):
            if line != "ok":
                self._found.add(f"the file's structure: {line}")
        for table, row, *_ in self._sql.execute("PRAGMA foreign_key_check"):
            self._found.add(f"row {row} of {table} refers to what is not there")
        orphans = dict(_ORPHANS)
        if self._version >= _ROLLUPS_SINCE:
            orphans["rollups without a block"] = orphans["outlines without a block"].replace(
                "outlines", "rollups"
            )
        if self._version >= _NOTES_SINCE:
            orphans["notes without an event"] = (
                "SELECT COUNT(*) FROM notes WHERE event_id NOT IN (SELECT id FROM events)"
            )
        for what, query in orphans.items():
            (count,) = self._sql.execute(query).fetchone()
            if count:
                self._found.add(f"there are {count} {what}")

    def _catalog(self) -> None:
        for number, key, folded in self._sql.execute(
            "SELECT s.id, d.name || '.' || s.name, s.folded FROM signals s"
            " JOIN devices d ON d.id = s.device_id"
        ):
            self._names[number], self._folded[number] = key, folded
        self._events, self._rows = self._sql.execute(
            "SELECT (SELECT COUNT(*) FROM events),"
            " (SELECT COUNT(*) FROM chunks) + (SELECT COUNT(*) FROM journal)"
        ).fetchone()

    def _chunks(self) -> None:
        for number, signal_id, samples, low, high, packed, data in self._watched(
            "SELECT id, signal_id, samples, x_min, x_max, packed, data FROM chunks ORDER BY id"
        ):
            name = f"block {number} of {self._names.get(signal_id, 'no signal')}"
            columns = sound_chunk(samples, packed, data)
            whole = columns if packed != RETIRED else None
            tally = self._tallies.setdefault(signal_id, _Tally())
            tally.add(samples, _number(low), _number(high), whole)
            self._samples += samples
            if columns is None:
                self._found.add(f"{name} is damaged: {samples} samples")
                continue
            inner = bounds(columns[0])
            # An outline has both ends of y, not of x.
            outside = inner[0] < _number(low) or inner[1] > _number(high)
            if outside if whole is None else not _same(inner, (low, high)):
                self._found.add(f"{name} is said to have x from {low} to {high}, but has {inner}")
            self._drawings(number, name, whole)

    def _drawings(self, number: int, name: str, columns: tuple[FloatColumn, FloatColumn] | None) -> None:
        for (data,) in self._sql.execute("SELECT data FROM outlines WHERE chunk_id = ?", (number,)):
            if not _readable(read_plain, data):
                self._found.add(f"the outline of {name} is damaged")
        if self._version < _ROLLUPS_SINCE:
            return
        for width, data in self._sql.execute(
            "SELECT width, data FROM rollups WHERE chunk_id = ?", (number,)
        ).fetchall():
            try:
                counted = int(unpack_rollup(data).count.sum())
            except StorageFailed:
                self._found.add(f"a rollup ({width:g}) of {name} is damaged")
                continue
            if columns is not None and counted != np.count_nonzero(
                np.isfinite(columns[0]) & ~np.isnan(columns[1])
            ):
                self._found.add(f"a rollup ({width:g}) of {name} counts {counted} samples")

    def _journal(self) -> None:
        known = np.array(sorted(self._folded), np.int64)
        upto = np.array([self._folded[number] for number in known.tolist()], np.int64)
        for seq, samples, data in self._watched("SELECT seq, samples, data FROM journal ORDER BY seq"):
            try:
                ids, x, _ = unpack_journal(data)
            except StorageFailed:
                self._found.add(f"row {seq} of the journal is damaged: {samples} samples")
                continue
            if len(ids) != samples:
                self._found.add(f"row {seq} of the journal is said to hold {samples} samples, not {len(ids)}")
            if not len(known):
                continue
            place = np.searchsorted(known, ids).clip(max=len(known) - 1)
            # What a signal had up to there is in its chunks, or was replaced.
            newer = x[(known[place] == ids) & (upto[place] < seq)]
            self._newer.add(len(newer), *bounds(newer), None)
            self._samples += len(newer)

    def _watched(self, query: str) -> Iterator[Any]:
        for row in self._sql.execute(query):
            yield row
            self._done += 1
            # What is damaged may have more rows than it seemed.
            self._tell(self._done / max(self._rows, self._done), len(self._tallies), self._samples)

    def _figures(self) -> None:
        for number, samples, *figures in self._sql.execute(
            "SELECT id, samples, x_min, x_max, first_x, last_x, last_y FROM signals ORDER BY id"
        ):
            tally = self._tallies.get(number, _Tally())
            name = self._names.get(number, f"signal {number}")
            if samples != tally.samples:
                self._found.add(
                    f"{name} is said to have {samples} samples in blocks that have {tally.samples}"
                )
            told, counted = figures[:2], [tally.x_min, tally.x_max]
            if tally.first is not None:
                told, counted = [*told, figures[2]], [*counted, tally.first[0]]
            if tally.last is not None:
                told, counted = [*told, *figures[3:]], [*counted, *tally.last]
            if tally.samples and not _same(told, counted):
                self._found.add(f"{name} is summed up as {told}, but its blocks say {counted}")

    def _texts(self) -> None:
        texts = dict(_TEXTS)
        if self._version >= _NOTES_SINCE:
            texts["a note of an event"] = (
                "SELECT alarm FROM notes WHERE alarm IS NOT NULL"
                " UNION ALL SELECT cause FROM notes WHERE cause IS NOT NULL"
            )
        for what, query in texts.items():
            for (text,) in self._sql.execute(query):
                if not _readable(json.loads, text):
                    self._found.add(f"{what} makes no sense")
        if self._version >= _ROLLUPS_SINCE:
            for (text,) in self._sql.execute("SELECT seen FROM sources"):
                if not _readable(Seen.from_text, text):
                    self._found.add("what is remembered of a source makes no sense")


def _readable(read: Callable[[Any], object], kept: Any) -> bool:
    try:
        read(kept)
    except (StorageFailed, ValueError, TypeError):
        return False
    return True


def _number(figure: float | None) -> float:
    # SQLite has no NaN: it keeps NULL instead.
    return math.nan if figure is None else figure


def _same(told: Iterable[float | None], counted: Iterable[float | None]) -> bool:
    return np.array_equal([_number(it) for it in told], [_number(it) for it in counted], equal_nan=True)
