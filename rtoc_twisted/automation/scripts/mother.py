"""The mother of the scripts' processes: `python -P -m rtoc_twisted.automation.scripts.mother`.

She has imported everything that scripts may want, and forks a process for each run: that takes some ms, and
nothing of a run is left for the next. She sees no data. Her descriptor 3 is the connection to the host, at
whose end she ends, and all of her processes with her. She has one thread, and waits for none of them.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from ...box.messages import pack
from .messages import UNFORKED, Ended, Fork, Forked, FromMother, Ready, mother_reader

HOST = 3
_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_LOCAL_ZONE = ":/etc/localtime"
_PIECE = 65_536
_DESCRIPTORS = 64


class Mother:
    """Does what the host wants.

    host: the connection; live: what a new process does, given the descriptor of its connection and her pid.
    """

    def __init__(self, host: socket.socket, live: Callable[[int, int], NoReturn]) -> None:
        self._host = host
        self._live = live
        self._feed = mother_reader().feed
        self._descriptors: deque[int] = deque()
        self._pids: dict[int, int] = {}
        self._runs: dict[int, int] = {}
        self._pid = os.getpid()

    def work(self, ends: int) -> None:
        """Work until the host is gone. ends: a descriptor, readable when one of hers may have ended."""
        poll = select.poll()
        poll.register(self._host, select.POLLIN)
        poll.register(ends, select.POLLIN)
        hosted = True
        while hosted:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if ends in ready:
                os.read(ends, _PIECE)
                self._reap()
            if self._host.fileno() in ready:
                hosted = self._hear()

    def tell(self, message: FromMother) -> None:
        """Tell the host something; raises OSError when it is gone."""
        self._host.sendall(pack(message))

    def bury(self) -> None:
        """Kill all of her processes."""
        for pid in self._runs:
            os.kill(pid, signal.SIGKILL)

    def _hear(self) -> bool:
        """Do what came; return False at the end of the connection."""
        data, descriptors, _, _ = socket.recv_fds(self._host, _PIECE, _DESCRIPTORS)
        self._descriptors.extend(descriptors)
        for message in self._feed(data):
            if isinstance(message, Fork):
                self._fork(message.run)
            elif message.run in self._pids:
                os.kill(self._pids[message.run], signal.SIGKILL)
        return bool(data)

    def _fork(self, run: int) -> None:
        connection = self._descriptors.popleft()
        try:
            pid = os.fork()
        except OSError:
            os.close(connection)
            self.tell(Ended(run, UNFORKED))
            return
        if not pid:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            self._live(connection, self._pid)
        os.close(connection)
        self._pids[run], self._runs[pid] = pid, run
        self.tell(Forked(run, pid))

    def _reap(self) -> None:
        while self._runs:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            run = self._runs.pop(pid)
            del self._pids[run]
            self.tell(Ended(run, os.waitstatus_to_exitcode(status)))


def main() -> None:
    """Live until the host is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A fork has one thread, so there must be no others; and none of them could read the zone's file later.
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    os.environ.setdefault("TZ", _LOCAL_ZONE)
    time.tzset()
    from . import child, sandbox
    from .modules import Library

    modules = Library()
    ends, wake = os.pipe()
    for descriptor in (ends, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # What is never freed need not be looked through, nor copied, by the processes.
    gc.collect()
    gc.freeze()
    gc.disable()
    with socket.socket(fileno=HOST) as host:
        host.setblocking(True)
        mother = Mother(host, lambda connection, parent: child.live(connection, parent, modules))
        with suppress(OSError):
            lacking = [f"no {name}: it is not installed" for name in modules.missing]
            mother.tell(Ready(os.getpid(), [*sandbox.missing(), *lacking]))
            mother.work(ends)
        mother.bury()


if __name__ == "__main__":
    main()
