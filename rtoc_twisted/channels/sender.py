"""What a channel asks of whatever carries its messages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from twisted.internet.defer import Deferred

from .delivery import Delivery


class Verdict(Enum):
    """What became of a try."""

    DELIVERED = "delivered"
    AGAIN = "again"
    REFUSED = "refused"


@dataclass(frozen=True)
class Outcome:
    """The end of a try. reason: why it failed, without secrets; after: seconds to wait at least."""

    verdict: Verdict
    reason: str = ""
    after: float = 0.0


DELIVERED = Outcome(Verdict.DELIVERED)


class Sender(Protocol):
    """Carries messages."""

    def send(self, delivery: Delivery) -> Deferred[Outcome]:
        """Try once, in bounded time; fires with the outcome, soon if it is cancelled."""
