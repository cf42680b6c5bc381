"""Parquet, by pyarrow (an extra): samples with row groups by signal, or events."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from rtoc_twisted.errors import BadValue, NotAvailable
from rtoc_twisted.model import Event

from .records import EMPTY, Page, Record, Wrong, checked_name, event_of, paged

SAMPLES = ("device", "signal", "unit", "x", "y")
EVENTS = ("device", "signal", "x", "priority", "id", "text", "value")

_BATCH = 1 << 17
_EVENTS_AT_ONCE = 1000


def require() -> None:
    """Raise NotAvailable, with what to install, if pyarrow is not there."""
    try:
        import pyarrow.parquet  # noqa: F401 - whether it can be imported is the question
    except ImportError:
        raise NotAvailable("Parquet needs an extra: pip install 'rtoc_twisted[parquet]'") from None


@cache
def _schemas() -> tuple[Any, Any]:
    """Return the schemas of samples and of events."""
    import pyarrow as pa

    word = pa.dictionary(pa.int32(), pa.string())
    number, text = pa.float64(), pa.string()
    samples = pa.schema(list(zip(SAMPLES, (word, word, word, number, number), strict=True)))
    kinds = (text, text, number, pa.int64(), text, text, text)
    return samples, pa.schema(list(zip(EVENTS, kinds, strict=True)))


class ParquetWriter:
    """Write samples as the columns device, signal, unit, x and y, or events.

    A page becomes a row group of its own. A signal without samples is a row whose x and y are null. The
    value of an event is JSON. NotAvailable without pyarrow.
    """

    def __init__(self, stream: IO[bytes], *, events: bool) -> None:
        require()
        import pyarrow.parquet as pq

        self._schema = _schemas()[events]
        self._file = pq.ParquetWriter(stream, self._schema)
        self._events: list[Event] = []

    def write(self, record: Page | Event) -> None:
        """Write a page as a row group; events are gathered, some at a time."""
        if isinstance(record, Event):
            self._events.append(record)
            if len(self._events) == _EVENTS_AT_ONCE:
                self._write_events()
        else:
            self._write_page(record)

    def _write_page(self, page: Page) -> None:
        import pyarrow as pa

        rows = max(len(page.x), 1)
        codes = pa.array(np.zeros(rows, dtype=np.int32))
        words = [pa.DictionaryArray.from_arrays(codes, pa.array([text])) for text in (*page.name, page.unit)]
        numbers = [pa.array(page.x), pa.array(page.y)] if len(page.x) else [pa.nulls(1, pa.float64())] * 2
        self._file.write_table(pa.table([*words, *numbers], schema=self._schema))

    def _write_events(self) -> None:
        import pyarrow as pa

        rows = [
            (*it.name, it.x, it.priority, it.action_id, it.text, orjson.dumps(it.value).decode())
            for it in self._events
        ]
        self._file.write_table(pa.table(list(map(list, zip(*rows, strict=True))), schema=self._schema))
        self._events.clear()

    def close(self) -> None:
        """Write the events that wait, and the file's footer."""
        if self._events:
            self._write_events()
        self._file.close()


def read(path: Path) -> Iterator[Record]:
    """Yield what a file holds; its columns tell whether that is samples or events."""
    require()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = set(file.schema_arrow.names)
            if set(SAMPLES) <= names:
                reader, columns = _samples, list(SAMPLES)
            elif set(EVENTS) <= names:
                reader, columns = _events, list(EVENTS)
            else:
                raise BadValue(f"expected the columns {', '.join(SAMPLES)} (or {', '.join(EVENTS)})")
            first = 1
            for batch in file.iter_batches(_BATCH, columns=columns):
                yield from reader(batch.select(columns), first)
                first += batch.num_rows
    except pa.ArrowException as error:
        raise BadValue(f"not Parquet with the expected columns: {error}") from None


def _samples(batch: Any, first: int) -> Iterator[Record]:
    import pyarrow as pa

    *words, xs, ys = batch.columns
    x, y = (_numbers(column) for column in (xs, ys))
    absent = [np.asarray(column.is_null()) for column in (xs, ys)]
    coded = [pa.DictionaryArray.from_arrays(*_coded(column)) for column in words]
    devices, signals, units = (column.dictionary.to_pylist() for column in coded)
    codes = [np.asarray(column.indices, dtype=np.int64) for column in coded]
    wrong = absent[0] != absent[1]
    for row in np.flatnonzero(wrong).tolist():
        yield Wrong(f"row {first + row}", "x or y is missing")
    # One number a signal; a stable sort keeps the order of arrival within each.
    keys = codes[0] * max(len(signals), 1) + codes[1]
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    for rows in sorted(np.split(order, starts[1:]), key=lambda rows: int(rows[0]) if len(rows) else 0):
        if not len(rows):
            continue
        device, signal = devices[codes[0][rows[0]]], signals[codes[1][rows[0]]]
        unit = units[codes[2][rows[-1]]]
        kept = rows[~(wrong | absent[0])[rows]]
        try:
            name = checked_name(device or "", signal or "", unit or "")
        except BadValue as error:
            yield Wrong(f"row {first + int(rows[0])}", error.message)
        else:
            columns = (x[kept], y[kept]) if len(kept) else (EMPTY, EMPTY)
            yield from paged(name, unit or "", *columns)


def _coded(column: Any) -> tuple[Any, Any]:
    """Return indices and dictionary of a column of texts; missing ones are empty texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    plain = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    found = pc.fill_null(plain.cast(pa.string()), "").dictionary_encode()
    return found.indices, found.dictionary


def _numbers(column: Any) -> Any:
    import pyarrow as pa

    return column.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _events(batch: Any, first: int) -> Iterator[Record]:
    for number, row in enumerate(batch.to_pylist(), first):
        fields = {"dname": row["device"], "sname": row["signal"], "x": row["x"], "text": row["text"]}
        try:
            value = orjson.loads(row["value"] or "null")
            yield event_of(fields | {"priority": row["priority"], "id": row["id"], "value": value})
        except BadValue as error:
            yield Wrong(f"row {number}", error.message)
        except ValueError as error:
            yield Wrong(f"row {number}", f"value: {error}")
