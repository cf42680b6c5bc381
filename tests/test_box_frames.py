"""The messages between the server and a plugin's process, whole and in pieces."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.box import messages
from rtoc_twisted.box.frames import LIMIT, Splitter, frame
from rtoc_twisted.errors import BadValue, TooLarge
from rtoc_twisted.plugins import orders

from .storage_support import unhurried

PAYLOADS = st.lists(st.binary(max_size=300), max_size=12)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut data at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:stop] for start, stop in zip(places, places[1:], strict=False)]


class SplitterTest(SynchronousTestCase):
    """Frames out of bytes."""

    @given(PAYLOADS, st.lists(st.integers(0, 5000), max_size=20))
    @unhurried
    def test_any_pieces_give_the_payloads_back(self, payloads: list[bytes], cuts: list[int]) -> None:
        splitter = Splitter()
        whole = b"".join(map(frame, payloads))
        heard = [payload for piece in pieces(whole, cuts) for payload in splitter.feed(piece)]
        self.assertEqual(heard, payloads)
        self.assertEqual(splitter.waiting, 0)

    def test_a_head_above_the_limit_is_refused_at_once(self) -> None:
        splitter = Splitter(limit=10)
        self.assertEqual(splitter.feed(frame(b"x" * 10)), [b"x" * 10])
        self.assertRaises(TooLarge, splitter.feed, (11).to_bytes(4, "big"))

    def test_a_payload_above_the_limit_is_not_sent(self) -> None:
        self.assertEqual(len(frame(bytes(LIMIT))), LIMIT + 4)
        self.assertRaises(TooLarge, frame, bytes(LIMIT + 1))

    def test_waiting_is_what_came_of_a_frame(self) -> None:
        splitter = Splitter()
        splitter.feed(frame(b"abcdef")[:7])
        self.assertEqual(splitter.waiting, 7)


class OrdersTest(SynchronousTestCase):
    """Messages, packed and read."""

    def test_each_order_comes_back(self) -> None:
        sent = [
            orders.Init("n", "/d/F/n.py", "", "n", "/d", 2.5, {"d": {"v": [1, None]}}, {"port": 1}, 9, 8, 7),
            orders.Start(),
            orders.Call(1, "f", [1, "a"], {"k": {}}),
            orders.Get(2, ["a", "b"]),
            orders.Set(3, "a", [1.5]),
            orders.Samplerate(10.0),
            orders.Ping(4),
            orders.Stop(5.0),
        ]
        self.assertEqual(orders.order_reader().feed(b"".join(map(messages.pack, sent))), sent)

    def test_each_report_comes_back(self) -> None:
        sent = [
            orders.Loaded([["f", [], 0, [], None, None, "()"]], [["p", 1, None]], "doc"),
            orders.Failed("import", "SyntaxError: x"),
            orders.Started(),
            orders.Result(1, False, "no"),
            messages.Samples("d", ["a", "b"], ["V", None], bytes(16), bytes(16)),
            messages.Plot("d", "s", "V", "off", bytes(8), bytes(8)),
            messages.Event("t", "d", "s", 1.0, 2, "id", {"a": 1}),
            orders.Variable("d", "v", 1),
            orders.Changed([], [], False),
            orders.Log(2, "text", 1.0),
            messages.Notify("photo", "t", "a.png", b"png", 1, "read"),
            orders.Pong(4),
            orders.Stopped(),
        ]
        self.assertEqual(orders.report_reader().feed(b"".join(map(messages.pack, sent))), sent)

    def test_an_older_side_passes_over_new_fields_and_takes_lacking_ones_from_before(self) -> None:
        newer = frame(msgspec.msgpack.encode(["Ping", 4, "new"]))
        older = frame(msgspec.msgpack.encode(["Changed", [], []]))
        self.assertEqual(orders.order_reader().feed(newer), [orders.Ping(4)])
        self.assertEqual(orders.report_reader().feed(older), [orders.Changed([], [], True)])

    def test_a_value_without_a_word_is_its_repr(self) -> None:
        packed = messages.pack(orders.Result(1, True, [orders]))
        (result,) = orders.report_reader().feed(packed)
        self.assertEqual(result, orders.Result(1, True, [repr(orders)]))

    def test_what_is_no_message_is_refused(self) -> None:
        for wrong in (
            b"",
            b"\xc1",
            b"\xa1x",
            msgspec.msgpack.encode(["Nope"]),
            msgspec.msgpack.encode(["Ping", "x"]),
            b"\x92\xa4Ping" + b"\x91" * 100_000,
        ):
            self.assertRaises(BadValue, orders.order_reader().feed, frame(wrong))

    def test_what_is_nested_too_deeply_is_refused(self) -> None:
        result = b"\x94\xa6Result\x01\xc3" + b"\x91" * 100_000
        self.assertRaises(BadValue, orders.report_reader().feed, frame(result))

    def test_an_order_is_no_report(self) -> None:
        self.assertRaises(BadValue, orders.report_reader().feed, messages.pack(orders.Ping(1)))

    def test_arguments(self) -> None:
        self.assertEqual(orders.arguments([1, "a"], "f()"), ([1, "a"], {}))
        self.assertEqual(orders.arguments({"name": "x"}, "f()"), ([], {"name": "x"}))

    def test_no_arguments(self) -> None:
        wrong: list[Any] = ["ab", 5, None, True]
        for value in wrong:
            error = self.assertRaises(BadValue, orders.arguments, value, "f()")
            self.assertIn("f(): the arguments are a list", str(error))
