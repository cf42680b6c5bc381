"""Conditions as code: Python's own, written from the tree, for one evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from .language import power
from .tree import (
    Arithmetic,
    Call,
    Choice,
    Clock,
    Comparison,
    Constant,
    Element,
    Logic,
    Node,
    Not,
    Part,
    Sign,
    Slot,
    Sort,
    Tree,
    Whole,
)
from .uses import EvaluationFailed, Unknown, Use, View

Evaluate: TypeAlias = Callable[[Sequence[Any], float], Any]
Holds: TypeAlias = Callable[[Sequence[Any], float], bool]

_HELPED = {"/": "quotient", "//": "floored", "%": "remainder", "**": "power"}
"""Computed by a helper, from floats: a text is never formatted, and numpy's floats fail as Python's do."""

_PLAIN = """
def evaluate(values, clock):
    try:
        return plain({value})
    except Exception as error:
        raise failed(error) from None

def holds(values, clock):
    try:
        return not not {value}
    except Exception as error:
        raise failed(error) from None
"""
_QUIET = """
def evaluate(values, clock):
    try:
        with quiet():
            return plain({value})
    except Exception as error:
        raise failed(error) from None

def holds(values, clock):
    try:
        with quiet():
            return not not {value}
    except Exception as error:
        raise failed(error) from None
"""


def compiled(tree: Tree) -> tuple[Evaluate, Holds]:
    """Return the functions (values, clock) -> value and -> whether it is true; both as Condition tells."""
    writer = _Writer()
    value = writer.text(tree.root)
    names: dict[str, Any] = {
        **_HELPERS,
        **writer.functions,
        "missing": _missing_of(tree.uses),
        "__builtins__": {},
    }
    template = _QUIET if writer.by_numpy else _PLAIN
    code = compile(template.format(value=value), "<condition>", "exec")
    exec(code, names)  # noqa: S102 - written by us, from our tree: signs, numbers and the names of `names`
    return names["evaluate"], names["holds"]


class _Writer:
    """Writes Python's text of a tree. `functions`: by the names that it has in there."""

    def __init__(self) -> None:
        self.functions: dict[str, Any] = {}
        self.by_numpy = False

    def text(self, node: Node | Whole) -> str:
        """Return the text of a value; one term, so that it needs no more parentheses."""
        self.by_numpy = self.by_numpy or node.array
        match node:
            case Constant() | Whole():
                return _written(node.value)
            case Clock():
                return "clock"
            case Slot():
                return f"(v if (v := values[{node.index}]) is not None else missing({node.index}))"
            case Sign():
                return f"({node.sign}{self._number(node.operand)})"
            case Arithmetic():
                left, right = self._number(node.left), self._number(node.right)
                helper = None if node.array else _HELPED.get(node.sign)
                self.by_numpy = self.by_numpy or node.sign == "**"
                return f"({left} {node.sign} {right})" if helper is None else f"{helper}({left}, {right})"
            case Comparison():
                first, *others = map(self.text, node.operands)
                rest = "".join(f" {sign} {other}" for sign, other in zip(node.signs, others, strict=True))
                return f"({first}{rest})"
            case Not():
                return f"(not {self.text(node.operand)})"
            case Logic():
                return f"({f' {node.word} '.join(map(self.text, node.operands))})"
            case Choice():
                then, test, otherwise = map(self.text, (node.then, node.test, node.otherwise))
                return f"({then} if {test} else {otherwise})"
            case Element():
                return f"element({self.text(node.source)}, {self.text(node.index)})"
            case Part():
                bounds = ("None" if bound is None else self.text(bound) for bound in node.bounds)
                return f"part({self.text(node.source)}, {', '.join(bounds)})"
            case Call():
                return self._call(node)

    def _number(self, node: Node | Whole) -> str:
        """Return the text of a value as float (or array of them)."""
        text = self.text(node)
        if node.sort is Sort.NUMBER:
            return text
        return f"floats({text})" if node.array else f"float({text})"

    def _call(self, node: Call) -> str:
        function = node.function
        do = function.many if node.array else function.one
        name = f"f{len(self.functions)}"
        self.functions[name] = do
        self.by_numpy = self.by_numpy or getattr(do, "__module__", None) not in ("builtins", "math")
        arguments = ", ".join(
            f"*{self.text(argument)}" if _is_pair(argument) else self._number(argument)
            for argument in node.arguments
        )
        return f"{name}({arguments})"


def _is_pair(node: Node | Whole) -> bool:
    return isinstance(node, Slot) and node.view is View.PAIR


def _written(value: float) -> str:
    if math.isfinite(value):
        return repr(value) if value >= 0 else f"({value!r})"
    return "nan" if math.isnan(value) else "inf"


def _missing_of(uses: Sequence[Use]) -> Callable[[int], NoReturn]:
    def missing(index: int) -> NoReturn:
        raise Unknown(uses[index].key)

    return missing


def _failed(error: Exception) -> Exception:
    """Return what an evaluation raises in place of the error."""
    if isinstance(error, Unknown):
        return error
    if isinstance(error, ZeroDivisionError):
        return EvaluationFailed("division by zero")
    return EvaluationFailed(str(error) or type(error).__name__)


def _plain(value: Any) -> Any:
    """Return a value as Python's own, not numpy's."""
    return value.item() if isinstance(value, np.generic) else value


def _whole(number: float) -> int:
    if not math.isfinite(number) or number != int(number):
        raise IndexError(f"a subscript is a whole number, not {number:g}")
    return int(number)


def _element(array: Any, index: float) -> float:
    place = _whole(index)
    if not -len(array) <= place < len(array):
        raise IndexError(f"there is no [{place}] among {len(array)} samples")
    return float(array[place])


def _part(array: Any, *bounds: float | None) -> Any:
    return array[slice(*(None if bound is None else _whole(bound) for bound in bounds))]


def _quotient(left: float, right: float) -> float:
    return float(left) / float(right)


def _floored(left: float, right: float) -> float:
    return float(left) // float(right)


def _remainder(left: float, right: float) -> float:
    return float(left) % float(right)


def _quiet() -> Any:
    """Return a stretch in which numpy answers NaN and infinities without a warning."""
    return np.errstate(all="ignore")


def _floats(values: Any) -> Any:
    return np.multiply(values, 1.0)


_HELPERS: dict[str, Any] = {
    "Exception": Exception,
    "element": _element,
    "failed": _failed,
    "float": float,
    "floats": _floats,
    "floored": _floored,
    "inf": math.inf,
    "nan": math.nan,
    "part": _part,
    "plain": _plain,
    "power": power,
    "quiet": _quiet,
    "quotient": _quotient,
    "remainder": _remainder,
}
