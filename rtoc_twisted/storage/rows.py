"""The rows of the journal, as they are read from disk."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageFailed
from ..model import FloatColumn
from .blobs import unpack_journal
from .catalog import IdColumn


@dataclass(frozen=True)
class Rows:
    """Samples of any signals in the order of arrival.

    ids: the signal of each sample; seqs: the journal's row of each, which never falls; damaged: the rows
    that could not be read.
    """

    ids: IdColumn
    x: FloatColumn
    y: FloatColumn
    seqs: NDArray[np.int64]
    damaged: Sequence[int] = ()


def read_rows(sql: sqlite3.Connection, folded: Mapping[int, int]) -> Rows:
    """Return what the journal has of these signals. folded: up to which row each is in chunks already."""
    seqs, blocks, damaged = [], [], []
    for seq, data in sql.execute("SELECT seq, data FROM journal ORDER BY seq"):
        try:
            blocks.append(unpack_journal(data))
        except StorageFailed:
            damaged.append(seq)
        else:
            seqs.append(seq)
    if not blocks or not folded:
        return Rows(np.empty(0, np.uint32), np.empty(0), np.empty(0), np.empty(0, np.int64), damaged)
    ids, x, y = (np.concatenate(columns) for columns in zip(*blocks, strict=True))
    rows = np.repeat(np.array(seqs), [len(block[0]) for block in blocks])
    upto = np.full(max(int(ids.max()), *folded) + 1, np.iinfo(np.int64).max)
    upto[list(folded)] = list(folded.values())
    keep = rows > upto[ids]
    return Rows(ids[keep], x[keep], y[keep], rows[keep], damaged)
