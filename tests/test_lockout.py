"""Wrong passwords cost time, by address, and one after the other."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.auth import lockout
from rtoc_twisted.auth.lockout import Lockout

HERE, THERE = "192.0.2.7", "192.0.2.8"


class DelayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.lockout = Lockout(self.clock)

    def fail_from(self, address: str, times: int) -> None:
        for _ in range(times):
            self.lockout.failed(address)

    def test_the_first_tries_are_free_then_it_doubles(self) -> None:
        delays = []
        for _ in range(14):
            delays.append(self.lockout.delay(HERE))
            self.lockout.failed(HERE)
        self.assertEqual(delays, [0, 0, 0, 0.25, 0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30])
        self.fail_from(HERE, 10_000)
        self.assertEqual(self.lockout.delay(HERE), 30)

    def test_each_address_for_itself(self) -> None:
        self.fail_from(HERE, 5)
        self.assertEqual((self.lockout.delay(THERE), self.lockout.delay("")), (0, 0))

    def test_a_network_of_64_bits_is_one_address(self) -> None:
        self.fail_from("2001:db8:1:2::1", 4)
        self.assertEqual(self.lockout.delay("2001:db8:1:2:ffff::9"), 0.5)
        self.assertEqual(self.lockout.delay("2001:db8:1:3::1"), 0)
        self.fail_from("fe80::1%eth0", 4)
        self.assertEqual(self.lockout.delay("fe80::2%eth1"), 0.5)

    def test_a_right_password_forgives(self) -> None:
        self.fail_from(HERE, 9)
        self.lockout.succeeded(HERE)
        self.assertEqual(self.lockout.delay(HERE), 0)
        self.lockout.succeeded(THERE)

    def test_ten_quiet_minutes_forgive(self) -> None:
        self.fail_from(HERE, 9)
        self.clock.advance(600)
        self.assertEqual(self.lockout.delay(HERE), 16)
        self.clock.advance(0.1)
        self.assertEqual(self.lockout.delay(HERE), 0)
        self.fail_from(HERE, 3)
        self.assertEqual(self.lockout.delay(HERE), 0.25)

    def test_the_table_is_bounded(self) -> None:
        self.patch(lockout, "_ADDRESSES", 3)
        self.fail_from(HERE, 9)
        for number in range(3):
            self.fail_from(f"198.51.100.{number}", 9)
        self.assertEqual(self.lockout.delay(HERE), 0)
        self.assertEqual(self.lockout.delay("198.51.100.0"), 16)
        self.fail_from("198.51.100.0", 1)
        self.fail_from(HERE, 9)
        self.assertEqual(self.lockout.delay("198.51.100.1"), 0)
        self.assertEqual(self.lockout.delay("198.51.100.0"), 30)


class TurnTests(SynchronousTestCase):
    """Parallel tries gain nothing."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lockout = Lockout(self.clock)
        self.checks: list[Deferred[str]] = []

    def check(self) -> Deferred[str]:
        self.checks.append(Deferred())
        return self.checks[-1]

    def try_from(self, address: str) -> Deferred[Any]:
        return self.lockout.in_turn(address, self.check)

    def test_at_once_where_nothing_hinders(self) -> None:
        self.assertEqual(self.successResultOf(self.lockout.in_turn(HERE, lambda: succeed("in"))), "in")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_at_a_time(self) -> None:
        tries = [self.try_from(HERE) for _ in range(3)]
        self.try_from(THERE)
        self.assertEqual(len(self.checks), 2)
        self.checks[0].callback("first")
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(tries[0]), "first")
        self.assertNoResult(tries[1])
        self.assertEqual(len(self.checks), 3)

    def test_each_waits_for_the_verdict_before_it(self) -> None:
        for _ in range(6):
            self.try_from(HERE)
        for number, delay in enumerate([0, 0, 0, 0.25, 0.5, 1]):
            self.clock.advance(delay)
            self.assertEqual(len(self.checks), number + 1)
            self.lockout.failed(HERE)
            self.checks[number].callback("wrong")
        self.clock.advance(100)
        self.assertEqual(len(self.checks), 6)

    def test_hundreds_that_wait_are_no_tower_of_calls(self) -> None:
        first: Deferred[None] = Deferred()
        self.lockout.in_turn(HERE, lambda: first)
        tries = [self.lockout.in_turn(HERE, lambda: succeed("in")) for _ in range(1000)]
        first.callback(None)
        self.clock.pump([0] * 1001)
        self.assertEqual({self.successResultOf(one) for one in tries}, {"in"})

    def test_who_leaves_the_queue_was_never_there(self) -> None:
        first, second, third = (self.try_from(HERE) for _ in range(3))
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.checks[0].callback("first")
        self.clock.advance(0)
        self.assertEqual(len(self.checks), 2)
        self.checks[1].callback("third")
        self.assertEqual(self.successResultOf(third), "third")

    def test_who_leaves_during_the_delay(self) -> None:
        for _ in range(5):
            self.lockout.failed(HERE)
        first, second = self.try_from(HERE), self.try_from(HERE)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.clock.advance(1)
        self.assertEqual(len(self.checks), 1)
        self.checks[0].callback("second")
        self.assertEqual(self.successResultOf(second), "second")

    def test_a_check_that_breaks_lets_the_next_one_go_on(self) -> None:
        first, second = self.try_from(HERE), self.try_from(HERE)
        self.checks[0].errback(ZeroDivisionError())
        self.failureResultOf(first, ZeroDivisionError)
        self.clock.advance(0)
        self.checks[1].callback("second")
        self.assertEqual(self.successResultOf(second), "second")

    def test_nothing_is_kept_of_those_who_are_done(self) -> None:
        self.try_from(HERE)
        self.try_from(HERE)
        self.checks[0].callback("x")
        self.clock.advance(0)
        self.checks[1].callback("x")
        self.assertEqual(self.lockout._turns, {})
