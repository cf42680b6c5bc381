"""Children to be killed, forked from a process that has everything imported: starting one takes no time.

nursery.py: for each line `MODULE DIRECTORY FIRST` of its input it forks a process that says its number and
calls MODULE.main(DIRECTORY, FIRST), and says `end` once that process has ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parent.parent
END = b"end\n"

# Not the reactor: each child makes its own.
IMPORTED = (
    "rtoc_twisted.events.log",
    "rtoc_twisted.recorder",
    "rtoc_twisted.storage.sqlite",
    "twisted.internet.epollreactor",
    "twisted.internet.threads",
)


class Nursery:
    """A nursery, and the child that it has now."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._orders = self._process.stdin
        self._output = os.fdopen(os.dup(self._process.stdout.fileno()), "rb")
        self._child = 0

    def start(self, module: str, directory: Path, first: int) -> None:
        """Start a child."""
        self._orders.write(f"{module} {directory} {first}\n".encode())
        self._child = int(self._output.readline())

    def read(self) -> bytes:
        """Return the next line that the child writes."""
        line = self._output.readline()
        assert line not in (b"", END), "the child ended by itself"
        return line

    def kill(self) -> list[bytes]:
        """Kill the child; return the lines that it wrote before."""
        os.kill(self._child, signal.SIGKILL)
        self._child = 0
        return list(iter(self._output.readline, END))

    def close(self) -> None:
        """End."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
        self._orders.close()
        self._process.wait()
        self._output.close()
        assert self._process.stdout is not None
        self._process.stdout.close()


def main() -> None:
    """Fork a child for each line."""
    for name in IMPORTED:
        import_module(name)
    for line in iter(sys.stdin.readline, ""):
        module, directory, first = line.split()
        child = os.fork()
        if not child:
            os.write(1, b"%d\n" % os.getpid())
            import_module(module).main(Path(directory), int(first))
            os._exit(1)
        os.waitpid(child, 0)
        os.write(1, END)


if __name__ == "__main__":
    main()
