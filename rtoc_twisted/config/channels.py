"""The tables [channels.NAME]: who is told of events, and where."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..channels.rules import Rules, check_url
from . import kinds
from .kinds import Kind

_TARGETS = ("url", "url_file", "apprise", "apprise_file")
_HEADER = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
"""The name of a header (RFC 9110 section 5.6.2)."""


def _url(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("expected a URL such as https://example.org/hook")
    return check_url(value)


def _apprise(value: object) -> str:
    # It is secret: what is wrong with it is told without it.
    if not isinstance(value, str) or "://" not in value or not value.isprintable():
        raise ValueError("expected an Apprise URL such as tgram://TOKEN/CHAT")
    return value


def _file(value: object) -> Path:
    found = Path(value) if isinstance(value, str) else None
    if found is None or not found.is_absolute():
        raise ValueError("expected an absolute path")
    return found


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError('expected a table such as {Authorization = "Bearer .."}')
    for name, text in value.items():
        if not re.fullmatch(_HEADER, name):
            raise ValueError("the name of a header has letters, digits and -")
        if not isinstance(text, str) or not text.isascii() or not text.isprintable():
            raise ValueError(f"{name}: expected a line of ASCII text")
    return dict(value)


CHANNEL_KEYS = {
    "url": Kind("URL", str, _url),
    "url_file": Kind("absolute path", str, _file),
    "apprise": Kind("Apprise URL", str, _apprise),
    "apprise_file": Kind("absolute path", str, _file),
    "headers": Kind("table of text", str, _headers),
    "priority": kinds.integer(0, 3),
    "message_priority": kinds.integer(0, 3),
    "events": kinds.patterns(),
    "text": kinds.patterns(),
    "server_events": kinds.flag(),
    "per_hour": kinds.integer(1, 3600),
    "group_seconds": kinds.seconds(0, 3600),
    "give_up_hours": kinds.seconds(0.01, 1000, "hours"),
}
SECRET = frozenset({"url", "apprise", "headers"})


def channels(value: object) -> tuple[Rules, ...]:
    """Return the channels of a table of tables; raises Wrong or ValueError, which repeat no secret."""
    return kinds.entries(value, "[channels.NAME] for each channel", _channel)


def _channel(name: str, entry: Any, wrong: list[tuple[str, str]]) -> Rules:
    given = kinds.checked(name, entry, CHANNEL_KEYS, wrong)
    named = [key for key in _TARGETS if isinstance(entry, dict) and key in entry]
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", name):
        wrong.append((name, "the name of a channel has letters, digits, _ and -, up to 40"))
    if len(named) != 1:
        wrong.append((name, f"expected a table with one of {', '.join(_TARGETS)}"))
    elif "headers" in given and named[0].startswith("apprise"):
        wrong.append((name, "headers are for webhooks"))
    return Rules(name, **given)
