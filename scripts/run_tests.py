"""Run the tests with trial and close with the line `N passed, N failed`."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.reporter import Reporter, TreeReporter
from twisted.trial.runner import TestLoader, TrialRunner


def run(names: list[str]) -> Reporter:
    """Run the named packages, modules, classes or methods in this process.

    Returns trial's reporter, after its report. A module that cannot be imported is an error in it.
    """
    suite = TestLoader().loadByNames(names, recurse=True)
    return TrialRunner(TreeReporter).run(suite)


def closing(result: Reporter) -> tuple[str, int]:
    """Return the closing line and the exit code.

    Errors and unexpected successes count as failed, expected failures as passed. The code is 0 only where
    something ran, nothing failed and nobody interrupted the run.
    """
    passed = result.successes + len(result.expectedFailures)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    line = f"{passed} passed, {failed} failed"
    if result.skips:
        line += f", {len(result.skips)} skipped"
    return line, 0 if passed and not failed and not result.shouldStop else 1


def main(names: list[str]) -> int:
    """Run the named tests, all of `tests` where none is named, and return the exit code."""
    sys.path.insert(0, str(Path.cwd()))
    line, code = closing(run(names or ["tests"]))
    sys.stderr.flush()
    print(line, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
