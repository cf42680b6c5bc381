"""Columns as bytes on disk, each with a checksum: little-endian, a CRC-32 in front."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from ..errors import StorageFailed
from ..model import FloatColumn
from .catalog import IdColumn
from .packing import pack, unpack

_CRC = struct.Struct("<I")
_LENGTH = struct.Struct("<I")
_ID = np.dtype("<u4")
_FLOAT = np.dtype("<f8")
_ROW = _ID.itemsize + 2 * _FLOAT.itemsize
_POINT = 2 * _FLOAT.itemsize


def pack_journal(ids: IdColumn, x: FloatColumn, y: FloatColumn) -> bytes:
    """Return a journal row's bytes. ids: uint32[n]; x, y: float64[n]."""
    return seal(ids.astype(_ID, copy=False).tobytes() + _floats(x) + _floats(y))


def unpack_journal(data: bytes) -> tuple[IdColumn, FloatColumn, FloatColumn]:
    """Return the columns of a journal row; raises StorageFailed if the checksum is wrong."""
    body = unseal(data, _ROW)
    count = len(body) // _ROW
    ids = np.frombuffer(body, _ID, count)
    x = np.frombuffer(body, _FLOAT, count, count * _ID.itemsize)
    return ids, x, np.frombuffer(body, _FLOAT, count, count * (_ID.itemsize + _FLOAT.itemsize))


def pack_chunk(x: FloatColumn, y: FloatColumn) -> bytes:
    """Return a chunk's bytes: the length of the packed x, both columns packed. x, y: float64[n]."""
    packed = pack(x)
    return seal(_LENGTH.pack(len(packed)) + packed + pack(y))


def unpack_chunk(data: bytes) -> tuple[FloatColumn, FloatColumn]:
    """Return the columns of a chunk; raises StorageFailed if the checksum is wrong."""
    body = unseal(data, 1)
    try:
        (length,) = _LENGTH.unpack_from(body)
        y_at = _LENGTH.size + length
        return unpack(body[_LENGTH.size : y_at]), unpack(body[y_at:])
    except (zlib.error, struct.error, ValueError):
        raise StorageFailed("a block of samples on disk is damaged (content)") from None


def plain(x: FloatColumn, y: FloatColumn) -> bytes:
    """Return the bytes of both columns as they are, which is fastest. x, y: float64[n]."""
    return seal(_floats(x) + _floats(y))


def read_plain(data: bytes) -> tuple[FloatColumn, FloatColumn]:
    """Return the columns out of `plain`; raises StorageFailed if the checksum is wrong."""
    body = unseal(data, _POINT)
    count = len(body) // _POINT
    return np.frombuffer(body, _FLOAT, count), np.frombuffer(body, _FLOAT, count, count * _FLOAT.itemsize)


def _floats(column: FloatColumn) -> bytes:
    return column.astype(_FLOAT, copy=False).tobytes()


def seal(body: bytes) -> bytes:
    """Return the bytes with their checksum in front."""
    return _CRC.pack(zlib.crc32(body)) + body


def unseal(data: bytes, row: int) -> memoryview:
    """Return what was sealed; raises StorageFailed if the checksum is wrong.

    row: bytes of which there must be a whole multiple.
    """
    body = memoryview(data)[_CRC.size :]
    if len(data) < _CRC.size or len(body) % row or zlib.crc32(body) != _CRC.unpack_from(data)[0]:
        raise StorageFailed("a block of samples on disk is damaged (checksum)")
    return body
