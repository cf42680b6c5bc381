"""Events of rules: with their causes, within the brake, and not in circles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from ..interfaces import IStorage
from ..model import HIDDEN_DEVICE, Event, SignalName
from .brake import Brake
from .chain import DEEPEST, Chain, Link, new_link
from .live import LiveRule

SERVER = SignalName(HIDDEN_DEVICE, "")
_NOWHERE: Final = SignalName("noDevice", "noName")
_WARNING: Final = 1
MINUTE: Final = 60.0
"""Seconds between two events that tell the same."""

_ALL_PER_MINUTE: Final = 12_000
_ALL_AT_ONCE: Final = 2000
"""Events of all rules together; so many at once take the server some tenths of a second."""

NOTICES: Final = ("brake", "circle")
"""What a cause is `by` whose event tells what automation did not do: nothing follows from it."""

Sample = Mapping[str, Any]
"""The sample that an evaluation was for: {signal, x, y}."""


class Raising:
    """Makes the events of rules.

    emit: takes each, in order; braked, circles: how many were left out.
    """

    def __init__(self, storage: IStorage, chain: Chain, emit: Callable[[LiveRule, Event], None]) -> None:
        self._storage = storage
        self._chain = chain
        self._emit = emit
        self._all = Brake(_ALL_PER_MINUTE, _ALL_AT_ONCE)
        self.braked = 0
        self.circles = 0

    def fire(self, live: LiveRule, now: float, sample: Sample | None) -> None:
        """Raise the event of a rule, unless there are too many of it or of all, or it follows from itself."""
        link = self._chain.now()
        if link is not None and link.depth >= DEEPEST:
            self.circles += 1
            if now - live.told_circles >= MINUTE:
                live.told_circles = now
                self._tell(
                    live, now, "circle", f"{live.rule.name}: not fired, it would follow from itself", link
                )
        elif not live.brake.allow(now):
            self.braked += 1
            self.look_at_brake(live, now)
        elif not self._all.allow(now):
            self.braked += 1
            self._look_at_all(live, now)
        else:
            # A chain's name is made of chance, which costs more than all else that a storm does here.
            self._emit(live, self._event(live, now, sample, link or new_link(), "rule"))
            self._look_at_all(live, now)

    def look_at_brake(self, live: LiveRule, now: float) -> None:
        """Tell that a rule's storm of events began or is over, where that is news."""
        news = live.brake.news(now)
        if news is not None:
            self._tell(live, now, "brake", f"{live.rule.name}: {news.text}", new_link())

    def _look_at_all(self, live: LiveRule, now: float) -> None:
        news = self._all.news(now)
        if news is not None:
            self._tell(live, now, "brake", f"all rules together: {news.text}", new_link())

    def test(self, live: LiveRule, now: float) -> Event:
        """Return the event of a rule that somebody tries; it does not stand for its alarm."""
        return replace(self._event(live, now, None, new_link(), "test"), alarm=None)

    def _tell(self, live: LiveRule, now: float, by: str, text: str, link: Link) -> None:
        self._emit(live, notice(text, now, {**beginning(link, by, now), "rule": live.rule.name}))

    def _event(self, live: LiveRule, now: float, sample: Sample | None, link: Link, by: str) -> Event:
        rule = live.rule
        cause = {
            **beginning(link, by, now),
            "rule": rule.name,
            "trigger": rule.trigger.value,
            "cond": rule.cond,
            "values": live.values_told(),
            "sample": sample,
        }
        return Event(
            self._name(live),
            rule.text,
            now,
            rule.priority,
            rule.action_id,
            rule.value,
            alarm=live.note(),
            cause=cause,
        )

    def _name(self, live: LiveRule) -> SignalName:
        """Return whose event it is: by the rule, else that of the first signal that its condition names."""
        rule = live.rule
        if rule.dname or rule.sname:
            return SignalName(rule.dname, rule.sname)
        for use in rule.condition.uses:
            signal = self._storage.resolve(use.key)
            if signal is not None:
                return signal.name
        return _NOWHERE


def notice(text: str, now: float, cause: Mapping[str, Any]) -> Event:
    """Return an event that tells what is not done; its cause is `by` one of NOTICES."""
    return Event(SERVER, text, now, _WARNING, cause=cause)


def beginning(link: Link, by: str, now: float) -> dict[str, Any]:
    """Return what all causes begin with: where in a chain they are, and who did it."""
    return {
        "id": link.id,
        "depth": link.depth + 1,
        "parent": link.parent,
        "by": by,
        "at": now,
        "actions": [],
    }
