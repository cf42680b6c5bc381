"""What events tell of their alarm, and why they were raised: through storms, removals and restarts."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation import outbox, running
from rtoc_twisted.automation.actions import Outcome
from rtoc_twisted.model import Event, SignalName
from rtoc_twisted.storage.memory import MemoryStorage
from tests.engine_support import EPOCH, Bench

ELSEWHERE = SignalName("Dev", "C")


class NotesCase(SynchronousTestCase):
    """A rule that wants to be acknowledged and confirmed, and an action that listens for `evA`."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.rule("big", "Dev.A.latest > 1", ack=True, confirm=True, id="evA")
        self.bench.action("one", "evA")
        self.bench.on()

    def change(self, verb: str, **more: Any) -> None:
        _, commit = self.bench.automation.change_alarm(verb, "big", "anna", **more)
        self.assertTrue(commit.done)

    def told(self, *names: str) -> list[Any]:
        """Return what the events tell of their alarm; of one that tells nothing None."""
        events = self.successResultOf(self.bench.storage.events())
        return [event.alarm and tuple(event.alarm[name] for name in names) for event in events]

    def raise_event(self, action_id: str = "", **more: Any) -> None:
        self.bench.recorder.raise_event(Event(ELSEWHERE, "hi", EPOCH, action_id=action_id, **more))

    def why(self, number: int) -> Any:
        return self.successResultOf(self.bench.automation.why(number))


class AlarmsOfEventsTest(NotesCase):
    """Several events of one alarm: what a person does is told by all that wait for it."""

    def test_all_that_wait_are_acknowledged_and_confirmed(self) -> None:
        for restarted in (False, True):
            self.bench.send("Dev.A", 2.0, 0.0, 2.0, 0.0, 2.0)
            if restarted:
                self.bench.restart(gently=False)
            self.change("acknowledge", comment="seen")
            told = self.told("acknowledged", "confirmed", "acknowledgedBy", "comment")
            self.assertEqual(told[-3:], [(True, False, "anna", "seen")] * 3)
            self.change("confirm")
            self.assertEqual(set(self.told("acknowledged", "confirmed")), {(True, True)})
            self.bench.send("Dev.A", 0.0)

    def test_what_was_answered_is_not_asked_again(self) -> None:
        self.bench.send("Dev.A", 2.0)
        self.change("acknowledge")
        self.change("confirm")
        self.bench.send("Dev.A", 0.0, 2.0)
        self.assertEqual(self.told("acknowledged"), [(True,), (False,)])
        self.bench.automation.change_alarm("acknowledge", "big", "berta")
        self.assertEqual(self.told("acknowledgedBy"), [("anna",), ("berta",)])

    def test_the_newest_alone_is_active(self) -> None:
        """Also where the alarm stays active between two events, or the end is an event of its own."""
        for trigger, told in (
            ("rising", [False, True]),
            ("both", [False, False, True]),
            ("true", [False, True]),
        ):
            bench = self.bench = Bench()
            bench.rule("big", "Dev.A.latest > 1", ack=True, trigger=trigger)
            bench.on()
            bench.send("Dev.A", 2.0, 0.0, 2.0)
            self.assertEqual(self.told("active"), [(active,) for active in told], trigger)

    def test_a_storm(self) -> None:
        """So many are followed; what is older tells nothing any more, so that nobody waits in vain."""
        self.patch(outbox, "MOST", 3)
        self.bench.rule("big", "Dev.A.latest > 1", ack=True, trigger="true")
        for _ in range(5):
            self.bench.send("Dev.A", 2.0)
        self.assertEqual(self.told("acknowledged"), [None, None, (False,), (False,), (False,)])
        self.assertEqual(self.bench.automation.counters()["alarm_events_forgotten"], 2)
        self.change("acknowledge")
        self.assertEqual(self.told("acknowledged"), [None, None, (True,), (True,), (True,)])

    def test_a_rule_that_is_removed_or_wants_nothing_any_more(self) -> None:
        self.bench.send("Dev.A", 2.0, 0.0, 2.0)
        self.bench.rule("big", "Dev.A.latest > 1", id="evA")
        self.assertEqual(self.told(), [None, None])
        self.bench.rule("big", "Dev.A.latest > 1", id="evA", ack=True)
        self.bench.send("Dev.A", 0.0, 2.0)
        self.assertEqual(self.told("acknowledged"), [None, None, (False,)])
        self.bench.automation.remove("event", "big", "me")
        self.assertEqual(self.told(), [None] * 3)

    def test_what_was_answered_stays_so(self) -> None:
        """Also when the rule is removed while its alarm is active."""
        self.bench.send("Dev.A", 2.0)
        self.change("acknowledge")
        self.change("confirm")
        self.bench.automation.remove("event", "big", "me")
        self.assertEqual(self.told("acknowledgedBy", "confirmed", "active"), [("anna", True, False)])

    def test_a_rule_that_begins_anew(self) -> None:
        """Another condition makes it inactive, and its event tells that."""
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(self.told("active", "acknowledged"), [(True, False)])
        self.bench.rule("big", "Dev.A.latest > 10", ack=True, confirm=True)
        self.assertEqual(self.told("active", "acknowledged"), [(False, False)])
        self.change("acknowledge")
        self.assertEqual(self.told("active", "acknowledged"), [(False, True)])

    def test_an_alarm_that_is_none_of_ours(self) -> None:
        """Other code raises events with an alarm, of no rule, or with a cause that says little."""
        for alarm in ({"active": True}, {"rule": "gone"}, {"rule": ["big"]}):
            for cause in (None, {"text": "x"}):
                self.raise_event("evA", alarm=alarm, cause=cause)
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(len(self.bench.scripts.started), 6)
        for run in self.bench.scripts.started:
            run.done.callback(Outcome("1", True))
        self.assertEqual([len(self.why(number)[0]["actions"]) for number in range(1, 7)], [1] * 6)


class NumbersTest(NotesCase):
    """Numbers of events begin anew when all are removed."""

    def test_an_action_that_ends_late(self) -> None:
        """What it did is no business of the event that has its event's number now."""
        for clear in (lambda: self.bench.storage.remove_events(None), self.bench.recorder.clear):
            self.raise_event("evA")
            clear()
            self.raise_event()
            self.bench.scripts.started[-1].done.callback(Outcome("1", True))
            self.assertEqual(self.why(1), [])
            self.bench.storage.remove_events(None)

    def test_an_event_that_follows_from_one_that_is_gone(self) -> None:
        self.raise_event("evA")
        self.bench.storage.remove_events(None)
        self.raise_event("evA")
        with self.bench.chain.within(self.bench.scripts.started[0].link):
            self.raise_event()
        self.assertEqual([cause["event"] for cause in self.why(2)], [2])

    def test_what_the_disk_refused(self) -> None:
        """The number of an event that was not stored comes again: those before it are still known."""

        class Forgetful(MemoryStorage):
            def forget(self, number: int) -> None:
                self._last_event = number

        storage = Forgetful()
        self.bench = Bench(storage)
        self.bench.rule("big", "Dev.A.latest > 1", ack=True)
        self.bench.on()
        self.bench.send("Dev.A", 2.0, 0.0, 2.0)
        storage.remove_events([2])
        storage.forget(1)
        self.raise_event()
        self.change("acknowledge")
        self.assertEqual(self.told("acknowledged"), [(True,), None])


class RecordsTest(NotesCase):
    """What runs did is kept in few words, and in fewer where there are many."""

    def record(self, **fields: Any) -> Any:
        """Let the action run; return what the cause of its event keeps of that, and as how much JSON."""
        self.raise_event("evA")
        run = self.bench.scripts.started[-1]
        run.done.callback(Outcome("1", True, **fields))
        (record,) = self.why(run.event.number)[0]["actions"]
        return record

    def test_one_run(self) -> None:
        """What is long is cut, whatever it is."""
        calls = [{"what": "call", "args": ["x" * 190] * 10}] * 100
        value = {"a": ["y" * 200] * 100}
        record = self.record(output="z" * 65536, calls=calls, kind="value", data=value)
        self.assertEqual(record["output"], "z" * 10_000)
        self.assertLess(len(repr(record)), 31_000)
        further = record["calls"].pop()
        self.assertEqual(further, {"what": "further", "count": 100 - len(record["calls"])})
        self.assertEqual(record["calls"], calls[: len(record["calls"])])
        self.assertGreater(len(record["calls"]), 1)

    def test_calls_that_were_counted_already(self) -> None:
        calls = [{"what": "stream", "signal": "x" * 100}] * 100
        record = self.record(calls=[*calls, {"what": "further", "count": 7}])
        self.assertEqual(record["calls"][-1]["count"], 107 - len(record["calls"]) + 1)

    def test_many_runs(self) -> None:
        """At ten a second little is kept of each; the newest is told as well as it may be."""
        kept = 0
        for _ in range(3000):
            self.bench.clock.advance(0.1)
            record = self.record(output="z" * 65536)
            kept += len(repr(record))
        self.assertLess(kept, 2_000_000)
        self.assertEqual((record["ok"], record["output"], record["leftOut"]), (True, "z" * 200, 65336))
        self.bench.clock.advance(3600.0)
        self.assertEqual(len(self.record(output="z" * 65536)["output"]), 10_000)

    def test_many_actions_of_one_event(self) -> None:
        """A cause is written anew with each that ends: it has a size, too."""
        self.patch(running, "MOST", 3)
        for name in "abcd":
            self.bench.action(name, "evA")
        self.raise_event("evA")
        for run in self.bench.scripts.started:
            run.done.callback(Outcome("1", True))
        cause = self.why(1)[0]
        self.assertEqual([record["action"] for record in cause["actions"]], ["one", "a", "b"])
        self.assertEqual(cause["further"], 2)
