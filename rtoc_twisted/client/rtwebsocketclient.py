"""RTWebsocketClient: the original's client class, for code that was written for it (protocol section 7)."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosedOK

from rtoc_twisted.client.blocking import BlockingTransport
from rtoc_twisted.client.failures import ConnectionLost, QueueFull
from rtoc_twisted.client.frames import CipherFrames, Frames, PlainFrames
from rtoc_twisted.client.transport import Connect, websocket_connector
from rtoc_twisted.client.trust import Credentials, Trust

log = logging.getLogger("rtoc_twisted.client")

QUEUE_LIMIT = 10_000
"""How many messages may wait for the connection to open."""

_CONNECT_TIMEOUT = 10.0
_ANSWER_TIMEOUT = 5.0
_UNENCRYPTED_HOSTS = ("127.0.0.1", "localhost")

# In the order in which the original looks at them.
_HANDLERS = (
    ("authorized", "handle_authorize"),
    ("pluginList", "handle_pluginList"),
    ("signalList", "handle_signalList"),
    ("plugin", "handle_plugin"),
    ("latest", "handle_latest"),
    ("automation", "handle_automation"),
    ("client", "handle_client"),
    ("events", "handle_events"),
    ("signal", "handle_signal"),
    ("userAction", "handle_userAction"),
    ("logger", "handle_logger"),
    ("event", "handle_event"),
    ("signals", "handle_signals"),
)

Handler = Callable[..., object] | None


class RTWebsocketClient:
    """A client that calls back from a thread of its own; one connection, no reconnect.

    Set the callbacks that are wanted; a key whose handler is set is taken out of the message, and what is
    left goes to handle_unknown (unless it is empty) and to on_message (always). A message that cannot be
    read and `error: true` call handle_RTOCError without arguments. on_open and on_close take nothing,
    on_error takes the exception.

    The password cipher is used iff there is a password, the host is not written '127.0.0.1' or
    'localhost', and the connection has no TLS. With TLS the server's certificate is verified, which the
    original did not do: for a self-signed one pass fingerprint, ca_file or insecure=True (see Trust).
    """

    def __init__(
        self,
        host: str | None = None,
        port: int = 5050,
        password: str | None = None,
        usessl: bool = False,
        **trust: Any,
    ) -> None:
        self.host = host
        self.port = port
        self.usessl = usessl
        self.run = False
        self._password = password
        self._trust = Trust()
        self._frames: Frames = PlainFrames()
        self._socket: BlockingTransport | None = None
        self._thread: threading.Thread | None = None
        self._waiting: deque[dict[str, Any]] = deque()
        self._lost = False
        self._settled = threading.Event()
        # Held while the waiting messages are sent, so that none overtakes them.
        self._sending = threading.RLock()
        self._unanswered = 0
        self._answered = threading.Condition(self._sending)

        # The original's interface.
        self.handle_authorize: Handler = None
        self.handle_pluginList: Handler = None
        self.handle_signalList: Handler = None
        self.handle_plugin: Handler = None
        self.handle_latest: Handler = None
        self.handle_automation: Handler = None
        self.handle_client: Handler = None
        self.handle_events: Handler = None
        self.handle_signal: Handler = None
        self.handle_userAction: Handler = None
        self.handle_logger: Handler = None
        self.handle_event: Handler = None
        self.handle_signals: Handler = None
        self.handle_session: Handler = None
        self.handle_RTOCError: Handler = None
        self.handle_unknown: Handler = None
        self.on_message: Handler = None
        self.on_open: Handler = None
        self.on_error: Handler = None
        self.on_close: Handler = None

        if host is not None:
            self.connect(**trust)

    def connect(
        self,
        host: str | None = None,
        port: int | None = None,
        password: str | None = None,
        usessl: bool | None = None,
        *,
        tls: bool | None = None,
        ca_file: str | Path | None = None,
        fingerprint: str | None = None,
        insecure: bool = False,
    ) -> None:
        """Start to connect, in a thread, and return at once; on_open or on_error tell how it went.

        What is None stays as it was; host '' is localhost. tls and usessl are the same. A connection that
        is open is closed first. BadValue for a fingerprint that is none or an unreadable CA file.
        """
        self.close()
        self.host = self.host if host is None else host
        self.port = self.port if port is None else port
        self._password = self._password if password is None else password
        wanted = usessl if tls is None else tls
        self.usessl = self.usessl if wanted is None else wanted
        self._trust = Trust(ca_file=ca_file, fingerprint=fingerprint, insecure=insecure)
        name = self.host or "localhost"
        ciphered = self._password and not self.usessl and name not in _UNENCRYPTED_HOSTS
        self._frames = CipherFrames(self._password) if self._password and ciphered else PlainFrames()
        # A numeric IPv6 address needs its brackets in a URL.
        address = f"[{name}]" if ":" in name and not name.startswith("[") else name
        self._lost = False
        self._settled.clear()
        url = f"{'wss' if self.usessl else 'ws'}://{address}:{self.port}"
        connector = websocket_connector(url, self._trust, _CONNECT_TIMEOUT)
        self._thread = threading.Thread(target=self._converse, args=(connector,), daemon=True)
        self._thread.start()

    def send(self, message: Mapping[str, Any] | None = None, /, **keys: Any) -> None:
        """Send a request, given as a dict or as keywords; it waits for the connection to open.

        QueueFull if too many messages wait, ConnectionLost if the connection has ended, TypeError for what
        cannot be written as JSON.
        """
        fields = {**(message or {}), **keys}
        with self._sending:
            if self._socket is not None and self.run:
                self._transmit(self._socket, fields)
            elif self._lost:
                raise ConnectionLost("the connection has ended: call connect() again")
            elif len(self._waiting) >= QUEUE_LIMIT:
                raise QueueFull(f"{QUEUE_LIMIT} messages wait for the connection to open")
            else:
                self._frames.encode(fields)
                self._waiting.append(fields)

    def close(self) -> None:
        """Close the connection.

        Called from a callback it closes at once. Otherwise it first waits, for some seconds at most, for
        an attempt to connect and for the answers to what was sent: servers drop what they did not read yet.
        """
        thread, self._thread = self._thread, None
        if thread is None:
            return
        called_back = thread is threading.current_thread()
        if not called_back:
            self._settled.wait(_CONNECT_TIMEOUT)
            with self._answered:
                self._answered.wait_for(lambda: self._lost or self._unanswered <= 0, _ANSWER_TIMEOUT)
        # The connection may end by itself meanwhile.
        socket = self._socket
        if socket is not None:
            socket.close()
        if not called_back:
            thread.join(_CONNECT_TIMEOUT)

    def disconnect(self) -> None:
        """Close the connection."""
        self.close()

    def _converse(self, connect: Connect) -> None:
        failure: Exception | None = None
        socket: BlockingTransport | None = None
        try:
            socket = BlockingTransport(connect)
            self._opened(socket)
            while True:
                self._received(socket.receive())
        except Exception as error:
            if not isinstance(error.__cause__, ConnectionClosedOK):
                failure = error
        # First tidy up: the callbacks may connect again.
        with self._sending:
            self.run, self._lost, self._socket = False, True, None
            self._answered.notify_all()
        if socket is not None:
            socket.stop()
        self._settled.set()
        if failure is not None:
            log.warning("%s", failure)
            self._call("on_error", failure)
        self._call("on_close")

    def _opened(self, socket: BlockingTransport) -> None:
        with self._sending:
            self._socket, self._unanswered = socket, 0
            self._transmit(socket, {"authorize": Credentials(password=self._password or None).authorize()})
            while self._waiting:
                self._transmit(socket, self._waiting[0])
                self._waiting.popleft()
            self.run = True
        self._settled.set()
        self._call("on_open")

    def _transmit(self, socket: BlockingTransport, fields: Mapping[str, Any]) -> None:
        socket.send(self._frames.encode(fields))
        self._unanswered += 1

    def _received(self, frame: str | bytes) -> None:
        message = self._frames.decode(frame)
        if message is None:
            self._call("handle_RTOCError")
            return
        answers = "error" in message or message.get("authorized") is False
        for key, handler in _HANDLERS:
            if key in message and getattr(self, handler) is not None:
                self._call(handler, message.pop(key))
        if message.pop("error", False) is True:
            self._call("handle_RTOCError")
        if "session" in message:
            self._call("handle_session", message["session"])
        if message:
            self._call("handle_unknown", message)
        self._call("on_message", message)
        if answers:
            with self._answered:
                self._unanswered -= 1
                self._answered.notify_all()

    def _call(self, name: str, *arguments: object) -> None:
        """Call a callback if it is set; what it raises is logged and ends nothing."""
        callback: Handler = getattr(self, name)
        if callback is None:
            return
        try:
            callback(*arguments)
        except Exception:
            log.exception("the callback %s failed", name)
