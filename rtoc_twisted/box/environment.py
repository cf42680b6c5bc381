"""What the child processes of the server know of its environment."""

from __future__ import annotations

import os
import re
import site
from collections.abc import Mapping
from pathlib import Path

_OURS = re.compile("RTOC_|NOTIFY_SOCKET$|WATCHDOG_|LISTEN_|CREDENTIALS_DIRECTORY$")


def environment(server: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of plugins: the server's without what configures it or lets it talk to systemd.

    Where our package was not installed, but found otherwise, its place goes with it.
    """
    environment = {name: value for name, value in server.items() if not _OURS.match(name)}
    place = str(Path(__file__).parents[2])
    if place not in site.getsitepackages():
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (place, server.get("PYTHONPATH"))))
    return environment
