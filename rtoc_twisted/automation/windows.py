"""The newest samples of a signal, as conditions look at them."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..model import FloatColumn

_LEAST = 64


class Ring:
    """The newest samples, at most `most` of them, as columns that need no copying."""

    __slots__ = ("_start", "_stop", "_x", "_y", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.clear()

    def clear(self) -> None:
        """Forget all samples."""
        self._x, self._y = np.empty(_LEAST), np.empty(_LEAST)
        self._start = self._stop = 0

    def push(self, x: float, y: float) -> None:
        """Take the next sample."""
        if self._stop == len(self._x):
            self._make_room()
        self._x[self._stop] = x
        self._y[self._stop] = y
        self._stop += 1
        if self._stop - self._start > self.most:
            self._start += 1

    def extend(self, x: FloatColumn, y: FloatColumn) -> None:
        """Take the next samples."""
        held_x, held_y = self.newest(self.most)
        self._x = np.concatenate([held_x, x])[-self.most :]
        self._y = np.concatenate([held_y, y])[-self.most :]
        self._start, self._stop = 0, len(self._x)

    def newest(self, count: int) -> tuple[FloatColumn, FloatColumn]:
        """Return x and y of the newest `count` samples, or as many as there are, the newest last.

        What comes later does not change them.
        """
        part = slice(max(self._start, self._stop - count), self._stop)
        return self._x[part], self._y[part]

    def _make_room(self) -> None:
        held = slice(self._start, self._stop)
        count = self._stop - self._start
        # Twice what is held: as many samples as were moved come before the next move.
        size = max(_LEAST, 2 * count)
        for name in ("_x", "_y"):
            column = np.empty(size)
            column[:count] = getattr(self, name)[held]
            setattr(self, name, column)
        self._start, self._stop = 0, count


class Rate:
    """The change of y per unit of x, between the newest sample and the oldest of the last `seconds` of x.

    Of the newest `most` samples; 0.0 where x does not grow between the two, or there is one sample only.
    """

    __slots__ = ("_samples", "_seconds")

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._samples: deque[tuple[float, float]] = deque(maxlen=most)

    def clear(self) -> None:
        """Forget all samples."""
        self._samples.clear()

    def push(self, x: float, y: float) -> None:
        """Take the next sample; one whose x is no number says nothing."""
        if x - x != 0.0:
            return
        samples = self._samples
        samples.append((x, y))
        first = x - self._seconds
        while samples[0][0] < first:
            samples.popleft()

    def value(self) -> float | None:
        """Return the rate, None where there is no sample."""
        if not self._samples:
            return None
        (x_first, y_first), (x, y) = self._samples[0], self._samples[-1]
        return (y - y_first) / (x - x_first) if x > x_first else 0.0
