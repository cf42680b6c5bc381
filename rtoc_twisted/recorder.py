"""The recorder: the one place that writes and tells."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from .interfaces import ICommit, IEvents, IListener, IRecorder, IStorage
from .model import Event, FloatColumn, Hold, Names, Plot, Samples, Selector, Signal, SignalName


class _Layout:
    """Where the values of all messages that look alike go, and who hears of them."""

    __slots__ = ("audience", "generation", "ids", "round", "signals")

    def __init__(self, signals: Sequence[Signal], generation: int) -> None:
        self.signals = signals
        self.ids = array("I", [signal.id for signal in signals])
        self.generation = generation
        self.audience: Sequence[IListener] = ()
        self.round = -1


@implementer(IRecorder)
class Recorder:
    """Stores samples, plots and events and tells the listeners of each, once, in order."""

    _log = Logger()

    def __init__(self, storage: IStorage, events: IEvents) -> None:
        self._storage = storage
        self._events = events
        self._listeners: dict[IListener, Selector] = {}
        # Changes with every subscription: the audiences that layouts remember are of one round.
        self._round = 0
        self._telling = 0
        self._afterwards: deque[Callable[[], None]] = deque()

    def record(self, data: Samples | Plot | Event) -> ICommit:
        """Record data of any kind; return the commit that carries it."""
        if isinstance(data, Samples):
            return self.append(data)
        return self.draw(data) if isinstance(data, Plot) else self.raise_event(data)

    def once(
        self, source: str, seq: int, data: Samples | Plot | Event, durable: bool = False
    ) -> tuple[ICommit, bool]:
        """Record data unless this batch was recorded; return the commit to wait for, and whether it was."""
        known = self._storage.seen_batch(source, seq)
        if known is None:
            self.record(data)
        elif not durable:
            return known, True
        # Of data that is stored already only a later commit can say that it is durable.
        return self._storage.add_batch(source, seq), known is not None

    def append(self, samples: Samples) -> ICommit:
        """Record values, creating signals that are new; return the commit that carries them."""
        layout: _Layout | None = samples.names.layout
        if layout is None or layout.generation != self._storage.generation:
            layout = self._lay_out(samples.names)
        commit = self._storage.append(layout.ids, samples.x, samples.y)
        if layout.round != self._round:
            layout.audience = self._audience(layout.signals)
            layout.round = self._round
        if layout.audience:
            self._tell_all(layout.audience, "samples_appended", layout.signals, samples)
        return commit

    def _lay_out(self, names: Names) -> _Layout:
        missing = [name for name in dict.fromkeys(names.names) if self._storage.find(name) is None]
        if missing:
            self._create(missing)
        signals = [self._with_unit(name, unit) for name, unit in zip(names.names, names.units, strict=True)]
        # Within one message the last unit of a signal is its unit.
        newest = {signal.id: signal for signal in signals}
        layout = _Layout([newest[signal.id] for signal in signals], self._storage.generation)
        names.layout = layout
        return layout

    def _create(self, names: Sequence[SignalName]) -> Sequence[Signal]:
        signals = self._storage.add_signals(names)
        for signal in signals:
            self._tell_all(list(self._listeners), "signal_added", signal)
        return signals

    def _with_unit(self, name: SignalName, unit: str) -> Signal:
        signal = self._storage.find(name)
        if signal is None:
            (signal,) = self._create([name])
        if signal.unit != unit:
            self._storage.set_unit(signal.id, unit)
            return replace(signal, unit=unit)
        return signal

    def _audience(self, signals: Sequence[Signal]) -> list[IListener]:
        names = {signal.name for signal in signals}
        return [
            listener
            for listener, selector in self._listeners.items()
            if any(selector.wants(name) for name in names)
        ]

    def draw(self, plot: Plot) -> ICommit:
        """Record a plot; return the commit that carries it."""
        signal = self._with_unit(plot.name, plot.unit)
        if plot.hold is Hold.OFF:
            commit = self._storage.replace(signal.id, plot.x, plot.y)
            self._tell_plot(signal, plot)
            return commit

        def added(x: FloatColumn, y: FloatColumn) -> None:
            self._tell_plot(signal, replace(plot, x=x, y=y))

        return self._storage.merge(signal.id, plot.x, plot.y, plot.hold, added)

    def _tell_plot(self, signal: Signal, plot: Plot) -> None:
        self._tell_all(self._audience([signal]), "plot_drawn", signal, plot)

    def raise_event(self, event: Event) -> ICommit:
        """Keep an event, creating its signal if that is new; return the commit that carries it."""
        signal = self._storage.find(event.name)
        if signal is None:
            (signal,) = self._create([event.name])
        kept, commit = self._events.add(signal, event)
        self._tell_all(list(self._listeners), "event_raised", kept)
        return commit

    def remove(self, signals: Sequence[Signal]) -> Deferred[tuple[int, int]]:
        """Remove signals; fires with the counts of signals and events."""
        removed = self._storage.remove_signals([signal.id for signal in signals])
        self._tell_removed(signals)
        return removed

    def clear(self) -> Deferred[None]:
        """Remove everything recorded."""
        signals = self._storage.signals()
        cleared = self._storage.clear()
        self._tell_removed(signals)
        return cleared

    def _tell_removed(self, signals: Sequence[Signal]) -> None:
        for signal in signals:
            self._tell_all(list(self._listeners), "signal_removed", signal)

    def tell_plugins(self, plugins: Mapping[str, Any]) -> None:
        """Tell the listeners how the plugins are now."""
        self._tell_all(list(self._listeners), "plugins_changed", plugins)

    def subscribe(self, listener: IListener, selector: Selector) -> Callable[[], None]:
        """Tell a listener all facts, and those of samples that the selector wants; return the undo."""
        self._listeners[listener] = selector
        self._round += 1

        def undo() -> None:
            if self._listeners.pop(listener, None) is not None:
                self._round += 1

        return undo

    def afterwards(self, do: Callable[[], None]) -> None:
        """Call back once everybody was told the present fact; at once where none is being told."""
        self._afterwards.append(do)
        if not self._telling:
            self._do_afterwards()

    def _tell_all(self, listeners: Sequence[IListener], fact: str, *what: object) -> None:
        self._telling += 1
        try:
            for listener in listeners:
                self._guarded(getattr(listener, fact), *what)
        finally:
            self._telling -= 1
        if self._afterwards and not self._telling:
            self._do_afterwards()

    def _do_afterwards(self) -> None:
        # What is done tells facts as well; what follows from these comes after what waits already.
        self._telling += 1
        try:
            while self._afterwards:
                self._guarded(self._afterwards.popleft())
        finally:
            self._telling -= 1

    def _guarded(self, do: Callable[..., None], *what: object) -> None:
        try:
            do(*what)
        except Exception:
            # One listener's fault is nobody else's.
            self._log.failure("a listener failed")
