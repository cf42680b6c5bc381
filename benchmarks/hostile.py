"""`python -m benchmarks.hostile`: how long others wait while a plugin does its worst.

Each of these plugins breaks a server that runs it in its own process. Here a bystander asks a server for
the newest values, one question after the other, while one of them is at it.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import orjson

from .client import Client, ServerFailed, masked_frame
from .servers import ours, running

_HEAD = """
import ctypes, os, re, signal, threading, time
from RTOC.LoggerPlugin import LoggerPlugin

class Plugin(LoggerPlugin):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.run = True
        self.begin()

    def begin(self):
        threading.Thread(target=self.work, daemon=True).start()
"""

_WORK = {
    "Segfault": """
    def work(self):
        time.sleep(0.2)
        self.stream(1, 'last words')
        ctypes.string_at(0)
""",
    # re holds the GIL for as long as it looks: with this, for longer than anybody lives.
    "HoldsGIL": """
    def work(self):
        time.sleep(0.2)
        re.match('(a+)+$', 'a' * 64 + 'b')
""",
    "Leaks": """
    def work(self):
        kept = []
        while self.run:
            kept.append(bytes(range(256)) * 4096)
""",
    "FloodsOutput": """
    def work(self):
        while self.run:
            print('x' * 200)
""",
    "FloodsSamples": """
    def work(self):
        names, y = ['a', 'b'] * 50, list(range(100))
        while self.run:
            self.stream(y, names)
""",
    "BlocksInClose": """
    def work(self):
        pass
    def close(self):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        while True:
            time.sleep(3600)
""",
    "RaisesInInit": """
    def begin(self):
        raise OSError('no such instrument')
""",
    "Forks": """
    def begin(self):
        self.other = os.fork()
        if self.other == 0:
            while True:
                print('I am the other')
                time.sleep(0.1)
        self.stream(1, 'parent')
""",
}

GOOD = """
from RTOC.LoggerPlugin import LoggerPlugin

class Plugin(LoggerPlugin):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.count = 0
        self.setPerpetualTimer(self.work, interval=0.02)
        self.start()

    def work(self):
        self.count += 1
        self.stream(self.count, 'count', 'Good')
"""

HOSTILE: Mapping[str, str] = {name: _HEAD + work for name, work in _WORK.items()}
"""The sources of plugins that do their worst, by name."""

SETTINGS = """
[plugins]
memory = "128 MiB"
start_seconds = 20
close_seconds = 0.5
heartbeat_seconds = 0.5
restarts = 1
"""
"""Settings of a server that loses patience soon."""

_NEWEST = masked_frame(b'{"getLatest":true}')


def install(state: Path) -> None:
    """Write all of them, and the good one, into a state directory; its server does not run yet."""
    for name, source in {**HOSTILE, "Good": GOOD}.items():
        folder = state / "devices" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.py").write_text(source)


class Bystander:
    """Asks for the newest values again and again, in a thread; waits: the seconds that each answer took."""

    def __init__(self, port: int) -> None:
        self.waits: list[float] = []
        self.failure: Exception | None = None
        self._client = Client(port)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        clock = time.perf_counter
        try:
            while not self._ends.is_set():
                asked = clock()
                answer = orjson.loads(self._client.answer(_NEWEST))
                self.waits.append(clock() - asked)
                if answer["error"]:
                    raise ServerFailed(f"refused: {answer}")
                # Not to be what keeps the server busy.
                self._ends.wait(0.001)
        except Exception as error:
            self.failure = error

    def end(self) -> None:
        """Ask no more."""
        self._ends.set()
        self._thread.join()
        self._client.close()


@contextmanager
def bystanding(port: int) -> Iterator[Bystander]:
    """Have a bystander for the time of a block; raises ServerFailed where it was not answered."""
    bystander = Bystander(port)
    try:
        yield bystander
    finally:
        bystander.end()
    if bystander.failure is not None:
        raise bystander.failure


def control(client: Client, name: str, **calls: Any) -> dict[str, Any]:
    """Tell a plugin what to do and return what came of it."""
    answer: dict[str, Any] = client.ask({"plugin": {name: calls}})["plugin"][name]
    return answer


def row(client: Client, name: str) -> dict[str, Any]:
    """Return what getPluginList tells of a plugin."""
    found: dict[str, Any] = client.ask({"getPluginList": True})["pluginList"][name]
    return found


def _line(title: str, waits: list[float], status: object) -> str:
    p50, p99, most = (value * 1e3 for value in np.percentile(waits, (50, 99, 100)))
    return f"{title:14} {len(waits):7}  {p50:7.2f}  {p99:7.2f}  {most:7.2f}  {status}"


def main(given: list[str]) -> int:
    """Print a line for each; return 1 if the p99 of any is 20 ms or more."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each (default: %(default)s)")
    seconds = parser.parse_args(given).seconds
    slow = []
    with TemporaryDirectory(prefix="rtoc-hostile-") as directory:
        place = Path(directory)
        install(place / "state")
        config = place / "rtoc.toml"
        config.write_text(SETTINGS)
        server = ours(place / "log", place / "state", "--config", str(config))
        with running(server), closing(Client(server.port)) as client:
            control(client, "Good", start=True)
            print(f"{'plugin':14} answers   p50 ms   p99 ms  most ms  status")
            for name in ("none", *HOSTILE):
                with bystanding(server.port) as bystander:
                    if name != "none":
                        control(client, name, start=True)
                    time.sleep(seconds)
                    status = "-" if name == "none" else row(client, name)["status"]
                    if name != "none":
                        control(client, name, start=False)
                print(_line(name, bystander.waits, status), flush=True)
                if np.percentile(bystander.waits, 99) >= 0.02:
                    slow.append(name)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
