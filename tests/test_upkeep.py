"""Samples retire and go, by rules and for want of room; nobody reads anything wrong meanwhile."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import StorageFailed
from rtoc_twisted.model import SignalName, Window
from rtoc_twisted.storage import chunks, upkeep
from rtoc_twisted.storage.aggregate import coarsen, merge, partials
from rtoc_twisted.storage.blobs import plain
from rtoc_twisted.storage.database import CHECKPOINT_AT_BYTES
from rtoc_twisted.storage.reserve import Reserve, free_bytes, is_full
from rtoc_twisted.storage.retention import Keeping, Moments, Rule
from rtoc_twisted.storage.rollups import unpack_rollup
from rtoc_twisted.storage.thrift import Drop
from rtoc_twisted.storage.upkeep import LOOK_SECONDS, TELL_SECONDS
from tests.storage_support import BROKEN, FULL, Bench, assert_same_summary, floats, pairs, unhurried
from tests.test_rollups import assert_same_sums

ROOT = Path(__file__).parent.parent
A, B = SignalName("one", "a"), SignalName("two", "b")
DAY = 86400.0
CHUNK = 64
PLENTY = 1 << 40


class Board(Bench):
    """A bench whose disk, clocks and news are the test's, with small chunks."""

    def __init__(self, directory: Path, **keeping: Any) -> None:
        self.wall, self.gone, self.free = 1e9, 0.0, PLENTY
        self.told: list[tuple[str, int]] = []
        self.next_x = 0
        super().__init__(
            directory,
            keeping=Keeping(**{"widths": (10.0, 100.0), **keeping}),
            disk=lambda _: self.free,
            tell=lambda text, priority: self.told.append((text, priority)),
        )

    def open(self) -> None:
        self._options["moments"] = Moments(lambda: self.wall, lambda: self.gone)
        super().open()

    def keep(self, **keeping: Any) -> None:
        """Start again with other rules."""
        self._options["keeping"] = Keeping(**{"widths": (10.0, 100.0), **keeping})
        self.reopen()

    def kill(self) -> None:
        """Start again without having stopped."""
        self.database.close()
        os.close(self.storage._lock)
        self.open()

    def record(self, count: int = 1, signal_id: int = 1, samples: int = CHUNK) -> None:
        """Record chunks, x one by one, y a saw."""
        for _ in range(count):
            x = np.arange(self.next_x, self.next_x + samples, dtype=float)
            self.next_x += samples
            self.storage.append([signal_id] * samples, x.tolist(), (x % 7).tolist())
            self.pump()
            self.database.fold()

    def pass_time(self, seconds: float) -> None:
        self.gone += seconds
        self.wall += seconds

    def look(self) -> None:
        """Let a minute pass, on the clock of the reactor."""
        self.queues.clock.advance(LOOK_SECONDS)
        self.pump()

    def states(self, signal_id: int = 1) -> str:
        """Return a letter for each chunk: P plain, p packed, r retired."""
        rows = self.sql("SELECT packed FROM chunks WHERE signal_id = ? ORDER BY id", signal_id)
        return "".join("Ppr"[packed] for (packed,) in rows)

    def read(self, signal_id: int = 1, **bounds: Any) -> list[tuple[float, float]]:
        return pairs(self.result(self.storage.read([(signal_id, Window(**bounds))]))[0])


class BoardCase(SynchronousTestCase):
    def board(self, **keeping: Any) -> Board:
        self.patch(chunks, "CHUNK_SAMPLES", CHUNK)
        board = Board(Path(self.mktemp()), **keeping)
        self.addCleanup(lambda: board.queues.stopped or board.close())
        board.storage.add_signals([A, B])
        board.pump()
        return board

    def assert_summary_is_that_of_a_restart(self, board: Board) -> None:
        before = [board.storage.summary(number) for number in (1, 2)]
        board.kill()
        for summary, number in zip(before, (1, 2), strict=True):
            assert_same_summary(board.storage.summary(number), summary)


class RetireTest(BoardCase):
    def retire(self, board: Board, number: int) -> None:
        with board.database.transaction():
            board.database.chunks.retire(number)

    def test_the_outline_stays_and_the_count(self) -> None:
        board = self.board()
        board.record(2)
        before = board.storage.summary(1)
        self.retire(board, 1)
        self.assertEqual(board.states(), "rP")
        found = board.read()
        self.assertIn(len(found) - CHUNK, range(4, 9))
        self.assertTrue(all(y == x % 7 for x, y in found))
        self.assertEqual(found[0], (0.0, 0.0))
        assert_same_summary(board.storage.summary(1), before)
        self.assert_summary_is_that_of_a_restart(board)
        self.assertEqual(board.sql("SELECT samples FROM chunks"), [(CHUNK,)] * 2)

    def test_it_retires_once(self) -> None:
        board = self.board()
        board.record(1)
        for _ in range(3):
            self.retire(board, 1)
        self.retire(board, 99)
        self.assertEqual(board.sql("SELECT COUNT(*) FROM rollups"), [(2,)])

    def test_a_retired_chunk_does_not_grow(self) -> None:
        board = self.board()
        board.record(1, samples=10)
        self.retire(board, 1)
        before = board.read()
        board.record(1, samples=10)
        self.assertEqual(board.states(), "rP")
        self.assertEqual(board.read()[: len(before)], before)
        self.assertEqual(board.storage.summary(1).count, 20)

    def test_a_damaged_chunk_retires_too(self) -> None:
        board = self.board()
        board.record(2)
        board.sql("UPDATE chunks SET data = x'00' WHERE id = 1")
        self.retire(board, 1)
        self.assertEqual(board.states(), "rP")

    def test_a_large_chunk_keeps_its_rollups(self) -> None:
        self.patch(chunks, "CHUNK_SAMPLES", 4096)
        board = Board(Path(self.mktemp()))
        self.addCleanup(board.close)
        board.storage.add_signals([A])
        board.record(1, samples=4096)
        while board.database.pack_step() or board.database.draw_step():
            pass
        before = board.sql("SELECT * FROM rollups ORDER BY id")
        self.assertEqual(len(before), 2)
        self.retire(board, 1)
        self.assertEqual(board.sql("SELECT * FROM rollups ORDER BY id"), before)
        self.assertEqual(board.sql("SELECT COUNT(*) FROM outlines"), [(0,)])
        self.assertIn(len(board.read()), range(64, 4096 // 32 + 1))

    @settings(unhurried, max_examples=40)
    @given(
        st.lists(st.tuples(st.integers(0, 400), st.integers(-1000, 1000)), min_size=1, max_size=200),
        st.integers(1, 40),
    )
    def test_sums_are_the_same_before_and_after(self, samples: list[tuple[int, int]], size: int) -> None:
        board = self.board()
        x, y = (floats([sample[place] for sample in samples]) for place in (0, 1))
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            board.storage.append([1] * len(x[part]), x[part].tolist(), y[part].tolist())
            board.pump()
            board.database.fold()
        numbers = [number for (number,) in board.sql("SELECT id FROM chunks")]
        for number in numbers:
            self.retire(board, number)
        # Where buckets are few for the samples, there are rollups of that width.
        whole = partials(x, y, 500.0)
        for width in (10.0, 100.0):
            rows = board.sql("SELECT data FROM rollups WHERE width = ? ORDER BY chunk_id", width)
            if len(rows) == len(numbers):
                found = merge([unpack_rollup(data) for (data,) in rows])
                assert_same_sums(found, partials(x, y, width))
                assert_same_sums(coarsen(found, 500.0), whole)
        if len(numbers) == 1 and len(x) >= 20:
            self.assertEqual(len(rows), 1)
        board.close()


class DropTest(BoardCase):
    def drop(self, board: Board, *numbers: int) -> Deferred[None]:
        dropped: Deferred[None] = board.storage._drop(Drop(1, list(numbers)))
        return dropped

    def test_the_figures_are_those_of_what_is_left(self) -> None:
        board = self.board()
        board.record(3)
        board.storage.append([1], [1000.0], [5.0])
        board.pump()
        board.result(self.drop(board, 1, 2))
        summary = board.storage.summary(1)
        self.assertEqual((summary.count, summary.first_x, summary.last_x), (CHUNK + 1, 2 * CHUNK, 1000.0))
        self.assertEqual((summary.x_min, summary.x_max), (2 * CHUNK, 1000.0))
        self.assertEqual([x for x, _ in board.read()][:1], [2.0 * CHUNK])
        self.assertEqual(board.sql("SELECT samples, dropped FROM signals")[0], (CHUNK, 2 * CHUNK))
        self.assert_summary_is_that_of_a_restart(board)

    def test_what_came_before_and_after_it_counts(self) -> None:
        board = self.board()
        board.record(2)
        board.storage.append([1, 2], [-5.0, 1.0], [1.0, 1.0])
        dropped = self.drop(board, 1)
        board.storage.append([1], [9999.0], [2.0])
        self.assertEqual(board.storage.summary(1).count, 2 * CHUNK + 2)
        board.result(dropped)
        summary = board.storage.summary(1)
        self.assertEqual((summary.count, summary.x_min, summary.x_max), (CHUNK + 2, -5.0, 9999.0))
        self.assertEqual(len(board.read()), CHUNK + 2)
        self.assert_summary_is_that_of_a_restart(board)

    def test_everything_may_go(self) -> None:
        board = self.board()
        board.record(2)
        board.result(self.drop(board, 1, 2))
        self.assertIsNone(board.storage.summary(1))
        self.assertEqual(board.read(), [])
        self.assert_summary_is_that_of_a_restart(board)
        board.record(1)
        self.assertEqual(board.storage.summary(1).count, CHUNK)
        self.assert_summary_is_that_of_a_restart(board)

    def test_what_was_replaced_or_removed_meanwhile_is_left_alone(self) -> None:
        for change in (
            lambda storage: storage.replace(1, floats([1.0, 2.0]), floats([3.0, 4.0])),
            lambda storage: storage.remove_signals([1]),
            lambda storage: storage.clear(),
        ):
            for first in (True, False):
                board = self.board()
                board.record(1)
                if first:
                    change(board.storage)
                dropped = self.drop(board, 1)
                if not first:
                    change(board.storage)
                board.result(dropped)
                self.assertIn(len(board.read()), (0, 2))
                self.assert_summary_is_that_of_a_restart(board)
                board.close()

    def test_the_oldest_that_is_left_may_be_damaged(self) -> None:
        board = self.board()
        board.record(3)
        board.sql("UPDATE chunks SET data = x'00' WHERE id = 2")
        board.result(self.drop(board, 1))
        self.assertEqual(board.storage.summary(1).first_x, CHUNK)

    def test_lost_ones_go_with_those_behind_them(self) -> None:
        board = self.board()
        board.record(3)
        for number in (1, 3):
            board.sql(
                "INSERT INTO lost (id, signal_id, samples, packed, data, moment)"
                " SELECT id, signal_id, samples, packed, data, 0 FROM chunks WHERE id = ?",
                number,
            )
            board.sql("DELETE FROM chunks WHERE id = ?", number)
        board.sql("UPDATE signals SET samples = ? WHERE id = 1", CHUNK)
        board.kill()
        board.record(1)
        self.assertEqual(board.sql("SELECT id FROM chunks"), [(2,), (4,)])
        board.result(self.drop(board, 2))
        # What is lost is in no figure any more.
        self.assertEqual(board.sql("SELECT samples, dropped FROM signals")[0], (CHUNK, CHUNK))
        self.assertEqual(board.sql("SELECT id FROM lost"), [(3,)])

    def test_numbers_of_chunks_are_not_used_again(self) -> None:
        board = self.board()
        board.record(2)
        board.storage.replace(1, floats([1.0]), floats([1.0]))
        board.pump()
        self.assertEqual(board.sql("SELECT id FROM chunks"), [(3,)])


class RulesTest(BoardCase):
    def test_points(self) -> None:
        board = self.board(rules=(Rule("a", ("one.*",), raw_points=2 * CHUNK),))
        board.record(4)
        board.record(4, signal_id=2)
        board.look()
        self.assertEqual((board.states(1), board.states(2)), ("rrPP", "PPPP"))
        self.assertEqual(board.storage.counters()["chunks_retired"], 2)
        self.assertEqual(board.told, [])

    def test_days(self) -> None:
        board = self.board(rules=(Rule("a", ("*",), raw_days=2, days=4),))
        seen = []
        for _ in range(8):
            board.record(1)
            board.record(1, signal_id=2)
            board.look()
            seen.append(board.states())
            board.pass_time(DAY)
        # All that is known of a chunk is that it is older than the calendar's next row.
        self.assertEqual(seen, ["P", "PP", "PPP", "rPPP", "rrPPP", "rrPPP", "rrPPP", "rrPPP"])
        self.assertEqual((board.states(2), board.storage.summary(1).count), ("rrPPP", 5 * CHUNK))
        self.assertEqual(board.storage.counters()["chunks_dropped"], 6)
        self.assert_summary_is_that_of_a_restart(board)

    def test_a_clock_that_jumps_removes_nothing(self) -> None:
        board = self.board(rules=(Rule("a", ("*",), days=30),))
        board.record(3)
        board.wall += 1000 * DAY
        board.look()
        board.record(3)
        board.look()
        self.assertEqual(board.states(), "PPPPPP")

    def test_a_board_that_boots_in_1970(self) -> None:
        board = self.board(rules=(Rule("a", ("*",), days=3),))
        for _ in range(3):
            board.record(1)
            board.pass_time(DAY)
        board.wall = 0.0
        board.reopen()
        board.look()
        self.assertEqual(board.states(), "PPP")
        # It goes on from the newest moment it knows, the third day's.
        board.pass_time(1.5 * DAY)
        board.record(1)
        board.look()
        self.assertEqual(board.states(), "PPPP")
        board.pass_time(DAY)
        board.record(1)
        board.look()
        self.assertEqual(board.sql("SELECT id FROM chunks"), [(2,), (3,), (4,), (5,)])

    def test_the_calendar_has_a_row_an_hour(self) -> None:
        board = self.board()
        for _ in range(10):
            board.record(1)
            board.pass_time(1200)
        self.assertEqual([row[0] for row in board.sql("SELECT chunk_id FROM calendar")], [1, 4, 7, 10])
        board.result(board.storage._drop(Drop(1, [1, 2, 3, 4, 5, 6, 7, 8])))
        board.pass_time(3600)
        board.record(1)
        self.assertEqual([row[0] for row in board.sql("SELECT chunk_id FROM calendar")], [7, 10, 11])

    def test_rules_that_come_later(self) -> None:
        board = self.board()
        board.record(4)
        board.look()
        self.assertEqual(board.states(), "PPPP")
        board.keep(rules=(Rule("a", ("*",), raw_bytes=1),))
        board.look()
        self.assertEqual(board.states(), "rrrP")

    def test_what_is_done_is_not_looked_at_again(self) -> None:
        board = self.board(rules=(Rule("a", ("*",), raw_points=1),))
        board.record(2)
        board.look()
        asked: list[int] = []
        facts = board.database.chunks.facts
        self.patch(board.database.chunks, "facts", lambda number: asked.append(number) or facts(number))
        board.look()
        self.assertEqual(asked, [])
        board.record(1)
        board.look()
        self.assertEqual((asked, board.states()), ([1, 2], "rrP"))

    def test_a_kill_at_any_step(self) -> None:
        rules = (Rule("a", ("*",), raw_points=CHUNK, days=2),)
        for steps in range(0, 40, 2):
            board = self.board(rules=rules)
            board.record(3)
            board.pass_time(3 * DAY)
            board.record(3)
            board.pass_time(3 * DAY)
            board.queues.clock.advance(LOOK_SECONDS)
            for _ in range(steps):
                queues = board.queues
                queue = queues.jobs or queues.posts
                if queue:
                    queue.popleft()()
                else:
                    queues.clock.advance(0)
            board.kill()
            summary, found = board.storage.summary(1), board.read()
            self.assertTrue(all(y == x % 7 for x, y in found))
            self.assertEqual(found[-1][0], 6 * CHUNK - 1)
            self.assertIn(summary.count, (6 * CHUNK, 3 * CHUNK))
            self.assertEqual(summary.first_x, 0 if summary.count == 6 * CHUNK else 3 * CHUNK)
            board.look()
            self.assertEqual(board.states(), "rrP")
            self.assertEqual(board.storage.summary(1).count, 3 * CHUNK)
            board.close()


class RoomTest(BoardCase):
    def fill(self, board: Board, count: int = 40, samples: int = CHUNK) -> None:
        """Record chunks of two signals in turn."""
        self.patch(chunks, "CHUNK_SAMPLES", samples)
        for turn in range(count):
            board.record(1, signal_id=1 + turn % 2, samples=samples)

    def test_without_limits_all_stays(self) -> None:
        board = self.board()
        self.fill(board)
        board.free = 0
        board.look()
        self.assertEqual((board.states(1), board.told), ("P" * 20, []))

    def test_the_budget(self) -> None:
        board = self.board()
        self.patch(chunks, "CHUNK_SAMPLES", 4096)
        for turn in range(12):
            board.record(1, signal_id=1 + turn % 2, samples=4000)
        live = board.database.space()[0]
        board.keep(budget=CHECKPOINT_AT_BYTES + live - 200_000)
        board.look()
        self.assertLessEqual(board.database.space()[0], live - 200_000)
        self.assertEqual(board.states(1).lstrip("r").strip("P"), "")
        self.assertEqual(board.states(1)[0], "r")
        self.assertEqual(len(board.told), 1)
        self.assertIn("storage.budget", board.told[0][0])
        self.assertEqual(board.storage.counters()["bytes_live"], board.database.space()[0])
        self.assert_summary_is_that_of_a_restart(board)

    def test_a_budget_that_is_too_small_for_anything(self) -> None:
        board = self.board(budget=1)
        self.fill(board)
        board.look()
        self.assertEqual((board.states(1), board.states(2)), ("", ""))
        self.assertEqual(sorted(priority for _, priority in board.told), [1, 2])
        self.assertIsNone(board.storage.summary(1))
        self.fill(board, 2)
        board.look()
        self.assertEqual((board.states(1), len(board.told)), ("", 2))
        board.queues.clock.advance(TELL_SECONDS)
        self.fill(board, 2)
        board.look()
        self.assertEqual(len(board.told), 4)

    def test_the_disk(self) -> None:
        board = self.board(keep_free=200_000)
        self.fill(board, samples=1024)
        board.free = 100_000
        board.look()
        self.assertGreaterEqual(board.database.space()[1] + board.free, 210_000)
        self.assertEqual(board.states(1)[0], "r")
        self.assertEqual(board.states(1)[-1], "P")
        self.assertIn("disk", board.told[0][0])
        before = board.states(1)
        board.look()
        self.assertEqual(board.states(1), before)

    def test_a_small_store_is_not_sacrificed(self) -> None:
        board = self.board(keep_free=1 << 30, reserve=1 << 20)
        self.fill(board)
        board.free = 39_000
        board.look()
        self.assertEqual(board.states(1), "P" * 20)

    def test_room_to_work_in_is_kept_all_the_same(self) -> None:
        board = self.board(keep_free=1 << 30, reserve=100_000)
        self.fill(board, samples=1024)
        board.free = 0
        board.look()
        self.assertGreaterEqual(board.database.space()[1] + board.free, 210_000)
        self.assertEqual((board.states(1)[0], board.states(1)[-1]), ("r", "P"))

    def test_large_chunks_are_packed_first(self) -> None:
        board = self.board()
        self.patch(chunks, "CHUNK_SAMPLES", 8192)
        board.record(4, samples=8192)
        live = board.database.space()[0]
        board.keep(budget=CHECKPOINT_AT_BYTES + live - 100_000)
        board.look()
        self.assertEqual(board.states(), "pppP")

    def test_a_kill_at_any_step(self) -> None:
        for steps in range(0, 60, 3):
            board = self.board(budget=1)
            self.fill(board, 6)
            board.storage.append([1, 2], [5000.0, 5000.0], [2.0, 2.0])
            board.pump()
            board.queues.clock.advance(LOOK_SECONDS)
            for _ in range(steps):
                queues = board.queues
                queue = queues.jobs or queues.posts
                if queue:
                    queue.popleft()()
                else:
                    queues.clock.advance(0)
            board.kill()
            for number in (1, 2):
                found, summary = board.read(number), board.storage.summary(number)
                self.assertTrue(all(y == x % 7 for x, y in found))
                self.assertEqual(summary.first_x, found[0][0])
                self.assertEqual((summary.count - 1) % CHUNK, 0)
            board.close()

    def test_a_step_that_fails_is_told_and_tried_again(self) -> None:
        board = self.board(budget=1)
        self.fill(board, 4)
        board.database.faults.extend([None] * 3 + [sqlite3.OperationalError(BROKEN)])
        board.look()
        self.assertNotEqual(board.states(1), "")
        board.look()
        self.assertEqual((board.states(1), len(board.database.faults)), ("", 0))

    def test_closing_in_between(self) -> None:
        board = self.board(budget=1)
        self.fill(board, 4)
        board.queues.clock.advance(LOOK_SECONDS)
        for _ in range(3):
            board.queues.write_one()
        board.close()
        self.assertEqual(board.queues.clock.getDelayedCalls(), [])
        self.assertTrue(board.queues.stopped)


class DrawTest(BoardCase):
    def packed(self) -> Board:
        self.patch(chunks, "CHUNK_SAMPLES", 4096)
        board = Board(Path(self.mktemp()))
        self.addCleanup(lambda: board.queues.stopped or board.close())
        board.storage.add_signals([A])
        board.record(3, samples=4096)
        while board.database.pack_step():
            pass
        return board

    def drawn(self, board: Board) -> list[int]:
        return [row[0] for row in board.sql("SELECT DISTINCT chunk_id FROM rollups ORDER BY chunk_id")]

    def test_chunks_of_an_earlier_version_get_rollups_when_it_is_quiet(self) -> None:
        board = self.packed()
        self.assertEqual(self.drawn(board), [])
        board.look()
        board.queues.clock.advance(1)
        board.pump()
        self.assertEqual(self.drawn(board), [1, 2, 3])

    def test_after_some_it_waits_for_another_quiet_moment(self) -> None:
        self.patch(upkeep, "DRAWN_TOGETHER", 2)
        board = self.packed()
        board.look()
        board.queues.clock.advance(1)
        while any((board.queues.queries, board.queues.jobs, board.queues.posts)):
            for queue in (board.queues.queries, board.queues.jobs, board.queues.posts):
                if queue:
                    queue.popleft()()
            self.assertLessEqual(len(self.drawn(board)), 2)
        self.assertEqual(self.drawn(board), [1, 2])
        board.pump()
        board.queues.clock.advance(1)
        board.pump()
        self.assertEqual(self.drawn(board), [1, 2, 3])

    def test_it_goes_on_where_it_was(self) -> None:
        board = self.packed()
        self.assertTrue(board.database.draw_step())
        board.kill()
        # Whoever is done already would be drawn again if it began anew.
        board.sql("DELETE FROM rollups")
        while board.database.draw_step():
            pass
        self.assertEqual(self.drawn(board), [2, 3])

    def test_other_widths_are_drawn_for_all(self) -> None:
        board = self.packed()
        while board.database.draw_step():
            pass
        board.keep(widths=(100.0, 250.0))
        while board.database.draw_step():
            pass
        self.assertEqual(
            board.sql("SELECT width, COUNT(*) FROM rollups GROUP BY width"),
            [(10.0, 3), (100.0, 3), (250.0, 3)],
        )

    def test_what_fails_is_drawn_later(self) -> None:
        board = self.packed()
        board.database.faults.append(sqlite3.OperationalError(FULL))
        self.assertRaises(sqlite3.OperationalError, board.database.draw_step)
        while board.database.draw_step():
            pass
        self.assertEqual(self.drawn(board), [1, 2, 3])

    def test_a_chunk_that_was_repaired(self) -> None:
        board = self.packed()
        while board.database.draw_step():
            pass
        x = np.arange(4096.0)
        board.sql("UPDATE chunks SET packed = 0, data = ? WHERE id = 2", plain(x, x))
        board.sql("DELETE FROM outlines WHERE chunk_id = 2")
        board.sql("DELETE FROM rollups WHERE chunk_id = 2")
        self.assertTrue(board.database.pack_step())
        self.assertEqual(self.drawn(board), [1, 2, 3])

    def test_a_damaged_chunk_is_passed(self) -> None:
        board = self.packed()
        board.sql("UPDATE chunks SET data = x'00' WHERE id = 2")
        while board.database.draw_step():
            pass
        self.assertEqual(self.drawn(board), [1, 3])


class FullDiskTest(BoardCase):
    def test_room_is_made_and_the_next_commit_finds_it(self) -> None:
        board = self.board()
        self.patch(chunks, "CHUNK_SAMPLES", 1024)
        for turn in range(60):
            board.record(1, signal_id=1 + turn % 2, samples=1024)
        board.database.fill_disk()
        outcomes = []
        for _ in range(40):
            y = np.random.default_rng(1).normal(size=200)
            commit = board.storage.append([1] * 200, y.tolist(), y.tolist())
            before = board.storage.summary(1).count
            board.pump()
            outcomes.append(commit.error is None)
            if commit.error is not None:
                self.assertIsInstance(commit.error, StorageFailed)
                self.assertIn("the disk is full", commit.error.message)
                self.assertTrue(commit.error.retriable)
                self.assertLessEqual(board.storage.summary(1).count, before - 200)
                self.assertGreater(board.states(1).count("r"), 3)
        self.assertIn(False, outcomes)
        first = outcomes.index(False)
        self.assertTrue(outcomes[first + 1], "the commit after the one that was refused")
        self.assertEqual(board.states(1)[0], "r")
        words = [text for text, _ in board.told]
        self.assertIn("the disk is full, data were refused", words)
        self.assertIn("there is room on the disk again, recording goes on", words)
        board.database.empty_disk()
        self.assert_summary_is_that_of_a_restart(board)

    def test_a_broken_disk_costs_nothing(self) -> None:
        board = self.board()
        board.record(4)
        board.database.faults.append(sqlite3.OperationalError(BROKEN))
        commit = board.storage.append([1], [1.0], [1.0])
        board.pump()
        self.assertNotIn("the disk is full", commit.error.message)
        self.assertEqual((board.states(), board.told), ("PPPP", []))

    def test_a_disk_without_anything_to_give_up(self) -> None:
        board = self.board()
        board.database.fill_disk()
        values = [float(number) for number in range(10_000)]
        for _ in range(3):
            commit = board.storage.append([1] * len(values), values, values)
            board.pump()
            self.assertIn("the disk is full", commit.error.message)
        self.assertEqual(len(board.told), 1)
        board.database.empty_disk()
        commit = board.storage.append([1], [1.0], [1.0])
        board.pump()
        self.assertIsNone(commit.error)
        self.assertEqual(board.read(), [(1.0, 1.0)])
        self.assertEqual(len(board.told), 2)

    def test_the_reserve(self) -> None:
        board = self.board(reserve=10_000)
        reserve = board.directory / "rtoc.reserve"
        self.assertFalse(reserve.exists())
        board.look()
        self.assertEqual(reserve.stat().st_blocks * 512 // 10_000, 1)
        self.assertEqual(reserve.stat().st_mode & 0o777, 0o600)
        board.database.faults.append(sqlite3.OperationalError(FULL))
        board.storage.append([1], [1.0], [1.0])
        board.pump()
        self.assertFalse(reserve.exists() and board.free < 30_000)
        reserve.unlink(missing_ok=True)
        board.free = 29_000
        board.look()
        self.assertFalse(reserve.exists())
        board.free = 31_000
        board.look()
        self.assertTrue(reserve.exists())

    def test_a_log_that_cannot_be_emptied_gets_the_reserve(self) -> None:
        board = self.board(reserve=10_000)
        reserve = board.directory / "rtoc.reserve"
        board.look()
        found: list[bool] = []

        def checkpoint() -> None:
            found.append(reserve.exists())
            board.database._written = 0
            if found[-1]:
                raise sqlite3.OperationalError(FULL)

        board.record(3)
        self.patch(board.database, "checkpoint", checkpoint)
        board.database.wrote(CHECKPOINT_AT_BYTES)
        board.free = 0
        commit = board.storage.append([1], [1.0], [1.0])
        board.pump()
        self.assertEqual((found, commit.error), ([True, False], None))
        # What was put aside is gone: now there has to be room in the file.
        self.assertNotEqual(board.states(), "PPP")

    def test_a_reserve_that_cannot_be_made_is_none(self) -> None:
        reserve = Reserve(Path(self.mktemp()) / "nowhere" / "file", 1000)
        reserve.make(PLENTY)
        reserve.give()

    def test_what_says_that_a_disk_is_full(self) -> None:
        self.assertTrue(is_full(sqlite3.OperationalError(FULL), PLENTY))
        self.assertTrue(is_full(sqlite3.OperationalError(BROKEN), 0))
        self.assertFalse(is_full(sqlite3.OperationalError(BROKEN), PLENTY))
        self.assertTrue(is_full(OSError(28, "No space left on device"), PLENTY))
        self.assertFalse(is_full(OSError(5, "Input/output error"), 0))
        self.assertFalse(is_full(StorageFailed("the disk is full"), 0))

    def test_the_room_of_a_disk(self) -> None:
        here = Path(self.mktemp())
        self.assertEqual(free_bytes(here), 0)
        here.mkdir()
        self.assertGreater(free_bytes(here), 0)

    def test_a_disk_that_is_really_small(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        child = shlex.join([sys.executable, "-m", "tests.full_disk_child", str(directory)])
        mount = f"mount -t tmpfs -o size=8m tmpfs {shlex.quote(str(directory))} || exit 77"
        for unshare in (["unshare", "-m"], ["unshare", "-mr"]):
            done = self.run_child(
                ["sh", "-c", f"{shlex.join(unshare)} sh -c {shlex.quote(f'{mount}; {child}')}"]
            )
            if done.stdout:
                found = self.check_child(done)
                self.assertGreater(found["counters"]["chunks_retired"], 0)
                return
            # Nobody may mount anything here; a failure of the child is none of that.
            self.assertNotIn("Traceback", done.stderr)
        self.check_child(self.run_child([*shlex.split(child), "--limit"]))

    def test_files_that_may_not_grow_for_a_while(self) -> None:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        self.check_child(
            self.run_child([sys.executable, "-m", "tests.full_disk_child", str(directory), "--limit"])
        )

    def run_child(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    def check_child(self, done: subprocess.CompletedProcess[str]) -> Any:
        """Check what a child found on its disk, and return it."""
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertGreater(found["times"], 0)
        self.assertTrue(all(words.startswith("the disk is full") for words in found["refused"]))
        self.assertGreater(found["after"], 20)
        self.assertEqual(
            (found["wrong"], found["resumed"], found["newest"], found["same"]), (0, True, True, True)
        )
        self.assertIn("the disk is full, data were refused", found["told"])
        self.assertIn("there is room on the disk again, recording goes on", found["told"])
        return found
