"""Python's syntax trees: their parts, and how large they are in code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

_WAYS_OUT = (ast.Return, ast.Break, ast.Continue)
_EXIT = 8
"""Parts that leaving a `with`, or an `except .. as`, is in code."""


class Part(NamedTuple):
    """A node of a tree, and the names in it: in a tree, every text that is no constant's is one."""

    node: ast.AST
    names: list[str]


def parts(tree: ast.AST, deepest: int) -> list[Part]:
    """Return the nodes of a tree, level by level, without those that have nothing in them.

    Raises RecursionError for one of more levels than `deepest`.
    """
    level, found = [tree], []
    for _ in range(deepest):
        below: list[ast.AST] = []
        for node in level:
            names: list[str] = []
            for _, item in _items(node):
                if isinstance(item, ast.AST):
                    if item._fields:
                        below.append(item)
                elif type(item) is str:
                    names.append(item)
            found.append(Part(node, [] if isinstance(node, ast.Constant) else names))
        if not below:
            return found
        level = below
    raise RecursionError


def size_in_code(tree: ast.AST) -> int:
    """Return how many parts a tree has, those counted again that stand in its code again.

    What ends a `try` or a `with` does so for each way out of it, so one within another doubles each time.
    """
    return _size(tree)[0]


def _size(node: ast.AST) -> tuple[int, int]:
    """Return the size in code, and how many ways out there are: return, break and continue."""
    size, ways = 1, int(isinstance(node, _WAYS_OUT))
    endings = []
    for field, item in _items(node):
        if isinstance(item, ast.AST):
            more, out = _size(item)
            if field == "finalbody":
                endings.append((more, out))
            else:
                size, ways = size + more, ways + out
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        return size, 0
    if isinstance(node, ast.With):
        size += _EXIT * len(node.items) * (1 + ways)
    elif isinstance(node, ast.ExceptHandler):
        size += _EXIT * ways
    copies = 2 + ways
    for more, out in endings:
        size, ways = size + more * copies, ways + out * copies
    return size, ways


def _items(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Yield what is in a node, with the name of the field."""
    for field in node._fields:
        value = getattr(node, field, None)
        if type(value) is list:
            for item in value:
                yield field, item
        else:
            yield field, value
