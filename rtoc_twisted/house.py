"""What all connections share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime

from .command import CommandTable
from .hub import Hub
from .interfaces import IAuth, IRecorder
from .wire.answers import Pushes
from .wire.batch import BatchDecoder


@dataclass(frozen=True)
class House:
    """What all connections share.

    login_seconds: the time to log in where a password is set; max_subscriptions: devices and signals
    that one connection may name.
    """

    table: CommandTable
    batches: BatchDecoder
    recorder: IRecorder
    congested: Callable[[], bool]
    auth: IAuth
    hub: Hub
    clock: IReactorTime
    login_seconds: float = 10.0
    max_subscriptions: int = 10_000
    pushes: Pushes = field(default_factory=Pushes)
