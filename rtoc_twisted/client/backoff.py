"""How long to wait before the next try to connect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Delays that double up to a limit, each shortened by chance so that clients do not come in step.

    first, limit: seconds. chance: a callable that returns a number in [0, 1), as random.random.
    """

    chance: Callable[[], float]
    first: float = 0.5
    limit: float = 60.0
    _next: float = field(init=False)

    def __post_init__(self) -> None:
        self._next = self.first

    def delay(self) -> float:
        """Return the seconds to wait now: between half of the current delay and all of it."""
        current = self._next
        self._next = min(self.limit, current * 2)
        return current * (0.5 + self.chance() / 2)

    def reset(self) -> None:
        """Start over: a try succeeded."""
        self._next = self.first
