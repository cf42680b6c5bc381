"""One lasting link to a server: connect, log in, ask, be pushed to, and do it again when it breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from rtoc_twisted.client.backoff import Backoff
from rtoc_twisted.client.conversation import (
    Answered,
    Conversation,
    Happening,
    Ignored,
    Pushed,
    Refused,
    Subscriptions,
)
from rtoc_twisted.client.failures import ConnectionLost, LoginRefused, RequestFailed, RequestTimedOut
from rtoc_twisted.client.frames import Frames
from rtoc_twisted.client.pushes import PushStream
from rtoc_twisted.client.transport import Connect, Transport
from rtoc_twisted.client.trust import Credentials
from rtoc_twisted.errors import RTOCError

log = logging.getLogger("rtoc_twisted.client")

Sleep = Callable[[float], Awaitable[None]]


class Link:
    """Keep a conversation with a server going over one connection after the other.

    connect: makes a connection; frames: how it is written; timeout: seconds for a request and its answer;
    reconnect: go on after a connection broke; patient: also wait for a server that is not there yet.
    """

    def __init__(
        self,
        connect: Connect,
        frames: Frames,
        credentials: Credentials,
        *,
        timeout: float,
        reconnect: bool,
        patient: bool,
        backoff: Backoff,
        sleep: Sleep,
    ) -> None:
        self.subscriptions = Subscriptions()
        self._connect = connect
        self._frames = frames
        self._credentials = credentials
        self._timeout = timeout
        self._reconnect = reconnect
        self._patient = patient
        self._backoff = backoff
        self._sleep = sleep
        self._was_open = False
        self._waits = patient
        self._conversation = Conversation(frames)
        self._pending: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._streams: set[PushStream] = set()
        self._sending = asyncio.Lock()
        self._transport: Transport | None = None
        self._opened: asyncio.Future[Transport] | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has, or tries to get, a connection."""
        return self._keeper is not None and not self._keeper.done()

    async def open(self, wait: bool = True) -> None:
        """Connect and log in; return when requests can be made.

        CannotConnect (unless patient), LoginRefused. With wait False it returns at once, and is patient.
        Does nothing on an open link.
        """
        if not self.is_open:
            self._was_open = False
            self._waits = self._patient or not wait
            self._opened = asyncio.get_running_loop().create_future()
            self._keeper = asyncio.create_task(self._keep_open())
        if wait:
            await self.ready()

    async def close(self) -> None:
        """Close the connection and stop; requests without an answer raise ConnectionLost."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        self._end(None)

    async def request(self, fields: Mapping[str, Any], transport: Transport | None = None) -> dict[str, Any]:
        """Send a request and return its answer.

        While there is no connection it waits for one, within the time-out; with a transport it goes over
        that one or none. Raises RequestFailed, RequestTimedOut, ConnectionLost, LoginRefused; TypeError
        for what cannot be written as JSON.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(transport or await self.ready(), fields)
        except TimeoutError:
            raise RequestTimedOut(f"no answer within {self._timeout:g} s") from None

    async def login(self, credentials: Credentials) -> None:
        """Log in again, with other credentials, and use them from now on; LoginRefused."""
        await self.request({"authorize": credentials.authorize()})
        self._credentials = credentials

    def pushes(self, limit: int) -> PushStream:
        """Return a stream of the pushes from now on."""
        stream = PushStream(limit, self._streams.discard)
        self._streams.add(stream)
        return stream

    async def ready(self) -> Transport:
        """Return the connection, waiting for it as long as the link is open; raises what ended the link."""
        if self._opened is None:
            raise ConnectionLost("the client is not open")
        return await asyncio.shield(self._opened)

    async def _keep_open(self) -> None:
        while True:
            try:
                await self._converse()
            except RTOCError as failure:
                again = self._reconnect if self._was_open else self._waits
                if not again or not failure.retriable:
                    return self._end(failure)
                delay = self._backoff.delay()
                log.warning("%s; next try in %.1f s", failure.message, delay)
                await self._sleep(delay)
            except Exception as failure:
                # Whoever waits for this task's work must hear of its end, whatever ended it.
                log.exception("the client stopped")
                return self._end(ConnectionLost(f"the client stopped: {failure!r}"))

    async def _converse(self) -> None:
        """Hold one connection from connect to loss; always raises."""
        transport = await self._connect()
        self._conversation = Conversation(self._frames)
        self._transport = transport
        reader = asyncio.create_task(self._read(transport))
        try:
            await self._greet(transport)
            self._was_open = True
            self._backoff.reset()
            if self._opened is not None:
                self._opened.set_result(transport)
            raise await reader
        finally:
            if self._opened is None or self._opened.done():
                self._opened = asyncio.get_running_loop().create_future()
            reader.cancel()
            self._fail_pending(ConnectionLost("the connection was closed"))
            await transport.close()

    async def _greet(self, transport: Transport) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                await self._exchange(transport, {"authorize": self._credentials.authorize()})
                for fields in self.subscriptions.requests():
                    await self._exchange(transport, fields)
        except TimeoutError:
            raise ConnectionLost("no answer to the login in time") from None

    async def _exchange(self, transport: Transport, fields: Mapping[str, Any]) -> dict[str, Any]:
        # Frames must leave in the order of their numbers, for servers that answer in order only.
        async with self._sending:
            if transport is not self._transport:
                raise ConnectionLost("the connection was lost")
            number, frame = self._conversation.request(fields)
            pending: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
            self._pending[number] = pending
            try:
                await transport.send(frame)
            except BaseException:
                # The reader may have noticed first, and failed it; nobody will wait for it.
                self._pending.pop(number, None)
                if not pending.cancel():
                    pending.exception()
                raise
        try:
            answer = await pending
        finally:
            self._pending.pop(number, None)
        if answer.get("error"):
            raise RequestFailed(answer)
        return answer

    async def _read(self, transport: Transport) -> ConnectionLost:
        while True:
            try:
                frame = await transport.receive()
            except ConnectionLost as failure:
                self._transport = None
                self._fail_pending(failure)
                return failure
            for happening in self._conversation.received(frame):
                self._happened(happening)

    def _happened(self, happening: Happening) -> None:
        match happening:
            case Answered(request, answer):
                self._settle(request, answer)
            case Refused(int(request)):
                self._settle(request, LoginRefused("the server refuses the login, or asks for one"))
            case Pushed(push):
                for stream in self._streams:
                    stream.put(push)
            case Ignored(reason):
                log.warning("ignored a message of the server: %s", reason)

    def _settle(self, request: int, outcome: dict[str, Any] | RTOCError) -> None:
        pending = self._pending.pop(request, None)
        if pending is None or pending.done():
            return
        if isinstance(outcome, RTOCError):
            pending.set_exception(outcome)
        else:
            pending.set_result(outcome)

    def _fail_pending(self, failure: RTOCError) -> None:
        for request in list(self._pending):
            self._settle(request, failure)

    def _end(self, failure: RTOCError | None) -> None:
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(failure or ConnectionLost("the client is closed"))
            # Nobody may be waiting: that is no error of its own.
            self._opened.exception()
        for stream in self._streams:
            stream.end(failure)
        self._streams.clear()
