"""Doubles for the tests of plugins: a process that does what the test says, and somebody who listens."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from rtoc_twisted.box import messages
from rtoc_twisted.plugins import orders
from rtoc_twisted.plugins.discovery import Found
from rtoc_twisted.plugins.orders import Order, Report
from rtoc_twisted.plugins.process import PluginProcess


class FakeChild:
    """A process without a process: `orders` is what it was told, `signals` how it was ended, `held` whether
    it is read."""

    def __init__(self, process: Any) -> None:
        self.process = process
        self.orders: list[Order] = []
        self.signals: list[str] = []
        self.held = False
        self.cpu: float | None = None

    def order(self, order: Order) -> int:
        frame = messages.pack(order)
        self.orders.append(order)
        return len(frame)

    def pause(self) -> None:
        self.held = True

    def resume(self) -> None:
        self.held = False

    def terminate(self) -> None:
        self.signals.append("TERM")

    def kill(self) -> None:
        self.signals.append("KILL")

    def cpu_seconds(self) -> float | None:
        return self.cpu

    def ordered(self, kind: type) -> list[Any]:
        """Return the orders of a kind."""
        return [order for order in self.orders if isinstance(order, kind)]

    def report(self, *reports: Report) -> None:
        for report in reports:
            self.process.reported(report)

    def start(self, parameters: Sequence[Any] = (), functions: Sequence[Any] = ()) -> None:
        """Do what a plugin that starts well does."""
        self.report(
            orders.Loaded(list(functions), [], "about it"),
            orders.Changed(list(functions), list(parameters)),
            orders.Started(),
        )

    def answer(self, ok: bool, value: Any) -> None:
        """Answer the newest Call, Get or Set."""
        asked = [it for it in self.orders if isinstance(it, orders.Call | orders.Get | orders.Set)]
        self.report(orders.Result(asked[-1].id, ok, value))

    def end(self, reason: str = "its process ended") -> None:
        self.process.ended(reason)


class Launcher:
    """Starts such processes; `fail` is raised by the next starts if it is set."""

    def __init__(self) -> None:
        self.children: list[FakeChild] = []
        self.fail: OSError | None = None

    def __call__(self, process: PluginProcess) -> FakeChild:
        if self.fail is not None:
            raise self.fail
        self.children.append(FakeChild(process))
        return self.children[-1]

    @property
    def child(self) -> FakeChild:
        """Return the newest."""
        return self.children[-1]


class Ears:
    """Keeps what an Owner or an Audience is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.on_change: Callable[[], None] = lambda: None

    def started(self) -> None:
        self.heard.append(("started", None))

    def failed(self, text: str) -> None:
        self.heard.append(("failed", text))

    def told(self, report: Report) -> None:
        self.heard.append(("told", report))

    def printed(self, line: str) -> None:
        self.heard.append(("printed", line))

    def ended(self, reason: str) -> None:
        self.heard.append(("ended", reason))

    def reported(self, report: Report) -> None:
        self.heard.append(("reported", report))

    def nonsense(self, problem: str) -> None:
        self.heard.append(("nonsense", problem))

    def crashed(self, text: str) -> None:
        self.heard.append(("crashed", text))

    def state_changed(self) -> None:
        self.on_change()

    def hide(self, text: str) -> str:
        return text.replace("geheim", "***")

    def of(self, kind: str) -> list[Any]:
        """Return what was told under that name."""
        return [value for name, value in self.heard if name == kind]


def init(name: str = "P") -> orders.Init:
    return orders.Init(name=name, path="/nowhere/P.py", module="", device=name, state="/nowhere")


def found(name: str, error: str | None = None) -> Found:
    """Return a plugin that no file is needed of."""
    return Found(name=name, origin="installed", module=f"nowhere.{name}", path=None, folder=None, error=error)


def column(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def samples(
    y: Sequence[float], names: Sequence[str] = ("a",), dname: str = "D", unit: str | None = "V"
) -> messages.Samples:
    """Return a report of values; x counts from 0."""
    x = column(*(float(index) for index in range(len(y))))
    return messages.Samples(dname, list(names), [unit] * len(names), x, column(*y))


PLUGIN = '''
from RTOC.LoggerPlugin import LoggerPlugin


class Plugin(LoggerPlugin):
    """{about}"""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
{init}

{more}
'''


def write_plugin(state_dir: Path, name: str, init: str = "pass", more: str = "", about: str = "It.") -> Path:
    """Write a plugin's file below a state directory; return its path.

    init: what its `__init__` does besides LoggerPlugin's; more: its methods.
    """
    folder = state_dir / "devices" / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    init, more = (indent(dedent(text), " " * depth) for text, depth in ((init, 8), (more, 4)))
    path.write_text(PLUGIN.format(about=about, init=init, more=more), encoding="utf-8")
    return path
