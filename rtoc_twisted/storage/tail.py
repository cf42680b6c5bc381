"""The end of the journal in memory, so that it need not be read to be folded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..model import FloatColumn
from .catalog import IdColumn
from .rows import Rows

_Columns = tuple[IdColumn, FloatColumn, FloatColumn]


class Tail:
    """The columns of the journal's rows, as long as all of them were entered since `begin`.

    limit: values that it holds; with more of them only the disk knows all.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values = 0
        self._rows: list[tuple[int, _Columns]] | None = None

    def begin(self, empty: bool) -> None:
        """Forget what is held. empty: whether the journal is; else only the disk knows all of it."""
        self._rows = [] if empty else None
        self._values = 0

    def add(self, seq: int, columns: _Columns) -> None:
        """Take note of a row; its columns do not change any more."""
        if self._rows is None:
            return
        self._rows.append((seq, columns))
        self._values += len(columns[0])
        if self._values > self._limit:
            self._rows = None

    def drop(self, seq: int) -> None:
        """Forget the rows up to that number: they are no longer in the journal."""
        if self._rows is not None:
            self._rows = [row for row in self._rows if row[0] > seq]
            self._values = sum(len(columns[0]) for _, columns in self._rows)

    def first(self) -> int | None:
        """Return the number of the first row, None where the tail does not know it."""
        return self._rows[0][0] if self._rows else None

    def rows(self, folded: Mapping[int, int]) -> Rows:
        """Return all rows, less what `folded` says of signals: up to which row they are in chunks."""
        rows = self._rows or []
        ids, x, y = (np.concatenate(parts) for parts in zip(*(columns for _, columns in rows), strict=True))
        seqs = np.repeat([seq for seq, _ in rows], [len(columns[0]) for _, columns in rows])
        if not folded:
            return Rows(ids, x, y, seqs)
        keep = np.ones(len(ids), dtype=bool)
        for number, upto in folded.items():
            keep &= (ids != number) | (seqs > upto)
        return Rows(ids[keep], x[keep], y[keep], seqs[keep])
