"""Reads the fields of an object that a client sent, and names the one that is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ..errors import BadValue
from ..wire.batch import check_name, check_text

MAX_NAME: Final = 200
"""Characters that the name of a rule or an action may have."""

MAX_TEXT: Final = 100_000
"""Characters of a text; a condition has its own, lower limit."""

MAX_SECONDS: Final = 1e9
"""The longest time that anything may be asked to last: 31 years."""


class Fields:
    """The fields of one object; null counts as a field that is not there.

    where: what to call it in messages; known: the fields that it may have; ignored: others, passed over.
    Raises BadValue for anything but an object, and for unknown fields, with the nearest known one.
    """

    def __init__(self, fields: Any, where: str, known: Sequence[str], ignored: Iterable[str] = ()) -> None:
        if not isinstance(fields, Mapping):
            raise BadValue(f"{where}: expected an object, got {shown(fields)}")
        self._fields = fields
        self._where = where
        for key in fields:
            if key not in known and key not in ignored:
                near = difflib.get_close_matches(str(key), known, 1)
                meant = f"; did you mean {near[0]}?" if near else ""
                raise BadValue(f"{where}.{str(key)[:40]}: unknown field{meant}")

    def key(self, key: str) -> str:
        """Return a field's full name, for messages."""
        return f"{self._where}.{key}"

    def has(self, key: str) -> bool:
        """Return whether a field is there."""
        return self._fields.get(key) is not None

    def plain(self, key: str) -> Any:
        """Return a field's value as it is, None if it is not there."""
        return self._fields.get(key)

    def wrong(self, key: str, expected: str) -> BadValue:
        """Return the error that says what was expected and what came."""
        return BadValue(f"{self.key(key)}: expected {expected}, got {shown(self.plain(key))}")

    def text(self, key: str, default: str | None, limit: int = MAX_TEXT) -> str:
        """Return a text; without a default it is needed."""
        value = self._fields.get(key)
        if value is None:
            if default is None:
                raise BadValue(f"{self.key(key)}: missing")
            return default
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        if len(value) > limit:
            raise BadValue(f"{self.key(key)}: {len(value)} characters are too many, the limit is {limit}")
        check_text(value, self.key(key))
        return value

    def name(self, key: str) -> str:
        """Return the name of a rule or an action, 1 to 200 characters; it is needed."""
        name = self.text(key, None, MAX_NAME)
        if not name:
            raise BadValue(f"{self.key(key)}: expected 1 to {MAX_NAME} characters, got none")
        return name

    def label(self, key: str, default: str) -> str:
        """Return the name of a signal or a device, or an id, which may be empty."""
        return self.checked(self.text(key, default), key)

    def checked(self, label: str, key: str) -> str:
        """Return a name that can be one of a signal, a device or an event."""
        check_name(label, self.key(key))
        return label

    def choice(self, key: str, words: Sequence[str], default: str) -> str:
        """Return one of these words."""
        value = self._fields.get(key)
        if value is None:
            return default
        if value not in words:
            raise self.wrong(key, f"one of {', '.join(words)}")
        return str(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return a bool; 0 and 1 will do."""
        value = self._fields.get(key)
        if value is None:
            return default
        if not isinstance(value, (bool, int)) or value not in (0, 1):
            raise self.wrong(key, "true or false")
        return bool(value)

    def seconds(self, key: str, default: float) -> float:
        """Return a time of 0 or more seconds."""
        value = self._fields.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_SECONDS:
            raise self.wrong(key, "seconds of 0 or more")
        return float(value)

    def count(self, key: str, most: int) -> int:
        """Return a whole number from 0 to `most`; it is needed."""
        value = self._fields.get(key)
        if type(value) is not int or not 0 <= value <= most:
            raise self.wrong(key, f"a whole number from 0 to {most}")
        return value


def shown(value: Any) -> str:
    """Return a value for a message, shortened."""
    if isinstance(value, Mapping):
        return "an object"
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
