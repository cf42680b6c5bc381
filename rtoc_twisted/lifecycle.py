"""How the server starts and stops: in order, and with one clear line where it cannot."""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from .errors import RTOCError
from .hub import Hub
from .interfaces import IStorage
from .notify import Notifier
from .tls import CertificateError

_PATIENCE = 3.0
"""Seconds that clients have to answer the goodbye."""


class CannotStart(SystemExit, Exception):
    """Ends the process with one line that says why, and with the exit code 1.

    twistd's care for a failed start (its parent process waits for news, its pid file is to go) is for an
    Exception; a SystemExit is what ends Python without a traceback.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = f"rtoc: {message}"


class Stoppable(Protocol):
    """Something that ends."""

    def stop(self) -> Deferred[None] | None:
        """End; what does not end at once returns a Deferred that fires then."""


@dataclass(frozen=True)
class Running:
    """What a started server consists of, as far as stopping it goes.

    site: the factory that answers on all ports; reload: reads the certificate again, raises
    CertificateError and keeps the old one where it cannot be used, and looks for plugins that changed;
    before_flush: stopped while all else still works, so that their last values are stored; before_close,
    after_close: what is stopped before and after the store.
    """

    site: Any
    hub: Hub
    storage: IStorage
    reload: Callable[[], None]
    before_close: Sequence[Stoppable]
    after_close: Sequence[Stoppable]
    before_flush: Sequence[Stoppable] = ()


class Gate(Factory):
    """Holds a port while the server is built.

    Ports are bound with the privileges that the process begins with, everything else is made without.
    """

    noisy = False
    site: Any = None

    # IProtocolFactory

    def buildProtocol(self, addr: Any) -> Any:
        """Return the site's protocol, None while there is no site."""
        return None if self.site is None else self.site.buildProtocol(addr)

    def doStart(self) -> None:
        """Do nothing: the site is started with the server."""


class Server(Service):
    """The service that twistd runs.

    endpoints: makes each port's endpoint, with the words that name it; build: makes everything
    else, when files may be opened and threads started; notifier: tells systemd. The signal HUP reloads
    the certificate.
    """

    name = "rtoc"
    _log = Logger()

    def __init__(
        self,
        endpoints: Sequence[tuple[str, Callable[[], IStreamServerEndpoint]]],
        build: Callable[[], Running],
        notifier: Notifier,
        reactor: Any,
    ) -> None:
        self._endpoints = endpoints
        self._build = build
        self._notifier = notifier
        self._reactor = reactor
        self._gate = Gate()
        self._ports: list[IListeningPort] = []
        self._running: Running | None = None
        self._status = ""
        self._hup_before: Any = signal.SIG_DFL

    # Service

    def privilegedStartService(self) -> None:
        """Bind the ports; a port that cannot be bound ends the process with one line."""
        for words, make in self._endpoints:
            try:
                listening = make().listen(self._gate)
            except Exception as error:
                raise CannotStart(_line(words, error)) from None
            outcome: list[Any] = []
            listening.addBoth(outcome.append)
            if outcome and isinstance(outcome[0], Failure):
                raise CannotStart(_line(words, outcome[0].value))
            self._ports.extend(outcome)
        super().privilegedStartService()

    def startService(self) -> None:
        """Build the server and open the gate; what hinders it ends the process with one line."""
        if not self._ports:
            self.privilegedStartService()
        try:
            self._running = self._build()
        except (RTOCError, CertificateError) as error:
            raise CannotStart(f"cannot start: {error}") from None
        except OSError as error:
            hint = "the state directory must be this user's, see --state-dir"
            raise CannotStart(f"cannot start: {error.filename}: {error.strerror} - {hint}") from None
        self._running.site.doStart()
        self._gate.site = self._running.site
        # Without a handler the signal would end the process.
        self._hup_before = signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._reload))
        super().startService()
        where = ", ".join(_words(port.getHost()) for port in self._ports)
        self._log.info("listening on {where}", where=where)
        self._status = f"listening on {where}"
        self._notifier.ready(self._status)

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop in order: ports, scripts and plugins, what was taken, goodbye, the rest, the store.

        Fires when it is done. What fails on the way is logged, and keeps nothing after it from being stopped.
        """
        super().stopService()
        self._notifier.stopping()
        ports, self._ports = self._ports, []
        running, self._running = self._running, None
        steps: list[Callable[[], Any]] = [port.stopListening for port in ports]
        if running is not None:
            steps += [part.stop for part in running.before_flush]
            steps += [running.storage.flush, lambda: self._say_goodbye(running.hub), running.site.doStop]
            steps += [part.stop for part in running.before_close]
            steps += [running.storage.close, *(part.stop for part in running.after_close)]
            steps += [lambda: signal.signal(signal.SIGHUP, self._hup_before)]
        for step in steps:
            try:
                yield step()
            except Exception:
                self._log.failure("while stopping")
        self._log.info("stopped")

    def _say_goodbye(self, hub: Hub) -> Deferred[None]:
        def late(failure: Failure) -> None:
            failure.trap(TimeoutError)
            self._log.warn("{count} clients did not answer the goodbye", count=len(hub))

        return hub.say_goodbye().addTimeout(_PATIENCE, self._reactor).addErrback(late)

    def _reload(self) -> None:
        if self._running is None:
            return
        try:
            self._running.reload()
        except CertificateError as error:
            self._log.error("not reloaded, the certificate stays as it was: {problem}", problem=str(error))
            self._notifier.status(f"{self._status}; with an old certificate: {error}")
        else:
            self._log.info("reloaded")
            self._notifier.status(self._status)


def _words(address: Any) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return str(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _line(words: str, error: BaseException | None) -> str:
    """Return the line that tells why a port cannot be used, and what to do."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    why = getattr(cause, "strerror", None) or str(cause)
    if number == errno.EADDRINUSE:
        hint = "stop the program that uses it, or choose another port"
    elif number in (errno.EACCES, errno.EPERM):
        hint = (
            "ports below 1024 need a privilege: give the process CAP_NET_BIND_SERVICE (systemd/rtoc.service"
            " does), choose another port, or let systemd open it (socket activation)"
        )
    elif isinstance(error, (IndexError, KeyError)):
        why, hint = (
            "systemd passed no such socket",
            "start it through its .socket unit, or name a port number",
        )
    else:
        hint = "see docs/operations.md"
    return f"cannot listen on {words}: {why} - {hint}"
