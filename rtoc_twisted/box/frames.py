"""Messages between the server and a plugin's process, cut out of a stream of bytes.

A frame is the length of its payload in 4 bytes, big-endian, and the payload: one MessagePack value.
"""

from __future__ import annotations

from ..errors import TooLarge

LIMIT = 16 << 20
"""Bytes of the largest payload."""

_HEAD = 4


def frame(payload: bytes) -> bytes:
    """Return a payload as a frame; raises TooLarge above LIMIT."""
    if len(payload) > LIMIT:
        raise TooLarge(f"a message of {len(payload)} bytes, and {LIMIT} is the limit")
    return len(payload).to_bytes(_HEAD, "big") + payload


class Splitter:
    """Cuts the frames out of bytes as they arrive; holds at most one frame that is not whole."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._wanted = _HEAD

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that end within these bytes, in order.

        Raises TooLarge at a head that announces more than the limit: the rest of the stream has no meaning.
        """
        rest = self._rest
        rest += data
        if len(rest) < self._wanted:
            return []
        payloads = []
        start = 0
        while len(rest) - start >= _HEAD:
            length = int.from_bytes(rest[start : start + _HEAD], "big")
            if length > self._limit:
                raise TooLarge(f"a frame of {length} bytes, and {self._limit} is the limit")
            end = start + _HEAD + length
            if len(rest) < end:
                break
            payloads.append(bytes(rest[start + _HEAD : end]))
            start = end
        del rest[:start]
        self._wanted = _HEAD
        if len(rest) >= _HEAD:
            self._wanted += int.from_bytes(rest[:_HEAD], "big")
        return payloads

    @property
    def waiting(self) -> int:
        """Return the bytes of the frame that is not whole yet."""
        return len(self._rest)
