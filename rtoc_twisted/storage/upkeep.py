"""What is done between commits: fold, pack, draw rollups, make room; a step at a time."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from .database import Database
from .drawing import Drawn, Packed
from .quiet import Quiet
from .reserve import is_full
from .thrift import Drop, Thrift
from .writer import Worker

Tell = Callable[[str, int], object]
"""Tells people something in words, and how much it matters (0 to 2)."""

LOOK_SECONDS = 60.0
_A_STEP = 65_536
DRAWN_TOGETHER = 32
_OTHERS = 4
"""How much longer others have the machine than who packs, while there are others."""

TELL_SECONDS = 3600.0
ROOMY = 64 << 20
"""Free bytes of a disk with which nobody has to look after each page."""


class Upkeep:
    """Gives the writer its steps; each waits behind the commits that have come meanwhile.

    What takes long and no writer, to pack and to draw, is done in another thread: the writer puts it in.
    post: calls a function in the reactor's thread; commits: returns how many there were. make: returns what
    can be made of the next chunk, empty_log: does a checkpoint, each in a thread of a pool. drop: lets a
    commit drop chunks, fires when it is done; disk: returns the free bytes of the disk; tell: called in the
    reactor's thread, at most once an hour for each kind of news.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        clock: IReactorTime,
        writer: Worker,
        post: Callable[..., object],
        commits: Callable[[], int],
        make: Callable[[], Deferred[Packed | Drawn | None]],
        empty_log: Callable[[], Deferred[None]],
        thrift: Thrift,
        drop: Callable[[Drop], Deferred[None]],
        disk: Callable[[], int],
        tell: Tell,
    ) -> None:
        self._clock = clock
        self._database = database
        self._writer = writer
        self._post = post
        self._folding = False
        self._checkpointing = False
        self._stopped = False
        self._packing = Quiet(clock, commits, self._make_next)
        self._make = make
        self._making = False
        self._began = 0.0
        self._commits = commits
        self._commits_before = 0
        self._next_make: IDelayedCall | None = None
        self._empty_log = empty_log
        self._thrift = thrift
        self._drop = drop
        self._disk = disk
        self._tell = tell
        self._told: dict[str, float] = {}
        self._saving = False
        self._full = False
        self._made = 0
        self._next_look: IDelayedCall = clock.callLater(LOOK_SECONDS, self._look_again)

    def look(self) -> None:
        """See whether there is something to do; after a commit, by whoever did it."""
        if self._full:
            self._full = False
            self._post(self._say, "room", "there is room on the disk again, recording goes on", 1)
        self._look()

    def _look(self) -> None:
        if not self._checkpointing and self._database.checkpoint_is_due:
            self._checkpointing = True
            if self._disk() < ROOMY:
                # Every page that comes meanwhile would make the log larger, and it has to fit into the file.
                self._writer.do(self._checkpoint)
            else:
                self._post(self._begin_checkpoint)
        if not self._folding and self._database.journal.fold_is_due:
            self._folding = True
            self._writer.do(self._fold)

    def _stepped(self) -> None:
        self._database.wrote(_A_STEP)
        self._look()

    def _look_again(self) -> None:
        self._next_look = self._clock.callLater(LOOK_SECONDS, self._look_again)
        self._packing.ask()
        self._writer.do(self._begin_saving)

    def _begin_checkpoint(self) -> None:
        # Most of it beside the writer; the log begins anew only if nobody writes at its end. What hinders
        # the first hinders the second, which tells it.
        if not self._stopped:
            self._empty_log().addBoth(lambda _: self._writer.do(self._checkpoint))

    def _checkpoint(self) -> None:
        if self._stopped:
            return
        try:
            self._database.checkpoint()
        except Exception as problem:
            # The log grows meanwhile; the next commit tries again.
            self._log_later("a checkpoint failed: {problem}", problem)
            if is_full(problem, self._disk()):
                self._give_way()
        self._checkpointing = False

    def _fold(self) -> None:
        if self._stopped:
            return
        try:
            self._folding = self._database.fold_step()
        except Exception as problem:
            # Nothing is lost: the journal stays, and the next commit tries again.
            self._folding = False
            self._log_later("folding the journal failed: {problem}", problem)
            return
        if self._folding:
            self._writer.do(self._fold)
        else:
            self._post(self._folded)
            self._save_more()

    def _folded(self) -> None:
        if not self._stopped:
            self._packing.ask()

    def _make_next(self) -> None:
        if not self._making and not self._stopped:
            self._making = True
            self._began, self._commits_before = self._clock.seconds(), self._commits()
            self._make().addCallbacks(self._put_in, self._not_made)

    def _put_in(self, made: Packed | Drawn | None) -> None:
        if made is None or self._stopped:
            self._making = False
        else:
            self._writer.do(lambda: self._enter(made))

    def _enter(self, made: Packed | Drawn) -> None:
        if self._stopped:
            return
        try:
            self._database.enter(made)
        except Exception as problem:
            self._post(self._not_made, Failure(problem))
            return
        self._post(self._entered, made)
        self._stepped()

    def _entered(self, made: Packed | Drawn) -> None:
        self._making = False
        self._made += isinstance(made, Drawn)
        if isinstance(made, Drawn) and self._made % DRAWN_TOGETHER == 0:
            # Of what was recorded in years there may be very many: after some it waits for quiet again.
            self._folded()
        elif self._commits() == self._commits_before:
            self._make_next()
        elif not self._stopped:
            # Whoever records goes first: a fifth of the time keeps up with any load.
            pause = _OTHERS * (self._clock.seconds() - self._began)
            self._next_make = self._clock.callLater(pause, self._make_next)

    def _not_made(self, failure: Failure) -> None:
        # Chunks are as good unpacked, only larger.
        self._making = False
        if not self._stopped:
            self._log.error("packing a chunk failed: {problem}", problem=failure.getErrorMessage())

    # Room: by rules, and where there is too little.

    def _give_way(self) -> None:
        try:
            self._thrift.give_way()
        except Exception as problem:
            self._log_later("the log of the store cannot be emptied: {problem}", problem)
        self._save_more()

    def _begin_saving(self) -> None:
        try:
            self._thrift.begin()
        except Exception as problem:
            self._log_later("retention failed: {problem}", problem)
        else:
            self._save_more()

    def _save_more(self) -> None:
        if not self._saving:
            self._saving = True
            self._writer.do(self._save)

    def _save(self) -> None:
        self._saving = False
        if self._stopped:
            return
        try:
            step = self._thrift.step()
        except Exception as problem:
            # Whatever it was about is still there; the next look tries again.
            self._log_later("retention failed: {problem}", problem)
            return
        self._tell_news()
        if isinstance(step, Drop):
            self._saving = True
            self._post(self._drop_now, step)
        elif step:
            self._save_more()
        self._stepped()

    def _drop_now(self, step: Drop) -> None:
        def done(_: None) -> None:
            self._thrift.dropped += len(step.numbers)
            self._writer.do(self._save)

        def failed(_: object) -> None:
            # The commit tells why; the next look tries again.
            self._saving = False

        if not self._stopped:
            self._drop(step).addCallbacks(done, failed)

    def make_room(self, problem: Exception) -> bool:
        """Return whether a commit failed for want of room; if so, there is some then, where that is possible.

        To be called by whoever commits, before the catalog is read again.
        """
        if not is_full(problem, self._disk()):
            return False
        self._full = True
        try:
            self._thrift.make_room()
        except Exception as another:
            self._log_later("no room could be made: {problem}", another)
        return True

    def refused(self) -> None:
        """Say so if the disk is full, and go on making room; after those who waited heard of it."""
        if self._full and not self._stopped:
            self._say("full", "the disk is full, data were refused", 2)
            self._writer.do(self._begin_saving)

    def _tell_news(self) -> None:
        for kind, text in self._thrift.news.items():
            self._post(self._say, kind, text, 1 if kind == "retired" else 2)
        self._thrift.news.clear()

    def _say(self, kind: str, text: str, priority: int) -> None:
        now = self._clock.seconds()
        if self._stopped or (kind in self._told and now < self._told[kind] + TELL_SECONDS):
            return
        self._told[kind] = now
        self._log.warn("{text}", text=text)
        self._tell(text, priority)

    def counters(self) -> dict[str, float]:
        """Return figures for people and monitors."""
        thrift = self._thrift
        return {
            "chunks_retired": thrift.retired,
            "chunks_dropped": thrift.dropped,
            "bytes_live": thrift.live,
            "folds": self._database.journal.folds,
            "checkpoints": self._database.checkpoints,
        }

    def _log_later(self, words: str, problem: Exception) -> None:
        self._post(self._log.error, words, problem=str(problem))

    def stop(self) -> None:
        """Begin nothing more: the file is about to be closed."""
        self._stopped = True
        self._packing.stop()
        if self._next_make is not None and self._next_make.active():
            self._next_make.cancel()
        if self._next_look.active():
            self._next_look.cancel()
