"""RTOC's own words in a script, spelled so that Python's parser takes them.

`trig CONDITION:` becomes `if`, `global NAME = value` an assignment to an attribute, and `global.NAME` that
attribute. Every letter stays where it is, so what Python says about lines and columns is true for the script.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from itertools import pairwise
from tokenize import TokenInfo
from typing import NamedTuple

KEPT = "gl_bal"
"""What `global` is in `global.NAME`: as many letters."""

_SPACE = {tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT}
_OPERAND = {tokenize.NAME, tokenize.NUMBER, tokenize.STRING}
_OPENING = "([{"
_FORMATTED = re.compile("(?i)r?fr?['\"]")
Place = tuple[int, int]


class Spelled(NamedTuple):
    """A script that Python can parse; the line and column where each `trig` and `global NAME =` stands."""

    text: str
    triggers: frozenset[Place]
    firsts: frozenset[Place]


def spelled(source: str) -> Spelled:
    """Return a script in Python's words; what is no Python is left to the parser's judgement."""
    text = source.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    writer = _Writer(text)
    try:
        for line in _logical_lines(text):
            writer.take(line)
    except (tokenize.TokenError, SyntaxError):
        # The parser says it better.
        pass
    return Spelled("".join(writer.lines), frozenset(writer.triggers), frozenset(writer.firsts))


def _logical_lines(text: str) -> Iterator[Sequence[TokenInfo]]:
    line: list[TokenInfo] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NEWLINE:
            yield line
            line = []
        elif token.type not in _SPACE:
            line.append(token)


class _Writer:
    def __init__(self, text: str) -> None:
        self.lines = io.StringIO(text).readlines()
        self.triggers: list[Place] = []
        self.firsts: list[Place] = []

    def take(self, line: Sequence[TokenInfo]) -> None:
        first = line[0].string if line else ""
        if first == "trig" and _is_trigger(line):
            self._put(line[0].start, "if  ")
            self.triggers.append(line[0].start)
        elif first == "global" and [token.string for token in line[2:3]] == ["="]:
            row, column = line[1].start
            self._put(line[0].start, KEPT)
            self._put((row, column - 1), ".")
            self.firsts.append(line[0].start)
        for token, following in pairwise(line):
            if token.string == "global" and following.string == ".":
                self._put(token.start, KEPT)
        for token in line:
            if token.type == tokenize.STRING and _FORMATTED.match(token.string):
                self._put_within(token)

    def _put(self, place: Place, text: str) -> None:
        row, column = place
        line = self.lines[row - 1]
        self.lines[row - 1] = line[:column] + text + line[column + len(text) :]

    def _put_within(self, token: TokenInfo) -> None:
        row, column = token.start
        for offset, line in enumerate(token.string.split("\n")):
            for found in re.finditer(r"\bglobal\.", line):
                self._put((row + offset, (0 if offset else column) + found.start()), KEPT)


def _is_trigger(line: Sequence[TokenInfo]) -> bool:
    """Whether a line that begins with `trig` is a condition and a colon, and no use of a name `trig`."""
    if len(line) < 3 or not (line[1].type in _OPERAND or line[1].string in (*_OPENING, "-", "+", "~")):
        return False
    depth = 0
    for token in line[1:]:
        if token.type == tokenize.OP:
            if token.string in _OPENING:
                depth += 1
            elif token.string in ")]}":
                depth -= 1
            elif token.string == ":" and not depth:
                return True
    return False
