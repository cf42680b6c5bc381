"""Automation without a reactor: a store, a recorder, a Clock, and scripts that only pretend to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from rtoc_twisted.automation.actions import Outcome
from rtoc_twisted.automation.automation import Automation, Policy
from rtoc_twisted.automation.chain import Chain, Link
from rtoc_twisted.automation.rule import ActionRule, EventRule
from rtoc_twisted.errors import BadValue
from rtoc_twisted.events.log import EventLog
from rtoc_twisted.interfaces import IListener, IStorage
from rtoc_twisted.model import Event, Hold, Names, Plot, Samples, Selector, Signal, SignalName
from rtoc_twisted.recorder import Recorder
from rtoc_twisted.storage.memory import MemoryStorage

EPOCH = 1.79e9


class FakePlugins:
    """Parameters of plugins, set by hand; all of IPlugins that automation asks for."""

    def __init__(self) -> None:
        self.parameters: dict[tuple[str, str], Any] = {}

    def parameter(self, name: str, parameter: str) -> Any:
        try:
            return self.parameters[name, parameter]
        except KeyError:
            raise BadValue(f"{name} has no {parameter}") from None


@dataclass
class Started:
    """A run that a test ends."""

    name: str
    action: ActionRule
    event: Any
    link: Link
    dry: bool
    done: Deferred[Outcome]


class FakeScripts:
    """Takes runs, and ends none by itself."""

    def __init__(self) -> None:
        self.started: list[Started] = []
        self.stopped: list[str] = []
        self.forgotten: list[tuple[str, str]] = []

    def run(
        self, name: str, action: ActionRule, event: Event | None, link: Link, dry: bool = False
    ) -> Deferred[Outcome]:
        self.started.append(Started(name, action, event, link, dry, Deferred()))
        return self.started[-1].done

    def answer_user(self, name: str, script: str) -> Deferred[Any]:
        return succeed({"name": name, "success": True, "type": "text", "data": script})

    def stop(self, name: str) -> bool:
        self.stopped.append(name)
        return any(run.name == name and not run.done.called for run in self.started)

    def forget(self, name: str, kind: str = "action") -> None:
        self.forgotten.append((name, kind))

    def close(self) -> Deferred[None]:
        return succeed(None)

    def runs(self) -> Sequence[Mapping[str, Any]]:
        return [{"action": run.name} for run in self.started]

    def counters(self) -> Mapping[str, float]:
        return {"runs": len(self.started)}


class FakeBacktests:
    """Answers with the rule's name."""

    def run(
        self, rule: EventRule, start: float | None, stop: float | None, progress: Callable[[float], None]
    ) -> Deferred[Any]:
        return succeed({"rule": rule.name, "from": start, "to": stop})


def check_script(script: str) -> None:
    """Refuse one script."""
    if "wrong" in script:
        raise BadValue("line 1, column 1: wrong")


@implementer(IListener)
class Observer:
    """Writes down what it hears, in short words."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        # Any: tests know which of them have causes.
        self.events: list[Any] = []

    def signal_added(self, signal: Signal) -> None:
        self.heard.append(f"added {signal.name.key}")

    def signal_removed(self, signal: Signal) -> None:
        self.heard.append(f"removed {signal.name.key}")

    def samples_appended(self, signals: Sequence[Signal], samples: Samples) -> None:
        self.heard.append(f"samples {list(samples.y)}")

    def plot_drawn(self, signal: Signal, plot: Plot) -> None:
        self.heard.append(f"plot {plot.y.tolist()}")

    def event_raised(self, event: Event) -> None:
        self.heard.append(f"event {event.text}")
        self.events.append(event)

    def plugins_changed(self, plugins: Mapping[str, Any]) -> None:
        self.heard.append("plugins")


class Bench:
    """A server's automation; `begin` starts it, `restart` does so anew on the same store.

    ahead: what the wall clock is ahead of that of the reactor, beside EPOCH.
    """

    def __init__(self, storage: IStorage | None = None, clock: Clock | None = None, **policy: Any) -> None:
        self.clock = Clock() if clock is None else clock
        self.storage = MemoryStorage() if storage is None else storage
        self.policy = Policy(**policy)
        self.plugins = FakePlugins()
        self.ahead = 0.0
        self.begin()

    def begin(self) -> None:
        """Start on what the store holds."""
        self.chain = Chain()
        self.scripts = FakeScripts()
        self.recorder = Recorder(self.storage, EventLog(self.storage))
        self.observer = Observer()
        self.recorder.subscribe(self.observer, Selector(all_signals=True))
        self.automation = Automation(
            self.storage,
            self.recorder,
            self.plugins,  # type: ignore[arg-type]  # the part of IPlugins that it asks for
            scripts=self.scripts,
            check_script=check_script,
            backtests=FakeBacktests(),
            chain=self.chain,
            clock=self.clock,
            wall=self.wall,
            policy=self.policy,
        )
        self.automation.start()

    def restart(self, seconds: float = 0.0, gently: bool = True) -> None:
        """End, and start again after so many seconds. gently: or as after kill -9."""
        if gently:
            self.automation.stop()
        else:
            for call in list(self.clock.getDelayedCalls()):
                call.cancel()
        self.clock.advance(seconds)
        self.begin()

    def wall(self) -> float:
        return EPOCH + self.clock.seconds() + self.ahead

    def rule(self, name: str, cond: str, **fields: Any) -> None:
        """Set a rule."""
        self.automation.set_event({"name": name, "cond": cond, **fields}, "me")

    def action(self, name: str, listened: Any, **fields: Any) -> None:
        """Set an action."""
        self.automation.set_action({"name": name, "listenID": listened, "script": "", **fields}, "me")

    def on(self, events: Any = True, actions: Any = True) -> None:
        """Switch everything on."""
        self.automation.activate({"events": events, "actions": actions}, "me")

    def send(self, key: str, *values: float, x: float | None = None) -> None:
        """Record values of one signal, a second of x apart."""
        device, _, name = key.rpartition(".")
        names = Names([SignalName(device, name)] * len(values), [""] * len(values))
        start = self.wall() if x is None else x
        self.recorder.append(Samples(names, [start + step for step in range(len(values))], list(values)))

    def plot(self, key: str, *values: float, hold: Hold = Hold.OFF) -> None:
        """Record a plot."""
        device, _, name = key.rpartition(".")
        x = np.arange(len(values), dtype=np.float64)
        self.recorder.draw(Plot(SignalName(device, name), x, np.array(values, np.float64), hold=hold))

    def events(self) -> list[str]:
        """Return the texts of the events since the last look."""
        texts = [event.text for event in self.observer.events]
        self.observer.events.clear()
        return texts

    def told(self, name: str) -> Mapping[str, Any]:
        """Return how a rule's alarm stands."""
        told: Mapping[str, Any] = self.automation.alarms([name])[name]
        return told
