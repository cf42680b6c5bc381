"""The peer: a bare Autobahn server that decodes each message, throws it away and answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor

ANSWER = b'{"error":false,"sent":true}'


class Sink(WebSocketServerProtocol):
    """Takes everything and keeps nothing."""

    # WebSocketServerProtocol

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Decode a message, forget it, and answer."""
        orjson.loads(payload)
        self.sendMessage(ANSWER)


def serve(protocol: Callable[[], WebSocketServerProtocol]) -> None:
    """Serve on a free port of the loopback interface, and print which."""
    factory: Any = WebSocketServerFactory()
    factory.protocol = protocol
    address: Any = reactor.listenTCP(0, factory, interface="127.0.0.1").getHost()
    print(f"listening on {address.host}:{address.port}", flush=True)
    reactor.run()
