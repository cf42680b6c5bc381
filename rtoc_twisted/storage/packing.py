"""Columns of float64 in few bytes, without loss: differences of whole numbers, by bytes, through zlib.

Sensors send decimals at even times. A value with d decimals is a whole number of 10**-d, and dividing that
number by 10**d gives the same float64 again (both are exact, and IEEE 754 rounds the quotient as it rounds
the decimal); other values are taken as the whole numbers that their 64 bits are, which grow evenly too while
the exponent stays. Either way the column becomes integers, their differences (or the differences of these)
are small, and written byte by byte (all lowest bytes first) they compress well. Chosen over Gorilla (Pelkonen
et al., VLDB 2015), whose bit by bit coding is slow in Python, and over zstandard, which is no part of Python.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from ..model import FloatColumn

_HEAD = struct.Struct("<bBBI")
_BITS = -1
_MOST_DECIMALS = 9
_LARGEST = 2.0**53
_SAMPLE = 64
_LEVEL = 6
_ORDERS = 2

_Integers = NDArray[np.int64]


def pack(column: FloatColumn) -> bytes:
    """Return the column's bytes: a head, then the integers through zlib.

    The head: decimals or -1, order of differences, bytes of an integer, count. column: float64[n].
    """
    decimals = _decimals(column)
    if decimals is None:
        integers, decimals = column.view(np.int64), _BITS
    else:
        integers = np.rint(column * 10.0**decimals).astype(np.int64)
    order, folded = _differences(integers)
    width = max(1, (int(folded.max()).bit_length() + 7) // 8) if len(folded) else 1
    planes = folded.astype("<u8").view(np.uint8).reshape(-1, 8)[:, :width].T
    head = _HEAD.pack(decimals, order, width, len(column))
    return head + zlib.compress(np.ascontiguousarray(planes).tobytes(), _LEVEL)


def unpack(data: bytes | memoryview) -> FloatColumn:
    """Return the column that `pack` was given; raises zlib.error or ValueError if the bytes are damaged."""
    decimals, order, width, count = _HEAD.unpack_from(data)
    planes = np.frombuffer(zlib.decompress(data[_HEAD.size :]), np.uint8).reshape(width, count)
    folded = np.zeros((count, 8), np.uint8)
    folded[:, :width] = planes.T
    unsigned = folded.view("<u8").reshape(count).astype(np.uint64)
    integers = (unsigned >> np.uint64(1)).view(np.int64) ^ -(unsigned & np.uint64(1)).view(np.int64)
    for _ in range(order):
        np.cumsum(integers, out=integers)
    if decimals == _BITS:
        return integers.view(np.float64)
    column: FloatColumn = integers / 10.0**decimals
    return column


def _decimals(column: FloatColumn) -> int | None:
    """Return how many decimals all values have; None if they are no decimals."""
    for decimals in range(_MOST_DECIMALS + 1):
        if _are_decimals(column[:_SAMPLE], decimals):
            return next((d for d in range(decimals, _MOST_DECIMALS + 1) if _are_decimals(column, d)), None)
    return None


def _are_decimals(column: FloatColumn, decimals: int) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        numbers = np.rint(column * 10.0**decimals)
        if not (np.abs(numbers) < _LARGEST).all():
            return False
        # By their bits: -0.0 is no whole number that comes back.
        back = numbers.astype(np.int64) / 10.0**decimals
        return bool((back.view(np.int64) == column.view(np.int64)).all())


def _differences(integers: _Integers) -> tuple[int, NDArray[np.uint64]]:
    """Return the order of differences that is smallest, and these as unsigned numbers, signs folded in."""
    best = (0, _fold(integers))
    for order in range(1, _ORDERS + 1):
        with np.errstate(over="ignore"):
            integers = np.diff(integers, prepend=np.int64(0))
        folded = _fold(integers)
        if _weight(folded) < _weight(best[1]):
            best = (order, folded)
    return best


def _fold(integers: _Integers) -> NDArray[np.uint64]:
    """Return small unsigned numbers for small numbers of either sign: 0, -1, 1, -2 become 0, 1, 2, 3."""
    return ((integers << np.int64(1)) ^ (integers >> np.int64(63))).view(np.uint64)


def _weight(folded: NDArray[np.uint64]) -> float:
    return float(np.log2(folded.astype(np.float64) + 1).sum())
