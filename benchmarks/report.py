"""What the benchmarks say: about the machine, about each contest, about the stores."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from .rounds import Outcome, Round, Rounds, middle
from .stored import Figure, Line

_PACKAGES = ("rtoc_twisted", "Twisted", "autobahn", "orjson", "msgspec", "numpy")
_COLUMNS = ("load", "peer", "rtoc", "ratio", "reach", "CPU us a message", "busy")
_LINE_COLUMNS = ("stored", "peer", "rtoc", "ratio", "reach", "CPU ms")


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
    return _aligned([_COLUMNS, *map(_row, outcomes)])


def line_table(lines: Sequence[Line]) -> str:
    """Return the lines about what is stored as a table, medians with (least..greatest) of each side."""
    return _aligned([_LINE_COLUMNS, *map(_line_row, lines)])


def _aligned(rows: Sequence[Sequence[str]]) -> str:
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


def _line_row(line: Line) -> tuple[str, ...]:
    sides = line.peer, line.ours
    reach = line.reach
    return (
        line.title,
        *(f"{_figures(side)} {line.unit}" if side else "-" for side in sides),
        f"{line.judged:.2f}" + ("" if line.reached else " !"),
        f"{'>=' if reach.at_least else '<='} {reach.number}{f' {line.unit}' if reach.absolute else ''}",
        " : ".join(_cpu(side) for side in sides),
    )


def _figures(side: Sequence[Figure]) -> str:
    values = [one.value for one in side]
    return f"{median(values):.1f} ({min(values):.1f}..{max(values):.1f})"


def _cpu(side: Sequence[Figure]) -> str:
    return f"{median(one.cpu for one in side) * 1e3:.1f}" if any(one.cpu for one in side) else "-"


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


def as_json(
    facts: dict[str, str],
    outcomes: Sequence[Outcome],
    durability: Durability | None,
    lines: Sequence[Line],
) -> dict[str, Any]:
    """Return everything measured, for programs; durability: None if nothing was sent."""
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
        "durability": None if durability is None else asdict(durability),
        "stored": {
            line.name: {
                "title": line.title,
                "unit": line.unit,
                "judged": line.judged,
                "reach": line.reach.number,
                "reached": line.reached,
                "peer": [asdict(one) for one in line.peer],
                "rtoc": [asdict(one) for one in line.ours],
            }
            for line in lines
        },
    }
