"""Real `twistd rtoc` processes for tests: on free ports, heard line by line, ended in any case."""

from __future__ import annotations

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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).parent.parent
TWISTD = [sys.executable, str(Path(sysconfig.get_path("scripts"), "twistd"))]
FOREGROUND = ("-n", "--pidfile=")
LOOPBACK = ("--interface", "127.0.0.1", "--port", "0")
PATIENCE = 60.0
"""Seconds after which a test gives up on what must happen; nothing waits this long when all is well."""

_OTHERS = re.compile("RTOC_|NOTIFY_SOCKET|WATCHDOG_|LISTEN_|STATE_DIRECTORY|PYTHONPATH")


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment without what would configure a server, and with `more`."""
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


@contextmanager
def client(port: int, trust: Path | None = None) -> Iterator[ClientConnection]:
    """Give a connection that has logged in from this machine; trust: certificate of the TLS port."""
    context = None if trust is None else ssl.create_default_context(cafile=str(trust))
    scheme = "ws" if context is None else "wss"
    with connect(f"{scheme}://localhost:{port}", ssl=context, compression=None, proxy=None) as socket:
        ask(socket, authorize=True)
        yield socket


def ask(socket: ClientConnection, **request: Any) -> dict[str, Any]:
    """Send a request and return its answer; pushes and the word of a login are passed over."""
    socket.send(json.dumps(request))
    return answer(socket)


def answer(socket: ClientConnection) -> dict[str, Any]:
    """Return the next answer."""
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=PATIENCE))
        if "error" in message:
            return message
