"""The one place that writes and tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass, verifyObject

from rtoc_twisted.errors import TooLarge
from rtoc_twisted.events.log import EventLog
from rtoc_twisted.interfaces import IListener, IRecorder
from rtoc_twisted.model import Event, Hold, Names, Plot, Samples, Selector, Signal, SignalName, Window
from rtoc_twisted.recorder import Recorder
from rtoc_twisted.storage.memory import MemoryStorage

A, B, C = (SignalName("D", name) for name in "ABC")
ALL = Selector(all_signals=True)


@implementer(IListener)
class Ears:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.facts: list[tuple[Any, ...]] = []

    def heard(self) -> list[tuple[Any, ...]]:
        facts, self.facts = self.facts, []
        return facts

    def signal_added(self, signal: Signal) -> None:
        self.facts.append(("added", signal.name.name))

    def signal_removed(self, signal: Signal) -> None:
        self.facts.append(("removed", signal.name.name))

    def samples_appended(self, signals: Sequence[Signal], samples: Samples) -> None:
        told = [(signal.name.name, signal.unit, y) for signal, y in zip(signals, samples.y, strict=True)]
        self.facts.append(("samples", told))

    def plot_drawn(self, signal: Signal, plot: Plot) -> None:
        self.facts.append(("plot", signal.name.name, signal.unit, plot.x.tolist(), plot.y.tolist()))

    def event_raised(self, event: Event) -> None:
        self.facts.append(("event", event.number, event.text))

    def plugins_changed(self, plugins: Mapping[str, Any]) -> None:
        self.facts.append(("plugins", plugins))


class Deaf(Ears):
    """Raises whatever it hears."""

    def fail(self, *_: object) -> None:
        raise ZeroDivisionError

    signal_added = signal_removed = samples_appended = plot_drawn = event_raised = fail


def values(*pairs: tuple[SignalName, float], unit: str = "") -> Samples:
    """Return samples with an address for each value, in a layout of their own."""
    names = Names([name for name, _ in pairs], [unit] * len(pairs))
    return Samples(names, [float(index) for index in range(len(pairs))], [y for _, y in pairs])


def plot(name: SignalName, x: list[float], y: list[float], hold: Hold = Hold.OFF, unit: str = "V") -> Plot:
    """Return a plot."""
    return Plot(name, np.array(x), np.array(y), unit, hold)


class RecorderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.storage = MemoryStorage(max_signals=100)
        self.recorder = Recorder(self.storage, EventLog(self.storage))
        self.ears = Ears()
        self.undo = self.recorder.subscribe(self.ears, ALL)

    def read(self, name: SignalName) -> list[float]:
        signal = self.storage.find(name)
        assert signal is not None
        (columns,) = self.successResultOf(self.storage.read([(signal.id, Window())]))
        return list(columns.y)

    def test_interfaces(self) -> None:
        verifyObject(IRecorder, self.recorder)
        verifyClass(IRecorder, Recorder)
        verifyObject(IListener, self.ears)

    def test_a_signal_is_told_before_its_values(self) -> None:
        commit = self.recorder.append(values((A, 1), (B, 2), (A, 3)))
        self.assertTrue(commit.done)
        told = [("A", "", 1), ("B", "", 2), ("A", "", 3)]
        self.assertEqual(self.ears.heard(), [("added", "A"), ("added", "B"), ("samples", told)])
        self.assertEqual((self.read(A), self.read(B)), ([1, 3], [2]))

    def test_a_layout_is_remembered(self) -> None:
        names = Names([A, B], ["", ""])
        self.recorder.append(Samples(names, [0, 0], [1, 2]))
        self.patch(self.recorder, "_lay_out", self.fail)
        self.recorder.append(Samples(names, [0, 0], [3, 4]))
        self.assertEqual(self.read(B), [2, 4])

    def test_two_clients_with_different_units(self) -> None:
        volts, amperes = Names([A], ["V"]), Names([A], ["A"])
        for _ in range(2):
            for names in (volts, amperes):
                self.recorder.append(Samples(names, [0], [1]))
        told = [fact[1][0][1] for fact in self.ears.heard() if fact[0] == "samples"]
        self.assertEqual(told, ["V", "A", "V", "A"])
        self.assertEqual(self.storage.find(A).unit, "A")

    def test_two_units_in_one_message(self) -> None:
        self.recorder.append(Samples(Names([A, A], ["V", "mV"]), [0, 1], [1, 2]))
        self.assertEqual(self.ears.heard()[-1], ("samples", [("A", "mV", 1), ("A", "mV", 2)]))

    def test_a_signal_that_was_removed_comes_again(self) -> None:
        names = Names([A, B], ["", ""])
        self.recorder.append(Samples(names, [0, 0], [1, 2]))
        old = self.storage.find(A)
        self.ears.heard()
        counts = self.successResultOf(self.recorder.remove([old]))
        self.assertEqual((counts, self.ears.heard()), ((1, 0), [("removed", "A")]))
        self.recorder.append(Samples(names, [0, 0], [3, 4]))
        self.assertEqual(self.ears.heard()[0], ("added", "A"))
        self.assertNotEqual(self.storage.find(A).id, old.id)
        self.assertEqual((self.read(A), self.read(B)), ([3], [2, 4]))

    def test_everything_is_removed(self) -> None:
        names = Names([A, B], ["", ""])
        self.recorder.append(Samples(names, [0, 0], [1, 2]))
        self.ears.heard()
        self.successResultOf(self.recorder.clear())
        self.assertEqual(self.ears.heard(), [("removed", "A"), ("removed", "B")])
        self.recorder.append(Samples(names, [0, 0], [3, 4]))
        self.assertEqual((self.storage.find(A).id, self.read(A)), (1, [3]))

    def test_the_audience_changes_with_each_subscription(self) -> None:
        names, other = Names([A], [""]), Ears()
        self.recorder.append(Samples(names, [0], [1]))
        undo = self.recorder.subscribe(other, Selector(signals=frozenset({"D.A"})))
        self.recorder.append(Samples(names, [0], [2]))
        self.recorder.subscribe(other, Selector(devices=frozenset({"E"})))
        self.recorder.append(Samples(names, [0], [3]))
        self.recorder.subscribe(other, Selector(devices=frozenset({"D"})))
        self.recorder.append(Samples(names, [0], [4]))
        undo()
        undo()
        self.recorder.append(Samples(names, [0], [5]))
        self.assertEqual(other.heard(), [("samples", [("A", "", 2)]), ("samples", [("A", "", 4)])])

    def test_facts_of_signals_and_events_are_for_all(self) -> None:
        other = Ears()
        self.recorder.subscribe(other, Selector())
        self.recorder.append(values((A, 1)))
        self.recorder.draw(plot(A, [1], [1]))
        self.recorder.raise_event(Event(B, "text", 1.0))
        self.assertEqual(other.heard(), [("added", "A"), ("added", "B"), ("event", 1, "text")])

    def test_a_listener_that_raises_is_nobody_elses_trouble(self) -> None:
        last = Ears()
        self.recorder.subscribe(Deaf(), ALL)
        self.recorder.subscribe(last, ALL)
        self.recorder.append(values((A, 1)))
        self.recorder.draw(plot(A, [1], [2]))
        self.recorder.raise_event(Event(A, "text", 1.0))
        self.successResultOf(self.recorder.clear())
        self.assertEqual([fact[0] for fact in last.heard()], ["added", "samples", "plot", "event", "removed"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 5)

    def test_who_leaves_while_it_is_told(self) -> None:
        last = Ears()
        self.recorder.subscribe(last, ALL)
        self.patch(self.ears, "signal_added", lambda signal: self.undo())
        self.recorder.append(values((A, 1)))
        self.assertEqual(self.ears.heard(), [])
        self.assertEqual([fact[0] for fact in last.heard()], ["added", "samples"])

    def test_plots(self) -> None:
        self.recorder.draw(plot(A, [1, 2], [3, 4]))
        self.recorder.draw(plot(A, [5], [6]))
        self.recorder.draw(plot(A, [5, 7], [8, 9], Hold.MERGE_X))
        self.recorder.draw(plot(A, [5, 7], [6, 10], Hold.MERGE_Y))
        self.recorder.draw(plot(A, [1], [1], Hold.ON, unit="A"))
        self.assertEqual(
            self.ears.heard(),
            [
                ("added", "A"),
                ("plot", "A", "V", [1, 2], [3, 4]),
                ("plot", "A", "V", [5], [6]),
                ("plot", "A", "V", [7], [9]),
                ("plot", "A", "V", [7], [10]),
                ("plot", "A", "A", [1], [1]),
            ],
        )
        self.assertEqual(self.read(A), [6, 9, 10, 1])

    def test_events(self) -> None:
        self.assertTrue(self.recorder.raise_event(Event(A, "one", 1.0)).done)
        self.recorder.raise_event(Event(A, "two", 1.0))
        self.assertEqual(self.ears.heard(), [("added", "A"), ("event", 1, "one"), ("event", 2, "two")])

    def test_a_limit_stores_nothing_of_the_message(self) -> None:
        self.recorder.append(values((A, 1)))
        many = [(A, 2.0), *((SignalName("D", str(number)), 1.0) for number in range(100))]
        self.ears.heard()
        self.assertRaises(TooLarge, self.recorder.append, values(*many))
        self.assertEqual((self.ears.heard(), self.read(A), len(self.storage.signals())), ([], [1], 1))
        self.recorder.append(values((C, 1)))

    def test_what_follows_from_a_fact_is_told_after_it(self) -> None:
        order: list[str] = []
        recorder = self.recorder

        class Rule(Ears):
            def samples_appended(self, signals: Sequence[Signal], samples: Samples) -> None:
                recorder.afterwards(raise_event)
                order.append("rule")

            def event_raised(self, event: Event) -> None:
                recorder.afterwards(lambda: order.append(f"after {event.text}"))
                order.append(event.text)

        def raise_event() -> None:
            recorder.raise_event(Event(A, "one", 1.0))
            recorder.raise_event(Event(A, "two", 1.0))
            order.append("raised")

        self.undo()
        rule, late = Rule(), Ears()
        recorder.subscribe(rule, ALL)
        recorder.subscribe(late, ALL)
        recorder.append(values((A, 1)))
        # The rule hears first, the other one all the same in the order of what happened.
        self.assertEqual([fact[0] for fact in late.heard()], ["added", "samples", "event", "event"])
        self.assertEqual(order, ["rule", "one", "two", "raised", "after one", "after two"])

    def test_afterwards_without_a_fact_is_at_once(self) -> None:
        done: list[int] = []

        def fail() -> None:
            raise ZeroDivisionError

        self.recorder.afterwards(lambda: done.append(1))
        self.assertEqual(done, [1])
        self.recorder.afterwards(fail)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.recorder.afterwards(lambda: done.append(2))
        self.assertEqual(done, [1, 2])
