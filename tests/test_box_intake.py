"""What a plugin sends on its way to the recorder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.box import messages
from rtoc_twisted.box.intake import Intake
from rtoc_twisted.errors import RTOCError, StorageFailed
from rtoc_twisted.model import Event, Hold, Plot, Samples, SignalName

from .plugin_support import column, samples
from .storage_support import unhurried


class Commit:
    """A commit that is done when the test says so."""

    def __init__(self) -> None:
        self.done = False
        self.error: RTOCError | None = None
        self.durable = False
        self._waiting: list[Callable[[], None]] = []

    def when_done(self, callback: Callable[[], None]) -> None:
        self._waiting.append(callback)

    def finish(self, error: RTOCError | None = None) -> None:
        self.done, self.error = True, error
        for callback in self._waiting:
            callback()


class FakeRecorder:
    """Keeps what it is given; all of it is in `commit` until the test takes another."""

    def __init__(self) -> None:
        self.data: list[Samples | Plot | Event] = []
        self.commit = Commit()
        self.error: RTOCError | None = None

    def record(self, data: Samples | Plot | Event) -> Commit:
        if self.error is not None:
            raise self.error
        self.data.append(data)
        return self.commit

    def finish(self, error: RTOCError | None = None) -> None:
        done, self.commit = self.commit, Commit()
        done.finish(error)


class IntakeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.clock = Clock()
        self.recorder = FakeRecorder()
        self.complaints: list[str] = []
        self.held = False
        self.congested = False
        self.intake = Intake(
            self.recorder,  # type: ignore[arg-type]  # as much of IRecorder as is used
            self.clock,
            congested=lambda: self.congested,
            complain=self.complaints.append,
            hold=self.hold,
        )

    def hold(self, held: bool) -> None:
        self.held = held

    def recorded(self) -> list[tuple[str, float, float]]:
        """Return sigKey, x and y of all values."""
        return [
            (name.key, x, y)
            for data in self.recorder.data
            if isinstance(data, Samples)
            for name, x, y in zip(data.names.names, data.x, data.y, strict=True)
        ]


class SamplesTests(IntakeCase):
    def test_values_belong_to_their_names_in_turn(self) -> None:
        self.intake.take(samples([5, 6, 7, 8], ["a", "b"]))
        self.assertEqual(self.recorded(), [("D.a", 0, 5), ("D.b", 1, 6), ("D.a", 2, 7), ("D.b", 3, 8)])
        (data,) = self.recorder.data
        assert isinstance(data, Samples)
        self.assertEqual(data.names.units, ("V",) * 4)
        self.assertFalse(self.held)

    def test_messages_that_look_alike_share_their_names(self) -> None:
        for _ in range(2):
            self.intake.take(samples([5, 6], ["a", "b"]))
        first, second = self.recorder.data
        assert isinstance(first, Samples) and isinstance(second, Samples)
        self.assertIs(first.names, second.names)

    def test_values_are_plain_numbers(self) -> None:
        self.intake.take(samples([1.5]))
        (data,) = self.recorder.data
        assert isinstance(data, Samples)
        self.assertIs(type(data.y[0]), float)

    @given(st.integers(1, 60), st.integers(0, 400))
    @unhurried
    def test_any_count_of_values_and_names(self, width: int, count: int) -> None:
        self.begin()
        names = [f"s{index}" for index in range(width)]
        self.intake.take(samples([float(index) for index in range(count)], names))
        expected = [(f"D.s{index % width}", float(index), float(index)) for index in range(count)]
        self.assertEqual(self.recorded(), expected)

    def test_few_layouts_serve_all_lengths(self) -> None:
        for count in range(1, 200):
            self.intake.take(samples([0.0] * count))
            self.recorder.finish()
        layouts = {id(data.names) for data in self.recorder.data if isinstance(data, Samples)}
        self.assertLess(len(layouts), 10)

    def test_wrong_ones_are_told_and_the_next_ones_are_not_lost(self) -> None:
        for wrong in (
            messages.Samples("D", [], [], column(1), column(1)),
            messages.Samples("D", ["a"], [], column(1), column(1)),
            messages.Samples("D", ["a"], [None], column(1), column(1, 2)),
            messages.Samples("D", ["a"], [None], b"123", b"123"),
            messages.Samples("D" * 1001, ["a"], [None], column(1), column(1)),
            messages.Samples("D", ["a"], ["u" * 1001], column(1), column(1)),
        ):
            self.intake.take(wrong)
        self.assertEqual((len(self.complaints), self.intake.refused), (6, 6))
        self.intake.take(samples([1]))
        self.assertEqual(self.recorded(), [("D.a", 0, 1)])

    def test_what_the_recorder_refuses_is_told(self) -> None:
        self.recorder.error = RTOCError("no more signals")
        self.intake.take(samples([1]))
        self.assertEqual(self.complaints, ["not recorded: no more signals"])

    def test_what_is_not_stored_is_told(self) -> None:
        self.intake.take(samples([1, 2]))
        self.intake.take(samples([3]))
        self.recorder.finish(StorageFailed("disk full"))
        self.assertEqual(self.complaints, ["3 values were not stored: disk full"])
        self.assertEqual(self.intake.refused, 3)


class PaceTests(IntakeCase):
    def test_a_long_report_is_recorded_in_turns_and_nothing_overtakes_it(self) -> None:
        self.intake.take(samples([float(index) for index in range(50_000)]))
        self.intake.take(messages.Event("after", "D", "a", 1.0, 0, "", None))
        self.assertTrue(self.held)
        self.assertEqual(len(self.recorded()), 16_384)
        for _ in range(3):
            self.clock.advance(0)
        self.assertEqual([y for _, _, y in self.recorded()], [float(index) for index in range(50_000)])
        self.assertIsInstance(self.recorder.data[-1], Event)
        self.assertFalse(self.held)

    def test_who_sends_faster_than_is_stored_waits(self) -> None:
        taken = 0
        while not self.held:
            self.intake.take(samples([1.0] * 1000))
            taken += 1000
        self.assertEqual(taken, 101_000)
        self.recorder.finish()
        self.assertFalse(self.held)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_while_the_store_is_congested_all_wait_for_the_next_commit(self) -> None:
        self.congested = True
        self.intake.take(samples([1.0]))
        self.assertTrue(self.held)
        # The rest of what one read had brought.
        self.intake.take(samples([2.0]))
        self.assertEqual(len(self.recorded()), 1)
        self.congested = False
        self.recorder.finish()
        self.assertFalse(self.held)
        self.assertEqual(len(self.recorded()), 2)

    def test_a_new_process_is_held_too(self) -> None:
        self.congested = True
        self.intake.take(samples([1.0]))
        self.held = False
        self.intake.take(samples([2.0]))
        self.assertTrue(self.held)

    def test_idle(self) -> None:
        self.successResultOf(self.intake.when_idle())
        self.intake.take(samples([1.0] * 20_000))
        idle = self.intake.when_idle()
        self.assertNoResult(idle)
        self.clock.advance(0)
        self.successResultOf(idle)
        self.assertEqual(len(self.recorded()), 20_000)


class OtherDataTests(IntakeCase):
    def take(self, report: Any) -> Any:
        self.intake.take(report)
        return self.recorder.data[-1] if self.recorder.data else None

    def test_a_plot(self) -> None:
        plot = self.take(messages.Plot("D", "p", "V", "mergeX", column(1, 2), column(3, 4)))
        self.assertEqual((plot.name, plot.unit, plot.hold), (SignalName("D", "p"), "V", Hold.MERGE_X))
        np.testing.assert_array_equal((plot.x, plot.y), ([1, 2], [3, 4]))

    def test_wrong_plots(self) -> None:
        self.assertIsNone(self.take(messages.Plot("D", "p", "V", "maybe", column(1), column(3))))
        self.assertIsNone(self.take(messages.Plot("D", "p", "V", "off", column(1), column(3, 4))))
        self.assertEqual(len(self.complaints), 2)

    def test_an_event(self) -> None:
        event = self.take(messages.Event("hot", "D", "a", 5.0, 2, "id", {"t": 1}))
        self.assertEqual(event, Event(SignalName("D", "a"), "hot", 5.0, 2, "id", {"t": 1}))
        self.assertEqual(self.take(messages.Event("hot", "D", "a", 5.0, 9, "id", None)).priority, 0)

    def test_wrong_events(self) -> None:
        self.assertIsNone(self.take(messages.Event("hot", "D", "a", 5.0, 2, "id", b"bytes")))
        self.assertIsNone(self.take(messages.Event("hot", "D" * 1001, "a", 5.0, 2, "id", None)))
        self.assertEqual(len(self.complaints), 2)
