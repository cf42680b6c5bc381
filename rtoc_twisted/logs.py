"""Log lines for machines: `twistd --logger rtoc_twisted.logs.json_lines`."""

from __future__ import annotations

import sys

from twisted.logger import ILogObserver, jsonFileLogObserver


def json_lines() -> ILogObserver:
    """Return an observer that writes each log event to standard output as one line of JSON.

    twistd calls it when it is named by `--logger`.
    """
    # Twisted's default begins each record with a control character that line readers stumble over.
    observer: ILogObserver = jsonFileLogObserver(sys.stdout, recordSeparator="")
    return observer
