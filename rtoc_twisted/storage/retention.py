"""Which samples are to stay, and for how long: rules and figures, nothing of a disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .rollups import WIDTHS

DAY = 86400.0


@dataclass(frozen=True)
class Rule:
    """What of the signals that match one of its patterns is kept; None sets no limit, and a limit is above 0.

    patterns: as in fnmatch, on the whole sigKey. raw_days, raw_points, raw_bytes: samples themselves
    are kept for so many days since they were recorded, and at least so many of the newest, or as many as
    fill so many bytes on disk; then rollups and an outline stay. days: after that nothing stays.
    """

    name: str
    patterns: tuple[str, ...]
    raw_days: float | None = None
    raw_points: int | None = None
    raw_bytes: int | None = None
    days: float | None = None


@dataclass(frozen=True)
class Keeping:
    """What a store keeps.

    rules: the first that matches a signal holds. widths: of rollups. budget: bytes that what is stored
    may take, None for as many as there are. keep_free: bytes of the disk to leave free, unless the store
    has become that small. reserve: bytes of a file that gives way when the disk is full.
    """

    rules: tuple[Rule, ...] = ()
    widths: tuple[float, ...] = WIDTHS
    budget: int | None = None
    keep_free: int = 0
    reserve: int = 0


KEEP_ALL = Keeping()
"""Everything stays, whatever the disk says."""


@dataclass(frozen=True)
class ChunkFacts:
    """A chunk as rules see it. size: bytes of its samples on disk; retired: these are gone already."""

    number: int
    samples: int
    size: int
    retired: bool


Before = Callable[[float], int]
"""Tells for an age in days below which number all chunks are at least that old."""


class Moments:
    """Tells the moment for ages, in seconds since the epoch: the wall clock once, then the time gone by.

    So a clock that is set while the server runs makes nothing older. wall, monotonic: as in `time`.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._monotonic = monotonic
        self._difference = wall() - monotonic()

    def not_before(self, moment: float) -> None:
        """Begin at a moment that is known to have been, if the wall clock was still before it.

        A board without a battery begins in 1970.
        """
        self._difference = max(self._difference, moment - self._monotonic())

    def __call__(self) -> float:
        """Return the moment."""
        return self._difference + self._monotonic()


def rule_for(rules: Iterable[Rule], key: str) -> Rule | None:
    """Return the first rule that matches a sigKey, None if there is none."""
    for rule in rules:
        if any(fnmatchcase(key, pattern) for pattern in rule.patterns):
            return rule
    return None


def due(rule: Rule, chunks: Sequence[ChunkFacts], before: Before) -> tuple[list[int], list[int]]:
    """Return the chunks of a signal that are to retire, and those that are to go, the oldest first.

    chunks: all of the signal, oldest first. A chunk retires for points or bytes when the newer ones hold
    that much; so the newest never does.
    """
    gone_below = 0 if rule.days is None else before(rule.days)
    raw_from = 0 if rule.raw_days is None else before(rule.raw_days)
    points = size = 0
    retire: list[int] = []
    for chunk in reversed(chunks):
        if chunk.number < gone_below or chunk.retired:
            continue
        plenty = (rule.raw_points is not None and points >= rule.raw_points) or (
            rule.raw_bytes is not None and size >= rule.raw_bytes
        )
        if plenty or chunk.number < raw_from:
            retire.append(chunk.number)
        points += chunk.samples
        size += chunk.size
    return retire[::-1], [chunk.number for chunk in chunks if chunk.number < gone_below]
