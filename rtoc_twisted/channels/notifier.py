"""All channels: who hears of events and messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from ..interfaces import IListener, INotifier, IRecorder, IStorage
from ..model import Event, Notice, Plot, Samples, Selector, Signal
from .channel import Channel
from .queue import forget_others
from .rules import OWN, Rules
from .sender import Sender


@implementer(INotifier, IListener)
class Channels:
    """The channels of a server; they hear of events from now on.

    senders: makes what carries the messages of a channel; the others as Channel has them.
    """

    _log = Logger()

    def __init__(
        self,
        channels: Sequence[Rules],
        storage: IStorage,
        recorder: IRecorder,
        senders: Callable[[Rules], Sender],
        *,
        clock: IReactorTime,
        wall: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self._recorder = recorder
        self._wall = wall
        carriers = [senders(rules) for rules in channels]
        forgotten = forget_others(storage, [rules.name for rules in channels])
        if forgotten:
            self._log.warn("{count} messages for channels that are no more are thrown away", count=forgotten)
        make = partial(Channel, clock=clock, wall=wall, chance=chance, tell=self._tell)
        self._channels = [
            make(rules, storage, sender) for rules, sender in zip(channels, carriers, strict=True)
        ]
        self._deaf = recorder.subscribe(self, Selector())

    def stop(self) -> Deferred[Any]:
        """Hear nothing and send nothing any more; fires when the present tries have ended."""
        self._deaf()
        return DeferredList([channel.stop() for channel in self._channels], consumeErrors=True)

    def _tell(self, text: str) -> None:
        event = Event(OWN, text, self._wall(), priority=1)

        def tell() -> None:
            self._recorder.raise_event(event)

        # Others hear first of what it follows from.
        self._recorder.afterwards(tell)

    # INotifier

    def notify(self, notice: Notice) -> int:
        """Take a notice for all channels that want it; return how many do."""
        wanting = [channel for channel in self._channels if channel.rules.want(notice)]
        for channel in wanting:
            channel.take(notice)
        return len(wanting)

    def told(self) -> Mapping[str, Any]:
        """Return the state of each channel."""
        return {channel.rules.name: channel.told() for channel in self._channels}

    def counters(self) -> Mapping[str, float]:
        """Return figures for people and monitors."""
        return {
            f"channels_{figure}": sum(getattr(channel, figure) for channel in self._channels)
            for figure in ("waiting", "sent", "failed", "dropped", "tries")
        }

    # IListener

    def event_raised(self, event: Event) -> None:
        """Let the channels tell of an event."""
        if self._channels:
            self.notify(Notice(event.text, event.name.key, event.priority, event.name, event.x, event.number))

    def signal_added(self, signal: Signal) -> None:
        """Do nothing."""

    def signal_removed(self, signal: Signal) -> None:
        """Do nothing."""

    def samples_appended(self, signals: Sequence[Signal], samples: Samples) -> None:
        """Do nothing."""

    def plot_drawn(self, signal: Signal, plot: Plot) -> None:
        """Do nothing."""

    def plugins_changed(self, plugins: Mapping[str, Any]) -> None:
        """Do nothing."""
