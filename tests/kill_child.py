"""A process to be killed: stores numbers one after the other, and says which are acknowledged.

main(DIRECTORY, FIRST) appends FIRST, FIRST + 1, .. to the signals k.n and k.old as fast as it can, several a
turn, and writes a line with the newest number of each commit that is done. Of k.old only the newest samples
are kept as such.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from rtoc_twisted.model import SignalName
from rtoc_twisted.storage import chunks, database, drawing, journal, quiet, upkeep
from rtoc_twisted.storage.retention import Keeping, Rule
from rtoc_twisted.storage.sqlite import SqliteStorage
from rtoc_twisted.storage.writer import WriterThread

NAME, OLD = SignalName("k", "n"), SignalName("k", "old")
LARGE = 256


def make_care_frequent() -> None:
    """Let a kill come in the middle of a fold, of packing, retiring, or a checkpoint."""
    journal.FOLD_AT_VALUES, chunks.CHUNK_SAMPLES = 300, 2 * LARGE
    database.CHECKPOINT_AT_BYTES = 64 << 10
    drawing._LARGE_CHUNK = drawing._LARGE_CHUNK.replace(str(drawing._LARGE), str(LARGE))
    drawing._LARGE = LARGE
    quiet.SECONDS, quiet.TURNS, upkeep.LOOK_SECONDS = 0.002, 1, 0.005


def main(directory: Path, first: int) -> None:
    make_care_frequent()
    storage = SqliteStorage(
        directory,
        clock=reactor,
        writer=WriterThread(),
        post=reactor.callFromThread,
        in_thread=deferToThread,
        keeping=Keeping(rules=(Rule("old", ("k.old",), raw_points=LARGE),)),
    )
    signals = [storage.find(name) or storage.add_signals([name])[0] for name in (NAME, OLD)]
    ids = [signal.id for signal in signals]
    number = first

    def turn() -> None:
        nonlocal number
        for _ in range(3):
            pair = [number, number, number + 1, number + 1]
            commit = storage.append(ids * 2, pair, pair)
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
