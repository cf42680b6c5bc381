"""Real scripts behind a task.Clock: each runs in a thread that goes on when the clock's turn comes.

The language, the world and the messages are those of the real processes; only the box around them is missing.
"""

from __future__ import annotations

import queue
import threading
from functools import cache
from typing import Any

from twisted.internet.task import Clock

from rtoc_twisted.automation.actions.doors import Child, Owner
from rtoc_twisted.automation.scripts import messages
from rtoc_twisted.automation.scripts.link import Alone, Link
from rtoc_twisted.automation.scripts.modules import Library
from rtoc_twisted.automation.scripts.run import run
from rtoc_twisted.box.messages import Message, pack

PATIENCE = 60.0
"""Seconds after which a script that neither asks nor ends is hung."""

_LISTENS, _OVER = object(), object()


@cache
def library() -> Library:
    """Return the modules for scripts, imported once for all tests."""
    return Library()


class ScriptThread:
    """A script's process without a process (automation.actions.doors.Line)."""

    def __init__(self, owner: Owner, number: int, child: Child, clock: Clock) -> None:
        self._owner = owner
        self._number = number
        self._child = child
        self._clock = clock
        self._orders: queue.Queue[bytes] = queue.Queue()
        self._said: queue.Queue[Any] = queue.Queue()
        self._read = messages.childs_reader().feed
        self._thread: threading.Thread | None = None
        self._over = False

    def send(self, message: Message) -> None:
        if self._over:
            return
        if isinstance(message, messages.Begin):
            self._thread = threading.Thread(target=self._live, args=(message,), daemon=True)
            self._thread.start()
        else:
            self._orders.put(pack(message))
        self._clock.callLater(0, self._go_on)

    def hold(self, held: bool) -> None:
        """Do nothing: it is heard only when it was told something."""

    def close(self) -> None:
        """Be gone; whatever the thread still does, nobody hears it."""
        if not self._over:
            self._over = True
            self._orders.put(b"")
            self._owner.ended(self._number, 0)
            self._child.hung_up()

    def _go_on(self) -> None:
        """Hear what the script says until it waits for an answer, or is over."""
        if self._over:
            return
        heard: list[Any] = []
        while (said := self._said.get(timeout=PATIENCE)) not in (_LISTENS, _OVER):
            heard += self._read(said)
        for message in heard:
            self._child.heard(message)
        if said is _OVER:
            self.close()

    # In the thread.

    def _live(self, begin: messages.Begin) -> None:
        try:
            run(
                begin, Link(self._listen, self._said.put, lambda seconds: not self._orders.empty()), library()
            )
        except Alone:
            return
        self._said.put(_OVER)

    def _listen(self) -> bytes:
        if self._orders.empty():
            self._said.put(_LISTENS)
        return self._orders.get(timeout=PATIENCE)


class ThreadedScripts:
    """A mother without a process (automation.actions.doors.Process), and the Launch that starts her."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(self, owner: Owner) -> ThreadedScripts:
        self._owner = owner
        return self

    def fork(self, number: int, child: Child) -> ScriptThread:
        self._clock.callLater(0, self._owner.forked, number)
        return ScriptThread(self._owner, number, child, self._clock)

    def kill_child(self, number: int) -> None:
        raise AssertionError("nothing hangs here")

    def end(self) -> None:
        raise AssertionError("no server ends here")

    def kill(self) -> None:
        raise AssertionError("nothing hangs here")
