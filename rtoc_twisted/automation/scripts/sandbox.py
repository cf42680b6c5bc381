"""What keeps a script's process to computing: limits, no rights, and the filter of system calls.

None of it can be taken back. It is to hold whatever runs in the process afterwards, machine code too; the
language (language.py) is no part of that.
"""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from . import filter as filters

CONNECTION = 3
"""The only descriptor that a process has beside three of /dev/null."""

DESCRIPTORS = 64
"""How many it may have where it may have files or the network."""

NOBODY = 65534
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_PAGE = resource.getpagesize()


def missing() -> list[str]:
    """Return what this system cannot do of it, each as a text for the log."""
    lacking = []
    if filters.machine() is None:
        lacking.append(
            "no filter of system calls (seccomp): a way out of the script language is one to files"
        )
    if sys.platform != "linux":
        lacking.append("no limit of memory")
    return lacking


def keep_only(connection: int) -> None:
    """Close all descriptors but the connection, which becomes CONNECTION; 0, 1 and 2 become /dev/null."""
    if connection != CONNECTION:
        os.dup2(connection, CONNECTION)
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(CONNECTION):
        os.dup2(nothing, descriptor)
    os.closerange(CONNECTION + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    os.set_blocking(CONNECTION, True)


def die_with(parent: int) -> None:
    """Have this process killed when its parent ends; end it if that has happened already."""
    if sys.platform == "linux":
        filters.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def enter(parent: int, memory: int, seconds: float, files: bool, network: bool) -> None:
    """Lock this process in; its descriptors are closed already.

    parent: the process without which it ends; memory: bytes beside those that it has now, seconds: of CPU, 0
    each for no limit; files, network: leave the calls for these. Raises OSError where the filter is not taken
    by a system that has one: then nothing may be run.
    """
    _drop_rights()
    die_with(parent)
    wide = files or network
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: DESCRIPTORS if wide else CONNECTION + 1,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    if not files:
        limits[resource.RLIMIT_FSIZE] = 0
    if memory and sys.platform == "linux":
        limits[resource.RLIMIT_DATA] = _data() + memory
    if seconds:
        limits[resource.RLIMIT_CPU] = math.ceil(seconds)
    if sys.platform == "linux":
        # What runs as the same user sees nothing of it by way of /proc.
        filters.prctl(_PR_SET_DUMPABLE, 0)
    for kind, most in limits.items():
        _limit(kind, most, 1 if kind == resource.RLIMIT_CPU else 0)
    machine = filters.machine()
    if machine is not None:
        filters.install(filters.program(machine, files, network))


def _limit(kind: int, wanted: int, further: int) -> None:
    _, most = resource.getrlimit(kind)
    hard = wanted + further if most == resource.RLIM_INFINITY else min(wanted + further, most)
    resource.setrlimit(kind, (min(wanted, hard), hard))


def _data() -> int:
    """Return the bytes that RLIMIT_DATA counts now."""
    return int(Path("/proc/self/statm").read_bytes().split()[5]) * _PAGE


def _drop_rights() -> None:
    """Become nobody where that is allowed: a process that is root could do more with what is left to it."""
    if os.geteuid() == 0:
        with suppress(PermissionError):
            os.setgroups([])
        for drop in (os.setgid, os.setuid):
            with suppress(PermissionError):
                drop(NOBODY)
