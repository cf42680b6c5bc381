"""Wrong passwords cost time, by address."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

_T = TypeVar("_T")
_FREE_TRIES = 3
_LONGEST = 30.0
_FORGET_AFTER = 600.0
_ADDRESSES = 10_000


class Lockout:
    """Lets tries wait, longer and longer, and those of one address for each other.

    The first tries cost nothing, then the time doubles from a quarter of a second up to half a minute;
    ten quiet minutes or a right password forgive. An IPv6 network of 64 bits counts as one address. Of
    more than 10 000 addresses the longest quiet is forgotten.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._turns: dict[str, DeferredLock] = {}

    @inlineCallbacks
    def in_turn(self, address: str, check: Callable[[], Deferred[_T]]) -> Any:
        """Make a try from that address when it is its turn; fires with what `check` fires with.

        Cancelled while it waits, the try is never made.
        """
        network = _network(address)
        turn = self._turns.setdefault(network, DeferredLock())
        waited = turn.locked
        yield turn.acquire()
        try:
            delay = self.delay(address)
            if waited or delay:
                # Those who waited go on in a turn of the reactor each: no tower of calls.
                yield deferLater(self._clock, delay)
            return (yield check())
        finally:
            turn.release()
            if not turn.locked:
                del self._turns[network]

    def delay(self, address: str) -> float:
        """Return the seconds that the next try from that address waits."""
        count, last = self._failures.get(_network(address), (0, 0.0))
        if count < _FREE_TRIES or self._clock.seconds() - last > _FORGET_AFTER:
            return 0.0
        return float(min(_LONGEST, 0.25 * 2 ** min(count - _FREE_TRIES, 16)))

    def failed(self, address: str) -> None:
        """Take note of a wrong password."""
        key, now = _network(address), self._clock.seconds()
        count, last = self._failures.pop(key, (0, now))
        self._failures[key] = (1 if now - last > _FORGET_AFTER else count + 1, now)
        if len(self._failures) > _ADDRESSES:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Forgive."""
        self._failures.pop(_network(address), None)


def _network(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
