"""One port for page and socket, in memory: HTTP, the handshake, origins, limits, frames."""

from __future__ import annotations

import gc
import struct
import weakref
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from zope.interface.verify import verifyObject

from rtoc_twisted.interfaces import ISocket
from rtoc_twisted.wire.codec import JSON, Column, Message
from rtoc_twisted.wire.stream import Stream
from tests.doubles import messages
from tests.web_support import (
    BINARY,
    CLOSE,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    WebCase,
    Wire,
    close_code,
    frame,
    request,
    response,
)

SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
    "server": "rtoc",
}


class PageTests(WebCase):
    """What a browser gets."""

    def test_documents(self) -> None:
        for path, kind, part in (
            ("/", "text/html; charset=utf-8", b"<!doctype html>"),
            ("/protocol.json", "application/schema+json", b'"title": "requests"'),
            ("/health", "application/json", b'{"status": "ok"}'),
        ):
            status, headers, body = self.get(path)
            self.assertEqual((status, headers["content-type"]), (200, kind), path)
            self.assertIn(part, body.lower())
            self.check_headers(headers)

    def check_headers(self, headers: Mapping[str, str]) -> None:
        self.assertEqual({name: headers[name] for name in SECURITY}, SECURITY)
        self.assertIn("default-src 'none'", headers["content-security-policy"])
        self.assertIn("frame-ancestors 'none'", headers["content-security-policy"])

    def test_head_has_all_but_the_body(self) -> None:
        status, headers, body = self.get("/health", "HEAD")
        self.assertEqual((status, headers["content-length"], body), (200, "16", b""))
        self.check_headers(headers)

    def test_refusals_are_careful_and_tell_no_version(self) -> None:
        for path, method, expected in (("/none", "GET", 404), ("/a/b", "HEAD", 404), ("/", "POST", 405)):
            status, headers, body = self.get(path, method, **{"Content-Length": "0"})
            self.assertEqual(status, expected)
            self.check_headers(headers)
            self.assertNotRegex(str(headers) + body.decode(), "(?i)twisted|autobahn|python")

    def test_what_is_no_http_is_refused(self) -> None:
        wire = self.wire()
        wire.send(b"\x16\x03\x01 hello\r\n\r\n")
        self.assertEqual(response(wire.received())[0], 400)
        self.assertTrue(wire.disconnecting)

    def test_slow_header_is_cut(self) -> None:
        wire = self.wire()
        wire.send(request()[:-4])
        self.clock.advance(29)
        self.assertFalse(wire.disconnecting)
        self.clock.advance(2)
        self.assertTrue(wire.disconnecting)

    def test_another_upgrade_is_a_page(self) -> None:
        self.assertEqual(self.get("/health", Upgrade="h2c")[0], 200)


class HandshakeTests(WebCase):
    """From a request to a socket."""

    def test_at_any_path(self) -> None:
        for path in ("/", "/health", "/a/b?c=d", "//"):
            status, wire = self.upgrade(path=path, Upgrade="WebSocket")
            self.assertEqual(status, 101, path)
            wire.loseConnection()

    def test_answer(self) -> None:
        wire = self.wire()
        wire.send(
            request(
                headers=HANDSHAKE
                | {
                    "Sec-WebSocket-Protocol": "chat",
                    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
                }
            )
        )
        status, headers, body = response(wire.received())
        self.assertEqual((status, body), (101, b""))
        # RFC 6455 section 1.3 has this pair.
        self.assertEqual(headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        self.assertEqual(headers["server"], "rtoc")
        self.assertNotIn("sec-websocket-protocol", headers)
        self.assertNotIn("sec-websocket-extensions", headers)

    def test_refused(self) -> None:
        for change, expected in (
            ({"Sec-WebSocket-Version": "7"}, 400),
            ({"Sec-WebSocket-Key": "short"}, 400),
            ({"Connection": "close"}, 400),
            ({"Origin": "http://[bad"}, 400),
            ({"Origin": ""}, 400),
        ):
            status, wire = self.upgrade(**change)
            self.assertEqual(status, expected, change)
            self.assertTrue(wire.disconnecting, change)
        self.assertEqual(self.conversations, [])

    def test_frames_that_come_with_the_request_are_read(self) -> None:
        wire = self.wire()
        first, second = frame(TEXT, b"one"), frame(TEXT, b"two")
        wire.send(request() + first + second[:3])
        wire.send(second[3:])
        self.assertEqual(self.conversations[0].heard, [(b"one", False), (b"two", False)])


class OriginTests(WebCase):
    """Whom the whitelist trusts, where a password is set (protocol section 3)."""

    OWN: Sequence[str | None] = (
        None,
        "http://localhost:5050",
        "https://127.0.0.1:8443",
        "http://[::1]:5050",
        "http://192.0.2.1:5050",
        "https://panel.example.org",
        "http://trusted.example.org:8080",
    )
    FOREIGN = (
        "http://evil.example:5050",
        "null",
        "https://panel.example.org.evil.example",
    )

    def judge(self, origin: str | None, **headers: str) -> tuple[int, Wire]:
        return self.upgrade(**({} if origin is None else {"Origin": origin}), **headers)

    def test_own_pages_and_programs_are_trusted(self) -> None:
        for origin in self.OWN:
            status, wire = self.judge(origin)
            self.assertEqual((status, self.conversations[-1].peer.trusted), (101, True), origin)
            wire.loseConnection()

    def test_foreign_pages_may_log_in_but_are_not_trusted(self) -> None:
        for origin in self.FOREIGN:
            status, wire = self.judge(origin)
            self.assertEqual((status, self.conversations[-1].peer.trusted), (101, False), origin)
            wire.loseConnection()

    def test_a_foreign_name_made_to_point_here_is_foreign(self) -> None:
        status, _ = self.judge("http://evil.example:5050", Host="evil.example:5050")
        self.assertEqual((status, self.conversations[-1].peer.trusted), (101, False))

    def test_other_addresses_are_not_trusted_whatever_their_origin(self) -> None:
        for peer in ("192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"):
            _, wire = self.upgrade(peer, Origin="http://localhost")
            self.assertFalse(self.conversations[-1].peer.trusted, peer)
            wire.loseConnection()

    def test_whoever_comes_through_a_proxy_is_not_trusted(self) -> None:
        for name in ("Forwarded", "Via", "X-Forwarded-For", "X-Real-IP"):
            _, wire = self.upgrade(**{name: "192.0.2.7"})
            self.assertFalse(self.conversations[-1].peer.trusted, name)
            wire.loseConnection()

    def test_ipv4_in_ipv6_form_is_ipv4(self) -> None:
        self.upgrade("::ffff:127.0.0.1")
        peer = self.conversations[-1].peer
        self.assertEqual((peer.address, peer.trusted, peer.secure), ("127.0.0.1", True, False))


class OpenHouseOriginTests(OriginTests):
    """Without a password foreign pages are turned away: nothing else would stop them."""

    password = False

    def test_foreign_pages_may_log_in_but_are_not_trusted(self) -> None:
        for origin in self.FOREIGN:
            status, wire = self.judge(origin)
            self.assertEqual(status, 403, origin)
            self.assertTrue(wire.disconnecting)
        self.assertEqual(self.conversations, [])

    def test_a_foreign_name_made_to_point_here_is_foreign(self) -> None:
        self.assertEqual(self.judge("http://evil.example:5050", Host="evil.example:5050")[0], 403)


class LimitTests(WebCase):
    """How many may come: three, two of them from one address."""

    def test_all(self) -> None:
        wires = [self.upgrade(f"192.0.2.{number}") for number in (1, 2, 3)]
        self.assertEqual([status for status, _ in wires], [101] * 3)
        self.assertEqual(self.upgrade("192.0.2.4")[0], 503)
        wires[0][1].loseConnection()
        self.assertEqual(self.upgrade("192.0.2.4")[0], 101)
        self.assertEqual((len(self.hub), self.hub.refused), (3, 1))

    def test_from_one_address_in_either_form(self) -> None:
        self.assertEqual(self.upgrade("192.0.2.1")[0], 101)
        self.assertEqual(self.upgrade("::ffff:192.0.2.1")[0], 101)
        self.assertEqual(self.upgrade("192.0.2.1")[0], 503)
        self.assertEqual(self.upgrade("192.0.2.2")[0], 101)

    def test_the_page_is_there_for_whoever_finds_no_room(self) -> None:
        for number in (1, 2, 3):
            self.upgrade(f"192.0.2.{number}")
        self.assertEqual(self.get("/health")[0], 200)


class FrameTests(WebCase):
    """Messages, pings and ends."""

    def setUp(self) -> None:
        super().setUp()
        self.client, self.conversation = self.joined()

    def test_the_socket_is_what_a_connection_expects(self) -> None:
        verifyObject(ISocket, self.conversation.socket)

    def test_text_and_binary(self) -> None:
        self.client.send(frame(TEXT, "ä".encode()) + frame(BINARY, b"\xff") + frame(TEXT, b"x" * 1000))
        expected = [("ä".encode(), False), (b"\xff", True), (b"x" * 1000, False)]
        self.assertEqual(self.conversation.heard, expected)

    def test_in_any_pieces(self) -> None:
        for byte in frame(TEXT, b"one") + frame(TEXT, b"two"):
            self.client.send(bytes([byte]))
        self.assertEqual(self.conversation.heard, [(b"one", False), (b"two", False)])

    def test_fragments_with_a_ping_between(self) -> None:
        self.client.send(frame(TEXT, b"o", final=False) + frame(0, b"n", final=False))
        self.client.send(frame(PING, b"\xff\x00") + frame(0, b"e"))
        self.assertEqual(self.conversation.heard, [(b"one", False)])
        self.assertEqual(self.client.received(), bytes((0x80 | PONG, 2)) + b"\xff\x00")

    def test_close_is_answered(self) -> None:
        self.client.send(frame(CLOSE, struct.pack("!H", 1000) + b"bye"))
        self.assertEqual(close_code(self.client.received()), 1000)
        self.assertTrue(self.client.disconnecting)
        self.assertEqual((self.conversation.ends, len(self.hub)), (1, 0))

    def test_lost_connection(self) -> None:
        self.client.loseConnection()
        self.assertEqual((self.conversation.ends, len(self.hub)), (1, 0))

    def check_refused(self, data: bytes, code: int) -> None:
        self.client.send(data + frame(TEXT, b"more"))
        # Nothing follows a close frame (RFC 6455 section 5.5.1), whoever began the closing.
        self.conversation.socket.send(b"a push")
        self.assertEqual(close_code(self.client.received()), code)
        self.assertEqual(self.conversation.heard, [])

    def test_bad_utf8(self) -> None:
        self.check_refused(frame(TEXT, b"\xff\xfe"), 1007)

    def test_too_large(self) -> None:
        self.check_refused(frame(TEXT, b"x" * 1001), 1009)

    def test_too_large_by_its_header(self) -> None:
        self.check_refused(frame(BINARY, b"x" * 5000)[:10], 1009)

    def test_too_large_in_fragments(self) -> None:
        self.check_refused(frame(TEXT, b"x" * 600, final=False) + frame(0, b"x" * 600), 1009)

    def test_unmasked(self) -> None:
        self.check_refused(frame(TEXT, b"x", masked=False), 1002)

    def test_reserved_bits(self) -> None:
        self.check_refused(frame(0x40 | TEXT, b"x"), 1002)

    def test_what_the_server_sends(self) -> None:
        self.conversation.socket.send(b"frames as they are")
        self.assertEqual(self.client.received(), b"frames as they are")

    def test_goodbye(self) -> None:
        gone = self.hub.say_goodbye()
        self.assertEqual(close_code(self.client.received()), 1001)
        # What was on its way is still heard, and no data follows a close (RFC 6455 section 5.5.1).
        self.client.send(frame(TEXT, b"late"))
        self.conversation.socket.send(b"answer")
        self.assertEqual((self.conversation.heard, self.client.received()), ([(b"late", False)], b""))
        self.assertNoResult(gone)
        self.client.send(frame(CLOSE, struct.pack("!H", 1001)))
        self.successResultOf(gone)
        self.assertTrue(self.client.disconnecting)

    def test_a_stream_with_a_ping_in_the_middle(self) -> None:
        column = Column(np.arange(40_000.0))
        stream = JSON.frame(Message([column]))
        self.conversation.socket.send(stream)
        self.assertTrue(self.conversation.socket.congested)
        self.client.send(frame(PING, b"?"))
        pong = bytes((0x80 | PONG, 1)) + b"?"
        first = self.client.received()
        self.assertTrue(first.endswith(pong))
        self.clock.advance(0)
        told = first.removesuffix(pong) + self.client.received()
        self.assertEqual(list(messages(told)), [[column.values.tolist()]])
        self.clock.advance(0)
        self.assertFalse(self.conversation.socket.congested)

    def test_a_stream_that_breaks(self) -> None:
        def failing() -> Iterator[bytes]:
            yield b"the first"
            raise ValueError("no")

        self.conversation.socket.send(Stream(failing(), 0))
        self.client.received()
        self.clock.advance(0)
        self.assertEqual(close_code(self.client.received()), 1011)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.clock.advance(0)
        self.assertEqual(self.client.received(), b"")

    def test_a_client_that_leaves_in_the_middle_of_a_stream(self) -> None:
        values = np.arange(40_000.0)
        kept = weakref.ref(values)
        self.conversation.socket.send(JSON.frame(Message([Column(values)])))
        del values
        self.client.loseConnection()
        self.clock.advance(0)
        gc.collect()
        self.assertIsNone(kept())

    def test_codes_of_servers(self) -> None:
        self.conversation.socket.close(1008, "no login in time")
        self.assertEqual(close_code(self.client.received()), 1008)

    def test_close_after_the_end(self) -> None:
        self.client.loseConnection()
        self.conversation.socket.close(1001, "too late")
        self.conversation.socket.send(b"too late")
        self.assertEqual(self.conversation.ends, 1)
