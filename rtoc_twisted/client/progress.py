"""How far a transfer is, in one line of a terminal.

The line says just three numbers, so it is written here; a library would be a dependency of every server.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

_INTERVAL = 0.1
"""Seconds between two drawings."""

_WIDTH = 24


class Progress:
    """A bar with signals, samples and samples a second; draws nothing where there is no terminal.

    clock: returns seconds. of: what makes the whole of the bar, in the unit of `update`'s `done`.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float], of: int) -> None:
        self._stream = stream
        self._shown = stream.isatty()
        self._clock = clock
        self._of = of
        self._begun = clock()
        self._drawn = self._begun - _INTERVAL
        self._numbers = (0, 0, 0)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw the last state, and leave its line."""
        if self._shown:
            self._draw(self._clock())
            self._stream.write("\n")
            self._stream.flush()

    def update(self, done: int, signals: int, samples: int) -> None:
        """Say how much is done, how many signals were met, and how many samples moved."""
        self._numbers = (done, signals, samples)
        if self._shown and (now := self._clock()) - self._drawn >= _INTERVAL:
            self._draw(now)

    def _draw(self, now: float) -> None:
        self._drawn = now
        done, signals, samples = self._numbers
        part = min(done / self._of, 1.0) if self._of else 1.0
        full = round(part * _WIDTH)
        rate = samples / (now - self._begun) if now > self._begun else 0.0
        bar = "#" * full + "." * (_WIDTH - full)
        text = f"[{bar}] {part:4.0%}  {signals:,} signals  {samples:,} samples  {rate:,.0f}/s"
        # To the line's beginning, and what was there is erased.
        self._stream.write(f"\r\x1b[K{text}".replace(",", " "))
        self._stream.flush()
