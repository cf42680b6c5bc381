"""What plugins and scripts want people to be told: a message of theirs becomes a notice."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..errors import BadValue
from ..interfaces import INotifier
from ..model import Attachment, Notice, SignalName
from . import plots
from .messages import Notify

Complain = Callable[[str], None]
"""Is told why nobody is told of something."""

Tell = Callable[[Notify, str, Complain], None]
"""Tells people what a message of a device says, "" for none; what hinders that is told now or later."""

_MOST_PLOTS = 8
"""Plots that may wait to be drawn."""


def unheard(message: Notify, device: str, complain: Complain) -> None:
    """Tell nobody: there is no channel."""
    complain(f"nobody was told, no channel is set up: {message.text}")


class Notices:
    """Hands over to the notifier what children of the server send.

    in_thread: calls a function in a thread, returns a Deferred; wall: the time in seconds since the epoch.
    """

    _log = Logger()

    def __init__(
        self, notifier: INotifier, in_thread: Callable[..., Deferred[Any]], wall: Callable[[], float]
    ) -> None:
        self._notifier = notifier
        self._in_thread = in_thread
        self._wall = wall
        self._drawing = DeferredLock()

    def tell(self, message: Notify, device: str, complain: Complain) -> None:
        """Tell people what a message says, as `Tell` has it; a plot is drawn first."""
        if not self._notifier.told():
            unheard(message, device, complain)
            return
        moment = self._wall()
        if message.kind != "plot":
            self._hand_over(message, device, moment, _files(message), complain)
        elif len(self._drawing.waiting) >= _MOST_PLOTS:
            complain(f"nobody was told, {_MOST_PLOTS} plots wait to be drawn: {message.text}")
        else:
            drawn = self._drawing.run(self._in_thread, plots.attach, message.name or device, message.data)
            drawn.addCallback(lambda plot: self._hand_over(message, device, moment, (plot,), complain))
            drawn.addErrback(self._not_drawn, message, complain)

    def _hand_over(
        self,
        message: Notify,
        device: str,
        moment: float,
        files: tuple[Attachment, ...],
        complain: Complain,
    ) -> None:
        name = SignalName(device, "") if device else None
        title = (message.name or device) if message.kind == "plot" else device if files else ""
        text = message.text or ", ".join(file.name for file in files)
        notice = Notice(text, title, message.priority, name, moment, attachments=files)
        if not self._notifier.notify(notice):
            complain(f"nobody was told, no channel wants it: {text}")

    def _not_drawn(self, failure: Failure, message: Notify, complain: Complain) -> None:
        if not failure.check(BadValue):
            self._log.failure("a plot was not drawn", failure)
        complain(f"nobody was told, {failure.getErrorMessage()}: {message.text}")


def _files(message: Notify) -> tuple[Attachment, ...]:
    if not isinstance(message.data, bytes):
        return ()
    # The name is a child's: no path of this machine is made of it.
    name = "".join(filter(str.isprintable, PurePath(message.name).name)) or message.kind
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return (Attachment(name, message.data, kind),)
