"""One client's conversation, without its socket: login, requests in order, answers, pushes.

It is longer than other modules because each part of it needs the others' state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .command import Command, require
from .errors import BadJSON, NotPermitted, RTOCError, TooLarge
from .house import House
from .interfaces import IAccount, ICommit, IConnection, IListener, IPeer, ISocket, IStream
from .model import Event, Permission, Plot, Samples, Selector, Signal
from .wire import aes
from .wire.answer import Answer, sent_with
from .wire.answers import AUTHORIZED, NEW_CLIENT, NOT_AUTHORIZED, UNSPEAKABLE, batch_told
from .wire.batch import Batch
from .wire.codec import JSON, MSGPACK, AesDialect, Dialect, Message
from .wire.promises import Promises, Telling
from .wire.request import Request, is_msgpack, utf8
from .wire.stream import joined

GOING_AWAY = 1001
POLICY_VIOLATION = 1008
# Bytes of a message that are looked at before login; a longer one is refused unread.
_BEFORE_LOGIN = 1 << 20
# Requests with an id that may be under way at once; the next one waits.
_AT_ONCE = 16
# Time for the messages of one client, until others have their turn.
_TURN_SECONDS = 0.02


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
        self._takes_data = False
        self._only_cipher = house.auth.cipher_required and not self.peer.secure and not self.peer.trusted
        self._dialect: Dialect = JSON
        self._promises = Promises(self._speak)
        self._selector = Selector()
        self._event_level = 0
        self._unsubscribe: Callable[[], None] | None = None
        self._login: Deferred[IAccount | None] | None = None
        self._login_timer: IDelayedCall | None = None
        self._inbox: deque[tuple[bytes, bool]] = deque()
        # What holds the inbox back: a request in its turn, the store, too many requests with an id.
        self._holds = self._overtaking = 0
        # Answers that wait until the client has taken what was said before.
        self._ready: deque[Answer] = deque()
        self._working_off = self._open = False
        self._spent = 0.0
        self._when_ended: dict[object, Callable[[], None]] = {}
        # The key and the answer of the command whose handler runs.
        self._present: tuple[str, Answer] | None = None

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
        if not (self._holds or self._inbox or self._socket.congested):
            self._handle_in_time(payload, binary)
        elif self._open:
            # Nothing more is read, so what waits here is at most what one read had brought.
            self._inbox.append((payload, binary))
            self._socket.pause()

    def writable(self) -> None:
        """Go on: the client takes answers again."""
        self._work_off()

    def ended(self) -> None:
        """End: the socket is gone; what was taken for the store stays taken."""
        self._fall_silent()
        self._house.hub.leave(self)

    def say_goodbye(self) -> None:
        """Close because the server stops."""
        self._close(GOING_AWAY, "the server stops")

    def _close(self, code: int, reason: str) -> None:
        if self._open:
            # Nothing may follow the close frame (RFC 6455 section 5.5.1), and nothing is heard any more.
            self._fall_silent()
            self._socket.close(code, reason)

    def _fall_silent(self) -> None:
        self._open = False
        self._holds += 1
        self._inbox.clear()
        self._ready.clear()
        self._promises.forget()
        self._stop_login_timer()
        self._let_out()
        if self._login is not None:
            self._login.cancel()
        while self._when_ended:
            self._when_ended.popitem()[1]()

    def _go_on(self) -> None:
        self._holds -= 1
        self._work_off()

    def _work_off(self) -> None:
        if self._working_off:
            return
        self._working_off = True
        try:
            self._say_ready()
            while self._inbox and not self._holds and not self._socket.congested:
                self._handle_in_time(*self._inbox.popleft())
        finally:
            self._working_off = False
        if not self._inbox and not self._holds:
            self._socket.resume()

    # From a frame to a request.

    def _handle_in_time(self, payload: bytes, binary: bool) -> None:
        """Handle a message; when this client's took their time, others have their turn before the next."""
        clock = self._house.clock
        began = clock.seconds()
        self._handle(payload, binary)
        self._spent += clock.seconds() - began
        if self._spent >= _TURN_SECONDS:
            self._spent = 0.0
            self._holds += 1
            clock.callLater(0, self._go_on)

    def _handle(self, payload: bytes, binary: bool) -> None:
        if self._takes_data and not binary:
            plain = self._house.batches.whole(payload)
            if plain is not None:
                self._record(*plain)
                return
        answer = Answer()
        try:
            answer.request = self._decode(payload, binary)
        except RTOCError as error:
            answer.fail(None, error)
        if self.account is None and "authorize" not in answer.request:
            self._promises.say(NOT_AUTHORIZED)
        else:
            self._work(answer)

    def _record(self, data: Samples | Plot, request_id: msgspec.Raw, batch: Batch | None) -> None:
        self._dialect = JSON
        tell, recorder = sent_with(request_id), self._house.recorder
        try:
            if batch is not None:
                commit, duplicate = recorder.once(batch.source, batch.seq, data)
                tell = sent_with(request_id, batch_told(batch.source, batch.seq, data, duplicate))
            else:
                commit = recorder.append(data) if isinstance(data, Samples) else recorder.draw(data)
        except Exception:
            self._promises.say(tell(self._explain("y", Failure())))
        else:
            self._promise(commit, tell)

    def _promise(self, commit: ICommit, tell: Telling) -> None:
        self._promises.promise(commit, tell)
        self._spare_the_store(commit)

    def _spare_the_store(self, commit: ICommit) -> None:
        if self._house.congested():
            self._holds += 1
            commit.when_done(self._go_on)

    def _decode(self, payload: bytes, binary: bool) -> Request:
        """Return the request in a frame, and remember how its sender speaks (protocol section 4)."""
        if self.account is None and len(payload) > _BEFORE_LOGIN:
            raise BadJSON("too long for a message before login")
        schema, key = self._house.table.schema, self._house.auth.cipher_key
        if not binary and key is not None and not payload.lstrip().startswith((b"{", b"[", b'"')):
            try:
                request = schema.decode(utf8(aes.decrypt(key, payload) or b""))
            except BadJSON:
                # One answer, in the same framing, for all causes: none tells of the padding.
                raise BadJSON("the frame is neither JSON nor opened by the password") from None
            self._dialect = AesDialect(key)
            return request
        if self._only_cipher:
            raise NotPermitted("plain frames are refused here: use TLS (or the old cipher)")
        if binary and is_msgpack(payload):
            self._dialect = MSGPACK
            return schema.decode_msgpack(payload)
        self._dialect = JSON
        return schema.decode(utf8(payload) if binary else payload)

    # A request, command by command.

    @inlineCallbacks
    def _work(self, answer: Answer) -> Any:
        """Do the commands of a request, one after the other, and answer it."""
        self._begin(answer)
        try:
            for command in self._house.table.present(answer.request):
                try:
                    result = self._do(command, answer)
                    answer.add((yield result) if isinstance(result, Deferred) else result, command.key)
                except _LoginRefused:
                    return
                except Exception:
                    answer.fail(command.key, self._explain(command.key, Failure()))
            self._give(answer)
        finally:
            self._end(answer)

    def _begin(self, answer: Answer) -> None:
        if answer.concurrent:
            self._overtaking += 1
            self._holds += self._overtaking == _AT_ONCE
        else:
            self._holds += 1

    def _end(self, answer: Answer) -> None:
        if answer.concurrent:
            self._overtaking -= 1
        if not answer.concurrent or self._overtaking == _AT_ONCE - 1:
            self._go_on()

    def _do(self, command: Command, answer: Answer) -> Any:
        require(self.account, command.permission, command.key)
        self._present = command.key, answer
        try:
            return command.handler(self, command.read(answer.request))
        finally:
            self._present = None

    def _explain(self, key: str, failure: Failure) -> RTOCError:
        """Return what the client is told of a failure; one that nobody expected is logged."""
        if isinstance(failure.value, RTOCError):
            return failure.value
        self._log.failure("{key} failed", failure, key=key)
        return RTOCError(f"{key}: the server failed, its log says why")

    def _give(self, answer: Answer) -> None:
        commit = answer.pending()
        if commit is not None:
            self._promise(commit, answer.after)
        else:
            self._ready.append(answer)
            self._say_ready()

    def _say_ready(self) -> None:
        # What waits behind a stream counts to the socket's limit. Nothing begins meanwhile: few wait here.
        while self._ready and not self._socket.congested:
            answer = self._ready.popleft()
            if answer.concurrent:
                self._speak((answer.message(),))
            else:
                self._promises.say(answer.message())

    # To the socket.

    def _speak(self, messages: Sequence[Message | None]) -> None:
        if self._open:
            self._send([self._frame(message) for message in messages if message is not None])

    def _send(self, frames: Sequence[bytes | IStream]) -> None:
        for part in joined(frames):
            self._socket.send(part)

    def _frame(self, message: Message) -> bytes | IStream:
        try:
            return self._dialect.frame(message)
        except Exception as error:
            self._log.warn("an answer cannot be encoded: {problem}", problem=str(error))
            return self._dialect.frame(UNSPEAKABLE)

    # Login: a phase of its own; before it no command is reached.

    def _start_login_timer(self) -> None:
        if self._login_timer is None:
            self._login_timer = self._house.clock.callLater(
                self._house.login_seconds, self._close, POLICY_VIOLATION, "no login in time"
            )

    def _stop_login_timer(self) -> None:
        if self._login_timer is not None and self._login_timer.active():
            self._login_timer.cancel()
        self._login_timer = None

    def _let_in(self, account: IAccount) -> None:
        self._stop_login_timer()
        self._let_out()
        self.account = account
        self._takes_data = account.may(Permission.WRITE) and not self._only_cipher
        if account.may(Permission.READ):
            self._unsubscribe = self._house.recorder.subscribe(self, self._selector)

    def _let_out(self) -> None:
        self.account, self._takes_data = None, False
        undo, self._unsubscribe = self._unsubscribe, None
        if undo is not None:
            undo()

    # IConnection: for handlers.

    def login(self, credential: Any) -> Deferred[None]:
        """Try to log in; fires when the client was told that it went well."""

        def broken(failure: Failure) -> None:
            if not failure.check(CancelledError):
                self._log.failure("a login failed", failure)

        def decided(account: IAccount | None) -> None:
            if account is None or not self._open:
                self._refuse()
                raise _LoginRefused
            self._promises.say(AUTHORIZED)
            self._let_in(account)

        self._login = self._house.auth.login(credential, self.peer)
        return self._login.addErrback(broken).addCallback(decided)

    def _refuse(self) -> None:
        if self._open:
            self._let_out()
            self._promises.say(NOT_AUTHORIZED)
            self._start_login_timer()

    def settle(self, commit: ICommit, ack: str = "stored") -> None:
        """Let the answer to the present command wait for a commit, as far as `ack` says so."""
        if self._present is None:
            raise RuntimeError("settle: a handler may call this until it returns or first waits")
        key, answer = self._present
        if ack == "received":
            self._spare_the_store(commit)
        else:
            answer.settle(key, commit, quiet=ack == "none")

    def selector(self) -> Selector:
        """Return what this connection is subscribed to."""
        return self._selector

    def watch(self, selector: Selector) -> None:
        """Change what this connection is subscribed to; raises TooLarge past the limit."""
        limit = self._house.max_subscriptions
        if selector.named() > limit:
            raise TooLarge(f"subscribe: the limit of {limit} subscriptions of a connection is reached")
        self._selector = selector
        self._unsubscribe = self._house.recorder.subscribe(self, selector)

    def set_event_level(self, level: int) -> None:
        """Push only events of at least that priority."""
        self._event_level = level

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message to this client now."""
        self._speak((Message(message),))

    def when_ended(self, do: Callable[[], None]) -> Callable[[], None]:
        """Call back when the client is gone, at once if it is; return the undo."""
        if not self._open:
            do()
            return lambda: None
        key = object()
        self._when_ended[key] = do

        def undo() -> None:
            self._when_ended.pop(key, None)

        return undo

    # IListener: facts become pushes.

    def signal_added(self, signal: Signal) -> None:
        """Push P1."""
        self._speak((self._house.pushes.of_signal(signal),))

    def signal_removed(self, signal: Signal) -> None:
        """Say nothing: the protocol has no push for it."""

    def samples_appended(self, signals: Sequence[Signal], samples: Samples) -> None:
        """Push P2 for each signal that is subscribed."""
        wants, frame = self._selector.wants, self._dialect.frame
        pushes = self._house.pushes.of_samples(signals, samples)
        if self._open:
            self._send([frame(push) for signal, push in pushes if wants(signal.name)])

    def plot_drawn(self, signal: Signal, plot: Plot) -> None:
        """Push P2 with the samples that a plot added."""
        self._speak((self._house.pushes.of_plot(signal, plot),))

    def event_raised(self, event: Event) -> None:
        """Push P3, if the event is of the level that the client asked for."""
        if event.priority >= self._event_level:
            self._speak((self._house.pushes.of_event(event),))

    def plugins_changed(self, plugins: Mapping[str, Any]) -> None:
        """Push P4."""
        self._speak((self._house.pushes.of_plugins(plugins),))

    # For the hub.

    def hear_newcomer(self) -> None:
        """Push P5, once logged in."""
        if self.account is not None:
            self._speak((NEW_CLIENT,))
