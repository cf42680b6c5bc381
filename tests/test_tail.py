"""The end of the journal in memory says what the journal on disk says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.model import Hold, SignalName, Window
from rtoc_twisted.storage import journal
from rtoc_twisted.storage.tail import Tail
from tests.storage_support import Bench, floats, pairs


def row(*ids: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.array(ids, np.uint32), floats(ids), floats(ids) * 10


class TailTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tail = Tail(limit=6)
        self.tail.begin(empty=True)

    def test_rows_in_one(self) -> None:
        self.tail.add(4, row(1, 2))
        self.tail.add(5, row(2, 3))
        self.assertEqual(self.tail.first(), 4)
        rows = self.tail.rows({})
        self.assertEqual((rows.ids.tolist(), rows.seqs.tolist()), ([1, 2, 2, 3], [4, 4, 5, 5]))
        self.assertEqual((rows.x.tolist(), rows.y.tolist()), ([1, 2, 2, 3], [10, 20, 20, 30]))

    def test_less_what_is_folded(self) -> None:
        self.tail.add(4, row(1, 2))
        self.tail.add(5, row(2, 3))
        rows = self.tail.rows({2: 4, 3: 5})
        self.assertEqual((rows.ids.tolist(), rows.seqs.tolist()), ([1, 2], [4, 5]))

    def test_rows_that_went(self) -> None:
        self.tail.add(4, row(1, 2))
        self.tail.add(5, row(2, 3))
        self.tail.drop(4)
        self.assertEqual(self.tail.first(), 5)
        self.tail.drop(5)
        self.assertIsNone(self.tail.first())

    def test_too_many_values_are_for_the_disk(self) -> None:
        for seq in range(4):
            self.tail.add(seq, row(1, 2))
        self.assertIsNone(self.tail.first())
        self.tail.begin(empty=True)
        self.tail.add(9, row(1))
        self.assertEqual(self.tail.first(), 9)

    def test_a_journal_that_was_there_is_for_the_disk(self) -> None:
        self.tail.begin(empty=False)
        self.tail.add(4, row(1))
        self.assertIsNone(self.tail.first())


class FoldTests(SynchronousTestCase):
    """Folding out of memory, step by step, while values come."""

    def test_values_that_come_between_the_steps_are_folded_the_next_time(self) -> None:
        self.patch(journal, "STEP_VALUES", 2)
        bench = Bench(Path(self.mktemp()).resolve())
        self.addCleanup(bench.close)
        signals = bench.storage.add_signals([SignalName("d", name) for name in "abc"])
        ids = [signal.id for signal in signals]
        number = 0
        expected: dict[int, list[tuple[float, float]]] = {number: [] for number in ids}

        def append() -> None:
            nonlocal number
            number += 1
            bench.storage.append(ids, [number] * 3, [number] * 3)
            for signal_id in ids:
                expected[signal_id].append((number, number))
            bench.pump()

        for turn in range(5):
            append()
            append()
            for _ in range(2):
                bench.database.fold_step()
            # The fold goes on between these.
            append()
            append()
            bench.database.fold()
            if turn == 2:
                bench.storage.replace(ids[1], floats([7.0]), floats([8.0]))
                expected[ids[1]] = [(7.0, 8.0)]
            if turn == 3:
                bench.storage.merge(ids[2], floats([-1.0]), floats([-2.0]), Hold.MERGE_X, lambda x, y: None)
                expected[ids[2]].append((-1.0, -2.0))
            bench.pump()
        append()
        self.assertIsNotNone(bench.database.journal._tail.first())
        for _ in range(2):
            found = bench.result(bench.storage.read([(signal_id, Window()) for signal_id in ids]))
            self.assertEqual({key: pairs(part) for key, part in zip(ids, found, strict=True)}, expected)
            bench.reopen()
