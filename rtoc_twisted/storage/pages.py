"""A SQLite file read without SQLite, which gives up where we can go on: pages, trees, records.

Source: "Database File Format", sqlite.org/fileformat2.html; the numbers in brackets are its sections.
Nothing here trusts the file: what makes no sense is left out, and said by `whole`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

Value = int | float | str | bytes | None
Row = tuple[int, Sequence[Value]]
"""The number of a row, and its values; in an index the number is 0."""

_MAGIC = b"SQLite format 3\0"
_USUAL_SIZE = 4096
_SIZES = {1 << power for power in range(9, 17)}

_TABLE_LEAF, _TABLE_INTERIOR, _INDEX_LEAF, _INDEX_INTERIOR = 0x0D, 0x05, 0x0A, 0x02
_LEAVES = (_TABLE_LEAF, _INDEX_LEAF)
_KINDS = (*_LEAVES, _TABLE_INTERIOR, _INDEX_INTERIOR)

_NUMBER = struct.Struct(">I")
_WAL_HEAD = struct.Struct(">8I")
_FRAME_HEAD = struct.Struct(">6I")
_WAL_MAGIC = 0x377F0682
_INTEGER_BYTES = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_NO_SENSE = (IndexError, ValueError, struct.error)


class Pages:
    """The pages of a file and its -wal, as the last whole commit left them; numbers begin at 1.

    path: the database; only read, and as long as the `with` block lasts. Its page size is what the -wal or
    the header says, else 4096. Raises OSError if the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        with ExitStack() as opened:
            self._file = opened.enter_context(path.open("rb", buffering=0))
            self._wal = _Wal(opened, path.with_name(path.name + "-wal"))
            self._opened = opened.pop_all()
        head = self._read(self._file.fileno(), 0, 100)
        self.size = self._wal.page_size or _page_size(head) or _USUAL_SIZE
        bytes_there = os.fstat(self._file.fileno()).st_size
        self.count = self._wal.pages or -(-bytes_there // self.size)
        self.has_header = self.page(1).startswith(_MAGIC)
        self.usable = self.size - (self.page(1)[20] if self.has_header else 0)

    def __enter__(self) -> Pages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def page(self, number: int) -> bytes:
        """Return a page, or nothing at all if it cannot be read or is cut short."""
        if not 1 <= number <= self.count:
            return b""
        frame = self._wal.frames.get(number)
        if frame is not None:
            found = self._read(self._wal.descriptor, frame, self.size)
        else:
            found = self._read(self._file.fileno(), (number - 1) * self.size, self.size)
        return found if len(found) == self.size else b""

    @staticmethod
    def _read(descriptor: int, start: int, length: int) -> bytes:
        try:
            return os.pread(descriptor, length, start)
        except OSError:
            # A bad sector, for instance: the others may be read all the same.
            return b""

    def free(self) -> set[int]:
        """Return the pages of the freelist [1.5], as far as it can be read."""
        found: set[int] = set()
        if not self.has_header:
            return found
        (trunk,) = _NUMBER.unpack_from(self.page(1), 32)
        while trunk and trunk not in found and (page := self.page(trunk)):
            found.add(trunk)
            trunk, leaves = struct.unpack_from(">2I", page)
            if leaves > self.size // 4 - 2:
                break
            found.update(struct.unpack_from(f">{leaves}I", page, 8))
        return found

    def loose_rows(self, known: set[int]) -> Iterator[Row]:
        """Yield the rows of all leaves of tables, except for these pages."""
        for number in range(2, self.count + 1):
            if number not in known and self.page(number)[:1] == bytes([_TABLE_LEAF]):
                yield from Tree(self, number).rows()


class Tree:
    """A table or an index. root: the number of its first page.

    Once its rows have been read, `reached` has the pages that were seen, `whole` says if it made sense
    everywhere: then nothing of it is anywhere else.
    """

    def __init__(self, pages: Pages, root: int) -> None:
        self._pages = pages
        self._root = root
        self.reached: set[int] = set()
        self.whole = True

    def rows(self) -> Iterator[Row]:
        """Yield the rows, as far as they can be read."""
        waiting = [self._root]
        kinds: tuple[int, ...] = _KINDS
        while waiting:
            number = waiting.pop()
            page = self._pages.page(number)
            start = 100 if number == 1 else 0
            if number in self.reached or not page or page[start] not in kinds:
                self.whole = False
                continue
            self.reached.add(number)
            kind = page[start]
            # The other pages of a tree are of the same sort as the first.
            kinds = (_INDEX_LEAF, _INDEX_INTERIOR) if kind in (0x0A, 0x02) else (_TABLE_LEAF, _TABLE_INTERIOR)
            children: list[int] = []
            for place in self._cells(page, start, kind):
                try:
                    if kind in _LEAVES:
                        yield self._cell(page, place, kind)
                        continue
                    children.extend(_NUMBER.unpack_from(page, place))
                    if kind == _INDEX_INTERIOR:
                        yield self._cell(page, place + 4, kind)
                except _NO_SENSE:
                    self.whole = False
            if kind not in _LEAVES:
                children.extend(_NUMBER.unpack_from(page, start + 8))
            waiting.extend(reversed(children))

    def _cells(self, page: bytes, start: int, kind: int) -> Sequence[int]:
        """Return where the cells of a page begin [1.6]."""
        (count,) = struct.unpack_from(">H", page, start + 3)
        first = start + (8 if kind in _LEAVES else 12)
        if first + 2 * count > len(page):
            self.whole = False
            return ()
        return struct.unpack_from(f">{count}H", page, first)

    def _cell(self, page: bytes, place: int, kind: int) -> Row:
        length, place = _varint(page, place)
        number = 0
        if kind == _TABLE_LEAF:
            number, place = _varint(page, place)
        return number, _record(self._payload(page, place, length, kind))

    def _payload(self, page: bytes, place: int, length: int, kind: int) -> bytes:
        """Return the content of a cell, with what overflows from the page [1.6, 1.7]."""
        usable = self._pages.usable
        most = usable - 35 if kind == _TABLE_LEAF else (usable - 12) * 64 // 255 - 23
        if length <= most:
            return _cut(page, place, length)
        if length > self._pages.count * self._pages.size:
            raise ValueError("longer than the file")
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        if local > most:
            local = least
        parts = [_cut(page, place, local)]
        (following,) = _NUMBER.unpack_from(page, place + local)
        missing = length - local
        while missing > 0:
            page = self._pages.page(following)
            (following,) = _NUMBER.unpack_from(page)
            parts.append(page[4 : 4 + min(missing, usable - 4)])
            missing -= len(parts[-1])
        return b"".join(parts)


class _Wal:
    """The commits in a -wal file, up to the first frame that is not as it was written [4].

    frames: where the newest version of each page begins; pages: how many the database has after the last
    commit; page_size. These are 0 where there is no commit.
    """

    def __init__(self, opened: ExitStack, path: Path) -> None:
        self.frames: dict[int, int] = {}
        self.pages = self.page_size = 0
        self.descriptor = -1
        try:
            self._file = opened.enter_context(path.open("rb"))
            self.descriptor = self._file.fileno()
            self._scan()
        except (OSError, struct.error):
            # No file, or its end.
            return

    def _scan(self) -> None:
        head = self._file.read(_WAL_HEAD.size)
        magic, _, size, _, *salts, first, second = _WAL_HEAD.unpack(head)
        order = ">" if magic & 1 else "<"
        sums = _checksum(order, head[:24], (0, 0))
        if magic & ~1 != _WAL_MAGIC or size not in _SIZES or sums != (first, second):
            return
        waiting: dict[int, int] = {}
        place = _WAL_HEAD.size
        while True:
            head, page = self._file.read(_FRAME_HEAD.size), self._file.read(size)
            number, pages, *seal = _FRAME_HEAD.unpack(head)
            sums = _checksum(order, head[:8] + page, sums)
            if len(page) < size or seal != [*salts, *sums]:
                return
            waiting[number] = place + _FRAME_HEAD.size
            place += _FRAME_HEAD.size + size
            if pages:
                self.frames.update(waiting)
                self.pages, self.page_size = pages, size
                waiting.clear()


def _checksum(order: str, data: bytes, sums: tuple[int, int]) -> tuple[int, int]:
    """Return the checksum of what had these sums, and this behind it [4.2]."""
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data[: len(data) // 4 * 4])
    for even, odd in zip(words[::2], words[1::2], strict=False):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _page_size(head: bytes) -> int | None:
    if not head.startswith(_MAGIC) or len(head) < 100:
        return None
    (size,) = struct.unpack_from(">H", head, 16)
    size = 65536 if size == 1 else size
    return size if size in _SIZES else None


def _cut(data: bytes, start: int, length: int) -> bytes:
    found = data[start : start + length]
    if len(found) < length:
        raise ValueError("cut short")
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a number of up to 64 bits, with a sign, and where the next thing begins [1.6]."""
    value = 0
    for _ in range(8):
        byte = data[place]
        place += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place
    value = value << 8 | data[place]
    return value - (1 << 64 if value >> 63 else 0), place + 1


def _record(data: bytes) -> list[Value]:
    """Return the values of a record [2.1]."""
    end, place = _varint(data, 0)
    values: list[Value] = []
    body = end
    while place < end:
        kind, place = _varint(data, place)
        value, body = _value(data, body, kind)
        values.append(value)
    if place != end or body != len(data):
        raise ValueError("not a record")
    return values


def _value(data: bytes, place: int, kind: int) -> tuple[Value, int]:
    if kind >= 12:
        length = (kind - 12) // 2
        raw = _cut(data, place, length)
        return raw.decode() if kind % 2 else raw, place + length
    if kind in _INTEGER_BYTES:
        length = _INTEGER_BYTES[kind]
        return int.from_bytes(_cut(data, place, length), "big", signed=True), place + length
    if kind == 7:
        return struct.unpack(">d", _cut(data, place, 8))[0], place + 8
    if kind in (0, 8, 9):
        return {0: None, 8: 0, 9: 1}[kind], place
    raise ValueError("no such type")
