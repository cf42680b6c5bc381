"""The options of `twistd rtoc`, `--check-config`, and the endpoints that the ports stand for."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from twisted.internet.endpoints import quoteStringArgument
from twisted.python import usage

from .. import __version__, tls
from ..channels.rules import Rules
from ..storage.retention import Rule
from .channels import CHANNEL_KEYS, SECRET
from .load import Merged, merge
from .settings import RULE_KEYS, SETTINGS, Account, Config, Setting

HIDDEN = "***"


def endpoint_description(port: str, interface: str = "", *, ipv6: bool = True) -> str:
    """Return the Twisted endpoint description of a port.

    port: a number, or a description already, which is returned unchanged (the interface then has no
    meaning). interface: an IP address; empty for all.
    ipv6: whether this machine has IPv6 (`ipv6_available`). With it, all means the IPv6 wildcard, which
    takes IPv4 too (Linux, unless net.ipv6.bindv6only is set): an IPv4 peer's address then reads
    ::ffff:192.0.2.1. Without it, all means IPv4 alone.
    """
    if not port.isdecimal():
        return port
    address = interface or ("::" if ipv6 else "0.0.0.0")  # noqa: S104 - all interfaces is what was asked for
    return f"tcp:{port}:interface={quoteStringArgument(address)}"


def ipv6_available() -> bool:
    """Return whether the kernel makes IPv6 sockets; binds nothing."""
    try:
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close()
    except OSError:
        return False
    return True


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False)


def _lines(setting: Setting, value: Any, origin: str) -> Iterator[str]:
    name = setting.key.rpartition(".")[2]
    if value is None:
        yield f"# {name}: {setting.absent}"
    elif setting.key in _TABLES:
        yield from _TABLES[setting.key](value, origin)
    else:
        yield f"{name} = {_toml(value)}  # {origin}"


def _account_lines(accounts: tuple[Account, ...], origin: str) -> Iterator[str]:
    for account in accounts:
        yield f"[accounts.{_toml(account.name)}]  # {origin}"
        for key in ("password_hash", "token_hash"):
            if getattr(account, key) is not None:
                yield f"{key} = {_toml(HIDDEN)}"
        names = tuple((flag.name or "").lower() for flag in account.permissions)
        yield f"permissions = {_toml(names)}"


def _rule_lines(rules: tuple[Rule, ...], origin: str) -> Iterator[str]:
    for rule in rules:
        yield f"[retention.{_toml(rule.name)}]  # {origin}"
        values = {key: getattr(rule, key, rule.patterns) for key in RULE_KEYS}
        yield from (f"{key} = {_toml(value)}" for key, value in values.items() if value is not None)


def _channel_lines(channels: tuple[Rules, ...], origin: str) -> Iterator[str]:
    for channel in channels:
        yield f"[channels.{_toml(channel.name)}]  # {origin}"
        values = {key: getattr(channel, key) for key in CHANNEL_KEYS}
        yield from (
            f"{key} = {_toml(HIDDEN if key in SECRET else value)}"
            for key, value in values.items()
            if value not in (None, {})
        )


_TABLES: Mapping[str, Callable[[Any, str], Iterator[str]]] = {
    "accounts": _account_lines,
    "retention": _rule_lines,
    "channels": _channel_lines,
}


def report(merged: Merged) -> str:
    """Return the merged configuration as TOML with the origin of each value, then the problems.

    Secrets are masked.
    """
    lines = ["# option over environment over file over default"]
    table = ""
    # TOML wants what stands outside of tables first, and SETTINGS has tables of tables there.
    for setting in sorted(SETTINGS, key=lambda s: (s.key in _TABLES, "." in s.key)):
        head = setting.key.rpartition(".")[0]
        if head != table:
            table = head
            if head:
                lines += ["", f"[{head}]"]
        origin = merged.origins.get(setting.key, "default")
        lines += _lines(setting, merged.values[setting.key], origin)
    lines += [f"# problem: {problem}" for problem in merged.problems]
    return "\n".join(lines) + "\n"


def _help(setting: Setting) -> str:
    default = setting.absent if setting.default in (None, "", False) else setting.default
    shown = "" if default == "not set" else f"; default: {default}"
    return f"{setting.meaning} [{setting.environment}{shown}]".replace("`", "")


class Options(usage.Options):
    """The command line of `twistd rtoc`.

    environ: the environment to merge with. After parsing, `config` is the merged configuration; if
    anything in it is wrong, every problem is printed and SystemExit(1) raised. --check-config prints
    the configuration and raises SystemExit(0 or 1).
    """

    config: Config

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environ = environ

    # usage.Options

    longdesc = (
        "Records measurements and controls devices over the RTOC WebSocket protocol. An option wins over "
        "its environment variable (in brackets), that over the TOML file; see docs/operations.md."
    )
    optParameters = [
        ["config", "c", None, "TOML file with the settings; etc/rtoc.toml is an example [RTOC_CONFIG]"],
        *([s.option, None, None, _help(s)] for s in SETTINGS if s.option and s.default is not False),
    ]
    optFlags = [
        ["check-config", None, "Print the merged configuration and every problem in it, then exit"],
        *([s.option, None, _help(s)] for s in SETTINGS if s.option and s.default is False),
    ]

    def opt_version(self) -> NoReturn:
        """Display the version and exit."""
        sys.stdout.write(f"rtoc_twisted {__version__}\n")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Merge and check the configuration; see the class."""
        merged = merge(self, self._environ)
        if self["check-config"]:
            _check_certificate(merged)
            sys.stdout.write(report(merged))
            raise SystemExit(1 if merged.problems else 0)
        if merged.problems:
            sys.stderr.write("".join(f"rtoc: {problem}\n" for problem in merged.problems))
            raise SystemExit(1)
        self.config = merged.config()


def _check_certificate(merged: Merged) -> None:
    cert, key = merged.values["tls.cert"], merged.values["tls.key"]
    if cert and key:
        try:
            tls.load(cert, key)
        except tls.CertificateError as error:
            merged.problems.append(f"tls.cert ({merged.origins['tls.cert']}): {error}")
