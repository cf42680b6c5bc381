"""Events run actions, whoever raised them, and keep what these did: why(number) tells it all."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.actions import Outcome
from rtoc_twisted.automation.chain import DEEPEST, Link
from rtoc_twisted.model import Event, SignalName
from tests.engine_support import EPOCH, Bench, Started

OK = Outcome("1", True, "hello\n", calls=[{"what": "stream", "signal": "Dev.B"}], seconds=0.5)
FAILED = Outcome("2", False, "", "ZeroDivisionError: division by zero")


class ActionsTest(SynchronousTestCase):
    """A rule, actions that listen for it, and runs that the test ends."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.rule("big", "Dev.A.latest > 1", id="evA")
        self.bench.action("one", "evA")
        self.bench.on()

    @property
    def runs(self) -> list[Started]:
        return self.bench.scripts.started

    def raise_event(self, action_id: str, **more: Any) -> None:
        """Raise an event as a client does."""
        self.bench.recorder.raise_event(
            Event(SignalName("Dev", "C"), "hi", EPOCH, action_id=action_id, **more)
        )

    def why(self, number: int) -> Any:
        return self.successResultOf(self.bench.automation.why(number))

    def test_the_event_of_a_rule(self) -> None:
        """The action runs once everybody was told of the event, and knows whose doing that is."""
        told = []
        run = self.bench.scripts.run

        def watched(*arguments: Any) -> Any:
            told.append(list(self.bench.observer.heard))
            return run(*arguments)

        self.patch(self.bench.scripts, "run", watched)
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(told, [["added Dev.A", "samples [2.0]", "event big"]])
        (started,) = self.runs
        cause = self.bench.observer.events[0].cause
        self.assertEqual(started.name, "one")
        self.assertEqual(started.link, Link(cause["id"], 1, 1, "action"))
        self.assertEqual(started.event.number, 1)
        self.assertFalse(started.dry)

    def test_events_of_others(self) -> None:
        self.raise_event("nobody")
        self.raise_event("evA")
        self.assertEqual([run.event.number for run in self.runs], [2])
        self.assertEqual(self.why(1), [])
        (cause,) = self.why(2)
        self.assertEqual((cause["by"], cause["depth"], cause["actions"]), ("outside", 1, []))
        self.assertIsNone(self.why(3))

    def test_only_what_is_switched_on(self) -> None:
        self.bench.action("two", ["x", "evA"], active=False)
        self.bench.action("three", ["x", "evA"])
        self.bench.send("Dev.A", 2.0)
        self.raise_event("x")
        self.assertEqual([run.name for run in self.runs], ["one", "three", "three"])
        self.bench.on(actions=0)
        self.raise_event("x")
        self.assertEqual(len(self.runs), 3)
        self.assertEqual(self.bench.scripts.stopped[-3:], ["one", "two", "three"])

    def test_actions_without_rules(self) -> None:
        """Actions are on while rules are off."""
        self.bench.on(events=False)
        self.raise_event("evA")
        self.assertEqual(len(self.runs), 1)

    def test_what_they_did(self) -> None:
        """Each action adds to the cause of its event when it has ended, in any order."""
        self.bench.action("two", "evA")
        self.bench.send("Dev.A", 2.0)
        one, two = self.runs
        two.done.callback(FAILED)
        one.done.callback(OK)
        (cause,) = self.why(1)
        self.assertEqual((cause["event"], cause["rule"]), (1, "big"))
        self.assertEqual(
            cause["actions"],
            [
                {
                    "action": "two",
                    "id": "2",
                    "ok": False,
                    "result": "ZeroDivisionError: division by zero",
                    "output": "",
                    "calls": [],
                    "seconds": 0.0,
                },
                {
                    "action": "one",
                    "id": "1",
                    "ok": True,
                    "result": None,
                    "output": "hello\n",
                    "calls": [{"what": "stream", "signal": "Dev.B"}],
                    "seconds": 0.5,
                },
            ],
        )

    def test_results(self) -> None:
        """Values and texts are kept, of files only that there was one."""
        found = []
        for outcome in (
            Outcome("1", True, kind="value", data=[1, 2]),
            Outcome("1", True, kind="text", data="hi"),
            Outcome("1", True, kind="picture", data=b"\x89PNG"),
            Outcome("1", True, kind="text", data="x" * 20_000),
        ):
            self.raise_event("evA")
            run = self.runs[-1]
            run.done.callback(outcome)
            found.append(self.why(run.event.number)[0]["actions"][0]["result"])
        self.assertEqual(found, [[1, 2], "hi", "picture", "x" * 10_000])

    def test_what_cannot_be_kept(self) -> None:
        """A result that JSON has no word for is logged, and hurts nobody."""
        self.raise_event("evA")
        self.runs[0].done.callback(Outcome("1", True, kind="value", data={1j}))
        self.assertEqual(self.why(1)[0]["actions"], [])

    def test_a_chain(self) -> None:
        """Rule, action, what it streams, the next rule, an event of an action: one id, and why tells all."""
        self.bench.rule("next", "Dev.B.latest > 1", id="evB")
        self.bench.send("Dev.A", 2.0)
        with self.bench.chain.within(self.runs[0].link):
            self.bench.send("Dev.B", 2.0)
            self.raise_event("evC")
        first, second, third = self.why(1), self.why(2), self.why(3)
        self.assertEqual([cause["event"] for cause in second], [2, 1])
        self.assertEqual([cause["event"] for cause in third], [3, 1])
        self.assertEqual([cause["by"] for cause in third], ["action", "rule"])
        self.assertEqual([cause["depth"] for cause in second], [2, 1])
        self.assertEqual(len({cause["id"] for cause in first + second + third}), 1)

    def test_circles_of_actions(self) -> None:
        """An action whose event runs itself ends at the same depth as rules do."""
        self.raise_event("evA")
        for _ in range(DEEPEST + 5):
            with self.bench.chain.within(self.runs[-1].link):
                self.raise_event("evA")
        self.assertEqual(len(self.runs), DEEPEST)
        self.assertGreater(self.bench.automation.counters()["actions_in_circles"], 0)
        told = [event.text for event in self.bench.observer.events if event.name.device == "RTOC"]
        self.assertEqual(len(told), 1, told)

    def test_an_event_that_was_removed(self) -> None:
        self.bench.send("Dev.A", 2.0)
        self.bench.storage.remove_events([1])
        self.runs[0].done.callback(OK)
        self.assertIsNone(self.why(1))

    def test_test_action(self) -> None:
        test = self.bench.automation.test_action
        self.assertEqual(self.successResultOf(test("none")), {"ok": False, "value": None})
        testing = test("one", dry=True)
        self.assertTrue(self.runs[0].dry)
        self.assertEqual(self.runs[0].link.by, "test")
        self.runs[0].done.callback(OK)
        told = {"ok": True, "value": "Action is valid\nAnswer: hello\n"}
        self.assertEqual(self.successResultOf(testing), {**told, "effects": list(OK.calls)})
        testing = test("one")
        self.runs[1].done.callback(OK)
        self.assertEqual(self.successResultOf(testing), told)

    def test_user_actions(self) -> None:
        automation = self.bench.automation
        automation.set_user_action({"name": "hi", "script": "return 'text', 'hi'"}, "me")
        self.assertEqual(automation.user_actions(), {"hi": "return 'text', 'hi'"})
        told = self.successResultOf(automation.run_user_action("hi"))
        self.assertEqual(told["data"], "return 'text', 'hi'")
        told = self.successResultOf(automation.run_user_action("nope"))
        failed = {"name": "nope", "success": False, "type": "text", "data": "Action is incorrect"}
        self.assertEqual(told, failed)

    def test_an_action_that_is_set_anew_or_removed(self) -> None:
        """What runs of it is ended; set as it is, it goes on."""
        self.bench.send("Dev.A", 2.0)
        self.bench.scripts.stopped.clear()
        self.bench.action("one", "evA")
        self.assertEqual(self.bench.scripts.stopped, [])
        self.bench.action("one", "evA", script="print(1)")
        self.assertEqual(self.bench.scripts.stopped, ["one"])
        self.bench.automation.remove("action", "one", "me")
        self.bench.automation.set_user_action({"name": "hi", "script": ""}, "me")
        self.bench.automation.remove("userAction", "hi", "me")
        self.assertEqual(self.bench.scripts.forgotten, [("one", "action"), ("hi", "user")])
        self.raise_event("evA")
        self.assertEqual(len(self.runs), 1)


class AlarmTest(SynchronousTestCase):
    """Alarms are acknowledged, and their newest event tells how they stand."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.rule("big", "Dev.A.latest > 1", ack=True, latch=True)
        self.bench.on()

    def change(self, verb: str, **more: Any) -> Any:
        told, commit = self.bench.automation.change_alarm(verb, "big", "anna", **more)
        self.assertTrue(commit.done)
        return told

    def noted(self) -> list[Any]:
        """Return what the events tell of the alarm."""
        return [event.alarm for event in self.successResultOf(self.bench.storage.events())]

    def test_acknowledge(self) -> None:
        self.bench.send("Dev.A", 2.0, 0.0, 2.0)
        both = [(note["active"], note["acknowledged"]) for note in self.noted()]
        self.assertEqual(both, [(False, False), (True, False)])
        told = self.change("acknowledge", comment="seen")
        self.assertEqual(
            (told["acknowledged"], told["acknowledgedBy"], told["comment"]), (True, "anna", "seen")
        )
        first, second = self.noted()
        self.assertEqual(first, {**second, "active": False})
        self.assertEqual(
            second,
            {
                "rule": "big",
                "active": True,
                "acknowledged": True,
                "confirmed": True,
                "latched": True,
                "acknowledgedBy": "anna",
                "comment": "seen",
            },
        )
        self.bench.send("Dev.A", 0.0)
        self.assertFalse(self.noted()[1]["active"])

    def test_the_newest_event_after_a_restart(self) -> None:
        self.bench.send("Dev.A", 2.0)
        self.bench.restart()
        self.change("acknowledge")
        self.assertTrue(self.noted()[0]["acknowledged"])

    def test_numbers_that_begin_anew(self) -> None:
        """After all events were removed the number of an alarm's event is that of another."""
        for restarted in (False, True):
            self.bench.send("Dev.A", 2.0)
            self.bench.storage.remove_events(None)
            if restarted:
                self.bench.restart()
            self.bench.recorder.raise_event(Event(SignalName("Dev", "C"), "hi", EPOCH))
            self.change("acknowledge")
            self.assertEqual(self.noted(), [None])
            self.bench.send("Dev.A", 0.0)

    def test_nothing_is_raised_while_rules_are_off(self) -> None:
        self.change("suppress")
        self.bench.send("Dev.A", 2.0)
        self.bench.on(events=False)
        self.change("unsuppress")
        self.assertEqual(self.bench.events(), [])

    def test_shelving_hides(self) -> None:
        """What became active meanwhile is told at its end."""
        self.change("shelve", seconds=10)
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(self.bench.events(), [])
        self.bench.clock.advance(10.1)
        self.assertEqual(self.bench.events(), ["big"])

    def test_unsuppressed_by_a_person(self) -> None:
        """The event that waited is raised by the same call."""
        self.change("suppress")
        self.bench.send("Dev.A", 2.0)
        self.change("unsuppress")
        self.assertEqual(self.bench.events(), ["big"])

    def test_refusals(self) -> None:
        for verb, name in (("unlatch", "big"), ("confirm", "big"), ("shelve", "none"), ("told", "big")):
            with self.assertRaises(Exception) as caught:
                self.bench.automation.change_alarm(verb, name, "anna")
            self.assertEqual(getattr(caught.exception, "code", None), "bad-value", verb)

    def test_reset(self) -> None:
        """RTOC's reset: the next evaluation is like the first."""
        self.bench.send("Dev.A", 2.0, 2.0)
        self.assertEqual(self.bench.events(), ["big"])
        self.assertTrue(self.bench.automation.reset(None).done)
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(self.bench.events(), ["big"])
        self.bench.automation.reset(["big"])
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(self.bench.events(), ["big"])
        self.bench.automation.reset(None)
        self.assertTrue(self.bench.automation.reset(None).done)
