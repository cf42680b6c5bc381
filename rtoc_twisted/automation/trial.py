"""A rule's condition tried once, whether it is at work or not."""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from ..interfaces import IPlugins, IStorage
from .binding import Binding
from .conditions import EvaluationFailed, Unknown
from .live import LiveRule
from .rule import EventRule


class Tried(NamedTuple):
    """What a condition says.

    ok: whether it has a value; said: that in RTOC's words, or why it has none; holds: whether it is true.
    """

    ok: bool
    said: str
    holds: bool


def prepared(
    rule: EventRule, storage: IStorage, plugins: IPlugins, window: int, now: float
) -> Deferred[LiveRule]:
    """Fire with a rule that knows its values, once they are read."""
    live = LiveRule(rule, None, 0)
    ready: Deferred[LiveRule] = Deferred()

    def look(*_: Any) -> None:
        if not (binding.reading() or ready.called):
            ready.callback(live)

    binding = Binding(storage, plugins, window, look)
    binding.bind(live, now)
    look()
    return ready


def tried(live: LiveRule, now: float) -> Tried:
    """Return what a rule's condition says of the values that it knows."""
    try:
        value = live.rule.condition.evaluate(live.values, now)
        return Tried(True, f"Condition is valid\nAnswer: {value}", live.holds(live.values, now))
    except (Unknown, EvaluationFailed) as problem:
        return Tried(False, problem.message, False)
