"""A queue in a directory, which outlives its process.

source.json  the queue's name and a number that no message had yet, both synchronised before they are used
done         the least number that may still wait, rewritten in place
N.lines      messages from number N on, a line each: CRC-32 of the rest, number, text; removed as a whole
lock         held by the process that uses the directory
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import re
import uuid
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from rtoc_twisted.client.queue import Entry, Limits, Queue
from rtoc_twisted.errors import BadValue, Busy, StorageFailed

log = logging.getLogger("rtoc_twisted.client")

SEGMENT_SIZE = 1024 * 1024
"""Bytes after which a new file is begun: the disk space that may be taken by what waits no more."""

_RESERVE = 1 << 20
_SEGMENT = re.compile(r"\d{16}\.lines")
_LINE = re.compile(rb"([0-9a-f]{8}) ((\d+) (.*))\n", re.DOTALL)


class _Segment:
    """One file of lines, and which messages are where in it; first: index of the first that may wait."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first = 0
        self.seqs = array("Q")
        self.offsets = array("Q")
        self.lengths = array("Q")

    def add(self, seq: int, offset: int, length: int) -> None:
        """Note the text of a message: its place in the file, in bytes."""
        self.seqs.append(seq)
        self.offsets.append(offset)
        self.lengths.append(length)


class DiskQueue(Queue):
    """A Queue in a directory that is made if it is not there, for one process at a time.

    What was added survives a kill of the process, and a power cut too where `fsync` is set: then each
    message is synchronised before `add` returns, which takes some milliseconds. What was removed just
    before a crash may wait again after it. `damaged` counts lines that were found unreadable.

    Raises Busy if another process uses the directory, BadValue if it cannot be used at all.
    """

    def __init__(
        self, path: str | Path, limits: Limits, *, fsync: bool = False, segment_size: int = SEGMENT_SIZE
    ) -> None:
        super().__init__(limits)
        self.damaged = 0
        self._path = Path(path)
        self._fsync = fsync
        self._segment_size = segment_size
        self._count = 0
        self._removed: set[int] = set()
        self._segments: deque[_Segment] = deque()
        self._next = self._reserved = 0
        self._written = 0
        self._open = contextlib.ExitStack()
        self._writer: int | None = None
        self._reader: tuple[_Segment, int] | None = None
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock()
            self._done = self._opened(self._path / "done", os.O_RDWR | os.O_CREAT)
            self._load()
        except OSError as error:
            self._open.close()
            raise BadValue(f"the queue {self._path} cannot be used: {error}") from error
        except BaseException:
            self._open.close()
            raise

    def __len__(self) -> int:
        """Return how many messages wait."""
        return self._count

    @property
    def oldest(self) -> int:
        """The least number that waits, or the next one where nothing does."""
        for segment in self._segments:
            if segment.first < len(segment.seqs):
                return segment.seqs[segment.first]
        return self._next

    @property
    def next_seq(self) -> int:
        """The number of the next message."""
        return self._next

    def after(self, seq: int) -> Entry | None:
        """Return the first waiting message whose number is greater, or None; StorageFailed."""
        for segment in self._segments:
            start = max(segment.first, bisect_right(segment.seqs, seq))
            for index in range(start, len(segment.seqs)):
                if segment.seqs[index] not in self._removed:
                    return Entry(segment.seqs[index], self._text(segment, index))
        return None

    def remove(self, seq: int) -> bool:
        """Forget a message; return False if it did not wait."""
        for segment in self._segments:
            index = bisect_left(segment.seqs, seq, segment.first)
            if index < len(segment.seqs):
                break
        else:
            return False
        if segment.seqs[index] != seq or seq in self._removed:
            return False
        self._removed.add(seq)
        self._count -= 1
        self.size -= segment.lengths[index]
        self._tidy()
        return True

    def close(self) -> None:
        """Give back the numbers that were reserved and not used, and the lock."""
        if self._reserved > self._next:
            # There are enough of them.
            with contextlib.suppress(OSError):
                self._reserve(self._next)
        self._end_writer()
        self._end_reader()
        self._open.close()

    def _put(self, text: str) -> None:
        body = f"{self._next} {text}".encode("ascii")
        line = b"%08x %s\n" % (zlib.crc32(body), body)
        try:
            if self._next >= self._reserved:
                self._reserve(self._next + _RESERVE)
            if self._writer is None or self._written >= self._segment_size:
                self._writer = self._begin_segment()
            self._append(self._writer, line)
        except OSError as error:
            raise StorageFailed(f"the queue {self._path} cannot be written: {error}") from error
        self._segments[-1].add(self._next, self._written + len(line) - 1 - len(text), len(text))
        self._written += len(line)
        self._next += 1
        self._count += 1
        self.size += len(text)

    def _append(self, writer: int, line: bytes) -> None:
        """Write a line as a whole, or leave the file as it was."""
        try:
            if os.write(writer, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._fsync:
                os.fsync(writer)
        except OSError:
            try:
                os.ftruncate(writer, self._written)
            finally:
                # Whatever is left of the line ends its file, as after a crash.
                self._end_writer()
            raise

    def _text(self, segment: _Segment, index: int) -> str:
        try:
            if self._reader is None or self._reader[0] is not segment:
                self._end_reader()
                self._reader = (segment, os.open(segment.path, os.O_RDONLY))
            return os.pread(self._reader[1], segment.lengths[index], segment.offsets[index]).decode("ascii")
        except OSError as error:
            raise StorageFailed(f"the queue {self._path} cannot be read: {error}") from error

    def _tidy(self) -> None:
        """Forget what was removed at the front, files of nothing else too, and note how far that goes."""
        before = self.oldest
        while self._segments:
            segment = self._segments[0]
            while segment.first < len(segment.seqs) and segment.seqs[segment.first] in self._removed:
                self._removed.discard(segment.seqs[segment.first])
                segment.first += 1
            if segment.first < len(segment.seqs) or self._is_being_filled(segment):
                break
            self._drop_first()
        if self.oldest != before:
            # Fewer bytes than a sector, over bytes that are there, so nothing tears. Should it fail all the
            # same, more is sent again after a crash than need be.
            with contextlib.suppress(OSError):
                os.pwrite(self._done, b"%016d\n" % self.oldest, 0)

    def _is_being_filled(self, segment: _Segment) -> bool:
        last = segment is self._segments[-1]
        return last and self._writer is not None and self._written < self._segment_size

    def _drop_first(self) -> None:
        segment = self._segments.popleft()
        if self._reader is not None and self._reader[0] is segment:
            self._end_reader()
        if not self._segments:
            self._end_writer()
        segment.path.unlink(missing_ok=True)

    def _begin_segment(self) -> int:
        self._end_writer()
        path = self._path / f"{self._next:016d}.lines"
        writer = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try:
            if self._fsync:
                self._sync_directory()
        except OSError:
            os.close(writer)
            raise
        if self._segments and self._segments[-1].path == path:
            # It was begun before, and its first line could not be written.
            self._segments.pop()
        self._segments.append(_Segment(path))
        self._written = 0
        return writer

    def _end_writer(self) -> None:
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None

    def _end_reader(self) -> None:
        if self._reader is not None:
            os.close(self._reader[1])
            self._reader = None

    def _reserve(self, seq: int) -> None:
        """Write down that numbers from `seq` on were never used, so that not even a power cut repeats one.

        A number that came twice would make the server take a new message for one that it has.
        """
        draft = self._path / "source.json.new"
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(file, json.dumps({"source": self.source, "reserved": seq}).encode())
            os.fsync(file)
        finally:
            os.close(file)
        draft.replace(self._path / "source.json")
        self._sync_directory()
        self._reserved = seq

    def _sync_directory(self) -> None:
        directory = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _opened(self, path: Path, flags: int) -> int:
        file = os.open(path, flags, 0o600)
        self._open.callback(os.close, file)
        return file

    def _lock(self) -> None:
        # Imported here, for the rest of the client works where there is no such module.
        import fcntl

        file = self._opened(self._path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"the queue {self._path} is in use by another process") from None

    def _load(self) -> None:
        self.source, self._reserved = self._identity()
        done = os.pread(self._done, 16, 0)
        least = int(done) if done.isdigit() else 0
        self._next = max(self._reserved, least)
        for path in sorted(it for it in self._path.iterdir() if _SEGMENT.fullmatch(it.name)):
            segment = _Segment(path)
            for seq, offset, length in self._lines(path):
                self._next = max(self._next, seq + 1)
                if seq >= least:
                    segment.add(seq, offset, length)
                    self._count += 1
                    self.size += length
            if segment.seqs:
                self._segments.append(segment)
            else:
                path.unlink()
        if self.damaged:
            log.error("%d lines of the queue %s cannot be read and are lost", self.damaged, self._path)

    def _identity(self) -> tuple[str, int]:
        path = self._path / "source.json"
        if not path.exists():
            return uuid.uuid4().hex, 0
        try:
            found = json.loads(path.read_bytes())
            return str(found["source"]), int(found["reserved"])
        except (ValueError, KeyError, TypeError) as error:
            raise BadValue(f"{path} is not what a queue wrote: {error!r}") from error

    def _lines(self, path: Path) -> Iterator[tuple[int, int, int]]:
        """Yield number, offset of the text and its length, of each line that is as it was written."""
        offset = 0
        with path.open("rb") as file:
            for line in file:
                found = _LINE.fullmatch(line)
                if found is not None and int(found[1], 16) == zlib.crc32(found[2]):
                    yield int(found[3]), offset + found.start(4), len(found[4])
                elif line.endswith(b"\n"):
                    self.damaged += 1
                # A line without its end was torn by the crash, and nobody was told that it is kept.
                offset += len(line)
