"""What carries the messages of a channel, by its rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from ..errors import BadValue
from .rules import Rules, check_url
from .sender import Sender
from .webhook import Webhook, agent
from .with_apprise import ThroughApprise

_LONGEST_URL = 8192


class Senders:
    """Makes them. server: this one's name; in_thread: calls a function in a thread, returns a Deferred."""

    def __init__(self, reactor: Any, in_thread: Callable[..., Deferred[Any]], server: str) -> None:
        self._reactor = reactor
        self._in_thread = in_thread
        self._server = server

    def __call__(self, rules: Rules) -> Sender:
        """Return the sender of a channel; raises BadValue or NotAvailable, naming its setting."""
        where = f"channels.{rules.name}"
        apprise = _given(rules.apprise, rules.apprise_file, f"{where}.apprise_file")
        if apprise is not None:
            return ThroughApprise(apprise, where, self._server, self._in_thread)
        url = _given(rules.url, rules.url_file, f"{where}.url_file") or ""
        try:
            check_url(url)
        except ValueError as error:
            raise BadValue(f"{where}: {error}") from None
        return Webhook(url, rules.headers, self._server, agent(self._reactor), self._reactor)


def _given(url: str | None, file: Path | None, where: str) -> str | None:
    """Return a URL, or the one line of a file; raises BadValue, which does not repeat it."""
    if file is None:
        return url
    try:
        found = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadValue(f"{where}: {file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        found = ""
    if not found or len(found) > _LONGEST_URL or not found.isprintable():
        raise BadValue(f"{where}: {file} does not hold one URL")
    return found
