"""Kinds of settings: how a text or a TOML value becomes a checked value."""

from __future__ import annotations

import ipaddress
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.interfaces import IStreamServerEndpointStringParser
from twisted.plugin import getPlugins

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_E = TypeVar("_E")

UNITS = {"": 1, "B": 1} | {
    letter + suffix: base ** (power + 1)
    for power, letter in enumerate("KMGT")
    for suffix, base in (("B", 1000), ("iB", 1024))
}
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


class Wrong(ValueError):
    """Tell several faults inside one setting.

    parts: (path below the setting, what is wrong), one a fault.
    """

    def __init__(self, parts: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{below}: {message}" for below, message in parts))
        self.parts = parts


@dataclass(frozen=True)
class Kind:
    """What a setting may be.

    name: in words, for documents.
    from_text: turns an option's or environment variable's text into what a TOML file would hold.
    check: turns what a TOML file holds into the value that the server uses.
    Both raise ValueError with what was expected.
    """

    name: str
    from_text: Callable[[str], object]
    check: Callable[[object], Any]


def _expected(what: str, value: object) -> ValueError:
    shown = repr(value)
    return ValueError(f"expected {what}, not {shown if len(shown) <= 60 else shown[:57] + '...'}")


def _text_of(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise _expected(what, value)
    return value


def text() -> Kind:
    """Return the kind of a short text."""
    return Kind("text", str, lambda value: _text_of(value, "text"))


def secret(pattern: str, example: str) -> Kind:
    """Return the kind of hashes that match a pattern; what does not match is not repeated."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            # It may be the password itself that somebody put there.
            raise ValueError(f"expected a hash such as {example}; see docs/operations.md for how to make it")
        return value

    return Kind("hash", str, check)


def choice(*words: str) -> Kind:
    """Return the kind that allows just those words."""
    name = "one of " + ", ".join(f'"{word}"' for word in words)

    def check(value: object) -> str:
        if value not in words:
            raise _expected(name, value)
        return str(value)

    return Kind(name, str, check)


def flag() -> Kind:
    """Return the kind of true and false; as text also 1, 0, yes, no, on, off."""

    def from_text(value: str) -> object:
        word = value.strip().lower()
        return True if word in TRUE else False if word in FALSE else value

    def check(value: object) -> bool:
        if not isinstance(value, bool):
            raise _expected("true or false", value)
        return value

    return Kind("true or false", from_text, check)


def integer(low: int, high: int) -> Kind:
    """Return the kind of whole numbers from low to high."""
    name = f"whole number, {low} to {high}"

    def from_text(value: str) -> object:
        return int(value) if re.fullmatch(r"\s*-?\d+\s*", value) else value

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _expected(f"a {name}", value)
        return value

    return Kind(name, from_text, check)


def seconds(low: float, high: float, unit: str = "seconds") -> Kind:
    """Return the kind of durations in seconds, or in another unit, fractions allowed."""
    name = f"{unit}, {low:g} to {high:g}"

    def from_text(value: str) -> object:
        try:
            return float(value)
        except ValueError:
            return value

    def check(value: object) -> float:
        # NaN is in no range.
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise _expected(name, value)
        return float(value)

    return Kind(name, from_text, check)


def size(low: str, high: str) -> Kind:
    """Return the kind of amounts of bytes: a whole number, or a text such as "16 MiB" or "500 kB"."""
    name = f"size, {low} to {high}"
    least, most = _bytes(low), _bytes(high)

    def check(value: object) -> int:
        amount = value if isinstance(value, int) and not isinstance(value, bool) else _bytes(value)
        if amount is None or least is None or most is None or not least <= amount <= most:
            raise _expected(f'a {name} (bytes, or text such as "16 MiB")', value)
        return amount

    return Kind(name, str, check)


def _bytes(value: object) -> int | None:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value) if isinstance(value, str) else None
    if found is None:
        return None
    units = {name.lower(): factor for name, factor in UNITS.items()}
    factor = units.get(found[2].lower())
    return None if factor is None else int(float(found[1]) * factor)


def path() -> Kind:
    """Return the kind of paths; `load` makes them absolute."""
    return Kind("path", str, lambda value: Path(_text_of(value, "a path")))


def strings(item: Kind, least: int = 0) -> Kind:
    """Return the kind of lists; as text, the items stand between commas. check gives a tuple."""

    def from_text(value: str) -> object:
        return [item.from_text(part.strip()) for part in value.split(",") if part.strip()]

    def check(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) < least:
            raise _expected(f"a list of {item.name}", value)
        return tuple(item.check(part) for part in value)

    return Kind(f"list of {item.name}", from_text, check)


def patterns() -> Kind:
    """Return the kind of lists of patterns; one may stand without brackets. check gives a tuple."""
    several = strings(text(), least=1)

    def check(value: object) -> tuple[str, ...]:
        found: tuple[str, ...] = several.check([value] if isinstance(value, str) else value)
        return found

    return Kind("pattern or list of patterns", several.from_text, check)


def command() -> Kind:
    """Return the kind of a command line: a list of words; as text, split as a shell does."""
    words = strings(text(), least=1)
    return Kind("list of words", shlex.split, words.check)


def network() -> Kind:
    """Return the kind of IP networks, such as 192.168.1.0/24 or ::1."""

    def check(value: object) -> Network:
        try:
            return ipaddress.ip_network(_text_of(value, "an IP network"))
        except ValueError as error:
            raise ValueError(f"expected an IP network such as 192.168.1.0/24: {error}") from None

    return Kind("IP networks", str, check)


def interface() -> Kind:
    """Return the kind of addresses to listen on; an empty text is all of them."""

    def check(value: object) -> str:
        if value == "":
            return ""
        try:
            return str(ipaddress.ip_address(_text_of(value, "an IP address")))
        except ValueError:
            raise _expected('an IP address of this machine, or "" for all', value) from None

    return Kind("IP address", str, check)


def origin() -> Kind:
    """Return the kind of origins: a host, a host with port, or a URL without path."""

    def check(value: object) -> str:
        found = _text_of(value, "an origin")
        if not re.fullmatch(r"(https?://)?(\[[0-9A-Fa-f:.]+\]|[^\s/:*]+)(:\d{1,5})?", found):
            raise _expected("an origin such as https://example.org or example.org:8080", value)
        return found

    return Kind("origins", str, check)


def port(*refused: str) -> Kind:
    """Return the kind of ports: a number from 0 (any free one) to 65535, or an endpoint description.

    refused: prefixes of endpoint descriptions that make no sense here.
    The check gives text in both cases.
    """

    def check(value: object) -> str:
        found = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(found, str) or not found.isprintable():
            raise _expected("a port number or an endpoint description", value)
        if re.fullmatch(r"\d{1,5}", found) and int(found) <= 65535:
            return str(int(found))
        prefix, colon, _ = found.partition(":")
        if not colon:
            raise _expected("a port number from 0 to 65535 or an endpoint description", value)
        if prefix in refused:
            raise ValueError(f"the endpoint {prefix}: brings its own TLS; use tcp:, unix: or systemd: here")
        known = {"tcp", "unix", "ssl"}
        known |= {parser.prefix for parser in getPlugins(IStreamServerEndpointStringParser)}
        if prefix not in known:
            raise ValueError(f"unknown kind of endpoint {prefix}:, known are {', '.join(sorted(known))}")
        return found

    return Kind("port number or Twisted endpoint description", str, check)


def table(check: Callable[[object], Any], example: str) -> Kind:
    """Return the kind of whole TOML tables; as text, an inline table such as the example."""

    def from_text(value: str) -> object:
        try:
            return tomllib.loads(f"table = {value}")["table"]
        except tomllib.TOMLDecodeError:
            # The text is not shown: what stands in a table may be secret.
            raise ValueError(f"expected a TOML inline table such as {example}") from None

    return Kind("table", from_text, check)


def checked(
    name: str, entry: object, known: Mapping[str, Kind], wrong: list[tuple[str, str]]
) -> dict[str, Any]:
    """Return the values of the table `name` that are right, the others told in `wrong`."""
    given: dict[str, Any] = {}
    for key, value in entry.items() if isinstance(entry, dict) else ():
        try:
            given[key] = known[key].check(value)
        except KeyError:
            wrong.append((f"{name}.{key}", f"unknown setting; known are {', '.join(known)}"))
        except ValueError as error:
            wrong.append((f"{name}.{key}", str(error)))
    return given


def entries(
    value: object, expected: str, read: Callable[[str, Any, list[tuple[str, str]]], _E]
) -> tuple[_E, ...]:
    """Return what `read` makes of each entry of a table of tables, given its name and where faults are told.

    expected: the words for what is no table. Raises ValueError for that, Wrong with all faults of entries.
    """
    if not isinstance(value, dict):
        raise ValueError(f"expected a table {expected}")
    wrong: list[tuple[str, str]] = []
    found = tuple(read(name, entry, wrong) for name, entry in value.items())
    if wrong:
        raise Wrong(wrong)
    return found
