"""`rtoc export`: read signals page by page, write a file."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterable

import numpy as np

from rtoc_twisted.client.client import Client
from rtoc_twisted.client.failures import RequestFailed
from rtoc_twisted.client.formats.choice import format_to_write, writing
from rtoc_twisted.client.formats.records import EMPTY, Page
from rtoc_twisted.client.progress import Progress
from rtoc_twisted.client.shell import Shell
from rtoc_twisted.errors import BadValue, RTOCError, UnknownSignal
from rtoc_twisted.model import Event, SignalName

READ_AT_ONCE = 100_000
"""Samples of an answer; with 16 bytes each far from every limit."""


def prepare(args: Namespace, shell: Shell) -> bool:
    """Look at the files before there is a connection; return whether the server is needed.

    BadValue if one exists, or its format is not known; NotAvailable if it needs what is not installed.
    """
    args.chosen = format_to_write(args.file, args.file_format, args.force)
    if args.events is not None:
        if args.events == args.file:
            raise BadValue(f"{args.file}: the events need a file of their own")
        args.events_chosen = format_to_write(args.events, None, args.force)
    return True


async def export(client: Client, args: Namespace, shell: Shell) -> None:
    """Write the samples of signals, all if none is named, and their events; UnknownSignal.

    JSON Lines hold both; the other formats put the events into the file that --events names.
    """
    names = await _wanted(client, args.signals)
    together = args.chosen == "jsonl" and args.events is None
    with writing(args.file, args.chosen, events=False, force=args.force, stdout=shell.stdout) as writer:
        with Progress(shell.stderr, time.monotonic, of=len(names)) as progress:
            samples = 0
            for number, name in enumerate(names):
                async for page in _pages(client, name, args):
                    writer.write(page)
                    samples += len(page.x)
                    progress.update(number, number + 1, samples)
            progress.update(len(names), len(names), samples)
        if together:
            async for event in _events(client, names, args):
                writer.write(event)
    if args.events is not None:
        options = {"events": True, "force": args.force}
        with writing(args.events, args.events_chosen, stdout=shell.stdout, **options) as writer:
            async for event in _events(client, names, args):
                writer.write(event)


async def _wanted(client: Client, keys: list[str]) -> list[SignalName]:
    listed = await client.signal_list()
    if not keys:
        return listed
    by_key = {name.key: name for name in listed}
    if missing := [key for key in keys if key not in by_key]:
        raise UnknownSignal("no such signal: " + ", ".join(missing))
    return [by_key[key] for key in dict.fromkeys(keys)]


async def _pages(client: Client, name: SignalName, args: Namespace) -> AsyncIterator[Page]:
    """Yield a signal's samples in order of arrival; a page without any if there are none."""
    unit, empty = "", True
    try:
        async for page in client.pages(name, READ_AT_ONCE, x_min=args.x_min, x_max=args.x_max):
            unit = page.unit
            if page.x:
                empty = False
                yield Page(name, unit, np.asarray(page.x), np.asarray(page.y))
    except UnknownSignal:
        # It was removed since it was listed.
        return
    except RequestFailed as failure:
        # As when somebody replaced it meanwhile; what is written of it cannot be taken back.
        raise RTOCError(f"{name.key}: {failure.message}") from failure
    if empty:
        yield Page(name, unit, EMPTY, EMPTY)


async def _events(client: Client, names: Iterable[SignalName], args: Namespace) -> AsyncIterator[Event]:
    wanted = set(names) if args.signals else None
    least, most = (args.x_min, args.x_max)
    async for page in client.event_pages():
        for event in page:
            if (
                (wanted is None or event.name in wanted)
                and (least is None or event.x > least)
                and (most is None or event.x <= most)
            ):
                yield event
