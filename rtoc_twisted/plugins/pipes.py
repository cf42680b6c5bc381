"""The process of a plugin and the pipes to it: orders go in, reports and printed lines come out."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..box.messages import pack
from ..errors import RTOCError
from .orders import Order, Report, report_reader

ARGUMENTS = (sys.executable, "-P", "-u", "-m", "rtoc_twisted.plugins.child")
"""What runs a plugin: without the present directory among the places of modules, and with prompt prints."""

_ORDERS, _REPORTS = 3, 4
_PRINTS = (1, 2)
_LINE = 4096
"""Bytes of a printed line; a longer one is told in pieces."""

_PRINTED = 256 * 1024
"""Bytes that are read of what a plugin prints within a second; then it waits, as for a slow terminal."""

_LEFTOVERS_SECONDS = 2.0
"""How long descendants that left the group may keep the pipes of a process that ended."""


class Heard(Protocol):
    """Who hears of a process."""

    def reported(self, report: Report) -> None:
        """A report came."""

    def printed(self, line: str) -> None:
        """A line was printed."""

    def nonsense(self, problem: str) -> None:
        """What came is no report; nothing more will be told of this process but its end."""

    def ended(self, reason: str) -> None:
        """The process is gone, and all that it had sent was told; reason: how, in words."""


class Pipes(ProcessProtocol):
    """A running process.

    heard: who is told; clock: for the second of prints and the patience with leftovers. `pid` is the
    number of the process and of its group.
    """

    pid = 0
    # Twisted's Process; IProcessTransport does not name its pipes.
    transport: Any
    _log = Logger()

    def __init__(self, heard: Heard, clock: IReactorTime) -> None:
        self._heard = heard
        self._clock = clock
        self._read = report_reader().feed
        self._lines = {fd: bytearray() for fd in _PRINTS}
        self._printed = 0
        self._second: IDelayedCall | None = None
        self._leftovers: IDelayedCall | None = None
        self._open = set[int]()
        self._held = False
        self._deaf = False

    def order(self, order: Order) -> int:
        """Send an order, return its bytes; a process that is gone ignores it.

        Raises TooLarge above the limit of a frame.
        """
        frame = pack(order)
        if _ORDERS in self._open:
            self.transport.writeToChild(_ORDERS, frame)
        return len(frame)

    def pause(self) -> None:
        """Read no more reports until `resume`: the plugin waits when its pipe is full."""
        self._held = True
        self._let_read(_REPORTS, reading=False)

    def resume(self) -> None:
        """Read reports again. Idempotent."""
        if self._held:
            self._held = False
            self._let_read(_REPORTS, reading=True)

    def terminate(self) -> None:
        """Ask the process and its descendants to end, by SIGTERM."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and its descendants, by SIGKILL."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            # It has not come to make its group yet, or is gone.
            if self.transport.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, number)

    def cpu_seconds(self) -> float | None:
        """Return the time that the process has used of a CPU, None where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _let_read(self, fd: int, reading: bool) -> None:
        pipe = self.transport.pipes.get(fd)
        if pipe is not None:
            (pipe.startReading if reading else pipe.stopReading)()

    # ProcessProtocol

    def connectionMade(self) -> None:
        """Take note of the process."""
        self.pid = self.transport.pid
        self._open.update(self.transport.pipes)

    def childDataReceived(self, fd: int, data: bytes) -> None:
        """Take what one read has brought."""
        if fd == _REPORTS:
            self._take(data)
        else:
            self._take_print(fd, data)

    def childConnectionLost(self, fd: int) -> None:
        """Take note that a pipe is at its end."""
        self._open.discard(fd)
        rest = self._lines.get(fd)
        if rest:
            self._tell_line(rest)
            rest.clear()

    def processExited(self, reason: Failure) -> None:
        """Let what the process has left behind end, too, so that the pipes do."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._leftovers = self._clock.callLater(_LEFTOVERS_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._leftovers = None
        if self._held:
            self._leftovers = self._clock.callLater(_LEFTOVERS_SECONDS, self._give_up)
            return
        for fd in list(self._open):
            self.transport.closeChildFD(fd)

    def processEnded(self, reason: Failure) -> None:
        """Tell the end."""
        for timer in (self._leftovers, self._second):
            if timer is not None:
                timer.cancel()
        self._heard.ended(_words(reason.value))

    def _take(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            reports = self._read(data)
        except RTOCError as error:
            self._deaf = True
            self._heard.nonsense(str(error))
            return
        for report in reports:
            try:
                self._heard.reported(report)
            except Exception:
                # What comes after it is no worse for it.
                self._log.failure("a report of a plugin was not worked off")

    def _take_print(self, fd: int, data: bytes) -> None:
        rest = self._lines[fd]
        rest += data
        *lines, last = rest.split(b"\n")
        while len(last) > _LINE:
            lines.append(last[:_LINE])
            last = last[_LINE:]
        self._lines[fd] = last
        for line in lines:
            self._tell_line(line)
        self._printed += len(data)
        if self._second is None:
            self._second = self._clock.callLater(1.0, self._next_second)
        if self._printed > _PRINTED:
            for each in _PRINTS:
                self._let_read(each, reading=False)

    def _next_second(self) -> None:
        self._second = None
        if self._printed > _PRINTED:
            for each in _PRINTS:
                self._let_read(each, reading=True)
        self._printed = 0

    def _tell_line(self, line: bytes | bytearray) -> None:
        self._heard.printed(line.decode("utf-8", "replace").rstrip())


def spawn(
    reactor: Any, environment: Mapping[str, str], arguments: tuple[str, ...] = ARGUMENTS
) -> Callable[[Heard], Pipes]:
    """Return what starts a process and tells `heard` of it; it raises OSError where that cannot be.

    reactor: an IReactorProcess and IReactorTime.
    """

    def start(heard: Heard) -> Pipes:
        pipes = Pipes(heard, reactor)
        processes: IReactorProcess = reactor
        with Path(os.devnull).open("rb") as nothing:
            # No directory of its own: then Twisted need not fork the whole server.
            processes.spawnProcess(
                pipes,
                arguments[0],
                arguments,
                env=dict(environment),
                childFDs={0: nothing.fileno(), 1: "r", 2: "r", _ORDERS: "w", _REPORTS: "r"},
            )
        return pipes

    return start


def _words(end: BaseException | None) -> str:
    """Return how a process ended, in words."""
    if isinstance(end, ProcessDone):
        return "its process ended"
    number = getattr(end, "signal", None)
    if number is not None:
        return f"its process was ended by {signal.Signals(number).name}"
    return f"its process ended with the code {getattr(end, 'exitCode', None)}"
