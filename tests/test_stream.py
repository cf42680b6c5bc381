"""Large messages in fragments: they say what the whole message would, and hold nobody up."""

from __future__ import annotations

import base64
import gc
import json
import math
import socket
import struct
import weakref
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase
from websockets.sync.client import connect
from zope.interface.verify import verifyObject

from rtoc_twisted.interfaces import IStream
from rtoc_twisted.wire import codec, frames
from rtoc_twisted.wire.codec import JSON, MSGPACK, Column, ExactColumn, Message, Verbatim
from rtoc_twisted.wire.stream import Stream
from tests.doubles import all_of, messages, packed, whole_messages
from tests.process_support import PATIENCE, ProcessCase, answer, ask, client
from tests.storage_support import unhurried
from tests.web_support import CLOSE, HANDSHAKE, PING, PONG, TEXT, close_code, frame, request

COLUMNS = some.lists(some.floats(), max_size=40).map(lambda values: np.array(values, dtype=np.float64))
WIRED = (
    COLUMNS.map(Column)
    | COLUMNS.map(ExactColumn)
    | some.sampled_from([b"7", b'"\\u0000x"', b'{"a":[null,1.5]}']).map(lambda t: Verbatim(msgspec.Raw(t)))
)
VALUES = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**53), 2**53) | some.text(max_size=5) | WIRED,
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)


def plain(value: Any, binary: bool) -> Any:
    """Return what a client is to decode."""
    if isinstance(value, ExactColumn):
        data = value.values.tobytes()
        return data if binary else base64.b64encode(data).decode()
    if isinstance(value, Column):
        return [number if math.isfinite(number) else None for number in value.values.tolist()]
    if isinstance(value, Verbatim):
        return json.loads(bytes(value.json))
    if isinstance(value, list):
        return [plain(element, binary) for element in value]
    if isinstance(value, dict):
        return {key: plain(element, binary) for key, element in value.items()}
    return value


def fragments_of(stream: Any) -> list[bytes]:
    taken = []
    while not stream.done:
        taken.append(stream.take())
    return taken


class StreamTests(SynchronousTestCase):
    """Slices of three numbers, fragments of twenty bytes; every message with a column is a stream."""

    def setUp(self) -> None:
        self.patch(codec, "_SLICE", 3)
        self.patch(codec, "_FEW", -1)
        self.patch(codec, "_WHOLE", -1)
        self.patch(frames, "_FRAGMENT", 20)

    def packed_whole(self, value: Any) -> bytes:
        """Return what one frame of MessagePack would hold."""
        patch = self.patch(codec, "_WHOLE", 1 << 30)
        try:
            return packed(value)
        finally:
            patch.restore()

    @unhurried
    @given(VALUES, WIRED)
    def test_a_stream_says_what_the_whole_message_says(self, value: Any, other: Any) -> None:
        told = {"value": value, "column": Column(np.arange(7.0)), "other": [other], "id": "x"}
        message = Message(told)
        for dialect, binary, whole in ((JSON, False, codec.to_json), (MSGPACK, True, self.packed_whole)):
            stream = dialect.frame(message)
            assert not isinstance(stream, bytes)
            taken = all_of(stream)
            ((_, payload),) = whole_messages(taken)
            self.assertEqual(payload, whole(told))
            self.assertEqual(list(messages(taken)), [plain(told, binary)])

    def test_fragments(self) -> None:
        stream = JSON.frame(Message({"x": Column(np.arange(15.0))}))
        verifyObject(IStream, stream)
        taken = fragments_of(stream)
        self.assertEqual([fragment[0] for fragment in taken], [1, 0, 0x80])
        self.assertEqual(b"".join(fragment[2:] for fragment in taken)[:9], b'{"x":[0.0')
        taken = fragments_of(MSGPACK.frame(Message([Column(np.arange(6.0))])))
        # The last one may have nothing to say.
        self.assertEqual([(f[0], len(f)) for f in taken], [(2, 31), (0, 29), (0x80, 2)])

    def test_encoded_when_it_is_taken(self) -> None:
        values = np.zeros(30)
        stream = JSON.frame(Message([Column(values)]))
        assert not isinstance(stream, bytes)
        first = stream.take()
        values[:] = 1.0
        self.assertEqual((b"1.0" in first, b"0.0" in all_of(stream)), (False, False))

    def test_each_client_has_its_own_and_a_fragment_is_made_once(self) -> None:
        message = Message([Column(np.arange(30.0))])
        one, other = JSON.frame(message), JSON.frame(message)
        assert not isinstance(one, bytes) and not isinstance(other, bytes)
        first = one.take()
        rest = fragments_of(one)
        again = fragments_of(other)
        self.assertEqual(again, [first, *rest])
        for made, same in zip([first, *rest], again, strict=True):
            self.assertIs(made, same)
        self.assertEqual((one.size, other.size), (30 * 8 + 18, 30 * 8 + 18))

    def test_nothing_is_kept_of_what_was_dropped(self) -> None:
        values = np.arange(30.0)
        kept = weakref.ref(values)
        stream = JSON.frame(Message([Column(values)]))
        assert not isinstance(stream, bytes)
        stream.take()
        del values, stream
        gc.collect()
        self.assertIsNone(kept())

    def test_a_failure_breaks_every_stream_of_the_message(self) -> None:
        def failing() -> Iterator[bytes]:
            yield b"\x01\x00"
            raise ValueError("no")

        stream = Stream(failing(), 0)
        other = stream.fork()
        for each in (stream, other):
            self.assertEqual((each.take(), each.done), (b"\x01\x00", False))
        self.assertRaises(ValueError, stream.take)
        self.assertRaises(EOFError, stream.take)
        self.assertRaises(EOFError, other.take)


class ThresholdTests(SynchronousTestCase):
    def test_small_messages_are_one_frame(self) -> None:
        many, few = codec._WHOLE, Column(np.zeros(100))
        for dialect in (JSON, MSGPACK):
            whole = dialect.frame(Message([Column(np.zeros(many - 100)), few]))
            assert isinstance(whole, bytes)
            self.assertEqual(list(messages(whole)), [[[0.0] * (many - 100), [0.0] * 100]])
            # Many small columns are as much work as a large one.
            stream = dialect.frame(Message([few] * (many // 100 + 1)))
            assert not isinstance(stream, bytes)
            self.assertEqual(list(messages(all_of(stream))), [[[0.0] * 100] * (many // 100 + 1)])

    def test_a_fragment_holds_a_moment_of_work(self) -> None:
        values = np.random.default_rng(1).normal(size=200_000)
        for dialect in (JSON, MSGPACK):
            sizes = [len(fragment) for fragment in fragments_of(dialect.frame(Message([Column(values)])))]
            # A transport pauses at 64 KiB, so that one fragment is enough for a turn.
            self.assertGreater(min(sizes[:-1]), 1 << 17)
            self.assertLess(max(sizes), 1 << 20)


class ServerTests(ProcessCase):
    """A real server with a signal of a million points."""

    POINTS = 1_000_000
    LARGE = json.dumps({"getSignal": {"dname": "D", "sname": "large"}, "id": "large"})

    def setUp(self) -> None:
        super().setUp()
        self.child = self.start("--no-password", environ={"RTOC_LIMITS_MAX_MESSAGE": "64 MiB"})
        (self.port,) = self.child.ports()
        numbers = list(range(self.POINTS))
        with client(self.port) as writer:
            told = ask(writer, plot=True, x=numbers, y=numbers, sname="large", dname="D", id=1)
            self.assertTrue(told["sent"], told)

    def unbounded(self) -> Any:
        """Return a connection that takes messages of any size."""
        return connect(f"ws://localhost:{self.port}", compression=None, proxy=None, max_size=None)

    def raw(self) -> socket.socket:
        """Return a raw connection that has asked for everything."""
        raw = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self.addCleanup(raw.close)
        raw.sendall(request(headers=HANDSHAKE))
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += raw.recv(1)
        raw.sendall(frame(TEXT, self.LARGE.encode()))
        return raw

    def test_others_have_their_answers_in_between(self) -> None:
        with client(self.port) as other, self.unbounded() as reader:
            ask(reader, authorize=True)
            reader.send(self.LARGE)
            parts: list[str] = []
            between = 0
            for part in reader.recv_streaming():
                if not parts:
                    reader.send(json.dumps({"getLatest": ["D.large"]}))
                if len(parts) < 20:
                    self.assertFalse(ask(other, getLatest=["D.large"])["error"])
                    between += 1
                parts.append(part)
            found = json.loads("".join(parts))
            self.assertEqual((found["id"], between), ("large", 20))
            x, y, *_ = found["signals"]["D.large"]
            self.assertEqual((x, y), ([*range(self.POINTS)],) * 2)
            # What was asked for meanwhile is answered afterwards.
            self.assertEqual(answer(reader)["latest"]["D.large"][0], self.POINTS - 1)

    def test_several_with_an_id_at_once(self) -> None:
        with self.unbounded() as reader:
            ask(reader, authorize=True)
            wanted = {"dname": "D", "sname": "large"}
            # Each of the streams is of 16 million bytes, twice of what may wait for a client.
            for number in range(3):
                reader.send(json.dumps({"getSignal": wanted, "id": number}))
                reader.send(json.dumps({"getLatest": ["D.large"], "id": f"small {number}"}))
            found = [answer(reader) for _ in range(6)]
        large = [one["signals"]["D.large"][0] for one in found if "signals" in one]
        self.assertEqual([(len(x), x[-1]) for x in large], [(self.POINTS, self.POINTS - 1)] * 3)
        ids = [one["id"] for one in found]
        self.assertEqual(set(ids), {0, 1, 2, "small 0", "small 1", "small 2"})
        self.assertFalse([one for one in found if one["error"]])

    def test_a_ping_is_answered_in_the_middle(self) -> None:
        raw = self.raw()
        opcodes: list[int] = []
        payload = b""
        for first, part in server_frames(raw):
            if not opcodes:
                raw.sendall(frame(PING, b"are you there?"))
            opcodes.append(first)
            if first == 0x80 | PONG:
                self.assertEqual(part, b"are you there?")
            else:
                payload += part
            if first == 0x80:
                break
        self.assertEqual(opcodes[0], TEXT)
        self.assertEqual(opcodes.count(0x80 | PONG), 1)
        self.assertEqual(set(opcodes[1:-1]), {0, 0x80 | PONG})
        self.assertEqual(len(json.loads(payload)["signals"]["D.large"][0]), self.POINTS)

    def test_a_close_ends_it(self) -> None:
        raw = self.raw()
        frames_of_it = server_frames(raw)
        self.assertEqual(next(frames_of_it)[0], TEXT)
        raw.sendall(frame(CLOSE, struct.pack("!H", 1000)))
        *others, (last, reason) = frames_of_it
        self.assertEqual({first for first, _ in others} | {0}, {0})
        self.assertEqual(close_code(bytes((last, len(reason))) + reason), 1000)


def server_frames(raw: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield the first byte and the payload of each frame until the server closes."""
    with raw.makefile("rb") as file:
        while head := file.read(2):
            length = head[1]
            if length > 125:
                length = int.from_bytes(file.read(2 if length == 126 else 8), "big")
            yield head[0], file.read(length)
