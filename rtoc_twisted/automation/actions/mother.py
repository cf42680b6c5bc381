"""The mother of the scripts' processes: started when first needed, and later and later where she dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ...errors import NotAvailable
from .doors import Child, Launch, Line, Process

_LONGEST_DELAY = 60.0
_END_SECONDS = 2.0
"""Time that a mother has to end when it is no longer needed, until it is killed."""

_LINES = 100
"""Printed lines that are logged until it has forked again."""


class Mother:
    """Forks processes for runs out of one that is kept warm.

    launch: starts it; changed: called when runs can be forked again.
    """

    _log = Logger()

    def __init__(self, launch: Launch, clock: IReactorTime, changed: Callable[[], None]) -> None:
        self._launch = launch
        self._clock = clock
        self._changed = changed
        self._process: Process | None = None
        self._children: dict[int, Child] = {}
        self._timer: IDelayedCall | None = None
        self._failures = 0
        self._lines = 0
        self._warned = False
        self._verdict = ""
        self._closing: deque[Deferred[None]] | None = None
        self.ends = 0

    @property
    def ready(self) -> bool:
        """Return whether a run can be forked now; if not, `changed` is called when it can."""
        return self._timer is None and self._closing is None

    def fork(self, number: int, child: Child) -> Line:
        """Have a process forked for a run; return the line to it. Only to be called while `ready`.

        Raises NotAvailable where there can be none.
        """
        try:
            if self._process is None:
                self._process = self._launch(self)
            line = self._process.fork(number, child)
        except OSError as error:
            self._wait()
            raise NotAvailable(f"no process could be started for the script: {error}") from None
        self._children[number] = child
        return line

    def kill_child(self, number: int) -> None:
        """End the process of a run."""
        if self._process is not None and number in self._children:
            self._process.kill_child(number)

    def kill(self, verdict: str) -> None:
        """End a mother that does not do what it should; `verdict` is the reason that is told."""
        if self._process is not None:
            self._verdict = self._verdict or verdict
            self._process.kill()

    def close(self) -> Deferred[None]:
        """Let it end; fires when it is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closing is None:
            self._closing = deque()
        if self._process is None:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        if not self._closing:
            self._process.end()
            self._timer = self._clock.callLater(_END_SECONDS, self._end_late)
        self._closing.append(waiting)
        return waiting

    def _end_late(self) -> None:
        self._timer = None
        self.kill("it did not end")

    # From the process.

    def awake(self, missing: Sequence[str]) -> None:
        """Log, once, what this system cannot do."""
        if missing and not self._warned:
            self._warned = True
            self._log.warn("scripts have {missing}", missing="; ".join(missing))

    def forked(self, number: int) -> None:
        """Take note that the process of a run is there."""
        self._failures = self._lines = 0
        child = self._children.get(number)
        if child is not None:
            child.forked()

    def ended(self, number: int, status: int) -> None:
        """Take note that the process of a run is gone."""
        child = self._children.pop(number, None)
        if child is not None:
            child.ended(status)

    def printed(self, line: str) -> None:
        """Log what was printed outside of a script, as a library may."""
        self._lines += 1
        if self._lines <= _LINES:
            self._log.warn("scripts: {line}", line=line)

    def gone(self, reason: str) -> None:
        """Take note that it is gone; its children are, too."""
        self._process = None
        reason, self._verdict = self._verdict or reason, ""
        orphans, self._children = self._children, {}
        if self._closing is not None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        else:
            self.ends += 1
            self._log.error("the process that runs scripts is gone: {reason}", reason=reason)
            self._wait()
        for orphan in orphans.values():
            orphan.orphaned(reason)
        while self._closing:
            self._closing.popleft().callback(None)

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        delay = min(_LONGEST_DELAY, 2.0**self._failures)
        self._failures += 1
        self._timer = self._clock.callLater(delay, self._waited)

    def _waited(self) -> None:
        self._timer = None
        self._changed()
