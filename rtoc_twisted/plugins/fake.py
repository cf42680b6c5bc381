"""A recorder that keeps nothing but what is to be told of a plugin that was tried."""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ..box import messages
from . import orders

_SIGNALS = 1000
_FURTHER = "further signals"
_EVENTS = 20
_LINES = 100
_ERROR = 2
_LEVELS = {-1: "debug", 0: "info", 1: "warning", 2: "error"}


@dataclass
class Tally:
    """What one signal got: how many values, over which x, from which to which y."""

    unit: str = ""
    count: int = 0
    x: tuple[float, float] = (math.inf, -math.inf)
    y: tuple[float, float] = (math.inf, -math.inf)
    last: float = math.nan

    def add(self, x: Iterable[float], y: array[float], unit: str | None) -> None:
        """Add values; unit: None leaves it as it is."""
        self.unit = self.unit if unit is None else unit
        self.count += len(y)
        self.x = _widened(self.x, x)
        self.y = _widened(self.y, y)
        self.last = y[-1] if y else self.last

    def __str__(self) -> str:
        if not self.count:
            return "no values"
        seconds = self.x[1] - self.x[0]
        span = f" over {seconds:.6g}" if seconds > 0 else ""
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.count} values{span}, {self.y[0]:.6g} to {self.y[1]:.6g}{unit}, last {self.last:.6g}"


@dataclass
class FakeRecorder:
    """Takes a plugin's reports.

    signals: by sigKey, the first thousand; events: the newest; lines: the newest of the log; errors: what the
    plugin or its box told as an error; notices, variables: what it told people, and kept. hide: takes what is
    secret out of a text.
    """

    hide: Callable[[str], str] = str
    signals: dict[str, Tally] = field(default_factory=dict)
    events: deque[messages.Event] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    event_count: int = 0
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    line_count: int = 0
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=_LINES))
    notices: deque[str] = field(default_factory=lambda: deque(maxlen=_EVENTS))
    variables: dict[str, object] = field(default_factory=dict)

    def take(self, report: orders.Report) -> None:
        """Take one report; those of the box's own life say nothing here."""
        match report:
            case messages.Samples(dname=device, names=names, units=units):
                x, y = _floats(report.x), _floats(report.y)
                for place, (name, unit) in enumerate(zip(names, units, strict=True)):
                    self._signal(device, name).add(x[place :: len(names)], y[place :: len(names)], unit)
            case messages.Plot(dname=device, sname=name, unit=unit):
                self._signal(device, name).add(_floats(report.x), _floats(report.y), unit)
            case messages.Event():
                self.event_count += 1
                self.events.append(report)
            case orders.Log(level=level, text=text):
                self.line_count += 1
                self.lines.append(f"{_LEVELS.get(level, level)}: {self.hide(text)}")
                if level >= _ERROR:
                    self.errors.append(self.hide(text))
            case orders.Failed(stage=stage, text=text):
                self.errors.append(f"{stage}: {self.hide(text)}")
            case orders.Variable(dname=device, name=name, value=value):
                if len(self.variables) < _SIGNALS:
                    self.variables[f"{device}.{name}"] = value
            case messages.Notify(kind=kind, text=text):
                self.notices.append(f"{kind}: {self.hide(text)}")

    def report(self) -> Iterator[str]:
        """Yield what there is to tell, line by line."""
        for key, tally in self.signals.items():
            yield f"{key}: {tally}"
        if not self.signals:
            yield "no signals"
        for event in self.events:
            yield f"event {event.dname}.{event.sname}, priority {event.priority}: {self.hide(event.text)}"
        yield from _rest("events", self.event_count, len(self.events))
        for key, value in self.variables.items():
            yield f"persistent variable {key} = {value!r}"
        for notice in self.notices:
            yield f"told people, {notice}"
        for line in self.lines:
            yield f"log, {line}"
        yield from _rest("lines of the log", self.line_count, len(self.lines))

    def _signal(self, device: str, name: str) -> Tally:
        key = f"{device}.{name}"
        if key not in self.signals and len(self.signals) >= _SIGNALS:
            key = _FURTHER
        return self.signals.setdefault(key, Tally())


def _rest(what: str, count: int, shown: int) -> Iterator[str]:
    if count > shown:
        yield f"{count - shown} earlier {what} are not shown"


def _floats(raw: bytes) -> array[float]:
    values = array("d")
    values.frombytes(raw)
    return values


def _widened(span: tuple[float, float], values: Iterable[float]) -> tuple[float, float]:
    finite = [value for value in values if math.isfinite(value)]
    return min((span[0], *finite)), max((span[1], *finite))
