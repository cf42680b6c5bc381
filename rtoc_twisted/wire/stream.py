"""A large message on its way to clients, encoded piece by piece while they take it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, tee
from typing import cast

from zope.interface import implementer

from ..interfaces import IStream
from .frames import FIN


@implementer(IStream)
class Stream:
    """The frames of one message, for one client.

    frames: made one by one, when asked for; the last has FIN. size: bytes of what they are made of.
    """

    __slots__ = ("_frames", "done", "size")

    def __init__(self, frames: Iterator[bytes], size: int) -> None:
        self._frames = frames
        self.size = size
        self.done = False

    def fork(self) -> Stream:
        """Return a stream for another client, at the frame where this one is.

        A frame is made once for all; it is kept until the last of them has taken it, or is forgotten.
        """
        self._frames, other = tee(self._frames)
        return Stream(other, self.size)

    def take(self) -> bytes:
        """Return the next frame; raises whatever its encoding does, and then it has no more."""
        frame = next(self._frames, None)
        if frame is None:
            raise EOFError("the message broke off while it was encoded")
        self.done = bool(frame[0] & FIN)
        return frame


def joined(frames: Sequence[bytes | IStream]) -> Iterator[bytes | IStream]:
    """Yield the frames in their order, those between two streams as one run of bytes."""
    for kind, run in groupby(frames, type):
        if kind is bytes:
            yield b"".join(cast("Iterator[bytes]", run))
        else:
            yield from run
