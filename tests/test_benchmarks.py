"""The benchmarks run: everything they send is acknowledged and stored. No figure is judged here."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout

import orjson
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.__main__ import main
from benchmarks.client import Answers, ServerFailed, masked_frame
from benchmarks.loads import CONTESTS, names
from benchmarks.peer import ANSWER
from benchmarks.report import Durability, closing, table
from benchmarks.rounds import Outcome, Round

OK = bytes((0x81, len(ANSWER))) + ANSWER


def frame(payload: bytes) -> bytes:
    """Return a server's frame of a short payload."""
    return bytes((0x81, len(payload))) + payload


class ContestsTest(SynchronousTestCase):
    """All contests, against both servers in processes of their own."""

    def test_every_contest_is_held_and_nothing_is_lost(self) -> None:
        """Each side answers in each contest, and after a kill -9 the store holds what was acknowledged."""
        with redirect_stdout(io.StringIO()) as printed:
            code = main(["--rounds", "1", "--seconds", "0.02", "--json"])
        said = json.loads(printed.getvalue())
        self.assertEqual(code, 0)
        self.assertEqual(list(said["outcomes"]), list(CONTESTS))
        expected = 0
        for name, outcome in said["outcomes"].items():
            for one in (*outcome["peer"], *outcome["rtoc"]):
                self.assertGreater(one["messages"], 0, name)
            expected += CONTESTS[name].load.stored(sum(one["messages"] for one in outcome["rtoc"]))
        self.assertEqual(said["durability"], {"acknowledged": expected, "stored": expected})


class ReportTest(SynchronousTestCase):
    """Ratios are those of medians, and the table says which are not reached."""

    def outcome(self, name: str, *messages: int, p99: float = 0.0) -> Outcome:
        """Return an outcome in which the peer did 100 messages a second with a p99 of 1 ms."""
        peer = [Round(100, 1.0, 0.5, 0.1, p99=0.001)] * len(messages)
        return Outcome(name, CONTESTS[name], peer, [Round(n, 1.0, 0.5, 0.1, p99=p99) for n in messages])

    def test_throughput(self) -> None:
        """More is better."""
        good, bad = self.outcome("pairs", 120, 110, 900), self.outcome("pairs", 90, 80, 900)
        self.assertEqual((good.ratio, good.reached), (1.2, True))
        self.assertEqual((bad.ratio, bad.reached), (0.9, False))
        self.assertIn("1.20 ", table([good]))
        self.assertIn("120 (110..900)/s", table([good]))
        self.assertIn("0.90 !", table([bad]))

    def test_round_trips(self) -> None:
        """Less is better."""
        self.assertTrue(self.outcome("roundtrip", 100, p99=0.004).reached)
        self.assertFalse(self.outcome("roundtrip", 100, p99=0.006).reached)

    def test_the_store(self) -> None:
        """A value too few or too many is told."""
        self.assertIn("none lost", closing(Durability(10, 10)))
        self.assertIn("WRONG by 3", closing(Durability(10, 7)))
        self.assertIn("WRONG by -2", closing(Durability(10, 12)))


class LoadsTest(SynchronousTestCase):
    """The loads are what their titles say."""

    def test_sizes(self) -> None:
        """A message holds as many values as the load claims, and the pair is about 106 bytes long."""
        for name, contest in CONTESTS.items():
            message = contest.load.message(0, 3)
            self.assertEqual(len(message["y"]), contest.load.values, name)
            self.assertEqual(len(message["x"]), contest.load.values, name)
        self.assertAlmostEqual(len(orjson.dumps(CONTESTS["pairs"].load.message(0, 3))), 106, delta=5)

    def test_blocks_fit_the_window(self) -> None:
        """A block never asks for more answers than may be waited for."""
        for name, contest in CONTESTS.items():
            for _, count in contest.load.blocks(0):
                self.assertLessEqual(count, contest.load.window, name)

    def test_stored(self) -> None:
        """Values add up; a plot replaces the one before."""
        self.assertEqual(CONTESTS["pairs"].load.stored(5), 10)
        self.assertEqual(CONTESTS["plots"].load.stored(5), 10_000)
        self.assertEqual(CONTESTS["plots"].load.stored(0), 0)

    def test_names(self) -> None:
        """What is asked for is run in the order of the table."""
        self.assertEqual(names(["crowd", "pairs"]), ["pairs", "crowd"])
        self.assertEqual(names(None), list(CONTESTS))


class ClientTest(SynchronousTestCase):
    """The raw client reads and writes frames as RFC 6455 has them."""

    def test_frames_are_masked(self) -> None:
        """Each of the three lengths is written, and unmasking gives the payload back."""
        for length, head in ((5, 2), (126, 4), (70_000, 10)):
            payload = bytes(index % 251 for index in range(length))
            sent = masked_frame(payload)
            mask, body = sent[head : head + 4], sent[head + 4 :]
            self.assertEqual(sent[1] & 0x80, 0x80)
            self.assertEqual(bytes(byte ^ mask[index % 4] for index, byte in enumerate(body)), payload)

    def test_answers_are_counted_however_they_are_cut(self) -> None:
        """Pushes and pings between answers are no answers."""
        stream = OK * 3 + frame(b'{"signal": {}}') + OK + b"\x89\x02hi" + OK * 2
        for size in (1, 7, len(OK), len(stream)):
            answers = Answers()
            cuts = [stream[start : start + size] for start in range(0, len(stream), size)]
            self.assertEqual(sum(answers.count(cut) for cut in cuts), 6, size)

    def test_a_refusal_ends_the_run(self) -> None:
        """A server that does not take a message is not fast, it has failed."""
        self.assertRaises(ServerFailed, Answers().count, OK + frame(b'{"error":true}'))
        self.assertRaises(ServerFailed, Answers().count, b"\x88\x02\x03\xe8")
