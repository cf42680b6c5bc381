"""One client's conversation, without its socket: login, requests in order, answers, pushes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .command import Command, CommandTable
from .errors import BadJSON, NotPermitted, RTOCError, TooLarge
from .hub import Hub
from .interfaces import IAccount, IAuth, ICommit, IConnection, IListener, IPeer, IRecorder, ISocket
from .model import Event, Permission, Plot, Samples, Selector, Signal
from .wire import aes
from .wire.answer import Answer, sent_with
from .wire.answers import AUTHORIZED, NEW_CLIENT, NOT_AUTHORIZED, Pushes, plugins_changed
from .wire.batch import BatchDecoder
from .wire.codec import JSON, MSGPACK, AesDialect, Dialect, Message
from .wire.request import Request, is_msgpack, utf8

GOING_AWAY = 1001
POLICY_VIOLATION = 1008
_BEFORE_LOGIN = 1 << 20
"""Bytes of a message that are looked at before login; a longer one is refused unread."""


@dataclass(frozen=True)
class House:
    """What all connections share.

    login_seconds: the time to log in where a password is set; max_subscriptions: devices and signals
    that one connection may name.
    """

    table: CommandTable
    batches: BatchDecoder
    recorder: IRecorder
    congested: Callable[[], bool]
    auth: IAuth
    hub: Hub
    clock: IReactorTime
    login_seconds: float = 10.0
    max_subscriptions: int = 10_000
    pushes: Pushes = field(default_factory=Pushes)


_Telling = Callable[[RTOCError | None], Message]


class _LoginRefused(Exception):
    """The login of a request was refused: nothing more of the request is done, nothing more is said."""


@implementer(IConnection, IListener)
class Connection:
    """A client's conversation: its socket feeds it with messages, and it speaks through its socket.

    Requests are worked off in order. One whose work waits (a read, a login) holds back those after
    it unless it carries an `id`: then it is answered when it is ready. What was written is answered
    when the commit that carries it is done, and holds nothing back.
    """

    _log = Logger()

    def __init__(self, socket: ISocket, house: House) -> None:
        self._socket = socket
        self._house = house
        self.peer: IPeer = socket.peer
        self.account: IAccount | None = None
        self._dialect: Dialect = JSON
        self._selector = Selector()
        self._event_level = 0
        self._unsubscribe: Callable[[], None] | None = None
        self._login_timer: IDelayedCall | None = None
        self._inbox: deque[tuple[bytes, bool]] = deque()
        self._busy = False
        self._working_off = False
        self._answers: deque[tuple[ICommit, _Telling]] = deque()
        self._awaited: ICommit | None = None
        self._commit: ICommit | None = None
        self._open = False

    # From the socket.

    def opened(self) -> None:
        """Begin: a peer that needs no login is let in at once, another has its time to log in."""
        self._open = True
        self._house.hub.join(self)
        account = self._house.auth.admit(self.peer)
        if account is None:
            self._start_login_timer()
        else:
            self._let_in(account)

    def received(self, payload: bytes, binary: bool = False) -> None:
        """Take a message; it is worked off at once unless earlier ones wait."""
        if self._busy or self._inbox or self._socket.congested:
            # Nothing more is read, so what waits here is at most what one read had brought.
            self._inbox.append((payload, binary))
            self._socket.pause()
        else:
            self._handle(payload, binary)

    def writable(self) -> None:
        """Go on: the client takes answers again."""
        self._work_off()

    def ended(self) -> None:
        """End: the socket is gone; what was taken for the store stays taken."""
        self._open = False
        self._inbox.clear()
        self._answers.clear()
        self._stop_login_timer()
        self._let_out()
        self._house.hub.leave(self)

    def say_goodbye(self) -> None:
        """Close because the server stops."""
        self._socket.close(GOING_AWAY, "the server stops")

    def _go_on(self) -> None:
        self._busy = False
        self._work_off()

    def _work_off(self) -> None:
        if self._working_off:
            return
        self._working_off = True
        try:
            while self._inbox and not self._busy and not self._socket.congested:
                self._handle(*self._inbox.popleft())
        finally:
            self._working_off = False
        if not self._inbox and not self._busy:
            self._socket.resume()

    # From a frame to a request.

    def _handle(self, payload: bytes, binary: bool) -> None:
        if self.account is not None and not binary and self.account.may(Permission.WRITE):
            plain = self._house.batches.whole(payload)
            if plain is not None:
                self._record(*plain)
                return
        answer = Answer(None)
        try:
            answer.request = self._decode(payload, binary)
        except RTOCError as error:
            answer.fail(None, error)
        if self.account is None and not self._may_log_in(answer.request):
            self._send(NOT_AUTHORIZED)
            return
        commands = [] if answer.request is None else self._house.table.present(answer.request)
        self._busy = not answer.concurrent
        self._run(commands, answer, 0)

    def _record(self, samples: Samples, request_id: msgspec.Raw) -> None:
        self._dialect = JSON
        try:
            commit = self._house.recorder.append(samples)
        except RTOCError as error:
            self._say(sent_with(request_id)(error))
            return
        self._promise(commit, sent_with(request_id))
        if self._house.congested():
            self._busy = True
            commit.when_done(self._go_on)

    def _decode(self, payload: bytes, binary: bool) -> Request:
        """Return the request in a frame, and remember how its sender speaks (protocol section 4)."""
        if self.account is None and len(payload) > _BEFORE_LOGIN:
            raise BadJSON("too long for a message before login")
        schema, key = self._house.table.schema, self._house.auth.cipher_key
        if binary and is_msgpack(payload):
            self._dialect = MSGPACK
            return schema.decode_msgpack(payload)
        if not binary and key is not None and not payload.lstrip().startswith((b"{", b"[", b'"')):
            plain = aes.decrypt(key, payload)
            if plain is not None:
                self._dialect = AesDialect(key)
            # What does not open is no more and no less than bad JSON: one answer for all causes.
            return schema.decode(utf8(plain or b""))
        self._dialect = JSON
        return schema.decode(utf8(payload) if binary else payload)

    def _may_log_in(self, request: Request | None) -> bool:
        exposed = not self.peer.secure and not self.peer.trusted and not isinstance(self._dialect, AesDialect)
        if self._house.auth.cipher_required and exposed:
            return False
        return request is not None and "authorize" in request

    # A request, command by command.

    def _run(
        self, commands: Sequence[Command], answer: Answer, start: int, commit: ICommit | None = None
    ) -> None:
        """Do the commands from `start` on, one after the other; where one waits, go on when it is done."""
        for index in range(start, len(commands)):
            command = commands[index]
            self._commit = commit
            try:
                result = self._do(command, answer)
            except Exception:
                self._fail(command, answer, Failure())
                continue
            finally:
                commit, self._commit = self._commit, None
            if isinstance(result, Deferred):
                self._wait(result, commands, answer, index, commit)
                return
            answer.add(result)
        self._finish(answer, commit)

    def _do(self, command: Command, answer: Answer) -> Any:
        if command.permission and (self.account is None or not self.account.may(command.permission)):
            raise NotPermitted(f"{command.key}: this needs the permission {command.permission.name}".lower())
        return command.handler(self, command.read(answer.request)) if answer.request is not None else None

    def _wait(
        self,
        result: Deferred[Any],
        commands: Sequence[Command],
        answer: Answer,
        index: int,
        commit: ICommit | None,
    ) -> None:
        def failed(failure: Failure) -> None:
            if failure.check(_LoginRefused):
                self._finish(None, None)
            else:
                self._fail(commands[index], answer, failure)
                self._run(commands, answer, index + 1, commit)

        def done(value: Any) -> None:
            answer.add(value)
            self._run(commands, answer, index + 1, commit)

        result.addCallbacks(done, failed)
        result.addErrback(lambda failure: self._log.failure("answering failed", failure))

    def _fail(self, command: Command, answer: Answer, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, RTOCError):
            self._log.failure("{key} failed", failure, key=command.key)
            error = RTOCError(f"{command.key}: the server failed, its log says why")
        answer.fail(command.key, error)

    def _finish(self, answer: Answer | None, commit: ICommit | None) -> None:
        if answer is not None and self._open:
            if commit is not None and not (commit.done and commit.error is None):
                self._promise(commit, answer.after)
            elif answer.concurrent:
                self._send(answer.message())
            else:
                self._say(answer.message())
        if answer is None or not answer.concurrent:
            self._go_on()

    # To the socket: in order, and not before what is said is true.

    def _say(self, message: Message) -> None:
        """Send after the answers that wait for their commits."""
        if self._answers:
            self._answers.append((self._answers[-1][0], lambda _: message))
        else:
            self._send(message)

    def _promise(self, commit: ICommit, tell: _Telling) -> None:
        """Send what `tell` makes of the commit's outcome, when the commit is done."""
        self._answers.append((commit, tell))
        if commit.done:
            self._keep_promises()
        elif commit is not self._awaited:
            self._awaited = commit
            commit.when_done(self._keep_promises)

    def _keep_promises(self) -> None:
        frames = []
        while self._answers and self._answers[0][0].done:
            commit, tell = self._answers.popleft()
            frames.append(self._dialect.frame(tell(commit.error)))
        if frames:
            self._socket.send(b"".join(frames))

    def _send(self, message: Message) -> None:
        if self._open:
            self._socket.send(self._dialect.frame(message))

    # Login: a phase of its own; before it no command is reached.

    def _start_login_timer(self) -> None:
        if self._login_timer is None:
            self._login_timer = self._house.clock.callLater(self._house.login_seconds, self._login_is_late)

    def _stop_login_timer(self) -> None:
        timer, self._login_timer = self._login_timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _login_is_late(self) -> None:
        self._login_timer = None
        self._socket.close(POLICY_VIOLATION, "no login in time")

    def _let_in(self, account: IAccount) -> None:
        self._stop_login_timer()
        self.account = account
        self._unsubscribe = self._house.recorder.subscribe(self, self._selector)

    def _let_out(self) -> None:
        self.account = None
        undo, self._unsubscribe = self._unsubscribe, None
        if undo is not None:
            undo()

    # IConnection: for handlers.

    def login(self, credential: Any) -> Deferred[None]:
        """Try to log in; fires when the client was told that it went well."""

        def decided(account: IAccount | None) -> None:
            if account is None:
                self._let_out()
                self._say(NOT_AUTHORIZED)
                if self._open:
                    self._start_login_timer()
                raise _LoginRefused
            if self._open:
                self._say(AUTHORIZED)
                self._let_in(account)

        return self._house.auth.login(credential, self.peer).addCallback(decided)

    def settle(self, commit: ICommit) -> None:
        """Let the present answer wait for a commit."""
        self._commit = commit

    def selector(self) -> Selector:
        """Return what this connection is subscribed to."""
        return self._selector

    def watch(self, selector: Selector) -> None:
        """Change what this connection is subscribed to; raises TooLarge past the limit."""
        limit = self._house.max_subscriptions
        if len(selector.signals) + len(selector.devices) > limit:
            raise TooLarge(f"subscribe: the limit of {limit} subscriptions of a connection is reached")
        self._selector = selector
        self._unsubscribe = self._house.recorder.subscribe(self, selector)

    def set_event_level(self, level: int) -> None:
        """Push only events of at least that priority."""
        self._event_level = level

    # IListener: facts become pushes.

    def signal_added(self, signal: Signal) -> None:
        """Push P1."""
        self._send(self._house.pushes.of_signal(signal))

    def signal_removed(self, signal: Signal) -> None:
        """Say nothing: the protocol has no push for it."""

    def samples_appended(self, signals: Sequence[Signal], samples: Samples) -> None:
        """Push P2 for each signal that is subscribed."""
        wants, frame = self._selector.wants, self._dialect.frame
        pushes = self._house.pushes.of_samples(signals, samples)
        if self._open:
            self._socket.send(b"".join(frame(push) for signal, push in pushes if wants(signal.name)))

    def plot_drawn(self, signal: Signal, plot: Plot) -> None:
        """Push P2 with the samples that a plot added."""
        self._send(self._house.pushes.of_plot(signal, plot))

    def event_raised(self, event: Event) -> None:
        """Push P3, if the event is of the level that the client asked for."""
        if event.priority >= self._event_level:
            self._send(self._house.pushes.of_event(event))

    def plugins_changed(self, plugins: Mapping[str, Any]) -> None:
        """Push P4."""
        self._send(plugins_changed(plugins))

    # For the hub.

    def hear_newcomer(self) -> None:
        """Push P5, once logged in."""
        if self.account is not None:
            self._send(NEW_CLIENT)
