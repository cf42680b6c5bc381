"""Backups: the whole session as a JSON file, on request or every so often."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from .export import Exporter
from .settings import Settings


class Backups:
    """Writes RTOC_dd_mm_HHhMMmSSs.json files below a directory, while the setting `active` says so.

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
        self._wall = wall
        self._loop = LoopingCall(self._periodic)
        self._loop.clock = clock

    def now(self) -> Deferred[None]:
        """Write a backup; fires when it is there, fails with StorageFailed if the disk refuses."""
        return self._exporter.write(self._path(), "json", self._settings.record_length())

    def _path(self) -> Path:
        stem = datetime.fromtimestamp(self._wall()).strftime("RTOC_%d_%m_%Hh%Mm%Ss")
        path, number = self._directory / f"{stem}.json", 1
        while path.exists():
            number += 1
            path = self._directory / f"{stem}_{number}.json"
        return path

    def reschedule(self) -> None:
        """Begin, change or end the periodic backups as the settings say (`intervall` in seconds)."""
        backup = self._settings.topic("backup")
        if self._loop.running:
            self._loop.stop()
        if backup["active"] and backup["intervall"] > 0:
            self._loop.start(backup["intervall"], now=False)

    def _periodic(self) -> Deferred[None]:
        return self.now().addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._log.error("a backup failed: {problem}", problem=failure.getErrorMessage())

    def stop(self) -> None:
        """End the periodic backups."""
        if self._loop.running:
            self._loop.stop()
