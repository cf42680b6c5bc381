"""What travels through a channel: one notice, or several as one message."""

from __future__ import annotations

import base64
import heapq
import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ..model import Attachment, Notice

_LONGEST_TEXT = 4000
"""Characters of one notice."""

_LARGEST_FILES = 12 << 20
"""Bytes of the attachments of one notice."""

_LISTED, _SHOWN = 100, 20
"""Notices of a message that are kept, and of those how many its text names."""

_OVERHEAD = 500
"""Bytes that a notice takes beside its texts, roughly."""


@dataclass(frozen=True)
class Delivery:
    """A message that waits.

    id: the same in all its tries; made: when its newest notice came, in seconds since the epoch; sealed:
    nothing joins it any more, it may have been tried; count: notices in it; notices: those that are
    listed, as JSON objects {text, title, priority, device, signal, x, event}; files: {name, type, data}
    with data in base64.
    """

    id: str
    made: float
    count: int
    notices: tuple[Mapping[str, Any], ...]
    files: tuple[Mapping[str, str], ...] = ()
    sealed: bool = False

    @property
    def priority(self) -> int:
        """Return the greatest priority of its notices."""
        return max(int(notice["priority"]) for notice in self.notices)

    @property
    def size(self) -> int:
        """Return roughly how many bytes it takes."""
        texts = sum(_OVERHEAD + len(notice["text"]) + len(notice["title"]) for notice in self.notices)
        return texts + sum(len(file["data"]) for file in self.files)

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "id": self.id,
            "made": self.made,
            "count": self.count,
            "notices": list(self.notices),
            "files": list(self.files),
            "sealed": self.sealed,
        }

    def attachments(self) -> Iterator[Attachment]:
        """Yield its files."""
        for file in self.files:
            yield Attachment(file["name"], base64.b64decode(file["data"]), file["type"])


def of_notice(notice: Notice, now: float) -> Delivery:
    """Return a notice as a message; what is too long of it is cut, files that are too large are left out.

    now: seconds since the epoch.
    """
    text = notice.text
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]} .."
    files = notice.attachments
    if sum(len(file.data) for file in files) > _LARGEST_FILES:
        text = f"{text} (without {', '.join(file.name for file in files)}: too large)"
        files = ()
    device, signal = ("", "") if notice.name is None else notice.name
    told = {
        "text": text,
        "title": notice.title[:_LONGEST_TEXT],
        "priority": min(max(notice.priority, 0), 2),
        "device": device,
        "signal": signal,
        "x": notice.x if math.isfinite(notice.x) else None,
        "event": notice.event,
    }
    return Delivery(secrets.token_hex(8), now, 1, (told,), tuple(map(_file, files)))


def _file(file: Attachment) -> dict[str, str]:
    return {"name": file.name, "type": file.media_type, "data": base64.b64encode(file.data).decode("ascii")}


def read(document: Any) -> Delivery:
    """Return the message of a document; raises ValueError where it is none."""
    try:
        fields = dict(document)
        found = Delivery(**fields | {key: tuple(fields[key]) for key in ("notices", "files")})
        # What cannot be sent later is found now.
        list(found.attachments())
        as_json(found, str(found.size))
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"no message: {error!r}") from None
    return found


def merge(parts: Sequence[Delivery]) -> Delivery:
    """Return several messages as one, sealed, with the id of the first.

    Of many notices the most urgent stay; the others are counted.
    """
    notices = [notice for part in parts for notice in part.notices]
    return replace(
        parts[0],
        made=max(part.made for part in parts),
        count=sum(part.count for part in parts),
        notices=tuple(_most_urgent(notices, _LISTED)),
        files=tuple(file for part in parts for file in part.files),
        sealed=True,
    )


def _most_urgent(notices: Sequence[Mapping[str, Any]], count: int) -> list[Mapping[str, Any]]:
    """Return so many notices, in the order in which they came."""
    ranks = range(len(notices))
    chosen = heapq.nlargest(count, ranks, key=lambda rank: (notices[rank]["priority"], -rank))
    return [notices[rank] for rank in sorted(chosen)]


def title(delivery: Delivery, server: str) -> str:
    """Return the line that a message begins with. server: its name."""
    about = delivery.notices[0]["title"] if delivery.count == 1 else f"{delivery.count} messages"
    return f"{server}: {about}" if about else server


def text(delivery: Delivery) -> str:
    """Return what a message says."""
    if delivery.count == 1:
        return str(delivery.notices[0]["text"])
    shown = _most_urgent(delivery.notices, _SHOWN)
    lines = [_line(notice) for notice in shown]
    if delivery.count > len(shown):
        lines.append(f"and {delivery.count - len(shown)} more")
    return "\n".join(lines)


def _line(notice: Mapping[str, Any]) -> str:
    moment = notice["x"]
    # An x may be anything; before 2001 it is no time of an event.
    stamp = f"{datetime.fromtimestamp(moment):%Y-%m-%d %H:%M:%S} " if moment and 1e9 < moment < 1e11 else ""
    return f"{stamp}{notice['title']}: {notice['text']}" if notice["title"] else f"{stamp}{notice['text']}"


def as_json(delivery: Delivery, server: str) -> dict[str, Any]:
    """Return a message as webhooks get it; its own fields are those of the most urgent notice."""
    (urgent,) = _most_urgent(delivery.notices, 1)
    return {
        **urgent,
        "id": delivery.id,
        "title": title(delivery, server),
        "text": text(delivery),
        "server": server,
        "count": delivery.count,
        **({"events": list(delivery.notices)} if delivery.count > 1 else {}),
        "attachments": list(delivery.files),
    }
