"""A damaged store is set aside, and all that is readable of it becomes a new one.

The pages are read by ourselves (`storage.pages`), never by SQLite: it ends at the first page that makes no
sense, and it would write to the file. What is set aside stays byte for byte as it was.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from twisted.logger import Logger

from ..errors import NotAvailable
from .pages import Pages
from .place import make_private
from .rebuild import Rebuild
from .schema import upgrade

_log = Logger()

_PART, _WHOLE, _REPORT, _SUSPECT = ".salvaging", ".salvaged", ".report", ".suspect"
_COMPANIONS = ("-wal", "-shm", _SUSPECT, _REPORT)
_NAMED = 10
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_UNREADABLE = {sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS}


@dataclass(frozen=True)
class Salvaged:
    """What was kept of a damaged store, and what was lost as far as that can be known.

    aside: the name that the damaged file has now; signals .. documents: what is kept; lost: the samples
    that are missing, by sigKey; lost_commits: how many commits are missing at least, of those that were not
    in the chunks yet.
    """

    aside: str
    signals: int
    samples: int
    events: int
    documents: int
    lost: dict[str, int]
    lost_commits: int

    @property
    def text(self) -> str:
        """Say it in one line, for an event and the log."""
        words = [
            f"the store was damaged: {self.samples} samples of {self.signals} signals, {self.events} events"
            f" and {self.documents} documents were salvaged"
        ]
        if self.lost:
            worst = sorted(self.lost, key=lambda key: -self.lost[key])
            named = [f"{self.lost[key]} of {key}" for key in worst[:_NAMED]]
            if len(worst) > _NAMED:
                named.append(f"{sum(self.lost[key] for key in worst[_NAMED:])} of other signals")
            words.append(f"lost are {sum(self.lost.values())} samples ({', '.join(named)})")
        if self.lost_commits:
            words.append(f"lost are at least {self.lost_commits} of the newest commits")
        if not self.lost and not self.lost_commits:
            words.append("no loss is known")
        return "; ".join([*words, f"the damaged file is kept as {self.aside}"])


def is_damage(error: BaseException) -> bool:
    """Return whether an error means that the content of the file is damaged, rather than out of reach."""
    if isinstance(error, sqlite3.DatabaseError):
        code = getattr(error, "sqlite_errorcode", 0)
        return code & 0xFF in _DAMAGE or code in _UNREADABLE
    # What the rows of the catalog say makes no sense.
    return isinstance(error, LookupError | ValueError | TypeError)


def mark_suspect(path: Path) -> None:
    """Let the next start salvage the store at this path."""
    make_private(_beside(path, _SUSPECT))


def salvage_pending(path: Path) -> Salvaged | None:
    """Salvage a store that was marked, or finish a salvage that was interrupted; else return None.

    To be called before anything else opens the file. Raises NotAvailable like `salvage`.
    """
    try:
        if _beside(path, _WHOLE).exists():
            return _take_the_place(path)
    except OSError as error:
        raise _refusal(path, error) from None
    return salvage(path) if _beside(path, _SUSPECT).exists() else None


def salvage(path: Path) -> Salvaged:
    """Put a new store, of all that can be read of a damaged one, in its place.

    Nobody has the file open. The damaged file and what belongs to it are renamed to `NAME.damaged-N`, and
    a report (JSON, the fields of Salvaged but `aside`) lies beside it. Takes about a minute for a gigabyte,
    and as much room; killed at any point, it leaves all as it was, or `salvage_pending` finishes it.
    Raises NotAvailable if there is no room, or the directory cannot be written: then nothing has changed.
    """
    _log.warn("{path} is damaged: salvaging what can be read", path=str(path))
    part = _beside(path, _PART)
    try:
        part.unlink(missing_ok=True)
        try:
            salvaged = _rebuild(path, part)
            # From here on it is decided: the report, then the name that says so.
            report = _beside(path, _REPORT)
            make_private(report)
            found = {field: value for field, value in asdict(salvaged).items() if field != "aside"}
            report.write_text(json.dumps(found))
            _to_disk(report)
            _to_disk(part)
            part.rename(_beside(path, _WHOLE))
        finally:
            part.unlink(missing_ok=True)
        return _take_the_place(path)
    except (OSError, sqlite3.Error) as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> NotAvailable:
    return NotAvailable(
        f"{path} is damaged, and salvaging it failed: {error} (it takes as much room as the file has)"
    )


def _rebuild(path: Path, part: Path) -> Salvaged:
    make_private(part)
    with Pages(path) as pages, closing(sqlite3.connect(part, isolation_level=None)) as sql:
        # Whoever kills this begins anew: there is nothing to roll back to.
        sql.execute("PRAGMA journal_mode = OFF")
        sql.execute("PRAGMA synchronous = OFF")
        upgrade(sql, part)
        sql.execute("BEGIN")
        rebuild = Rebuild(pages, sql, time.time())
        rebuild.run()
        signals, samples, events, documents = sql.execute(
            "SELECT (SELECT COUNT(*) FROM signals), (SELECT COALESCE(SUM(samples), 0) FROM chunks)"
            " + (SELECT COALESCE(SUM(samples), 0) FROM journal),"
            " (SELECT COUNT(*) FROM events), (SELECT COUNT(*) FROM documents)"
        ).fetchone()
        sql.execute("COMMIT")
        lost = {f"{name.device}.{name.name}": samples for name, samples in rebuild.lost.items()}
        return Salvaged("", signals, samples, events, documents, lost, rebuild.lost_commits)


def _take_the_place(path: Path) -> Salvaged:
    """Set the damaged file aside and put the finished one in its place; go on where a kill came between."""
    number = 1
    while _beside(path, f".damaged-{number}").exists():
        number += 1
    if not path.exists():
        # It was the last to be renamed.
        number -= 1
    aside = _beside(path, f".damaged-{number}")
    for suffix in (*_COMPANIONS, ""):
        source = _beside(path, suffix)
        if source.exists():
            source.rename(_beside(aside, suffix))
    _beside(path, _WHOLE).rename(path)
    _to_disk(path.parent)
    known = json.loads(_beside(aside, _REPORT).read_text())
    salvaged = Salvaged(**{**known, "aside": aside.name})
    _log.warn("{text}", text=salvaged.text)
    return salvaged


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
