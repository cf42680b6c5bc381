"""Backups: the whole session as a JSON file, on request or every so often."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredLock
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
        self._clock = clock
        self._wall = wall
        self._one_at_a_time = DeferredLock()
        self._loop: LoopingCall | None = None

    def now(self) -> Deferred[None]:
        """Write a backup, after those under way; fires when it is there.

        Fails with StorageFailed if the disk refuses.
        """
        return self._one_at_a_time.run(self._write)

    def _write(self) -> Deferred[None]:
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
        seconds = backup["intervall"] if backup["active"] else 0
        if self._loop is not None and self._loop.interval == seconds:
            return
        self.stop()
        if seconds > 0:
            # A loop of its own: one that is stopped while it writes must not find itself running again.
            self._loop = LoopingCall(self._periodic)
            self._loop.clock = self._clock
            self._loop.start(seconds, now=False)

    def _periodic(self) -> Deferred[None]:
        return self.now().addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._log.error("a backup failed: {problem}", problem=failure.getErrorMessage())

    def stop(self) -> None:
        """End the periodic backups."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()
