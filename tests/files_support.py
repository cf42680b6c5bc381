"""Helpers for tests of export and import: records to compare, and a small server that keeps all exactly."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from websockets.sync.server import ServerConnection

from rtoc_twisted.client.cli import main
from rtoc_twisted.client.formats.choice import READERS, format_of, writing
from rtoc_twisted.client.formats.records import Page, Record
from rtoc_twisted.client.shell import Shell
from rtoc_twisted.model import Event, SignalName

from .client_support import FakeServer

NAN = float("nan")
AWKWARD = [0.0, -0.0, NAN, float("inf"), -float("inf"), 5e-324, 0.1, 1e308, 0.1, -1.5]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["a,b", 'say "x"', "two\nlines", "\r", "\r\n", "µ.Ω", "", " ", "\0", "=1+1", "\N{LINE SEPARATOR}"]
)
numbers = st.floats() | st.sampled_from(AWKWARD)
names = st.builds(SignalName, texts, texts)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
json_values = json_values.filter(lambda value: "inf" not in repr(value))
events = st.builds(
    Event,
    names,
    texts,
    numbers,
    priority=st.integers(0, 2),
    action_id=texts,
    value=json_values,
)


@st.composite
def pages(draw: st.DrawFn) -> list[Page]:
    """Signals, each in one page; some without samples."""
    found = []
    for name in draw(st.lists(names, max_size=5, unique=True)):
        length = draw(st.integers(0, 6))
        columns = [draw(hnp.arrays(np.float64, length, elements=numbers)) for _ in "xy"]
        found.append(Page(name, draw(texts), *columns))
    return found


def bits(values: Iterable[float]) -> list[bytes]:
    """Return numbers as their bits, all NaNs alike."""
    return [struct.pack("<d", NAN if value != value else value) for value in values]


def comparable(records: Iterable[Record]) -> tuple[dict[Any, Any], list[Any], list[str]]:
    """Return signals in their order with all their samples, events, and what was wrong."""
    signals: dict[SignalName, tuple[str, list[bytes], list[bytes]]] = {}
    found, wrong = [], []
    for record in records:
        if isinstance(record, Page):
            _, x, y = signals.get(record.name, ("", [], []))
            signals[record.name] = (record.unit, x + bits(record.x), y + bits(record.y))
        elif isinstance(record, Event):
            found.append((record.name, record.text, bits([record.x]), *_rest(record)))
        else:
            wrong.append(str(record))
    return {"order": list(signals), **signals}, found, wrong


def _rest(event: Event) -> tuple[Any, ...]:
    return event.priority, event.action_id, repr(event.value)


def write(path: Path, chosen: str, records: Iterable[Page | Event], *, events: bool = False) -> None:
    """Write a file."""
    with writing(str(path), chosen, events=events, force=True, stdout=io.StringIO()) as writer:
        for record in records:
            writer.write(record)


def read(path: Path) -> list[Record]:
    """Read a file of any format."""
    return list(READERS[format_of(path)](path))


class ExactServer(FakeServer):
    """Answers by pages, in MessagePack to MessagePack, and stores each `batch` once.

    stop_at: from this `seq` on it breaks the connection, after it stored the batch if `stored` is set.
    page: samples that a page has at most, whatever was asked for.
    """

    def __init__(self, *, page: int = 7, batches: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.stop_at: int | None = None
        self.stored = False
        self.seen: set[tuple[str, int]] = set()
        self._page = page
        self._batches = batches

    def _handlers(self) -> Any:
        return {
            **super()._handlers(),
            "y": self._batch,
            "event": self._keep,
            "getSignal": self._read,
            "getEventList": self._list_events,
        }

    def _decode(self, frame: str | bytes) -> dict[str, Any]:
        self._packed = isinstance(frame, bytes)
        return msgspec.msgpack.decode(frame) if isinstance(frame, bytes) else super()._decode(frame)

    def _encode(self, message: dict[str, Any]) -> Any:
        return msgspec.msgpack.encode(message) if self._packed else super()._encode(message)

    def _batch(self, connection: ServerConnection, request: dict[str, Any], y: list[float]) -> dict[str, Any]:
        if not self._batches:
            self._append(request, y)
            return {"sent": True}
        source, seq = request["batch"]["source"], request["batch"]["seq"]
        stops = self.stop_at is not None and seq >= self.stop_at
        if stops and not self.stored:
            connection.close_socket()
            return {}
        new = (source, seq) not in self.seen
        if new:
            self.seen.add((source, seq))
            self._append(request, y)
        if stops:
            connection.close_socket()
        counts = {"accepted": len(y) if new else 0, "duplicate": 0 if new else len(y)}
        return {"sent": True, "batch": {"source": source, "seq": seq, **counts}}

    def _append(self, request: dict[str, Any], y: list[float]) -> None:
        assert request["plot"] is True and request["hold"] == "on"
        name = [request["dname"], request["sname"]]
        it = self.signals.setdefault("\0".join(name), {"name": name, "x": [], "y": [], "unit": ""})
        it["unit"] = request["unit"]
        it["x"] += request["x"]
        it["y"] += y

    def _keep(self, _: ServerConnection, __: dict[str, Any], event: dict[str, Any]) -> dict[str, Any]:
        number = len(self.events) + 1
        rest = [event["text"], event["x"], event["value"], event["priority"], event["id"]]
        self.events[str(number)] = [event["dname"], event["sname"], number, *rest]
        return {}

    def _read(self, _: ServerConnection, __: dict[str, Any], wanted: Any) -> dict[str, Any]:
        (asked,) = wanted
        assert asked["binary"] is True
        it = self.signals["\0".join((asked["dname"], asked["sname"]))]
        begin = int((asked.get("after") or "7.0").removeprefix("7."))
        end = min(begin + min(asked["limit"], self._page), len(it["x"]))
        rows = zip(it["x"][begin:end], it["y"][begin:end], strict=True)
        kept = [(x, y) for x, y in rows if _within(asked, x)]
        x, y = (self._column([row[axis] for row in kept]) for axis in (0, 1))
        key = f"{asked['dname']}.{asked['sname']}"
        cursor = {"after": f"7.{end}", "more": end < len(it["x"])}
        return {"signals": {key: [x, y, it["unit"], 1, None, None]}, "pages": {key: cursor}}

    def _list_events(self, _: ServerConnection, __: dict[str, Any], asked: Any) -> dict[str, Any]:
        left = [row for row in self.events.values() if row[2] > asked["after"]]
        page = left[: min(asked["limit"], self._page)]
        after = page[-1][2] if page else asked["after"]
        more = len(left) > len(page)
        return {
            "events": {str(row[2]): row for row in page},
            "eventPage": {"after": after, "more": more},
        }

    def _column(self, values: list[float]) -> bytes | str:
        raw = np.array(values, dtype="<f8").tobytes()
        return raw if self._packed else base64.b64encode(raw).decode()

    def contents(self) -> dict[tuple[str, ...], tuple[str, list[bytes], list[bytes]]]:
        """Return unit, x and y of each signal."""
        return {tuple(it["name"]): (it["unit"], bits(it["x"]), bits(it["y"])) for it in self.signals.values()}

    def put(self, page: Page) -> None:
        """Store a page."""
        fields = {"plot": True, "hold": "on", "dname": page.name.device, "sname": page.name.name}
        self._append({**fields, "unit": page.unit, "x": page.x.tolist()}, page.y.tolist())


def _within(asked: dict[str, Any], x: float) -> bool:
    least, most = asked.get("xmin"), asked.get("xmax")
    return (least is None or x > least) and (most is None or x <= most)


def run_rtoc(
    url: str,
    *argv: str,
    stdout: io.StringIO | None = None,
    stderr: io.StringIO | None = None,
    environ: dict[str, str] | None = None,
) -> tuple[int, str, str]:
    """Return exit code, output and errors of a run of the command."""
    out, err = stdout or io.StringIO(newline=""), stderr or io.StringIO()
    code = main(argv, Shell(io.StringIO(), out, err, {"RTOC_URL": url, **(environ or {})}, lambda _: ""))
    return code, out.getvalue(), err.getvalue()
