"""A plugin tried: run in a process of its own as the server would, against a recorder that keeps nothing."""

from __future__ import annotations

import fcntl
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory

from rtoc_twisted.box import messages

from ..errors import BadValue, RTOCError
from ..plugins import manifest, orders
from ..plugins.discovery import Found
from ..plugins.fake import FakeRecorder
from ..plugins.fakeclock import GO

_PATIENCE = 30.0
"""Seconds for importing the plugin, and as many for its __init__."""
_STOP_SECONDS = 5.0
_LATER = 2.0
_OUTPUT_LINES = 100
_LINE_BYTES = 4096
# The limits of the server's defaults.
_MEMORY = 512 << 20
_OPEN_FILES = 256


@dataclass
class Trial:
    """What came of it; problems: why the plugin is not fit, in words."""

    recorder: FakeRecorder
    output: list[str] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def report(self) -> Iterator[str]:
        """Yield what there is to tell, line by line."""
        yield from self.recorder.report()
        yield f"functions: {', '.join(self.functions) or 'none'}"
        yield f"parameters: {', '.join(self.parameters) or 'none'}"
        yield from (f"output: {line}" for line in self.output)
        yield from (f"PROBLEM: {problem}" for problem in self.problems)


def run(found: Found, seconds: float, stop_seconds: float = _STOP_SECONDS) -> Trial:
    """Run a plugin for seconds of its own clock (at most as many real ones), stop it, and tell what it did.

    Persistent variables start empty, and end with it. Raises BadValue if its manifest or its configuration
    is wrong.
    """
    if found.error is not None or found.path is None or found.folder is None:
        raise BadValue(f"{found.name}: {found.error or 'has no file'}")
    configuration = manifest.read_configuration(found.folder, manifest.read(found.folder))
    trial = Trial(FakeRecorder(configuration.hide))
    with TemporaryDirectory(prefix="rtoc-plugin-") as state, _child(seconds) as child:
        init = orders.Init(
            name=found.name,
            path=str(found.path),
            module="",
            device=found.name,
            state=state,
            config=dict(configuration.values),
            memory=_MEMORY,
            open_files=_OPEN_FILES,
        )
        _Course(trial, child, seconds, stop_seconds).go(init)
    trial.problems += [f"error: {text}" for text in trial.recorder.errors]
    return trial


@dataclass
class _Child:
    """A running process: where orders go, what comes from it, and the socket of its clock."""

    pid: int
    orders: int
    reports: int
    output: int
    go: socket.socket


class _Course:
    """The course of a trial: each step waits for its report, and reads what else comes meanwhile."""

    def __init__(self, trial: Trial, child: _Child, seconds: float, stop_seconds: float) -> None:
        self._trial = trial
        self._child = child
        self._seconds = seconds
        self._stop_seconds = stop_seconds
        self._reader = orders.report_reader()
        self._seen: set[type[messages.Message]] = set()
        self._line = b""
        self._over = False
        self._selector = selectors.DefaultSelector()
        for descriptor, take in (
            (child.reports, self._take_reports),
            (child.output, self._take_output),
            (child.go.fileno(), self._take_over),
        ):
            self._selector.register(descriptor, selectors.EVENT_READ, take)

    def go(self, init: orders.Init) -> None:
        problems = self._trial.problems
        if not self._step(init, orders.Loaded, _PATIENCE):
            problems.append("it cannot be imported")
        elif not self._step(orders.Start(), orders.Started, _PATIENCE):
            problems.append("its __init__ did not end well")
        else:
            self._child.go.send(b"!")
            self._read_until(lambda: self._over or self._has_ended(), self._seconds)
            stop = orders.Stop(self._stop_seconds)
            if self._has_ended():
                problems.append("it ended by itself")
            elif not self._step(stop, orders.Stopped, self._stop_seconds + _LATER):
                problems.append("it did not stop in order when it was told to")
        # What it said before it ended is still on its way; what it started may hold the pipe open.
        self._read_until(self._has_ended, _LATER)
        for kill in (os.killpg, os.kill):
            # It may have left its group, but not its number: nobody has taken note of its end yet.
            with suppress(ProcessLookupError):
                kill(self._child.pid, signal.SIGKILL)
        _, status = os.waitpid(self._child.pid, 0)
        self._selector.close()
        code = os.waitstatus_to_exitcode(status)
        if code < 0 and code != -signal.SIGKILL:
            problems.append(f"it ended by {signal.Signals(-code).name}")

    def _step(self, order: messages.Message, wanted: type[messages.Message], patience: float) -> bool:
        with suppress(BrokenPipeError):
            os.write(self._child.orders, messages.pack(order))
        self._read_until(
            lambda: not self._seen.isdisjoint({wanted, orders.Failed}) or self._has_ended(), patience
        )
        return wanted in self._seen and orders.Failed not in self._seen

    def _read_until(self, done: Callable[[], bool], patience: float) -> None:
        deadline = time.monotonic() + patience
        while not done() and self._selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                data = os.read(key.fd, 1 << 16)
                key.data(data)
                if not data:
                    self._selector.unregister(key.fd)

    def _has_ended(self) -> bool:
        return self._child.reports not in (key.fd for key in self._selector.get_map().values())

    def _take_reports(self, data: bytes) -> None:
        try:
            reports = self._reader.feed(data)
        except RTOCError as error:
            self._trial.problems.append(f"what it reports cannot be read: {error}")
            self._selector.unregister(self._child.reports)
            return
        for report in reports:
            self._seen.add(type(report))
            self._trial.recorder.take(report)
            if isinstance(report, orders.Loaded | orders.Changed):
                self._trial.functions = [f"{it[0]}{it[-1]}" for it in report.functions]
                self._trial.parameters = [f"{it[0]} = {it[1]!r}" for it in report.parameters]

    def _take_output(self, data: bytes) -> None:
        *lines, rest = (self._line + data).split(b"\n")
        if rest and (not data or len(rest) > _LINE_BYTES):
            lines, rest = [*lines, rest], b""
        self._line = rest
        room = _OUTPUT_LINES - len(self._trial.output)
        hide = self._trial.recorder.hide
        self._trial.output += [hide(line.decode(errors="replace")) for line in lines[:room]]

    def _take_over(self, data: bytes) -> None:
        self._over = True


@contextmanager
def _child(seconds: float) -> Iterator[_Child]:
    """Start a process on a clock that jumps, in a group of its own; close what is ours of its pipes."""
    null = _high(os.open(os.devnull, os.O_RDWR))
    pipes = [tuple(map(_high, os.pipe())) for _ in range(3)]
    (order_end, to_it), (reports, report_end), (output, output_end) = pipes
    go, its_go = socket.socketpair()
    go_end = _high(its_go.detach())
    theirs = ((null, 0), (output_end, 1), (output_end, 2), (order_end, 3), (report_end, 4), (go_end, GO))
    command = [sys.executable, "-P", "-u", "-m", "rtoc_twisted.plugins.fakeclock", str(seconds)]
    try:
        pid = os.posix_spawn(
            sys.executable,
            command,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, ours, number) for ours, number in theirs],
            setpgroup=0,
        )
    finally:
        for descriptor in {ours for ours, _ in theirs}:
            os.close(descriptor)
    try:
        yield _Child(pid, to_it, reports, output, go)
    finally:
        for descriptor in (to_it, reports, output):
            os.close(descriptor)
        go.close()


def _high(descriptor: int) -> int:
    """Return a copy above the numbers that the child has a use for, so that none overwrites another."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(descriptor)
    return copy
