"""sslyze judges the TLS port of a real server by Mozilla's intermediate profile."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.process_support import PATIENCE, ProcessCase

DAY = timedelta(days=1)


def signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    extensions: Sequence[x509.ExtensionType],
) -> bytes:
    """Return a certificate, PEM, that was valid a day ago and is for a month."""
    now = datetime.now(UTC)
    subject, signer = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer))
    builder = x509.CertificateBuilder(signer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - DAY).not_valid_after(now + 30 * DAY)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class JudgeTests(ProcessCase):
    """A server with a certificate of a throw-away authority, as a self-signed one is never compliant."""

    def setUp(self) -> None:
        super().setUp()
        self.sslyze = shlex.split(os.environ.get("SSLYZE", ""))
        if not self.sslyze:
            self.fail("the variable SSLYZE must name the command sslyze: `make test` installs it and sets it")

    def authority_and_server(self) -> tuple[Path, Path, Path]:
        """Return the files of the authority's certificate, and of the server's with its key."""
        ours, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        authority_id = x509.SubjectKeyIdentifier.from_public_key(theirs.public_key())
        signs_certificates = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        authority = [x509.BasicConstraints(ca=True, path_length=0), signs_certificates, authority_id]
        server = [
            x509.BasicConstraints(ca=False, path_length=None),
            x509.SubjectAlternativeName([x509.DNSName("localhost")]),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_id),
        ]
        ca, cert, key = (self.directory / name for name in ("ca.pem", "cert.pem", "key.pem"))
        ca.write_bytes(signed("Authority", theirs, "Authority", theirs, authority))
        cert.write_bytes(signed("localhost", ours, "Authority", theirs, server))
        key.write_bytes(
            ours.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return ca, cert, key

    def judged(self, ca: Path, port: int, profile: str) -> tuple[int, str]:
        """Return sslyze's exit code and report."""
        target = f"localhost:{port}"
        done = subprocess.run(
            [*self.sslyze, "--certinfo_ca_file", str(ca), f"--mozilla_config={profile}", target],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout

    def test_mozilla_intermediate(self) -> None:
        ca, cert, key = self.authority_and_server()
        child = self.start("--tls-port", "0", "--tls-cert", str(cert), "--tls-key", str(key))
        _, port = child.ports()
        code, report = self.judged(ca, port, "intermediate")
        self.assertEqual(code, 0, report)
        self.assertIn("OK - Compliant", report)
        # The judge does look: the profile "modern" allows no TLS 1.2, which we have.
        code, report = self.judged(ca, port, "modern")
        self.assertNotEqual(code, 0, report)
        self.assertIn("* tls_versions: ", report)
