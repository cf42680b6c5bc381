"""The script behind `make test`, run on small made-up test modules."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

SCRIPT = Path(__file__).parent.parent / "scripts" / "run_tests.py"

PASSING = "def test_a(self): pass\n    def test_b(self): pass"
FAILING = "def test_a(self): pass\n    def test_b(self): self.fail('no')\n    def test_c(self): 1 / 0"
SKIPPING = "def test_a(self): pass\n    def test_b(self): pass\n    test_b.skip = 'why'"
INTERRUPTED = "def test_a(self): pass\n    def test_b(self): raise KeyboardInterrupt"


class RunTestsTest(SynchronousTestCase):
    def run_module(self, source: str) -> tuple[str, int]:
        """Run a module as `tests/test_it.py`; return the last line printed and the exit code."""
        checkout = Path(self.mktemp())
        tests = checkout / "tests"
        tests.mkdir(parents=True)
        (tests / "__init__.py").touch()
        (tests / "test_it.py").write_text(source)
        done = subprocess.run(
            [sys.executable, SCRIPT],
            cwd=checkout,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout.splitlines()[-1], done.returncode

    def run_case(self, body: str) -> tuple[str, int]:
        return self.run_module(
            f"from twisted.trial.unittest import TestCase\nclass ItTest(TestCase):\n    {body}\n"
        )

    def test_passed(self) -> None:
        self.assertEqual(self.run_case(PASSING), ("2 passed, 0 failed", 0))

    def test_failures_and_errors_are_failed(self) -> None:
        self.assertEqual(self.run_case(FAILING), ("1 passed, 2 failed", 1))

    def test_skipped_are_told(self) -> None:
        self.assertEqual(self.run_case(SKIPPING), ("1 passed, 0 failed, 1 skipped", 0))

    def test_module_that_cannot_be_imported_failed(self) -> None:
        self.assertEqual(self.run_module("import no_such_module"), ("0 passed, 1 failed", 1))

    def test_no_test_at_all_is_no_success(self) -> None:
        self.assertEqual(self.run_module(""), ("0 passed, 0 failed", 1))

    def test_interrupted_run_is_failed(self) -> None:
        self.assertEqual(self.run_case(INTERRUPTED), ("1 passed, 1 failed", 1))
