"""The tree of a condition: all that the language can say, after it was checked.

Every part has `sort` and `array`: what its value is. Numbers are floats; a True that is reckoned with
becomes 1.0, so parts that are not certainly numbers are converted where numbers are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, TypeAlias

from .language import Function
from .uses import Use, View


class Sort(Enum):
    """What a value is: True or False, a float, or either of them."""

    TRUTH = "truth"
    NUMBER = "number"
    EITHER = "either"


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, or True or False."""

    value: float
    array: ClassVar[bool] = False

    @property
    def sort(self) -> Sort:
        """Return what it is."""
        return Sort.TRUTH if isinstance(self.value, bool) else Sort.NUMBER


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number, as an argument that has to be one."""

    value: int
    sort: ClassVar[Sort] = Sort.NUMBER
    array: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of the evaluation."""

    sort: ClassVar[Sort] = Sort.NUMBER
    array: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Slot:
    """The value of a use, by its place in the uses."""

    index: int
    view: View
    sort: ClassVar[Sort] = Sort.NUMBER

    @property
    def array(self) -> bool:
        """Return whether it is an array (or two)."""
        return self.view in (View.X, View.Y, View.PAIR)


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign before a number: "+" or "-"."""

    sign: str
    operand: Node
    sort: ClassVar[Sort] = Sort.NUMBER

    @property
    def array(self) -> bool:
        """Return whether it is an array."""
        return self.operand.array


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Two numbers and one of + - * / // % ** between them."""

    sign: str
    left: Node
    right: Node
    sort: ClassVar[Sort] = Sort.NUMBER

    @property
    def array(self) -> bool:
        """Return whether it is an array."""
        return self.left.array or self.right.array


@dataclass(frozen=True, slots=True)
class Comparison:
    """Comparisons in a chain: `operands`, one of `signs` between each two; of arrays it has two operands."""

    signs: tuple[str, ...]
    operands: tuple[Node, ...]
    sort: ClassVar[Sort] = Sort.TRUTH

    @property
    def array(self) -> bool:
        """Return whether it is an array."""
        return any(operand.array for operand in self.operands)


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a truth."""

    operand: Node
    sort: ClassVar[Sort] = Sort.TRUTH
    array: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Logic:
    """Truths joined by `word`, "and" or "or"; its value is that of one of them."""

    word: str
    operands: tuple[Node, ...]
    array: ClassVar[bool] = False

    @property
    def sort(self) -> Sort:
        """Return what all operands are."""
        return _common(self.operands)


@dataclass(frozen=True, slots=True)
class Choice:
    """`then` where the test is true, else `otherwise`."""

    test: Node
    then: Node
    otherwise: Node

    @property
    def sort(self) -> Sort:
        """Return what both are."""
        return _common((self.then, self.otherwise))

    @property
    def array(self) -> bool:
        """Return whether it may be an array."""
        return self.then.array or self.otherwise.array


@dataclass(frozen=True, slots=True)
class Element:
    """One number of an array."""

    source: Node
    index: Node
    sort: ClassVar[Sort] = Sort.NUMBER
    array: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of an array: start, stop, step."""

    source: Node
    bounds: tuple[Node | None, Node | None, Node | None]
    array: ClassVar[bool] = True

    @property
    def sort(self) -> Sort:
        """Return what the array is of."""
        return self.source.sort


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the language with its arguments in their order."""

    function: Function
    arguments: tuple[Node | Whole, ...]

    @property
    def sort(self) -> Sort:
        """Return what the function gives."""
        return Sort.TRUTH if self.function.truth else Sort.NUMBER

    @property
    def array(self) -> bool:
        """Return whether it is an array."""
        return self.function.array or (
            self.function.each and any(argument.array for argument in self.arguments)
        )


Node: TypeAlias = (
    Constant | Clock | Slot | Sign | Arithmetic | Comparison | Not | Logic | Choice | Element | Part | Call
)


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole condition. uses: what its slots hold; sweepable: without arrays and parameters."""

    root: Node
    uses: tuple[Use, ...]

    @property
    def sweepable(self) -> bool:
        """Return whether it looks at single values of signals, and the clock, only."""
        return all(use.view in (View.LATEST, View.RECEIVED, View.RATE) for use in self.uses)


def is_over_arrays(node: Node) -> bool:
    """Return whether a part computes something for each element of an array, not of its parts."""
    match node:
        case Sign(operand=operand):
            return operand.array
        case Arithmetic(left=left, right=right):
            return left.array or right.array
        case Comparison(operands=operands) | Call(arguments=operands):
            return any(operand.array for operand in operands)
    return False


def _common(nodes: tuple[Node, ...]) -> Sort:
    sorts = {node.sort for node in nodes}
    return sorts.pop() if len(sorts) == 1 else Sort.EITHER
