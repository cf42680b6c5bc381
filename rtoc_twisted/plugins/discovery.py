"""Which plugins there are: found by reading, never by importing them.

A plugin is a file with `class Plugin` in a folder of `<state>/devices`, as RTOC has them, or in an installed
package that names it in the entry points `rtoc_twisted.plugins`, or one that is shipped.
"""

from __future__ import annotations

import ast
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from .manifest import CONFIG, MANIFEST, about

GROUP = "rtoc_twisted.plugins"

_SHIPPED = Path(__file__).parent / "shipped"
_LONGEST = 4 * 1024 * 1024
_MENTIONS_PLUGIN = re.compile(rb"\bPlugin\b")

Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A plugin as it lies there.

    name: clients call it so; origin: whether it is to be imported by its path ("devices") or by the dotted
    name in `module` ("installed", "shipped"); path: its file, None for one of a package that cannot be
    located; folder: where its manifest and its configuration are looked for, None if there is no path;
    helpers: further files that it may import; error: why it cannot be started; hides: files of the same name
    that lost against it; manifest: as `about` tells of it.
    """

    name: str
    origin: str
    module: str
    path: Path | None
    folder: Path | None
    helpers: tuple[Path, ...] = ()
    error: str | None = None
    hides: tuple[str, ...] = ()
    manifest: dict[str, Any] | None = None


def find(
    state_dir: Path, installed: Iterable[EntryPoint] | None = None, shipped: Path = _SHIPPED
) -> list[Found]:
    """Return all plugins, sorted by name: a name is there once.

    Of two with one name, that of `<state_dir>/devices` wins against an installed one, and that against a
    shipped one; of two folders the first by name. What cannot be read or parsed is listed with its error.
    installed: entry points, by default those of all packages of this Python. Reads many files: not for the
    reactor's thread once clients are served.
    """
    if installed is None:
        installed = entry_points(group=GROUP)
    best: dict[str, Found] = {}
    for found in (*_in_devices(state_dir / "devices"), *map(_installed, installed), *_shipped(shipped)):
        winner = best.get(found.name)
        if winner is None:
            best[found.name] = found
        else:
            best[found.name] = replace(winner, hides=(*winner.hides, str(found.path or found.module)))
    return [_described(best[name]) for name in sorted(best)]


def _described(found: Found) -> Found:
    return found if found.folder is None else replace(found, manifest=about(found.folder))


def in_folder(folder: Path) -> list[Found]:
    """Return the plugins of one folder of devices, sorted by name; OSError if it cannot be listed."""
    files = sorted(path for path in folder.iterdir() if _is_source(path))
    looked = {path: look(path) for path in files}
    helpers = tuple(path for path, (is_plugin, _) in looked.items() if not is_plugin)
    return [
        Found(path.stem, "devices", f"devices.{folder.name}.{path.stem}", path, folder, helpers, error)
        for path, (is_plugin, error) in looked.items()
        if is_plugin
    ]


def look(path: Path) -> tuple[bool, str | None]:
    """Return whether a file is meant to be a plugin, and why it cannot be one.

    A file that does not parse is meant to be one if it says `Plugin` anywhere.
    """
    try:
        with path.open("rb") as file:
            source = file.read(_LONGEST + 1)
    except OSError as error:
        return True, f"cannot be read: {error.strerror}"
    if not _MENTIONS_PLUGIN.search(source):
        return False, None
    if len(source) > _LONGEST:
        return True, f"is longer than {_LONGEST} bytes"
    try:
        # An invalid escape in somebody's plugin is not to be told in the server's log at each look.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, path.name)
    except SyntaxError as error:
        return True, f"{type(error).__name__} in line {error.lineno}: {error.msg}"
    except (ValueError, RecursionError, MemoryError) as error:
        return True, f"cannot be parsed: {error}"
    return _defines_plugin(tree.body), None


def stamp(found: Found) -> Stamp:
    """Return what changes when a plugin's file, a helper of it, its manifest or its configuration does."""
    if found.path is None:
        return ()
    files = [found.path, *found.helpers]
    if found.folder is not None:
        files += [found.folder / MANIFEST, found.folder / CONFIG]
    return tuple(_file_stamp(path) for path in files)


def _file_stamp(path: Path) -> tuple[str, int, int, int]:
    try:
        status = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), status.st_mtime_ns, status.st_size, status.st_ino


def _in_devices(devices: Path) -> Iterator[Found]:
    try:
        folders = sorted(path for path in devices.iterdir() if path.is_dir() and _is_public(path))
    except OSError:
        return
    for folder in folders:
        try:
            yield from in_folder(folder)
        except OSError as error:
            # It has no file to be named after.
            yield Found(
                folder.name, "devices", "", None, None, (), f"{folder} cannot be read: {error.strerror}"
            )


def _shipped(directory: Path) -> Iterator[Found]:
    for path in sorted(directory.glob("*.py")):
        if _is_public(path):
            yield Found(path.stem, "shipped", f"{__package__}.{directory.name}.{path.stem}", path, directory)


def _installed(entry: EntryPoint) -> Found:
    path = _locate(entry.module)
    found = Found(entry.name, "installed", entry.module, path, path and path.parent)
    if (entry.attr or "Plugin") != "Plugin":
        return replace(found, error=f"entry point {entry.value}: the class must be Plugin")
    if path is None:
        return replace(found, error=f"entry point {entry.value}: there is no such module")
    is_plugin, error = look(path)
    return replace(found, error=error if is_plugin else f"{path.name} has no class Plugin")


def _locate(module: str) -> Path | None:
    """Return a module's source without importing it, or the packages it is in; None if there is none."""
    path: Sequence[str] | None = None
    spec: ModuleSpec | None = None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        spec = _spec(".".join(parts[:depth]), path)
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or ())
    return Path(spec.origin) if spec is not None and spec.has_location and spec.origin else None


def _spec(name: str, path: Sequence[str] | None) -> ModuleSpec | None:
    specs = (finder.find_spec(name, path) for finder in sys.meta_path)
    return next((spec for spec in specs if spec is not None), None)


def _is_source(path: Path) -> bool:
    return path.suffix == ".py" and _is_public(path) and path.is_file()


def _is_public(path: Path) -> bool:
    return not path.name.startswith((".", "_"))


def _defines_plugin(body: Iterable[ast.stmt]) -> bool:
    """Whether importing a module of these statements may define a class Plugin in it."""
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            if statement.name == "Plugin":
                return True
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            inner = [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]
            handlers = [handler.body for handler in getattr(statement, "handlers", ())]
            if _defines_plugin([*inner, *(it for body in handlers for it in body)]):
                return True
    return False
