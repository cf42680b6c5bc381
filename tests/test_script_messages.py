"""Messages of a run whose process may be anybody's: none costs the server more than its bytes are worth."""

from __future__ import annotations

import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.scripts import messages
from rtoc_twisted.box.frames import frame
from rtoc_twisted.box.messages import Samples, pack
from rtoc_twisted.errors import BadValue, TooLarge

KEEP = b"\x93\xa4Keep\xa1x"
MANY = 12 << 20


def listed(count: int) -> bytes:
    """Return how a list of so many items begins."""
    return b"\xdd" + count.to_bytes(4, "big")


class BombTest(SynchronousTestCase):
    """Small bytes that would be large things."""

    def feed(self, payload: bytes) -> object:
        return messages.childs_reader().feed(frame(payload))

    def test_lists_of_nothing(self) -> None:
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for item in (b"\x90", b"\x80", b"\xc0"):
            self.assertRaises(TooLarge, self.feed, KEEP + listed(MANY) + item * MANY)
        names = listed(MANY) + b"\xa0" * MANY
        self.assertRaises(TooLarge, self.feed, b"\x96\xa7Samples\xa1d" + names + b"\x90\xc4\x00\xc4\x00")
        self.assertLess(tracemalloc.get_traced_memory()[1], 24 * MANY)

    def test_message_of_many_fields(self) -> None:
        self.assertRaises(BadValue, self.feed, listed(MANY) + b"\xa4Keep" + b"\xc0" * MANY)

    def test_what_is_nested_too_deeply(self) -> None:
        for depth in (100_000, MANY):
            self.assertRaises(BadValue, self.feed, KEEP + b"\x91" * depth + b"\xc0")

    def test_what_is_cut_off(self) -> None:
        self.assertRaises(BadValue, self.feed, KEEP + listed(MANY) + b"\x90" * (MANY // 2))

    def test_columns_files_and_texts_are_what_they_are(self) -> None:
        large = b"x" * (10 << 20)
        for message in (
            Samples("d", ["a"], [None], large[: 1 << 20], large[: 1 << 20]),
            messages.Done("picture", large),
            messages.Done("text", large.decode()),
        ):
            self.assertEqual(messages.childs_reader().feed(messages.packed(message)), [message])

    def test_script_is_told_of_what_is_too_large(self) -> None:
        message = messages.Keep("x", [None] * (3 << 20))
        self.assertRaises(TooLarge, messages.packed, message)
        self.assertRaises(TooLarge, messages.childs_reader().feed, pack(message))
