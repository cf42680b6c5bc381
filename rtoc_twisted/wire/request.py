"""Requests: one schema for all keys, built from the commands, each value decoded when it is needed.

A wrong value fails its own key and no other, and the failure names the path within it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec

from ..errors import BadJSON, BadValue
from .codec import Verbatim, check_value

_ABSENT = msgspec.UNSET
_MAP_HEADS = frozenset((*range(0x80, 0x90), 0xDE, 0xDF))


def lenient(expected: Any) -> Any:
    """Return a type that decodes anything and is published in the schema as `expected`.

    For keys where RTOC's clients rely on a friendly answer to a wrong value.
    """
    return Annotated[Any, msgspec.Meta(extra_json_schema=msgspec.json.schema(expected))]


class Request:
    """A decoded request: which keys it has, and their values by type."""

    __slots__ = ("_raw", "_values")

    def __init__(self, values: Mapping[str, Any], raw: bool) -> None:
        self._values = values
        self._raw = raw

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def value(self, key: str, expected: Any = Any) -> Any:
        """Return the value of a key as the type that is expected.

        Raises BadValue, naming the path, if it is another; KeyError if the key is not there.
        """
        value = self._values[key]
        try:
            if self._raw:
                return msgspec.json.decode(value, type=expected)
            return msgspec.convert(value, expected)
        except (msgspec.DecodeError, RecursionError) as error:
            raise BadValue(_explain(key, error)) from None
        except msgspec.ValidationError as error:
            raise BadValue(_explain(key, error)) from None

    def echo(self, key: str) -> Any:
        """Return the value of a key to be said again; JSON stays as it came."""
        return Verbatim(self._values[key]) if self._raw else self._values[key]


NO_REQUEST = Request({}, raw=False)
"""Stands for the request of a frame that is none."""


def _explain(key: str, error: Exception) -> str:
    what, _, path = str(error).partition(" - at `$")
    return f"{key}{path.rstrip('`')}: {what}"


class RequestSchema:
    """The keys that a request may have, and their types.

    keys: the type of each key's value, as msgspec understands it.
    """

    def __init__(self, keys: Mapping[str, Any]) -> None:
        self._keys = dict(keys)
        self._struct = msgspec.defstruct(
            "Request", [(key, msgspec.Raw | msgspec.UnsetType, _ABSENT) for key in keys]
        )
        self._decoder = msgspec.json.Decoder(self._struct)

    def decode(self, payload: bytes) -> Request:
        """Return the request in a JSON payload.

        payload: UTF-8 (see `utf8`). Unknown keys are left out: they cost nothing. Raises BadJSON if
        it is no object or an empty one, BadValue if its `id` is nothing that could be echoed.
        """
        try:
            struct = self._decoder.decode(payload)
        except (msgspec.MsgspecError, RecursionError):
            return self._from_object(_decode_leniently(payload))
        values = {key: value for key in self._keys if (value := getattr(struct, key)) is not _ABSENT}
        if not values and payload.strip()[1:-1].strip() == b"":
            raise BadJSON("the request is an empty object")
        return Request(values, raw=True)

    def decode_msgpack(self, payload: bytes) -> Request:
        """Return the request in a MessagePack payload; raises BadJSON as `decode` does."""
        try:
            return self._from_object(msgspec.msgpack.decode(payload))
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise BadJSON(f"the frame is not MessagePack: {error}") from None

    def _from_object(self, value: Any) -> Request:
        if not isinstance(value, dict):
            raise BadJSON(f"a request is one JSON object, this is a {_json_type(value)}")
        if not value:
            raise BadJSON("the request is an empty object")
        # Raw JSON is echoed as it came, decoded values must have a form of their own.
        check_value(value.get("id"), "id")
        return Request({key: value[key] for key in self._keys if key in value}, raw=False)

    def json_schema(self) -> dict[str, Any]:
        """Return the JSON Schema (draft 2020-12) of a request."""
        schemas, components = msgspec.json.schema_components(
            list(self._keys.values()), ref_template="#/$defs/{name}"
        )
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "RTOC request",
            "type": "object",
            "properties": dict(zip(self._keys, schemas, strict=True)),
            "$defs": components,
        }


def _decode_leniently(payload: bytes) -> Any:
    # RTOC's Python clients write NaN and Infinity, which only the json module reads.
    try:
        return json.loads(payload.decode())
    except (ValueError, RecursionError) as error:
        raise BadJSON(f"the frame is not JSON: {error}") from None


def is_msgpack(payload: bytes) -> bool:
    """Return whether the payload of a binary frame is a MessagePack map; JSON never begins like one."""
    return bool(payload) and payload[0] in _MAP_HEADS


def utf8(payload: bytes) -> bytes:
    """Return a payload that came in no text frame if it is UTF-8; else raise BadJSON."""
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise BadJSON("the frame is not UTF-8") from None
    return payload


def _json_type(value: Any) -> str:
    names: Iterable[tuple[type, str]] = (
        (bool, "boolean"),
        (str, "string"),
        (list, "list"),
        (int, "number"),
        (float, "number"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "null")
