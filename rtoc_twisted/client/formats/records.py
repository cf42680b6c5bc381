"""What files hold, whatever their format: pages of samples, and events; readers yield them one by one."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from rtoc_twisted.errors import BadValue
from rtoc_twisted.model import Event, FloatColumn, SignalName
from rtoc_twisted.wire.batch import check_name, check_text
from rtoc_twisted.wire.codec import check_value

PAGE = 10_000
"""Samples in a page at most. Resuming an import relies on it: other pages would be stored again."""

_HELD = 1 << 18
"""Samples that wait for their page to fill, of all signals together."""

EMPTY = np.empty(0)


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """Samples of one signal in order of arrival: x, y: float64[n], n <= PAGE.

    Without samples it says that there is such a signal.
    """

    name: SignalName
    unit: str
    x: FloatColumn
    y: FloatColumn


@dataclass(frozen=True, slots=True)
class Wrong:
    """A part of a file that cannot be read. place: in words, such as "line 7"; reason: what is wrong."""

    place: str
    reason: str

    def __str__(self) -> str:
        """Return place and reason."""
        return f"{self.place}: {self.reason}"


Record = Page | Event | Wrong


class Writer(Protocol):
    """Writes one file."""

    def write(self, record: Page | Event) -> None:
        """Write a page or an event."""

    def close(self) -> None:
        """Write what is still to be written; the stream stays open."""


def paged(name: SignalName, unit: str, x: FloatColumn, y: FloatColumn) -> Iterator[Page]:
    """Yield columns of any length as pages; one without samples if there are none."""
    for start in range(0, max(len(x), 1), PAGE):
        yield Page(name, unit, x[start : start + PAGE], y[start : start + PAGE])


def checked_name(device: str, signal: str, unit: str) -> SignalName:
    """Return the name; BadValue if it or the unit is nothing that a server can keep."""
    for text, what in ((device, "device"), (signal, "signal"), (unit, "unit")):
        check_name(text, what)
    return SignalName(device, signal)


def event_of(fields: Mapping[str, Any]) -> Event:
    """Return the event of {dname, sname, text, x, priority, id, value}; BadValue if it is none."""
    texts = {key: fields.get(key, "") for key in ("dname", "sname", "text", "id")}
    for key, text in texts.items():
        if not isinstance(text, str):
            raise BadValue(f"{key}: expected a text")
        check_text(text, key)
    name = checked_name(texts["dname"], texts["sname"], "")
    check_name(texts["id"], "id")
    check_value(fields.get("value"), "value")
    priority = fields.get("priority", 0)
    if not isinstance(priority, int) or isinstance(priority, bool) or not 0 <= priority <= 2:
        raise BadValue("priority: expected 0, 1 or 2")
    x = fields.get("x")
    try:
        if isinstance(x, (int, float, str)):
            return Event(name, texts["text"], float(x), priority, texts["id"], fields.get("value"))
    except (ValueError, OverflowError):
        pass
    raise BadValue("x: expected a number")


@dataclass(slots=True)
class _Group:
    name: SignalName
    unit: str
    x: array[float] = field(default_factory=lambda: array("d"))
    y: array[float] = field(default_factory=lambda: array("d"))

    def taken(self) -> Page:
        page = Page(self.name, self.unit, np.frombuffer(self.x), np.frombuffer(self.y))
        self.x, self.y = array("d"), array("d")
        return page


class Groups:
    """Gather samples of many signals into pages; a signal's samples keep their order.

    Every signal is announced by a page without samples, so that signals come in the order of their first
    sample. A page has the newest unit of its samples.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], _Group] = {}
        self._held = 0

    def add(
        self, device: str, signal: str, unit: str, x: Sequence[float], y: Sequence[float]
    ) -> Sequence[Page]:
        """Add samples, no more than a page; return the pages that are ready.

        BadValue for a name or unit that cannot be.
        """
        group = self._groups.get((device, signal))
        ready: Sequence[Page] = ()
        if group is None or group.unit != unit:
            ready = self.announce(device, signal, unit)
            group = self._groups[device, signal]
        fits = PAGE - len(group.x)
        group.x.extend(x[:fits])
        group.y.extend(y[:fits])
        self._held += len(x)
        if len(group.x) == PAGE:
            self._held -= PAGE
            ready = (*ready, group.taken())
            group.x.extend(x[fits:])
            group.y.extend(y[fits:])
        if self._held >= _HELD:
            ready = (*ready, *self.rest())
        return ready

    def announce(self, device: str, signal: str, unit: str) -> Sequence[Page]:
        """Add a signal without a sample; return its first page if it is new. BadValue as `add`."""
        name = checked_name(device, signal, unit)
        group = self._groups.get(name)
        if group is not None:
            group.unit = unit
            return ()
        self._groups[name] = _Group(name, unit)
        return (Page(name, unit, EMPTY, EMPTY),)

    def rest(self) -> Sequence[Page]:
        """Return the pages of all samples that wait."""
        self._held = 0
        return [group.taken() for group in self._groups.values() if group.x]
