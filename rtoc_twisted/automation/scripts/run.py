"""One run of a script, from its first message to its last."""

from __future__ import annotations

from contextlib import suppress
from types import CodeType, TracebackType
from typing import Any

from ...box.plain import plain
from ...errors import TooLarge
from .effects import LARGEST_FILE
from .language import FILE, NoScript, translated
from .link import Link, Returned, Stopped, Unwound
from .messages import Begin, Done, Failed
from .modules import Library
from .world import World

_RESERVE = 1 << 20
"""Bytes for telling that there are no more."""

_FRAMES = 8
"""Lines of a script that a failure shows at most, of the first and of the last that led to it."""

_LONGEST_LINE, _LONGEST_REASON = 200, 4096
"""Letters of what a failure tells."""

_DATA = ("picture", "document")


class CpuSpent(Unwound):
    """The script has used the time of the CPU that it may have."""


def run(begin: Begin, link: Link, modules: Library) -> None:
    """Run a script: its effects, then Done or Failed, go out by the link.

    Raises link.Alone where the server is gone.
    """
    reserve = bytearray(_RESERVE)
    namespace: dict[str, Any] = {}
    world = None
    try:
        script = translated(begin.source, begin.files, begin.network)
        world = World(begin, link, modules)
        namespace = world.namespace(script.devices)
        returned = _executed(script.code, namespace)
        world.finish()
        link.send(_done(returned, world))
    except BaseException as error:
        # First of all: there may be no memory even for a tuple.
        del reserve
        failed = _failed(error, begin)
        # What the script still holds may be all the memory there is.
        error.__traceback__ = None
        namespace.clear()
        if world is not None:
            with suppress(Exception):
                world.finish()
        link.send(failed)


def _executed(code: CodeType, namespace: dict[str, Any]) -> Any:
    """Execute a script; return what it returns at its top level."""
    try:
        exec(code, namespace)  # noqa: S102  in a process that is there for it
    except Returned as returned:
        return returned.value
    except Stopped:
        pass
    return None


def _done(value: Any, world: World) -> Done:
    """Return what a script has returned, as it is told."""
    if value is None:
        return Done("none")
    if isinstance(value, tuple | list) and len(value) == 2 and value[0] in ("text", *_DATA):
        kind, data = str(value[0]), value[1]
        if kind == "text":
            return Done(kind, plain(str(data)))
        if isinstance(data, str) and world.has_files:
            data = world.file(data)
        if isinstance(data, bytes | bytearray):
            if len(data) > LARGEST_FILE:
                raise TooLarge(f"a {kind} of more than {LARGEST_FILE} bytes")
            return Done(kind, bytes(data))
        return Done(kind, plain(str(data)))
    return Done("value", plain(value))


def _failed(error: BaseException, begin: Begin) -> Failed:
    """Return how a failure is told; raises it again where it is none of the script."""
    if isinstance(error, NoScript):
        return Failed(error.message, error.line)
    if not isinstance(error, Exception | CpuSpent):
        raise error
    lines = begin.source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    places = _places(error.__traceback__)
    shown = places if len(places) <= 2 * _FRAMES else [*places[:_FRAMES], None, *places[-_FRAMES:]]
    text = [_told(place, lines) for place in shown]
    return Failed(plain("\n".join([*text, _reason(error, begin)])), places[-1][0] if places else 0)


def _places(traceback: TracebackType | None) -> list[tuple[int, str]]:
    """Return line and function of all of the script that led to an error, the innermost last."""
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename == FILE:
            places.append((traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    return places


def _told(place: tuple[int, str] | None, lines: list[str]) -> str:
    if place is None:
        return "..."
    line, function = place
    inside = "" if function == "<module>" else f", in {function}"
    source = lines[line - 1].strip()[:_LONGEST_LINE] if 0 < line <= len(lines) else ""
    return f"line {line}{inside}: {source}"


def _reason(error: BaseException, begin: Begin) -> str:
    if isinstance(error, MemoryError):
        return f"MemoryError: the script wanted more than the {begin.memory >> 20} MB that it may have"
    if isinstance(error, CpuSpent):
        return f"TimeoutError: the script has used the {begin.seconds:g} s of the CPU that it may have"
    try:
        words = str(error)
    except Exception as another:
        words = f"(its text failed: {type(another).__name__})"
    return f"{type(error).__name__}: {words[:_LONGEST_REASON]}" if words else type(error).__name__
