"""What a plugin's object has of the process that it lives in."""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Any

from ...box.messages import Message
from ...box.plain import plain
from ...errors import TooLarge
from ..orders import Init, Log, Variable
from .outlet import Outlet

LONGEST = 16_384
"""Letters of a log line; what is longer is cut."""


class Link:
    """The way of one plugin to the server, and what the server told about it.

    init: the first order; outlet: the way out; changed: called when the plugin says that its functions or
    parameters are others; folder: of the plugin's file.
    """

    def __init__(
        self, init: Init, outlet: Outlet, changed: Callable[[], None], now: Callable[[], float] = time
    ) -> None:
        self.device = init.device
        self.samplerate = init.samplerate
        self.config = init.config
        self.folder = init.path.rpartition("/")[0]
        self.outlet = outlet
        self.changed = changed
        self.now = now
        self._variables = init.variables

    def log(self, level: int, text: str) -> None:
        """Report a line of the log."""
        if len(text) > LONGEST:
            text = f"{text[:LONGEST]} ... ({len(text) - LONGEST} letters more)"
        self.outlet.send(Log(level, plain(text), self.now()))

    def send(self, message: Message) -> bool:
        """Send a message; log why where it is too large, and return whether it went out."""
        try:
            return self.outlet.send(message)
        except TooLarge as error:
            self.log(2, f"Not sent: {error.message}")
            return False

    def is_kept(self, dname: str, name: str) -> bool:
        """Return whether there is a persistent variable of that name."""
        return name in self._variables.get(dname, {})

    def kept(self, dname: str, name: str, fallback: Any) -> Any:
        """Return a persistent variable, the fallback where there is none."""
        return self._variables.get(dname, {}).get(name, fallback)

    def keep(self, dname: str, name: str, value: Any) -> bool:
        """Set a persistent variable, and return whether the server was told."""
        self._variables.setdefault(dname, {})[name] = value
        return self.send(Variable(dname, name, plain(value)))
