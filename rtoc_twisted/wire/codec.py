"""JSON and MessagePack: how values become payloads, and frames payloads (protocol sections 2 and 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec
import numpy as np
import orjson

from ..errors import BadValue
from ..model import FloatColumn
from . import aes
from .frames import binary_frame, text_frame

CODECS = ("json", "msgpack")

_SLICE = 32_768
"""Numbers encoded in one call: orjson holds the interpreter for about a millisecond with each."""

_JSON_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY


class Column:
    """A column of numbers in an answer: float64[n]; NaN and infinities are answered as null."""

    __slots__ = ("values",)

    def __init__(self, values: FloatColumn) -> None:
        self.values = values


class Verbatim:
    """A value that came as JSON and was never decoded, on its way back."""

    __slots__ = ("json",)

    def __init__(self, json: msgspec.Raw) -> None:
        self.json = json


def to_json(value: Any) -> bytes:
    """Return a value as JSON; raises TypeError where JSON has no word for it."""
    return orjson.dumps(value, default=_json_default, option=_JSON_OPTIONS)


def check_value(value: Any, key: str) -> None:
    """Raise BadValue if JSON has no word for a value: it could be kept, but never told again."""
    try:
        to_json(value)
    except TypeError as error:
        raise BadValue(f"{key}: {error}") from None


def _json_default(value: Any) -> Any:
    if isinstance(value, Column):
        return orjson.Fragment(_column_json(value.values))
    if isinstance(value, Verbatim):
        return orjson.Fragment(bytes(value.json))
    raise TypeError(f"{type(value).__name__} is not for the wire")


def _column_json(values: FloatColumn) -> bytes:
    slices = (values[start : start + _SLICE] for start in range(0, len(values), _SLICE))
    return (
        b"["
        + b",".join(orjson.dumps(np.ascontiguousarray(part), option=_JSON_OPTIONS)[1:-1] for part in slices)
        + b"]"
    )


def to_msgpack(value: Any) -> bytes:
    """Return a value as MessagePack; raises TypeError where it has no word for it."""
    return _msgpack_encoder.encode(value)


def _msgpack_default(value: Any) -> Any:
    if isinstance(value, Column):
        return [number if np.isfinite(number) else None for number in value.values.tolist()]
    if isinstance(value, Verbatim):
        return msgspec.json.decode(value.json)
    raise TypeError(f"{type(value).__name__} is not for the wire")


_msgpack_encoder = msgspec.msgpack.Encoder(enc_hook=_msgpack_default)


class Message:
    """A value on its way to clients: encoded once for each dialect, however many receive it."""

    __slots__ = ("_frames", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        self._frames: dict[str, bytes] = {}

    def payload(self) -> bytes:
        """Return the JSON payload."""
        return to_json(self.value)

    def once(self, dialect: str, make: Callable[[Any], bytes]) -> bytes:
        """Return the frame of a dialect, made by `make(value)` at the first call."""
        frame = self._frames.get(dialect)
        if frame is None:
            frame = self._frames[dialect] = make(self.value)
        return frame


class Dialect(Protocol):
    """How one client speaks."""

    def frame(self, message: Message) -> bytes:
        """Return the message as a WebSocket frame."""


class JsonDialect:
    """Plain JSON in text frames."""

    def frame(self, message: Message) -> bytes:
        """Return the message as a text frame."""
        return message.once("json", _json_frame)


class MsgpackDialect:
    """MessagePack in binary frames, for clients that send it."""

    def frame(self, message: Message) -> bytes:
        """Return the message as a binary frame."""
        return message.once("msgpack", _msgpack_frame)


class AesDialect:
    """JSON in the old cipher, each frame with an IV of its own (protocol section 4)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def frame(self, message: Message) -> bytes:
        """Return the message as a text frame that only this password opens."""
        return text_frame(aes.encrypt(self._key, message.payload()))


def _json_frame(value: Any) -> bytes:
    return text_frame(to_json(value))


def _msgpack_frame(value: Any) -> bytes:
    return binary_frame(to_msgpack(value))


JSON = JsonDialect()
MSGPACK = MsgpackDialect()
