"""The brake: how many events it allows, and what it tells of a storm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.brake import CALM, Brake
from tests.storage_support import unhurried


class Brakes(SynchronousTestCase):
    def test_burst_and_rate(self) -> None:
        """A minute's worth at once, then the rate, and never more saved up than that."""
        brake = Brake(6)
        self.assertEqual([brake.allow(0.0) for _ in range(7)], [True] * 6 + [False])
        self.assertEqual([brake.allow(at) for at in (9.0, 10.0, 19.0, 20.0)], [False, True, False, True])
        self.assertEqual(sum(brake.allow(10_000.0) for _ in range(20)), 6)

    def test_none(self) -> None:
        """0 is no brake."""
        brake = Brake(0)
        self.assertTrue(all(brake.allow(0.0) for _ in range(1000)))
        self.assertIsNone(brake.news(0.0))

    def test_news(self) -> None:
        """A storm is told when it begins and when it was calm for a minute, once each, with its cost."""
        brake = Brake(1)
        self.assertTrue(brake.allow(0.0))
        self.assertEqual((brake.news(0.0), brake.due()), (None, None))
        self.assertFalse(brake.allow(1.0))
        began = brake.news(1.0)
        self.assertTrue(began and began.began)
        self.assertIn("more than 1 events a minute", began.text if began else "")
        self.assertFalse(brake.allow(2.0))
        self.assertIsNone(brake.news(2.0))
        self.assertEqual(brake.due(), 2.0 + CALM)
        # Events are allowed again, at the rate, while the storm is not over.
        self.assertTrue(brake.allow(61.0))
        self.assertIsNone(brake.news(61.0))
        over = brake.news(2.0 + CALM)
        self.assertEqual((over and over.began, over and over.left_out), (False, 2))
        self.assertIn("2 were left out", over.text if over else "")
        self.assertEqual((brake.news(500.0), brake.due()), (None, None))

    def test_next_storm(self) -> None:
        """The next storm is told anew."""
        brake = Brake(1)
        for start in (0.0, 1000.0):
            self.assertEqual([brake.allow(start), brake.allow(start)], [True, False])
            self.assertTrue(brake.news(start))
            over = brake.news(start + CALM)
            self.assertEqual(over and over.left_out, 1)

    def test_shift(self) -> None:
        """A jump of the clock earns nothing, and loses nothing."""
        brake = Brake(1)
        self.assertEqual([brake.allow(0.0), brake.allow(1.0)], [True, False])
        brake.shift(3600.0)
        self.assertEqual(brake.due(), 3601.0 + CALM)
        self.assertFalse(brake.allow(3601.0))
        # Not told of, and put back: it stands still until the time comes again.
        self.assertFalse(brake.allow(10.0))
        self.assertTrue(brake.allow(70.0))

    @unhurried
    @given(st.integers(1, 50), st.lists(st.floats(0, 30), max_size=100))
    def test_bound(self, per_minute: int, waits: list[float]) -> None:
        """In any span of time: no more than a minute's worth and the rate; all are counted."""
        brake, now, told, refused = Brake(per_minute), 1e9, 0, 0
        allowed: list[float] = []
        for wait in waits:
            now += wait
            news = brake.news(now)
            told += news.left_out if news and not news.began else 0
            if brake.allow(now):
                allowed.append(now)
            else:
                refused += 1
        for first, start in enumerate(allowed):
            for count, stop in enumerate(allowed[first:], 1):
                self.assertLessEqual(count, per_minute * (1 + (stop - start) / 60) + 1e-3)
        brake.news(now)
        over = brake.news(now + CALM)
        self.assertEqual(told + (over.left_out if over else 0), refused)
