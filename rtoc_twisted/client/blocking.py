"""Connections and senders for threads.

An asyncio loop in a thread of its own does the work: a TLS connection of Python's may not be read by one
thread while another writes it, which a blocking client with a thread for reading does all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from rtoc_twisted.client.fields import Hold
from rtoc_twisted.client.sender import Counters, Sender
from rtoc_twisted.client.transport import Connect, Transport

_T = TypeVar("_T")


class LoopThread:
    """A running loop, for any thread; `stop` must be called at the end, and nothing afterwards."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rtoc-client", daemon=True)
        self._thread.start()

    def wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Return, or raise, what the work comes to."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def begin(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Begin some work, and return at once; RuntimeError after the end."""
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(work()))

    def stop(self) -> None:
        """Cancel what is going on, and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(_cancelled(asyncio.all_tasks(self._loop)))
        self._loop.close()


class BlockingTransport:
    """A Transport whose methods wait, to be used from any thread.

    connect: makes the connection; what it raises is raised here. `stop` must be called at the end, and
    nothing afterwards.
    """

    def __init__(self, connect: Connect) -> None:
        self._loop = LoopThread()
        try:
            self._transport = self._loop.wait(_await(connect))
        except BaseException:
            self.stop()
            raise

    def send(self, frame: str | bytes) -> None:
        """Send a frame; ConnectionLost if that cannot be."""
        self._loop.wait(self._transport.send(frame))

    def receive(self) -> str | bytes:
        """Return the next frame; ConnectionLost when there will be none."""
        return self._loop.wait(self._transport.receive())

    def close(self) -> None:
        """Begin to close the connection, and return at once; who receives is told when it is done."""
        # It may have ended by itself meanwhile.
        with contextlib.suppress(RuntimeError):
            self._loop.begin(self._transport.close)

    def stop(self) -> None:
        """End the thread."""
        self._loop.stop()


class BlockingSender:
    """A Sender whose methods wait, to be used from any thread, with `with`.

    sender: of a client that is not open, as `BlockingSender(Client(url).sender(path))`. Everything is as
    there; its callback `on_refused` is called in another thread.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def __enter__(self) -> Self:
        """Open the queue, and begin to send what is in it."""
        self._loop = LoopThread()
        try:
            self._loop.wait(self._sender.__aenter__())
        except BaseException:
            self._loop.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; if there was no exception, after everything is acknowledged."""
        try:
            self._loop.wait(self._sender.__aexit__(kind, error, trace))
        finally:
            self._loop.stop()

    @property
    def counters(self) -> Counters:
        """What became of the messages so far."""
        return self._sender.counters

    def send(
        self,
        device: str,
        values: Mapping[str, float],
        *,
        units: Mapping[str, str] | None = None,
        x: float | Sequence[float] | None = None,
    ) -> None:
        """Queue one value for each of a device's signals, as Sender.send."""
        self._loop.wait(self._sender.send(device, values, units=units, x=x))

    def plot(
        self,
        device: str,
        signal: str,
        y: Sequence[float],
        *,
        x: Sequence[float] | None = None,
        unit: str = "",
        hold: Hold = "off",
    ) -> None:
        """Queue a whole signal, as Sender.plot."""
        self._loop.wait(self._sender.plot(device, signal, y, x=x, unit=unit, hold=hold))

    def store(self, fields: Mapping[str, Any]) -> None:
        """Queue a request with values in the protocol's own keys, as Sender.store."""
        self._loop.wait(self._sender.store(fields))

    def flush(self, timeout: float | None = None) -> bool:
        """Wait, at most so many seconds, until everything is acknowledged; return whether it is."""
        return self._loop.wait(self._flushed(timeout))

    async def _flushed(self, timeout: float | None) -> bool:
        try:
            async with asyncio.timeout(timeout):
                await self._sender.flush()
        except TimeoutError:
            return False
        return True


async def _await(connect: Connect) -> Transport:
    return await connect()


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
