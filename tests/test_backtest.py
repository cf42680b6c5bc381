"""Rules tried on the past: the same as living through it, sample by sample."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation import backtest as module
from rtoc_twisted.automation import past, replay
from rtoc_twisted.automation.alarm import Alarm, ChangeKind
from rtoc_twisted.automation.backtest import WAITING, Backtest
from rtoc_twisted.automation.conditions import EvaluationFailed, Unknown, Use, View, values_told
from rtoc_twisted.automation.live import TICK
from rtoc_twisted.automation.rule import EventRule
from rtoc_twisted.automation.windows import Rate, Ring
from rtoc_twisted.errors import BadValue, Busy, StorageFailed
from rtoc_twisted.interfaces import IStorage
from rtoc_twisted.model import SignalName
from rtoc_twisted.storage.memory import MemoryStorage
from tests.storage_support import Bench, examples

NOW = 1000.0
Samples = Sequence[tuple[float, float]]


def rule(cond: str, **fields: Any) -> EventRule:
    return EventRule.read({"name": "r", "cond": cond, "zone": "UTC", **fields})


class Threads:
    """A pool whose work is done when the test says so; `at_once`: when it is given."""

    def __init__(self, at_once: bool = True) -> None:
        self.at_once = at_once
        self.work: deque[Callable[[], None]] = deque()

    def in_thread(self, call: Callable[[], Any]) -> Deferred[Any]:
        if self.at_once:
            return maybeDeferred(call)
        found: Deferred[Any] = Deferred()
        self.work.append(lambda: maybeDeferred(call).chainDeferred(found))
        return found


class Case(SynchronousTestCase):
    """A store with samples of signals D.A, D.B, .. and what a rule would have done on them."""

    def setUp(self) -> None:
        self.storage: IStorage = MemoryStorage()
        self.threads = Threads()
        self.seconds = 0.0
        self.tests = self.backtest()

    def backtest(self, window: int = 10_000) -> Backtest:
        def clock() -> float:
            # Each look at it is a slice.
            self.seconds += 1.0
            return self.seconds

        return Backtest(self.storage, self.threads.in_thread, clock=clock, wall=lambda: NOW, window=window)

    def record(self, **signals: Samples) -> None:
        for name, samples in signals.items():
            (signal,) = self.storage.add_signals([SignalName("D", name)])
            x, y = zip(*samples, strict=True) if samples else ((), ())
            self.storage.append([signal.id] * len(x), x, y)

    def run_rule(
        self, tried: EventRule, start: float | None = None, stop: float | None = None
    ) -> Mapping[str, Any]:
        return self.successResultOf(self.tests.run(tried, start, stop, lambda done: None))

    def fires(self, tried: EventRule, *bounds: float | None) -> list[float]:
        return [fired["x"] for fired in self.run_rule(tried, *bounds)["fires"]]


class MeaningTest(Case):
    """What single rules do."""

    def test_what_is_told(self) -> None:
        self.record(A=[(1, 0), (2, 5), (3, 6), (4, 0), (5, 7)])
        found = self.run_rule(rule("D.A.latest > 4"))
        self.assertEqual(
            found,
            {
                "fires": [
                    {"x": 2.0, "kind": "fired", "values": {"D.A.latest": 5.0}},
                    {"x": 5.0, "kind": "fired", "values": {"D.A.latest": 7.0}},
                ],
                "active": [[2.0, 4.0], [5.0, None]],
                "samples": 5,
                "signals": ["D.A"],
                "seconds": found["seconds"],
                "more": False,
            },
        )
        self.assertGreater(found["seconds"], 0)

    def test_triggers(self) -> None:
        self.record(A=[(1, 0), (2, 5), (3, 6), (4, 0)])
        for trigger, expected in (
            ("rising", [2.0]),
            ("falling", [4.0]),
            ("both", [2.0, 4.0]),
            ("true", [2.0, 3.0]),
            ("false", [1.0, 4.0]),
        ):
            self.assertEqual(self.fires(rule("D.A.latest > 4", trigger=trigger)), expected, trigger)

    def test_hold_times_end_at_their_moment(self) -> None:
        self.record(A=[(1, 5), (2, 5), (100, 0), (200, 5), (201, 0), (300, 5)])
        self.assertEqual(self.fires(rule("D.A.latest > 4", **{"for": 10})), [11.0, 310.0])
        (first, _) = (
            self.run_rule(rule("D.A.latest > 4 and D.A.x[-1] < 250", **{"for": 10}), 0, 305)["fires"],
            0,
        )
        # It is told what the condition saw then.
        self.assertEqual([fired["values"]["D.A.latest"] for fired in first], [5.0])

    def test_time_goes_on_until_the_end_and_not_beyond_now(self) -> None:
        self.record(A=[(NOW - 20, 5)])
        held = rule("D.A.latest > 4", **{"for": 15})
        self.assertEqual(self.fires(held), [NOW - 5])
        self.assertEqual(self.fires(held, None, NOW - 10), [])
        self.assertEqual(self.fires(rule("D.A.latest > 4", **{"for": 25}), None, NOW + 500), [])

    def test_hysteresis_and_votes(self) -> None:
        self.record(A=[(1, 5), (2, 3), (3, 5), (4, 1), (5, 5)])
        self.assertEqual(self.fires(rule("D.A.latest > 4", off="D.A.latest < 2")), [1.0, 5.0])
        self.assertEqual(self.fires(rule("D.A.latest > 4", nOfM=[2, 3])), [3.0, 5.0])

    def test_what_both_conditions_saw_is_told(self) -> None:
        self.record(A=[(1, 5)], B=[(0, 2)])
        (fired,) = self.run_rule(rule("D.A.latest > 4", off="D.B.latest < 2"))["fires"]
        self.assertEqual(fired["values"], {"D.A.latest": 5.0, "D.B.latest": 2.0})

    def test_silence(self) -> None:
        self.record(A=[(1, 0), (5, 0), (30, 0), (40, 0)], B=[(2, 0), (39, 0)])
        silent = rule("nodata(D.A, 10)", trigger="both")
        self.assertEqual(self.fires(silent), [15.0, 30.0, 50.0])
        self.assertEqual(self.fires(silent, 0, 49), [15.0, 30.0])
        # A sum that is rounded down ends no later than one that is not.
        self.storage.clear()
        self.record(A=[(0.1, 0)])
        self.assertEqual(len(self.fires(rule("nodata(D.A, 0.7)"))), 1)

    def test_age_is_looked_at_every_second(self) -> None:
        self.record(A=[(1, 0), (5.5, 0), (30, 0)], B=[(2.25, 0)])
        self.assertEqual(self.fires(rule("age(D.A) > 10"), None, 38), [5.5 + 11])
        self.assertEqual(self.fires(rule("age(D.A) > 2 and D.B.latest == 0"), None, 5), [2.25 + 1])

    def test_a_condition_without_signals(self) -> None:
        hourly = rule("clock % 3600 < 60")
        self.assertEqual(self.fires(hourly, 0, 900), [0.0])
        self.assertEqual(self.fires(rule("clock > 100"), 90.5, 900), [100.5])
        self.failureResultOf(self.tests.run(hourly, None, 900, lambda done: None), BadValue)

    def test_too_long_for_looking_every_second(self) -> None:
        self.patch(past, "PULSES", 1000)
        self.record(A=[(-2000, 0)])
        failure = self.failureResultOf(self.tests.run(rule("age(D.A) > 10"), None, None, lambda done: None))
        self.assertIn("too long", failure.value.message)
        self.assertEqual(len(self.fires(rule("age(D.A) > 10"), None, -1100)), 1)

    def test_only_what_can_matter_is_looked_at(self) -> None:
        """Not each sample, also where each that is active fires, and some of the time it is hidden."""
        self.record(A=[(x, 5 if x in (7000, 7001) or x > 9000 else 0) for x in range(10_000)])
        steps = []
        step = Alarm.step

        def counted(alarm: Alarm, on: bool, off: bool | None, now: float) -> Any:
            steps.append(now)
            return step(alarm, on, off, now)

        self.patch(Alarm, "step", counted)
        mute = [{"from": "02:30:10", "to": "03:00"}]
        level = rule("D.A.latest > 4", trigger="true", nOfM=[2, 3], mute=mute)
        self.assertEqual(self.fires(level, None, 9999), [7001.0, 7002.0, *map(float, range(9002, 9010))])
        self.assertLess(len(steps), 50)

    def test_a_schedule(self) -> None:
        self.record(A=[(10, 5)])
        open_late = rule("D.A.latest > 4", schedule=[{"from": "00:10", "to": "00:12"}])
        self.assertEqual(self.fires(open_late), [600.0])

    def test_nothing_is_known_from_before(self) -> None:
        self.record(A=[(1, 0), (2, 5), (3, 5), (4, 0), (5, 5)], B=[(1, 1), (9, 1)])
        self.assertEqual(self.fires(rule("D.A.latest > 4"), 3), [3.0, 5.0])
        self.assertEqual(self.fires(rule("D.A.latest > 4"), 3, 4), [3.0])
        self.assertEqual(self.fires(rule("D.A.latest > 4 and D.B.latest"), 2), [9.0])
        self.assertEqual(self.fires(rule("D.A.latest > 4 or D.B.latest"), 2), [2.0])

    def test_no_answer_is_no_step(self) -> None:
        self.record(A=[(1, 1), (2, 0), (3, 1), (4, -1), (5, 1)])
        self.assertEqual(self.fires(rule("1 / D.A.latest > 0")), [1.0, 5.0])
        self.assertEqual(self.fires(rule("D.A.y[-1] > -9 and 1 / D.A.latest > 0")), [1.0, 5.0])

    def test_order(self) -> None:
        self.record(A=[(3, 3), (1, 1), (2, 2), (math.nan, 9), (math.inf, 9)])
        self.assertEqual(self.fires(rule("D.A.latest > 1"), None, 1e9), [2.0])
        self.assertEqual(self.run_rule(rule("D.A.latest > 5"))["samples"], 3)

    def test_what_comes_in_a_later_page_than_it_should(self) -> None:
        self.patch(module, "AT_HAND", 2)
        self.record(A=[(1, 1), (4, 1), (2, 5), (6, 1)])
        self.assertEqual(self.run_rule(rule("D.A.latest > 4"))["active"], [[4.0, 6.0]])

    def test_a_signal_without_samples(self) -> None:
        self.record(A=[], B=[(1, 5)])
        self.assertEqual(self.fires(rule("D.A.latest > 4")), [])
        self.assertEqual(self.fires(rule("D.B.latest > 4 or D.A.latest > 4")), [1.0])


class LimitTest(Case):
    """What is refused, bounded, waited for and given up."""

    def failure(self, tried: EventRule, *bounds: Any) -> Any:
        return self.failureResultOf(self.tests.run(tried, *(bounds or (None, None)), lambda done: None)).value

    def test_signals_that_there_are_not(self) -> None:
        self.record(A=[(1, 5)])
        problem = self.failure(rule("D.A.latest > D.X.latest + D.Y.latest", off="D.X.latest < 1"))
        self.assertIsInstance(problem, BadValue)
        self.assertIn("no signal D.X, D.Y;", problem.message)

    def test_parameters_have_no_past(self) -> None:
        self.record(A=[(1, 5)])
        # The signal of the same name is not meant.
        problem = self.failure(rule('parameter("D.A") > 1'))
        self.assertIsInstance(problem, BadValue)
        self.assertIn("D.A", problem.message)
        self.assertIn("parameter", problem.message)

    def test_bounds(self) -> None:
        self.record(A=[(1, 5)])
        for bounds in ((2.0, 1.0), (math.nan, None), (None, math.inf)):
            self.assertIsInstance(self.failure(rule("D.A.latest > 1"), *bounds), BadValue)
        self.assertEqual(self.fires(rule("D.A.latest > 1"), 1.0, 1.0), [1.0])

    def test_no_more_is_told_than_may_be(self) -> None:
        self.patch(replay, "TOLD", 3)
        self.record(A=[(x, x % 2) for x in range(20)])
        for trigger in ("rising", "falling", "true"):
            found = self.run_rule(rule("D.A.latest > 0", trigger=trigger))
            self.assertEqual((found["more"], found["until"]), (True, 7.0), trigger)
            self.assertLessEqual(len(found["fires"]), 3)
            self.assertEqual(found["active"][:2], [[1.0, 2.0], [3.0, 4.0]])
        self.assertFalse(self.run_rule(rule("D.A.latest > 0"), 0, 6)["more"])

    def test_what_retention_left_out(self) -> None:
        bench = Bench(Path(self.mktemp()))
        self.storage = bench.storage
        self.record(A=[(x, 0) for x in range(5000)])
        bench.pump()
        bench.database.fold()
        while bench.database.pack_step():
            pass
        with bench.database.transaction():
            bench.database.chunks.retire(bench.database.chunks.facts(1)[0].number)
        found = bench.result(self.backtest().run(rule("D.A.latest > 0"), None, None, lambda done: None))
        self.assertEqual(found["samples"] + found["leftOut"], 5000)
        self.assertGreater(found["leftOut"], 0)
        bench.close()

    def test_progress(self) -> None:
        self.patch(module, "AT_HAND", 10)
        self.record(A=[(x, x % 2) for x in range(100)])
        told: list[float] = []
        self.successResultOf(self.tests.run(rule("D.A.latest > 0"), None, None, told.append))
        self.assertEqual(told, sorted(told))
        self.assertEqual(told[-1], 1.0)
        self.assertGreater(len(set(told)), 5)

    def test_one_after_the_other(self) -> None:
        self.record(A=[(1, 5)])
        self.threads.at_once = False
        told: list[int] = []
        for number in range(1 + WAITING):
            waiting = self.tests.run(rule("D.A.latest > 0"), None, None, lambda done: None)
            waiting.addCallback(lambda _, number=number: told.append(number))
        self.assertEqual(len(self.threads.work), 1)
        self.assertIsInstance(self.failure(rule("D.A.latest > 0")), Busy)
        while self.threads.work:
            self.assertEqual(len(self.threads.work), 1)
            self.threads.work.popleft()()
        self.assertEqual(told, [0, 1, 2, 3, 4])
        self.threads.at_once = True
        self.assertEqual(self.fires(rule("D.A.latest > 0")), [1.0])

    def test_cancelling(self) -> None:
        self.patch(module, "AT_HAND", 1)
        self.record(A=[(x, 5) for x in range(10)])
        self.threads.at_once = False
        told: list[float] = []
        first = self.tests.run(rule("D.A.latest > 0"), None, None, told.append)
        second = self.tests.run(rule("D.A.latest > 0"), None, None, told.append)
        third = self.tests.run(rule("D.A.latest > 0"), None, None, told.append)
        self.threads.work.popleft()()
        told.clear()
        second.cancel()
        self.failureResultOf(second, CancelledError)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        # What was under way ends with its slice; the next one has begun.
        self.threads.work.popleft()()
        self.assertEqual((told, len(self.threads.work)), ([], 1))
        while self.threads.work:
            self.threads.work.popleft()()
        self.assertEqual(self.successResultOf(third)["samples"], 10)

    def test_a_read_that_fails(self) -> None:
        self.record(A=[(1, 5)])
        read = self.storage.read

        def fail(requests: Any) -> Any:
            raise StorageFailed("broken")

        self.storage.read = fail
        self.assertIsInstance(self.failure(rule("D.A.latest > 0")), StorageFailed)
        self.storage.read = read
        self.assertEqual(self.fires(rule("D.A.latest > 0")), [1.0])

    def test_a_signal_that_is_removed_meanwhile(self) -> None:
        self.patch(module, "AT_HAND", 2)
        self.record(A=[(x, 5) for x in range(10)])
        self.threads.at_once = False
        waiting = self.tests.run(rule("D.A.latest > 0"), None, None, lambda done: None)
        self.threads.work.popleft()()
        self.storage.remove_signals([1])
        while self.threads.work:
            self.threads.work.popleft()()
        self.assertLess(self.successResultOf(waiting)["samples"], 10)


class Lived:
    """The reference: one evaluation for each sample, the condition and the alarm as they work live."""

    def __init__(self, tried: EventRule, window: int) -> None:
        self.rule = tried
        self.alarm = Alarm(tried)
        self.conditions = [each for each in (tried.condition, tried.off_condition) if each is not None]
        self.uses = {use for each in self.conditions for use in each.uses}
        self.window = window
        self.newest: dict[str, tuple[float, float]] = {}
        self.rings: dict[str, Ring] = {}
        self.rates: dict[Use, Rate] = {}
        self.fires: list[dict[str, Any]] = []
        self.active: list[list[float | None]] = []

    def live(self, signals: Mapping[str, Samples], stop: float) -> None:
        moments = [
            (x, place, 0, key, y)
            for place, (key, samples) in enumerate(signals.items())
            for x, y in sorted(samples, key=lambda sample: sample[0])
        ]
        moments = [moment for moment in moments if moment[0] <= stop]
        silences = {use for use in self.uses if use.view is View.RECEIVED and use.seconds}
        timely = any(use.view is View.RECEIVED and not use.seconds for use in self.uses)
        # (when, is it a pulse, what): what is due after the moment that was.
        due: dict[Any, float] = {}
        pending = deque(sorted(moments, key=lambda moment: moment[:2]))
        while True:
            wakes = [(at, self._rank(what), what) for what, at in due.items() if at <= stop]
            wake = min(wakes, key=lambda each: each[:2], default=None)
            if pending and (wake is None or pending[0][0] <= wake[0]):
                now, _, _, key, y = pending.popleft()
                self.tick(now)
                self.take(key, now, y)
                for use in silences:
                    if use.key == key:
                        due[use] = self._after(now, use.seconds)
            elif wake is not None:
                now, _, what = wake
                del due[what]
            else:
                break
            self.evaluate(now)
            if timely:
                due["pulse"] = now + TICK
        self.tick(stop)

    def _rank(self, what: Any) -> int:
        return 1 if what == "pulse" else 0

    def _after(self, x: float, seconds: float) -> float:
        return x + seconds if x + seconds - x >= seconds else math.nextafter(x + seconds, math.inf)

    def take(self, key: str, x: float, y: float) -> None:
        self.newest[key] = x, y
        self.rings.setdefault(key, Ring(self.window)).push(x, y)
        for use in self.uses:
            if use.key == key and use.view is View.RATE:
                self.rates.setdefault(use, Rate(use.seconds, self.window)).push(x, y)

    def value(self, use: Use) -> Any:
        if use.key not in self.newest:
            return None
        x, y = self.newest[use.key]
        match use.view:
            case View.LATEST:
                return y
            case View.RECEIVED:
                return x
            case View.RATE:
                return self.rates[use].value()
        columns = self.rings[use.key].newest(min(use.samples or self.window, self.window))
        return {View.X: columns[0], View.Y: columns[1]}.get(use.view, columns)

    def evaluate(self, now: float) -> None:
        self.tick(now)
        try:
            answers = [
                condition.holds([self.value(use) for use in condition.uses], now)
                for condition in self.conditions
            ]
        except (Unknown, EvaluationFailed):
            return
        self.note(self.alarm.step(answers[0], answers[1] if len(answers) > 1 else None, now))
        self.started = True

    started = False

    def tick(self, until: float) -> None:
        now = -math.inf
        while self.started and (due := self.alarm.due(now)) is not None and due <= until:
            now = due
            self.note(self.alarm.tick(now))

    def note(self, changes: Any) -> None:
        for change in changes:
            if change.kind is ChangeKind.FIRED:
                values: dict[str, Any] = {}
                for condition in self.conditions:
                    values |= values_told(condition, [self.value(use) for use in condition.uses])
                self.fires.append({"x": change.at, "kind": "fired", "values": values})
            elif change.kind is ChangeKind.ACTIVE:
                self.active.append([change.at, None])
            elif change.kind is ChangeKind.INACTIVE:
                self.active[-1][1] = change.at


CONDITIONS = st.sampled_from(
    [
        "D.A.latest > 1",
        "D.A.latest > D.B.latest",
        "D.A.latest > 1 or D.B.latest > 1",
        "1 / D.A.latest > 0.4",
        "rate(D.A, 5) > 0.1",
        "nodata(D.A, 4)",
        "nodata(D.A, 2.5) or nodata(D.B, 7) and D.C.latest > 1",
        "age(D.B) > 3",
        "clock % 10 < 5 and D.C.latest > 1",
        "np.mean(D.A.y[-3:]) > 1",
        "rtoc.mean(D.A, 4) > 1 and D.B.latest < 2",
        "D.A.x[-1] - D.A.x[0] > 6",
    ]
)
EXTRAS = st.fixed_dictionaries(
    {"trigger": st.sampled_from(["rising", "falling", "both", "true", "false"])},
    optional={
        "off": st.sampled_from(["D.A.latest < 1", "D.C.latest < 1", "rate(D.B, 3) < 0"]),
        "for": st.sampled_from([0, 1.5, 5]),
        "forOff": st.sampled_from([0, 2, 7.25]),
        "nOfM": st.sampled_from([[1, 1], [2, 3], [1, 4], [5, 5]]),
        "schedule": st.just([{"from": "00:00:05", "to": "00:00:30"}]),
        "mute": st.just([{"from": "00:00:10", "to": "00:00:20"}]),
        "latch": st.booleans(),
    },
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.25, 1.0, 1.0, 2.5, 9.0]), st.sampled_from([0.0, 1.0, 2.0, 3.0, math.nan])
    ),
    max_size=30,
)


class LivedTest(SynchronousTestCase):
    """Whatever the rule and the samples: as if it had been there."""

    @examples(80)
    @given(
        CONDITIONS,
        EXTRAS,
        st.lists(STEPS, min_size=3, max_size=3),
        st.sampled_from([3, 7, 1 << 19]),
        st.sampled_from([2, 5, 1 << 17]),
        st.sampled_from([2, 10_000]),
    )
    def test_as_if_it_had_been_there(
        self,
        cond: str,
        extras: Mapping[str, Any],
        steps: Sequence[Samples],
        at_hand: int,
        rows: int,
        window: int,
    ) -> None:
        storage = MemoryStorage()
        signals: dict[str, Samples] = {}
        for name, each in zip("ABC", steps, strict=True):
            (signal,) = storage.add_signals([SignalName("D", name)])
            # Where few are looked at together, other signals may come in between samples of one x.
            least = 0.0 if min(at_hand, rows) > 100 else 0.125
            x = np.cumsum([max(gap, least) for gap, _ in each])
            storage.append([signal.id] * len(each), x.tolist(), [y for _, y in each])
            signals[signal.name.key] = list(zip(x.tolist(), (y for _, y in each), strict=True))
        tried = rule(cond, **extras)
        named = list(dict.fromkeys(use.key for use in tried.uses))
        expected = Lived(tried, window)
        stop = max([50.0, *(x for key in named for x, _ in signals[key])])
        expected.live({key: signals[key] for key in named}, stop)
        with limits(at_hand, rows):
            tests = Backtest(
                storage, Threads().in_thread, clock=lambda: 0.0, wall=lambda: stop, window=window
            )
            found = self.successResultOf(tests.run(tried, None, None, lambda done: None))
        np.testing.assert_equal(found["fires"], expected.fires)
        np.testing.assert_equal(found["active"], expected.active)


@contextmanager
def limits(at_hand: int, rows: int) -> Iterator[None]:
    """Read pages of so many samples, and make so many rows at a time."""
    former = module.AT_HAND, past.ROWS
    module.AT_HAND, past.ROWS = at_hand, rows
    try:
        yield
    finally:
        module.AT_HAND, past.ROWS = former
