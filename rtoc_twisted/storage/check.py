"""Looks through all chunks in the background, once after each start, and sets damaged ones aside."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..model import SignalName
from .blobs import plain
from .reader import Reader
from .salvage import is_damage, mark_suspect
from .sound import sound_blob, sound_chunk, sum_up_again

DELAY = 10.0
"""Seconds after the start: clients come back first."""

STEP_CHUNKS = 32
STEP_BYTES = 1 << 20

PAUSE = 0.1
SHARE = 9
"""A step is followed by a pause of at least PAUSE seconds, and of SHARE times as long as it took."""

TOLD = 100
"""How many losses are told one by one; what comes after is told in one sum."""

_PACKED = 1


@dataclass(frozen=True)
class Found:
    """What a step has found.

    last: the newest chunk that it saw, None behind the last one; checked: how many it saw; damaged: the ids
    of chunks that are not as they were written; undrawn: of those whose outline or rollups are not.
    """

    last: int | None
    checked: int
    damaged: Sequence[int]
    undrawn: Sequence[int]


@dataclass(frozen=True)
class Loss:
    """Samples of one signal that are lost; x_min, x_max: the bounds of their x, None where there are none."""

    signal_id: int
    name: SignalName
    samples: int
    x_min: float | None
    x_max: float | None

    @property
    def text(self) -> str:
        """Say it in one line."""
        where = "" if self.x_min is None else f" between x = {self.x_min} and {self.x_max}"
        return (
            f"{self.samples} samples of {self.name.device}.{self.name.name}{where} are lost: "
            "their block on disk was damaged, and is set aside in the table lost"
        )


class Inspector(Reader):
    """A connection that reads chunks for no other sake than to see whether they are sound."""

    def step(self, after: int) -> Found:
        """Look at some chunks behind the one with this id; each query is a snapshot of its own."""
        rows = self._sql.execute(
            "SELECT id, samples, packed, data FROM chunks WHERE id > ? ORDER BY id LIMIT ?",
            (after, STEP_CHUNKS),
        )
        last, checked, size, damaged = None, 0, 0, []
        for number, samples, packed, data in rows:
            if sound_chunk(samples, packed, data) is None:
                damaged.append(number)
            last, checked, size = number, checked + 1, size + len(data)
            if size >= STEP_BYTES:
                break
        # Left open it would hold up checkpoints.
        rows.close()
        undrawn: set[int] = set()
        if last is not None:
            for number, data in self._sql.execute(_DRAWINGS, (after, last)):
                if not sound_blob(data):
                    undrawn.add(number)
        return Found(last, checked, damaged, sorted(undrawn))


_DRAWINGS = (
    "SELECT chunk_id, data FROM outlines WHERE chunk_id > ?1 AND chunk_id <= ?2"
    " UNION ALL SELECT chunk_id, data FROM rollups WHERE chunk_id > ?1 AND chunk_id <= ?2"
)


def lose(sql: sqlite3.Connection, found: Found, moment: float) -> list[Loss]:
    """Move damaged chunks to the table `lost`, and let damaged outlines and rollups be drawn again.

    sql: the connection that writes, within a transaction; moment: now, in seconds since the epoch. What was
    replaced since it was found stays. Returns what was lost, by signals.
    """
    losses: dict[int, Loss] = {}
    for number in found.damaged:
        row = sql.execute(
            "SELECT c.samples, c.packed, c.data, c.x_min, c.x_max, c.signal_id, d.name, s.name FROM chunks c"
            " JOIN signals s ON s.id = c.signal_id JOIN devices d ON d.id = s.device_id WHERE c.id = ?",
            (number,),
        ).fetchone()
        if row is None or sound_chunk(*row[:3]) is not None:
            continue
        sql.execute(
            "INSERT INTO lost (signal_id, samples, x_min, x_max, packed, data, moment)"
            " SELECT signal_id, samples, x_min, x_max, packed, data, ? FROM chunks WHERE id = ?",
            (moment, number),
        )
        sql.execute("DELETE FROM chunks WHERE id = ?", (number,))
        samples, _, _, low, high, signal_id, *names = row
        before = losses.get(signal_id)
        losses[signal_id] = Loss(
            signal_id,
            SignalName(*names),
            samples + (before.samples if before else 0),
            _outer(min, low, before.x_min if before else None),
            _outer(max, high, before.x_max if before else None),
        )
    for signal_id in losses:
        sum_up_again(sql, signal_id)
    for number in found.undrawn:
        _undraw(sql, number)
    return list(losses.values())


def _outer(choose: Callable[..., float], *figures: float | None) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return choose(known) if known else None


def _undraw(sql: sqlite3.Connection, number: int) -> None:
    for place, data in sql.execute("SELECT id, data FROM rollups WHERE chunk_id = ?", (number,)).fetchall():
        if not sound_blob(data):
            # Whoever needs it sums up the chunk instead.
            sql.execute("DELETE FROM rollups WHERE id = ?", (place,))
    outline = sql.execute("SELECT data FROM outlines WHERE chunk_id = ?", (number,)).fetchone()
    if outline is None or sound_blob(outline[0]):
        return
    sql.execute("DELETE FROM outlines WHERE chunk_id = ?", (number,))
    row = sql.execute("SELECT samples, packed, data FROM chunks WHERE id = ?", (number,)).fetchone()
    columns = sound_chunk(*row) if row and row[1] == _PACKED else None
    if columns is not None:
        # Plain again, it is packed once more when it is quiet, and gets another.
        sql.execute("UPDATE chunks SET packed = 0, data = ? WHERE id = ?", (plain(*columns), number))


class Checker:
    """Goes once through the chunks of a store.

    path: of the file; in_thread: runs a function in a thread of a pool, returns a Deferred of its result;
    write: has the writer do `lose` with what was found, returns a Deferred of its result after the commit;
    tell: called with a line and a priority (1 or 2) for each loss.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        *,
        clock: IReactorTime,
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        write: Callable[[Found], Deferred[list[Loss]]],
        tell: Callable[[str, int], object],
    ) -> None:
        self._path = path
        self._clock = clock
        self._in_thread = in_thread
        self._write = write
        self._tell = tell
        self._inspector: Inspector | None = None
        self._waiting: IDelayedCall | None = None
        self._reading = False
        self._stopped = False
        self._after = 0
        self._began = 0.0
        self._told = 0
        self._untold = 0
        self._checked = 0
        self._lost = 0

    def start(self) -> None:
        """Begin a while from now."""
        self._waiting = self._clock.callLater(DELAY, self._step)

    def stop(self) -> None:
        """End, with the step that is being done at the latest."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if not self._reading:
            self._let_go()

    def counters(self) -> dict[str, float]:
        """Return figures for people and monitors."""
        return {"chunks_checked": self._checked, "samples_lost": self._lost}

    def _step(self) -> None:
        self._waiting = None
        self._began = self._clock.seconds()
        self._reading = True
        looked = self._in_thread(self._look)
        looked.addBoth(self._looked)
        looked.addCallback(self._found)
        looked.addErrback(self._failed)

    def _look(self) -> Found:
        try:
            if self._inspector is None:
                self._inspector = Inspector(self._path)
            return self._inspector.step(self._after)
        finally:
            if self._stopped:
                self._let_go()

    def _looked(self, result: Any) -> Any:
        self._reading = False
        if self._stopped:
            self._let_go()
        return result

    def _let_go(self) -> None:
        inspector, self._inspector = self._inspector, None
        if inspector is not None:
            inspector.close()

    def _found(self, found: Found) -> Deferred[None] | None:
        if self._stopped:
            return None
        if found.damaged or found.undrawn:
            return self._write(found).addCallback(self._written, found)
        self._go_on(found)
        return None

    def _written(self, losses: list[Loss], found: Found) -> None:
        for loss in losses:
            self._lost += loss.samples
            if self._told < TOLD:
                self._told += 1
                self._tell(loss.text, 2)
            else:
                self._untold += loss.samples
        self._go_on(found)

    def _go_on(self, found: Found) -> None:
        self._checked += found.checked
        if self._stopped:
            return
        if found.last is None:
            self._end()
            return
        self._after = found.last
        took = self._clock.seconds() - self._began
        self._waiting = self._clock.callLater(max(PAUSE, SHARE * took), self._step)

    def _end(self) -> None:
        if self._untold:
            self._tell(f"{self._untold} samples more are lost: see the table lost", 2)
            self._untold = 0
        self.stop()

    def _failed(self, failure: Failure) -> None:
        if self._stopped:
            return
        problem = failure.value
        self._log.error("the check of the store ended: {problem}", problem=str(problem))
        if isinstance(problem, sqlite3.Error) and is_damage(problem):
            try:
                mark_suspect(self._path)
                advice = "restart the server to salvage what can be read"
            except OSError as error:
                advice = f"it could not be marked for the next start ({error})"
            self._tell(f"the store on disk is damaged ({problem}): {advice}", 2)
        self._end()
