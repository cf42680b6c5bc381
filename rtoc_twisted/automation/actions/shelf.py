"""The files that scripts may have the server send, and what a user action answers."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import BadValue, TooLarge
from .outcome import Outcome

_LARGEST = 10 << 20
"""Bytes of a file that is sent."""

_PAIR = "a user action returns a pair: ('text', text), ('picture', data) or ('document', data)"


class Shelf:
    """The directories whose files may be sent, first those that are looked in first."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = directories

    def read(self, name: str) -> bytes:
        """Return a file's bytes; to be called in a thread. name: a path, relative to one of the directories
        or absolute.

        Raises BadValue if it is no file below one of them, TooLarge above the limit.
        """
        for directory in self._directories:
            try:
                found = (directory / name).resolve(strict=True)
                if found.is_relative_to(directory.resolve()):
                    return _read(found)
            except (OSError, ValueError, RuntimeError):
                continue
        places = " or ".join(str(directory) for directory in self._directories)
        raise BadValue(f"there is no file {name[:200]!r} below {places}")


def _read(path: Path) -> bytes:
    # Neither a link that was put there meanwhile, nor a pipe for whose other end one would wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        # Of a directory there would be no file object to close it.
        os.close(descriptor)
        raise OSError(f"{path} is no file")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise TooLarge(f"{path.name} has more than {_LARGEST} bytes")
    return data


def checked(outcome: Outcome) -> Outcome:
    """Return the outcome of a user action as one that has failed, unless it returned what it should."""
    if not outcome.ok:
        return outcome
    if outcome.kind == "text" and isinstance(outcome.data, str):
        return outcome
    if outcome.kind in ("picture", "document") and isinstance(outcome.data, bytes):
        if len(outcome.data) <= _LARGEST:
            return outcome
        return replace(outcome, ok=False, error=f"the {outcome.kind} has more than {_LARGEST} bytes")
    return replace(outcome, ok=False, error=_PAIR)


def answer(name: str, outcome: Outcome) -> dict[str, Any]:
    """Return what `userAction` answers: {name, success, type, data}, as RTOC does (golden: userAction.*)."""
    if not outcome.ok:
        return {"name": name, "success": False, "type": "text", "data": outcome.error}
    data = outcome.data
    told = base64.b64encode(data).decode() if isinstance(data, bytes) else data
    return {"name": name, "success": True, "type": outcome.kind, "data": told}
