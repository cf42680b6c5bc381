"""Which format a file has, or is to have."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, TextIO

from rtoc_twisted.errors import BadValue

from . import csv_files, json_lines, parquet, session
from .json_stream import JsonStream
from .records import Record, Writer
from .streams import head_of, published, refuse_existing, text_of

READERS: Mapping[str, Callable[[Path], Iterator[Record]]] = {
    "csv": csv_files.read,
    "jsonl": json_lines.read,
    "parquet": parquet.read,
    "session": session.read,
}
WRITERS: Mapping[str, Any] = {
    "csv": csv_files.CsvWriter,
    "jsonl": json_lines.JsonLinesWriter,
    "parquet": parquet.ParquetWriter,
}
CONFIG = "config"
"""What `format_of` calls RTOC's config.json, and JSON that is none of what it knows."""

_LINE_KEYS = ("dname", "sname", "unit", "x", "y", "event")


def format_to_write(name: str, wanted: str | None, force: bool) -> str:
    """Return the format for a file name ("-" is standard output): what is wanted, else by its suffix.

    BadValue if that is none, or the file exists and may not be replaced; NotAvailable without pyarrow.
    """
    suffix = Path(name.removesuffix(".gz")).suffix.removeprefix(".")
    chosen = wanted or ("csv" if name == "-" else suffix)
    if chosen not in WRITERS:
        raise BadValue(f"{name}: the suffix says no format; name one with --format ({', '.join(WRITERS)})")
    if chosen == "parquet":
        if name == "-" or name.endswith(".gz"):
            raise BadValue("Parquet is written to a file, which it compresses itself")
        parquet.require()
    if name != "-":
        refuse_existing(Path(name), force)
    return chosen


def format_of(path: Path) -> str:
    """Return the format of a file by what it begins with: a key of READERS, or CONFIG."""
    head = head_of(path)
    if head.startswith(b"PAR1"):
        return "parquet"
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if begin and not begin.startswith(b"{"):
        return "csv"
    if not begin:
        # Nothing in JSON Lines is nothing; the other formats have at least their columns.
        return "jsonl"
    with text_of(path) as text:
        first = next(JsonStream(text).members(), "")
    if first in _LINE_KEYS:
        return "jsonl"
    return "session" if first in session.TOPICS else CONFIG


@contextmanager
def writing(name: str, chosen: str, *, events: bool, force: bool, stdout: TextIO) -> Iterator[Writer]:
    """Open a file for writing samples or events; it is there, whole, when the block has ended well.

    name: "-" is stdout; one that ends in .gz is compressed.
    """
    with ExitStack() as stack:
        stream: Any = stdout
        if name != "-":
            stream = stack.enter_context(published(Path(name), force=force))
        if name.endswith(".gz"):
            # Without name and time, the same data make the same file.
            packed = gzip.GzipFile(filename="", mode="wb", fileobj=stream, compresslevel=6, mtime=0)
            stream = stack.enter_context(packed)
        if chosen != "parquet" and name != "-":
            stream = io.TextIOWrapper(stream, "utf-8", newline="")
            # What is below is closed by itself.
            stack.callback(stream.detach)
        yield stack.enter_context(closing(WRITERS[chosen](stream, events=events)))
