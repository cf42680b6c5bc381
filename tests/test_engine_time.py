"""Rules and time: hold times, silence, schedules, restarts, and a wall clock that is set."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.interfaces import ICommit
from tests.doubles import sqlite_storage
from tests.engine_support import EPOCH, Bench
from tests.storage_support import unhurried


class HoldTest(SynchronousTestCase):
    """Hold times end by themselves, also after a restart."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.on()

    def pass_by(self, seconds: float) -> list[str]:
        """Let some time pass; return the events."""
        self.bench.clock.advance(seconds)
        return self.bench.events()

    def test_hold(self) -> None:
        self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(self.pass_by(9.9), [])
        self.bench.send("Dev.A", 2.0)
        self.bench.clock.advance(0.2)
        (event,) = self.bench.observer.events
        self.assertLess(abs(event.x - EPOCH - 10), 0.2)
        self.assertIsNone(event.cause["sample"])
        self.assertEqual(event.cause["values"], {"Dev.A.latest": 2.0})

    def test_hold_interrupted(self) -> None:
        self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
        self.bench.send("Dev.A", 2.0)
        self.pass_by(5)
        self.bench.send("Dev.A", 0.0, 2.0)
        self.assertEqual(self.pass_by(9.9), [])
        self.assertEqual(self.pass_by(0.2), ["long"])

    def test_removed_while_it_runs(self) -> None:
        self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
        self.bench.send("Dev.A", 2.0)
        self.bench.automation.remove("event", "long", "me")
        self.assertEqual(self.pass_by(60), [])

    def test_switched_off_while_it_runs(self) -> None:
        """What came meanwhile ends it: the newest value counts as soon as rules are on again."""
        self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
        self.bench.send("Dev.A", 2.0)
        self.bench.on(events=False)
        self.bench.send("Dev.A", 0.0)
        self.assertEqual(self.pass_by(60), [])
        self.bench.on()
        self.assertEqual(self.pass_by(60), [])
        self.bench.send("Dev.A", 2.0)
        self.bench.on(events=False)
        self.assertEqual(self.pass_by(60), [])
        self.bench.on()
        self.assertEqual(self.pass_by(1), ["long"])

    def test_switched_off_over_a_restart(self) -> None:
        """What came while rules were off counts from then on, whatever happened to the server."""
        for gently in (True, False):
            for value, told in ((0.0, []), (2.0, ["long"])):
                self.bench = Bench()
                self.bench.on()
                self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
                self.bench.send("Dev.A", 2.0)
                self.bench.clock.advance(5)
                self.bench.on(events=False)
                self.bench.send("Dev.A", value)
                self.bench.restart(60, gently)
                self.bench.restart(60, gently)
                self.bench.on()
                self.bench.clock.advance(0.1)
                self.assertEqual(self.bench.events(), told, (gently, value))
                self.assertIsNone(self.bench.told("long")["waiting"])

    def test_set_again(self) -> None:
        """A rule that only says it otherwise goes on; another condition begins anew."""
        self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
        self.bench.send("Dev.A", 2.0)
        self.pass_by(6)
        self.bench.rule("long", "Dev.A.latest > 1", text="so long", **{"for": 10})
        self.assertEqual(self.pass_by(5), ["so long"])
        self.bench.rule("long", "Dev.A.latest > 0", text="so long", **{"for": 10})
        self.assertFalse(self.bench.told("long")["active"])
        self.bench.send("Dev.A", 2.0)
        self.pass_by(6)
        self.bench.rule("long", "Dev.A.latest > 0.5", **{"for": 10})
        self.assertEqual(self.pass_by(20), [])

    def test_restart(self) -> None:
        """The time goes on while the server is off, whether it ended well or was killed."""
        for gently in (True, False):
            for off, waits in ((3.0, True), (30.0, False)):
                self.bench = Bench()
                self.bench.on()
                self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
                self.bench.send("Dev.A", 2.0)
                self.bench.clock.advance(2)
                self.bench.restart(off, gently)
                self.assertEqual(self.pass_by(1), [] if waits else ["long"], (gently, off))
                self.assertEqual(self.pass_by(4.1), ["long"] if waits else [], (gently, off))
                self.assertEqual(self.pass_by(60), [])

    def test_restart_of_what_is_active(self) -> None:
        """What was told is not told again."""
        self.bench.rule("big", "Dev.A.latest > 1", trigger="both")
        self.bench.send("Dev.A", 2.0)
        self.bench.restart(5)
        self.assertTrue(self.bench.told("big")["active"])
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(self.bench.events(), [])
        self.bench.send("Dev.A", 0.0)
        self.assertEqual(self.bench.events(), ["big"])

    def test_schedule(self) -> None:
        """A condition that is always true fires whenever its schedule opens."""
        # EPOCH is 2026-09-21 14:13:20 in UTC, a Monday.
        spans = [{"from": "14:40", "to": "15:00"}]
        self.bench.rule("open", "True", schedule=spans, zone="UTC")
        self.assertEqual(self.pass_by(1500), [])
        self.assertEqual(self.pass_by(200), ["open"])
        self.bench.clock.pump([600.0] * (24 * 6))
        self.assertEqual(self.bench.events(), ["open"])


class SilenceTest(SynchronousTestCase):
    """nodata counts from when something was received, and restarts do not fool it."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.on()
        self.bench.rule("dead", "nodata(Dev.A, 60)", trigger="both")

    def at(self, seconds: float) -> list[str]:
        """Go to so many seconds after the epoch; return the events."""
        while self.bench.clock.seconds() < seconds:
            self.bench.clock.advance(min(1.0, seconds - self.bench.clock.seconds()))
        return self.bench.events()

    def test_never_anything(self) -> None:
        """A signal that never comes is silent since the rule was set."""
        self.assertEqual(self.at(59.9), [])
        self.assertEqual(self.at(60.1), ["dead"])
        self.assertEqual(self.at(1000), [])

    def test_each_value_begins_anew(self) -> None:
        for moment in range(10, 200, 10):
            self.assertEqual(self.at(moment), [])
            self.bench.send("Dev.A", 1.0, x=5.0)
        self.assertEqual(self.at(249.9), [])
        self.assertEqual(self.at(250.1), ["dead"])
        self.bench.send("Dev.A", 1.0)
        self.assertEqual(self.bench.events(), ["dead"])
        self.assertEqual(self.at(310.2), ["dead"])

    def test_restart(self) -> None:
        """It counts from what was received before; from what could not be, not at once."""
        self.at(10)
        self.bench.send("Dev.A", 1.0)
        self.at(40)
        self.bench.restart(5, gently=False)
        self.assertEqual(self.at(74.9), [])
        self.assertEqual(self.at(75.1), ["dead"])

    def test_restart_of_what_is_dead(self) -> None:
        """An alarm that is active stays so, and is told once."""
        self.assertEqual(self.at(61), ["dead"])
        self.bench.restart(100)
        self.assertEqual(self.at(1000), [])
        self.assertTrue(self.bench.told("dead")["active"])

    def test_short_silence_after_a_restart(self) -> None:
        """What is silent after ten seconds has these ten."""
        self.bench.rule("quiet", "nodata(Dev.A, 10)")
        self.at(5)
        self.bench.send("Dev.A", 1.0)
        self.at(7)
        self.bench.restart(1000)
        self.assertEqual(self.at(1016.9), [])
        self.assertEqual(self.at(1017.1), ["quiet"])

    def test_set_while_it_is_silent(self) -> None:
        """A further rule for a signal that is known to be silent needs not to wait."""
        self.bench.send("Dev.A", 1.0)
        self.at(30)
        self.bench.rule("quiet", "nodata(Dev.A, 10)")
        self.assertEqual(self.bench.events(), ["quiet"])

    def test_age(self) -> None:
        """age grows without values: it is looked at each second."""
        self.bench.automation.remove("event", "dead", "me")
        self.bench.rule("old", "age(Dev.A) > 5")
        self.at(3)
        self.bench.send("Dev.A", 1.0)
        self.assertEqual(self.at(7.9), [])
        self.assertEqual(self.at(9.1), ["old"])


class WallTest(SynchronousTestCase):
    """The wall clock is set while rules wait."""

    def setUp(self) -> None:
        self.bench = Bench()
        self.bench.on()

    def test_hold_time(self) -> None:
        """It lasts as long as it would have, however far the clock is set, forward or back."""
        for jump in (3600.0, -3600.0, 1e8, -1e9):
            self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
            self.bench.send("Dev.A", 2.0)
            self.bench.clock.advance(4)
            self.bench.ahead += jump
            self.bench.send("Dev.A", 2.0)
            self.bench.clock.advance(5.9)
            self.assertEqual(self.bench.events(), [], jump)
            self.bench.clock.advance(0.2)
            self.assertEqual(self.bench.events(), ["long"], jump)
            self.bench.automation.remove("event", "long", "me")

    def test_nobody_speaks_meanwhile(self) -> None:
        """The jump is seen when a timer ends; then what is due by the reactor's clock is."""
        self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
        self.bench.send("Dev.A", 2.0)
        self.bench.ahead += 3600.0
        self.bench.clock.advance(9)
        self.assertEqual(self.bench.events(), [])
        self.bench.clock.pump([1.0, 0.1])
        self.assertEqual(self.bench.events(), ["long"])

    def test_silence(self) -> None:
        self.bench.rule("dead", "nodata(Dev.A, 60)")
        self.bench.send("Dev.A", 1.0)
        self.bench.ahead += 3600.0
        self.bench.clock.pump([1.0] * 59)
        self.assertEqual(self.bench.events(), [])
        self.bench.clock.pump([1.0, 1.0])
        self.assertEqual(self.bench.events(), ["dead"])

    def test_a_machine_without_a_clock(self) -> None:
        """It starts a day ago, until somebody tells it the time: nothing waits a day longer for that."""
        self.bench.rule("dead", "nodata(Dev.A, 60)")
        self.bench.rule("long", "Dev.A.latest > 1", **{"for": 600})
        self.bench.rule("big", "Dev.A.latest > 1", text="hidden")
        self.bench.automation.change_alarm("shelve", "big", "anna", seconds=900.0)
        self.bench.send("Dev.A", 2.0)
        self.bench.clock.advance(10)
        self.bench.ahead -= 86400.0
        self.bench.restart(5, gently=False)
        since = self.bench.told("long")["due"] - self.bench.wall()
        self.assertTrue(0 < since <= 600, since)
        self.bench.clock.advance(5)
        self.bench.ahead += 86400.0
        found = []
        for minute in range(20):
            self.bench.clock.pump([1.0] * 60)
            found += [(text, minute) for text in self.bench.events()]
        self.assertEqual([text for text, _ in found], ["dead", "long", "hidden"])
        self.assertLessEqual([minute for _, minute in found], [1, 9, 14])

    def test_a_slow_drift_is_none(self) -> None:
        """A clock that is led back gently is followed."""
        self.bench.rule("open", "True", schedule=[{"from": "14:40", "to": "15:00"}], zone="UTC")
        for _ in range(1000):
            self.bench.ahead += 1.0
            self.bench.clock.advance(1.0)
        # It is 14:46 by the wall clock, after 17 minutes.
        self.assertEqual(self.bench.events(), ["open"])


class DiskTest(SynchronousTestCase):
    """States on a disk: with their events in one commit, and never for a level that stays."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.clock = Clock()
        self.open()
        self.addCleanup(self.close)

    def open(self) -> None:
        self.storage = sqlite_storage(self.directory, self.clock)
        self.documents: list[str] = []
        put = self.storage.put_document

        def counted(key: str, value: object) -> ICommit:
            self.documents.append(key)
            return put(key, value)

        self.patch(self.storage, "put_document", counted)
        self.bench = Bench(self.storage, self.clock)

    def close(self) -> None:
        self.bench.automation.stop()
        self.storage.close()
        self.clock.advance(0)

    def commits(self) -> float:
        return self.storage.counters()["commits"]

    def test_one_commit(self) -> None:
        self.bench.rule("big", "Dev.A.latest > 1", ack=True)
        self.bench.on()
        self.clock.advance(1)
        before = self.commits()
        self.bench.send("Dev.A", 2.0)
        self.clock.advance(0)
        self.assertEqual(self.commits(), before + 1)
        self.close()
        self.open()
        self.assertTrue(self.bench.told("big")["active"])
        self.bench.automation.change_alarm("acknowledge", "big", "me")
        (event,) = self.result(self.storage.events())
        self.assertEqual((event.alarm["acknowledged"], event.alarm["acknowledgedBy"]), (True, "me"))

    def result(self, waiting: Deferred[Any]) -> Any:
        self.clock.advance(0)
        return self.successResultOf(waiting)

    def test_a_steady_level_is_not_written(self) -> None:
        self.bench.rule("big", "Dev.A.latest > 1")
        self.bench.rule("votes", "Dev.A.latest > 1", nOfM=[2, 3])
        self.bench.on()
        self.bench.send("Dev.A", 2.0, 2.0, 2.0)
        self.clock.advance(1)
        written = self.written()
        for _ in range(100):
            self.bench.send("Dev.A", 2.0)
            self.clock.advance(1)
        self.assertEqual(self.written(), written)

    def test_a_restless_level_is_written_ten_times_a_second(self) -> None:
        """A hold time that begins and ends with each value is no event; the disk is spared."""
        self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
        self.bench.on()
        before = self.written()
        for _ in range(100):
            self.bench.send("Dev.A", 2.0)
            self.clock.advance(0.005)
            self.bench.send("Dev.A", 0.0)
            self.clock.advance(0.005)
        # Ten of them at once, for the second before.
        self.assertLessEqual(self.written() - before, 22)
        self.assertGreater(self.written() - before, 15)

    def test_a_hold_time_is_stored_with_its_value(self) -> None:
        """As soon as the value is acknowledged a kill -9 may come."""
        self.bench.rule("long", "Dev.A.latest > 1", **{"for": 10})
        self.bench.on()
        self.clock.advance(1)
        self.documents.clear()
        before = self.commits()
        self.bench.send("Dev.A", 2.0)
        self.assertEqual(self.documents, ["automation/state/long"])
        self.clock.advance(0)
        self.assertEqual(self.commits(), before + 1)

    def written(self) -> int:
        """Return how many documents were written since the store was opened."""
        return len(self.documents)


class CommitTest(SynchronousTestCase):
    """A kill -9 leaves what the newest commit holds: the events, and the alarm that they left behind."""

    @settings(unhurried, max_examples=40)
    @given(
        st.sampled_from([{}, {"for": 1}, {"nOfM": [2, 3]}, {"off": "Dev.A.latest < 1"}]),
        st.lists(
            st.tuples(
                st.lists(st.sampled_from([0.0, 1.5, 3.0]), max_size=4), st.sampled_from([0.0, 0.03, 0.7, 2.0])
            ),
            max_size=12,
        ),
    )
    def test_an_event_and_its_alarm_are_one(
        self, fields: dict[str, Any], life: list[tuple[list[float], float]]
    ) -> None:
        """Each change raises an event: after an odd number of these the alarm is active, in every commit."""
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        clock = Clock()
        bench = Bench(sqlite_storage(directory, clock), clock)
        bench.rule("both", "Dev.A.latest > 2", trigger="both", perMinute=0, ack=True, **fields)
        bench.on()
        for values, wait in life:
            if values:
                bench.send("Dev.A", *values)
            clock.advance(0)
            self.check(directory)
            clock.advance(wait)
            clock.advance(0)
            self.check(directory)
        bench.automation.stop()
        bench.storage.close()
        clock.advance(0)

    def check(self, directory: Path) -> None:
        with closing(sqlite3.connect(next(directory.glob("*.sqlite")))) as sql:
            (events,) = sql.execute("SELECT COUNT(*) FROM events").fetchone()
            row = sql.execute("SELECT value FROM documents WHERE key = 'automation/state/both'").fetchone()
            noted = sql.execute("SELECT alarm FROM notes ORDER BY event_id DESC LIMIT 1").fetchone()
        active = bool(row) and json.loads(row[0])["alarm"].get("active", False)
        self.assertEqual(active, bool(events % 2))
        if noted:
            self.assertEqual(json.loads(noted[0])["active"], active)
