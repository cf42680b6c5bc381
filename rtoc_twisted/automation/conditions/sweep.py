"""Conditions over columns: the same answers as one evaluation a row, by numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...model import FloatColumn
from .language import lost
from .tree import (
    Arithmetic,
    Call,
    Choice,
    Clock,
    Comparison,
    Constant,
    Logic,
    Node,
    Not,
    Sign,
    Slot,
    Sort,
    Whole,
)

ROWS = 32_768
"""Rows that are computed together: few enough for what is in between to stay in the processor's cache."""

_ARITHMETIC: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "//": np.floor_divide,
    "%": np.remainder,
    "**": np.power,
}
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}
_NONE = np.bool_(False)
_ALL = np.bool_(True)


def swept(
    root: Node, columns: Sequence[FloatColumn], clock: FloatColumn
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return for each row whether the tree is true, and whether its evaluation failed (then it is not true).

    columns: one a slot; all float64[n], as the clock. For trees without arrays.
    """
    holds, failed = np.empty(len(clock), np.bool_), np.empty(len(clock), np.bool_)
    with np.errstate(all="ignore"):
        for start in range(0, len(clock), ROWS):
            rows = slice(start, start + ROWS)
            sweep = _Sweep([column[rows] for column in columns], clock[rows])
            value = sweep.value(root)
            failed[rows] = sweep.failed
            np.not_equal(value, 0, out=holds[rows])
    holds &= ~failed
    return holds, failed


class _Sweep:
    """Computes some rows together; `failed` tells which of them have no result.

    What Python would not evaluate is computed all the same, and does not count as a failure: `reached` tells
    which rows get as far as the part that is being computed.
    """

    def __init__(self, columns: Sequence[FloatColumn], clock: FloatColumn) -> None:
        self._columns = columns
        self._clock = clock
        self._reached: Any = _ALL
        self.failed: Any = _NONE

    def value(self, node: Node) -> Any:
        """Return the value of all rows: a column of bool or float, or a single one for all."""
        match node:
            case Constant():
                return np.bool_(node.value) if node.sort is Sort.TRUTH else np.float64(node.value)
            case Clock():
                return self._clock
            case Slot():
                return self._columns[node.index]
            case Sign():
                number = self._number(node.operand)
                return np.negative(number) if node.sign == "-" else number
            case Arithmetic():
                return self._arithmetic(node)
            case Comparison():
                return self._comparison(node)
            case Not():
                return np.logical_not(self._truth(node.operand))
            case Logic():
                return self._logic(node)
            case Choice():
                test = self._truth(node.test)
                then = self._where(test, node.then)
                return np.where(test, then, self._where(~test, node.otherwise))
            case Call():
                return self._call(node)
        raise TypeError(f"{type(node).__name__} is not for columns")

    def _number(self, node: Node) -> Any:
        value = self.value(node)
        return value if node.sort is Sort.NUMBER else np.multiply(value, 1.0)

    def _truth(self, node: Node) -> Any:
        value = self.value(node)
        return value if node.sort is Sort.TRUTH else np.not_equal(value, 0)

    def _where(self, rows: Any, node: Node) -> Any:
        """Return the value of a part that only these rows get to."""
        before = self._reached
        self._reached = before & rows
        value = self.value(node)
        self._reached = before
        return value

    def _fail(self, rows: Any) -> None:
        self.failed = self.failed | (self._reached & rows)

    def _arithmetic(self, node: Arithmetic) -> Any:
        left, right = self._number(node.left), self._number(node.right)
        result = _ARITHMETIC[node.sign](left, right)
        if node.sign == "**":
            self._fail(lost(result, (left, right)))
        elif node.sign in ("/", "//", "%"):
            self._fail(np.equal(right, 0))
        return result

    def _comparison(self, node: Comparison) -> Any:
        left = self.value(node.operands[0])
        result: Any = _ALL
        for sign, operand in zip(node.signs, node.operands[1:], strict=True):
            right = self._where(result, operand)
            result = result & _COMPARISONS[sign](left, right)
            left = right
        return result

    def _logic(self, node: Logic) -> Any:
        first, *others = node.operands
        result = self.value(first)
        for operand in others:
            truth = np.not_equal(result, 0)
            goes_on = truth if node.word == "and" else ~truth
            result = np.where(goes_on, self._where(goes_on, operand), result)
        return result

    def _call(self, node: Call) -> Any:
        numbers = [
            argument.value if isinstance(argument, Whole) else self._number(argument)
            for argument in node.arguments
        ]
        result = node.function.many(*numbers)
        if node.function.strict:
            self._fail(lost(result, numbers))
        return result
