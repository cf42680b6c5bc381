"""How values become frames."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import BadValue
from rtoc_twisted.wire import aes, codec
from rtoc_twisted.wire.codec import (
    JSON,
    MSGPACK,
    AesDialect,
    Column,
    ExactColumn,
    Message,
    Verbatim,
    check_value,
    to_json,
)
from rtoc_twisted.wire.frames import binary_frame, text_frame

from .doubles import messages, packed

NAN, INF = float("nan"), float("inf")


class JsonTests(SynchronousTestCase):
    def test_columns(self) -> None:
        column = Column(np.array([1.0, NAN, -INF, 0.1, 1e300]))
        self.assertEqual(json.loads(to_json({"x": column})), {"x": [1, None, None, 0.1, 1e300]})
        self.assertEqual(to_json(Column(np.empty(0))), b"[]")

    def test_long_columns_come_in_slices(self) -> None:
        self.patch(codec, "_FEW", 2)
        self.patch(codec, "_SLICE", 4)
        for length in (3, 4, 5, 8, 9):
            values = np.arange(length, dtype=np.float64)
            self.assertEqual(json.loads(to_json(Column(values))), values.tolist())

    def test_exact_columns(self) -> None:
        values = np.array([1.0, NAN, -INF, -0.0, 0.1])
        text = json.loads(to_json({"x": ExactColumn(values)}))["x"]
        self.assertEqual(base64.b64decode(text, validate=True), values.tobytes())
        self.assertEqual(to_json(ExactColumn(np.empty(0))), b'""')

    def test_slices_of_exact_columns_are_padded_at_the_end_alone(self) -> None:
        self.assertEqual(codec._SLICE % 3, 0)
        self.patch(codec, "_FEW", 2)
        self.patch(codec, "_SLICE", 3)
        for length in range(10):
            values = np.arange(length, dtype=np.float64)
            self.assertEqual(to_json(ExactColumn(values)), b'"%s"' % base64.b64encode(values.tobytes()))

    def test_columns_with_steps(self) -> None:
        self.assertEqual(to_json(Column(np.arange(6.0)[::2])), b"[0.0,2.0,4.0]")
        self.assertEqual(msgspec.msgpack.decode(packed(Column(np.arange(6.0)[::2]))), [0.0, 2.0, 4.0])
        exact = packed(ExactColumn(np.arange(6.0)[::2]))
        self.assertEqual(msgspec.msgpack.decode(exact), np.array([0.0, 2.0, 4.0]).tobytes())

    def test_nan_is_null(self) -> None:
        self.assertEqual(to_json([NAN, INF, -INF, 1.5]), b"[null,null,null,1.5]")

    def test_numbers_as_keys(self) -> None:
        self.assertEqual(to_json({1: 2, "a": 3}), b'{"1":2,"a":3}')

    def test_what_has_no_word(self) -> None:
        for value in ({1}, b"bytes", object(), "\ud800", 2**70):
            self.assertRaises(TypeError, to_json, value)
            with self.assertRaisesRegex(BadValue, "^event.value: "):
                check_value({"a": [value]}, "event.value")
        check_value({"a": [1, NAN, None, "x"]}, "event.value")

    def test_what_was_never_decoded(self) -> None:
        for text in (b"1.50", b'"x"', b'{"a": [1]}', b"123456789012345678901234567890"):
            self.assertEqual(to_json({"id": Verbatim(msgspec.Raw(text))}), b'{"id":' + text + b"}")


class MsgpackTests(SynchronousTestCase):
    def test_columns(self) -> None:
        found = packed({"x": Column(np.array([1.0, NAN, INF]))})
        self.assertEqual(msgspec.msgpack.decode(found), {"x": [1, None, None]})

    def test_columns_are_written_as_msgspec_writes_lists_and_bytes(self) -> None:
        self.patch(codec, "_FEW", -1)
        for length in (0, 1, 15, 16, 31, 32, 255, 256, 8191, 8192, 65_535, 65_536):
            values = np.arange(length, dtype=np.float64)
            self.assertEqual(packed(Column(values)), msgspec.msgpack.encode(values.tolist()))
            self.assertEqual(packed(ExactColumn(values)), msgspec.msgpack.encode(values.tobytes()))

    def test_what_was_never_decoded(self) -> None:
        found = packed({"id": Verbatim(msgspec.Raw(b'{"a": [1]}'))})
        self.assertEqual(msgspec.msgpack.decode(found), {"id": {"a": [1]}})

    def test_what_has_no_word(self) -> None:
        self.assertRaises(TypeError, packed, object())
        self.assertRaises(OverflowError, packed, 2**70)


class FrameTests(SynchronousTestCase):
    """RFC 6455 section 5.2."""

    def test_heads(self) -> None:
        for length, head in (
            (0, b"\x81\x00"),
            (125, b"\x81\x7d"),
            (126, b"\x81\x7e\x00\x7e"),
            (65_535, b"\x81\x7e\xff\xff"),
            (65_536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
        ):
            payload = b"x" * length
            self.assertEqual(text_frame(payload), head + payload)
            self.assertEqual(binary_frame(payload), b"\x82" + head[1:] + payload)


class DialectTests(SynchronousTestCase):
    def test_each_dialect(self) -> None:
        message, key = Message({"a": 1}), b"0123456789abcdef"
        self.assertEqual(JSON.frame(message), b'\x81\x07{"a":1}')
        self.assertEqual(MSGPACK.frame(message), b"\x82\x04\x81\xa1a\x01")
        opened = aes.decrypt(key, AesDialect(key).frame(message)[2:])
        self.assertEqual(opened, b'{"a":1}')
        stream = b"".join([JSON.frame(message), MSGPACK.frame(message), AesDialect(key).frame(message)])
        self.assertEqual(list(messages(stream, key)), [{"a": 1}] * 3)

    def test_encoded_once_for_all_who_speak_alike(self) -> None:
        made: list[Any] = []
        message = Message("value")

        def make(value: Any) -> bytes:
            made.append(value)
            return b"frame"

        self.assertEqual([message.once("json", make), message.once("json", make)], [b"frame"] * 2)
        message.once("other", make)
        self.assertEqual(made, ["value", "value"])
        shared = Message([1])
        self.assertIs(JSON.frame(shared), JSON.frame(shared))
        self.assertIs(MSGPACK.frame(shared), MSGPACK.frame(shared))

    def test_encrypted_each_time_anew(self) -> None:
        dialect, message = AesDialect(b"0123456789abcdef"), Message([1])
        self.assertNotEqual(dialect.frame(message), dialect.frame(message))

    def test_a_failure_is_not_remembered(self) -> None:
        message = Message({1})
        self.assertRaises(TypeError, JSON.frame, message)
        self.assertRaises(TypeError, JSON.frame, message)
        self.assertEqual(msgspec.msgpack.decode(MSGPACK.frame(message)[2:]), [1])
