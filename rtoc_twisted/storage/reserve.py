"""The disk's last bytes: how many there are, and some that were put aside."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

from .place import make_private

SIZE = 8 << 20
"""Bytes that are put aside: the file grows by as much as SQLite's log holds before the log begins anew."""

_NEARLY_FULL = 1 << 20
_SPARE = 3


def free_bytes(directory: Path) -> int:
    """Return the bytes of the disk of a directory that this process may still fill; 0 if nobody knows."""
    try:
        facts = os.statvfs(directory)
    except OSError:
        return 0
    return facts.f_bavail * facts.f_frsize


def is_full(problem: BaseException, free: int) -> bool:
    """Return whether something failed for want of room. free: bytes of the disk.

    SQLite says "disk is full" when a write fails so, but "disk I/O error" where it grows its other files.
    """
    if isinstance(problem, OSError):
        return problem.errno in (errno.ENOSPC, errno.EDQUOT)
    if not isinstance(problem, sqlite3.Error):
        return False
    return "disk is full" in str(problem) or ("I/O error" in str(problem) and free < _NEARLY_FULL)


class Reserve:
    """A file that is there for nothing but to be removed when the disk is full. size: 0 for none."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size

    def make(self, free: int) -> None:
        """Make it if there is none, and room for several. free: bytes of the disk."""
        if not self._size or self._path.exists() or free < self._size * _SPARE:
            return
        try:
            make_private(self._path)
            with self._path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self._size)
        except OSError:
            # A part of it would be none.
            self.give()

    def give(self) -> None:
        """Remove it: what it took is free."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return
