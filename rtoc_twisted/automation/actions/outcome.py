"""How runs of scripts are limited, and how they went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ScriptPolicy:
    """What a run of a script may take.

    seconds: of wall time, 0 for any, unless the action says another; memory: bytes; at_once: runs at the
    same time, of those whose time is limited; files, network: whether the sandbox lets scripts use them.
    """

    seconds: float = 10.0
    memory: int = 256 << 20
    at_once: int = 2
    files: bool = False
    network: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a run went.

    id: of the run, a number as text; output: what it printed; error: "" or why it failed, with the script's
    lines; kind, data: what it returned, kind "none", "text", "picture" or "document" (bytes, or the path of a
    file) or "value", any JSON of which what is long is left out; seconds: from its begin to its end.
    calls: what it did, {"what": "stream" | "plot" | "event" | "notify" | "set" | "call" | "clear" | "export",
    ..}, the first 100, and then {"what": "further", "count": n}.
    """

    id: str
    ok: bool
    output: str = ""
    error: str = ""
    kind: str = "none"
    data: Any = None
    calls: Sequence[Mapping[str, Any]] = ()
    seconds: float = 0.0

    @property
    def told(self) -> str:
        """Return what `testAction` answers as its value: RTOC's sentence, or the script's traceback."""
        return f"Action is valid\nAnswer: {self.output}" if self.ok else self.error
