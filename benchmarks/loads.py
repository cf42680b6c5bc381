"""The loads: which messages are sent, over how many connections, and what the store must hold of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import orjson

from .client import masked_frame

_START = 1_700_000_000.0
_BLOCKS = 4
"""A connection's blocks differ from each other, and are sent in turn."""


@dataclass(frozen=True)
class Load:
    """One kind of message, sent over and over.

    message: makes the message of a connection, by the numbers of both; values: in each message;
    replaces: whether a message replaces what the one before it had stored; window: messages of a
    connection that may wait for their answers.
    """

    title: str
    message: Callable[[int, int], dict[str, Any]]
    values: int
    window: int
    connections: int = 1
    replaces: bool = False

    def blocks(self, connection: int) -> list[tuple[bytes, int]]:
        """Return what a connection sends in turn: masked frames, joined, and how many they are.

        A block is a quarter of the window, so that a server works on one while the next is on its way.
        """
        size = max(1, self.window // 4)
        numbers = [range(start, start + size) for start in range(0, _BLOCKS * size, size)]
        return [(b"".join(self.frame(connection, number) for number in block), size) for block in numbers]

    def frame(self, connection: int, number: int) -> bytes:
        """Return one message as a masked frame."""
        return masked_frame(orjson.dumps(self.message(connection, number)))

    def stored(self, messages: int) -> int:
        """Return how many values a store holds after so many messages."""
        return self.values * (min(messages, self.connections) if self.replaces else messages)


def _pair(connection: int, number: int) -> dict[str, Any]:
    now = _START + number / 8
    return {
        "dname": f"Pair{connection}",
        "sname": ["pressure", "humidity"],
        "x": [now, now],
        "y": [1013 + number % 7 / 8, 45 + number % 5 / 4],
    }


_NAMES = [f"channel{number}" for number in range(10)] * 10


def _batch(connection: int, number: int) -> dict[str, Any]:
    start = _START + number
    return {
        "dname": f"Batch{connection}",
        "sname": _NAMES,
        "x": [round(start + index // 10 / 10, 3) for index in range(len(_NAMES))],
        "y": [round(20 + math.sin(number + index), 4) for index in range(len(_NAMES))],
    }


_POINTS = 10_000


def _plot(connection: int, number: int) -> dict[str, Any]:
    return {
        "dname": f"Plot{connection}",
        "sname": ["curve"],
        "plot": True,
        "x": [round(index / 1000, 3) for index in range(_POINTS)],
        "y": [round(math.sin(number + index / 500), 6) for index in range(_POINTS)],
    }


def _crowd(connection: int, number: int) -> dict[str, Any]:
    return {**_pair(connection, number), "dname": f"Crowd{connection}"}


def _single(connection: int, number: int) -> dict[str, Any]:
    return {"dname": "Single", "sname": ["level"], "x": [_START + number / 8], "y": [number % 9 / 4]}


SINGLE = Load("1 value, one in flight (round trip)", _single, 1, window=1)
"""The load whose answers are waited for, one by one."""


@dataclass(frozen=True)
class Contest:
    """A load and the ratio of ours to the peer's that is to be reached.

    reach: of messages a second, at least; for a round trip, of the slowest hundredth (p99), at most.
    """

    load: Load
    reach: float
    round_trip: bool = False


CONTESTS: dict[str, Contest] = {
    "pairs": Contest(Load("2 values a message", _pair, 2, window=512), 1.0),
    "batches": Contest(Load("100 values a message (10 signals)", _batch, len(_NAMES), window=128), 0.9),
    "plots": Contest(Load("plot of 10 000 points", _plot, _POINTS, window=8, replaces=True), 1.0),
    "crowd": Contest(Load("2 values a message, 50 connections", _crowd, 2, window=16, connections=50), 0.9),
    "roundtrip": Contest(SINGLE, 5.0, round_trip=True),
}


def names(contests: Iterable[str], wanted: Collection[str] | None) -> list[str]:
    """Return the contests that are wanted, in the order of the table; None means all."""
    return [name for name in contests if not wanted or name in wanted]
