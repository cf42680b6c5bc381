"""The password cipher of RTOC's old clients: AES-128-CBC in base64 text frames (protocol section 4)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

KEY_LENGTH = 16
_BLOCK = 16
_IV_LENGTH = 16


def password_hash(password: str) -> str:
    """Return what a client sends as `authorize`: base64(sha256(utf8(password))), 44 characters."""
    return base64.b64encode(hashlib.sha256(password.encode()).digest()).decode("ascii")


def cipher_key(hashed: str) -> bytes:
    """Return the AES key of a password hash: its first 16 characters as bytes."""
    return hashed[:KEY_LENGTH].encode("ascii")


def encrypt(key: bytes, plain: bytes, iv: bytes | None = None) -> bytes:
    """Return base64(IV + AES-128-CBC(PKCS7(plain))); a random IV unless one is given."""
    iv = os.urandom(_IV_LENGTH) if iv is None else iv
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    # PKCS7 is RFC 5652 section 6.3. An answer may be large: no copy of it is made that is not needed.
    padding = _BLOCK - len(plain) % _BLOCK
    sealed = iv + encryptor.update(plain + bytes((padding,)) * padding) + encryptor.finalize()
    return binascii.b2a_base64(sealed, newline=False)


def decrypt(key: bytes, frame: bytes) -> bytes | None:
    """Return the plain bytes of a frame, or None for every cause of failure alike."""
    try:
        raw = base64.b64decode(frame, validate=True)
        iv, body = raw[:_IV_LENGTH], raw[_IV_LENGTH:]
        decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
        padded = decryptor.update(body) + decryptor.finalize()
        unpadder = PKCS7(_BLOCK * 8).unpadder()
        return unpadder.update(padded) + unpadder.finalize()
    except (binascii.Error, ValueError):
        return None
