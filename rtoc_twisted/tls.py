"""Certificates of the TLS port: load, make, swap."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

# Mozilla's "intermediate" profile; TLS 1.3 brings its own suites.
CIPHERS = b":".join(
    b"ECDHE-%s-%s" % (kind, suite)
    for suite in (b"AES128-GCM-SHA256", b"AES256-GCM-SHA384", b"CHACHA20-POLY1305")
    for kind in (b"ECDSA", b"RSA")
)
GROUPS = (b"X25519MLKEM768:X25519:P-256:P-384", b"X25519:P-256:P-384")

CERTIFICATE = "self-signed-cert.pem"
KEY = "self-signed-key.pem"
# Apple's clients refuse certificates that are valid for more than 825 days.
VALIDITY = timedelta(days=820)
RENEWAL = timedelta(days=30)
# Small devices often run a slow clock: the certificate must not begin in their future.
CLOCK_SKEW = timedelta(days=1)

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class CertificateError(Exception):
    """A certificate or key cannot be used; the text names the file and says why."""


def load(cert: Path, key: Path) -> SSL.Context:
    """Return a complete server context for a certificate and its key.

    cert: PEM, the server's certificate first, then its chain (certbot's fullchain.pem); key: PEM, not
    encrypted, RSA or EC. TLS 1.2 and 1.3 after Mozilla's intermediate profile.
    Raises CertificateError if a file cannot be read or the two do not belong together.
    """
    leaf, *chain = _read_certificates(cert)
    private = _read_key(key)
    if leaf.public_key() != private.public_key():
        raise CertificateError(f"{key} is not the key of {cert}")
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_cipher_list(CIPHERS)
    _set_groups(context)
    try:
        context.use_certificate(leaf)
        for issuer in chain:
            context.add_extra_chain_cert(issuer)
        context.use_privatekey(private)
        context.check_privatekey()
    except SSL.Error as error:
        raise CertificateError(f"OpenSSL refuses {cert} with {key}: {error}") from error
    return context


def _set_groups(context: SSL.Context) -> None:
    # pyOpenSSL has no public call for it; without it OpenSSL's own, longer list holds.
    library = getattr(SSL, "_lib", None)
    set_groups = getattr(library, "SSL_CTX_set1_curves_list", None)
    if library is None or set_groups is None:
        return
    # An OpenSSL before 3.5 refuses a list that has the post-quantum group in it.
    for groups in GROUPS:
        if set_groups(context._context, groups) == 1:
            return
        library.ERR_clear_error()


def _read_certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CertificateError(f"{path} holds no PEM certificate") from error


def _read_key(path: Path) -> PrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from error
    except TypeError as error:
        raise CertificateError(f"{path} is encrypted; the server needs a key without a passphrase") from error
    except ValueError as error:
        raise CertificateError(f"{path} holds no PEM private key") from error
    if not isinstance(key, PrivateKey):
        raise CertificateError(f"{path} is neither an RSA nor an EC key")
    return key


def fingerprint(cert: Path) -> str:
    """Return the SHA-256 fingerprint of the first certificate in a file, as "AB:CD:..".

    Raises CertificateError if the file cannot be read.
    """
    return _read_certificates(cert)[0].fingerprint(hashes.SHA256()).hex(":").upper()


def self_signed(directory: Path, hostnames: Iterable[str], wall: Callable[[], float]) -> tuple[Path, Path]:
    """Return (certificate, key) of a self-signed EC P-256 certificate, made if there is none.

    directory: where both files live, made with mode 700 if missing; hostnames: names and addresses
    beside localhost, 127.0.0.1 and ::1; wall: seconds since the epoch. A certificate that ends within
    30 days or lacks one of the names is made anew; the key stays, so the pair fits at any moment.
    Raises CertificateError if what is there cannot be read or the directory cannot be written.
    """
    names = [_general_name(name) for name in dict.fromkeys(["localhost", "127.0.0.1", "::1", *hostnames])]
    now = datetime.fromtimestamp(wall(), UTC)
    cert_path, key_path = directory / CERTIFICATE, directory / KEY
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not key_path.exists():
            _write(key_path, _pem(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
        key = _read_key(key_path)
        if not cert_path.exists() or not _holds(_read_certificates(cert_path)[0], key, names, now):
            certificate = _sign(key, names, now)
            _write(cert_path, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)
    except OSError as error:
        raise CertificateError(f"{directory}: no certificate can be kept there: {error.strerror}") from error
    return cert_path, key_path


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name.encode("idna").decode("ascii"))


def _holds(cert: x509.Certificate, key: PrivateKey, names: list[x509.GeneralName], now: datetime) -> bool:
    try:
        named = set(cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return False
    return (
        cert.public_key() == key.public_key()
        and cert.not_valid_before_utc <= now < cert.not_valid_after_utc - RENEWAL
        and named.issuperset(names)
    )


def _sign(key: PrivateKey, names: list[x509.GeneralName], now: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "RTOC self-signed")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now - CLOCK_SKEW + VALIDITY)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a file that appears complete, with its mode, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)


@implementer(IOpenSSLServerConnectionCreator)
class SwappableContext:
    """Give each new TLS connection the context that is in force when it comes.

    For `twisted.internet.endpoints.wrapServerTLS`. context: as `load` returns it; without one,
    no handshake succeeds before the first `swap`.
    """

    def __init__(self, context: SSL.Context | None = None) -> None:
        self._context = context or SSL.Context(SSL.TLS_SERVER_METHOD)

    def swap(self, context: SSL.Context) -> None:
        """Use another context from now on; connections that stand keep theirs."""
        self._context = context

    # IOpenSSLServerConnectionCreator

    def serverConnectionForTLS(self, tls_protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return a new server-side connection."""
        return SSL.Connection(self._context, None)
