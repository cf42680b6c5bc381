"""What was changed in automation, by whom and when, so that it can be taken back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from ..errors import BadValue
from ..interfaces import ICommit, IStorage

MOST: Final = 500
"""Revisions that are kept."""

ROLLBACK: Final = "rollback"
_PREFIX: Final = "automation/revisions/"


class Step(NamedTuple):
    """One thing that a revision changed. before, after: its fields, None where there was no such thing."""

    kind: str
    name: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Revisions:
    """The newest revisions, {number, at, who, what, name, before, after} each, a document of the store each.

    what: the kind of what was changed. Of a rollback, before and after hold all that it changed,
    {kind: {name: fields}}, and name is the number to which it went back.
    """

    def __init__(self, storage: IStorage) -> None:
        self._storage = storage
        documents = storage.documents(_PREFIX)
        self._kept: dict[int, Mapping[str, Any]] = {
            number: documents[key] for number, key in sorted((_number(key), key) for key in documents)
        }

    @property
    def newest(self) -> int:
        """Return the number of the newest revision, 0 where there never was one."""
        return max(self._kept, default=0)

    def told(self, limit: int | None = None) -> list[Mapping[str, Any]]:
        """Return the newest revisions, oldest first."""
        kept = list(self._kept.values())
        return kept if limit is None else kept[max(0, len(kept) - limit) :]

    def add(self, step: Step, who: str, at: float) -> ICommit:
        """Take note of a change."""
        return self._add(who, at, what=step.kind, name=step.name, before=step.before, after=step.after)

    def add_rollback(self, number: int, steps: Sequence[Step], who: str, at: float) -> ICommit:
        """Take note of a rollback, which did these steps."""
        sides: dict[str, dict[str, dict[str, Any]]] = {"before": {}, "after": {}}
        for step in steps:
            sides["before"].setdefault(step.kind, {})[step.name] = step.before
            sides["after"].setdefault(step.kind, {})[step.name] = step.after
        return self._add(who, at, what=ROLLBACK, name=str(number), **sides)

    def _add(self, who: str, at: float, **revision: Any) -> ICommit:
        number = self.newest + 1
        self._kept[number] = {"number": number, "at": at, "who": who, **revision}
        for old in list(self._kept)[:-MOST]:
            del self._kept[old]
            self._storage.put_document(_key(old), None)
        return self._storage.put_document(_key(number), self._kept[number])

    def way_back(self, number: int) -> list[Step]:
        """Return the steps after which everything is as it was after that revision, 0 for before the first.

        Of several changes of one thing it is one step. Raises BadValue where that is not known (any more).
        """
        if number not in self._kept and number != min(self._kept, default=1) - 1:
            raise BadValue(f"rollback: revision {number} is not known")
        back: dict[tuple[str, str], Step] = {}
        for later in sorted(self._kept, reverse=True):
            if later <= number:
                break
            for kind, name, before, after in _steps(self._kept[later]):
                newest = back[kind, name].before if (kind, name) in back else after
                back[kind, name] = Step(kind, name, newest, before)
        return [step for step in back.values() if step.before != step.after]


def _steps(revision: Mapping[str, Any]) -> Iterator[Step]:
    before, after = revision["before"], revision["after"]
    if revision["what"] != ROLLBACK:
        yield Step(revision["what"], revision["name"], before, after)
        return
    for kind, names in before.items():
        for name in names:
            yield Step(kind, name, names[name], after[kind][name])


def _key(number: int) -> str:
    return f"{_PREFIX}{number:09d}"


def _number(key: str) -> int:
    return int(key.removeprefix(_PREFIX))
