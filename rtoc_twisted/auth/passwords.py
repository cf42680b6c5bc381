"""Secrets as they are kept: never the password, never what a client sends to prove it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from ..wire.aes import cipher_key, password_hash

_COST, _BLOCK, _PARALLEL = 2**14, 8, 1
_SCRYPT_MEMORY = 64 << 20
_GENERATED_BYTES = 15


@dataclass(frozen=True)
class StoredPassword:
    """What is kept of a password: a scrypt hash, and the key of the old cipher (protocol section 4).

    The key is 16 of the 44 characters that a client proves itself with; the other 28 cannot be had
    from it, but it makes guessing a weak password cheaper. None where the old cipher is off.
    """

    scrypt: str
    key: str | None = None


def store(password: str, with_cipher: bool = True) -> StoredPassword:
    """Return what to keep of a password. Takes some 50 ms: not for the reactor's thread."""
    hashed = password_hash(password)
    return StoredPassword(scrypt_hash(hashed), cipher_key(hashed).decode() if with_cipher else None)


def scrypt_hash(hashed: str) -> str:
    """Return the scrypt hash (RFC 7914) of what a client sends, with its parameters and a new salt."""
    salt = secrets.token_bytes(16)
    digest = _scrypt(hashed, salt, _COST, _BLOCK, _PARALLEL)
    encoded = (base64.b64encode(part).decode() for part in (salt, digest))
    return "$".join(("scrypt", str(_COST), str(_BLOCK), str(_PARALLEL), *encoded))


def verify(hashed: str, stored: str) -> bool:
    """Return whether a client's hash is the one that was stored. Takes some 50 ms.

    Raises ValueError if `stored` is no scrypt hash.
    """
    kind, cost, block, parallel, salt, digest = stored.split("$")
    if kind != "scrypt":
        raise ValueError(f"unknown kind of hash: {kind}")
    numbers = (int(cost), int(block), int(parallel))
    return hmac.compare_digest(_scrypt(hashed, base64.b64decode(salt), *numbers), base64.b64decode(digest))


def _scrypt(hashed: str, salt: bytes, cost: int, block: int, parallel: int) -> bytes:
    # A client may send what is no text at all; it is no hash either.
    word = hashed.encode(errors="replace")
    return hashlib.scrypt(word, salt=salt, n=cost, r=block, p=parallel, maxmem=_SCRYPT_MEMORY, dklen=32)


def token_hash(token: str) -> str:
    """Return what is kept of a token. Tokens are long and random: one round of SHA-256 is enough."""
    return "sha256$" + hashlib.sha256(token.encode(errors="replace")).hexdigest()


def generate_password() -> str:
    """Return a new password of 120 random bits, in characters that are easy to copy."""
    return base64.b32encode(secrets.token_bytes(_GENERATED_BYTES)).decode().lower()
