"""Tell systemd how the service is (sd_notify(3)); silent elsewhere."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

# systemd reads its socket at once; a second is enough for a busy machine and short for the reactor.
PATIENCE_SECONDS = 1.0


class Notifier:
    """Send the service's state to systemd, if systemd asked for it.

    environ: as os.environ, with NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from systemd.
    clock: paces the watchdog's pings.
    No method raises: a message that cannot be sent is logged.
    """

    _log = Logger()

    def __init__(self, environ: Mapping[str, str], clock: IReactorTime) -> None:
        self._environ = environ
        self._clock = clock
        self._watchdog: LoopingCall | None = None

    def ready(self, status: str) -> None:
        """Tell that the service is up, and start to ping the watchdog where one is configured."""
        self._send("READY=1", _status(status))
        interval = self._watchdog_interval()
        if interval is not None and self._watchdog is None:
            self._watchdog = LoopingCall(self._send, "WATCHDOG=1")
            self._watchdog.clock = self._clock
            self._watchdog.start(interval)

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._send(_status(text))

    def stopping(self) -> None:
        """Tell that the service ends; systemd watches it no more, and pings end."""
        self._send("STOPPING=1")
        if self._watchdog is not None:
            self._watchdog.stop()
            self._watchdog = None

    def _watchdog_interval(self) -> float | None:
        """Return half of systemd's patience in seconds, None where it watches nothing or another."""
        # Read late: a daemon has its final process id only when its services start.
        if not self._environ.get("NOTIFY_SOCKET"):
            return None
        if self._environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return None
        text = self._environ.get("WATCHDOG_USEC", "")
        return int(text) / 2_000_000 if text.isdecimal() and int(text) > 0 else None

    def _send(self, *assignments: str) -> None:
        address = self._environ.get("NOTIFY_SOCKET", "")
        if not address:
            return
        # A leading @ stands for the zero byte of Linux's abstract sockets.
        target = "\0" + address[1:] if address.startswith("@") else address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(PATIENCE_SECONDS)
                sender.sendto("\n".join(assignments).encode(), target)
        except (OSError, ValueError) as error:
            self._log.warn(
                "systemd was not told {assignments}: {error}", assignments=assignments, error=str(error)
            )


def _status(text: str) -> str:
    # A line break would begin another assignment.
    return "STATUS=" + " ".join(text.split())
