"""The two servers, each in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from .client import Client, ServerFailed

_ROOT = Path(__file__).parent.parent
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:(\d+)")
# Where click is installed, Autobahn colours a log line that nobody sees for every answer it sends: a bare
# server has no click, whatever else is in the environment.
_BARE = "import sys; sys.modules['click'] = None; "
_SINK = _BARE + "from benchmarks.peer import Sink, serve; serve(Sink)"
_READING = _BARE + "from benchmarks.reading_peer import main; main(*sys.argv[1:])"
_START_SECONDS = 20.0
_LOOK_SECONDS = 0.002
_ALL_AT_HAND = 10**12
_BYTES_A_VALUE = 16
"""What `logger.info` counts for a value, as RTOC does: x and y, a float64 each."""


class Server:
    """A running server. port: where it listens on the loopback interface."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        # Settings of whoever runs the benchmarks are not the server's, nor is it to compile itself each time.
        theirs = ("RTOC_", "PYTHONDONTWRITEBYTECODE")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, cwd=_ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        try:
            self.port = self._wait(log)
        except BaseException:
            self.kill()
            raise
        self._figures = psutil.Process(self._process.pid)

    def _wait(self, log: Path) -> int:
        deadline = time.monotonic() + _START_SECONDS
        while self._process.poll() is None and time.monotonic() < deadline:
            found = _LISTENING.search(log.read_text())
            if found:
                return int(found[1])
            time.sleep(_LOOK_SECONDS)
        raise ServerFailed(f"the server does not start:\n{log.read_text()}")

    def cpu_seconds(self) -> float:
        """Return the time that all threads of the server have worked, in user and system mode."""
        times = self._figures.cpu_times()
        return float(times.user + times.system)

    def memory(self) -> tuple[float, float]:
        """Return the bytes that are resident, and those less what is shared with others (RSS, PSS)."""
        figures = self._figures.memory_full_info()
        return float(figures.rss), float(figures.pss)

    def children(self) -> list[psutil.Process]:
        """Return the processes that it started and that run, such as those of plugins."""
        return list(self._figures.children())

    def stop(self) -> None:
        """Let the process end in order; kills it where it does not."""
        self._process.terminate()
        try:
            self._process.wait(_START_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process with SIGKILL: it may write nothing any more."""
        self._process.kill()
        self._process.wait()


def sink(log: Path) -> Server:
    """Start the peer of the loads."""
    return Server([sys.executable, "-c", _SINK], log)


def reading_peer(log: Path, store: Path, way: str) -> Server:
    """Start the peer of the questions about a store. way: see `reading_peer.main`."""
    return Server([sys.executable, "-c", _READING, str(store), way], log)


def ours(log: Path, state: Path, *more: str) -> Server:
    """Start our server on a directory; more: options beside those of all benchmarks."""
    twistd = str(Path(sysconfig.get_path("scripts")) / "twistd")
    options = ["--no-password", "--port", "tcp:0:interface=127.0.0.1", "--state-dir", str(state), *more]
    return Server([sys.executable, twistd, "-n", "--pidfile=", "rtoc", *options], log)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Stop a server after a block."""
    try:
        yield server
    finally:
        server.stop()


class Pair:
    """The peer and our server, on an empty store."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.peer = sink(directory / "peer.log")
        try:
            self.ours = self._start_ours()
        except BaseException:
            self.peer.kill()
            raise

    def _start_ours(self) -> Server:
        return ours(self._directory / "ours.log", self._directory / "state")

    def stored_after_kill(self) -> int:
        """Kill our server, start it again on what is on disk, and return how many values it finds."""
        self.ours.kill()
        self.ours = self._start_ours()
        client = Client(self.ours.port)
        try:
            # With no bound to what is "at hand", what it counts as memory is all that is stored.
            answer = client.ask({"logger": {"resize": _ALL_AT_HAND, "info": True}})
        finally:
            client.close()
        return int(answer["logger"]["info"]["signal_memory"]) // _BYTES_A_VALUE

    def kill(self) -> None:
        """End both."""
        self.peer.kill()
        self.ours.kill()


@contextmanager
def running_pair(directory: Path) -> Iterator[Pair]:
    """Run both servers, our store and the logs in a directory, for the time of a block."""
    pair = Pair(directory)
    try:
        yield pair
    finally:
        pair.kill()
