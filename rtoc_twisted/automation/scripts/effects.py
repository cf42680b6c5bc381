"""What scripts do with a call: record, raise events, print, tell people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import time
from typing import Any

import numpy as np

from ...box import messages
from ...box.columns import Series, Wrong, number, of_dict, of_list, plotted, series
from ...box.plain import plain
from .link import Link
from .messages import Printed
from .modules import Module
from .things import unfolded

DEVICE = "noDevice"
"""The device of what names none."""

PRINTED = 64 << 10
"""Letters that a run may print; what comes after them is dropped, and counted."""

LARGEST_FILE = 10 << 20
"""Bytes of a photo or document."""

_SLICE = 1 << 16
_HOLDS = ("off", "on", "mergeX", "mergeY")
_PRIORITIES = (0, 1, 2)


@contextmanager
def _told() -> Iterator[None]:
    """Tell a script of what is no measurement in an exception that it knows."""
    try:
        yield
    except Wrong as error:
        raise ValueError(str(error)) from None


def _bytes(values: Any) -> bytes:
    return np.asarray(values, "<f8").tobytes()


class Recording:
    """stream(), plot() and event(), with the arguments in RTOC's order (docs/protocol.md, `automation`).

    now: seconds since the epoch.
    """

    def __init__(self, link: Link, now: Callable[[], float] = time) -> None:
        self._link = link
        self._now = now

    def stream(
        self,
        y: Any = (),
        snames: Any = (),
        dname: str | None = DEVICE,
        unit: Any = None,
        x: Any = None,
        slist: Any = None,
        sdict: Any = None,
        sname: Any = None,
    ) -> None:
        """Record values, in one of the forms that plugins have; a text as y is an event.

        Raises ValueError for what is no measurement; then nothing is recorded.
        """
        if isinstance(y, str):
            return self.event(y)
        device = DEVICE if dname is None else str(dname)
        now = self._now()
        faults: list[str] = []
        with _told():
            if slist is not None:
                found = {device: of_list(slist, now, faults)}
            elif isinstance(sdict, dict):
                found = {str(name): of_dict(signals, now, faults) for name, signals in sdict.items()}
            elif sdict is not None:
                raise Wrong("sdict is no {dname: {sname: [y, unit]}}")
            else:
                found = {device: series(y, snames if sname is None else sname, unit, x, now)}
            if faults:
                raise Wrong("; ".join(faults))
        for name, measured in found.items():
            self._send(name, measured)
        return None

    def value(self, device: str, name: str, value: Any) -> None:
        """Record one value, now."""
        self.stream(value, name, device)

    def _send(self, device: str, measured: Series) -> None:
        for start in range(0, len(measured.y), _SLICE):
            part = slice(start, start + _SLICE)
            x, y = _bytes(measured.x[part]), _bytes(measured.y[part])
            names, units = list(measured.names[part]), list(measured.units[part])
            self._link.send(messages.Samples(device, names, units, x, y))

    def plot(
        self,
        x: Any = (),
        y: Any = (),
        sname: Any = "noName",
        dname: str | None = DEVICE,
        unit: Any = "",
        hold: Any = "off",
        autoResize: bool = False,  # noqa: N803  RTOC's name
    ) -> None:
        """Record a whole signal; without y, x are the values. hold: as on the wire.

        autoResize has no meaning here. Raises ValueError where x and y are no signal.
        """
        with _told():
            axis, values = plotted(x, y)
        # In RTOC's scripts a boolean of no meaning here was in its place.
        way = "off" if isinstance(hold, bool) else hold
        if way not in _HOLDS:
            raise ValueError(f"plot: hold is one of {', '.join(_HOLDS)}, not {hold!r}")
        name, measure = _one(sname, 0, "noName"), _one(unit, -1, "")
        device = DEVICE if dname is None else str(dname)
        for start in range(0, len(axis) or 1, _SLICE):
            part = slice(start, start + _SLICE)
            sent = messages.Plot(device, name, measure, way, _bytes(axis[part]), _bytes(values[part]))
            self._link.send(sent)
            way = "on" if way == "off" else way

    def event(
        self,
        text: Any = "",
        sname: Any = None,
        dname: Any = None,
        x: Any = None,
        priority: Any = 0,
        id: Any = None,
        value: Any = None,
    ) -> None:
        """Raise an event; also one list of these, or one dict, as on the wire. x: None is now."""
        if isinstance(text, list | tuple):
            return self.event(*text)
        if isinstance(text, dict):
            return self.event(**text)
        with _told():
            moment = self._now() if x is None else number(x, "event: x")
        device = DEVICE if dname is None else str(dname)
        name = "noName" if sname is None else str(sname)
        action = "" if id is None else str(id)
        told = messages.Event(
            plain(str(text)), device, name, moment, _priority(priority), action, unfolded(value)
        )
        self._link.send(told)
        return None


def _one(value: Any, index: int, missing: str) -> str:
    """Return a text of a text or a list of them."""
    if isinstance(value, list | tuple):
        value = value[index] if value else missing
    return missing if value is None else str(value)


def _priority(value: Any) -> int:
    return int(value) if value in _PRIORITIES else 0


class Printer:
    """print(), and what is behind sys.stdout; up to so many letters."""

    def __init__(self, link: Link, limit: int = PRINTED) -> None:
        self._link = link
        self._left = limit
        self._dropped = 0

    def print(
        self,
        *values: Any,
        sep: str | None = None,
        end: str | None = None,
        file: Any = None,
        flush: Any = None,
    ) -> None:
        """Print as Python's print does; wherever to, it is the output of the run."""
        text = (" " if sep is None else sep).join(map(str, values))
        self.write(text + ("\n" if end is None else end))

    def write(self, text: str) -> int:
        """Print a text."""
        kept = str(text)[: self._left]
        self._left -= len(kept)
        self._dropped += len(text) - len(kept)
        if kept:
            self._link.send(Printed(plain(kept)))
        return len(text)

    def finish(self) -> None:
        """Say at the end how much was dropped."""
        if self._dropped:
            self._link.send(Printed(f"\n... {self._dropped} letters more were printed, and dropped\n"))


class Telegram:
    """RTOC's `telegram`: tells people through the channels of the server.

    read: returns the bytes of a file; raises OSError where that cannot be.
    """

    def __init__(self, link: Link, read: Callable[[str], bytes]) -> None:
        self._link = link
        self._read = read

    def shown(self) -> Module:
        """Return it as scripts see it."""
        names = ("send_message_to_all", "send_photo", "send_document", "send_plot")
        return Module("telegram", {name: getattr(self, name) for name in names})

    def send_message_to_all(
        self, message: Any, priority: int = 0, permission: str = "write", chat_ids: Any = None
    ) -> None:
        """Send a text. permission: RTOC's word for who gets it; chat_ids has no meaning here."""
        self._send("message", str(message), "", None, priority, permission)

    def send_photo(
        self, path: Any, priority: int = 0, permission: str = "write", chat_ids: Any = None
    ) -> None:
        """Send a picture: its bytes, or the path of a file."""
        self._send_file("photo", path, priority, permission)

    def send_document(
        self, path: Any, priority: int = 0, permission: str = "write", chat_ids: Any = None
    ) -> None:
        """Send a file: its bytes, or its path."""
        self._send_file("document", path, priority, permission)

    def send_plot(
        self,
        signals: Any = None,
        title: Any = "",
        text: Any = "",
        events: Any = (),
        dpi: int = 300,
        priority: int = 0,
        permission: str = "write",
        chat_ids: Any = None,
    ) -> None:
        """Send a picture of signals {name: [x, y] or a signal}, with events [[x, text], ..]."""
        data = unfolded({"signals": signals or {}, "events": events, "dpi": dpi})
        self._send("plot", str(text), str(title), data, priority, permission)

    def _send_file(self, kind: str, path: Any, priority: int, permission: str) -> None:
        if isinstance(path, bytes | bytearray):
            name, data = "", bytes(path)
        else:
            name = str(path).rpartition("/")[2]
            try:
                data = self._read(str(path))
            except PermissionError:
                # The server reads it, where scripts may have files sent from.
                self._send(kind, "", name, str(path), priority, permission)
                return
        if len(data) > LARGEST_FILE:
            raise ValueError(f"a {kind} of {len(data)} bytes, and {LARGEST_FILE} is the limit")
        self._send(kind, "", name, data, priority, permission)

    def _send(self, kind: str, text: str, name: str, data: Any, priority: int, permission: str) -> None:
        told = messages.Notify(kind, plain(text), plain(name), data, _priority(priority), str(permission))
        self._link.send(told)
