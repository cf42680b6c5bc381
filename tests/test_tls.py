"""Certificates: loading a pair, making one, swapping one under open connections; TLS in memory."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import wrapServerTLS
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from rtoc_twisted import tls

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY = 86_400.0
PEM = serialization.Encoding.PEM
PLAIN = serialization.NoEncryption()
PKCS8 = serialization.PrivateFormat.PKCS8


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def signed(subject: str, key: Any, issuer: str, issuer_key: Any, ca: bool) -> x509.Certificate:
    """Return a certificate for `localhost` that is valid now."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def client(maximum: int = SSL.TLS1_3_VERSION, group: bytes = b"", suites: bytes = b"") -> SSL.Context:
    """Return a client's context that offers less than the usual."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if suites:
        context.set_cipher_list(suites)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_max_proto_version(maximum)
    if group:
        vars(SSL)["_lib"].SSL_CTX_set1_curves_list(context._context, group)
    return context


class Peer:
    """A TLS client in memory, talking to whatever takes and gives bytes."""

    def __init__(self, context: SSL.Context | None = None) -> None:
        self.connection = SSL.Connection(context or SSL.Context(SSL.TLS_CLIENT_METHOD), None)
        self.connection.set_connect_state()

    def meet(self, exchange: Callable[[bytes], bytes]) -> None:
        """Shake hands; raises SSL.Error if the other side refuses."""
        for _ in range(10):
            try:
                self.connection.do_handshake()
            except SSL.WantReadError:
                self.connection.bio_write(exchange(self.outgoing()))
            else:
                # TLS 1.3 servers send session tickets after the handshake.
                tickets = exchange(self.outgoing())
                if tickets:
                    self.connection.bio_write(tickets)
                return
        raise AssertionError("the handshake does not end")

    def outgoing(self) -> bytes:
        """Return what is to be sent."""
        try:
            return self.connection.bio_read(2**16)
        except SSL.WantReadError:
            return b""

    def certificate(self) -> x509.Certificate:
        found = self.connection.get_peer_certificate(as_cryptography=True)
        assert found is not None
        return found


def answering(context: SSL.Context) -> Callable[[bytes], bytes]:
    """Return the other half of `Peer.meet`: a bare OpenSSL server."""
    server = SSL.Connection(context, None)
    server.set_accept_state()

    def exchange(data: bytes) -> bytes:
        if data:
            server.bio_write(data)
        refusal = None
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        except SSL.Error as error:
            refusal = error
        try:
            return server.bio_read(2**16)
        except SSL.WantReadError:
            if refusal is not None:
                raise refusal from None
            return b""

    return exchange


class Base(SynchronousTestCase):
    """A directory, and files in it."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())

    def stored(self, name: str, content: bytes) -> Path:
        self.directory.mkdir(exist_ok=True)
        path = self.directory / name
        path.write_bytes(content)
        return path

    def stored_key(self, name: str, key: Any, protection: Any = PLAIN) -> Path:
        return self.stored(name, key.private_bytes(PEM, PKCS8, protection))

    def pair(self) -> tuple[Path, Path]:
        return tls.self_signed(self.directory, [], self.clock.seconds)


class LoadTests(Base):
    """A certificate with its key becomes a context of Mozilla's intermediate profile."""

    def refused(self, cert: Path, key: Path) -> str:
        return str(self.assertRaises(tls.CertificateError, tls.load, cert, key))

    def test_versions(self) -> None:
        context = tls.load(*self.pair())
        for version, name in [(SSL.TLS1_2_VERSION, "TLSv1.2"), (SSL.TLS1_3_VERSION, "TLSv1.3")]:
            peer = Peer(client(version))
            peer.meet(answering(context))
            self.assertEqual(peer.connection.get_protocol_version_name(), name)

    def test_old_versions_are_refused(self) -> None:
        peer = Peer(client(SSL.TLS1_1_VERSION, suites=b"ALL:@SECLEVEL=0"))
        self.assertRaises(SSL.Error, peer.meet, answering(tls.load(*self.pair())))

    def test_suites_without_aead_are_refused(self) -> None:
        suites = b"ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA"
        peer = Peer(client(SSL.TLS1_2_VERSION, suites=suites))
        self.assertRaises(SSL.Error, peer.meet, answering(tls.load(*self.pair())))

    def test_suites_are_just_mozillas(self) -> None:
        connection = SSL.Connection(tls.load(*self.pair()), None)
        older = {name for name in connection.get_cipher_list() if not name.startswith("TLS_")}
        self.assertEqual(
            older,
            {
                "ECDHE-ECDSA-AES128-GCM-SHA256",
                "ECDHE-RSA-AES128-GCM-SHA256",
                "ECDHE-ECDSA-AES256-GCM-SHA384",
                "ECDHE-RSA-AES256-GCM-SHA384",
                "ECDHE-ECDSA-CHACHA20-POLY1305",
                "ECDHE-RSA-CHACHA20-POLY1305",
            },
        )

    def test_groups(self) -> None:
        # This is what breaks when pyOpenSSL renames the call that `load` reaches for.
        context = tls.load(*self.pair())
        for group in (b"X25519", b"P-256", b"P-384"):
            Peer(client(group=group)).meet(answering(context))
        self.assertRaises(SSL.Error, Peer(client(group=b"P-521")).meet, answering(context))

    def test_no_resumption(self) -> None:
        context, visitor = tls.load(*self.pair()), client(SSL.TLS1_2_VERSION)
        self.assertEqual(context.get_session_cache_mode(), SSL.SESS_CACHE_OFF)
        first = Peer(visitor)
        first.meet(answering(context))
        session = first.connection.get_session()
        assert session is not None
        second = Peer(visitor)
        second.connection.set_session(session)
        second.meet(answering(context))
        self.assertFalse(vars(SSL)["_lib"].SSL_session_reused(second.connection._ssl))

    def test_chain_file(self) -> None:
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
        leaf_key = rsa.generate_private_key(65537, 2048)
        root = signed("root", keys[0], "root", keys[0], ca=True)
        middle = signed("middle", keys[1], "root", keys[0], ca=True)
        leaf = signed("leaf", leaf_key, "middle", keys[1], ca=False)
        cert = self.stored("fullchain.pem", leaf.public_bytes(PEM) + middle.public_bytes(PEM))
        key = self.stored_key("privkey.pem", leaf_key)

        context = client()
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(X509.from_cryptography(root))
        context.set_verify(SSL.VERIFY_PEER)
        peer = Peer(context)
        peer.meet(answering(tls.load(cert, key)))
        self.assertEqual(peer.certificate(), leaf)

    def test_mismatched_pair(self) -> None:
        cert, _ = self.pair()
        other = self.stored_key("other.pem", ec.generate_private_key(ec.SECP256R1()))
        self.assertEqual(self.refused(cert, other), f"{other} is not the key of {cert}")

    def test_encrypted_key(self) -> None:
        cert, key = self.pair()
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        locked = self.stored_key("locked.pem", private, serialization.BestAvailableEncryption(b"secret"))
        self.assertIn("locked.pem is encrypted", self.refused(cert, locked))

    def test_unusable_files(self) -> None:
        cert, key = self.pair()
        rubbish = self.stored("rubbish.pem", b"-----BEGIN NOTHING-----")
        missing = self.directory / "missing.pem"
        unusual = self.stored_key("unusual.pem", ed25519.Ed25519PrivateKey.generate())
        self.assertIn("rubbish.pem holds no PEM certificate", self.refused(rubbish, key))
        self.assertIn("rubbish.pem holds no PEM private key", self.refused(cert, rubbish))
        self.assertIn("missing.pem cannot be read: No such file", self.refused(missing, key))
        self.assertIn("missing.pem cannot be read: No such file", self.refused(cert, missing))
        self.assertIn("neither an RSA nor an EC key", self.refused(cert, unusual))

    def test_key_that_openssl_finds_too_weak(self) -> None:
        key = rsa.generate_private_key(65537, 1024)
        cert = self.stored("weak.pem", signed("w", key, "w", key, ca=False).public_bytes(PEM))
        self.assertIn("OpenSSL refuses", self.refused(cert, self.stored_key("weak-key.pem", key)))


class SelfSignedTests(Base):
    """A certificate of our own, made once and kept fresh."""

    def made(self, *hostnames: str) -> x509.Certificate:
        cert, _ = tls.self_signed(self.directory, hostnames, self.clock.seconds)
        return x509.load_pem_x509_certificate(cert.read_bytes())

    def test_what_it_says(self) -> None:
        cert = self.made("plotter.lan", "192.0.2.7", "localhost")
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(names.get_values_for_type(x509.DNSName), ["localhost", "plotter.lan"])
        self.assertEqual(
            names.get_values_for_type(x509.IPAddress),
            [ip_address(a) for a in ("127.0.0.1", "::1", "192.0.2.7")],
        )
        constraints = cert.extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertFalse(constraints.value.ca)
        usage = cert.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usage), [ExtendedKeyUsageOID.SERVER_AUTH])
        key = cert.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.assertEqual(key.curve.name, "secp256r1")

    def test_validity(self) -> None:
        cert = self.made()
        self.assertLess(cert.not_valid_before_utc, NOW)
        self.assertLessEqual(cert.not_valid_after_utc - cert.not_valid_before_utc, timedelta(days=825))

    def test_modes_and_nothing_left_behind(self) -> None:
        cert, key = self.pair()
        self.assertEqual(key.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)
        self.assertEqual(set(self.directory.iterdir()), {cert, key})

    def test_made_once(self) -> None:
        cert = self.made("plotter.lan")
        self.clock.advance(700 * DAY)
        self.assertEqual(self.made("plotter.lan"), cert)

    def test_renewed_before_it_ends(self) -> None:
        cert = self.made()
        self.clock.advance(800 * DAY)
        renewed = self.made()
        self.assertNotEqual(renewed, cert)
        self.assertEqual(renewed.public_key(), cert.public_key())
        self.assertGreater(renewed.not_valid_after_utc, NOW + timedelta(days=1500))

    def test_renewed_for_a_new_name(self) -> None:
        cert = self.made("old.lan")
        self.assertNotEqual(self.made("new.lan"), cert)

    def test_certificate_of_another_key_is_replaced(self) -> None:
        cert, key = self.pair()
        key.unlink()
        tls.load(*self.pair())

    def test_certificate_without_names_is_replaced(self) -> None:
        cert, key = self.pair()
        private = serialization.load_pem_private_key(key.read_bytes(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        bare = (
            x509.CertificateBuilder()
            .subject_name(named("x"))
            .issuer_name(named("x"))
            .public_key(private.public_key())
            .serial_number(1)
            .not_valid_before(NOW)
            .not_valid_after(NOW + timedelta(days=100))
            .sign(private, hashes.SHA256())
        )
        cert.write_bytes(bare.public_bytes(PEM))
        self.pair()
        self.assertNotEqual(cert.read_bytes(), bare.public_bytes(PEM))

    def test_spoilt_files_are_told(self) -> None:
        cert, key = self.pair()
        key.write_text("spoilt")
        error = self.assertRaises(tls.CertificateError, self.pair)
        self.assertIn(f"{key} holds no PEM private key", str(error))

    def test_directory_that_cannot_be(self) -> None:
        self.directory.write_text("a file")
        self.assertIn(
            "no certificate can be kept there", str(self.assertRaises(tls.CertificateError, self.pair))
        )

    def test_fingerprint(self) -> None:
        cert, _ = self.pair()
        der = ssl.PEM_cert_to_DER_cert(cert.read_text())
        digest = hashes.Hash(hashes.SHA256())
        digest.update(der)
        expected = ":".join(f"{byte:02X}" for byte in digest.finalize())
        self.assertEqual(tls.fingerprint(cert), expected)


@implementer(IStreamServerEndpoint)
class KeptEndpoint:
    """An endpoint that keeps the factory instead of listening."""

    factory: Any

    def listen(self, factory: Any) -> Deferred[Any]:
        self.factory = factory
        return succeed(None)


class Echo(Protocol):
    """Answer with what was sent."""

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class SwapTests(Base):
    """A new certificate for new connections, through Twisted's own TLS endpoint."""

    def setUp(self) -> None:
        super().setUp()
        self.creator = tls.SwappableContext(tls.load(*self.pair()))
        endpoint = KeptEndpoint()
        self.successResultOf(
            wrapServerTLS(self.creator, endpoint, self.clock).listen(Factory.forProtocol(Echo))
        )
        self.factory = endpoint.factory

    def connected(self) -> tuple[Peer, Callable[[bytes], bytes]]:
        transport = StringTransport()
        server = self.factory.buildProtocol(None)
        server.makeConnection(transport)

        def exchange(data: bytes) -> bytes:
            if data:
                server.dataReceived(data)
            self.clock.advance(0)
            sent: bytes = transport.value()
            transport.clear()
            return sent

        peer = Peer()
        peer.meet(exchange)
        return peer, exchange

    def test_interface(self) -> None:
        verifyObject(IOpenSSLServerConnectionCreator, self.creator)

    def test_swap(self) -> None:
        old, exchange = self.connected()
        before = old.certificate()
        cert, key = self.pair()
        cert.unlink()
        key.unlink()
        self.creator.swap(tls.load(*self.pair()))
        new, _ = self.connected()
        self.assertNotEqual(new.certificate(), before)
        self.assertEqual(self.connected()[0].certificate(), new.certificate())
        old.connection.send(b"still here")
        old.connection.bio_write(exchange(old.outgoing()))
        self.assertEqual(old.connection.recv(100), b"still here")

    def test_refused_pair_leaves_the_old_one(self) -> None:
        cert, _ = self.pair()
        wrong = self.stored_key("wrong.pem", ec.generate_private_key(ec.SECP256R1()))
        self.assertRaises(tls.CertificateError, tls.load, cert, wrong)
        peer, _ = self.connected()
        self.assertEqual(peer.certificate(), x509.load_pem_x509_certificate(cert.read_bytes()))
