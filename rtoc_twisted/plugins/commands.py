"""The keys of plugins: getPluginList and plugin (protocol section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import inlineCallbacks
from zope.interface import implementer

from ..command import Command, command, tagged
from ..errors import BadValue, RTOCError
from ..interfaces import ICommandSource, IConnection, IPlugins
from ..model import Permission
from ..wire.answer import Partly
from ..wire.codec import check_value
from ..wire.request import lenient


@implementer(ICommandSource)
class PluginCommands:
    """Lists plugins, starts and stops them, reads and sets parameters, calls functions."""

    def __init__(self, plugins: IPlugins) -> None:
        self._plugins = plugins

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)

    @command("getPluginList", Any, Permission.READ)
    def plugin_list(self, connection: IConnection, _: Any) -> dict[str, Any]:
        """List all plugins: functions, parameters, status, autorun, info and log of each."""
        return {"pluginList": self._plugins.listing()}

    @command("plugin", lenient(dict[str, dict[str, Any]]), Permission.CONTROL)
    @inlineCallbacks
    def plugin(self, connection: IConnection, wanted: Any) -> Any:
        """Start, stop, autostart, read, set and call: {name: {call: argument}}."""
        # What is not understood is said again in the answer.
        check_value(wanted, "plugin")
        if not isinstance(wanted, dict):
            return {"plugin": wanted}
        answer: dict[str, Any] = {}
        errors: list[RTOCError] = []
        for name, calls in wanted.items():
            if not isinstance(calls, dict) or not calls:
                answer[name] = calls
                continue
            for key, argument in calls.items():
                try:
                    result = yield self._do(name, key, argument)
                except RTOCError as error:
                    errors.append(type(error)(f"plugin.{name}.{key}: {error.message}"))
                else:
                    answer.setdefault(name, {})[key] = result
        self._plugins.tell()
        return Partly({"plugin": answer} if answer or not errors else {}, errors)

    def _do(self, name: str, key: str, argument: Any) -> Any:
        """Return the result of one call, or a Deferred of it."""
        if key == "start":
            return self._start(name, argument)
        if key == "autostart":
            return self._autostart(name, argument)
        if key.endswith("()"):
            return self._call(name, key[:-2], argument)
        if key == "get":
            return self._get(name, argument)
        if argument == "get":
            return self._get(name, key)
        return self._plugins.running(name) and self._plugins.set(name, key, argument)

    def _start(self, name: str, on: Any) -> Any:
        if not isinstance(on, bool):
            raise BadValue("expected true or false")
        if name not in self._plugins.names():
            return True if not on else [False, f"PLUGIN not found: {name!r}\n"]
        if on:
            return self._plugins.start_plugin(name).addCallback(lambda reason: [not reason, reason])
        return self._plugins.stop_plugin(name).addCallback(lambda _: True)

    def _autostart(self, name: str, on: Any) -> Any:
        if not isinstance(on, bool):
            raise BadValue("expected true or false")
        return self._plugins.set_autorun(name, on).addCallback(lambda changed: changed is on)

    def _call(self, name: str, function: str, argument: Any) -> Any:
        if not isinstance(argument, list | dict):
            raise BadValue("expected a list of arguments, or an object of them by their names")
        if not self._plugins.running(name):
            return [False, f"Plugin {name} not found or started"]
        positional, named = (argument, {}) if isinstance(argument, list) else ([], argument)
        return self._plugins.call(name, function, positional, named).addCallback(list)

    def _get(self, name: str, wanted: Any) -> Any:
        names = wanted if isinstance(wanted, list) else [wanted]
        if not all(isinstance(each, str) for each in names):
            return None
        if not self._plugins.running(name):
            return False
        values = self._plugins.get(name, names)
        return values if isinstance(wanted, list) else values.addCallback(lambda it: it[0])
