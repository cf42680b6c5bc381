"""What a store remembers when it is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..model import FloatColumn, Signal, SignalSummary
from .catalog import IdColumn
from .salvage import Salvaged
from .sources import Row


@dataclass(frozen=True)
class Kept:
    """What a store remembers at its start; the journal's columns are not in the summaries yet.

    damaged: how many samples of the journal could not be read, and were set aside; salvaged: what became
    of the store if it was damaged.
    """

    devices: list[tuple[int, str]]
    signals: list[tuple[Signal, SignalSummary | None]]
    journal: tuple[IdColumn, FloatColumn, FloatColumn]
    documents: dict[str, Any]
    sources: list[Row]
    last_device: int
    last_signal: int
    last_event: int
    damaged: int
    salvaged: Salvaged | None = None
