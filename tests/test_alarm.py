"""The states of an alarm: RTOC's triggers, hysteresis, hold times, schedules, and OPC UA Part 9."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.alarm import Alarm, Change, ChangeKind
from rtoc_twisted.automation.rule import EventRule
from rtoc_twisted.errors import BadValue

NOW = 1_790_000_000.0
DAY = 86400.0


def rule(**fields: Any) -> EventRule:
    return EventRule.read({"name": "E", "cond": "Dev.A.latest >= 2", **fields})


def alarm(document: dict[str, Any] | None = None, **fields: Any) -> Alarm:
    return Alarm(rule(**fields), document)


def words(changes: Sequence[Change]) -> list[str]:
    return [change.kind.value for change in changes]


def fired(changes: Sequence[Change]) -> bool:
    return any(change.kind is ChangeKind.FIRED for change in changes)


def berlin(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


def restarted(one: Alarm, **fields: Any) -> Alarm:
    """Return the alarm as it is after a restart, of a rule that is another one in these fields."""
    told = {"name": "E", **one.rule.told(), **fields}
    return Alarm(EventRule.read(told), json.loads(json.dumps(one.document())))


class Triggers(SynchronousTestCase):
    def test_golden(self) -> None:
        """The golden lines trigger.*: y = 1, 3, 3, 1, 1 against >= 2."""
        golden = {
            "rising": [False, True, False, False, False],
            "falling": [False, False, False, True, False],
            "both": [False, True, False, True, False],
            "true": [False, True, True, False, False],
            "false": [True, False, False, True, True],
        }
        for trigger, expected in golden.items():
            one = alarm(trigger=trigger)
            got = [fired(one.step(y >= 2, None, NOW + x)) for x, y in enumerate((1, 3, 3, 1, 1))]
            self.assertEqual(got, expected, trigger)

    def test_no_memory(self) -> None:
        """True at once is a rising edge; falling needs a true before; reset forgets (auto.after.reset)."""
        for trigger, at_once in (("rising", True), ("both", True), ("falling", False), ("true", True)):
            one = alarm(trigger=trigger)
            self.assertEqual(fired(one.step(True, None, NOW)), at_once, trigger)
            self.assertEqual(words(one.reset(NOW + 1)), ["inactive"], trigger)
            self.assertEqual(fired(one.step(True, None, NOW + 2)), at_once, trigger)
            one.reset(NOW + 3)
            self.assertEqual(fired(one.step(False, None, NOW + 4)), False, trigger)

    def test_repeats(self) -> None:
        """How many equal evaluations can change anything, and when each of them fires."""
        self.assertEqual(alarm().repeats, 1)
        self.assertEqual(alarm(nOfM=[2, 5]).repeats, 5)
        for trigger, on in (("true", True), ("false", False), ("rising", None)):
            one = alarm(trigger=trigger)
            for holds in (True, False):
                one.step(holds, None, NOW)
                self.assertEqual(one.restless, holds is on, trigger)
            one.suppress(NOW, "anna")
            self.assertFalse(one.restless)

    def test_levels_by_timers(self) -> None:
        """A timer that brings the level about counts as an evaluation, one that does not, not."""
        one = alarm(trigger="true", **{"for": 10})
        self.assertFalse(fired(one.step(True, None, NOW)))
        self.assertTrue(fired(one.tick(NOW + 10)))
        self.assertFalse(fired(one.tick(NOW + 11)))
        self.assertTrue(fired(one.step(True, None, NOW + 12)))


class Levels(SynchronousTestCase):
    def test_hysteresis(self) -> None:
        """On above, off below, and in between as it was; an unknown `off` ends nothing."""
        one = alarm(off="Dev.A.latest < 1", trigger="both")
        said = [(False, False), (True, False), (False, False), (False, None), (False, True), (False, False)]
        got = [words(one.step(on, off, NOW + x)) for x, (on, off) in enumerate(said)]
        self.assertEqual(got, [[], ["active", "fired"], [], [], ["inactive", "fired"], []])
        self.assertEqual(words(one.step(True, True, NOW + 9)), ["active", "fired"])

    def test_n_of_m(self) -> None:
        """2 of the newest 3 evaluations; the first ones count before there are 3."""
        one = alarm(nOfM=[2, 3], trigger="both")
        said = [True, False, True, False, False, True, True]
        got = [fired(one.step(on, None, NOW + x)) for x, on in enumerate(said)]
        self.assertEqual(got, [False, False, True, True, False, False, True])

    def test_numpy(self) -> None:
        """Other kinds of bool do as well, if slower."""
        one = alarm()
        self.assertTrue(fired(one.step(1, None, NOW)))  # type: ignore[arg-type]  # a bool of numpy
        self.assertIs(one.told()["active"], True)


class HoldTimes(SynchronousTestCase):
    def test_on(self) -> None:
        """It must hold for all of the time; a gap begins it anew."""
        one = alarm(**{"for": 10})
        one.step(True, None, NOW)
        self.assertEqual(one.due(NOW), NOW + 10)
        self.assertEqual((one.told()["waiting"], one.told()["due"]), ("for", NOW + 10))
        one.step(False, None, NOW + 9)
        self.assertEqual((one.due(NOW + 9), one.told()["waiting"]), (None, None))
        one.step(True, None, NOW + 9.5)
        self.assertEqual(words(one.tick(NOW + 19.4)), [])
        self.assertEqual(words(one.step(True, None, NOW + 19.5)), ["active", "fired"])
        self.assertEqual((one.told()["active"], one.told()["since"]), (True, NOW + 19.5))

    def test_off(self) -> None:
        """The same for the end."""
        one = alarm(forOff=5, trigger="falling")
        one.step(True, None, NOW)
        one.step(False, None, NOW + 1)
        self.assertEqual((one.told()["waiting"], one.told()["active"]), ("forOff", True))
        one.step(True, None, NOW + 5)
        one.step(False, None, NOW + 7)
        self.assertEqual(words(one.tick(NOW + 12)), ["inactive", "fired"])

    def test_late(self) -> None:
        """What ended before the next evaluation comes before it."""
        one = alarm(trigger="both", **{"for": 10})
        one.step(True, None, NOW)
        self.assertEqual(words(one.step(False, None, NOW + 60)), ["active", "fired", "inactive", "fired"])

    def test_restart(self) -> None:
        """Hold times count on: the rest is waited for, or nothing of it."""
        one = alarm(**{"for": 10})
        one.step(True, None, NOW)
        again = restarted(one)
        self.assertEqual(again.due(NOW + 4), NOW + 4)
        self.assertEqual(words(again.tick(NOW + 4)), [])
        self.assertEqual(again.due(NOW + 4), NOW + 10)
        self.assertEqual(words(again.tick(NOW + 10)), ["active", "fired"])
        late = restarted(one)
        self.assertEqual(words(late.tick(NOW + DAY)), ["active", "fired"])
        self.assertEqual(words(restarted(late).tick(NOW + 2 * DAY)), [])

    def test_clock_put_back_meanwhile(self) -> None:
        """A clock that was wrong before the restart costs one hold time, not years."""
        one = alarm(**{"for": 10})
        one.step(True, None, NOW + 1000 * DAY)
        again = restarted(one)
        again.tick(NOW)
        self.assertEqual(again.due(NOW), NOW + 10)

    def test_shift(self) -> None:
        """Hold times and shelving last as long as they were to, whatever the clock does."""
        one = alarm(**{"for": 10})
        one.step(True, None, NOW)
        one.shelve(NOW, "anna", 60)
        one.dirty = False
        one.shift(-3600)
        self.assertTrue(one.dirty)
        self.assertEqual((one.due(NOW), one.told()["shelvedUntil"]), (NOW - 3590, NOW - 3540))
        still = alarm()
        still.shift(5)
        self.assertFalse(still.dirty)

    def test_changed_rule(self) -> None:
        """A rule that is set anew goes on with what it knows: a shorter time ends at once."""
        one = alarm(**{"for": 3600}, latch=True, ack=True)
        one.step(True, None, NOW)
        again = restarted(one, **{"for": 5})
        self.assertEqual(words(again.tick(NOW + 6)), ["active", "latched", "fired"])
        plain = restarted(again, latch=False, ack=False).told()
        self.assertEqual((plain["active"], plain["latched"], plain["acknowledged"]), (True, False, True))


class Schedules(SynchronousTestCase):
    HOURS = {"schedule": [{"from": "08:00", "to": "17:00"}], "zone": "Europe/Berlin"}

    def test_opening(self) -> None:
        """A condition that is always true fires at each opening."""
        one = alarm(cond="True", trigger="both", **self.HOURS)
        night = berlin("2026-07-01T05:00")
        self.assertEqual(words(one.step(True, None, night)), [])
        openings = []
        now = night
        for _ in range(4):
            due = one.due(now)
            assert due is not None
            now = due
            openings.append((now, words(one.tick(now))))
        self.assertEqual(
            openings,
            [
                (berlin("2026-07-01T08:00"), ["active", "fired"]),
                (berlin("2026-07-01T17:00"), ["inactive", "fired"]),
                (berlin("2026-07-02T08:00"), ["active", "fired"]),
                (berlin("2026-07-02T17:00"), ["inactive", "fired"]),
            ],
        )

    def test_openings_missed(self) -> None:
        """Openings that passed while the server was off are not made up for."""
        one = alarm(cond="True", **self.HOURS)
        one.step(True, None, berlin("2026-07-01T05:00"))
        self.assertEqual(words(restarted(one).tick(berlin("2026-07-04T09:00"))), ["active", "fired"])
        self.assertEqual(words(restarted(one).tick(berlin("2026-07-04T05:00"))), [])

    def test_closing_ends_hold(self) -> None:
        """A hold time does not go on over a night, and one that ended before closing counts."""
        one = alarm(**{"for": 3600}, **self.HOURS)
        one.step(True, None, berlin("2026-07-01T16:30"))
        for each in (one, restarted(one)):
            self.assertEqual(words(each.tick(berlin("2026-07-02T09:00"))), [])
            self.assertEqual(each.due(0.0), berlin("2026-07-02T10:00"))
        one = alarm(**{"for": 600}, **self.HOURS)
        one.step(True, None, berlin("2026-07-01T16:30"))
        self.assertEqual(
            words(restarted(one).tick(berlin("2026-07-01T20:00"))), ["active", "fired", "inactive"]
        )

    def test_restart_between_edges(self) -> None:
        """An opening that changed nothing when it came, changes nothing after a restart."""
        one = alarm(forOff=2 * DAY, **self.HOURS)
        one.step(True, None, berlin("2026-07-01T09:00"))
        closed = berlin("2026-07-01T17:00")
        one.tick(closed)
        one.step(False, None, berlin("2026-07-02T07:00"))
        for edge in ("2026-07-02T08:00", "2026-07-02T17:00"):
            one.tick(berlin(edge))
        one.step(True, None, berlin("2026-07-02T18:00"))
        for each in (one, restarted(one)):
            each.tick(berlin("2026-07-02T19:00"))
            self.assertEqual((each.told()["waiting"], each.told()["due"]), ("forOff", closed + 2 * DAY))

    def test_shift(self) -> None:
        """Schedules go by the clock as it is set now."""
        one = alarm(cond="True", **self.HOURS)
        one.step(True, None, berlin("2026-07-01T05:00"))
        one.shift(4 * 3600)
        now = berlin("2026-07-01T09:00")
        self.assertEqual(one.due(now), now)
        self.assertEqual(words(one.tick(now)), ["active", "fired"])


class Part9(SynchronousTestCase):
    def test_acknowledge_and_confirm(self) -> None:
        """Table B.1 of OPC 10000-9, row by row."""
        one = alarm(confirm=True)

        def row() -> tuple[bool, bool, bool]:
            told = one.told()
            return told["active"], told["acknowledged"], told["confirmed"]

        self.assertEqual(row(), (False, True, True))
        self.assertEqual(words(one.step(True, None, NOW)), ["active", "fired"])
        self.assertEqual(row(), (True, False, True))
        self.assertEqual(words(one.acknowledge(NOW, "anna", "I see")), ["acknowledged"])
        again = self.assertRaises(BadValue, one.acknowledge, NOW, "bert")
        self.assertIn("is acknowledged already", str(again))
        self.assertEqual(row(), (True, True, False))
        one.step(False, None, NOW + 1)
        self.assertEqual(row(), (False, True, False))
        self.assertEqual(words(one.confirm(NOW, "ben")), ["confirmed"])
        self.assertEqual(row(), (False, True, True))
        told = one.told()
        self.assertEqual(
            (told["acknowledgedBy"], told["confirmedBy"], told["comment"]), ("anna", "ben", "I see")
        )
        one.step(True, None, NOW + 2)
        self.assertEqual(row(), (True, False, True))
        self.assertEqual((one.told()["acknowledgedBy"], one.told()["comment"]), (None, None))
        one.step(False, None, NOW + 3)
        self.assertEqual(row(), (False, False, True))
        one.acknowledge(NOW + 4, "anna")
        self.assertEqual(row(), (False, True, False))
        one.confirm(NOW + 5, "ben", "done")
        self.assertEqual((row(), one.told()["comment"]), ((False, True, True), "done"))

    def test_ack_only(self) -> None:
        """A rule that wants no confirmation gets none."""
        one = alarm(ack=True)
        one.step(True, None, NOW)
        one.acknowledge(NOW, "anna")
        self.assertRaises(BadValue, one.confirm, NOW, "anna")

    def test_latched(self) -> None:
        """It stays so until it is inactive, acknowledged, and unlatched (5.8.5)."""
        one = alarm(latch=True, ack=True)
        self.assertEqual(words(one.step(True, None, NOW)), ["active", "latched", "fired"])
        self.assertRaises(BadValue, one.unlatch, NOW, "anna")
        self.assertEqual(words(one.step(False, None, NOW + 1)), ["inactive"])
        self.assertTrue(one.told()["latched"])
        self.assertRaises(BadValue, one.unlatch, NOW, "anna")
        self.assertEqual(words(one.step(True, None, NOW + 2)), ["active", "fired"])
        one.step(False, None, NOW + 3)
        one.acknowledge(NOW + 4, "anna")
        self.assertEqual(words(one.unlatch(NOW + 5, "anna")), ["unlatched"])
        self.assertRaises(BadValue, one.unlatch, NOW, "anna")

    def test_refusals(self) -> None:
        """What the state does not allow is refused, with the verb and the rule, and changes nothing."""
        one = alarm(confirm=True)
        for verb in ("acknowledge", "confirm", "unlatch", "unshelve", "unsuppress"):
            with self.assertRaises(BadValue) as caught:
                getattr(one, verb)(NOW, "anna")
            self.assertTrue(caught.exception.message.startswith(f"{verb}: E "), caught.exception.message)
        self.assertEqual((one.document(), one.dirty), ({}, False))
        for seconds in (0, -1, float("nan"), float("inf"), 1e10):
            self.assertRaises(BadValue, one.shelve, NOW, "anna", seconds)
        one.step(True, None, NOW)
        self.assertRaises(BadValue, one.confirm, NOW, "anna")
        self.assertRaises(BadValue, one.acknowledge, NOW, "anna", "x" * 1001)
        self.assertEqual((one.told()["acknowledged"], one.told()["comment"]), (False, None))

    def test_timed_shelving(self) -> None:
        """It hides for its time, which can be set anew; what began meanwhile and lasts is told at its end."""
        one = alarm()
        self.assertEqual(words(one.shelve(NOW, "anna", 60)), ["shelved"])
        self.assertEqual(words(one.step(True, None, NOW + 1)), ["active"])
        one.shelve(NOW + 50, "ben", 60)
        told = one.told()
        self.assertEqual(
            (told["shelved"], told["shelvedBy"], told["shelvedUntil"]), ("timed", "ben", NOW + 110)
        )
        self.assertEqual(one.due(NOW + 50), NOW + 110)
        self.assertEqual(words(one.tick(NOW + 109)), [])
        self.assertEqual(words(one.tick(NOW + 110)), ["unshelved", "fired"])
        self.assertEqual((one.told()["shelved"], one.told()["shelvedBy"]), (False, None))

    def test_told_already(self) -> None:
        """What was told before it was hidden is not told again; what is over at the end is never told."""
        one = alarm(trigger="both")
        one.step(True, None, NOW)
        one.shelve(NOW + 1, "anna")
        self.assertEqual(words(one.unshelve(NOW + 2, "anna")), ["unshelved"])
        one.suppress(NOW + 3, "anna")
        self.assertEqual(words(one.step(False, None, NOW + 4)), ["inactive"])
        self.assertEqual(words(one.step(True, None, NOW + 5)), ["active"])
        self.assertEqual(words(one.step(False, None, NOW + 6)), ["inactive"])
        self.assertEqual(words(one.unsuppress(NOW + 7, "anna")), ["unsuppressed"])

    def test_hidden_levels(self) -> None:
        """The triggers true, false and falling make up for nothing."""
        for trigger, level in (("true", True), ("false", False), ("falling", False)):
            one = alarm(trigger=trigger)
            one.step(True, None, NOW)
            one.suppress(NOW, "anna")
            self.assertFalse(fired(one.step(level, None, NOW + 1)), trigger)
            self.assertEqual(words(one.unsuppress(NOW + 2, "anna")), ["unsuppressed"], trigger)

    def test_one_shot(self) -> None:
        """It ends when the alarm becomes inactive, whose event it still hides."""
        one = alarm(trigger="both")
        one.step(True, None, NOW)
        self.assertEqual(words(one.shelve(NOW, "anna")), ["shelved"])
        self.assertRaises(BadValue, one.shelve, NOW, "anna")
        self.assertEqual((one.told()["shelved"], one.due(NOW)), ("oneShot", None))
        self.assertEqual(words(one.step(False, None, NOW + 1)), ["inactive", "unshelved"])
        self.assertEqual(words(one.step(True, None, NOW + 2)), ["active", "fired"])
        one.shelve(NOW + 3, "anna", 60)
        one.shelve(NOW + 4, "anna")
        self.assertEqual((one.told()["shelved"], one.told()["shelvedUntil"]), ("oneShot", None))
        one.shelve(NOW + 5, "anna", 60)
        self.assertEqual(one.told()["shelved"], "timed")

    def test_mute(self) -> None:
        """Mute times suppress; what began in one and goes on is told at its end."""
        one = alarm(mute=[{"from": "22:00", "to": "06:00"}], zone="Europe/Berlin")
        evening, morning = berlin("2026-07-01T22:00"), berlin("2026-07-02T06:00")
        one.step(False, None, evening - 60)
        self.assertEqual(one.due(evening - 60), evening)
        self.assertEqual(words(one.step(True, None, evening)), ["suppressed", "active"])
        self.assertEqual((one.told()["suppressed"], one.told()["suppressedBy"]), (True, None))
        self.assertRaises(BadValue, one.unsuppress, evening, "anna")
        again = restarted(one)
        self.assertEqual(words(again.tick(evening + 60)), [])
        self.assertEqual(words(again.tick(morning)), ["unsuppressed", "fired"])
        self.assertEqual(words(restarted(one).tick(morning + 60)), ["unsuppressed", "fired"])
        # The mute times were taken out of the rule.
        self.assertEqual(words(restarted(one, mute=None).tick(evening + 60)), ["unsuppressed", "fired"])

    def test_mute_and_suppress(self) -> None:
        """Both hide: it is suppressed while one of them says so."""
        one = alarm(mute=[{"from": "22:00", "to": "06:00"}], zone="Europe/Berlin")
        evening, morning = berlin("2026-07-01T22:00"), berlin("2026-07-02T06:00")
        one.tick(evening)
        one.step(True, None, evening)
        self.assertEqual(words(one.suppress(evening + 1, "anna")), [])
        self.assertEqual(words(one.tick(morning)), [])
        self.assertEqual(words(one.tick(berlin("2026-07-02T23:00"))), [])
        self.assertEqual(words(one.unsuppress(berlin("2026-07-02T23:00"), "anna")), [])
        self.assertTrue(one.told()["suppressed"])
        self.assertEqual(words(one.tick(berlin("2026-07-03T06:00"))), ["unsuppressed", "fired"])

    def test_reset_keeps_what_people_did(self) -> None:
        """reset is about the condition only."""
        one = alarm(latch=True, ack=True)
        one.step(True, None, NOW)
        one.suppress(NOW, "anna")
        one.reset(NOW)
        told = one.told()
        self.assertEqual((told["latched"], told["acknowledged"], told["suppressed"]), (True, False, True))


class Keeping(SynchronousTestCase):
    def test_dirty(self) -> None:
        """A steady level never is a reason to write, a change always is."""
        for fields in ({}, {"trigger": "true"}, {"nOfM": [2, 3]}, {"off": "Dev.A.latest < 1"}, {"for": 1000}):
            one = alarm(**fields)
            for level in (False, True, False):
                for x in range(3):
                    one.step(level, not level, NOW + x)
                one.dirty = False
                for x in range(3, 20):
                    one.step(level, not level, NOW + x)
                    one.tick(NOW + x)
                self.assertFalse(one.dirty, fields)
            one.step(True, False, NOW + 20)
            self.assertTrue(one.dirty, fields)

    def test_nothing_new(self) -> None:
        """A document of nothing is empty."""
        one = alarm()
        one.step(False, None, NOW)
        self.assertEqual((one.document(), one.dirty), ({}, False))

    def test_repaired(self) -> None:
        """What cannot be is as in the beginning, and the rest is kept."""
        wrong: list[tuple[dict[str, Any], str, Any]] = [
            ({"active": 5}, "active", False),
            ({"since": float("nan")}, "since", None),
            ({"since": "yesterday"}, "since", None),
            ({"pending": float("inf")}, "waiting", None),
            ({"shelved": "always"}, "shelved", False),
            ({"shelved": "timed"}, "shelved", False),
            ({"shelved": "timed", "until": 1e300}, "shelved", False),
            ({"votes": "-1"}, "active", False),
            ({"votes": 7}, "active", False),
            ({"latched": True}, "latched", False),
            ({"acknowledged": False}, "acknowledged", True),
            ({"comment": ["x"]}, "comment", None),
        ]
        for document, key, expected in wrong:
            one = alarm({"suppressed": True, **document})
            self.assertEqual(one.told()[key], expected, document)
            self.assertTrue(one.told()["suppressed"])
            one.tick(NOW)
            one.step(True, None, NOW)
        one = alarm({"untold": True, "suppressed": True})
        self.assertEqual(words(one.unsuppress(NOW, "anna")), ["unsuppressed"])
        self.assertEqual(alarm([1]).told(), alarm().told())  # type: ignore[arg-type]  # what a disk may hold
