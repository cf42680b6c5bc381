"""What waits for one client at the socket's edge: bounded, and cut off when the bound is passed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer, ITransport
from zope.interface import implementer


@implementer(IPushProducer)
class Outbox:
    """Hands frames to a transport as long as it takes them, and keeps them while it does not.

    limit: bytes that may wait here; one frame more and `overflowed` is called, once, and nothing is
    taken any more. `writable` is called whenever the transport has taken everything after a pause. The
    transport's own buffer is not counted: it holds little more than what one call wrote.
    """

    def __init__(self, transport: ITransport, limit: int, overflowed: Callable[[], None]) -> None:
        self._transport = transport
        self._limit = limit
        self._overflowed = overflowed
        self.writable: Callable[[], None] = _nothing
        self._frames: deque[bytes] = deque()
        self.waiting = 0
        self.paused = False
        self.closed = False

    def send(self, frames: bytes) -> None:
        """Write frames, or keep them; a closed outbox forgets them."""
        if self.closed:
            return
        if not self.paused:
            self._transport.write(frames)
            return
        self._frames.append(frames)
        self.waiting += len(frames)
        if self.waiting > self._limit:
            self.close()
            self._overflowed()

    def finish(self) -> None:
        """Write what waits, and take nothing more: the last word is about to be said."""
        if not self.closed:
            self._transport.write(b"".join(self._frames))
            self.close()

    def close(self) -> None:
        """Forget what waits and take nothing more."""
        self.closed = True
        self._frames.clear()
        self.waiting = 0

    # IPushProducer: the transport says when it is full; it says so again at each write.

    def pauseProducing(self) -> None:
        """Keep frames from now on."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Hand over what waits, and go on."""
        self.paused = False
        while self._frames and not self.paused:
            frames = self._frames.popleft()
            self.waiting -= len(frames)
            self._transport.write(frames)
        if not self.paused:
            self.writable()

    def stopProducing(self) -> None:
        """Stop: the transport is gone."""
        self.close()


def _nothing() -> None:
    """Do nothing, until a connection says what to do."""
