"""What the server, the mother of the scripts' processes and these processes say to each other.

Each message is in a frame (box). The mother has one connection, its descriptor 3; each run has one of its
own, whose other end the host keeps. What a newer side adds at the end of a message is passed over by an older
one.

The course: Ready comes when the mother has imported everything. For a run, Fork goes to her together with one
descriptor, the process's end of the run's connection; Begin may be sent on that at once. Forked comes back.
The script's effects (Samples, Plot, Event, Notify; the Ask of "set", "call", "clear" and "export") come in
its order, then one Done or Failed, and the connection's end. Ended from the mother is the last that is heard
of a run, also of one that was killed and has said nothing.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from ...box.frames import frame
from ...box.messages import Event, Message, Notify, Plot, Reader, Samples, pack
from ...errors import BadValue, TooLarge

LARGEST = 2 << 20
"""Bytes of the lists and objects in a message of a run: each byte may be 64 of memory."""

UNFORKED = 71
"""The status in Ended of a run for which the system had no process; Forked did not come."""


class Fork(Message):
    """Make a process for a run; its end of the run's connection comes with the frame (SCM_RIGHTS)."""

    run: int


class Kill(Message):
    """Kill the process of a run; one that has ended is no fault."""

    run: int


class Ready(Message):
    """The mother has imported everything. missing: what this system cannot do, each a text for the log."""

    pid: int
    missing: list[str]


class Forked(Message):
    """A run has a process."""

    run: int
    pid: int


class Ended(Message):
    """The process of a run is gone. status: as of os.waitstatus_to_exitcode, or UNFORKED."""

    run: int
    status: int


class Begin(Message):
    """Run a script; the first message of a run's connection.

    run: its number; name: of the action; kind: "action" or "user"; source: as written; clock: seconds since
    the epoch; event: the event that is answered, as its push has it (protocol section 6), or None; globals:
    {name: value} and triggers: {condition: whether it was true}, both as runs before have told by Keep and
    Edge; memory: bytes that the script may have, 0 as many as there are; seconds: of CPU, 0 as many as it
    wants; files, network: whether it may have them.
    """

    run: int
    name: str
    kind: str
    source: str
    clock: float
    event: dict[str, Any] | None = None
    globals: dict[str, Any] = {}
    triggers: dict[str, bool] = {}
    memory: int = 256 << 20
    seconds: float = 10.0
    files: bool = False
    network: bool = False


class Reply(Message):
    """The answer to an Ask; not ok: `value` is the text of the reason. x, y: columns as in box's Samples."""

    id: int
    ok: bool
    value: Any = None
    x: bytes = b""
    y: bytes = b""


class Stop(Message):
    """End soon: `while True` loops end, and so does sleeping."""


class Ask(Message):
    """A question; the script waits for the Reply of the same id. what, args and the value answered:

    "look" [device, name]: ["signal", unit], ["parameter", value], ["function"], or None: there is nothing
    "samples" [device, name, n or None]: x and y of the newest n, or of all that fit a frame; value None
    "latest" [device, name]: [x, y], or None where it has no sample
    "set" [plugin, parameter, value]: the value held now
    "call" [plugin, function, args, {keyword: arg}]: what it returned
    "clear" []: anything; "export" [filename or None, type, whether to overwrite]: anything
    "resolve" [host]: its addresses, a list of texts; asked only by scripts that may have the network
    """

    id: int
    what: str
    args: list[Any]


class Printed(Message):
    """The script has printed a text; line ends are in it."""

    text: str


class Keep(Message):
    """`global.NAME` has this value now, and is to have it in the next run."""

    name: str
    value: Any


class Edge(Message):
    """The condition of a `trig` has this value now."""

    key: str
    value: bool


class Done(Message):
    """The script came to its end. kind, data: what it returned at its top level.

    "none": nothing; "text": a text; "picture" or "document": bytes, or a text, the path of a file that the
    script may not read itself: read it only where everybody may, such as below the export directory; "value":
    any JSON.
    """

    kind: str
    data: Any = None


class Failed(Message):
    """The script has failed.

    text: its lines that led there, and the reason last; line: the last of these lines, 0 where there is none.
    """

    text: str
    line: int


ToMother: TypeAlias = Fork | Kill
FromMother: TypeAlias = Ready | Forked | Ended
ToChild: TypeAlias = Begin | Reply | Stop
FromChild: TypeAlias = Ask | Samples | Plot | Event | Notify | Printed | Keep | Edge | Done | Failed


def mother_reader() -> Reader[ToMother]:
    """Return what the mother reads with."""
    return Reader(ToMother)


def mothers_reader() -> Reader[FromMother]:
    """Return what the host reads the mother's messages with."""
    return Reader(FromMother)


def child_reader() -> Reader[ToChild]:
    """Return what the process of a run reads with."""
    return Reader(ToChild)


def childs_reader() -> Reader[FromChild]:
    """Return what the host reads the messages of a run with."""
    return _Wary()


class _Wary(Reader[FromChild]):
    """Reads what a process sends that may be anybody's by now."""

    def __init__(self) -> None:
        super().__init__(FromChild)
        decode: Any = self._decode

        def decoded(payload: Any) -> Any:
            _check_size(memoryview(payload))
            return decode(payload)

        self._decode = decoded


_fields = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_FEW = range(0x90, 0xA0)
"""How a list of 15 items at most begins, as all messages are."""

_NESTED = frozenset((*range(0x80, 0xA0), *range(0xDC, 0xE0)))
"""How lists and objects begin."""


_HEAD = len(frame(b""))


def packed(message: Message) -> bytes:
    """Return a message of a run as a frame; raises TooLarge above its limit, or that of what is nested."""
    framed = pack(message)
    _check_size(memoryview(framed)[_HEAD:])
    return framed


def _check_size(payload: memoryview) -> None:
    """Raise TooLarge for a message in which lists and objects have more than LARGEST bytes."""
    if len(payload) <= LARGEST:
        return
    if payload[0] not in _FEW:
        raise BadValue("no message")
    fields = [bytes(field) for field in _fields(payload)]
    nested = sum(len(field) for field in fields if field[0] in _NESTED)
    if nested > LARGEST:
        raise TooLarge(f"lists and objects of {nested} bytes in a message, and {LARGEST} is the limit")
