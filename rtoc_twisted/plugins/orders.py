"""What the server orders a plugin's process to do, and what the process reports.

Orders go to its descriptor 3, reports come from its descriptor 4, each message in a frame (box) as an
array [kind, field, ..]. Fields have the order in which they stand here; what a newer side adds at the end is
passed over by an older one.

The course: Init makes the process set its limits and import the plugin: Loaded, or Failed("import").
Start makes the plugin: Changed and Started, or Failed("init"). Then Call, Get and Set, each answered by one
Result of the same id, in any order. Stop ends it: Stopped, and the end of the process. At the end of
descriptor 3 a process ends by itself.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from ..box.messages import Event, Message, Notify, Plot, Reader, Samples
from ..errors import BadValue


class Init(Message):
    """Set the limits and import a plugin; the first order.

    name: of the plugin, for its log; path: of its file, or "" where `module` is the dotted name of an
    installed module; device: the device that its values belong to until it says another; state: the
    directory in which `devices` is; samplerate: of its timers until it says another, in Hz; variables:
    {dname: {name: value}}, the persistent variables; config: what its manifest's form was filled with.
    memory: bytes, open_files: descriptors, nice: steps; 0 leaves each as it is.
    """

    name: str
    path: str
    module: str
    device: str
    state: str
    samplerate: float = 1.0
    variables: dict[str, dict[str, Any]] = {}
    config: dict[str, Any] = {}
    memory: int = 0
    open_files: int = 0
    nice: int = 0


class Start(Message):
    """Make the plugin: run its `__init__`."""


class Call(Message):
    """Call a function of the plugin. Result: its return value, or the text of why not."""

    id: int
    function: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}


class Get(Message):
    """Read parameters. Result: a list with one value a name, false for an unknown one."""

    id: int
    names: list[str]


class Set(Message):
    """Set a parameter. Result: the value that it holds now, or the text of why not."""

    id: int
    name: str
    value: Any


class Samplerate(Message):
    """Set the samplerate of the plugin's timers, in Hz."""

    rate: float


class Ping(Message):
    """Ask for a sign of life: Pong with the same number."""

    number: int


class Stop(Message):
    """Stop the plugin and end; `seconds`: how long its close() may take before the process ends anyway."""

    seconds: float


class Loaded(Message):
    """The plugin's class is there.

    functions, parameters: as getPluginList answers them (protocol section 5), as far as the class has
    them; info: its docstring.
    """

    functions: list[Any]
    parameters: list[Any]
    info: str | None


class Failed(Message):
    """Something went wrong. stage: "import" or "init", then the process ends; text: one line, for a status.

    The traceback is in the log.
    """

    stage: str
    text: str


class Started(Message):
    """The plugin's `__init__` is done."""


class Result(Message):
    """The answer to a Call, Get or Set; `value` is the text of the reason where not ok."""

    id: int
    ok: bool
    value: Any


class Variable(Message):
    """A persistent variable has this value now."""

    dname: str
    name: str
    value: Any


class Changed(Message):
    """Functions or values of parameters differ from what was reported last; forms as in Loaded.

    asked: a Call, a Set, the start or the plugin itself made them differ; else it was seen in passing.
    """

    functions: list[Any]
    parameters: list[Any]
    asked: bool = True


class Log(Message):
    """A line of the plugin's log. level: -1 debug, 0 info, 1 warning, 2 error; moment: s since the epoch."""

    level: int
    text: str
    moment: float


class Pong(Message):
    """A sign of life; the number of the Ping."""

    number: int


class Stopped(Message):
    """The plugin was closed; the last report."""


Order: TypeAlias = Init | Start | Call | Get | Set | Samplerate | Ping | Stop
Report: TypeAlias = (
    Loaded
    | Failed
    | Started
    | Result
    | Samples
    | Plot
    | Event
    | Variable
    | Changed
    | Log
    | Notify
    | Pong
    | Stopped
)


def arguments(value: Any, key: str) -> tuple[list[Any], dict[str, Any]]:
    """Return the args and kwargs that a client means by the value of `key`, the "function()" of a plugin.

    A list is arguments, an object keywords. Raises BadValue for anything else: a text is not taken for the
    list of its letters.
    """
    if isinstance(value, list):
        return value, {}
    if isinstance(value, dict):
        return [], value
    raise BadValue(f"{key}: the arguments are a list, or an object of keywords, not {type(value).__name__}")


def order_reader() -> Reader[Order]:
    """Return what the process of a plugin reads with."""
    return Reader(Order)


def report_reader() -> Reader[Report]:
    """Return what the server reads with."""
    return Reader(Report)
