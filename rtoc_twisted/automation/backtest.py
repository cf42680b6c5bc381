"""When a rule would have fired: the past read page by page, and lived through by the code that lives now."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock, inlineCallbacks

from ..errors import BadValue, Busy
from ..interfaces import IStorage
from ..model import Columns, Cursor, Page, Signal, Window
from .conditions import View
from .live import TICK
from .past import Past, Track, kept
from .replay import Replay
from .rule import EventRule

InThread = Callable[[Callable[[], Any]], Deferred[Any]]
Progress = Callable[[float], object]

WAITING = 4
"""Tests that wait for the one that is under way."""

AT_HAND = 1 << 19
"""Samples that are read at a time, of all signals together."""

_SLICE = 0.1
"""Seconds of work between two reports, and until a test that was cancelled ends."""


class Backtest:
    """Tries rules on what is recorded, one after the other.

    in_thread: runs a function in a thread of a pool, returns a Deferred of its result; clock: seconds that
    only pass; wall: now, in seconds since the epoch; window: how many of the newest samples of a signal a
    condition sees at most, as with live rules.
    """

    def __init__(
        self,
        storage: IStorage,
        in_thread: InThread,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        window: int,
    ) -> None:
        self._storage = storage
        self._in_thread = in_thread
        self._clock = clock
        self._wall = wall
        self._window = window
        self._turn = DeferredLock()

    @inlineCallbacks
    def run(self, rule: EventRule, start: float | None, stop: float | None, progress: Progress) -> Any:
        """Fire with when the rule would have fired on the samples with start <= x <= stop (None: no bound).

        progress: called with 0 .. 1 after each slice of the work. The result: `fires`, {x, kind, values}
        of each event; `active`, [from, to] of each time that the alarm was active, to is None if it still is;
        `samples` and `signals` that were looked at; `seconds` of work; `more`: there are more than 10 000 of
        either, so it ended `until` there; `leftOut`: how many samples retention has thinned out, so that they
        could not be looked at.
        The x of a sample counts as the time at which it came; nothing is known from before `start`, and time
        goes on until `stop`, but not beyond now and the newest sample. No brake is put on the events.
        Cancelled, it ends after the present slice. Fails with BadValue for signals that there are not,
        parameters of plugins, which have no past, and bounds that are none; Busy while as many wait as may;
        and as reading fails.
        """
        signals = self._signals(rule)
        start, stop = _bound(start, "from"), _bound(stop, "to")
        if start is not None and stop is not None and start > stop:
            raise BadValue(f"backtest.to: {stop} is before `from`, {start}")
        if not signals and start is None:
            raise BadValue("backtest.from: the condition names no signal, so it takes a time to begin at")
        if len(self._turn.waiting) >= WAITING:
            raise Busy(f"{WAITING} backtests are waiting already: try again later")
        yield self._turn.acquire()
        try:
            test = _Test(rule, signals, (start, stop), self._window, self._wall())
            result = yield self._test(test, progress)
        finally:
            self._turn.release()
        return result

    @inlineCallbacks
    def _test(self, test: _Test, progress: Progress) -> Any:
        began = self._clock()
        total = sum(self._count(signal) for signal in test.signals)
        while not test.ended:
            if requests := test.requests():
                test.pages = yield self._storage.read(requests)
            yield self._in_thread(lambda: self._slice(test))
            progress(min(1.0, test.passed / total) if total else 1.0)
        return {**test.result(), "seconds": round(self._clock() - began, 3)}

    def _slice(self, test: _Test) -> None:
        until = self._clock() + _SLICE
        for _ in test.work:
            if test.wanted or self._clock() >= until:
                return
        test.ended = True

    def _count(self, signal: Signal) -> int:
        summary = self._storage.summary(signal.id)
        return 0 if summary is None else summary.count

    def _signals(self, rule: EventRule) -> dict[str, Signal]:
        signals, missing = {}, []
        for use in rule.uses:
            signal = None if use.view is View.PARAMETER else self._storage.resolve(use.key)
            if signal is None:
                missing.append(use.key)
            else:
                signals[use.key] = signal
        if missing:
            raise BadValue(
                f"backtest: there is no signal {', '.join(dict.fromkeys(missing))}; "
                "a plugin's parameter has no past to try a rule on"
            )
        return signals


class _Test:
    """One test: what it has read, and how far it is.

    `work` goes on as long as it can, with places to rest; at one of them it may need `pages`, the answer to
    `requests`. passed: how many of all samples that the signals have it has gone by.
    """

    def __init__(
        self,
        rule: EventRule,
        signals: Mapping[str, Signal],
        bounds: tuple[float | None, float | None],
        window: int,
        now: float,
    ) -> None:
        self.signals = list(signals.values())
        self.pages: Sequence[Columns] = ()
        self.ended = False
        self._keys = list(signals)
        self._start, self._stop = bounds
        # A window begins after its lower bound.
        x_min = None if self._start is None else math.nextafter(self._start, -math.inf)
        limit = max(1, AT_HAND // max(1, len(signals)))
        self._window = Window(x_min, self._stop, page=Page(None, limit))
        self._after: list[Cursor | None] = [None] * len(signals)
        self._now = now
        self._samples = self._left_out = 0
        tracks = [_track(key, rule, window) for key in signals]
        self._past = Past(tracks, TICK if rule.timely else None, self._start)
        self._replay = Replay(rule, {key: place for place, key in enumerate(signals)}, window)
        self.wanted: Sequence[int] = self._past.wanted()
        self.work = self._work()

    @property
    def passed(self) -> int:
        """Return how many samples it has gone by."""
        return sum(cursor.ordinal for cursor in self._after if cursor is not None)

    def requests(self) -> list[tuple[int, Window]]:
        """Return what is to be read before the work can go on."""
        limit = self._window.page.limit if self._window.page else 0
        return [
            (self.signals[place].id, replace(self._window, page=Page(self._after[place], limit)))
            for place in self.wanted
        ]

    def _work(self) -> Iterator[None]:
        while not self._replay.full:
            self._take_pages()
            rows = self._past.rows(self._end())
            if rows is not None:
                yield from self._replay.live(rows)
                continue
            self.wanted = self._past.wanted()
            if not self.wanted:
                break
            yield
        yield from self._replay.tick(self._end())

    def _take_pages(self) -> None:
        for place, page in zip(self.wanted, self.pages, strict=True):
            # Without a cursor the signal is gone.
            more = page.more and page.cursor is not None
            self._samples += self._past.tracks[place].add(page.x, page.y, more)
            self._after[place] = page.cursor
            self._left_out += page.left_out
        self.wanted = self.pages = ()

    def _end(self) -> float:
        """Return up to when the time goes on after the newest sample."""
        newest = (track.newest for track in self._past.tracks)
        end = max([self._now, *(x for x in newest if x is not None)])
        return end if self._stop is None else min(end, self._stop)

    def result(self) -> dict[str, Any]:
        """Return what became of it."""
        told = {
            "fires": self._replay.fires,
            "active": self._replay.active,
            "samples": self._samples,
            "signals": self._keys,
            "more": self._replay.full,
        }
        if self._replay.full:
            told["until"] = self._replay.until
        return {**told, "leftOut": self._left_out} if self._left_out else told


def _track(key: str, rule: EventRule, window: int) -> Track:
    uses = [use for use in rule.uses if use.key == key]
    silences = {use.seconds for use in uses if use.view is View.RECEIVED and use.seconds > 0}
    return Track(kept(uses, window), sorted(silences))


def _bound(value: float | None, key: str) -> float | None:
    if value is None or math.isfinite(value):
        return value
    raise BadValue(f"backtest.{key}: expected a finite number, got {value}")
