"""A rule that lives through rows of the past: the condition by columns, the alarm where that matters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model import FloatColumn
from .alarm import Alarm, Change, ChangeKind
from .conditions import Condition, EvaluationFailed, Unknown, values_told
from .past import Rows, Values
from .rule import EventRule

TOLD = 10_000
"""Events, and stretches of activity, that are told at most."""

_STEPS = 4096
"""Evaluations between two places at which the work may rest."""

_Answers = NDArray[np.int8]
_UNKNOWN = -1
"""In place of 1 and 0 for true and false: no answer."""


class Replay:
    """An alarm that is led through the past, and what became of it.

    places: for each signal of the rule, by its key, the index of its course; window: how many of the newest
    samples of a signal a condition sees at most. fires: the events that it would have raised, active: when it
    was active, the last one until None where it still is; full: there was more than can be told, so it ended,
    at `until`.
    """

    def __init__(self, rule: EventRule, places: Mapping[str, int], window: int) -> None:
        self._rule = rule
        self._places = places
        self._window = window
        self._alarm = Alarm(rule)
        self._due = math.inf
        # The newest answers, and how many evaluations in a row have given them.
        self._code = _UNKNOWN
        self._equal = 0
        self._row = -1
        self._times: FloatColumn = np.empty(0)
        self._watched: list[tuple[Condition, Values]] = []
        self.fires: list[dict[str, Any]] = []
        self.active: list[list[float | None]] = []
        self.full = False
        self.until = math.nan

    def live(self, rows: Rows) -> Iterator[None]:
        """Go through the next rows, with places to rest."""
        self._times = rows.times
        self._watched = [
            (
                condition,
                Values(condition.uses, [self._places[use.key] for use in condition.uses], self._window, rows),
            )
            for condition in (self._rule.condition, self._rule.off_condition)
            if condition is not None
        ]
        sweepable = all(condition.sweepable for condition, _ in self._watched)
        known = max(values.first_known() for _, values in self._watched)
        start = 0
        while start < len(rows.times) and not self.full:
            if sweepable and start >= known:
                stop = len(rows.times)
                answers = [_swept(*each, start, rows.times[start:]) for each in self._watched]
            else:
                stop = min(start + _STEPS, known if sweepable else len(rows.times))
                answers = [_evaluated(*each, start, rows.times[start:stop]) for each in self._watched]
            yield from self._step(start, answers[0], answers[1] if len(answers) > 1 else None)
            start = stop
            yield
        if start:
            yield from self.tick(rows.times[-1])

    def _step(self, start: int, on: _Answers, off: _Answers | None) -> Iterator[None]:
        """Step the alarm where answers change, as often as an equal one still matters, and where each does.

        Where a condition has no answer there is no step.
        """
        code = on if off is None else np.where(np.minimum(on, off) == _UNKNOWN, _UNKNOWN, on * 2 + off)
        known = np.flatnonzero(code != _UNKNOWN)
        places = np.flatnonzero(self._changing(code[known]))
        rows, times, holding = start + known, self._times[start + known], on[known] == 1
        ending = None if off is None else off[known] == 1
        ends = [None] * len(places) if ending is None else ending[places].tolist()
        steps = zip(places.tolist(), times[places].tolist(), holding[places].tolist(), ends, strict=True)
        levels = self._rule.trigger.level is not None

        def repeat(after: int, before: int) -> Iterator[None]:
            equal = slice(after, before)
            end = None if ending is None else bool(ending[after])
            return self._repeat(rows[equal], times[equal], bool(holding[after]), end)

        after = 0
        for count, (place, now, holds, end) in enumerate(steps, start=1):
            if levels and after < place:
                yield from repeat(after, place)
            if self._due <= now:
                yield from self.tick(now)
            self._evaluate(int(rows[place]), now, holds, end)
            if self.full:
                return
            after = place + 1
            if not count % _STEPS:
                yield
        if levels and after < len(rows):
            yield from repeat(after, len(rows))

    def _repeat(
        self, rows: NDArray[np.intp], times: FloatColumn, holds: bool, ends: bool | None
    ) -> Iterator[None]:
        """Step the alarm at those rows at which it is restless; all have the answer of the row before."""
        place = 0
        while place < len(rows) and not self.full:
            now = float(times[place])
            if self._due <= now:
                yield from self.tick(now)
            if self._alarm.restless:
                self._evaluate(int(rows[place]), now, holds, ends)
                place += 1
            else:
                # Until something is due nothing changes.
                place = int(np.searchsorted(times, self._due))

    def _evaluate(self, row: int, now: float, holds: bool, ends: bool | None) -> None:
        self._row = row
        if changes := self._alarm.step(holds, ends, now):
            self._take(changes)
        due = self._alarm.due(now)
        self._due = math.inf if due is None else due

    def _changing(self, code: _Answers) -> NDArray[np.bool_]:
        """Return which of the answers may change something."""
        if not len(code):
            return np.ones(0, dtype=bool)
        place = np.arange(len(code))
        new = code != np.concatenate([[self._code], code[:-1]])
        since = np.maximum.accumulate(np.where(new, place, -self._equal))
        self._code, self._equal = int(code[-1]), len(code) - int(since[-1])
        return place - since < self._alarm.repeats

    def tick(self, until: float) -> Iterator[None]:
        """Do what is due up to a time, each at its moment, with places to rest."""
        count = 0
        while self._due <= until and not self.full:
            now = self._due
            # What the condition saw then: the row before.
            self._row = int(np.searchsorted(self._times, now)) - 1
            self._take(self._alarm.tick(now))
            due = self._alarm.due(now)
            self._due = math.inf if due is None else due
            count += 1
            if not count % _STEPS:
                yield

    def _take(self, changes: Sequence[Change]) -> None:
        for kind, at in changes:
            if kind is ChangeKind.INACTIVE:
                self.active[-1][1] = at
                continue
            told = {ChangeKind.FIRED: len(self.fires), ChangeKind.ACTIVE: len(self.active)}.get(kind)
            if told == TOLD:
                self.full, self.until = True, at
                return
            if kind is ChangeKind.FIRED:
                self.fires.append({"x": at, "kind": kind.value, "values": self._seen()})
            elif kind is ChangeKind.ACTIVE:
                self.active.append([at, None])

    def _seen(self) -> dict[str, Any]:
        """Return what the conditions saw, by name."""
        seen: dict[str, Any] = {}
        for condition, values in self._watched:
            seen |= values_told(condition, values.at(self._row))
        return seen


def _swept(condition: Condition, values: Values, start: int, times: FloatColumn) -> _Answers:
    """Return what a condition says at the rows from `start` on, whose slots are all known: see _UNKNOWN."""
    holds, failed = condition.sweep(values.columns(start, start + len(times)), times)
    return np.where(failed, _UNKNOWN, holds).astype(np.int8)


def _evaluated(condition: Condition, values: Values, start: int, times: FloatColumn) -> _Answers:
    """Return the same, row by row."""
    answers = np.full(len(times), _UNKNOWN, dtype=np.int8)
    for row, now in enumerate(times.tolist()):
        # Live rules have no answer then, either.
        with suppress(Unknown, EvaluationFailed):
            answers[row] = condition.holds(values.at(start + row), now)
    return answers
