"""Reading: a text becomes the tree of a condition, or BadValue with the place of the fault."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TypeAlias

from ...errors import BadValue
from .arguments import MAX_WHOLE, bound, function_called, literal, newest_needed, whole
from .language import Parameter
from .naming import MAX_NAMES, Reference, meant, reference, unknown
from .source import Source
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
    is_over_arrays,
)
from .uses import Use, View

MAX_PARTS = 1000
"""Parts of a condition: to read so many takes the server some hundredths of a second."""

MAX_OVER_ARRAYS = 32
"""Parts that compute with arrays: each costs up to a tenth of a millisecond a value, for 10 000 samples."""

_Sign: TypeAlias = type[ast.operator] | type[ast.cmpop]
_ARITHMETIC: Mapping[_Sign, str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
_COMPARISONS: Mapping[_Sign, str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_NOT_OURS: Mapping[_Sign, str] = {
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
    ast.MatMult: "@",
    ast.In: "in",
    ast.NotIn: "not",
    ast.Is: "is",
    ast.IsNot: "is",
}
_SYNTAX: Mapping[type[ast.expr], str] = {
    ast.JoinedStr: "f-string",
    ast.ListComp: "comprehension",
    ast.SetComp: "comprehension",
    ast.DictComp: "comprehension",
    ast.GeneratorExp: "comprehension",
    ast.NamedExpr: ":=",
    ast.Starred: "*",
    ast.UnaryOp: "~",
}
_ALLOWED = "numbers, signals, + - * / // % **, comparisons, and, or, not, a if c else b, [..], functions"
_NO_TRUTH = "an array is neither true nor false: np.any(..), np.all(..) or one of its numbers, [-1]"
_OF_SIGNALS = {
    "nodata": (Parameter("signal"), Parameter("seconds", "seconds")),
    "age": (Parameter("signal"),),
    "rate": (Parameter("signal"), Parameter("seconds", "seconds")),
}
_RANGES = {"decimals": (-15, 15), "n": (1, MAX_WHOLE)}


def read(text: str) -> Tree:
    """Return the tree of the text. Raises BadValue where it is not in the language."""
    return _Reader(Source(text)).tree()


class _Reader:
    """Reads one text, and collects what it uses."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._slots: dict[tuple[str, View, float], Slot] = {}
        self._samples: list[int | None] = []
        self._parts = 0
        self._over_arrays = 0

    def tree(self) -> Tree:
        """Return the whole."""
        root = self._truth(self._source.root)
        uses = zip(self._slots, self._samples, strict=True)
        return Tree(root, tuple(Use(key, view, seconds, count) for (key, view, seconds), count in uses))

    def _node(self, node: ast.expr) -> Node:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise self._fault(node, f"a condition has {MAX_PARTS} parts at most")
        made = self._made(node)
        if is_over_arrays(made):
            self._over_arrays += 1
            if self._over_arrays > MAX_OVER_ARRAYS:
                raise self._fault(node, f"a condition computes with arrays {MAX_OVER_ARRAYS} times at most")
        return made

    def _made(self, node: ast.expr) -> Node:
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name(id="clock"):
                return Clock()
            case ast.Name():
                raise self._fault(node, unknown(self._source, node))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return Not(self._truth(operand))
            case ast.UnaryOp(op=ast.UAdd() | ast.USub() as op, operand=operand):
                return Sign("-" if isinstance(op, ast.USub) else "+", self._node(operand))
            case ast.BinOp():
                sign = self._sign(_ARITHMETIC, node.op, node.left)
                return Arithmetic(sign, self._node(node.left), self._node(node.right))
            case ast.Compare():
                return self._comparison(node)
            case ast.BoolOp(op=op, values=values):
                word = "and" if isinstance(op, ast.And) else "or"
                return Logic(word, tuple(self._truth(value) for value in values))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return Choice(self._truth(test), self._node(body), self._node(orelse))
            case ast.Subscript():
                return self._subscript(node)
            case ast.Attribute():
                named = meant(self._source, node)
                return self._slot_of(node, named) if isinstance(named, Reference) else Constant(named)
            case ast.Call():
                return self._call(node)
        raise self._refused(node, _SYNTAX.get(type(node), type(node).__name__.lower()))

    def _truth(self, node: ast.expr) -> Node:
        """Return what is asked whether it is true."""
        result = self._node(node)
        if result.array:
            raise self._fault(node, _NO_TRUTH)
        return result

    def _constant(self, node: ast.Constant) -> Constant:
        value = node.value
        if isinstance(value, bool):
            return Constant(value)
        if isinstance(value, str):
            raise self._fault(node, 'a text goes into signal("..") and parameter("..") only')
        if not isinstance(value, int | float):
            raise self._refused(node, "complex number" if isinstance(value, complex) else repr(value)[:20])
        number = literal(node)
        if number is None:
            raise self._fault(node, "this number is too large")
        return Constant(number)

    def _comparison(self, node: ast.Compare) -> Comparison:
        before = [node.left, *node.comparators]
        signs = tuple(self._sign(_COMPARISONS, op, left) for op, left in zip(node.ops, before, strict=False))
        operands = tuple(map(self._node, before))
        if len(signs) > 1:
            for part, operand in zip(before, operands, strict=True):
                if operand.array:
                    raise self._fault(part, _NO_TRUTH)
        return Comparison(signs, operands)

    def _subscript(self, node: ast.Subscript) -> Element | Part:
        named = reference(self._source, node.value)
        samples = newest_needed(node.slice)
        source = self._node(node.value) if named is None else self._slot_of(node.value, named, samples)
        if not source.array:
            raise self._fault(node.value, "a number has no elements; an array is Device.Signal.x or .y")
        if not isinstance(node.slice, ast.Slice):
            return Element(source, self._index(node.slice))
        start, stop, step = (
            None if bound is None else self._index(bound)
            for bound in (node.slice.lower, node.slice.upper, node.slice.step)
        )
        return Part(source, (start, stop, step))

    def _index(self, node: ast.expr) -> Node:
        if isinstance(node, ast.Tuple):
            raise self._fault(node, "an array has one subscript")
        if literal(node) is not None and whole(node) is None:
            raise self._fault(node, "a subscript is a whole number")
        result = self._node(node)
        if result.array or result.sort is Sort.TRUTH:
            raise self._fault(node, "a subscript is one whole number")
        return result

    def _slot_of(self, node: ast.expr, named: Reference, samples: int | None = None) -> Slot:
        return self._slot(node, named.key, named.view, samples=samples)

    def _slot(
        self, node: ast.expr, key: str, view: View, seconds: float = 0.0, samples: int | None = None
    ) -> Slot:
        slot = self._slots.get((key, view, seconds))
        if slot is None:
            slot = self._slots[key, view, seconds] = Slot(len(self._slots), view)
            self._samples.append(samples)
            if len({key for key, _, _ in self._slots}) > MAX_NAMES:
                raise self._fault(node, f"a condition names {MAX_NAMES} signals and parameters at most")
        elif (known := self._samples[slot.index]) is not None:
            self._samples[slot.index] = None if samples is None else max(known, samples)
        return slot

    def _call(self, node: ast.Call) -> Node:
        named = reference(self._source, node)
        if named is not None:
            return self._slot_of(node, named)
        if isinstance(node.func, ast.Name) and node.func.id in _OF_SIGNALS:
            return self._of_signal(node, node.func.id)
        words, function = function_called(self._source, node)
        parameters = function.parameters
        signal = None
        if parameters[0].what == "signal":
            signal = self._signal(node.args[0]) if node.args else None
            if signal is None:
                parameters = (Parameter("array"), Parameter("array"), *parameters[1:])
        given = bound(self._source, node, words, parameters, function.repeats)
        arguments: list[Node | Whole] = []
        samples = function.samples if isinstance(function.samples, int) else None
        for parameter, value in given if signal is None else given[1:]:
            argument = self._argument(value, words, parameter, function.strict)
            if isinstance(argument, Whole) and parameter.name == function.samples:
                samples = argument.value
            arguments.append(argument)
        if signal is not None:
            arguments.insert(0, self._slot(node.args[0], signal.key, View.PAIR, samples=samples))
        return Call(function, tuple(arguments))

    def _argument(
        self, given: ast.expr | float, words: str, parameter: Parameter, strict: bool
    ) -> Node | Whole:
        if not isinstance(given, ast.expr):
            return Constant(given)
        if parameter.what == "whole":
            return self._whole(given, parameter)
        result = self._node(given)
        if parameter.what == "array" and not result.array:
            raise self._fault(given, f"{words} takes an array here, such as Device.Signal.y")
        if result.array and (parameter.what == "number" or (parameter.what == "value" and strict)):
            raise self._fault(given, f"{words} takes a number here, and this is an array")
        return result

    def _of_signal(self, node: ast.Call, name: str) -> Node:
        """Return what nodata, age and rate are made of."""
        (_, given), *rest = bound(self._source, node, name, _OF_SIGNALS[name])
        signal = self._signal(given) if isinstance(given, ast.expr) else None
        if signal is None:
            place = given if isinstance(given, ast.expr) else node
            raise self._fault(place, f'{name} takes a signal: Device.Signal or signal("Device.Name")')
        seconds = 0.0
        for _, given in rest:
            place = given if isinstance(given, ast.expr) else node
            seconds = literal(place) or 0.0
            if seconds <= 0:
                raise self._fault(place, f"{name}: seconds are a number more than 0 that is written here")
        if name == "rate":
            return self._slot(node, signal.key, View.RATE, seconds)
        age = Arithmetic("-", Clock(), self._slot(node, signal.key, View.RECEIVED, seconds))
        return age if name == "age" else Comparison((">=",), (age, Constant(seconds)))

    def _signal(self, node: ast.expr) -> Reference | None:
        """Return the signal itself that is named, not one of its values."""
        named = reference(self._source, node)
        return named if named is not None and named.bare and named.view is View.LATEST else None

    def _whole(self, node: ast.expr, parameter: Parameter) -> Whole:
        number = whole(node)
        least, most = _RANGES[parameter.name]
        if number is None or not least <= number <= most:
            raise self._fault(
                node, f"{parameter.name} is a whole number from {least} to {most} that is written here"
            )
        return Whole(number)

    def _sign(self, known: Mapping[_Sign, str], op: ast.operator | ast.cmpop, left: ast.expr) -> str:
        sign = known.get(type(op))
        if sign is None:
            symbol = _NOT_OURS[type(op)]
            told = "; there are and, or, not" if symbol in ("&", "|") else ""
            raise self._source.fault(
                self._source.find(symbol, left), f"'{symbol}' is not part of the language{told}"
            )
        return sign

    def _refused(self, node: ast.expr, what: str) -> BadValue:
        return self._fault(node, f"{what} is not part of the language; it has {_ALLOWED}")

    def _fault(self, node: ast.expr, text: str) -> BadValue:
        return self._source.fault(self._source.start(node), text)
