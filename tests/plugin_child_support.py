"""A real process of a plugin, spoken to over its pipes."""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from array import array
from collections.abc import Callable
from pathlib import Path
from select import select
from textwrap import dedent
from time import monotonic
from typing import Any, TypeVar

from rtoc_twisted.box.messages import Message, Samples, pack
from rtoc_twisted.plugins.orders import Failed, Init, Report, Start, Started, report_reader
from tests.process_support import environment

ROOT = Path(__file__).parent.parent
PATIENCE = 30.0
"""Seconds after which a process that says nothing is hung."""

NEARLY_FULL = 60_000
"""Bytes in a pipe of Linux that takes no whole message of 4096 values any more."""

_R = TypeVar("_R", bound=Message)


def _high(descriptor: int) -> int:
    """Return a copy of a descriptor out of the way of 3 and 4, and close it."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return copy


def written(directory: Path, source: str, folder: str = "Mine", name: str = "Mine") -> Path:
    """Write a plugin as <directory>/devices/<folder>/<name>.py."""
    path = directory / "devices" / folder / f"{name}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(source))
    return path


def floats(data: bytes) -> list[float]:
    """Return the numbers of a column of a report."""
    numbers = array("d", data)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


class Child:
    """A process of a plugin, from Init on.

    path: the plugin's file, <state>/devices/<Folder>/<Name>.py; module: its name, to be imported from the
    directory that it is in; settings: fields of Init.
    """

    def __init__(self, path: Path, module: str = "", **settings: Any) -> None:
        orders, self.orders = map(_high, os.pipe())
        self.reports, reports = map(_high, os.pipe())
        self.output = path.with_suffix(".output")
        self.heard: list[Report] = []
        self._reader = report_reader()
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self.output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, orders, 3),
            (os.POSIX_SPAWN_DUP2, reports, 4),
        ]
        paths = [str(ROOT), str(path.parent)] if module else [str(ROOT)]
        environ = environment({"PYTHONPATH": os.pathsep.join(paths)})
        command = [sys.executable, "-m", "rtoc_twisted.plugins.child"]
        self.pid = os.posix_spawn(sys.executable, command, environ, file_actions=actions, setpgroup=0)
        self.group = self.pid
        os.close(orders)
        os.close(reports)
        state = str(path.parent.parent.parent)
        self.order(Init(path.stem, "" if module else str(path), module, path.stem, state, **settings))

    def order(self, *messages: Message) -> None:
        """Send orders."""
        for message in messages:
            os.write(self.orders, pack(message))

    def start(self) -> None:
        """Start the plugin and wait until it is started."""
        self.order(Start())
        self.until(Started)

    def hear(self) -> bool:
        """Wait for reports; return False when there will be no more of them."""
        ready, _, _ = select([self.reports], [], [], PATIENCE)
        if not ready:
            raise AssertionError(f"no report; heard so far: {self.heard}; output: {self.output.read_text()}")
        data = os.read(self.reports, 1 << 20)
        self.heard += self._reader.feed(data)
        return bool(data)

    def until(self, kind: type[_R], wanted: Callable[[_R], bool] = lambda _: True) -> _R:
        """Return the first report of a kind that is wanted, waiting for it."""
        seen = 0
        while True:
            for report in self.heard[seen:]:
                if isinstance(report, kind) and wanted(report):
                    return report
                if isinstance(report, Failed) and kind is not Failed:
                    raise AssertionError(f"{report}: {self.heard}")
            seen = len(self.heard)
            if not self.hear():
                raise AssertionError(f"it ended; heard: {self.heard}; output: {self.output.read_text()}")

    def fill(self) -> None:
        """Read nothing until the pipe of the reports takes no more of a process that writes all the time."""
        waiting = array("i", [0])
        until = monotonic() + PATIENCE
        while waiting[0] < NEARLY_FULL and monotonic() < until:
            select([], [], [], 0.001)
            fcntl.ioctl(self.reports, termios.FIONREAD, waiting)

    def of(self, kind: type[_R]) -> list[_R]:
        """Return the reports of a kind so far."""
        return [report for report in self.heard if isinstance(report, kind)]

    def values(self, dname: str, sname: str) -> list[float]:
        """Return the values of a signal so far, in order."""
        return [
            value
            for samples in self.of(Samples)
            for index, value in enumerate(floats(samples.y))
            if (samples.dname, samples.names[index % len(samples.names)]) == (dname, sname)
        ]

    def end(self) -> int:
        """Wait until the process has ended; return its exit code, less than 0 for a signal."""
        while self.hear():
            pass
        return self.reap()

    def reap(self) -> int:
        """Wait for the end of a process that ends by itself, whoever else holds its pipes."""
        until = monotonic() + PATIENCE
        while monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
            select([], [], [], 0.01)
        raise AssertionError(f"it does not end; output: {self.output.read_text()}")

    def forget(self) -> None:
        """Close the orders, as a server does that dies."""
        os.close(self.orders)
        self.orders = -1

    def kill(self) -> None:
        """Leave nothing behind."""
        if self.pid:
            os.killpg(self.pid, 9)
            os.waitpid(self.pid, 0)
        for descriptor in (self.orders, self.reports):
            if descriptor >= 0:
                os.close(descriptor)
