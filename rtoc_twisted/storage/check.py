"""Looks through all chunks in the background, once after each start, and sets damaged ones aside."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .losses import Found, Loss
from .reader import Reader
from .salvage import is_damage, mark_suspect
from .sound import sound_blob, sound_chunk

DELAY = 10.0
"""Seconds after the start: clients come back first."""

STEP_CHUNKS = 32
STEP_BYTES = 1 << 20

PAUSE = 0.1
SHARE = 9
"""A step is followed by a pause of at least PAUSE seconds, and of SHARE times as long as it took."""

TOLD = 100
"""How many losses are told one by one; what comes after is told in one sum."""


class Inspector(Reader):
    """A connection that reads chunks for no other sake than to see whether they are sound."""

    def step(self, after: int) -> Found:
        """Look at some chunks behind the one with this id; each query is a snapshot of its own."""
        rows = self._sql.execute(
            "SELECT id, signal_id, samples, packed, data FROM chunks WHERE id > ? ORDER BY id LIMIT ?",
            (after, STEP_CHUNKS),
        )
        last, checked, size, damaged = None, 0, 0, dict[int, int]()
        for number, signal_id, samples, packed, data in rows:
            if sound_chunk(samples, packed, data) is None:
                damaged[number] = signal_id
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
