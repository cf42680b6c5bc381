"""Which batches of which sources were taken, so that one that is sent again is not stored again."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable

from ..errors import BadValue
from ..interfaces import ICommit
from .commit import stored

INTERVALS = 1_000
SOURCES = 10_000

Row = tuple[str, str, int]
"""A source as it is kept: its name, the text of its Seen, and a number that grows with every use."""


class Seen:
    """The sequence numbers of one source that were taken, as intervals; the greatest `limit` are kept.

    Numbers may come in any order. Of those below the floor it is not known whether they were taken.
    """

    __slots__ = ("_ends", "_floor", "_limit", "_starts")

    def __init__(self, limit: int = INTERVALS) -> None:
        self._limit = limit
        self._floor = 0
        self._starts = array("q")
        self._ends = array("q")

    @property
    def floor(self) -> int:
        """Return the least number that may be added: one below it could not be remembered."""
        if len(self._starts) < self._limit:
            return self._floor
        return max(self._floor, self._starts[0] - 1)

    def contains(self, seq: int) -> bool:
        """Return whether a number was taken; raises BadValue where that is not known any more."""
        at = bisect_right(self._starts, seq)
        if at and seq <= self._ends[at - 1]:
            return True
        if seq < self.floor:
            raise BadValue(f"batch.seq: {seq} is too old, this source is remembered from {self.floor} on")
        return False

    def add(self, seq: int) -> None:
        """Take note of a number that is not below the floor."""
        starts, ends = self._starts, self._ends
        at = bisect_right(starts, seq)
        if at and seq <= ends[at - 1]:
            return
        follows = at > 0 and ends[at - 1] == seq - 1
        leads = at < len(starts) and starts[at] == seq + 1
        if follows:
            ends[at - 1] = ends.pop(at) if leads else seq
            if leads:
                del starts[at]
        elif leads:
            starts[at] = seq
        else:
            starts.insert(at, seq)
            ends.insert(at, seq)
            if len(starts) > self._limit:
                self._floor = ends.pop(0) + 1
                del starts[0]

    def __str__(self) -> str:
        intervals = zip(self._starts, self._ends, strict=True)
        return f"{self._floor}:" + ",".join(f"{a}-{b}" if a < b else f"{a}" for a, b in intervals)

    @classmethod
    def from_text(cls, text: str, limit: int = INTERVALS) -> Seen:
        """Return what `str` made a text of, such as "0:1-7,9"; raises ValueError if it is no such text."""
        seen = cls(limit)
        floor, _, intervals = text.partition(":")
        seen._floor = int(floor)
        for interval in filter(None, intervals.split(",")):
            start, _, end = interval.partition("-")
            seen._starts.append(int(start))
            seen._ends.append(int(end or start))
        return seen


class Sources:
    """All sources, and which commits carry the batches that are on their way.

    limit: of sources; where one more comes, the one unused for longest is forgotten (and counted in
    `forgotten`): its old batches would be stored again. intervals: see Seen.
    """

    def __init__(self, limit: int = SOURCES, intervals: int = INTERVALS) -> None:
        self._limit = limit
        self._intervals = intervals
        # In the order of use. A text becomes a Seen when it is asked for: most sources are gone for good.
        self._seen: dict[str, Seen | str] = {}
        self._uses = 0
        self._in_flight: dict[tuple[str, int], ICommit] = {}
        # Not on disk yet; None for a source that was forgotten.
        self._changed: dict[str, int | None] = {}
        self.forgotten = 0

    def load(self, rows: Iterable[Row]) -> None:
        """Know what is on disk and nothing else; rows: in the order of use."""
        self._seen.clear()
        self._in_flight.clear()
        self._changed.clear()
        for name, text, used in rows:
            self._seen[name] = text
            self._uses = used

    def commit_of(self, source: str, seq: int) -> ICommit | None:
        """Return the commit that carries a batch, a done one if it is on disk, None if it is new.

        Raises BadValue if the batch is so old that this is not known any more.
        """
        seen = self._find(source)
        if seen is None or not seen.contains(seq):
            return None
        return self._in_flight.get((source, seq)) or stored()

    def add(self, source: str, seq: int, commit: ICommit) -> None:
        """Take note of a batch, and of the commit that carries it."""
        seen = self._find(source)
        if seen is None:
            if len(self._seen) >= self._limit:
                self._forget(next(iter(self._seen)))
            seen = Seen(self._intervals)
        else:
            del self._seen[source]
        self._seen[source] = seen
        seen.add(seq)
        self._uses += 1
        self._changed[source] = self._uses
        self._in_flight[source, seq] = commit

    def _find(self, source: str) -> Seen | None:
        seen = self._seen.get(source)
        if isinstance(seen, str):
            seen = self._seen[source] = Seen.from_text(seen, self._intervals)
        return seen

    def _forget(self, source: str) -> None:
        del self._seen[source]
        self._changed[source] = None
        self.forgotten += 1

    def changes(self) -> tuple[list[Row], list[str]]:
        """Return the sources that changed since the last call, and the names of those forgotten."""
        changed, self._changed = self._changed, {}
        rows = [(name, str(self._seen[name]), used) for name, used in changed.items() if used is not None]
        return rows, [name for name, used in changed.items() if used is None]

    def settle(self) -> None:
        """Let go of the commits that are done."""
        self._in_flight = {batch: commit for batch, commit in self._in_flight.items() if not commit.done}
