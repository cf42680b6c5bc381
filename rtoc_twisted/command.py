"""One command: a key of requests, the type of its value, what it needs, and who answers it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from .errors import NotPermitted
from .interfaces import IAccount, ICommandSource
from .model import Permission
from .wire.request import Request, RequestSchema

Handler = Callable[..., Any]
"""handler(connection, argument) -> the keys of the answer as a dict, Partly, None, or a Deferred of these."""

_F = TypeVar("_F", bound=Handler)
_TAG = "_rtoc_command"

ORDER = (
    "authorize",
    "y",
    "getSignalList",
    "getPluginList",
    "event",
    "subscribe",
    "unsubscribe",
    "subscribeAll",
    "unsubscribeAll",
    "getEventList",
    "getEvent",
    "getSignal",
    "getLatest",
    "getSession",
    "remove",
    "plugin",
    "logger",
    "userAction",
    "automation",
)
"""The order of work inside a request, whatever the order of its keys (protocol section 2)."""


@dataclass(frozen=True)
class Command:
    """A key that requests may have, and its handler.

    argument: the type of the key's value; companions: further keys that belong to it, with their
    types; a handler with companions is given a dict of those that are there.
    """

    key: str
    argument: Any
    permission: Permission
    summary: str
    handler: Handler
    companions: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def read(self, request: Request) -> Any:
        """Return the handler's argument out of a request; raises BadValue."""
        if self.companions:
            present = {self.key: self.argument, **self.companions}
            return {key: request.value(key, kind) for key, kind in present.items() if key in request}
        return request.value(self.key, self.argument)


@dataclass(frozen=True)
class _Tag:
    key: str
    argument: Any
    permission: Permission
    companions: Mapping[str, Any]


def command(
    key: str, argument: Any, permission: Permission, companions: Mapping[str, Any] | None = None
) -> Callable[[_F], _F]:
    """Tag a method as the handler of a key; its docstring's first line is the key's description."""

    def tag(handler: _F) -> _F:
        setattr(handler, _TAG, _Tag(key, argument, permission, MappingProxyType(dict(companions or {}))))
        return handler

    return tag


def require(account: IAccount | None, permission: Permission, key: str) -> None:
    """Raise NotPermitted, naming the key, if an account has not a permission; nobody has any."""
    if permission and (account is None or not account.may(permission)):
        raise NotPermitted(f"{key}: this needs the permission {str(permission.name).lower()}")


def tagged(component: object) -> list[Command]:
    """Return the commands of a component: one for each method that is tagged."""
    commands = []
    for name, function in inspect.getmembers(type(component), inspect.isfunction):
        tag: _Tag | None = getattr(function, _TAG, None)
        if tag is not None:
            summary = (inspect.getdoc(function) or "").partition("\n")[0]
            handler = getattr(component, name)
            commands.append(Command(tag.key, tag.argument, tag.permission, summary, handler, tag.companions))
    return commands


class CommandTable:
    """All commands in their order of work, and the schema of requests made of them.

    sources: the components; a key that two of them take, as their own or as a companion, is a
    ValueError. Keys that the protocol document does not order come last, in the order of their sources.
    """

    def __init__(self, sources: Iterable[ICommandSource]) -> None:
        by_key: dict[str, Command] = {}
        kinds: dict[str, Any] = {"id": Any}
        for source in sources:
            for found in source.commands():
                for key, kind in ((found.key, found.argument), *found.companions.items()):
                    if key in kinds:
                        raise ValueError(f"two commands take the key {key!r}")
                    kinds[key] = kind
                by_key[found.key] = found
        known = [by_key.pop(key) for key in ORDER if key in by_key]
        self.commands: tuple[Command, ...] = (*known, *by_key.values())
        in_order = (key for found in self.commands for key in (found.key, *found.companions))
        self.schema = RequestSchema({key: kinds[key] for key in ("id", *in_order)})

    def present(self, request: Request) -> list[Command]:
        """Return the commands whose keys are in the request, in their order of work."""
        return [found for found in self.commands if found.key in request]
