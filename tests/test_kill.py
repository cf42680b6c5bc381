"""What was acknowledged survives kill -9, whenever it comes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.model import Window
from tests.kill_child import NAME
from tests.storage_support import Bench, pairs

ROOT = Path(__file__).parent.parent
ROUNDS = 10


class KillTest(SynchronousTestCase):
    """A real process with the real reactor and the real writer, killed again and again."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()

    def run_child(self, first: int, lines: int) -> int:
        """Kill a child after that many acknowledgements; return the newest that it ever gave."""
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.kill_child", self.directory, str(first)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        with child.stdout as output:
            for _ in range(lines):
                self.assertNotEqual(output.readline(), b"", "the child ended by itself")
            child.kill()
            # What is in the pipe was acknowledged; a line cut short was not.
            rest = output.read()
        child.wait()
        whole = rest[: rest.rfind(b"\n") + 1].split()
        return int(whole[-1]) if whole else first + 6 * lines - 1

    def stored(self) -> list[tuple[float, float]]:
        bench = Bench(self.directory)
        signal = bench.storage.find(NAME)
        assert signal is not None
        (columns,) = bench.result(bench.storage.read([(signal.id, Window())]))
        summary = bench.storage.summary(signal.id)
        self.assertEqual((summary.count, summary.last_y), (len(columns.y), columns.y[-1]))
        bench.close()
        return pairs(columns)

    def test_nothing_acknowledged_is_lost(self) -> None:
        chance = random.Random(20)
        first = 0
        for _ in range(ROUNDS):
            newest = self.run_child(first, chance.randint(1, 200))
            found = self.stored()
            self.assertGreaterEqual(len(found), newest + 1)
            self.assertEqual(found, [(float(number), float(number)) for number in range(len(found))])
            first = len(found)
