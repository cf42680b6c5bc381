"""When a rule fires: the five triggers of RTOC (protocol section 5, automation)."""

from __future__ import annotations

from enum import Enum


class Trigger(Enum):
    """What of an alarm raises an event, in the words of the wire.

    RISING, FALLING and BOTH are edges: the alarm becomes active, inactive, or either. TRUE and FALSE are
    levels: each evaluation fires while the alarm is active, or inactive. An alarm that never was evaluated
    counts as inactive, which is what RTOC's missing memory means: true at once is a rising edge, and a
    falling one needs a true before.
    """

    RISING = "rising"
    FALLING = "falling"
    BOTH = "both"
    TRUE = "true"
    FALSE = "false"

    @property
    def level(self) -> bool | None:
        """The level at which every evaluation fires; None for an edge."""
        return {Trigger.TRUE: True, Trigger.FALSE: False}.get(self)

    def fires_at(self, active: bool) -> bool:
        """Return whether this is an edge, and the one that made the alarm active or inactive."""
        return self is Trigger.BOTH or self is (Trigger.RISING if active else Trigger.FALLING)
