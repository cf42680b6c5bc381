"""All connections: how many there may be, who is told of newcomers, and the goodbye at the end."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from .interfaces import IPeer

_COALESCE_SECONDS = 0.05
"""How long newcomers are gathered before the others are told, once for all of them."""


class Member(Protocol):
    """A connection, as far as the hub knows it."""

    peer: IPeer

    def hear_newcomer(self) -> None:
        """Somebody else connected."""

    def say_goodbye(self) -> None:
        """Close because the server stops."""


class Hub:
    """The connections that are open.

    max_connections, max_per_address: the limits that `has_room` tells; refused: how often it said no.
    """

    def __init__(self, clock: IReactorTime, max_connections: int = 1000, max_per_address: int = 200) -> None:
        self._clock = clock
        self._max_connections = max_connections
        self._max_per_address = max_per_address
        self._members: dict[Member, None] = {}
        self._by_address: Counter[str] = Counter()
        self._newcomers: set[Member] = set()
        self._telling: IDelayedCall | None = None
        self._empty: Deferred[None] | None = None
        self._stopping = False
        self.refused = 0
        self.accepted = 0

    def __len__(self) -> int:
        return len(self._members)

    def has_room(self, address: str) -> bool:
        """Return whether one more connection from that address may come; counts those that may not."""
        room = (
            not self._stopping
            and len(self._members) < self._max_connections
            and (not address or self._by_address[address] < self._max_per_address)
        )
        self.refused += not room
        return room

    def join(self, member: Member) -> None:
        """Count a connection in, and tell the others soon (push P5, protocol section 6)."""
        self._members[member] = None
        self._by_address[member.peer.address] += 1
        self.accepted += 1
        if self._stopping:
            member.say_goodbye()
        if len(self._members) <= 1 or self._stopping:
            return
        self._newcomers.add(member)
        if self._telling is None:
            self._telling = self._clock.callLater(_COALESCE_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = None
        newcomers, self._newcomers = self._newcomers, set()
        for member in list(self._members):
            if newcomers - {member}:
                member.hear_newcomer()

    def leave(self, member: Member) -> None:
        """Count a connection out."""
        if member not in self._members:
            return
        del self._members[member]
        self._newcomers.discard(member)
        address = member.peer.address
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        if not self._members and self._telling is not None:
            self._telling.cancel()
            self._telling = None
        self._check_empty()

    def say_goodbye(self) -> Deferred[None]:
        """Close all connections because the server stops; fires when the last one is gone."""
        gone: Deferred[None] = Deferred()
        self._empty = gone
        self._stopping = True
        for member in list(self._members):
            member.say_goodbye()
        self._check_empty()
        return gone

    def _check_empty(self) -> None:
        if self._empty is not None and not self._members:
            empty, self._empty = self._empty, None
            empty.callback(None)
