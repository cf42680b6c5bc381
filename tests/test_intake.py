"""Plain messages taken at once: the same that Autobahn's parser finds, however they are cut up."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.web.websocket import RtocProtocol
from rtoc_twisted.wire import intake
from rtoc_twisted.wire.intake import GATHERED, is_arriving, take, xor
from tests.storage_support import unhurried
from tests.web_support import WebCase, close_code

LIMIT = 1 << 20
TEXT, BINARY, PING, CONTINUATION = 0x81, 0x82, 0x89, 0x80


def masked(first: int, payload: bytes, mask: bytes = b"\x11\x22\x33\x44") -> bytes:
    """Return a client's frame that begins with that byte."""
    length = len(payload)
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 1 << 16:
        head = bytes((first, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + length.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class TakeTests(SynchronousTestCase):
    def refused(self, data: bytes, limit: int = LIMIT) -> None:
        self.assertIsNone(take(data, 0, limit), data[:20])

    @given(st.text() | st.binary(), st.integers(0, 3), st.binary(min_size=4, max_size=4))
    @unhurried
    def test_a_whole_message(self, message: str | bytes, before: int, mask: bytes) -> None:
        binary = isinstance(message, bytes)
        payload = message if isinstance(message, bytes) else message.encode()
        frame = masked(BINARY if binary else TEXT, payload, mask)
        data = b"\x00" * before + frame + b"rest"
        self.assertEqual(take(data, before, LIMIT), (payload, binary, before + len(frame)))

    def test_every_length_of_a_header(self) -> None:
        for length in (0, 1, 125, 126, 127, 65_535, 65_536, 70_001):
            payload = b"a" * length
            frame = masked(TEXT, payload)
            self.assertEqual(take(frame, 0, LIMIT), (payload, False, len(frame)))
            for cut in {1, 2, 3, 5, 9, len(frame) - 1}:
                if cut < len(frame):
                    self.refused(frame[:cut])

    def test_what_is_left_to_the_full_parser(self) -> None:
        self.refused(b"")
        self.refused(masked(PING, b"x"))
        self.refused(masked(CONTINUATION, b"x"))
        self.refused(masked(0x01, b"the first of several"))
        self.refused(masked(0xC1, b"compressed"))
        self.refused(b"\x81\x01a")
        self.refused(masked(TEXT, b"\xff"))
        self.refused(masked(TEXT, b"\xed\xa0\x80"))
        self.refused(masked(TEXT, b"12345"), limit=4)

    def test_lengths_in_too_many_bytes(self) -> None:
        self.refused(b"\x81\xfe\x00\x01" + b"\0\0\0\0" + b"a")
        self.refused(b"\x81\xff" + (5).to_bytes(8, "big") + b"\0\0\0\0" + b"aaaaa")

    @given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
    @unhurried
    def test_masks(self, data: bytes, mask: bytes) -> None:
        expected = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self.assertEqual(xor(data, mask), expected)
        self.assertEqual(intake._unmask(data, mask), expected)

    def test_what_is_worth_waiting_for(self) -> None:
        long = masked(TEXT, b"a" * 10_000)
        self.assertTrue(is_arriving(long[:100], LIMIT))
        self.assertFalse(is_arriving(long, LIMIT))
        self.assertFalse(is_arriving(long[:100], 9_000))
        self.assertFalse(is_arriving(long[:3], LIMIT))
        self.assertFalse(is_arriving(masked(TEXT, b"a" * 100)[:50], LIMIT))
        self.assertTrue(is_arriving(masked(TEXT, b"a" * 300)[:50], LIMIT))
        self.assertFalse(is_arriving(masked(TEXT, b"a" * GATHERED.stop)[:100], LIMIT))
        self.assertFalse(is_arriving(masked(PING, b"a" * 10_000)[:100], LIMIT))


class ProtocolTests(WebCase):
    """Autobahn's end of a client, fed with segments."""

    def setUp(self) -> None:
        super().setUp()
        self.factory.maxMessagePayloadSize = self.factory.maxFramePayloadSize = LIMIT

    def heard(self, segments: Iterable[bytes]) -> list[tuple[bytes, bool]]:
        """Return what a connection hears in these segments."""
        wire, conversation = self.joined()
        for segment in segments:
            wire.send(segment)
        wire.loseConnection()
        return conversation.heard

    MESSAGES = st.lists(
        st.tuples(st.sampled_from(["whole", "fragments", "ping"]), st.text(max_size=200)), max_size=8
    )

    @given(MESSAGES, st.lists(st.integers(0, 3000), max_size=12))
    @unhurried
    def test_however_it_is_cut_up(self, messages: list[tuple[str, str]], cuts: list[int]) -> None:
        stream, expected = b"", []
        for kind, text in messages:
            payload = (text * 20).encode()
            if kind == "ping":
                stream += masked(PING, payload[:100])
                continue
            expected.append((payload, False))
            if kind == "whole":
                stream += masked(TEXT, payload)
            else:
                stream += masked(0x01, payload[:7]) + masked(PING, b"p") + masked(CONTINUATION, payload[7:])
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        segments = [stream[start:stop] for start, stop in zip(edges, edges[1:], strict=False)]
        self.assertEqual(self.heard(segments), expected)

    def test_a_large_message_in_small_segments(self) -> None:
        payload = b"a" * 100_000
        frame = masked(TEXT, payload) + masked(TEXT, b"next")
        heard = self.heard(frame[at : at + 1400] for at in range(0, len(frame), 1400))
        self.assertEqual(heard, [(payload, False), (b"next", False)])

    def test_wrong_text_ends_the_connection(self) -> None:
        wire, conversation = self.joined()
        wire.send(masked(TEXT, b"good") + masked(TEXT, b"\xff") + masked(TEXT, b"late"))
        self.assertEqual(conversation.heard, [(b"good", False)])
        self.assertEqual(close_code(wire.received()), 1007)

    def test_who_sends_is_alive(self) -> None:
        opened: list[RtocProtocol] = []
        on_open = RtocProtocol.onOpen

        def remember(protocol: RtocProtocol) -> None:
            opened.append(protocol)
            on_open(protocol)

        self.patch(RtocProtocol, "onOpen", remember)
        cancelled: list[RtocProtocol] = []
        self.patch(RtocProtocol, "_cancelAutoPingTimeoutCall", lambda protocol: cancelled.append(protocol))
        wire, _ = self.joined()
        wire.send(masked(TEXT, b"nobody waits for a pong"))
        self.assertEqual(cancelled, [])
        opened[0].autoPingTimeoutCall = object()
        wire.send(masked(TEXT, b"here"))
        self.assertEqual(cancelled, opened)
