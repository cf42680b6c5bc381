"""The contests about rules: what they cost a sample, and how fast one is tried on what is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import orjson
from twisted.internet.task import Clock

from rtoc_twisted.automation.chain import Chain
from rtoc_twisted.automation.engine import Engine
from rtoc_twisted.automation.rule import EventRule
from rtoc_twisted.errors import BadValue
from rtoc_twisted.events.log import EventLog
from rtoc_twisted.model import Names, Samples, SignalName
from rtoc_twisted.recorder import Recorder
from rtoc_twisted.storage.memory import MemoryStorage

from .client import Client, ServerFailed, masked_frame
from .servers import ours, running
from .stored import Figure, Line, Reach, Stores, alone, beyond, slower
from .stores import make_store

_RULES = 1000
_VALUES = 100
"""Of a message, each of another signal."""

_PAST = 10
_POINTS = 1_000_000
"""The signals of a backtest, and the points of each: 10^7 in all."""

_US = 1e6


class _NoPlugins:
    """There are no plugins."""

    def parameter(self, name: str, parameter: str) -> float:
        raise BadValue(f"{name}.{parameter}: there is no plugin")


class _Side:
    """A recorder in memory with a thousand rules on the signals of a device; "" for no rules."""

    def __init__(self, device: str) -> None:
        storage, clock = MemoryStorage(), Clock()
        self.recorder = Recorder(storage, EventLog(storage))
        self._messages = [_message("Dev", first) for first in range(0, _RULES, _VALUES)]
        if device:
            self._engine = Engine(
                storage,
                self.recorder,
                _NoPlugins(),  # type: ignore[arg-type]  # the part of IPlugins that the engine asks for
                chain=Chain(),
                clock=clock,
                wall=time.time,
                window=10_000,
                per_minute=60,
                tell=lambda _: None,
            )
            self._engine.start([_rule(device, number) for number in range(_RULES)], active=True)
        self.run(0.0)

    def run(self, seconds: float) -> float:
        """Record for some seconds, a sample of each signal in turn; return the seconds of one sample.

        They are those of the processor, so that what else goes on does not count.
        """
        append, messages = self.recorder.append, self._messages
        count, began = 0, time.process_time()
        while True:
            for message in messages:
                append(message)
            count += _RULES
            took = time.process_time() - began
            if took >= seconds:
                return took / count


def _message(device: str, first: int) -> Samples:
    numbers = range(first, first + _VALUES)
    names = Names([SignalName(device, f"signal{number}") for number in numbers], [""] * _VALUES)
    return Samples(names, [1.7e9] * _VALUES, [float(number % 7) for number in numbers])


def _rule(device: str, number: int) -> EventRule:
    cond = f"{device}.signal{number}.latest >= 100"
    return EventRule.read({"name": f"rule{number}", "cond": cond, "for": 5})


def evaluation(_stores: Stores, rounds: int, seconds: float) -> list[Line]:
    """Record lists of 100 in memory, with no rules, with rules for other signals, with a rule for each."""
    sides = {"none": _Side(""), "others": _Side("Other"), "each": _Side("Dev")}
    times: dict[str, list[Figure]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(Figure(side.run(seconds / len(sides)) * _US))
    title = "a sample in memory, without rules and with 1000"
    return [
        Line("rules-others", f"{title} for other signals", "us", _NONE, times["none"], times["others"]),
        Line("rules", f"{title}, one of them for it", "us", _TEN, times["none"], times["each"]),
    ]


_NONE = Reach(1.1, slower)
_TEN = Reach(10, beyond, absolute=True)


def backtest(stores: Stores, rounds: int, _seconds: float) -> list[Line]:
    """Try a rule of ten signals on all that a server has of them; the seconds are those of the answer."""
    points = max(1, round(_POINTS * stores.scale))
    state = make_store(stores.directory / "backtest", _PAST, points)
    devices = [f"Bench{number + 1}" for number in range(_PAST)]
    rule = {"cond": " or ".join(f"{device}.level.latest > 100" for device in devices), "trigger": "both"}
    figures = []
    with running(ours(stores.log("backtest"), state)) as server, closing(Client(server.port)) as client:
        for _ in range(rounds):
            began = time.perf_counter()
            found = _tried(client, rule)
            figures.append(Figure(time.perf_counter() - began))
            if found["samples"] != _PAST * points or len(found["fires"]) != 2:
                raise ServerFailed(f"a backtest of {found['samples']} samples, fires: {found['fires']}")
    title = f"a rule of {_PAST} signals tried on {_PAST * points:,} points"
    return [Line("backtest", title, "s", Reach(10, alone, absolute=True), [], figures)]


def _tried(client: Client, rule: dict[str, str]) -> dict[str, Any]:
    """Let a server try a rule; return its answer, past what it tells of its progress."""
    client.socket.sendall(masked_frame(orjson.dumps({"automation": {"backtest": {"event": rule}}})))
    while True:
        for payload in client.payloads():
            answer = orjson.loads(payload)
            if answer.get("error"):
                raise ServerFailed(f"refused: {answer['errors']}")
            if "automation" in answer:
                found: dict[str, Any] = answer["automation"]["backtest"]
                return found


RULED: dict[str, Callable[[Stores, int, float], list[Line]]] = {"rules": evaluation, "backtest": backtest}
