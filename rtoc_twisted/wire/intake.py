"""Whole messages out of what clients send, as far as they are plain (RFC 6455 section 5.2).

Nearly every message is one final, masked data frame that is there from its first byte to its last: it is
found, unmasked and checked here in a few calls. Control frames, fragments, and whatever is wrong, stay
where they are, for the full parser of Autobahn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_FINAL_TEXT = 0x81
_FINAL_BINARY = 0x82
_MASKED = 0x80
_MEDIUM, _LONG = 126, 127
_LEAST_LONG = 1 << 16
_MASK_BYTES = 4

GATHERED = range(256, 262_144)
"""Bytes of an unfinished message that is waited for: below, it is no matter; above, to gather it costs more
than to take it piece by piece."""


def xor(data: bytes, mask: bytes) -> bytes:
    """Return data with a mask of four bytes laid over it, again and again (RFC 6455 section 5.3)."""
    whole = len(data) // _MASK_BYTES
    masked = np.frombuffer(data, "<u4", whole) ^ np.frombuffer(mask, "<u4")
    rest = data[whole * _MASK_BYTES :]
    return bytes(masked.tobytes()) + bytes(byte ^ key for byte, key in zip(rest, mask, strict=False))


def _fastest() -> Callable[[bytes, bytes], bytes]:
    try:
        from websockets.speedups import apply_mask
    except ImportError:
        return xor
    return apply_mask


_unmask = _fastest()


def _extent(data: bytes, start: int) -> tuple[int, int]:
    """Return where the mask of the plain frame at `start` and where its end is; (0, 0) if it is none."""
    if len(data) - start < 2 or data[start] not in (_FINAL_TEXT, _FINAL_BINARY) or data[start + 1] < _MASKED:
        return 0, 0
    length, at = data[start + 1] - _MASKED, start + 2
    if length == _MEDIUM:
        length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
        if length < _MEDIUM:
            return 0, 0
    elif length == _LONG:
        length, at = int.from_bytes(data[at : at + 8], "big"), at + 8
        if length < _LEAST_LONG:
            return 0, 0
    return at, at + _MASK_BYTES + length


def take(data: bytes, start: int, limit: int) -> tuple[bytes, bool, int] | None:
    """Return the message at `start`, whether it is binary, and where it ends; None if it is not plain.

    limit: bytes that its payload may have. A text is UTF-8.
    """
    at, stop = _extent(data, start)
    if not stop or stop > len(data) or stop - at - _MASK_BYTES > limit:
        return None
    payload = _unmask(data[at + _MASK_BYTES : stop], data[at : at + _MASK_BYTES])
    binary = data[start] == _FINAL_BINARY
    if not (binary or payload.isascii()):
        try:
            payload.decode()
        except UnicodeDecodeError:
            return None
    return payload, binary, stop


def is_arriving(data: bytes, limit: int) -> bool:
    """Return whether data are the beginning of a plain message that is worth to be waited for."""
    _, stop = _extent(data, 0)
    return stop > len(data) and stop in GATHERED and stop <= limit
