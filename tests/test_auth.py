"""Who may enter: passwords, accounts, tokens, and that checking them never holds the reactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass, verifyObject

from rtoc_twisted.auth.accounts import Account, HashChecker, Hashed, Realm, Token, TokenChecker
from rtoc_twisted.auth.commands import AuthCommands
from rtoc_twisted.auth.passwords import scrypt_hash, token_hash
from rtoc_twisted.auth.provider import Auth
from rtoc_twisted.errors import BadValue
from rtoc_twisted.interfaces import IAccount, IAuth, ICommandSource
from rtoc_twisted.model import Permission
from rtoc_twisted.wire.aes import cipher_key, password_hash

from .doubles import LOCAL, REMOTE, stored

HASH = password_hash("geheim")


class Threads:
    """Threads that run when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, function: Callable[[], Any]) -> Deferred[Any]:
        self.jobs.append((function, Deferred()))
        return self.jobs[-1][1]

    def run(self) -> None:
        jobs, self.jobs = self.jobs, []
        for function, done in jobs:
            done.callback(function())


class AuthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.threads = Threads()
        self.auth = self.make()

    def make(self, *accounts: Account, password: Any = stored("geheim"), **options: Any) -> Auth:  # noqa: B008
        return Auth(password, accounts, clock=self.clock, in_thread=self.threads, **options)

    def verdict(self, credential: Any, peer: Any = REMOTE) -> Any:
        login = self.auth.login(credential, peer)
        self.threads.run()
        return self.successResultOf(login)

    def test_interfaces(self) -> None:
        verifyObject(IAuth, self.auth)
        verifyClass(IAuth, Auth)
        verifyObject(IAccount, Account("x"))
        verifyObject(ICredentialsChecker, HashChecker([], self.threads))
        verifyObject(ICredentialsChecker, TokenChecker([]))
        verifyObject(IRealm, Realm({}))
        verifyObject(ICommandSource, AuthCommands())

    def test_the_password(self) -> None:
        account = self.verdict(HASH)
        self.assertEqual((account.name, account.may(Permission.ALL)), ("owner", True))
        self.assertIsNone(self.auth.admit(REMOTE))
        self.assertTrue(self.auth.required)
        self.assertEqual(self.auth.cipher_key, cipher_key(HASH))

    def test_what_is_wrong(self) -> None:
        wrong = ["", "geheim", HASH + " ", HASH[:-1], "\ud800", 5, [HASH], {}, {"user": "owner"}]
        wrong += [{"hash": HASH}, {"user": "owner", "hash": None}, {"token": HASH}, {"token": "\udfff"}]
        wrong += [{"user": "nobody", "hash": HASH}, {"user": "owner", "hash": "\ud800"}]
        for credential in wrong:
            self.auth = self.make(Account("sensor", token_hash=token_hash("word")))
            self.assertIsNone(self.verdict(credential), credential)
            self.assertEqual(self.auth.refused, 1)

    def test_no_credential_is_no_try(self) -> None:
        for _ in range(20):
            for credential in (True, False, None):
                self.assertIsNone(self.verdict(credential))
        self.assertEqual(self.auth.refused, 0)
        self.assertIsNotNone(self.verdict(HASH))

    def test_no_password(self) -> None:
        self.auth = self.make(password=None)
        self.assertEqual(self.auth.admit(REMOTE), self.verdict("anything"))
        self.assertEqual((self.auth.required, self.auth.cipher_key), (False, None))

    def test_the_whitelist(self) -> None:
        for credential in (True, "", "wrong", None):
            self.assertEqual(self.verdict(credential, LOCAL).name, "owner")
        self.assertIsNone(self.verdict({"user": "owner", "hash": "wrong"}, LOCAL))
        self.assertIsNone(self.auth.admit(LOCAL))

    def test_accounts(self) -> None:
        reader = Account("reader", Permission.READ, password_hash=scrypt_hash(password_hash("lesen")))
        sensor = Account("sensor", Permission.WRITE, token_hash=token_hash("a long word"))
        self.auth = self.make(reader, sensor)
        self.assertIs(self.verdict({"user": "reader", "hash": password_hash("lesen")}), reader)
        self.assertIs(self.verdict({"token": "a long word"}), sensor)
        self.assertIsNone(self.verdict({"user": "reader", "hash": HASH}))
        self.assertIsNone(self.verdict({"user": "sensor", "hash": HASH}))
        self.assertIsNone(self.verdict(password_hash("lesen")))
        self.assertFalse(reader.may(Permission.WRITE))
        self.assertFalse(reader.may(Permission.READ | Permission.WRITE))

    def test_the_owners_name_is_taken(self) -> None:
        self.assertRaises(BadValue, self.make, Account("owner", Permission.READ))

    def test_scrypt_runs_in_a_thread(self) -> None:
        login = self.auth.login(HASH, REMOTE)
        self.assertEqual(len(self.threads.jobs), 1)
        self.assertNoResult(login)
        self.threads.run()
        self.successResultOf(login)

    def test_what_is_proven_costs_nothing(self) -> None:
        self.verdict(HASH)
        self.assertEqual(self.successResultOf(self.auth.login(HASH, REMOTE)).name, "owner")
        self.assertEqual(self.threads.jobs, [])
        self.assertIsNone(self.verdict("wrong"))
        self.auth.login("wrong", REMOTE)
        self.assertEqual(len(self.threads.jobs), 1)

    def test_unknown_names_take_as_long(self) -> None:
        self.auth.login({"user": "nobody", "hash": HASH}, REMOTE)
        self.assertEqual(len(self.threads.jobs), 1)

    def test_wrong_tries_wait_and_right_ones_forgive(self) -> None:
        for _ in range(5):
            self.auth.login("wrong", REMOTE)
            self.clock.advance(30)
            self.threads.run()
        late = self.auth.login(HASH, REMOTE)
        self.clock.advance(0.9)
        self.assertEqual(self.threads.jobs, [])
        self.clock.advance(0.1)
        self.threads.run()
        self.assertEqual(self.successResultOf(late).name, "owner")
        self.auth.login("wrong", REMOTE)
        self.assertEqual(len(self.threads.jobs), 1)

    def test_parallel_tries_are_checked_one_by_one(self) -> None:
        for _ in range(50):
            self.auth.login("wrong", REMOTE)
        self.assertEqual(len(self.threads.jobs), 1)
        self.auth.login("wrong", LOCAL)
        self.auth.login({"user": "owner", "hash": "wrong"}, LOCAL)
        self.assertEqual(len(self.threads.jobs), 2)

    def test_who_leaves_before_the_verdict_has_tried(self) -> None:
        for _ in range(4):
            login = self.auth.login("wrong", REMOTE)
            self.clock.advance(0.25)
            login.cancel()
        self.assertEqual(self.auth.refused, 4)
        self.threads.jobs.clear()
        self.auth.login("wrong", REMOTE)
        self.assertEqual(self.threads.jobs, [])

    def test_required_cipher_needs_a_key(self) -> None:
        self.assertTrue(self.make(cipher_required=True).cipher_required)
        self.assertFalse(self.make(cipher_required=True, password=None).cipher_required)


class CheckerTests(SynchronousTestCase):
    def test_without_any_hash(self) -> None:
        threads = Threads()
        self.failureResultOf(HashChecker([], threads).requestAvatarId(Hashed("x", HASH)), UnauthorizedLogin)
        self.assertEqual(threads.jobs, [])

    def test_a_hash_that_is_none_is_no_refusal(self) -> None:
        threads = Threads()
        checker = HashChecker([Account("x", password_hash="broken")], threads)
        checker.requestAvatarId(Hashed("x", HASH))
        self.assertRaises(ValueError, threads.run)

    def test_tokens(self) -> None:
        checker = TokenChecker(
            [Account("a", token_hash=token_hash("1")), Account("b"), Account("c", token_hash=token_hash("2"))]
        )
        self.assertEqual(self.successResultOf(checker.requestAvatarId(Token("2"))), "c")
        self.failureResultOf(checker.requestAvatarId(Token("3")), UnauthorizedLogin)
        self.failureResultOf(checker.requestAvatarId(Token("")), UnauthorizedLogin)

    def test_the_realm_knows_accounts_only(self) -> None:
        account = Account("x")
        interface, avatar, logout = Realm({"x": account}).requestAvatar("x", None, IAccount)
        self.assertEqual((interface, avatar, logout()), (IAccount, account, None))
        self.assertRaises(TypeError, Realm({"x": account}).requestAvatar, "x", None, IAuth)

    def test_cancelling_is_an_answer_too(self) -> None:
        checker = HashChecker([Account("x", password_hash=scrypt_hash(HASH))], Threads())
        asked = checker.requestAvatarId(Hashed("x", HASH))
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
