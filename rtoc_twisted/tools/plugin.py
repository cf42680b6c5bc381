"""`rtoc plugin`: make, check and try plugins here; list those of a server, and read their logs."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from ..client.cli import Parsers
from ..client.client import Client
from ..client.shell import Shell
from ..errors import BadValue, RTOCError, UnknownPlugin

LEVELS = {-1: "debug", 0: "info", 1: "warning", 2: "error"}
_LOOK_SECONDS = 0.5


class PluginFaulty(RTOCError):
    """A plugin was looked at or tried, and is not as it should be."""


def add_plugin(commands: Parsers) -> None:
    """Add the parser of `plugin` to those of the rtoc command."""
    parser = commands.add_parser("plugin", help="make, check and try plugins; list those of a server")
    verbs = parser.add_subparsers(required=True, metavar="WHAT")

    new = _local(verbs, "new", "make a folder with a plugin, its manifest and a test", _new)
    new.add_argument("name", metavar="NAME")
    new.add_argument("--dir", type=Path, default=Path(), help="where to put the folder (here)")

    check = _local(verbs, "check", "look for mistakes in a plugin's folder; runs nothing of it", _check)
    check.add_argument("folder", metavar="DIR", type=Path)

    test = _local(verbs, "test", "run a folder's plugin in its box, and tell what it does", _test)
    test.description = (
        "Runs the plugin in a process of its own, as the server does, for some seconds of a clock that jumps "
        "to the next moment at which the plugin does something. Exit code 1 if it fails or logs an error."
    )
    test.add_argument("folder", metavar="DIR", type=Path)
    test.add_argument("--name", help="which of the plugins of the folder, where there are more than one")
    test.add_argument("--seconds", type=_seconds, default=10.0, metavar="S", help="how long (%(default)g)")

    # The options of the connection are those of `rtoc info`.
    online = [commands.choices["info"]]
    listing = verbs.add_parser("list", help="list a server's plugins", parents=online, add_help=False)
    listing.set_defaults(verb=_list)
    logs = verbs.add_parser("logs", help="print a plugin's log", parents=online, add_help=False)
    logs.set_defaults(verb=_logs)
    logs.add_argument("name", metavar="NAME")
    logs.add_argument("--follow", action="store_true", help="and those to come, until Ctrl-C")


def _local(verbs: Parsers, name: str, words: str, work: Any) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=words)
    parser.set_defaults(prepare=work, verb=None, format="auto")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 3600")
    return seconds


# What is imported in these is only wanted by them: `rtoc send` is to start quickly.


def _new(args: argparse.Namespace, shell: Shell) -> bool:
    from .plugin_template import make

    for path in make(args.name, args.dir):
        shell.stdout.write(f"{path}\n")
    return False


def _check(args: argparse.Namespace, shell: Shell) -> bool:
    from .plugin_check import check

    remarks = check(args.folder)
    for remark in remarks:
        shell.stdout.write(f"{remark}\n")
    errors = sum(remark.is_error for remark in remarks)
    if errors:
        raise PluginFaulty(f"{args.folder}: {errors} errors")
    shell.stdout.write(f"{args.folder}: {len(remarks) or 'no'} warnings, no errors\n")
    return False


def _test(args: argparse.Namespace, shell: Shell) -> bool:
    from ..plugins.discovery import in_folder
    from .plugin_trial import run

    try:
        found = {it.name: it for it in in_folder(args.folder.resolve())}
    except OSError as error:
        raise BadValue(f"{args.folder}: {error.strerror}") from None
    if args.name is None and len(found) > 1:
        raise BadValue(f"{args.folder} has the plugins {', '.join(found)}: say which, with --name")
    chosen = found.get(args.name) if args.name is not None else next(iter(found.values()), None)
    if chosen is None:
        raise BadValue(f"{args.folder} has no plugin {args.name or ''}".rstrip())
    trial = run(chosen, args.seconds)
    for line in trial.report():
        shell.stdout.write(line + "\n")
    if trial.problems:
        raise PluginFaulty(f"{chosen.name}: {trial.problems[0]}")
    return False


async def _list(client: Client, args: argparse.Namespace, shell: Shell) -> None:
    plugins = await client.plugin_list()
    if not args.table:
        shell.write_json(plugins)
        return
    heads = ("plugin", "version", "status", "autorun", "asks for", "info")
    shell.write_table(heads, [_row(*item) for item in plugins.items()])


def _row(name: str, plugin: dict[str, Any]) -> tuple[str, ...]:
    status = {True: "runs", False: "-"}.get(plugin["status"], plugin["status"])
    told = (plugin["info"] or "").strip().partition("\n")[0]
    # The original has no manifests, and not every plugin has one.
    manifest = plugin.get("manifest") or {}
    asked = ", ".join(manifest.get("permissions", ()))
    autorun = "yes" if plugin["autorun"] else "-"
    return name, manifest.get("version") or "-", str(status), autorun, asked or "-", told


async def _logs(client: Client, args: argparse.Namespace, shell: Shell) -> None:
    known: list[list[Any]] = []
    while True:
        plugins = await client.plugin_list()
        if args.name not in plugins:
            raise UnknownPlugin(f"no such plugin: {args.name}")
        lines = plugins[args.name]["log"] or []
        for line in added(known, lines):
            _write_line(line, args, shell)
        if not args.follow:
            return
        known = lines
        await asyncio.sleep(_LOOK_SECONDS)


def added(known: list[list[Any]], lines: list[list[Any]]) -> list[list[Any]]:
    """Return the lines of a log that came after those known; both are the newest ones of their time."""
    most = min(len(known), len(lines))
    same = next((n for n in range(most, 0, -1) if known[-n:] == lines[:n]), 0)
    return lines[same:]


def _write_line(line: list[Any], args: argparse.Namespace, shell: Shell) -> None:
    moment, level, text = line
    if args.table:
        shell.stdout.write(f"{moment}  {LEVELS.get(level, level):7}  {text}\n")
        shell.stdout.flush()
    else:
        shell.write_json({"time": moment, "level": LEVELS.get(level, level), "text": text})
