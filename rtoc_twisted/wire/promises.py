"""Answers in their order, none of them before what it says is true."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from zope.interface import implementer

from ..errors import RTOCError
from ..interfaces import ICommit
from .codec import Message

Telling = Callable[[RTOCError | None], Message | None]
"""Makes the message out of a commit's outcome (None, or why it failed); None to say nothing."""


class Promises:
    """Messages in the order in which they were given; one that waits holds back those after it.

    speak: sends messages, at once; None is nothing to say.
    """

    def __init__(self, speak: Callable[[Sequence[Message | None]], None]) -> None:
        self._speak = speak
        self._waiting: deque[tuple[ICommit, Telling]] = deque()
        self._awaited: ICommit | None = None

    def say(self, message: Message | None) -> None:
        """Say it after all that waits."""
        if self._waiting:
            self._waiting.append((self._waiting[-1][0], lambda _: message))
        else:
            self._speak((message,))

    def promise(self, commit: ICommit, tell: Telling) -> None:
        """Say what `tell` makes of the commit's outcome, when the commit is done."""
        self._waiting.append((commit, tell))
        if commit.done:
            self._keep()
        elif commit is not self._awaited:
            self._awaited = commit
            commit.when_done(self._keep)

    def _keep(self) -> None:
        messages = []
        while self._waiting and self._waiting[0][0].done:
            commit, tell = self._waiting.popleft()
            messages.append(tell(commit.error))
        if messages:
            self._speak(messages)

    def forget(self) -> None:
        """Say nothing of what waits."""
        self._waiting.clear()


@implementer(ICommit)
class Together:
    """Several commits as one: done with the last of them, failed as the first that failed."""

    def __init__(self, commits: Sequence[ICommit]) -> None:
        self._commits = commits

    @property
    def done(self) -> bool:
        """Return whether all of them are done."""
        return all(commit.done for commit in self._commits)

    @property
    def error(self) -> RTOCError | None:
        """Return why the first one failed that did, None if none has."""
        return next((commit.error for commit in self._commits if commit.error is not None), None)

    @property
    def durable(self) -> bool:
        """Return whether all of them wait for the disk itself."""
        return all(commit.durable for commit in self._commits)

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call back once all of them are done; at once if they are done already."""
        for commit in self._commits:
            if not commit.done:
                commit.when_done(lambda: self.when_done(callback))
                return
        callback()
