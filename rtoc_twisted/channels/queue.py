"""What waits for a channel: in memory, and in the store as one document a message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from twisted.logger import Logger

from ..interfaces import ICommit, IStorage
from .delivery import Delivery, merge, read

PREFIX = "channels/"
"""Of the keys of all documents; the channel's name follows, and a number."""

MOST, MOST_BYTES = 1000, 32 << 20
"""Messages that may wait for a channel, and roughly their bytes."""


@dataclass(frozen=True)
class Entry:
    """A message that waits since `since`, by the reactor's clock."""

    number: int
    delivery: Delivery
    since: float


class Queue:
    """The messages that wait for a channel, oldest first; those of an earlier run are there at once.

    now, wall: the time by the reactor's clock and since the epoch.
    """

    _log = Logger()

    def __init__(self, name: str, storage: IStorage, now: float, wall: float) -> None:
        self._storage = storage
        self._prefix = f"{PREFIX}{name}/"
        self._entries: dict[int, Entry] = {}
        self._bytes = 0
        for key, document in storage.documents(self._prefix).items():
            try:
                delivery = read(document)
                number = int(key.removeprefix(self._prefix))
            except ValueError as error:
                self._log.warn("{key} is thrown away: {problem}", key=key, problem=str(error))
                storage.put_document(key, None)
            else:
                self._enter(Entry(number, delivery, now - max(0.0, wall - delivery.made)))
        self._last = max(self._entries, default=0)

    def __len__(self) -> int:
        """Return how many notices wait."""
        return sum(entry.delivery.count for entry in self._entries.values())

    def add(self, delivery: Delivery, now: float, busy: int | None = None) -> int:
        """Take a message; return how many notices had to go for it, which may be itself.

        The least urgent go first, among these the oldest; never the one whose number is `busy`.
        """
        self._last += 1
        self._enter(Entry(self._last, delivery, now))
        lost = 0
        while len(self._entries) > MOST or self._bytes > MOST_BYTES:
            victim = min(
                (entry for number, entry in self._entries.items() if number != busy),
                key=lambda entry: (entry.delivery.priority, entry.number),
            )
            lost += victim.delivery.count
            if victim.number == self._last:
                self._leave(self._last)
            else:
                self.remove(victim.number)
        if self._last in self._entries:
            self._keep(self._last)
        return lost

    def sealed(self) -> Entry | None:
        """Return the oldest message that may have been tried, None if there is none."""
        return next((entry for entry in self._entries.values() if entry.delivery.sealed), None)

    def open(self) -> Iterator[Entry]:
        """Yield those that were not."""
        return (entry for entry in self._entries.values() if not entry.delivery.sealed)

    def seal(self, parts: Sequence[Entry]) -> tuple[Entry, ICommit]:
        """Make one message of several, which nothing joins any more; return it, and its commit.

        All is one change in the store, so that after a crash there are either the parts or the whole.
        """
        whole = Entry(parts[0].number, merge([part.delivery for part in parts]), parts[-1].since)
        for part in parts[1:]:
            self.remove(part.number)
        self._leave(whole.number)
        self._enter(whole)
        return whole, self._keep(whole.number)

    def remove(self, number: int) -> None:
        """Forget a message."""
        self._leave(number)
        self._storage.put_document(self._key(number), None)

    def _enter(self, entry: Entry) -> None:
        self._entries[entry.number] = entry
        self._bytes += entry.delivery.size

    def _leave(self, number: int) -> None:
        self._bytes -= self._entries.pop(number).delivery.size

    def _key(self, number: int) -> str:
        # Keys are sorted as text.
        return f"{self._prefix}{number:012d}"

    def _keep(self, number: int) -> ICommit:
        return self._storage.put_document(self._key(number), self._entries[number].delivery.document())


def forget_others(storage: IStorage, names: Sequence[str]) -> int:
    """Forget what waits for channels that are none of these; return how many messages that were."""
    known = tuple(f"{PREFIX}{name}/" for name in names)
    others = [key for key in storage.documents(PREFIX) if not key.startswith(known)]
    for key in others:
        storage.put_document(key, None)
    return len(others)
