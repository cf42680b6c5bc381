"""Starting and stopping in order, without a process."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import NotAvailable
from rtoc_twisted.lifecycle import CannotStart, Running, Server
from rtoc_twisted.tls import CertificateError


class Diary:
    """Keeps what happens; whatever is asked of one of its parts happens."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.results: dict[str, Any] = {}

    def part(self, name: str) -> Any:
        return _Part(self, name)


class _Part:
    def __init__(self, diary: Diary, name: str) -> None:
        self._diary = diary
        self._name = name

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        entry = f"{self._name}.{verb}"

        def happen(*arguments: object) -> Any:
            self._diary.entries.append(entry)
            result = self._diary.results.get(entry)
            return result() if callable(result) else result

        return happen

    def __len__(self) -> int:
        return 2


class ServerCase(SynchronousTestCase):
    """A server of parts that write a diary."""

    def setUp(self) -> None:
        self.diary = Diary()
        self.diary.results = {
            "endpoint.listen": lambda: succeed(self.diary.part("port")),
            "port.getHost": IPv4Address("TCP", "192.0.2.1", 5050),
            "storage.flush": lambda: succeed(None),
            "storage.close": lambda: succeed(None),
            "hub.say_goodbye": lambda: succeed(None),
        }
        self.reactor = MemoryReactorClock()
        self.reactor.callFromThread = lambda call: call()
        self.notifier = self.diary.part("notifier")
        endpoint = ("port 5050", lambda: self.diary.part("endpoint"))
        self.server = Server([endpoint], self.build, self.notifier, self.reactor)
        self.problem: Exception | None = None
        before = signal.getsignal(signal.SIGHUP)
        self.addCleanup(signal.signal, signal.SIGHUP, before)

    def build(self) -> Running:
        if self.problem is not None:
            raise self.problem
        self.diary.entries.append("built")
        part = self.diary.part
        return Running(
            part("site"),
            part("hub"),
            part("storage"),
            part("certificate").load,
            before_close=[part("backups")],
            after_close=[part("pool")],
            before_flush=[part("plugins")],
        )

    def happened(self) -> list[str]:
        entries, self.diary.entries = self.diary.entries, []
        return entries

    def started(self) -> None:
        self.server.privilegedStartService()
        self.server.startService()
        self.happened()


class StartTests(ServerCase):
    """From nothing to a server that listens, or one line."""

    def test_ports_first(self) -> None:
        self.server.privilegedStartService()
        self.assertEqual(self.happened(), ["endpoint.listen"])
        self.server.startService()
        self.assertEqual(self.happened(), ["built", "site.doStart", "port.getHost", "notifier.ready"])

    def test_without_privileges_to_shed_the_ports_are_bound_as_well(self) -> None:
        self.server.startService()
        self.assertEqual(self.happened()[:2], ["endpoint.listen", "built"])

    def test_addresses_are_told_in_words(self) -> None:
        for address, words in (
            (IPv4Address("TCP", "192.0.2.1", 5050), "192.0.2.1:5050"),
            (IPv6Address("TCP", "::", 5050), "[::]:5050"),
            (UNIXAddress("/run/rtoc"), "UNIXAddress('/run/rtoc')"),
        ):
            told: list[str] = []
            self.diary.results["port.getHost"] = address
            notifier = self.diary.part("notifier")
            notifier.ready = told.append
            server = Server(
                [("port", lambda: self.diary.part("endpoint"))], self.build, notifier, self.reactor
            )
            server.startService()
            self.assertEqual(told, [f"listening on {words}"])

    def refusal(self, error: Exception) -> str:
        self.diary.results["endpoint.listen"] = lambda: fail(error)
        refused = self.assertRaises(CannotStart, self.server.privilegedStartService)
        self.assertIn("endpoint.listen", self.happened())
        return str(refused)

    def test_ports_that_cannot_be_bound(self) -> None:
        for number, hint in (
            (errno.EADDRINUSE, "choose another port"),
            (errno.EACCES, "CAP_NET_BIND_SERVICE"),
            (errno.EPERM, "CAP_NET_BIND_SERVICE"),
            (errno.EADDRNOTAVAIL, "docs/operations.md"),
        ):
            line = self.refusal(CannotListenError("", 5050, OSError(number, os.strerror(number))))
            self.assertTrue(line.startswith(f"cannot listen on port 5050: {os.strerror(number)} - "), line)
            self.assertIn(hint, line)

    def test_descriptions_that_are_no_endpoint(self) -> None:
        self.diary.results["endpoint.listen"] = self.raising(IndexError("list index out of range"))
        refused = self.assertRaises(CannotStart, self.server.privilegedStartService)
        self.assertIn("systemd passed no such socket - start it", str(refused))

    def raising(self, error: Exception) -> Callable[[], None]:
        def happen() -> None:
            raise error

        return happen

    def test_what_hinders_the_building(self) -> None:
        for problem, line in (
            (NotAvailable("the directory is in use"), "cannot start: the directory is in use"),
            (CertificateError("key.pem is no key"), "cannot start: key.pem is no key"),
            (
                PermissionError(errno.EACCES, "Permission denied", "/state"),
                "cannot start: /state: Permission denied - the state directory must be this user's,"
                " see --state-dir",
            ),
        ):
            self.problem = problem
            refused = self.assertRaises(CannotStart, self.server.startService)
            self.assertEqual((str(refused), refused.code), (line, f"rtoc: {line}"))
            self.assertNotIn("notifier.ready", self.happened())
            self.successResultOf(self.server.stopService())
            self.assertIn("port.stopListening", self.happened())

    def test_a_fault_of_ours_is_no_word_to_the_user(self) -> None:
        self.problem = ZeroDivisionError()
        self.assertRaises(ZeroDivisionError, self.server.startService)

    def test_twistd_and_python_both_see_their_own_in_a_refusal(self) -> None:
        self.assertTrue(issubclass(CannotStart, Exception))
        self.assertTrue(issubclass(CannotStart, SystemExit))


class StopTests(ServerCase):
    """In order, whatever fails on the way."""

    ORDER = (
        "notifier.stopping",
        "port.stopListening",
        "plugins.stop",
        "storage.flush",
        "hub.say_goodbye",
        "site.doStop",
        "backups.stop",
        "storage.close",
        "pool.stop",
    )

    def test_order(self) -> None:
        self.started()
        self.successResultOf(self.server.stopService())
        self.assertEqual(tuple(self.happened()), self.ORDER)

    def test_each_step_waits_for_the_one_before(self) -> None:
        self.started()
        waited = ("plugins.stop", 3), ("storage.flush", 4), ("hub.say_goodbye", 5), ("storage.close", 8)
        for name, so_far in waited:
            waiting: Deferred[None] = Deferred()
            self.diary.results[name] = lambda waiting=waiting: waiting
            stopped = self.server.stopService()
            self.assertNoResult(stopped)
            self.assertEqual(tuple(self.happened()), self.ORDER[:so_far])
            waiting.callback(None)
            self.successResultOf(stopped)
            self.diary.results[name] = lambda: succeed(None)
            self.started()

    def test_patience_with_clients_has_an_end(self) -> None:
        self.started()
        self.diary.results["hub.say_goodbye"] = Deferred
        stopped = self.server.stopService()
        self.reactor.advance(2.9)
        self.assertNoResult(stopped)
        self.reactor.advance(0.2)
        self.successResultOf(stopped)
        self.assertEqual(tuple(self.happened()), self.ORDER)

    def test_what_fails_keeps_nothing_after_it(self) -> None:
        self.started()
        self.diary.results["storage.flush"] = lambda: fail(OSError("disk full"))
        self.diary.results["hub.say_goodbye"] = lambda: 1 / 0
        self.diary.results["backups.stop"] = lambda: 1 / 0
        self.successResultOf(self.server.stopService())
        self.assertEqual(tuple(self.happened()), self.ORDER)
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class HangUpTests(ServerCase):
    """The signal HUP, between start and stop."""

    def test_reloads_until_the_stop(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.started()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(self.happened(), ["certificate.load", "notifier.status"])
        self.successResultOf(self.server.stopService())
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)

    def test_a_certificate_that_cannot_be_used(self) -> None:
        told: list[str] = []
        self.notifier.status = told.append
        self.started()
        self.diary.results["certificate.load"] = self.raising
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(self.happened(), ["certificate.load"])
        self.diary.results["certificate.load"] = None
        signal.raise_signal(signal.SIGHUP)
        usual = "listening on 192.0.2.1:5050"
        self.assertEqual(
            told, [f"{usual}; with an old certificate: key.pem is not the key of cert.pem", usual]
        )

    def raising(self) -> None:
        raise CertificateError("key.pem is not the key of cert.pem")

    def test_while_stopping_it_means_nothing(self) -> None:
        self.started()
        self.diary.results["storage.flush"] = Deferred
        self.server.stopService()
        self.happened()
        signal.raise_signal(signal.SIGHUP)
        self.assertEqual(self.happened(), [])
