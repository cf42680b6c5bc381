"""Pushes between the connection and whoever iterates over them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rtoc_twisted.client.values import Push
from rtoc_twisted.errors import RTOCError


class PushStream:
    """An async iterator over the pushes from its creation on.

    It holds at most `limit` pushes; when a reader is too slow the oldest go, and `dropped` counts them.
    The iteration ends when the stream or its client is closed, and raises what ended the client otherwise.
    """

    def __init__(self, limit: int, on_close: Callable[[PushStream], None]) -> None:
        self.dropped = 0
        self._waiting: deque[Push] = deque(maxlen=limit)
        self._on_close = on_close
        self._ended = False
        self._failure: RTOCError | None = None
        self._news = asyncio.Event()

    def put(self, push: Push) -> None:
        """Add a push, at the cost of the oldest where there is no room."""
        if len(self._waiting) == self._waiting.maxlen:
            self.dropped += 1
        self._waiting.append(push)
        self._news.set()

    def end(self, failure: RTOCError | None) -> None:
        """Let the iteration end after what is waiting, by raising the failure if there is one."""
        self._ended, self._failure = True, failure
        self._news.set()

    def close(self) -> None:
        """Stop: nothing more is kept for this stream."""
        self._on_close(self)
        self.end(None)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream."""
        self.close()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Push:
        """Return the oldest push that waits, or the next one."""
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._waiting.popleft()
