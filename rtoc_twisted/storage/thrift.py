"""What retention and want of room ask for, a step at a time, done by the one that writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .database import CHECKPOINT_AT_BYTES, Database
from .reserve import Reserve
from .retention import Keeping, due, rule_for

_BACK = 0.05
"""How far below a limit it goes before it is content."""

_AT_ONCE = 32
_ENOUGH = 2 << 20
_SHARE = 4
_DROPPED_TOGETHER = 16
_SIGNALS = 32


@dataclass(frozen=True)
class Drop:
    """Chunks of a signal that are to be dropped by a commit: the catalog has to know."""

    signal_id: int
    numbers: list[int]


class Thrift:
    """Gives up samples as the rules say, and more of them while there is too little room.

    disk: returns the free bytes of the disk. Counters: chunks `retired` and `dropped`, `live` bytes of the
    file in use when it looked last. `news` has in words what was given up for want of room, until emptied.
    """

    def __init__(
        self, database: Database, keeping: Keeping, disk: Callable[[], int], reserve: Reserve
    ) -> None:
        self._database = database
        self._keeping = keeping
        self._disk = disk
        self._reserve = reserve
        self._pressed = ""
        self._urgent = False
        self._raw_above = 0
        self._walk: Iterator[Drop | None] = iter(())
        self._walked: object = None
        self.retired = self.dropped = 0
        self.live = database.space()[0]
        self.news: dict[str, str] = {}

    def begin(self) -> None:
        """Follow the rules from the first signal on, if anything has changed since the last time."""
        if self._keeping.rules:
            state = self._state()
            if state != self._walked:
                self._walked, self._walk = state, self._rounds()

    def step(self) -> Drop | bool:
        """Do something, in a transaction; return whether there may be more to do, or what to drop first."""
        self._pressed = self._too_little_room()
        if self._pressed:
            step = self._give_up()
            if step is not None:
                return step
            self._urgent = False
        else:
            self._reserve.make(self._disk())
        found = next(self._walk, False)
        return True if found is None else found

    def _too_little_room(self) -> str:
        """Return why there is too little room, nothing if there is enough."""
        self.live, free = self._database.space()
        back = _BACK if self._pressed else 0.0
        budget, keep_free = self._keeping.budget, self._keeping.keep_free
        # The log is as large as it gets between two checkpoints, or will be: it shows nothing.
        over = budget is not None and self.live + CHECKPOINT_AT_BYTES > budget * (1 - back)
        room = free + self._disk()
        # What others have filled is not for a small store to make good, though it has to be able to work.
        limit = max((size for size in (keep_free, 2 * self._keeping.reserve) if self.live > size), default=0)
        short = room < limit * (1 + back)
        self._urgent &= not _is_enough(self.live, free)
        if self._urgent:
            return "the disk is full"
        return "storage.budget is reached" if over else "the disk is nearly full" if short else ""

    def _give_up(self) -> Drop | bool | None:
        """Pack, else retire the oldest, else drop the oldest; return None if there is nothing left."""
        if self._database.pack_step() or self._retire_oldest():
            return True
        oldest = self._database.chunks.oldest(retired=True)
        if oldest is None:
            return None
        self._note("removed", f"{self._pressed}: the oldest rollups are removed")
        return Drop(oldest[1], [oldest[0]])

    def _note(self, kind: str, text: str) -> None:
        self.news[kind] = text

    def _retire_oldest(self) -> bool:
        oldest = self._database.chunks.oldest(retired=False, above=self._raw_above)
        if oldest is None:
            return False
        self._retire(oldest[0])
        # Numbers grow, and what retired never comes back.
        self._raw_above = oldest[0]
        self._note("retired", f"{self._pressed}: of the oldest samples only rollups are kept")
        return True

    def _retire(self, number: int) -> None:
        with self._database.transaction():
            self.retired += self._database.chunks.retire(number)

    def give_way(self) -> None:
        """Let the log be emptied into the file, after there was no room for that; the steps go on with it."""
        self._urgent = True
        self._reserve.give()
        self._database.checkpoint()

    def make_room(self) -> None:
        """Free some pages at once, after a commit that the disk had no room for; the catalog is read again.

        There is no room to make more room in: what was put aside is given first.
        """
        self._pressed = "the disk is full"
        self.give_way()
        for _ in range(_AT_ONCE):
            if _is_enough(*self._database.space()):
                return
            if self._retire_oldest():
                continue
            step = self._give_up()
            if not isinstance(step, Drop):
                return
            with self._database.transaction():
                self._database.chunks.drop(step.signal_id, step.numbers)
            self.dropped += len(step.numbers)

    def _state(self) -> object:
        """Return what has changed if a new walk can find something."""
        chunks = self._database.chunks
        days = {age for rule in self._keeping.rules for age in (rule.days, rule.raw_days) if age is not None}
        return chunks.newest(), [(age, chunks.before(age)) for age in sorted(days)]

    def _rounds(self) -> Iterator[Drop | None]:
        """Walk through the signals, and do what their rules say; yields after each bit of work."""
        chunks, above = self._database.chunks, 0
        while signals := chunks.keys(above, _SIGNALS):
            for signal_id, key in signals:
                rule = rule_for(self._keeping.rules, key)
                if rule is not None:
                    retire, drop = due(rule, chunks.facts(signal_id), chunks.before)
                    for number in retire:
                        self._retire(number)
                        yield None
                    for start in range(0, len(drop), _DROPPED_TOGETHER):
                        yield Drop(signal_id, drop[start : start + _DROPPED_TOGETHER])
            above = signals[-1][0]
            yield None


def _is_enough(live: int, free: int) -> bool:
    """Return whether so much of a file is free that a full disk need not be felt for a while.

    A small store would lose everything for a fixed amount.
    """
    return free >= min(_ENOUGH, live // _SHARE)
