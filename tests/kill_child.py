"""A process to be killed: stores numbers one after the other, and says which are acknowledged.

kill_child.py DIRECTORY FIRST: appends FIRST, FIRST + 1, .. to the signal k.n as fast as it can, several
a turn, and writes a line with the newest number of each commit that is done.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from rtoc_twisted.model import SignalName
from rtoc_twisted.storage import chunks, database
from rtoc_twisted.storage.sqlite import SqliteStorage
from rtoc_twisted.storage.writer import WriterThread

NAME = SignalName("k", "n")


def main(directory: Path, first: int) -> None:
    # Small, so that a kill may come in the middle of a fold.
    database.FOLD_AT_VALUES, chunks.CHUNK_SAMPLES = 300, 256
    storage = SqliteStorage(
        directory, clock=reactor, writer=WriterThread(), post=reactor.callFromThread, in_thread=deferToThread
    )
    signal = storage.find(NAME) or storage.add_signals([NAME])[0]
    number = first

    def turn() -> None:
        nonlocal number
        for _ in range(3):
            commit = storage.append([signal.id] * 2, [number, number + 1], [number, number + 1])
            number += 2
        newest = number - 1

        def acknowledged() -> None:
            if commit.error is not None:
                os._exit(1)
            os.write(1, b"%d\n" % newest)

        commit.when_done(acknowledged)
        reactor.callLater(0, turn)

    reactor.callWhenRunning(turn)
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
