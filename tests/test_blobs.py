"""Columns as bytes: what goes in comes out, and damage is noticed."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import StorageFailed
from rtoc_twisted.storage.blobs import (
    pack_chunk,
    pack_journal,
    plain,
    read_plain,
    unpack_chunk,
    unpack_journal,
)
from rtoc_twisted.storage.packing import pack
from tests.storage_support import floats, unhurried

COLUMNS = st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(), st.floats()))


class BlobsTest(SynchronousTestCase):
    @unhurried
    @given(COLUMNS)
    def test_a_journal_row_is_what_was_packed(self, rows: list[tuple[int, float, float]]) -> None:
        ids = np.array([row[0] for row in rows], np.uint32)
        x, y = floats([row[1] for row in rows]), floats([row[2] for row in rows])
        for found, packed in zip(unpack_journal(pack_journal(ids, x, y)), (ids, x, y), strict=True):
            self.assertEqual(found.tobytes(), packed.tobytes())

    @unhurried
    @given(COLUMNS)
    def test_a_chunk_is_what_was_packed(self, rows: list[tuple[int, float, float]]) -> None:
        x, y = floats([row[1] for row in rows]), floats([row[2] for row in rows])
        for found, packed in zip(unpack_chunk(pack_chunk(x, y)), (x, y), strict=True):
            self.assertEqual(found.tobytes(), packed.tobytes())
        for found, packed in zip(read_plain(plain(x, y)), (x, y), strict=True):
            self.assertEqual(found.tobytes(), packed.tobytes())

    def test_the_layout_on_disk(self) -> None:
        x, y = floats([1, 2]), floats([3, 4])
        body = struct.pack("<I", len(pack(x))) + pack(x) + pack(y)
        self.assertEqual(pack_chunk(x, y), struct.pack("<I", zlib.crc32(body)) + body)
        body = struct.pack("<2d2d", 1.0, 2.0, 3.0, 4.0)
        self.assertEqual(plain(x, y), struct.pack("<I", zlib.crc32(body)) + body)
        body = struct.pack("<2I2d2d", 7, 2**32 - 1, 1.0, 2.0, 3.0, 4.0)
        packed = pack_journal(np.array([7, 2**32 - 1], np.uint32), floats([1, 2]), floats([3, 4]))
        self.assertEqual(packed, struct.pack("<I", zlib.crc32(body)) + body)

    def test_every_damaged_byte_is_noticed(self) -> None:
        chunk = pack_chunk(floats([1.0, 2.0]), floats([3.0, 4.0]))
        row = pack_journal(np.array([1], np.uint32), floats([1.0]), floats([2.0]))
        for packed, unpack in ((chunk, unpack_chunk), (row, unpack_journal)):
            for place in range(len(packed)):
                damaged = packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :]
                self.assertRaises(StorageFailed, unpack, damaged)

    def test_a_block_cut_short_is_noticed(self) -> None:
        packed = pack_chunk(floats([1.0]), floats([2.0]))
        for length in range(len(packed)):
            self.assertRaises(StorageFailed, unpack_chunk, packed[:length])
            self.assertRaises(StorageFailed, read_plain, packed[:length])
        # The checksum may be right, and what it covers wrong.
        for body in (b"12345678", b"", struct.pack("<I", 4) + b"abcd", struct.pack("<I", 2**32 - 1)):
            sealed = struct.pack("<I", zlib.crc32(body)) + body
            self.assertRaises(StorageFailed, unpack_chunk, sealed)
        self.assertRaises(StorageFailed, read_plain, struct.pack("<I", zlib.crc32(b"1234567")) + b"1234567")
