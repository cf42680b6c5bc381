"""Wrong passwords cost time, by address."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

_FREE_TRIES = 3
_LONGEST = 30.0
_FORGET_AFTER = 600.0
_ADDRESSES = 10_000


class Lockout:
    """Tells how long to wait before an address is told about its next try.

    clock: returns seconds. The first tries cost nothing, then the time doubles from a quarter of a
    second up to half a minute; ten quiet minutes or a right password forgive. An IPv6 network of 64
    bits counts as one address. Of more than 10 000 addresses the longest quiet is forgotten.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def delay(self, address: str) -> float:
        """Return the seconds to wait before answering a try from that address."""
        count, last = self._failures.get(_network(address), (0, 0.0))
        if count < _FREE_TRIES or self._clock() - last > _FORGET_AFTER:
            return 0.0
        return float(min(_LONGEST, 0.25 * 2 ** min(count - _FREE_TRIES, 16)))

    def failed(self, address: str) -> None:
        """Take note of a wrong password."""
        key, now = _network(address), self._clock()
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
