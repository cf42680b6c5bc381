"""Every setting of the server, declared once: its kind, default, meaning and names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from ..auth.accounts import OWNER
from ..channels.rules import Rules
from ..model import Permission
from ..storage.retention import Rule
from . import kinds
from .channels import channels as read_channels
from .kinds import Kind, Network


@dataclass(frozen=True)
class Setting:
    """One setting as documents, option parser and `load` see it.

    key: its place in the TOML file, such as "limits.max_message".
    default: as a TOML file would hold it, None where there is none; `absent` says what happens then.
    meaning: one sentence. option: the name on the command line, without dashes.
    below_state: a relative path is meant below the state directory. secret: never shown.
    """

    key: str
    kind: Kind
    default: object
    absent: str
    meaning: str
    option: str | None
    below_state: bool
    secret: bool

    @property
    def environment(self) -> str:
        """Return the name of the environment variable."""
        return "RTOC_" + self.key.replace(".", "_").upper()


def setting(
    kind: Kind,
    default: object,
    meaning: str,
    *,
    option: str | None = None,
    absent: str = "not set",
    below_state: bool = False,
    secret: bool = False,
    required: bool = False,
) -> Any:
    """Declare a dataclass field that is a setting; arguments as in `Setting`.

    required: whoever makes the dataclass must name it, as `load` does.
    """
    metadata = {"setting": Setting("", kind, default, absent, meaning, option, below_state, secret)}
    if required:
        return field(metadata=metadata)
    return field(default=None if default is None else kind.check(default), metadata=metadata)


@dataclass(frozen=True)
class Account:
    """Who may log in by a name. The hashes are as `auth` makes them; no repr shows them."""

    name: str
    password_hash: str | None = field(repr=False)
    token_hash: str | None = field(repr=False)
    permissions: Permission


PERMISSIONS = {
    name.lower(): flag for name, flag in Permission.__members__.items() if name not in ("NONE", "ALL")
}
ACCOUNT_KEYS = {
    "password_hash": kinds.secret(r"scrypt(\$[^$\s]+){5}", "scrypt$16384$8$1$.."),
    "token_hash": kinds.secret(r"sha256\$[0-9a-f]{64}", "sha256$.."),
    "permissions": kinds.strings(kinds.choice(*PERMISSIONS), least=1),
}


def _accounts(value: object) -> tuple[Account, ...]:
    return kinds.entries(value, "[accounts.NAME] for each account", _account)


def _account(name: str, entry: object, wrong: list[tuple[str, str]]) -> Account:
    if name == OWNER:
        wrong.append((name, "this name is the account of the server's password; choose another"))
    given = kinds.checked(name, entry, ACCOUNT_KEYS, wrong)
    if not isinstance(entry, dict) or not {"password_hash", "token_hash"} & entry.keys():
        wrong.append((name, "expected a table with password_hash, token_hash or both"))
    elif "permissions" not in entry:
        wrong.append((name, f"permissions is missing: a list of {', '.join(PERMISSIONS)}"))
    granted = Permission.NONE
    for word in given.get("permissions", ()):
        granted |= PERMISSIONS[word]
    return Account(name, given.get("password_hash"), given.get("token_hash"), granted)


RULE_KEYS = {
    "signals": kinds.patterns(),
    "raw_days": kinds.seconds(0.01, 100_000, "days"),
    "raw_points": kinds.integer(1, 10**15),
    "raw_bytes": kinds.size("1 KiB", "1024 TiB"),
    "days": kinds.seconds(0.01, 100_000, "days"),
}


def _retention(value: object) -> tuple[Rule, ...]:
    return kinds.entries(value, "[retention.NAME] for each rule", _rule)


def _rule(name: str, entry: object, wrong: list[tuple[str, str]]) -> Rule:
    given = kinds.checked(name, entry, RULE_KEYS, wrong)
    if not isinstance(entry, dict) or "signals" not in entry:
        wrong.append((name, 'expected a table with signals = "PATTERN", and limits'))
    elif len(entry) == 1:
        wrong.append((name, f"a limit is missing: {', '.join(list(RULE_KEYS)[1:])}"))
    return Rule(name, given.pop("signals", ()), **given)


@dataclass(frozen=True)
class Auth:
    """Who may enter."""

    password_file: Path | None = setting(
        kinds.path(),
        None,
        "File with the server's password, or with its hash",
        option="password-file",
        absent="made in the state directory",
    )
    no_password: bool = setting(
        kinds.flag(), False, "Let everybody in without a password", option="no-password"
    )
    whitelist: tuple[Network, ...] = setting(
        kinds.strings(kinds.network()), ["127.0.0.0/8", "::1"], "Networks whose clients need no password"
    )
    allowed_origins: tuple[str, ...] = setting(
        kinds.strings(kinds.origin()), [], "Origins of web pages that are trusted like the server's own"
    )
    legacy_cipher: str = setting(
        kinds.choice("allow", "require", "off"),
        "allow",
        "The original's AES frames: allowed, required of other hosts without TLS, or refused",
    )


@dataclass(frozen=True)
class Tls:
    """The certificate of the TLS port."""

    cert: Path | None = setting(
        kinds.path(),
        None,
        "Certificate with its chain, PEM, as certbot's fullchain.pem",
        option="tls-cert",
        absent="self-signed, made in the state directory",
    )
    key: Path | None = setting(
        kinds.path(),
        None,
        "Private key of the certificate, PEM, not encrypted",
        option="tls-key",
        absent="made with the self-signed certificate",
    )


@dataclass(frozen=True)
class Limits:
    """What one client, and all of them, may take. Sizes in bytes, times in seconds."""

    max_message: int = setting(kinds.size("1 KiB", "1 GiB"), "16 MiB", "Largest message, after decompression")
    max_connections: int = setting(kinds.integer(1, 1_000_000), 1000, "Connections at the same time")
    max_connections_per_address: int = setting(
        kinds.integer(1, 1_000_000), 200, "Connections at the same time from one address"
    )
    max_subscriptions: int = setting(kinds.integer(1, 10_000_000), 10_000, "Subscriptions of one connection")
    login_seconds: float = setting(
        kinds.seconds(1, 3600), 10, "Time to log in before the connection is closed"
    )
    outbox_bytes: int = setting(
        kinds.size("64 KiB", "1 GiB"),
        "8 MiB",
        "What may wait for a client that reads slowly before it is cut",
    )
    max_signals: int = setting(kinds.integer(1, 10_000_000), 100_000, "Signals that may exist")
    write_behind_values: int = setting(
        kinds.integer(1000, 1_000_000_000),
        1_000_000,
        "Values that may wait for the disk before senders are paused",
    )
    ping_seconds: float = setting(kinds.seconds(1, 3600), 30, "Time between pings to a silent client")
    ping_timeout_seconds: float = setting(
        kinds.seconds(1, 3600), 30, "Time that a client has to answer a ping before it is cut"
    )


@dataclass(frozen=True)
class Storage:
    """Where and how safely samples are kept."""

    durability: str = setting(
        kinds.choice("normal", "fsync"),
        "normal",
        "What survives: `normal` a crash of the server, `fsync` also a power cut",
    )
    record_length: int = setting(
        kinds.integer(1, 100_000_000),
        500_000,
        "Newest samples of a signal kept at hand; older ones stay stored",
    )
    backend: str = setting(
        kinds.choice("sqlite", "memory"), "sqlite", "Where samples are kept; `memory` forgets all at the end"
    )
    rollups: tuple[float, ...] = setting(
        kinds.strings(kinds.seconds(0.001, 100_000_000), least=1),
        [60, 3600, 86400],
        "Widths of the buckets whose sums stay when samples go",
    )
    budget: int | None = setting(
        kinds.size("16 MiB", "1024 TiB"),
        None,
        "What the stored data may take on the disk before the oldest make room",
        absent="no limit",
    )
    keep_free: int = setting(
        kinds.size("0", "1024 TiB"),
        "256 MiB",
        "What is to stay free on the disk before the oldest data make room",
    )


@dataclass(frozen=True)
class Logger:
    """What the key `logger` may do on this machine."""

    export_dir: Path = setting(
        kinds.path(), "export", "Directory that exports are written to", below_state=True
    )
    backup_dir: Path = setting(
        kinds.path(), "backup", "Directory that backups are written to", below_state=True
    )
    reboot_command: tuple[str, ...] | None = setting(
        kinds.command(), None, "Command that `logger.reboot` runs", absent="reboot is refused"
    )


@dataclass(frozen=True)
class Plugins:
    """What each plugin's process may take, and what is done with one that misbehaves."""

    enabled: bool = setting(kinds.flag(), True, "Run plugins; if not, none is there")
    reload: bool = setting(kinds.flag(), True, "Restart a plugin that runs when its files change")
    restarts: int = setting(
        kinds.integer(0, 1000),
        4,
        "Unexpected ends within ten minutes that are followed by another start of the plugin",
    )
    start_seconds: float = setting(kinds.seconds(0.1, 3600), 30, "Time for import and `__init__`")
    call_seconds: float = setting(
        kinds.seconds(0.1, 3600), 10, "Time for a called function, until its caller is told that it is late"
    )
    close_seconds: float = setting(
        kinds.seconds(0.1, 60), 5, "Time for `close()`, until the process is ended"
    )
    heartbeat_seconds: float = setting(
        kinds.seconds(0.1, 3600), 5, "Time between questions for a sign of life; after three without, it ends"
    )
    memory: int = setting(
        kinds.size("32 MiB", "1024 TiB"), "512 MiB", "Memory that the process of a plugin may take"
    )
    open_files: int = setting(
        kinds.integer(32, 1_000_000), 256, "Files and sockets that a plugin may have open"
    )
    cpu_percent: int | None = setting(
        kinds.integer(1, 10_000),
        None,
        "Percent of one CPU that a plugin may take for long before it is ended",
        absent="no limit",
    )


@dataclass(frozen=True)
class Automation:
    """What rules and scripts may take."""

    script_seconds: float = setting(
        kinds.seconds(0.1, 86_400), 10, "Time for a script, until it is ended; an action may set its own"
    )
    script_memory: int = setting(kinds.size("16 MiB", "1024 TiB"), "256 MiB", "Memory for a script")
    scripts_at_once: int = setting(
        kinds.integer(1, 100),
        2,
        "Scripts that run at the same time, not counted those without a limit of time",
    )
    script_files: bool = setting(kinds.flag(), False, "Let scripts use files, with the server's rights")
    script_network: bool = setting(kinds.flag(), False, "Let scripts use the network")
    window: int = setting(
        kinds.integer(1, 1_000_000),
        10_000,
        "Newest samples of a signal that a condition sees as `.x` and `.y`",
    )
    events_per_minute: int = setting(
        kinds.integer(1, 1_000_000), 600, "Events of one rule within a minute; what is above is left out"
    )


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration; made by `load`. All paths are absolute."""

    state_dir: Path = setting(
        kinds.path(),
        None,
        "Directory of everything that the server keeps",
        option="state-dir",
        absent="systemd's `STATE_DIRECTORY`, else `$XDG_STATE_HOME/rtoc`, else `~/.local/state/rtoc`",
        required=True,
    )
    name: str = setting(kinds.text(), "RTOC-Remote", "Name of the server, told to clients")
    port: str = setting(kinds.port(), "5050", "Port for plain WebSocket and the web page", option="port")
    tls_port: str | None = setting(
        kinds.port("ssl", "tls"),
        None,
        "Port for WebSocket and web page over TLS",
        option="tls-port",
        absent="no TLS",
    )
    interface: str = setting(
        kinds.interface(), "", "Address to listen on, for port numbers; empty: all", option="interface"
    )
    auth: Auth = Auth()
    tls: Tls = Tls()
    limits: Limits = Limits()
    storage: Storage = Storage()
    logger: Logger = Logger()
    plugins: Plugins = Plugins()
    automation: Automation = Automation()
    retention: tuple[Rule, ...] = setting(
        kinds.table(_retention, '{name = {signals = "*", days = 30}}'),
        {},
        "Rules by name: which samples are kept for how long",
    )
    channels: tuple[Rules, ...] = setting(
        kinds.table(read_channels, '{name = {url = ".."}}'),
        {},
        "Channels by name: who is told of events, and how",
        secret=True,
    )
    accounts: tuple[Account, ...] = setting(
        kinds.table(_accounts, "{name = {token_hash = ..}}"),
        {},
        "Accounts by name, with hashes and permissions",
        secret=True,
    )


def walk(cls: Any = Config, prefix: str = "") -> Iterator[Setting]:
    """Yield the settings of a dataclass and of the tables in it, in the order of declaration."""
    for entry in fields(cls):
        spec = entry.metadata.get("setting")
        if spec is not None:
            yield replace(spec, key=prefix + entry.name)
        elif is_dataclass(entry.default):
            yield from walk(entry.default, f"{prefix}{entry.name}.")


SETTINGS = tuple(walk())
"""All settings; the one table behind options, environment, file, `--check-config` and documents."""
