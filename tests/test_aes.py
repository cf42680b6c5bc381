"""The password cipher of old clients (protocol section 4)."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.wire import aes

HASH = "rdsPXngmyFfXN20b2bwzwMVEeQourJYUSoryKxKYyUA="
KEY = aes.cipher_key(HASH)


class AesTests(SynchronousTestCase):
    def test_the_hash(self) -> None:
        self.assertEqual(aes.password_hash("geheim"), HASH)
        self.assertEqual(len(aes.password_hash("ä")), 44)

    def test_the_key(self) -> None:
        self.assertEqual(KEY, b"rdsPXngmyFfXN20b")

    def test_vectors_of_the_protocol_document(self) -> None:
        self.assertEqual(aes.decrypt(KEY, b"AqA9v8IMAWYhQ4fDc/p5IZJwel6zGhGtQGeR3rKqKSM="), b'{"Wow":true}')
        vector = b"AAECAwQFBgcICQoLDA0ODzCtdImY5Mcr7imy+R0DP9rld+NNpNODTA4uDbQYwmLV"
        plain = b'{"authorize": true}'
        self.assertEqual(aes.encrypt(KEY, plain, iv=bytes(range(16))), vector)
        self.assertEqual(aes.decrypt(KEY, vector), plain)

    def test_every_length(self) -> None:
        for length in range(50):
            plain = b"x" * length
            self.assertEqual(aes.decrypt(KEY, aes.encrypt(KEY, plain)), plain)

    def test_the_padding_is_that_of_others(self) -> None:
        for length in range(33):
            padder, plain = PKCS7(128).padder(), b"x" * length
            padded = padder.update(plain) + padder.finalize()
            encryptor = Cipher(algorithms.AES(KEY), modes.CBC(bytes(16))).encryptor()
            expected = base64.b64encode(bytes(16) + encryptor.update(padded) + encryptor.finalize())
            self.assertEqual(aes.encrypt(KEY, plain, iv=bytes(16)), expected)

    def test_each_message_has_its_own_iv(self) -> None:
        frames = {aes.encrypt(KEY, b"the same") for _ in range(20)}
        self.assertEqual(len(frames), 20)

    def test_none_for_every_cause(self) -> None:
        frame = aes.encrypt(KEY, b"some words that fill three blocks of it")
        raw = base64.b64decode(frame)
        for cause, broken in {
            "empty": b"",
            "no base64": b"{not base64}",
            "no ASCII": "ä".encode(),
            "line ends": frame[:10] + b"\n" + frame[10:],
            "no padding of base64": frame.rstrip(b"=") + b"A",
            "shorter than an IV": base64.b64encode(raw[:15]),
            "an IV alone": base64.b64encode(raw[:16]),
            "half a block": base64.b64encode(raw[:-8]),
            "a block missing": base64.b64encode(raw[:-16]),
            "another key": aes.encrypt(aes.cipher_key(aes.password_hash("other")), b"x" * 40),
        }.items():
            self.assertIsNone(aes.decrypt(KEY, broken), cause)
