"""The values that the rooms hand to each other: frozen, without behaviour that waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, Flag, auto
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import RTOCError

FloatColumn = NDArray[np.float64]

HIDDEN_DEVICE = "RTOC"
"""The device of the server's own signals; ['RTOC', ''] never shows in a signal list."""


class Permission(Flag):
    """What an account may do; each command names the one that it needs."""

    NONE = 0
    READ = auto()
    WRITE = auto()
    CONTROL = auto()
    SCRIPT = auto()
    ADMIN = auto()
    ALL = READ | WRITE | CONTROL | SCRIPT | ADMIN


class SignalName(NamedTuple):
    """A signal's address: its device's name and its own."""

    device: str
    name: str

    @property
    def key(self) -> str:
        """Return the wire's sigKey, "device.name"."""
        return f"{self.device}.{self.name}"


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal as the catalog knows it; `unit` is None until the first value came."""

    id: int
    device_id: int
    name: SignalName
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class SignalSummary:
    """What is known of a signal without reading its samples.

    first_x, last_x, last_y: of the samples in their order of arrival; x_min, x_max: the range of x
    (NaN where no x is a number). All in the units of the samples; `count` is the number of samples.
    """

    count: int
    first_x: float
    last_x: float
    last_y: float
    x_min: float
    x_max: float


class Names:
    """The addresses and units of a message's values, made once for all messages that look alike.

    names: one SignalName a value, repeats allowed; units: one a value; layout: what the recorder
    remembers of them.
    """

    __slots__ = ("layout", "names", "units")

    def __init__(self, names: Sequence[SignalName], units: Sequence[str]) -> None:
        self.names = tuple(names)
        self.units = tuple(units)
        self.layout: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Values to record, in columns: value i belongs to `names.names[i]`.

    x: seconds since the epoch (or any axis), float[n]; y: float[n]; order of arrival is kept.
    """

    names: Names
    x: Sequence[float]
    y: Sequence[float]


class Hold(Enum):
    """How a plot meets the samples that its signal has already (protocol section 5)."""

    OFF = "off"
    ON = "on"
    MERGE_X = "mergeX"
    MERGE_Y = "mergeY"


@dataclass(frozen=True, slots=True, eq=False)
class Plot:
    """A whole signal in one message. x, y: float64[n]."""

    name: SignalName
    x: FloatColumn
    y: FloatColumn
    unit: str = ""
    hold: Hold = Hold.OFF


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. x: seconds since the epoch; `number` is given by the event log (0 before).

    priority: 0 information, 1 warning, 2 error; value: any JSON value; action_id: RTOC's `id`, the
    name that actions listen for. alarm: how its alarm stands, where it is one that wants to be
    acknowledged; cause: why it was raised, kept with it and not read with it (IStorage.event_notes).
    """

    name: SignalName
    text: str
    x: float
    priority: int = 0
    action_id: str = ""
    value: Any = None
    number: int = 0
    alarm: Mapping[str, Any] | None = None
    cause: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a notice: its name, its bytes, and its media type."""

    name: str
    data: bytes
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people are to be told.

    text: the message; title: a line before it, "" for none; priority: as of an event; name: the signal that
    it is about, None where it is about none; x: seconds since the epoch; event: its number, 0 for none.
    """

    text: str
    title: str = ""
    priority: int = 0
    name: SignalName | None = None
    x: float = 0.0
    event: int = 0
    attachments: Sequence[Attachment] = ()


class Cursor(NamedTuple):
    """A place among a signal's samples: how many of its `epoch` came before it, those that are gone included.

    epoch: changes when the samples are replaced, so that a place is never taken for one among others.
    """

    epoch: int
    ordinal: int


class Page(NamedTuple):
    """The `limit` samples that came after a place; None: from the oldest on."""

    after: Cursor | None
    limit: int


@dataclass(frozen=True, slots=True)
class Window:
    """Which samples of a signal to read: x_min < x <= x_max, the newest `newest`, at most `max_points`.

    None means no bound. `max_points` decimates so that spikes stay; `newest` counts samples in the
    order of their arrival, before the bounds of x, and so does `page`, which goes with neither of these.
    `partly`: what cannot be read is told with the rest, in place of failing the read of all.
    """

    x_min: float | None = None
    x_max: float | None = None
    max_points: int | None = None
    newest: int | None = None
    page: Page | None = None
    partly: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Samples that were read: x, y: float64[n]; x_min, x_max: of the whole signal, NaN if it is empty.

    left_out: how many samples of the window are not among them, because fewer were asked for or they are
    gone; cursor: where a page ends; more: whether there are samples after it; error: why this is not all.
    """

    x: FloatColumn
    y: FloatColumn
    x_min: float
    x_max: float
    left_out: int = 0
    cursor: Cursor | None = None
    more: bool = False
    error: RTOCError | None = None

    @property
    def decimated(self) -> bool:
        """Return whether samples between these were left out."""
        return self.left_out > 0


@dataclass(frozen=True, slots=True)
class Buckets:
    """How to sum samples up: by stretches [origin + k * width, origin + (k + 1) * width) of x.

    width: finite, more than 0; limit: how many stretches with samples there may be, None for any number.
    """

    width: float
    origin: float = 0.0
    limit: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Samples summed up by buckets, those that have samples, in the order of x; all are float64[n].

    start: where each bucket begins; total: the sum of y; deviation: the standard deviation of the
    population; first, last: y at the least and the greatest x; left_out: how many samples of the window are
    not in them, because they are gone; error: why this is not all.
    """

    start: FloatColumn
    count: FloatColumn
    minimum: FloatColumn
    maximum: FloatColumn
    mean: FloatColumn
    total: FloatColumn
    deviation: FloatColumn
    first: FloatColumn
    last: FloatColumn
    left_out: int = 0
    error: RTOCError | None = None


@dataclass(frozen=True, slots=True)
class Selector:
    """What a listener wants to hear: everything, some devices, some signals (existing or not).

    signals, without_signals: sigKeys; all_signals and all_devices both mean everything, and are undone
    one by one. What the `without`s name is left out of everything, but not of what is wanted by name.
    """

    all_signals: bool = False
    all_devices: bool = False
    devices: frozenset[str] = frozenset()
    signals: frozenset[str] = frozenset()
    without_devices: frozenset[str] = frozenset()
    without_signals: frozenset[str] = frozenset()

    def wants(self, name: SignalName) -> bool:
        """Return whether samples of that signal are wanted."""
        if name.key in self.signals or name.device in self.devices:
            return True
        if not (self.all_signals or self.all_devices):
            return False
        return name.key not in self.without_signals and name.device not in self.without_devices

    def named(self) -> int:
        """Return how many devices and signals are named."""
        names = (self.devices, self.signals, self.without_devices, self.without_signals)
        return sum(map(len, names))
