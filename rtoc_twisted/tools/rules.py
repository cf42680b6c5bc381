"""`rtoc rules`: rules kept in files, looked at and tried here, set on a server, and written out of one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..client.cli import Parsers
from ..client.client import Client
from ..client.rtoc_rules import KINDS, Rule, known, set_rules, switches, tell_what_is_off
from ..client.shell import Shell
from ..errors import RTOCError

if TYPE_CHECKING:
    from .rules_file import RuleFile


class RulesFaulty(RTOCError):
    """Rules were looked at or tried, and are not as they should be."""


def add_rules(commands: Parsers) -> None:
    """Add the parser of `rules` to those of the rtoc command."""
    parser = commands.add_parser("rules", help="check, test and set rules that are kept in files")
    verbs = parser.add_subparsers(required=True, metavar="WHAT")
    for name, words, work in (
        ("check", "look for mistakes in files of rules", _check),
        ("test", "play the tests in files of rules, without a server", _test),
    ):
        local = verbs.add_parser(name, help=words)
        local.set_defaults(prepare=work, verb=None, format="auto")
        _add_files(local)

    # The options of the connection are those of `rtoc info`.
    online = [commands.choices["info"]]
    apply = verbs.add_parser("apply", help="set what the files hold", parents=online, add_help=False)
    apply.set_defaults(prepare=_prepare_apply, verb=_apply)
    _add_files(apply)
    apply.add_argument("--dry-run", action="store_true", help="only tell what would change")
    apply.add_argument("--activate", action="store_true", help="switch events, and actions, on")
    export = verbs.add_parser("export", help="print all rules as TOML", parents=online, add_help=False)
    export.set_defaults(verb=_export)


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="TOML, or RTOC's JSON")
    # As the server's automation.script_files and automation.script_network.
    parser.add_argument("--script-files", action="store_true", help="scripts may use files")
    parser.add_argument("--script-network", action="store_true", help="scripts may use the network")


# What is imported in these is only wanted by them: `rtoc send` is to start quickly.


def _check(args: argparse.Namespace, shell: Shell) -> bool:
    files = _sound(args, shell)
    count = sum(len(file.rules) for file in files)
    tests = sum(len(file.tests) for file in files)
    shell.stdout.write(f"{_counted(count, 'rule or action', 'rules and actions')}, ")
    shell.stdout.write(f"{_counted(tests, 'test')}, no faults\n")
    return False


def _test(args: argparse.Namespace, shell: Shell) -> bool:
    from .rules_engine import run
    from .rules_trial import Trial, differences

    files = _sound(args, shell)
    rules = [rule for file in files for rule in file.rules]
    failed = count = 0
    for file in files:
        for table in file.tests:
            trial = Trial.read(table)
            lines = differences(trial.expect, run(trial, rules))
            count += 1
            failed += bool(lines)
            shell.stdout.write(f"{'FAIL' if lines else 'ok  '}  {file.path}: {trial.name}\n")
            shell.stdout.writelines(f"      {line}\n" for line in lines)
    if failed:
        raise RulesFaulty(f"{failed} of {_counted(count, 'test')} failed")
    shell.stdout.write(f"{_counted(count, 'test')} passed\n")
    return False


def _sound(args: argparse.Namespace, shell: Shell) -> list[RuleFile]:
    """Return what the files hold; RulesFaulty, after telling all faults, if there are any."""
    from .rules_check import check
    from .rules_file import load

    files = [load(path) for path in args.files]
    faults = check(files, args.script_files, args.script_network)
    shell.stdout.writelines(f"{fault}\n" for fault in faults)
    if faults:
        raise RulesFaulty(_counted(len(faults), "fault"))
    return files


def _counted(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun; many: where that is not `one` with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def _prepare_apply(args: argparse.Namespace, shell: Shell) -> bool:
    from .rules_check import normal

    args.rules = [normal(rule) for file in _sound(args, shell) for rule in file.rules]
    return True


async def _apply(client: Client, args: argparse.Namespace, shell: Shell) -> None:
    """Tell what is other on the server, and set it; RulesFaulty if the server refuses something."""
    there = await known(client)
    for line in changes(args.rules, there):
        shell.stdout.write(f"{line}\n")
    if args.dry_run:
        return
    counts = await set_rules(client, args.rules, there, shell)
    done = sum(counts[kind] for kind in KINDS.values())
    shell.stdout.write(f"{done} set, {counts['there already']} there already\n")
    if args.activate:
        await client.automation(active=dict.fromkeys(switches(args.rules), True))
    await tell_what_is_off(client, args.rules, shell)
    if counts["refused"]:
        raise RulesFaulty(f"{counts['refused']} were refused")


def changes(rules: Sequence[Rule], there: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    """Return what setting rules would change, line by line, and what only the server has.

    there: the fields of all that the server has, by kind and name.
    """
    lines = []
    for rule in rules:
        what = f"{KINDS[rule.kind].removesuffix('s')} {rule.name}"
        old = there.get((rule.kind, rule.name))
        if old is None:
            lines.append(f"+ {what}")
        elif old != rule.fields:
            keys = [key for key in {**old, **rule.fields} if old.get(key) != rule.fields.get(key)]
            lines.append(f"~ {what}: {', '.join(keys)}")
    here = {(rule.kind, rule.name) for rule in rules}
    only_there = [
        f"{KINDS[kind].removesuffix('s')} {name}" for kind, name in there if (kind, name) not in here
    ]
    return lines + [f"  {what}: only on the server, left alone" for what in only_there]


async def _export(client: Client, args: argparse.Namespace, shell: Shell) -> None:
    """Write all rules and scripts of a server as TOML, which `apply` reads."""
    from .rules_file import TABLES, dump

    found: dict[str, dict[str, Any]] = {table: {} for table in TABLES.values()}
    for (kind, name), fields in (await known(client)).items():
        found[TABLES[kind]][name] = fields
    shell.stdout.write(dump(found))
