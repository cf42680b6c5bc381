"""Rounds: a load sent to one server and to the other, in turn, and what that took."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from .client import Client, ping_pong, pump
from .loads import Contest, Load
from .servers import Pair, Server

_DIFFERENT = 64
"""How many different messages take turns where they are sent one by one."""


@dataclass(frozen=True)
class Round:
    """What one server did in one round.

    messages: acknowledged; seconds: until the last was; server_cpu, client_cpu: seconds that the
    processes worked; p50, p99: seconds of a round trip, 0 where messages are not sent one by one.
    """

    messages: int
    seconds: float
    server_cpu: float
    client_cpu: float
    p50: float = 0.0
    p99: float = 0.0

    @property
    def rate(self) -> float:
        """Return the messages of a second."""
        return self.messages / self.seconds

    @property
    def cpu_a_message(self) -> float:
        """Return the seconds that the server worked on a message."""
        return self.server_cpu / self.messages

    @property
    def server_share(self) -> float:
        """Return how much of a core the server used."""
        return self.server_cpu / self.seconds

    @property
    def client_share(self) -> float:
        """Return how much of a core the client used."""
        return self.client_cpu / self.seconds


Rounds = list[Round]


def middle(rounds: Rounds, figure: Callable[[Round], float]) -> float:
    """Return the median of a figure."""
    return median(figure(one) for one in rounds)


@dataclass(frozen=True)
class Outcome:
    """A contest and its rounds, the peer's and ours in the order in which they took turns."""

    name: str
    contest: Contest
    peer: Rounds
    ours: Rounds

    @property
    def ratio(self) -> float:
        """Return ours against the peer's, median by median: of the rates, or of the p99 of round trips."""
        if self.contest.round_trip:
            return middle(self.ours, lambda one: one.p99) / middle(self.peer, lambda one: one.p99)
        return middle(self.ours, lambda one: one.rate) / middle(self.peer, lambda one: one.rate)

    @property
    def reached(self) -> bool:
        """Return whether the ratio is the one that is to be reached."""
        if self.contest.round_trip:
            return self.ratio <= self.contest.reach
        return self.ratio >= self.contest.reach

    @property
    def stored(self) -> int:
        """Return how many values our server has acknowledged and must hold."""
        return self.contest.load.stored(sum(one.messages for one in self.ours))


def hold(name: str, contest: Contest, pair: Pair, rounds: int, seconds: float) -> Outcome:
    """Hold a contest; raises ServerFailed if one of the servers falls silent or refuses."""
    load = contest.load
    run = _round_trips if contest.round_trip else _throughput
    peer, ours = [], []
    for _ in range(rounds):
        peer.append(run(pair.peer, load, seconds))
        ours.append(run(pair.ours, load, seconds))
    return Outcome(name, contest, peer, ours)


def _throughput(server: Server, load: Load, seconds: float) -> Round:
    clients = [(Client(server.port), load.blocks(number)) for number in range(load.connections)]
    watch = _Watch(server)
    try:
        messages = pump(clients, load.window, seconds)
        return Round(messages, *watch.read())
    finally:
        for client, _ in clients:
            client.close()


def _round_trips(server: Server, load: Load, seconds: float) -> Round:
    client = Client(server.port)
    frames = [load.frame(0, number) for number in range(_DIFFERENT)]
    watch = _Watch(server)
    try:
        took = ping_pong(client, frames, seconds)
        p50, p99 = np.percentile(took, (50, 99)).tolist()
        return Round(len(took), *watch.read(), p50, p99)
    finally:
        client.close()


class _Watch:
    """Clocks of a round, started when it is made."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._start = self._clocks()

    def _clocks(self) -> tuple[float, float, float]:
        return time.perf_counter(), self._server.cpu_seconds(), time.process_time()

    def read(self) -> tuple[float, float, float]:
        """Return the seconds since the start: on the wall, of the server's work, of the client's."""
        wall, server, client = (now - then for now, then in zip(self._clocks(), self._start, strict=True))
        return wall, server, client
