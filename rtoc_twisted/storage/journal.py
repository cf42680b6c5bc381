"""The journal as the one that writes sees it: rows are added with commits, and folded into chunks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageFailed
from ..model import FloatColumn
from .blobs import pack_journal, unpack_journal
from .catalog import IdColumn, by_signal
from .chunks import Chunks
from .entries import last_number
from .rows import Rows, read_rows
from .select import new_epoch
from .tail import Tail

FOLD_AT_VALUES = 131_072
FOLD_AT_ROWS = 2_048
STEP_VALUES = 8_192
STEP_SIGNALS = 8
REMOVED_VALUES = 16_384
"""Values of the rows that a step removes, about: their pages have to be freed one by one."""

_Part = tuple[int, FloatColumn, FloatColumn, int]
"""Samples of a signal, and up to which row of the journal there are no others of it."""


@dataclass(frozen=True)
class _Folding:
    """The journal up to a row, on its way into chunks, by signals; removed: how many rows at a time, then."""

    upto: int
    removed: int
    parts: Iterator[_Part]


class Journal:
    """The rows that are not in chunks yet.

    transaction: begins one, for each step of a fold; wrote: told of bytes written; damage_found: called where
    rows turn out to be damaged.
    """

    def __init__(
        self,
        sql: sqlite3.Connection,
        chunks: Chunks,
        transaction: Callable[[], AbstractContextManager[None]],
        wrote: Callable[[int], None],
        damage_found: Callable[[], object],
    ) -> None:
        self._sql = sql
        self._chunks = chunks
        self._transaction = transaction
        self._wrote = wrote
        self._damage_found = damage_found
        self._values = 0
        self._rows = 0
        self._folding: _Folding | None = None
        self._tail = Tail(4 * FOLD_AT_VALUES)
        self._damaged = False
        self.last = 0
        self.folds = 0

    def take_stock(self) -> None:
        """Look how much there is, after what was half done is undone."""
        self._folding = None
        self._damaged = False
        self.last = last_number(self._sql, "journal")
        self._count()
        self._tail.begin(empty=not self._rows)

    def _count(self) -> None:
        row = self._sql.execute("SELECT COUNT(*), COALESCE(SUM(samples), 0) FROM journal").fetchone()
        self._rows, self._values = row

    def append(self, ids: IdColumn, x: FloatColumn, y: FloatColumn) -> None:
        """Enter values of any signals as one row, within the caller's transaction."""
        data = pack_journal(ids, x, y)
        cursor = self._sql.execute("INSERT INTO journal (samples, data) VALUES (?, ?)", (len(ids), data))
        self.last = cursor.lastrowid or 0
        self._tail.add(self.last, (ids, x, y))
        self._values += len(ids)
        self._rows += 1
        self._wrote(len(data))

    def clear(self) -> None:
        """Remove all rows, within the caller's transaction."""
        self._sql.execute("DELETE FROM journal")
        self._values = self._rows = 0
        self._folding = None
        self._tail.begin(empty=True)

    def set_damaged_aside(self) -> int:
        """Move damaged rows to the table `damaged`, within the caller's transaction.

        Return how many samples they had.
        """
        damaged = []
        for seq, samples, data in self._sql.execute("SELECT seq, samples, data FROM journal"):
            try:
                unpack_journal(data)
            except StorageFailed:
                damaged.append((seq, samples, data))
        if damaged:
            self._sql.executemany("INSERT INTO damaged (seq, samples, data) VALUES (?, ?, ?)", damaged)
            self._sql.executemany("DELETE FROM journal WHERE seq = ?", [row[:1] for row in damaged])
            # Nobody knows of which signals they were: no cursor counts right any more.
            self._sql.execute("UPDATE signals SET epoch = ?", (new_epoch(),))
        self.take_stock()
        return sum(samples for _, samples, _ in damaged)

    @property
    def fold_is_due(self) -> bool:
        """Whether it is being folded, or has grown enough for that and can all be read."""
        if self._damaged:
            return False
        return self._folding is not None or self._values >= FOLD_AT_VALUES or self._rows >= FOLD_AT_ROWS

    def fold(self) -> None:
        """Move all of it into chunks."""
        while self.fold_step():
            pass

    def fold_from_memory(self) -> bool:
        """Move all of it into chunks if that takes no row on disk; return whether it is done."""
        if self._folding is not None:
            self.fold()
        if self._rows and self._tail.first() is None:
            return False
        self.fold()
        # Who read meanwhile counted without what could not be read.
        self._sql.execute("UPDATE signals SET epoch = ?", (new_epoch(),))
        return True

    def fold_step(self) -> bool:
        """Move some of it into chunks, in a transaction of its own; return whether more is left.

        The first step decides which rows go; the last ones remove them. Whatever ends it in between,
        `signals.folded` says for each signal where its samples are.
        """
        if self._folding is None:
            # To sort them by signals is a step of its own.
            self._folding = self._begin()
            return self._folding is not None
        upto, values, signals = self._folding.upto, 0, 0
        with self._transaction():
            for number, x, y, row in self._folding.parts:
                self._chunks.extend(number, x, y, row)
                self._wrote(x.nbytes + y.nbytes)
                values, signals = values + len(x), signals + 1
                if values >= STEP_VALUES or signals >= STEP_SIGNALS:
                    return True
            removed = self._sql.execute(
                "DELETE FROM journal WHERE seq IN"
                " (SELECT seq FROM journal WHERE seq <= ? ORDER BY seq LIMIT ?)",
                (upto, self._folding.removed),
            )
            if removed.rowcount == self._folding.removed:
                return True
        self._folding = None
        self.folds += 1
        self._count()
        self._tail.drop(upto)
        return False

    def _begin(self) -> _Folding | None:
        if not self._rows:
            return None
        first = self._tail.first()
        # Signals that are in chunks up to some row already: their plots came in between.
        found = self._sql.execute("SELECT id, folded FROM signals WHERE folded >= ?", (first or 0,))
        folded = dict(found.fetchall())
        if first is not None:
            rows = self._tail.rows(folded)
        else:
            rows = read_rows(self._sql, folded)
            if rows.damaged:
                # They are to be set aside first: the last step would remove them.
                self._damaged = True
                self._damage_found()
                return None
            # What comes from now on is all that will be left.
            self._tail.begin(empty=True)
        removed = max(self._rows * REMOVED_VALUES // max(self._values, 1), 1)
        return _Folding(self.last, removed, _parts(rows, self.last))


def _parts(rows: Rows, upto: int) -> Iterator[_Part]:
    """Yield the samples of each signal, so many at a time as make a step, cut between rows of the journal."""
    for number, places in by_signal(rows.ids):
        seqs, x, y = rows.seqs[places], rows.x[places], rows.y[places]
        start = 0
        while start < len(seqs):
            stop = _stop(seqs, start + STEP_VALUES)
            yield number, x[start:stop], y[start:stop], upto if stop == len(seqs) else int(seqs[stop - 1])
            start = stop


def _stop(seqs: NDArray[np.int64], wanted: int) -> int:
    """Return the first place from `wanted` on where a row begins."""
    return len(seqs) if wanted >= len(seqs) else int(np.searchsorted(seqs, seqs[wanted - 1], "right"))
