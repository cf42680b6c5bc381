"""The contests about plugins: how many values a second come out of one, what idle ones need."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from .client import Client, ServerFailed, pump
from .loads import CONTESTS
from .servers import Server, ours, running
from .stored import Figure, Line, Reach, Stores, alone, slower

_LOAD = CONTESTS["batches"].load
_IDLE = 20
_LONGEST = 5.0
"""Seconds that a function may be called for; from ten on its caller would be told that it is late."""

_PATIENCE = 30.0
_BYTES_A_VALUE = 16
_ALL_AT_HAND = 10**12
_MS, _MB = 1e3, 1e-6

# It has the messages of the other side ready, too: what is measured is their way, not their making.
_STREAMER = """
import math, time
from RTOC.LoggerPlugin import LoggerPlugin

NAMES = [f'channel{number}' for number in range(10)] * 10

def message(number):
    x = [round(1.7e9 + number + index // 10 / 10, 3) for index in range(100)]
    return x, [round(20 + math.sin(number + index), 4) for index in range(100)]

class Plugin(LoggerPlugin):
    def go(self, seconds):
        messages = [message(number) for number in range(128)]
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            for x, y in messages:
                self.stream(y, NAMES, x=x)
            count += len(messages)
        return 100 * count
"""

_QUIET = """
from RTOC.LoggerPlugin import LoggerPlugin

class Plugin(LoggerPlugin):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.setPerpetualTimer(self.work, interval=3600, old=True)
        self.start()

    def work(self):
        self.stream(1, 'hourly')
"""


def throughput(stores: Stores, rounds: int, seconds: float) -> list[Line]:
    """Stream lists of 100 values out of a plugin, and send the same over a WebSocket, to one server, in turn.

    The time begins with the first message, or the call of the plugin's function, and ends when the server
    counts as many values as were sent, and has committed them; cpu: its seconds for a million values.
    Raises ServerFailed if a value is missing.
    """
    state = stores.directory / "plugins"
    _write(state, "Streamer", _STREAMER)
    rates: dict[str, list[Figure]] = {"socket": [], "plugin": []}
    with (
        running(ours(stores.log("plugins"), state)) as server,
        closing(Client(server.port)) as client,
    ):
        # With no bound to what is "at hand", what it counts as memory is all that is stored.
        client.ask({"logger": {"resize": _ALL_AT_HAND}})
        _start(client, "Streamer")
        for _ in range(rounds):
            for name, send in (("socket", _over_socket), ("plugin", _out_of_plugin)):
                before, worked, began = _stored(client), server.cpu_seconds(), time.perf_counter()
                values = send(server, client, min(seconds, _LONGEST))
                _await(client, before + values)
                # Its answer comes when all that came before it is committed, too.
                client.ask({"dname": "Bench", "sname": ["end"], "y": [began]})
                took = time.perf_counter() - began
                cpu = (server.cpu_seconds() - worked) / values * 1e6
                rates[name].append(Figure(values / took, cpu))
    title = "values a second in lists of 100 from a plugin"
    least = Reach(200_000, alone, at_least=True, absolute=True)
    return [
        Line("plugins", f"{title}, against a WebSocket", "/s", _RATIO, rates["socket"], rates["plugin"]),
        Line("plugins-alone", f"{title}, by itself", "/s", least, [], rates["plugin"]),
    ]


_RATIO = Reach(0.9, slower, at_least=True)


def _over_socket(server: Server, _: Client, seconds: float) -> int:
    with closing(Client(server.port)) as sender:
        return pump([(sender, _LOAD.blocks(0))], _LOAD.window, seconds) * _LOAD.values


def _out_of_plugin(_: Server, client: Client, seconds: float) -> int:
    done, values = client.ask({"plugin": {"Streamer": {"go()": [seconds]}}})["plugin"]["Streamer"]["go()"]
    if not done:
        raise ServerFailed(f"the plugin does not stream: {values}")
    return int(values)


def _stored(client: Client) -> int:
    info = client.ask({"logger": {"info": True}})["logger"]["info"]
    return int(info["signal_memory"]) // _BYTES_A_VALUE


def _await(client: Client, values: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while (stored := _stored(client)) != values:
        if stored > values or time.monotonic() > deadline:
            raise ServerFailed(f"{stored} values are stored, and {values} were sent")
        time.sleep(0.001)


def idle(stores: Stores, rounds: int, _seconds: float) -> list[Line]:
    """Start twenty plugins that do nothing, one after the other, and look at the memory of each.

    The time is that of the answer to `start`, which comes when the plugin's `__init__` is done.
    """
    count = max(2, round(_IDLE * stores.scale))
    state = stores.directory / "idle"
    for number in range(count):
        _write(state, f"Idle{number}", _QUIET)
    starts, sizes = [], []
    with running(ours(stores.log("idle"), state)) as server, closing(Client(server.port)) as client:
        for _ in range(rounds):
            began = time.perf_counter()
            for number in range(count):
                _start(client, f"Idle{number}")
            starts.append(Figure((time.perf_counter() - began) / count * _MS))
            children = server.children()
            if len(children) != count:
                raise ServerFailed(f"{len(children)} processes of {count} plugins")
            sizes.append(Figure(sum(it.memory_full_info().pss for it in children) / count * _MB))
            for number in range(count):
                client.ask({"plugin": {f"Idle{number}": {"start": False}}})
    most, longest = Reach(15, alone, absolute=True), Reach(250, alone, absolute=True)
    return [
        Line("idle", f"memory (PSS) of each of {count} idle plugins", "MB", most, [], sizes),
        Line("idle-start", "start of a plugin", "ms", longest, [], starts),
    ]


def _start(client: Client, name: str) -> None:
    began: Any = client.ask({"plugin": {name: {"start": True}}})["plugin"][name]["start"]
    if began != [True, ""]:
        raise ServerFailed(f"{name} does not start: {began}")


def _write(state: Path, name: str, source: str) -> None:
    folder = state / "devices" / name
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(source)


PLUGGED: dict[str, Callable[[Stores, int, float], list[Line]]] = {"plugins": throughput, "idle": idle}
