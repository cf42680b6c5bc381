"""Stores of any size, made in seconds.

The first signal goes through the storage room's own code: its samples are cut into chunks, and the chunks
packed as they are in a quiet moment, with all that belongs to them. The other signals are copies of its
rows under numbers of their own: the rows are as many and as large as if each had been recorded, and nothing
in the server can tell, for no two chunks share anything.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from rtoc_twisted.model import FloatColumn, Signal, SignalName
from rtoc_twisted.storage.catalog import summarize
from rtoc_twisted.storage.database import Database, open_database

FILE = "rtoc.sqlite"
NAME = SignalName("Bench1", "level")
"""The first signal; the others have the same name, on devices Bench2, Bench3, .."""

_START = 1_700_000_000.0
_DAY = 86_400.0
_LOWEST, _HIGHEST = -40.0, 120.0


def samples(points: int) -> tuple[FloatColumn, FloatColumn]:
    """Return x and y of a slow sensor: a value a second with two decimals, and a single peak each way."""
    x = _START + np.arange(points, dtype=np.float64)
    noise = np.random.default_rng(3).normal(0, 0.05, points)
    y: FloatColumn = (20 + 5 * np.sin(x * (2 * np.pi / _DAY)) + noise).round(2)
    y[points // 3], y[2 * points // 3] = _LOWEST, _HIGHEST
    return x, y


def make_store(directory: Path, signals: int, points: int) -> Path:
    """Make a store of so many signals of so many points each, packed; return its directory, made too."""
    directory.mkdir()
    path = directory / FILE
    with _opened(path) as database:
        if signals:
            _record(database, points)
    if signals > 1:
        with closing(sqlite3.connect(path)) as sql, sql:
            _multiply(sql, signals - 1)
        with _opened(path) as database:
            # It looks at the copies, which have all that they need, and will not come back to them.
            _keep_up(database)
    return directory


@contextmanager
def _opened(path: Path) -> Iterator[Database]:
    database, _ = open_database(path, fsync=False)
    try:
        yield database
    finally:
        database.close()


def _record(database: Database, points: int) -> None:
    with database.transaction():
        database.add_device(1, NAME.device)
        database.add_signal(Signal(1, 1, NAME, "C"))
        x, y = samples(points)
        database.chunks.replace(1, x, y, summarize(x, y), 0)
    _keep_up(database)


def _keep_up(database: Database) -> None:
    while database.pack_step():
        pass
    with database.transaction():
        while database.chunks.draw_one():
            pass


def _multiply(sql: sqlite3.Connection, copies: int) -> None:
    (chunks,) = sql.execute("SELECT MAX(id) FROM chunks").fetchone()
    (rollups,) = sql.execute("SELECT COALESCE(MAX(id), 0) FROM rollups").fetchone()
    names = [(number, f"Bench{number}") for number in range(2, copies + 2)]
    sql.executemany("INSERT INTO devices (id, name) VALUES (?, ?)", names)
    _copy(sql, "signals", copies, {"id": 1, "device_id": 1})
    _copy(sql, "chunks", copies, {"id": chunks, "signal_id": 1})
    _copy(sql, "outlines", copies, {"chunk_id": chunks})
    _copy(sql, "rollups", copies, {"id": rollups, "chunk_id": chunks})


def _copy(sql: sqlite3.Connection, table: str, copies: int, shifts: Mapping[str, int]) -> None:
    """Copy all rows of a table; shifts: what each copy adds to a number of the one before."""
    found = sql.execute(f"SELECT * FROM {table}")
    added = [shifts.get(column[0], 0) for column in found.description]
    rows = found.fetchall()
    marks = ", ".join("?" * len(added))
    sql.executemany(
        f"INSERT INTO {table} VALUES ({marks})",
        (
            [value + copy * shift if shift else value for value, shift in zip(row, added, strict=True)]
            for copy in range(1, copies + 1)
            for row in rows
        ),
    )


def drop_from_cache(directory: Path) -> None:
    """Let the system forget what it keeps in memory of a store's files, which nobody has open."""
    for path in directory.glob(FILE + "*"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            # Only pages that are on disk can be forgotten.
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
