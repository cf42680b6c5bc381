"""The process of one run, from its fork: it locks itself in, runs the script, and ends."""

from __future__ import annotations

import gc
import os
import select
import signal
from types import FrameType
from typing import NoReturn

import numpy as np

from . import sandbox
from .link import Alone, Link
from .messages import Begin
from .modules import Library
from .run import CpuSpent, run

_PIECE = 1 << 18


def live(connection: int, parent: int, modules: Library) -> NoReturn:
    """Be the process of a run. connection: its descriptor; parent: the pid of the mother."""
    status = 1
    try:
        sandbox.keep_only(connection)
        sandbox.die_with(parent)
        status = _live(parent, modules)
    except Alone:
        status = 0
    finally:
        os._exit(status)


def _live(parent: int, modules: Library) -> int:
    link = Link(_read, _write, _waits)
    begin = _begin(link)
    if begin.network:
        from . import network

        network.prepare(link)
    signal.signal(signal.SIGXCPU, _spent)
    gc.enable()
    np.random.seed()
    sandbox.enter(parent, begin.memory, begin.seconds, begin.files, begin.network)
    run(begin, link, modules)
    return 0


def _begin(link: Link) -> Begin:
    while True:
        for message in link.receive():
            if isinstance(message, Begin):
                return message


def _read() -> bytes:
    try:
        return os.read(sandbox.CONNECTION, _PIECE)
    except OSError:
        return b""


def _write(data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(sandbox.CONNECTION, rest) :]


def _waits(seconds: float) -> bool:
    poll = select.poll()
    poll.register(sandbox.CONNECTION, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _spent(number: int, frame: FrameType | None) -> None:
    raise CpuSpent
