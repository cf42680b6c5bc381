"""The rtoc command: send, get, tail and info against any RTOC server; export and import with ours."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import TypeAlias

from rtoc_twisted.client import exporting, importing, verbs
from rtoc_twisted.client.client import DEFAULT_URL, Client
from rtoc_twisted.client.failures import ConnectionLost, LoginRefused
from rtoc_twisted.client.formats.choice import READERS, WRITERS
from rtoc_twisted.client.frames import PackedFrames
from rtoc_twisted.client.queued import send_queued
from rtoc_twisted.client.shell import Shell, moment
from rtoc_twisted.client.trust import Credentials, Trust
from rtoc_twisted.errors import BadValue, RTOCError

OK, SERVER_ERROR, USAGE, NO_CONNECTION, INTERRUPTED = 0, 1, 2, 3, 130

_EPILOG = """
The password comes from RTOC_PASSWORD, a token from RTOC_TOKEN, the URL from RTOC_URL; without them the
password is asked for when the server wants one. Tables on a terminal, JSON in a pipe.
Exit codes: 0 done, 1 the server answered with an error, 2 wrong usage, 3 no connection.
"""


Parsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def main(
    argv: Sequence[str] | None = None,
    shell: Shell | None = None,
    further: Iterable[Callable[[Parsers], None]] = (),
) -> int:
    """Run the command and return its exit code; what goes wrong is told in one line on stderr.

    further: add parsers of other verbs, whose default `prepare` is all that is called.
    """
    shell = shell or Shell()
    try:
        with redirect_stdout(shell.stdout), redirect_stderr(shell.stderr):
            args = _parser(shell, further).parse_args(argv)
    except SystemExit as finished:
        return int(finished.code or OK)
    args.table = shell.stdout.isatty() if args.format == "auto" else args.format == "table"
    try:
        if args.verb is verbs.send and args.queue is not None:
            send_queued(_client(shell.credentials(args.user), args), args, shell)
        elif args.prepare(args, shell):
            asyncio.run(_run(args, shell))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted; keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), shell.stdout.fileno())
        return OK
    except BadValue as error:
        shell.complain(error.message)
        return USAGE
    except ConnectionLost as error:
        shell.complain(error.message)
        return NO_CONNECTION
    except RTOCError as error:
        shell.complain(error.message)
        return SERVER_ERROR
    return OK


async def _run(args: argparse.Namespace, shell: Shell) -> None:
    credentials = shell.credentials(args.user)
    try:
        await _run_as(credentials, args, shell)
    except LoginRefused:
        if credentials.password or credentials.token or not shell.stdin.isatty():
            raise
        await _run_as(Credentials(shell.ask("password: "), args.user), args, shell)


async def _run_as(credentials: Credentials, args: argparse.Namespace, shell: Shell) -> None:
    async with _client(credentials, args, reconnect=args.verb is verbs.tail) as client:
        await args.verb(client, args, shell)


def _client(credentials: Credentials, args: argparse.Namespace, reconnect: bool = True) -> Client:
    return Client(
        args.url,
        credentials=credentials,
        trust=Trust(args.ca, args.fingerprint, args.insecure),
        cipher=args.cipher,
        frames=PackedFrames() if args.packed and not args.cipher else None,
        timeout=args.timeout,
        reconnect=reconnect,
    )


def _parser(shell: Shell, further: Iterable[Callable[[Parsers], None]]) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--url", default=shell.environ.get("RTOC_URL", DEFAULT_URL), help="ws:// or wss:// (%(default)s)"
    )
    common.add_argument("--user", help="account to log in to")
    common.add_argument("--ca", metavar="FILE", help="PEM file of the authorities to trust")
    common.add_argument("--fingerprint", metavar="SHA256", help="trust just this certificate")
    common.add_argument("--insecure", action="store_true", help="trust any certificate")
    common.add_argument("--cipher", action="store_true", help="speak the password cipher of RTOC 3.0")
    common.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds (%(default)g)")
    common.set_defaults(prepare=_nothing_to_prepare, packed=False)
    # The same but for --format, which has another meaning for files.
    files = argparse.ArgumentParser(add_help=False, parents=[common])
    files.set_defaults(format="auto", packed=True)
    common.add_argument("--format", choices=("auto", "table", "json"), default="auto")

    parser = argparse.ArgumentParser("rtoc", description="Talk to an RTOC server.", epilog=_EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    send = commands.add_parser("send", parents=[common], help="send values of a device")
    send.set_defaults(verb=verbs.send)
    send.add_argument("device", metavar="DEVICE")
    send.add_argument(
        "values",
        metavar="SIGNAL=VALUE[unit]",
        nargs="*",
        help="without any: one JSON object a line from standard input, "
        '{"signal": value or [value, "unit"], ..} or the protocol\'s {"y", "sname", "x", "unit"}',
    )
    send.add_argument("--x", type=_moment, metavar="T", help="their x: a number or a date (now)")
    send.add_argument(
        "--queue", metavar="DIR", help="wait in this directory while the server is away, and lose nothing"
    )

    get = commands.add_parser("get", parents=[common], help="print samples, events or names")
    get.set_defaults(verb=verbs.get)
    get.add_argument("signals", metavar="DEVICE.SIGNAL", nargs="*", help="all if none is given")
    get.add_argument("--from", dest="x_min", type=_moment, metavar="T", help="only x > T")
    get.add_argument("--to", dest="x_max", type=_moment, metavar="T", help="only x <= T")
    get.add_argument("--max-n", type=_positive, metavar="N", help="at most N samples a signal, spikes kept")
    what = get.add_mutually_exclusive_group()
    what.add_argument(
        "--aggregate", type=float, metavar="WIDTH", help="their sums by buckets of x that are so wide"
    )
    what.add_argument("--latest", action="store_true", help="the newest samples")
    what.add_argument("--events", action="store_true", help="the events")
    what.add_argument("--list", action="store_true", help="the names of all signals")
    get.add_argument(
        "--functions", type=_functions, metavar="F,F", help="of the sums: count, min, max, mean, sum, std, .."
    )

    tail = commands.add_parser("tail", parents=[common], help="print values and events as they come")
    tail.set_defaults(verb=verbs.tail)
    tail.add_argument("signals", metavar="DEVICE.SIGNAL", nargs="*", help="all if none is given")
    tail.add_argument("--all", action="store_true", help="all signals, which is what none means too")
    tail.add_argument("--count", type=_positive, metavar="N", help="end after N lines")

    info = commands.add_parser("info", parents=[common], help="print what the server says of itself")
    info.set_defaults(verb=verbs.info)
    _add_export(commands.add_parser("export", parents=[files], help="write samples and events to a file"))
    _add_import(commands.add_parser("import", parents=[files], help="store a file's samples and events"))
    for add in further:
        add(commands)
    return parser


def _add_export(export: argparse.ArgumentParser) -> None:
    export.set_defaults(verb=exporting.export, prepare=exporting.prepare)
    export.add_argument(
        "file",
        metavar="FILE",
        help="name.csv, .jsonl, .parquet; .csv.gz and .jsonl.gz are compressed; - is standard output",
    )
    export.add_argument("signals", metavar="DEVICE.SIGNAL", nargs="*", help="all if none is given")
    export.add_argument("--from", dest="x_min", type=_moment, metavar="T", help="only x > T")
    export.add_argument("--to", dest="x_max", type=_moment, metavar="T", help="only x <= T")
    export.add_argument(
        "--events", metavar="FILE", help="write the events there; without it, JSON Lines hold them, too"
    )
    export.add_argument("--format", dest="file_format", choices=tuple(WRITERS), help="not that of the suffix")
    export.add_argument("--force", action="store_true", help="replace files that exist")


def _add_import(load: argparse.ArgumentParser) -> None:
    load.set_defaults(verb=importing.import_file, prepare=importing.prepare)
    load.description = (
        "Appends a file's samples to the server's signals. An import that broke off can be run again: the "
        "server remembers its parts by the file's content, and stores none of them twice."
    )
    load.add_argument(
        "file",
        metavar="FILE",
        help="what export wrote, a session (getSession, RTOC's JSON files, backups), RTOC's config.json, "
        "globalEvents.json, globalActions.json or telegramActions.json, or a directory with these four",
    )
    load.add_argument("--device", default="", metavar="PREFIX", help="put this before the devices' names")
    load.add_argument("--keep-going", action="store_true", help="leave wrong lines out, and count them")
    load.add_argument("--format", dest="file_format", choices=tuple(READERS), help="not what it looks like")
    load.add_argument(
        "--config-out",
        metavar="FILE",
        help="of config.json: write the configuration there, and the password beside it",
    )
    load.add_argument("--force", action="store_true", help="replace files that exist")


def _nothing_to_prepare(args: argparse.Namespace, shell: Shell) -> bool:
    return True


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _functions(text: str) -> list[str]:
    return text.split(",")


def _moment(text: str) -> float:
    try:
        return moment(text)
    except BadValue as error:
        raise argparse.ArgumentTypeError(error.message) from None
