"""Whose doing something is: the thread from an event to the action that it ran, and on to what that did."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

DEEPEST = 8
"""Depth above which a rule does not fire and an action does not run: they run in circles."""


@dataclass(frozen=True, slots=True)
class Link:
    """A place in a chain.

    id: of the whole chain; depth: how many rules and actions raised events before this, 1 where the first
    one did; parent: number of the event that led here, None at the beginning; by: "action", "test", ..
    """

    id: str
    depth: int = 0
    parent: int | None = None
    by: str = ""


def new_link(by: str = "") -> Link:
    """Return the beginning of a chain."""
    return Link(secrets.token_hex(8), by=by)


def link_after(number: int, cause: Mapping[str, Any]) -> Link:
    """Return the link of what an action does after an event; where its cause tells no chain, one begins."""
    return Link(cause.get("id") or secrets.token_hex(8), cause.get("depth", 1), number, "action")


class Chain:
    """Which link is at work in this moment; the recorder tells at once, so everything within is its doing."""

    def __init__(self) -> None:
        self._link: Link | None = None

    def now(self) -> Link | None:
        """Return the link that is at work, None where what happens comes from outside."""
        return self._link

    @contextmanager
    def within(self, link: Link | None) -> Iterator[None]:
        """Say that what happens in the block is that link's doing."""
        before, self._link = self._link, link
        try:
            yield
        finally:
            self._link = before
