"""What a plugin says in words: its newest lines, and no more of them than somebody could read."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from twisted.logger import Logger, LogLevel

INFO, WARNING, ERROR = 0, 1, 2
"""Levels of lines (protocol section 5, getPluginList); -1 is for looking for faults."""

KEPT = 100
A_SECOND = 50
"""Fewer than are kept: what tells of the rest is there to be read while the flood goes on."""

_LONGEST = 4000

_LEVELS = {-1: LogLevel.debug, INFO: LogLevel.info, WARNING: LogLevel.warn, ERROR: LogLevel.error}


class PluginLog:
    """The newest KEPT lines of a plugin; of more than A_SECOND lines in a second the rest is counted.

    name: of the plugin, for the server's log, which gets the lines, too; wall: seconds since the epoch;
    changed: told of each line.
    """

    _log = Logger()

    def __init__(self, name: str, wall: Callable[[], float], changed: Callable[[], None]) -> None:
        self._name = name
        self._wall = wall
        self._changed = changed
        self._lines: deque[tuple[float, int, str]] = deque(maxlen=KEPT)
        self._second = 0
        self._in_second = 0
        self._left_out = 0

    def add(self, level: int, text: str, moment: float | None = None) -> None:
        """Take a line. level: -1 to 2; moment: seconds since the epoch, now unless given."""
        now = self._wall()
        self._turn(int(now))
        self._in_second += 1
        if self._in_second > A_SECOND:
            self._left_out += 1
            return
        self._keep(now if moment is None else moment, level if level in _LEVELS else INFO, text[:_LONGEST])
        self._changed()

    def rows(self) -> list[list[object]] | None:
        """Return the lines as getPluginList does, oldest first; None where there is none."""
        self._turn(int(self._wall()))
        return [[_stamp(moment), level, text] for moment, level, text in self._lines] or None

    def _turn(self, second: int) -> None:
        if second == self._second:
            return
        left_out, self._left_out = self._left_out, 0
        self._second, self._in_second = second, 0
        if left_out:
            self._keep(self._wall(), WARNING, f"{left_out} more lines within a second were left out")

    def _keep(self, moment: float, level: int, text: str) -> None:
        self._lines.append((moment, level, text))
        self._log.emit(_LEVELS[level], "{plugin}: {text}", plugin=self._name, text=text)


def _stamp(moment: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    except (ValueError, OverflowError, OSError):
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(0))
