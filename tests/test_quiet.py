"""What waits for a quiet moment runs then, and not much later than it should."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.storage.quiet import SECONDS, TURNS, Quiet


class QuietTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.happened, self.runs = Clock(), 0, 0
        self.quiet = Quiet(self.clock, lambda: self.happened, self.run_it)

    def run_it(self) -> None:
        self.runs += 1

    def turn(self, busy: bool) -> int:
        self.happened += busy
        self.clock.advance(SECONDS)
        return self.runs

    def test_it_runs_when_it_is_quiet(self) -> None:
        self.quiet.ask()
        self.quiet.ask()
        self.assertEqual([self.turn(True), self.turn(True), self.turn(False), self.turn(False)], [0, 0, 1, 1])
        self.quiet.ask()
        self.assertEqual(self.turn(False), 2)

    def test_it_does_not_wait_for_ever(self) -> None:
        self.quiet.ask()
        self.assertEqual([self.turn(True) for _ in range(TURNS)], [0] * TURNS)
        self.assertEqual(self.turn(True), 1)

    def test_stop(self) -> None:
        self.quiet.stop()
        self.quiet.ask()
        self.quiet.stop()
        self.assertEqual((self.turn(False), self.clock.getDelayedCalls()), (0, []))
