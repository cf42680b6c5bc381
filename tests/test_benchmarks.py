"""The benchmarks run: everything they send is acknowledged and stored. No figure is judged here."""

from __future__ import annotations

import io
import json
import sqlite3
from contextlib import closing, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from twisted.trial.unittest import SynchronousTestCase

from benchmarks.__main__ import main
from benchmarks.client import Answers, ServerFailed, masked_frame
from benchmarks.loads import CONTESTS, names
from benchmarks.peer import ANSWER
from benchmarks.plugged import PLUGGED
from benchmarks.report import Durability, as_json, line_table, table
from benchmarks.report import closing as closing_line
from benchmarks.rounds import Outcome, Round
from benchmarks.rules import RULED
from benchmarks.stored import STORED, Figure, Line, Reach, alone, beyond, faster, slower
from benchmarks.stores import FILE, NAME, drop_from_cache, make_store, samples
from rtoc_twisted.model import Columns, Window
from rtoc_twisted.storage.database import open_database
from rtoc_twisted.storage.reader import Reader

OK = bytes((0x81, len(ANSWER))) + ANSWER
ALONE = {"maxn-most", "memory-rss", "memory-pss", "plugins-alone", "idle", "idle-start", "backtest"}
"""Lines without a peer."""


def frame(payload: bytes) -> bytes:
    """Return a server's frame of a short payload."""
    return bytes((0x81, len(payload))) + payload


class ContestsTest(SynchronousTestCase):
    """All contests, against both servers in processes of their own."""

    def test_every_contest_is_held_and_nothing_is_lost(self) -> None:
        """Each side answers in each contest, and after a kill -9 the store holds what was acknowledged."""
        with redirect_stdout(io.StringIO()) as printed:
            code = main(["--rounds", "1", "--seconds", "0.02", "--scale", "0.003", "--json"])
        said = json.loads(printed.getvalue())
        self.assertEqual(code, 0)
        self.assert_stored(said["stored"])
        self.assertEqual(list(said["outcomes"]), list(CONTESTS))
        expected = 0
        for name, outcome in said["outcomes"].items():
            for one in (*outcome["peer"], *outcome["rtoc"]):
                self.assertGreater(one["messages"], 0, name)
            expected += CONTESTS[name].load.stored(sum(one["messages"] for one in outcome["rtoc"]))
        self.assertEqual(said["durability"], {"acknowledged": expected, "stored": expected})

    def assert_stored(self, said: dict[str, Any]) -> None:
        """Each contest but the loads has its lines, each line a figure of both sides."""
        lines = STORED.keys() | PLUGGED.keys() | RULED.keys()
        self.assertEqual({name.partition("-")[0] for name in said}, lines)
        for name, line in said.items():
            sides = [line["rtoc"]] if name in ALONE else [line["peer"], line["rtoc"]]
            for side in sides:
                self.assertEqual(len(side), 1, name)
                self.assertGreater(side[0]["value"], 0, name)


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
        self.assertIn("none lost", closing_line(Durability(10, 10)))
        self.assertIn("WRONG by 3", closing_line(Durability(10, 7)))
        self.assertIn("WRONG by -2", closing_line(Durability(10, 12)))


class LinesTest(SynchronousTestCase):
    """Lines about what is stored are judged by medians, each in its way."""

    def line(self, reach: Reach, peer: list[float], our: list[float]) -> Line:
        """Return a line of these figures."""
        return Line("x", "title", "ms", reach, [Figure(n, 0.5) for n in peer], [Figure(n) for n in our])

    def test_judgements(self) -> None:
        """A ratio each way round, a difference, and a figure by itself."""
        peer, our = [90, 100, 900], [5, 4, 9]
        for reach, number, reached in (
            (Reach(20, faster, at_least=True), 20, True),
            (Reach(21, faster, at_least=True), 20, False),
            (Reach(0.05, slower), 0.05, True),
            (Reach(0.04, slower), 0.05, False),
            (Reach(-96, beyond, absolute=True), -95, False),
            (Reach(-95, beyond, absolute=True), -95, True),
        ):
            line = self.line(reach, peer, our)
            self.assertEqual((line.judged, line.reached), (number, reached))
        self.assertTrue(self.line(Reach(5, alone, absolute=True), [], our).reached)
        self.assertFalse(self.line(Reach(4, alone, absolute=True), [], our).reached)

    def test_table(self) -> None:
        """Medians with their spread, what is missed marked, and what is not measured left out."""
        told = line_table([self.line(Reach(21, faster, at_least=True), [90, 100, 900], [5, 4, 9])])
        for part in ("100.0 (90.0..900.0) ms", "5.0 (4.0..9.0) ms", "20.00 !", ">= 21 ", "500.0 : -"):
            self.assertIn(part, told)
        told = line_table([self.line(Reach(6, alone, absolute=True), [], [5])])
        self.assertIn("5.00   <= 6 ms", told)

    def test_nothing_sent(self) -> None:
        """Without a load there is nothing to look for in a store."""
        self.assertIsNone(as_json({}, [], None, [])["durability"])


class StoresTest(SynchronousTestCase):
    """Made stores are what the server would have made."""

    def setUp(self) -> None:
        """Make a store of five signals, more than a chunk long."""
        self.directory = make_store(Path(self.mktemp()), 5, 20_000)

    def read(self, number: int, window: Window) -> Columns:
        """Return what a reader finds of a signal."""
        with closing(Reader(self.directory / FILE)) as reader:
            return reader.read([(number, window)])[0]

    def test_every_signal_holds_the_samples(self) -> None:
        """The first, and each copy."""
        x, y = samples(20_000)
        for number in range(1, 6):
            found = self.read(number, Window())
            self.assertTrue(np.array_equal(found.x, x) and np.array_equal(found.y, y))
            few = self.read(number, Window(max_points=100))
            self.assertLessEqual(len(few.y), 100)
            self.assertEqual((few.y.min(), few.y.max()), (y.min(), y.max()))

    def test_nothing_is_shared(self) -> None:
        """What belongs to a chunk belongs to one chunk, and large chunks are packed."""
        with closing(sqlite3.connect(self.directory / FILE)) as sql:
            per_signal = sql.execute(
                "SELECT COUNT(*), SUM(c.packed), COUNT(o.chunk_id), SUM(c.samples),"
                " (SELECT samples FROM signals WHERE id = signal_id)"
                " FROM chunks c LEFT JOIN outlines o ON o.chunk_id = c.id GROUP BY signal_id"
            ).fetchall()
            rollups = sql.execute(
                "SELECT COUNT(*) FROM rollups JOIN chunks ON chunks.id = chunk_id GROUP BY signal_id"
            ).fetchall()
        self.assertEqual(len(per_signal), 5)
        self.assertEqual(len(set(per_signal)), 1)
        self.assertEqual((len(rollups), len(set(rollups))), (5, 1))
        chunks, packed, outlined, stored, known = per_signal[0]
        self.assertGreaterEqual(chunks, packed)
        self.assertEqual(packed, outlined)
        self.assertGreaterEqual(packed, 1)
        self.assertEqual((stored, known), (20_000, 20_000))

    def test_nothing_is_left_to_do(self) -> None:
        """A server that opens it has the same work before it as with an empty one."""
        database, kept = open_database(self.directory / FILE, fsync=False)
        with closing(database):
            self.assertEqual(len(kept.signals), 5)
            self.assertFalse(database.pack_step())
            with database.transaction():
                self.assertFalse(database.chunks.draw_one())

    def test_the_first_is_known_by_its_name(self) -> None:
        """It is the one that is asked for."""
        with closing(sqlite3.connect(self.directory / FILE)) as sql:
            names = sql.execute(
                "SELECT d.name, s.name FROM signals s JOIN devices d ON d.id = device_id ORDER BY s.id"
            ).fetchall()
        self.assertEqual(names[0], tuple(NAME))
        self.assertEqual(names[4], ("Bench5", NAME.name))

    def test_dropping_changes_nothing(self) -> None:
        """Only memory is given back."""
        before = (self.directory / FILE).read_bytes()
        drop_from_cache(self.directory)
        self.assertEqual((self.directory / FILE).read_bytes(), before)

    def test_a_store_of_nothing(self) -> None:
        """It has its tables, so a start need not make them."""
        empty = make_store(Path(self.mktemp()), 0, 0)
        with closing(sqlite3.connect(empty / FILE)) as sql:
            self.assertEqual(sql.execute("SELECT COUNT(*) FROM signals").fetchone(), (0,))


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
        self.assertEqual(names(CONTESTS, ["crowd", "maxn", "pairs"]), ["pairs", "crowd"])
        self.assertEqual(names(STORED, ["crowd", "maxn", "pairs"]), ["maxn"])
        self.assertEqual(names(CONTESTS, None), list(CONTESTS))


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

    def test_fragments_make_a_message_however_they_are_cut(self) -> None:
        """With a ping between them, long frames and empty ones (RFC 6455 5.4)."""
        long = b'{"error":false,"x":"' + b"1" * 70_000 + b'"}'
        parts = (
            b"\x01\x7e" + (200).to_bytes(2, "big") + long[:200],
            b"\x89\x02hi",
            b"\x00\x00",
            b"\x00\x7f" + (len(long) - 200).to_bytes(8, "big") + long[200:],
            b"\x80\x00",
        )
        stream = OK + b"".join(parts) + b"\x81\x7f" + len(long).to_bytes(8, "big") + long + OK
        for size in (1, 7, 4099, len(stream)):
            answers = Answers()
            found = [
                payload
                for start in range(0, len(stream), size)
                for payload in answers.payloads(stream[start : start + size])
            ]
            self.assertEqual(found, [ANSWER, long, long, ANSWER], size)

    def test_a_refusal_ends_the_run(self) -> None:
        """A server that does not take a message is not fast, it has failed."""
        self.assertRaises(ServerFailed, Answers().count, OK + frame(b'{"error":true}'))
        self.assertRaises(ServerFailed, Answers().count, b"\x88\x02\x03\xe8")
