"""Times of the day and the week, by the clock on the wall of a time zone.

A span is what that clock shows, and nothing else: 02:15 to 02:45 is not there on the day on which summer time
skips that hour, and there twice on the day that has it twice; 22:00 to 06:00 lasts seven hours in the one
night and nine in the other (IANA zones by zoneinfo, PEP 615; a doubled hour by `fold`, PEP 495).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from ..errors import BadValue
from .fields import Fields, shown

MAX_SPANS: Final = 100

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 86400
# Days after which nothing new comes: each weekday was there twice, even if a zone's change left one out.
_HORIZON = 22
# Where datetime can reckon, with some room.
_FIRST, _LAST = -6.0e10, 2.5e11
_TIME = re.compile(r"(\d\d):(\d\d)(?::(\d\d))?")
_LOCAL = Path("/etc/localtime")


def read_zone(name: Any, key: str) -> tzinfo:
    """Return the zone of an IANA name; raises BadValue, with the nearest name, if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError, AttributeError):
        raise BadValue(f"{key}: unknown time zone {shown(name)}{_meant(name)}") from None


def _meant(name: Any) -> str:
    same = [zone for zone in available_timezones() if zone.lower() == str(name).lower().replace(" ", "_")]
    return f"; did you mean {same[0]}?" if same else ", expected one like Europe/Berlin"


def local_zone(environ: Mapping[str, str] = os.environ, place: Path = _LOCAL) -> tzinfo:
    """Return the zone of this machine, by TZ or else by the file that says so; UTC where there is neither."""
    with suppress(BadValue):
        return read_zone(environ.get("TZ", "").removeprefix(":"), "TZ")
    try:
        with place.open("rb") as file:
            return ZoneInfo.from_file(file, key="localtime")
    except (OSError, ValueError):
        return UTC


@dataclass(frozen=True, slots=True)
class _Weekly:
    """These weekdays (0 is Monday), from a second of the day to another; not after it: of the next day."""

    days: frozenset[int]
    start: int
    stop: int

    def covers(self, day: int, second: int) -> bool:
        """Return whether it is that time, by the clock on the wall."""
        if self.start < self.stop:
            return day in self.days and self.start <= second < self.stop
        if second >= self.start:
            return day in self.days
        return second < self.stop and (day - 1) % 7 in self.days


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of time, any of which counts.

    weekly: those that come again; single: (start, stop) in seconds since the epoch.
    """

    zone: tzinfo
    weekly: tuple[_Weekly, ...]
    single: tuple[tuple[float, float], ...]

    @classmethod
    def read(cls, value: Any, zone: tzinfo, key: str) -> Spans | None:
        """Return the spans of a list of {days, from, to}, or {from, to} as date-times; None of an empty list.

        Raises BadValue naming the span and what is wrong with it.
        """
        if not isinstance(value, list):
            raise BadValue(f"{key}: expected a list of spans, got {shown(value)}")
        if len(value) > MAX_SPANS:
            raise BadValue(f"{key}: {len(value)} spans are too many, the limit is {MAX_SPANS}")
        weekly, single = [], []
        for index, each in enumerate(value):
            fields = Fields(each, f"{key}[{index}]", ("days", "from", "to"))
            if _is_dated(fields.plain("from")) or _is_dated(fields.plain("to")):
                single.append(_read_single(fields, zone))
            else:
                weekly.append(_read_weekly(fields))
        return cls(zone, tuple(weekly), tuple(single)) if value else None

    def look(self, now: float) -> tuple[bool, float]:
        """Return whether `now` is in one of them, and the next time at which to look again.

        Until then it stays so; math.inf where it never changes.
        """
        if not _FIRST <= now <= _LAST:
            return False, _FIRST if now < _FIRST else math.inf
        inside = self._covers(now)
        for moment in self._moments(now):
            if self._covers(moment) is not inside:
                return inside, moment
        # A single span may still end or begin: the weekly ones, if any, have shown all that they do.
        return inside, min((edge for span in self.single for edge in span if edge > now), default=math.inf)

    def _covers(self, moment: float) -> bool:
        if any(start <= moment < stop for start, stop in self.single):
            return True
        if not self.weekly:
            return False
        # All edges are whole seconds, and fromtimestamp rounds.
        wall = datetime.fromtimestamp(math.floor(moment), self.zone)
        day, second = wall.weekday(), wall.hour * 3600 + wall.minute * 60 + wall.second
        return any(span.covers(day, second) for span in self.weekly)

    def _moments(self, now: float) -> Iterator[float]:
        """Yield, in order, all times of the next days at which anything may change."""
        seconds = sorted({0, *(edge % _DAY for span in self.weekly for edge in (span.start, span.stop))})
        edges = [edge for span in self.single for edge in span]
        since = now
        for _ in range(_HORIZON):
            until = since + _DAY
            moments = [edge for edge in edges if since < edge <= until]
            if self.weekly:
                moments += self._wall_edges(seconds, since, until)
            yield from sorted(moments)
            since = until

    def _wall_edges(self, seconds: Sequence[int], since: float, until: float) -> Iterator[float]:
        """Yield when the clock shows these seconds of the day, and when it is put forward or back."""
        first, last = (datetime.fromtimestamp(math.floor(end), self.zone) for end in (since, until))
        if first.utcoffset() != last.utcoffset():
            yield self._change(math.floor(since), math.floor(until))
        day = first.date()
        while day <= last.date():
            for second in seconds:
                for fold in (0, 1):
                    moment = _wall(day, second, self.zone, fold).timestamp()
                    if since < moment <= until:
                        yield moment
            day += timedelta(days=1)

    def _change(self, low: int, high: int) -> float:
        """Return the second at which the zone's offset changes between two times."""
        before = datetime.fromtimestamp(low, self.zone).utcoffset()
        while high - low > 1:
            middle = (low + high) // 2
            if datetime.fromtimestamp(middle, self.zone).utcoffset() == before:
                low = middle
            else:
                high = middle
        return float(high)


def _wall(day: date, second: int, zone: tzinfo, fold: int) -> datetime:
    return datetime.combine(day, time(second // 3600, second // 60 % 60, second % 60, tzinfo=zone, fold=fold))


def _is_dated(value: Any) -> bool:
    return isinstance(value, str) and "-" in value


def _read_weekly(fields: Fields) -> _Weekly:
    start = _second(fields, "from", "00:00")
    stop = _second(fields, "to", "24:00")
    if start == _DAY:
        raise fields.wrong("from", "a time before 24:00")
    return _Weekly(_read_days(fields), start, stop)


def _second(fields: Fields, key: str, default: str) -> int:
    found = _TIME.fullmatch(fields.text(key, default))
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (99, 0, 0)
    second = hours * 3600 + minutes * 60 + seconds
    if minutes > 59 or seconds > 59 or second > _DAY:
        raise fields.wrong(key, "a time like 08:00, or a date-time like 2026-12-24T08:00")
    return second


def _read_days(fields: Fields) -> frozenset[int]:
    """Return the weekdays of "mon-fri", "sat,sun" or "all"; "sat-mon" goes over the end of the week."""
    days: set[int] = set()
    for part in fields.text("days", "all").lower().split(","):
        words = [word.strip() for word in part.split("-")]
        if words == ["all"]:
            days.update(range(7))
        elif 1 <= len(words) <= 2 and all(word in _DAYS for word in words):
            first, last = _DAYS.index(words[0]), _DAYS.index(words[-1])
            days.update((first + step) % 7 for step in range((last - first) % 7 + 1))
        else:
            raise fields.wrong("days", 'days like "mon-fri", "sat,sun" or "all"')
    return frozenset(days)


def _read_single(fields: Fields, zone: tzinfo) -> tuple[float, float]:
    if fields.has("days"):
        raise BadValue(f"{fields.key('days')}: a span with dates has no days")
    start, stop = _dated(fields, "from", zone), _dated(fields, "to", zone)
    if not start < stop:
        raise fields.wrong("to", "a date-time after `from`")
    return start, stop


def _dated(fields: Fields, key: str, zone: tzinfo) -> float:
    try:
        moment = datetime.fromisoformat(fields.text(key, None))
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise fields.wrong(key, "a date-time like 2026-12-24T08:00") from None
