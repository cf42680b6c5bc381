"""Message objects <-> frames: plain JSON, MessagePack, or JSON in the old password cipher. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from rtoc_twisted.wire import aes


class Frames(Protocol):
    """How one side of a conversation writes and reads its frames."""

    def encode(self, message: Mapping[str, Any]) -> str | bytes:
        """Return the frame of a message, bytes for a binary one; numpy's numbers and arrays are taken."""

    def decode(self, frame: str | bytes) -> dict[str, Any] | None:
        """Return the message of a frame, or None if it holds no JSON object."""


class PlainFrames:
    """JSON text (protocol section 2)."""

    def encode(self, message: Mapping[str, Any]) -> str:
        """Return the message as JSON; TypeError for what JSON cannot hold."""
        return json.dumps(message, default=_as_json)

    def decode(self, frame: str | bytes) -> dict[str, Any] | None:
        """Return the object in the frame, or None; bare NaN and Infinity, as the original sends, are read."""
        try:
            message = json.loads(frame)
        except ValueError:
            return None
        return message if isinstance(message, dict) else None


class PackedFrames:
    """MessagePack in binary frames, which NaN and the infinities need; an answer in JSON is read, too."""

    def __init__(self) -> None:
        self._plain = PlainFrames()

    def encode(self, message: Mapping[str, Any]) -> bytes:
        """Return the message as MessagePack; TypeError for what it cannot hold."""
        return msgspec.msgpack.encode(message, enc_hook=_as_json)

    def decode(self, frame: str | bytes) -> dict[str, Any] | None:
        """Return the map in the frame, or None."""
        if isinstance(frame, str):
            return self._plain.decode(frame)
        try:
            message = msgspec.msgpack.decode(frame)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        return message if isinstance(message, dict) else None


class CipherFrames:
    """AES-128-CBC in base64 (protocol section 4); plain JSON is read too, as servers answer in either."""

    def __init__(self, password: str) -> None:
        self._key = aes.cipher_key(aes.password_hash(password))
        self._plain = PlainFrames()

    def encode(self, message: Mapping[str, Any]) -> str:
        """Return the message as JSON, encrypted under a fresh IV."""
        return aes.encrypt(self._key, self._plain.encode(message).encode()).decode("ascii")

    def decode(self, frame: str | bytes) -> dict[str, Any] | None:
        """Return the object in the frame, or None for every cause of failure alike."""
        raw = frame.encode() if isinstance(frame, str) else frame
        # A JSON object starts with a brace, base64 never does.
        plain = raw if raw.lstrip().startswith(b"{") else aes.decrypt(self._key, raw)
        return None if plain is None else self._plain.decode(plain)


def _as_json(value: object) -> object:
    tolist = getattr(value, "tolist", None)
    if tolist is None:
        raise TypeError(f"a {type(value).__name__} cannot be sent as JSON")
    return tolist()
