"""Columns of numbers straight out of a message's bytes.

To make a Python number of each value, only to take all of them apart again, costs more than everything
else that a long message needs. simdjson reads an array of numbers into one block of float64; what it does
not take for such an array goes the general way.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

LEAST = 384
"""Bytes of a message below which this is no gain."""

NO_COLUMN = (ValueError, TypeError, RuntimeError, AttributeError)
"""What simdjson raises where a text is no array of numbers."""

ReadColumn = Callable[[bytes], "array[float]"]


def column_reader() -> ReadColumn | None:
    """Return what reads a JSON array of numbers or raises one of NO_COLUMN; None without simdjson."""
    try:
        from simdjson import Parser
    except ImportError:
        return None
    parse: Callable[[bytes], Any] = Parser().parse

    def read(text: bytes) -> array[float]:
        column = array("d")
        # The parser may be used again as soon as nothing refers to what it parsed.
        column.frombytes(parse(text).as_buffer(of_type="d"))
        return column

    return read


def array_of(payload: bytes, key: bytes) -> tuple[int, int]:
    """Return where the array of a key begins and ends, (0, 0) where it is no plain array.

    key: as it stands in the message, with its quotes and the colon. An array within the array, or a text
    with a bracket, ends it too early, and what is left is no array.
    """
    start = payload.find(key + b"[")
    if start < 0:
        # As the json module of Python writes it.
        start = payload.find(key + b" [")
        if start < 0:
            return 0, 0
        start += 1
    start += len(key)
    return start, payload.find(b"]", start) + 1
