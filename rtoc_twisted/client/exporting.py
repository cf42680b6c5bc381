"""`rtoc export`: read signals page by page, write a file."""

from __future__ import annotations

import base64
import binascii
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterable
from typing import Any

import numpy as np

from rtoc_twisted.client.client import Client
from rtoc_twisted.client.failures import BadAnswer, RequestFailed
from rtoc_twisted.client.formats.choice import format_to_write, writing
from rtoc_twisted.client.formats.records import EMPTY, Page
from rtoc_twisted.client.progress import Progress
from rtoc_twisted.client.shell import Shell
from rtoc_twisted.errors import BadValue, NotAvailable, RTOCError, UnknownSignal
from rtoc_twisted.model import Event, FloatColumn, SignalName

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
            for event in await _events(client, names, args):
                writer.write(event)
    if args.events is not None:
        events = await _events(client, names, args)
        options = {"events": True, "force": args.force}
        with writing(args.events, args.events_chosen, stdout=shell.stdout, **options) as writer:
            for event in events:
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
    asked = {
        "dname": name.device,
        "sname": name.name,
        "limit": READ_AT_ONCE,
        "binary": True,
        **({} if args.x_min is None else {"xmin": args.x_min}),
        **({} if args.x_max is None else {"xmax": args.x_max}),
    }
    empty, more = True, True
    while more:
        try:
            answer = await client.request({"getSignal": [asked]})
        except RequestFailed as failure:
            # As when somebody replaced it meanwhile; what is written of it cannot be taken back.
            raise RTOCError(f"{name.key}: {failure.message}") from failure
        if not answer.get("signals"):
            # It was removed since it was listed.
            return
        page, after, more = _page(name, answer)
        asked["after"] = after
        if len(page.x):
            empty = False
            yield page
    if empty:
        yield Page(name, page.unit, EMPTY, EMPTY)


def _page(name: SignalName, answer: dict[str, Any]) -> tuple[Page, Any, bool]:
    """Return the samples of an answer, the cursor behind them, and whether there are more."""
    if "pages" not in answer:
        raise NotAvailable("this server does not answer page by page; a newer one does")
    try:
        ((x, y, unit, *_),) = answer["signals"].values()
        (cursor,) = answer["pages"].values()
        page = Page(name, unit or "", _column(x), _column(y))
        return page, cursor["after"], bool(cursor["more"])
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise BadAnswer(f"the server gave no proper page of {name.key}: {error!r}") from error


def _column(packed: bytes | str) -> FloatColumn:
    """Return a column of `binary: true`: little-endian float64, in base64 where it came as JSON."""
    raw = packed if isinstance(packed, bytes) else base64.b64decode(packed, validate=True)
    return np.frombuffer(raw, dtype="<f8")


async def _events(client: Client, names: Iterable[SignalName], args: Namespace) -> list[Event]:
    wanted = set(names) if args.signals else None
    least, most = (args.x_min, args.x_max)
    return [
        event
        for event in await client.event_list()
        if (wanted is None or event.name in wanted)
        and (least is None or event.x > least)
        and (most is None or event.x <= most)
    ]
