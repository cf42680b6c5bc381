"""The promise of a group commit."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger
from zope.interface import implementer

from ..errors import RTOCError
from ..interfaces import ICommit


@implementer(ICommit)
class Commit:
    """What all writes of one group wait for; done once, with or without an error."""

    __slots__ = ("_callbacks", "done", "durable", "error")
    _log = Logger()

    def __init__(self) -> None:
        self.done = False
        self.durable = False
        self.error: RTOCError | None = None
        self._callbacks: list[Callable[[], None]] = []

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call back once the commit is done; at once if it is done already."""
        if self.done:
            callback()
        else:
            self._callbacks.append(callback)

    def finish(self, error: RTOCError | None = None) -> None:
        """Declare the group stored, or failed; tell everybody who waits, in the order of asking."""
        self.done = True
        self.error = error
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                # One that waits is no reason to leave the others waiting.
                self._log.failure("a callback of a commit failed")


def stored() -> Commit:
    """Return a commit that is done."""
    commit = Commit()
    commit.finish()
    return commit
