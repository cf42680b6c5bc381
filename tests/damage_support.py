"""Store files as a server might have left them, with all that is in them known, to be damaged by tests."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from rtoc_twisted.storage.blobs import pack_chunk, pack_journal, plain, seal
from rtoc_twisted.storage.schema import UPGRADES, upgrade

PAGE = 4096
REMOVED, REPLACED = 7, 8
LONG = "n" * 150
"""Makes names long, so that the catalog has several pages."""


class Store:
    """A file with chunks of all sizes, and free pages full of what was removed and replaced.

    signals: the name of each; samples: how many all chunks have; chunks: signal and blob of each; journal:
    the blob of each row; texts: the table of each text; ever: every blob that there was. All blobs and texts
    are different, and all is in the database itself, nothing in its -wal.
    """

    def __init__(self, directory: Path, page_size: int = PAGE, versions: int = len(UPGRADES)) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "rtoc.sqlite"
        self.signals: dict[int, str] = {}
        self.chunks: dict[int, tuple[int, bytes]] = {}
        self.journal: dict[int, bytes] = {}
        self.ever: set[bytes] = set()
        self.texts: dict[str, str] = {}
        self._chance = np.random.default_rng(5)
        self._page_size = page_size
        with closing(sqlite3.connect(self.path, isolation_level=None)) as sql:
            self._sql = sql
            sql.execute(f"PRAGMA page_size = {page_size}")
            # Each row is to be in one place only.
            sql.execute("PRAGMA secure_delete = ON")
            sql.execute("PRAGMA journal_mode = WAL")
            upgrade(sql, self.path, UPGRADES[:versions])
            sql.execute("BEGIN")
            self._fill_catalog()
            self._fill_chunks()
            self._fill_journal()
            self._fill_texts()
            if versions > 1:
                self._fill_the_rest()
            # What is removed stays readable, as with most builds of SQLite.
            sql.execute("PRAGMA secure_delete = OFF")
            self._remove()
            (self.samples,) = sql.execute("SELECT SUM(samples) FROM chunks").fetchone()
            sql.execute("COMMIT")

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    def blobs(self) -> list[bytes]:
        """Return the bytes of all blobs and texts that are there."""
        texts = [text.encode() for text in self.texts]
        return [*(data for _, data in self.chunks.values()), *self.journal.values(), *texts]

    def pages_of(self, row: bytes) -> set[int]:
        """Return the pages that hold a row's bytes."""
        content = self.content
        places = [
            content.find(row[start : start + 16]) for start in (*range(0, len(row) - 16, 400), len(row) - 16)
        ]
        # A piece that lies on the border of two pages is not found.
        return {place // self._page_size + 1 for place in places if place >= 0}

    def _columns(self, length: int) -> tuple[Any, Any]:
        return self._chance.normal(size=length), self._chance.normal(size=length)

    def _fill_catalog(self) -> None:
        self._sql.executemany("INSERT INTO devices VALUES (?, ?)", [(1, "left"), (2, "right")])
        for number in range(1, 37):
            self.signals[number] = f"s{number}{LONG}"
            self._sql.execute(
                "INSERT INTO signals (id, device_id, name, unit) VALUES (?, ?, ?, 'V')",
                (number, 1 + number % 2, self.signals[number]),
            )

    def _fill_chunks(self) -> None:
        for number in (REMOVED, REPLACED) * 8:
            self._add_chunk(number, 700)
        for turn, length in enumerate((40, 600, 90, 10, 300)):
            for number in range(1 + turn, 37, 9 if length == 600 else 2):
                if number not in (REMOVED, REPLACED):
                    self._add_chunk(number, length)

    def _add_chunk(self, signal_id: int, length: int) -> None:
        x, y = self._columns(length)
        place = len(self.chunks) + 1
        packed = length == 600
        self.chunks[place] = signal_id, pack_chunk(x, y) if packed else plain(x, y)
        self.ever.add(self.chunks[place][1])
        self._sql.execute(
            "INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?)",
            (place, signal_id, length, x.min(), x.max(), int(packed), self.chunks[place][1]),
        )
        if packed:
            self._sql.execute("INSERT INTO outlines VALUES (?, ?)", (place, plain(*self._columns(20))))

    def _fill_journal(self) -> None:
        for seq in range(1, 12):
            x, y = self._columns(30 * seq)
            self.journal[seq] = pack_journal(np.arange(len(x), dtype=np.uint32) % 36 + 1, x, y)
            self.ever.add(self.journal[seq])
            self._sql.execute("INSERT INTO journal VALUES (?, ?, ?)", (seq, len(x), self.journal[seq]))

    def _fill_texts(self) -> None:
        for number in range(1, 40):
            text = f"event {number} " + self._chance.bytes(60 * (60 if number == 9 else 1)).hex()
            if number % 36 != REMOVED:
                self.texts[text] = "events"
            row = (number, (number - 1) % 36 + 1, text)
            self._sql.execute("INSERT INTO events VALUES (?, ?, ?, 1.5, 1, '', 'null')", row)
            value = json.dumps(
                f"document {number} " + self._chance.bytes(99 * (50 if number == 3 else 1)).hex()
            )
            self.texts[value] = "documents"
            self._sql.execute("INSERT INTO documents VALUES (?, ?)", (f"key {number}", value))

    def _fill_the_rest(self) -> None:
        self._sql.execute("INSERT INTO sources VALUES ('a source', '0:1-9', 1)")
        for place in self.chunks:
            blob = seal(self._chance.bytes(200))
            self._sql.execute("INSERT INTO rollups (chunk_id, width, data) VALUES (?, 60, ?)", (place, blob))

    def _remove(self) -> None:
        for table in ("chunks", "events"):
            self._sql.execute(f"DELETE FROM {table} WHERE signal_id = ?", (REMOVED,))
        self._sql.execute("DELETE FROM signals WHERE id = ?", (REMOVED,))
        del self.signals[REMOVED]
        self._sql.execute("DELETE FROM chunks WHERE signal_id = ?", (REPLACED,))
        self._add_chunk(REPLACED, 500)
        last = len(self.chunks)
        for place, (signal_id, _) in list(self.chunks.items()):
            if signal_id in (REMOVED, REPLACED) and place != last:
                del self.chunks[place]
        self._sql.execute(
            "UPDATE signals SET samples ="
            " (SELECT COALESCE(SUM(samples), 0) FROM chunks WHERE signal_id = signals.id)"
        )


def ask(path: Path, query: str, *values: object) -> list[Any]:
    """Return the rows of a query to a file."""
    with closing(sqlite3.connect(path)) as sql:
        return sql.execute(query, values).fetchall()
