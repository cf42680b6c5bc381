"""makeService: from the configuration to a whole server, on a reactor in memory."""

from __future__ import annotations

import signal
import stat
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

from twisted.application.service import IService, IServiceMaker
from twisted.internet import reactor as the_reactor
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from rtoc_twisted import policies, service, tls
from rtoc_twisted.config import Config, Options, load
from rtoc_twisted.lifecycle import CannotStart
from rtoc_twisted.logger.info import ServerFacts
from rtoc_twisted.model import SignalName
from rtoc_twisted.plugins.host import Policy
from rtoc_twisted.plugins.process import Limits
from rtoc_twisted.storage import reserve
from rtoc_twisted.storage.retention import Keeping, Rule
from rtoc_twisted.wire.aes import password_hash


class ServiceCase(SynchronousTestCase):
    """A state directory, and a configuration."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.reactor = MemoryReactorClock()
        self.reactor.advance(1.79e9)
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))

    def options(self, *arguments: str, **environ: str) -> Options:
        options = Options({"HOME": "/home/ada"} | environ)
        options.parseOptions(["--state-dir", str(self.state), *arguments])
        return options

    def config(self, **environ: str) -> Config:
        return load({"state-dir": str(self.state)}, {"HOME": "/home/ada"} | environ)


class MakeServiceTests(ServiceCase):
    """What twistd calls."""

    def test_twistd_finds_it(self) -> None:
        (maker,) = (each for each in getPlugins(IServiceMaker) if each.tapname == "rtoc")
        self.assertEqual((maker.makeService, maker.options), (service.makeService, Options))

    def test_nothing_is_touched_before_privileges_are_shed(self) -> None:
        made = service.makeService(self.options("--tls-port", "443"), self.reactor)
        verifyObject(IService, made)
        self.assertEqual(self.reactor.tcpServers, [])
        made.privilegedStartService()
        self.assertEqual([port for port, *_ in self.reactor.tcpServers], [5050, 443])
        # What is made with the privileges of the start could not be renewed without them.
        self.assertFalse(self.state.exists())
        self.successResultOf(made.stopService())

    def test_timers_do_not_follow_the_clock_on_the_wall(self) -> None:
        self.patch(the_reactor, "seconds", the_reactor.seconds)
        service.makeService(self.options())
        self.assertIs(the_reactor.seconds, time.monotonic)

    def test_ports_and_interface(self) -> None:
        made = service.makeService(self.options("--port", "7", "--interface", "192.0.2.1"), self.reactor)
        made.privilegedStartService()
        ((port, _, _, interface),) = self.reactor.tcpServers
        self.assertEqual((port, interface), (7, "192.0.2.1"))

    def test_refused_start(self) -> None:
        options = self.options("--password-file", str(self.state), RTOC_STORAGE_BACKEND="memory")
        made = service.makeService(options, self.reactor)
        made.privilegedStartService()
        refused = self.assertRaises(CannotStart, made.startService)
        self.assertIn(f"the password file {self.state} cannot be read", str(refused))


class PartsTests(ServiceCase):
    """The pieces that the configuration decides on."""

    def certificate(self, config: Config) -> Any:
        context = tls.SwappableContext()
        bare = context.serverConnectionForTLS(None).get_context()
        service.load_certificate(config, context)
        return context.serverConnectionForTLS(None).get_context() is not bare

    def test_certificate(self) -> None:
        self.assertFalse(self.certificate(self.config()))
        self.assertFalse(self.state.exists())
        self.assertTrue(self.certificate(self.config(RTOC_TLS_PORT="443")))
        made = self.state / tls.CERTIFICATE
        self.assertEqual(stat.S_IMODE((self.state / tls.KEY).stat().st_mode), 0o600)
        files = {"RTOC_TLS_CERT": str(made), "RTOC_TLS_KEY": str(self.state / tls.KEY)}
        self.assertTrue(self.certificate(self.config(RTOC_TLS_PORT="443", **files)))
        made.write_text("no certificate")
        with self.assertRaises(tls.CertificateError):
            self.certificate(self.config(RTOC_TLS_PORT="443", **files))

    def auth(self, **environ: str) -> Any:
        self.state.mkdir(exist_ok=True)
        return service.make_auth(self.config(**environ), self.reactor, None)

    def test_no_password(self) -> None:
        self.assertFalse(self.auth(RTOC_AUTH_NO_PASSWORD="1").required)
        self.assertEqual(list(self.state.iterdir()), [])

    def test_password_of_a_file_and_its_cipher(self) -> None:
        file = self.state / "secret"
        self.state.mkdir()
        file.write_text("geheim\n")
        named = {"RTOC_AUTH_PASSWORD_FILE": str(file)}
        self.assertEqual(self.auth(**named).cipher_key.decode(), password_hash("geheim")[:16])
        found = self.auth(**named, RTOC_AUTH_LEGACY_CIPHER="require")
        self.assertEqual((found.required, found.cipher_required), (True, True))
        found = self.auth(**named, RTOC_AUTH_LEGACY_CIPHER="off")
        self.assertEqual((found.required, found.cipher_key), (True, None))

    def test_policy(self) -> None:
        config = self.config(
            RTOC_PLUGINS_RESTARTS="7",
            RTOC_PLUGINS_RELOAD="no",
            RTOC_PLUGINS_START_SECONDS="1",
            RTOC_PLUGINS_CALL_SECONDS="2",
            RTOC_PLUGINS_CLOSE_SECONDS="3",
            RTOC_PLUGINS_HEARTBEAT_SECONDS="4",
            RTOC_PLUGINS_MEMORY="64 MiB",
            RTOC_PLUGINS_OPEN_FILES="77",
            RTOC_PLUGINS_CPU_PERCENT="50",
        )
        limits = Limits(start=1, call=2, close=3, heartbeat=4, memory=64 << 20, open_files=77, cpu=50)
        self.assertEqual(policies.of_plugins(config), Policy(limits, restarts=7, reload=False))
        self.assertEqual(policies.of_plugins(self.config()), Policy())

    def test_keeping(self) -> None:
        config = self.config(
            RTOC_STORAGE_ROLLUPS="5,50",
            RTOC_STORAGE_BUDGET="1 GiB",
            RTOC_STORAGE_KEEP_FREE="1 MiB",
            RTOC_RETENTION='{a = {signals = "A.*", days = 3}}',
        )
        self.assertEqual(
            policies.keeping(config),
            Keeping((Rule("a", ("A.*",), days=3.0),), (5.0, 50.0), 1 << 30, 1 << 20, reserve.SIZE),
        )

    def test_what_the_store_tells_becomes_an_event(self) -> None:
        posted: Queue[Callable[[], object]] = Queue()
        self.reactor.callFromThread = lambda call, *args: posted.put(partial(call, *args))
        running = service.build(self.config(), tls.SwappableContext(), self.reactor)
        self.addCleanup(running.after_close[0].stop)
        running.storage._upkeep._say("kind", "the disk is full", 2)
        self.reactor.advance(0)
        (hidden,) = running.storage.signals()
        found = running.storage.events()
        closed = running.storage.close()
        while not (found.called and closed.called):
            posted.get(timeout=60)()
            self.reactor.advance(0)
        (event,) = self.successResultOf(found)
        self.assertEqual(hidden.name, SignalName("RTOC", ""))
        self.assertEqual((event.name, event.text, event.priority), (hidden.name, "the disk is full", 2))
        for backup in running.before_close:
            backup.stop()

    def test_own_hosts(self) -> None:
        self.assertLessEqual({"localhost", "127.0.0.1", "::1"}, policies.own_hosts(self.config()))
        self.assertNotIn("", policies.own_hosts(self.config()))
        self.assertIn("192.0.2.1", policies.own_hosts(self.config(RTOC_INTERFACE="192.0.2.1")))

    def test_facts(self) -> None:
        found = policies.facts(self.config(RTOC_NAME="Lab", RTOC_TLS_PORT="443", RTOC_PORT="5051"), "normal")
        self.assertIsInstance(found, ServerFacts)
        self.assertEqual((found.name, found.port, found.tls), ("Lab", 5051, True))
        self.assertEqual(found.durability, "normal")
        self.assertEqual(policies.facts(self.config(RTOC_PORT="unix:/run/x"), "none").port, "unix:/run/x")
        self.assertNotEqual(policies.facts(self.config(), "none").boot, found.boot)

    def test_reboot(self) -> None:
        self.assertIsNone(service.reboot(self.config(), self.reactor))
        spawned: list[Any] = []
        self.reactor.spawnProcess = lambda protocol, executable, args, *_: spawned.append(args)
        service.reboot(self.config(RTOC_LOGGER_REBOOT_COMMAND="systemctl 'reboot now'"), self.reactor)()
        self.assertEqual(spawned, [("systemctl", "reboot now")])
