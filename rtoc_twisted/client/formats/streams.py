"""Text in files that may be compressed, and files that appear whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
import secrets
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

from rtoc_twisted.errors import BadValue, StorageFailed

_GZIP = b"\x1f\x8b"

LONGEST_LINE = 64 << 20
"""Characters of a line that are read; what is beyond is passed over."""

READ_FAILURES = (OSError, EOFError, zlib.error)
"""What reading a file raises that is missing, or damaged where it is compressed."""


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file's content, decompressed."""
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP
        file.seek(0)
        return (gzip.GzipFile(fileobj=file) if zipped else file).read(4096)


@contextmanager
def text_of(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text, compressed by gzip or not, with its line ends as they are.

    Bytes that are no UTF-8 become lone surrogates, which no name can hold.
    """
    with path.open("rb") as raw:
        zipped = raw.read(2) == _GZIP
        raw.seek(0)
        plain = io.BufferedReader(gzip.GzipFile(fileobj=raw)) if zipped else raw
        with io.TextIOWrapper(plain, "utf-8-sig", "surrogateescape", newline="\n") as text:
            yield text


def lines(text: TextIO) -> Iterator[str]:
    """Yield the lines of a text in bounded memory."""
    while line := text.readline(LONGEST_LINE):
        yield line
        while line and not line.endswith("\n"):
            line = text.readline(LONGEST_LINE)


@contextmanager
def published(path: Path, *, force: bool, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Open a file that gets its name when the block ends without an error, and is gone otherwise.

    force: replace a file of that name, which is BadValue otherwise. mode: its permissions, under the umask.
    StorageFailed if the disk refuses.
    """
    refuse_existing(path, force)
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "w+b") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
            if not force:
                # Takes the name if nobody has it, on every file system.
                path.open("xb").close()
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except FileExistsError:
        refuse_existing(path, force)
    except OSError as error:
        raise StorageFailed(f"{path}: {error.strerror or error}") from error


def refuse_existing(path: Path, force: bool) -> None:
    """Raise BadValue if there is a file of that name, unless it may be replaced."""
    if path.exists() and not force:
        raise BadValue(f"{path} exists already; --force replaces it")
