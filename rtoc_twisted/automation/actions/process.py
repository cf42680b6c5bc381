"""The mother's process, and the sockets to it and to the processes that it forks."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport, IPushProducer
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...box.messages import Message, Reader, pack
from ...errors import RTOCError
from ..scripts import messages
from .doors import Child, Ear, Launch, Owner

ARGUMENTS = (sys.executable, "-P", "-u", "-m", "rtoc_twisted.automation.scripts.mother")
"""What runs the mother: without the present directory among the places of modules, and with prompt prints."""

_CONTROL = 3
_LINE = 4096
"""Bytes of a printed line; a longer one is told in pieces."""

_KEPT = re.compile("(PATH|LANG|LC_.*|TZ|HOME|TMPDIR|VIRTUAL_ENV|PYTHONPATH|PYTHONHOME|LD_LIBRARY_PATH)$")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""A process with threads cannot be forked safely."""


def spawn(reactor: Any, environment: Mapping[str, str], arguments: tuple[str, ...] = ARGUMENTS) -> Launch:
    """Return what starts a mother; it raises OSError where that cannot be.

    reactor: an IReactorProcess and IReactorSocket; environment: of plugins, of which only what Python
    needs is passed on.
    """
    kept = {name: value for name, value in environment.items() if _KEPT.match(name)}

    def start(owner: Owner) -> MotherProcess:
        return MotherProcess(reactor, {**kept, **_ONE_THREAD}, arguments, owner)

    return start


def _socketpair(reactor: Any, protocol: Protocol) -> socket.socket:
    """Let a protocol have one end of a new pair of sockets; return the other."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        # It duplicates what it adopts.
        reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: protocol))
    return theirs


class MotherProcess(ProcessProtocol):
    """A running mother; see doors.Process."""

    transport: IProcessTransport

    def __init__(
        self, reactor: Any, environment: Mapping[str, str], arguments: tuple[str, ...], owner: Owner
    ) -> None:
        self._reactor = reactor
        self._owner = owner
        self._printed = bytearray()
        self._entrusted: dict[int, socket.socket] = {}
        self._control = _Socket(messages.mothers_reader(), self)
        self._verdict = ""
        theirs = _socketpair(reactor, self._control)
        with theirs, Path(os.devnull).open("rb") as nothing:
            try:
                reactor.spawnProcess(
                    self,
                    arguments[0],
                    arguments,
                    env=environment,
                    childFDs={0: nothing.fileno(), 1: "r", 2: "r", _CONTROL: theirs.fileno()},
                )
            except OSError:
                self._control.close()
                raise

    def fork(self, number: int, child: Child) -> _Socket:
        """Let it fork a process for a run; return the line to it. Raises OSError."""
        line = _Socket(messages.childs_reader(), child)
        theirs = _socketpair(self._reactor, line)
        # It leaves with the bytes that follow, in some turn to come: until then it stays open.
        self._entrusted[number] = theirs
        self._control.send(messages.Fork(number), theirs)
        return line

    def kill_child(self, number: int) -> None:
        """End the process of a run, by SIGKILL."""
        self._control.send(messages.Kill(number))

    def end(self) -> None:
        """Close its socket, which is its sign to end."""
        self._control.close()

    def kill(self) -> None:
        """End it and its children, by SIGKILL."""
        # Its children die with it, by its death signal.
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess("KILL")

    def _release(self, number: int) -> None:
        theirs = self._entrusted.pop(number, None)
        if theirs is not None:
            theirs.close()

    # Ear, of its socket.

    def came(self, length: int) -> None:
        """Read on, however much that is: it is a few bytes a run."""

    def heard(self, report: messages.FromMother) -> None:
        """Pass a report on."""
        if isinstance(report, messages.Ready):
            self._owner.awake(report.missing)
            return
        self._release(report.run)
        if isinstance(report, messages.Forked):
            self._owner.forked(report.run)
        else:
            self._owner.ended(report.run, report.status)

    def unread(self, held: bool) -> None:
        """Send on: it is a few bytes a run."""

    def nonsense(self, problem: str) -> None:
        """End a mother that cannot be understood."""
        self._verdict = f"it sent what is no message: {problem}"
        self.kill()

    def hung_up(self) -> None:
        """Wait for the end of the process, which follows."""

    # ProcessProtocol

    def childDataReceived(self, fd: int, data: bytes) -> None:
        """Take what was printed."""
        self._printed += data
        *lines, self._printed = self._printed.split(b"\n")
        if len(self._printed) > _LINE:
            lines.append(self._printed)
            self._printed = bytearray()
        for line in lines:
            for start in range(0, len(line) or 1, _LINE):
                piece = line[start : start + _LINE]
                self._owner.printed(piece.decode("utf-8", "replace").rstrip())

    def processEnded(self, reason: Failure) -> None:
        """Tell the end."""
        self._control.close()
        for number in list(self._entrusted):
            self._release(number)
        by = getattr(reason.value, "signal", None)
        code = getattr(reason.value, "exitCode", None)
        how = f"it was ended by {signal.Signals(by).name}" if by else f"it ended with the code {code}"
        self._owner.gone(self._verdict or how)


@implementer(IPushProducer)
class _Socket(Protocol):
    """A socket with messages in both directions; see doors.Line."""

    # Twisted's unix.Server; ITransport names nothing of its producer's side or of descriptors.
    transport: Any
    _log = Logger()

    def __init__(self, reader: Reader[Any], ear: Ear) -> None:
        self._reader = reader
        self._ear = ear
        self._held = False
        self._deaf = False

    def send(self, message: Message, entrusted: socket.socket | None = None) -> None:
        """Send a message, and an open socket with it; raises TooLarge."""
        frame = pack(message)
        if self.transport.connected:
            if entrusted is not None:
                self.transport.sendFileDescriptor(entrusted.fileno())
            self.transport.write(frame)

    def hold(self, held: bool) -> None:
        """Read no more, or read again."""
        if held is not self._held:
            self._held = held
            if self.transport.connected:
                (self.transport.pauseProducing if held else self.transport.resumeProducing)()

    def close(self) -> None:
        """Close the socket."""
        # With a producer, what is to be closed waits for what it would still send.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    # IPushProducer

    def pauseProducing(self) -> None:
        """Tell that what was sent is not read."""
        self._ear.unread(True)

    def resumeProducing(self) -> None:
        """Tell that it was read."""
        self._ear.unread(False)

    def stopProducing(self) -> None:
        """Wait for the end of the connection, which follows."""

    # Protocol

    def connectionMade(self) -> None:
        """Hear of what is not read."""
        self.transport.registerProducer(self, True)

    def dataReceived(self, data: bytes) -> None:
        """Take what one read has brought."""
        if self._deaf:
            return
        self._ear.came(len(data))
        try:
            told = self._reader.feed(data)
        except RTOCError as error:
            self._deaf = True
            self._ear.nonsense(str(error))
            return
        for message in told:
            try:
                self._ear.heard(message)
            except Exception:
                # What comes after it is no worse for it.
                self._log.failure("a message of a script was not worked off")

    def connectionLost(self, reason: Any = None) -> None:
        """Tell that the socket is closed."""
        self._ear.hung_up()
