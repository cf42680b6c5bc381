"""Who the server is: TLS verification, and credentials for the login."""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtoc_twisted.client.failures import CertificateRefused
from rtoc_twisted.errors import BadValue
from rtoc_twisted.wire.aes import password_hash

_SHA256_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Trust:
    """Which certificates a wss:// connection accepts: by default those of the system's authorities.

    ca_file: PEM file of the authorities to trust instead. fingerprint: the SHA-256 of exactly one
    certificate in hex, colons allowed, as the server logs its own; names and authorities are not looked at
    then. insecure: any certificate; for trials only, as everybody on the way can read and change all.
    BadValue if the fingerprint is none.
    """

    ca_file: str | Path | None = None
    fingerprint: str | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.fingerprint is not None and not _SHA256_HEX.fullmatch(_plain_hex(self.fingerprint)):
            raise BadValue("a fingerprint is 32 bytes in hex: AB:CD:...")

    def context(self) -> ssl.SSLContext:
        """Return a context for TLS connections; BadValue if the CA file cannot be used."""
        if self.insecure or self.fingerprint is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except OSError as error:
            raise BadValue(f"the CA file {self.ca_file}: {error}") from error

    def check(self, certificate: bytes | None) -> None:
        """Raise CertificateRefused unless a pinned fingerprint is that of the certificate (DER)."""
        if self.fingerprint is None:
            return
        if certificate is None:
            raise CertificateRefused("without TLS there is no certificate to compare: use wss://")
        found = hashlib.sha256(certificate).hexdigest()
        if found != _plain_hex(self.fingerprint):
            shown = ":".join(found[place : place + 2] for place in range(0, len(found), 2)).upper()
            raise CertificateRefused(f"the server's certificate has another fingerprint: {shown}")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who logs in: a token, or a password, with a user's name where the server has accounts."""

    password: str | None = field(default=None, repr=False)
    user: str | None = None
    token: str | None = field(default=None, repr=False)

    def authorize(self) -> Any:
        """Return the value of the `authorize` key (protocol section 3).

        Without any credentials it is true, which servers without a password and those that trust this
        host's address accept.
        """
        if self.token is not None:
            return {"token": self.token}
        if self.password is None:
            return True
        hashed = password_hash(self.password)
        return hashed if self.user is None else {"user": self.user, "hash": hashed}


def _plain_hex(fingerprint: str) -> str:
    return fingerprint.replace(":", "").replace(" ", "").lower()
