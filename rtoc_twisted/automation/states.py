"""How alarms stand, on disk, so that they stand so after a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..interfaces import ICommit, IStorage
from .live import LiveRule
from .rule import EventRule

_PREFIX: Final = "automation/state/"
_RECEIVED: Final = "automation/received"

_SOON: Final = 0.1
"""Seconds between two writings of a restless state, unless it is told: an event goes with its state."""

_CREDIT: Final = 1.0
"""Seconds without a writing that count for further ones at once."""

_AGAIN: Final = 1.0
"""Seconds after which a state is written again that could not be."""

_PRECISION: Final = 20
"""The parts of its shortest `nodata` to which it is known when a signal said something last."""

_OFTEN, _SELDOM = 0.5, 10.0
"""Seconds between two writings of these times."""


class States:
    """Writes the states of alarms, and when signals said something last.

    received: returns the latter, with the seconds of the shortest `nodata`; wall: seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self,
        storage: IStorage,
        clock: IReactorTime,
        wall: Callable[[], float],
        received: Callable[[], tuple[Mapping[str, float], float]],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._wall = wall
        self._received = received
        self._waiting: dict[str, LiveRule] = {}
        self._timer: IDelayedCall | None = None
        self._noting: IDelayedCall | None = None
        self._written: Mapping[str, float] = {}

    def load(self, rules: Iterable[EventRule], per_minute: int) -> list[LiveRule]:
        """Return these rules at work, each as its alarm stood; states of rules that are gone are removed.

        per_minute: the brake of a rule that does not say.
        """
        documents = {
            key.removeprefix(_PREFIX): kept for key, kept in self._storage.documents(_PREFIX).items()
        }
        now = self._wall()
        found = []
        for place, rule in enumerate(rules):
            kept = documents.pop(rule.name, {})
            live = LiveRule(rule, kept, per_minute, place)
            if kept.get("at", now) > now:
                # The clock was put back while the server was off, or is not set yet: no time went by.
                live.shift(now - kept["at"])
            found.append(live)
        for name in documents:
            self.forget(name)
        return found

    def load_received(self) -> Mapping[str, float]:
        """Return when signals said something last before the server's end."""
        kept, now = self._storage.document(_RECEIVED), self._wall()
        return {key: min(moment, now) for key, moment in kept.items()} if isinstance(kept, dict) else {}

    def changed(self, live: LiveRule, now: float) -> None:
        """Write the state of a rule: now, in the commit of what changed it, or soon if it is restless."""
        if live.writing:
            return
        if max(live.written_at, now - _CREDIT) + _SOON <= now:
            self.write(live, now)
            return
        live.writing = True
        self._waiting[live.rule.name] = live
        self._write_later(_SOON)

    def write(self, live: LiveRule, now: float) -> ICommit:
        """Write the state of a rule now; return the commit."""
        live.writing = False
        live.written_at = max(live.written_at, now - _CREDIT) + _SOON
        live.alarm.dirty = False
        self._waiting.pop(live.rule.name, None)
        commit = self._storage.put_document(_PREFIX + live.rule.name, {**live.state(), "at": now})
        commit.when_done(partial(self._done, live, commit))
        return commit

    def _done(self, live: LiveRule, commit: ICommit) -> None:
        if commit.error is not None:
            self._log.error(
                "the state of {rule} is not stored: {problem}", rule=live.rule.name, problem=str(commit.error)
            )
            self._waiting[live.rule.name] = live
            self._write_later(_AGAIN)

    def _write_later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._write_waiting)

    def _write_waiting(self) -> None:
        self._timer = None
        now = self._wall()
        for live in list(self._waiting.values()):
            self.write(live, now)

    def forget(self, name: str) -> None:
        """Remove the state of a rule."""
        self._waiting.pop(name, None)
        self._storage.put_document(_PREFIX + name, None)

    def heard(self) -> None:
        """Write from time to time when signals said something last; called again and again."""
        if self._noting is None:
            seconds = min(max(self._received()[1] / _PRECISION, _OFTEN), _SELDOM)
            self._noting = self._clock.callLater(seconds, self._write_received)

    def _write_received(self) -> None:
        self._noting = None
        received, _ = self._received()
        if received != self._written:
            self._written = received
            self._storage.put_document(_RECEIVED, received)

    def stop(self) -> None:
        """Write now what waits."""
        for timer in (self._timer, self._noting):
            if timer is not None:
                timer.cancel()
        self._timer = self._noting = None
        self._write_waiting()
        self._write_received()
