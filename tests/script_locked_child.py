"""A process that locks itself in as a script's does, then runs any Python at all: for test_script_escapes.

Descriptor 3 is a socket: it brings the source, to its end, and takes the lines that `tell` writes. Arguments:
the pid of the parent, bytes of memory, seconds, and what is allowed: "files", "network".
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import sys

from rtoc_twisted.automation.scripts import sandbox


def tell(*words: object) -> None:
    """Write a line."""
    os.write(sandbox.CONNECTION, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    """Run what comes."""
    parent, memory, seconds, *allowed = sys.argv[1:]
    source = b""
    while data := os.read(3, 1 << 16):
        source += data
    code = compile(source, "attempts", "exec")
    libc = ctypes.CDLL(None, use_errno=True)
    sandbox.keep_only(3)
    sandbox.enter(int(parent), int(memory), float(seconds), "files" in allowed, "network" in allowed)
    names = {"tell": tell, "libc": libc, "ctypes": ctypes, "mmap": mmap, "os": os, "socket": socket}
    exec(code, names)
    os._exit(0)


if __name__ == "__main__":
    main()
