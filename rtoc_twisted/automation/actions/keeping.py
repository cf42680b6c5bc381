"""What scripts keep from run to run: their globals, and what the conditions of their `trig`s said last."""

from __future__ import annotations

import copy
import json
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...errors import BadValue, TooLarge
from ...interfaces import IStorage

_SECOND = 1.0
"""How often a run's globals are written while it lasts."""

_LARGEST = 1 << 20
"""Letters of what one action keeps, as JSON."""

_MOST = 1000
"""Globals and conditions that one action keeps."""


class Kept:
    """What is kept of one action, in a document; written at most once a second, and by `write`.

    key: of the document; firm: whether it is written at all, which it is not in a dry run.
    """

    def __init__(self, storage: IStorage, clock: IReactorTime, key: str, firm: bool) -> None:
        document = storage.document(key)
        # A copy: what the store hands out is its own.
        kept = copy.deepcopy(document) if isinstance(document, dict) else {}
        self.globals: dict[str, Any] = kept.get("globals", {})
        self.edges: dict[str, bool] = kept.get("triggers", {})
        self._sizes = {
            (kind, name): len(name) + len(json.dumps(value))
            for kind, values in (("global", self.globals), ("condition", self.edges))
            for name, value in values.items()
        }
        self._storage = storage
        self._clock = clock
        self._key = key
        self._firm = firm
        self._dirty = False
        self._timer: IDelayedCall | None = None

    def keep(self, name: str, value: Any) -> None:
        """Keep a global; raises BadValue for what JSON has no word for, TooLarge past the limits."""
        try:
            size = len(json.dumps(value))
        except (TypeError, ValueError, RecursionError) as error:
            raise BadValue(f"global {name} cannot be kept: {error}") from None
        self._make_room("global", name, size)
        self.globals[name] = value
        self._changed()

    def edge(self, key: str, value: bool) -> None:
        """Keep what the condition of a `trig` block said; raises TooLarge past the limits."""
        if self.edges.get(key) is not value:
            self._make_room("condition", key, len("false"))
            self.edges[key] = value
            self._changed()

    def _make_room(self, kind: str, name: str, size: int) -> None:
        size += len(name)
        sizes = self._sizes
        if (kind, name) not in sizes and len(sizes) >= _MOST:
            raise TooLarge(f"{kind} {name[:40]} is not kept: an action keeps {_MOST}, and no more")
        if sum(sizes.values()) - sizes.get((kind, name), 0) + size > _LARGEST:
            raise TooLarge(
                f"{kind} {name[:40]} is not kept: what an action keeps has {_LARGEST} letters at most"
            )
        sizes[kind, name] = size

    def _changed(self) -> None:
        self._dirty = True
        if self._firm and self._timer is None:
            self._timer = self._clock.callLater(_SECOND, self._due)

    def _due(self) -> None:
        self._timer = None
        self.write()

    def write(self) -> None:
        """Hand what has changed to the store now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dirty and self._firm:
            self._dirty = False
            self._storage.put_document(self._key, {"globals": self.globals, "triggers": self.edges})

    def drop(self) -> None:
        """Write nothing any more: the action is gone."""
        self._dirty = self._firm = False
        self.write()
