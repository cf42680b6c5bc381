"""What travels in one commit, in the order in which it was taken."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ..errors import RTOCError
from ..model import FloatColumn
from .catalog import IdColumn
from .commit import Commit
from .database import Database

_T = TypeVar("_T")


class Task(Generic[_T]):
    """One change that is no append, and who waits for its result.

    `void` says that nobody needs it any more; a change with somebody who waits may take long. size: how many
    values it carries.
    """

    __slots__ = ("deferred", "result", "run", "size", "void")

    def __init__(
        self, run: Callable[[Database], _T], deferred: Deferred[_T] | None = None, size: int = 0
    ) -> None:
        self.run = run
        self.deferred = deferred
        self.result: _T | None = None
        self.size = size
        self.void = False


class Values:
    """Values of any signals, growing; `counted` of them are known to the catalog."""

    __slots__ = ("counted", "ids", "x", "y")

    def __init__(self) -> None:
        self.counted = 0
        self.ids = array("I")
        self.x = array("d")
        self.y = array("d")

    def extend(self, ids: Sequence[int], x: Sequence[float], y: Sequence[float]) -> None:
        """Take values, all of them or none; raises ValueError if they are no numbers or differ in count."""
        new_x, new_y = _column(x, len(ids)), _column(y, len(ids))
        self.ids.extend(ids if isinstance(ids, array) else array("I", ids))
        self.x.extend(new_x)
        self.y.extend(new_y)

    def arrays(self) -> tuple[IdColumn, FloatColumn, FloatColumn]:
        """Return views of the columns; while they live nothing can be added."""
        return np.frombuffer(self.ids, np.uint32), np.frombuffer(self.x), np.frombuffer(self.y)

    def uncounted(self) -> tuple[IdColumn, FloatColumn, FloatColumn]:
        """Return copies of the columns from where counting ended, and call them counted."""
        ids, x, y = self.arrays()
        new = slice(self.counted, None)
        self.counted = len(ids)
        return ids[new].copy(), x[new].copy(), y[new].copy()


def _column(values: Sequence[float], count: int) -> array[float]:
    if isinstance(values, array) and values.typecode == "d" and len(values) == count:
        return values
    column = array("d")
    try:
        # Faster than to make the array of the numbers, and what is wrong is refused before anything is taken.
        column.frombytes(struct.pack(f"{count}d", *values))
    except struct.error as error:
        raise ValueError(f"these are no columns: {error}") from None
    return column


class Group:
    """A group that is filled, and the promise of its commit.

    plots: the newest replacement of each signal that may still become void; size: how many values
    it carries; short: whether nothing in it reads or removes samples, which may take long.
    """

    __slots__ = ("_values", "commit", "items", "plots", "short", "size")

    def __init__(self) -> None:
        self.commit = Commit()
        self.items: list[Values | Task[object]] = []
        self.plots: dict[int, Task[object]] = {}
        self.short = True
        self.size = 0
        self._values: Values | None = None

    def add(self, task: Task[object]) -> None:
        """Take a change, after all that was taken before."""
        self.items.append(task)
        self.short &= task.deferred is None
        self._values = None

    def append(self, ids: Sequence[int], x: Sequence[float], y: Sequence[float]) -> None:
        """Take values, after all that was taken before."""
        values = self._values
        if values is None:
            values = self._values = Values()
            self.items.append(values)
        values.extend(ids, x, y)
        self.size += len(ids)

    def write(self, database: Database) -> None:
        """Do it all, in order, in one transaction."""
        single = len(self.items) == 1 and isinstance(self.items[0], Values)
        with database.synchronous(self.commit.durable), database.transaction(single):
            for item in self.items:
                if isinstance(item, Values):
                    if item.ids:
                        database.append(*item.arrays())
                elif not item.void:
                    item.result = item.run(database)

    def finish(self, error: RTOCError | None) -> None:
        """Tell everybody who waits that it is stored, or why not."""
        for item in self.items:
            if isinstance(item, Task) and item.deferred is not None:
                if error is None:
                    item.deferred.callback(item.result)
                else:
                    item.deferred.errback(Failure(error))
        self.commit.finish(error)
