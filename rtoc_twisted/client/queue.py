"""What waits on the client until a server has stored it; here in memory, in `diskqueue` on disk."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from rtoc_twisted.client.failures import QueueFull
from rtoc_twisted.errors import BadValue, TooLarge

WhenFull = Literal["refuse", "oldest", "newest"]

_POLICIES = ("refuse", "oldest", "newest")


@dataclass(frozen=True)
class Limits:
    """How much may wait: so many messages, of so many characters together.

    when_full: "refuse" raises QueueFull, "oldest" drops the oldest that wait to make room, "newest" drops
    the new one; both are counted. BadValue for any other.
    """

    messages: int = 100_000
    size: int = 64 * 1024 * 1024
    when_full: WhenFull = "refuse"

    def __post_init__(self) -> None:
        if self.when_full not in _POLICIES:
            raise BadValue(f"when_full is one of {', '.join(_POLICIES)}, not {self.when_full!r}")
        if self.messages < 1 or self.size < 1:
            raise BadValue("a queue holds at least one message of one character")


@dataclass(frozen=True, slots=True)
class Entry:
    """A message that waits, and its number, which with the queue's `source` is its name everywhere."""

    seq: int
    text: str


class Queue(ABC):
    """Messages in order of arrival, each under a number that no other message of this source ever has.

    A message stays until it is removed, so that whoever sends them may begin again from the oldest at any
    time. `source` names the queue to servers; `dropped` counts what went for want of room.
    """

    source: str

    def __init__(self, limits: Limits) -> None:
        self.dropped = 0
        self.size = 0
        self._limits = limits

    def add(self, text: str) -> bool:
        """Take a message, one line of ASCII; return False if it was dropped for want of room.

        QueueFull if there is no room, TooLarge if there never will be; StorageFailed if it cannot be
        written down. Nothing is kept then.
        """
        if len(text) > self._limits.size:
            raise TooLarge(f"{len(text)} characters are more than the queue may hold, {self._limits.size}")
        while len(self) >= self._limits.messages or self.size + len(text) > self._limits.size:
            if self._limits.when_full == "refuse":
                raise QueueFull(f"{len(self)} messages wait for the server, the queue is full")
            self.dropped += 1
            if self._limits.when_full == "newest":
                return False
            self.remove(self.oldest)
        self._put(text)
        return True

    @abstractmethod
    def __len__(self) -> int:
        """Return how many messages wait."""

    @property
    @abstractmethod
    def oldest(self) -> int:
        """The least number that waits, or the next one where nothing does."""

    @property
    @abstractmethod
    def next_seq(self) -> int:
        """The least number that a message to come may get."""

    @abstractmethod
    def after(self, seq: int) -> Entry | None:
        """Return the first waiting message whose number is greater, or None."""

    @abstractmethod
    def remove(self, seq: int) -> bool:
        """Forget a message; return False if it did not wait."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what the queue holds of the system; nothing may be called afterwards."""

    @abstractmethod
    def _put(self, text: str) -> None:
        """Append a message, for which there is room."""


class MemoryQueue(Queue):
    """A Queue that ends with the process."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(limits)
        self.source = uuid.uuid4().hex
        self._waiting: dict[int, str] = {}
        self._first = self._next = 0

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._waiting)

    @property
    def oldest(self) -> int:
        """The least number that waits, or the next one where nothing does."""
        return self._first

    @property
    def next_seq(self) -> int:
        """The number of the next message."""
        return self._next

    def after(self, seq: int) -> Entry | None:
        """Return the first waiting message whose number is greater, or None."""
        for candidate in range(max(self._first, seq + 1), self._next):
            text = self._waiting.get(candidate)
            if text is not None:
                return Entry(candidate, text)
        return None

    def remove(self, seq: int) -> bool:
        """Forget a message; return False if it did not wait."""
        text = self._waiting.pop(seq, None)
        if text is None:
            return False
        self.size -= len(text)
        while self._first < self._next and self._first not in self._waiting:
            self._first += 1
        return True

    def close(self) -> None:
        """Forget everything."""
        self._waiting.clear()

    def _put(self, text: str) -> None:
        self._waiting[self._next] = text
        self._next += 1
        self.size += len(text)
