"""Functions of Python's that scripts have in a form of ours, which reaches no further than the language."""

from __future__ import annotations

import builtins
import re
from string import Formatter
from typing import Any

from .words import EXCEPTIONS, PLAIN_BUILTINS, REFUSED_ATTRIBUTES

_MISSING = object()
_ATTRIBUTE = re.compile(r"\.([^.\[]*)")
_NESTED = 2
"""Levels of fields in a format string: those in a field's format are the last."""


def allowed(name: Any) -> str:
    """Return the name of an attribute; raises AttributeError where scripts may not have it."""
    if type(name) is not str:
        raise TypeError("the name of an attribute is a text")
    if name.startswith("_") or name in REFUSED_ATTRIBUTES:
        raise AttributeError(f".{name} is not for scripts")
    return name


def guarded_getattr(target: Any, name: Any, *fallback: Any) -> Any:
    """Return an attribute, as getattr does, of those that a script could write with a dot."""
    if allowed(name) in ("format", "format_map"):
        return formatter(target, name)
    return getattr(target, name, *fallback)


def guarded_hasattr(target: Any, name: Any) -> bool:
    """Return whether guarded_getattr would find an attribute."""
    try:
        return guarded_getattr(target, name, _MISSING) is not _MISSING
    except AttributeError:
        return False


def guarded_type(value: Any) -> type:
    """Return the type of a value; no types are made with it."""
    return type(value)


def formatter(target: Any, name: str) -> Any:
    """Return the `format` or `format_map` of anything; those of texts read no hidden attributes."""
    if isinstance(target, str):
        _check_format(target)
    elif isinstance(target, type) and issubclass(target, str):

        def unbound(template: str, *args: Any, **kwargs: Any) -> str:
            _check_format(template)
            return str(getattr(str, name)(template, *args, **kwargs))

        return unbound
    return getattr(target, name)


def _check_format(template: str, nested: int = 0) -> None:
    if nested > _NESTED:
        return
    # str's own, as a subclass's could be anything.
    for _, field, format_spec, _ in Formatter().parse(str.__str__(template)):
        for attribute in _ATTRIBUTE.findall(field or ""):
            allowed(attribute)
        if format_spec:
            _check_format(format_spec, nested + 1)


def builtin_names() -> dict[str, Any]:
    """Return what a script has of Python's built-in names.

    What the interpreter itself looks up there is among it, under names that no script can write.
    """
    names = {name: getattr(builtins, name) for name in EXCEPTIONS | PLAIN_BUILTINS}
    for name in ("__build_class__", "__import__"):
        names[name] = getattr(builtins, name)
    names["__name__"] = "script"
    names |= {"getattr": guarded_getattr, "hasattr": guarded_hasattr, "type": guarded_type}
    return names
