"""Which batches were seen: intervals of numbers, and the sources that they belong to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import BadValue
from rtoc_twisted.storage.commit import Commit, stored
from rtoc_twisted.storage.sources import Seen, Sources
from tests.storage_support import unhurried

SEQS = st.lists(st.integers(0, 40), max_size=60)
MOST = 2**53


class SeenTests(SynchronousTestCase):
    def test_a_text_for_people(self) -> None:
        seen = Seen()
        for seq in (1, 2, 9, 3, 7, MOST, 5, 6):
            seen.add(seq)
        self.assertEqual(str(seen), f"0:1-3,5-7,9,{MOST}")
        self.assertEqual(str(Seen()), "0:")

    def test_a_text_that_is_none(self) -> None:
        for text in ("", "1-3", "x:", "0:a", "0:1-b"):
            with self.assertRaises(ValueError):
                Seen.from_text(text)

    @unhurried
    @given(seqs=SEQS)
    def test_with_room_it_is_a_set(self, seqs: list[int]) -> None:
        seen = Seen()
        for seq in seqs:
            seen.add(seq)
        self.assertEqual([seq for seq in range(42) if seen.contains(seq)], sorted(set(seqs)))
        self.assertEqual((seen.floor, str(Seen.from_text(str(seen)))), (0, str(seen)))

    @unhurried
    @given(seqs=SEQS, limit=st.integers(1, 4))
    def test_without_room_it_never_says_what_it_does_not_know(self, seqs: list[int], limit: int) -> None:
        seen, taken = Seen(limit), set()
        for seq in seqs:
            if seq >= seen.floor:
                seen.add(seq)
                taken.add(seq)
                self.assertTrue(seen.contains(seq), "what was just taken is known")
            seen = Seen.from_text(str(seen), limit)
            for other in range(42):
                try:
                    self.assertEqual(seen.contains(other), other in taken)
                except BadValue:
                    self.assertLess(other, seen.floor)
        self.assertLessEqual(str(seen).count(","), limit - 1)

    def test_the_newest_intervals_stay(self) -> None:
        seen = Seen(2)
        for seq in (2, 4, 8):
            seen.add(seq)
        self.assertEqual((str(seen), seen.floor), ("3:4,8", 3))
        # Only what joins an interval has room below the oldest one.
        seen.add(3)
        self.assertEqual((str(seen), seen.floor), ("3:3-4,8", 3))
        self.assertRaises(BadValue, seen.contains, 2)


class SourcesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sources = Sources(limit=2, intervals=3)

    def test_a_batch_waits_for_its_commit(self) -> None:
        first, second = Commit(), Commit()
        self.sources.add("a", 1, first)
        self.sources.add("a", 2, second)
        self.assertIs(self.sources.commit_of("a", 1), first)
        first.finish()
        self.sources.settle()
        done = self.sources.commit_of("a", 1)
        self.assertIsNot(done, first)
        self.assertEqual((done.done, done.error), (True, None))
        self.assertIs(self.sources.commit_of("a", 2), second)
        self.assertIsNone(self.sources.commit_of("a", 3))
        self.assertIsNone(self.sources.commit_of("b", 1))

    def test_changes_are_told_once(self) -> None:
        self.assertEqual(self.sources.changes(), ([], []))
        self.sources.add("a", 1, stored())
        self.sources.add("b", 5, stored())
        self.sources.add("a", 2, stored())
        self.assertEqual(self.sources.changes(), ([("a", "0:1-2", 3), ("b", "0:5", 2)], []))
        self.assertEqual(self.sources.changes(), ([], []))
        self.sources.add("b", 6, stored())
        self.assertEqual(self.sources.changes(), ([("b", "0:5-6", 4)], []))

    def test_the_one_unused_for_longest_is_forgotten(self) -> None:
        for source in "aba":
            self.sources.add(source, 1, stored())
        self.sources.changes()
        self.sources.add("c", 1, stored())
        self.assertEqual(self.sources.changes(), ([("c", "0:1", 4)], ["b"]))
        self.assertEqual(
            [self.sources.commit_of(source, 1) is None for source in "abc"], [False, True, False]
        )
        self.assertEqual(self.sources.forgotten, 1)

    def test_one_that_comes_back_at_once_begins_anew(self) -> None:
        for seq, source in enumerate("abca"):
            self.sources.add(source, seq, stored())
        rows, forgotten = self.sources.changes()
        self.assertEqual((rows, forgotten), ([("a", "0:3", 4), ("c", "0:2", 3)], ["b"]))

    def test_what_is_on_disk_is_all_there_is(self) -> None:
        self.sources.add("a", 1, Commit())
        self.sources.load([("b", "0:1-7", 11), ("c", "3:5", 12)])
        self.assertEqual(self.sources.changes(), ([], []))
        self.assertIsNone(self.sources.commit_of("a", 1))
        self.assertTrue(self.sources.commit_of("b", 7).done)
        self.assertRaises(BadValue, self.sources.commit_of, "c", 2)
        self.sources.add("d", 1, stored())
        self.assertEqual(self.sources.changes(), ([("d", "0:1", 13)], ["b"]))
