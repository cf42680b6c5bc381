"""A store on a disk that is really small: fills it, and goes on; prints what happened.

full_disk_child.py DIRECTORY: DIRECTORY is on a disk of 8 MiB, which somebody else fills on the way. With
--limit no file may grow for some time instead. Appends blocks of noise, more than the disk takes. Prints
JSON: `refused` (the errors' words), `times`, `after` (blocks acknowledged after the first that was refused),
`resumed` (whether the last was), `wrong` (samples read that were not acknowledged, or are not what they
were), `newest` (whether the last acknowledged is there), `same` (whether the summary is after a restart),
`counters`, `told`.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np

from rtoc_twisted.model import SignalName, Window
from rtoc_twisted.storage import chunks, database, journal
from rtoc_twisted.storage.reserve import free_bytes
from rtoc_twisted.storage.retention import Keeping
from tests.storage_support import Bench

BLOCK = 8192
BLOCKS = 90
FILLED_AT = 25
ROOM_AGAIN_AT = 45


def fill(path: Path) -> None:
    """Take all the room that is left on the disk."""
    with path.open("wb", buffering=0) as file:
        for size in (65_536, 1024):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def allow(size: int) -> None:
    """Let files grow to that size at most."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def main(directory: Path, *, limit: bool) -> dict[str, Any]:
    journal.FOLD_AT_VALUES, chunks.CHUNK_SAMPLES = 4 * BLOCK, BLOCK
    database.CHECKPOINT_AT_BYTES = 1 << 19
    limited = False
    told: list[str] = []
    bench = Bench(
        directory,
        keeping=Keeping(reserve=1 << 20),
        disk=lambda path: 0 if limited else free_bytes(path),
        tell=lambda text, _: told.append(text),
    )
    (signal,) = bench.storage.add_signals([SignalName("Lab", "noise")])
    bench.pump()
    bench.queues.clock.advance(60)
    bench.pump()
    rng = np.random.default_rng(3)
    blocks, refused, taken = [], [], []
    for number in range(BLOCKS):
        if number == FILLED_AT and not limit:
            fill(directory / "filler")
        if number in (FILLED_AT, ROOM_AGAIN_AT) and limit:
            limited = number == FILLED_AT
            largest = max(file.stat().st_size for file in directory.iterdir())
            allow(largest if limited else resource.RLIM_INFINITY)
        y = rng.normal(size=BLOCK)
        blocks.append(y)
        x = np.arange(number * BLOCK, (number + 1) * BLOCK, dtype=float)
        commit = bench.storage.append([signal.id] * BLOCK, x.tolist(), y.tolist())
        bench.pump()
        if commit.error is None:
            taken.append(number)
        else:
            refused.append((number, commit.error.message))
    summary = bench.storage.summary(signal.id)
    counters = bench.storage.counters()
    bench.reopen()
    (found,) = bench.result(bench.storage.read([(signal.id, Window())]))
    numbers = found.x.astype(int)
    expected = np.concatenate(blocks)[numbers]
    first = refused[0][0] if refused else BLOCKS
    result = {
        "refused": sorted({words for _, words in refused}),
        "times": len(refused),
        "after": sum(number > first for number in taken),
        "resumed": bool(taken) and taken[-1] == BLOCKS - 1,
        "wrong": int((found.y != expected).sum() + (~np.isin(numbers // BLOCK, taken)).sum()),
        "newest": bool(numbers.max() == (taken[-1] + 1) * BLOCK - 1),
        "same": summary == bench.storage.summary(signal.id),
        "counters": counters,
        "told": told,
    }
    bench.close()
    return result


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), limit="--limit" in sys.argv)))  # noqa: T201 - for the test
