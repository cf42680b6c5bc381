"""What the benchmarks say: about the machine, about each contest, about the store."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from .rounds import Outcome, Round, Rounds, middle

_PACKAGES = ("rtoc_twisted", "Twisted", "autobahn", "orjson", "msgspec", "numpy")
_COLUMNS = ("load", "peer", "rtoc", "ratio", "reach", "CPU us a message", "busy")


@dataclass(frozen=True)
class Durability:
    """What our server acknowledged over all contests, and what it found after a kill -9 and a new start."""

    acknowledged: int
    stored: int

    @property
    def lost(self) -> int:
        """Return how many acknowledged values are not there; negative if there are too many."""
        return self.acknowledged - self.stored


def machine(directory: Path) -> dict[str, str]:
    """Return the facts that the figures hang on. directory: where the store is."""
    mounts = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    place = next(path for path in (directory.resolve(), *directory.resolve().parents) if path in mounts)
    facts = {
        "cores": str(os.cpu_count()),
        "load": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.machine()}",
        "store on": mounts[place],
        platform.python_implementation(): platform.python_version(),
    }
    return facts | {package: version(package) for package in _PACKAGES}


def heading(facts: dict[str, str]) -> str:
    """Return the lines before the table."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table, medians with (least..greatest) of each side."""
    rows = [_COLUMNS, *map(_row, outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        line.rstrip() for line in (lines[0], "  ".join("-" * width for width in widths), *lines[1:])
    )


def _row(outcome: Outcome) -> tuple[str, ...]:
    sides = outcome.peer, outcome.ours
    if outcome.contest.round_trip:
        figures = [_round_trip(rounds) for rounds in sides]
        reach = "<="
    else:
        figures = [_spread(rounds, lambda one: one.rate, "{:,.0f}") + "/s" for rounds in sides]
        reach = ">="
    cpu = [middle(rounds, lambda one: one.cpu_a_message) for rounds in sides]
    busy = [middle(rounds, lambda one: one.server_share) for rounds in sides]
    client = [middle(rounds, lambda one: one.client_share) for rounds in sides]
    ratio = f"{outcome.ratio:.2f}" + ("" if outcome.reached else " !")
    return (
        outcome.contest.load.title,
        *figures,
        ratio,
        f"{reach} {outcome.contest.reach}",
        f"{cpu[0] * 1e6:.1f} : {cpu[1] * 1e6:.1f} ({cpu[0] / cpu[1] if cpu[1] else 0:.2f})",
        f"{busy[0]:.0%} : {busy[1]:.0%}, client {client[0]:.0%} : {client[1]:.0%}",
    )


def _spread(rounds: Rounds, figure: Callable[[Round], float], form: str) -> str:
    figures = [figure(one) for one in rounds]
    least, greatest = form.format(min(figures)), form.format(max(figures))
    return f"{form.format(middle(rounds, figure))} ({least}..{greatest})"


def _round_trip(rounds: Rounds) -> str:
    p50 = middle(rounds, lambda one: one.p50 * 1e6)
    return f"p50 {p50:.0f} us, p99 {_spread(rounds, lambda one: one.p99 * 1e6, '{:.0f}')} us"


def closing(durability: Durability) -> str:
    """Return the line about the store."""
    found = f"{durability.stored:,} of {durability.acknowledged:,} acknowledged values"
    verdict = "none lost" if durability.lost == 0 else f"WRONG by {durability.lost:,}"
    return f"after kill -9 and a new start the store holds {found}: {verdict}"


def as_json(facts: dict[str, str], outcomes: Sequence[Outcome], durability: Durability) -> dict[str, Any]:
    """Return everything measured, for programs."""
    return {
        "machine": facts,
        "outcomes": {
            outcome.name: {
                "title": outcome.contest.load.title,
                "ratio": outcome.ratio,
                "reach": outcome.contest.reach,
                "reached": outcome.reached,
                "peer": [asdict(one) for one in outcome.peer],
                "rtoc": [asdict(one) for one in outcome.ours],
            }
            for outcome in outcomes
        },
        "durability": asdict(durability),
    }
