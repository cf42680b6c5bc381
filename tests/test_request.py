"""Requests: which keys they have, and what is wrong with them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import BadJSON, BadValue
from rtoc_twisted.wire.codec import to_json
from rtoc_twisted.wire.request import NO_REQUEST, Request, RequestSchema, is_msgpack, utf8

SCHEMA = RequestSchema({"id": Any, "number": float, "words": list[str], "deep": dict[str, list[int]]})


class RequestTests(SynchronousTestCase):
    def both(self, value: Any) -> list[Request]:
        return [
            SCHEMA.decode(json.dumps(value).encode()),
            SCHEMA.decode_msgpack(msgspec.msgpack.encode(value)),
        ]

    def test_keys_and_values(self) -> None:
        for request in self.both({"number": 1.5, "words": ["a"], "unknown": {"x": 1}}):
            self.assertEqual(
                ("number" in request, "deep" in request, "unknown" in request), (True, False, False)
            )
            self.assertEqual(len(request), 2)
            self.assertEqual((request.value("number", float), request.value("words")), (1.5, ["a"]))
            self.assertRaises(KeyError, request.value, "deep")

    def test_the_path_of_what_is_wrong(self) -> None:
        wrong = {"number": "x", "words": ["a", 2], "deep": {"a": [1, "b"]}}
        for request in self.both(wrong):
            for key, kind, place in (
                ("number", float, "number: "),
                ("words", list[str], r"words\[1\]: "),
                ("deep", dict[str, list[int]], r"deep\[\.\.\.\]\[1\]: "),
            ):
                with self.assertRaisesRegex(BadValue, f"^{place}Expected"):
                    request.value(key, kind)

    def test_unknown_keys_alone(self) -> None:
        for request in self.both({"unknown": 1}):
            self.assertEqual(len(request), 0)

    def test_what_is_no_request(self) -> None:
        for payload in (
            b"",
            b" ",
            b"{",
            b"{}",
            b" { } ",
            b"[]",
            b"[1]",
            b'"x"',
            b"17",
            b"true",
            b"null",
            b"x",
            b"\xff",
            b'{"number":1}}',
            b"[" * 100_000,
            b'{"number":' * 100_000,
        ):
            self.assertRaises(BadJSON, SCHEMA.decode, payload)

    def test_what_is_no_messagepack_request(self) -> None:
        for payload in (b"\x80", b"\x81", b"\x81\xa1", b"\x93\x01\x02\x03", b"\xc1", b"\x81" * 100_000, b""):
            self.assertRaises(BadJSON, SCHEMA.decode_msgpack, payload)

    def test_nan_and_infinity(self) -> None:
        request = SCHEMA.decode(b'{"words":["a"],"number":NaN,"deep":Infinity}')
        self.assertNotEqual(request.value("number"), request.value("number"))
        self.assertEqual(request.value("deep"), float("inf"))
        with self.assertRaisesRegex(BadValue, r"^words\[0\]: "):
            request.value("words", list[int])

    def test_the_last_of_two_equal_keys_counts(self) -> None:
        for payload in (b'{"number":1,"number":2}', b'{"number":NaN,"number":2}'):
            self.assertEqual(SCHEMA.decode(payload).value("number"), 2)

    def test_the_id_comes_back(self) -> None:
        for text in (b"17", b'"x"', b"1.50", b"null", b"[1, 2]"):
            self.assertEqual(to_json(SCHEMA.decode(b'{"id":' + text + b"}").echo("id")), text)
        self.assertEqual(SCHEMA.decode_msgpack(msgspec.msgpack.encode({"id": "x"})).echo("id"), "x")

    def test_an_id_that_cannot_come_back(self) -> None:
        self.assertRaises(BadValue, SCHEMA.decode, b'{"id":"\\ud800"}')
        self.assertRaises(BadValue, SCHEMA.decode_msgpack, msgspec.msgpack.encode({"id": b"bytes"}))

    def test_no_request(self) -> None:
        self.assertEqual((len(NO_REQUEST), "id" in NO_REQUEST), (0, False))

    def test_utf8(self) -> None:
        self.assertEqual(utf8("ä".encode()), "ä".encode())
        self.assertRaises(BadJSON, utf8, b"\xc3")

    def test_messagepack_is_told_from_json(self) -> None:
        for value in ({}, {"a": 1}, {str(n): n for n in range(20)}, {str(n): n for n in range(70_000)}):
            self.assertTrue(is_msgpack(msgspec.msgpack.encode(value)))
        for payload in (b"", b"{}", b" {}", b"[", b"\xef\xbb\xbf{}", "ä".encode()):
            self.assertFalse(is_msgpack(payload))
