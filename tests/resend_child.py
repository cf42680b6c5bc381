"""A process to be killed: sends numbered batches until each is acknowledged, and says so.

main(DIRECTORY, FIRST): the number of a batch is its value, of the signal k.n. It begins with FIRST, whatever
was acknowledged before, and writes a line with each number that is acknowledged.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from rtoc_twisted.events.log import EventLog
from rtoc_twisted.model import Names, Samples, SignalName
from rtoc_twisted.recorder import Recorder
from rtoc_twisted.storage import chunks, journal
from rtoc_twisted.storage.sqlite import SqliteStorage
from rtoc_twisted.storage.writer import WriterThread

NAME = SignalName("k", "n")


def main(directory: Path, first: int) -> None:
    # Small, so that a kill may come in the middle of a fold.
    journal.FOLD_AT_VALUES, chunks.CHUNK_SAMPLES = 300, 256
    storage = SqliteStorage(
        directory, clock=reactor, writer=WriterThread(), post=reactor.callFromThread, in_thread=deferToThread
    )
    recorder = Recorder(storage, EventLog(storage))
    names = Names([NAME], [""])
    number = first

    def send(seq: int) -> None:
        commit, _ = recorder.once("child", seq, Samples(names, [float(seq)], [float(seq)]))

        def acknowledged() -> None:
            if commit.error is not None:
                os._exit(1)
            os.write(1, b"%d\n" % seq)

        commit.when_done(acknowledged)

    def turn() -> None:
        nonlocal number
        for seq in range(number, number + 3):
            send(seq)
        number += 3
        reactor.callLater(0, turn)

    reactor.callWhenRunning(turn)
    reactor.run()
