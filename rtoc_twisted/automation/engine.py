"""The engine: evaluates rules when what they name changes, or time makes them, and lets them raise events.

A listener of the recorder: signals that no rule names cost nothing. What fires is raised once everybody was
told of the values, in the same turn and group commit, with the state of its alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..errors import TooLarge
from ..interfaces import ICommit, IListener, IPlugins, IRecorder, IStorage
from ..model import Event, Plot, Samples, Selector, Signal
from .binding import Binding
from .chain import Chain
from .change import Change, ChangeKind
from .conditions import EvaluationFailed, Unknown
from .feeds import Feed
from .live import LiveRule, logic
from .outbox import Outbox
from .raising import Raising, Sample
from .rule import EventRule
from .states import States
from .timers import Timers, WallClock
from .trial import prepared, tried

_LOOK_BACK: Final = 20_000_000
"""Samples at which all rules together may look back."""


@implementer(IListener)
class Engine:
    """All rules of a server, at work or not.

    window: newest samples of a signal that a condition sees at most; per_minute: the brake of a rule that
    does not say; tell: called with every event. Nothing is evaluated before `start`.
    """

    _log = Logger()

    def __init__(
        self,
        storage: IStorage,
        recorder: IRecorder,
        plugins: IPlugins,
        *,
        chain: Chain,
        clock: IReactorTime,
        wall: Callable[[], float],
        window: int,
        per_minute: int,
        tell: Callable[[Event], None],
    ) -> None:
        self._storage = storage
        self._recorder = recorder
        self._plugins = plugins
        self._now = WallClock(clock, wall, self._jumped).now
        self._window = window
        self._per_minute = per_minute
        self._tell = tell
        self._binding = Binding(storage, plugins, window, self._was_read)
        self._feeds = self._binding.by_id
        self._timers: Timers[str] = Timers(clock, wall, self._wake)
        self._states = States(storage, clock, wall, self._received)
        self._live: dict[str, LiveRule] = {}
        self._outbox = Outbox(storage, recorder, self._states, wall, self._live)
        self._raising = Raising(storage, chain, self._outbox.put)
        self._active = False
        self._undo: Callable[[], None] | None = None
        self._look_back = 0
        self._places = 0
        self._heard: frozenset[str] = frozenset()
        self.evaluations = 0
        self.failures = 0

    # What is set.

    def start(self, rules: Iterable[EventRule], active: bool) -> None:
        """Take the rules that are kept, each as its alarm stood, and begin to listen."""
        for live in self._states.load(rules, self._per_minute):
            self._add(live)
        self._binding.remember(self._states.load_received())
        self.activate(active)
        self._binding.forget()
        self._listen()

    def stop(self) -> None:
        """Hear and do nothing more; what is still to be written is."""
        if self._undo is not None:
            self._undo()
            self._undo = None
        self._timers.stop()
        self._states.stop()

    def activate(self, active: bool) -> None:
        """Begin to evaluate rules, or cease to."""
        if active is self._active:
            return
        self._active = active
        now = self._now()
        for live in self._live.values():
            self._switch(live, now)
        if self._undo is not None:
            self._listen()

    def check(self, rule: EventRule) -> None:
        """Raise TooLarge if there is no room for what a rule looks back at."""
        new = LiveRule(rule, None, 0).depth(self._window)
        old = self._live.get(rule.name)
        held = self._look_back - (0 if old is None else old.depth(self._window))
        if new and held + new > _LOOK_BACK:
            raise TooLarge(f"setEvent.cond: all rules together look back at {_LOOK_BACK} samples at most")

    def set(self, rule: EventRule) -> None:
        """Take a rule in place of the one of its name, which keeps its state as far as it says the same."""
        now = self._now()
        old = self._live.get(rule.name)
        state, place = (None, self._places) if old is None else (old.state(), old.place)
        live = LiveRule(rule, state, self._per_minute, place)
        if old is not None:
            live.inherit(old)
            if logic(old.rule) != logic(rule):
                live.alarm.reset(now)
        self._timers.drop(rule.name)
        self._add(live)
        self._switch(live, now)
        if old is not None:
            # Only now: what is known of their signals is not forgotten.
            self._drop(old)
            self._outbox.put(live)
            self._outbox.send()
        self._states.write(live, now)
        self._listen()

    def remove(self, name: str) -> None:
        """Forget a rule and its state."""
        self._timers.drop(name)
        live = self._live.pop(name)
        self._drop(live)
        self._outbox.forget(live)
        self._states.forget(name)
        self._listen()

    def _add(self, live: LiveRule) -> None:
        self._live[live.rule.name] = live
        self._places = max(self._places, live.place + 1)
        self._look_back += live.depth(self._window)

    def _drop(self, live: LiveRule) -> None:
        self._look_back -= live.depth(self._window)
        self._binding.unbind(live)

    def _switch(self, live: LiveRule, now: float) -> None:
        """Let a rule begin or cease to be evaluated, as it and the switch of all say."""
        if not self._is_on(live):
            self._timers.drop(live.rule.name)
            self._binding.unbind(live)
            if live.paused is None:
                live.paused = now
                if live.alarm.told()["waiting"]:
                    self._states.write(live, now)
            return
        self._binding.bind(live, now)
        paused = None if live.paused is None or not live.alarm.told()["waiting"] else live.paused
        if paused is not None:
            # What came while nobody listened ends its hold time, as if it had come at once.
            self._evaluate(live, paused)
        if live.silences and self._undo is not None:
            # There may be silence already.
            self._evaluate(live, now)
        live.paused = None
        self._outbox.send()
        if paused is not None:
            self._states.write(live, now)
        self._arm(live, now)

    def _listen(self) -> None:
        """Hear of the signals that rules name."""
        keys = self._binding.keys()
        if self._undo is None or keys != self._heard:
            self._heard = keys
            self._undo = self._recorder.subscribe(self, Selector(signals=keys))

    # IListener

    def signal_added(self, signal: Signal) -> None:
        """A signal was created: rules may have waited for it."""
        if signal.name.key in self._heard:
            self._binding.rebind(signal.name.key)

    def signal_removed(self, signal: Signal) -> None:
        """A signal was removed: rules that name it wait for it."""
        if signal.name.key in self._heard:
            self._binding.rebind(signal.name.key)

    def samples_appended(self, signals: Sequence[Signal], samples: Samples) -> None:
        """Values came: the rules that name their signals are evaluated once for each, in order."""
        now = self._now()
        feeds = self._feeds
        for signal, one_x, one_y in zip(signals, _plain(samples.x), _plain(samples.y), strict=False):
            feed = feeds.get(signal.id)
            if feed is not None:
                feed.push(one_x, one_y, now)
                if feed.silent:
                    self._heard_of(feed, now)
                for tap in feed.taps:
                    for values, slot in tap.latest:
                        values[slot] = one_y
                    for values, slot, read in tap.others:
                        values[slot] = read()
                    self._evaluate(tap.live, now, feed, one_x)
        self._outbox.send()

    def plot_drawn(self, signal: Signal, plot: Plot) -> None:
        """A plot came: the rules that name its signal are evaluated once, with the newest value."""
        feed = self._feeds.get(signal.id)
        if feed is None:
            return
        now = self._now()
        self._binding.plot(feed, plot, now)
        if feed.silent:
            self._heard_of(feed, now)
        if len(plot.y):
            self._evaluate_all(feed, now, float(plot.x[-1]))

    def event_raised(self, event: Event) -> None:
        """An event was raised."""
        self._outbox.event_raised(event)
        self._tell(event)

    def plugins_changed(self, plugins: Mapping[str, Any]) -> None:
        """The state of plugins changed: the rules that name parameters which did are evaluated."""
        for feed in self._binding.parameters_changed():
            self._evaluate_all(feed, self._now(), None)

    # Evaluation

    def _jumped(self, seconds: float, now: float) -> None:
        self._log.warn(
            "the wall clock was set by {seconds} s: rules go on as if nothing were", seconds=seconds
        )
        self._binding.shift(seconds)
        self._timers.shift(seconds)
        for live in self._live.values():
            live.shift(seconds)
            if live.alarm.dirty:
                self._states.changed(live, now)
            # Schedules go by the new time.
            self._arm(live, now)

    def _evaluate(self, live: LiveRule, now: float, feed: Feed | None = None, x: float | None = None) -> None:
        self.evaluations += 1
        try:
            on = live.holds(live.values, now)
            off = None if live.off_holds is None else live.ends(now)
        except (Unknown, EvaluationFailed) as problem:
            self._failed(live, problem)
            return
        if live.problem is not None:
            live.problem, live.failing = None, False
        changes = live.alarm.step(on, off, now)
        if changes or live.alarm.dirty:
            sample = None if x is None or feed is None else {"signal": feed.key, "x": x, "y": feed.latest}
            self._changed(live, changes, now, sample)

    def _evaluate_all(self, feed: Feed, now: float, x: float | None) -> None:
        for tap in feed.taps:
            self._evaluate(tap.live, now, feed, x)
        self._outbox.send()

    def _was_read(self, feed: Feed, missed: bool) -> None:
        if missed:
            self._evaluate_all(feed, self._now(), None)

    def _failed(self, live: LiveRule, problem: Unknown | EvaluationFailed) -> None:
        live.problem = problem.message
        if isinstance(problem, Unknown):
            # It waits for its signals, as it should.
            return
        self.failures += 1
        if not live.failing:
            live.failing = True
            name, said = live.rule.name, problem.message
            self._log.warn("the condition of {rule} has no value: {problem}", rule=name, problem=said)

    def _changed(
        self, live: LiveRule, changes: Sequence[Change], now: float, sample: Sample | None = None
    ) -> None:
        """Do what follows from changes of an alarm, as soon as everybody was told what caused them."""
        if self._is_on(live) and any(change.kind is ChangeKind.FIRED for change in changes):
            self._raising.fire(live, now, sample)
        self._arm(live, now)
        if live.alarm.dirty:
            if changes:
                self._outbox.put(live)
            else:
                self._states.changed(live, now)

    # Time

    def _arm(self, live: LiveRule, now: float) -> None:
        due = live.due(now)
        if due is not None and self._is_on(live):
            self._timers.at(live.rule.name, due)

    def _heard_of(self, feed: Feed, now: float) -> None:
        """A signal said something for whose silence rules wait: their time begins anew."""
        self._states.heard()
        for live in feed.silent:
            if live.rule.name not in self._timers:
                self._arm(live, now)

    def _received(self) -> tuple[Mapping[str, float], float]:
        seconds = (use.seconds for live in self._live.values() for use in live.rule.uses if live.silences)
        return self._binding.received(), min((one for one in seconds if one), default=0.0)

    def _wake(self) -> None:
        now = self._now()
        for name in self._timers.pop(now):
            live = self._live[name]
            changes = live.alarm.tick(now)
            if changes or live.alarm.dirty:
                self._changed(live, changes, now)
            self._raising.look_at_brake(live, now)
            if live.silences or live.timely:
                self._evaluate(live, now)
            self._arm(live, now)
        self._outbox.send()

    # What people ask and do.

    def _is_on(self, live: LiveRule) -> bool:
        return self._active and live.rule.active

    def rule(self, name: str) -> LiveRule | None:
        """Return a rule at work, None if there is none of that name."""
        return self._live.get(name)

    def act(self, live: LiveRule, do: Callable[[float], Sequence[Change]]) -> ICommit:
        """Let a person change an alarm: do(now) returns what it changed; return the commit."""
        now = self._now()
        self._changed(live, do(now), now)
        self._outbox.send()
        return self._states.write(live, now)

    def reset(self, names: Iterable[str]) -> ICommit | None:
        """Let rules forget what their conditions said last; return the commit, None where nothing changed."""
        now = self._now()
        commit = None
        for name in names:
            live = self._live[name]
            changes = live.alarm.reset(now)
            if changes or live.alarm.dirty:
                self._changed(live, changes, now)
                commit = self._states.write(live, now)
        self._outbox.send()
        return commit

    def test(self, name: str, force: bool) -> Deferred[tuple[bool, str]]:
        """Evaluate a rule's condition, and raise its event if it holds or `force` is set.

        Fires with whether it has a value, and that in words, or why it has none.
        """
        now = self._now()
        live = self._live[name]

        def done(knowing: LiveRule) -> tuple[bool, str]:
            found = tried(knowing, now)
            if found.holds or force:
                self._outbox.put(live, self._raising.test(knowing, now))
                self._outbox.send()
            return found.ok, found.said

        if self._is_on(live) and not self._binding.reading():
            return succeed(done(live))
        # A rule that is not at work knows no values.
        return prepared(live.rule, self._storage, self._plugins, self._window, now).addCallback(done)

    def counters(self) -> dict[str, float]:
        """Return figures for people and monitors."""
        return {
            "rule_evaluations": self.evaluations,
            "rule_evaluations_failed": self.failures,
            "rule_events": self._outbox.raised,
            "rule_events_braked": self._raising.braked,
            "rule_events_in_circles": self._raising.circles,
            "alarm_events_forgotten": self._outbox.forgotten,
        }


def _plain(column: Sequence[float]) -> Sequence[float]:
    """Return a column whose items are floats of Python: they fail where numpy's would be infinite."""
    return column.tolist() if isinstance(column, np.ndarray) else column
