"""The keys of automation: they answer that this server has none yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zope.interface import implementer

from ..command import Command, command, tagged
from ..errors import NotAvailable
from ..interfaces import ICommandSource, IConnection
from ..model import Permission


@implementer(ICommandSource)
class AutomationCommands:
    """Refuses automation and userAction with the code `not-available`."""

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)

    @command("automation", Any, Permission.CONTROL)
    def automation(self, connection: IConnection, _: Any) -> None:
        """Set conditions and actions; not available in this version."""
        raise NotAvailable("automation: this version of the server has no automation")

    @command("userAction", Any, Permission.CONTROL)
    def user_action(self, connection: IConnection, _: Any) -> None:
        """Run a user action; not available in this version."""
        raise NotAvailable("userAction: this version of the server has no user actions")
