"""RTOC's config.json as a configuration of this server (protocol section 12)."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtoc_twisted.client.formats.streams import published, refuse_existing
from rtoc_twisted.client.shell import Shell
from rtoc_twisted.errors import BadValue

TOPICS = ("global", "postgresql", "GUI", "telegram", "tcp", "websocket", "backup")

_LARGEST = 1 << 20
"""Bytes of a config.json."""

_PLAIN = "tcp:{}:interface=127.0.0.1"
_RECORD_LENGTH = range(1, 100_000_001)

_REASONS: Mapping[str, str] = {
    "global.language": "messages are in English",
    "global.documentfolder": "the server keeps everything in its state directory (state_dir)",
    "global.webserver_port": "the web page is on the server's port",
    "postgresql": "samples are kept in the state directory",
    "GUI": "the server has no windows",
    "telegram": "this server talks to no Telegram bot",
    "tcp": "the old TCP protocol is not spoken",
    "websocket.knownHosts": "a list of servers, which is the business of clients",
    "backup.clear": "nothing is removed after a backup; old samples are the business of retention",
    "backup.autoIfFull": "a signal is never full: what is older stays stored",
    "backup.autoOnClose": "everything is stored already when the server stops",
    "backup.loadOnOpen": "everything stored is there when the server starts",
    "backup.resample": "backups hold what was recorded",
}


@dataclass(slots=True)
class Converted:
    """A configuration: tables of settings by name ("" for those outside of tables).

    left_out: "key: why", without values, as some are secret. password: in the clear, as RTOC keeps it.
    """

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    password: str | None = field(default=None, repr=False)

    def set(self, table: str, key: str, value: Any) -> None:
        """Give a setting its value."""
        self.tables.setdefault(table, {})[key] = value

    def toml(self) -> str:
        """Return the configuration as TOML."""
        lines = ["# Made by `rtoc import` of RTOC's config.json."]
        for table in sorted(self.tables):
            lines += ["", f"[{table}]"] if table else []
            # JSON's texts, numbers and lists are TOML's, too: the texts here are printable.
            settings = self.tables[table].items()
            lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in settings]
        return "\n".join(lines) + "\n"


def import_config(path: Path, out: str | None, force: bool, shell: Shell) -> None:
    """Convert a config.json; write it to `out`, or print it, and tell on stderr what was left out.

    With `out`, the password goes into a file of mode 600 beside it; it is never printed. BadValue if the
    file is none of RTOC's, or one to be written exists and `force` is not set.
    """
    with path.open("rb") as file:
        text = file.read(_LARGEST + 1)
    try:
        document = json.loads(text) if len(text) <= _LARGEST else None
    except (ValueError, RecursionError) as error:
        raise BadValue(f"no JSON: {error}") from None
    if not isinstance(document, dict) or not any(isinstance(document.get(it), dict) for it in TOPICS):
        raise BadValue("neither samples nor a session nor RTOC's config.json")
    found = convert(document, path.absolute().parent)
    if out is None:
        if found.password is not None:
            found.left_out.append(
                "websocket.password: not for the screen; --config-out writes a password file"
            )
        shell.stdout.write(found.toml())
    else:
        _write(found, Path(out), force)
    for line in found.left_out:
        shell.complain(f"left out: {line}")


def _write(found: Converted, toml: Path, force: bool) -> None:
    if found.password is not None:
        secret = toml.with_name(f"{toml.stem}.password")
        refuse_existing(toml, force)
        with published(secret, force=force, mode=0o600) as file:
            file.write(f"{found.password}\n".encode())
        # Relative paths are meant below the directory of the configuration.
        found.set("auth", "password_file", secret.name)
    with published(toml, force=force) as file:
        file.write(found.toml().encode())


def convert(document: Mapping[str, Any], directory: Path) -> Converted:
    """Return what a config.json says, in settings of this server. directory: where the file lies."""
    converted = Converted()
    for topic, entries in document.items():
        if topic in _REASONS:
            converted.left_out.append(f"{topic}: {_REASONS[topic]}")
        elif topic not in TOPICS or not isinstance(entries, dict):
            converted.left_out.append(f"{topic}: nothing that this server knows")
        else:
            for key, value in entries.items():
                place = f"{topic}.{key}"
                reason = _REASONS.get(place)
                if reason is None:
                    handler = _HANDLERS.get(place, _unknown)
                    reason = handler(value, converted)
                if reason is not None:
                    converted.left_out.append(f"{place}: {reason}")
    _encryption(document, directory, converted)
    return converted


def _unknown(value: Any, converted: Converted) -> str | None:
    return "nothing that this server knows"


def _name(value: Any, converted: Converted) -> str | None:
    if not _is_text(value):
        return "not a printable text"
    converted.set("", "name", value)
    return None


def _record_length(value: Any, converted: Converted) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int) or value not in _RECORD_LENGTH:
        return f"not a number from {_RECORD_LENGTH[0]} to {_RECORD_LENGTH[-1]}"
    converted.set("storage", "record_length", value)
    return None


def _active(value: Any, converted: Converted) -> str | None:
    return None if value else "it was off; this server always listens"


def _whitelist(value: Any, converted: Converted) -> str | None:
    networks: list[str] = []
    others = 0
    for host in value if isinstance(value, list) else [value]:
        if host == "localhost":
            networks += ["127.0.0.0/8", "::1"]
            continue
        try:
            networks.append(str(ipaddress.ip_address(host)))
        except ValueError:
            others += 1
    converted.set("auth", "whitelist", list(dict.fromkeys(networks)))
    return f"{others} of its entries are no IP addresses; networks are trusted, not names" if others else None


def _password(value: Any, converted: Converted) -> str | None:
    if value in (None, ""):
        return "there was none; this server makes one at its first start (auth.no_password lets all in)"
    if not isinstance(value, str) or value.splitlines() != [value] or value.startswith("scrypt$"):
        return "not a text of one line; write a password file by hand (auth.password_file)"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "not a proper text; write a password file by hand (auth.password_file)"
    converted.password = value
    return None


def _backup_path(value: Any, converted: Converted) -> str | None:
    if not _is_text(value):
        return "not a path"
    converted.set("logger", "backup_dir", str(Path(value).expanduser()))
    return None


def _backup_interval(value: Any, converted: Converted) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        return "not a number of seconds"
    return (
        f'kept by the server, not in its file: send {{"logger": {{"backup": {{"intervall": {value}}}}}}} once'
    )


def _backup_active(value: Any, converted: Converted) -> str | None:
    word = json.dumps(bool(value))
    return f'kept by the server, not in its file: send {{"logger": {{"backup": {{"active": {word}}}}}}} once'


def _events_active(value: Any, converted: Converted) -> str | None:
    return _automation("events", value)


def _actions_active(value: Any, converted: Converted) -> str | None:
    return _automation("actions", value)


def _automation(what: str, value: Any) -> str:
    word = json.dumps(bool(value))
    return (
        f'kept by the server, not in its file: send {{"automation": {{"active": {{"{what}": {word}}}}}}} once'
    )


def _later(value: Any, converted: Converted) -> str | None:
    """Say nothing: `_encryption` looks at these together."""


_HANDLERS: Mapping[str, Callable[[Any, Converted], str | None]] = {
    "global.name": _name,
    "global.recordLength": _record_length,
    "global.globalEventsActivated": _events_active,
    "global.globalActionsActivated": _actions_active,
    "websocket.active": _active,
    "websocket.host_whitelist": _whitelist,
    "websocket.password": _password,
    "websocket.port": _later,
    "websocket.ssl": _later,
    "websocket.certfile": _later,
    "websocket.keyfile": _later,
    "backup.path": _backup_path,
    "backup.intervall": _backup_interval,
    "backup.active": _backup_active,
}


def _encryption(document: Mapping[str, Any], directory: Path, converted: Converted) -> None:
    """Convert port, ssl, certfile and keyfile: RTOC has one port, plain or with TLS; this server has both."""
    topic = document.get("websocket")
    given = topic if isinstance(topic, dict) else {}
    port = given.get("port", 5050)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port <= 65535:
        converted.left_out.append("websocket.port: not a port number")
        port = 5050
    if not given.get("ssl"):
        converted.set("", "port", port)
        if given.get("certfile") or given.get("keyfile"):
            converted.left_out.append("websocket.certfile, websocket.keyfile: ssl was off")
        return
    plain = _PLAIN.format(5051 if port == 5050 else 5050)
    converted.set("", "port", plain)
    converted.set("", "tls_port", port)
    converted.left_out.append(
        f"websocket: RTOC had no plain port beside TLS; here it is {plain}, for this machine"
    )
    pair = _certificate(document, given, directory)
    if pair is None:
        converted.left_out.append(
            "websocket.certfile, websocket.keyfile: no such files here; set tls.cert and tls.key, "
            "or a certificate is made"
        )
    else:
        converted.set("tls", "cert", str(pair[0]))
        converted.set("tls", "key", str(pair[1]))


def _certificate(
    document: Mapping[str, Any], given: Mapping[str, Any], directory: Path
) -> tuple[Path, Path] | None:
    """Return the files of certificate and key, sought where RTOC does and beside its file; or None."""
    names = given.get("certfile"), given.get("keyfile")
    settings = document.get("global")
    folder = settings.get("documentfolder") if isinstance(settings, dict) else None
    folders = [Path(str(folder)).expanduser(), directory] if _is_text(folder) else [directory]
    for below in folders:
        # A leading slash means nothing to RTOC, which joins the two with one.
        cert, key = (below / str(name or "").lstrip("/") for name in names)
        if all(_is_text(name) for name in names) and cert.is_file() and key.is_file():
            return cert.absolute(), key.absolute()
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()
