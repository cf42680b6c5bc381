"""The import of a plugin, and the making of its object."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from types import ModuleType
from typing import Any

from ..orders import Init
from . import shims
from .api import LoggerPlugin
from .link import Link
from .logger import Logger


def load(init: Init) -> type:
    """Import a plugin's module and return its class Plugin; raises whatever that raises.

    A file <directory>/<Folder>/<Name>.py becomes devices.<Folder>.<Name>, so that it finds the modules of its
    folder by relative imports.
    """
    shims.install()
    path = os.path.abspath(init.path)  # noqa: PTH100  without pathlib the process starts sooner
    imported = importlib.import_module(init.module) if init.module else _from_file(path)
    shims.forgive()
    plugin = getattr(imported, "Plugin", None)
    if not isinstance(plugin, type):
        raise ImportError(f"{init.path or init.module} has no class Plugin")
    return plugin


def _from_file(path: str) -> ModuleType:
    directory, file = path.rsplit("/", 1)
    above, folder = directory.rsplit("/", 1)
    shims.devices(above)
    # A dot in a name would mean a package.
    package = f"devices.{folder.replace('.', 'Dot')}"
    shims.module(package).__path__ = [directory]
    if os.path.exists(f"{directory}/__init__.py"):  # noqa: PTH110  as above
        _run(package, f"{directory}/__init__.py", [directory])
    return _run(f"{package}.{file.removesuffix('.py').replace('.', 'Dot')}", path)


def _run(name: str, path: str, folders: list[str] | None = None) -> ModuleType:
    """Import a file by a name; folders: where the modules of a package are."""
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def bind(plugin: type, link: Link) -> None:
    """Lead a plugin's class, and so its objects before they are made, to the server."""
    plugin._rtoc_link = link  # type: ignore[attr-defined]  # of LoggerPlugin; another class ignores it
    if getattr(plugin, "config", LoggerPlugin.config) is LoggerPlugin.config:
        plugin.config = link.config  # type: ignore[attr-defined]  # as above


def make(plugin: type, link: Link) -> Any:
    """Return an object of a plugin's class, whichever arguments of RTOC's versions its `__init__` takes.

    RTOC 3 gives `logger`, RTOC 1 and 2 gave `stream`, `plot` and `event`, which are None here: what they
    lead to is LoggerPlugin's own.
    """
    given: dict[str, Any] = {}
    for parameter in inspect.signature(plugin).parameters.values():
        if parameter.name == "logger" or parameter.kind is parameter.VAR_KEYWORD:
            given["logger"] = Logger(link)
        elif parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL:
            given[parameter.name] = None
    return plugin(**given)
