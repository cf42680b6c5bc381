"""What a client's call can fail with; all are RTOCErrors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtoc_twisted.errors import Busy, NotAvailable, NotPermitted, RTOCError, TimedOut


class RequestFailed(RTOCError):
    """The server answered with `error: true`.

    answer: the whole answer; keys of the request that did work have their results in it.
    errors: the answer's list of {key, code, message, retriable} (protocol section 8); empty from servers
    that tell nothing more, as the original.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer = answer
        listed = answer.get("errors")
        self.errors: tuple[Mapping[str, Any], ...] = tuple(
            entry for entry in (listed if isinstance(listed, list) else ()) if isinstance(entry, dict)
        )
        told = "; ".join(_told(str(it.get("key", "")), str(it.get("message", ""))) for it in self.errors)
        super().__init__(told or "the server could not do this and did not say why")
        if self.errors:
            self.code = str(self.errors[0].get("code", RTOCError.code))
            self.retriable = all(entry.get("retriable") is True for entry in self.errors)


class BadAnswer(RTOCError):
    """The server answered without an error, but not with what the protocol promises."""


class RequestTimedOut(TimedOut):
    """No answer came in time; whether the server did the work is not known."""


class ConnectionLost(NotAvailable):
    """The connection ended before the answer came; whether the server did the work is not known.

    close_code: the one that the server gave (RFC 6455 section 7.4), if it did.
    """

    retriable = True

    def __init__(self, message: str, close_code: int | None = None) -> None:
        super().__init__(message)
        self.close_code = close_code


class CannotConnect(ConnectionLost):
    """No connection could be made; the message says what stood in the way."""


class CertificateRefused(CannotConnect):
    """The server's certificate is not the expected one, or nobody trusted vouches for it."""

    retriable = False


class LoginRefused(NotPermitted):
    """The server does not accept these credentials, or wants some."""


class QueueFull(Busy):
    """More messages wait for a connection than the queue may hold."""


def _told(key: str, message: str) -> str:
    # Messages that name a place in the request start with the key themselves.
    return message if message.startswith(key) else f"{key}: {message}"
