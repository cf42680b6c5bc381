"""The keys of plugins: they answer that this server has none yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zope.interface import implementer

from ..command import Command, command, tagged
from ..errors import NotAvailable
from ..interfaces import ICommandSource, IConnection
from ..model import Permission


@implementer(ICommandSource)
class PluginCommands:
    """Refuses getPluginList and plugin with the code `not-available`."""

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)

    @command("getPluginList", Any, Permission.READ)
    def plugin_list(self, connection: IConnection, _: Any) -> None:
        """List the plugins; not available in this version."""
        raise NotAvailable("getPluginList: this version of the server has no plugins")

    @command("plugin", Any, Permission.CONTROL)
    def plugin(self, connection: IConnection, _: Any) -> None:
        """Control plugins; not available in this version."""
        raise NotAvailable("plugin: this version of the server has no plugins")
