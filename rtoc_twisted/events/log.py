"""The event log: what an event must have, and where it is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ..interfaces import ICommit, IEvents, IStorage
from ..model import Event, Signal

PRIORITIES = (0, 1, 2)


@implementer(IEvents)
class EventLog:
    """Keeps events in the store, in the order in which they were raised."""

    def __init__(self, storage: IStorage) -> None:
        self._storage = storage

    def add(self, signal: Signal, event: Event) -> tuple[Event, ICommit]:
        """Keep an event of a signal; return it as it was kept, and the commit that carries it.

        A priority other than 0, 1, 2 becomes 0; an event without an action id gets the hash of its
        names and text as the original server makes it (protocol section 5).
        """
        if event.priority not in PRIORITIES:
            event = replace(event, priority=0)
        if not event.action_id:
            event = replace(event, action_id=_fingerprint(event))
        return self._storage.add_event(signal.id, event)

    def query(
        self, signals: Sequence[Signal] | None, limit: int | None, after: int | None = None
    ) -> Deferred[list[Event]]:
        """Fire with the newest events, or the oldest with numbers greater than `after`; oldest first."""
        ids = None if signals is None else [signal.id for signal in signals]
        return self._storage.events(ids, limit, after)

    def remove(self, numbers: Sequence[int] | None) -> Deferred[int]:
        """Remove events, None for all; fires with the count."""
        return self._storage.remove_events(numbers)


def _fingerprint(event: Event) -> str:
    text = event.name.name + event.name.device + event.text
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
