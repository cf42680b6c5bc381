"""A rule at work: its alarm, its brake, and the values that its conditions are evaluated with."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from .alarm import Alarm
from .brake import Brake
from .conditions import Unknown, Use, View, values_told
from .rule import EventRule

if TYPE_CHECKING:
    from .feeds import Silence

TICK = 1.0
"""Seconds between two evaluations of a condition that time alone can make true."""

_BESIDE: Final = frozenset(("mute", "latch", "ack", "confirm", "perMinute"))
"""Fields of ours that do not decide whether a rule is active."""


class LiveRule:
    """A rule and how it stands.

    values, off_values: the slots of its two conditions, filled by its feeds; silences: what `nodata` counts.
    events: the numbers of its events that tell how the alarm stands, the newest last, and what each tells.
    problem: why its condition has no value, None while it has one; failing: whether that was logged.
    told_circles: when it was told last that it runs in circles. written_at, writing: up to when its state may
    be written no more (see States), and whether it waits to be. paused: since when it is not evaluated, None
    while it is. place: among all rules, in the order in which they were set first.
    """

    __slots__ = (
        *("alarm", "brake", "events", "failing", "holds", "off_holds", "off_values", "paused"),
        *(
            "place",
            "problem",
            "rule",
            "silences",
            "timely",
            "told_circles",
            "values",
            "writing",
            "written_at",
        ),
    )

    def __init__(
        self, rule: EventRule, state: Mapping[str, Any] | None, per_minute: int, place: int = 0
    ) -> None:
        kept = state or {}
        self.rule = rule
        self.place = place
        self.alarm = Alarm(rule, kept.get("alarm"))
        self.brake = Brake(per_minute if rule.per_minute is None else rule.per_minute)
        # As Outbox left them.
        self.events: dict[int, Mapping[str, Any]] = {}
        if (note := self.note()) is not None:
            self.events = {number: {**note, "active": False} for number in kept.get("events", ())}
            if self.events:
                self.events[next(reversed(self.events))] = note
        self.holds = rule.condition.holds
        self.off_holds = None if rule.off_condition is None else rule.off_condition.holds
        self.values: list[Any] = [None] * len(rule.condition.uses)
        self.off_values: list[Any] = [None] * len(
            () if rule.off_condition is None else rule.off_condition.uses
        )
        self.silences: list[Silence] = []
        self.timely = rule.timely
        self.problem: str | None = None
        self.failing = False
        self.told_circles = -math.inf
        self.paused: float | None = kept.get("paused")
        self.written_at = -math.inf
        self.writing = False

    def inherit(self, old: LiveRule) -> None:
        """Go on with what another form of the rule left behind, whatever this one says; its state apart."""
        self.events, self.told_circles, self.written_at = old.events, old.told_circles, old.written_at
        if self.brake.per_minute == old.brake.per_minute:
            self.brake = old.brake

    def slots(self) -> list[tuple[Use, list[Any], int]]:
        """Return what both conditions need, each with where its value belongs."""
        rule, found = self.rule, []
        for condition, values in ((rule.condition, self.values), (rule.off_condition, self.off_values)):
            if condition is not None:
                found += [(use, values, slot) for slot, use in enumerate(condition.uses)]
        return found

    def depth(self, window: int) -> int:
        """Return at how many samples it looks back; window: at how many of one signal at most."""
        single = (View.LATEST, View.PARAMETER, View.RECEIVED)
        return sum(min(use.samples or window, window) for use in self.rule.uses if use.view not in single)

    def due(self, now: float) -> float | None:
        """Return when something of it happens by itself, None for never."""
        times = [self.alarm.due(now), self.brake.due(), now + TICK if self.timely else None]
        times += [silence.due(now) for silence in self.silences]
        return min((time for time in times if time is not None), default=None)

    def shift(self, seconds: float) -> None:
        """Move all times: the wall clock jumped by that much."""
        self.alarm.shift(seconds)
        self.brake.shift(seconds)
        self.told_circles += seconds
        if self.paused is not None:
            self.paused += seconds
        self.written_at += seconds
        for silence in self.silences:
            silence.shift(seconds)

    def ends(self, now: float) -> bool | None:
        """Return what the rule's `off` says, None where it has none, or nobody knows."""
        try:
            return None if self.off_holds is None else self.off_holds(self.off_values, now)
        except Unknown:
            return None

    def values_told(self) -> dict[str, Any]:
        """Return the values by name, as a cause tells them."""
        told = values_told(self.rule.condition, self.values)
        if self.rule.off_condition is not None:
            told |= values_told(self.rule.off_condition, self.off_values)
        return told

    def told(self) -> dict[str, Any]:
        """Return the alarm's state as clients see it, and why the condition has no value where that is so."""
        told = self.alarm.told()
        return told if self.problem is None else {**told, "problem": self.problem}

    def note(self) -> dict[str, Any] | None:
        """Return how the alarm stands, to be kept with its events; None if nobody wants to know."""
        if not self.rule.wants_ack:
            return None
        told = self.alarm.told()
        kept = ("active", "acknowledged", "confirmed", "latched", "acknowledgedBy", "comment")
        return {"rule": self.rule.name, **{name: told[name] for name in kept}}

    def state(self) -> dict[str, Any]:
        """Return what is to be known after a restart."""
        kept = {"alarm": self.alarm.document(), "events": list(self.events)}
        return kept if self.paused is None else {**kept, "paused": self.paused}


def logic(rule: EventRule) -> tuple[object, ...]:
    """Return what decides whether a rule is active: another form of it begins without memory."""
    given = {key: value for key, value in rule.given.items() if key not in _BESIDE}
    return rule.cond, rule.trigger, given
