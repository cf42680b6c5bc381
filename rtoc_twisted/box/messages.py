"""Messages between the server and its child processes: how they travel, and those that all of them send.

A message is an array [kind, field, ..] in a frame (frames.py). Fields have the order in which they stand in
the classes; what a newer side adds at the end is passed over by an older one.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from ..errors import BadValue
from .frames import LIMIT, Splitter, frame


class Message(msgspec.Struct, array_like=True, tag=True):
    """One message of either side."""


class Samples(Message):
    """Values: i of them belongs to names[i % len(names)], with the unit at that place (None: not told).

    x, y: float64 each, little-endian, as many of one as of the other; x in seconds since the epoch, or any
    axis. The order of arrival counts, for each signal.
    """

    dname: str
    names: list[str]
    units: list[str | None]
    x: bytes
    y: bytes


class Plot(Message):
    """A whole signal; x, y: float64 each, little-endian; hold: the wire's word (protocol section 5)."""

    dname: str
    sname: str
    unit: str
    hold: str
    x: bytes
    y: bytes


class Event(Message):
    """An event; x in seconds since the epoch; id: the name that actions listen for, "" for the default."""

    text: str
    dname: str
    sname: str
    x: float
    priority: int
    id: str
    value: Any


class Notify(Message):
    """Tell people. kind: "message", "photo", "document" or "plot"; text: the message or the caption.

    name, data: of a photo or document its file name and bytes, of a plot its title and {signals, events,
    dpi}; priority: as of an event; permission: RTOC's word for who is told: "blocked", "read", "write" or
    "admin".
    """

    kind: str
    text: str
    name: str = ""
    data: Any = None
    priority: int = 0
    permission: str = "write"


_encode = msgspec.msgpack.Encoder(enc_hook=repr).encode
_M = TypeVar("_M")


def pack(message: Message) -> bytes:
    """Return a message as a frame; what MessagePack has no word for becomes its repr.

    Raises TooLarge above the limit of a frame.
    """
    return frame(_encode(message))


class Reader(Generic[_M]):
    """Reads the messages of one side out of bytes as they arrive."""

    def __init__(self, kinds: Any, limit: int = LIMIT) -> None:
        self._splitter = Splitter(limit)
        self._decode = msgspec.msgpack.Decoder(kinds).decode

    def feed(self, data: bytes) -> list[_M]:
        """Return the messages that end within these bytes, in order.

        Raises TooLarge or BadValue where the bytes are no messages; nothing after them has a meaning.
        """
        try:
            return [self._decode(payload) for payload in self._splitter.feed(data)]
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadValue(f"no message: {error}") from None
