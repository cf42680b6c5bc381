"""JSON and MessagePack: how values become payloads, and frames payloads (protocol sections 2 and 4)."""

from __future__ import annotations

import os
from binascii import b2a_base64
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import Any, Protocol

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from ..errors import BadValue
from ..interfaces import IStream
from ..model import FloatColumn
from . import aes
from .frames import BINARY, TEXT, Part, binary_frame, fragments, text_frame
from .stream import Stream

CODECS = ("json", "msgpack")

_SLICE = 30_000
"""Numbers encoded in one call, in about a millisecond; threes, for these are whole words of base64."""

_WHOLE = 32_768
"""Numbers in the columns of a message above which it is a stream."""

_FEW = 64
"""Numbers of a column that are encoded in passing."""

_MARK = os.urandom(16)
"""Stands for a column while the rest of its message is encoded: what no client can guess, and so send."""

_JSON_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY

_MSGPACK_FLOAT = np.dtype([("head", "u1"), ("value", ">f8")])
_MSGPACK_INTEGER = np.dtype([("head", "u1"), ("value", ">i8")])
_FLOAT64, _INT64, _NIL = 0xCB, 0xD3, 0xC0


class Column:
    """A column of numbers in an answer: float64[n]; NaN and infinities are answered as null."""

    __slots__ = ("values",)

    def __init__(self, values: FloatColumn) -> None:
        self.values: NDArray[Any] = values

    def json_value(self) -> Any:
        """Return what orjson writes at once, for few numbers."""
        return np.ascontiguousarray(self.values)

    def msgpack_value(self) -> Any:
        """Return what msgspec writes at once, for few numbers."""
        return [number if isfinite(number) else None for number in self.values.tolist()]

    def json(self) -> Iterator[Part]:
        """Yield it as a JSON array, in slices of about a millisecond of work."""
        before = b"["
        for part in self._slices():
            yield before
            yield memoryview(orjson.dumps(np.ascontiguousarray(part), option=_JSON_OPTIONS))[1:-1]
            before = b","
        yield b"]" if len(self.values) else b"[]"

    def msgpack(self) -> Iterator[Part]:
        """Yield it as a MessagePack array of float 64 and nil, in slices."""
        length = len(self.values)
        yield _msgpack_header((0x90, 0xDC, 0xDD), 16, length)
        for part in self._slices():
            numbers = np.empty(len(part), _MSGPACK_FLOAT)
            numbers["head"] = _FLOAT64
            numbers["value"] = part
            lacking = ~np.isfinite(part)
            if lacking.any():
                numbers["head"][lacking] = _NIL
                kept = np.ones((len(part), _MSGPACK_FLOAT.itemsize), np.bool_)
                kept[lacking, 1:] = False
                yield numbers.view(np.uint8)[kept.ravel()].data
            else:
                yield numbers.view(np.uint8).data

    def _slices(self) -> Iterator[NDArray[Any]]:
        for start in range(0, len(self.values), _SLICE):
            yield self.values[start : start + _SLICE]


class CountColumn(Column):
    """A column of whole numbers, which are answered as such."""

    __slots__ = ()

    def __init__(self, values: FloatColumn) -> None:
        self.values = values.astype(np.int64)

    def msgpack(self) -> Iterator[Part]:
        """Yield it as a MessagePack array of int 64, in slices."""
        yield _msgpack_header((0x90, 0xDC, 0xDD), 16, len(self.values))
        for part in self._slices():
            numbers = np.empty(len(part), _MSGPACK_INTEGER)
            numbers["head"] = _INT64
            numbers["value"] = part
            yield numbers.view(np.uint8).data


class ExactColumn(Column):
    """A column whose every bit is answered: little-endian float64, as bin or as base64 text."""

    __slots__ = ()

    def json_value(self) -> Any:
        """Return what orjson writes at once, for few numbers."""
        return b2a_base64(self.msgpack_value(), newline=False).decode()

    def msgpack_value(self) -> Any:
        """Return what msgspec writes at once, for few numbers."""
        return self.values.astype("<f8").tobytes()

    def json(self) -> Iterator[Part]:
        """Yield it as a JSON string of base64 (RFC 4648 section 4), in slices."""
        yield b'"'
        for part in self._bytes():
            yield b2a_base64(part, newline=False)
        yield b'"'

    def msgpack(self) -> Iterator[Part]:
        """Yield it as MessagePack bin, in slices."""
        yield _msgpack_header((0xC4, 0xC5, 0xC6), 0, self.values.size * 8)
        yield from self._bytes()

    def _bytes(self) -> Iterator[memoryview]:
        for part in self._slices():
            yield np.ascontiguousarray(part, "<f8").view(np.uint8).data


def _msgpack_header(heads: tuple[int, int, int], fixed: int, length: int) -> bytes:
    """Return the header of an array or bin; fixed: lengths below it are a part of the first head."""
    small, medium, large = heads
    if length < fixed:
        return bytes((small | length,))
    if not fixed and length < 1 << 8:
        return bytes((small, length))
    if length < 1 << 16:
        return bytes((medium,)) + length.to_bytes(2, "big")
    return bytes((large,)) + length.to_bytes(4, "big")


class Verbatim:
    """A value that came as JSON and was never decoded, on its way back."""

    __slots__ = ("json",)

    def __init__(self, json: msgspec.Raw) -> None:
        self.json = json


def _in_json(value: Any) -> Any:
    """Return what orjson is to write for a value that it does not know; TypeError for long columns."""
    if isinstance(value, Column) and len(value.values) <= _FEW:
        return value.json_value()
    if isinstance(value, Verbatim):
        return orjson.Fragment(bytes(value.json))
    raise TypeError(f"{type(value).__name__} is not for the wire")


def _in_msgpack(value: Any) -> Any:
    """Return what msgspec is to write for a value that it does not know; TypeError for long columns."""
    if isinstance(value, Column) and len(value.values) <= _FEW:
        return value.msgpack_value()
    if isinstance(value, Verbatim):
        return msgspec.json.decode(value.json)
    raise TypeError(f"{type(value).__name__} is not for the wire")


_MSGPACK = msgspec.msgpack.Encoder(enc_hook=_in_msgpack)


class _Columns(list[Column]):
    """The long columns of a value, in the order in which its encoder met them; marks stand there instead."""

    __slots__ = ()

    def in_json(self, value: Any) -> Any:
        """Return what orjson is to write for a value that it does not know."""
        if isinstance(value, Column) and len(value.values) > _FEW:
            self.append(value)
            return orjson.Fragment(_MARK)
        return _in_json(value)

    def in_msgpack(self, value: Any) -> Any:
        """Return what msgspec is to write for a value that it does not know."""
        if isinstance(value, Column) and len(value.values) > _FEW:
            self.append(value)
            return msgspec.Raw(_MARK)
        return _in_msgpack(value)

    def json_into(self, text: bytes) -> Iterator[Part]:
        """Yield a JSON text with the columns where their marks are."""
        return self._into(text, [column.json for column in self])

    def msgpack_into(self, text: bytes) -> Iterator[Part]:
        """Yield a MessagePack text with the columns where their marks are."""
        return self._into(text, [column.msgpack for column in self])

    def _into(self, text: bytes, encode: Sequence[Callable[[], Iterator[Part]]]) -> Iterator[Part]:
        first, *others = text.split(_MARK)
        yield first
        for parts, other in zip(encode, others, strict=True):
            yield from parts()
            yield other

    def stream(self, opcode: int, parts: Iterator[Part], text: bytes) -> Stream | None:
        """Return the stream of a message in which the columns are many numbers, None where they are few."""
        if sum(len(column.values) for column in self) <= _WHOLE:
            return None
        kept = sum(column.values.nbytes for column in self)
        return Stream(fragments(opcode, parts), kept + len(text))


def to_json(value: Any) -> bytes:
    """Return a value as JSON; raises TypeError where JSON has no word for it."""
    columns = _Columns()
    text = orjson.dumps(value, default=columns.in_json, option=_JSON_OPTIONS)
    return b"".join(columns.json_into(text)) if columns else text


def check_value(value: Any, key: str) -> None:
    """Raise BadValue if JSON has no word for a value: it could be kept, but never told again."""
    try:
        to_json(value)
    except TypeError as error:
        raise BadValue(f"{key}: {error}") from None


class Message:
    """A value on its way to clients: encoded once for each dialect, however many receive it."""

    __slots__ = ("_frames", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._frames: dict[str, bytes | Stream] = {}

    def payload(self) -> bytes:
        """Return the JSON payload."""
        return to_json(self.value)

    def once(self, dialect: str, make: Callable[[Any], bytes | Stream]) -> bytes | IStream:
        """Return the frame of a dialect, or the stream of its fragments, made by the first `make(value)`.

        A stream is each caller's own; its fragments are made once for all.
        """
        made = self._frames.get(dialect)
        if made is None:
            made = self._frames[dialect] = make(self.value)
        return made if isinstance(made, bytes) else made.fork()


class Dialect(Protocol):
    """How one client speaks."""

    def frame(self, message: Message) -> bytes | IStream:
        """Return the message as a WebSocket frame, or as a stream of frames if it is large."""


class JsonDialect:
    """Plain JSON in text frames."""

    def frame(self, message: Message) -> bytes | IStream:
        """Return the message as a text frame, or in several."""
        return message.once("json", _json_frame)


class MsgpackDialect:
    """MessagePack in binary frames, for clients that send it."""

    def frame(self, message: Message) -> bytes | IStream:
        """Return the message as a binary frame, or in several."""
        return message.once("msgpack", _msgpack_frame)


class AesDialect:
    """JSON in the old cipher, each frame with an IV of its own (protocol section 4).

    A message is encoded whole, however large: who wants large answers uses TLS instead.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def frame(self, message: Message) -> bytes:
        """Return the message as a text frame that only this password opens."""
        return text_frame(aes.encrypt(self._key, message.payload()))


# Nearly all messages are without a long column, and are to cost no more than their encoding. What fails for
# another reason fails once more.


def _json_frame(value: Any) -> bytes | Stream:
    try:
        return text_frame(orjson.dumps(value, _in_json, _JSON_OPTIONS))
    except TypeError:
        return _json_with_columns(value)


def _json_with_columns(value: Any) -> bytes | Stream:
    columns = _Columns()
    text = orjson.dumps(value, columns.in_json, _JSON_OPTIONS)
    parts = columns.json_into(text)
    return columns.stream(TEXT, parts, text) or text_frame(b"".join(parts))


def _msgpack_frame(value: Any) -> bytes | Stream:
    try:
        return binary_frame(_MSGPACK.encode(value))
    except TypeError:
        return _msgpack_with_columns(value)


def _msgpack_with_columns(value: Any) -> bytes | Stream:
    columns = _Columns()
    text = msgspec.msgpack.encode(value, enc_hook=columns.in_msgpack)
    parts = columns.msgpack_into(text)
    return columns.stream(BINARY, parts, text) or binary_frame(b"".join(parts))


JSON = JsonDialect()
MSGPACK = MsgpackDialect()
