"""What is kept of plugins in the store: persistent variables, which start by themselves, how they looked."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..errors import BadValue, TooLarge
from ..interfaces import ICommit, IStorage
from ..wire.batch import check_name
from ..wire.codec import to_json

VARIABLES = "persistentVariables"
AUTORUN = "plugins.autorun"
DESCRIPTIONS = "plugins.descriptions"
STARTING = "plugins.starting"
"""Keys of documents; the first has RTOC's form {dname: {name: value}}."""

_LARGEST = 1 << 20
"""Bytes of one persistent variable, and of the description of one plugin."""

_MOST = 10_000
"""Persistent variables in all."""


class Remembered:
    """The documents of plugins; a document that changes many times within a turn is written once.

    state_dir: where RTOC's files are looked for, once, while there is no document.
    """

    _log = Logger()

    def __init__(self, storage: IStorage, clock: IReactorTime, state_dir: Path) -> None:
        self._storage = storage
        self._clock = clock
        self._dirty: set[str] = set()
        self._storing: ICommit | None = None
        self.variables: dict[str, dict[str, Any]] = self._load(VARIABLES, {})
        self._autorun: list[str] = self._load(AUTORUN, [])
        self._descriptions: dict[str, Any] = self._load(DESCRIPTIONS, {})
        self._documents = {
            VARIABLES: self.variables,
            AUTORUN: self._autorun,
            DESCRIPTIONS: self._descriptions,
        }
        if storage.document(AUTORUN) is None:
            self._take_over_autorun(state_dir / "autorun_devices")
        if storage.document(VARIABLES) is None:
            self._take_over_variables(state_dir / "persistentVariables.json")

    def _load(self, key: str, default: Any) -> Any:
        kept = self._storage.document(key)
        # A copy: what the store hands out is its own.
        return json.loads(to_json(kept)) if isinstance(kept, type(default)) else default

    @property
    def autorun(self) -> Sequence[str]:
        """Return the names of the plugins that start with the server."""
        return tuple(self._autorun)

    def set_autorun(self, name: str, on: bool) -> ICommit | None:
        """Let a plugin start with the server or not; return the commit, None if it is so already."""
        if on is (name in self._autorun):
            return None
        (self._autorun.append if on else self._autorun.remove)(name)
        return self._storage.put_document(AUTORUN, self._autorun)

    def keep_variable(self, dname: str, name: str, value: Any) -> None:
        """Keep a persistent variable; raises BadValue for what JSON has no word for, TooLarge past limits."""
        check_name(dname, "dname")
        check_name(name, "name")
        known = self.variables.get(dname, {})
        if name not in known and sum(map(len, self.variables.values())) >= _MOST:
            raise TooLarge(f"{_MOST} persistent variables are kept, and no more")
        check_size(value, f"the persistent variable {name}")
        self.variables.setdefault(dname, {})[name] = value
        self._changed(VARIABLES)

    def kept(self) -> Deferred[None]:
        """Fire once the variables that were changed so far are stored, fail if they cannot be."""
        if VARIABLES in self._dirty:
            self.write()
        return succeed(None) if self._storing is None else stored(self._storing)

    def description(self, name: str) -> Mapping[str, Any]:
        """Return how a plugin looked when it last ran: functions, parameters, info; {} if it never did."""
        kept = self._descriptions.get(name)
        return kept if isinstance(kept, dict) else {}

    def keep_description(self, name: str, description: Mapping[str, Any]) -> None:
        """Keep how a plugin looks, for when it does not run."""
        if self._descriptions.get(name) != description:
            self._descriptions[name] = dict(description)
            self._changed(DESCRIPTIONS)

    @property
    def starts(self) -> int:
        """Return how many starts of the server in a row did not get past the start of the plugins."""
        kept = self._storage.document(STARTING)
        return kept if isinstance(kept, int) else 0

    def keep_starts(self, count: int) -> ICommit:
        """Keep the number of such starts; return the commit."""
        return self._storage.put_document(STARTING, count)

    def write(self) -> None:
        """Hand what has changed to the store now."""
        dirty, self._dirty = self._dirty, set()
        for key in sorted(dirty):
            commit = self._storage.put_document(key, self._documents[key])
            if key == VARIABLES:
                self._storing = commit
                commit.when_done(partial(self._stored, commit))

    def _stored(self, commit: ICommit) -> None:
        if self._storing is commit:
            self._storing = None
        if commit.error is not None:
            self._log.error("persistent variables are not stored: {problem}", problem=str(commit.error))

    def _changed(self, key: str) -> None:
        if not self._dirty:
            self._clock.callLater(0, self.write)
        self._dirty.add(key)

    # RTOC's files.

    def _take_over_autorun(self, path: Path) -> None:
        text = self._text(path)
        if text is not None:
            self._autorun += dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
            self._changed(AUTORUN)

    def _take_over_variables(self, path: Path) -> None:
        text = self._text(path)
        try:
            devices = {} if text is None else json.loads(text)
            for dname, variables in devices.items():
                for name, value in variables.items():
                    self.keep_variable(dname, name, value)
        except (ValueError, AttributeError, RecursionError, BadValue, TooLarge) as error:
            self._log.warn("{path} is taken over in part: {problem}", path=str(path), problem=str(error))

    def _text(self, path: Path) -> str | None:
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            self._log.warn("{path} cannot be read: {problem}", path=str(path), problem=error.strerror)
            return None
        self._log.info("{path} of RTOC is taken over", path=str(path))
        return text


def stored(commit: ICommit) -> Deferred[None]:
    """Fire once something is stored, fail if it cannot be."""
    waiting: Deferred[None] = Deferred()

    def done() -> None:
        if commit.error is None:
            waiting.callback(None)
        else:
            waiting.errback(commit.error)

    commit.when_done(done)
    return waiting


def check_size(value: Any, what: str) -> None:
    """Raise BadValue if JSON has no word for a value, TooLarge if it is too long to be kept."""
    try:
        size = len(to_json(value))
    except TypeError as error:
        raise BadValue(f"{what}: {error}") from None
    if size > _LARGEST:
        raise TooLarge(f"{what}: {size} bytes are too many, the limit is {_LARGEST}")
