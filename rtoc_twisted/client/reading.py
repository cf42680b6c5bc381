"""The methods of the client that read: names, samples, sums of them, events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from rtoc_twisted.client.failures import BadAnswer
from rtoc_twisted.client.values import (
    Latest,
    SignalData,
    SignalPage,
    SignalSums,
    latest_of,
    listed_event,
    page_of,
    signal_of,
    sums_of,
)
from rtoc_twisted.errors import NotAvailable, UnknownSignal
from rtoc_twisted.model import Event, SignalName

_T = TypeVar("_T")

_MALFORMED = (KeyError, TypeError, ValueError, AttributeError)
"""What an answer raises that is not as the protocol says, when it is taken apart."""


class Reading(ABC):
    """What a client that can send requests can read. The methods raise as `Client` says."""

    @abstractmethod
    async def request(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Send any mix of the protocol's keys and return the answer."""

    async def signal_list(self) -> list[SignalName]:
        """Return the names of all signals, in order of their creation."""
        return await self._ask(
            {"getSignalList": True}, "signalList", lambda found: [SignalName(*it) for it in found]
        )

    async def latest(self, keys: Iterable[str] | None = None) -> dict[str, Latest]:
        """Return the newest sample by "device.signal": of all signals that have one, or of these."""
        asked = {"getLatest": True if keys is None else list(keys)}
        return await self._ask(
            asked, "latest", lambda found: {key: latest_of(it) for key, it in found.items()}
        )

    async def signals(
        self,
        names: Iterable[SignalName | str] | None = None,
        *,
        x_min: float | None = None,
        x_max: float | None = None,
        max_points: int | None = None,
    ) -> dict[str, SignalData]:
        """Return samples by "device.signal": of all signals, or of these; unknown ones are left out.

        Only samples with x_min < x <= x_max; at most max_points a signal, thinned so that spikes stay.
        """
        window = _given(xmin=x_min, xmax=x_max, maxN=max_points)
        asked: str | list[Any] = "all"
        if window or names is not None:
            asked = [_of(name) | window for name in await self._resolve(names)]
        return await self._get(asked, "signals", signal_of)

    async def signal(
        self,
        name: SignalName | str,
        *,
        x_min: float | None = None,
        x_max: float | None = None,
        max_points: int | None = None,
    ) -> SignalData:
        """Return the samples of one signal, as signals() does; UnknownSignal."""
        found = await self.signals([name], x_min=x_min, x_max=x_max, max_points=max_points)
        if not found:
            raise _unknown(name)
        return next(iter(found.values()))

    async def aggregate(
        self,
        names: Iterable[SignalName | str] | None,
        width: float,
        functions: Sequence[str] | None = None,
        origin: float = 0.0,
        x_min: float | None = None,
        x_max: float | None = None,
    ) -> dict[str, SignalSums]:
        """Return sums by buckets of x, by "device.signal": of all signals, or of these; no unknown ones.

        Bucket k is origin + k * width <= x < origin + (k + 1) * width. functions: of count, min, max, mean,
        sum, std, first and last, None for all. x_min, x_max: as for signals(). NotAvailable from a server
        that does not know aggregates.
        """
        sums = {"width": width, "origin": origin} | _given(functions=functions and list(functions))
        window = {"aggregate": sums} | _given(xmin=x_min, xmax=x_max)
        return await self._get(
            [_of(name) | window for name in await self._resolve(names)], "aggregates", sums_of
        )

    async def pages(
        self,
        name: SignalName | str,
        limit: int = 10_000,
        after: str | None = None,
        x_min: float | None = None,
        x_max: float | None = None,
    ) -> AsyncIterator[SignalPage]:
        """Yield a signal's samples in order of arrival, exactly, in pages of at most `limit`; one at least.

        after: that of an earlier page, to get what came after it; None: from the oldest on. Whoever keeps
        that of the last page gets with it, later, what is new then. x_min, x_max: as for signals(); a page
        may then be without samples. UnknownSignal; RequestFailed (bad-value) where the samples were
        replaced; NotAvailable from a server that does not know pages.
        """
        resolved = await self._resolve([name])
        if not resolved:
            raise _unknown(name)
        asked = _of(resolved[0]) | _given(xmin=x_min, xmax=x_max) | {"limit": limit, "binary": True}
        more = True
        while more:
            answer = await self.request({"getSignal": [asked | {"after": after}]})
            signals = answer.get("signals")
            if not signals:
                raise _unknown(name)
            if "pages" not in answer:
                raise NotAvailable("this server does not answer page by page; a newer one does")
            page = _made(answer, "pages", partial(page_of, signals))
            after, more = page.after, page.more
            yield page

    async def event_list(self, newest: int | None = None) -> list[Event]:
        """Return all events, or the newest so many, as far as the server lists so many at once."""
        answer = await self.request({"getEventList": True if newest is None else newest})
        if newest is None and answer.get("eventsLeftOut"):
            return [event async for page in self.event_pages() for event in page]
        return _made(answer, "events", _events_of)

    async def event_pages(self, limit: int = 10_000, after: int = 0) -> AsyncIterator[list[Event]]:
        """Yield the events with greater numbers than `after`, the oldest first, at most `limit` at a time.

        Whoever keeps the number of the last one gets with it, later, what is new then. NotAvailable from a
        server that does not know pages of events.
        """
        more = True
        while more:
            answer = await self.request({"getEventList": {"limit": limit, "after": after}})
            if "eventPage" not in answer:
                raise NotAvailable("this server does not list events page by page; a newer one does")
            after, more = _made(answer, "eventPage", lambda told: (told["after"], told["more"]))
            if events := _made(answer, "events", _events_of):
                yield events

    async def events(self, keys: Iterable[str]) -> dict[str, list[Event]]:
        """Return the events of each "device.signal"; none for an unknown one."""
        return await self._ask(
            {"getEvent": list(keys)},
            "events",
            lambda found: {key: [listed_event(it) for it in listed] for key, listed in found.items()},
        )

    async def session(self) -> dict[str, Any]:
        """Return everything recorded, as the wire has it: {maxLength, signals, events, devices}."""
        return await self._ask({"getSession": True}, "session", dict)

    async def _ask(self, fields: Mapping[str, Any], key: str, make: Callable[[Any], _T]) -> _T:
        """Send a request and return what `make` makes of that key of its answer; BadAnswer."""
        return _made(await self.request(fields), key, make)

    async def _get(self, asked: Any, key: str, make: Callable[[Any, Any], _T]) -> dict[str, _T]:
        """Return what `make` makes of each signal of a getSignal, and of what is told of its decimation."""
        if not asked:
            return {}
        answer = await self.request({"getSignal": asked})
        if key not in answer and "signals" in answer:
            raise NotAvailable(f"this server does not know {key}; a newer one does")
        told = answer.get("decimated", {})
        return _made(
            answer, key, lambda found: {signal: make(it, told.get(signal)) for signal, it in found.items()}
        )

    async def _resolve(self, names: Iterable[SignalName | str] | None) -> list[SignalName]:
        """Return names with device and signal apart, which only the server's list can tell of a text."""
        given = None if names is None else list(names)
        if given is not None and not any(type(name) is str for name in given):
            return [name for name in given if isinstance(name, SignalName)]
        listed = await self.signal_list()
        if given is None:
            return listed
        by_key = {name.key: name for name in listed}
        resolved = (name if isinstance(name, SignalName) else by_key.get(name) for name in given)
        return [name for name in resolved if name is not None]


def _made(answer: Mapping[str, Any], key: str, make: Callable[[Any], _T]) -> _T:
    try:
        return make(answer[key])
    except _MALFORMED as error:
        raise BadAnswer(f"the server gave no proper {key}: {error!r}") from error


def _events_of(found: Mapping[str, Any]) -> list[Event]:
    return [listed_event(it) for it in found.values()]


def _of(name: SignalName) -> dict[str, Any]:
    return {"dname": name.device, "sname": name.name}


def _given(**options: Any) -> dict[str, Any]:
    return {key: value for key, value in options.items() if value is not None}


def _unknown(name: SignalName | str) -> UnknownSignal:
    return UnknownSignal(f"no signal {name if isinstance(name, str) else name.key}")
