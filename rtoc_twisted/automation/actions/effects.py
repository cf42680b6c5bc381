"""What a script asks of the server, and does to it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, NamedTuple, Protocol

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from ...box.intake import Data, Intake
from ...box.messages import Notify
from ...box.notices import Notices
from ...errors import BadValue, NotAvailable, NotPermitted, RTOCError, UnknownSignal
from ...interfaces import ICommit, IPlugins, IRecorder, IStorage
from ...model import Event, FloatColumn, Plot, Samples, Signal, SignalName, Window
from ...wire.batch import check_name
from ..chain import Chain, Link
from .calls import Calls
from .shelf import Shelf

_MOST_SAMPLES = 1_000_000
"""Newest samples of a signal that a script gets at once: as many as a message has room for."""


@dataclass(frozen=True)
class World:
    """What scripts act on.

    exporter: writes an export, ([filename, type]) -> Deferred; wall: seconds since the epoch; record_length:
    how many samples of a signal a script sees; shelf: files that it may have sent; network: whether it may
    use the network; in_thread: calls a function in a thread.
    """

    storage: IStorage
    recorder: IRecorder
    plugins: IPlugins
    notices: Notices
    exporter: Callable[[Sequence[Any]], Deferred[Any]]
    chain: Chain
    clock: IReactorTime
    wall: Callable[[], float]
    record_length: Callable[[], int]
    shelf: Shelf
    network: bool
    in_thread: Callable[[Callable[[], Any]], Deferred[Any]]


class Answered(NamedTuple):
    """The answer to what a script asked; x, y: float64, little-endian."""

    value: Any = None
    x: bytes = b""
    y: bytes = b""


class Audience(Protocol):
    """Who has the script run."""

    def hold(self, held: bool) -> None:
        """Read no more of what the script sends, or read again."""

    def remark(self, line: str) -> None:
        """Add a line to what the script printed."""

    def complain(self, problem: str) -> None:
        """Take note of something that the script wanted and did not get."""


class Effects:
    """Does what one run of a script does, in order, and answers what it asks.

    link: whose doing it is; origin: what the cause of its events tells of the run, beside the link.
    """

    def __init__(self, world: World, link: Link, origin: Mapping[str, Any], audience: Audience) -> None:
        self._world = world
        self._link = link
        self._origin = origin
        self._audience = audience
        # Of a recorder, an intake needs nothing but `record`.
        recorder: Any = self
        self._intake = Intake(
            recorder,
            world.clock,
            congested=lambda: world.storage.congested,
            complain=audience.complain,
            hold=audience.hold,
        )
        self._handlers: Mapping[str, Callable[[list[Any]], Any]] = {
            "look": self._look,
            "samples": self._samples,
            "latest": self._latest,
            "get": self._get,
            "set": self._set,
            "call": self._call,
            "clear": self._clear,
            "export": self._export,
            "resolve": self._resolve,
        }
        self.calls = Calls()

    def take(self, data: Data) -> None:
        """Record what the script sends, after what it sent before."""
        self._intake.take(data)

    def notify(self, message: Notify) -> None:
        """Tell people."""
        self.calls.add("notify", kind=message.kind, text=message.text, name=message.name)
        self._tell(message)

    def answer(self, what: str, args: list[Any]) -> Deferred[Answered]:
        """Answer a question, once all is recorded that came before it; fails with an RTOCError."""
        return self._intake.when_idle().addCallback(lambda _: self._answer(what, args))

    def settled(self) -> Deferred[None]:
        """Fire once all that came was recorded."""
        return self._intake.when_idle()

    def record(self, data: Samples | Plot | Event) -> ICommit:
        """Record data as the doing of this run; return the commit that carries it."""
        self.calls.recorded(data)
        if isinstance(data, Event):
            data = replace(data, cause=self._cause())
        with self._world.chain.within(self._link):
            return self._world.recorder.record(data)

    def _cause(self) -> dict[str, Any]:
        link = self._link
        place = {"id": link.id, "depth": link.depth + 1, "parent": link.parent, "by": link.by or "action"}
        return {**place, **self._origin, "at": self._world.wall()}

    def _answer(self, what: str, args: list[Any]) -> Any:
        handler = self._handlers.get(what)
        if handler is None:
            raise BadValue(f"a script cannot ask for {what[:40]!r}")
        with self._world.chain.within(self._link):
            answer = handler(args)
        if isinstance(answer, Deferred):
            return answer
        return answer if isinstance(answer, Answered) else Answered(answer)

    # What it asks.

    def _look(self, args: list[Any]) -> Any:
        device, name = texts(args, 2)
        unit = self._unit(device, name)
        if unit is not None:
            return ["signal", unit]
        if device not in self._world.plugins.names():
            return None
        with suppress(BadValue):
            return ["parameter", self._parameter(device, name)]
        described = self._world.plugins.listing()[device]
        return ["function"] if any(function[0] == name for function in described["functions"]) else None

    def _samples(self, args: list[Any]) -> Deferred[Answered]:
        (device, name), newest = texts(args, 2), args[2] if len(args) > 2 else None
        count = min(self._world.record_length(), _MOST_SAMPLES)
        if isinstance(newest, int):
            count = max(0, min(newest, count))
        read = self._read(device, name, count)
        return read.addCallback(lambda columns: Answered(None, *map(_packed, columns)))

    def _latest(self, args: list[Any]) -> Any:
        device, name = texts(args, 2)
        return self._newest(device, name)

    def _get(self, args: list[Any]) -> Deferred[Answered]:
        plugin, parameter = texts(args, 2)
        return self._world.plugins.get(plugin, [parameter]).addCallback(lambda held: Answered(held[0]))

    def _unit(self, device: str, name: str) -> str | None:
        signal = self._signal(device, name)
        return None if signal is None else signal.unit or ""

    def _parameter(self, plugin: str, parameter: str) -> Any:
        return self._world.plugins.parameter(plugin, parameter)

    def _newest(self, device: str, name: str) -> Any:
        """Return [x, y] of the newest sample, None where there is none, or a Deferred of an Answered."""
        signal = self._known(device, name)
        summary = self._world.storage.summary(signal.id)
        return None if summary is None else [summary.last_x, summary.last_y]

    def _read(self, device: str, name: str, count: int) -> Deferred[tuple[FloatColumn, FloatColumn]]:
        """Fire with the newest `count` samples of a signal."""
        window = Window(newest=count, partly=True)
        read = self._world.storage.read([(self._known(device, name).id, window)])
        return read.addCallback(lambda found: (found[0].x, found[0].y))

    def _signal(self, device: str, name: str) -> Signal | None:
        wanted = SignalName(device, name)
        return self._world.storage.find(wanted) or self._world.storage.resolve(wanted.key)

    def _known(self, device: str, name: str) -> Signal:
        signal = self._signal(device, name)
        if signal is None:
            raise UnknownSignal(f"there is no signal {device}.{name}")
        return signal

    # What it does.

    def _set(self, args: list[Any]) -> Any:
        (plugin, parameter), value = texts(args, 2), args[2] if len(args) > 2 else None
        self.calls.add("set", plugin=plugin, parameter=parameter, value=value)
        self._running(plugin)
        return self._change(plugin, parameter, value)

    def _change(self, plugin: str, parameter: str, value: Any) -> Any:
        def changed(held: Any) -> Answered:
            # The only word for a failure is False, which a parameter may also hold.
            if held is False and not isinstance(value, bool):
                raise BadValue(f"{plugin}.{parameter} could not be set")
            return Answered(held)

        return self._world.plugins.set(plugin, parameter, value).addCallback(changed)

    def _call(self, args: list[Any]) -> Any:
        plugin, function = texts(args, 2)
        positional = args[2] if len(args) > 2 else []
        named = args[3] if len(args) > 3 else {}
        if not isinstance(positional, list) or not isinstance(named, dict):
            raise BadValue("a call needs a list of arguments and an object of keywords")
        told = {"args": positional} | ({"kwargs": named} if named else {})
        self.calls.add("call", plugin=plugin, function=function, **told)
        self._running(plugin)
        return self._do_call(plugin, function, positional, named)

    def _do_call(self, plugin: str, function: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        def answered(answer: tuple[bool, Any]) -> Answered:
            done, value = answer
            if not done:
                raise BadValue(f"{plugin}.{function}: {value}")
            return Answered(value)

        return self._world.plugins.call(plugin, function, args, kwargs).addCallback(answered)

    def _clear(self, args: list[Any]) -> Any:
        self.calls.add("clear")
        return self._do_clear()

    def _do_clear(self) -> Any:
        return self._world.recorder.clear().addCallback(lambda _: Answered())

    def _export(self, args: list[Any]) -> Any:
        name, kind = (*args[:2], None, None)[:2]
        if name is None:
            name = time.strftime("%Y-%m-%d_%H-%M-%S", time.gmtime(self._world.wall()))
        wanted = [name] if kind is None else [name, kind]
        self.calls.add("export", file=name, **({} if kind is None else {"type": kind}))
        return self._do_export(wanted)

    def _do_export(self, wanted: list[Any]) -> Any:
        return self._world.exporter(wanted).addCallback(Answered)

    def _tell(self, message: Notify) -> None:
        world, remark = self._world, self._audience.remark
        if message.kind not in ("photo", "document") or not isinstance(message.data, str):
            world.notices.tell(message, "", remark)
            return
        path = message.data

        def read(data: bytes) -> None:
            name = message.name or PurePath(path).name
            world.notices.tell(structs.replace(message, name=name, data=data), "", remark)

        def failed(failure: Failure) -> None:
            failure.trap(RTOCError)
            remark(f"nobody was told: {failure.getErrorMessage()}")

        world.in_thread(lambda: world.shelf.read(path)).addCallback(read).addErrback(failed)

    def _resolve(self, args: list[Any]) -> Deferred[Answered]:
        (host,) = texts(args, 1)
        if not self._world.network:
            raise NotPermitted("scripts may not use the network")
        return self._world.in_thread(lambda: _addresses(host)).addCallback(Answered)

    def _running(self, plugin: str) -> None:
        if not self._world.plugins.running(plugin):
            raise NotAvailable(f"the plugin {plugin} does not run")


def texts(args: list[Any], count: int) -> list[str]:
    """Return the names with which a question begins; raises BadValue where there are none."""
    texts = args[:count]
    if len(texts) != count or not all(isinstance(text, str) for text in texts):
        raise BadValue("a question of a script has the wrong arguments")
    for text in texts:
        # What is too long for a name would be looked up at each of its dots.
        check_name(text, "a name")
    return texts


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise BadValue(f"{host[:100]}: {error}") from None
    return [str(address[0]) for *_, address in found]


def _packed(column: FloatColumn) -> bytes:
    return column.astype("<f8", copy=False).tobytes()
