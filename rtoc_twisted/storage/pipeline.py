"""The way of a group to disk: filled in the reactor's thread, written by the writer, finished here again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import StorageFailed
from ..model import SignalSummary
from .catalog import Catalog
from .commit import Commit
from .database import Database
from .group import Group, Task, Values
from .haste import Haste
from .kept import Kept
from .sources import Sources
from .upkeep import Upkeep
from .writer import Worker

_T = TypeVar("_T")

Post = Callable[..., object]


class Pipeline:
    """Takes changes into the open group, and commits one group after the other.

    catalog, sources: learn what was committed, and what was not; upkeep: has its turns between the commits;
    post: calls a function in the reactor's thread; ceiling: how many values may wait for the disk before
    `congested` turns true; remember: called with what the store knows after a commit that failed.
    `group` is the open one; whatever is added to it by others needs `schedule`. `values` counts what was
    taken, `commits` those that were done.
    """

    _log = Logger()

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        sources: Sources,
        upkeep: Upkeep,
        *,
        clock: IReactorTime,
        writer: Worker,
        post: Post,
        haste: Haste,
        ceiling: int,
        remember: Callable[[Kept], None],
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._sources = sources
        self._upkeep = upkeep
        self._clock = clock
        self._writer = writer
        self._post = post
        self._haste = haste
        self._ceiling = ceiling
        self._remember = remember
        self.group = Group()
        self._committing: Group | None = None
        self._due = False
        self._doubtful = False
        self._waiting = 0
        self.values = 0
        self.commits = 0
        self._committed = 0
        self._largest = 0
        self._failures = 0
        self._congested = 0

    @property
    def congested(self) -> bool:
        """Return whether producers should pause until the next commit is done."""
        return self._waiting >= self._ceiling

    @property
    def newest(self) -> Commit | None:
        """Return the commit that carries all that was taken, None if that is on disk."""
        if self._due:
            return self.group.commit
        return None if self._committing is None else self._committing.commit

    def flush(self) -> Deferred[None]:
        """Fire when all that was taken is on disk; fails if it could not be."""
        flushed: Deferred[None] = Deferred()
        commit = self.newest

        def done() -> None:
            if commit is not None and commit.error is not None:
                flushed.errback(Failure(commit.error))
            else:
                flushed.callback(None)

        if commit is None:
            done()
        else:
            commit.when_done(done)
        return flushed

    def append(self, ids: Sequence[int], x: Sequence[float], y: Sequence[float]) -> Commit:
        """Take values; return the commit that carries them."""
        group = self.group
        group.append(ids, x, y)
        self._waiting += len(ids)
        if not self._due:
            self._schedule()
        return group.commit

    def take(
        self, run: Callable[[Database], _T], deferred: Deferred[_T] | None = None, size: int = 0
    ) -> Task[Any]:
        """Take a change that counts as so many values; the deferred fires after the commit."""
        task: Task[Any] = Task(run, deferred, size)
        self.group.add(task)
        self.weigh(size)
        return task

    def weigh(self, size: int) -> None:
        """Let the open group be committed, and count as so many values more."""
        self.group.size += size
        self._waiting += size
        if not self._due:
            self._schedule()

    def void(self, task: Task[Any]) -> None:
        """Let a change of the open group be left out: nobody needs it any more."""
        task.void = True
        self.group.size -= task.size
        self._waiting -= task.size

    def recount(self, ids: Iterable[int], change: Callable[[Database], _T]) -> Deferred[_T]:
        """Take a change of what signals have, whose extent only the disk knows.

        Fires with its result after the commit; then the catalog knows what is left.
        """
        self.settle()
        gaps = {number: self._catalog.leave_gap(number) for number in ids}
        numbers = list(gaps)

        def run(database: Database) -> tuple[_T, dict[int, SignalSummary | None]]:
            return change(database), database.summaries(numbers)

        def changed(found: tuple[_T, dict[int, SignalSummary | None]]) -> _T:
            result, left = found
            for number, gap in gaps.items():
                self._catalog.replace_gap(number, gap, left.get(number))
            return result

        done: Deferred[tuple[_T, dict[int, SignalSummary | None]]] = Deferred()
        self.take(run, done)
        return done.addCallback(changed)

    def settle(self) -> None:
        """Let the catalog know all values that were taken."""
        if self._committing is not None:
            self._count(self._committing)
        self._count(self.group)

    def _count(self, group: Group) -> None:
        for item in group.items:
            if isinstance(item, Values) and item.counted < len(item.ids):
                self.values += len(item.ids) - item.counted
                self._catalog.count(*item.uncounted())
                item.counted = len(item.ids)

    def _schedule(self) -> None:
        self._due = True
        if self._committing is None:
            # The next turn: whatever this one reads from the sockets still travels along.
            self._clock.callLater(0, self._hand_over)

    def _hand_over(self) -> None:
        if not self._due or self._committing is not None:
            return
        group, self.group, self._due = self.group, Group(), False
        rows, forgotten = self._sources.changes()
        if rows or forgotten:
            group.add(Task(lambda database: database.put_sources(rows, forgotten)))
        self._committing = group
        if not self._writer.idle or not self._haste.allows(group):
            self._writer.do(lambda: self._tell(group, self._write(group)))
            return
        began = self._clock.seconds()
        problem = self._write(group)
        self._haste.took(self._clock.seconds() - began)
        if problem is None:
            self._written(group)
        else:
            # To make room, and to read everything again, is nothing that the reactor could wait for.
            self._writer.do(lambda: self._tell(group, problem))

    def _write(self, group: Group) -> Exception | None:
        """Commit a group; return why it failed.

        In the writer's thread, or in the reactor's while the writer has nothing to do.
        """
        try:
            if self._doubtful:
                raise StorageFailed("the store has to be read again after a failure")
            group.write(self._database)
        except Exception as problem:
            # Whatever it was: this thread goes on, and those who wait hear of it.
            return problem
        self._upkeep.look()
        return None

    def _tell(self, group: Group, problem: Exception | None) -> None:
        """Tell the reactor's thread of a commit, after the best was made of one that failed."""
        error: StorageFailed | None = None
        kept: Kept | None = None
        if problem is not None:
            full = self._upkeep.make_room(problem)
            words = "the disk is full" if full else "the disk did not take the data"
            error = StorageFailed(f"{words}: {problem}")
            kept = self._reload()
        self._post(self._written, group, error, kept)

    def _reload(self) -> Kept | None:
        self._doubtful = True
        try:
            self._database.recover()
            kept = self._database.load()
        except Exception:
            return None
        self._doubtful = False
        return kept

    def _written(self, group: Group, error: StorageFailed | None = None, kept: Kept | None = None) -> None:
        self._committing = None
        if error is None:
            self.commits += 1
            self._congested += self.congested
            self._committed += group.size
            self._largest = max(self._largest, group.size)
            self._waiting -= group.size
            self._count(group)
            group.finish(None)
            self._sources.settle()
        else:
            self._failed(group, error, kept)
        if self._due:
            self._schedule()

    def _failed(self, group: Group, error: StorageFailed, kept: Kept | None) -> None:
        # What waits was built on what failed (a signal's number, say): it fails as well.
        self._failures += 1
        waiting, self.group, self._due, self._waiting = self.group, Group(), False, 0
        self._log.error("a commit failed: {problem}", problem=error.message)
        if kept is not None:
            self._remember(kept)
        else:
            # Whatever is taken until they are known again fails with its group.
            self._sources.load([])
        group.finish(error)
        waiting.finish(error)
        self._upkeep.refused()

    def counters(self) -> dict[str, float]:
        """Return figures for people and monitors."""
        self.settle()
        return {
            "values_taken": self.values,
            "values_waiting": self._waiting,
            "commits": self.commits,
            "commits_failed": self._failures,
            "commits_at_once": self._haste.hasty,
            "commits_slow": self._haste.slow,
            "commits_congested": self._congested,
            "values_a_commit": round(self._committed / max(self.commits, 1), 1),
            "largest_commit": self._largest,
        }
