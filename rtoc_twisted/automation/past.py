"""What was recorded, as a rule would have lived it: the samples of several signals, one evaluation a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import BadValue
from ..model import FloatColumn
from .conditions import Use, View

ROWS = 1 << 17
"""Rows that are made at a time."""

PULSES = 10**8
"""Rows without a cause, in all."""

Side = Literal["left", "right"]

_EMPTY: FloatColumn = np.empty(0)
_ARRAYS = (View.X, View.Y, View.PAIR)


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """What a signal did while some rows went by.

    x, y: float64[n], the `older` samples that came before the rows and those that came with them; seen: how
    many of them had come at each row, int[rows].
    """

    x: FloatColumn
    y: FloatColumn
    older: int
    seen: NDArray[np.intp]

    def seen_at(self, row: int) -> int:
        """Return how many samples had come at a row; -1 is before the first."""
        return self.older if row < 0 else int(self.seen[row])


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Moments in their order, float64[n], at each of which a rule is evaluated; courses of its signals."""

    times: FloatColumn
    courses: Sequence[Course]


class Track:
    """Samples of one signal on their way into rows.

    keep: how many of the newest samples a row may look back to; silences: seconds without a sample after
    which there is to be a row.
    """

    def __init__(self, keep: int, silences: Sequence[float] = ()) -> None:
        self._keep = keep
        self._silences = list(silences)
        self._due = [np.inf] * len(silences)
        self._old_x = self._old_y = self.x = self._y = _EMPTY
        self.more = True

    def add(self, x: FloatColumn, y: FloatColumn, more: bool) -> int:
        """Take the samples that came next; return how many count: those whose x is a time.

        They are sorted by x; one that should have come in an earlier page counts as if it had the newest x.
        """
        finite = np.isfinite(x)
        if not finite.all():
            x, y = x[finite], y[finite]
        if (x[1:] < x[:-1]).any():
            order = np.argsort(x, kind="stable")
            x, y = x[order], y[order]
        newest = self.newest
        if newest is not None and len(x) and x[0] < newest:
            x = np.maximum(x, newest)
        self.x, self._y = np.concatenate([self.x, x]), np.concatenate([self._y, y])
        self.more = more
        return len(x)

    @property
    def newest(self) -> float | None:
        """Return the x of the newest sample, None where there is none yet."""
        for column in (self.x, self._old_x):
            if len(column):
                return float(column[-1])
        return None

    def horizon(self, most: int) -> float:
        """Return before which x all is known, looking at so many samples at most."""
        if len(self.x) > most:
            return float(self.x[most])
        if not self.more:
            return np.inf
        return float(self.x[-1])

    def take(self, horizon: float, side: Side) -> tuple[FloatColumn, FloatColumn, FloatColumn]:
        """Return x and y of the samples before a time, and when there was silence before it.

        side: "left" for what is before it, "right" for what is at it, too.
        """
        count = int(np.searchsorted(self.x, horizon, side=side))
        x, y = self.x[:count], self._y[:count]
        self.x, self._y = self.x[count:], self._y[count:]
        silent = [self._silent(index, x, horizon, side) for index in range(len(self._silences))]
        return x, y, np.concatenate([_EMPTY, *silent])

    def _silent(self, index: int, x: FloatColumn, horizon: float, side: Side) -> FloatColumn:
        due = np.concatenate([[self._due[index]], _after(x, self._silences[index])])
        silent = (due < np.append(x, np.inf)) & (due <= horizon if side == "right" else due < horizon)
        self._due[index] = np.inf if silent[-1] else float(due[-1])
        return due[silent]

    def course(self, x: FloatColumn, y: FloatColumn, here: NDArray[np.bool_]) -> Course:
        """Return the course of these samples, which come `here` among the rows; keep the newest of them."""
        older = len(self._old_x)
        x, y = np.concatenate([self._old_x, x]), np.concatenate([self._old_y, y])
        self._old_x, self._old_y = x[-self._keep :], y[-self._keep :]
        return Course(x, y, older, np.cumsum(here) + older)


class Past:
    """Merges the samples of several signals by x into rows.

    Of equal x the order of the signals counts, as far as the samples of one x are looked at together. It
    needs pages of what was recorded (`wanted`, `tracks`), and makes rows out of them (`rows`). pulse: seconds
    after a row until there is another one, whatever comes; None for no such rows. begin: the time of the
    first row, needed where there are no signals.
    """

    def __init__(
        self, tracks: Sequence[Track], pulse: float | None = None, begin: float | None = None
    ) -> None:
        self.tracks = tracks
        self._most = max(1, ROWS // max(1, len(tracks)))
        self._pulse = pulse
        self._pulses = 0
        self._begin = None if tracks else begin
        self._last: float | None = None
        self._ended = False

    def wanted(self) -> list[int]:
        """Return of which signals the next samples are needed before there are any more rows."""
        return [index for index, track in enumerate(self.tracks) if track.more and not len(track.x)]

    def rows(self, end: float) -> Rows | None:
        """Return the next rows; None where there are none without further samples, and at the end.

        end: until when the time goes on after the newest sample. Raises BadValue for too many pulses.
        """
        if self._ended or self.wanted():
            return None
        horizon, side = self._horizon(end)
        taken = [track.take(horizon, side) for track in self.tracks]
        begin = _EMPTY if self._begin is None else np.array([self._begin])
        self._begin = None
        silent = [silent for _, _, silent in taken]
        times = np.concatenate([x for x, _, _ in taken] + silent + [begin])
        others = sum(map(len, silent)) + len(begin)
        whose = np.repeat(np.append(np.arange(len(taken)), -1), [*(len(x) for x, _, _ in taken), others])
        if others or len(taken) > 1:
            times, whose = _sorted(times, whose)
        if self._pulse is not None:
            pulses = self._between(times, horizon, side, self._pulse)
            times, whose = _sorted(np.append(times, pulses), np.append(whose, np.full(len(pulses), -1)))
        if len(times):
            self._last = float(times[-1])
        courses = [
            track.course(x, y, whose == index)
            for index, (track, (x, y, _)) in enumerate(zip(self.tracks, taken, strict=True))
        ]
        return Rows(times, courses)

    def _horizon(self, end: float) -> tuple[float, Side]:
        """Return up to when rows can be made, "right" if with what is at that time, else without."""
        if self._begin is not None:
            return self._begin, "right"
        horizon = min((track.horizon(self._most) for track in self.tracks), default=math.inf)
        far = min(horizon, end)
        if self._pulse is not None:
            first = [float(track.x[0]) for track in self.tracks if len(track.x)]
            since = min(first, default=far) if self._last is None else self._last
            if self._pulses + (far - since) / self._pulse > PULSES:
                raise BadValue(
                    f"backtest: from {since} to {far} is too long for a condition that time alone may "
                    "change: give a `from` and a `to`"
                )
            near = since + self._pulse * ROWS
            if near < far:
                return near, "left"
        if horizon == math.inf:
            self._ended = True
            return end, "right"
        # What comes next may have the x of the horizon, too; unless all have it, it waits for that.
        waits = any(len(track.x) and track.x[0] < horizon for track in self.tracks)
        return horizon, "left" if waits else "right"

    def _between(self, times: FloatColumn, horizon: float, side: Side, pulse: float) -> FloatColumn:
        """Return the times of pulses between and after these rows."""
        since = times if self._last is None else np.append(self._last, times)
        if not len(since):
            return _EMPTY
        until = np.append(since[1:], np.nextafter(horizon, np.inf) if side == "right" else horizon)
        counts = np.maximum(np.ceil((until - since) / pulse), 1).astype(np.intp) - 1
        count = int(counts.sum())
        self._pulses += count
        number = np.arange(count) - np.repeat(np.cumsum(counts) - counts, counts) + 1
        pulses: FloatColumn = np.repeat(since, counts) + number * pulse
        return pulses[pulses < np.repeat(until, counts)]


def _sorted(times: FloatColumn, whose: NDArray[np.intp]) -> tuple[FloatColumn, NDArray[np.intp]]:
    order = np.argsort(times, kind="stable")
    return times[order], whose[order]


def kept(uses: Sequence[Use], window: int) -> int:
    """Return how many of a signal's newest samples these uses look at. window: what a rule sees at most."""
    return max(
        1 if use.view not in (*_ARRAYS, View.RATE) else min(use.samples or window, window) for use in uses
    )


class Values:
    """What the slots of a condition hold, row by row or as columns.

    uses: of the condition; places: the index of each use's signal among the courses; window: how many of the
    newest samples of a signal a condition sees at most.
    """

    def __init__(self, uses: Sequence[Use], places: Sequence[int], window: int, rows: Rows) -> None:
        self._slots = [(use, rows.courses[place]) for use, place in zip(uses, places, strict=True)]
        self._window = window
        self._rates = [_rates(use, course, window) for use, course in self._slots]

    def first_known(self) -> int:
        """Return the first row at which there is a sample of each signal."""
        return max((int(np.searchsorted(course.seen, 1)) for _, course in self._slots), default=0)

    def columns(self, start: int, stop: int) -> list[FloatColumn]:
        """Return the slots of single values as columns of the rows from one to before another, all known."""
        columns = []
        for (use, course), rates in zip(self._slots, self._rates, strict=True):
            source = {View.LATEST: course.y, View.RECEIVED: course.x}.get(use.view, rates)
            columns.append(source[course.seen[start:stop] - 1])
        return columns

    def at(self, row: int) -> list[object]:
        """Return the slots at a row, None what is not known; -1 is before the first."""
        return [
            self._value(use, course, rates, course.seen_at(row))
            for (use, course), rates in zip(self._slots, self._rates, strict=True)
        ]

    def _value(self, use: Use, course: Course, rates: FloatColumn, seen: int) -> object:
        if not seen:
            return None
        match use.view:
            case View.LATEST:
                return float(course.y[seen - 1])
            case View.RECEIVED:
                return float(course.x[seen - 1])
            case View.RATE:
                return float(rates[seen - 1])
        part = slice(max(0, seen - min(use.samples or self._window, self._window)), seen)
        x, y = course.x[part], course.y[part]
        return {View.X: x, View.Y: y}.get(use.view, (x, y))


def _after(x: FloatColumn, seconds: float) -> FloatColumn:
    """Return the first time at which that many seconds are over, whatever the sum was rounded to."""
    after = x + seconds
    return np.where(after - x < seconds, np.nextafter(after, np.inf), after)


def _rates(use: Use, course: Course, window: int) -> FloatColumn:
    """Return the rate of change at each sample, nothing for other views."""
    if use.view is not View.RATE:
        return _EMPTY
    x, y = course.x, course.y
    first = np.searchsorted(x, x - use.seconds)
    first = np.maximum(first, np.arange(len(x)) - window + 1)
    change = x - x[first]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return np.where(change > 0, (y - y[first]) / change, 0.0)
