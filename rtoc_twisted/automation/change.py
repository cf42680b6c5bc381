"""What can happen to an alarm."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class ChangeKind(Enum):
    """What happened to an alarm; FIRED: an event is to be raised."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    FIRED = "fired"
    ACKNOWLEDGED = "acknowledged"
    CONFIRMED = "confirmed"
    LATCHED = "latched"
    UNLATCHED = "unlatched"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    SUPPRESSED = "suppressed"
    UNSUPPRESSED = "unsuppressed"


class Change(NamedTuple):
    """Something that happened to an alarm, and when (wall time)."""

    kind: ChangeKind
    at: float
