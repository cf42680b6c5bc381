"""What a plugin's object shows: functions and parameters as getPluginList tells them, and which may be used.

Names are only ever looked up, nothing is made code of.
"""

from __future__ import annotations

import inspect
from typing import Any

from ...box.plain import plain

LIFECYCLE = frozenset(
    ("cancel", "close", "createPerpetualTimer", "initPerpetualTimer", "loadGUI", "setPerpetualTimer", "start")
)
"""Functions that are for the plugin and the server alone."""

HIDDEN_FUNCTIONS = LIFECYCLE | {
    "createPersistentVariable",
    "debug",
    "error",
    "event",
    "getDir",
    "info",
    "initPersistentVariable",
    "loadPersistentVariable",
    "plot",
    "savePersistentVariable",
    "setDeviceName",
    "setInterval",
    "setSamplerate",
    "stream",
    "telegram_send_document",
    "telegram_send_message",
    "telegram_send_photo",
    "telegram_send_plot",
    "updateT",
    "warning",
}
"""Functions that getPluginList does not show (protocol section 5); those for clients may be called."""

HIDDEN_PARAMETERS = frozenset(("lockPerpetialTimer", "logger", "rtoc", "run", "smallGUI", "widget"))

UNKNOWN = "Unknown datatype"

_SHOWN = (str, int, float, list, bool)


class Refused(Exception):
    """A client may not use this name; the text says why."""


def functions(plugin: Any) -> list[list[Any]]:
    """Return [name, argument names, their number, names of variables, defaults, doc, signature] of each."""
    return [
        _function(name, value, _is_method(plugin, name, value))
        for name, value in _members(plugin, HIDDEN_FUNCTIONS)
        if callable(value) and name not in HIDDEN_FUNCTIONS
    ]


def parameters(plugin: Any) -> list[list[Any]]:
    """Return [name, value, doc] of each; a value that is no text, number, list or bool is UNKNOWN."""
    return [
        [name, _shown(value), _doc(plugin, name)]
        for name, value in _members(plugin, HIDDEN_PARAMETERS)
        if not callable(value)
    ]


def class_parameters(plugin: type) -> list[list[Any]]:
    """Return the parameters that a class has before an object of it is made: no properties."""
    return [entry for entry in parameters(plugin) if not isinstance(getattr(plugin, entry[0]), property)]


def _members(plugin: Any, hidden: frozenset[str]) -> list[tuple[str, Any]]:
    """Return the public attributes by name; one that raises has the exception for its value."""
    members = []
    config = getattr(getattr(plugin, "_rtoc_link", None), "config", None)
    for name in sorted(set(dir(plugin)) - hidden):
        if name.startswith("_"):
            continue
        try:
            value = getattr(plugin, name)
        except Exception as error:
            value = error
        # What the manifest's form was filled with is no parameter, and may hold secrets.
        if config is None or value is not config:
            members.append((name, value))
    return members


def _is_method(plugin: Any, name: str, value: Any) -> bool:
    if isinstance(plugin, type):
        return inspect.isfunction(inspect.getattr_static(plugin, name, None))
    return getattr(value, "__self__", None) is not None


def _function(name: str, function: Any, bound: bool) -> list[Any]:
    """Return the entry of a function; bound: its first argument is the plugin."""
    code = getattr(function, "__code__", None)
    doc = getattr(function, "__doc__", None)
    try:
        signature = inspect.signature(function)
        if bound and getattr(function, "__self__", None) is None:
            signature = signature.replace(parameters=list(signature.parameters.values())[1:])
    except (TypeError, ValueError):
        signature = None
    shown = "(...)" if signature is None else str(signature)
    if code is None:
        return [name, [], 0, [], None, plain(doc), shown]
    names = list(code.co_varnames[int(bound) : code.co_argcount])
    defaults = function.__defaults__
    listed = None if defaults is None else plain(defaults)
    return [name, names, len(names), list(code.co_varnames), listed, plain(doc), shown]


def _shown(value: Any) -> Any:
    if type(value).__module__ == "numpy" or isinstance(value, _SHOWN):
        value = plain(value)
    return value if type(value) in _SHOWN else UNKNOWN


def _doc(plugin: Any, name: str) -> str | None:
    doc = getattr(plugin, f"__doc_{name}__", None)
    return None if doc is None else plain(str(doc))


def function(plugin: Any, name: str) -> Any:
    """Return the function that a client may call by this name; raises Refused."""
    if name.startswith("_") or name in LIFECYCLE:
        raise Refused(f"{name}() is not for clients")
    found = _attribute(plugin, name)
    if found is None or not callable(found[0]):
        raise Refused(f"the plugin has no function {name}")
    return found[0]


def value(plugin: Any, name: str) -> Any:
    """Return what a parameter holds, plain; raises Refused."""
    if name.startswith("_"):
        raise Refused(f"{name} is not for clients")
    found = _attribute(plugin, name)
    if found is None or callable(found[0]):
        raise Refused(f"the plugin has no parameter {name}")
    return plain(found[0])


def settable(plugin: Any, name: str) -> None:
    """Raise Refused where a client may not set an attribute of this name; a new name is allowed."""
    if name.startswith("_") or name in HIDDEN_PARAMETERS or not name.isidentifier():
        raise Refused(f"{name} is not for clients")
    if name in HIDDEN_FUNCTIONS or callable(inspect.getattr_static(plugin, name, None)):
        raise Refused(f"{name} is a function")


def _attribute(plugin: Any, name: str) -> tuple[Any] | None:
    try:
        return (getattr(plugin, name),)
    except AttributeError:
        return None
