"""`python -m benchmarks`: hold the contests, print the table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from .loads import CONTESTS, names
from .report import Durability, as_json, closing, heading, machine, table
from .rounds import Outcome, hold
from .servers import running_pair

_LONGEST = 20.0
"""Seconds of a round: a server that heard no answer to its ping in half a minute would hang up."""


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Recording, acknowledged after the commit, against a bare Autobahn server that "
        "decodes the same messages, throws them away and answers. Both take turns in one run.",
    )
    parser.add_argument(
        "--only", action="append", choices=CONTESTS, help="hold this contest; may be repeated"
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each server (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a round (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print every round as JSON instead of the table")
    options = parser.parse_args(given)
    if options.rounds < 1 or not 0 < options.seconds <= _LONGEST:
        parser.error(f"--rounds must be 1 or more, --seconds more than 0 and at most {_LONGEST:g}")
    return options


def run(
    wanted: Sequence[str] | None, rounds: int, seconds: float, directory: Path
) -> tuple[list[Outcome], Durability]:
    """Hold contests, all where none is named, and look what is left of them in the store."""
    with running_pair(directory) as pair:
        outcomes = [hold(name, CONTESTS[name], pair, rounds, seconds) for name in names(wanted)]
        stored = pair.stored_after_kill()
    return outcomes, Durability(sum(outcome.stored for outcome in outcomes), stored)


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
        outcomes, durability = run(options.only, options.rounds, options.seconds, Path(directory))
    if options.json:
        print(json.dumps(as_json(facts, outcomes, durability), indent=1))
    else:
        print(f"{table(outcomes)}\n\n{closing(durability)}")
    return 0 if durability.lost == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
