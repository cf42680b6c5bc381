"""Schedules: what the clock on the wall shows, over midnight, over the changes of summer time."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.schedule import Spans, local_zone, read_zone
from rtoc_twisted.errors import BadValue
from tests.storage_support import unhurried

BERLIN = "Europe/Berlin"
# Doubled hours, skipped hours, half an hour of summer time, a skipped midnight, a skipped day.
ZONES = ["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia"]
# Around 2026-03-29 01:00 UTC (Berlin), 2026-10-25, 2026-11-01 (New York), 2026-04-04 15:00 UTC (Lord Howe),
# 2017-10-15 (Sao Paulo: no midnight), 2011-12-30 (Apia: no such day).
CHANGES = [1774746000, 1792890000, 1793512800, 1775314800, 1508036400, 1325239200]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def spans(value: Any, zone: str = BERLIN) -> Spans:
    read = Spans.read(value, read_zone(zone, "zone"), "schedule")
    assert read is not None
    return read


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def edges(schedule: Spans, start: float, stop: float) -> list[tuple[str, bool]]:
    """Return when it changes, in UTC, and what it is then."""
    found = []
    moment = start
    while True:
        _, moment = schedule.look(moment)
        if moment >= stop:
            return found
        shown = datetime.fromtimestamp(moment, UTC).strftime("%d %H:%M")
        found.append((shown, schedule.look(moment)[0]))


class Looking(SynchronousTestCase):
    def test_working_hours(self) -> None:
        """On weekdays from 8 to half past 5, the edges belong to what follows."""
        schedule = spans([{"days": "mon-fri", "from": "08:00", "to": "17:30"}])
        friday = at("2026-07-03T17:29:59")
        self.assertEqual(schedule.look(friday), (True, friday + 1))
        self.assertEqual(schedule.look(friday + 1), (False, at("2026-07-06T08:00")))
        opening = at("2026-07-06T08:00")
        self.assertEqual(schedule.look(math.nextafter(opening, 0.0)), (False, opening))

    def test_over_midnight(self) -> None:
        """A span that ends the next day belongs to the day on which it begins."""
        schedule = spans([{"days": "fri", "from": "22:00", "to": "06:00"}])
        self.assertEqual(
            edges(schedule, at("2026-07-01T00:00"), at("2026-07-08T00:00")),
            [("03 20:00", True), ("04 04:00", False)],
        )
        whole = spans([{"days": "fri", "from": "09:00", "to": "09:00"}])
        start = at("2026-07-03T09:00")
        self.assertEqual(whole.look(start), (True, start + 86400))

    def test_several(self) -> None:
        """Spans that touch or overlap are one; days go over the end of the week."""
        schedule = spans(
            [
                {"days": "sat - mon", "from": "08:00", "to": "12:00"},
                {"days": "MON", "from": "12:00", "to": "13:30:30"},
                {"from": "2026-07-06T13:00", "to": "2026-07-06T14:00+02:00"},
            ]
        )
        monday = at("2026-07-06T09:00")
        self.assertEqual(schedule.look(monday), (True, at("2026-07-06T14:00")))
        self.assertEqual(schedule.look(at("2026-07-06T14:00")), (False, at("2026-07-11T08:00")))

    def test_never_changes(self) -> None:
        """All the time is all the time, and a single span comes once."""
        self.assertEqual(spans([{}]).look(0.0), (True, math.inf))
        single = spans([{"from": "2026-12-24T18:00", "to": "2026-12-27"}])
        start, stop = at("2026-12-24T18:00"), at("2026-12-27T00:00")
        self.assertEqual(single.look(0.0), (False, start))
        self.assertEqual((single.look(start), single.look(stop)), ((True, stop), (False, math.inf)))

    def test_far_ahead(self) -> None:
        """A single span far ahead is found behind weekly ones, and these behind a long single one."""
        always = spans([{}, {"from": "2030-01-01", "to": "2031-01-01"}])
        self.assertTrue(always.look(at("2026-01-01T00:00"))[0])
        year = spans([{"from": "2026-01-01", "to": "2027-01-01"}, {"from": "08:00", "to": "09:00"}])
        inside, again = year.look(at("2026-03-01T00:00"))
        self.assertEqual((inside, again), (True, at("2027-01-01T00:00")))
        self.assertEqual(year.look(again), (False, at("2027-01-01T08:00")))

    def test_beyond_the_calendar(self) -> None:
        """Times that no calendar has are in no span."""
        for moment in (1e18, -1e18, math.inf, -math.inf, math.nan):
            inside, again = spans([{}]).look(moment)
            self.assertFalse(inside)
            self.assertTrue(again > moment or again == math.inf)


class SummerTime(SynchronousTestCase):
    def test_skipped(self) -> None:
        """What the clock does not show is not there, and what it steps over ends there."""
        day = at("2026-03-29T00:00"), at("2026-03-30T00:00")
        self.assertEqual(edges(spans([{"from": "02:15", "to": "02:45"}]), *day), [])
        self.assertEqual(
            edges(spans([{"from": "01:30", "to": "02:30"}]), *day), [("29 00:30", True), ("29 01:00", False)]
        )
        self.assertEqual(
            edges(spans([{"from": "02:30", "to": "03:30"}]), *day), [("29 01:00", True), ("29 01:30", False)]
        )
        # Only on that Sunday: the next one has it again.
        sundays = spans([{"days": "sun", "from": "02:15", "to": "02:45"}])
        self.assertEqual(sundays.look(day[0]), (False, at("2026-04-05T02:15")))

    def test_doubled(self) -> None:
        """What the clock shows twice is there twice."""
        day = at("2026-10-25T00:00"), at("2026-10-26T00:00")
        self.assertEqual(
            edges(spans([{"from": "02:15", "to": "02:45"}]), *day),
            [("25 00:15", True), ("25 00:45", False), ("25 01:15", True), ("25 01:45", False)],
        )
        self.assertEqual(
            edges(spans([{"from": "01:30", "to": "02:30"}]), *day),
            [("24 23:30", True), ("25 00:30", False), ("25 01:00", True), ("25 01:30", False)],
        )

    def test_nights(self) -> None:
        """A night lasts seven, eight or nine hours."""
        night = spans([{"from": "22:00", "to": "06:00"}])
        for evening, hours in (("2026-03-28", 7), ("2026-07-01", 8), ("2026-10-24", 9)):
            start = at(f"{evening}T22:00")
            self.assertEqual(night.look(start), (True, start + hours * 3600), evening)

    def test_other_zones(self) -> None:
        """A day without its midnight, and a week without its Friday."""
        sunday = spans([{"days": "sun"}], "America/Sao_Paulo")
        start = at("2017-10-15T01:00", "America/Sao_Paulo")
        self.assertEqual(sunday.look(start - 1), (False, start))
        self.assertEqual(sunday.look(start), (True, start + 23 * 3600))
        friday = spans([{"days": "fri"}], "Pacific/Apia")
        self.assertEqual(
            friday.look(at("2011-12-25T00:00", "Pacific/Apia")),
            (False, at("2012-01-06T00:00", "Pacific/Apia")),
        )

    @unhurried
    @given(
        st.sampled_from(ZONES),
        st.lists(
            st.tuples(st.sets(st.sampled_from(DAYS), min_size=1), st.integers(0, 95), st.integers(1, 96)),
            min_size=1,
            max_size=3,
        ),
        st.sampled_from(CHANGES),
        st.integers(-2 * 86400, 2 * 86400),
    )
    def test_wall(self, zone: str, given_: list[tuple[set[str], int, int]], change: int, shift: int) -> None:
        """It is in a span iff the clock shows a time of it, and changes when `look` says, not before."""
        value = [
            {"days": ",".join(sorted(days)), "from": clock(start), "to": clock(stop)}
            for days, start, stop in given_
        ]
        schedule, now = spans(value, zone), change + shift
        inside, again = schedule.look(now)
        self.assertGreater(again, now)
        for moment in range(now, int(min(again, now + 3 * 86400)), 300):
            self.assertIs(shown(given_, zone, moment), inside)
        if again < math.inf:
            self.assertIs(shown(given_, zone, int(again) - 1), inside)
            self.assertIs(shown(given_, zone, int(again)), not inside)
            self.assertIs(schedule.look(again)[0], not inside)


def clock(quarters: int) -> str:
    return f"{quarters // 4:02}:{quarters % 4 * 15:02}"


def shown(given_: list[tuple[set[str], int, int]], zone: str, moment: int) -> bool:
    """Return whether the clock on the wall shows a time of one of the spans: the definition, in quarters."""
    wall = datetime.fromtimestamp(moment, ZoneInfo(zone))
    quarter = wall.hour * 4 + wall.minute // 15
    today, yesterday = DAYS[wall.weekday()], DAYS[wall.weekday() - 1]
    return any(
        (today in days and start <= quarter and (quarter < stop or stop <= start))
        or (yesterday in days and stop <= start and quarter < stop)
        for days, start, stop in given_
    )


class Reading(SynchronousTestCase):
    def test_refused(self) -> None:
        """The span and what is wrong with it are named."""
        wrong: list[tuple[Any, str]] = [
            ("all", "s: expected a list of spans, got 'all'"),
            ([{}] * 101, "s: 101 spans are too many, the limit is 100"),
            ([{}, 5], "s[1]: expected an object, got 5"),
            ([{"form": "08:00"}], "s[0].form: unknown field; did you mean from?"),
            ([{"from": "8:00"}], "s[0].from: expected a time like 08:00"),
            ([{"from": "24:00"}], "s[0].from: expected a time before 24:00, got '24:00'"),
            ([{"to": "24:01"}], "s[0].to: expected a time"),
            ([{"to": "08:60"}], "s[0].to: expected a time"),
            ([{"to": 8}], "s[0].to: expected a text, got 8"),
            ([{"days": "monday"}], "s[0].days: expected days like"),
            ([{"days": "mon-wed-fri"}], "s[0].days: expected days like"),
            ([{"days": ""}], "s[0].days: expected days like"),
            ([{"from": "2026-12-24"}], "s[0].to: missing"),
            ([{"from": "2026-12-24", "to": "08:00"}], "s[0].to: expected a date-time"),
            ([{"from": "2026-13-24", "to": "2027-01-01"}], "s[0].from: expected a date-time"),
            ([{"from": "2026-12-24", "to": "2026-12-24"}], "s[0].to: expected a date-time after `from`"),
            ([{"from": "2026-12-24", "to": "2027-01-01", "days": "mon"}], "s[0].days: a span with dates"),
        ]
        for value, words in wrong:
            with self.assertRaises(BadValue) as caught:
                Spans.read(value, UTC, "s")
            self.assertIn(words, caught.exception.message)

    def test_empty(self) -> None:
        """No spans are no schedule."""
        self.assertIsNone(Spans.read([], UTC, "s"))

    def test_local_zone(self) -> None:
        """TZ says where we are, or else the machine's file does, and UTC is what is left."""
        nowhere = Path(self.mktemp())
        self.assertEqual(local_zone({"TZ": ":Europe/Berlin"}, nowhere), ZoneInfo(BERLIN))
        self.assertIs(local_zone({"TZ": "CET-1CEST"}, nowhere), UTC)
        self.assertIs(local_zone({}, nowhere), UTC)
        nowhere.write_bytes(b"TZif")
        self.assertIs(local_zone({}, nowhere), UTC)
        nowhere.write_bytes(zone_file(7200))
        self.assertEqual(datetime.fromtimestamp(0, local_zone({}, nowhere)).hour, 2)


def zone_file(offset: int) -> bytes:
    """Return a file of a zone that is always that many seconds east (RFC 8536, version 1)."""
    counts = b"".join(count.to_bytes(4, "big") for count in (0, 0, 0, 0, 1, 4))
    return b"TZif" + bytes(16) + counts + offset.to_bytes(4, "big") + b"\0\0" + b"XYZ\0"
