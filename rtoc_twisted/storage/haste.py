"""Which commits are so short that the thread of the reactor does them itself."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from .group import Group

SHORT_VALUES = 16_384
"""Values of a group that is written in about a millisecond."""

SLOW_SECONDS = 0.01
"""A commit that took longer says that the disk is not to be waited for."""

CAUTIOUS_SECONDS = 10.0
"""How long the writer's thread does all commits after a slow one."""


class Haste:
    """Lets short commits be done at once, as long as the disk takes them at once.

    A commit that does not wait for the disk copies its pages to the operating system, which is less
    work than to wake another thread and to share the interpreter with it. Where that takes long (a
    memory card that cannot keep up), the writer's thread does the commits for some time.

    allowed: False where each commit waits for the disk. Counters: `hasty` commits done at once, `slow`
    those among them that took long.
    """

    def __init__(self, clock: IReactorTime, *, allowed: bool) -> None:
        self._clock = clock
        self._allowed = allowed
        self._cautious_until = 0.0
        self.hasty = 0
        self.slow = 0

    def allows(self, group: Group) -> bool:
        """Return whether a group may be committed in the reactor's thread."""
        return (
            self._allowed
            and group.short
            and group.size <= SHORT_VALUES
            and not group.commit.durable
            and self._clock.seconds() >= self._cautious_until
        )

    def took(self, seconds: float) -> None:
        """Take note of how long a commit took."""
        self.hasty += 1
        if seconds > SLOW_SECONDS:
            self.slow += 1
            self._cautious_until = self._clock.seconds() + CAUTIOUS_SECONDS
