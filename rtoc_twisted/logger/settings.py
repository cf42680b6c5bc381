"""The settings that clients may change with `logger`, kept in the store (protocol section 5)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ..errors import BadValue
from ..interfaces import ICommit, IStorage

DOCUMENT = "settings"
LONGEST_RECORD = 10**12
_LARGEST = 2**53

_CHANGEABLE: Mapping[str, Mapping[str, type]] = {
    "backup": {
        "active": bool,
        "loadOnOpen": bool,
        "autoOnClose": bool,
        "autoIfFull": bool,
        "clear": bool,
        "full": bool,
        "resample": int,
        "intervall": int,
    },
    "postgresql": {"active": bool},
    "tcp": {"port": int, "active": bool},
    "telegram": {"active": bool},
    "global": {"samplerate": float},
}
_OTHER_NAMES: Mapping[str, str] = {"interval": "intervall", "enablactiveed": "active"}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "backup": {
        "active": False,
        "clear": False,
        "autoIfFull": True,
        "autoOnClose": True,
        "loadOnOpen": True,
        "intervall": 240,
        "resample": 0,
    },
    "postgresql": {"active": False, "onlyPush": True},
    "tcp": {"active": False, "port": 5050},
    "telegram": {
        "active": False,
        "default_eventlevel": 0,
        "default_permission": "blocked",
        "inlineMenu": False,
        "onlyAdmin": False,
    },
    "global": {},
}


class Settings:
    """What `logger` has changed, over what it may change.

    record_length: of the configuration; `resize` overrules it.
    """

    def __init__(self, storage: IStorage, record_length: int) -> None:
        self._storage = storage
        self._configured_length = record_length

    def _kept(self) -> dict[str, Any]:
        return copy.deepcopy(self._storage.document(DOCUMENT) or {})

    def record_length(self) -> int:
        """Return how many of a signal's newest samples are at hand."""
        return int(self._kept().get("recordLength", self._configured_length))

    def resize(self, length: int) -> ICommit:
        """Change the number of samples at hand; nothing stored is lost.

        Raises BadValue past 10**12.
        """
        if length > LONGEST_RECORD:
            raise BadValue(f"logger.resize: expected at most {LONGEST_RECORD} samples")
        return self._storage.put_document(DOCUMENT, {**self._kept(), "recordLength": length})

    def topic(self, name: str) -> dict[str, Any]:
        """Return the settings of a topic: backup, postgresql, tcp, telegram, global."""
        return {**_DEFAULTS[name], **self._kept().get(name, {})}

    def change(self, topic: str, wanted: Any) -> ICommit | None:
        """Change what is known and of the right type in a topic; the rest is left alone.

        Returns the commit, None if nothing changed.
        """
        kinds = _CHANGEABLE.get(topic)
        if kinds is None or not isinstance(wanted, dict):
            return None
        changes: dict[str, Any] = {}
        for given, value in wanted.items():
            key = _OTHER_NAMES.get(given, given)
            if key in kinds and _is(value, kinds[key]):
                changes[key] = value
        if not changes:
            return None
        kept = self._kept()
        return self._storage.put_document(DOCUMENT, {**kept, topic: {**kept.get(topic, {}), **changes}})


def _is(value: Any, kind: type) -> bool:
    """Return whether a value is of that kind: a boolean, or a number from 0 on that every client can read."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    fits = isinstance(value, int) or (kind is float and isinstance(value, float))
    return fits and 0 <= value <= _LARGEST
