"""The answer to one request, growing while its commands are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ..errors import RTOCError
from ..interfaces import ICommit
from .answers import error_entry
from .codec import Message, Verbatim
from .promises import Telling, Together
from .request import NO_REQUEST, Request


class Partly:
    """What a handler returns where a part of what was asked failed: the answer's keys, and the failures."""

    __slots__ = ("errors", "values")

    def __init__(self, values: Mapping[str, Any], errors: Sequence[RTOCError]) -> None:
        self.values = values
        self.errors = errors


class Answer:
    """What is to be said to one request: the results of its commands, and what failed.

    request: NO_REQUEST where the frame was none.
    """

    __slots__ = ("_commits", "_errors", "_quiet", "_values", "request")

    def __init__(self, request: Request = NO_REQUEST) -> None:
        self.request = request
        self._values: dict[str, Any] = {}
        self._errors: list[dict[str, Any]] = []
        self._commits: list[tuple[str, ICommit]] = []
        self._quiet = False

    @property
    def concurrent(self) -> bool:
        """Return whether others need not wait for this one: its request has an id and is no login."""
        return "id" in self.request and "authorize" not in self.request

    def add(self, result: Mapping[str, Any] | Partly | None, key: str | None = None) -> None:
        """Take the result of a command, whose key is named where a part of it failed."""
        if isinstance(result, Partly):
            for error in result.errors:
                self.fail(key, error)
            result = result.values
        for key, value in (result or {}).items():
            known = self._values.get(key)
            if isinstance(known, dict) and isinstance(value, dict):
                # Two keys may answer under one (getEventList and getEvent): both are told.
                value = {**known, **value}
            self._values[key] = value

    def fail(self, key: str | None, error: RTOCError) -> None:
        """Take the failure of a command, or of the whole request."""
        self._errors.append(error_entry(key, error))
        if key == "y":
            self._values["sent"] = False
            self._values.pop("batch", None)

    def settle(self, key: str, commit: ICommit, quiet: bool = False) -> None:
        """Take note that the result of a command is true only after a commit.

        quiet: nothing is to be said, unless something fails or there is more to say than that it was taken.
        """
        self._commits.append((key, commit))
        self._quiet |= quiet

    def pending(self) -> ICommit | None:
        """Return what the answer must wait for, None if nothing."""
        commits = [commit for _, commit in self._commits if not commit.done]
        return Together(commits) if len(commits) > 1 else commits[0] if commits else None

    def after(self, _: RTOCError | None) -> Message | None:
        """Return the answer now that all its commits are done; the keys of those that failed are failed."""
        return self.message()

    def message(self) -> Message | None:
        """Return the answer, as true as the commits that are done make it; None to say nothing."""
        for key, commit in self._commits:
            if commit.error is not None:
                self.fail(key, commit.error)
        if self._quiet and not self._errors and self._values.keys() <= {"sent", "batch"}:
            return None
        value: dict[str, Any] = {"error": bool(self._errors), **self._values}
        if self._errors:
            value["errors"] = self._errors
        if "id" in self.request:
            value["id"] = self.request.echo("id")
        return Message(value)


_SENT = Message({"error": False, "sent": True})


def plainly_sent(error: RTOCError | None) -> Message | None:
    """Return the answer to plain data: that it was stored, or why not."""
    return _SENT if error is None else _unsent(error, {})


def sent_with(request_id: msgspec.Raw, batch: Mapping[str, Any] | None = None) -> Telling:
    """Return what `plainly_sent` does, with the id of the request and what became of its batch.

    batch: see `batch_told`; it is told with success alone.
    """
    if not request_id and batch is None:
        return plainly_sent
    echo = {"id": Verbatim(request_id)} if request_id else {}
    told = echo if batch is None else {"batch": batch, **echo}
    return lambda error: (
        Message({"error": False, "sent": True, **told}) if error is None else _unsent(error, echo)
    )


def _unsent(error: RTOCError, echo: Mapping[str, Any]) -> Message | None:
    answer = Answer()
    answer.fail("y", error)
    answer.add(echo)
    return answer.message()
