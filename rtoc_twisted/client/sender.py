"""Values that wait here while the server is away, and reach it exactly once."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from rtoc_twisted.client.backoff import Backoff
from rtoc_twisted.client.failures import ConnectionLost, QueueFull, RequestFailed
from rtoc_twisted.client.fields import Hold, plot_fields, sample_fields
from rtoc_twisted.client.frames import PlainFrames
from rtoc_twisted.client.link import Link, Sleep
from rtoc_twisted.client.queue import Entry, Queue
from rtoc_twisted.client.transport import Transport
from rtoc_twisted.errors import NotPermitted, RTOCError

log = logging.getLogger("rtoc_twisted.client")

Refusal = Callable[[dict[str, Any], RTOCError], object]
"""Called with a message that the server refuses for good, and why."""

WINDOW = 64
"""Messages that may be on their way at once."""

WINDOW_SIZE = 256 * 1024
"""Characters that may be on their way at once, beside one message of any length."""

_OWN_KEYS = ("ack", "batch", "id")

_TOO_BIG = 1009
"""The close code for a message that is too big (RFC 6455 section 7.4.1)."""


@dataclass(slots=True)
class Counters:
    """What became of the messages so far.

    queued: taken; sent: tries to send one, the same again included; acknowledged: stored by the
    server; duplicates: those of them that it had from an earlier try; refused: by the server, for good;
    dropped: for want of room; waiting: for the server, now, those found on disk included.
    """

    queued: int = 0
    sent: int = 0
    acknowledged: int = 0
    duplicates: int = 0
    refused: int = 0
    dropped: int = 0
    waiting: int = 0


class Sender:
    """Takes messages at once, and sends them in order over a link, each until the server has stored it.

    It is entered with `async with`; what waits is sent by a task of its own. After a lost connection, a
    time-out or a failure that will pass, it begins again with the oldest under the same numbers, of which
    the server stores each once. What was on its way behind a message that such a failure met may be stored
    before it. Leaving waits until everything is acknowledged; an exception, Ctrl-C too, leaves at once, and
    what a queue on disk holds then waits there for the next run.

    A message that the server refuses for good is given to `on_refused`; without one the first is logged.
    An account that may not send, and whatever else ends the client, end the sender: nothing is lost, and
    every call raises the cause.

    link: opened at entering, without waiting for the server, and closed at leaving, unless it is open.
    open_queue: called at entering. clock: seconds since the epoch. wait: where the queue is full, wait
    for room. durable: count only what is safe from a power cut at the server as acknowledged.
    """

    def __init__(
        self,
        link: Link,
        open_queue: Callable[[], Queue],
        *,
        clock: Callable[[], float],
        sleep: Sleep,
        backoff: Backoff,
        wait: bool = False,
        durable: bool = False,
        on_refused: Refusal | None = None,
    ) -> None:
        self._link = link
        self._open_queue = open_queue
        self._clock = clock
        self._sleep = sleep
        self._backoff = backoff
        self._wait = wait
        self._companions = {"ack": "durable"} if durable else {}
        self._on_refused = on_refused
        self._frames = PlainFrames()
        self._counters = Counters()
        self._owns_link = False
        self._knows_batch = True
        self._width = 1
        self._size = 0
        self._flights: set[asyncio.Task[None]] = set()
        self._trouble: BaseException | None = None
        self._failure: RTOCError | None = None
        self._work = asyncio.Event()
        self._progress = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Open the queue, and begin to send what is in it; see there for what it raises."""
        self._queue = self._open_queue()
        self._owns_link = not self._link.is_open
        if self._owns_link:
            await self._link.open(wait=False)
        self._runner = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; if there was no exception, after everything is acknowledged."""
        try:
            if kind is None:
                await self.flush()
        finally:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)
            self._queue.close()
            if self._owns_link:
                await self._link.close()

    @property
    def counters(self) -> Counters:
        """What became of the messages so far."""
        return replace(self._counters, dropped=self._queue.dropped, waiting=len(self._queue))

    async def send(
        self,
        device: str,
        values: Mapping[str, float],
        *,
        units: Mapping[str, str] | None = None,
        x: float | Sequence[float] | None = None,
    ) -> None:
        """Queue one value for each of a device's signals, as Client.send; x None: the time here, now.

        Raises QueueFull or TooLarge; StorageFailed where a queue on disk cannot be written.
        """
        await self.store(sample_fields(device, values, units, x))

    async def plot(
        self,
        device: str,
        signal: str,
        y: Sequence[float],
        *,
        x: Sequence[float] | None = None,
        unit: str = "",
        hold: Hold = "off",
    ) -> None:
        """Queue a whole signal, as Client.plot; raises as send()."""
        await self.store(plot_fields(device, signal, y, x, unit, hold))

    async def store(self, fields: Mapping[str, Any]) -> None:
        """Queue a request with values in the protocol's own keys; raises as send().

        Values without x get the time here, now. `ack` and `batch` are the sender's own, and left out of what
        is given. TypeError for what cannot be written as JSON.
        """
        given = {key: value for key, value in fields.items() if key not in _OWN_KEYS}
        text = self._frames.encode({**self._stamped(given), **self._companions})
        while True:
            if self._failure is not None:
                raise self._failure
            try:
                taken = self._queue.add(text)
                break
            except QueueFull:
                if not self._wait:
                    raise
            await self._progress.wait()
        self._counters.queued += int(taken)
        self._work.set()
        # Room may have been made at the cost of what somebody waits for.
        self._tell_progress()
        # Whoever queues in a loop lets the others work.
        await asyncio.sleep(0)

    async def flush(self) -> None:
        """Return when everything queued so far is acknowledged, refused or dropped.

        Raises what ended the sender, if something did.
        """
        target = self._queue.next_seq
        while self._queue.oldest < target:
            if self._failure is not None:
                raise self._failure
            await self._progress.wait()

    def _stamped(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        if fields.get("plot") or fields.get("x") is not None:
            return fields
        y = fields["y"]
        now = self._clock()
        return {**fields, "x": [now] * len(y) if isinstance(y, (list, tuple)) else now}

    async def _run(self) -> None:
        try:
            while True:
                trouble = await self._begin_again(await self._link.ready())
                delay = self._backoff.delay()
                log.warning("%s; what waits is sent again in %.1f s", trouble.message, delay)
                await self._sleep(delay)
        except RTOCError as failure:
            self._end(failure)
        except Exception as failure:
            # Whoever waits for this task's work must hear of its end, whatever ended it.
            log.exception("the sender stopped")
            self._end(ConnectionLost(f"the sender stopped: {failure!r}"))

    def _end(self, failure: RTOCError) -> None:
        log.error("%s; messages that wait: %d", failure.message, len(self._queue))
        self._failure = failure
        self._tell_progress()

    async def _begin_again(self, transport: Transport) -> RTOCError:
        """Send what waits, from the oldest on, and what comes, all over one connection.

        Returns the trouble that calls for another beginning, once nothing is on its way any more, so that
        nothing overtakes what is sent again; raises any other.
        """
        self._trouble, self._width = None, 1
        reached = -1
        try:
            while self._trouble is None:
                self._work.clear()
                while self._has_room() and (entry := self._queue.after(reached)) is not None:
                    reached = entry.seq
                    self._launch(transport, entry)
                await self._work.wait()
            while self._flights:
                await asyncio.wait(self._flights)
        finally:
            for flight in self._flights:
                flight.cancel()
        if isinstance(self._trouble, RTOCError) and self._trouble.retriable:
            return self._trouble
        raise self._trouble

    def _has_room(self) -> bool:
        return len(self._flights) < self._width and self._size < WINDOW_SIZE

    def _launch(self, transport: Transport, entry: Entry) -> None:
        def landed(flight: asyncio.Task[None]) -> None:
            self._flights.discard(flight)
            self._size -= len(entry.text)
            failure = None if flight.cancelled() else flight.exception()
            self._trouble = self._trouble or failure
            self._work.set()

        self._size += len(entry.text)
        self._counters.sent += 1
        flight = asyncio.create_task(self._deliver(transport, entry))
        self._flights.add(flight)
        flight.add_done_callback(landed)

    async def _deliver(self, transport: Transport, entry: Entry) -> None:
        """Send a message and settle what the server says for good; raises what is to be tried again."""
        fields = json.loads(entry.text)
        batch = {"source": self._queue.source, "seq": entry.seq}
        try:
            answer = await self._link.request({**fields, "batch": batch}, transport)
            if answer.get("sent") is not True:
                raise RequestFailed(answer)
        except RTOCError as failure:
            # With a width of one, nothing else can have been too big.
            too_big = isinstance(failure, ConnectionLost) and failure.close_code == _TOO_BIG
            if not (too_big and self._width == 1) and not _is_about_the_message(failure):
                raise
            self._refused(entry, fields, failure)
        else:
            self._acknowledged(entry, answer.get("batch"))
        self._tell_progress()

    def _acknowledged(self, entry: Entry, batch: object) -> None:
        self._backoff.reset()
        # From one on its way to many, within some round trips.
        self._width = min(WINDOW, self._width + 1)
        if not isinstance(batch, dict) and self._knows_batch:
            self._knows_batch = False
            log.warning("the server does not know `batch`: after a lost connection values may come twice")
        if self._queue.remove(entry.seq):
            self._counters.acknowledged += 1
            self._counters.duplicates += int(isinstance(batch, dict) and bool(batch.get("duplicate")))

    def _refused(self, entry: Entry, fields: dict[str, Any], failure: RTOCError) -> None:
        if not self._queue.remove(entry.seq):
            return
        self._counters.refused += 1
        if self._on_refused is None:
            if self._counters.refused == 1:
                log.error("the server refuses a message for good, and so perhaps others: %s", failure.message)
            return
        try:
            self._on_refused(fields, failure)
        except Exception:
            log.exception("the callback on_refused failed")

    def _tell_progress(self) -> None:
        self._progress.set()
        self._progress.clear()


def _is_about_the_message(failure: RTOCError) -> bool:
    """Whether the server will never take this message, but may take others."""
    return isinstance(failure, RequestFailed) and not failure.retriable and failure.code != NotPermitted.code
