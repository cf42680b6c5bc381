"""The filter of system calls: a list of those that a script's process may make; all others fail with EPERM.

A classic BPF program over `struct seccomp_data` (seccomp(2)): the architecture first, then one test a call,
some of them with a condition on an argument. Linux on x86_64 and aarch64.
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from typing import NamedTuple

_LIBC = ctypes.CDLL(None, use_errno=True)
_PROT_EXEC = 4
_FIONBIO = 0x5421
_AF_INET, _AF_INET6 = 2, 10
_F_SETFL, _F_DUPFD_CLOEXEC = 4, 1030
"""Commands of fcntl about a descriptor alone: 0 to 4, and another dup; others send signals to processes."""

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000

_PR_SET_SECCOMP, _PR_GET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 21, 38, 2


class Machine(NamedTuple):
    """What the kernel calls an architecture, and its system calls: names, each with its number."""

    architecture: int
    calls: str

    def numbers(self) -> dict[str, int]:
        """Return the numbers of the system calls."""
        words = self.calls.split()
        return dict(zip(words[::2], map(int, words[1::2]), strict=True))


MACHINES = {
    "x86_64": Machine(
        0xC000003E,
        """
        read 0 write 1 open 2 close 3 stat 4 fstat 5 lstat 6 poll 7 lseek 8 mmap 9 mprotect 10
        munmap 11 brk 12 rt_sigprocmask 14 rt_sigreturn 15 ioctl 16 pread64 17 pwrite64 18
        select 23 sched_yield 24 mremap 25 madvise 28 nanosleep 35 getpid 39 socket 41 connect 42
        sendto 44 recvfrom 45 shutdown 48 getsockname 51 getpeername 52
        setsockopt 54 getsockopt 55 exit 60 fcntl 72 fsync 74 ftruncate 77 gettimeofday 96
        getrusage 98 times 100 sigaltstack 131 gettid 186 time 201 futex 202
        sched_getaffinity 204 restart_syscall 219 clock_gettime 228 clock_getres 229
        clock_nanosleep 230 exit_group 231 openat 257 newfstatat 262 pselect6 270 ppoll 271
        getrandom 318 statx 332
        """,
    ),
    "aarch64": Machine(
        0xC00000B7,
        """
        fcntl 25 ioctl 29 ftruncate 46 openat 56 close 57 lseek 62 read 63 write 64 pread64 67
        pwrite64 68 pselect6 72 ppoll 73 newfstatat 79 fstat 80 fsync 82 exit 93 exit_group 94
        futex 98 nanosleep 101 clock_gettime 113 clock_getres 114 clock_nanosleep 115
        sched_getaffinity 123 sched_yield 124 restart_syscall 128 sigaltstack 132
        rt_sigprocmask 135 rt_sigreturn 139 times 153 getrusage 165 gettimeofday 169 getpid 172
        gettid 178 socket 198 connect 203 getsockname 204 getpeername 205 sendto 206 recvfrom 207
        setsockopt 208 getsockopt 209 shutdown 210 brk 214 munmap 215
        mremap 216 mmap 222 mprotect 226 madvise 233 getrandom 278 statx 291
        """,
    ),
}
COMPUTING = (
    *("read", "write", "close", "poll", "ppoll", "munmap", "mremap", "madvise", "brk", "futex"),
    *("rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "sched_yield", "sched_getaffinity"),
    *("nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "times"),
    *("getrusage", "getpid", "gettid", "getrandom", "exit", "exit_group"),
)
_FILES = (
    *("open", "openat", "stat", "lstat", "fstat", "newfstatat", "statx", "lseek", "pread64", "pwrite64"),
    *("fsync", "ftruncate"),
)
_NETWORK = (
    *("connect", "sendto", "recvfrom", "shutdown", "getsockname", "getpeername"),
    *("setsockopt", "getsockopt", "select", "pselect6"),
)


def program(machine: Machine, files: bool = False, network: bool = False) -> list[tuple[int, int, int, int]]:
    """Return the filter as instructions (code, jump if true, jump if false, operand)."""
    instructions = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, machine.architecture),
        (_RETURN, 0, 0, _FAIL | errno.EPERM),
        (_LOAD, 0, 0, _NUMBER),
    ]

    numbers = machine.numbers()

    def allow(name: str, *test: tuple[int, int, int, int]) -> None:
        number = numbers.get(name)
        if number is not None:
            # What follows is passed over for other calls; a test that fails goes on to the refusal after it.
            refusal = [(_RETURN, 0, 0, _FAIL | errno.EPERM)] if test else []
            body = [*test, (_RETURN, 0, 0, _ALLOW), *refusal]
            instructions.extend([(_EQUAL, 0, len(body), number), *body])

    for name in dict.fromkeys((*COMPUTING, *(_FILES if files else ()), *(_NETWORK if network else ()))):
        allow(name)
    for name in ("mmap", "mprotect"):
        allow(name, (_LOAD, 0, 0, _argument(2)), (_ANY_BIT, 1, 0, _PROT_EXEC))
    if files or network:
        own = (_EQUAL, 1, 0, _F_DUPFD_CLOEXEC), (_GREATER, 1, 0, _F_SETFL)
        allow("fcntl", (_LOAD, 0, 0, _argument(1)), *own)
    if network:
        allow("ioctl", (_LOAD, 0, 0, _argument(1)), (_EQUAL, 0, 1, _FIONBIO))
        allow("socket", (_LOAD, 0, 0, _argument(0)), (_EQUAL, 1, 0, _AF_INET), (_EQUAL, 0, 1, _AF_INET6))
    return [*instructions, (_RETURN, 0, 0, _FAIL | errno.EPERM)]


def _argument(index: int) -> int:
    """Return where the lower half of an argument is: both machines are little-endian."""
    return _ARGUMENTS + 8 * index


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def machine() -> Machine | None:
    """Return the machine that this is, None where there is no filter for it or the kernel has none."""
    if sys.platform != "linux" or sys.byteorder != "little" or struct.calcsize("P") != 8:
        return None
    known = MACHINES.get(platform.machine())
    return known if known is not None and prctl(_PR_GET_SECCOMP) >= 0 else None


def prctl(option: int, first: int = 0, second: int | None = None) -> int:
    """Do what prctl(2) does; return -1 where it fails, with the reason in ctypes.get_errno()."""
    return int(_LIBC.prctl(option, ctypes.c_ulong(first), ctypes.c_void_p(second), 0, 0))


def install(filtered: list[tuple[int, int, int, int]]) -> None:
    """Put the filter on this process, for good; raises OSError where the kernel does not take it."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in filtered)
    held = ctypes.create_string_buffer(code, len(code))
    described = _Program(len(filtered), ctypes.addressof(held))
    if prctl(_PR_SET_NO_NEW_PRIVS, 1) or prctl(
        _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(described)
    ):
        raise OSError(ctypes.get_errno(), "the filter of system calls was not taken")
