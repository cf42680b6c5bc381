"""The socket of a connection: Autobahn's protocol, which translates and decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.interfaces import ISSLTransport
from twisted.logger import Logger
from zope.interface import implementer

from ..auth.origin import OriginRule
from ..connection import Connection
from ..hub import Hub
from ..interfaces import IPeer, ISocket, IStream
from ..wire.intake import is_arriving, take
from .outbox import Outbox

SERVER = "rtoc"
"""What this server calls itself in HTTP headers: no version, which is nobody's business."""
_PROXY_HEADERS = frozenset(("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"))
_READ_BYTES = 1 << 18
"""What is read from a socket at a time: a message of 10 000 points at once, not in three parts."""
_FORBIDDEN = 403
_UNAVAILABLE = 503
_INTERNAL_ERROR = 1011


@dataclass(frozen=True)
class Doors:
    """What a socket needs to let somebody in.

    open_connection: makes the conversation of a socket; closed_to_strangers: whether pages of foreign
    origins are turned away at the handshake, because no password would stop them.
    """

    open_connection: Callable[[ISocket], Connection]
    hub: Hub
    origins: OriginRule
    closed_to_strangers: bool
    max_message: int = 16 << 20
    outbox_bytes: int = 8 << 20
    ping_seconds: float = 30.0
    ping_timeout_seconds: float = 30.0


@implementer(ISocket)
class ClientSocket:
    """One client's socket as its connection knows it.

    transport: takes bytes, and pauses; send_close: begins the closing handshake; cut: is told when the
    client was cut because it did not read; later: calls a function in a later turn of the reactor.
    """

    _journal = Logger()

    def __init__(
        self,
        peer: IPeer,
        transport: Any,
        outbox_bytes: int,
        send_close: Callable[[int, str], None],
        cut: Callable[[], None],
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self.peer = peer
        self._transport = transport
        self._send_close = send_close
        self._cut = cut
        self._paused = False
        self.outbox = Outbox(transport, outbox_bytes, self._overflowed, self._broken, later)

    @property
    def congested(self) -> bool:
        """Return whether what was sent is not all with the transport yet, or the client does not take it."""
        return self.outbox.busy

    def send(self, frames: bytes | IStream) -> None:
        """Send ready WebSocket frames, or a stream of them."""
        self.outbox.send(frames)

    def close(self, code: int, reason: str) -> None:
        """Say goodbye (RFC 6455 section 7.4) and close."""
        self._send_close(code, reason)

    def pause(self) -> None:
        """Stop reading from the client."""
        if not self._paused:
            self._paused = True
            self._transport.pauseProducing()

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            self._transport.resumeProducing()

    def _overflowed(self) -> None:
        self._cut()
        self._transport.abortConnection()

    def _broken(self) -> None:
        self._journal.failure("an answer could not be encoded to its end")
        self._send_close(_INTERNAL_ERROR, "the answer could not be encoded")


class RtocProtocol(WebSocketServerProtocol):
    """Autobahn's end of a client: its messages go to the connection."""

    _journal = Logger()
    _connection: Connection | None = None
    _outbox: Outbox | None = None
    _peer: IPeer
    _messages = 0
    _opened_at = 0.0
    _was_cut = False

    # WebSocketServerProtocol

    def onConnect(self, request: ConnectionRequest) -> None:
        """Turn away whoever may not come; an exception here is the answer to the handshake."""
        doors: Doors = self.factory.doors
        transport: Any = self.transport
        address = getattr(transport.getPeer(), "host", "")
        local = getattr(transport.getHost(), "host", "")
        origin, secure = request.headers.get("origin"), ISSLTransport.providedBy(transport)
        forwarded = not _PROXY_HEADERS.isdisjoint(request.headers)
        self._peer = doors.origins.peer(address, secure, origin, local, forwarded)
        if doors.closed_to_strangers and not doors.origins.own(origin, local):
            raise ConnectionDeny(_FORBIDDEN, "this origin is not allowed (auth.allowed_origins)")
        if not doors.hub.has_room(self._peer.address):
            raise ConnectionDeny(_UNAVAILABLE, "too many connections")

    def onOpen(self) -> None:
        """Begin the conversation."""
        doors: Doors = self.factory.doors
        transport: Any = self.transport
        socket = ClientSocket(
            self._peer,
            transport,
            doors.outbox_bytes,
            self._say_goodbye,
            self._cut,
            partial(self.factory.reactor.callLater, 0),
        )
        connection = doors.open_connection(socket)
        self._outbox = socket.outbox
        self._outbox.writable = connection.writable
        # The web channel that began the connection is still registered.
        transport.unregisterProducer()
        transport.registerProducer(self._outbox, True)
        transport.bufferSize = _READ_BYTES
        self._connection = connection
        self._opened_at = self.factory.reactor.seconds()
        self._journal.info(
            "connection from {address} opened", address=self._peer.address, secure=self._peer.secure
        )
        connection.opened()

    def processData(self) -> bool:
        """Hand on plain messages as fast as they come, and leave all else to Autobahn."""
        connection = self._connection
        if connection is None or self.current_frame is not None or self.inside_message or not self._is_open():
            return bool(super().processData())
        data, start, limit = self.data, 0, self.maxFramePayloadSize
        while (found := take(data, start, limit)) is not None:
            payload, binary, start = found
            self._messages += 1
            connection.received(payload, binary)
            if not self._is_open():
                break
        if not start:
            return False if is_arriving(data, limit) else bool(super().processData())
        self.data = data[start:]
        if self.autoPingTimeoutCall:
            # Whoever speaks is alive.
            self._cancelAutoPingTimeoutCall()
        return bool(self.data)

    def _is_open(self) -> bool:
        return bool(self.state == WebSocketServerProtocol.STATE_OPEN)

    def onMessageEnd(self) -> None:
        """Hand a whole message on, past Autobahn's listeners, which nobody uses here."""
        if not self.failedByMe and self._connection is not None:
            self._messages += 1
            self._connection.received(b"".join(self.message_data), self.message_is_binary)
        self.message_data = []

    def onClose(self, was_clean: bool, code: int | None, reason: str | None) -> None:
        """End the conversation."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._outbox is not None:
            self._outbox.close()
        connection.ended()
        self._journal.info(
            "connection from {address} closed after {seconds:.1f} s and {messages} messages: {code} {reason}",
            address=self._peer.address,
            seconds=self.factory.reactor.seconds() - self._opened_at,
            messages=self._messages,
            code=code,
            reason="cut: the client does not read" if self._was_cut else reason or "",
        )

    def sendCloseFrame(
        self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False
    ) -> None:
        """Say the last word, whoever began the closing: nothing follows it (RFC 6455 section 5.5.1)."""
        if self._outbox is not None:
            self._outbox.finish()
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def _say_goodbye(self, code: int, reason: str) -> None:
        # Autobahn's sendClose is for applications, and refuses the codes of servers, such as 1001.
        self.sendCloseFrame(code, reason.encode())

    def _cut(self) -> None:
        self._was_cut = True
        self.factory.cut += 1


class RtocFactory(WebSocketServerFactory):
    """Makes protocols with the options of a production server; `cut` counts clients that did not read."""

    protocol = RtocProtocol

    def __init__(self, doors: Doors, reactor: Any) -> None:
        super().__init__(server=SERVER, reactor=reactor)
        self.doors = doors
        self.cut = 0
        set_protocol_options(self, doors)


def set_protocol_options(factory: WebSocketServerFactory, doors: Doors) -> None:
    """Give a factory the WebSocket options of this server; the conformance tests use them too."""
    factory.setProtocolOptions(
        # The origin is judged in onConnect, by the rule of the protocol document.
        allowedOrigins=["*"],
        allowNullOrigin=True,
        maxMessagePayloadSize=doors.max_message,
        maxFramePayloadSize=doors.max_message,
        failByDrop=False,
        autoPingInterval=doors.ping_seconds,
        autoPingTimeout=doors.ping_timeout_seconds,
        openHandshakeTimeout=10,
        closeHandshakeTimeout=2,
        tcpNoDelay=True,
    )
