"""The catalog's own rules: names, and sums that know their order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.model import Signal, SignalName, SignalSummary
from rtoc_twisted.storage import catalog as module
from rtoc_twisted.storage.catalog import Catalog, join, split, summarize
from tests.storage_support import assert_same_summary, floats, unhurried

A, B = SignalName("one", "a"), SignalName("one", "b")
SUMMARY = SignalSummary(2, 1.0, 2.0, 20.0, 1.0, 2.0)


def count(catalog: Catalog, *values: tuple[int, float]) -> None:
    """Count values of signals, x being y."""
    x = floats([x for _, x in values])
    catalog.count(np.array([number for number, _ in values], np.uint32), x, x)


class CatalogTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.catalog = Catalog(10)
        self.catalog.add([A, B])

    def test_new_devices_are_told_once(self) -> None:
        signals, devices = self.catalog.add(
            [SignalName("two", "a"), SignalName("two", "b"), SignalName("one", "c")]
        )
        self.assertEqual(([s.id for s in signals], devices), ([3, 4, 5], ["two"]))

    def test_removed_devices_are_told(self) -> None:
        gone, devices = self.catalog.remove([2, 7, 2])
        self.assertEqual(([s.name for s in gone], devices), ([B], []))
        self.assertEqual(self.catalog.remove([1])[1], ["one"])
        self.assertEqual(self.catalog.devices, {})

    def test_load_goes_on_with_the_numbers(self) -> None:
        self.catalog.clear()
        self.catalog.load([(4, "one")], [(Signal(7, 4, A, "V"), SUMMARY), (Signal(8, 4, B), None)], 5, 9)
        self.assertEqual((self.catalog.summary(7), self.catalog.summary(8)), (SUMMARY, None))
        (signal,), _ = self.catalog.add([SignalName("two", "a")])
        self.assertEqual((signal.id, signal.device_id), (10, 6))

    def test_values_are_summed_up_before_they_are_too_many(self) -> None:
        self.patch(module, "SETTLE_AT", 3)
        for value in range(7):
            count(self.catalog, (1, float(value)), (2, float(-value)))
        self.assertEqual(self.catalog.summary(1), SignalSummary(7, 0.0, 6.0, 6.0, 0.0, 6.0))
        self.assertEqual(self.catalog.summary(2), SignalSummary(7, 0.0, -6.0, -6.0, -6.0, 0.0))

    def test_values_of_no_signal_are_not_counted(self) -> None:
        count(self.catalog, (3, 1.0), (1, 1.0))
        (third,), _ = self.catalog.add([SignalName("two", "a")])
        self.assertEqual((third.id, self.catalog.summary(1).count), (3, 1))

    def test_gaps_are_filled_in_their_place(self) -> None:
        count(self.catalog, (1, 1.0))
        first = self.catalog.leave_gap(1)
        count(self.catalog, (1, 2.0), (2, 50.0))
        second = self.catalog.leave_gap(1)
        self.assertEqual(self.catalog.summary(1), SignalSummary(2, 1.0, 2.0, 2.0, 1.0, 2.0))
        count(self.catalog, (1, 3.0))
        self.catalog.fill_gap(1, first, floats([9.0]), floats([9.0]))
        self.assertEqual(self.catalog.summary(1), SignalSummary(4, 1.0, 3.0, 3.0, 1.0, 9.0))
        self.catalog.fill_gap(1, second, floats([]), floats([]))
        self.assertEqual(self.catalog.summary(1), SignalSummary(4, 1.0, 3.0, 3.0, 1.0, 9.0))
        last = self.catalog.leave_gap(1)
        self.catalog.fill_gap(1, last, floats([0.5]), floats([5.0]))
        self.assertEqual(self.catalog.summary(1), SignalSummary(5, 1.0, 0.5, 5.0, 0.5, 9.0))

    def test_a_gap_is_the_first_that_there_is(self) -> None:
        gap = self.catalog.leave_gap(1)
        self.assertIsNone(self.catalog.summary(1))
        self.catalog.fill_gap(1, gap, floats([1.0, 2.0]), floats([10.0, 20.0]))
        self.assertEqual(self.catalog.summary(1), SUMMARY)

    def test_a_gap_goes_with_its_signal(self) -> None:
        for end in (lambda: self.catalog.set_summary(1, SUMMARY), lambda: self.catalog.remove([1]),
                    self.catalog.clear):  # fmt: skip
            gap = self.catalog.leave_gap(1)
            end()
            before = self.catalog.summary(1)
            self.catalog.fill_gap(1, gap, floats([9.0]), floats([9.0]))
            self.assertEqual(self.catalog.summary(1), before)

    def test_a_summary_of_no_signal_is_not_kept(self) -> None:
        self.catalog.set_summary(3, SUMMARY)
        self.catalog.add([SignalName("two", "a")])
        self.assertIsNone(self.catalog.summary(3))


ROUND = st.lists(st.integers(0, 70_000), max_size=6)


class SumsTest(SynchronousTestCase):
    @unhurried
    @given(st.lists(st.lists(st.tuples(st.floats(), st.floats()), min_size=1), min_size=1, max_size=5))
    def test_the_parts_make_the_whole(self, parts: list[list[tuple[float, float]]]) -> None:
        columns = [(floats([x for x, _ in part]), floats([y for _, y in part])) for part in parts]
        joined = None
        for part in columns:
            joined = join(joined, summarize(*part))
        assert_same_summary(
            joined, summarize(*(np.concatenate(column) for column in zip(*columns, strict=True)))
        )

    def test_nothing_joined_with_nothing(self) -> None:
        self.assertIsNone(join(None, None))

    @unhurried
    @given(st.lists(st.integers(0, 5)) | st.builds(lambda part, n: part * n, ROUND, st.integers(1, 9)))
    def test_split_keeps_the_order(self, numbers: list[int]) -> None:
        ids = np.array(numbers, np.uint32)
        x = np.arange(float(len(ids)))
        found = sorted(
            (number, part_x.tolist(), part_y.tolist()) for number, part_x, part_y in split(ids, x, -x)
        )
        expected = []
        for number in sorted({*numbers}):
            places = [float(place) for place, other in enumerate(numbers) if other == number]
            expected.append((number, places, [-place for place in places]))
        self.assertEqual(found, expected)
