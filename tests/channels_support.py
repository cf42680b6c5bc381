"""Doubles for the tests of channels: a sender that does what the test says, and channels on a Clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from rtoc_twisted.channels.delivery import Delivery
from rtoc_twisted.channels.notifier import Channels
from rtoc_twisted.channels.rules import Rules
from rtoc_twisted.channels.sender import DELIVERED, Outcome, Sender, Verdict
from rtoc_twisted.events.log import EventLog
from rtoc_twisted.interfaces import IStorage
from rtoc_twisted.model import Event, SignalName
from rtoc_twisted.recorder import Recorder
from rtoc_twisted.storage.memory import MemoryStorage

from .doubles import EPOCH

AGAIN = Outcome(Verdict.AGAIN, "HTTP 503")
REFUSED = Outcome(Verdict.REFUSED, "HTTP 404")
HOUR = 3600.0


class FakeSender:
    """Keeps what it was given; `answer` is what it says, None to wait for `end`."""

    def __init__(self) -> None:
        self.given: list[Delivery] = []
        self.answer: Outcome | None = DELIVERED
        self.cancelled = 0
        self.on_send: Callable[[Delivery], None] = lambda _: None
        self._waiting: Deferred[Outcome] | None = None

    def send(self, delivery: Delivery) -> Deferred[Outcome]:
        self.given.append(delivery)
        self.on_send(delivery)
        waiting: Deferred[Outcome] = Deferred(self._cancel)
        if self.answer is None:
            self._waiting = waiting
        else:
            waiting.callback(self.answer)
        return waiting

    def _cancel(self, _: Deferred[Outcome]) -> None:
        self.cancelled += 1

    def end(self, outcome: Outcome | Exception) -> None:
        """Answer what was given last."""
        assert self._waiting is not None
        waiting, self._waiting = self._waiting, None
        if isinstance(outcome, Outcome):
            waiting.callback(outcome)
        else:
            waiting.errback(outcome)

    def texts(self) -> list[list[str]]:
        """Return the texts of the notices of each try, and forget them."""
        given, self.given = self.given, []
        return [[notice["text"] for notice in delivery.notices] for delivery in given]


class Server:
    """Channels with all that they need, as much of a server as that takes.

    rules: of the channels; storage, clock: those of an earlier one, to go on with.
    """

    def __init__(
        self,
        *rules: Rules,
        storage: IStorage | None = None,
        clock: Clock | None = None,
        senders: Callable[[Rules], Sender] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.storage = storage or MemoryStorage()
        self.recorder = Recorder(self.storage, EventLog(self.storage))
        self.sender = FakeSender()
        self.offset = 0.0
        self.channels = Channels(
            rules,
            self.storage,
            self.recorder,
            senders or (lambda _: self.sender),
            clock=self.clock,
            wall=self.wall,
            chance=lambda: 0.999999999,
        )

    def wall(self) -> float:
        return EPOCH + self.clock.seconds() + self.offset

    def event(self, text: str, priority: int = 1, name: tuple[str, str] = ("Freezer", "Temp")) -> None:
        """Raise an event."""
        self.recorder.raise_event(Event(SignalName(*name), text, self.wall(), priority))

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """Let time go by in steps, as timers that set timers want it."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() + step < end:
            self.clock.advance(step)
        self.clock.advance(max(0.0, end - self.clock.seconds()))

    def told(self, channel: str = "duty") -> Any:
        return self.channels.told()[channel]

    def own_events(self) -> list[str]:
        """Return the texts of the events about channels."""
        found: list[Event] = []
        self.storage.events().addCallback(found.extend)
        return [event.text for event in found if event.name == SignalName("RTOC", "channels")]
