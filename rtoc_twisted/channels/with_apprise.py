"""Messages through Apprise, which knows Telegram, Signal, Matrix, mail and many more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from ..errors import BadValue, NotAvailable
from .delivery import Delivery, text, title
from .sender import DELIVERED, Outcome, Verdict

_TYPES = ("INFO", "WARNING", "FAILURE")
"""Apprise's words for the priorities."""


class ThroughApprise:
    """Sends messages to what an Apprise URL names.

    where: the place of the URL in the configuration, for errors; server: this one's name; in_thread: calls
    a function in a thread, returns a Deferred. Raises NotAvailable without Apprise, and BadValue, which does
    not repeat it, for a URL that Apprise does not know.
    """

    def __init__(self, url: str, where: str, server: str, in_thread: Callable[..., Deferred[Any]]) -> None:
        try:
            import apprise
        except ImportError:
            raise NotAvailable(
                f"{where} needs Apprise: pip install 'rtoc_twisted[notify]', or use a url in its place"
            ) from None
        self._apprise = apprise
        asset = apprise.AppriseAsset(app_id="rtoc_twisted", app_desc=server, async_mode=False)
        self._target = apprise.Apprise(asset=asset)
        if not self._target.add(url):
            raise BadValue(f"{where}: this is no URL that Apprise knows")
        self._server = server
        self._in_thread = in_thread

    def send(self, delivery: Delivery) -> Deferred[Outcome]:
        """Send a message once, in a thread; Apprise bounds its own connections (4 s, or as the URL says)."""
        return self._in_thread(self._send, delivery)

    def _send(self, delivery: Delivery) -> Outcome:
        try:
            sent = self._notify(delivery)
        except Exception as error:
            # Its text is not for logs: the URL may be in it.
            return Outcome(Verdict.AGAIN, f"Apprise failed: {type(error).__name__}")
        return DELIVERED if sent else Outcome(Verdict.AGAIN, "Apprise could not deliver it")

    def _notify(self, delivery: Delivery) -> bool:
        apprise = self._apprise
        files = apprise.AppriseAttachment()
        for file in delivery.attachments():
            memory = apprise.attachment.memory.AttachMemory(
                content=file.data, name=file.name, mimetype=file.media_type
            )
            files.add(memory)
        sent = self._target.notify(
            body=text(delivery),
            title=title(delivery, self._server),
            notify_type=getattr(apprise.NotifyType, _TYPES[min(delivery.priority, 2)]),
            body_format=apprise.NotifyFormat.TEXT,
            attach=files if len(files) else None,
        )
        return bool(sent)
