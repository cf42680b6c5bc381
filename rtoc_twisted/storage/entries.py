"""Rows of names, events with notes, documents and batches, entered within a transaction of the caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ..model import Signal
from .notes import Texts, Written
from .reader import Reader
from .select import new_epoch
from .sources import Row


class Entries(Reader):
    """A connection that enters whatever is no sample."""

    def add_device(self, number: int, name: str) -> None:
        """Enter a device."""
        self._sql.execute("INSERT INTO devices (id, name) VALUES (?, ?)", (number, name))

    def add_signal(self, signal: Signal) -> None:
        """Enter a signal."""
        self._sql.execute(
            "INSERT INTO signals (id, device_id, name, unit, epoch) VALUES (?, ?, ?, ?, ?)",
            (signal.id, signal.device_id, signal.name.name, signal.unit, new_epoch()),
        )

    def set_unit(self, signal_id: int, unit: str) -> None:
        """Change a signal's unit."""
        self._sql.execute("UPDATE signals SET unit = ? WHERE id = ?", (unit, signal_id))

    def add_event(self, signal_id: int, written: Written) -> None:
        """Enter an event with its notes."""
        event, value, notes = written
        self._sql.execute(
            "INSERT INTO events (id, signal_id, text, x, priority, action_id, value)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (event.number, signal_id, event.text, event.x, event.priority, event.action_id, value),
        )
        if any(notes.values()):
            self.note_event(event.number, notes)

    def note_event(self, number: int, notes: Texts) -> None:
        """Keep notes of an event, if it is there, in place of those of the same name."""
        for name, text in notes.items():
            # The names are columns of ours.
            self._sql.execute(
                f"INSERT INTO notes (event_id, {name}) SELECT id, ?2 FROM events WHERE id = ?1"  # noqa: S608
                f" ON CONFLICT (event_id) DO UPDATE SET {name} = excluded.{name}",
                (number, text),
            )

    def remove_events(self, numbers: Sequence[int] | None) -> int:
        """Remove events; None removes all and starts their numbers again. Return the count."""
        if numbers is None:
            self._sql.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
            return self._sql.execute("DELETE FROM events").rowcount
        return sum(
            self._sql.execute("DELETE FROM events WHERE id = ?", (number,)).rowcount for number in numbers
        )

    def put_document(self, key: str, value: str | None) -> None:
        """Keep a JSON text under that key; None removes it."""
        if value is None:
            self._sql.execute("DELETE FROM documents WHERE key = ?", (key,))
            return
        self._sql.execute(
            "INSERT INTO documents (key, value) VALUES (?, ?)"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    def put_sources(self, rows: Sequence[Row], forgotten: Sequence[str]) -> None:
        """Keep what was seen of these sources, and nothing of those forgotten."""
        self._sql.executemany("DELETE FROM sources WHERE name = ?", [(name,) for name in forgotten])
        self._sql.executemany(
            "INSERT INTO sources (name, seen, used) VALUES (?, ?, ?)"
            " ON CONFLICT (name) DO UPDATE SET seen = excluded.seen, used = excluded.used",
            rows,
        )


def last_number(sql: sqlite3.Connection, table: str) -> int:
    """Return the highest number that a row of a table ever had."""
    row = sql.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return row[0] if row else 0
