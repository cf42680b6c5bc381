"""How the server starts and stops: in order, and with one clear line where it cannot."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
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


class Stoppable(Protocol):
    """Something that ends at once."""

    def stop(self) -> None:
        """End."""


@dataclass(frozen=True)
class Running:
    """What a started server consists of, as far as stopping it goes.

    site: the factory that answers on all ports; before_close, after_close: what is stopped before and
    after the store.
    """

    site: Any
    hub: Hub
    storage: IStorage
    before_close: Sequence[Stoppable]
    after_close: Sequence[Stoppable]


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
    else, when files may be opened and threads started; notifier: tells systemd.
    """

    name = "rtoc"
    _log = Logger()

    def __init__(
        self,
        endpoints: Sequence[tuple[str, Callable[[], IStreamServerEndpoint]]],
        build: Callable[[], Running],
        notifier: Notifier,
        clock: IReactorTime,
    ) -> None:
        self._endpoints = endpoints
        self._build = build
        self._notifier = notifier
        self._clock = clock
        self._gate = Gate()
        self._ports: list[IListeningPort] = []
        self._running: Running | None = None

    # Service

    def privilegedStartService(self) -> None:
        """Bind the ports; a port that cannot be bound ends the process with one line."""
        for words, make in self._endpoints:
            try:
                listening = make().listen(self._gate)
            except Exception as error:
                raise SystemExit(_line(words, error)) from None
            outcome: list[Any] = []
            listening.addBoth(outcome.append)
            if outcome and isinstance(outcome[0], Failure):
                raise SystemExit(_line(words, outcome[0].value))
            self._ports.extend(outcome)
        super().privilegedStartService()

    def startService(self) -> None:
        """Build the server and open the gate; what hinders it ends the process with one line."""
        if not self._ports:
            self.privilegedStartService()
        try:
            self._running = self._build()
        except (RTOCError, CertificateError, OSError) as error:
            raise SystemExit(f"rtoc: cannot start: {error}") from None
        self._running.site.doStart()
        self._gate.site = self._running.site
        super().startService()
        where = ", ".join(_words(port.getHost()) for port in self._ports)
        self._log.info("listening on {where}", where=where)
        self._notifier.ready(f"listening on {where}")

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop in order: ports, what was taken, goodbye, the rest, the store; fires when it is done."""
        self._notifier.stopping()
        yield super().stopService()
        running, self._running = self._running, None
        for port in self._ports:
            yield port.stopListening()
        if running is None:
            return
        yield running.storage.flush().addErrback(self._failed)
        yield self._within_patience(running.hub.say_goodbye())
        running.site.doStop()
        for part in running.before_close:
            part.stop()
        yield running.storage.close()
        for part in running.after_close:
            part.stop()
        self._log.info("stopped")

    def _within_patience(self, gone: Deferred[None]) -> Deferred[None]:
        return gone.addTimeout(_PATIENCE, self._clock).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._log.warn("while stopping: {problem}", problem=failure.getErrorMessage())


def _words(address: Any) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return str(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _line(words: str, error: BaseException | None) -> str:
    """Return the line that tells why a port cannot be used, and what to do."""
    cause = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    if number == errno.EADDRINUSE:
        hint = "another program uses it: stop that one, or choose another port"
    elif number in (errno.EACCES, errno.EPERM):
        hint = (
            "ports below 1024 need a privilege: give the process CAP_NET_BIND_SERVICE (systemd/rtoc.service"
            " does), choose another port, or let systemd open it (socket activation)"
        )
    elif isinstance(error, (IndexError, KeyError)):
        hint = "systemd passed no such socket: start it through its .socket unit, or name a port number"
    else:
        hint = "see docs/operations.md"
    return f"rtoc: cannot listen on {words}: {cause} - {hint}"
