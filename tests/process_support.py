"""Real `twistd rtoc` processes for tests: on free ports, heard line by line, ended in any case."""

from __future__ import annotations

import asyncio
import json
import os
import re
import select
import signal
import ssl
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from websockets.asyncio.client import connect as connect_secure
from websockets.sync.client import connect

ROOT = Path(__file__).parent.parent
TWISTD = [sys.executable, str(Path(sysconfig.get_path("scripts"), "twistd"))]
FOREGROUND = ("-n", "--pidfile=")
LOOPBACK = ("--interface", "127.0.0.1", "--port", "0")
PATIENCE = 60.0
"""Seconds after which a test gives up on what must happen; nothing waits this long when all is well."""

_OTHERS = re.compile(
    "RTOC_|NOTIFY_SOCKET|WATCHDOG_|LISTEN_|STATE_DIRECTORY|PYTHONPATH|PYTHONDONTWRITEBYTECODE"
)
"""What would configure a server, or have each process compile all of it again."""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment for another one, and with `more`."""
    kept = {name: value for name, value in os.environ.items() if not _OTHERS.match(name)}
    return kept | {"PYTHONPATH": str(ROOT)} | dict(more or {})


def twistd(directory: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run twistd until it, and the daemon it may have failed to start, ends.

    Returns its exit code, and all that it wrote to its output and errors.
    """
    reader, writer = os.pipe()
    with subprocess.Popen(
        [*TWISTD, *arguments],
        cwd=directory,
        env=environment(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        pass_fds=[writer],
    ) as process:
        os.close(writer)
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    # The pipe ends with the last process that holds its other end; a daemon that started keeps it.
    ended = process.returncode == 0 or select.select([reader], [], [], PATIENCE)[0]
    os.close(reader)
    if not ended:
        raise AssertionError("the daemon failed to start, and does not end")
    return process.returncode, output


class Child:
    """A server in the foreground.

    directory: where it runs; arguments: of `twistd rtoc`. `lines` is what it wrote so far.
    """

    def __init__(
        self, directory: Path, arguments: Sequence[str], environ: Mapping[str, str] | None = None
    ) -> None:
        self.lines: list[str] = []
        self._coming: SimpleQueue[str | None] = SimpleQueue()
        self._process = subprocess.Popen(
            [*TWISTD, *FOREGROUND, "rtoc", *arguments],
            cwd=directory,
            env=environment(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.pid = self._process.pid
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self._coming.put(line.rstrip("\n"))
        self._coming.put(None)

    def wait_for(self, text: str) -> str:
        """Return the next line with that text; raises AssertionError if none comes."""
        while True:
            try:
                line = self._coming.get(timeout=PATIENCE)
            except Empty:
                line = None
            if line is None:
                self._coming.put(None)
                raise AssertionError("\n".join([f"no line with {text!r} in", *self.lines]))
            self.lines.append(line)
            if text in line:
                return line

    def has_said(self, text: str) -> bool:
        """Return whether a line with that text has come so far."""
        with suppress(Empty):
            while (line := self._coming.get_nowait()) is not None:
                self.lines.append(line)
            self._coming.put(None)
        return any(text in line for line in self.lines)

    def ports(self) -> list[int]:
        """Return the ports, plain first, once the server listens."""
        return ports_in(self.wait_for("listening on "))

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def ended(self) -> int:
        """Return the exit code, once the process has ended and `lines` is complete."""
        code = self._process.wait(PATIENCE)
        while (line := self._coming.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
        self._coming.put(None)
        self._reader.join(PATIENCE)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal that ends the process; return the exit code."""
        self.send(number)
        return self.ended()

    def dispose(self) -> None:
        """End the process if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(PATIENCE)


def ports_in(line: str) -> list[int]:
    """Return the ports that a line of the log names."""
    return [int(number) for number in re.findall(r"127\.0\.0\.1:(\d+)", line)]


class ProcessCase(SynchronousTestCase):
    """A directory for a server, its state below it, and its processes."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.state = self.directory / "state"

    def start(self, *arguments: str, environ: Mapping[str, str] | None = None) -> Child:
        """Start a server on the state directory, plain on a free port of this machine alone."""
        child = Child(self.directory, [*LOOPBACK, "--state-dir", str(self.state), *arguments], environ)
        self.addCleanup(child.dispose)
        return child


class SecureClient:
    """A connection over TLS, worked by the caller's thread alone.

    The library's blocking client reads in a thread of its own, and Python's TLS connections may not be
    read by one thread while another writes them.
    """

    def __init__(self, port: int, trust: Path) -> None:
        self._loop = asyncio.new_event_loop()
        context = ssl.create_default_context(cafile=str(trust))
        self._socket = self._wait(
            connect_secure(f"wss://localhost:{port}", ssl=context, compression=None, proxy=None)
        )

    def _wait(self, work: Awaitable[Any]) -> Any:
        async def waited() -> Any:
            return await asyncio.wait_for(work, PATIENCE)

        return self._loop.run_until_complete(waited())

    def send(self, message: str) -> None:
        self._wait(self._socket.send(message))

    def recv(self, timeout: float | None = None) -> Any:
        return self._wait(self._socket.recv())

    def close(self) -> None:
        self._wait(self._socket.close())
        self._loop.close()


@contextmanager
def client(port: int, trust: Path | None = None) -> Iterator[Any]:
    """Give a connection that has logged in from this machine; trust: certificate of the TLS port."""
    if trust is None:
        socket: Any = connect(f"ws://localhost:{port}", compression=None, proxy=None)
    else:
        socket = SecureClient(port, trust)
    try:
        ask(socket, authorize=True)
        yield socket
    finally:
        socket.close()


def ask(socket: Any, **request: Any) -> dict[str, Any]:
    """Send a request and return its answer; pushes and the word of a login are passed over."""
    socket.send(json.dumps(request))
    return answer(socket)


def answer(socket: Any) -> dict[str, Any]:
    """Return the next answer."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=PATIENCE))
        if "error" in message:
            return message
