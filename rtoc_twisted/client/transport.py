"""WebSocket connections of the asyncio client, made with the `websockets` library."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.uri import parse_uri

from rtoc_twisted.client.failures import CannotConnect, CertificateRefused, ConnectionLost
from rtoc_twisted.client.trust import Trust
from rtoc_twisted.errors import BadValue

SOCKET_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        # A measuring network is reached straight, and is faster without compression.
        "proxy": None,
        "compression": None,
        # Bytes: a whole session can be long.
        "max_size": 256 * 1024 * 1024,
        # Seconds for the other half of the closing handshake, which the original never sends.
        "close_timeout": 2.0,
    }
)
"""How the clients use the `websockets` library."""

CONNECT_FAILURES = (OSError, InvalidHandshake, EOFError)
"""What the library raises where no connection comes about."""


class Transport(Protocol):
    """One connection: all that the rest of the client knows of a socket."""

    async def send(self, frame: str | bytes) -> None:
        """Send a frame; ConnectionLost if that cannot be."""

    async def receive(self) -> str | bytes:
        """Return the next frame; ConnectionLost when there will be none."""

    async def close(self) -> None:
        """Close the connection; frames that were sent before still arrive."""


Connect = Callable[[], Awaitable[Transport]]
"""Makes a new connection; raises CannotConnect."""


class WebSocketTransport:
    """A Transport over a connection of the `websockets` library."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, frame: str | bytes) -> None:
        """Send a text frame, or a binary one of bytes; ConnectionLost if that cannot be."""
        try:
            await self._socket.send(frame)
        except ConnectionClosed as closed:
            raise loss_of(closed) from closed

    async def receive(self) -> str | bytes:
        """Return the next message; ConnectionLost when there will be none."""
        try:
            return await self._socket.recv()
        except ConnectionClosed as closed:
            raise loss_of(closed) from closed

    async def close(self) -> None:
        """Do the closing handshake of RFC 6455 section 7."""
        await self._socket.close()


def websocket_connector(url: str, trust: Trust, timeout: float) -> Connect:
    """Return a function that connects to a ws:// or wss:// URL within `timeout` seconds.

    It connects straight, without a proxy, and raises CannotConnect. BadValue at once if the URL is none
    or the CA file cannot be used.
    """
    try:
        secure = parse_uri(url).secure
    except (InvalidURI, ValueError) as error:
        raise BadValue(f"{url!r} is no ws:// or wss:// URL") from error
    context = trust.context() if secure else None

    async def connect_websocket() -> Transport:
        try:
            socket = await connect(url, ssl=context, open_timeout=timeout, **SOCKET_OPTIONS)
        except CONNECT_FAILURES as error:
            raise connect_failure(url, error) from error
        try:
            trust.check(_certificate(socket))
        except CertificateRefused:
            await socket.close()
            raise
        return WebSocketTransport(socket)

    return connect_websocket


def connect_failure(url: str, error: BaseException) -> CannotConnect:
    """Return the failure to tell, in one line, for what the library raised."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CertificateRefused(
            f"{url}: {error.verify_message}; name the server's authority (ca_file), "
            "pin its certificate (fingerprint) or do without (insecure)"
        )
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return CannotConnect(f"{url}: no answer in time")
    return CannotConnect(f"{url}: {error}")


def loss_of(closed: ConnectionClosed) -> ConnectionLost:
    """Return the failure to tell for a connection that ended, with the server's reason where it gave one."""
    frame = closed.rcvd
    if frame is None:
        return ConnectionLost("the connection broke")
    told = f"the server closed the connection ({frame.code} {frame.reason})".replace(" )", ")")
    return ConnectionLost(told, frame.code)


def _certificate(socket: ClientConnection) -> bytes | None:
    tls = socket.transport.get_extra_info("ssl_object")
    return tls.getpeercert(binary_form=True) if tls is not None else None
