"""The client's half of a conversation, without I/O: which answer belongs to which request."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtoc_twisted.client.frames import Frames
from rtoc_twisted.client.values import Push, push_of


@dataclass(frozen=True, slots=True)
class Answered:
    """The request of that number has its answer; `error` in it is still to be looked at."""

    request: int
    answer: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Authorized:
    """The server accepted the login."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The server wants a (better) login; request: which one gets no other answer, if any."""

    request: int | None


@dataclass(frozen=True, slots=True)
class Pushed:
    """A push came."""

    push: Push


@dataclass(frozen=True, slots=True)
class Ignored:
    """A frame that means nothing here; reason: why, for a log."""

    reason: str


Happening = Answered | Authorized | Refused | Pushed | Ignored


class Conversation:
    """Number the requests of one connection and sort what comes back (protocol sections 2, 3, 6 and 8).

    An answer belongs to the request whose `id` it echoes; without an id (the original) to the oldest one
    that has no answer. A request whose caller gave up keeps its place until its answer comes, so that a
    late answer is never taken for the next one.
    """

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._unanswered: deque[int] = deque()
        self._count = 0

    def request(self, fields: Mapping[str, Any]) -> tuple[int, str | bytes]:
        """Return the number of a new request and its frame, which must be sent in this order.

        TypeError if the fields are no JSON; nothing is kept then.
        """
        frame = self._frames.encode({**fields, "id": self._count + 1})
        self._count += 1
        self._unanswered.append(self._count)
        return self._count, frame

    def received(self, frame: str | bytes) -> list[Happening]:
        """Return what a frame from the server means, in order; never raises."""
        message = self._frames.decode(frame)
        if message is None:
            return [Ignored("not a JSON object")]
        happenings: list[Happening] = []
        if "authorized" in message:
            happenings.append(Authorized() if message["authorized"] else Refused(self._oldest()))
        if "error" in message:
            happenings.append(self._answered(message))
        return happenings or [self._pushed(message)]

    def _oldest(self) -> int | None:
        return self._unanswered.popleft() if self._unanswered else None

    def _answered(self, message: dict[str, Any]) -> Answered | Ignored:
        number = message.pop("id", None)
        if number is None:
            number = self._oldest()
        elif number in self._unanswered:
            self._unanswered.remove(number)
        else:
            number = None
        return Ignored("an answer to no request") if number is None else Answered(number, message)

    @staticmethod
    def _pushed(message: Mapping[str, Any]) -> Pushed | Ignored:
        try:
            push = push_of(message)
        except (KeyError, TypeError, ValueError) as error:
            return Ignored(f"a push without what the protocol promises: {error!r}")
        return Ignored("neither an answer nor a known push") if push is None else Pushed(push)


class Subscriptions:
    """What this client asked to be pushed, so that a new connection can be asked the same."""

    def __init__(self) -> None:
        self._all = False
        self._single: dict[tuple[str, str], bool] = {}
        self._event_level: int | None = None

    def single(self, kind: str, name: str, on: bool) -> None:
        """Remember one subscription on or off. kind: "signal" or "device"."""
        # Off matters only as an exception to all; the later of two wishes comes later in the replay.
        self._single.pop((kind, name), None)
        if on or self._all:
            self._single[kind, name] = on

    def everything(self, on: bool) -> None:
        """Remember that all was subscribed, or that nothing is any more."""
        self._all = on
        self._single.clear()

    def event_level(self, level: int) -> None:
        """Remember the least priority of pushed events."""
        self._event_level = level

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests that bring a new connection to this state, in order."""
        wanted: list[dict[str, Any]] = []
        if self._event_level is not None:
            wanted.append({"eventLevel": self._event_level})
        if self._all:
            wanted.append({"subscribeAll": True})
        for (kind, name), on in self._single.items():
            wanted.append({"subscribe" if on else "unsubscribe": [kind, name]})
        return wanted
