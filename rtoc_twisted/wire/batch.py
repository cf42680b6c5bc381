"""The data of a request: y with x, sname, dname, unit, plot, hold (protocol section 5).

Devices send the same names again and again, so the names stay undecoded and are the key under which
their decoded form is remembered; only the numbers of a message are read.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import numpy as np

from ..errors import BadValue
from ..model import FloatColumn, Hold, Names, Plot, Samples, SignalName
from .columns import LEAST, NO_COLUMN, array_of, column_reader
from .request import lenient

_K = TypeVar("_K")


class Batch(msgspec.Struct, frozen=True):
    """The name that a sender gives to its data, so that it is stored once however often it is sent."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    seq: Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]

    def __post_init__(self) -> None:
        try:
            self.source.encode()
        except UnicodeEncodeError:
            raise ValueError("source: the text holds a lone surrogate") from None


DATA_KEYS: Mapping[str, Any] = {
    "y": lenient(float | str | list[float | str | bool | None] | None),
    "x": lenient(float | list[float | str] | None),
    "sname": lenient(str | list[str]),
    "dname": lenient(str | None),
    "unit": lenient(str | list[str | None] | None),
    "plot": lenient(bool),
    "hold": lenient(Literal["off", "on", "mergeX", "mergeY"]),
    "ack": lenient(Literal["received", "stored", "durable", "none"]),
    "batch": Batch | None,
}
"""The keys that belong to y, with the types that are published for them."""

DEFAULT_DEVICE = "noDevice"
FURTHER_NAME = "Unnamed"

MAX_NAME = 1000
"""Characters that a name, a unit or an id of an event may have."""

_LONG_NAMES = 1 << 16
"""Bytes of a message's names above which they are decoded anew each time: memory is for those that repeat."""

_NOTHING = msgspec.Raw(b"")
_HOLDS = {hold.value: hold for hold in Hold}


class _PlainBatch(Batch, frozen=True, forbid_unknown_fields=True):
    """A batch with nothing in it that could be taken for something else."""


class _Whole(msgspec.Struct, forbid_unknown_fields=True):
    """A message of data alone, in the form that nearly all clients send."""

    y: Sequence[float]
    x: Sequence[float] | None = None
    sname: msgspec.Raw = _NOTHING
    dname: msgspec.Raw = _NOTHING
    unit: msgspec.Raw = _NOTHING
    plot: bool = False
    hold: msgspec.Raw = _NOTHING
    id: msgspec.Raw = _NOTHING
    batch: _PlainBatch | None = None


class BatchDecoder:
    """Turns the data of requests into Samples and Plots.

    clock: returns seconds since the epoch, for values without x; remembered: how many different
    lists of names to remember (all are forgotten when one more comes).
    """

    def __init__(self, clock: Callable[[], float], remembered: int = 4096) -> None:
        self._clock = clock
        self._limit = remembered
        self._remembered: dict[tuple[bytes, bytes, bytes, int], Names] = {}
        # Of long messages: all that is not numbers, and the number of values.
        self._shapes: dict[tuple[bytes, int], Names] = {}
        self._decode = msgspec.json.Decoder(_Whole).decode
        self._read_column = column_reader()
        self.forgotten = 0

    def whole(self, payload: bytes) -> tuple[Samples | Plot, msgspec.Raw, Batch | None] | None:
        """Return the data, `id` and `batch` of a message of plain data; None if it is anything else."""
        try:
            if len(payload) >= LEAST:
                found = self._by_columns(payload)
                if found is not None:
                    return found
            return self._found(self._decode(payload))
        except (BadValue, msgspec.MsgspecError, RecursionError):
            # The general way finds the words for what is wrong.
            return None

    def _found(self, message: _Whole) -> tuple[Samples | Plot, msgspec.Raw, Batch | None] | None:
        data = self._plot(_decoded(message)) if message.plot else self._samples(message)
        return None if data is None else (data, message.id, message.batch)

    def _by_columns(self, payload: bytes) -> tuple[Samples | Plot, msgspec.Raw, Batch | None] | None:
        """Return what `whole` does, its numbers never made single; None where that cannot be done."""
        read = self._read_column
        y_start, y_stop = array_of(payload, b'"y":')
        if read is None or not y_stop:
            return None
        x_start, x_stop = array_of(payload, b'"x":')
        try:
            y = read(payload[y_start:y_stop])
            x = read(payload[x_start:x_stop]) if x_stop else None
        except NO_COLUMN:
            return None
        if x is None:
            rest = payload[: y_start + 1] + payload[y_stop - 1 :]
        elif x_stop < y_stop:
            rest = payload[: x_start + 1] + payload[x_stop - 1 : y_start + 1] + payload[y_stop - 1 :]
        else:
            rest = payload[: y_start + 1] + payload[y_stop - 1 : x_start + 1] + payload[x_stop - 1 :]
        shape = (rest, len(y))
        names = self._shapes.get(shape)
        if names is not None and x is not None and len(x) == len(y):
            return Samples(names, x, y), _NOTHING, None
        message = self._decode(rest)
        # What was cut out was the message's own y and x if it has none left, and no object but a batch.
        if message.y or message.x or (message.x is None) is not (x is None):
            return None
        if rest.count(b"{") != (1 if message.batch is None else 2):
            return None
        message.y, message.x = y, x
        found = self._found(message)
        if found is not None and isinstance(found[0], Samples) and not message.id and message.batch is None:
            self._keep(self._shapes, shape, found[0].names, len(rest))
        return found

    def _samples(self, message: _Whole) -> Samples | None:
        y, x = message.y, message.x
        if x is not None and len(x) < len(y):
            return None
        key = (bytes(message.dname), bytes(message.sname), bytes(message.unit), len(y))
        names = self._remembered.get(key)
        if names is None:
            names = self._remember(key)
        if x is None:
            x = [self._clock()] * len(y)
        elif len(x) > len(y):
            x = x[: len(y)]
        return Samples(names, x, y)

    def _remember(self, key: tuple[bytes, bytes, bytes, int]) -> Names:
        dname, sname, unit = (msgspec.json.decode(part) if part else None for part in key[:3])
        names = _names(dname, sname, unit, range(key[3]))
        self._keep(self._remembered, key, names, sum(map(len, key[:3])))
        return names

    def _keep(self, memory: dict[_K, Names], key: _K, names: Names, size: int) -> None:
        if size > _LONG_NAMES:
            return
        if len(memory) >= self._limit:
            memory.clear()
            self.forgotten += 1
        memory[key] = names

    def decode(self, data: Mapping[str, Any]) -> Samples | Plot | str:
        """Return what a request's data means: samples, a plot, or the text of an event.

        data: the plain values of the keys that the request has. Raises BadValue with the key and
        the index at fault; then nothing of it may be stored.
        """
        y = data["y"]
        if isinstance(y, str):
            check_text(y, "y")
            return y
        if y is not None and not isinstance(y, (int, float, list)):
            raise BadValue(f"y: expected numbers, got {_kind(y)}")
        if data.get("plot"):
            return self._plot(data)
        values = y if isinstance(y, list) else [y]
        present = [index for index, value in enumerate(values) if value is not None]
        x = self._x_of(data.get("x"), len(values))
        return Samples(
            _names(data.get("dname"), data.get("sname"), data.get("unit"), present),
            [_number(x[index], "x", index) for index in present],
            [_number(values[index], "y", index) for index in present],
        )

    def _x_of(self, x: Any, count: int) -> Sequence[Any]:
        if x is None:
            return [self._clock()] * count
        if isinstance(x, (int, float)):
            return [x] * count
        if not isinstance(x, list):
            raise BadValue(f"x: expected numbers, got {_kind(x)}")
        if len(x) < count:
            raise BadValue(f"x[{len(x)}]: missing, x has {len(x)} values and y has {count}")
        return x

    def _plot(self, data: Mapping[str, Any]) -> Plot:
        y = _column(data["y"], "y")
        given = data.get("x")
        if given is not None and not len(y):
            given, y = None, _column(given, "x")
        x = np.arange(len(y), dtype=np.float64) if given is None else _column(given, "x")
        if len(x) != len(y):
            raise BadValue(f"x: a plot needs as many x as y, x has {len(x)} values and y has {len(y)}")
        hold = data.get("hold", Hold.OFF.value)
        if not isinstance(hold, str) or hold not in _HOLDS:
            raise BadValue(f"hold: expected one of {', '.join(_HOLDS)}, got {_kind(hold)}")
        sname, unit = data.get("sname"), data.get("unit")
        if isinstance(sname, list) and len(sname) > 1:
            raise BadValue(f"sname[1]: a plot is one signal, {len(sname)} names are too many")
        unit = unit[-1:] if isinstance(unit, list) else unit
        names = _names(data.get("dname"), sname, unit, range(1))
        return Plot(names.names[0], x, y, names.units[0], _HOLDS[hold])


def _decoded(message: _Whole) -> dict[str, Any]:
    """Return the plain values of a message."""
    data: dict[str, Any] = {"y": message.y, "x": message.x}
    for key in ("sname", "dname", "unit", "hold"):
        raw = getattr(message, key)
        if raw:
            data[key] = msgspec.json.decode(raw)
    return data


def _names(dname: Any, sname: Any, unit: Any, indices: Sequence[int]) -> Names:
    """Return the names and units of the values at these indices of y."""
    device = dname if isinstance(dname, str) else DEFAULT_DEVICE
    check_name(device, "dname")
    names = [sname] if isinstance(sname, str) else [""] if sname is None or sname == [] else sname
    if not isinstance(names, list):
        raise BadValue(f"sname: expected names, got {_kind(sname)}")
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise BadValue(f"sname[{index}]: expected a name, got {_kind(name)}")
        check_name(name, f"sname[{index}]")
    return Names(
        [SignalName(device, names[index] if index < len(names) else FURTHER_NAME) for index in indices],
        [_unit(unit, index) for index in indices],
    )


def _unit(unit: Any, index: int) -> str:
    if isinstance(unit, list):
        unit = unit[index] if index < len(unit) else ""
    if not isinstance(unit, str):
        return ""
    check_name(unit, "unit")
    return unit


def check_name(name: str, key: str) -> None:
    """Raise BadValue if a name or unit is too long, or cannot be stored."""
    if len(name) > MAX_NAME:
        raise BadValue(f"{key}: {len(name)} characters are too many, the limit is {MAX_NAME}")
    check_text(name, key)


def check_text(text: str, key: str) -> None:
    """Raise BadValue if a text cannot be stored: a lone half of a UTF-16 pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadValue(f"{key}: the text holds a lone surrogate") from None


def _number(value: Any, key: str, index: int) -> float:
    if isinstance(value, (int, float, str)):
        try:
            return float(value)
        except (ValueError, OverflowError):
            pass
    raise BadValue(f"{key}[{index}]: expected a number, got {_kind(value)}")


def _column(values: Any, key: str) -> FloatColumn:
    if isinstance(values, array):
        return np.frombuffer(values)
    if isinstance(values, (int, float)):
        values = [values]
    if not isinstance(values, list):
        raise BadValue(f"{key}: expected numbers, got {_kind(values)}")
    try:
        # Four times as fast as np.array, and just as strict about what is a number.
        return np.frombuffer(struct.pack(f"{len(values)}d", *values))
    except (struct.error, OverflowError):
        numbers = [_plotted(value, key, index) for index, value in enumerate(values)]
        return np.array(numbers, dtype=np.float64)


def _plotted(value: Any, key: str, index: int) -> float:
    """Return a number of a plot; null is a gap, answered as null again."""
    return np.nan if value is None else _number(value, key, index)


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return f"{value[:40]!r}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else f"{str(value)[:40]}"
