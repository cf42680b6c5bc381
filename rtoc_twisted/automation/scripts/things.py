"""The things of the server that scripts name: devices with their signals, parameters and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...box.plain import plain
from .link import Link
from .words import MODULES

Column = NDArray[np.float64]
_set = object.__setattr__


class Signal:
    """A signal: its x and y, together or each, and its newest value.

    Every use asks the server, so the values are the newest there are. To assign to `latest` streams a value.
    stream: does that, given device, name and value.
    """

    __slots__ = ("__device", "__link", "__name", "__stream")

    def __init__(self, link: Link, device: str, name: str, stream: Callable[[str, str, Any], None]) -> None:
        self.__link = link
        self.__device = device
        self.__name = name
        self.__stream = stream

    @property
    def x(self) -> Column:
        """Return the x of all samples."""
        return self.columns()[0]

    @property
    def y(self) -> Column:
        """Return the y of all samples."""
        return self.columns()[1]

    @property
    def latest(self) -> float:
        """Return the newest y; raises IndexError where there is none."""
        pair = self.__link.ask("latest", self.__device, self.__name).value
        if pair is None:
            raise IndexError(f"{self!r} has no values")
        return float(pair[1]) if pair[1] is not None else float("nan")

    @latest.setter
    def latest(self, value: Any) -> None:
        self.__stream(self.__device, self.__name, value)

    def columns(self) -> tuple[Column, Column]:
        """Return x and y of all samples."""
        reply = self.__link.ask("samples", self.__device, self.__name, None)
        return _column(reply.x), _column(reply.y)

    def __iter__(self) -> Iterator[Column]:
        return iter(self.columns())

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Column:
        return self.columns()[index]

    def __repr__(self) -> str:
        return f"{self.__device}.{self.__name}"


def _column(data: bytes) -> Column:
    return np.frombuffer(data, "<f8").astype(np.float64)


class Device:
    """A device or plugin; its attributes are signals, values of parameters, and functions."""

    __slots__ = ("__name", "__things")

    def __init__(self, things: Things, name: str) -> None:
        _set(self, "_Device__things", things)
        _set(self, "_Device__name", name)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{name} is not for scripts; signal() and device() take any name")
        return self.__things.found(self.__name, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self.__things.set(self.__name, name, value)

    def __repr__(self) -> str:
        return f"device({self.__name!r})"


class Things:
    """All devices of the server, as one run sees them.

    stream: records a value, given device, name and value.
    """

    def __init__(self, link: Link, stream: Callable[[str, str, Any], None]) -> None:
        self._link = link
        self._stream = stream
        self._signals: dict[tuple[str, str], Signal] = {}

    def device(self, name: str) -> Device:
        """Return a device by its name, whether there is one or not."""
        return Device(self, str(name))

    def signal(self, key: str) -> Signal:
        """Return a signal by "Device.Name", also one that is still to come.

        Where there are several dots, the longest name of a device that has such a signal is meant.
        """
        words = str(key).split(".")
        if len(words) < 2:
            raise ValueError(f"{key!r} is not 'Device.Name'")
        splits = [(".".join(words[:at]), ".".join(words[at:])) for at in range(len(words) - 1, 0, -1)]
        for device, name in splits:
            if (device, name) in self._signals or len(splits) == 1 or self._kind(device, name) == "signal":
                return self._known(device, name)
        return self._known(*splits[-1])

    def found(self, device: str, name: str) -> Any:
        """Return a signal, the value of a parameter, or a function; raises AttributeError without one."""
        known = self._signals.get((device, name))
        if known is not None:
            return known
        kind, *rest = self._look(device, name)
        if kind == "signal":
            return self._known(device, name)
        if kind == "parameter":
            return rest[0]
        if kind == "function":
            return self._function(device, name)
        hint = f"; for the module, write 'import {device}' first" if device in MODULES else ""
        raise AttributeError(f"{device}.{name}: no signal, parameter or function has this name{hint}")

    def set(self, device: str, name: str, value: Any) -> None:
        """Set a parameter."""
        self._link.ask("set", device, name, unfolded(value))

    def _look(self, device: str, name: str) -> list[Any]:
        return self._link.ask("look", device, name).value or [""]

    def _kind(self, device: str, name: str) -> str:
        return str(self._look(device, name)[0])

    def _known(self, device: str, name: str) -> Signal:
        made = Signal(self._link, device, name, self._stream)
        return self._signals.setdefault((device, name), made)

    def _function(self, device: str, name: str) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            return self._link.ask("call", device, name, unfolded(args), unfolded(kwargs)).value

        return function


def spread(value: Any) -> tuple[Any, ...]:
    """Return what an argument stands for: of a signal its x and its y."""
    return value.columns() if isinstance(value, Signal) else (value,)


def spreading(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function for which a signal among the arguments is two: its x and its y."""

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        return function(*(part for value in args for part in spread(value)), **kwargs)

    return called


def unfolded(value: Any) -> Any:
    """Return a value for the wire; signals in it, however deep in lists and dicts, become [x, y]."""
    if isinstance(value, Signal):
        return [column.tolist() for column in value]
    if isinstance(value, dict):
        return {str(key): unfolded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [unfolded(item) for item in value]
    return plain(value)
