"""Rules of retention, and what time it is for them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.storage.retention import ChunkFacts, Moments, Rule, due, rule_for


def chunk(number: int, samples: int = 10, size: int = 100, retired: bool = False) -> ChunkFacts:
    return ChunkFacts(number, samples, size, retired)


def before(days: float) -> int:
    """Tell that a chunk a day was written, the tenth today."""
    return max(0, 10 - int(days))


CHUNKS = [chunk(number) for number in range(1, 11)]


class RuleTest(SynchronousTestCase):
    def test_the_first_match_wins(self) -> None:
        rules = [
            Rule("one", ("Lab.t*", "Lab.p?"), days=1),
            Rule("two", ("Lab.*",), days=2),
            Rule("three", ("[AB].x",), days=3),
        ]
        found = [rule_for(rules, key) for key in ("Lab.temp", "Lab.p1", "Lab.p12", "B.x", "C.x", "lab.temp")]
        self.assertEqual([rule and rule.name for rule in found], ["one", "one", "two", "three", None, None])

    def test_no_limit_keeps_everything(self) -> None:
        self.assertEqual(due(Rule("all", ("*",)), CHUNKS, before), ([], []))

    def test_by_age(self) -> None:
        self.assertEqual(due(Rule("r", ("*",), raw_days=7), CHUNKS, before), ([1, 2], []))
        self.assertEqual(due(Rule("r", ("*",), days=7), CHUNKS, before), ([], [1, 2]))
        self.assertEqual(due(Rule("r", ("*",), raw_days=5, days=8), CHUNKS, before), ([2, 3, 4], [1]))

    def test_an_age_takes_the_newest_as_well(self) -> None:
        self.assertEqual(due(Rule("r", ("*",), raw_days=2), CHUNKS[:3], before), ([1, 2, 3], []))

    def test_by_points(self) -> None:
        for points, kept in ((1, 1), (10, 1), (11, 2), (30, 3), (99, 10), (1000, 10)):
            retire, drop = due(Rule("r", ("*",), raw_points=points), CHUNKS, before)
            self.assertEqual((retire, drop), (list(range(1, 11 - kept)), []), points)

    def test_by_bytes(self) -> None:
        for size, kept in ((1, 1), (100, 1), (101, 2), (300, 3), (10_000, 10)):
            retire, drop = due(Rule("r", ("*",), raw_bytes=size), CHUNKS, before)
            self.assertEqual((retire, drop), (list(range(1, 11 - kept)), []), size)

    def test_the_newest_is_never_retired_by_points_or_bytes(self) -> None:
        rule = Rule("r", ("*",), raw_points=1, raw_bytes=1)
        self.assertEqual(due(rule, [chunk(5, samples=10**6, size=10**6)], before), ([], []))

    def test_what_retired_is_left_alone_until_it_goes(self) -> None:
        chunks = [chunk(number, retired=number < 5) for number in range(1, 11)]
        rule = Rule("r", ("*",), raw_days=4, days=8)
        self.assertEqual(due(rule, chunks, before), ([5], [1]))

    def test_no_chunks(self) -> None:
        self.assertEqual(due(Rule("r", ("*",), raw_points=1, days=1), [], before), ([], []))


class MomentsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.wall, self.gone = 1000.0, 5.0
        self.moments = Moments(lambda: self.wall, lambda: self.gone)

    def test_time_goes_by(self) -> None:
        self.assertEqual(self.moments(), 1000.0)
        self.gone += 7
        self.assertEqual(self.moments(), 1007.0)

    def test_a_clock_that_is_set_changes_nothing(self) -> None:
        self.wall = 1e9
        self.assertEqual(self.moments(), 1000.0)
        self.wall = 0.0
        self.assertEqual(self.moments(), 1000.0)

    def test_a_clock_that_is_behind_begins_at_what_is_known(self) -> None:
        self.gone += 1
        self.moments.not_before(3000.0)
        self.gone += 7
        self.assertEqual(self.moments(), 3007.0)
        self.moments.not_before(2000.0)
        self.assertEqual(self.moments(), 3007.0)
