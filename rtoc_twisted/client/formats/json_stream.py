"""Reading one JSON document of any size, a piece at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TextIO

import numpy as np

from rtoc_twisted.errors import BadValue
from rtoc_twisted.model import FloatColumn

_CHUNK = 1 << 20
_LONGEST = 64 << 20
"""Characters that a single value (a text, an event) may have."""

_BLANK = " \t\r\n"


class JsonStream:
    """Walk through a document from its beginning; memory holds no more than one small value.

    Each method reads what comes next; BadValue, with the place, if that is something else.
    """

    def __init__(self, text: TextIO) -> None:
        self._file = text
        self._text = ""
        self._at = 0
        self._gone = 0
        self._ended = False
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """Return the next character that is not blank, without passing it; "" at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _BLANK:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        """Pass one character."""
        if (found := self.peek()) != expected:
            raise self._wrong(f"expected {expected!r}, found {found or 'the end'!r}")
        self._at += 1

    def members(self) -> Iterator[str]:
        """Yield the keys of an object; whoever iterates reads the value of each."""
        self.take("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise self._wrong("expected a key")
            self.take(":")
            yield key
            if self.peek() != "}":
                self.take(",")
        self.take("}")

    def value(self) -> Any:
        """Return a whole value of moderate size; NaN and the infinities are read too."""
        self.peek()
        while True:
            try:
                found, end = self._decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if len(self._text) - self._at > _LONGEST or not self._more():
                    raise self._wrong(f"no JSON: {error}") from None
                continue
            # A number at the end of what was read may go on.
            if end < len(self._text) or not self._more():
                self._at = end
                return found

    def numbers(self) -> Iterator[FloatColumn]:
        """Yield an array of numbers, in columns of float64; null is NaN."""
        self.take("[")
        while True:
            end = self._text.find("]", self._at)
            cut = end if end >= 0 else self._text.rfind(",", self._at)
            if cut >= 0:
                yield self._column(self._text[self._at : cut])
                self._at = cut + 1
            if end >= 0:
                return
            if len(self._text) - self._at > _LONGEST or not self._more():
                raise self._wrong("the list has no end")

    def _column(self, piece: str) -> FloatColumn:
        try:
            return np.array(json.loads(f"[{piece}]"), dtype=np.float64).reshape(-1)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise self._wrong(f"no list of numbers: {error}") from None

    def _more(self) -> bool:
        """Read on; return whether there was something."""
        piece = "" if self._ended else self._file.read(_CHUNK)
        self._ended = not piece
        self._gone += self._at
        self._text = self._text[self._at :] + piece
        self._at = 0
        return bool(piece)

    def _wrong(self, reason: str) -> BadValue:
        return BadValue(f"character {self._gone + self._at + 1}: {reason}")
