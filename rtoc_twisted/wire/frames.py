"""WebSocket frames of a server, made outside of the socket so that one frame serves many (RFC 6455 5.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

TEXT = 1
BINARY = 2
FIN = 0x80
_CONTINUATION = 0
_SHORT = 126
_MEDIUM = 1 << 16
_FRAGMENT = 256 << 10

Part = bytes | memoryview
"""A run of bytes; a memoryview is one of single bytes."""


def text_frame(payload: bytes) -> bytes:
    """Return the unmasked, unfragmented text frame of a UTF-8 payload."""
    return _header(FIN | TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return the unmasked, unfragmented binary frame of a payload."""
    return _header(FIN | BINARY, len(payload)) + payload


def fragments(opcode: int, parts: Iterable[Part]) -> Iterator[bytes]:
    """Yield the frames of one message in fragments (RFC 6455 section 5.4).

    opcode: TEXT or BINARY. A part is asked for when its frame is; a frame takes whole parts until it has
    256 KiB. The last frame alone has FIN, and may be empty.
    """
    held: list[Part] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= _FRAGMENT:
            yield b"".join([_header(opcode, size), *held])
            opcode, held, size = _CONTINUATION, [], 0
    yield b"".join([_header(FIN | opcode, size), *held])


def _header(first: int, length: int) -> bytes:
    if length < _SHORT:
        return bytes((first, length))
    if length < _MEDIUM:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")
