"""The schema of the SQLite store: one ordered list of upgrades; a new file runs them all."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from ..errors import NotAvailable
from .place import make_private

UPGRADES: Sequence[str] = (
    """
    CREATE TABLE devices (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE
    );
    CREATE TABLE signals (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        device_id INTEGER NOT NULL REFERENCES devices (id),
        name TEXT NOT NULL,
        unit TEXT,
        folded INTEGER NOT NULL DEFAULT 0,
        samples INTEGER NOT NULL DEFAULT 0,
        first_x REAL,
        last_x REAL,
        last_y REAL,
        x_min REAL,
        x_max REAL,
        UNIQUE (device_id, name)
    );
    CREATE TABLE journal (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        samples INTEGER NOT NULL,
        data BLOB NOT NULL
    );
    CREATE TABLE damaged (
        seq INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        data BLOB NOT NULL
    );
    CREATE TABLE chunks (
        id INTEGER PRIMARY KEY,
        signal_id INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        x_min REAL,
        x_max REAL,
        packed INTEGER NOT NULL DEFAULT 0,
        data BLOB NOT NULL
    );
    CREATE INDEX chunks_of_signal ON chunks (signal_id, id);
    CREATE INDEX chunks_to_pack ON chunks (id) WHERE packed = 0 AND samples >= 4096;
    CREATE TABLE outlines (
        chunk_id INTEGER PRIMARY KEY,
        data BLOB NOT NULL
    );
    CREATE TRIGGER outline_goes_with_chunk AFTER DELETE ON chunks
    BEGIN
        DELETE FROM outlines WHERE chunk_id = OLD.id;
    END;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        signal_id INTEGER NOT NULL,
        text TEXT NOT NULL,
        x REAL,
        priority INTEGER NOT NULL,
        action_id TEXT NOT NULL,
        value TEXT NOT NULL
    );
    CREATE INDEX events_of_signal ON events (signal_id, id);
    CREATE TABLE documents (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    );
    """,
    """
    ALTER TABLE signals ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE signals ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE rollups (
        id INTEGER PRIMARY KEY,
        chunk_id INTEGER NOT NULL,
        width REAL NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (chunk_id, width)
    );
    CREATE TRIGGER rollups_go_with_chunk AFTER DELETE ON chunks
    BEGIN
        DELETE FROM rollups WHERE chunk_id = OLD.id;
    END;
    CREATE TABLE sources (
        name TEXT PRIMARY KEY,
        seen TEXT NOT NULL,
        used INTEGER NOT NULL
    );
    CREATE TABLE calendar (
        chunk_id INTEGER PRIMARY KEY,
        moment REAL NOT NULL
    );
    CREATE TABLE lost (
        id INTEGER PRIMARY KEY,
        signal_id INTEGER NOT NULL,
        samples INTEGER NOT NULL,
        x_min REAL,
        x_max REAL,
        packed INTEGER NOT NULL,
        data BLOB NOT NULL,
        moment REAL NOT NULL
    );
    """,
    """
    CREATE TABLE notes (
        event_id INTEGER PRIMARY KEY,
        alarm TEXT,
        cause TEXT
    );
    CREATE TRIGGER notes_go_with_event AFTER DELETE ON events
    BEGIN
        DELETE FROM notes WHERE event_id = OLD.id;
    END;
    """,
)
"""Upgrade i makes version i + 1 of version i. Never edit one that was released: append.

signals.folded is the number of the newest journal row that says nothing more of that signal: what
it held of it is in chunks, or was replaced; samples .. x_max sum up the chunks alone. A large chunk
is packed when it is quiet, and gets an outline: itself in few samples, for reads that want no more.
`damaged` holds journal rows whose checksum was wrong, out of the way of everything else, `lost` such
chunks. chunks.packed is 0 for plain columns, 1 for packed ones, 2 where only the outline is left of the
samples; `samples` is always how many were recorded. signals.epoch changes when the samples are replaced,
signals.dropped is how many of the oldest are gone for good. A row of `calendar` says that chunks from that
one on were written at that moment (seconds since the epoch) or later. `sources` says which batches of a
source were seen, and `used` puts sources in the order of their last use. `notes` has the JSON that is kept
beside some events, and may change after they were raised.

An upgrade only adds: it takes no longer for a large file than for a small one.
"""


_COPIED = 256 << 20
"""Bytes of the largest file that is copied before it is upgraded."""


def upgrade(connection: sqlite3.Connection, path: Path, upgrades: Sequence[str] = UPGRADES) -> None:
    """Bring a database to the newest version, each step in a transaction of its own.

    A copy of a file that is not new is kept beside it as `NAME.vN` before its first upgrade, unless copying
    would take long: each step is all or nothing anyway.
    Raises NotAvailable if the file is of a newer version than this program.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(upgrades):
        raise NotAvailable(
            f"{path} was written by a newer version of rtoc_twisted "
            f"(schema {version}, this one knows {len(upgrades)}): upgrade rtoc_twisted"
        )
    if 0 < version < len(upgrades) and path.stat().st_size <= _COPIED:
        _copy(connection, path.with_name(f"{path.name}.v{version}"))
    for number, script in enumerate(upgrades[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


def _copy(connection: sqlite3.Connection, path: Path) -> None:
    # Not a copy of the file: to close it a second time would let go of this process's locks on it.
    make_private(path)
    with closing(sqlite3.connect(path)) as copy:
        connection.backup(copy)
