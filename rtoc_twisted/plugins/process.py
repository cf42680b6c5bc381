"""One process of a plugin as the server talks to it: start, calls, signs of life, end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..errors import Busy, NotAvailable, RTOCError, TimedOut
from . import orders
from .orders import Order, Report

_BEATS = 3
"""Heartbeats without any report after which a process is taken for hung."""

_MORE = 1.0
"""Seconds after those that close() has, until a process that goes on is asked to end by SIGTERM."""

_GRACE = 2.0
"""Seconds from SIGTERM to SIGKILL, and for a process that failed to end by itself."""

_UNANSWERED = 64
_UNANSWERED_BYTES = 32 << 20


@dataclass(frozen=True)
class Limits:
    """What the process of a plugin may take. Times in seconds.

    start: for import and `__init__`; call: until who calls a function is told that it takes too long;
    heartbeat: between questions for a sign of life; close: for `close()`; memory: bytes of it, 0 for any;
    open_files: descriptors; nice: how much it stands back from the server; cpu: percent of one CPU, averaged
    over three heartbeats, None for any.
    """

    start: float = 30.0
    call: float = 10.0
    heartbeat: float = 5.0
    close: float = 5.0
    memory: int = 512 << 20
    open_files: int = 256
    nice: int = 5
    cpu: float | None = None


class Child(Protocol):
    """A running process and its pipes."""

    def order(self, order: Order) -> int:
        """Send an order; return its bytes."""

    def pause(self) -> None:
        """Read no more reports."""

    def resume(self) -> None:
        """Read reports again."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""

    def cpu_seconds(self) -> float | None:
        """Return the CPU time that it used."""


class Owner(Protocol):
    """Who has a process run."""

    def started(self) -> None:
        """The plugin's `__init__` is done."""

    def failed(self, text: str) -> None:
        """The plugin could not be started; the end of the process follows."""

    def told(self, report: Report) -> None:
        """The plugin reports something: data, a variable, its parameters, a line, a message."""

    def printed(self, line: str) -> None:
        """The plugin printed a line."""

    def ended(self, reason: str) -> None:
        """The process is gone; reason: why, in words."""


class PluginProcess:
    """A process from its start to its end; a new one is made for each start.

    launch: starts it and tells whoever it is given what comes; raises OSError.
    """

    def __init__(
        self, launch: Callable[[PluginProcess], Child], clock: IReactorTime, limits: Limits, owner: Owner
    ) -> None:
        self._launch = launch
        self._clock = clock
        self._limits = limits
        self._owner = owner
        self._child: Child | None = None
        self._timer: IDelayedCall | None = None
        self._beat: IDelayedCall | None = None
        self._silent = 0
        self._held = False
        self._cpu: list[float] = []
        self._number = 0
        self._unanswered: dict[int, tuple[Deferred[orders.Result], IDelayedCall, int]] = {}
        self._bytes = 0
        self._verdict: str | None = None
        self._stopping = False

    def start(self, init: orders.Init) -> None:
        """Start the process, import the plugin and make it; raises OSError where there can be no process."""
        limits = self._limits
        init.memory, init.open_files, init.nice = limits.memory, limits.open_files, limits.nice
        self._child = self._launch(self)
        self._at(limits.start, self._start_late)
        try:
            self._child.order(init)
        except RTOCError as error:
            self._owner.failed(str(error))
            self.end(str(error))
        else:
            self._child.order(orders.Start())

    def tell(self, order: Order) -> None:
        """Send an order that has no answer."""
        if self._child is not None:
            self._child.order(order)

    def ask(self, make: Callable[[int], Order]) -> Deferred[orders.Result]:
        """Send the order that `make` returns for a number; fires with its result.

        Fails with TimedOut after the time for calls, NotAvailable if the process ends before, Busy while too
        much waits already, TooLarge for an order above the limit of a frame.
        """
        if self._child is None:
            return fail(NotAvailable("the plugin does not run"))
        if len(self._unanswered) >= _UNANSWERED or self._bytes >= _UNANSWERED_BYTES:
            return fail(Busy("the plugin has too many calls to answer"))
        self._number += 1
        number = self._number
        try:
            size = self._child.order(make(number))
        except RTOCError as error:
            return fail(error)
        answer: Deferred[orders.Result] = Deferred()
        timer = self._clock.callLater(self._limits.call, self._answer_late, number)
        self._unanswered[number] = answer, timer, size
        self._bytes += size
        return answer

    def hold(self, held: bool) -> None:
        """Read no more of what the plugin reports, or read again."""
        if self._child is not None and held is not self._held:
            self._held = held
            (self._child.pause if held else self._child.resume)()

    def stop(self) -> None:
        """Have the plugin closed; what does not end then is ended."""
        if self._child is None or self._stopping:
            return
        self._stopping = True
        self._child.order(orders.Stop(self._limits.close))
        self._stop_beat()
        self._at(self._limits.close + _MORE, self._terminate)

    def end(self, verdict: str) -> None:
        """End the process at once; `verdict` is the reason that is told."""
        if self._child is not None:
            self._verdict = self._verdict or verdict
            self._stop_beat()
            self._child.kill()

    # From the process.

    def reported(self, report: Report) -> None:
        """Take a report."""
        self._silent = 0
        if isinstance(report, orders.Result):
            self._answered(report)
        elif isinstance(report, orders.Started):
            if self._stopping:
                return
            self._at(None)
            self._cpu.clear()
            self._beat = self._clock.callLater(self._limits.heartbeat, self._next_beat)
            self._owner.started()
        elif isinstance(report, orders.Failed) and report.stage in ("import", "init"):
            self._at(_GRACE, self.end, report.text)
            self._owner.failed(report.text)
        elif not isinstance(report, orders.Pong | orders.Stopped):
            self._owner.told(report)

    def printed(self, line: str) -> None:
        """Take a printed line."""
        self._owner.printed(line)

    def nonsense(self, problem: str) -> None:
        """End a process that cannot be understood any more."""
        self.end(f"it sent what is no report: {problem}")

    def ended(self, reason: str) -> None:
        """Take note of the end."""
        self._child = None
        self._at(None)
        self._stop_beat()
        unanswered, self._unanswered = self._unanswered, {}
        self._bytes = 0
        # First: who is told that a call failed is to see why.
        self._owner.ended(self._verdict or reason)
        for answer, timer, _ in unanswered.values():
            timer.cancel()
            answer.errback(NotAvailable("the plugin ended before it answered"))

    def _answered(self, result: orders.Result) -> None:
        found = self._unanswered.pop(result.id, None)
        if found is not None:
            answer, timer, size = found
            self._bytes -= size
            timer.cancel()
            answer.callback(result)

    def _answer_late(self, number: int) -> None:
        answer, _, size = self._unanswered.pop(number)
        self._bytes -= size
        answer.errback(TimedOut(f"timed out: no answer within {self._limits.call:g} s, the call goes on"))

    # Timers.

    def _at(self, seconds: float | None, do: Callable[..., None] | None = None, *arguments: Any) -> None:
        """Let `do` be the one thing that waits for its time; None for nothing."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if seconds is not None and do is not None:
            self._timer = self._clock.callLater(seconds, do, *arguments)

    def _start_late(self) -> None:
        text = f"it did not start within {self._limits.start:g} s"
        self._owner.failed(text)
        self.end(text)

    def _terminate(self) -> None:
        if self._child is not None:
            self._child.terminate()
            self._at(_GRACE, self.end, "it did not stop")

    def _stop_beat(self) -> None:
        if self._beat is not None and self._beat.active():
            self._beat.cancel()
        self._beat = None

    def _next_beat(self) -> None:
        if self._child is None:
            return
        self._silent = 0 if self._held else self._silent + 1
        if self._silent > _BEATS:
            self.end(f"it gave no sign of life for {_BEATS * self._limits.heartbeat:g} s")
        elif self._too_busy(self._child):
            self.end(f"it used more than {self._limits.cpu:g} % of a CPU")
        else:
            self._child.order(orders.Ping(self._silent))
            self._beat = self._clock.callLater(self._limits.heartbeat, self._next_beat)

    def _too_busy(self, child: Child) -> bool:
        used = None if self._limits.cpu is None else child.cpu_seconds()
        if used is None or self._limits.cpu is None:
            return False
        self._cpu = [*self._cpu[-_BEATS:], used]
        share = (used - self._cpu[0]) / (_BEATS * self._limits.heartbeat)
        return len(self._cpu) > _BEATS and 100 * share > self._limits.cpu
