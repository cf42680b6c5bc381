"""What `rtoc send`, `get`, `tail` and `info` do with an open client."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterable
from typing import Any

from rtoc_twisted.client.client import Client
from rtoc_twisted.client.shell import Shell, assignment, flat, shown_x
from rtoc_twisted.client.values import EventRaised, Push, SignalData, Values
from rtoc_twisted.errors import BadValue, UnknownSignal
from rtoc_twisted.model import Event

PRIORITIES = ("information", "warning", "error")


async def send(client: Client, args: Namespace, shell: Shell) -> None:
    """Send the values of the command line, or those of each line of standard input."""
    for fields in given(args) if args.values else _lines(args, shell):
        await client.store(fields)


async def get(client: Client, args: Namespace, shell: Shell) -> None:
    """Print signals' samples, their newest ones, their events, or the list of signals; UnknownSignal."""
    if args.list:
        await _get_list(client, args, shell)
    elif args.latest:
        await _get_latest(client, args, shell)
    elif args.events:
        await _get_events(client, args, shell)
    elif args.aggregate is not None:
        await _get_sums(client, args, shell)
    else:
        await _get_samples(client, args, shell)


async def tail(client: Client, args: Namespace, shell: Shell) -> None:
    """Print values and events as they come, until `count` lines or Ctrl-C."""
    with client.pushes() as stream:
        for key in args.signals:
            await client.subscribe(signal=key)
        if not args.signals:
            await client.subscribe_all()
        written = 0
        async for push in stream:
            for row in _rows(push, args.signals):
                _write_row(row, args, shell)
                written += 1
                if written == args.count:
                    return


async def info(client: Client, args: Namespace, shell: Shell) -> None:
    """Print what the server says of itself."""
    found: dict[str, Any] = await client.hello()
    found |= (await client.logger(info=True))["info"]
    if args.table:
        shell.write_table(("what", "value"), flat(found))
    else:
        shell.write_json(found)


def given(args: Namespace) -> list[dict[str, Any]]:
    """Return the requests of the command line; BadValue."""
    triples = [assignment(text) for text in args.values]
    names, values, units = zip(*triples, strict=True)
    return [_timed({"dname": args.device, "sname": names, "y": values, "unit": units}, args)]


def _lines(args: Namespace, shell: Shell) -> Iterable[dict[str, Any]]:
    for number, line in enumerate(shell.stdin, 1):
        if line.strip():
            yield read_line(number, line, args)


def read_line(number: int, line: str, args: Namespace) -> dict[str, Any]:
    """Return the request of a line of standard input; BadValue."""
    try:
        return _timed(_line_fields(line, args.device), args)
    except (ValueError, TypeError) as error:
        raise BadValue(f"standard input, line {number}: {error}") from error


def _line_fields(line: str, device: str) -> dict[str, Any]:
    """Return the request of {signal: value or [value, unit], ..}, or of the protocol's own {y, sname, ..}."""
    given = json.loads(line)
    if not isinstance(given, dict):
        raise ValueError("not a JSON object")
    if "sname" in given and "y" in given:
        return {"dname": device, **given}
    pairs = [value if isinstance(value, list) else [value, ""] for value in given.values()]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError("a value is a number or [number, unit]")
    y, unit = [float(pair[0]) for pair in pairs], [str(pair[1]) for pair in pairs]
    return {"dname": device, "sname": list(given), "y": y, "unit": unit}


def _timed(fields: dict[str, Any], args: Namespace) -> dict[str, Any]:
    return fields if args.x is None else {**fields, "x": [args.x] * len(fields["sname"])}


async def _get_list(client: Client, args: Namespace, shell: Shell) -> None:
    names = await client.signal_list()
    if args.table:
        shell.write_table(("device", "signal"), names)
    else:
        shell.write_json([name.key for name in names])


async def _get_latest(client: Client, args: Namespace, shell: Shell) -> None:
    found = await client.latest(args.signals or None)
    if args.table:
        rows = [(key, shown_x(sample.x), sample.y, sample.unit) for key, sample in found.items()]
        shell.write_table(("signal", "x", "y", "unit"), rows)
    else:
        shell.write_json({key: {"x": it.x, "y": it.y, "unit": it.unit} for key, it in found.items()})
    _all_known(args, found)


async def _get_events(client: Client, args: Namespace, shell: Shell) -> None:
    if args.signals:
        by_signal = await client.events(args.signals)
        found = sorted((event for events in by_signal.values() for event in events), key=lambda it: it.number)
    else:
        found = await client.event_list()
    if args.table:
        heads = ("number", "x", "signal", "priority", "text")
        shell.write_table(heads, [(it.number, *_event_cells(it)) for it in found])
    else:
        shell.write_json([_event_fields(event) for event in found])


async def _get_samples(client: Client, args: Namespace, shell: Shell) -> None:
    window = {"x_min": args.x_min, "x_max": args.x_max, "max_points": args.max_n}
    found = await client.signals(args.signals or None, **window)
    if args.table:
        rows = [
            (key, shown_x(x), y, data.unit)
            for key, data in found.items()
            for x, y in zip(data.x, data.y, strict=False)
        ]
        shell.write_table(("signal", "x", "y", "unit"), rows)
    else:
        shell.write_json({key: _sample_fields(it) for key, it in found.items()})
    _all_known(args, found)


def _sample_fields(data: SignalData) -> dict[str, Any]:
    fields: dict[str, Any] = {"x": data.x, "y": data.y, "unit": data.unit}
    return fields if data.decimated is None else {**fields, "of": data.decimated[1]}


async def _get_sums(client: Client, args: Namespace, shell: Shell) -> None:
    window = {"x_min": args.x_min, "x_max": args.x_max}
    found = await client.aggregate(args.signals or None, args.aggregate, args.functions, **window)
    if args.table:
        functions = list(next((sums.columns for sums in found.values()), ()))
        rows = [
            (key, shown_x(x), *row)
            for key, sums in found.items()
            for x, *row in zip(sums.x, *sums.columns.values(), strict=True)
        ]
        shell.write_table(("signal", "x", *functions), rows)
    else:
        shell.write_json({key: {"x": it.x, **it.columns} for key, it in found.items()})
    _all_known(args, found)


def _all_known(args: Namespace, found: dict[str, Any]) -> None:
    missing = [key for key in args.signals if key not in found]
    if missing:
        raise UnknownSignal("no such signal: " + ", ".join(missing))


def _rows(push: Push, wanted: list[str]) -> list[dict[str, Any]]:
    """Return what to print of a push: one dict a value, or the event; events of unwanted signals are not."""
    match push:
        case Values(name, _, xs, ys, unit):
            pairs = zip(xs, ys, strict=False)
            return [{"signal": name.key, "x": x, "y": y, "unit": unit} for x, y in pairs]
        case EventRaised(event) if not wanted or event.name.key in wanted:
            return [{"event": event}]
    return []


def _write_row(row: dict[str, Any], args: Namespace, shell: Shell) -> None:
    event: Event | None = row.get("event")
    if not args.table:
        shell.write_json(row if event is None else {"event": _event_fields(event)})
    elif event is None:
        line = f"{shown_x(row['x'])}  {row['signal']} = {row['y']:.12g} {row['unit']}"
        shell.stdout.write(line.rstrip() + "\n")
        shell.stdout.flush()
    else:
        shell.stdout.write("  ".join(_event_cells(event)) + "\n")
        shell.stdout.flush()


def _event_cells(event: Event) -> tuple[str, str, str, str]:
    priority = PRIORITIES[event.priority] if 0 <= event.priority < len(PRIORITIES) else str(event.priority)
    return shown_x(event.x), event.name.key, priority, event.text


def _event_fields(event: Event) -> dict[str, Any]:
    return {
        "number": event.number,
        "device": event.name.device,
        "signal": event.name.name,
        "text": event.text,
        "x": event.x,
        "priority": event.priority,
        "id": event.action_id,
        "value": event.value,
    }
