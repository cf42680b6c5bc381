"""Merge options, environment and TOML file; every fault is told with its place."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from .kinds import Wrong
from .settings import SETTINGS, Config, Setting

CLIENT_VARIABLES = frozenset({"RTOC_URL", "RTOC_PASSWORD", "RTOC_TOKEN"})
"""Variables of the `rtoc` command line; in the server's environment they mean nothing."""

BY_KEY = {setting.key: setting for setting in SETTINGS}
BY_ENVIRONMENT = {setting.environment: setting for setting in SETTINGS}
TABLES = {key.partition(".")[0] for key in BY_KEY if "." in key}


class ConfigError(Exception):
    """Tell everything that is wrong with a configuration.

    problems: "place: what is wrong", where the place is a file with its key, an environment variable
    or an option.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class _Given(NamedTuple):
    """A value somebody gave: where it stands, what its relative path is meant below, text or TOML."""

    setting: Setting
    raw: object
    origin: str
    place: str
    base: Path
    textual: bool


@dataclass
class Merged:
    """What came out of merging: values and their origins by key, and the problems met."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def config(self) -> Config:
        """Return the typed configuration; raises ConfigError if there is any problem."""
        if self.problems:
            raise ConfigError(tuple(self.problems))
        config: Config = _build(Config, "", self.values)
        return config


def load(options: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
    """Return the configuration from options, environment and the TOML file that these name.

    options: values by option name ("tls-port"), None or 0 where not given; environ: as os.environ.
    Raises ConfigError with all problems. Reads no other file than the TOML file, listens to nothing.
    """
    return merge(options, environ).config()


def merge(options: Mapping[str, Any], environ: Mapping[str, str]) -> Merged:
    """Return the merged values with origins and problems; arguments as for `load`.

    An option wins over an environment variable, that over the file, that over the default. An empty
    environment variable counts as not set.
    """
    merged = Merged({setting.key: _default(setting) for setting in SETTINGS})
    home = environ.get("HOME", "")
    name = options.get("config") or environ.get("RTOC_CONFIG")
    file = _located(Path(name), Path.cwd(), home) if name else None
    for given in (
        *(_in_file(file, merged.problems) if file else ()),
        *_in_environment(environ, merged.problems),
        *_in_options(options),
    ):
        _take(given, merged, home)
    _place_state(merged, environ, home)
    _contradictions(merged)
    return merged


def _default(setting: Setting) -> Any:
    return None if setting.default is None else setting.kind.check(setting.default)


def _take(given: _Given, merged: Merged, home: str) -> None:
    kind = given.setting.kind
    try:
        value = kind.check(kind.from_text(str(given.raw)) if given.textual else given.raw)
    except Wrong as error:
        merged.problems.extend(f"{given.place}.{below}: {message}" for below, message in error.parts)
    except ValueError as error:
        merged.problems.append(f"{given.place}: {error}")
    else:
        merged.values[given.setting.key] = _located(value, given.base, home, given.setting.below_state)
        merged.origins[given.setting.key] = given.origin


def _located(value: Any, base: Path, home: str, below_state: bool = False) -> Any:
    if not isinstance(value, Path):
        return value
    if value.parts[:1] == ("~",) and home:
        return Path(home, *value.parts[1:])
    return value if below_state else base / value


def _in_file(file: Path, problems: list[str]) -> Iterator[_Given]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{file}: cannot be read: {error.strerror}")
        return
    except UnicodeDecodeError as error:
        problems.append(f"{file}: not UTF-8: {error.reason} at byte {error.start}")
        return
    except tomllib.TOMLDecodeError as error:
        problems.append(f"{file}: not TOML: {error}")
        return
    for name, value in content.items():
        if name not in TABLES:
            found = {name: value}
        elif isinstance(value, dict):
            found = {f"{name}.{key}": entry for key, entry in value.items()}
        else:
            problems.append(f"{file}: {name}: expected a table [{name}]")
            continue
        for key, entry in found.items():
            if key in BY_KEY:
                yield _Given(BY_KEY[key], entry, str(file), f"{file}: {key}", file.parent, textual=False)
            else:
                problems.append(f"{file}: {key}: unknown setting{_meant(key, BY_KEY)}")


def _in_environment(environ: Mapping[str, str], problems: list[str]) -> Iterator[_Given]:
    for name, text in sorted(environ.items()):
        place = f"environment variable {name}"
        if name in BY_ENVIRONMENT:
            if text:
                yield _Given(BY_ENVIRONMENT[name], text, name, place, Path.cwd(), textual=True)
        elif name.startswith("RTOC_") and name != "RTOC_CONFIG" and name not in CLIENT_VARIABLES:
            problems.append(f"{place}: unknown setting{_meant(name, BY_ENVIRONMENT)}")


def _in_options(options: Mapping[str, Any]) -> Iterator[_Given]:
    for setting in SETTINGS:
        value = options.get(setting.option) if setting.option else None
        # usage.Options holds 0 for a flag that was not given.
        if value not in (None, 0):
            flag = f"--{setting.option}"
            yield _Given(setting, value, flag, f"option {flag}", Path.cwd(), textual=True)


def _meant(name: str, known: Mapping[str, Setting]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""


def _place_state(merged: Merged, environ: Mapping[str, str], home: str) -> None:
    values = merged.values
    if values["state_dir"] is None:
        # systemd gives a colon list where several directories are configured; the first is the main one.
        of_systemd = environ.get("STATE_DIRECTORY", "").partition(":")[0]
        of_user = environ.get("XDG_STATE_HOME", "")
        if of_systemd:
            values["state_dir"], merged.origins["state_dir"] = Path(of_systemd), "STATE_DIRECTORY"
        elif of_user.startswith("/"):
            values["state_dir"], merged.origins["state_dir"] = Path(of_user, "rtoc"), "XDG_STATE_HOME"
        elif home:
            values["state_dir"] = Path(home, ".local/state/rtoc")
        else:
            merged.problems.append("state_dir: there is no home directory; name one with --state-dir")
            return
    for setting in SETTINGS:
        if setting.below_state:
            values[setting.key] = values["state_dir"] / values[setting.key]


def _contradictions(merged: Merged) -> None:
    """Add the problems that only show when two settings are seen together."""
    values = merged.values

    def places(*keys: str) -> str:
        return ", ".join(f"{key} ({merged.origins.get(key, 'default')})" for key in keys)

    if (values["tls.cert"] is None) != (values["tls.key"] is None):
        given, missing = ("tls.cert", "tls.key") if values["tls.cert"] else ("tls.key", "tls.cert")
        merged.problems.append(f"{places(given)}: {missing} is missing; a certificate needs its key")
    if values["auth.no_password"] and values["auth.password_file"] is not None:
        both = places("auth.no_password", "auth.password_file")
        merged.problems.append(f"{both}: contradict each other, set one of them")
    if values["port"] == values["tls_port"] != "0":
        both = places("port", "tls_port")
        merged.problems.append(f"{both}: are the same; plain and TLS need a port each")


def _build(cls: Any, prefix: str, values: Mapping[str, Any]) -> Any:
    return cls(
        **{
            entry.name: values[prefix + entry.name]
            if prefix + entry.name in BY_KEY
            else _build(type(entry.default), f"{prefix}{entry.name}.", values)
            for entry in fields(cls)
        }
    )
