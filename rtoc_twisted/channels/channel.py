"""One channel: what waits, when the next message goes, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..interfaces import IStorage
from ..model import Notice
from .delivery import of_notice
from .losses import Losses
from .pace import Allowance, Backoff
from .queue import Entry, Queue
from .rules import Rules
from .sender import Outcome, Sender, Verdict

_SOON = 0.001
"""Seconds that are no reason to set a timer."""

_STOP_SECONDS = 3.0
"""How long a try may go on when the server stops."""


class Channel:
    """Sends one message at a time, each until it arrives, is refused or is too old.

    What is taken is in the store with the next commit. A message is sealed there before its first try, so
    that a later one says the same under the same id. wall: the time in seconds since the epoch; chance: as
    in Backoff; tell: takes the text of an event.
    """

    _log = Logger()

    def __init__(
        self,
        rules: Rules,
        storage: IStorage,
        sender: Sender,
        *,
        clock: IReactorTime,
        wall: Callable[[], float],
        chance: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self.rules = rules
        self.sent = self.failed = self.dropped = self.tries = 0
        self._sender = sender
        self._clock = clock
        self._wall = wall
        self._queue = Queue(rules.name, storage, clock.seconds(), wall())
        self._allowance = Allowance(rules.per_hour, clock.seconds())
        self._backoff = Backoff(chance)
        self._not_before = 0.0
        self._failing = False
        self._last_error: str | None = None
        self._losses = Losses(clock, lambda text: tell(f"channel {rules.name}: {text}"))
        self._timer: IDelayedCall | None = None
        self._busy: Entry | None = None
        self._try: Deferred[None] | None = None
        self._stopped = False
        self._plan()

    def take(self, notice: Notice) -> None:
        """Take a notice, which the rules want."""
        now = self._clock.seconds()
        busy = None if self._busy is None else self._busy.number
        dropped = self._queue.add(of_notice(notice, self._wall()), now, busy)
        if dropped:
            self.dropped += dropped
            self._losses.add(dropped, "too many wait")
        # What comes later makes nothing earlier.
        if self._timer is None:
            self._plan()

    def stop(self) -> Deferred[None]:
        """Send nothing any more; fires when the present try has ended, or was given up."""
        self._stopped = True
        self._cancel_timer()
        self._losses.stop()
        if self._try is None:
            return succeed(None)
        return self._try.addTimeout(_STOP_SECONDS, self._clock, onTimeoutCancel=lambda _, __: None)

    @property
    def waiting(self) -> int:
        """Return how many notices wait."""
        return len(self._queue)

    def told(self) -> Mapping[str, Any]:
        """Return what people are told of the channel."""
        return {
            "waiting": self.waiting,
            "sent": self.sent,
            "failed": self.failed,
            "dropped": self.dropped,
            "lastError": self._last_error,
        }

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self) -> None:
        """Set the timer for the next message."""
        if self._stopped or self._busy is not None:
            return
        self._cancel_timer()
        now = self._clock.seconds()
        when = self._next(now)[0]
        if when is not None:
            self._timer = self._clock.callLater(max(0.0, when - now), self._begin)

    def _next(self, now: float) -> tuple[float | None, Sequence[Entry]]:
        """Return from when on something can be sent, None for never, and of which parts it consists."""
        sealed = self._queue.sealed()
        if sealed is not None:
            return self._not_before, [sealed]
        parts = list(self._queue.open())
        if not parts:
            return None, parts
        ready = max(self._not_before, self._allowance.ready(now))
        # A file goes with its own text, and nothing is won by letting it wait.
        if parts[0].delivery.files:
            return ready, parts[:1]
        together = [part for part in parts if not part.delivery.files]
        return max(ready, parts[0].since + self.rules.group_seconds), together

    def _begin(self) -> None:
        self._timer = None
        now = self._clock.seconds()
        when, parts = self._next(now)
        if when is None or when > now + _SOON:
            # What it was set for had to go meanwhile.
            self._plan()
        elif parts[0].delivery.sealed:
            self._busy = parts[0]
            self._send()
        else:
            self._allowance.take(now)
            self._busy, commit = self._queue.seal(parts)
            # If it fails it is sent all the same: people are to hear of a disk that is full.
            commit.when_done(self._send)

    def _send(self) -> None:
        entry = self._busy
        if entry is None or self._stopped:
            return
        self.tries += 1
        trying = self._sender.send(entry.delivery)
        self._try = trying.addErrback(self._broken).addCallback(self._ended, entry)

    def _broken(self, failure: Failure) -> Outcome:
        if not failure.check(CancelledError):
            self._log.failure("channel {name} failed", failure, name=self.rules.name)
        return Outcome(Verdict.AGAIN, type(failure.value).__name__)

    def _ended(self, outcome: Outcome, entry: Entry) -> None:
        self._try = self._busy = None
        delivery = entry.delivery
        if outcome.verdict is Verdict.DELIVERED:
            self._works()
            self.sent += delivery.count
            self._queue.remove(entry.number)
        elif not self._stopped:
            self._fails(outcome.reason)
            if outcome.verdict is Verdict.REFUSED:
                self._give_up(entry, outcome.reason)
            else:
                now = self._clock.seconds()
                self._not_before = now + self._backoff.delay(outcome.after)
                if now - entry.since > self.rules.give_up_hours * 3600:
                    self._give_up(entry, f"tried for {self.rules.give_up_hours:g} hours, {outcome.reason}")
        self._plan()

    def _give_up(self, entry: Entry, reason: str) -> None:
        self.failed += entry.delivery.count
        self._queue.remove(entry.number)
        self._losses.add(entry.delivery.count, reason)

    def _works(self) -> None:
        self._backoff.reset()
        self._not_before = 0.0
        if self._failing:
            self._failing = False
            self._log.info("channel {name} works again", name=self.rules.name)

    def _fails(self, reason: str) -> None:
        self._last_error = reason
        if not self._failing:
            self._failing = True
            self._log.warn("channel {name} fails: {reason}", name=self.rules.name, reason=reason)
