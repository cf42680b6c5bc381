"""Exports and backups: everything stored, in a file that appears whole or not at all."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections.abc import Callable, Iterable
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Any, Protocol

from twisted.internet.defer import Deferred, inlineCallbacks

from ..errors import BadValue, NotAvailable, StorageFailed
from ..interfaces import IEvents, IStorage
from ..model import Columns, Event, Signal, Window
from ..wire.answers import session_event, session_signal
from ..wire.codec import to_json

InThread = Callable[[Callable[[], Any]], Deferred[Any]]

_SHEET_ROWS = 1_048_576
_NAME_BYTES = 200
"""Of each part of a path: file systems take 255, suffix and all."""
_PATH_BYTES = 1000


class _Writer(Protocol):
    """Writes an export, signal by signal; called from threads, one call at a time."""

    def signal(self, signal: Signal, columns: Columns) -> None: ...

    def finish(self, events: Iterable[tuple[Signal, Event]]) -> None: ...

    def close(self) -> None: ...


class _JsonWriter:
    """RTOC's session: {maxLength, signals, events, devices}."""

    def __init__(self, path: Path, record_length: int) -> None:
        self._file = path.open("wb")
        self._length = record_length
        self._devices: dict[int, str] = {}
        self._first = True
        self._file.write(b'{"signals":{')

    def signal(self, signal: Signal, columns: Columns) -> None:
        self._devices[signal.device_id] = signal.name.device
        self._file.write(b"" if self._first else b",")
        self._file.write(b'"%d":%s' % (signal.id, to_json(session_signal(signal, columns))))
        self._first = False

    def finish(self, events: Iterable[tuple[Signal, Event]]) -> None:
        rows = {event.number: session_event(signal, event) for signal, event in events}
        rest = {"maxLength": self._length, "events": rows, "devices": self._devices}
        self._file.write(b"}," + to_json(rest)[1:])

    def close(self) -> None:
        self._file.close()


class _CsvWriter:
    """One line a sample: device, signal, unit, x, y."""

    def __init__(self, path: Path, record_length: int) -> None:
        self._file: TextIOWrapper = path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(("device", "signal", "unit", "x", "y"))

    def signal(self, signal: Signal, columns: Columns) -> None:
        head = (*signal.name, signal.unit or "")
        pairs = zip(columns.x.tolist(), columns.y.tolist(), strict=True)
        self._rows.writerows((*head, x, y) for x, y in pairs)

    def finish(self, events: Iterable[tuple[Signal, Event]]) -> None:
        """Write no events: they have other columns."""

    def close(self) -> None:
        self._file.close()


class _XlsxWriter:
    """A sheet with the columns of the CSV, continued on further sheets, and one of the events."""

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
        self._new_sheet()

    def _new_sheet(self) -> None:
        self._sheet: Any = self._book.add_worksheet()
        self._sheet.write_row(0, 0, ("device", "signal", "unit", "x", "y"))
        self._row = 1

    def signal(self, signal: Signal, columns: Columns) -> None:
        head = (*signal.name, signal.unit or "")
        for x, y in zip(columns.x.tolist(), columns.y.tolist(), strict=True):
            if self._row == _SHEET_ROWS:
                self._new_sheet()
            self._sheet.write_row(self._row, 0, (*head, x, y))
            self._row += 1

    def finish(self, events: Iterable[tuple[Signal, Event]]) -> None:
        sheet = self._book.add_worksheet("events")
        sheet.write_row(0, 0, ("number", "device", "signal", "x", "priority", "id", "text", "value"))
        for row, (signal, event) in enumerate(events, start=1):
            value = json.dumps(event.value)
            cells = (event.number, *signal.name, event.x, event.priority, event.action_id, event.text, value)
            sheet.write_row(row, 0, cells)

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

    def __init__(self, storage: IStorage, events: IEvents, in_thread: InThread) -> None:
        self._storage = storage
        self._events = events
        self._in_thread = in_thread

    @inlineCallbacks
    def write(self, path: Path, kind: str, record_length: int) -> Any:
        """Write a file of that kind; fires when it is there.

        Fails with StorageFailed if the disk refuses, NotAvailable if a library is missing; BadValue if
        there is a file of that name already.
        """
        try:
            part = yield self._in_thread(lambda: _prepare(path))
            try:
                writer = yield self._in_thread(lambda: WRITERS[kind](part, record_length))
                try:
                    yield self._fill(writer)
                finally:
                    yield self._in_thread(writer.close)
                yield self._in_thread(lambda: _publish(part, path))
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise StorageFailed(f"{path.name} could not be written: {error.strerror}") from None

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
        signals = {signal.name: signal for signal in self._storage.signals()}
        for signal in signals.values():
            (columns,) = yield self._storage.read([(signal.id, Window())])
            yield self._in_thread(partial(writer.signal, signal, columns))
        events = yield self._events.query(None, None)
        pairs = [(signals[event.name], event) for event in events if event.name in signals]
        yield self._in_thread(partial(writer.finish, pairs))


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
