"""A condition, ready to be evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model import FloatColumn
from .compile import compiled
from .reading import read
from .sweep import swept
from .tree import Tree
from .uses import Use

NEWEST_TOLD = 5
"""Samples of an array that a cause keeps."""


class Condition:
    """A condition that was parsed and checked; `parse` makes it.

    text: as it was written; uses: slot i of the values belongs to uses[i]; sweepable: it looks at single
    values only (LATEST, RATE, RECEIVED and clock), so it can be computed for whole columns of them.

    evaluate(values, clock) returns the value, a bool or a float; holds(values, clock) whether that is true,
    and fast. values: one a use, as View tells; clock: seconds since the epoch. Both raise Unknown where a
    value that is needed is None (what `and`, `or` and `if` do not get to is not needed), EvaluationFailed
    where there is no result.
    """

    __slots__ = ("_tree", "evaluate", "holds", "sweepable", "text", "uses")

    evaluate: Callable[[Sequence[Any], float], Any]
    holds: Callable[[Sequence[Any], float], bool]

    def __init__(self, text: str, tree: Tree) -> None:
        self.text = text
        self.uses: tuple[Use, ...] = tree.uses
        self.sweepable = tree.sweepable
        self.evaluate, self.holds = compiled(tree)
        self._tree = tree

    def sweep(
        self, columns: Sequence[FloatColumn], clock: FloatColumn
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return for each row whether the condition holds, and whether its evaluation failed (then False).

        columns: one a use, clock: the time; all float64[n], row i of all of them together. The answers are
        those of `holds`. Only for a condition that is sweepable; ValueError for another.
        """
        if not self.sweepable:
            raise ValueError(f"not sweepable: {self.text}")
        return swept(self._tree.root, columns, clock)


def parse(text: str) -> Condition:
    """Return the condition that the text says.

    Raises BadValue with the column (from 1 on; "line L, column N" in a text of several lines) of what is not
    in the language, or too long, deep or large for it.
    """
    return Condition(text, read(text))


def values_told(condition: Condition, values: Sequence[Any]) -> dict[str, Any]:
    """Return the values by name, {"Device.Signal.latest": 3.0}: of an array the newest 5, None for unknown.

    values: as `holds` takes them. A pair is told as [[x, ..], [y, ..]].
    """
    return {use.told: _told(value) for use, value in zip(condition.uses, values, strict=True)}


def _told(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_told(column) for column in value]
    if isinstance(value, np.ndarray):
        return value[-NEWEST_TOLD:].tolist()
    return value
