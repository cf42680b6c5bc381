"""What is true of every alarm, whatever its rule and whatever happens to it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.alarm import Alarm, Change, ChangeKind
from rtoc_twisted.automation.rule import EventRule
from rtoc_twisted.automation.trigger import Trigger
from rtoc_twisted.errors import BadValue
from tests.storage_support import examples

# A Saturday evening in Berlin, before the night in which summer time ends.
START = 1_792_864_800.0
TRIGGERS = [each.value for each in Trigger]

seconds = st.sampled_from([0, 1, 10, 600, 86400])
clock_spans = st.lists(
    st.sampled_from(
        [
            {"from": "08:00", "to": "17:00"},
            {"from": "22:00", "to": "06:00"},
            {"days": "sun", "from": "02:15", "to": "02:45"},
            {"from": "2026-10-24T20:05", "to": "2026-10-24T20:15"},
        ]
    ),
    max_size=2,
)
optional: dict[str, st.SearchStrategy[Any]] = {
    "off": st.just("Dev.A.latest < 1"),
    "for": seconds,
    "forOff": seconds,
    "nOfM": st.sampled_from([[1, 1], [2, 3], [3, 3]]),
    "schedule": clock_spans,
    "mute": clock_spans,
    "latch": st.booleans(),
    "ack": st.booleans(),
    "confirm": st.booleans(),
}
rules = st.fixed_dictionaries(
    {
        "name": st.just("E"),
        "cond": st.just("Dev.A.latest >= 2"),
        "zone": st.just("Europe/Berlin"),
        "trigger": st.sampled_from(TRIGGERS),
    },
    optional=optional,
).map(EventRule.read)

Deed = Callable[[Alarm, float], Sequence[Change]]
VERBS = ("acknowledge", "confirm", "unlatch", "unshelve", "suppress", "unsuppress")


def stepped(levels: tuple[bool, bool | None]) -> Deed:
    return lambda alarm, now: alarm.step(*levels, now)


def done(verb: str) -> Deed:
    return lambda alarm, now: getattr(alarm, verb)(now, "anna")


def shelved(length: float | None) -> Deed:
    return lambda alarm, now: alarm.shelve(now, "anna", length)


steps = st.tuples(st.booleans(), st.sampled_from([None, False, True])).map(stepped)
deeds = (
    steps
    | st.just(Alarm.tick)
    | st.just(Alarm.reset)
    | st.sampled_from(VERBS).map(done)
    | st.sampled_from([None, 1, 600, 86400]).map(shelved)
)
waits = st.sampled_from([0.0, 0.25, 1.0, 10.0, 300.0, 3600.0, 30_000.0])
lives = st.lists(st.tuples(deeds | steps, waits, st.booleans()), max_size=40)
many = examples(80)


def does(alarm: Alarm, deed: Deed, now: float) -> Sequence[Change] | None:
    """Return what a deed changes, None where it is refused."""
    try:
        return list(deed(alarm, now))
    except BadValue:
        return None


def read_back(alarm: Alarm) -> Alarm:
    return Alarm(alarm.rule, json.loads(json.dumps(alarm.document())))


class Alarms(SynchronousTestCase):
    @many
    @given(rules, lives, st.booleans())
    def test_restarts(self, rule: EventRule, life: list[tuple[Deed, float, bool]], ticked: bool) -> None:
        """A restart, wherever it comes, changes nothing of what happens afterwards."""
        steady, restarting, now = Alarm(rule), Alarm(rule), START
        for deed, wait, restart in life:
            now += wait
            if ticked:
                self.assertEqual(list(steady.tick(now)), list(restarting.tick(now)))
            self.assertEqual(does(steady, deed, now), does(restarting, deed, now))
            self.assertEqual(steady.told(), restarting.told())
            if restart:
                restarting = read_back(restarting)
        self.assertEqual(list(steady.tick(now)), list(restarting.tick(now)))
        self.assertEqual(steady.due(now), restarting.due(now))

    @many
    @given(rules, lives)
    def test_invariants(self, rule: EventRule, life: list[tuple[Deed, float, bool]]) -> None:
        """No event while it is hidden, edges in turn, what is due is ahead, and what changed is dirty."""
        alarm, now, active = Alarm(rule), START, False
        for deed, wait, _ in life:
            now += wait
            before = json.dumps(alarm.document())
            alarm.dirty = False
            changes = does(alarm, deed, now) or ()
            told = alarm.told()
            if told["suppressed"] or told["shelved"]:
                after = [each.kind for each in changes]
                hiding = max(
                    (at for at, kind in enumerate(after) if kind.value in ("suppressed", "shelved")),
                    default=0,
                )
                self.assertNotIn(ChangeKind.FIRED, after[hiding:])
            for change in changes:
                self.assertEqual(change.at, now)
                if change.kind in (ChangeKind.ACTIVE, ChangeKind.INACTIVE):
                    self.assertIsNot(change.kind is ChangeKind.ACTIVE, active)
                    active = not active
            self.assertIs(told["active"], active)
            self.assertTrue(
                alarm.dirty
                or (json.dumps(alarm.document()) == before and not changes)
                or fires_alone(changes)
            )
            alarm.tick(now)
            active = alarm.told()["active"]
            due = alarm.due(now)
            self.assertTrue(due is None or due > now)
            if told["acknowledged"] is False:
                self.assertTrue(rule.wants_ack)
            if told["latched"]:
                self.assertTrue(rule.latch)

    @many
    @given(
        st.sampled_from(TRIGGERS),
        st.lists(st.sampled_from([True, False, None]), max_size=30),
    )
    def test_original(self, trigger: str, said: list[bool | None]) -> None:
        """Without our fields it fires exactly when RTOC's rule of its newest level fires; None is a reset."""
        alarm = Alarm(EventRule.read({"name": "E", "cond": "Dev.A.latest >= 2", "trigger": trigger}))
        latest: bool | None = None
        for level in said:
            if level is None:
                alarm.reset(START)
                latest = None
                continue
            rises, falls = level and latest is not True, not level and latest is True
            expected = {"rising": rises, "falling": falls, "both": rises or falls}.get(
                trigger, level is (trigger == "true")
            )
            fired = [each.kind for each in alarm.step(level, None, START)].count(ChangeKind.FIRED)
            self.assertEqual(fired, int(expected))
            latest = level

    @many
    @given(
        st.sampled_from([0, 1, 10]),
        st.sampled_from([0, 1, 10]),
        st.sampled_from([[1, 1], [2, 3], [5, 5]]),
        st.lists(st.tuples(st.booleans(), waits), max_size=60),
    )
    def test_holds(
        self, hold_on: float, hold_off: float, votes: list[int], said: list[tuple[bool, float]]
    ) -> None:
        """Never early: the vote was the same for all of the hold time; and never late, if it is ticked."""
        fields = {"for": hold_on, "forOff": hold_off, "nOfM": votes, "trigger": "both"}
        alarm = Alarm(EventRule.read({"name": "E", "cond": "Dev.A.latest >= 2", **fields}))
        now, newest, vote, since, active = START, [], False, -math.inf, False
        for level, wait in said:
            for moment in ticks(alarm, now, now + wait):
                expected = vote is not active and moment >= since + (hold_on if vote else hold_off)
                changes = alarm.tick(moment)
                self.assertEqual(bool(changes), expected)
                active = active is not expected
            now += wait
            newest = [*newest, level][-votes[1] :]
            if (sum(newest) >= votes[0]) is not vote:
                vote, since = not vote, now
            turns = vote is not active and now >= since + (hold_on if vote else hold_off)
            changes = alarm.step(level, None, now)
            self.assertEqual([each.kind for each in changes].count(ChangeKind.FIRED), int(turns))
            active = active is not turns
            self.assertIs(alarm.told()["active"], active)

    @many
    @given(rules, lives, st.sampled_from([-86400.0, -1.5, 0.5, 3600.0, 1e7]))
    def test_shifted(self, rule: EventRule, life: list[tuple[Deed, float, bool]], by: float) -> None:
        """A clock that jumps, and is told to have jumped, changes no length of time."""
        free = EventRule.read({"name": "E", **rule.told(), "schedule": None, "mute": None})
        steady, jumping, now, ahead = Alarm(free), Alarm(free), START, 0.0
        for deed, wait, jump in life:
            now += wait
            here = does(steady, deed, now)
            there = does(jumping, deed, now + ahead)
            self.assertEqual([each.kind for each in here or ()], [each.kind for each in there or ()])
            if jump:
                jumping.shift(by)
                ahead += by
            self.assertEqual(steady.told()["waiting"], jumping.told()["waiting"])

    @many
    @given(
        rules,
        st.dictionaries(
            st.sampled_from(
                [
                    "level",
                    "votes",
                    "active",
                    "since",
                    "pending",
                    "untold",
                    "looked",
                    "acknowledged",
                    "comment",
                    "confirmed",
                    "latched",
                    "shelved",
                    "until",
                    "suppressed",
                    "muted",
                    "acknowledgedBy",
                    "x",
                ]
            ),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=3)
            | st.sampled_from(["timed", "oneShot", "ff", START, START + 1e9, START - 1e9])
            | st.lists(st.none()),
        ),
        lives,
    )
    def test_any_document(
        self, rule: EventRule, document: dict[str, Any], life: list[tuple[Deed, float, bool]]
    ) -> None:
        """Whatever is on the disk, the alarm goes on, and its own document is a sound one."""
        alarm, now = Alarm(rule, document), START
        for deed, wait, _ in life:
            now += wait
            does(alarm, deed, now)
        alarm.tick(now)
        due = alarm.due(now)
        self.assertTrue(due is None or due > now)
        json.dumps(alarm.told(), allow_nan=False)
        self.assertEqual(read_back(alarm).document(), alarm.document())


def fires_alone(changes: Sequence[Change]) -> bool:
    """Return whether there is nothing but an event of an evaluation that changed nothing."""
    return [each.kind for each in changes] == [ChangeKind.FIRED]


def ticks(alarm: Alarm, now: float, until: float) -> list[float]:
    """Return the moments up to `until` at which the alarm wants a tick."""
    due = alarm.due(now)
    return [due] if due is not None and due <= until else []
