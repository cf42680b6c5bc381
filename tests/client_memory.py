"""Connections and servers in memory for tests of the clients: no sockets, no waiting."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from rtoc_twisted.client import Client, ConnectionLost
from rtoc_twisted.client.backoff import Backoff
from rtoc_twisted.client.transport import Transport

Reply = Callable[[dict[str, Any]], list[dict[str, Any]]]


class Line:
    """A Transport whose other end answers each request at once; without a reply it stays silent."""

    def __init__(self, reply: Reply) -> None:
        self.requests: list[dict[str, Any]] = []
        self.closed = False
        self._reply = reply
        self._incoming: asyncio.Queue[dict[str, Any] | ConnectionLost] = asyncio.Queue()

    async def send(self, frame: str) -> None:
        if self.closed:
            raise ConnectionLost("closed")
        request = json.loads(frame)
        self.requests.append(request)
        for message in self._reply(request):
            self.push(message)

    async def receive(self) -> str:
        message = await self._incoming.get()
        if isinstance(message, ConnectionLost):
            raise message
        return json.dumps(message)

    async def close(self) -> None:
        self.closed = True

    def push(self, message: dict[str, Any]) -> None:
        self._incoming.put_nowait(message)

    def cut(self, close_code: int | None = None) -> None:
        self.closed = True
        self._incoming.put_nowait(ConnectionLost("cut", close_code))

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The requests without their numbers."""
        return [{key: value for key, value in it.items() if key != "id"} for it in self.requests]


class Exchange:
    """Makes lines, or fails to, as the test wants; sleeps are noted and take no time."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.lines: list[Line] = []
        self.failures: list[Exception] = []
        self.sleeps: list[float] = []

    async def connect(self) -> Transport:
        if self.failures:
            raise self.failures.pop(0)
        self.lines.append(Line(self.reply))
        return self.lines[-1]

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        await asyncio.sleep(0)

    async def break_line(self) -> None:
        """Cut the newest line and let the client notice."""
        before = len(self.sleeps)
        self.lines[-1].cut()
        while len(self.sleeps) == before:
            await asyncio.sleep(0)

    def client(self, **options: Any) -> Client:
        backoff = Backoff(lambda: 1.0, first=1.0)
        return Client(connect=self.connect, sleep=self.sleep, backoff=backoff, **options)


def with_answers(**answers: Any) -> Reply:
    """Return a reply that echoes the number and gives each key its answer; logins are accepted."""

    def reply(request: dict[str, Any]) -> list[dict[str, Any]]:
        found = {"error": False, "id": request["id"]}
        for key in request:
            found |= answers.get(key, {})
        return [{"authorized": True}, found] if "authorize" in request else [found]

    return reply


class Batches:
    """The rule of `batch`: a pair (source, seq) that was seen is acknowledged, and not stored again."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, int]] = set()

    def answer(self, request: dict[str, Any], store: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Store the values of a request unless that was done; return what to answer."""
        batch = request.get("batch")
        if batch is None:
            store(request)
            return {"sent": True}
        pair, count = (batch["source"], batch["seq"]), len(request["y"])
        new = pair not in self._seen
        if new:
            store(request)
            self._seen.add(pair)
        counts = {"accepted": count if new else 0, "duplicate": 0 if new else count}
        return {"sent": True, "batch": {**batch, **counts}}


class Store:
    """A server that keeps what it is sent, each batch once, in order, and knows what it had to say.

    faults: what to do to the next messages of values, one each; all is well when they are used up: "before",
    "after": break the connection before or after storing; an answer: give that, and store nothing;
    a number: close the connection with that code; None: all is well.
    """

    def __init__(self, *faults: Any) -> None:
        self.exchange = Exchange(self.reply)
        self.faults = list(faults)
        self.stored: list[dict[str, Any]] = []
        self._batches = Batches()

    def reply(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        if "y" not in request:
            return [{"error": False, "id": request["id"]}]
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, dict):
            return [{**fault, "id": request["id"]}]
        if fault == "before" or isinstance(fault, int):
            self.exchange.lines[-1].cut(fault if isinstance(fault, int) else None)
            return []
        answer = self._batches.answer(request, self.stored.append)
        if fault == "after":
            self.exchange.lines[-1].cut()
            return []
        return [{"error": False, "id": request["id"], **answer}]

    @property
    def values(self) -> list[Any]:
        """The first value of each message stored."""
        return [request["y"][0] for request in self.stored]

    @property
    def numbers(self) -> list[int]:
        """The numbers of the messages that came, in order, again and again."""
        return [it["batch"]["seq"] for line in self.exchange.lines for it in line.asked if "batch" in it]


def failed(code: str, retriable: bool = False) -> dict[str, Any]:
    told = {"key": "y", "code": code, "message": "y: no", "retriable": retriable}
    return {"error": True, "sent": False, "errors": [told]}
