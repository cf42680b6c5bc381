"""What every provider answers from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..interfaces import ICommit
from ..model import Signal, SignalName
from .catalog import Catalog
from .documents import from_text, to_text
from .sources import Sources


class Known:
    """The part of IStorage that needs no disk: the catalog's names, the documents, the batches seen."""

    def __init__(self, max_signals: int) -> None:
        self._catalog = Catalog(max_signals)
        self._documents: dict[str, Any] = {}
        self._sources = Sources()

    @property
    def generation(self) -> int:
        """Return what changes whenever the catalog changes."""
        return self._catalog.generation

    def signals(self) -> Sequence[Signal]:
        """Return all signals in the order of their creation."""
        return list(self._catalog.by_id.values())

    def find(self, name: SignalName) -> Signal | None:
        """Return the signal of that name, None if there is none."""
        return self._catalog.by_name.get(name)

    def resolve(self, key: str) -> Signal | None:
        """Return the signal of a sigKey, None if there is none."""
        return self._catalog.resolve(key)

    def get(self, signal_id: int) -> Signal | None:
        """Return the signal of that id, None if there is none."""
        return self._catalog.by_id.get(signal_id)

    def document(self, key: str) -> Any:
        """Return the value kept under that key, None if there is none."""
        return self._documents.get(key)

    def documents(self, prefix: str) -> Mapping[str, Any]:
        """Return the documents whose keys begin with that, by key, sorted."""
        found = sorted(key for key in self._documents if key.startswith(prefix))
        return {key: self._documents[key] for key in found}

    def _take_document(self, key: str, value: Any) -> str | None:
        """Answer a value, or none at all, from now on; return its JSON text. Raises BadValue."""
        if value is None:
            self._documents.pop(key, None)
            return None
        text = to_text(value, key)
        self._documents[key] = from_text(text)
        return text

    def seen_batch(self, source: str, seq: int) -> ICommit | None:
        """Return the commit that carries a batch, None if it is new; raises BadValue if it is too old."""
        return self._sources.commit_of(source, seq)
