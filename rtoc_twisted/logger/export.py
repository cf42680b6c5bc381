"""Exports and backups: everything stored, in a file that appears whole or not at all."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from shutil import copyfileobj
from tempfile import NamedTemporaryFile, SpooledTemporaryFile, TemporaryDirectory
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from ..errors import BadValue, Busy, NotAvailable, StorageFailed
from ..interfaces import IEvents, IStorage
from ..model import Columns, Event, Page, Signal, Window
from ..wire.answers import session_event
from ..wire.codec import Column, to_json

InThread = Callable[[Callable[[], Any]], Deferred[Any]]

_SAMPLES = 100_000
"""Of a signal, in memory at a time."""
_EVENTS = 10_000
_SPOOLED = 1 << 22
"""Bytes that wait in memory; more wait on disk."""
_SHEET_ROWS = 1_048_576
_NAME_BYTES = 200
"""Of each part of a path: file systems take 255, suffix and all."""
_PATH_BYTES = 1000


class Rest(NamedTuple):
    """What is left of a signal of which single samples are gone: so many points, of so many recorded."""

    signal: Signal
    points: int
    of: int


class _Writer(Protocol):
    """Writes an export: signals with their samples, page by page, then events; called from threads."""

    def signal(self, signal: Signal) -> None: ...

    def samples(self, columns: Columns) -> None:
        """Write samples of the newest signal."""

    def begin_events(self) -> None: ...

    def events(self, events: Iterable[tuple[Signal, Event]]) -> None: ...

    def finish(self, rests: Sequence[Rest]) -> None:
        """Write the end. rests: of the signals that are not whole."""

    def close(self) -> None: ...


class _JsonWriter:
    """RTOC's session: {maxLength, signals, events, devices}, and `decimated` where signals are not whole."""

    def __init__(self, path: Path, record_length: int) -> None:
        self._file = path.open("wb")
        # All x of a signal stand before all y.
        self._y = SpooledTemporaryFile(_SPOOLED, dir=str(path.parent))  # noqa: SIM115 - closed by `close`
        self._length = record_length
        self._devices: dict[int, str] = {}
        self._signal: Signal | None = None
        self._between = b""
        self._file.write(b'{"signals":{')

    def signal(self, signal: Signal) -> None:
        self._end_signal()
        self._devices[signal.device_id] = signal.name.device
        head = to_json([signal.device_id, signal.name.name])[:-1]
        self._file.write(b'%s"%d":%s,[' % (self._between, signal.id, head))
        self._signal, self._between = signal, b""

    def samples(self, columns: Columns) -> None:
        if len(columns.x):
            self._file.write(self._between + to_json(Column(columns.x))[1:-1])
            self._y.write(self._between + to_json(Column(columns.y))[1:-1])
            self._between = b","

    def _end_signal(self) -> None:
        if self._signal is None:
            return
        self._file.write(b"],[")
        self._y.seek(0)
        copyfileobj(self._y, self._file)
        self._y.seek(0)
        self._y.truncate()
        self._file.write(b"],%s]" % to_json(self._signal.unit))
        self._signal, self._between = None, b","

    def begin_events(self) -> None:
        self._end_signal()
        self._file.write(b'},"maxLength":%d,"devices":%s,"events":{' % (self._length, to_json(self._devices)))
        self._between = b""

    def events(self, events: Iterable[tuple[Signal, Event]]) -> None:
        rows = to_json({event.number: session_event(signal, event) for signal, event in events})[1:-1]
        if rows:
            self._file.write(self._between + rows)
            self._between = b","

    def finish(self, rests: Sequence[Rest]) -> None:
        self._file.write(b"}")
        if rests:
            told = {rest.signal.id: {"points": rest.points, "of": rest.of} for rest in rests}
            self._file.write(b',"decimated":' + to_json(told))
        self._file.write(b"}")

    def close(self) -> None:
        with self._y:
            self._file.close()


class _CsvWriter:
    """One line a sample: device, signal, unit, x, y. Events, which have other columns, are left out."""

    def __init__(self, path: Path, record_length: int) -> None:
        self._file: TextIOWrapper = path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(("device", "signal", "unit", "x", "y"))
        self._head: Sequence[str] = ()

    def signal(self, signal: Signal) -> None:
        self._head = (*signal.name, signal.unit or "")

    def samples(self, columns: Columns) -> None:
        pairs = zip(columns.x.tolist(), columns.y.tolist(), strict=True)
        self._rows.writerows((*self._head, x, y) for x, y in pairs)

    def begin_events(self) -> None: ...

    def events(self, events: Iterable[tuple[Signal, Event]]) -> None: ...

    def finish(self, rests: Sequence[Rest]) -> None: ...

    def close(self) -> None:
        self._file.close()


class _XlsxWriter:
    """Sheets with the columns of the CSV, one of the events, and one of the signals that are not whole."""

    def __init__(self, path: Path, record_length: int) -> None:
        try:
            import xlsxwriter
        except ImportError:
            raise NotAvailable(
                'logger.export: xlsx needs the extra: pip install "rtoc_twisted[xlsx]"'
            ) from None
        self._errors = xlsxwriter.exceptions.XlsxFileError
        self._scratch = TemporaryDirectory(dir=path.parent, prefix=".rtoc-")
        options = {
            "constant_memory": True,
            "tmpdir": self._scratch.name,
            "use_zip64": True,
            "nan_inf_to_errors": True,
            # A text stays a text, whatever formula or link it looks like.
            "strings_to_formulas": False,
            "strings_to_urls": False,
        }
        self._book = xlsxwriter.Workbook(str(path), options)
        self._signal_cells: Sequence[str] = ()
        self._new_sheet(None, ("device", "signal", "unit", "x", "y"))

    def _new_sheet(self, name: str | None, head: Sequence[str]) -> None:
        self._sheet: Any = self._book.add_worksheet(name)
        self._sheet.write_row(0, 0, head)
        self._head = head
        self._row = 1

    def _write(self, cells: Sequence[Any]) -> None:
        if self._row == _SHEET_ROWS:
            self._new_sheet(None, self._head)
        self._sheet.write_row(self._row, 0, cells)
        self._row += 1

    def signal(self, signal: Signal) -> None:
        self._signal_cells = (*signal.name, signal.unit or "")

    def samples(self, columns: Columns) -> None:
        for x, y in zip(columns.x.tolist(), columns.y.tolist(), strict=True):
            self._write((*self._signal_cells, x, y))

    def begin_events(self) -> None:
        self._new_sheet("events", ("number", "device", "signal", "x", "priority", "id", "text", "value"))

    def events(self, events: Iterable[tuple[Signal, Event]]) -> None:
        for signal, event in events:
            value = json.dumps(event.value)
            self._write(
                (event.number, *signal.name, event.x, event.priority, event.action_id, event.text, value)
            )

    def finish(self, rests: Sequence[Rest]) -> None:
        if rests:
            self._new_sheet("decimated", ("device", "signal", "points", "of"))
            for rest in rests:
                self._write((*rest.signal.name, rest.points, rest.of))

    def close(self) -> None:
        with self._scratch:
            try:
                self._book.close()
            except self._errors as error:
                raise OSError(errno.EIO, str(error)) from None


WRITERS: dict[str, Callable[[Path, int], _Writer]] = {
    "json": _JsonWriter,
    "csv": _CsvWriter,
    "xlsx": _XlsxWriter,
}


class Exporter:
    """Writes everything stored into files below a directory.

    in_thread: runs a function in a thread and returns a Deferred of its result.
    """

    _log = Logger()

    def __init__(self, storage: IStorage, events: IEvents, in_thread: InThread) -> None:
        self._storage = storage
        self._events = events
        self._in_thread = in_thread

    @inlineCallbacks
    def write(self, path: Path, kind: str, record_length: int) -> Any:
        """Write a file of that kind; fires, when it is there, with the Rests of signals that are not whole.

        Fails with StorageFailed if the disk refuses, NotAvailable if a library is missing; BadValue if
        there is a file of that name already; Busy if a signal was replaced while it was written.
        """
        try:
            part = yield self._in_thread(lambda: _prepare(path))
            try:
                writer = yield self._in_thread(lambda: WRITERS[kind](part, record_length))
                try:
                    rests = yield self._fill(writer)
                finally:
                    yield self._in_thread(writer.close)
                yield self._in_thread(lambda: _publish(part, path))
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise StorageFailed(f"{path.name} could not be written: {error.strerror}") from None
        if rests:
            self._log.warn(
                "{file} has but a part of the samples of {count} signals: others are gone by retention",
                file=path.name,
                count=len(rests),
            )
        return rests

    @inlineCallbacks
    def copy(self, path: Path) -> Any:
        """Write a copy of the whole store (IStorage.copy_to); fires when it is there.

        Fails like IStorage.copy_to.
        """
        try:
            yield self._in_thread(lambda: path.parent.mkdir(parents=True, exist_ok=True))
        except OSError as error:
            raise StorageFailed(f"{path.name} could not be written: {error.strerror}") from None
        yield self._storage.copy_to(path)

    @inlineCallbacks
    def _fill(self, writer: _Writer) -> Any:
        rests = []
        signals = {signal.name: signal for signal in self._storage.signals()}
        for signal in signals.values():
            yield self._in_thread(partial(writer.signal, signal))
            rest = yield self._copy_samples(writer, signal)
            if rest.points < rest.of:
                rests.append(rest)
        yield self._in_thread(writer.begin_events)
        after = 0
        while events := (yield self._events.query(None, _EVENTS, after)):
            pairs = [(signals[event.name], event) for event in events if event.name in signals]
            yield self._in_thread(partial(writer.events, pairs))
            after = events[-1].number
        yield self._in_thread(partial(writer.finish, rests))
        return rests

    @inlineCallbacks
    def _copy_samples(self, writer: _Writer, signal: Signal) -> Any:
        points = left_out = 0
        after, more = None, True
        while more:
            try:
                (columns,) = yield self._storage.read([(signal.id, Window(page=Page(after, _SAMPLES)))])
            except BadValue:
                raise Busy(f"{signal.name.key} was replaced while it was written") from None
            yield self._in_thread(partial(writer.samples, columns))
            points += len(columns.x)
            left_out += columns.left_out
            after, more = columns.cursor, columns.more
        return Rest(signal, points, points + left_out)


def _prepare(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, prefix=".rtoc-", delete=False) as file:
        return Path(file.name)


def _publish(part: Path, path: Path) -> None:
    try:
        # Unlike a rename, a link never replaces what is there.
        os.link(part, path)
    except FileExistsError:
        raise BadValue(f"logger.export[0]: {path.name} exists already, and nothing is overwritten") from None


def below(directory: Path, name: str, suffix: str) -> Path:
    """Return the path of an export; raises BadValue if it would lie outside of the directory."""
    if not name or not name.isprintable():
        # What is not printable: line ends, and what is no text at all.
        raise BadValue("logger.export[0]: expected the name of a file")
    encoded = name.encode()
    if len(encoded) > _PATH_BYTES or max(map(len, encoded.split(b"/"))) > _NAME_BYTES:
        raise BadValue(f"logger.export[0]: a name of more than {_NAME_BYTES} bytes is too long")
    path = directory / (name if name.endswith(suffix) else name + suffix)
    if not path.resolve().is_relative_to(directory.resolve()):
        raise BadValue(f"logger.export[0]: {name!r} lies outside of the export directory")
    return path
