"""What the writer does between commits: fold the journal, pack large chunks, a step at a time."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from .database import Database
from .quiet import Quiet
from .writer import Worker


class Upkeep:
    """Gives the writer its steps; each waits behind the commits that have come meanwhile.

    post: calls a function in the reactor's thread; commits: returns how many there were.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        clock: IReactorTime,
        writer: Worker,
        post: Callable[..., object],
        commits: Callable[[], int],
    ) -> None:
        self._database = database
        self._writer = writer
        self._post = post
        self._folding = False
        self._stopped = False
        self._packing = Quiet(clock, commits, lambda: writer.do(self._pack))

    def look(self) -> None:
        """See whether there is something to do; in the writer's thread, after a commit."""
        if not self._folding and self._database.fold_is_due:
            self._folding = True
            self._writer.do(self._fold)

    def _fold(self) -> None:
        if self._stopped:
            return
        try:
            self._folding = self._database.fold_step()
        except Exception as problem:
            # Nothing is lost: the journal stays, and the next commit tries again.
            self._folding = False
            self._tell("folding the journal failed: {problem}", problem)
            return
        if self._folding:
            self._writer.do(self._fold)
        else:
            self._post(self._folded)

    def _folded(self) -> None:
        if not self._stopped:
            self._packing.ask()

    def _pack(self) -> None:
        if self._stopped:
            return
        try:
            more = self._database.pack_step()
        except Exception as problem:
            # Chunks are as good unpacked, only larger.
            self._tell("packing a chunk failed: {problem}", problem)
            return
        if more:
            self._writer.do(self._pack)

    def _tell(self, words: str, problem: Exception) -> None:
        self._post(self._log.error, words, problem=str(problem))

    def stop(self) -> None:
        """Begin nothing more: the file is about to be closed."""
        self._stopped = True
        self._packing.stop()
