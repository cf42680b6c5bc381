"""Secrets as they are kept, and the file of the server's password."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.auth import passwordfile
from rtoc_twisted.auth.passwords import generate_password, scrypt_hash, store, token_hash, verify
from rtoc_twisted.errors import NotAvailable
from rtoc_twisted.wire.aes import password_hash

from .doubles import stored

HASH = "rdsPXngmyFfXN20b2bwzwMVEeQourJYUSoryKxKYyUA="
# hashlib.scrypt(HASH, salt=b"0123456789abcdef", n=2, r=1, p=1, dklen=32)
CHEAP = "scrypt$2$1$1$MDEyMzQ1Njc4OWFiY2RlZg==$"


class PasswordTests(SynchronousTestCase):
    def test_hash_of_the_protocol_document(self) -> None:
        self.assertEqual(password_hash("geheim"), HASH)

    def test_nothing_that_proves_the_password_is_kept(self) -> None:
        kept = stored("geheim")
        for secret in ("geheim", HASH):
            self.assertNotIn(secret, repr(kept))
        self.assertEqual(kept.key, HASH[:16])
        self.assertIsNone(store("geheim", with_cipher=False).key)

    def test_verify(self) -> None:
        kept = stored("geheim").scrypt
        self.assertTrue(verify(HASH, kept))
        for wrong in ("", "geheim", HASH[:-1], password_hash("Geheim"), "\ud800"):
            self.assertFalse(verify(wrong, kept))

    def test_each_hash_has_its_own_salt(self) -> None:
        self.assertNotEqual(scrypt_hash(HASH), scrypt_hash(HASH))

    def test_what_is_no_hash(self) -> None:
        for wrong in ("", "scrypt", "bcrypt$1$1$1$AA==$AA==", CHEAP.replace("$2$", "$x$")):
            self.assertRaises(ValueError, verify, HASH, wrong)

    def test_tokens(self) -> None:
        self.assertEqual(
            token_hash("abc"), "sha256$ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        )
        self.assertNotEqual(token_hash("\ud800"), token_hash("abc"))

    def test_generated_passwords(self) -> None:
        first, second = generate_password(), generate_password()
        self.assertNotEqual(first, second)
        self.assertRegex(first, "^[a-z2-7]{24}$")


class PasswordFileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "password"

    def test_the_first_start(self) -> None:
        announced: list[str] = []
        made = passwordfile.read_or_make(self.directory, True, announced.append)
        (password,) = announced
        self.assertTrue(verify(password_hash(password), made.scrypt))
        self.assertEqual(made.key, password_hash(password)[:16])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(password, self.path.read_text())
        self.assertEqual(passwordfile.read_or_make(self.directory, True, announced.append), made)
        self.assertEqual(len(announced), 1)

    def test_without_the_cipher(self) -> None:
        made = passwordfile.read_or_make(self.directory, False, lambda _: None)
        self.assertIsNone(made.key)
        self.assertIsNone(passwordfile.read(self.path, False).key)
        self.assertIsNotNone(passwordfile.read(self.path, True).key)

    def test_the_password_itself(self) -> None:
        for text in ("geheim", "geheim\n", "geheim\r\nand a remark\n"):
            self.path.write_text(text)
            self.assertTrue(verify(HASH, passwordfile.read(self.path, True).scrypt))

    def test_a_broken_file_is_never_no_password(self) -> None:
        for content in (b"", b"\n", b"\ngeheim", b"\xff\xfe"):
            self.path.write_bytes(content)
            self.assertRaises(NotAvailable, passwordfile.read, self.path, True)
            self.assertRaises(NotAvailable, passwordfile.read_or_make, self.directory, True, self.fail)
        self.assertRaises(NotAvailable, passwordfile.read, self.directory / "missing", True)
        self.assertRaises(NotAvailable, passwordfile.read, self.directory, True)

    def test_a_link_is_not_followed(self) -> None:
        self.path.symlink_to(self.directory / "elsewhere")
        self.assertRaises(FileExistsError, passwordfile.read_or_make, self.directory, True, self.fail)
