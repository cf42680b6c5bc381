"""IAuth: who needs a login, and what happens at one (protocol section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import Portal
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..errors import BadValue
from ..interfaces import IAccount, IAuth, IPeer
from .accounts import OWNER, Account, HashChecker, Hashed, InThread, Realm, Token, TokenChecker
from .lockout import Lockout
from .passwords import StoredPassword


@implementer(IAuth)
class Auth:
    """Lets in whoever knows the password, an account's password or token; everybody where none is set.

    password: None lets everybody in; accounts: beside the password's own, BadValue where one has its
    name; cipher_required: whether plain ws from peers that are not trusted is refused.
    """

    _log = Logger()

    def __init__(
        self,
        password: StoredPassword | None,
        accounts: Sequence[Account],
        *,
        clock: IReactorTime,
        in_thread: InThread,
        cipher_required: bool = False,
    ) -> None:
        self._lockout = Lockout(clock)
        self._owner = Account(OWNER, password_hash=password.scrypt if password else None)
        everybody = [self._owner, *accounts]
        if any(account.name == OWNER for account in accounts):
            raise BadValue(f"accounts.{OWNER}: the name belongs to the server's password, take another")
        self.required = password is not None
        self.cipher_key = password.key.encode() if password is not None and password.key else None
        self.cipher_required = cipher_required and self.cipher_key is not None
        self._portal = Portal(
            Realm({account.name: account for account in everybody}),
            [HashChecker(everybody, in_thread), TokenChecker(everybody)],
        )
        self.refused = 0

    def admit(self, peer: IPeer) -> IAccount | None:
        """Return the account of a peer that needs no login, None where one is needed."""
        return None if self.required else self._owner

    def login(self, credential: Any, peer: IPeer) -> Deferred[IAccount | None]:
        """Check the value of an `authorize` key; fires with the account, None if it is refused."""
        if not self.required or (peer.trusted and not isinstance(credential, dict)):
            return succeed(self._owner)
        if credential is None or isinstance(credential, bool):
            # What clients without a password send: no try, and nothing that could be guessed.
            return succeed(None)
        known = _credentials(credential)
        return self._lockout.in_turn(peer.address, lambda: self._check(known, peer))

    def _check(self, known: Hashed | Token | None, peer: IPeer) -> Deferred[IAccount | None]:
        if known is None:
            self._refuse(peer)
            return succeed(None)
        avatar: Deferred[Any] = self._portal.login(known, None, IAccount)

        def right(found: tuple[Any, IAccount, Any]) -> IAccount:
            self._lockout.succeeded(peer.address)
            return found[1]

        def wrong(failure: Failure) -> None:
            # Who leaves before the verdict has made the server work all the same.
            failure.trap(UnauthorizedLogin, CancelledError)
            self._refuse(peer)

        return avatar.addCallbacks(right, wrong)

    def _refuse(self, peer: IPeer) -> None:
        self.refused += 1
        self._lockout.failed(peer.address)
        self._log.warn("a login from {address} was refused", address=peer.address)


def _credentials(value: Any) -> Hashed | Token | None:
    """Return what an `authorize` value claims: a hash, {"user", "hash"} or {"token"}."""
    if isinstance(value, str):
        return Hashed(OWNER, value)
    if isinstance(value, dict):
        token, user, hashed = (value.get(key) for key in ("token", "user", "hash"))
        if isinstance(token, str):
            return Token(token)
        if isinstance(user, str) and isinstance(hashed, str):
            return Hashed(user, hashed)
    return None
