"""Values of a plugin as JSON has words for them."""

from __future__ import annotations

import sys
from typing import Any

_DEEPEST = 32
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1


def plain(value: Any, within: tuple[int, ...] = ()) -> Any:
    """Return a value made of None, bool, int (64 bits), float, str, list and dict with texts for keys.

    Tuples and sets become lists, numbers and arrays of numpy what they are without it, everything else its
    repr; so does what is nested too deeply or in itself. within: the ids of what the value is nested in.
    """
    kind = type(value)
    if kind is str:
        return value if value.isascii() else value.encode(errors="replace").decode()
    if kind is int:
        return value if _LEAST <= value <= _MOST else repr(value)
    if value is None or kind is bool or kind is float:
        return value
    if len(within) < _DEEPEST and id(value) not in within:
        inside = (*within, id(value))
        if isinstance(value, dict):
            return {plain(str(key)): plain(item, inside) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [plain(item, inside) for item in value]
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic):
            listed = value.tolist()
            # A long double, for one, stays what it is.
            return described(value) if isinstance(listed, numpy.generic) else plain(listed, inside)
    for base in (str, int, float):
        if isinstance(value, base):
            return plain(base(value))
    return described(value)


def described(value: Any) -> str:
    """Return the repr of a value, or what its class is where that fails."""
    try:
        return str(plain(repr(value)))
    except Exception as error:
        return f"<{type(value).__name__}: {type(error).__name__}>"
