"""A run of a script that changes nothing: what it does is listed, and seen by itself alone."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from ...box.messages import Notify
from ...errors import RTOCError, TooLarge
from ...interfaces import ICommit
from ...model import Event, FloatColumn, Hold, Plot, Samples, SignalName
from .effects import Answered, Effects, texts

_MOST = 1_000_000
"""Values that a dry run holds."""

Pair = tuple[FloatColumn, FloatColumn]


@implementer(ICommit)
class _Nothing:
    """The commit of what is not recorded."""

    done = True
    error: RTOCError | None = None
    durable = False

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call back at once."""
        callback()


class _Imagined:
    """What a run would have recorded of one signal, after the samples that it has or in place of them."""

    def __init__(self) -> None:
        self.unit = ""
        self.emptied = False
        self._parts: list[tuple[Hold, FloatColumn, FloatColumn]] = []
        self._x, self._y = array("d"), array("d")

    def add(self, x: float, y: float) -> None:
        """Take a sample."""
        self._x.append(x)
        self._y.append(y)

    def draw(self, plot: Plot) -> None:
        """Take a plot."""
        self._settle()
        if plot.hold is Hold.OFF:
            self.emptied = True
            self._parts.clear()
        self._parts.append((plot.hold, plot.x, plot.y))

    def after(self, samples: Pair) -> Pair:
        """Return the samples that there would be after those that there are."""
        self._settle()
        x, y = (samples[0][:0], samples[1][:0]) if self.emptied else samples
        for hold, more_x, more_y in self._parts:
            if hold in (Hold.MERGE_X, Hold.MERGE_Y):
                new = ~(np.isin(more_x, x) if hold is Hold.MERGE_X else np.isin(more_y, y))
                more_x, more_y = more_x[new], more_y[new]
            x, y = np.concatenate([x, more_x]), np.concatenate([y, more_y])
        return x, y

    def _settle(self) -> None:
        if self._x:
            self._parts.append((Hold.ON, np.array(self._x), np.array(self._y)))
            self._x, self._y = array("d"), array("d")


def _newest(count: int, x: FloatColumn, y: FloatColumn) -> Pair:
    start = max(0, len(x) - count)
    return x[start:], y[start:]


class DryEffects(Effects):
    """Lists what a script would do, and does none of it; what the script reads is what there would be."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._imagined: dict[SignalName, _Imagined] = {}
        self._held: dict[tuple[str, str], Any] = {}
        self._cleared = False
        self._values = 0

    def record(self, data: Samples | Plot | Event) -> ICommit:
        """Imagine that data were recorded."""
        self.calls.recorded(data)
        if isinstance(data, Samples):
            self._make_room(len(data.y))
            units = data.names.units
            for name, unit, x, y in zip(data.names.names, units, data.x, data.y, strict=True):
                self._imagine(name, unit).add(x, y)
        elif isinstance(data, Plot):
            self._make_room(len(data.y))
            self._imagine(data.name, data.unit).draw(data)
        else:
            self._imagine(data.name, "")
        return _Nothing()

    def _make_room(self, count: int) -> None:
        self._values += count
        if self._values > _MOST:
            raise TooLarge(f"a dry run holds {_MOST} values, and no more")

    def _imagine(self, name: SignalName, unit: str) -> _Imagined:
        signal = None if self._cleared else self._world.storage.find(name)
        imagined = self._imagined.setdefault(name, _Imagined())
        imagined.emptied = imagined.emptied or self._cleared
        imagined.unit = unit or imagined.unit or (signal.unit if signal else None) or ""
        return imagined

    def _of(self, device: str, name: str) -> _Imagined | None:
        found = self._imagined.get(SignalName(device, name))
        if found is None:
            signal = self._signal(device, name)
            found = None if signal is None else self._imagined.get(signal.name)
        return found

    def _unit(self, device: str, name: str) -> str | None:
        imagined = self._of(device, name)
        if imagined is not None:
            return imagined.unit
        return None if self._cleared else super()._unit(device, name)

    def _newest(self, device: str, name: str) -> Any:
        if self._of(device, name) is None and not self._cleared:
            return super()._newest(device, name)
        # Pairs that a plot merges count where their x, or y, is new: of all samples, that is.
        read = self._read(device, name, self._world.record_length())

        def newest(columns: Pair) -> Answered:
            x, y = columns
            return Answered([float(x[-1]), float(y[-1])] if len(y) else None)

        return read.addCallback(newest)

    def _read(self, device: str, name: str, count: int) -> Deferred[Pair]:
        imagined = self._of(device, name)
        if imagined is None and self._cleared:
            return succeed((np.empty(0), np.empty(0)))
        if imagined is None:
            return super()._read(device, name, count)
        recorded = not self._cleared and self._signal(device, name) is not None
        read = super()._read(device, name, count) if recorded else succeed((np.empty(0), np.empty(0)))
        return read.addCallback(lambda samples: _newest(count, *imagined.after(samples)))

    def _parameter(self, plugin: str, parameter: str) -> Any:
        if (plugin, parameter) in self._held:
            return self._held[plugin, parameter]
        return super()._parameter(plugin, parameter)

    def _get(self, args: list[Any]) -> Any:
        plugin, parameter = texts(args, 2)
        key = plugin, parameter
        return Answered(self._held[key]) if key in self._held else super()._get(args)

    def _change(self, plugin: str, parameter: str, value: Any) -> Any:
        self._held[plugin, parameter] = value
        return Answered(value)

    def _do_call(self, plugin: str, function: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        return Answered()

    def _do_clear(self) -> Any:
        self._cleared = True
        self._imagined.clear()
        return Answered()

    def _do_export(self, wanted: list[Any]) -> Any:
        return Answered()

    def _tell(self, message: Notify) -> None:
        """Tell nobody."""
