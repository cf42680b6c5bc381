"""For tests of scripts: a server in this process that answers at once, and a real mother of processes."""

from __future__ import annotations

import math
import os
import select
import socket
import sys
import time
from array import array
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from rtoc_twisted.automation.actions.process import ARGUMENTS
from rtoc_twisted.automation.scripts.link import Link
from rtoc_twisted.automation.scripts.messages import (
    Ask,
    Begin,
    Done,
    Edge,
    Ended,
    Failed,
    Fork,
    Forked,
    Keep,
    Kill,
    Printed,
    Ready,
    Reply,
    Stop,
    childs_reader,
    mothers_reader,
)
from rtoc_twisted.automation.scripts.modules import Library
from rtoc_twisted.automation.scripts.run import run
from rtoc_twisted.box.messages import Message, Plot, Samples, pack
from tests.process_support import PATIENCE, environment

CLOCK = 1_600_000_000.0
BARE = (
    *(sys.executable, "-P", "-c"),
    "import sys; sys.modules['scipy'] = None\n"
    "from rtoc_twisted.automation.scripts.mother import main; main()",
)
"""A mother without scipy, which takes four fifths of the time that she needs to start."""

Columns = tuple[Sequence[float], Sequence[float]]


def column(data: bytes) -> list[float]:
    """Return the numbers of a message's column."""
    return array("d", data).tolist()


def columns(message: Samples | Plot) -> Columns:
    """Return x and y of a message."""
    return column(message.x), column(message.y)


class Server:
    """What scripts see of a server: Generator with two signals, a parameter and a function; tests add more.

    signals: {(device, name): (x, y)}; parameters: {(plugin, name): value}; functions: {(plugin, name): what
    it returns, or an exception}. `effects`: all that scripts did, in order, not what they only asked to know.
    """

    def __init__(self) -> None:
        x = [CLOCK + 0.1 * index for index in range(50)]
        self.signals: dict[tuple[str, str], tuple[list[float], list[float]]] = {
            ("Generator", "Square"): (x[:], [1.0 if index % 10 < 5 else -1.0 for index in range(50)]),
            ("Generator", "Sinus"): (x[:], [math.sin(index / 5) for index in range(50)]),
        }
        self.parameters: dict[tuple[str, str], Any] = {("Generator", "gen_level"): 1.0}
        self.functions: dict[tuple[str, str], Any] = {("Generator", "setLabels"): True}
        self.effects: list[Any] = []
        self.globals: dict[str, Any] = {}
        self.triggers: dict[str, bool] = {}

    def take(self, message: Message) -> Reply | None:
        """Do what a script wants, and return the answer to what it asks."""
        if isinstance(message, Ask):
            if message.what not in ("look", "latest", "samples"):
                self.effects.append(message)
            return self._answer(message)
        if isinstance(message, Keep):
            self.globals[message.name] = message.value
        elif isinstance(message, Edge):
            self.triggers[message.key] = message.value
        elif isinstance(message, Samples):
            for index, (x, y) in enumerate(zip(*columns(message), strict=True)):
                name = message.names[index % len(message.names)]
                known = self.signals.setdefault((message.dname, name), ([], []))
                known[0].append(x)
                known[1].append(y)
        self.effects.append(message)
        return None

    def _answer(self, asked: Ask) -> Reply:
        key = tuple(asked.args[:2])
        if asked.what == "look":
            return Reply(asked.id, True, self._look(key))
        if asked.what == "latest":
            x, y = self.signals[key]
            return Reply(asked.id, True, [x[-1], y[-1]] if x else None)
        if asked.what == "samples":
            x, y = self.signals[key]
            return Reply(asked.id, True, None, array("d", x).tobytes(), array("d", y).tobytes())
        if asked.what == "set":
            if key not in self.parameters:
                return Reply(asked.id, False, f"{key[0]} has no {key[1]}")
            self.parameters[key] = asked.args[2]
            return Reply(asked.id, True, asked.args[2])
        if asked.what == "call":
            answer = self.functions[key]
            return Reply(asked.id, not isinstance(answer, Exception), answer)
        if asked.what == "resolve":
            return Reply(asked.id, True, ["127.0.0.1"])
        return Reply(asked.id, True, True)

    def _look(self, key: tuple[Any, ...]) -> list[Any] | None:
        if key in self.signals:
            return ["signal", "V"]
        if key in self.parameters:
            return ["parameter", self.parameters[key]]
        return ["function"] if key in self.functions else None


class Said:
    """What came of one run: its effects, what it printed, and its end."""

    def __init__(self, messages: Sequence[Any]) -> None:
        self.effects = [message for message in messages if not isinstance(message, Printed | Done | Failed)]
        self.printed = "".join(message.text for message in messages if isinstance(message, Printed))
        ends = [message for message in messages if isinstance(message, Done | Failed)]
        self.end = ends[0] if ends else None
        self.status: int | None = None

    @property
    def failure(self) -> str:
        """Return the text of a failure; "" where there was none."""
        return self.end.text if isinstance(self.end, Failed) else ""


_modules: list[Library] = []


def modules() -> Library:
    """Return the modules of scripts, which are imported only once."""
    if not _modules:
        _modules.append(Library())
    return _modules[0]


def begin(source: str, server: Server, **more: Any) -> Begin:
    """Return the first message of a run."""
    kept, triggers = dict(server.globals), dict(server.triggers)
    return Begin(1, "test", "action", source, CLOCK, globals=kept, triggers=triggers, **more)


def play(source: str, server: Server | None = None, stop_after: int | None = None, **more: Any) -> Said:
    """Run a script in this process, against a server that answers at once.

    stop_after: it is told to stop when it has looked so often whether it was.
    """
    known = server or Server()
    known.effects = []
    back = bytearray()
    read = childs_reader()
    looks = 0

    def write(data: bytes) -> None:
        for message in read.feed(data):
            reply = known.take(message)
            if reply is not None:
                back.extend(pack(reply))

    def take() -> bytes:
        data = bytes(back)
        back.clear()
        return data

    def waits(seconds: float) -> bool:
        nonlocal looks
        looks += 1
        if looks == stop_after:
            back.extend(pack(Stop()))
        return bool(back)

    run(begin(source, known, **more), Link(take, write, waits), modules())
    return Said(known.effects)


class Mother:
    """A real mother of processes, and the host's side of her connection."""

    def __init__(self, command: Sequence[str] = BARE) -> None:
        self._host, hers = socket.socketpair()
        self._host.settimeout(PATIENCE)
        with hers:
            self.pid = os.posix_spawn(
                command[0], command, environment(), file_actions=[(os.POSIX_SPAWN_DUP2, hers.fileno(), 3)]
            )
        self._read = mothers_reader()
        self._heard: list[Any] = []
        self._runs = 0
        self.ready: Ready = self.expect(Ready)

    def expect(self, kind: type[Any], number: int | None = None) -> Any:
        """Return the next message of a kind, about a run if one is given."""
        while True:
            for message in self._heard:
                if isinstance(message, kind) and number in (None, getattr(message, "run", None)):
                    self._heard.remove(message)
                    return message
            data = self._host.recv(65_536)
            if not data:
                raise AssertionError("the mother is gone")
            self._heard += self._read.feed(data)

    def send(self, message: Message) -> None:
        """Send her a message."""
        self._host.sendall(pack(message))

    def fork(self) -> Child:
        """Have a process made, and return the host's side of it."""
        self._runs += 1
        ours, its = socket.socketpair()
        with its:
            socket.send_fds(self._host, [pack(Fork(self._runs))], [its.fileno()])
        return Child(self, self._runs, ours)

    def run(self, source: str, server: Server | None = None, **more: Any) -> Said:
        """Run a script in a process of its own, to its end."""
        known = server or Server()
        known.effects = []
        child = self.fork()
        child.send(begin(source, known, **more))
        return child.served(known)

    def kill(self) -> None:
        """Kill her, as the kernel would for want of memory."""
        os.kill(self.pid, 9)

    def hang_up(self) -> int:
        """Close the connection, and return the status with which she ends."""
        self._host.close()
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            select.select([], [], [], 0.01)
        self.kill()
        raise AssertionError("the mother does not end")


class Child:
    """The host's side of one run."""

    def __init__(self, mother: Mother, number: int, connection: socket.socket) -> None:
        self.number = number
        self._mother = mother
        self._connection = connection
        connection.settimeout(PATIENCE)
        self._read = childs_reader()

    def send(self, message: Message) -> None:
        """Send the process a message."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(pack(message))

    def receive(self) -> list[Message] | None:
        """Return the next messages; None at the end."""
        try:
            data = self._connection.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        return list(self._read.feed(data)) if data else None

    def close(self) -> None:
        """Leave the process alone."""
        self._connection.close()

    def stop(self) -> None:
        """Tell the script to stop."""
        self.send(Stop())

    def kill(self) -> None:
        """Have the process killed."""
        self._mother.send(Kill(self.number))

    def pid(self) -> int:
        """Return the number of the process."""
        return int(self._mother.expect(Forked, self.number).pid)

    def served(self, server: Server) -> Said:
        """Answer the script until it has ended, and return what came of it."""
        while (messages := self.receive()) is not None:
            for message in messages:
                reply = server.take(message)
                if reply is not None:
                    self.send(reply)
        said = Said(server.effects)
        said.status = self.ended()
        return said

    def ended(self) -> int:
        """Return how the process has ended, once it has; nothing more is said to it."""
        self.close()
        return int(self._mother.expect(Ended, self.number).status)


_mothers: list[Mother] = []


def shared_mother() -> Mother:
    """Return a mother for all tests that leave her alive; she ends with the process of the tests."""
    if not _mothers:
        _mothers.append(Mother(ARGUMENTS))
    return _mothers[0]
