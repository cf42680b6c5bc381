"""A site in memory for tests, and a client's side of HTTP and WebSocket, byte by byte."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.auth.origin import OriginRule
from rtoc_twisted.hub import Hub
from rtoc_twisted.interfaces import ISocket
from rtoc_twisted.web.site import make_site
from rtoc_twisted.web.websocket import Doors, RtocFactory

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
HANDSHAKE = {
    "Host": "192.0.2.1:5050",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


class Conversation:
    """Keeps what was said to it."""

    def __init__(self, socket: ISocket, hub: Hub) -> None:
        self.socket = socket
        self.peer = socket.peer
        self.heard: list[tuple[bytes, bool]] = []
        self.ends = 0
        self._hub = hub

    def opened(self) -> None:
        self._hub.join(self)

    def received(self, payload: bytes, binary: bool) -> None:
        self.heard.append((payload, binary))

    def writable(self) -> None:
        """There is nothing that waits."""

    def ended(self) -> None:
        self.ends += 1
        self._hub.leave(self)

    def say_goodbye(self) -> None:
        self.socket.close(1001, "bye")

    def hear_newcomer(self) -> None:
        """It is all the same."""


class Wire(StringTransportWithDisconnection):
    """A client's end of a connection in memory."""

    def send(self, data: bytes) -> None:
        """Deliver bytes to the server."""
        self.protocol.dataReceived(data)

    def received(self) -> bytes:
        """Return what the server wrote since the last time."""
        data: bytes = self.value()
        self.clear()
        return data

    def loseConnection(self) -> None:
        # As real transports have it.
        self.disconnecting = True
        super().loseConnection()


def request(path: str = "/", headers: Mapping[str, str] = HANDSHAKE, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def response(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers and the body of an answer."""
    head, _, body = data.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(status.split()[1]), headers, body


def frame(opcode: int, payload: bytes, final: bool = True, masked: bool = True) -> bytes:
    """Return a client's frame (RFC 6455 section 5.2)."""
    first, second = opcode | final << 7, masked << 7
    length = struct.pack("!BBH", first, second | 126, len(payload))
    if len(payload) < 126:
        length = struct.pack("!BB", first, second | len(payload))
    mask = b"\x11\x22\x33\x44" if masked else b""
    return length + mask + bytes(byte ^ mask[i % 4] if masked else byte for i, byte in enumerate(payload))


def close_code(data: bytes) -> int:
    """Return the code of a server's close frame, which is all that the data is."""
    opcode, length, code = struct.unpack("!BBH", data[:4])
    assert (opcode, len(data)) == (0x80 | CLOSE, length + 2), data
    return int(code)


class WebCase(SynchronousTestCase):
    """A site as service.py makes it, on a clock."""

    password = True

    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = Hub(self.clock, max_connections=3, max_per_address=2)
        self.conversations: list[Conversation] = []
        rule = OriginRule(
            [ip_network("127.0.0.0/8"), ip_network("::1")],
            {"localhost", "127.0.0.1", "::1"},
            ["https://panel.example.org", "trusted.example.org"],
        )
        doors = Doors(self.open, self.hub, rule, closed_to_strangers=not self.password, max_message=1000)
        self.factory = RtocFactory(doors, self.clock)
        # Autobahn's timers run on the global reactor, whatever the factory's is.
        for name in ("openHandshakeTimeout", "closeHandshakeTimeout", "autoPingInterval"):
            setattr(self.factory, name, 0)
        self.site = make_site(self.factory, {"title": "requests"}, lambda: {"status": "ok"})

    def open(self, socket: ISocket) -> Any:
        self.conversations.append(Conversation(socket, self.hub))
        return self.conversations[-1]

    def wire(self, peer: str = "127.0.0.1", host: str = "192.0.2.1") -> Wire:
        """Return a new connection."""
        kind = IPv6Address if ":" in peer else IPv4Address
        wire = Wire(peerAddress=kind("TCP", peer, 40000), hostAddress=kind("TCP", host, 5050))
        wire.protocol = self.site.buildProtocol(wire.getPeer())
        wire.protocol.makeConnection(wire)
        return wire

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
        wire = self.wire()
        wire.send(request(path, {"Host": "localhost", "Connection": "close"} | headers, method))
        return response(wire.received())

    def upgrade(self, peer: str = "127.0.0.1", path: str = "/", **headers: str) -> tuple[int, Wire]:
        """Return the status of a handshake, and the connection."""
        wire = self.wire(peer)
        wire.send(request(path, HANDSHAKE | headers))
        return response(wire.received())[0], wire

    def joined(self, **headers: str) -> tuple[Wire, Conversation]:
        """Return an open connection and its conversation."""
        status, wire = self.upgrade(**headers)
        self.assertEqual(status, 101)
        return wire, self.conversations[-1]
