"""What scripts see of Python's, numpy's and scipy's modules: their public names without those for files.

All that is shown is imported when it is made, before there is a sandbox; a module is never shown itself, as
each leads to all others.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from .words import MODULES, NETWORK_MODULES

_SUBMODULES: Mapping[str, tuple[str, ...]] = {
    "collections": ("abc",),
    "http": ("client",),
    "numpy": ("char", "fft", "linalg", "ma", "polynomial", "random"),
    "numpy.polynomial": ("chebyshev", "hermite", "hermite_e", "laguerre", "legendre", "polynomial"),
    "scipy": (
        *("constants", "fft", "integrate", "interpolate", "linalg", "ndimage", "optimize", "signal"),
        *("special", "stats"),
    ),
    "urllib": ("error", "parse", "request"),
}
_FILES = frozenset(
    {
        *("fromfile", "fromregex", "genfromtxt", "load", "loadtxt", "memmap", "save", "savetxt", "savez"),
        *("savez_compressed",),
    }
)
"""Names of numpy that take files."""

_HIDDEN: Mapping[str, frozenset[str]] = {
    "functools": frozenset({"update_wrapper", "wraps", "WRAPPER_ASSIGNMENTS", "WRAPPER_UPDATES"}),
    "json": frozenset({"dump", "load", "detect_encoding"}),
    "random": frozenset({"SystemRandom"}),
    "re": frozenset({"Scanner", "template"}),
    "string": frozenset({"Formatter"}),
    "time": frozenset({"sleep", "tzset", "pthread_getcpuclockid", "clock_settime", "clock_settime_ns"}),
}
_ALWAYS_HIDDEN = frozenset(
    {
        *("DataSource", "from_dlpack", "get_include", "info", "lookfor", "open_memmap", "seterrcall"),
        *("show_config", "show_runtime", "source", "test"),
    }
)
_LAZY = (
    *("_strptime", "multiprocessing", "unicodedata"),
    *(
        f"encodings.{codec}"
        for codec in (
            *("ascii", "cp1252", "cp437", "cp850", "idna", "iso8859_1", "iso8859_15", "latin_1"),
            *(
                "raw_unicode_escape",
                "unicode_escape",
                "utf_16",
                "utf_16_be",
                "utf_16_le",
                "utf_32",
                "utf_8_sig",
            ),
        )
    ),
)
"""What the modules above import only when it is needed."""


_FACTS = (
    *("byteorder", "float_info", "hexversion", "int_info", "maxsize", "maxunicode", "platform", "version"),
    "version_info",
)
"""What scripts see of sys."""


class Module:
    """A module as scripts see it: its name, and the names in it."""

    def __init__(self, name: str, names: Mapping[str, Any]) -> None:
        vars(self).update(names)
        self.__name = name

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"scripts have no {self.__name}.{name}")

    def __repr__(self) -> str:
        return f"<module {self.__name!r}>"


class Missing(Module):
    """A module that is not installed: an ImportError wherever it is used."""

    def __getattr__(self, name: str) -> Any:
        raise ImportError(f"{self._Module__name} is not installed")


def shown(name: str, files: bool) -> Module:
    """Return a module as scripts see it; raises ImportError where it is not installed.

    files: with numpy's functions that read and write files.
    """
    module = import_module(name)
    hidden = _HIDDEN.get(name, frozenset()) | _ALWAYS_HIDDEN | (frozenset() if files else _FILES)
    here = vars(module)
    names = {
        public: here[public]
        for public in dir(module)
        # What is listed but not here is a module, which would be imported by looking at it.
        if public in here and not public.startswith("_") and public not in hidden
        if not isinstance(here[public], ModuleType)
    }
    for inner in _SUBMODULES.get(name, ()):
        names[inner] = shown(f"{name}.{inner}", files)
    return Module(name, names)


def wraps(wrapped: Any) -> Callable[[Any], Any]:
    """Return a decorator that gives a function the name and the documentation of another."""
    return functools.wraps(wrapped)


class Library:
    """All modules for scripts; to make one imports them, which takes a while.

    missing: the names of those that are not installed.
    """

    def __init__(self) -> None:
        self.missing: list[str] = []
        for name in _LAZY:
            import_module(name)
        self._modules = {name: self._shown(name) for name in MODULES if name != "sys"}
        vars(self._modules["functools"])["wraps"] = wraps

    def _shown(self, name: str) -> Module:
        try:
            return shown(name, files=False)
        except ImportError:
            self.missing.append(name)
            return Missing(name, {})

    def modules(
        self,
        write: Callable[[str], Any],
        leave: Callable[..., Any],
        sleep: Callable[[float], None],
        files: bool = False,
        network: bool = False,
    ) -> dict[str, Module]:
        """Return the modules for one run.

        write, leave, sleep: what is behind sys.stdout.write, sys.exit and time.sleep; files: with numpy's
        functions for files; network: with the modules for it.
        """
        out = Module("sys.stdout", {"write": write, "flush": lambda: None})
        facts = {name: getattr(sys, name) for name in _FACTS}
        own = {
            "sys": Module("sys", facts | {"stdout": out, "stderr": out, "exit": leave, "argv": ["script"]}),
            "time": Module("time", public(self._modules["time"]) | {"sleep": sleep}),
        }
        if files:
            own["numpy"] = shown("numpy", files=True)
        if network:
            own |= {name: shown(name, files) for name in NETWORK_MODULES}
        return self._modules | own


def public(module: Module) -> dict[str, Any]:
    """Return the names that a module shows."""
    return {name: value for name, value in vars(module).items() if not name.startswith("_")}
