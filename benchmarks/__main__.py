"""`python -m benchmarks`: hold the contests, print the table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from .loads import CONTESTS, names
from .plugged import PLUGGED
from .report import Durability, as_json, closing, heading, line_table, machine, table
from .rounds import Outcome, hold
from .rules import RULED
from .servers import running_pair
from .stored import STORED, Line, Stores

_LINES = STORED | PLUGGED | RULED
_LONGEST = 20.0
"""Seconds of a round: a server that heard no answer to its ping in half a minute would hang up."""


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Recording, acknowledged after the commit, against a bare Autobahn server that "
        "decodes the same messages, throws them away and answers; then what is stored, read and decimated "
        "or encoded against one that does it all for each question; then plugins, and rules. Both sides "
        "take turns in one run.",
    )
    parser.add_argument(
        "--only", action="append", choices=[*CONTESTS, *_LINES], help="hold this contest; may be repeated"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each server (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round (default: %(default)s)")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="of the stores: 1 is 10^6 and 10^8 points (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print every round as JSON instead of the table")
    options = parser.parse_args(given)
    if options.rounds < 1 or not 0 < options.seconds <= _LONGEST:
        parser.error(f"--rounds must be 1 or more, --seconds more than 0 and at most {_LONGEST:g}")
    if not 0 < options.scale <= 1:
        parser.error("--scale must be more than 0 and at most 1")
    return options


def run_loads(
    wanted: Sequence[str], rounds: int, seconds: float, directory: Path
) -> tuple[list[Outcome], Durability | None]:
    """Hold contests of loads, and look what is left of them in the store."""
    if not wanted:
        return [], None
    with running_pair(directory) as pair:
        outcomes = [hold(name, CONTESTS[name], pair, rounds, seconds) for name in wanted]
        stored = pair.stored_after_kill()
    return outcomes, Durability(sum(outcome.stored for outcome in outcomes), stored)


def run_stored(
    wanted: Sequence[str], rounds: int, seconds: float, directory: Path, scale: float
) -> list[Line]:
    """Hold contests about what is stored, about plugins and about rules."""
    stores = Stores(directory, scale)
    return [line for name in wanted for line in _LINES[name](stores, rounds, seconds)]


def main(given: Sequence[str]) -> int:
    """Run the benchmarks and return the exit code: 1 if an acknowledged value is missing."""
    options = arguments(given)
    with TemporaryDirectory(prefix="rtoc-benchmarks-") as directory:
        facts = machine(Path(directory))
        if not options.json:
            print(heading(facts))
            print(
                f"medians of {options.rounds} rounds of {options.seconds:g} s, (least..greatest)\n",
                flush=True,
            )
        rounds, seconds = options.rounds, options.seconds
        outcomes, durability = run_loads(names(CONTESTS, options.only), rounds, seconds, Path(directory))
        lines = run_stored(names(_LINES, options.only), rounds, seconds, Path(directory), options.scale)
    if options.json:
        print(json.dumps(as_json(facts, outcomes, durability, lines), indent=1))
    else:
        print("\n\n".join(_said(outcomes, durability, lines)))
    return 0 if durability is None or durability.lost == 0 else 1


def _said(outcomes: list[Outcome], durability: Durability | None, lines: list[Line]) -> Iterator[str]:
    if durability is not None:
        yield table(outcomes)
        yield closing(durability)
    if lines:
        yield line_table(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
