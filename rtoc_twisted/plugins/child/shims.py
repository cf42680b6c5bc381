"""Modules that plugins written for RTOC import: its own, `devices`, and PyQt5 where that is missing."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from types import ModuleType
from typing import Any

from ...box import library
from . import api


def module(name: str, **names: Any) -> ModuleType:
    """Put a module with these names where imports find it, and into the package that its name says."""
    made = ModuleType(name)
    made.__dict__.update(names)
    made.__path__ = []
    sys.modules[name] = made
    package, _, last = name.rpartition(".")
    if package:
        setattr(sys.modules[package], last, made)
    return made


def install() -> None:
    """Make `RTOC.LoggerPlugin`, `LoggerPlugin` and RTOC's script library ours, a missing PyQt5 a stub.

    A plugin in `devices` finds the first two there also, by a relative import.
    """
    module("RTOC")
    module("RTOC.RTLogger")
    module("RTOC.RTLogger.scriptLibrary", **vars(library))
    for name in ("LoggerPlugin", "RTOC.LoggerPlugin"):
        module(name, LoggerPlugin=api.LoggerPlugin, rtoc=library)
    sys.meta_path.append(StubFinder("PyQt5"))


def devices(directory: str) -> None:
    """Make a directory the package `devices`: its folders are packages, with or without __init__.py."""
    package = module("devices")
    package.__path__ = [directory]
    module("devices.LoggerPlugin", LoggerPlugin=api.LoggerPlugin, rtoc=library)


def forgive() -> None:
    """Let json.load and json.loads take an `encoding`, as they did until Python 3.9, for older plugins.

    Only where json was imported: it is not wanted otherwise.
    """
    json: Any = sys.modules.get("json")
    if json is not None:
        json.load, json.loads = _without_encoding(json.load), _without_encoding(json.loads)


def _without_encoding(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def called(*args: Any, encoding: Any = None, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return called


class _StubType(type):
    """The class of stubs: it has every attribute, as the class of a widget has constants."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Stub()


class Stub(metaclass=_StubType):
    """Stands for anything of PyQt5: may be called, derived from, and asked for any attribute."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Stub()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return Stub()


class _StubModule(ModuleType):
    """A module in which every name is a class of its own."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = Stub() if name[0].islower() else _StubType(name, (Stub,), {})
        setattr(self, name, made)
        return made


class StubFinder:
    """Finds a package, and all modules in it, that nobody else found."""

    def __init__(self, package: str) -> None:
        self._package = package

    # The import system's names.

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return how to make a stub; None for other packages."""
        if name.partition(".")[0] != self._package:
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]  # duck

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        """Return the stub."""
        return _StubModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: a stub has all names."""
