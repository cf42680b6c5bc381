"""A new store out of the pages of a damaged one: every row that is readable and right."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from ..errors import StorageFailed
from ..model import SignalName
from .blobs import unpack_journal
from .documents import from_text
from .pages import Pages, Row, Tree, Value
from .select import bounds, new_epoch
from .sound import sound_blob, sound_chunk, sum_up_again

_SCHEMA_ROOT = 1
_RETIRED = 2
_TYPES: dict[str, tuple[type, ...]] = {
    "INTEGER": (int,),
    "REAL": (int, float),
    "TEXT": (str,),
    "BLOB": (bytes,),
}
_NUMBERED = ("devices", "signals", "journal", "events")
_LARGEST_NUMBER = 2**32 - 1


class _Table:
    """A table of the schema: what its rows look like, and how they are entered."""

    def __init__(self, sql: sqlite3.Connection, name: str) -> None:
        self.name = name
        self._sql = sql
        self._columns: list[str] = []
        self._types: list[tuple[type, ...]] = []
        # Columns that were added later are missing in rows from before.
        self._least = 0
        for _, column, declared, required, default, key in sql.execute(f"PRAGMA table_info({name})"):
            is_number = bool(key) and declared == "INTEGER"
            optional = not required and not key
            self._columns.append(column)
            # The number of a row is not in its record.
            types = () if is_number else _TYPES[declared]
            self._types.append((*types, type(None)) if is_number or optional else types)
            if default is None:
                self._least = len(self._columns)
        self._is_numbered = self._types[0] == (type(None),)

    def fits(self, values: Sequence[Value]) -> bool:
        """Return whether these may be a row of this table."""
        return self._least <= len(values) <= len(self._types) and all(
            type(value) in types for value, types in zip(values, self._types, strict=False)
        )

    def enter(self, number: int, values: Sequence[Value]) -> bool:
        """Add a row; one that is there already wins. Return whether it was added."""
        places = ", ".join("?" * len(values))
        names = ", ".join(self._columns[: len(values)])
        row = (number, *values[1:]) if self._is_numbered else values
        cursor = self._sql.execute(
            f"INSERT OR IGNORE INTO {self.name} ({names}) VALUES ({places})",  # noqa: S608 - names of ours
            row,
        )
        return cursor.rowcount == 1


class Rebuild:
    """Fills an empty store of the newest schema, within one transaction of the caller.

    pages: of the damaged store; sql: the new one; moment: now, in seconds since the epoch. After `run`,
    `lost` has the samples that are known to be missing by signal, `lost_commits` how many rows of the
    journal are, at least.
    """

    def __init__(self, pages: Pages, sql: sqlite3.Connection, moment: float) -> None:
        self._pages = pages
        self._moment = moment
        self._sql = sql
        self._tables = [
            _Table(sql, name)
            # What was lost before keeps its numbers.
            for (name,) in sql.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'sqlite_sequence'"
                " ORDER BY name <> 'lost'"
            ).fetchall()
        ]
        # Tables and indices that are not all in one piece.
        self._torn: set[str] = set()
        self._reached: set[int] = set()
        self._loose: defaultdict[str, list[int]] = defaultdict(list)
        self._bad_commits = 0
        self.lost: dict[SignalName, int] = {}
        self.lost_commits = 0

    def run(self) -> None:
        """Copy whatever is right, and make the catalog and the figures fit it."""
        self._roots = self._find_roots()
        for table in self._tables:
            for number, values in self._tree(table.name, table):
                self._copy(table, number, values)
        self._copy_loose()
        last = {
            str(values[0]): values[1]
            for _, values in self._tree("sqlite_sequence", None)
            if len(values) == 2 and isinstance(values[1], int)
        }
        self._repair_catalog()
        self._drop_stale_chunks()
        self._repair_figures()
        self._number_on(last)

    def _find_roots(self) -> dict[str, int]:
        """Return where the tables and indices begin."""
        schema = Tree(self._pages, _SCHEMA_ROOT)
        found = {
            str(values[1]): values[3]
            for _, values in schema.rows()
            if len(values) == 5 and isinstance(values[3], int) and values[3]
        }
        self._reached |= schema.reached
        if schema.whole and found:
            return found
        # Where a new store has them, the old one most likely has them too; the rows will tell.
        usual = dict(
            self._sql.execute("SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0").fetchall()
        )
        self._torn.update(usual.keys() - found.keys())
        return usual | found

    def _tree(self, name: str, table: _Table | None) -> Iterator[Row]:
        """Yield the rows of a table or an index; note whether they are all there."""
        root = self._roots.get(name)
        if root is None:
            # A store from before this table.
            return
        tree = Tree(self._pages, root)
        whole = True
        for number, values in tree.rows():
            if table is None or table.fits(values):
                yield number, values
            else:
                whole = False
        self._reached |= tree.reached
        if tree.whole and whole:
            self._torn.discard(name)
        else:
            self._torn.add(name)

    def _copy_loose(self) -> None:
        """Copy rows from leaves whose way from the root is gone; pages that are free stay free."""
        torn = [table for table in self._tables if table.name in self._torn]
        if not torn:
            return
        for number, values in self._pages.loose_rows(self._reached | self._pages.free()):
            for table in torn:
                if table.fits(values):
                    if (right := _right(table.name, values)) is not None and table.enter(number, right):
                        self._loose[table.name].append(number)
                    break

    def _copy(self, table: _Table, number: int, values: Sequence[Value]) -> None:
        right = _right(table.name, values)
        if right is not None:
            table.enter(number, right)
        elif table.name == "journal":
            self._bad_commits += 1
        elif table.name == "chunks":
            self._set_aside(number, values)

    def _set_aside(self, number: int, values: Sequence[Value]) -> None:
        """Keep a damaged chunk in the table `lost`, under its number."""
        self._sql.execute(
            "INSERT OR IGNORE INTO lost (id, signal_id, samples, x_min, x_max, packed, data, moment)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (number, *values[1:], self._moment),
        )

    def _repair_catalog(self) -> None:
        """Let every sample and event have its signal, and every signal its device."""
        sql = self._sql
        certain = True
        if "signals" in self._torn:
            # The index has the names a second time.
            named = list(self._index("sqlite_autoindex_signals_1", (int, str, int)))
            certain = "sqlite_autoindex_signals_1" not in self._torn
            sql.executemany("INSERT OR IGNORE INTO signals (device_id, name, id) VALUES (?, ?, ?)", named)
            sql.execute("UPDATE signals SET epoch = ? WHERE epoch = 0", (new_epoch(),))
            if certain:
                alive = json.dumps([values[-1] for values in named])
                sql.execute("DELETE FROM signals WHERE id NOT IN (SELECT value FROM json_each(?))", (alive,))
        if "devices" in self._torn:
            sql.executemany(
                "INSERT OR IGNORE INTO devices (name, id) VALUES (?, ?)",
                self._index("sqlite_autoindex_devices_1", (str, int)),
            )
        if certain:
            for table in ("chunks", "events", "lost"):
                sql.execute(f"DELETE FROM {table} WHERE signal_id NOT IN (SELECT id FROM signals)")  # noqa: S608
        else:
            self._name_strangers()
        for (number,) in sql.execute(
            "SELECT DISTINCT device_id FROM signals WHERE device_id NOT IN (SELECT id FROM devices)"
        ).fetchall():
            sql.execute(
                "INSERT INTO devices (id, name) VALUES (?, ?)", (number, self._new_name(f"salvaged_{number}"))
            )
        for table in ("outlines", "rollups"):
            sql.execute(f"DELETE FROM {table} WHERE chunk_id NOT IN (SELECT id FROM chunks)")  # noqa: S608
        sql.execute("DELETE FROM notes WHERE event_id NOT IN (SELECT id FROM events)")

    def _index(self, name: str, types: tuple[type, ...]) -> Iterator[Sequence[Value]]:
        for _, values in self._tree(name, None):
            if tuple(map(type, values)) == types:
                yield values

    def _name_strangers(self) -> None:
        """Give a signal to what is left of those whose names are lost."""
        sql = self._sql
        known = {number for (number,) in sql.execute("SELECT id FROM signals")}
        found = {
            number
            for (number,) in sql.execute("SELECT signal_id FROM chunks UNION SELECT signal_id FROM events")
        }
        for (data,) in sql.execute("SELECT data FROM journal"):
            found.update(unpack_journal(data)[0].tolist())
        strangers = sorted(found - known)
        if not strangers:
            return
        (highest,) = sql.execute(
            "SELECT MAX((SELECT COALESCE(MAX(id), 0) FROM devices), COALESCE(MAX(device_id), 0)) FROM signals"
        ).fetchone()
        sql.execute("INSERT INTO devices (id, name) VALUES (?, ?)", (highest + 1, self._new_name("salvaged")))
        sql.executemany(
            "INSERT INTO signals (id, device_id, name) VALUES (?, ?, ?)",
            [(number, highest + 1, f"signal_{number}") for number in strangers],
        )

    def _new_name(self, wanted: str) -> str:
        while self._sql.execute("SELECT 1 FROM devices WHERE name = ?", (wanted,)).fetchone():
            wanted += "_"
        return wanted

    def _drop_stale_chunks(self) -> None:
        """Remove again what was found loose of signals that had fewer samples than were found.

        Such chunks were replaced or dropped, and are older than those that were not.
        """
        for number in sorted(self._loose["chunks"]):
            self._sql.execute(
                "DELETE FROM chunks WHERE id = ?1 AND (SELECT SUM(c.samples) FROM chunks c"
                " WHERE c.signal_id = chunks.signal_id) >"
                " (SELECT s.samples FROM signals s WHERE s.id = chunks.signal_id AND s.samples > 0)",
                (number,),
            )

    def _repair_figures(self) -> None:
        rows = self._sql.execute(
            "SELECT s.id, d.name, s.name, s.samples, COALESCE(SUM(c.samples), 0) AS found FROM signals s"
            " JOIN devices d ON d.id = s.device_id LEFT JOIN chunks c ON c.signal_id = s.id"
            " GROUP BY s.id HAVING found <> s.samples"
        ).fetchall()
        for number, device, name, samples, found in rows:
            sum_up_again(self._sql, number)
            if samples > found:
                self.lost[SignalName(device, name)] = samples - found

    def _number_on(self, last: Mapping[str, int]) -> None:
        """Let numbers go on where they were, and none come again."""
        highest = {name: self._highest(f"SELECT MAX(rowid) FROM {name}") for name in _NUMBERED}  # noqa: S608
        highest["journal"] = max(highest["journal"], self._highest("SELECT MAX(folded) FROM signals"))
        for name, known in highest.items():
            told = last.get(name, 0)
            number = max(known, told if told <= _LARGEST_NUMBER else 0)
            if name == "journal":
                self._count_lost_commits(number)
            self._sql.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
            self._sql.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, number))

    def _highest(self, query: str) -> int:
        return int(self._sql.execute(query).fetchone()[0] or 0)

    def _count_lost_commits(self, newest: int) -> None:
        # Rows leave the journal oldest first, and damaged ones for their own table: no other is missing.
        if "journal" not in self._torn and not self._bad_commits:
            return
        # Nobody knows of which signals they were: no cursor counts right any more.
        self._sql.execute("UPDATE signals SET epoch = ?", (new_epoch(),))
        oldest, count = self._sql.execute("SELECT MIN(seq), COUNT(*) FROM journal").fetchone()
        oldest = oldest or self._highest("SELECT MAX(folded) FROM signals") + 1
        aside = self._sql.execute(
            "SELECT COUNT(DISTINCT seq) FROM damaged WHERE seq > ?", (oldest,)
        ).fetchone()
        self.lost_commits = max(self._bad_commits, newest - oldest + 1 - count - aside[0])


def _right_journal(values: Sequence[Value]) -> Sequence[Value] | None:
    _, samples, data = values
    try:
        return values if isinstance(data, bytes) and len(unpack_journal(data)[0]) == samples else None
    except StorageFailed:
        return None


def _right_chunk(values: Sequence[Value]) -> Sequence[Value] | None:
    number, signal_id, samples, low, high, packed, data = values
    if not (isinstance(samples, int) and isinstance(packed, int) and isinstance(data, bytes)):
        return None
    columns = sound_chunk(samples, packed, data)
    if columns is None:
        return None
    if packed != _RETIRED:
        low, high = bounds(columns[0])
    return number, signal_id, samples, low, high, packed, data


def _right_blobs(values: Sequence[Value]) -> Sequence[Value] | None:
    return values if all(sound_blob(value) for value in values if isinstance(value, bytes)) else None


def _right_documents(values: Sequence[Value]) -> Sequence[Value] | None:
    return values if _is_json(values[-1]) else None


def _right_notes(values: Sequence[Value]) -> Sequence[Value] | None:
    # Each note by itself: one that makes no sense takes no other along.
    return [value if value is None or _is_json(value) else None for value in values]


def _is_json(value: Value) -> bool:
    try:
        from_text(str(value))
    except (ValueError, RecursionError):
        return False
    return True


_CHECKS = {
    "journal": _right_journal,
    "chunks": _right_chunk,
    "outlines": _right_blobs,
    "rollups": _right_blobs,
    "documents": _right_documents,
    "events": _right_documents,
    "notes": _right_notes,
}


def _right(table: str, values: Sequence[Value]) -> Sequence[Value] | None:
    """Return a row as it is to be entered; None if its checksum, or what it says, is wrong."""
    return _CHECKS[table](values) if table in _CHECKS else values
