"""What is kept of automation in the store: rules, actions, user actions, and what is switched on.

A document each: one that held all rules would be written anew, whole, with every change of one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from twisted.logger import Logger

from ..errors import BadValue, RTOCError, TooLarge
from ..interfaces import ICommit, IStorage
from ..wire.codec import to_json
from .rule import ActionRule, EventRule, UserAction

Item: TypeAlias = EventRule | ActionRule | UserAction

EVENT, ACTION, USER_ACTION = KINDS = ("event", "action", "userAction")
"""The kinds of what clients set, in the words of IAutomation.remove."""

_MOST: Final = {EVENT: 10_000, ACTION: 1000, USER_ACTION: 1000}
_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Item]]] = {
    EVENT: EventRule.read,
    ACTION: ActionRule.read,
    USER_ACTION: UserAction.read,
}
_ACTIVE: Final = "automation/active"


def read_item(kind: str, fields: Mapping[str, Any]) -> Item:
    """Return the rule, action or user action of an object as clients set it; raises BadValue."""
    return _READERS[kind](fields)


def fields_of(item: Item | None) -> dict[str, Any] | None:
    """Return an object that `read_item` reads as the item, None for none."""
    return None if item is None else {"name": item.name, **item.told()}


class Kept:
    """All rules, actions and user actions, in the order in which they were first set.

    events, actions, user_actions: by name; active: {events, actions} as they were given. What is kept and
    cannot be read any more is left alone, and logged.
    """

    _log = Logger()

    def __init__(self, storage: IStorage) -> None:
        self._storage = storage
        self.events: dict[str, EventRule] = {}
        self.actions: dict[str, ActionRule] = {}
        self.user_actions: dict[str, UserAction] = {}
        self._by_kind: dict[str, dict[str, Any]] = {
            EVENT: self.events,
            ACTION: self.actions,
            USER_ACTION: self.user_actions,
        }
        self._positions: dict[tuple[str, str], int] = {}
        self._last = 0
        for kind in KINDS:
            self._load(kind)
        kept = storage.document(_ACTIVE)
        self.active: dict[str, Any] = {"events": False, "actions": False}
        if isinstance(kept, dict):
            self.active.update(json.loads(to_json(kept)))

    def _load(self, kind: str) -> None:
        documents = self._storage.documents(_key(kind, ""))
        for key, kept in sorted(documents.items(), key=lambda each: each[1]["position"]):
            try:
                item = read_item(kind, kept["fields"])
            except RTOCError as error:
                self._log.error("{key} cannot be used: {problem}", key=key, problem=error.message)
                continue
            self._by_kind[kind][item.name] = item
            self._positions[kind, item.name] = kept["position"]
            self._last = max(self._last, kept["position"])

    def get(self, kind: str, name: str) -> Item | None:
        """Return what has that name, None if nothing has."""
        return self._by_kind[kind].get(name)

    def check_room(self, kind: str, coming: Sequence[str], going: Sequence[str] = ()) -> None:
        """Raise TooLarge where there would be too many, with those that come, without those that go."""
        known = self._by_kind[kind]
        more = sum(name not in known for name in set(coming)) - len(set(going))
        if more > 0 and len(known) + more > _MOST[kind]:
            raise TooLarge(f"{kind}: {_MOST[kind]} are kept, and no more")

    def put(self, kind: str, item: Item) -> ICommit:
        """Keep an item in place of the one of its name; raises TooLarge."""
        self.check_room(kind, [item.name])
        self._by_kind[kind][item.name] = item
        position = self._positions.get((kind, item.name))
        if position is None:
            position = self._positions[kind, item.name] = self._last = self._last + 1
        return self._storage.put_document(
            _key(kind, item.name), {"position": position, "fields": fields_of(item)}
        )

    def remove(self, kind: str, name: str) -> ICommit:
        """Remove what has that name."""
        del self._by_kind[kind][name]
        del self._positions[kind, name]
        return self._storage.put_document(_key(kind, name), None)

    def activate(self, active: Mapping[str, Any]) -> ICommit:
        """Keep what is switched on, each value as it was given; raises BadValue for another key."""
        for key in active:
            if key not in self.active:
                raise BadValue(f"active.{key}: expected events or actions")
        self.active.update(active)
        return self._storage.put_document(_ACTIVE, self.active)

    def told(self) -> dict[str, Any]:
        """Return {events, actions, active} as the wire has them."""
        return {
            "events": dict(_told(self.events)),
            "actions": dict(_told(self.actions)),
            "active": dict(self.active),
        }


def _key(kind: str, name: str) -> str:
    return f"automation/{kind}/{name}"


def _told(items: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, item.told()) for name, item in items.items())
