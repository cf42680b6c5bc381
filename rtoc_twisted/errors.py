"""What can go wrong, each with the code that a client is told."""

from __future__ import annotations


class RTOCError(Exception):
    """Tell a client that a key of its request failed.

    message: what is wrong and where, in words for the person who wrote the request.
    `code` is the word on the wire (protocol section 8), `retriable` whether the same request may
    succeed later.
    """

    code = "internal"
    retriable = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadJSON(RTOCError):
    """The frame is not a JSON object (or a MessagePack map)."""

    code = "bad-json"


class BadValue(RTOCError):
    """A value has the wrong type, length or range."""

    code = "bad-value"


class UnknownSignal(RTOCError):
    """No signal of that name exists."""

    code = "unknown-signal"


class UnknownPlugin(RTOCError):
    """No plugin of that name exists."""

    code = "unknown-plugin"


class NotPermitted(RTOCError):
    """The account may not do this."""

    code = "not-permitted"


class NotAvailable(RTOCError):
    """The server is not set up for this."""

    code = "not-available"


class TooLarge(RTOCError):
    """A limit of the configuration is exceeded."""

    code = "too-large"


class Busy(RTOCError):
    """The server cannot take this now."""

    code = "busy"
    retriable = True


class TimedOut(RTOCError):
    """The work did not end in time."""

    code = "timeout"
    retriable = True


class StorageFailed(RTOCError):
    """The disk did not take what was to be kept; nothing of it was acknowledged."""

    code = "internal"
    retriable = True


class Damaged(StorageFailed):
    """What was kept cannot be read: its checksum is wrong."""

    retriable = False
