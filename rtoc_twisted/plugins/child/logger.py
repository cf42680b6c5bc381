"""RTOC's logger object, as far as there is one in a plugin's process."""

from __future__ import annotations

from typing import Any

from .link import Link


class Logger:
    """What is left of RTOC's logger object in a process of its own: the persistent variables."""

    def __init__(self, link: Link) -> None:
        self._link = link

    # Names of RTOC's logger.

    def isPersistentVariable(self, name: str, dname: str) -> bool:
        """Return whether there is such a variable."""
        return self._link.is_kept(dname, name)

    def loadPersistentVariable(self, name: str, fallback: Any, dname: str) -> Any:
        """Return a variable, the fallback where there is none."""
        return self._link.kept(dname, name, fallback)

    def initPersistentVariable(self, name: str, fallback: Any, dname: str) -> Any:
        """Return a variable; where there is none, make it with this value."""
        if not self._link.is_kept(dname, name):
            self._link.keep(dname, name, fallback)
        return self._link.kept(dname, name, fallback)

    def savePersistentVariable(self, name: str, value: Any, dname: str) -> bool:
        """Set a variable, and return whether the server was told."""
        return self._link.keep(dname, name, value)

    def analysePlugins(self) -> None:
        """Tell the server that functions or parameters are others."""
        self._link.changed()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"logger.{name}: a plugin has a process of its own; the server is not in it")
