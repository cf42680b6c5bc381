"""One plugin's life: starts, stops, unexpected ends."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import BadValue, NotAvailable
from rtoc_twisted.plugins import orders
from rtoc_twisted.plugins.process import Limits
from rtoc_twisted.plugins.supervisor import State, Supervisor

from .plugin_support import Ears, FakeChild, Launcher, init


class SupervisorCase(SynchronousTestCase):
    restarts = 4

    def setUp(self) -> None:
        self.clock = Clock()
        self.launcher = Launcher()
        self.ears = Ears()
        self.supervisor = Supervisor(
            self.launcher, self.init, self.clock, self.ears, limits=Limits(), restarts=self.restarts
        )
        self.states: list[State] = []
        self.ears.on_change = lambda: self.states.append(self.supervisor.state)
        self.broken: BadValue | None = None

    def init(self) -> orders.Init:
        if self.broken is not None:
            raise self.broken
        return init()

    @property
    def child(self) -> FakeChild:
        return self.launcher.child

    def run_one(self) -> None:
        """Start, until the plugin runs."""
        started = self.supervisor.start()
        self.child.start()
        self.assertEqual(self.successResultOf(started), "")

    def crash(self, reason: str = "its process was ended by SIGSEGV") -> None:
        self.child.end(reason)

    def check(self, state: State, processes: int) -> None:
        self.assertEqual((self.supervisor.state, len(self.launcher.children)), (state, processes))


class StartTests(SupervisorCase):
    def test_a_start_is_answered_when_the_plugin_is_made(self) -> None:
        started = self.supervisor.start()
        self.check(State.STARTING, 1)
        self.assertNoResult(started)
        self.child.start()
        self.assertEqual(self.successResultOf(started), "")
        self.check(State.RUNNING, 1)
        self.assertEqual(self.states, [State.STARTING, State.RUNNING])

    def test_one_that_runs_is_left_alone(self) -> None:
        self.run_one()
        self.assertEqual(self.successResultOf(self.supervisor.start()), "")
        self.check(State.RUNNING, 1)

    def test_two_who_start_share_the_start(self) -> None:
        first, second = self.supervisor.start(), self.supervisor.start()
        self.child.start()
        self.assertEqual([self.successResultOf(it) for it in (first, second)], ["", ""])
        self.check(State.RUNNING, 1)

    def test_one_that_fails_is_not_tried_again(self) -> None:
        started = self.supervisor.start()
        self.child.report(orders.Failed("init", "OSError: no such port"))
        self.child.end("its process ended with the code 1")
        self.assertEqual(self.successResultOf(started), "OSError: no such port")
        self.assertEqual(self.supervisor.problem, "OSError: no such port")
        self.clock.advance(1000)
        self.check(State.FAILED, 1)
        self.assertEqual(self.ears.of("crashed"), [])

    def test_one_that_dies_while_it_starts(self) -> None:
        started = self.supervisor.start()
        self.crash()
        self.assertEqual(self.successResultOf(started), "its process was ended by SIGSEGV")
        self.check(State.FAILED, 1)

    def test_files_that_are_wrong(self) -> None:
        self.broken = BadValue("plugin.toml: line 1")
        self.assertEqual(self.successResultOf(self.supervisor.start()), "plugin.toml: line 1")
        self.check(State.FAILED, 0)

    def test_no_process_to_be_had(self) -> None:
        self.launcher.fail = OSError("no more processes")
        self.assertEqual(self.successResultOf(self.supervisor.start()), "no more processes")
        self.check(State.FAILED, 0)
        self.launcher.fail = None
        self.run_one()

    def test_with_the_server_a_failed_start_is_tried_again(self) -> None:
        started = self.supervisor.start(tries_on=True)
        self.child.report(orders.Failed("init", "OSError: no such port"))
        self.child.end()
        self.assertIn("OSError: no such port", self.successResultOf(started))
        self.check(State.WAITING, 1)
        self.clock.advance(1)
        self.check(State.STARTING, 2)
        self.child.start()
        self.check(State.RUNNING, 2)
        self.assertEqual(self.supervisor.problem, "")


class StopTests(SupervisorCase):
    def test_a_stop_is_answered_when_the_process_is_gone(self) -> None:
        self.run_one()
        stopped = self.supervisor.stop()
        self.check(State.STOPPING, 1)
        self.assertEqual(len(self.child.ordered(orders.Stop)), 1)
        self.assertNoResult(stopped)
        self.child.end()
        self.successResultOf(stopped)
        self.clock.advance(1000)
        self.check(State.STOPPED, 1)
        self.assertEqual(self.ears.of("crashed"), [])

    def test_one_that_does_not_run(self) -> None:
        self.successResultOf(self.supervisor.stop())
        self.check(State.STOPPED, 0)

    def test_two_who_stop(self) -> None:
        self.run_one()
        stops = [self.supervisor.stop(), self.supervisor.stop()]
        self.assertEqual(len(self.child.ordered(orders.Stop)), 1)
        self.child.end()
        for stop in stops:
            self.successResultOf(stop)

    def test_stop_while_it_starts(self) -> None:
        started, stopped = self.supervisor.start(), self.supervisor.stop()
        self.child.end()
        self.assertEqual(self.successResultOf(started), "it was stopped")
        self.successResultOf(stopped)
        self.check(State.STOPPED, 1)

    def test_start_while_it_stops(self) -> None:
        self.run_one()
        stopped, started = self.supervisor.stop(), self.supervisor.start()
        self.check(State.STOPPING, 1)
        self.child.end()
        self.check(State.STARTING, 2)
        self.child.start()
        self.successResultOf(stopped)
        self.assertEqual(self.successResultOf(started), "")

    def test_stop_while_it_waits_for_its_next_start(self) -> None:
        self.run_one()
        self.crash()
        self.successResultOf(self.supervisor.stop())
        self.clock.advance(1000)
        self.check(State.STOPPED, 1)

    def test_a_failure_is_forgotten(self) -> None:
        self.broken = BadValue("wrong")
        self.supervisor.start()
        self.supervisor.stop()
        self.assertEqual((self.supervisor.state, self.supervisor.problem), (State.STOPPED, ""))


class CrashTests(SupervisorCase):
    def restarted_after(self) -> float:
        """Return the seconds until there is another process."""
        count, seconds = len(self.launcher.children), 0.0
        while len(self.launcher.children) == count:
            self.clock.advance(0.5)
            seconds += 0.5
        return seconds

    def test_the_delays_double(self) -> None:
        self.run_one()
        delays = []
        for _ in range(4):
            self.crash()
            delays.append(self.restarted_after())
            self.child.start()
        self.assertEqual(delays, [1, 2, 4, 8])

    def test_what_is_told(self) -> None:
        self.run_one()
        self.crash()
        text = "ended, and is started again in 1 s: its process was ended by SIGSEGV"
        self.assertEqual(self.supervisor.problem, text)
        self.assertEqual(self.ears.of("crashed"), [text])

    def test_after_too_many_ends_it_is_given_up(self) -> None:
        self.run_one()
        for _ in range(4):
            self.crash()
            self.restarted_after()
            self.child.start()
        self.crash()
        self.check(State.GIVEN_UP, 5)
        self.clock.advance(10_000)
        self.check(State.GIVEN_UP, 5)
        self.assertIn("ended 5 times, and is not started again", self.supervisor.problem)
        self.assertEqual(len(self.ears.of("crashed")), 5)

    def test_a_client_starts_it_all_the_same_and_it_has_all_its_chances(self) -> None:
        self.test_after_too_many_ends_it_is_given_up()
        self.run_one()
        self.crash()
        self.check(State.WAITING, 6)
        self.assertEqual(self.restarted_after(), 1)

    def test_ends_that_are_long_past_do_not_count(self) -> None:
        self.run_one()
        for _ in range(20):
            self.clock.advance(151)
            self.crash()
            self.assertEqual(self.restarted_after(), 1)
            self.child.start()
        self.assertTrue(self.supervisor.running)

    def test_starts_that_fail_count_too(self) -> None:
        self.run_one()
        self.crash()
        for _ in range(4):
            self.restarted_after()
            self.child.report(orders.Failed("init", "OSError: unplugged"))
            self.child.end()
        self.check(State.GIVEN_UP, 5)
        self.assertIn("OSError: unplugged", self.supervisor.problem)

    def test_a_client_need_not_wait_for_the_delay(self) -> None:
        self.run_one()
        self.crash()
        self.run_one()
        self.clock.advance(1000)
        self.check(State.RUNNING, 2)

    def test_delays_have_an_end(self) -> None:
        self.supervisor = Supervisor(
            self.launcher, self.init, self.clock, self.ears, limits=Limits(), restarts=1000
        )
        self.run_one()
        for _ in range(9):
            self.crash()
            delay = self.restarted_after()
            self.child.start()
        self.assertEqual(delay, 60)


class NoRestartsTests(SupervisorCase):
    restarts = 0

    def test_the_first_end_is_the_last(self) -> None:
        self.run_one()
        self.crash()
        self.check(State.GIVEN_UP, 1)


class RenewTests(SupervisorCase):
    def test_one_that_runs_is_stopped_and_started(self) -> None:
        self.run_one()
        self.supervisor.renew()
        self.check(State.STOPPING, 1)
        self.child.end()
        self.check(State.STARTING, 2)
        self.child.start()
        self.assertEqual(self.ears.of("crashed"), [])

    def test_one_that_does_not_run_stays_so(self) -> None:
        self.supervisor.renew()
        self.check(State.STOPPED, 0)

    def test_one_that_waits_or_was_given_up_is_tried_at_once(self) -> None:
        self.run_one()
        self.crash()
        self.supervisor.renew()
        self.check(State.STARTING, 2)
        self.child.start()
        self.clock.advance(1000)
        self.check(State.RUNNING, 2)


class AskTests(SupervisorCase):
    def ask(self) -> Deferred[orders.Result]:
        return self.supervisor.ask(lambda number: orders.Call(number, "f"))

    def test_only_one_that_runs_is_asked(self) -> None:
        self.failureResultOf(self.ask(), NotAvailable)
        self.supervisor.start()
        self.failureResultOf(self.ask(), NotAvailable)
        self.supervisor.tell(orders.Samplerate(2))
        self.child.start()
        asked = self.ask()
        self.child.answer(True, 3)
        self.assertEqual(self.successResultOf(asked).value, 3)
        self.supervisor.tell(orders.Samplerate(3))
        self.assertEqual(self.child.ordered(orders.Samplerate), [orders.Samplerate(3)])
        self.supervisor.stop()
        self.failureResultOf(self.ask(), NotAvailable)
