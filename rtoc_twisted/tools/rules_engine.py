"""A test of rules lived through by the server's own engine, in a house of its own where nothing is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from ..automation.actions import Outcome
from ..automation.automation import Automation, Policy
from ..automation.backtest import Backtest
from ..automation.chain import Chain, Link
from ..automation.rule import ActionRule
from ..automation.scripts import language
from ..client.rtoc_rules import EVENT, Rule
from ..config import settings
from ..events.log import EventLog
from ..interfaces import IListener
from ..model import Event, Plot, Samples, Selector, Signal
from ..plugins.host import PluginHost
from ..plugins.host import Policy as PluginPolicy
from ..plugins.process import Child, PluginProcess
from ..recorder import Recorder
from ..storage.memory import MemoryStorage
from .rules_trial import Fired, Trial


def run(trial: Trial, rules: Sequence[Rule]) -> list[Fired]:
    """Let rules live through a test; return the events that they raised. rules: without faults."""
    clock = _SteppedClock()
    storage = MemoryStorage()
    recorder = Recorder(storage, EventLog(storage))
    heard = _Heard(trial.start)
    recorder.subscribe(heard, Selector())
    automation = _automation(storage, recorder, clock, lambda: trial.start + clock.seconds())
    automation.start()
    for rule in rules:
        if rule.kind == EVENT:
            automation.set_event({"name": rule.name, **rule.fields}, "test")
    automation.activate({"events": True}, "test")
    for t, samples in trial.steps:
        clock.go_to(t)
        recorder.append(samples)
    clock.go_to(trial.until)
    automation.stop()
    return heard.fired


def _automation(
    storage: MemoryStorage, recorder: Recorder, clock: Clock, wall: Callable[[], float]
) -> Automation:
    """Return the engine without plugins, in which no script runs."""

    def in_thread(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return execute(function, *arguments)

    def launch(_: PluginProcess) -> Child:
        raise OSError("there are no plugins here")

    plugins = PluginHost(
        storage,
        recorder,
        state_dir=Path(),
        launch=launch,
        find=tuple,
        in_thread=in_thread,
        samplerate=lambda: None,
        clock=clock,
        wall=wall,
        policy=PluginPolicy(),
    )
    defaults = settings.Automation()
    policy = Policy(defaults.window, defaults.events_per_minute)
    return Automation(
        storage,
        recorder,
        plugins,
        scripts=_NoScripts(),
        check_script=language.check,
        backtests=Backtest(storage, in_thread, clock=clock.seconds, wall=wall, window=policy.window),
        chain=Chain(),
        clock=clock,
        wall=wall,
        policy=policy,
    )


class _NoScripts:
    """Runs nothing: a test is about events."""

    def run(
        self, name: str, action: ActionRule, event: Event | None, link: Link, dry: bool = False
    ) -> Deferred[Outcome]:
        """Say that it ran."""
        return succeed(Outcome("0", ok=True))

    def answer_user(self, name: str, script: str) -> Deferred[Any]:
        """Say that it ran."""
        return succeed(None)

    def stop(self, name: str) -> bool:
        """Say that nothing runs."""
        return False

    def forget(self, name: str, kind: str = "action") -> None:
        """Have nothing to forget."""

    def runs(self) -> Sequence[Mapping[str, Any]]:
        """Return none."""
        return ()

    def close(self) -> Deferred[None]:
        """Have nothing to end."""
        return succeed(None)

    def counters(self) -> Mapping[str, float]:
        """Return none."""
        return {}


class _SteppedClock(Clock):
    """A clock that shows to each timer the moment that it was set for."""

    def go_to(self, moment: float) -> None:
        """Let time pass until a moment, everything that is due by then included."""
        while True:
            due = min((call.getTime() for call in self.getDelayedCalls()), default=math.inf)
            if due > moment:
                break
            self.advance(max(0.0, due - self.seconds()))
        self.advance(moment - self.seconds())


@implementer(IListener)
class _Heard:
    """Takes down the events of rules."""

    def __init__(self, start: float) -> None:
        self._start = start
        self.fired: list[Fired] = []

    def event_raised(self, event: Event) -> None:
        """Take it down, if a rule raised it."""
        if event.cause is not None and event.cause.get("rule") is not None:
            self.fired.append(Fired(event.cause["rule"], event.x - self._start, event.text))

    def signal_added(self, signal: Signal) -> None:
        """Let it pass."""

    def signal_removed(self, signal: Signal) -> None:
        """Let it pass."""

    def samples_appended(self, signals: Sequence[Signal], samples: Samples) -> None:
        """Let it pass."""

    def plot_drawn(self, signal: Signal, plot: Plot) -> None:
        """Let it pass."""

    def plugins_changed(self, plugins: Mapping[str, Any]) -> None:
        """Let it pass."""
