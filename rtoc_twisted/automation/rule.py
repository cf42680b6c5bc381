"""Rules, actions and user actions as clients set them (protocol section 5, automation)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Any, Final

from ..errors import BadValue
from ..wire.codec import check_value
from .conditions import Condition, Use, View, parse
from .fields import Fields
from .schedule import Spans, local_zone, read_zone
from .trigger import Trigger

MAX_VOTES: Final = 1000
"""Evaluations that `nOfM` may look at."""

MAX_PER_MINUTE: Final = 1_000_000

MAX_LISTENED: Final = 1000
"""Events that one action may listen for."""

_OURS = ("off", "for", "forOff", "nOfM", "schedule", "mute", "zone", "latch", "ack", "confirm", "perMinute")
_EVENT_FIELDS = (
    *("name", "cond", "text", "priority", "return", "retur", "id", "trigger", "sname", "dname", "active"),
    *_OURS,
)
_ACTION_FIELDS = ("name", "listenID", "script", "parameters", "active", "seconds")
# RTOC's server writes these into its files and answers; they say nothing.
_LEAKED = ("errors", "latest")


@dataclass(frozen=True, slots=True)
class EventRule:
    """A condition that raises events: RTOC's global event.

    value: of its events (`return`); action_id: what actions listen for (`id`). hold_on, hold_off: seconds for
    which the condition must hold, or not hold, before it counts (`for`, `forOff`). votes: n of the newest m
    evaluations must say so, None for each counts. schedule: the spans outside of which the condition counts
    as false; mute: those in which nothing is raised. wants_ack: it is to be acknowledged (`ack`, or
    `confirm`, which comes after it). per_minute: events allowed, 0 for any number, None for the
    configuration's. given: our fields as they were given, for `told`.
    """

    name: str
    text: str
    priority: int
    value: Any = field(hash=False)
    action_id: str
    trigger: Trigger
    sname: str
    dname: str
    active: bool
    condition: Condition = field(compare=False)
    off_condition: Condition | None = field(compare=False)
    hold_on: float
    hold_off: float
    votes: tuple[int, int] | None
    schedule: Spans | None = field(compare=False)
    mute: Spans | None = field(compare=False)
    latch: bool
    wants_ack: bool
    wants_confirm: bool
    per_minute: int | None
    cond: str
    given: Mapping[str, Any] = field(hash=False)

    @classmethod
    def read(cls, fields: Mapping[str, Any], where: str = "setEvent") -> EventRule:
        """Return the rule of an object as `setEvent` takes it.

        Needed are name and cond; null is as good as a field left out, and RTOC's leaked `errors` and `latest`
        are passed over. Raises BadValue naming the field, below `where`, for a value that is wrong, a field
        that is unknown, and a condition that is not in the language (with its column).
        """
        read = Fields(fields, where, _EVENT_FIELDS, _LEAKED)
        name = read.name("name")
        given = {key: read.plain(key) for key in _OURS if read.has(key)}
        zone = _zone(read)
        cond, condition = _condition(read, "cond")
        return cls(
            name=name,
            text=read.text("text", name),
            priority=_priority(read.plain("priority")),
            value=_returned(read),
            action_id=read.label("id", name),
            trigger=Trigger(read.choice("trigger", [each.value for each in Trigger], Trigger.RISING.value)),
            sname=read.label("sname", ""),
            dname=read.label("dname", ""),
            active=read.flag("active", True),
            condition=condition,
            off_condition=_condition(read, "off")[1] if "off" in given else None,
            hold_on=read.seconds("for", 0.0),
            hold_off=read.seconds("forOff", 0.0),
            votes=_votes(read),
            schedule=_spans(read, "schedule", zone),
            mute=_spans(read, "mute", zone),
            latch=read.flag("latch", False),
            wants_ack=read.flag("ack", False) or read.flag("confirm", False),
            wants_confirm=read.flag("confirm", False),
            per_minute=read.count("perMinute", MAX_PER_MINUTE) if "perMinute" in given else None,
            cond=cond,
            given=given,
        )

    @property
    def uses(self) -> tuple[Use, ...]:
        """What both conditions need."""
        return self.condition.uses + (() if self.off_condition is None else self.off_condition.uses)

    @property
    def timely(self) -> bool:
        """Whether time alone may change what the conditions say, other than by silence.

        age() grows by itself, and without any signal there is the clock at most.
        """
        ages = (use.view is View.RECEIVED and not use.seconds for use in self.uses)
        return not self.condition.uses or any(ages)

    def told(self) -> dict[str, Any]:
        """Return the rule as `automation` answers it; with its name it can be read again."""
        return {
            "cond": self.cond,
            "text": self.text,
            "priority": self.priority,
            "return": self.value,
            "id": self.action_id,
            "trigger": self.trigger.value,
            "sname": self.sname,
            "dname": self.dname,
            "active": self.active,
            **self.given,
        }


@dataclass(frozen=True, slots=True)
class ActionRule:
    """A script that runs after events.

    listen_ids: the ids of these events, each once; parameters: text that RTOC keeps beside the script;
    seconds: how long it may run, 0 for until it is stopped, None for the configuration's limit.
    """

    name: str
    listen_ids: tuple[str, ...]
    script: str
    parameters: str
    active: bool
    seconds: float | None

    @classmethod
    def read(cls, fields: Mapping[str, Any], where: str = "setAction") -> ActionRule:
        """Return the action of an object as `setAction` takes it; needed are name, listenID and script.

        Raises BadValue naming the field, below `where`. The script's language is not looked at here.
        """
        read = Fields(fields, where, _ACTION_FIELDS, _LEAKED)
        return cls(
            name=read.name("name"),
            listen_ids=_listened(read),
            script=read.text("script", None),
            parameters=read.text("parameters", ""),
            active=read.flag("active", True),
            seconds=read.seconds("seconds", 0.0) if read.has("seconds") else None,
        )

    def told(self) -> dict[str, Any]:
        """Return the action as `automation` answers it."""
        told: dict[str, Any] = {
            "listenID": list(self.listen_ids),
            "script": self.script,
            "parameters": self.parameters,
            "active": self.active,
        }
        return told if self.seconds is None else {**told, "seconds": self.seconds}


@dataclass(frozen=True, slots=True)
class UserAction:
    """A script that a person starts by its name."""

    name: str
    script: str

    @classmethod
    def read(cls, fields: Mapping[str, Any], where: str = "setUserAction") -> UserAction:
        """Return the user action of {name, script}; raises BadValue naming the field, below `where`."""
        read = Fields(fields, where, ("name", "script"))
        return cls(read.name("name"), read.text("script", None))

    def told(self) -> dict[str, Any]:
        """Return the user action as it is set."""
        return {"name": self.name, "script": self.script}


def _condition(read: Fields, key: str) -> tuple[str, Condition]:
    text = read.text(key, None)
    try:
        return text, parse(text)
    except BadValue as error:
        raise BadValue(f"{read.key(key)}: {error.message}") from None


def _priority(value: Any) -> int:
    """Return a priority; what RTOC does not know is 0 there."""
    known = not isinstance(value, bool) and isinstance(value, (int, float)) and value in (0, 1, 2)
    return int(value) if known else 0


def _returned(read: Fields) -> Any:
    """Return the value of the events: RTOC takes it as `retur` and tells it as `return`."""
    key = "return" if read.has("return") else "retur"
    value = read.plain(key)
    check_value(value, read.key(key))
    return "" if value is None else value


def _votes(read: Fields) -> tuple[int, int] | None:
    value = read.plain("nOfM")
    if value is None:
        return None
    if isinstance(value, (list, tuple)) and len(value) == 2 and all(type(each) is int for each in value):
        n, m = value
        if 1 <= n <= m <= MAX_VOTES:
            return n, m
    raise read.wrong("nOfM", f"[n, m] with 1 <= n <= m <= {MAX_VOTES}")


def _zone(read: Fields) -> tzinfo:
    if read.has("zone"):
        return read_zone(read.plain("zone"), read.key("zone"))
    return local_zone() if read.has("schedule") or read.has("mute") else UTC


def _spans(read: Fields, key: str, zone: tzinfo) -> Spans | None:
    value = read.plain(key)
    return None if value is None else Spans.read(value, zone, read.key(key))


def _listened(read: Fields) -> tuple[str, ...]:
    value = read.plain("listenID")
    if value is None:
        raise BadValue(f"{read.key('listenID')}: missing")
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise read.wrong("listenID", "the id of an event, or a list of them")
    if len(value) > MAX_LISTENED:
        raise BadValue(f"{read.key('listenID')}: {len(value)} are too many, the limit is {MAX_LISTENED}")
    return tuple(dict.fromkeys(read.checked(each, "listenID") for each in value))
