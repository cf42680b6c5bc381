"""What a plugin says of itself in `plugin.toml`, and what a person configured for it in `config.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..errors import BadValue
from .settings import Setting, read_setting, wrong_value

MANIFEST: Final = "plugin.toml"
CONFIG: Final = "config.toml"

API: Final = 1
"""The newest version of the plugin API that this server has."""

PERMISSIONS: Final = ("network", "files", "signals")
MASK: Final = "***"

_LONGEST = 256 * 1024
# A shorter one is more likely to be a word of the text than the secret.
_SHORTEST_HIDDEN = 4
_TEXTS = ("name", "version", "description", "python")
KEYS: Final = (*_TEXTS, "api", "requirements", "permissions")


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `plugin.toml` says; without one, the defaults.

    python: a version specifier (PEP 440); requirements: as pip takes them; permissions: what the plugin wants
    to reach, told to people and not enforced, each with a reason or the places ("" where none is given);
    settings: its configuration, in the order of the file.
    """

    name: str = ""
    version: str = ""
    description: str = ""
    python: str = ""
    api: int = API
    requirements: tuple[str, ...] = ()
    permissions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def schema(self) -> dict[str, Any]:
        """Return the configuration's JSON Schema, of which a form can be made; secrets are `writeOnly`."""
        return {
            "type": "object",
            "properties": {name: setting.schema() for name, setting in self.settings.items()},
            "required": [name for name, setting in self.settings.items() if setting.required],
            "additionalProperties": False,
        }

    def configured(self, values: Mapping[str, Any]) -> Configuration:
        """Return the configuration: the given values, and the defaults of the others.

        Raises BadValue with every key that is wrong, and why; the value of a secret is not told.
        """
        problems = [f"{name}: there is no such setting" for name in values if name not in self.settings]
        filled = {}
        for name, setting in self.settings.items():
            if name in values:
                reason = wrong_value(setting, values[name])
                if reason:
                    problems.append(f"{name}: {reason}")
                filled[name] = values[name]
            elif setting.required:
                problems.append(f"{name}: is missing")
            elif setting.default is not None:
                filled[name] = setting.default
        if problems:
            raise BadValue("; ".join(problems))
        return Configuration(filled, frozenset(n for n, it in self.settings.items() if it.secret))


@dataclass(frozen=True, slots=True, repr=False)
class Configuration:
    """The values that a plugin gets; what shows them to anybody else goes through `shown` or `hide`."""

    values: Mapping[str, Any] = field(default_factory=dict)
    secret: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Configuration({self.shown()!r})"

    def shown(self) -> dict[str, Any]:
        """Return the values with a mask for each secret that is set."""
        return {
            name: MASK if name in self.secret and value != "" else value
            for name, value in self.values.items()
        }

    def hide(self, text: str) -> str:
        """Return a text, such as a line of the plugin's log, with a mask for each secret in it."""
        secrets = {str(self.values[name]) for name in self.secret & self.values.keys()}
        if text and text in secrets:
            return MASK
        # The longest first: one may be the beginning of another.
        for value in sorted(secrets, key=len, reverse=True):
            if len(value) >= _SHORTEST_HIDDEN:
                text = text.replace(value, MASK)
        return text

    def hide_in(self, value: Any) -> Any:
        """Return a value, such as a parameter of the plugin, with the secrets hidden in all texts of it."""
        if not self.secret:
            return value
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, list | tuple):
            return [self.hide_in(entry) for entry in value]
        if isinstance(value, dict):
            return {self.hide_in(key): self.hide_in(entry) for key, entry in value.items()}
        return value


def read(folder: Path) -> Manifest:
    """Return the manifest in a plugin's folder, the defaults where there is none.

    Raises BadValue with every key that is wrong, and why.
    """
    document = _document(folder / MANIFEST)
    problems: list[str] = []
    about = document.pop("plugin", {})
    config = document.pop("config", {})
    problems += [f"{MANIFEST}: {key}: there is no such table" for key in document]
    fields = _about(about, problems) if isinstance(about, dict) else {}
    settings = {}
    for name, given in config.items() if isinstance(config, dict) else ():
        try:
            settings[name] = read_setting(name, given)
        except BadValue as error:
            problems.append(f"{MANIFEST}: config.{error.message}")
    for key, table in (("plugin", about), ("config", config)):
        if not isinstance(table, dict):
            problems.append(f"{MANIFEST}: {key}: must be a table")
    if problems:
        raise BadValue("; ".join(problems))
    return Manifest(**fields, settings=settings)


def read_configuration(folder: Path, manifest: Manifest) -> Configuration:
    """Return what `config.toml` in a plugin's folder and the manifest's defaults say together.

    Raises BadValue with every key that is wrong, and why. A plugin without a `[config]` in its manifest gets
    the file as it is; of its values, all that are texts count as secrets.
    """
    values = _document(folder / CONFIG)
    if not manifest.settings:
        return Configuration(values, frozenset(name for name, it in values.items() if isinstance(it, str)))
    try:
        return manifest.configured(values)
    except BadValue as error:
        raise BadValue(f"{CONFIG}: {error.message}") from None


def about(folder: Path) -> dict[str, Any] | None:
    """Return what people are shown of a plugin's manifest and its configuration; None without a manifest.

    `schema`: what a form can be made of, `config`: its values, secrets masked; `error`: what is wrong with
    either.
    """
    if not (folder / MANIFEST).exists():
        return None
    try:
        manifest = read(folder)
    except BadValue as error:
        return {"error": error.message}
    told: dict[str, Any] = {key: getattr(manifest, key) for key in _TEXTS}
    told |= {
        "api": manifest.api,
        "requirements": list(manifest.requirements),
        "permissions": dict(manifest.permissions),
        "schema": manifest.schema(),
    }
    try:
        return told | {"config": read_configuration(folder, manifest).shown()}
    except BadValue as error:
        return told | {"error": error.message}


def _document(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadValue(f"{path.name}: cannot be read: {error.strerror}") from None
    if len(text) > _LONGEST:
        raise BadValue(f"{path.name}: is longer than {_LONGEST} bytes")
    try:
        return tomllib.loads(text.decode())
    except ValueError as error:
        raise BadValue(f"{path.name}: {error}") from None


def _about(table: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return the fields of Manifest that the table `plugin` gives, and add what is wrong with it."""

    def wrong(key: str, reason: str) -> None:
        problems.append(f"{MANIFEST}: plugin.{key}: {reason}")

    for key in table.keys() - set(KEYS):
        wrong(key, "there is no such key")
    fields: dict[str, Any] = {key: table[key] for key in _TEXTS if key in table}
    for key, value in fields.items():
        if not isinstance(value, str):
            wrong(key, "must be a text")
    api = table.get("api", API)
    if type(api) is not int or api < 1:
        wrong("api", "must be a whole number from 1")
    elif api > API:
        wrong("api", f"the plugin needs version {api}, this server has {API}")
    requirements = table.get("requirements", [])
    if not _are_texts(requirements):
        wrong("requirements", "must be a list of texts")
        requirements = []
    permissions = _permissions(table.get("permissions", {}))
    if permissions is None:
        wrong("permissions", f"must be of {', '.join(PERMISSIONS)}: a list, or a table with a text for each")
    return fields | {"api": api, "requirements": tuple(requirements), "permissions": permissions}


def _permissions(given: Any) -> dict[str, str] | None:
    if _are_texts(given):
        given = dict.fromkeys(given, "")
    if not isinstance(given, dict) or not _are_texts(list(given.values())):
        return None
    return given if given.keys() <= set(PERMISSIONS) else None


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(it, str) for it in value)
