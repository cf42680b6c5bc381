"""The peer of the questions about a store: a bare Autobahn server that answers as one would at first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from rtoc_twisted.model import Columns, Window
from rtoc_twisted.storage.decimate import decimate
from rtoc_twisted.storage.reader import Reader

from .peer import Sink, serve
from .stores import FILE, NAME

_FIRST = 1


class Answering(Sink):
    """Answers getSignal for the store's first signal in one piece; anything else as the sink does."""

    def __init__(self, read: Callable[[dict[str, Any]], Columns]) -> None:
        super().__init__()
        self._read = read

    # WebSocketServerProtocol

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Decode a message, and answer."""
        wanted = orjson.loads(payload).get("getSignal")
        if wanted is None:
            super().onMessage(payload, isBinary)
            return
        found = self._read(wanted)
        signal = [found.x, found.y, "C", _FIRST, found.x_min, found.x_max]
        answer = {"error": False, "signals": {NAME.key: signal}}
        self.sendMessage(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY))


def main(store: str, way: str) -> None:
    """Serve the first signal of a store, beside whoever has the store.

    way: "read" to read all its samples for each question and to decimate them, "hold" to read them once
    and to answer them all.
    """
    reader = Reader(Path(store) / FILE)

    def everything() -> Columns:
        return reader.read([(_FIRST, Window())])[0]

    held = everything() if way == "hold" else None

    def read(wanted: dict[str, Any]) -> Columns:
        return decimate(everything(), wanted["maxN"]) if held is None else held

    serve(partial(Answering, read))
