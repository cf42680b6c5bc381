"""What systemd hears, over a real socket; and that nothing of it can hurt the service."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path
from uuid import uuid4

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from rtoc_twisted.notify import Notifier

WATCHDOG = {"WATCHDOG_USEC": "30000000"}


class NotifyTests(SynchronousTestCase):
    """A datagram socket stands for systemd's."""

    def setUp(self) -> None:
        # trial's own directories may be too deep for a socket's path of 108 bytes.
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.address = str(Path(directory.name) / "notify")
        self.systemd = self.listening(self.address)
        self.clock = Clock()
        self.warnings: list[object] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            if event.get("log_namespace") == "rtoc_twisted.notify.Notifier":
                self.warnings.append(event["log_level"])

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def listening(self, address: str) -> socket.socket:
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.bind(address)
        receiver.setblocking(False)
        return receiver

    def heard(self) -> list[str]:
        messages = []
        while True:
            try:
                messages.append(self.systemd.recv(4096).decode())
            except BlockingIOError:
                return messages

    def notifier(self, **environ: str) -> Notifier:
        return Notifier({"NOTIFY_SOCKET": self.address, **environ}, self.clock)

    def test_life(self) -> None:
        notifier = self.notifier()
        notifier.ready("listening on 5050")
        notifier.status("3 clients")
        notifier.stopping()
        self.assertEqual(
            self.heard(), ["READY=1\nSTATUS=listening on 5050", "STATUS=3 clients", "STOPPING=1"]
        )
        self.assertEqual(self.warnings, [])

    def test_status_cannot_bring_other_assignments(self) -> None:
        self.notifier().status("evil\nMAINPID=1")
        self.assertEqual(self.heard(), ["STATUS=evil MAINPID=1"])

    def test_abstract_socket(self) -> None:
        name = f"rtoc-test-{uuid4()}"
        self.systemd = self.listening(f"\0{name}")
        Notifier({"NOTIFY_SOCKET": f"@{name}"}, self.clock).status("x")
        self.assertEqual(self.heard(), ["STATUS=x"])

    def test_watchdog(self) -> None:
        notifier = self.notifier(**WATCHDOG, WATCHDOG_PID=str(os.getpid()))
        self.clock.advance(100)
        self.assertEqual(self.heard(), [])
        notifier.ready("up")
        self.assertEqual(self.heard(), ["READY=1\nSTATUS=up", "WATCHDOG=1"])
        self.clock.advance(14.9)
        self.assertEqual(self.heard(), [])
        self.clock.advance(0.1)
        self.clock.advance(15)
        self.assertEqual(self.heard(), ["WATCHDOG=1"] * 2)
        notifier.stopping()
        self.clock.advance(60)
        self.assertEqual(self.heard(), ["STOPPING=1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ready_again_keeps_one_watchdog(self) -> None:
        notifier = self.notifier(**WATCHDOG)
        notifier.ready("up")
        notifier.ready("still up")
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_no_watchdog(self) -> None:
        for environ in (
            {},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "soon"},
            {**WATCHDOG, "WATCHDOG_PID": str(os.getpid() + 1)},
            {**WATCHDOG, "NOTIFY_SOCKET": ""},
        ):
            self.notifier(**environ).ready("up")
            self.assertEqual(self.clock.getDelayedCalls(), [], environ)

    def test_silent_without_systemd(self) -> None:
        notifier = Notifier({}, self.clock)
        notifier.ready("up")
        notifier.status("x")
        notifier.stopping()
        self.assertEqual((self.heard(), self.warnings), ([], []))

    def test_failures_are_logged_and_nothing_else(self) -> None:
        for address in ("/nowhere/at/all", "/" + "x" * 200, "vsock:2:1"):
            Notifier({"NOTIFY_SOCKET": address, **WATCHDOG}, self.clock).status("x")
        self.assertEqual(self.warnings, [LogLevel.warn] * 3)

    def test_watchdog_goes_on_after_a_failure(self) -> None:
        notifier = self.notifier(**WATCHDOG)
        notifier.ready("up")
        Path(self.address).unlink()
        self.clock.advance(15)
        self.systemd = self.listening(self.address)
        self.clock.advance(15)
        self.assertEqual(self.heard(), ["WATCHDOG=1"])
        self.assertEqual(self.warnings, [LogLevel.warn])
