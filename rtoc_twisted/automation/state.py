"""What is kept of an alarm on disk."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

import msgspec

from ..wire.batch import MAX_NAME
from .rule import EventRule

_Time = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
_Text = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
_Bits = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{1,250}$")]


class State(msgspec.Struct, omit_defaults=True, rename="camel"):
    """How an alarm stands; what is as in the beginning is left out of its document.

    level: what the condition and `off` said last; votes: the newest evaluations as hexadecimal bits, the
    newest lowest; active, and since when; pending: since when it waits for the end of a hold time; untold: it
    became active while it was hidden; looked: when the schedule was looked at last; until: the end of timed
    shelving; muted: it is a mute time. All times are wall times.
    """

    level: bool = False
    votes: _Bits = "0"
    active: bool = False
    since: _Time | None = None
    pending: _Time | None = None
    untold: bool = False
    looked: _Time | None = None
    acknowledged: bool = True
    acknowledged_by: _Text | None = None
    confirmed: bool = True
    confirmed_by: _Text | None = None
    comment: _Text | None = None
    latched: bool = False
    shelved: Literal["", "timed", "oneShot"] = ""
    shelved_by: _Text | None = None
    until: _Time | None = None
    suppressed: bool = False
    suppressed_by: _Text | None = None
    muted: bool = False

    @classmethod
    def read(cls, document: Mapping[str, Any] | None) -> State:
        """Return the state of a document; what is wrong in it is as in the beginning."""
        state = cls()
        if not isinstance(document, Mapping):
            return state
        for field in _fields():
            try:
                value = msgspec.convert(document[field.encode_name], field.type)
            except (KeyError, msgspec.ValidationError):
                continue
            setattr(state, field.name, value)
        return state

    def fit(self, rule: EventRule) -> None:
        """Take out what this rule has no use for, and what cannot be."""
        if self.shelved == "timed" and self.until is None:
            self.shelved, self.shelved_by = "", None
        if self.shelved != "timed":
            self.until = None
        self.latched = self.latched and rule.latch
        self.acknowledged = self.acknowledged or not rule.wants_ack
        self.confirmed = self.confirmed or not rule.wants_confirm
        self.untold = self.untold and self.active and rule.trigger.fires_at(True)

    def document(self) -> dict[str, Any]:
        """Return the document, plain JSON values."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document

    def shift(self, seconds: float) -> None:
        """Move all times."""
        for name in ("since", "pending", "looked", "until"):
            moment = getattr(self, name)
            if moment is not None:
                setattr(self, name, moment + seconds)

    def told(self, due: float | None) -> dict[str, Any]:
        """Return the state as clients see it; due: when the hold time ends that runs."""
        return {
            "active": self.active,
            "acknowledged": self.acknowledged,
            "confirmed": self.confirmed,
            "latched": self.latched,
            "shelved": self.shelved or False,
            "suppressed": self.suppressed or self.muted,
            "since": self.since,
            "acknowledgedBy": self.acknowledged_by,
            "confirmedBy": self.confirmed_by,
            "comment": self.comment,
            "shelvedBy": self.shelved_by,
            "shelvedUntil": self.until,
            "suppressedBy": self.suppressed_by,
            "waiting": None if due is None else "forOff" if self.active else "for",
            "due": due,
        }


@cache
def _fields() -> tuple[msgspec.structs.FieldInfo, ...]:
    # To find the types out again for each of many rules would make up half of a start.
    return msgspec.structs.fields(State)
