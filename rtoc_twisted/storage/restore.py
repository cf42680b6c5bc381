"""Puts a copy of a store in the place of the one that a state directory has."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from ..errors import StorageFailed
from .copy import PART, make_part, to_disk, transfer
from .place import claim
from .select import new_epoch
from .verify import Contents, Tell, refuse_what_is_no_store, verify

_COMPANIONS = ("-wal", "-shm")
_MARKS = (".suspect", ".salvaging", ".salvaged", ".report")
"""What a salvage leaves for the next start (`storage.salvage`), which would undo the restoring."""


class Restored(NamedTuple):
    """What the store holds now, and the name of the one before, None if there was none.

    Where the contents have problems, nothing was changed.
    """

    contents: Contents
    aside: str | None


def restore(backup: Path, directory: Path, tell: Tell = lambda part, signals, samples: None) -> Restored:
    """Make a copy of a store the store of a state directory, which is made if it is missing.

    The backup stays. What the directory had is kept beside, as `rtoc.sqlite.before-restore-N`. Killed at
    any point it leaves the old store or the new one, whole. Cursors of clients end with it: what they
    count on may not be there. Takes as much room as the backup has.
    tell: see `verify`.
    Raises NotAvailable if the directory is in use or cannot be used, or the backup is none; StorageFailed
    if the disk refuses: then nothing was changed.
    """
    path = directory / "rtoc.sqlite"
    refuse_what_is_no_store(backup)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = claim(directory)
        try:
            return _restore(backup, path, tell)
        finally:
            os.close(lock)
    except sqlite3.Error as error:
        raise StorageFailed(f"{backup} could not be restored: {error}") from None
    except OSError as error:
        raise StorageFailed(f"{error.filename or backup} cannot be used: {error.strerror}") from None


def _restore(backup: Path, path: Path, tell: Tell) -> Restored:
    # The directory is claimed: it was left by one that was killed.
    _remove(_beside(path, PART))
    part = make_part(path)
    try:
        transfer(backup, part)
        # Of the copy: what was read in order to check it is what will be there.
        contents = verify(part, tell)
        if contents.wrong:
            return Restored(contents, None)
        _end_cursors(part)
        _belong_to(path.parent, part, path.with_name("rtoc.lock"))
        to_disk(part)
        aside = _set_aside(path)
        part.rename(path)
        to_disk(path.parent)
        return Restored(contents, aside)
    finally:
        _remove(part)


def _end_cursors(path: Path) -> None:
    """Give each signal another epoch: its places are taken by other samples from now on."""
    with closing(sqlite3.connect(path, isolation_level=None)) as sql:
        if not sql.execute("SELECT 1 FROM pragma_table_info('signals') WHERE name = 'epoch'").fetchone():
            # A version that had no cursors.
            return
        # All in the one file, and at once.
        sql.execute("PRAGMA journal_mode = OFF")
        sql.execute("UPDATE signals SET epoch = ?", (new_epoch(),))


def _belong_to(directory: Path, *paths: Path) -> None:
    """Give files to the owner of a directory; whoever is not root is that already, or may not."""
    if os.geteuid() == 0:
        owner = directory.stat()
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)


def _set_aside(path: Path) -> str | None:
    """Give the present store a second name, and let it need no file beside it; return that name."""
    for suffix in (*_MARKS, *(() if path.exists() else _COMPANIONS)):
        with suppress(FileNotFoundError):
            _beside(path, suffix).rename(_free_name(_beside(path, f"{suffix}.before-restore")))
    if not path.exists():
        return None
    aside = _free_name(_beside(path, ".before-restore"))
    names = [(_beside(path, end), _beside(aside, end)) for end in ("", "-wal") if _beside(path, end).exists()]
    for name, second in names:
        os.link(name, second)
    try:
        _empty_log(path)
    except sqlite3.OperationalError:
        for _, second in names:
            second.unlink()
        raise
    except sqlite3.DatabaseError:
        # It is damaged, and its log, which stays aside, would be taken for the new store's.
        for companion in _COMPANIONS:
            _beside(path, companion).unlink(missing_ok=True)
    else:
        _beside(aside, "-wal").unlink(missing_ok=True)
    return aside.name


def _empty_log(path: Path) -> None:
    """Bring what is in the log into the file, and let the log go, as who closes a store does.

    Raises sqlite3.OperationalError if somebody reads it, sqlite3.DatabaseError if it is damaged.
    """
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as sql:
        sql.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if _beside(path, "-wal").exists():
        raise sqlite3.OperationalError(f"{path.name} is in use by another program")


def _free_name(path: Path) -> Path:
    number = 1
    while _beside(path, f"-{number}").exists():
        number += 1
    return _beside(path, f"-{number}")


def _remove(path: Path) -> None:
    for file in (path, *(_beside(path, companion) for companion in _COMPANIONS)):
        file.unlink(missing_ok=True)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
