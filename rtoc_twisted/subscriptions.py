"""The keys of subscriptions: subscribe, unsubscribe, subscribeAll, unsubscribeAll (protocol section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from zope.interface import implementer

from .command import Command, command, tagged
from .errors import BadValue
from .interfaces import ICommandSource, IConnection
from .model import Permission, Selector
from .wire.request import lenient

_PAIR = list[Any]


@implementer(ICommandSource)
class SubscriptionCommands:
    """Changes what a connection hears of."""

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)

    @command("subscribe", _PAIR, Permission.READ)
    def subscribe(self, connection: IConnection, wanted: list[Any]) -> None:
        """Push values of ["signal", sigKey], which need not exist yet, or ["device", name]."""
        element, names = _pair(wanted, "subscribe")
        old = connection.selector()
        if element == "signal":
            signals, without = old.signals | names, old.without_signals - names
            connection.watch(replace(old, signals=signals, without_signals=without))
        elif element == "device":
            devices, without = old.devices | names, old.without_devices - names
            connection.watch(replace(old, devices=devices, without_devices=without))

    @command("unsubscribe", _PAIR, Permission.READ)
    def unsubscribe(self, connection: IConnection, wanted: list[Any]) -> None:
        """Push no values of ["signal", sigKey] or ["device", name] any more, also after subscribeAll."""
        element, names = _pair(wanted, "unsubscribe")
        old = connection.selector()
        exceptions = names if old.all_signals or old.all_devices else frozenset()
        if element == "signal":
            signals, without = old.signals - names, old.without_signals | exceptions
            connection.watch(replace(old, signals=signals, without_signals=without))
        elif element == "device":
            devices, without = old.devices - names, old.without_devices | exceptions
            connection.watch(replace(old, devices=devices, without_devices=without))

    @command("subscribeAll", lenient(bool | str), Permission.READ)
    def subscribe_all(self, connection: IConnection, wanted: Any) -> None:
        """Push values of all signals, present and future: true, "signal" or "device"."""
        nothing: frozenset[str] = frozenset()
        old = replace(connection.selector(), without_signals=nothing, without_devices=nothing)
        if wanted is True or wanted == "signal":
            connection.watch(replace(old, all_signals=True))
        elif wanted == "device":
            connection.watch(replace(old, all_devices=True))

    @command("unsubscribeAll", lenient(bool | str), Permission.READ)
    def unsubscribe_all(self, connection: IConnection, wanted: Any) -> None:
        """Undo all subscriptions (true), those of signals ("signal") or of devices ("device")."""
        old = connection.selector()
        if wanted is True:
            connection.watch(Selector())
        elif wanted == "signal":
            connection.watch(replace(old, all_signals=False, signals=frozenset()))
        elif wanted == "device":
            connection.watch(replace(old, all_devices=False, devices=frozenset()))


def _pair(wanted: list[Any], key: str) -> tuple[Any, frozenset[str]]:
    """Return the element and the names of a subscription; names that are no text never match anything."""
    if len(wanted) != 2:
        raise BadValue(f'{key}: expected ["signal", "DEVICE.SIGNAL"] or ["device", "DEVICE"]')
    names = wanted[1] if isinstance(wanted[1], list) else [wanted[1]]
    return wanted[0], frozenset(name for name in names if isinstance(name, str))
