"""WebSocket frames of a server, made outside of the socket so that one frame serves many (RFC 6455 5.2)."""

from __future__ import annotations

_FIN_TEXT = 0x81
_FIN_BINARY = 0x82
_SHORT = 126
_MEDIUM = 1 << 16


def text_frame(payload: bytes) -> bytes:
    """Return the unmasked, unfragmented text frame of a UTF-8 payload."""
    return _header(_FIN_TEXT, len(payload)) + payload


def binary_frame(payload: bytes) -> bytes:
    """Return the unmasked, unfragmented binary frame of a payload."""
    return _header(_FIN_BINARY, len(payload)) + payload


def _header(first: int, length: int) -> bytes:
    if length < _SHORT:
        return bytes((first, length))
    if length < _MEDIUM:
        return bytes((first, 126)) + length.to_bytes(2, "big")
    return bytes((first, 127)) + length.to_bytes(8, "big")
