"""A small RTOC server in threads, for tests of the clients over real loopback sockets."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import json
import queue
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from rtoc_twisted.wire.aes import cipher_key, decrypt, encrypt, password_hash

from .client_memory import Batches

WAIT = 10.0
"""Seconds after which a test gives up on what must happen; nothing waits this long when all is well."""


class FakeServer:
    """Keeps the newest value of each signal and answers as the protocol document says.

    echo_ids False: like the original, which knows no `id`. password: wanted in `authorize`. cipher: all
    frames in the password cipher, as the original does for strangers. context: speak TLS. port: 0 for any.
    replies: answers to give instead, by a key of the request. `received` are all requests so far,
    `log` the same as a queue to wait on.
    """

    def __init__(
        self,
        *,
        echo_ids: bool = True,
        password: str | None = None,
        cipher: bool = False,
        context: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.replies: dict[str, dict[str, Any]] = {}
        self.received: list[dict[str, Any]] = []
        self.log: queue.Queue[dict[str, Any]] = queue.Queue()
        self.signals: dict[str, dict[str, Any]] = {}
        self.events: dict[str, list[Any]] = {}
        self._batches = Batches()
        self._echo_ids = echo_ids
        self._hash = None if password is None else password_hash(password)
        self._key = cipher_key(self._hash) if self._hash and cipher else None
        self._connections: dict[ServerConnection, set[str]] = {}
        self._lock = threading.RLock()
        self._server: Server = serve(self._converse, "127.0.0.1", port, compression=None)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.port: int = self._server.socket.getsockname()[1]
        self._front = None if context is None else TlsFront(context, self.port)
        if self._front is not None:
            self.port = self._front.port
        self.url = f"{'ws' if context is None else 'wss'}://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self.drop()
        self._thread.join(WAIT)
        if self._front is not None:
            self._front.stop()

    def drop(self) -> None:
        """Break all connections without a goodbye."""
        with self._lock:
            for connection in self._connections:
                connection.close_socket()

    def wait_for(self, key: str) -> dict[str, Any]:
        """Return the next request that has this key, waiting for it."""
        while True:
            request = self.log.get(timeout=WAIT)
            if key in request:
                return request

    def push(self, message: dict[str, Any]) -> None:
        """Send a push to everybody."""
        with self._lock:
            for connection in self._connections:
                self._tell(connection, message)

    def ping(self) -> list[threading.Event]:
        """Ping everybody; return an event for each that is set when its pong is there."""
        with self._lock:
            return [connection.ping() for connection in self._connections]

    def _converse(self, connection: ServerConnection) -> None:
        with self._lock:
            self._connections[connection] = set()
        authorized = self._hash is None
        try:
            for frame in connection:
                request = self._decode(frame)
                self.received.append(request)
                self.log.put(request)
                if "authorize" in request:
                    authorized = self._hash in (None, request["authorize"])
                    connection.send(self._encode({"authorized": authorized}))
                elif not authorized:
                    connection.send(self._encode({"authorized": False}))
                if authorized:
                    self._answer(connection, request)
        except ConnectionClosed:
            pass
        finally:
            with self._lock:
                del self._connections[connection]

    def _answer(self, connection: ServerConnection, request: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"error": False}
        for key, value in request.items():
            if key in self.replies:
                answer |= self.replies[key]
            elif (handler := self._handlers().get(key)) is not None:
                answer |= handler(connection, request, value)
        if self._echo_ids and "id" in request:
            answer["id"] = request["id"]
        connection.send(self._encode(answer))

    def _handlers(self) -> dict[str, Callable[[ServerConnection, dict[str, Any], Any], dict[str, Any]]]:
        return {
            "y": lambda _, request, __: self._batches.answer(request, self._store),
            "event": self._event,
            "subscribe": self._subscribe,
            "subscribeAll": lambda connection, *_: self._subscribe(connection, {}, ["all", "*"]),
            "getSignalList": lambda *_: {"signalList": [it["name"] for it in self.signals.values()]},
            "getLatest": self._latest,
            "getSignal": self._get_signal,
            "getEventList": lambda *_: {"events": self.events},
            "getEvent": lambda _, __, keys: {"events": {key: list(self.events.values()) for key in keys}},
        }

    def _store(self, request: dict[str, Any]) -> None:
        device, ys, units = request["dname"], request["y"], request["unit"]
        xs = request.get("x", [1000.0] * len(ys))
        if request.get("plot"):
            samples = [(request["sname"], xs, ys, units)]
        else:
            samples = [(n, [x], [y], u) for n, x, y, u in zip(request["sname"], xs, ys, units, strict=True)]
        for name, x, y, unit in samples:
            key = f"{device}.{name}"
            if key not in self.signals:
                self.signals[key] = {"name": [device, name], "x": [], "y": [], "unit": unit}
                self.push({"signal": self._pushed(key, device, name, [], [], None)})
            self.signals[key]["x"] += x
            self.signals[key]["y"] += y
            self._publish(key, {"signal": self._pushed(key, device, name, x, y, unit)})

    def _pushed(self, key: str, device: str, name: str, x: list[Any], y: list[Any], unit: Any) -> Any:
        return {"dname": device, "sname": name, "x": x, "y": y, "unit": unit, "id": self._number(key)}

    def _publish(self, key: str, message: dict[str, Any]) -> None:
        with self._lock:
            for connection, wanted in self._connections.items():
                if wanted & {key, "*"}:
                    self._tell(connection, message)

    def _tell(self, connection: ServerConnection, message: dict[str, Any]) -> None:
        # Others may be leaving just now.
        with contextlib.suppress(ConnectionClosed):
            connection.send(self._encode(message))

    def _event(self, _: ServerConnection, __: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        number, x, priority = len(self.events) + 1, event.get("x", 1000.0), event.get("priority", 0)
        names = [event["dname"], event["sname"]]
        self.events[str(number)] = [*names, number, event["text"], x, None, priority, "abc"]
        told = {**event, "x": x, "priority": priority, "value": None, "id": "abc", "eventId": number}
        self.push({"event": told})
        return {}

    def _subscribe(self, connection: ServerConnection, _: dict[str, Any], what: list[str]) -> dict[str, Any]:
        with self._lock:
            self._connections[connection].add(what[1])
        return {}

    def _latest(self, _: ServerConnection, __: dict[str, Any], wanted: Any) -> dict[str, Any]:
        found = {}
        for key, it in self.signals.items():
            if wanted is True or key in wanted:
                ends = [it["x"][0], it["x"][-1]]
                found[key] = [it["x"][-1], it["y"][-1], it["unit"], self._number(key), *ends]
        return {"latest": found}

    def _get_signal(self, _: ServerConnection, __: dict[str, Any], wanted: Any) -> dict[str, Any]:
        keys = self.signals if wanted == "all" else [f"{it['dname']}.{it['sname']}" for it in wanted]
        found = {}
        for key in keys:
            if key in self.signals:
                it = self.signals[key]
                found[key] = [it["x"], it["y"], it["unit"], self._number(key), min(it["x"]), max(it["x"])]
        return {"signals": found}

    def _number(self, key: str) -> int:
        return list(self.signals).index(key) + 1

    def _encode(self, message: dict[str, Any]) -> str:
        text = json.dumps(message)
        return text if self._key is None else encrypt(self._key, text.encode()).decode()

    def _decode(self, frame: str | bytes) -> dict[str, Any]:
        raw = frame.encode() if isinstance(frame, str) else frame
        plain = raw if self._key is None else decrypt(self._key, raw)
        if plain is None:
            raise AssertionError("the client did not encrypt")
        message: dict[str, Any] = json.loads(plain)
        return message


class TlsFront:
    """A port that speaks TLS for a plain one; port: its number.

    It works in one thread: Python's TLS connections may not be read by one and written by another, as the
    library's threaded server does.
    """

    def __init__(self, context: ssl.SSLContext, plain_port: int) -> None:
        self._plain_port = plain_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(WAIT)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        plain_reader, plain_writer = await asyncio.open_connection("127.0.0.1", self._plain_port)
        await asyncio.gather(self._pump(reader, plain_writer), self._pump(plain_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    def stop(self) -> None:
        """Close the port, and the connections that it serves."""

        async def stop() -> None:
            self._server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(WAIT)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()


def make_certificate(directory: Path) -> tuple[Path, ssl.SSLContext, str]:
    """Return the file, the server's context and the SHA-256 fingerprint of a new self-signed certificate.

    It is for 127.0.0.1 and localhost.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    directory.mkdir(parents=True, exist_ok=True)
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_file, key_file)
    return cert_file, context, certificate.fingerprint(hashes.SHA256()).hex(":").upper()
