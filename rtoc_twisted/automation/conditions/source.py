"""The text of a condition: Python's parser on it, and the places of faults."""

from __future__ import annotations

import ast
import re
import unicodedata
import warnings
from itertools import accumulate

from ...errors import BadValue

MAX_CHARACTERS = 10_000
MAX_DEPTH = 50

_WORDS = {"&&": "and", "||": "or"}
_NO_CHARACTERS = re.compile("[\0\ud800-\udfff]")


class Source:
    """A text, with the syntax that Python sees in it.

    text: of MAX_CHARACTERS at most. Raises BadValue for what is not one expression of Python, or one that is
    deeper than MAX_DEPTH. Places are characters from the beginning of the text on.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise BadValue(f"a condition is a text, not {type(text).__name__}")
        self._text = text[: MAX_CHARACTERS + 1].replace("\r\n", "\n").replace("\r", "\n")
        if len(text) > MAX_CHARACTERS:
            raise self.fault(len(self._text) - 1, f"a condition has {MAX_CHARACTERS} characters at most")
        # Python takes blanks at the beginning for an indentation.
        code = self._text.lstrip()
        start = len(self._text) - len(code)
        self._lines = code.split("\n")
        self._starts = list(accumulate((len(line) + 1 for line in self._lines), initial=start))
        self._ascii = code.isascii()
        self.root = self._parsed(code)
        self._check_depth()

    def start(self, node: ast.expr | ast.keyword) -> int:
        """Return the place where something begins."""
        return self._place(node.lineno, node.col_offset)

    def end(self, node: ast.expr) -> int:
        """Return the place after something."""
        return self._place(node.end_lineno or node.lineno, node.end_col_offset or node.col_offset)

    def find(self, symbol: str, after: ast.expr) -> int:
        """Return the place of an operator that comes after an operand."""
        return max(self._text.find(symbol, self.end(after)), 0)

    def words(self, node: ast.expr) -> str:
        """Return the text of something. Raises BadValue where Python reads other letters than there are."""
        words = self._text[self.start(node) : self.end(node)]
        if unicodedata.normalize("NFKC", words) != words:
            # Python's names are normalised, those of signals are not.
            raise self.fault(self.start(node), 'write such letters in quotes: signal("Device.Name")')
        return words

    def fault(self, place: int, text: str) -> BadValue:
        """Return the fault of that place: "column 5: ..", or "line 2, column 5: .." in a text of several."""
        before = self._text[:place]
        line, column = before.count("\n") + 1, place - (before.rfind("\n") + 1) + 1
        where = f"line {line}, column {column}" if "\n" in self._text else f"column {column}"
        return BadValue(f"{where}: {text}")

    def _parsed(self, code: str) -> ast.expr:
        wrong = _NO_CHARACTERS.search(self._text)
        if wrong is not None:
            raise self.fault(wrong.start(), "this is no character of a text")
        if not code:
            raise self.fault(0, "a condition is missing")
        try:
            with warnings.catch_warnings():
                # Python warns of "0if" and of "\\d" in quotes; who wrote them would not hear of it.
                warnings.simplefilter("ignore")
                return ast.parse(code, mode="eval").body
        except SyntaxError as error:
            reason = "a number with too many digits" if "integer string" in error.msg else error.msg
            line = min(max(error.lineno or 1, 1), len(self._lines))
            column = min(error.offset or 0, len(self._lines[line - 1]) + 1)
            if column < 1:
                # The parser's way to say that it was at the end.
                raise self.fault(len(self._text.rstrip()), "something is missing here") from None
            place = self._starts[line - 1] + column - 1
            if self._text[place : place + 2] in ("=>", "=<"):
                reason = "it is >= and <="
            elif self._text[place : place + 1] == "=":
                reason = "equality is =="
            elif (sign := self._text[max(place - 1, 0) : place + 1]) in _WORDS:
                reason = f"{sign} is {_WORDS[sign]}"
            elif "literal" in reason:
                reason += '; names with blanks or digits first are in quotes: signal("Device.Name")'
            elif self._text[place : place + 1] == "\n":
                reason += "; over several lines a condition is in parentheses"
            raise self.fault(place, f"this is not Python: {reason}") from None
        except (RecursionError, MemoryError):
            # How the parser says that its stack is full.
            raise self._too_deep(self._starts[0]) from None

    def _check_depth(self) -> None:
        level: list[ast.AST] = [self.root]
        for _ in range(MAX_DEPTH):
            level = [child for node in level for child in ast.iter_child_nodes(node)]
        for node in level:
            if isinstance(node, ast.expr):
                raise self._too_deep(self.start(node))

    def _too_deep(self, place: int) -> BadValue:
        return self.fault(place, f"this is nested more than {MAX_DEPTH} deep")

    def _place(self, line: int, column: int) -> int:
        """Return the place of what Python tells in lines and bytes."""
        if not self._ascii:
            column = len(self._lines[line - 1].encode()[:column].decode(errors="ignore"))
        return self._starts[line - 1] + column
