"""The cases of the transcript that need bytes: frames, handshakes and a client that does not read.

The original was no WebSocket server by the book; protocol section 2: 'The original died of binary
frames, fragments, non-UTF-8 pings, and answered no close (g:ws.*). Ours follows the RFC.'
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from .doubles import house
from .raw_socket import BINARY, CONTINUATION, PING, PONG, TEXT, Port, close_code, frames

LIST = b'{"getSignalList": true}'
ACCEPT = b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


class OnTheSocket(SynchronousTestCase):
    """One test for each case whose name begins with ws. or slow."""

    def setUp(self) -> None:
        self.rooms = house()
        self.port = Port(self.rooms, outbox_bytes=1 << 16)

    def assert_goes_on(self, client: object) -> None:
        self.assertEqual(client.ask(getSignalList=True)["error"], False)

    def test_ws_handshake(self) -> None:
        head = self.port.dial().upgrade()
        self.assertTrue(head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n"))
        self.assertIn(ACCEPT, head)

    def test_ws_text(self) -> None:
        stream = self.port.connect().send(LIST)
        self.assertEqual(frames(stream), [(TEXT, {"error": False, "signalList": []})])

    def test_ws_ping(self) -> None:
        self.assertEqual(frames(self.port.connect().send(b"hi", PING)), [(PONG, b"hi")])

    def test_ws_ping_binary(self) -> None:
        client = self.port.connect()
        self.assertEqual(frames(client.send(b"\xff\xfe\x00\x01", PING)), [(PONG, b"\xff\xfe\x00\x01")])
        self.assert_goes_on(client)

    def test_ws_path_subprotocol(self) -> None:
        """Any path; no subprotocol is chosen and no extension agreed on."""
        head = self.port.dial().upgrade(
            "/any/path?x=1",
            "Sec-WebSocket-Protocol: chat, superchat",
            "Sec-WebSocket-Extensions: permessage-deflate",
        )
        self.assertIn(ACCEPT, head)
        self.assertNotIn(b"sec-websocket-protocol", head.lower())
        self.assertNotIn(b"sec-websocket-extensions", head.lower())

    def test_ws_binary(self) -> None:
        client = self.port.connect()
        self.assertEqual(frames(client.send(LIST, BINARY)), [(TEXT, {"error": False, "signalList": []})])
        self.assert_goes_on(client)

    def test_ws_fragmented(self) -> None:
        client = self.port.connect()
        self.assertEqual(client.send(LIST[:9], last=False), b"")
        stream = client.send(LIST[9:], CONTINUATION)
        self.assertEqual(frames(stream), [(TEXT, {"error": False, "signalList": []})])

    def test_ws_unmasked(self) -> None:
        """RFC 6455 section 5.1: 'The server MUST close the connection upon receiving' such a frame."""
        self.assertEqual(close_code(self.port.connect().send(LIST, masked=False)), 1002)

    def test_ws_close(self) -> None:
        client = self.port.connect()
        self.assertEqual(close_code(client.send((1000).to_bytes(2, "big"), 8)), 1000)
        self.assertTrue(client.dropped)

    def test_ws_bad_utf8(self) -> None:
        """RFC 6455 section 8.1: the connection fails with 1007."""
        self.assertEqual(close_code(self.port.connect().send(b'{"a": "\xff"}')), 1007)

    def test_ws_big(self) -> None:
        request = {"plot": True, "y": list(range(400_000)), "sname": "Big", "dname": "Dev"}
        (_, new), (_, answer) = frames(self.port.connect().send(json.dumps(request).encode()))
        self.assertEqual((new["signal"]["sname"], answer), ("Big", {"error": False, "sent": True}))

    def test_ws_plain_http(self) -> None:
        """The original closed without an answer; here the page lives on the same port."""
        answer = self.port.dial().write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)

    def test_ws_post(self) -> None:
        answer = self.port.dial().write(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 405 "), answer)

    def test_ws_version(self) -> None:
        """The original did not look at the version; 8 is still spoken, what does not exist is refused."""
        self.assertIn(ACCEPT, self.port.dial().upgrade(version=8))
        self.assertTrue(self.port.dial().upgrade(version=99).startswith(b"HTTP/1.1 400 "))

    def test_ws_origin(self) -> None:
        """Section 3: 'a foreign page in a visitor's browser is never trusted'."""
        refused = self.port.dial().upgrade("/", "Origin: http://evil.example")
        self.assertTrue(refused.startswith(b"HTTP/1.1 403 "), refused)
        self.assertIn(ACCEPT, self.port.dial().upgrade("/", "Origin: http://127.0.0.1:5050"))

    # A subscriber that does not read: section 9, 'blocks the writer for good (g:slow.*)' in the original.

    def _with_a_silent_subscriber(self) -> None:
        self.writer = self.port.connect()
        self.writer.ask(y=[0], sname=["A"], dname="Dev", x=[0])
        self.silent = self.port.connect()
        self.silent.ask(subscribe=["signal", "Dev.A"])
        self.silent.transport.producer.pauseProducing()

    def test_slow_subscriber(self) -> None:
        """The writer gets every answer; the subscriber is cut when its outbox is full."""
        self._with_a_silent_subscriber()
        for n in range(10):
            answer = self.writer.ask(y=[1.0] * 2000, sname=["A"] * 2000, dname="Dev", x=[n] * 2000)
            self.assertEqual(answer, {"error": False, "sent": True})
        self.assertEqual(self.port.factory.cut, 1)
        self.assertTrue(self.silent.dropped)
        self.assertEqual(self.silent.read(), b"")

    def test_slow_other_read(self) -> None:
        self._with_a_silent_subscriber()
        answer = self.port.connect().ask(getSignalList=True)
        self.assertEqual(answer, {"error": False, "signalList": [["Dev", "A"]]})

    def test_slow_other_write(self) -> None:
        self._with_a_silent_subscriber()
        answer = self.port.connect().ask(y=[1.0], sname=["A"], dname="Dev", x=[1.0])
        self.assertEqual(answer, {"error": False, "sent": True})
        self.assertEqual(self.port.factory.cut, 0)
