"""Which signals and parameters feed which slots of which rules, while signals come, change and go."""

from __future__ import annotations

import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import RTOCError
from ..interfaces import IPlugins, IStorage
from ..model import Columns, Hold, Plot, Window
from .conditions import Use, View
from .feeds import GRACE, Feed, Silence, Tap
from .live import LiveRule

_EMPTY: Final = np.empty(0)


class Binding:
    """The feeds of all rules that are evaluated.

    by_id: by the id of their signals. window: how many of the newest samples of a signal a condition sees at
    most; was_read: called with a feed whose past was read, and whether values came meanwhile.
    """

    _log = Logger()

    def __init__(
        self, storage: IStorage, plugins: IPlugins, window: int, was_read: Callable[[Feed, bool], None]
    ) -> None:
        self._storage = storage
        self._plugins = plugins
        self._window = window
        self._tell = was_read
        self._feeds: dict[tuple[str, bool], Feed] = {}
        # Kept, because each rule that is set asks for all.
        self._keys: set[str] = set()
        self._kept: Mapping[str, float] = {}
        self.by_id: dict[int, Feed] = {}

    def keys(self) -> frozenset[str]:
        """Return the sigKeys of all signals that are fed."""
        return frozenset(self._keys)

    def reading(self) -> bool:
        """Return whether the past of a signal is being read."""
        return any(feed.waiting is not None for feed in self._feeds.values())

    def received(self) -> dict[str, float]:
        """Return when something of the signals came last for whose silence rules wait."""
        return {
            feed.key: feed.received
            for feed in self._feeds.values()
            if feed.silent and feed.received != -math.inf
        }

    def remember(self, received: Mapping[str, float]) -> None:
        """Take over what `received` returned before the server's end, for what is bound until `forget`."""
        self._kept = received

    def forget(self) -> None:
        """Forget what was taken over: whoever is bound from now on is new."""
        self._kept = {}

    def bind(self, live: LiveRule, now: float) -> None:
        """Feed a rule from now on."""
        taps: dict[Feed, Tap] = {}
        unread: dict[Feed, None] = {}
        for use, values, slot in live.slots():
            feed = self._feed(use)
            if feed not in taps:
                taps[feed] = Tap(live, [], [])
                insort(feed.taps, taps[feed], key=_place)
            if feed.require(use, self._window):
                unread[feed] = None
            if use.view in (View.LATEST, View.PARAMETER):
                taps[feed].latest.append((values, slot))
            elif use.view is View.RECEIVED and use.seconds:
                silence = self._silence(feed, use.seconds, now)
                live.silences.append(silence)
                if live not in feed.silent:
                    feed.silent.append(live)
                taps[feed].others.append((values, slot, silence.since))
            else:
                taps[feed].others.append((values, slot, feed.reader(use, self._window)))
        for feed in unread:
            self._read(feed)
        for feed in taps:
            feed.fill()

    def _silence(self, feed: Feed, seconds: float, now: float) -> Silence:
        begin = now if feed.received == -math.inf else -math.inf
        if feed.key in self._kept:
            # What it could not say while the server was off does not count at once.
            begin = now - seconds + min(seconds, GRACE)
        return Silence(feed, seconds, begin)

    def _feed(self, use: Use) -> Feed:
        forced = use.view is View.PARAMETER
        feed = self._feeds.get((use.key, forced))
        if feed is None:
            feed = Feed(use.key, forced, self._kept.get(use.key, -math.inf))
            self._feeds[use.key, forced] = feed
            if not forced:
                self._keys.add(use.key)
            self._resolve(feed)
        return feed

    def unbind(self, live: LiveRule) -> None:
        """Feed a rule no more."""
        live.silences.clear()
        for use in live.rule.uses:
            place = use.key, use.view is View.PARAMETER
            feed = self._feeds.get(place)
            if feed is None:
                continue
            feed.taps[:] = [tap for tap in feed.taps if tap.live is not live]
            if live in feed.silent:
                feed.silent.remove(live)
            if not feed.taps:
                del self._feeds[place]
                if not feed.forced:
                    self._keys.discard(feed.key)
                # What is still being read for it is for nobody.
                feed.clear()
                if feed.signal_id is not None:
                    self.by_id.pop(feed.signal_id, None)

    def rebind(self, key: str) -> None:
        """Look anew which signal has that key: one was created or removed."""
        feed = self._feeds.get((key, False))
        if feed is not None:
            self._resolve(feed)
            feed.fill()

    def _resolve(self, feed: Feed) -> None:
        if feed.signal_id is not None:
            self.by_id.pop(feed.signal_id, None)
        feed.clear()
        signal = None if feed.forced else self._storage.resolve(feed.key)
        if signal is None:
            feed.signal_id = None
            feed.latest = self._parameter(feed.key)
            return
        feed.signal_id = signal.id
        self.by_id[signal.id] = feed
        summary = self._storage.summary(signal.id)
        if summary is not None:
            feed.latest = summary.last_y
            self._read(feed)

    def _read(self, feed: Feed) -> None:
        """Read the past of a feed; until it is there, its arrays are unknown."""
        depth = feed.depth(self._window)
        if not depth or feed.signal_id is None or self._storage.summary(feed.signal_id) is None:
            return
        coming: deque[tuple[float, float]] = deque(maxlen=depth)
        latest, missed = feed.latest, feed.missed
        feed.clear()
        feed.latest, feed.missed, feed.waiting = latest, missed, coming
        window = Window(newest=depth, partly=True)
        reading = self._storage.read([(feed.signal_id, window)])
        reading.addCallbacks(partial(self._was_read, feed, coming), partial(self._unreadable, feed, coming))

    def _was_read(self, feed: Feed, coming: deque[tuple[float, float]], read: Iterable[Columns]) -> None:
        if feed.waiting is not coming:
            # It was cleared or bound anew meanwhile.
            return
        (columns,) = read
        missed = feed.missed
        feed.waiting, feed.missed = None, False
        feed.extend(columns.x, columns.y)
        for x, y in coming:
            feed.push(x, y, feed.received)
        feed.fill()
        self._tell(feed, missed)

    def _unreadable(self, feed: Feed, coming: deque[tuple[float, float]], failure: Failure) -> None:
        self._log.error(
            "the past of {signal} cannot be read for rules: {problem}",
            signal=feed.key,
            problem=failure.getErrorMessage(),
        )
        self._was_read(feed, coming, [Columns(_EMPTY, _EMPTY, math.nan, math.nan)])

    def plot(self, feed: Feed, plot: Plot, now: float) -> None:
        """Take a plot for the samples of a feed, or for what it added to them."""
        if plot.hold is Hold.OFF:
            feed.clear()
            feed.fill()
        feed.received = now
        if not len(plot.y):
            return
        feed.latest = float(plot.y[-1])
        if feed.waiting is None:
            feed.extend(plot.x, plot.y)
        else:
            feed.waiting.extend(zip(plot.x.tolist(), plot.y.tolist(), strict=True))
            feed.missed = True
        feed.fill()

    def parameters_changed(self) -> list[Feed]:
        """Look at all parameters of plugins that rules name; return the feeds that have another value now."""
        changed = []
        for feed in self._feeds.values():
            if feed.signal_id is None:
                value = self._parameter(feed.key)
                if value != feed.latest and not _are_nan(value, feed.latest):
                    feed.latest = value
                    feed.fill()
                    changed.append(feed)
        return changed

    def _parameter(self, key: str) -> float | None:
        plugin, _, name = key.rpartition(".")
        try:
            value: Any = self._plugins.parameter(plugin, name)
            # Lists and texts are no values of a condition.
            return float(value) if isinstance(value, (int, float)) else None
        except (RTOCError, OverflowError):
            return None

    def shift(self, seconds: float) -> None:
        """Move all times: the wall clock jumped by that much."""
        for feed in self._feeds.values():
            feed.received += seconds


def _place(tap: Tap) -> int:
    return tap.live.place


def _are_nan(*values: float | None) -> bool:
    return all(value is not None and math.isnan(value) for value in values)
