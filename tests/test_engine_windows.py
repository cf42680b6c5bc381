"""What conditions look back at, and when things are due."""

from __future__ import annotations

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.timers import Timers, WallClock
from rtoc_twisted.automation.windows import Rate, Ring
from tests.storage_support import unhurried

_numbers = st.floats(-1e6, 1e6)
_samples = st.lists(st.tuples(_numbers, _numbers), max_size=300)


class WindowsTest(SynchronousTestCase):
    """Against lists that keep everything."""

    @unhurried
    @given(st.integers(1, 150), st.lists(_samples, max_size=5), st.integers(1, 200))
    def test_ring(self, most: int, parts: list[list[tuple[float, float]]], count: int) -> None:
        """However samples come, one by one or many, the newest are there, and stay what they were."""
        ring = Ring(most)
        everything: list[tuple[float, float]] = []
        for index, part in enumerate(parts):
            if index % 2:
                ring.extend(np.array([x for x, _ in part]), np.array([y for _, y in part]))
            else:
                for sample in part:
                    ring.push(*sample)
            everything += part
            held = ring.newest(count)
            expected = everything[-min(most, count) :]
            for _ in range(most + 1):
                ring.push(0.0, 0.0)
            everything += [(0.0, 0.0)] * (most + 1)
            self.assertEqual(list(zip(*(column.tolist() for column in held), strict=True)), expected)
        ring.clear()
        self.assertEqual(len(ring.newest(count)[0]), 0)

    @unhurried
    @given(_samples, st.sampled_from((0.5, 10.0, 1e5)), st.integers(1, 20))
    def test_rate(self, samples: list[tuple[float, float]], seconds: float, most: int) -> None:
        """The sorted samples of the last seconds, at most so many of them."""
        samples.sort(key=lambda sample: sample[0])
        rate = Rate(seconds, most)
        self.assertIsNone(rate.value())
        for index, (x, y) in enumerate(samples):
            rate.push(x, y)
            seen = [one for one in samples[: index + 1] if one[0] >= x - seconds][-most:]
            first_x, first_y = seen[0]
            self.assertEqual(rate.value(), (y - first_y) / (x - first_x) if x > first_x else 0.0)

    def test_rate_without_a_place(self) -> None:
        """An x that is no number is no place in time."""
        rate = Rate(10.0, 5)
        for x in (float("nan"), 1.0, float("inf"), 2.0):
            rate.push(x, 3.0 * x)
        self.assertEqual(rate.value(), 3.0)


class TimersTest(SynchronousTestCase):
    """Keys by the wall clock, one delayed call."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.woken: list[tuple[float, list[str]]] = []
        self.timers: Timers[str] = Timers(self.clock, self.clock.seconds, self.wake)

    def wake(self) -> None:
        now = self.clock.seconds()
        self.woken.append((now, self.timers.pop(now)))

    def test_order(self) -> None:
        for key, due in (("late", 7.0), ("early", 2.0), ("never", 3.0), ("middle", 5.0)):
            self.timers.at(key, due)
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.timers.drop("never")
        self.timers.at("late", 6.0)
        self.timers.at("early", 4.0)
        self.assertIn("early", self.timers)
        for _ in range(80):
            self.clock.advance(0.1)
        found = [keys for _, keys in self.woken if keys]
        self.assertEqual(found, [["early"], ["middle"], ["late"]])
        self.assertNotIn("early", self.timers)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_looks_at_the_clock_each_minute(self) -> None:
        """What is due in a year is, whatever becomes of the wall clock."""
        self.timers.at("year", 3e7)
        self.clock.pump([60.0] * 3)
        self.assertEqual([now for now, _ in self.woken], [60.0, 120.0, 180.0])
        self.timers.shift(170.0 - 3e7)
        self.clock.advance(0.001)
        self.assertEqual(self.woken[-1][1], ["year"])

    def test_the_clock_is_set_while_nothing_is_due(self) -> None:
        """The call that was to come is of the time before: what is due earlier does not wait for it."""
        self.timers.at("gone", 50.0)
        self.timers.drop("gone")
        for jump in (1e6, -1e6):
            self.timers.shift(jump)
        self.timers.at("key", 10.0)
        self.clock.pump([10.0])
        self.assertEqual(self.woken, [(10.0, ["key"])])

    def test_what_was_dropped_is_forgotten(self) -> None:
        """A rule that is set again and again, for a time far away, leaves nothing behind."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for count in range(20_000):
            self.timers.at("key", 1e8 + count)
            self.timers.drop("key")
        self.assertLess(tracemalloc.get_traced_memory()[0], 100_000)

    def test_stop(self) -> None:
        self.timers.at("key", 5.0)
        self.timers.stop()
        self.clock.advance(10)
        self.assertEqual(self.woken, [])

    def test_a_failure_ends_nothing(self) -> None:
        """What goes wrong with one key is heard of, and the next is woken."""

        def fail() -> None:
            self.wake()
            raise ValueError("a fault")

        timers: Timers[str] = Timers(self.clock, self.clock.seconds, fail)
        self.timers = timers
        timers.at("a", 1.0)
        timers.at("b", 2.0)
        self.assertRaises(ValueError, self.clock.advance, 1)
        self.assertRaises(ValueError, self.clock.advance, 1)
        self.assertEqual([keys for _, keys in self.woken], [["a"], ["b"]])

    def test_wall_clock(self) -> None:
        """A clock that is set is a jump, one that is led is none."""
        ahead = 0.0
        jumps: list[tuple[float, float]] = []
        wall = WallClock(self.clock, lambda: self.clock.seconds() + ahead, lambda *jump: jumps.append(jump))
        for step in (1.0, 1.9, -1.9):
            ahead += step
            self.assertEqual(wall.now(), ahead)
        self.assertEqual(jumps, [])
        ahead += 100.0
        self.assertEqual((wall.now(), wall.now()), (ahead, ahead))
        self.assertEqual(jumps, [(100.0, ahead)])
