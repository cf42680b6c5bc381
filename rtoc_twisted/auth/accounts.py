"""Accounts behind twisted.cred: what proves who somebody is, and what they may do then."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from ..interfaces import IAccount
from ..model import Permission
from .passwords import token_hash, verify

InThread = Callable[[Callable[[], Any]], Deferred[Any]]

OWNER = "owner"
"""The account of the server's one password, and of those who need none."""


@implementer(IAccount)
@dataclass(frozen=True)
class Account:
    """Somebody who was let in. password_hash, token_hash: as `passwords` makes them."""

    name: str
    permissions: Permission = Permission.ALL
    password_hash: str | None = None
    token_hash: str | None = None

    def may(self, permission: Permission) -> bool:
        """Return whether the account has that permission."""
        return permission in self.permissions


class IHashed(ICredentials):
    """Credentials with a name and a hash: `Hashed`."""


class IToken(ICredentials):
    """Credentials that are a token: `Token`."""


@implementer(IHashed)
@dataclass(frozen=True)
class Hashed:
    """A name, and the hash of a password as protocol section 3 makes it."""

    user: str
    hashed: str


@implementer(IToken)
@dataclass(frozen=True)
class Token:
    """A long random word."""

    token: str


@implementer(ICredentialsChecker)
class HashChecker:
    """Checks hashes against accounts, in a thread; a name that is unknown takes as long as a wrong hash."""

    credentialInterfaces = (IHashed,)

    def __init__(self, accounts: Iterable[Account], in_thread: InThread) -> None:
        self._hashes = {account.name: account.password_hash for account in accounts if account.password_hash}
        self._in_thread = in_thread
        # Verified once, a hash is known for the rest of the run: devices that reconnect cost nothing.
        self._proven: dict[str, bytes] = {}

    # ICredentialsChecker

    def requestAvatarId(self, credentials: Hashed) -> Deferred[Any]:
        """Fire with the name of the account; fail with UnauthorizedLogin."""
        user, hashed = credentials.user, credentials.hashed
        known = self._hashes.get(user)
        digest = hashlib.sha256(hashed.encode("utf-8", "replace")).digest()
        if user in self._proven and hmac.compare_digest(self._proven[user], digest):
            return succeed(user)
        stored = known or next(iter(self._hashes.values()), None)
        if stored is None:
            return fail(UnauthorizedLogin())

        def decided(right: bool) -> str:
            if not right or known is None:
                raise UnauthorizedLogin
            self._proven[user] = digest
            return user

        return self._in_thread(lambda: verify(hashed, stored)).addCallback(decided)


@implementer(ICredentialsChecker)
class TokenChecker:
    """Checks tokens against accounts."""

    credentialInterfaces = (IToken,)

    def __init__(self, accounts: Iterable[Account]) -> None:
        self._accounts = [account for account in accounts if account.token_hash]

    # ICredentialsChecker

    def requestAvatarId(self, credentials: Token) -> Deferred[Any]:
        """Fire with the name of the account; fail with UnauthorizedLogin."""
        offered = token_hash(credentials.token).encode()
        name = None
        for account in self._accounts:
            if hmac.compare_digest((account.token_hash or "").encode(), offered):
                name = account.name
        return fail(UnauthorizedLogin()) if name is None else succeed(name)


@implementer(IRealm)
class Realm:
    """Turns the name of an account into the account."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._accounts = accounts

    # IRealm

    def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: Any) -> Any:
        """Return the account, and nothing to be done when it leaves."""
        if IAccount not in interfaces:
            raise TypeError("this realm knows accounts only")
        return IAccount, self._accounts[avatar_id], lambda: None
