"""The program of a plugin's process: orders from descriptor 3, reports to 4, its own output as log lines."""

from __future__ import annotations

import atexit
import faulthandler
import os
import resource
import signal
import sys
from io import TextIOWrapper

from ..orders import Init
from .outlet import Outlet
from .worker import Worker

ORDERS, REPORTS = 3, 4


def write_all(data: bytes) -> None:
    """Write bytes to the server, waiting while it takes none; raises OSError when it is gone."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(REPORTS, rest) :]


def read_some() -> bytes:
    """Return the next bytes of the orders, none when the server is gone."""
    try:
        return os.read(ORDERS, 1 << 16)
    except OSError:
        return b""


def limit(kind: int, wanted: int) -> None:
    """Lower a limit of this process, as far as it is not lower already."""
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    resource.setrlimit(kind, (wanted, wanted))


def prepare(init: Init) -> None:
    """Set the limits that the server asks for."""
    limit(resource.RLIMIT_CORE, 0)
    if init.memory:
        limit(resource.RLIMIT_DATA, init.memory)
    if init.open_files:
        limit(resource.RLIMIT_NOFILE, init.open_files)
    if init.nice:
        os.nice(init.nice)


def end_after(seconds: float | None) -> None:
    """End this process in so many seconds with a traceback of all threads, even one that holds the GIL.

    None: go on; any call replaces the one before.
    """
    if seconds is None:
        faulthandler.cancel_dump_traceback_later()
    else:
        faulthandler.dump_traceback_later(seconds, exit=True)


def main() -> None:
    """Run until the plugin is stopped or the server is gone."""
    faulthandler.enable()
    # A group of its own, so that the server ends all that the plugin has started, and Ctrl-C is the server's.
    os.setpgid(0, 0)
    # One plugin has no use for as many threads of numpy's as the machine has processors, each with a buffer.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    for descriptor in (ORDERS, REPORTS):
        os.set_inheritable(descriptor, False)
        os.set_blocking(descriptor, True)
    outlet = Outlet(write_all)
    worker = Worker(read_some, outlet, prepare, end_after)

    def terminated(number: int, frame: object) -> None:
        worker.stop()

    def forked() -> None:
        outlet.abandon()
        os.close(ORDERS)
        os.close(REPORTS)

    signal.signal(signal.SIGTERM, terminated)
    # Of a terminal's Ctrl-C the server is told, and stops its plugins in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.register_at_fork(after_in_child=forked)
    well = worker.run()
    # The plugin's threads are no reason to stay any longer; what it registered is done all the same.
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0 if well else 1)


if __name__ == "__main__":
    main()
