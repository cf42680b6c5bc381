"""A script's way to the server: what it sends, what it asks, and whether it is to stop."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from time import sleep as pause
from typing import Any

from ...box.messages import Message
from ...box.plain import plain
from .messages import Ask, Reply, Stop, child_reader, packed

_SHORT = 0.005
"""Seconds of sleep too short to listen meanwhile."""

_PATIENCE = 16
"""Sleeps that end at once after a Stop; a script that still sleeps on is ended."""


class Unwound(BaseException):
    """What ends a script from within, and no `except` of it holds up."""


class Returned(Unwound):
    """A return at the script's top level, with what it returns."""

    def __init__(self, value: Any = None) -> None:
        super().__init__()
        self.value = value


class Stopped(Unwound):
    """The script was told to stop, and does not."""


class Alone(Unwound):
    """The server is gone."""


class Link:
    """One run's connection.

    read: returns the next bytes, none when the server is gone; write: takes all bytes, raises OSError then;
    waits: whether there are bytes to read within so many seconds.
    """

    def __init__(
        self, read: Callable[[], bytes], write: Callable[[bytes], None], waits: Callable[[float], bool]
    ) -> None:
        self._read = read
        self._write = write
        self._waits = waits
        self._reader = child_reader()
        self._replies: dict[int, Reply] = {}
        self._asked = 0
        self._early = 0
        self.stopped = False

    def receive(self) -> list[Any]:
        """Wait for bytes, and return the messages that they complete, other than replies and Stop."""
        data = self._read()
        if not data:
            raise Alone
        others = []
        for message in self._reader.feed(data):
            if isinstance(message, Reply):
                self._replies[message.id] = message
            elif isinstance(message, Stop):
                self.stopped = True
            else:
                others.append(message)
        return others

    def send(self, message: Message) -> None:
        """Send a message; raises TooLarge above the limits of one."""
        frame = packed(message)
        try:
            self._write(frame)
        except OSError:
            raise Alone from None

    def ask(self, what: str, *args: Any) -> Reply:
        """Ask, and wait for the answer; raises RuntimeError with the reason where there is none."""
        self._asked += 1
        self.send(Ask(self._asked, what, plain(args)))
        while self._asked not in self._replies:
            self.receive()
        reply = self._replies.pop(self._asked)
        if not reply.ok:
            raise RuntimeError(str(reply.value))
        return reply

    def goes_on(self) -> bool:
        """Return whether the script is to go on."""
        if not self.stopped and self._waits(0.0):
            self.receive()
        return not self.stopped

    def sleep(self, seconds: float) -> None:
        """Sleep, as time.sleep does, but no longer than until the script is to stop."""
        seconds = float(seconds)
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        if seconds < _SHORT and not self.stopped:
            pause(seconds)
        end = monotonic() + seconds
        while self.goes_on() and (left := end - monotonic()) > 0:
            self._waits(left)
        if self.stopped:
            self._early += 1
            if self._early > _PATIENCE:
                raise Stopped
