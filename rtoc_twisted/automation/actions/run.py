"""One run of a script, from its begin to its end."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...box import messages as box
from ...errors import RTOCError
from ..scripts import messages
from .calls import brief
from .doors import Line
from .effects import Answered, Effects
from .keeping import Kept
from .mother import Mother
from .outcome import Outcome
from .pace import Pace, cost

_FORK_SECONDS = 30.0
"""Time that the mother has to fork, her own start included."""

_STOP_SECONDS = 1.0
"""Time that a script has to end after it was told to, and its process after it has ended."""

_KILL_SECONDS = 5.0
"""Time until a mother is taken for hung that does not tell of the end of a process that she is to kill."""

_OUTPUT = 66_000
_ERROR = 10_000
"""Letters that are kept of the output (all that a script may print, and what it says of the rest), and of the
end of a failure's text."""


class Run:
    """A script's process as the server talks to it; an Audience of its effects, and a Child of the mother.

    begin: the first message, whose clock is set when it is sent; seconds: after which the script is stopped,
    0 for never. `done` fires with the Outcome, once the process is gone and all that it did was recorded.
    """

    _log = Logger()

    def __init__(
        self,
        begin: messages.Begin,
        *,
        mother: Mother,
        kept: Kept,
        clock: IReactorTime,
        wall: Callable[[], float],
        seconds: float,
    ) -> None:
        self._begin = begin
        self._mother = mother
        self._kept = kept
        self._clock = clock
        self._wall = wall
        self._seconds = seconds
        self._effects: Effects | None = None
        self._line: Line | None = None
        self._timer: IDelayedCall | None = None
        self._queue: deque[Any] = deque()
        self._asking = False
        self._working = False
        self._unread = False
        self._holds: set[str] = set()
        self._pace = Pace(clock, lambda held: self._let(held, "pace"))
        self._began = clock.seconds()
        self._output: list[str] = []
        self._room = _OUTPUT
        self._left_out = 0
        self._result: messages.Done | messages.Failed | None = None
        self._verdict = ""
        self._complaint = ""
        self._complaints = 0
        self._forked = False
        self._stopped = False
        self._killed = False
        self._status: int | None = None
        self._hung_up = False
        self.done: Deferred[Outcome] = Deferred()

    def start(self, effects: Effects) -> None:
        """Have the script's process forked."""
        self._effects = effects
        try:
            self._line = self._mother.fork(self._begin.run, self)
        except RTOCError as error:
            self._fail(str(error))
            return
        self._at(_FORK_SECONDS, self._mother.kill, "it did not fork in time")

    def stop(self, verdict: str = "") -> None:
        """Tell the script to end, and end its process if it does not; verdict: why that is a failure."""
        self._verdict = self._verdict or verdict
        if self._stopped or self._line is None:
            return
        self._stopped = True
        if not self._forked:
            # Its process comes, or the mother is taken for hung.
            self._verdict = self._verdict or "it was stopped before it began"
            return
        self._line.send(messages.Stop())
        self._at(_STOP_SECONDS, self._kill, "it was stopped, and killed as it went on")

    def kill(self, verdict: str) -> None:
        """End the process at once; `verdict` is the reason that is told."""
        if self._line is not None:
            self._kill(verdict)

    def drop(self) -> None:
        """Keep nothing more for the next run."""
        self._kept.drop()

    # From its effects.

    def hold(self, held: bool) -> None:
        """Read no more of what the script sends while the disk is behind."""
        self._let(held, "disk")

    def remark(self, line: str) -> None:
        """Add a line to the output."""
        self._print(f"[{line}]\n")

    def complain(self, problem: str) -> None:
        """Take note of what was not done."""
        self._complaints += 1
        if self.done.called:
            self._log.warn("action {name}: {problem}", name=self._begin.name, problem=problem)
        self._complaint = self._complaint or problem

    # From the mother.

    def forked(self) -> None:
        """Begin."""
        self._forked = True
        self._began = self._clock.seconds()
        self._begin.clock = self._wall()
        if self._line is None:
            return
        if self._stopped:
            self._kill("")
            return
        try:
            self._line.send(self._begin)
        except RTOCError as error:
            self._kill(str(error))
            return
        self._at(self._seconds or None, self.stop, f"stopped after {self._seconds:g} s")

    def ended(self, status: int) -> None:
        """Take note that the process is gone; what it has sent is read to its end."""
        self._status = status
        self._pace.stop()
        self._holds.clear()
        if self._line is not None:
            self._line.hold(False)
            if not self._hung_up:
                self._at(_STOP_SECONDS, self._line.close)
        self._perhaps_over()

    def orphaned(self, reason: str) -> None:
        """End with the mother."""
        self._verdict = self._verdict or f"the process that runs scripts is gone: {reason}"
        self.ended(-signal.SIGKILL)

    def unread(self, held: bool) -> None:
        """Answer no further questions while the script does not read the answers that it has."""
        self._unread = held
        if not held:
            self._work()

    def hung_up(self) -> None:
        """Take note that nothing more comes."""
        self._hung_up = True
        self.unread(False)
        if self._status is None and not self._killed:
            self._at(_STOP_SECONDS, self._kill, "" if self._result else "its process closed its socket")
        self._perhaps_over()

    def nonsense(self, problem: str) -> None:
        """End a process that cannot be understood any more."""
        self._kill(f"it sent what is no message: {problem}")

    def came(self, length: int) -> None:
        """Take note of bytes that came."""
        self._pace.spend(length)

    def heard(self, message: messages.FromChild) -> None:
        """Take a message."""
        if self._result is None:
            self._pace.spend(cost(message))
            self._queue.append(message)
            self._work()

    # In their order.

    def _work(self) -> None:
        if self._working:
            # An answer came at once; the loop below goes on.
            return
        self._working = True
        try:
            while self._effects is not None and self._queue and not (self._asking or self._unread):
                self._do(self._effects, self._queue.popleft())
        finally:
            self._working = False
        self._let(bool(self._queue), "queue")
        self._perhaps_over()

    def _do(self, effects: Effects, message: messages.FromChild) -> None:
        try:
            match message:
                case box.Samples() | box.Plot() | box.Event():
                    effects.take(message)
                case box.Notify():
                    effects.notify(message)
                case messages.Ask():
                    if not self._hung_up:
                        self._ask(effects, message)
                case messages.Printed(text=text):
                    self._print(text)
                case messages.Keep(name=name, value=value):
                    self._kept.keep(name, value)
                case messages.Edge(key=key, value=value):
                    self._kept.edge(key, value)
                case messages.Done() | messages.Failed():
                    self._result = message
                    self._queue.clear()
                    self._at(_STOP_SECONDS, self._kill, "")
        except RTOCError as error:
            self.complain(str(error))

    def _ask(self, effects: Effects, ask: messages.Ask) -> None:
        def reply(ok: bool, answered: Answered) -> None:
            self._asking = False
            if self._line is not None:
                try:
                    self._line.send(messages.Reply(ask.id, ok, *answered))
                except RTOCError as error:
                    self._line.send(messages.Reply(ask.id, False, str(error)))
            self._work()

        def failed(failure: Failure) -> None:
            told = failure.getErrorMessage()
            if not failure.check(RTOCError):
                told = "the server could not answer"
                self._log.failure("a script was not answered", failure)
            reply(False, Answered(told))

        self._asking = True
        answered = maybeDeferred(effects.answer, ask.what, ask.args)
        answered.addCallbacks(lambda answered: reply(True, answered), failed)
        answered.addErrback(lambda failure: self._log.failure("a script was not answered", failure))

    def _print(self, text: str) -> None:
        kept = text[: self._room]
        self._left_out += len(text) - len(kept)
        self._room -= len(kept)
        if kept:
            self._output.append(kept)

    def _let(self, held: bool, why: str) -> None:
        (self._holds.add if held else self._holds.discard)(why)
        if self._line is not None and self._status is None:
            self._line.hold(bool(self._holds))

    # Its end.

    def _at(self, seconds: float | None, do: Callable[..., None] | None = None, *arguments: Any) -> None:
        """Let `do` be the one thing that waits for its time; None for nothing."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if seconds is not None and do is not None:
            self._timer = self._clock.callLater(seconds, do, *arguments)

    def _kill(self, verdict: str) -> None:
        self._verdict = self._verdict or verdict
        self._killed = True
        if self._status is None:
            self._mother.kill_child(self._begin.run)
            self._at(_KILL_SECONDS, self._mother.kill, "it did not end a script's process")

    def _perhaps_over(self) -> None:
        # Whoever is gone waits for no answer.
        if self._status is None or not self._hung_up or (self._queue and not self._asking):
            return
        self._at(None)
        self._pace.stop()
        self._line = None
        self._queue.clear()
        if self._effects is not None:
            effects, self._effects = self._effects, None
            effects.settled().addCallback(lambda _: self._finish(effects))

    def _finish(self, effects: Effects) -> None:
        self._kept.write()
        error = self._error()[-_ERROR:]
        output = "".join(self._output)
        if self._left_out:
            output += f"\n[{self._left_out} further letters]"
        kind, data = "none", None
        if isinstance(self._result, messages.Done):
            kind, data = self._result.kind, self._result.data
        self.done.callback(
            Outcome(
                id=str(self._begin.run),
                ok=not error,
                output=output,
                error=error,
                kind=kind,
                data=brief(data) if kind == "value" else data,
                calls=effects.calls.told(),
                seconds=self._clock.seconds() - self._began,
            )
        )

    def _fail(self, error: str) -> None:
        self._effects = None
        self.done.callback(Outcome(str(self._begin.run), ok=False, error=error))

    def _error(self) -> str:
        if isinstance(self._result, messages.Failed):
            return f"{self._verdict}\n{self._result.text}" if self._verdict else self._result.text
        if self._verdict:
            return self._verdict
        if self._result is None:
            return _words(self._status or 0, self._begin.seconds)
        further = self._complaints - 1
        return f"{self._complaint}, and {further} more" if further > 0 else self._complaint


def _words(status: int, seconds: float) -> str:
    """Return how a process ended that has not told it itself."""
    if status == messages.UNFORKED:
        return "the system has no process for the script"
    if status >= 0:
        return f"its process ended with the code {status}"
    if -status == signal.SIGXCPU:
        return f"stopped after {seconds:g} s of the CPU"
    name = signal.Signals(-status).name
    if -status == signal.SIGKILL:
        return f"its process was ended by {name}: the machine may be out of memory"
    return f"its process was ended by {name}"
