"""What a run did, in few words: for who tests an action, and for the cause that is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...model import Event, Plot, Samples

_MOST = 100
"""Calls of a run that are told; of the others, how many there were."""

_TEXT = 200
_DEPTH = 3
_ITEMS = 10
"""Letters of a text, levels and items of a value that are told."""


class Calls:
    """The list of what a run did."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []
        self._further = 0

    def add(self, what: str, **fields: Any) -> None:
        """Add a call; what it was about is shortened."""
        if len(self._told) < _MOST:
            self._told.append({"what": what, **{name: brief(value) for name, value in fields.items()}})
        else:
            self._further += 1

    def recorded(self, data: Samples | Plot | Event) -> None:
        """Add data that were recorded."""
        if isinstance(data, Samples):
            self._streamed(data)
        elif isinstance(data, Plot):
            self.add("plot", signal=data.name.key, values=len(data.y), hold=data.hold.value)
        else:
            self.add("event", signal=data.name.key, text=data.text, priority=data.priority, id=data.action_id)

    def _streamed(self, samples: Samples) -> None:
        names = samples.names.names
        newest = dict(zip(names, samples.y, strict=True))
        for name, count in Counter(names).items():
            last = self._told[-1] if self._told else {}
            if last.get("what") == "stream" and last["signal"] == brief(name.key):
                # One script streams the same signal again and again.
                last["values"] += count
                last["newest"] = newest[name]
            else:
                self.add("stream", signal=name.key, values=count, newest=newest[name])

    def told(self) -> Sequence[dict[str, Any]]:
        """Return the calls, and how many more there were."""
        further = [{"what": "further", "count": self._further}] if self._further else []
        return self._told + further


def brief(value: Any, depth: int = _DEPTH) -> Any:
    """Return a JSON value with what is long or deep in it left out."""
    if isinstance(value, str):
        return value if len(value) <= _TEXT else value[: _TEXT - 2] + ".."
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, list | tuple | dict) and not depth:
        return ".."
    if isinstance(value, dict):
        pairs = list(value.items())[:_ITEMS]
        rest = {"..": len(value) - _ITEMS} if len(value) > _ITEMS else {}
        return {brief(str(key)): brief(item, depth - 1) for key, item in pairs} | rest
    if isinstance(value, list | tuple):
        shown = [brief(item, depth - 1) for item in value[:_ITEMS]]
        return [*shown, f".. {len(value) - _ITEMS} more"] if len(value) > _ITEMS else shown
    return value
