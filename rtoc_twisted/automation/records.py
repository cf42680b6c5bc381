"""What a cause keeps of the runs of actions: enough to see what they did, and too little to fill a disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..wire.codec import check_value, to_json
from .actions import Outcome

MOST: Final = 50
"""Runs after one event of which its cause tells; of further ones, how many there were."""

_LONG: Final = 10_000
"""Characters of an output, of a result, and of all calls together, that are kept of a run."""

_SHORT: Final = 200
"""The same, of each of many runs."""

_AT_ONCE: Final = 1 << 18
_PER_SECOND: Final = 200
"""Characters that all runs together may keep above the latter: at once after a quiet time, and on average."""


class Records:
    """Makes the records of runs, all of them out of one budget. wall: seconds since the epoch."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._budget = float(_AT_ONCE)
        self._at = wall()

    def of(self, name: str, outcome: Outcome) -> dict[str, Any]:
        """Return the record of an action's run; `leftOut` says how many characters of it are not kept.

        Raises BadValue for a result that JSON has no word for.
        """
        check_value(outcome.data if outcome.kind == "value" else None, "result")
        size = len(to_json([_result(outcome, None), outcome.output, outcome.calls]))
        kept = _kept(outcome, _LONG)
        if not self._affords(len(to_json(kept))):
            kept = _kept(outcome, _SHORT)
        left_out = size - len(to_json(list(kept.values())))
        return {
            "action": name,
            "id": outcome.id,
            "ok": outcome.ok,
            **kept,
            "seconds": outcome.seconds,
            **({"leftOut": left_out} if left_out > 0 else {}),
        }

    def _affords(self, size: int) -> bool:
        """Return whether so much may be kept now, and take it out of the budget."""
        now = self._wall()
        self._budget = min(_AT_ONCE, self._budget + max(0.0, now - self._at) * _PER_SECOND)
        self._at = now
        size = max(0, size - _SHORT)
        if size > self._budget:
            return False
        self._budget -= size
        return True


def _kept(outcome: Outcome, most: int) -> dict[str, Any]:
    return {
        "result": _result(outcome, most),
        "output": outcome.output[:most],
        "calls": _calls(outcome.calls, most),
    }


def _result(outcome: Outcome, most: int | None) -> Any:
    """Return what a run gave, at most so many characters: value, text or failure; of a file only its kind."""
    if not outcome.ok:
        return outcome.error[-most:] if most else outcome.error
    if outcome.kind == "text":
        return str(outcome.data)[:most]
    if outcome.kind != "value":
        return None if outcome.kind == "none" else outcome.kind
    text = to_json(outcome.data)
    return outcome.data if most is None or len(text) <= most else text[:most].decode(errors="ignore")


def _calls(calls: Sequence[Mapping[str, Any]], most: int) -> list[Mapping[str, Any]]:
    """Return the first calls, as many as there is room for, and how many more there were."""
    kept: list[Mapping[str, Any]] = []
    further = 0
    for call in calls:
        if call["what"] == "further":
            further += call["count"]
            continue
        most -= len(to_json(call))
        if most < 0:
            further += 1
        else:
            kept.append(call)
    return [*kept, {"what": "further", "count": further}] if further else kept
