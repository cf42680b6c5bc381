"""The way of one child process's values, plots and events to the recorder: no faster than they are stored."""

from __future__ import annotations

import sys
from array import array
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from ..errors import BadValue, RTOCError
from ..interfaces import ICommit, IRecorder
from ..model import Event, FloatColumn, Hold, Names, Plot, Samples, SignalName
from ..wire.batch import check_name, check_text
from ..wire.codec import check_value
from . import messages

_WAITING = 100_000
"""Values of a plugin that may wait for the disk; then it waits, too."""

_IN_A_TURN = 16_384
"""Values that are recorded before others have their turn."""

_PIECE = 8192
_REMEMBERED = 200_000
"""Names in all layouts that are remembered; all are forgotten when there are more."""

Data = messages.Samples | messages.Plot | messages.Event
_Layout = tuple[str, tuple[str, ...], tuple[str | None, ...]]


class Intake:
    """Records what a plugin reports, in order.

    congested: whether the store wants nobody to send; complain: told what was refused, and why; hold:
    told with True when the plugin should be read no further, with False when it may be.
    """

    def __init__(
        self,
        recorder: IRecorder,
        clock: IReactorTime,
        *,
        congested: Callable[[], bool],
        complain: Callable[[str], None],
        hold: Callable[[bool], None],
    ) -> None:
        self._recorder = recorder
        self._clock = clock
        self._congested = congested
        self._complain = complain
        self._hold = hold
        self._queue: deque[Iterator[Samples | Plot | Event]] = deque()
        self._blocked = False
        self._scheduled = False
        self._holding = False
        self._waiting = 0
        self._commit: ICommit | None = None
        self._carried = [0]
        self._names: dict[tuple[_Layout, int], Names] = {}
        self._remembered = 0
        self._idle: list[Deferred[None]] = []
        self.refused = 0

    def take(self, report: Data) -> None:
        """Take a report; it is recorded at once unless it is long, others wait, or the disk is behind."""
        self._queue.append(self._parts(report))
        if not self._scheduled:
            self._work()

    def when_idle(self) -> Deferred[None]:
        """Fire once all that was taken was handed to the recorder."""
        if not self._queue:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._idle.append(waiting)
        return waiting

    def _work(self) -> None:
        self._scheduled = False
        done = 0
        while self._queue and not self._blocked and not self._scheduled:
            if done >= _IN_A_TURN:
                self._scheduled = True
                self._clock.callLater(0, self._work)
            else:
                done += self._next()
        held = bool(self._queue) or self._blocked
        if held or self._holding:
            # Told again, as meanwhile another process may be the one to hold.
            self._hold(held)
        self._holding = held
        if not self._queue and self._idle:
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)

    def _next(self) -> int:
        """Record the next part; return how many values it had."""
        try:
            data = next(self._queue[0], None)
            if data is None:
                self._queue.popleft()
                return 0
            commit = self._recorder.record(data)
        except RTOCError as error:
            # What is wrong with one part of a report is so with the others.
            self._queue.popleft()
            self.refused += 1
            self._complain(f"not recorded: {error}")
            return 0
        count = 1 if isinstance(data, Event) else len(data.y)
        self._await(commit, count)
        return count

    def _await(self, commit: ICommit, count: int) -> None:
        if commit.done:
            self._check(commit, count)
            return
        self._waiting += count
        if self._waiting > _WAITING or self._congested():
            self._blocked = True
        if commit is self._commit:
            self._carried[0] += count
            return
        carried = self._carried = [count]
        self._commit = commit
        commit.when_done(lambda: self._stored(commit, carried[0]))

    def _stored(self, commit: ICommit, count: int) -> None:
        self._waiting -= count
        self._check(commit, count)
        if self._blocked:
            self._blocked = False
            if not self._scheduled:
                self._work()

    def _check(self, commit: ICommit, count: int) -> None:
        if commit.error is not None:
            self.refused += count
            self._complain(f"{count} values were not stored: {commit.error}")

    # From reports to what the recorder takes.

    def _parts(self, report: Data) -> Iterator[Samples | Plot | Event]:
        if isinstance(report, messages.Samples):
            yield from self._samples(report)
        elif isinstance(report, messages.Plot):
            yield _plot(report)
        else:
            yield _event(report)

    def _samples(self, report: messages.Samples) -> Iterator[Samples]:
        x, y = _column(report.x), _column(report.y)
        width = len(report.names)
        if len(x) != len(y) or not width or len(report.units) != width:
            raise BadValue(f"{len(x)} x, {len(y)} y, {width} names and {len(report.units)} units do not fit")
        layout = (report.dname, tuple(report.names), tuple(report.units))
        start = 0
        while start < len(y):
            count = _part(len(y) - start, width)
            stop = start + count
            yield Samples(self._names_of(layout, count), x[start:stop], y[start:stop])
            start = stop

    def _names_of(self, layout: _Layout, count: int) -> Names:
        known = self._names.get((layout, count))
        if known is not None:
            return known
        dname, names, units = layout
        check_name(dname, "dname")
        for name, unit in zip(names, units, strict=True):
            check_name(name, "sname")
            check_name(unit or "", "unit")
        rounds = -(-count // len(names))
        signals = [SignalName(dname, name) for name in names] * rounds
        made = Names(signals[:count], ([unit or "" for unit in units] * rounds)[:count])
        if self._remembered + count > _REMEMBERED:
            self._names.clear()
            self._remembered = 0
        self._remembered += count
        self._names[layout, count] = made
        return made


def _part(rest: int, width: int) -> int:
    """Return how many values to record together.

    It is the width times a power of two, so that few layouts serve messages of all lengths.
    """
    if rest < width:
        return rest
    rounds = min(rest // width, max(1, _PIECE // width))
    return width << (rounds.bit_length() - 1)


def _column(data: bytes) -> array[float]:
    """Return little-endian float64 as a column; raises BadValue."""
    column = array("d")
    try:
        column.frombytes(data)
    except ValueError:
        raise BadValue(f"{len(data)} bytes are no column of float64") from None
    if sys.byteorder == "big":
        column.byteswap()
    return column


def _numbers(data: bytes) -> FloatColumn:
    return np.frombuffer(_column(data), dtype=np.float64)


def _plot(report: messages.Plot) -> Plot:
    x, y = _numbers(report.x), _numbers(report.y)
    if len(x) != len(y):
        raise BadValue(f"a plot needs as many x as y, x has {len(x)} values and y has {len(y)}")
    for key in ("dname", "sname", "unit"):
        check_name(getattr(report, key), key)
    try:
        hold = Hold(report.hold)
    except ValueError:
        raise BadValue(f"hold: there is no {report.hold[:40]!r}") from None
    return Plot(SignalName(report.dname, report.sname), x, y, report.unit, hold)


def _event(report: messages.Event) -> Event:
    for key in ("dname", "sname", "id"):
        check_name(getattr(report, key), key)
    check_text(report.text, "text")
    check_value(report.value, "value")
    name = SignalName(report.dname, report.sname)
    priority = report.priority if report.priority in (0, 1, 2) else 0
    return Event(name, report.text, report.x, priority, report.id, report.value)
