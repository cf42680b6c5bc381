"""`rtoc import`: read a file, store it once however often that is tried."""

from __future__ import annotations

import hashlib
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from rtoc_twisted.client import rtoc_rules
from rtoc_twisted.client.client import Client
from rtoc_twisted.client.failures import RequestFailed
from rtoc_twisted.client.formats.choice import CONFIG, READERS, format_of
from rtoc_twisted.client.formats.records import EMPTY, PAGE, Page, Record, Wrong
from rtoc_twisted.client.formats.streams import READ_FAILURES
from rtoc_twisted.client.progress import Progress
from rtoc_twisted.client.rtoc_config import import_config
from rtoc_twisted.client.rtoc_rules import Rule
from rtoc_twisted.client.shell import Shell
from rtoc_twisted.errors import BadValue, NotAvailable
from rtoc_twisted.model import Event, SignalName
from rtoc_twisted.wire.batch import check_name

_TOLD = 20
"""Wrong places that are told one by one."""

_CONFIG_FILE = "config.json"


@dataclass(slots=True)
class _Plan:
    """What a first reading of the file found. source: the name of this import in `batch`."""

    records: Callable[[], Iterator[Record]]
    source: str
    samples: int = 0
    events: int = 0
    wrong: int = 0


def prepare(args: Namespace, shell: Shell) -> bool:
    """Read the file once, before there is a connection; return whether the server is needed.

    It is not for a config.json, which is converted here. BadValue, with the place, for a wrong line; with
    --keep-going those are told and counted.
    """
    path = Path(args.file)
    check_name(args.device, "--device")
    with _reading(path):
        if path.is_dir():
            args.plan = _directory(path, args, shell)
            return bool(args.plan)
        chosen = args.file_format or (CONFIG if path.name in rtoc_rules.FILES else format_of(path))
        if chosen == CONFIG:
            kind = rtoc_rules.kind_of(path)
            if kind is None:
                import_config(path, args.config_out, args.force, shell)
                return False
            args.plan = rtoc_rules.read(path, kind)
        else:
            args.plan = _survey(path, chosen, args, shell)
    return True


def _directory(path: Path, args: Namespace, shell: Shell) -> list[Rule]:
    """Convert the configuration of an RTOC directory, and return its rules and scripts."""
    config = path / _CONFIG_FILE
    rules = rtoc_rules.in_directory(path, shell)
    if not rules and not config.exists():
        raise BadValue("there are none of RTOC's files in it")
    if config.exists() and args.config_out:
        import_config(config, args.config_out, args.force, shell)
    elif config.exists():
        shell.complain(f"left out: {_CONFIG_FILE}: --config-out names a file for what it says")
    return rules


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Say of what is wrong in which file it is."""
    try:
        yield
    except READ_FAILURES as error:
        raise BadValue(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except BadValue as error:
        raise BadValue(f"{path}: {error.message}") from error


def _survey(path: Path, chosen: str, args: Namespace, shell: Shell) -> _Plan:
    def records() -> Iterator[Record]:
        return _renamed(READERS[chosen](path), args.device)

    plan = _Plan(records, _source(path, chosen, args.device))
    for record in records():
        if isinstance(record, Page):
            plan.samples += len(record.x)
        elif isinstance(record, Event):
            plan.events += 1
        elif not args.keep_going:
            raise BadValue(f"{record}; nothing was stored (--keep-going leaves such lines out)")
        else:
            plan.wrong += 1
            if plan.wrong <= _TOLD:
                shell.complain(f"{path}: {record}; left out")
    if plan.wrong > _TOLD:
        shell.complain(f"{path}: {plan.wrong - _TOLD} more like these; left out")
    return plan


def _renamed(records: Iterator[Record], prefix: str) -> Iterator[Record]:
    for record in records:
        if prefix and not isinstance(record, Wrong):
            name = SignalName(prefix + record.name.device, record.name.name)
            yield replace(record, name=name)
        else:
            yield record


def _source(path: Path, chosen: str, prefix: str) -> str:
    """Return a name for what is sent: of the file's content, and of all that makes other messages of it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(f"{chosen} {PAGE} {prefix}".encode(errors="surrogatepass"))
    return f"import-{digest.hexdigest()}"


async def import_file(client: Client, args: Namespace, shell: Shell) -> None:
    """Store what the file holds, in its order, and tell what became of it; rules and scripts are set.

    Samples are sent as `batch`, so those of an import that broke off are not stored again; of events,
    those that the server has already are left out.
    """
    plan: _Plan | list[Rule] = args.plan
    if isinstance(plan, list):
        await rtoc_rules.import_rules(client, plan, args.table, shell)
        return
    sending = _Sending(client, plan.source)
    if plan.events:
        async for page in client.event_pages():
            sending.known.update(map(_identity, page))
    with _reading(Path(args.file)), Progress(shell.stderr, time.monotonic, of=plan.samples) as progress:
        for record in plan.records():
            if isinstance(record, Page):
                await sending.page(record)
            elif isinstance(record, Event):
                await sending.event(record)
            done = sending.accepted + sending.duplicate
            progress.update(done, len(sending.names), done)
    told = {
        "signals": len(sending.names),
        "samples": sending.accepted,
        "samples there already": sending.duplicate,
        "events": sending.events,
        "events there already": plan.events - sending.events,
        "wrong lines": plan.wrong,
    }
    if args.table:
        shell.write_table(("what", "count"), list(told.items()))
    else:
        shell.write_json(told)


@dataclass(slots=True)
class _Sending:
    """Sends pages and events, one at a time: a signal's samples arrive in their order even if one fails."""

    client: Client
    source: str
    known: Counter[bytes] = field(default_factory=Counter)
    names: set[SignalName] = field(default_factory=set)
    accepted: int = 0
    duplicate: int = 0
    events: int = 0
    _count: int = 0

    async def page(self, page: Page) -> None:
        """Store a page, unless a former import has; NotAvailable if the server cannot tell."""
        if not self._count:
            # Without samples: whether the server knows `batch` must be known before it gets any.
            await self._store(replace(page, x=EMPTY, y=EMPTY))
        await self._store(page)
        self.names.add(page.name)

    async def _store(self, page: Page) -> None:
        fields = {
            "plot": True,
            "hold": "on",
            "dname": page.name.device,
            "sname": page.name.name,
            "unit": page.unit,
            "x": page.x.tolist(),
            "y": page.y.tolist(),
            "batch": {"source": self.source, "seq": self._count},
        }
        answer = await self.client.request(fields)
        if answer.get("sent") is not True:
            raise RequestFailed(answer)
        told = answer.get("batch")
        if not isinstance(told, dict):
            raise NotAvailable("this server does not know `batch`, so an import could store things twice")
        self.accepted += told.get("accepted", 0)
        self.duplicate += told.get("duplicate", 0)
        self._count += 1

    async def event(self, event: Event) -> None:
        """Raise an event, unless the server has the same."""
        identity = _identity(event)
        if self.known[identity]:
            self.known[identity] -= 1
            return
        fields: dict[str, Any] = {
            "dname": event.name.device,
            "sname": event.name.name,
            "text": event.text,
            "x": event.x,
            "priority": event.priority,
            "id": event.action_id,
            "value": event.value,
        }
        await self.client.request({"event": fields})
        self.events += 1


def _identity(event: Event) -> bytes:
    told = (*event.name, event.text, repr(event.x), event.priority, event.action_id, event.value)
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).digest()
