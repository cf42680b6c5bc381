"""Backups: a session as a JSON file, or a copy of the whole store; on request or every so often."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .export import Exporter
from .settings import Settings


class Backups:
    """Writes RTOC_dd_mm_HHhMMmSSs.json and rtoc-YYYYmmdd-HHMMSS.sqlite files below a directory.

    It does so on request, and periodically while the setting `active` says so; `full` then says which.

    wall: returns seconds since the epoch, for the names of the files.
    """

    _log = Logger()

    def __init__(
        self,
        exporter: Exporter,
        settings: Settings,
        directory: Path,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self._exporter = exporter
        self._settings = settings
        self._directory = directory
        self._clock = clock
        self._wall = wall
        self._one_at_a_time = DeferredLock()
        self._loop: LoopingCall | None = None

    def now(self, full: bool = False) -> Deferred[str]:
        """Write a backup, after those under way; fires with the name of its file when it is there.

        full: a copy of the whole store. Fails with StorageFailed if the disk refuses, NotAvailable where
        there is no store on disk.
        """
        return self._one_at_a_time.run(self._write_full if full else self._write)

    def _write(self) -> Deferred[str]:
        path = self._path("RTOC_%d_%m_%Hh%Mm%Ss", ".json")
        return self._exporter.write(path, "json", self._settings.record_length()).addCallback(
            lambda _: path.name
        )

    def _write_full(self) -> Deferred[str]:
        path = self._path("rtoc-%Y%m%d-%H%M%S", ".sqlite")
        return self._exporter.copy(path).addCallback(lambda _: path.name)

    def _path(self, pattern: str, suffix: str) -> Path:
        stem = datetime.fromtimestamp(self._wall()).strftime(pattern)
        path, number = self._directory / f"{stem}{suffix}", 1
        while path.exists():
            number += 1
            path = self._directory / f"{stem}_{number}{suffix}"
        return path

    def reschedule(self) -> None:
        """Begin, change or end the periodic backups as the settings say (`intervall` in seconds)."""
        backup = self._settings.topic("backup")
        seconds = backup["intervall"] if backup["active"] else 0
        if self._loop is not None and self._loop.interval == seconds:
            return
        self.stop()
        if seconds > 0:
            # A loop of its own: one that is stopped while it writes must not find itself running again.
            self._loop = LoopingCall(self._periodic)
            self._loop.clock = self._clock
            self._loop.start(seconds, now=False)

    def _periodic(self) -> Deferred[Any]:
        return self.now(self._settings.topic("backup").get("full", False)).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._log.error("a backup failed: {problem}", problem=failure.getErrorMessage())

    def stop(self) -> None:
        """End the periodic backups."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()
