"""A run of a script, against a mother who does what the test says: its course, limits and ends."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.scripts import messages
from rtoc_twisted.automation.scripts.effects import PRINTED
from rtoc_twisted.box.messages import Event as Raised
from rtoc_twisted.box.messages import Samples
from rtoc_twisted.model import Event, SignalName
from tests.actions_support import EPOCH, Stage, packed


class RunCase(SynchronousTestCase):
    """A stage for each test."""

    def setUp(self) -> None:
        self.stage = Stage(Path(self.mktemp()))


class CourseTests(RunCase):
    """What a script is told, and what its outcome tells."""

    def test_begin_says_what_the_script_is_to_do(self) -> None:
        event = Event(SignalName("Dev", "A"), "big", 5.0, 1, "id", 7, number=3)
        self.stage.clock.advance(10)
        self.stage.run(event=event, script="print(1)")
        begin = self.stage.script.begin
        self.assertEqual((begin.name, begin.kind, begin.source), ("a", "action", "print(1)"))
        self.assertEqual(begin.clock, EPOCH + 10)
        self.assertEqual((begin.memory, begin.seconds), (256 << 20, 10.0))
        self.assertEqual((begin.files, begin.network), (False, False))
        self.assertEqual(begin.event and begin.event["eventId"], 3)
        self.assertEqual(begin.event and begin.event["value"], 7)

    def test_numbers_that_no_message_has_room_for_become_texts(self) -> None:
        event = Event(SignalName("Dev", "A"), "big", 5.0, value=10**30, number=3)
        self.stage.run(event=event)
        self.assertEqual((self.stage.script.begin.event or {})["value"], str(10**30))

    def test_outcome_of_a_script_that_ends(self) -> None:
        outcomes = self.stage.run()
        self.stage.clock.advance(0.5)
        self.stage.script.say(messages.Printed("hello\n"), messages.Printed("there"))
        self.stage.script.done("value", [1, 2])
        (outcome,) = outcomes
        self.assertTrue(outcome.ok)
        self.assertEqual((outcome.output, outcome.error), ("hello\nthere", ""))
        self.assertEqual((outcome.kind, outcome.data), ("value", [1, 2]))
        self.assertEqual((outcome.id, outcome.seconds), ("1", 0.5))
        self.assertEqual(outcome.told, "Action is valid\nAnswer: hello\nthere")
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])

    def test_outcome_waits_for_the_end_of_the_process(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.say(messages.Done("none"))
        self.assertEqual(outcomes, [])
        self.stage.script.hang_up()
        self.assertEqual(outcomes, [])
        self.stage.mother.owner.ended(1, 0)
        self.assertTrue(outcomes[0].ok)

    def test_outcome_of_a_script_that_fails(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.say(messages.Printed("before"))
        self.stage.script.fail("line 2: 1/0\nZeroDivisionError: division by zero", 2)
        (outcome,) = outcomes
        self.assertFalse(outcome.ok)
        self.assertEqual(outcome.output, "before")
        self.assertEqual(outcome.told, "line 2: 1/0\nZeroDivisionError: division by zero")

    def test_what_comes_after_the_end_of_a_script_is_not_done(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.say(messages.Done("none"))
        self.stage.script.stream(1)
        self.stage.script.say(messages.Printed("late"), messages.Done("value", 1))
        self.stage.script.exit()
        self.assertIsNone(self.stage.storage.find(SignalName("Dev", "A")))
        self.assertEqual((outcomes[0].output, outcomes[0].kind), ("", "none"))

    def test_what_is_long_of_a_value_is_left_out(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.done("value", {"x": list(range(12)), "y": "y" * 300})
        data = outcomes[0].data
        self.assertEqual(data, {"x": [*range(10), ".. 2 more"], "y": "y" * 198 + ".."})
        outcomes = self.stage.run()
        self.stage.script.fail("x" * 100_000 + "the reason")
        self.assertEqual(len(outcomes[0].error), 10_000)
        self.assertTrue(outcomes[0].error.endswith("the reason"))

    def test_long_output_is_cut(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.say(messages.Printed("x" * 65_000), messages.Printed("y" * 1464))
        self.stage.script.done()
        self.assertTrue(outcomes[0].output.endswith("y\n[464 further letters]"))
        self.assertEqual(outcomes[0].output.count("x") + outcomes[0].output.count("y"), 66_000)

    def test_all_that_a_script_may_print_has_room_with_what_it_says_of_the_rest(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.say(messages.Printed("x" * PRINTED), messages.Printed("\n... 9934464 letters more"))
        self.stage.script.done()
        self.assertTrue(outcomes[0].output.endswith("9934464 letters more"))

    def test_process_that_stays_after_its_end_is_killed(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.say(messages.Done("none"))
        self.stage.clock.advance(1)
        self.assertTrue(self.stage.script.killed)
        self.stage.script.exit(-signal.SIGKILL)
        self.assertTrue(outcomes[0].ok)


class LimitTests(RunCase):
    """Runs that take too long, or too much, or stop being runs."""

    def test_run_that_is_late_is_stopped_then_killed(self) -> None:
        outcomes = self.stage.run()
        self.stage.clock.advance(9.9)
        self.assertFalse(self.stage.script.stopped)
        self.stage.clock.advance(0.1)
        self.assertTrue(self.stage.script.stopped)
        self.assertFalse(self.stage.script.killed)
        self.stage.clock.advance(1)
        self.assertTrue(self.stage.script.killed)
        self.stage.script.exit(-signal.SIGKILL)
        self.assertEqual((outcomes[0].ok, outcomes[0].error), (False, "stopped after 10 s"))

    def test_run_that_ends_when_its_time_is_over_says_so_too(self) -> None:
        outcomes = self.stage.run(seconds=2.5)
        self.stage.clock.advance(2.5)
        self.stage.script.done()
        self.assertEqual((outcomes[0].ok, outcomes[0].error), (False, "stopped after 2.5 s"))

    def test_action_without_a_limit_runs_until_it_is_stopped(self) -> None:
        outcomes = self.stage.run(seconds=0)
        self.assertEqual(self.stage.script.begin.seconds, 0)
        self.stage.clock.advance(1e6)
        self.assertFalse(self.stage.script.stopped)
        self.assertTrue(self.stage.actions.stop("a"))
        self.assertTrue(self.stage.script.stopped)
        self.stage.script.done()
        self.assertTrue(outcomes[0].ok)
        self.assertFalse(self.stage.actions.stop("a"))

    def test_action_that_does_not_stop_is_killed(self) -> None:
        outcomes = self.stage.run(seconds=0)
        self.stage.actions.stop("a")
        self.stage.clock.advance(1)
        self.assertTrue(self.stage.script.killed)
        self.stage.script.exit(-signal.SIGKILL)
        self.assertEqual(outcomes[0].error, "it was stopped, and killed as it went on")

    def test_ends_that_nobody_wanted_say_how(self) -> None:
        for status, words in (
            (-signal.SIGKILL, "its process was ended by SIGKILL: the machine may be out of memory"),
            (-signal.SIGXCPU, "stopped after 10 s of the CPU"),
            (-signal.SIGSEGV, "its process was ended by SIGSEGV"),
            (3, "its process ended with the code 3"),
            (messages.UNFORKED, "the system has no process for the script"),
        ):
            outcomes = self.stage.run()
            self.stage.script.exit(status)
            self.assertEqual((outcomes[0].ok, outcomes[0].error), (False, words))

    def test_nonsense_ends_the_process(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.babble()
        self.assertTrue(self.stage.script.killed)
        self.stage.script.exit(-signal.SIGKILL)
        self.assertIn("it sent what is no message", outcomes[0].error)

    def test_process_that_closes_its_line_and_stays_is_killed(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.hang_up()
        self.stage.clock.advance(1)
        self.assertTrue(self.stage.script.killed)
        self.stage.mother.owner.ended(1, -signal.SIGKILL)
        self.assertEqual(outcomes[0].error, "its process closed its socket")

    def test_line_that_stays_open_after_the_process_is_closed(self) -> None:
        outcomes = self.stage.run()
        self.stage.mother.owner.ended(1, 0)
        self.assertEqual(outcomes, [])
        self.stage.clock.advance(1)
        self.assertTrue(self.stage.script.closed)
        self.assertEqual(outcomes[0].error, "its process ended with the code 0")

    def test_script_too_large_for_a_message_fails(self) -> None:
        outcomes = self.stage.run(script="x" * (17 << 20))
        self.assertTrue(self.stage.script.killed)
        self.stage.script.exit(-signal.SIGKILL)
        self.assertIn("is the limit", outcomes[0].error)


class FlowTests(RunCase):
    """A script that produces more than is taken waits."""

    def test_flood_of_values_is_held_until_it_is_made_up_for(self) -> None:
        self.stage.run()
        block = packed([0.0] * 100_000)
        for _ in range(3):
            self.stage.script.say(Samples("Dev", ["A"], [None], block, block))
        self.stage.script.stream(1, name="B")
        self.stage.pump(0.5)
        self.assertTrue(self.stage.script.held)
        self.assertIsNone(self.stage.storage.find(SignalName("Dev", "B")))
        self.stage.pump(0.7)
        self.assertEqual(self.stage.samples("B"), [1])
        self.assertFalse(self.stage.script.held)
        self.assertEqual(len(self.stage.samples()), 300_000)

    def test_flood_of_events_is_held_sooner(self) -> None:
        self.stage.run()
        for _ in range(600):
            self.stage.script.say(Raised("e", "Dev", "A", 1.0, 0, "", None))
        self.assertTrue(self.stage.script.held)
        self.assertEqual(len(self.stage.events()), 498)

    def test_questions_are_answered_one_after_the_other(self) -> None:
        self.stage.run()
        script = self.stage.script
        late: Deferred[tuple[bool, Any]] = Deferred()
        self.stage.plugins.late = late
        self.assertIsNone(script.ask("call", "Gen", "cmd", [], {}))
        self.assertFalse(script.held)
        script.stream(5)
        self.assertTrue(script.held)
        self.assertIsNone(script.ask("latest", "Dev", "A"))
        self.assertIsNone(self.stage.storage.find(SignalName("Dev", "A")))
        late.callback((True, 1))
        self.assertEqual([reply and reply.value for reply in map(script.reply, (1, 2))], [1, [1.0, 5.0]])
        self.assertFalse(script.held)

    def test_thousands_of_questions_at_once_are_answered(self) -> None:
        self.stage.run()
        script = self.stage.script
        self.stage.append([1.0])
        late: Deferred[tuple[bool, Any]] = Deferred()
        self.stage.plugins.late = late
        script.ask("call", "Gen", "cmd")
        # As they come with one read, before the line is held.
        script.hold = lambda held: None  # type: ignore[method-assign]
        for _ in range(3000):
            script.ask("latest", "Dev", "A")
        late.callback((True, 1))
        self.assertIsNotNone(script.reply(3001))

    def test_script_that_does_not_read_its_answers_gets_no_more(self) -> None:
        outcomes = self.stage.run()
        script = self.stage.script
        self.stage.append([1.0])
        run: Any = script.child
        run.unread(True)
        self.assertIsNone(script.ask("latest", "Dev", "A"))
        self.assertTrue(script.held)
        run.unread(False)
        self.assertIsNotNone(script.reply(1))
        self.assertFalse(script.held)
        run.unread(True)
        script.ask("set", "Gen", "level", 2.0)
        script.stream(5)
        script.done()
        self.assertTrue(outcomes[0].ok)
        self.assertEqual(self.stage.samples("A"), [1, 5])
        # Nobody waited for that any more.
        self.assertEqual(self.stage.plugins.done, [])

    def test_killed_script_does_not_wait_for_its_answer(self) -> None:
        outcomes = self.stage.run()
        late: Deferred[tuple[bool, Any]] = Deferred()
        self.stage.plugins.late = late
        self.stage.script.ask("call", "Gen", "cmd", [], {})
        self.stage.script.stream(5)
        self.stage.script.exit(-signal.SIGKILL)
        self.assertEqual(len(outcomes), 1)
        late.callback((True, 1))
        self.assertIsNone(self.stage.script.reply(1))

    def test_what_was_sent_before_the_end_is_done_though_it_was_held(self) -> None:
        outcomes = self.stage.run()
        block = packed([0.0] * 300_000)
        self.stage.script.say(Samples("Dev", ["A"], [None], block, block))
        self.assertTrue(self.stage.script.held)
        self.stage.script.stream(7)
        self.stage.script.done()
        self.assertEqual(outcomes, [])
        self.stage.pump(0.1)
        self.assertTrue(outcomes[0].ok, outcomes[0].error)
        self.assertEqual(self.stage.samples()[-1], 7)
        self.assertEqual(self.stage.clock.getDelayedCalls(), [])


class KeptTests(RunCase):
    """Globals and edges stay from run to run."""

    def test_globals_and_edges_are_there_in_the_next_run(self) -> None:
        self.stage.run()
        self.stage.script.say(messages.Keep("n", {"a": [1]}), messages.Edge("A > 1", True))
        self.stage.script.fail("x")
        self.stage.run()
        self.assertEqual(self.stage.script.begin.globals, {"n": {"a": [1]}})
        self.assertEqual(self.stage.script.begin.triggers, {"A > 1": True})
        self.stage.script.done()
        self.stage.run("b")
        self.assertEqual(self.stage.script.begin.globals, {})

    def test_globals_of_a_run_without_end_are_kept_meanwhile(self) -> None:
        self.stage.run(seconds=0)
        for count in range(5):
            self.stage.script.say(messages.Keep("n", count))
        self.assertIsNone(self.stage.storage.document("automation/globals/a"))
        self.stage.clock.advance(1)
        kept = self.stage.storage.document("automation/globals/a")
        self.assertEqual(kept, {"globals": {"n": 4}, "triggers": {}})

    def test_what_cannot_be_kept_is_told(self) -> None:
        for value in (b"bytes", "x" * (2 << 20)):
            outcomes = self.stage.run()
            self.stage.script.say(messages.Keep("n", value), messages.Keep("m", 1))
            self.stage.script.done()
            self.assertIn("global n ", outcomes[0].error)
        self.assertEqual(self.stage.storage.document("automation/globals/a")["globals"], {"m": 1})

    def test_only_so_many_names_are_kept(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.say(*(messages.Keep(f"n{i}", i) for i in range(998)))
        self.stage.script.say(*(messages.Edge(f"n{i}", True) for i in range(3)))
        self.stage.script.say(messages.Keep("n0", "x"), messages.Edge("n0", False), messages.Keep("m", 1))
        self.stage.script.done()
        text = "condition n2 is not kept: an action keeps 1000, and no more, and 1 more"
        self.assertEqual(outcomes[0].error, text)
        kept = self.stage.storage.document("automation/globals/a")
        self.assertEqual((len(kept["globals"]), kept["triggers"]), (998, {"n0": False, "n1": True}))
        outcomes = self.stage.run()
        self.stage.script.say(messages.Edge("x" * (2 << 20), True))
        self.stage.script.done()
        self.assertIn("an action keeps 1000", outcomes[0].error)

    def test_forgotten_action_leaves_nothing(self) -> None:
        outcomes = self.stage.run()
        self.stage.script.say(messages.Keep("n", 1))
        self.stage.actions.forget("a")
        self.assertTrue(self.stage.script.stopped)
        self.stage.script.say(messages.Keep("n", 2))
        self.stage.script.done()
        self.stage.pump(2)
        self.assertEqual(len(outcomes), 1)
        self.assertIsNone(self.stage.storage.document("automation/globals/a"))
