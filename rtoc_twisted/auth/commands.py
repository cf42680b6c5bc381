"""The key `authorize`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from ..command import Command, command, tagged
from ..interfaces import ICommandSource, IConnection
from ..model import Permission
from ..wire.request import lenient


@implementer(ICommandSource)
class AuthCommands:
    """Answers `authorize`; the conversation itself knows what a login means for it."""

    @command("authorize", lenient(str | bool | dict[str, str]), Permission.NONE)
    def authorize(self, connection: IConnection, credential: Any) -> Deferred[None]:
        """Log in with a password's hash, {"user", "hash"} or {"token"}."""
        return connection.login(credential)

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)
