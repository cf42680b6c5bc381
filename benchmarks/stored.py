"""The contests about what is stored: how fast it is answered, how long a start takes, how much memory.

What is stored lies in the page cache of the system, except where a question is called cold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from .client import Client, ServerFailed, masked_frame
from .pulse import longest_wait
from .servers import Server, ours, reading_peer, running
from .stores import NAME, drop_from_cache, make_store, samples

_SIGNALS = 1000
_POINTS = 1_000_000
_POINTS_A_SIGNAL = 100_000
_MAX_N = 1000
_MS, _MB = 1e3, 1e-6


@dataclass(frozen=True)
class Figure:
    """What one side needed in one round, in the unit of its line; cpu: seconds of its server, if asked."""

    value: float
    cpu: float = 0.0


@dataclass(frozen=True)
class Reach:
    """What is to be reached.

    judged: makes one number of the peer's median and ours; at_least: whether more is better; absolute:
    whether the number is one of the line's unit, and not a ratio.
    """

    number: float
    judged: Callable[[float, float], float]
    at_least: bool = False
    absolute: bool = False


def faster(peer: float, our: float) -> float:
    """Return how many times faster we are."""
    return peer / our


def slower(peer: float, our: float) -> float:
    """Return how many times slower we are."""
    return our / peer


def beyond(peer: float, our: float) -> float:
    """Return what we need beyond the peer."""
    return our - peer


def alone(_: float, our: float) -> float:
    """Return our own figure."""
    return our


@dataclass(frozen=True)
class Line:
    """One line of the table: figures in the order of the rounds, the peer's empty where there is none."""

    name: str
    title: str
    unit: str
    reach: Reach
    peer: Sequence[Figure]
    ours: Sequence[Figure]

    @property
    def judged(self) -> float:
        """Return the number that is judged."""
        peer, our = (median(one.value for one in side) if side else 0.0 for side in (self.peer, self.ours))
        return self.reach.judged(peer, our)

    @property
    def reached(self) -> bool:
        """Return whether the number is the one that is to be reached."""
        return self.judged >= self.reach.number if self.reach.at_least else self.judged <= self.reach.number


class Stores:
    """The stores of all contests, below a directory, made when needed. scale: 1 for the full size."""

    def __init__(self, directory: Path, scale: float) -> None:
        self.directory = directory
        self.scale = scale
        self.points = max(1, round(_POINTS * scale))
        self._points_a_signal = max(1, round(_POINTS_A_SIGNAL * scale))

    @cached_property
    def long(self) -> Path:
        """One signal of a million points."""
        return make_store(self.directory / "long", 1, self.points)

    @cached_property
    def wide(self) -> Path:
        """A thousand signals of 100 000 points."""
        return make_store(self.directory / "wide", _SIGNALS, self._points_a_signal)

    @cached_property
    def empty(self) -> Path:
        """No signals."""
        return make_store(self.directory / "empty", 0, 0)

    @property
    def wide_title(self) -> str:
        """The count of the points in `wide`, in words."""
        return f"{self._points_a_signal * _SIGNALS:,} points in {_SIGNALS} signals"

    def log(self, name: str) -> Path:
        """Return the path of a server's log."""
        return self.directory / f"{name}.log"


def _question(**more: Any) -> bytes:
    return masked_frame(orjson.dumps({"getSignal": {"dname": NAME.device, "sname": NAME.name, **more}}))


def maxn(stores: Stores, rounds: int, seconds: float) -> list[Line]:
    """Ask for a million points in a thousand, of a server that has just started and of one that was asked.

    Cold: the first question of a server, before whose start the store's files were dropped from the page
    cache (fsync, posix_fadvise with POSIX_FADV_DONTNEED; a cache of the disk itself is not emptied). The
    peer is a server too, so that both are asked over a socket and measured by the same clock, and no part
    of the answer's way is free for one of them; it reads and decimates in its only thread, with nobody
    else to care for. Raises ServerFailed if an answer holds other extremes than the signal.
    """
    question = _question(maxN=_MAX_N)
    _, y = samples(stores.points)
    extremes = float(y.min()), float(y.max())
    sides: list[tuple[list[Figure], list[Figure], Callable[[], Server]]] = [
        ([], [], lambda: reading_peer(stores.log("decimating"), stores.long, "read")),
        ([], [], lambda: ours(stores.log("long"), stores.long)),
    ]
    for _ in range(rounds):
        for cold, warm, start in sides:
            drop_from_cache(stores.long)
            with running(start()) as server, closing(Client(server.port)) as client:
                cold.append(_asked(server, client, question, 0))
                warm.append(_asked(server, client, question, seconds))
                _check(client.answer(question), extremes)
    (peer_cold, peer_warm, _), (our_cold, our_warm, _) = sides
    title = f"{stores.points:,} points to maxN={_MAX_N}"
    gain = Reach(20, faster, at_least=True)
    return [
        Line("maxn-warm", f"{title}, warm", "ms", gain, peer_warm, our_warm),
        Line("maxn-cold", f"{title}, cold", "ms", gain, peer_cold, our_cold),
        Line("maxn-most", f"{title}, warm, by itself", "ms", Reach(10, alone, absolute=True), [], our_warm),
    ]


def _asked(server: Server, client: Client, question: bytes, seconds: float) -> Figure:
    """Ask again and again for some seconds, once at least; return the median of the milliseconds."""
    clock, worked = time.perf_counter, server.cpu_seconds()
    took: list[float] = []
    end = clock() + seconds
    while not took or clock() < end:
        start = clock()
        client.answer(question)
        took.append(clock() - start)
    return Figure(median(took) * _MS, (server.cpu_seconds() - worked) / len(took))


def _check(payload: bytearray, extremes: tuple[float, float]) -> None:
    y = orjson.loads(payload)["signals"][NAME.key][1]
    if len(y) > _MAX_N or (min(y), max(y)) != extremes:
        raise ServerFailed(f"{len(y)} points from {min(y)} to {max(y)}, of a signal of {extremes}")


def raw(stores: Stores, rounds: int, seconds: float) -> list[Line]:
    """Ask for a million points as they are, and how long others wait meanwhile.

    The peer holds the same columns in memory, encodes them with one call and sends them as one message.
    Others: a second connection with a tiny question every millisecond; what it waits at most is compared
    with what it waits while the server has nothing else to do. Raises ServerFailed if points are missing.
    """
    question = _question()
    taken: dict[str, list[Figure]] = {"peer": [], "ours": []}
    idle: list[Figure] = []
    waits: list[Figure] = []
    with (
        running(reading_peer(stores.log("holding"), stores.long, "hold")) as peer,
        running(ours(stores.log("long"), stores.long)) as our,
    ):
        for _ in range(rounds):
            for side, server in (("peer", peer), ("ours", our)):
                with closing(Client(server.port)) as client:
                    _check_whole(client.answer(question), stores.points)
                    taken[side].append(_asked(server, client, question, seconds))
            with closing(Client(our.port)) as client, closing(Client(our.port)) as pulse:
                idle.append(Figure(longest_wait(pulse, seconds) * _MS))
                waits.append(Figure(longest_wait(pulse, seconds, (client, question)) * _MS))
    title = f"{stores.points:,} points raw as JSON"
    half, others = Reach(0.5, faster, at_least=True), Reach(20, beyond, absolute=True)
    return [
        Line("raw", title, "ms", half, taken["peer"], taken["ours"]),
        Line("raw-others", "longest wait of others, idle against that", "ms", others, idle, waits),
    ]


def _check_whole(payload: bytearray, points: int) -> None:
    x, y = orjson.loads(payload)["signals"][NAME.key][:2]
    if (len(x), len(y)) != (points, points):
        raise ServerFailed(f"{len(x)} points instead of {points}")


def start(stores: Stores, rounds: int, _seconds: float) -> list[Line]:
    """Start on a large store and on an empty one, from the exec of twistd to its first answer (`hello`)."""
    none: list[Figure] = []
    many: list[Figure] = []
    for _ in range(rounds):
        none.append(_started(stores.empty, stores.log("empty")))
        many.append(_started(stores.wide, stores.log("wide")))
    title = f"start with {stores.wide_title}, against none"
    return [Line("start", title, "ms", Reach(1.5, slower), none, many)]


def _started(store: Path, log: Path) -> Figure:
    begin = time.perf_counter()
    with running(ours(log, store)) as server, closing(Client(server.port)) as client:
        client.ask({"hello": True})
        return Figure((time.perf_counter() - begin) * _MS, server.cpu_seconds())


def memory(stores: Stores, rounds: int, _seconds: float) -> list[Line]:
    """Look at the memory of a server on a large store that has listed, read and written all signals."""
    resident, proportional = [], []
    for _ in range(rounds):
        with running(ours(stores.log("wide"), stores.wide)) as server, closing(Client(server.port)) as client:
            names = client.ask({"getSignalList": True})["signalList"]
            newest = client.ask({"getLatest": True})["latest"]
            client.ask({"getSignal": {"dname": NAME.device, "sname": NAME.name, "maxN": _MAX_N}})
            for device, name in names:
                value = newest[f"{device}.{name}"]
                client.ask({"dname": device, "sname": [name], "x": [value[0] + 1], "y": [value[1]]})
            rss, pss = server.memory()
            resident.append(Figure(rss * _MB))
            proportional.append(Figure(pss * _MB))
    most = Reach(250, alone, absolute=True)
    return [
        Line("memory-rss", f"memory (RSS) with {stores.wide_title}", "MB", most, [], resident),
        Line("memory-pss", "the same, what is shared divided (PSS)", "MB", most, [], proportional),
    ]


STORED: dict[str, Callable[[Stores, int, float], list[Line]]] = {
    "maxn": maxn,
    "raw": raw,
    "start": start,
    "memory": memory,
}
