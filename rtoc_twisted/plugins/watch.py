"""Which plugins there are, and which of them changed, as files tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from .discovery import Found, Stamp, stamp

Find = Callable[[], Sequence[Found]]
Survey = Sequence[tuple[Found, Stamp]]


class Watch:
    """Looks at the files of plugins, in a thread: one look at a time.

    devices: the directory of the plugins that people write; find: reads all plugins there are.
    """

    def __init__(self, devices: Path, find: Find) -> None:
        self._devices = devices
        self._find = find
        self._outline: object = None

    def look(self, thoroughly: bool = False) -> Survey | None:
        """Return all plugins with what changes when their files do; None where nothing in devices changed.

        thoroughly: return them in any case.
        """
        outline = self._sketch()
        if outline == self._outline and not thoroughly:
            return None
        self._outline = outline
        return [(found, stamp(found)) for found in self._find()]

    def _sketch(self) -> object:
        """Return what differs once a file was added, changed or removed: names, times and sizes."""
        sketch = []
        for pattern in ("*/*.py", "*/*.toml"):
            for path in self._devices.glob(pattern):
                try:
                    status = path.stat()
                except OSError:
                    continue
                sketch.append((str(path), status.st_mtime_ns, status.st_size, status.st_ino))
        return sorted(sketch)
