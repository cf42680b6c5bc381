"""What waits for one client: bounded, in order, and nobody else's trouble."""

from __future__ import annotations

import json
import socket
import sys
import weakref
from collections.abc import Callable

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from rtoc_twisted.interfaces import IStream
from rtoc_twisted.web.outbox import Outbox
from tests.process_support import PATIENCE, ProcessCase, ask, client
from tests.web_support import HANDSHAKE, TEXT, frame, request


class FillingTransport(StringTransport):
    """Asks its producer to pause at each write past a mark, as Twisted's transports do."""

    mark = 1 << 30

    def write(self, data: bytes) -> None:
        super().write(data)
        if len(self.value()) >= self.mark:
            self.producer.pauseProducing()


@implementer(IStream)
class Pieces:
    """A stream of pieces; an exception among them is raised."""

    def __init__(self, *pieces: bytes | Exception, size: int = 0) -> None:
        self.left = list(pieces)
        self.size = size

    @property
    def done(self) -> bool:
        return not self.left

    def take(self) -> bytes:
        piece = self.left.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece


class OutboxTests(SynchronousTestCase):
    """Without a socket; ten bytes may wait."""

    def setUp(self) -> None:
        self.transport = FillingTransport()
        self.overflows = 0
        self.writables = 0
        self.turns: list[Callable[[], None]] = []
        self.breaks: list[BaseException | None] = []
        self.outbox = Outbox(self.transport, 10, self.overflowed, self.broke, self.turns.append)
        self.outbox.writable = self.became_writable
        self.transport.registerProducer(self.outbox, True)

    def overflowed(self) -> None:
        self.overflows += 1

    def broke(self) -> None:
        self.breaks.append(sys.exception())

    def turn(self) -> None:
        """Do what waits for the reactor's next turn."""
        turns, self.turns[:] = self.turns[:], []
        for call in turns:
            call()

    def became_writable(self) -> None:
        self.writables += 1

    def send(self, *frames: bytes | IStream) -> None:
        for each in frames:
            self.outbox.send(each)

    def test_writes_at_once(self) -> None:
        self.send(b"a" * 100, b"b")
        self.assertEqual(self.transport.value(), b"a" * 100 + b"b")
        self.assertEqual(self.outbox.waiting, 0)

    def test_keeps_while_paused_and_goes_on_in_order(self) -> None:
        self.outbox.pauseProducing()
        self.send(b"one", b"two")
        self.outbox.pauseProducing()
        self.assertEqual((self.transport.value(), self.outbox.waiting), (b"", 6))
        self.outbox.resumeProducing()
        self.send(b"three")
        self.assertEqual((self.transport.value(), self.outbox.waiting), (b"onetwothree", 0))
        self.assertEqual((self.writables, self.overflows), (1, 0))

    def test_stops_handing_over_when_the_transport_is_full_again(self) -> None:
        self.outbox.pauseProducing()
        self.send(b"one", b"two")
        self.transport.mark = 3
        self.outbox.resumeProducing()
        self.assertEqual((self.transport.value(), self.outbox.waiting, self.writables), (b"one", 3, 0))
        self.transport.mark = 1 << 30
        self.outbox.resumeProducing()
        self.assertEqual((self.transport.value(), self.outbox.waiting, self.writables), (b"onetwo", 0, 1))

    def test_overflows_once_past_the_limit(self) -> None:
        self.outbox.pauseProducing()
        self.send(b"x" * 10)
        self.assertEqual(self.overflows, 0)
        self.send(b"x", b"y" * 100)
        self.assertEqual((self.overflows, self.outbox.waiting, self.outbox.closed), (1, 0, True))
        self.outbox.resumeProducing()
        self.assertEqual(self.transport.value(), b"")

    def test_a_transport_that_is_gone(self) -> None:
        self.outbox.pauseProducing()
        self.send(b"one")
        self.outbox.stopProducing()
        self.send(b"two")
        self.assertEqual((self.transport.value(), self.outbox.waiting), (b"", 0))

    def test_finish_writes_what_waits_and_no_more(self) -> None:
        self.outbox.pauseProducing()
        self.send(b"one", b"two")
        self.outbox.finish()
        self.send(b"three")
        self.outbox.finish()
        self.assertEqual((self.transport.value(), self.outbox.waiting), (b"onetwo", 0))

    # Streams.

    def test_a_fragment_a_turn_even_if_the_transport_takes_all(self) -> None:
        self.send(b"before", Pieces(b"one", b"two", b"three"), b"after")
        self.assertEqual((self.transport.value(), self.outbox.busy), (b"beforeone", True))
        self.turn()
        self.assertEqual((self.transport.value(), self.writables), (b"beforeonetwo", 0))
        self.turn()
        self.send(b".")
        self.assertEqual(self.transport.value(), b"beforeonetwothree")
        self.turn()
        self.assertEqual(self.transport.value(), b"beforeonetwothreeafter.")
        self.assertEqual((self.writables, self.outbox.busy, self.outbox.waiting), (1, False, 0))
        self.assertEqual(self.turns, [])

    def test_a_fragment_for_each_time_that_the_transport_has_room(self) -> None:
        self.transport.mark = 1
        stream = Pieces(b"one", b"two", b"three")
        self.send(stream)
        self.assertEqual(self.turns, [])
        self.assertEqual(stream.left, [b"two", b"three"])
        self.outbox.resumeProducing()
        self.assertEqual((self.transport.value(), stream.left), (b"onetwo", [b"three"]))
        self.outbox.resumeProducing()
        self.assertEqual((self.transport.value(), self.writables), (b"onetwothree", 0))
        self.outbox.resumeProducing()
        self.assertEqual((self.writables, self.outbox.busy), (1, False))

    def test_a_pause_between_two_turns(self) -> None:
        self.send(Pieces(b"one", b"two", b"three"))
        self.outbox.pauseProducing()
        self.turn()
        self.assertEqual(self.transport.value(), b"one")
        self.outbox.resumeProducing()
        self.assertEqual(self.transport.value(), b"onetwo")
        self.outbox.pauseProducing()
        self.outbox.resumeProducing()
        # The turn that was asked for is still to come.
        self.assertEqual(self.transport.value(), b"onetwo")
        self.turn()
        self.assertEqual(self.transport.value(), b"onetwothree")

    def test_one_stream_after_the_other(self) -> None:
        self.send(Pieces(b"a", b"b"), Pieces(b"c", b"d", size=4), b"e")
        self.assertEqual(self.outbox.waiting, 5)
        for _ in range(4):
            self.turn()
        self.assertEqual((self.transport.value(), self.outbox.waiting, self.writables), (b"abcde", 0, 1))

    def test_the_first_stream_is_not_counted_what_waits_behind_it_is(self) -> None:
        self.outbox.pauseProducing()
        self.send(b"x" * 4, Pieces(b"a", size=1 << 30), b"y" * 4)
        self.assertEqual((self.outbox.waiting, self.overflows), (8, 0))
        self.send(Pieces(b"b", size=3))
        self.assertEqual((self.outbox.waiting, self.overflows, self.outbox.closed), (0, 1, True))

    def test_the_next_stream_is_not_counted_once_it_is_the_first(self) -> None:
        self.send(Pieces(b"a", b"b", size=100), Pieces(b"c", b"d", size=9))
        self.assertEqual(self.outbox.waiting, 9)
        self.turn()
        self.assertEqual((self.transport.value(), self.outbox.waiting), (b"ab", 0))
        self.send(b"y" * 10)
        self.assertEqual(self.overflows, 0)

    def test_a_stream_that_breaks(self) -> None:
        self.send(Pieces(b"one", ValueError("no")), b"after")
        self.turn()
        (error,) = self.breaks
        self.assertIsInstance(error, ValueError)
        self.send(b"more")
        self.turn()
        self.assertEqual((self.transport.value(), self.outbox.closed, self.writables), (b"one", True, 0))

    def test_a_transport_that_is_gone_in_the_middle_of_a_stream(self) -> None:
        stream = Pieces(b"one", b"two")
        kept = weakref.ref(stream)
        self.send(stream, b"after")
        self.outbox.stopProducing()
        self.turn()
        self.assertEqual((self.transport.value(), stream.left), (b"one", [b"two"]))
        del stream
        self.assertIsNone(kept())

    def test_finish_ends_a_stream_where_it_is(self) -> None:
        self.send(Pieces(b"one", b"two"), b"after")
        self.outbox.finish()
        self.turn()
        self.assertEqual(self.transport.value(), b"one")

    def test_finish_writes_what_waits_before_a_stream(self) -> None:
        self.outbox.pauseProducing()
        self.send(b"one", b"two", Pieces(b"three"), b"four")
        self.outbox.finish()
        self.outbox.resumeProducing()
        self.assertEqual(self.transport.value(), b"onetwo")


class SlowClientTests(ProcessCase):
    """A real server whose clients may leave 64 KiB waiting."""

    def setUp(self) -> None:
        super().setUp()
        limits = {"RTOC_LIMITS_OUTBOX_BYTES": "64 KiB", "RTOC_LIMITS_PING_SECONDS": "3600"}
        self.child = self.start("--no-password", environ=limits)
        (self.port,) = self.child.ports()

    def silent(self) -> socket.socket:
        """Return a raw connection with a small buffer, on which nobody reads."""
        raw = socket.socket()
        self.addCleanup(raw.close)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(PATIENCE)
        raw.connect(("127.0.0.1", self.port))
        raw.sendall(request(headers=HANDSHAKE))
        return raw

    def test_a_subscriber_that_does_not_read_is_cut_and_others_lose_nothing(self) -> None:
        raw = self.silent()
        raw.sendall(frame(TEXT, b'{"subscribeAll": true}'))
        values: list[float] = []
        events: list[float] = []
        with client(self.port) as writer, client(self.port) as reader:
            ask(reader, subscribeAll=True)
            for number in range(5000):
                event = {"text": "x" * 10_000, "dname": "D", "sname": "e", "x": number + 1}
                told = ask(writer, y=number, x=number, sname="n", dname="D", event=event)
                self.assertEqual((told["sent"], told["error"]), (True, False))
                while len(events) <= number:
                    message = json.loads(reader.recv(PATIENCE))
                    values += message.get("signal", {}).get("y", [])
                    events += [message["event"]["x"]] if "event" in message else []
                if self.child.has_said("cut: the client does not read"):
                    break
            else:
                self.fail("nobody was cut")
            self.assertEqual(values, list(range(number + 1)))
            self.assertEqual(events, list(range(1, number + 2)))
        with self.assertRaises(ConnectionResetError):
            while raw.recv(1 << 20):
                pass

    def test_a_client_that_asks_and_does_not_read_is_paused(self) -> None:
        names = [f"signal {number}" for number in range(1000)]
        # Blanks: the requests are to fill what the kernel keeps before the answers are too many to read.
        asked = frame(TEXT, b'{"getSignalList": true}'.ljust(10_000))
        offered = memoryview(asked * 5000)
        raw = self.silent()
        with client(self.port) as other:
            self.assertTrue(ask(other, y=[0] * 1000, sname=names, dname="D")["sent"])
            raw.setblocking(False)
            taken = idle = 0
            while idle < 50 and taken < len(offered):
                try:
                    taken += raw.send(offered[taken : taken + 100_000])
                    idle = 0
                except BlockingIOError:
                    # Each answer to somebody else is a turn of the server, in which it could have read.
                    ask(other, getLatest=["none"])
                    idle += 1
            self.assertLess(taken, len(offered), "the server reads without end")
            # Once the answers are read, it goes on, and has forgotten nothing.
            raw.settimeout(PATIENCE)
            expected, answers, tail = taken // len(asked), 0, b""
            while answers < expected:
                data = raw.recv(1 << 20)
                self.assertTrue(data, "the server closed")
                answers += (tail + data).count(b'"signalList"') - tail.count(b'"signalList"')
                tail = (tail + data)[-20:]
            self.assertEqual(answers, expected)
