"""A connection for threads.

An asyncio loop in a thread of its own does the work: a TLS connection of Python's may not be read by one
thread while another writes it, which a blocking client with a thread for reading does all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from rtoc_twisted.client.transport import Connect, Transport

_T = TypeVar("_T")


class BlockingTransport:
    """A Transport whose methods wait, to be used from any thread.

    connect: makes the connection; what it raises is raised here. `stop` must be called at the end, and
    nothing afterwards.
    """

    def __init__(self, connect: Connect) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rtoc-client", daemon=True)
        self._thread.start()
        try:
            self._transport = self._wait(_await(connect))
        except BaseException:
            self.stop()
            raise

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def send(self, frame: str) -> None:
        """Send a frame; ConnectionLost if that cannot be."""
        self._wait(self._transport.send(frame))

    def receive(self) -> str | bytes:
        """Return the next frame; ConnectionLost when there will be none."""
        return self._wait(self._transport.receive())

    def close(self) -> None:
        """Begin to close the connection, and return at once; who receives is told when it is done."""
        # It may have ended by itself meanwhile.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._transport.close()))

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(_cancelled(asyncio.all_tasks(self._loop)))
        self._loop.close()


async def _await(connect: Connect) -> Transport:
    return await connect()


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
