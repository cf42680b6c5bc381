"""Raw clients: ready frames out, answers counted, as little work a message as Python allows.

RFC 6455: the handshake of section 4, frames as section 5.2 has them, fragments as section 5.4 does.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import orjson

from .peer import ANSWER

_FINAL = 0x80
_TEXT = 0x81
_PING = 0x89
_FRAMES = (_TEXT, _TEXT ^ _FINAL, 0, _FINAL, _PING)
"""What may come: text, the first, middle and last fragments of text, pings."""
_MASK = b"\x9d\x27\x5e\xa3"
_READ = 1 << 18
PATIENCE = 10.0
"""Seconds without a byte after which a server has failed."""

_EXPECTED = bytes((_TEXT, len(ANSWER))) + ANSWER
_PUSHES = (b'{"signal"', b'{"event"', b'{"client"', b'{"pluginList"')


class ServerFailed(Exception):
    """A server fell silent, hung up, or answered something else than that it took the message."""


def masked_frame(payload: bytes) -> bytes:
    """Return a client's frame of a UTF-8 payload: text, masked, unfragmented."""
    if len(payload) < 126:
        head = bytes((_TEXT, 128 | len(payload)))
    elif len(payload) < 1 << 16:
        head = bytes((_TEXT, 128 | 126)) + len(payload).to_bytes(2, "big")
    else:
        head = bytes((_TEXT, 128 | 127)) + len(payload).to_bytes(8, "big")
    plain = np.frombuffer(payload, np.uint8)
    masked = plain ^ np.resize(np.frombuffer(_MASK, np.uint8), len(plain))
    return head + _MASK + masked.tobytes()


class Answers:
    """Reads a server's messages out of its bytes, however those are cut, and the messages into fragments."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._message = bytearray()
        self._first = 0
        self._left = 0

    def count(self, data: bytes) -> int:
        """Return how many answers the next bytes complete; raises ServerFailed if one is a refusal."""
        self._rest += data
        whole = 0 if self._left else len(self._rest) // len(_EXPECTED)
        if whole and self._rest.startswith(_EXPECTED * whole):
            # Nearly always: no need to look at each.
            del self._rest[: whole * len(_EXPECTED)]
        else:
            whole = 0
        payloads = self.payloads()
        refused = next((payload for payload in payloads if payload != ANSWER), None)
        if refused is not None:
            raise ServerFailed(f"refused: {refused[:200].decode(errors='replace')}")
        return whole + len(payloads)

    def payloads(self, data: bytes = b"") -> list[bytearray]:
        """Return the messages that the next bytes complete, pushes left out."""
        self._rest += data
        found = []
        while self._left or self._begin():
            part = self._rest[: self._left]
            del self._rest[: len(part)]
            self._left -= len(part)
            if self._first == _PING:
                continue
            self._message += part
            if self._left:
                break
            if self._first & _FINAL:
                found.append(self._message)
                self._message = bytearray()
        return [payload for payload in found if not payload.startswith(_PUSHES)]

    def _begin(self) -> bool:
        """Take the head of the next frame, if it is there; a short frame waits until all of it is."""
        rest = self._rest
        if len(rest) < 2:
            return False
        first, length = rest[0], rest[1]
        if first not in _FRAMES:
            raise ServerFailed(f"an unexpected frame: {bytes(rest[:200])!r}")
        body = 2 + {126: 2, 127: 8}.get(length, 0)
        if len(rest) < (body if length >= 126 else body + length):
            return False
        self._first = first
        self._left = int.from_bytes(rest[2:body], "big") if length >= 126 else length
        del rest[:body]
        return True


class Client:
    """One connection to a server.

    port: on the loopback interface. Raises ServerFailed if there is no handshake.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answers = Answers()
        self._shake_hands(port)

    def _shake_hands(self, port: int) -> None:
        self.socket.sendall(
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        reply = b""
        while b"\r\n\r\n" not in reply:
            reply += self._receive()
        head, _, early = reply.partition(b"\r\n\r\n")
        if b" 101 " not in head.partition(b"\r\n")[0]:
            raise ServerFailed(f"no handshake: {head.decode(errors='replace')}")
        self._answers.payloads(early)

    def _receive(self) -> bytes:
        try:
            data = self.socket.recv(_READ)
        except TimeoutError:
            raise ServerFailed(f"nothing came for {PATIENCE:.0f} s") from None
        if not data:
            raise ServerFailed("the server hung up")
        return data

    def answers(self) -> int:
        """Receive once; return how many answers that completed. Raises ServerFailed on a refusal."""
        return self._answers.count(self._receive())

    def payloads(self) -> list[bytearray]:
        """Receive once; return the messages that that completed."""
        return self._answers.payloads(self._receive())

    def answer(self, frame: bytes) -> bytearray:
        """Send a request and return the payload of its answer; raises ServerFailed if none comes in time."""
        self.socket.sendall(frame)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            for payload in self.payloads():
                return payload
        raise ServerFailed("no answer in time")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return its answer; raises ServerFailed if none comes in time, or an error."""
        answer: dict[str, Any] = orjson.loads(self.answer(masked_frame(orjson.dumps(request))))
        if answer["error"]:
            raise ServerFailed(f"refused: {answer['errors']}")
        return answer

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


class _Sender:
    """A client that keeps its window full.

    blocks: what it sends in turn, each with its number of messages; window: messages that may wait
    for their answers.
    """

    def __init__(self, client: Client, blocks: Sequence[tuple[bytes, int]], window: int) -> None:
        self.client = client
        self._blocks = cycle(blocks)
        self._size = blocks[0][1]
        self._window = window
        self._unsent = memoryview(b"")
        self.waiting = 0
        self.acknowledged = 0
        client.socket.setblocking(False)

    def receive(self) -> None:
        """Count the answers that came."""
        count = self.client.answers()
        self.waiting -= count
        self.acknowledged += count

    def send(self, more: bool) -> bool:
        """Send what is left of a block and, if `more`, what the window takes; return whether any is left."""
        while True:
            if not self._unsent:
                if not more or self.waiting + self._size > self._window:
                    return False
                block, count = next(self._blocks)
                self._unsent = memoryview(block)
                self.waiting += count
            try:
                self._unsent = self._unsent[self.client.socket.send(self._unsent) :]
            except BlockingIOError:
                return True


def pump(clients: Sequence[tuple[Client, Sequence[tuple[bytes, int]]]], window: int, seconds: float) -> int:
    """Keep each client's window full for some seconds, then wait for what is under way.

    clients: each with its blocks. Returns how many messages were acknowledged, which is how many were
    sent. Raises ServerFailed.
    """
    senders = [_Sender(client, blocks, window) for client, blocks in clients]
    with selectors.DefaultSelector() as selector:
        asked = dict.fromkeys(senders, selectors.EVENT_READ)
        for sender, events in asked.items():
            selector.register(sender.client.socket, events, sender)
        deadline = time.perf_counter() + seconds
        ready = [(sender, 0) for sender in senders]
        while True:
            more = time.perf_counter() < deadline
            for sender, events in ready:
                if events & selectors.EVENT_READ:
                    sender.receive()
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if sender.send(more) else 0)
                if wanted != asked[sender]:
                    asked[sender] = wanted
                    selector.modify(sender.client.socket, wanted, sender)
            if not more and not any(sender.waiting for sender in senders):
                return sum(sender.acknowledged for sender in senders)
            ready = [(key.data, events) for key, events in selector.select(PATIENCE)]
            if not ready:
                raise ServerFailed(f"nothing came for {PATIENCE:.0f} s")


def ping_pong(client: Client, frames: Sequence[bytes], seconds: float) -> list[float]:
    """Send one frame after the other, each when the one before is answered; return the seconds each took."""
    send, answers, clock = client.socket.sendall, client.answers, time.perf_counter
    took: list[float] = []
    deadline = clock() + seconds
    for frame in cycle(frames):
        start = clock()
        if start >= deadline and took:
            return took
        send(frame)
        while not answers():
            pass
        took.append(clock() - start)
    return took
