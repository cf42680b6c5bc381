"""What a channel is: where it leads, what goes there, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

from ..model import Notice, SignalName

SERVER = "RTOC"
"""The device of the server's own events."""

OWN = SignalName(SERVER, "channels")
"""The signal of the events about channels; they go to no channel, or one that fails would feed itself."""


@dataclass(frozen=True)
class Rules:
    """What the configuration says of a channel; one of the first four is given.

    url: of a webhook; apprise: a URL as Apprise has them; url_file, apprise_file: files that hold one;
    headers: of a webhook's requests. No repr shows what may be secret.
    priority, message_priority: the least of events, and of messages of plugins and scripts; more than 2 lets
    none through. events, text: patterns as in fnmatch, of sigKeys and of the text. server_events: whether
    the server's own are wanted, where a pattern matches them. per_hour: messages in the long run.
    group_seconds: how long an event waits for others. give_up_hours: how long a message is tried.
    """

    name: str
    url: str | None = field(default=None, repr=False)
    url_file: Path | None = None
    apprise: str | None = field(default=None, repr=False)
    apprise_file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    priority: int = 1
    message_priority: int = 0
    events: tuple[str, ...] = ("*",)
    text: tuple[str, ...] = ("*",)
    server_events: bool = True
    per_hour: int = 60
    group_seconds: float = 5.0
    give_up_hours: float = 24.0

    def want(self, notice: Notice) -> bool:
        """Return whether a notice goes to the channel; one with a number is an event."""
        least = self.priority if notice.event else self.message_priority
        if notice.priority < least or not _matches(notice.text, self.text):
            return False
        if notice.name is None:
            return True
        if notice.event and notice.name.device == SERVER and not self.server_events:
            return False
        return notice.name != OWN and _matches(notice.name.key, self.events)


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def check_url(url: str) -> str:
    """Return the URL of a webhook; raises ValueError, which does not repeat it, for anything else."""
    try:
        parts = urlsplit(url)
        # Reading the port checks it.
        right = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        right = False
    if not right or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("expected a URL such as https://example.org/hook, in ASCII")
    if "@" in parts.netloc:
        raise ValueError("no name or password in the URL: put them into headers, as Authorization")
    return url
