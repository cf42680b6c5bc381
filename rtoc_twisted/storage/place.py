"""The directory of a store: for one process at a time, its files for nobody else to read."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..errors import NotAvailable

_PRIVATE = 0o600


def claim(directory: Path) -> int:
    """Return the descriptor of the directory's lock file; closing it ends the claim.

    Raises NotAvailable if another process holds it, or nothing can be written there.
    """
    try:
        descriptor = os.open(directory / "rtoc.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
    except OSError as error:
        raise NotAvailable(
            f"{directory} cannot be written ({error.strerror}): change that, or choose another --state-dir"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise NotAvailable(
            f"{directory} is in use by another rtoc server: stop it, or choose another --state-dir"
        ) from None
    except OSError as error:
        os.close(descriptor)
        raise NotAvailable(f"{directory} cannot be locked: {error.strerror}") from None
    return descriptor


def make_private(path: Path) -> None:
    """Create an empty file that only its owner may read; one that exists stays as it is.

    SQLite gives the files that it puts beside a database the mode of the database.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE))
    except FileExistsError:
        return
