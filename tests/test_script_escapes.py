"""Attempts to get out of a script: by the language, and by machine code where there were no language."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.scripts import filter as filters
from rtoc_twisted.automation.scripts.language import check
from rtoc_twisted.automation.scripts.messages import Failed
from rtoc_twisted.errors import BadValue
from tests.process_support import PATIENCE, environment
from tests.script_child_support import Server, begin, play, shared_mother

REFUSED = (
    # dunder walks
    "().__class__.__bases__[0].__subclasses__()",
    "x = ''.__class__.__mro__[1]",
    "print.__globals__",
    "(lambda: 0).__code__",
    "class A:\n    __slots__ = ()",
    "class A:\n    __array_interface__ = {'data': (0, False), 'shape': (9,), 'typestr': '|u1', 'version': 3}",
    "class A:\n    def __getattribute__(self, n): pass",
    "class A:\n    def __del__(self): pass",
    "def __init__(): pass",
    "f(__class__=1)",
    "def f(__class__): pass",
    "match 1:\n    case object(__class__=c): pass",
    "match 1:\n    case object(_x=c): pass",
    "match 1:\n    case __x: pass",
    "match {}:\n    case {**__x}: pass",
    "match []:\n    case [*__x]: pass",
    "try:\n    1\nexcept Exception as __x: pass",
    "def f():\n    global __builtins__\n    __builtins__ = {}",
    "x = super().__getattribute__('a')",
    "x = f'{().__class__}'",
    "x = [c for c in ().__class__.__bases__]",
    "().\uff3f_class__",
    "x._Module__name",
    "self.__dict__",
    "self._Kept__values",
    # builtins
    "__builtins__",
    "__import__('os')",
    "x = __name__",
    *(
        f"{name}('1')"
        for name in (
            *("eval", "exec", "compile", "open", "vars", "dir", "globals", "locals", "input", "breakpoint"),
            *("setattr", "delattr", "memoryview", "id", "help", "exit", "quit"),
        )
    ),
    "x = BaseException",
    "try:\n    1\nexcept (SystemExit, KeyboardInterrupt): pass",
    # frames and code
    "(i for i in ()).gi_frame.f_back.f_globals",
    "def f(): yield\nf().gi_code",
    "try:\n    1/0\nexcept Exception as e:\n    e.__traceback__",
    "e.tb_frame",
    "e.with_traceback(None)",
    "async def f(): pass",
    "[x async for x in y]",
    # imports
    *(f"import {name}" for name in ("subprocess", "ctypes", "builtins", "socket", "pickle", "gc", "inspect")),
    "import os",
    "import numpy, os.path",
    "from os import system",
    "from . import world",
    "from json import __loader__",
    "from random import _os",
    "random._os",
    # files
    "np.arange(3).tofile('x')",
    "np.arange(3).dump('x')",
    "np.arange(3).ctypes",
    # resources, as far as they can be seen
    "x = " + "(" * 300,
    "x = " + "-" * 20_000 + "1",
)
"""What is no script."""

ENDED = (
    # format strings
    "'{0.__class__}'.format(1)",
    "'{0._x}'.format(1)",
    "'{0.gi_frame}'.format(1)",
    "'{a.__class__}'.format_map({'a': 1})",
    "str.format('{0.__class__}', 1)",
    "print(list(map('{0.__class__}'.format, [1])))",
    "print(list(map(str.format, ['{0.__class__}'], [1])))",
    "getattr('{0.__class__}', 'format')(1)",
    "'{0:{1.__class__}}'.format(1, 2)",
    "class S(str): pass\nS('{0.__class__}').format(1)",
    "import string\nstring.Formatter().format('{0.__class__}', 1)",
    # attributes by name
    "getattr((), '__class__')",
    "getattr((), '_' + '_class__')",
    "class S(str):\n    def startswith(self, x): return False\ngetattr((), S('__class__'))",
    "getattr(print, 'gi_frame')",
    "type('A', (), {})",
    "type(type(1))('A', (), {})()." + "x",
    "getattr(Generator, '_Device__things')",
    # modules of modules
    *(
        f"import {module}\n{module}.{inner}"
        for module, inner in (
            *(("statistics", "sys"), ("json", "codecs"), ("re", "enum"), ("random", "SystemRandom")),
            *(
                ("functools", "update_wrapper"),
                ("collections", "sys"),
                ("decimal", "sys"),
                ("string", "Formatter"),
            ),
            *(("time", "tzset"), ("datetime", "sys"), ("fractions", "sys"), ("itertools", "x")),
        )
    ),
    *(
        f"np.{name}"
        for name in (
            *("os", "sys", "load", "save", "fromfile", "memmap", "loadtxt", "genfromtxt", "savetxt", "savez"),
            *("DataSource", "lib", "ctypeslib", "f2py", "testing", "core", "show_config", "get_include"),
        )
    ),
    "sys.modules",
    "rtoc.np",
    "telegram.link",
    "import numpy.lib.npyio",
    "import sys.modules",
    "from numpy import os",
    # resources
    "x = 1 << (1 << 40)",
    "x = [0] * (1 << 40)",
    "x = 'a' * (1 << 40)",
    "x = bytearray(1 << 33)",
    "np.zeros(1 << 33)",
    "x = []\nwhile True:\n    x.append(x[:] + [0] * 100000)",
    "x = {}\nfor i in range(1 << 40):\n    x[i] = 'a' * 1000",
    "def f(): return f()\nf()",
    "class A:\n    def __repr__(self): return repr(self)\nrepr(A())",
    "x = []\nfor i in range(10**6): x = [x]\nprint(x)",
)
"""What the language takes, and a run of it fails: with an exception, or for want of memory."""

ENDLESS = (
    "9 ** 9 ** 9 ** 9",
    "import re\nre.match('(a+)+$', 'a' * 40 + 'b')",
    "for i in range(10**18): pass",
    "while True:\n    try:\n        while 1 > 0: pass\n    except:\n        pass",
    "sum(range(10**18))",
    "class C:\n    def __enter__(self): pass\n    def __exit__(self, *a): return True\n"
    "while 1 > 0:\n    with C():\n        while 1 > 0: pass",
)
"""What the language takes, and only the limit of the CPU's time ends."""

NO_LANGUAGE = """
def attempt(name, function):
    try:
        tell(name, "done", function())
    except OSError as error:
        tell(name, error.errno)

def call(name, number, *arguments):
    ctypes.set_errno(0)
    answer = libc.syscall(number, *arguments)
    tell(name, ctypes.get_errno() if answer == -1 else f"done {answer}")

attempt("read", lambda: open("/etc/passwd").read(10))
attempt("write", lambda: open("/tmp/from-a-script", "w"))
attempt("memory", lambda: open("/proc/self/mem", "r+b"))
attempt("parent", lambda: open(f"/proc/{os.getppid()}/mem", "r+b"))
attempt("list", lambda: os.listdir("/"))
attempt("remove", lambda: os.unlink("/tmp/nothing"))
attempt("folder", lambda: os.mkdir("/tmp/from-a-script"))
attempt("link", lambda: os.symlink("/etc/passwd", "/tmp/from-a-script"))
attempt("fork", os.fork)
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("kill", lambda: os.kill(os.getppid(), 9))
attempt("socket", socket.socket)
attempt("unix", lambda: socket.socket(socket.AF_UNIX))
attempt("pair", socket.socketpair)
attempt("pipe", os.pipe)
attempt("dup", lambda: os.dup(3))
attempt("root", lambda: os.setuid(0))
attempt("shared", lambda: os.memfd_create("x"))
def passed():
    connection = socket.socket(fileno=3)
    try:
        return connection.sendmsg([b" "])
    finally:
        connection.detach()

attempt("passed", passed)
def signalled(command):
    # F_SETOWN and F_SETSIG: whose signal it is that something can be read, and which.
    if libc.fcntl(3, command, os.getppid() if command == 8 else 9) == -1:
        raise OSError(ctypes.get_errno(), "")
    return "armed"

for command in (8, 10, 15):
    attempt("signalled", lambda: signalled(command))
for descriptor in range(4, 100):
    attempt("other", lambda: os.read(descriptor, 1))
attempt("code", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC))
page = libc.mmap
page.restype = ctypes.c_void_p
page.argtypes = [ctypes.c_void_p] + [ctypes.c_long] * 5
held = page(None, 4096, 3, 0x22, -1, 0)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
tell("protect", ctypes.get_errno() if libc.mprotect(held, 4096, 5) == -1 else "done")
"""
"""Attempts of Python without a language around it; each line told is one, with the error that it got."""

EVERY_CALL = """
for number in numbers:
    ctypes.set_errno(0)
    answer = libc.syscall(number, 0, 0, 0, 0, 0, 0)
    if answer != -1 or ctypes.get_errno() != 1:
        tell(number, answer, ctypes.get_errno())
tell("end")
"""


class LanguageTest(SynchronousTestCase):
    """What is refused when a script is set."""

    def test_each_is_no_script(self) -> None:
        taken = []
        for source in REFUSED:
            try:
                check(source)
            except BadValue:
                continue
            taken.append(source)
        self.assertEqual(taken, [])

    def test_the_others_are_for_the_process_to_end(self) -> None:
        for source in (*ENDED, *ENDLESS):
            check(source)

    def test_none_of_them_runs(self) -> None:
        for source in REFUSED[::5]:
            self.assertIsInstance(play(source).end, Failed, source)


class ProcessTest(SynchronousTestCase):
    """What the language takes, in real processes."""

    def setUp(self) -> None:
        """Have a mother."""
        self.mother = shared_mother()

    def test_each_fails_and_says_why(self) -> None:
        odd = []
        for source in ENDED:
            said = self.mother.run(source, memory=64 << 20, seconds=2.0)
            if not isinstance(said.end, Failed) or "TimeoutError" in said.failure or said.printed:
                odd.append((source, said.end, said.status, said.printed))
        self.assertEqual(odd, [])

    def test_the_endless_are_ended(self) -> None:
        # All at once, so that each processor has its share.
        children = [self.mother.fork() for _ in ENDLESS]
        for child, source in zip(children, ENDLESS, strict=True):
            child.send(begin(source, Server(), memory=64 << 20, seconds=1.0))
        ended = [child.served(Server()) for child in children]
        # Those that do not heed the first signal are killed by the next.
        self.assertEqual([said.status for said in ended], [0] * 4 + [-signal.SIGKILL] * 2)
        for said in ended[:4]:
            self.assertIn("TimeoutError: the script has used the 1 s of the CPU", said.failure)

    def test_reasons_of_limits(self) -> None:
        for source, reason in (
            ("x = bytearray(1 << 30)", "MemoryError: the script wanted more than the 64 MB"),
            ("open('/etc/passwd')", "line 1, column 1: open: scripts have no files"),
        ):
            said = self.mother.run(source, memory=64 << 20, seconds=1.0)
            self.assertIn(reason, said.failure)

    def test_memory_is_what_was_allowed(self) -> None:
        source = "x = np.ones({} << 17)\nprint(x.sum())"
        self.assertEqual(self.mother.run(source.format(48), memory=64 << 20).printed, f"{48 << 17}.0\n")
        self.assertIn("64 MB", self.mother.run(source.format(65), memory=64 << 20).failure)


class KernelTest(SynchronousTestCase):
    """Python without a language around it, in a process that is locked in."""

    def locked(self, source: str, *allowed: str) -> list[str]:
        """Run a source locked in, and return the lines that it told."""
        ours, its = socket.socketpair()
        with ours:
            ours.settimeout(PATIENCE)
            with its:
                arguments = [str(os.getpid()), str(64 << 20), "5", *allowed]
                command = [sys.executable, "-P", "-m", "tests.script_locked_child", *arguments]
                pid = os.posix_spawn(
                    command[0], command, environment(), file_actions=[(os.POSIX_SPAWN_DUP2, its.fileno(), 3)]
                )
            ours.sendall(source.encode())
            ours.shutdown(socket.SHUT_WR)
            told = b""
            while data := ours.recv(1 << 16):
                told += data
        os.waitpid(pid, 0)
        return told.decode().splitlines()

    def test_all_is_refused(self) -> None:
        told = [line.split() for line in self.locked(NO_LANGUAGE)]
        refusals: dict[str, set[str]] = {}
        for name, *answer in told:
            refusals.setdefault(name, set()).add(" ".join(answer))
        self.assertEqual(refusals.pop("other"), {str(errno.EBADF)})
        self.assertEqual(refusals, dict.fromkeys(refusals, {str(errno.EPERM)}))
        self.assertEqual(len(refusals), 23)

    def test_every_other_call_of_the_kernel(self) -> None:
        machine = filters.machine()
        assert machine is not None
        known = machine.numbers()
        allowed = {known[name] for name in filters.COMPUTING if name in known}
        # Those that are allowed for some arguments refuse memory with code in it.
        conditional = {known["mmap"], known["mprotect"]}
        # Two calls of x86_64 that are there only for probes of the kernel's own pass by all filters.
        probes = {335, 336}
        numbers = [number for number in range(600) if number not in allowed | conditional | probes]
        foreign = [0x40000000 + number for number in range(600)]
        told = self.locked(f"numbers = {numbers + foreign}\n{EVERY_CALL}")
        self.assertEqual(told, ["end"])

    def test_files_are_only_files(self) -> None:
        told = dict(line.split(maxsplit=1) for line in self.locked(NO_LANGUAGE, "files"))
        self.assertTrue(told.pop("read").startswith("done"))
        for name in ("write", "memory", "parent", "dup", "other"):
            del told[name]
        self.assertEqual(told, dict.fromkeys(told, str(errno.EPERM)))

    def test_the_network_is_only_the_network(self) -> None:
        told = dict(line.split(maxsplit=1) for line in self.locked(NO_LANGUAGE, "network"))
        self.assertTrue(told.pop("socket").startswith("done"))
        for name in ("dup", "other"):
            del told[name]
        self.assertEqual(told, dict.fromkeys(told, str(errno.EPERM)))

    def test_memory_is_limited(self) -> None:
        source = (
            "try:\n    x = bytearray(65 << 20)\nexcept MemoryError:\n    tell('none')\n"
            "x = bytearray(60 << 20)\ntell(len(x))"
        )
        self.assertEqual(self.locked(source), ["none", str(60 << 20)])

    def test_rights_are_gone(self) -> None:
        lines = self.locked("tell(open('/proc/self/status').read())", "files")
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        user = os.getuid() or 65534
        self.assertEqual(status["Uid"].split(), [str(user)] * 4)
        self.assertEqual(int(status["CapEff"], 16), 0)
        self.assertEqual((status["NoNewPrivs"].strip(), status["Seccomp"].strip()), ("1", "2"))
        # Not even what runs as the same user may look into its memory.
        told = self.locked("tell(libc.prctl(3))\ntell(os.stat('/proc/self/mem').st_uid)", "files")
        self.assertEqual(told[-1], "0")
