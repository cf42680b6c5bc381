"""Who runs when: queues, places, what is left out, the mother's life, and the end of the server."""

from __future__ import annotations

import signal
from pathlib import Path

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from rtoc_twisted.automation.actions import ScriptPolicy
from rtoc_twisted.automation.scripts import messages
from tests.actions_support import Stage


class QueueCase(SynchronousTestCase):
    """A stage for each test."""

    def setUp(self) -> None:
        self.stage = Stage(Path(self.mktemp()))

    def names(self) -> list[str]:
        """Return the names of the runs that were forked, in order."""
        return [script.begin.name for script in self.stage.mother.scripts if script.got]

    def finish(self, place: int) -> None:
        """Let a script end, and fork what follows."""
        known = len(self.stage.mother.scripts)
        self.stage.mother.scripts[place].done()
        self.stage.fork(known)

    def logged(self) -> list[LogEvent]:
        """Return the list of what is logged from now on."""
        events: list[LogEvent] = []
        observe = provider(ILogObserver)(lambda event: events.append(event))
        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        return events


class QueueTests(QueueCase):
    """One at a time of each, two of all."""

    def test_one_at_a_time_of_an_action(self) -> None:
        first, second = self.stage.run(), self.stage.run()
        self.assertEqual(self.names(), ["a"])
        self.finish(0)
        self.assertEqual((len(first), len(second), self.names()), (1, 0, ["a", "a"]))
        self.finish(1)
        self.assertEqual(second[0].id, "2")

    def test_two_at_a_time_of_all_in_the_order_of_their_coming(self) -> None:
        for name in "aabcd":
            self.stage.run(name)
        self.assertEqual(self.names(), ["a", "b"])
        self.finish(1)
        self.assertEqual(self.names(), ["a", "b", "c"])
        self.finish(0)
        self.assertEqual(self.names(), ["a", "b", "c", "d"])
        self.finish(2)
        self.assertEqual(self.names(), ["a", "b", "c", "d", "a"])

    def test_runs_without_end_have_places_of_their_own(self) -> None:
        for number in range(17):
            self.stage.run(f"endless{number}", seconds=0)
        self.stage.run("a")
        self.stage.run("b")
        self.assertEqual(len(self.names()), 18)
        self.assertEqual(self.names()[-2:], ["a", "b"])
        self.assertEqual(self.stage.actions.counters()["actions_waiting"], 1)

    def test_number_at_once_is_the_configurations(self) -> None:
        self.stage = Stage(Path(self.mktemp()), policy=ScriptPolicy(at_once=1))
        self.stage.run("a")
        self.stage.run("b")
        self.assertEqual(self.names(), ["a"])

    def test_oldest_that_waits_goes_when_too_many_do(self) -> None:
        runs = [self.stage.run() for _ in range(19)]
        self.assertEqual([len(outcomes) for outcomes in runs], [0, 1, 1] + [0] * 16)
        self.assertEqual(runs[1][0].error, "left out: more than 16 runs of it wait")
        self.assertEqual(self.stage.actions.counters()["actions_left_out"], 2)
        told = [(event.name.key, event.priority, event.text) for event in self.stage.events()]
        text = "actions were left out, as more than 16 runs waited: a 1 times"
        self.assertEqual(told, [("RTOC.", 1, text)])
        self.stage.clock.advance(59)
        self.assertEqual(len(self.stage.events()), 1)
        self.stage.clock.advance(1)
        self.assertEqual(len(self.stage.events()), 2)
        self.stage.run()
        self.stage.clock.advance(60)
        self.stage.clock.advance(60)
        self.assertEqual(len(self.stage.events()), 3)

    def test_stop_ends_what_runs_and_leaves_out_what_waits(self) -> None:
        running, waiting, other = self.stage.run(), self.stage.run(), self.stage.run("b")
        self.assertTrue(self.stage.actions.stop("a"))
        self.assertEqual((running, other), ([], []))
        self.assertEqual(waiting[0].error, "it was stopped before it began")
        self.finish(0)
        self.assertTrue(running[0].ok)
        self.stage.run()
        self.assertEqual(self.names(), ["a", "b", "a"])

    def test_runs_are_told(self) -> None:
        self.stage.run()
        self.stage.run()
        self.stage.run("b")
        self.stage.mother.scripts[1].fail("oh")
        told = self.stage.actions.runs()
        self.assertEqual(
            [(run["action"], run["id"], run["state"]) for run in told],
            [("b", "3", "ended"), ("a", "1", "running"), ("a", "2", "waiting")],
        )
        self.assertEqual((told[0]["ok"], told[0]["error"], told[0]["chain"]), (False, "oh", "c0ffee"))
        counters = self.stage.actions.counters()
        self.assertEqual((counters["actions_running"], counters["actions_failed"]), (1, 1))

    def test_failures_are_logged_when_they_are_news(self) -> None:
        events = self.logged()
        for error in ("KeyError: 1", "KeyError: 2", "TypeError: 3", "", "", "TypeError: 4"):
            self.stage.run()
            if error:
                self.stage.script.fail(f"line 1: x\n{error}")
            else:
                self.stage.script.done()
        formats = [str(event.get("log_format")) for event in events]
        told = [text for text in formats if text.startswith("action {name}")]
        failed, again = "action {name} failed: {error}", "action {name} works again"
        self.assertEqual(told, [failed, failed, again, failed])
        self.assertEqual(self.stage.actions.counters()["actions_failed"], 4)

    def test_what_the_servers_end_stops_has_not_failed(self) -> None:
        events = self.logged()
        self.stage.run()
        self.stage.actions.close()
        self.stage.script.done()
        self.assertEqual([event for event in events if "failed" in str(event.get("log_format"))], [])


class MotherTests(QueueCase):
    """The process that forks."""

    def test_mother_starts_when_first_needed_and_stays(self) -> None:
        self.assertEqual(self.stage.mothers.processes, [])
        self.stage.run()
        self.finish(0)
        self.stage.run()
        self.assertEqual(len(self.stage.mothers.processes), 1)

    def test_her_death_fails_her_runs_and_others_wait_for_the_next(self) -> None:
        running, waiting = self.stage.run(), self.stage.run("a")
        self.stage.mother.die()
        self.assertEqual(running[0].error, "the process that runs scripts is gone: it was ended by SIGKILL")
        self.assertEqual(waiting, [])
        self.stage.clock.advance(1)
        self.stage.mother.fork_now()
        self.stage.script.done()
        self.assertTrue(waiting[0].ok)
        self.assertEqual(len(self.stage.mothers.processes), 2)
        self.assertEqual(self.stage.actions.counters()["actions_process_ends"], 1)

    def test_she_is_started_later_and_later(self) -> None:
        for delay in (1, 2, 4, 8, 16, 32, 60, 60):
            self.stage.run(fork=False)
            self.stage.mother.die()
            known = len(self.stage.mothers.processes)
            self.stage.run(fork=False)
            self.stage.clock.advance(delay - 0.1)
            self.assertEqual(len(self.stage.mothers.processes), known)
            self.stage.clock.advance(0.1)
            self.assertEqual(len(self.stage.mothers.processes), known + 1)
            self.stage.actions.stop("a")

    def test_system_that_has_no_process_fails_the_run(self) -> None:
        self.stage.mothers.fail = OSError(12, "no memory")
        outcomes = self.stage.run()
        self.assertIn("no memory", outcomes[0].error)
        self.stage.mothers.fail = None
        later = self.stage.run()
        self.assertEqual(self.stage.mothers.processes, [])
        self.stage.clock.advance(1)
        self.stage.mother.fork_now()
        self.stage.script.done()
        self.assertTrue(later[0].ok)

    def test_system_that_has_no_socket_fails_one_run_at_a_time(self) -> None:
        self.stage.run()
        waiting = [self.stage.run() for _ in range(3)]
        self.stage.mother.fail = OSError(24, "too many open files")
        self.stage.script.done()
        self.assertEqual([len(outcomes) for outcomes in waiting], [1, 0, 0])
        self.assertIn("too many open files", waiting[0][0].error)
        self.stage.mother.die()
        self.stage.clock.advance(2)
        self.stage.mother.fork_now()
        self.stage.script.done()
        self.assertTrue(waiting[1][0].ok)

    def test_mother_that_does_not_fork_is_killed(self) -> None:
        outcomes = self.stage.run(fork=False)
        self.stage.clock.advance(30)
        self.assertTrue(self.stage.mother.killed)
        self.stage.mother.die()
        self.assertEqual(outcomes[0].error, "the process that runs scripts is gone: it did not fork in time")

    def test_mother_that_does_not_kill_is_killed(self) -> None:
        outcomes = self.stage.run()
        self.stage.clock.advance(10)
        self.stage.clock.advance(1)
        self.stage.clock.advance(5)
        self.assertTrue(self.stage.mother.killed)
        self.stage.mother.die()
        self.assertEqual(outcomes[0].error, "stopped after 10 s")

    def test_run_that_is_stopped_before_it_is_forked_never_begins(self) -> None:
        outcomes = self.stage.run(fork=False)
        self.stage.actions.stop("a")
        self.stage.mother.fork_now()
        self.assertEqual(self.stage.script.got, [])
        self.assertTrue(self.stage.script.killed)
        self.stage.script.exit(-signal.SIGKILL)
        self.assertEqual(outcomes[0].error, "it was stopped before it began")

    def test_what_the_system_lacks_and_what_is_printed_is_logged(self) -> None:
        self.stage.run()
        owner = self.stage.mother.owner
        owner.awake(["no seccomp here"])
        owner.awake(["no seccomp here"])
        for _ in range(200):
            owner.printed("a library says")
        self.assertEqual(self.stage.actions.counters()["actions_running"], 1)


class CloseTests(QueueCase):
    """The server stops."""

    def test_close_stops_all_and_ends_the_process(self) -> None:
        running, waiting = self.stage.run(), self.stage.run()
        closed: list[None] = []
        self.stage.actions.close().addCallback(closed.append)
        self.assertEqual(waiting[0].error, "the server stops")
        self.assertTrue(self.stage.script.stopped)
        self.assertFalse(self.stage.mother.ended)
        self.stage.script.done()
        self.assertEqual(running[0].error, "the server stops")
        self.assertTrue(self.stage.mother.ended)
        self.assertEqual(closed, [])
        self.stage.mother.die("it ended")
        self.assertEqual(closed, [None])
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])
        self.assertEqual(self.stage.run()[0].error, "the server stops")

    def test_close_kills_what_does_not_end(self) -> None:
        self.stage.run()
        closed: list[None] = []
        self.stage.actions.close().addCallback(closed.append)
        self.stage.clock.advance(1)
        self.assertTrue(self.stage.script.killed)
        self.stage.script.exit(-signal.SIGKILL)
        self.stage.clock.advance(2)
        self.assertTrue(self.stage.mother.killed)
        self.stage.mother.die()
        self.assertEqual(closed, [None])

    def test_close_leaves_no_timer(self) -> None:
        for _ in range(18):
            self.stage.run()
        self.stage.actions.close()
        self.stage.script.done()
        self.stage.mother.die()
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])

    def test_close_kills_what_is_not_yet_forked(self) -> None:
        self.stage.run(fork=False)
        self.stage.actions.close()
        self.stage.clock.advance(2)
        self.assertTrue(self.stage.script.killed)

    def test_close_with_nothing_to_end(self) -> None:
        self.assertEqual(self.successResultOf(self.stage.actions.close()), None)
        self.stage = Stage(Path(self.mktemp()))
        self.stage.mothers.fail = OSError("no")
        self.stage.run()
        self.assertEqual(self.successResultOf(self.stage.actions.close()), None)
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])

    def test_globals_are_kept_when_the_server_stops(self) -> None:
        self.stage.run(seconds=0)
        self.stage.script.say(messages.Keep("n", 1))
        self.stage.actions.close()
        self.stage.script.done()
        self.assertEqual(self.stage.storage.document("automation/globals/a")["globals"], {"n": 1})
