"""The connections that read, beside the one that writes."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import StorageFailed
from .reader import Reader

_T = TypeVar("_T")


class Readers:
    """As many connections to one file as there are threads that read at a time; opened when needed.

    damage_found: see Reader.
    """

    def __init__(self, path: Path, damage_found: Callable[[], object] = lambda: None) -> None:
        self._path = path
        self._damage_found = damage_found
        self._idle: deque[Reader] = deque()
        self._closed = False

    def ask(self, query: Callable[[Reader], _T]) -> _T:
        """Return what a query finds; from any thread. Raises StorageFailed where the disk refuses."""
        reader: Reader | None = None
        try:
            reader = self._take()
            result = query(reader)
        except BaseException as problem:
            if reader is not None:
                reader.close()
            if isinstance(problem, sqlite3.Error):
                raise StorageFailed(f"reading failed: {problem}") from problem
            raise
        self._idle.append(reader)
        if self._closed:
            self.close()
        return result

    def _take(self) -> Reader:
        try:
            return self._idle.pop()
        except IndexError:
            return Reader(self._path, damage_found=self._damage_found)

    def close(self) -> None:
        """Close the connections, those in use as soon as they are done."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
