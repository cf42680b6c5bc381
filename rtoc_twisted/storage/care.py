"""What happens when something on disk is damaged: it is found, set aside, counted out, and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .catalog import Catalog
from .check import Checker
from .database import Database
from .kept import Kept
from .losses import Found, Loss
from .pipeline import Pipeline
from .upkeep import Tell
from .writer import Worker


class Care:
    """Takes care of a store that is open.

    post: calls a function in the reactor's thread; in_thread: runs a function in a thread of a pool, returns
    a Deferred of its result; tell: called in the reactor's thread with what people should know.
    """

    _log = Logger()

    def __init__(
        self,
        path: Path,
        database: Database,
        catalog: Catalog,
        pipeline: Pipeline,
        *,
        clock: IReactorTime,
        writer: Worker,
        post: Callable[..., object],
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        tell: Tell,
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._pipeline = pipeline
        self._clock = clock
        self._writer = writer
        self._post = post
        self._tell = tell
        self._checker = Checker(path, clock=clock, in_thread=in_thread, write=self._lose, tell=tell)
        self._news: IDelayedCall | None = None
        self._mending = False
        self._stopped = False

    def start(self, kept: Kept) -> None:
        """Tell what was found at the start, when whoever opens the store is ready; begin to look for more."""
        self._checker.start()
        if kept.salvaged is not None or kept.damaged:
            self._news = self._clock.callLater(0, self._tell_kept, kept)

    def _tell_kept(self, kept: Kept) -> None:
        if kept.salvaged is not None:
            # It is in the log already.
            self._tell(kept.salvaged.text, 2)
        self.rows_lost(kept.damaged)

    def rows_lost(self, samples: int) -> None:
        """Tell how many samples of the journal were set aside, if there were any."""
        if samples:
            text = f"{samples} samples of the journal were damaged on disk: they are in the table damaged"
            self._log.error("{text}", text=text)
            self._tell(text, 2)

    def stop(self) -> None:
        """End, before the store is closed."""
        self._stopped = True
        if self._news is not None and self._news.active():
            self._news.cancel()
        self._checker.stop()

    def counters(self) -> dict[str, float]:
        """Return figures for people and monitors."""
        return self._checker.counters()

    def _lose(self, found: Found) -> Deferred[list[Loss]]:
        return self._pipeline.recount(set(found.damaged.values()), lambda database: database.lose(found))

    # Rows of the journal.

    def damage_found(self) -> None:
        """Let damaged rows of the journal be mended, or set aside; from any thread."""
        self._post(self._mend)

    def _mend(self) -> None:
        if not self._mending and not self._stopped:
            self._mending = True
            self._writer.do(self._fold_from_memory)

    def _fold_from_memory(self) -> None:
        try:
            mended = self._database.journal.fold_from_memory()
        except Exception as problem:
            self._post(self._log.error, "folding the journal failed: {problem}", problem=str(problem))
            mended = False
        self._post(self._mended if mended else self._set_aside)

    def _mended(self) -> None:
        self._mending = False
        text = "the journal was damaged on disk; nothing is lost, it was in memory"
        self._log.warn("{text}", text=text)
        self._tell(text, 1)

    def _set_aside(self) -> None:
        if self._stopped:
            return
        changed = self._pipeline.recount(
            list(self._catalog.by_id), lambda database: database.set_damaged_aside()
        )

        def told(count: int) -> None:
            self._mending = False
            self.rows_lost(count)

        def failed(_: Failure) -> None:
            # The commit tells why; whoever reads next finds the damage again.
            self._mending = False

        changed.addCallbacks(told, failed)
