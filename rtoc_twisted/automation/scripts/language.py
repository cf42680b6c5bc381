"""The language of scripts (protocol section 11): what it has not, and what its words mean in Python.

A script is parsed, checked and rewritten as a tree, never as text. Names of its world that nobody can write
begin with "@". What is refused here keeps scripts to what is documented, and tells early what would not work;
that a script can do no harm is up to the process that it runs in (sandbox).
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any, NamedTuple, NoReturn, TypeVar

from ...errors import BadValue
from .spelling import KEPT, Place, Spelled, spelled
from .trees import parts, size_in_code
from .words import (
    BUILTINS,
    MODULES,
    NETWORK_MODULES,
    REFUSED_ATTRIBUTES,
    REFUSED_NAMES,
    SPECIAL_METHODS,
    WORLD,
)

FILE = "<script>"
"""The name of the file in a traceback."""

LONGEST = 32_768
"""Letters of a script."""

MOST = 4000
"""Words, signs and lines of a script: to check so many takes the server a few hundredths of a second."""

DEEPEST = 200
"""Levels of nesting of a script's tree."""

_LARGEST = 20_000
"""Parts of a tree, where what a `finally` or `with` does counts for each way out of it, as in its code."""

_PIECE = re.compile(r"\w+|[^\w\s]|\n")
_SELVES = ("self", "cls", KEPT)
_ASYNCHRONOUS = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
_N = TypeVar("_N", bound=ast.AST)


class NoScript(BadValue):
    """A text that is no script; line: where, 0 where no line is to blame."""

    def __init__(self, reason: str, line: int = 0, column: int = 0) -> None:
        super().__init__(f"line {line}, column {column}: {reason}" if line else reason)
        self.line = line


class Script(NamedTuple):
    """A script that can be run: its code, and the names in it that can only be those of devices."""

    code: CodeType
    devices: frozenset[str]


def check(source: str, files: bool = False, network: bool = False) -> None:
    """Raise NoScript, a BadValue with line and column, for a script that is not in the language.

    files, network: whether the configuration lets scripts have them.
    """
    translated(source, files, network)


def translated(source: str, files: bool = False, network: bool = False) -> Script:
    """Return a script as code, to be executed in a world (world.py); raises NoScript as check()."""
    if len(source) > LONGEST:
        raise NoScript(f"a script of {len(source)} letters, and {LONGEST} is the limit")
    if sum(1 for _ in _PIECE.finditer(source)) > MOST:
        raise NoScript(f"a script of more than {MOST} words, signs and lines")
    text = spelled(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.text, FILE)
            checker = _Checker(tree, files, network)
            checker.check()
            if size_in_code(tree) > _LARGEST:
                raise NoScript("there are too many ways out of its finally and with blocks")
            rewritten = _Rewriter(text, checker.free, checker.bound).visit(tree)
            code = compile(rewritten, FILE, "exec", dont_inherit=True)
    except SyntaxError as error:
        if error.lineno is None:
            raise NoScript(f"no script: {error.msg}") from None
        raise NoScript(error.msg, error.lineno, error.offset or 0) from None
    except (RecursionError, MemoryError):
        raise NoScript("the script is nested too deeply") from None
    except ValueError as error:
        raise NoScript(f"no script: {error}") from None
    return Script(code, checker.free)


def _refuse(node: Any, reason: str) -> NoReturn:
    # Columns of the tree count bytes: behind letters that have several they are a little too large.
    raise NoScript(reason, node.lineno, node.col_offset + 1)


class _Checker:
    """Walks through a tree, without recursion.

    bound: names that it assigns; free: all others that it takes something of, which can only be devices.
    """

    def __init__(self, tree: ast.Module, files: bool, network: bool) -> None:
        self._parts = parts(tree, DEEPEST)
        self._modules = {*MODULES, *(NETWORK_MODULES if network else ())}
        self._refused = {name: why for name, why in REFUSED_NAMES.items() if not (files and name == "open")}
        self._methods = {
            item
            for node, _ in self._parts
            if isinstance(node, ast.ClassDef)
            for item in node.body
            if isinstance(item, ast.FunctionDef)
        }
        self._checks: Mapping[type[ast.AST], Callable[[Any], None]] = {
            ast.Attribute: self._check_attribute,
            ast.Name: self._check_name,
            ast.Import: self._check_import,
            ast.ImportFrom: self._check_import,
            ast.MatchClass: _check_class_pattern,
            **dict.fromkeys(_ASYNCHRONOUS, _refuse_async),
        }
        self.bound = frozenset(name for node, names in self._parts for name in _bound(node, names))
        self._unbound = {node.id for node, _ in self._parts if type(node) is ast.Name} - self.bound
        owners = (node.value for node, _ in self._parts if type(node) is ast.Attribute)
        owning = {node.id for node in owners if isinstance(node, ast.Name)}
        self.free = frozenset((owning & self._unbound) - WORLD - BUILTINS - {KEPT})

    def check(self) -> None:
        """Raise NoScript for the first thing that the language has not."""
        position: Any = None
        for node, names in self._parts:
            position = node if "lineno" in node._attributes else position
            if isinstance(node, ast.comprehension) and node.is_async:
                _refuse_async(position)
            check = self._checks.get(type(node))
            if check is not None:
                check(node)
            for name in names:
                if name.startswith("__") and not self._is_special(node):
                    _refuse(position, f"{name}: names that begin with __ are not part of the script language")

    def _is_special(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):
            return True  # checked as such
        return node in self._methods and getattr(node, "name", "") in SPECIAL_METHODS

    def _check_name(self, node: ast.Name) -> None:
        if node.id in self._refused and node.id in self._unbound:
            _refuse(node, f"{node.id}: {self._refused[node.id]}")

    def _check_attribute(self, node: ast.Attribute) -> None:
        base = node.value
        if (
            isinstance(base, ast.Call)
            and isinstance(base.func, ast.Name)
            and base.func.id == "super"
            and node.attr in SPECIAL_METHODS
        ):
            return
        own = isinstance(base, ast.Name) and base.id in _SELVES
        _check_attribute_name(_end_of(node), node.attr, own)

    def _check_import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.ImportFrom):
            if node.level or node.module is None:
                _refuse(node, "there is nothing to import relatively")
            names = [node.module]
            for alias in node.names:
                _check_attribute_name(node, alias.name, own=False)
        else:
            names = [alias.name for alias in node.names]
        for name in names:
            if name.partition(".")[0] not in self._modules:
                known = ", ".join(sorted(self._modules))
                _refuse(node, f"{name} cannot be imported; scripts may import {known}")


def _refuse_async(node: Any) -> NoReturn:
    _refuse(node, "async and await are not part of the script language")


def _check_class_pattern(node: ast.MatchClass) -> None:
    for name in node.kwd_attrs:
        _check_attribute_name(node, name, own=False)


def _check_attribute_name(node: Any, name: str, own: bool) -> None:
    if name.startswith("_") and (not own or "__" in name):
        _refuse(node, f".{name}: names that begin with _ are not for scripts")
    if name in REFUSED_ATTRIBUTES:
        _refuse(node, f".{name} is not for scripts")


def _end_of(node: ast.Attribute) -> ast.expr:
    """Return something that stands where the name of the attribute does."""
    line, end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return ast.Name(node.attr, lineno=line, col_offset=max(0, end - len(node.attr.encode())))


def _bound(node: ast.AST, names: list[str]) -> Iterator[str]:
    """Yield the names that a node gives a meaning to; parameters of functions mean it only there."""
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            yield node.id
    elif not names:
        return
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0]
    elif isinstance(
        node,
        ast.FunctionDef
        | ast.ClassDef
        | ast.ExceptHandler
        | ast.MatchAs
        | ast.MatchStar
        | ast.MatchMapping
        | ast.Global
        | ast.Nonlocal,
    ):
        yield from names


def _call(name: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def _text(value: str) -> ast.Constant:
    return ast.Constant(value)


class _Rewriter(ast.NodeTransformer):
    """Puts the script's world in the place of RTOC's words."""

    def __init__(self, text: Spelled, free: frozenset[str], bound: frozenset[str]) -> None:
        self._text = text
        self._free = free
        self._bound = bound
        self._functions = 0
        self._keys: dict[str, int] = {}

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return _at(ast.Name("global", node.ctx), node) if node.id == KEPT else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                inner.value = inner.value.replace(f"{KEPT}.", "global.")
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr in ("format", "format_map") and isinstance(node.ctx, ast.Load):
            return _at(_call("@format", node.value, _text(node.attr)), node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        spread = [self._may_be_signal(argument) for argument in node.args]
        self.generic_visit(node)
        node.args = [
            _at(ast.Starred(_call("@spread", argument), ast.Load()), argument) if wanted else argument
            for argument, wanted in zip(node.args, spread, strict=True)
        ]
        return node

    def _may_be_signal(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Attribute):
            base = node.value
            return (isinstance(base, ast.Name) and base.id in self._free) or self._calls(base, "device")
        return self._calls(node, "signal")

    def _calls(self, node: ast.expr, name: str) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == name
            and name not in self._bound
        )

    def visit_While(self, node: ast.While) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant) and node.test.value:
            node.test = _at(_call("@running"), node.test)
        return node

    def visit_If(self, node: ast.If) -> ast.AST:
        if _place_of(node) in self._text.triggers:
            node.test = _at(_call("@trigger", _text(self._key(node.test)), node.test), node.test)
        return self.generic_visit(node)

    def _key(self, condition: ast.expr) -> str:
        """Return a condition's text; one that stands there again has a memory of its own."""
        text = ast.unparse(condition).replace(f"{KEPT}.", "global.")
        count = self._keys[text] = self._keys.get(text, 0) + 1
        return text if count == 1 else f"{text} ({count})"

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        target = node.targets[0]
        is_first = _place_of(node) in self._text.firsts and isinstance(target, ast.Attribute)
        self.generic_visit(node)
        if is_first and isinstance(target, ast.Attribute):
            return _at(ast.If(_call("@unset", _text(target.attr)), [node], []), node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._functions += 1
        self.generic_visit(node)
        self._functions -= 1
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        # A return in its body is Python's to refuse.
        return self.visit_FunctionDef(node)  # type: ignore[arg-type]  # both have what is asked for

    def visit_Return(self, node: ast.Return) -> ast.AST:
        self.generic_visit(node)
        if self._functions:
            return node
        value = node.value or ast.Constant(None)
        return _at(ast.Raise(_call("@Returned", value), None), node)

    def visit_Try(self, node: ast.Try) -> ast.AST:
        self.generic_visit(node)
        if any(handler.type is None for handler in node.handlers):
            # What ends a script is not for `except:` to hold up.
            through = ast.ExceptHandler(ast.Name("@Unwound", ast.Load()), None, [ast.Raise(None, None)])
            node.handlers.insert(0, _at(through, node))
        return node

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        return [self._imported(alias, node) for alias in node.names]

    def _imported(self, alias: ast.alias, node: ast.Import) -> ast.stmt:
        name = alias.asname or alias.name.partition(".")[0]
        module = _call("@import", _text(alias.name), ast.Constant(alias.asname is not None))
        return _at(ast.Assign([ast.Name(name, ast.Store())], module), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        module = _text(node.module or "")
        if [alias.name for alias in node.names] == ["*"]:
            if self._functions:
                return node
            return _at(ast.Expr(_call("@star", module)), node)
        return [
            _at(
                ast.Assign(
                    [ast.Name(alias.asname or alias.name, ast.Store())],
                    _call("@from", module, _text(alias.name)),
                ),
                node,
            )
            for alias in node.names
        ]


def _at(new: _N, old: ast.AST) -> _N:
    """Give a node of ours, and those of ours in it, the place of what it stands for."""
    ast.copy_location(new, old)
    for inner in ast.iter_child_nodes(new):
        if "lineno" in inner._attributes and not hasattr(inner, "lineno"):
            _at(inner, old)
    return new


def _place_of(node: ast.stmt) -> Place:
    return node.lineno, node.col_offset
