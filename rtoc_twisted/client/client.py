"""The asyncio client: a method for every key of the protocol."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from rtoc_twisted.client.backoff import Backoff
from rtoc_twisted.client.diskqueue import DiskQueue
from rtoc_twisted.client.failures import RequestFailed
from rtoc_twisted.client.fields import Ack, Hold, plot_fields, sample_fields
from rtoc_twisted.client.frames import CipherFrames, Frames, PlainFrames
from rtoc_twisted.client.link import Link, Sleep
from rtoc_twisted.client.pushes import PushStream
from rtoc_twisted.client.queue import Limits, MemoryQueue, Queue, WhenFull
from rtoc_twisted.client.reading import Reading
from rtoc_twisted.client.sender import Refusal, Sender
from rtoc_twisted.client.transport import Connect, websocket_connector
from rtoc_twisted.client.trust import Credentials, Trust
from rtoc_twisted.client.values import ActionResult, action_of
from rtoc_twisted.errors import BadValue

DEFAULT_URL = "ws://localhost:5050"


class Client(Reading):
    """A client of an RTOC server, for asyncio.

    Use it as `async with Client(url) as client:`, or with open() and close(). When the connection breaks
    it connects, logs in and subscribes again by itself; requests made meanwhile wait for that.

    url: ws:// or wss://. credentials, trust: see there. cipher: speak the password cipher of the original
    (needs a password; never needed over wss). frames: another way to write messages, as PackedFrames.
    timeout: seconds for a connection and for each request. reconnect: False ends the client with its first
    connection. patient: wait for a server that is not there yet instead of raising CannotConnect.
    connect, sleep, backoff: for those who bring their own.

    Every method that asks the server raises RequestFailed where it answers with an error, and
    RequestTimedOut, ConnectionLost or LoginRefused.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        credentials: Credentials | None = None,
        trust: Trust | None = None,
        cipher: bool = False,
        frames: Frames | None = None,
        timeout: float = 10.0,
        reconnect: bool = True,
        patient: bool = False,
        connect: Connect | None = None,
        sleep: Sleep = asyncio.sleep,
        backoff: Backoff | None = None,
    ) -> None:
        credentials = credentials or Credentials()
        self._sleep = sleep
        self._link = Link(
            connect or websocket_connector(url, trust or Trust(), timeout),
            frames or _frames(credentials, cipher),
            credentials,
            timeout=timeout,
            reconnect=reconnect,
            patient=patient,
            backoff=backoff or Backoff(random.random),
            sleep=sleep,
        )

    async def __aenter__(self) -> Self:
        """Open the client."""
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        await self.close()

    async def open(self) -> None:
        """Connect and log in; CannotConnect, CertificateRefused, LoginRefused."""
        await self._link.open()

    async def close(self) -> None:
        """Close the connection; it can be opened again."""
        await self._link.close()

    async def request(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Send any mix of the protocol's keys and return the answer, without its `id`."""
        return await self._link.request(fields)

    async def login(self, credentials: Credentials) -> None:
        """Log in with other credentials on the open connection, and from now on."""
        await self._link.login(credentials)

    async def store(self, fields: Mapping[str, Any]) -> None:
        """Send a request with values in the protocol's own keys (y, x, sname, dname, unit, plot, hold).

        Returns when they are stored; RequestFailed if the answer does not say so.
        """
        answer = await self.request(fields)
        if answer.get("sent") is not True:
            raise RequestFailed(answer)

    async def send(
        self,
        device: str,
        values: Mapping[str, float],
        *,
        units: Mapping[str, str] | None = None,
        x: float | Sequence[float] | None = None,
        ack: Ack = "stored",
    ) -> None:
        """Append one value to each of a device's signals; return when they are stored.

        values: signal name -> value. units: signal name -> unit. x: one for all values or one each;
        None: the server's time, in seconds since the epoch. ack: return when the server has "received"
        them, has them "stored" safe from a crash, or "durable", safe from a power cut, too.
        """
        await self.store(sample_fields(device, values, units, x) | _asked(ack))

    async def plot(
        self,
        device: str,
        signal: str,
        y: Sequence[float],
        *,
        x: Sequence[float] | None = None,
        unit: str = "",
        hold: Hold = "off",
        ack: Ack = "stored",
    ) -> None:
        """Send a whole signal, y[n] over x[n]; return when it is stored.

        x None: the indices of y. hold: what becomes of the samples that the signal has: "off" replaces
        them, "on" appends, "mergeX" and "mergeY" append the pairs whose x or y is new. ack: as for `send`.
        """
        await self.store(plot_fields(device, signal, y, x, unit, hold) | _asked(ack))

    def sender(
        self,
        path: str | Path | None = None,
        *,
        limit: int = Limits.messages,
        limit_size: int = Limits.size,
        when_full: WhenFull | Literal["wait"] = "refuse",
        fsync: bool = False,
        ack: Literal["stored", "durable"] = "stored",
        on_refused: Refusal | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Sender:
        """Return a Sender, whose values wait on this side while the server is away, and come exactly once.

        It can be entered before the client is open; then it opens the client, without waiting for the server.
        path: a directory to wait in, which outlives this process (see DiskQueue, fsync too); None: memory.
        limit, limit_size: messages, and characters, that may wait; when_full: see Limits, or "wait" for room.
        ack: as for `send`. on_refused: called with the fields of a message refused for good, and the failure.
        """
        kept: WhenFull = "refuse" if when_full == "wait" else when_full
        limits = Limits(limit, limit_size, kept)

        def open_queue() -> Queue:
            return MemoryQueue(limits) if path is None else DiskQueue(path, limits, fsync=fsync)

        return Sender(
            self._link,
            open_queue,
            clock=clock,
            sleep=self._sleep,
            backoff=Backoff(random.random),
            wait=when_full == "wait",
            durable=ack == "durable",
            on_refused=on_refused,
        )

    async def event(
        self,
        text: str,
        *,
        device: str = "noDevice",
        signal: str = "noName",
        x: float | None = None,
        priority: int = 0,
        action_id: str | None = None,
        value: Any = None,
    ) -> None:
        """Raise an event; return when it is kept.

        x: seconds since the epoch, None: now. priority: 0 information, 1 warning, 2 error. action_id: the
        name that actions listen for. value: anything that JSON can hold.
        """
        fields = {"text": text, "dname": device, "sname": signal, "priority": priority}
        optional = {"x": x, "id": action_id, "value": value}
        await self.request({"event": fields | {key: it for key, it in optional.items() if it is not None}})

    async def remove_signals(self, keys: Iterable[str]) -> tuple[int, int]:
        """Remove signals by "device.signal"; return how many signals and events went."""
        return await self._remove(["signal", list(keys)])

    async def remove_device(self, device: str) -> tuple[int, int]:
        """Remove a device with its signals; return how many signals and events went."""
        return await self._remove(["device", device])

    async def remove_events(self, numbers: Iterable[int]) -> tuple[int, int]:
        """Remove events by their numbers; return how many signals (0) and events went."""
        return await self._remove(["event", list(numbers)])

    async def logger(self, **calls: Any) -> dict[str, Any]:
        """Make calls of the `logger` key (clear, resize, export, info, backup, ..); return their results."""
        return await self._ask({"logger": calls}, "logger", dict)

    async def plugin_list(self) -> dict[str, Any]:
        """Return {name: {functions, parameters, status, autorun, info, log}} of all plugins."""
        return await self._ask({"getPluginList": True}, "pluginList", dict)

    async def plugin(self, name: str, calls: Mapping[str, Any]) -> dict[str, Any]:
        """Make calls of one plugin, as {"start": True}, {"get": "p"}, {"p": 5}, {"fun()": [args]}.

        Returns the same keys with their results (protocol section 5).
        """
        return await self._ask({"plugin": {name: calls}}, "plugin", lambda found: dict(found[name]))

    async def user_action(self, name: str) -> ActionResult:
        """Run a user action and return what it gave; its failure is told by `success`."""
        return await self._ask({"userAction": name}, "userAction", action_of)

    async def automation(self, **calls: Any) -> dict[str, Any]:
        """Make calls of the `automation` key; return all events, actions and the calls' results."""
        return await self._ask({"automation": calls}, "automation", dict)

    async def hello(self) -> dict[str, Any]:
        """Return what the server says of itself; empty from servers that do not know the key."""
        found: dict[str, Any] = (await self.request({"hello": True})).get("hello", {})
        return found

    async def event_level(self, level: int) -> None:
        """Have only events of this priority or above pushed: 0, 1 or 2."""
        await self.request({"eventLevel": level})
        self._link.subscriptions.event_level(level)

    def pushes(self, limit: int = 10_000) -> PushStream:
        """Return an async iterator over the pushes from now on; see PushStream for a slow reader."""
        return self._link.pushes(limit)

    async def subscribe(self, *, signal: str | None = None, device: str | None = None) -> None:
        """Have the values of one signal ("device.signal", existing or not) or of a device pushed."""
        await self._subscribe(signal, device, on=True)

    async def unsubscribe(self, *, signal: str | None = None, device: str | None = None) -> None:
        """Undo subscribe(), or make an exception to subscribe_all()."""
        await self._subscribe(signal, device, on=False)

    async def subscribe_all(self) -> None:
        """Have the values of all signals pushed, present and future."""
        await self.request({"subscribeAll": True})
        self._link.subscriptions.everything(on=True)

    async def unsubscribe_all(self) -> None:
        """Have no more values pushed."""
        await self.request({"unsubscribeAll": True})
        self._link.subscriptions.everything(on=False)

    async def _subscribe(self, signal: str | None, device: str | None, on: bool) -> None:
        for kind, name in (("signal", signal), ("device", device)):
            if name is not None:
                await self.request({"subscribe" if on else "unsubscribe": [kind, name]})
                self._link.subscriptions.single(kind, name, on)

    async def _remove(self, what: list[Any]) -> tuple[int, int]:
        def counts(found: Any) -> tuple[int, int]:
            signals, events = found
            return signals, events

        return await self._ask({"remove": what}, "remove", counts)


def _asked(ack: Ack) -> dict[str, Any]:
    return {} if ack == "stored" else {"ack": ack}


def _frames(credentials: Credentials, cipher: bool) -> Frames:
    if not cipher:
        return PlainFrames()
    if credentials.password is None:
        raise BadValue("the cipher needs a password")
    return CipherFrames(credentials.password)
