"""What waits for one client at the socket's edge: bounded, and cut off when the bound is passed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer, ITransport
from zope.interface import implementer

from ..interfaces import IStream


@implementer(IPushProducer)
class Outbox:
    """Hands frames to a transport as long as it takes them, and keeps them while it does not.

    A stream is handed over fragment by fragment, at most one in a turn of the reactor, and all that is
    sent later waits behind it; only pings, pongs and a close, which go past the outbox, may come between its
    fragments (RFC 6455 section 5.4).

    limit: bytes that may wait here; one more and `overflowed` is called, once, and nothing is taken any
    more. Not counted are the transport's own buffer, which holds little more than what one call wrote,
    and the first stream: it is there already, whatever its size. `broken` is called in the handling of an
    exception that a stream raised; nothing is taken any more then, either. later: calls a function in a
    later turn. `writable` is called whenever everything has been taken after a pause or a stream.
    """

    def __init__(
        self,
        transport: ITransport,
        limit: int,
        overflowed: Callable[[], None],
        broken: Callable[[], None],
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self._transport = transport
        self._limit = limit
        self._overflowed = overflowed
        self._broken = broken
        self._later = later
        self.writable: Callable[[], None] = _nothing
        self._entries: deque[bytes | IStream] = deque()
        self._uncounted: IStream | None = None
        self._turn_taken = False
        self.waiting = 0
        self.paused = False
        self.busy = False
        """Whether something waits, or the transport takes nothing."""
        self.closed = False

    def send(self, frames: bytes | IStream) -> None:
        """Write frames or begin a stream, or keep them; a closed outbox forgets them."""
        if self.closed:
            return
        if isinstance(frames, bytes):
            if not self.busy:
                self._transport.write(frames)
                return
            self.waiting += len(frames)
        elif self._uncounted is None:
            self._uncounted = frames
        else:
            self.waiting += frames.size
        self._entries.append(frames)
        if self.waiting > self._limit:
            self.close()
            self._overflowed()
        elif not self.busy:
            self.busy = True
            self._hand_over()

    def finish(self) -> None:
        """Write what waits before the first stream, and take nothing more: the last word is about to be said.

        A stream is not finished: a close frame may end it anywhere.
        """
        for entry in tuple(self._entries):
            if not isinstance(entry, bytes):
                break
            self._transport.write(entry)
        self.close()

    def close(self) -> None:
        """Forget what waits and take nothing more."""
        self.closed = True
        self._entries.clear()
        self._uncounted = None
        self.waiting = 0

    def _hand_over(self) -> None:
        while self._entries and not self.paused:
            entry = self._entries[0]
            if isinstance(entry, bytes):
                self._entries.popleft()
                self.waiting -= len(entry)
                self._transport.write(entry)
            else:
                self._hand_over_fragment(entry)
                if not self.paused:
                    # The transport would take one after the other, and nobody else would have a turn.
                    self._turn_taken = True
                    self._later(self._next_turn)
                return
        if not self.paused:
            self.busy = False
            self.writable()

    def _hand_over_fragment(self, stream: IStream) -> None:
        try:
            fragment = stream.take()
        except Exception:
            self.close()
            self._broken()
            return
        if stream.done:
            self._entries.popleft()
            self._count_no_more()
        self._transport.write(fragment)

    def _count_no_more(self) -> None:
        self._uncounted = next((entry for entry in self._entries if not isinstance(entry, bytes)), None)
        if self._uncounted is not None:
            self.waiting -= self._uncounted.size

    def _next_turn(self) -> None:
        self._turn_taken = False
        if not self.paused and not self.closed:
            self._hand_over()

    # IPushProducer: the transport says when it is full; it says so again at each write.

    def pauseProducing(self) -> None:
        """Keep frames from now on."""
        self.paused = self.busy = True

    def resumeProducing(self) -> None:
        """Hand over what waits, and go on."""
        self.paused = False
        if not self._turn_taken:
            self._hand_over()

    def stopProducing(self) -> None:
        """Stop: the transport is gone."""
        self.close()


def _nothing() -> None:
    """Do nothing, until a connection says what to do."""
