"""A client that writes bytes: the whole way in, from the site of a port to the store, without a network."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from rtoc_twisted.auth.origin import OriginRule
from rtoc_twisted.connection import Connection
from rtoc_twisted.web.site import make_site
from rtoc_twisted.web.websocket import Doors, RtocFactory

from .doubles import Rooms

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_MASK = b"\x11\x22\x33\x44"


class Port:
    """A site over a house, as it stands behind a port. outbox_bytes: what may wait for one client."""

    def __init__(self, rooms: Rooms, *, outbox_bytes: int = 1 << 20, max_message: int = 16 << 20) -> None:
        self.rooms = rooms
        doors = Doors(
            open_connection=lambda socket: Connection(socket, rooms.house),
            hub=rooms.hub,
            origins=OriginRule([ip_network("127.0.0.0/8")], {"localhost", "127.0.0.1"}),
            closed_to_strangers=not rooms.auth.required,
            max_message=max_message,
            outbox_bytes=outbox_bytes,
            ping_seconds=0,
        )
        self.factory = RtocFactory(doors, rooms.clock)
        # Autobahn's timers know the global reactor only.
        self.factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, allowNullOrigin=True)
        self.site = make_site(self.factory, {}, dict)
        self.site.reactor = rooms.clock

    def dial(self) -> RawClient:
        """Open a TCP connection; nothing is said yet."""
        return RawClient(self)

    def connect(self) -> RawClient:
        """Open a TCP connection and shake hands."""
        client = self.dial()
        head = client.upgrade()
        assert head.startswith(b"HTTP/1.1 101 "), head
        return client


class RawClient:
    """One TCP connection to a port."""

    def __init__(self, port: Port) -> None:
        self._clock = port.rooms.clock
        here, there = IPv4Address("TCP", "127.0.0.1", 5050), IPv4Address("TCP", "127.0.0.1", 40000)
        self.transport = StringTransport(hostAddress=here, peerAddress=there)
        self.transport.protocol = port.site.buildProtocol(there)
        self.transport.protocol.makeConnection(self.transport)

    @property
    def dropped(self) -> bool:
        """Return whether the server let the TCP connection go."""
        return self.transport.disconnecting

    def write(self, data: bytes) -> bytes:
        """Send bytes; return what the server wrote since the last look."""
        self.transport.protocol.dataReceived(data)
        self._clock.advance(0)
        return self.read()

    def read(self) -> bytes:
        """Return what the server wrote since the last look."""
        written = self.transport.value()
        self.transport.clear()
        return written

    def upgrade(self, path: str = "/", *more: str, version: int = 13) -> bytes:
        """Ask for the upgrade with further header lines; return the head of the answer."""
        lines = (
            f"GET {path} HTTP/1.1",
            "Host: 127.0.0.1:5050",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"Sec-WebSocket-Version: {version}",
            *more,
        )
        return self.write("\r\n".join((*lines, "", "")).encode())

    def send(self, payload: bytes, opcode: int = TEXT, *, last: bool = True, masked: bool = True) -> bytes:
        """Send one frame; return what the server wrote since the last look."""
        return self.write(frame(payload, opcode, last=last, masked=masked))

    def ask(self, **keys: Any) -> Any:
        """Send a request as a text frame; return the last message that came back."""
        return frames(self.send(json.dumps(keys).encode()))[-1][1]

    def hang_up(self) -> None:
        """Let the server know that the connection is gone."""
        self.transport.protocol.connectionLost(Failure(ConnectionDone()))


def frame(payload: bytes, opcode: int = TEXT, *, last: bool = True, masked: bool = True) -> bytes:
    """Return a client's frame (RFC 6455 section 5.2)."""
    length, mask_bit = len(payload), 0x80 if masked else 0
    if length < 126:
        head = bytes((mask_bit | length,))
    elif length < 1 << 16:
        head = bytes((mask_bit | 126,)) + length.to_bytes(2, "big")
    else:
        head = bytes((mask_bit | 127,)) + length.to_bytes(8, "big")
    if masked:
        repeated = (_MASK * (length // 4 + 1))[:length]
        hidden = int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")
        payload, head = hidden.to_bytes(length, "big"), head + _MASK
    return bytes(((0x80 if last else 0) | opcode,)) + head + payload


def frames(stream: bytes) -> list[tuple[int, Any]]:
    """Return the server's frames as (opcode, payload); text that is JSON is decoded."""
    found: list[tuple[int, Any]] = []
    while stream:
        opcode, length, at = stream[0] & 15, stream[1], 2
        assert stream[0] & 0x80 and not stream[1] & 0x80, "a server's frames are whole and unmasked"
        if length > 125:
            at = 4 if length == 126 else 10
            length = int.from_bytes(stream[2:at], "big")
        payload, stream = stream[at : at + length], stream[at + length :]
        found.append((opcode, json.loads(payload) if opcode == TEXT else payload))
    return found


def close_code(stream: bytes) -> int:
    """Return the code of the close frame that ends a stream; an AssertionError if there is none."""
    opcode, payload = frames(stream)[-1]
    assert opcode == CLOSE, (opcode, payload)
    return int.from_bytes(payload[:2], "big")
