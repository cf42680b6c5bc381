"""The words of the script language, and those that it has not."""

from __future__ import annotations

MODULES = (
    "cmath",
    "collections",
    "datetime",
    "decimal",
    "fractions",
    "functools",
    "itertools",
    "json",
    "math",
    "numpy",
    "random",
    "re",
    "scipy",
    "statistics",
    "string",
    "sys",
    "time",
)
"""What scripts may import; modules.py has what is in them."""

NETWORK_MODULES = ("http", "socket", "urllib")
"""What they may import beside these where the configuration lets them have the network."""

WORLD = frozenset(
    {
        *("stream", "plot", "event", "print", "clock", "clearData", "exportData", "device", "signal"),
        *("telegram", "rtoc", "math", "np", "sp", "sys", "self", "cause"),
    }
)
"""Names that world.py gives every script."""

EXCEPTIONS = frozenset(
    {
        *("ArithmeticError", "AssertionError", "AttributeError", "BufferError", "EOFError", "Exception"),
        *("ExceptionGroup", "FloatingPointError", "ImportError", "IndexError", "KeyError", "LookupError"),
        *("MemoryError", "ModuleNotFoundError", "NameError", "NotImplementedError", "OSError"),
        *("ConnectionError", "FileNotFoundError", "PermissionError", "OverflowError", "RecursionError"),
        *("RuntimeError", "StopIteration", "SyntaxError", "TimeoutError", "TypeError", "UnboundLocalError"),
        *("UnicodeDecodeError", "UnicodeEncodeError", "UnicodeError", "UserWarning", "ValueError"),
        *("Warning", "ZeroDivisionError"),
    }
)

PLAIN_BUILTINS = frozenset(
    {
        *("abs", "all", "any", "ascii", "bin", "bool", "bytearray", "bytes", "callable", "chr"),
        *("classmethod", "complex", "dict", "divmod", "enumerate", "filter", "float", "format"),
        *("frozenset", "hash", "hex", "int", "isinstance", "issubclass", "iter", "len", "list", "map"),
        *("max", "min", "next", "object", "oct", "ord", "pow", "property", "range", "repr", "reversed"),
        *("round", "set", "slice", "sorted", "staticmethod", "str", "sum", "super", "tuple", "zip"),
        *("Ellipsis", "NotImplemented"),
    }
)
"""Python's own, as they are."""

BUILTINS = EXCEPTIONS | PLAIN_BUILTINS | {"getattr", "hasattr", "type", "open"}
"""All of Python's that a script has; of the last some are ours, and open only where files are allowed."""

REFUSED_NAMES = {
    "open": "scripts have no files, unless the configuration allows it",
    **dict.fromkeys(
        (
            *("BaseException", "GeneratorExit", "KeyboardInterrupt", "SystemExit", "breakpoint", "compile"),
            *("copyright", "credits", "delattr", "dir", "eval", "exec", "exit", "globals", "help", "id"),
            *("input", "license", "locals", "memoryview", "quit", "setattr", "vars", "os"),
        ),
        "not part of the script language",
    ),
}
"""Names that a script may give a meaning of its own, but not use without one; and why."""

REFUSED_ATTRIBUTES = frozenset(
    {
        *("gi_frame", "gi_code", "gi_yieldfrom", "cr_frame", "cr_code", "cr_await", "cr_origin"),
        *("ag_frame", "ag_code", "ag_await", "f_back", "f_builtins", "f_code", "f_globals", "f_locals"),
        *("f_lasti", "f_trace", "tb_frame", "tb_next", "tb_lasti", "func_globals", "func_code", "mro"),
        *("co_code", "co_consts", "co_names", "ctypes", "tofile", "dump", "with_traceback"),
    }
)
"""Attributes through which frames, code, memory or files could be had."""

SPECIAL_METHODS = frozenset(
    f"__{name}__"
    for name in (
        *("init", "call", "repr", "str", "bool", "len", "iter", "next", "contains", "hash", "enter", "exit"),
        *("getitem", "setitem", "delitem", "eq", "ne", "lt", "le", "gt", "ge", "add", "radd", "iadd", "sub"),
        *("rsub", "isub", "mul", "rmul", "imul", "truediv", "rtruediv", "floordiv", "mod", "pow", "matmul"),
        *("neg", "pos", "abs", "and", "or", "xor", "invert", "float", "int", "index", "round"),
    )
)
"""What a class of a script may define, and reach through super()."""
