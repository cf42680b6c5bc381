"""One setting of a plugin's configuration: a subset of JSON Schema, read from the plugin's manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import BadValue

_TYPES: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "string": ((str,), "a text"),
    "number": ((int, float), "a number"),
    "integer": ((int,), "a whole number"),
    "boolean": ((bool,), "true or false"),
}
KEYS: Final = (
    "type",
    "title",
    "description",
    "default",
    "minimum",
    "maximum",
    "enum",
    "required",
    "secret",
)


@dataclass(frozen=True, slots=True)
class Setting:
    """type: "string", "number", "integer" or "boolean"; secret: a text that nobody is shown."""

    type: str
    title: str = ""
    description: str = ""
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[Any, ...] = ()
    required: bool = False
    secret: bool = False

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the setting's value; what it does not say is left out."""
        said = {
            "title": self.title or None,
            "description": self.description or None,
            "default": None if self.secret else self.default,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "enum": list(self.enum) or None,
            "writeOnly": self.secret or None,
        }
        return {"type": self.type} | {key: value for key, value in said.items() if value is not None}


def read_setting(name: str, given: Any) -> Setting:
    """Return the setting that a table of the manifest describes; BadValue with its key and the reason."""
    if not isinstance(given, dict):
        raise BadValue(f"{name}: must be a table")
    problem = _problem(given)
    if problem:
        raise BadValue(f"{name}.{problem}")
    setting = Setting(**given | {"enum": tuple(given.get("enum", ()))})
    wrong_default = None if setting.default is None else wrong_value(setting, setting.default)
    if wrong_default:
        raise BadValue(f"{name}.default: {wrong_default}")
    return setting


def wrong_value(setting: Setting, value: Any) -> str | None:
    """Return why a value is none for the setting, None if it is; a secret is not told."""
    if not _is_of(setting.type, value):
        return f"must be {_TYPES[setting.type][1]}"
    if setting.enum and value not in setting.enum:
        return f"must be one of {', '.join(map(str, setting.enum))}"
    if setting.minimum is not None and value < setting.minimum:
        return f"must be {setting.minimum:g} or more"
    if setting.maximum is not None and value > setting.maximum:
        return f"must be {setting.maximum:g} or less"
    return None


def _problem(given: dict[str, Any]) -> str | None:
    """Return what is wrong with a setting's table, `key: reason`."""
    unknown = given.keys() - set(KEYS)
    if unknown:
        return f"{min(unknown)}: there is no such key"
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in _TYPES:
        return f"type: must be one of {', '.join(_TYPES)}"
    for key, expected in (("title", "string"), ("description", "string"), ("required", "boolean")):
        if key in given and not _is_of(expected, given[key]):
            return f"{key}: must be {_TYPES[expected][1]}"
    for key in ("minimum", "maximum"):
        if key in given and (kind not in ("number", "integer") or not _is_of("number", given[key])):
            return f"{key}: must be a number, and is for numbers"
    enum = given.get("enum", [])
    if not isinstance(enum, list) or not all(_is_of(kind, it) for it in enum):
        return f"enum: must be a list, each of it {_TYPES[kind][1]}"
    secret = given.get("secret", False)
    if not isinstance(secret, bool) or (secret and (kind != "string" or enum)):
        return "secret: must be true or false, and is for texts without enum"
    return None


def _is_of(kind: str, value: Any) -> bool:
    types = _TYPES[kind][0]
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, types) and not (isinstance(value, float) and not math.isfinite(value))
