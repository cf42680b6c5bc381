"""Whole copies of a store, made while it is being written to."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ..errors import BadValue, StorageFailed
from .reserve import free_bytes

PART = ".part"
_PRIVATE = 0o600
_STEP_PAGES = 1024


def open_to_read(path: Path) -> sqlite3.Connection:
    """Return a connection that changes nothing of a store's file.

    Raises sqlite3.Error if the file cannot be opened.
    """
    # Without a log beside it nobody writes to it, and it may lie where nothing can be written.
    alone = not path.with_name(f"{path.name}-wal").exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if alone else ''}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=30)


def copy_store(source: Path, target: Path, ended: Callable[[], bool] = lambda: False, spare: int = 0) -> None:
    """Copy a store to a file that is not there yet; blocks until the copy is on disk.

    The copy is of one moment: every commit that was done before the call is in it, rows of the journal
    as such, so it opens like a store after a crash. Nobody waits for it, but as long as it takes, the log
    of the store cannot begin anew, and grows. ended: asked now and then whether to give up; spare: bytes
    that the disk is to have free then. target: gets the mode 600; what is not finished is called `NAME.part`.
    Raises BadValue if there is a file of either name, StorageFailed if there is too little room, the disk
    refuses, the source cannot be read, or it was given up; then nothing is left behind.
    """
    try:
        if target.exists():
            raise FileExistsError
        part = make_part(target)
        try:
            # It must not be the copy for which the store has to make room.
            needed = source.stat().st_size + spare
            if free_bytes(target.parent) < needed:
                raise StorageFailed(
                    f"{target.name} could not be written: it needs {needed} bytes of the disk"
                )
            transfer(source, part, ended)
            # Unlike a rename, a link never replaces what is there.
            os.link(part, target)
        finally:
            part.unlink()
        to_disk(target.parent)
    except FileExistsError:
        raise BadValue(f"{target.name} exists already, and nothing is overwritten") from None
    except sqlite3.Error as error:
        raise StorageFailed(f"{target.name} could not be written: {error}") from None
    except OSError as error:
        raise StorageFailed(f"{target.name} could not be written: {error.strerror}") from None


def make_part(target: Path) -> Path:
    """Make the empty file that becomes `target`; raises FileExistsError if there is one."""
    part = target.with_name(target.name + PART)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE))
    return part


def transfer(source: Path, part: Path, ended: Callable[[], bool] = lambda: False) -> None:
    """Bring what a store holds at this moment into an empty file, and to disk.

    Raises sqlite3.Error, OSError, and StorageFailed when it `ended`.
    """

    def go_on(status: int, remaining: int, total: int) -> None:
        if ended():
            raise StorageFailed("the copy was given up: the store is being closed")

    with closing(open_to_read(source)) as store, closing(sqlite3.connect(part, isolation_level=None)) as copy:
        # There is nothing to roll back to.
        copy.execute("PRAGMA journal_mode = OFF")
        copy.execute("PRAGMA synchronous = OFF")
        # One snapshot for all steps: without it each commit in between would begin the copy anew.
        store.execute("BEGIN")
        store.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        store.backup(copy, pages=_STEP_PAGES, progress=go_on)
    to_disk(part)


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
