"""What was acknowledged survives kill -9, whenever it comes."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.model import Buckets, SignalName, Window
from rtoc_twisted.storage.reader import Reader
from rtoc_twisted.storage.verify import verify
from tests.kill_child import NAME, OLD
from tests.nursery import Nursery
from tests.storage_support import Bench

ROUNDS = int(os.environ.get("ROUNDS", "20"))
"""How often each test kills; `make torture` asks for more."""

LARGEST, LARGEST_AGAIN = 50_000, 3_000
"""Values, after which to look at all of them, or to send them again, takes too long."""


class KillTest(SynchronousTestCase):
    """A real process with the real reactor and the real writer, killed again and again."""

    def setUp(self) -> None:
        self.begin()
        self.nursery = Nursery()
        self.addCleanup(self.nursery.close)

    def begin(self) -> None:
        """Go on with a new store."""
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        self.path = self.directory / "rtoc.sqlite"

    def run_child(self, first: int, lines: int, module: str = "tests.kill_child") -> int:
        """Kill a child after that many acknowledgements; return the newest that it ever gave."""
        self.nursery.start(module, self.directory, first)
        for _ in range(lines):
            newest = self.nursery.read()
        # What is in the pipe was acknowledged.
        return int([newest, *self.nursery.kill()][-1])

    def sql(self, query: str, *values: object) -> list[tuple[int, ...]]:
        with closing(sqlite3.connect(self.path)) as sql:
            return sql.execute(query, values).fetchall()

    def check(self, newest: int) -> int:
        """Check what is stored, by readers that repair nothing; return the number of values."""
        contents = verify(self.path)
        self.assertEqual(contents.problems, ())
        reader = Reader(self.path)
        (columns,) = reader.read([(self.id_of(NAME), Window())])
        count = len(columns.y)
        np.testing.assert_array_equal(columns.x, np.arange(count))
        np.testing.assert_array_equal(columns.y, np.arange(count))
        self.assertGreaterEqual(count, newest + 1)
        if self.sql("SELECT id FROM signals WHERE name = ?", OLD.name):
            # What is left of these are sums.
            (sums,) = reader.aggregate([(self.id_of(OLD), Window(), Buckets(60.0))])
            self.assertEqual((sums.count.sum(), sums.total.sum()), (count, sum(range(count))))
        reader.close()
        return count

    def id_of(self, name: SignalName) -> int:
        ((number,),) = self.sql("SELECT id FROM signals WHERE name = ?", name.name)
        return number

    def check_summary(self, count: int) -> None:
        """Check that a store that is opened as usual has as many values."""
        bench = Bench(self.directory)
        summary = bench.storage.summary(self.id_of(NAME))
        self.assertEqual((summary.count, summary.last_y), (count, count - 1))
        bench.close()

    def test_nothing_acknowledged_is_lost(self) -> None:
        chance = random.Random(20)
        count = 0
        kinds: set[tuple[int, ...]] = set()
        for _ in range(ROUNDS):
            if count > LARGEST:
                self.begin()
                count = 0
            count = self.check(self.run_child(count, chance.randint(1, 200)))
            kinds.update(self.sql("SELECT DISTINCT packed FROM chunks"))
        # The kills came among all that the store does beside commits.
        self.assertEqual(kinds, {(0,), (1,), (2,)})
        self.check_summary(count)

    def test_what_is_sent_again_is_stored_once(self) -> None:
        chance = random.Random(21)
        count = again = 0
        for _ in range(ROUNDS):
            if count > LARGEST_AGAIN:
                self.begin()
                count = 0
            first = chance.randint(0, count)
            again += count - first
            newest = self.run_child(first, count - first + chance.randint(1, 200), "tests.resend_child")
            count = self.check(newest)
        self.assertGreater(again, 0)
        self.check_summary(count)
