"""`rtoc send --queue`: values wait in a directory while the server is away."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from rtoc_twisted.client.blocking import BlockingSender
from rtoc_twisted.client.client import Client
from rtoc_twisted.client.sender import Counters
from rtoc_twisted.client.shell import Shell
from rtoc_twisted.client.verbs import given, read_line
from rtoc_twisted.errors import BadValue, RTOCError

_REFRESH = 0.2
"""Seconds between two looks at the status line."""


def send_queued(client: Client, args: Namespace, shell: Shell) -> None:
    """Send what waits in the directory, then what `send` would; return when all is acknowledged.

    A line that cannot be read and a message that the server refuses are told and left out, so that one of
    them does not end a recording; at the end they raise BadValue or RTOCError.
    """
    work = _Work(args, shell)
    sender = client.sender(args.queue, when_full="wait", on_refused=work.refused)
    try:
        with BlockingSender(sender) as out:
            for fields in given(args) if args.values else work.lines():
                out.store(fields)
                work.show(out.counters)
            while not out.flush(_REFRESH):
                work.show(out.counters)
            work.show(out.counters, last=True)
    except KeyboardInterrupt:
        shell.complain(f"{sender.counters.waiting} messages wait in {args.queue} for the next run")
        raise
    if sender.counters.refused:
        raise RTOCError(f"the server refused {sender.counters.refused} messages")
    if work.unreadable:
        raise BadValue(f"{work.unreadable} lines of standard input could not be read")


class _Work:
    """What is read and told on the way."""

    def __init__(self, args: Namespace, shell: Shell) -> None:
        self.unreadable = 0
        self._args = args
        self._shell = shell
        self._shown = 0.0

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield the requests of standard input."""
        for number, line in enumerate(self._shell.stdin, 1):
            try:
                if line.strip():
                    yield read_line(number, line, self._args)
            except BadValue as error:
                self.unreadable += 1
                self._shell.complain(error.message)

    def refused(self, fields: dict[str, Any], failure: RTOCError) -> None:
        """Tell of a message that the server will never take."""
        self._shell.complain(f"refused: {failure.message}")

    def show(self, counters: Counters, last: bool = False) -> None:
        """Write the status line anew, now and then, for people."""
        now = time.monotonic()
        if self._shell.stderr.isatty() and (last or now - self._shown >= _REFRESH):
            self._shown = now
            told = f"{counters.queued} queued, {counters.acknowledged} stored, {counters.waiting} waiting"
            self._shell.stderr.write(f"\r\x1b[K{told}" + "\n" * last)
            self._shell.stderr.flush()
