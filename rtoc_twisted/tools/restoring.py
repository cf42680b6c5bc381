"""`rtoc restore`: put a copy of a store in its place, or look whether it is whole."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..client.cli import Parsers
from ..client.progress import Progress
from ..client.shell import Shell, shown_x
from ..errors import BadValue, StorageFailed

if TYPE_CHECKING:
    from ..storage.verify import Contents

_PARTS = 1000


def add_restore(commands: Parsers) -> None:
    """Add the parser of `restore` to those of the rtoc command."""
    parser = commands.add_parser("restore", help="put a copy of a server's store in place, or look at it")
    parser.description = (
        "Checks a copy of a store (logger.backup), every block of it, and makes it the store of a state "
        "directory whose server does not run. What was there is kept beside it."
    )
    parser.add_argument("backup", metavar="BACKUP", type=Path)
    parser.add_argument(
        "--state-dir", metavar="DIR", help="where to put it; else as the server would find it"
    )
    parser.add_argument("--verify", action="store_true", help="only say whether it is whole, change nothing")
    parser.set_defaults(prepare=_restore, verb=None, format="auto")


def _restore(args: argparse.Namespace, shell: Shell) -> bool:
    """Do it all, for the server is not needed; StorageFailed if the copy is damaged."""
    # Here, for `rtoc send` is to start quickly.
    from ..storage.restore import restore
    from ..storage.verify import verify

    with Progress(shell.stderr, time.monotonic, of=_PARTS) as progress:

        def tell(part: float, signals: int, samples: int) -> None:
            progress.update(round(part * _PARTS), signals, samples)

        if args.verify:
            contents, aside = verify(args.backup, tell), None
        else:
            directory = _state_dir(args, shell)
            contents, aside = restore(args.backup, directory, tell)
    if contents.wrong:
        for problem in contents.problems:
            shell.complain(problem)
        consequence = "" if args.verify else ", nothing was changed"
        raise StorageFailed(f"{args.backup} is damaged: {contents.wrong} problems{consequence}")
    shell.stdout.write(f"{args.backup} is whole: {_told(contents)}\n")
    if not args.verify:
        before = f"; what was there is {aside} now" if aside else ""
        shell.stdout.write(f"it is the store of {directory} now{before}\n")
    return False


def _state_dir(args: argparse.Namespace, shell: Shell) -> Path:
    from ..config import ConfigError, load

    try:
        return load({"state-dir": args.state_dir}, shell.environ).state_dir
    except ConfigError as error:
        raise BadValue("; ".join(error.problems)) from None


def _told(contents: Contents) -> str:
    words = f"{contents.signals} signals, {contents.samples} samples, {contents.events} events"
    if math.isnan(contents.x_min):
        return words
    return f"{words}, x from {shown_x(contents.x_min)} to {shown_x(contents.x_max)}"
