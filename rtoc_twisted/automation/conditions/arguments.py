"""Calls in a condition: which function is meant, which argument goes where, and which numbers are written."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Sequence
from math import isfinite

from .language import FUNCTIONS, MODULES, Function, Parameter
from .naming import module_of, short
from .source import Source

MAX_WHOLE = 2**31

_QUALIFIED = {
    name: [f"{module}.{name}" if module else name for module, names in FUNCTIONS.items() if name in names]
    for name in {name for names in FUNCTIONS.values() for name in names}
}
_BY_SIGNAL = ("signal", "parameter", "nodata", "age", "rate")


def function_called(source: Source, node: ast.Call) -> tuple[str, Function]:
    """Return the name as it is written and the function. Raises BadValue for one outside the language."""
    called = node.func
    if isinstance(called, ast.Name):
        module, name = "", called.id
    elif (
        isinstance(called, ast.Attribute)
        and isinstance(called.value, ast.Name)
        and called.value.id in MODULES
    ):
        module, name = module_of(called.value.id), called.attr
    else:
        raise source.fault(
            source.start(called),
            "only functions of the language are called here: f(..), math.f(..), np.f(..)",
        )
    words = source.words(called)
    function = FUNCTIONS[module].get(name)
    if function is None:
        raise source.fault(
            source.start(called), f"there is no function {short(words)} here; {_hint(module, name)}"
        )
    if (
        name in ("min", "max")
        and not module
        and len(node.args) == 1
        and not isinstance(node.args[0], ast.Starred)
    ):
        function = FUNCTIONS["np"][name]
    return words, function


def bound(
    source: Source, node: ast.Call, name: str, parameters: Sequence[Parameter], repeats: bool = False
) -> list[tuple[Parameter, ast.expr | float]]:
    """Return what goes to each parameter, an argument or a default, as far as there are arguments.

    repeats: the last parameter takes any number.
    Raises BadValue for too few, too many and unknown arguments.
    """
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            raise source.fault(source.start(argument), "arguments are written one by one, without *")
    least = sum(not parameter.optional for parameter in parameters)
    takes = f"{name} takes {_count(least, len(parameters), repeats)}"
    if len(node.args) > len(parameters) and not repeats:
        raise source.fault(source.start(node.args[len(parameters)]), takes)
    given: list[ast.expr | None] = [*node.args, *[None] * (len(parameters) - len(node.args))]
    places = {parameter.name: place for place, parameter in enumerate(parameters) if parameter.name}
    for keyword in node.keywords:
        place = places.get(keyword.arg or "")
        if place is None or given[place] is not None:
            told = f"; by name: {', '.join(places)}" if places else ", and none by name"
            raise source.fault(source.start(keyword), takes + told)
        given[place] = keyword.value
    while given and given[-1] is None:
        given.pop()
    result: list[tuple[Parameter, ast.expr | float]] = []
    for place in range(max(len(given), least)):
        value = given[place] if place < len(given) else None
        parameter = parameters[min(place, len(parameters) - 1)]
        if value is not None:
            result.append((parameter, value))
        elif parameter.default is not None:
            result.append((parameter, parameter.default))
        else:
            raise source.fault(source.start(node), takes)
    return result


def literal(node: ast.expr | None) -> float | None:
    """Return the number that is written there, as it is or with + - * / between some; else None."""
    match node:
        case ast.Constant(value=int() | float() as written) if not isinstance(written, bool):
            return _finite(written)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = literal(operand)
            return None if value is None else -value
        case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div()):
            left, right = literal(node.left), literal(node.right)
            if left is None or right is None:
                return None
            return _finite(_calculated(node.op, left, right))
    return None


def whole(node: ast.expr | None) -> int | None:
    """Return the whole number that is written there, None where there is no such."""
    value = literal(node)
    return int(value) if value is not None and value.is_integer() and abs(value) < MAX_WHOLE else None


def newest_needed(node: ast.expr) -> int | None:
    """Return how many of the newest elements a subscript needs at most, None where it cannot be told."""
    if not isinstance(node, ast.Slice):
        index = whole(node)
        return -index if index is not None and index < 0 else None
    step = 1 if node.step is None else whole(node.step)
    start, stop = whole(node.lower), whole(node.upper)
    if step is None or step == 0:
        return None
    if step > 0:
        ends = node.upper is None or (stop is not None and stop < 0)
        return -start if ends and start is not None and start < 0 else None
    begins = node.lower is None or (start is not None and start < 0)
    return -stop if begins and stop is not None and stop < 0 else None


def _calculated(sign: ast.operator, left: float, right: float) -> float:
    match sign:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
    return left / right if right else float("nan")


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def _count(least: int, most: int, repeats: bool) -> str:
    if repeats:
        return f"at least {least} arguments"
    number = str(least) if least == most else f"{least} to {most}"
    return f"{number} argument" if most == 1 else f"{number} arguments"


def _hint(module: str, name: str) -> str:
    elsewhere = _QUALIFIED.get(name)
    if elsewhere is None:
        close = difflib.get_close_matches(name, [*_QUALIFIED, *_BY_SIGNAL], 1, 0.8)
        elsewhere = _QUALIFIED.get(close[0], close) if close else None
    if elsewhere:
        return f"is {' or '.join(elsewhere)} meant?"
    if module == "rtoc":
        return f"there are {', '.join(f'rtoc.{name}' for name in FUNCTIONS[module])}"
    return "there are abs, round, min, max, nodata, age, rate, those of math, np.mean, np.max, rtoc.d .."
