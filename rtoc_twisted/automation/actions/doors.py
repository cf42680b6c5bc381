"""What the mother of the scripts' processes and the runs of scripts are to each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

from ...box.messages import Message


class Line(Protocol):
    """The socket to one script's process."""

    def send(self, message: Message) -> None:
        """Send a message; a process that is gone ignores it. Raises TooLarge."""

    def hold(self, held: bool) -> None:
        """Read no more of what it sends, or read again. Idempotent."""

    def close(self) -> None:
        """Close the socket; `hung_up` follows."""


class Ear(Protocol):
    """Who listens at a socket."""

    def came(self, length: int) -> None:
        """So many bytes came; what is whole of them is heard next."""

    def heard(self, message: Any) -> None:
        """A message came, one of scripts.messages."""

    def unread(self, held: bool) -> None:
        """What was sent is not read: send no more answers; or it was read."""

    def nonsense(self, problem: str) -> None:
        """What came is no message; nothing more will be heard but `hung_up`."""

    def hung_up(self) -> None:
        """The socket is closed, and all that came was heard."""


class Child(Ear, Protocol):
    """Who has a script run in a process of its own, and listens to it."""

    def forked(self) -> None:
        """The process is there."""

    def ended(self, status: int) -> None:
        """The process is gone; status: its exit code, or the number of the signal that ended it, negative."""

    def orphaned(self, reason: str) -> None:
        """The mother is gone, and the process with it; reason: why, in words."""


class Process(Protocol):
    """A running mother."""

    def fork(self, number: int, child: Child) -> Line:
        """Let it fork a process for a run; return the line to it. Raises OSError."""

    def kill_child(self, number: int) -> None:
        """End the process of a run, by SIGKILL."""

    def end(self) -> None:
        """Close its socket, which is its sign to end."""

    def kill(self) -> None:
        """End it and its children, by SIGKILL."""


class Owner(Protocol):
    """Who has a mother run."""

    def awake(self, missing: Sequence[str]) -> None:
        """The mother has imported everything; missing: what this system cannot do, in words."""

    def forked(self, number: int) -> None:
        """The process of a run is there."""

    def ended(self, number: int, status: int) -> None:
        """The process of a run is gone."""

    def printed(self, line: str) -> None:
        """The mother, or a child outside of its script, printed a line."""

    def gone(self, reason: str) -> None:
        """The mother is gone; reason: how, in words."""


Launch: TypeAlias = Callable[[Owner], Process]
"""Starts a mother, and tells its owner what comes of it; raises OSError."""
