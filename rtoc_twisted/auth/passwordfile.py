"""The file that holds the server's password: its hash, or for those who prefer it the password itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..errors import NotAvailable
from .passwords import StoredPassword, generate_password, store

FILE_NAME = "password"
_SCRYPT = "scrypt$"
_KEY = "cipher-key$"


def read(path: Path, with_cipher: bool) -> StoredPassword:
    """Return the password of a file; raises NotAvailable if it cannot be read or is empty.

    The file holds the line that `scrypt` hashing made and, for the old cipher, a line with its key;
    or the password as one line of text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NotAvailable(f"the password file {path} cannot be read: {error}") from None
    first = lines[0] if lines else ""
    if not first:
        raise NotAvailable(f"the password file {path} is empty: an empty password is no password")
    if not first.startswith(_SCRYPT):
        return store(first, with_cipher)
    keys = [line.removeprefix(_KEY) for line in lines[1:] if line.startswith(_KEY)]
    return StoredPassword(first, keys[0] if keys and with_cipher else None)


def read_or_make(directory: Path, with_cipher: bool, announce: Callable[[str], None]) -> StoredPassword:
    """Return the password kept in a directory; at the first start, make one and announce it once.

    Only its hash is kept, in a file that its owner alone can read.
    """
    path = directory / FILE_NAME
    if path.exists():
        return read(path, with_cipher)
    password = generate_password()
    stored = store(password)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{stored.scrypt}\n{_KEY}{stored.key}\n")
    announce(password)
    return stored if with_cipher else StoredPassword(stored.scrypt)
