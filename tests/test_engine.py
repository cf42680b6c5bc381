"""Rules are evaluated when what they name changes, and raise events after their cause was told."""

from __future__ import annotations

from typing import Any

import numpy as np
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.chain import DEEPEST, Link
from rtoc_twisted.errors import StorageFailed
from rtoc_twisted.model import Columns, Event, Hold, Names, Samples, SignalName
from rtoc_twisted.storage.memory import MemoryStorage
from tests.engine_support import EPOCH, Bench


class TriggerTest(SynchronousTestCase):
    """The meaning of RTOC's triggers, as its server was seen to have it (golden lines trigger.*)."""

    def fired(self, trigger: str, *values: float) -> list[int]:
        """Return after which of the values there was an event."""
        bench = Bench()
        bench.rule("T", "Dev.A.latest >= 2", trigger=trigger)
        bench.on()
        fired = []
        for index, value in enumerate(values):
            bench.send("Dev.A", value)
            fired += [index] * len(bench.events())
        return fired

    def test_golden_lines(self) -> None:
        values = (1.0, 3.0, 3.0, 1.0, 1.0)
        found = {name: self.fired(name, *values) for name in ("rising", "falling", "both", "true", "false")}
        self.assertEqual(
            found,
            {"rising": [1], "falling": [3], "both": [1, 3], "true": [1, 2], "false": [0, 3, 4]},
        )

    def test_first_evaluation_has_no_memory(self) -> None:
        found = [self.fired(name, 3.0) for name in ("rising", "both", "falling")]
        self.assertEqual(found, [[0], [0], []])


class EngineTest(SynchronousTestCase):
    """One rule or two, and a signal."""

    def setUp(self) -> None:
        self.bench = Bench(window=5)
        self.bench.on()

    def test_order_of_what_is_told(self) -> None:
        """First the signal, then all values of the message, then the events."""
        self.bench.rule("big", "Dev.A.latest >= 2", text="big")
        self.bench.send("Dev.A", 1.0, 3.0, 1.0, 4.0)
        self.assertEqual(
            self.bench.observer.heard,
            ["added Dev.A", "samples [1.0, 3.0, 1.0, 4.0]", "event big", "event big"],
        )

    def test_event(self) -> None:
        """Its fields are those of the rule; without names it belongs to the first signal of the condition."""
        self.bench.rule("big", "Dev.A.latest >= 2", text="It is big", priority=2, id="evA", retur="7")
        self.bench.send("Dev.A", 3.0, x=5.0)
        (event,) = self.bench.observer.events
        self.assertEqual(
            (event.name, event.text, event.priority, event.action_id, event.value, event.x, event.number),
            (SignalName("Dev", "A"), "It is big", 2, "evA", "7", EPOCH, 1),
        )
        self.assertIsNone(event.alarm)

    def test_names_of_the_rule(self) -> None:
        self.bench.rule("big", "Dev.A.latest >= 2", dname="House", sname="Door")
        self.bench.send("Dev.A", 3.0)
        self.assertEqual(self.bench.observer.events[0].name, SignalName("House", "Door"))

    def test_cause(self) -> None:
        """It holds the values of its evaluation, though later ones were in the message."""
        self.bench.rule("big", "Dev.A.latest >= 2 and Dev.B.latest > 0")
        self.bench.send("Dev.B", 1.0)
        self.bench.send("Dev.A", 1.0, 3.0, 1.0, x=10.0)
        notes: Any = self.successResultOf(self.bench.storage.event_notes(1))
        cause = notes["cause"]
        self.assertEqual(len(cause.pop("id")), 16)
        self.assertEqual(
            cause,
            {
                "depth": 1,
                "parent": None,
                "by": "rule",
                "at": EPOCH,
                "rule": "big",
                "trigger": "rising",
                "cond": "Dev.A.latest >= 2 and Dev.B.latest > 0",
                "values": {"Dev.A.latest": 3.0, "Dev.B.latest": 1.0},
                "sample": {"signal": "Dev.A", "x": 11.0, "y": 3.0},
                "actions": [],
            },
        )

    def test_nothing_while_switched_off(self) -> None:
        self.bench.rule("big", "Dev.A.latest >= 2")
        self.bench.on(events=[])
        self.bench.send("Dev.A", 3.0)
        self.assertEqual(self.bench.events(), [])
        self.assertEqual(self.bench.automation.counters()["rule_evaluations"], 0)
        self.bench.on()
        self.bench.send("Dev.A", 4.0)
        self.assertEqual(self.bench.events(), ["big"])

    def test_a_rule_that_is_not_active(self) -> None:
        self.bench.rule("big", "Dev.A.latest >= 2", active=False)
        self.bench.send("Dev.A", 3.0)
        self.bench.rule("big", "Dev.A.latest >= 2", active=True)
        self.assertEqual(self.bench.events(), [])
        self.bench.send("Dev.A", 3.0)
        self.assertEqual(self.bench.events(), ["big"])

    def test_other_signals_cost_nothing(self) -> None:
        self.bench.rule("big", "Dev.A.latest >= 2")
        self.bench.send("Dev.B", *range(100))
        self.assertEqual(self.bench.automation.counters()["rule_evaluations"], 0)

    def test_columns_of_numpy(self) -> None:
        """Values in arrays are evaluated as Python's floats: what has no value fails."""
        self.bench.rule("ratio", "1 / Dev.A.latest > 1")
        names = Names([SignalName("Dev", "A")] * 2, ["", ""])
        y: Any = np.array([0.0, 0.5])
        self.bench.recorder.append(Samples(names, [1.0, 2.0], y))
        self.assertEqual(self.bench.events(), ["ratio"])
        self.assertEqual(self.bench.automation.counters()["rule_evaluations_failed"], 1)

    def test_a_signal_that_comes_goes_and_comes_again(self) -> None:
        self.bench.rule("big", "Dev.A.latest >= 2", trigger="true")
        self.assertEqual(self.bench.told("big").get("problem"), None)
        self.bench.send("Dev.A", 3.0)
        (signal,) = (one for one in self.bench.storage.signals() if one.name.device == "Dev")
        self.bench.recorder.remove([signal])
        self.bench.send("Dev.A", 4.0)
        self.bench.recorder.clear()
        self.bench.send("Dev.A", 5.0)
        self.assertEqual(self.bench.events(), ["big"] * 3)

    def test_a_rule_of_two_signals_waits_for_both(self) -> None:
        self.bench.rule("both", "Dev.A.latest + Dev.B.latest > 2", trigger="true")
        self.bench.send("Dev.A", 3.0)
        self.assertIn("Dev.B", self.bench.told("both")["problem"])
        self.bench.send("Dev.B", 0.0)
        self.assertEqual(self.bench.events(), ["both"])
        self.assertNotIn("problem", self.bench.told("both"))
        self.assertEqual(self.bench.automation.counters()["rule_evaluations_failed"], 0)

    def test_values_from_before_the_rule(self) -> None:
        """What was recorded before counts for the other signals of a condition, but is not evaluated."""
        self.bench.send("Dev.A", 3.0)
        self.bench.rule("both", "Dev.A.latest + Dev.B.latest > 2")
        self.assertEqual(self.bench.events(), [])
        self.bench.send("Dev.B", 0.0)
        self.assertEqual(self.bench.events(), ["both"])

    def test_names_with_dots(self) -> None:
        """The longest device name that makes it a signal wins, also when that comes later."""
        self.bench.rule("dots", 'signal("a.b.c") > 0', trigger="true")
        self.bench.send("a.b.c", 1.0)
        self.assertEqual(self.bench.events(), ["dots"])
        short = Names([SignalName("a", "b.c")], [""])
        self.bench.recorder.append(Samples(short, [1.0], [7.0]))
        self.assertEqual(self.bench.events(), [])
        self.bench.send("a.b.c", 2.0)
        self.assertEqual(self.bench.events(), ["dots"])
        (long,) = (one for one in self.bench.storage.signals() if one.name == SignalName("a.b", "c"))
        self.bench.recorder.remove([long])
        self.bench.recorder.append(Samples(short, [2.0], [7.0]))
        self.assertEqual(self.bench.events(), ["dots"])

    def test_order_of_rules(self) -> None:
        """As they were set first, whatever happens to them later."""
        for name in "zam":
            self.bench.rule(name, "Dev.A.latest > 1")
        for cond, active in (
            ("Dev.A.latest > 1", False),
            ("Dev.A.latest > 1", True),
            ("Dev.A.latest > 0", True),
        ):
            self.bench.rule("z", cond, active=active)
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(self.bench.events(), ["z", "a", "m"])
        self.bench.restart()
        self.bench.send("Dev.A", 0.0, 2.0)
        self.assertEqual(self.bench.events(), ["z", "a", "m"])

    def test_hysteresis(self) -> None:
        self.bench.rule("hot", "T.now.latest > 20", off="T.now.latest < 18", trigger="both")
        fired = []
        for value in (19.0, 21.0, 19.0, 21.0, 17.0, 19.0):
            self.bench.send("T.now", value)
            fired.append(len(self.bench.events()))
        self.assertEqual(fired, [0, 1, 0, 0, 1, 0])

    def test_hysteresis_of_a_signal_that_is_not_known(self) -> None:
        """Nobody knows whether it is off: it stays on."""
        self.bench.rule("hot", "T.now.latest > 20", off="T.limit.latest > T.now.latest", trigger="both")
        self.bench.send("T.now", 21.0, 10.0)
        self.assertEqual(self.bench.events(), ["hot"])
        self.bench.send("T.limit", 18.0)
        self.assertEqual(self.bench.events(), ["hot"])

    def test_fails_once_in_the_log(self) -> None:
        """And again only after it had a value."""
        self.bench.rule("ratio", "1 / Dev.A.latest > 1")
        with capturedLogs() as logs:
            self.bench.send("Dev.A", 0.0, 0.0)
            self.assertIn("zero", self.bench.told("ratio")["problem"])
            self.bench.send("Dev.A", 0.5, 0.0)
        self.assertEqual([log["rule"] for log in logs if "rule" in log], ["ratio", "ratio"])
        self.assertEqual(self.bench.automation.counters()["rule_evaluations_failed"], 3)

    def test_test_event(self) -> None:
        """It tells the value in RTOC's words, and raises the event if it holds or is forced."""
        bench, test = self.bench, self.bench.automation.test_event
        bench.rule("big", "Dev.A.latest >= 2", ack=True)
        self.assertEqual(self.successResultOf(test("none")), {"ok": False, "value": None})
        found = self.successResultOf(test("big"))
        self.assertEqual((found["ok"], "Dev.A" in found["value"]), (False, True))
        bench.send("Dev.A", 1.0)
        told = {"ok": True, "value": "Condition is valid\nAnswer: False"}
        for events in (True, False):
            bench.on(events=events)
            self.assertEqual(self.successResultOf(test("big")), told)
            self.assertEqual(bench.events(), [])
            self.assertEqual(self.successResultOf(test("big", force=True)), told)
            self.assertEqual([event.cause["by"] for event in bench.observer.events], ["test"])
            # It is no event of the alarm: nobody has to acknowledge it.
            self.assertIsNone(bench.observer.events[0].alarm)
            self.assertEqual(bench.events(), ["big"])
        bench.send("Dev.A", 2.0)
        self.assertEqual(self.successResultOf(test("big"))["value"], "Condition is valid\nAnswer: True")
        self.assertEqual(bench.events(), ["big"])

    def test_depth(self) -> None:
        """What an action does raises events as its consequence, up to a depth; then one event says so."""
        self.bench.rule("big", "Dev.A.latest >= 2", trigger="true", id="evA")
        self.bench.action("circle", "evA")
        with self.bench.chain.within(Link("c", DEEPEST - 1, 7, "action")):
            self.bench.send("Dev.A", 2.0)
        (event,) = self.bench.observer.events
        self.assertEqual([event.cause[key] for key in ("id", "depth", "parent")], ["c", DEEPEST, 7])
        self.assertEqual(self.bench.events(), ["big"])
        for _ in range(2):
            with self.bench.chain.within(Link("c", DEEPEST, 7, "action")):
                self.bench.send("Dev.A", 2.0)
        (event,) = self.bench.observer.events
        self.assertEqual((event.name, event.priority), (SignalName("RTOC", ""), 1))
        self.assertIn("big", event.text)
        self.assertEqual(self.bench.automation.counters()["rule_events_in_circles"], 2)
        self.assertEqual([run.event.number for run in self.bench.scripts.started], [1])

    def test_brake(self) -> None:
        """Of a storm the first events are raised, its beginning and its end are told, once."""
        self.bench.rule("big", "Dev.A.latest >= 2", trigger="true", perMinute=3)
        self.bench.send("Dev.A", *[2.0] * 50)
        told = self.bench.events()
        self.assertEqual((told[:3], len(told)), (["big"] * 3, 4))
        self.assertIn("3 events a minute", told[3])
        self.assertEqual(self.bench.automation.counters()["rule_events_braked"], 47)
        self.bench.clock.pump([1.0] * 100)
        self.assertEqual(len(told := self.bench.events()), 1, told)
        self.assertIn("47", told[0])

    def test_a_storm_of_many_rules(self) -> None:
        """All of them together have a limit as well, told once at its beginning and once at its end."""
        for number in range(30):
            self.bench.rule(f"r{number}", "Dev.A.latest >= 2", trigger="true", perMinute=0)
        self.bench.send("Dev.A", *[2.0] * 100)
        told = self.bench.events()
        notices = [text for text in told if text.startswith("all rules together")]
        self.assertEqual((len(told), len(notices)), (2001, 1))
        self.bench.clock.pump([1.0] * 70)
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(
            [text for text in self.bench.events() if "1000" in text],
            ["all rules together: the storm of events is over, 1000 were left out"],
        )

    def test_a_rule_that_is_set_again_in_a_storm(self) -> None:
        """It is the same storm: told once, and no event more."""
        found = []
        for text in ("a", "b", "c"):
            self.bench.rule("big", "Dev.A.latest >= 2", trigger="true", perMinute=3, text=text)
            self.bench.send("Dev.A", *[2.0] * 10)
            found.append(len(self.bench.events()))
        self.assertEqual(found, [4, 0, 0])
        self.bench.clock.pump([1.0] * 100)
        self.assertIn("27", self.bench.events()[0])
        for number, by in ((1, "rule"), (4, "brake")):
            (cause,) = self.successResultOf(self.bench.automation.why(number)) or ()
            self.assertEqual((cause["by"], cause["rule"]), (by, "big"))

    def test_an_event_that_cannot_be_raised(self) -> None:
        """Where there is no room for its signal the others go on."""
        bench = Bench(MemoryStorage(max_signals=1))
        bench.on()
        bench.rule("one", "Dev.A.latest >= 2", dname="House", sname="Door")
        bench.rule("two", "Dev.A.latest >= 2")
        bench.send("Dev.A", 2.0)
        self.assertEqual(bench.events(), ["two"])


class PlotTest(SynchronousTestCase):
    """Plots replace what there was, or add to it: one evaluation, with the newest value."""

    def setUp(self) -> None:
        self.bench = Bench(window=5)
        self.bench.on()

    def test_one_evaluation(self) -> None:
        self.bench.rule("big", "Dev.A.latest >= 2", trigger="true")
        self.bench.plot("Dev.A", 5.0, 6.0, 7.0)
        self.assertEqual(self.bench.events(), ["big"])
        self.bench.plot("Dev.A", 5.0, 1.0)
        self.bench.plot("Dev.A")
        self.assertEqual(self.bench.events(), [])

    def test_arrays(self) -> None:
        self.bench.rule("sum", "np.sum(Dev.A.y) == 9", trigger="true")
        self.bench.plot("Dev.A", 100.0, 100.0)
        self.bench.plot("Dev.A", 4.0, 5.0)
        self.assertEqual(self.bench.events(), ["sum"])
        self.bench.plot("Dev.A", 0.0, 0.0, 0.0, 0.0, hold=Hold.ON)
        self.bench.send("Dev.A", 4.0)
        # The window holds the newest five: 0, 0, 0, 0 and 4.
        self.assertEqual(self.bench.events(), [])
        self.bench.send("Dev.A", 5.0)
        self.assertEqual(self.bench.events(), ["sum"])


class SlowStorage(MemoryStorage):
    """Answers reads when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[tuple[Deferred[list[Columns]], Any]] = []

    def read(self, requests: Any, limit: int | None = None) -> Deferred[list[Columns]]:
        answer: Deferred[list[Columns]] = Deferred()
        # What was taken before this call, and nothing that comes later.
        self.reads.append((answer, self._read_all(requests, limit)))
        return answer

    def answer(self) -> None:
        waiting, self.reads = self.reads, []
        for answer, columns in waiting:
            answer.callback(columns)


class ReadingTest(SynchronousTestCase):
    """Arrays and rates begin with what is recorded, and until that is read their rules wait."""

    def setUp(self) -> None:
        self.storage = SlowStorage()
        self.bench = Bench(self.storage, window=4)
        self.bench.on()

    def test_values_that_come_meanwhile(self) -> None:
        self.bench.send("Dev.A", 1.0, 2.0, 3.0)
        self.bench.rule("sum", "np.sum(Dev.A.y) == 15", trigger="true")
        self.bench.send("Dev.A", 4.0)
        self.bench.send("Dev.A", 6.0)
        self.assertIn("Dev.A", self.bench.told("sum")["problem"])
        self.assertEqual(self.bench.events(), [])
        self.storage.answer()
        self.assertEqual(self.bench.events(), ["sum"])

    def test_nothing_came_meanwhile(self) -> None:
        self.bench.send("Dev.A", 15.0)
        self.bench.rule("sum", "np.sum(Dev.A.y) == 15", trigger="true")
        self.storage.answer()
        self.assertEqual(self.bench.events(), [])

    def test_replaced_meanwhile(self) -> None:
        """What was read of samples that are gone does not count."""
        self.bench.send("Dev.A", 100.0)
        self.bench.rule("sum", "np.sum(Dev.A.y) == 3", trigger="true")
        self.bench.plot("Dev.A", 1.0, 2.0)
        self.assertEqual(self.bench.events(), ["sum"])
        self.storage.answer()
        self.bench.send("Dev.A", 0.0)
        self.assertEqual(self.bench.events(), ["sum"])

    def test_a_rule_that_needs_more(self) -> None:
        """The newest two of a signal are known, and then another rule wants four."""
        self.bench.send("Dev.A", 1.0, 2.0, 3.0)
        self.bench.rule("two", "Dev.A.y[-2] == 3", trigger="true")
        self.storage.answer()
        self.bench.rule("all", "np.sum(Dev.A.y) == 10", trigger="true")
        self.bench.send("Dev.A", 4.0)
        self.storage.answer()
        self.assertEqual(self.bench.events(), ["two", "all"])

    def test_the_past_cannot_be_read(self) -> None:
        self.bench.send("Dev.A", 1.0)
        self.bench.rule("sum", "np.sum(Dev.A.y) == 3", trigger="true")
        self.bench.send("Dev.A", 3.0)
        ((answer, _),) = self.storage.reads
        answer.errback(StorageFailed("no disk"))
        self.assertEqual(self.bench.events(), ["sum"])

    def test_removed_meanwhile(self) -> None:
        self.bench.send("Dev.A", 1.0)
        self.bench.rule("sum", "np.sum(Dev.A.y) == 3", trigger="true")
        self.bench.automation.remove("event", "sum", "me")
        self.storage.answer()
        self.bench.send("Dev.A", 3.0)
        self.assertEqual(self.bench.events(), [])

    def test_a_test_of_a_rule_that_is_not_at_work(self) -> None:
        """It waits for what it needs to read."""
        self.bench.send("Dev.A", 1.0, 2.0)
        self.bench.rule("sum", "np.sum(Dev.A.y)", active=False)
        testing = self.bench.automation.test_event("sum")
        self.assertNoResult(testing)
        self.storage.answer()
        told = {"ok": True, "value": "Condition is valid\nAnswer: 3.0"}
        self.assertEqual(self.successResultOf(testing), told)
        self.assertEqual(self.bench.events(), ["sum"])

    def test_rate(self) -> None:
        """The change of y per unit of x over the last seconds of x, from before the rule on."""
        self.bench.send("Dev.A", 0.0, 10.0, x=100.0)
        self.bench.rule("fast", "rate(Dev.A, 5) == 4", trigger="true")
        self.storage.answer()
        self.bench.send("Dev.A", 16.0, x=104.0)
        self.assertEqual(self.bench.events(), ["fast"])
        self.bench.send("Dev.A", 22.0, x=107.0)
        self.assertEqual(self.bench.events(), [])


class ParameterTest(SynchronousTestCase):
    """Parameters of plugins are values, too."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.on()

    def change(self, value: Any) -> list[str]:
        """Set a parameter, tell of plugins, and return the events."""
        self.bench.plugins.parameters["Gen", "level"] = value
        self.bench.recorder.tell_plugins({})
        return self.bench.events()

    def test_changes(self) -> None:
        """A change is an evaluation, to be told of the same value again is none."""
        self.bench.rule("high", "Gen.level > 1", trigger="true")
        found = [self.change(value) for value in (1, 2, 2, True, "3", 3.5, [4])]
        self.assertEqual(found, [[], ["high"], [], [], [], ["high"], []])
        nan = float("nan")
        evaluations = []
        for value in (nan, nan, nan, 1.0):
            self.change(value)
            evaluations.append(self.bench.automation.counters()["rule_evaluations"])
        self.assertEqual([each - evaluations[0] for each in evaluations], [0, 0, 0, 1])
        self.change([4])
        self.assertEqual(self.bench.observer.heard[:2], ["plugins", "plugins"])
        self.assertIn("Gen.level", self.bench.told("high")["problem"])

    def test_a_signal_of_the_name_wins(self) -> None:
        self.bench.rule("high", "Gen.level > 1", trigger="true")
        self.change(5)
        self.bench.send("Gen.level", 0.0)
        self.assertEqual(self.change(6), [])

    def test_named_as_a_parameter(self) -> None:
        self.bench.rule("high", 'parameter("Gen.level") > 1', trigger="true")
        self.bench.send("Gen.level", 0.0)
        self.assertEqual(self.change(6), ["high"])

    def test_its_events_make_no_signal_of_its_name(self) -> None:
        self.bench.rule("high", "Gen.level > 1", trigger="true")
        self.change(5)
        self.assertEqual(self.change(6), ["high"])
        self.assertNotIn("added Gen.level", self.bench.observer.heard)

    def test_an_event_of_another(self) -> None:
        """Events that no rule raised are no business of rules."""
        self.bench.recorder.raise_event(Event(SignalName("Dev", "A"), "hello", EPOCH))
        self.assertEqual(self.bench.events(), ["hello"])
        self.assertEqual(self.successResultOf(self.bench.storage.event_notes(1)), {})
