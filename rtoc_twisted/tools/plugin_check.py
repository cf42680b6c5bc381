"""What can be said about a plugin's folder without running anything in it."""

from __future__ import annotations

import ast
import importlib.util
import platform
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from ..errors import BadValue
from ..plugins import manifest
from ..plugins.child.api import LoggerPlugin
from ..plugins.discovery import Found, in_folder
from ..plugins.manifest import CONFIG, MANIFEST

_IN_THE_BOX = {"RTOC", "LoggerPlugin", "PyQt5", "devices", "rtoc_twisted"}
"""What a plugin can import in its process, installed or not."""

# Those attributes come to be when a plugin is made.
_GIVEN = {name for name in dir(LoggerPlugin) if not name.startswith("__")}
_MAKES_ATTRIBUTE = "createPersistentVariable"


@dataclass(frozen=True, slots=True)
class Remark:
    """place: a file, and its line where there is one; is_error: whether the plugin cannot work so."""

    place: str
    text: str
    is_error: bool = True

    def __str__(self) -> str:
        return f"{self.place}: {'' if self.is_error else 'warning: '}{self.text}"


def check(folder: Path) -> list[Remark]:
    """Return all that is wrong or odd in a plugin's folder; BadValue if there is no such folder."""
    try:
        plugins = in_folder(folder.resolve())
    except OSError as error:
        raise BadValue(f"{folder}: {error.strerror}") from None
    remarks = list(_manifest(folder))
    if not plugins:
        remarks.append(Remark(str(folder), "no file in it has a class Plugin"))
    for found in plugins:
        remarks += _plugin(found)
    return remarks


def _manifest(folder: Path) -> Iterator[Remark]:
    try:
        read = manifest.read(folder)
    except BadValue as error:
        yield from (Remark(MANIFEST, problem) for problem in error.message.split("; "))
        return
    if not (folder / MANIFEST).exists():
        yield Remark(MANIFEST, "there is none", is_error=False)
    try:
        manifest.read_configuration(folder, read)
    except BadValue as error:
        yield Remark(CONFIG, error.message.removeprefix(f"{CONFIG}: "))
    yield from _python(read.python)
    for requirement in read.requirements:
        yield from _requirement(requirement)


def _python(specifier: str) -> Iterator[Remark]:
    try:
        fits = SpecifierSet(specifier).contains(platform.python_version(), prereleases=True)
    except InvalidSpecifier:
        yield Remark(MANIFEST, f"plugin.python: {specifier!r} is no version specifier")
        return
    if not fits:
        yield Remark(MANIFEST, f"needs Python {specifier}, this is {platform.python_version()}")


def _requirement(text: str) -> Iterator[Remark]:
    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        yield Remark(MANIFEST, f"plugin.requirements: {text!r}: {str(error).splitlines()[0]}")
        return
    if wanted.marker is not None and not wanted.marker.evaluate():
        return
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        yield Remark(MANIFEST, f"needs {text}, which is not installed")
        return
    if not wanted.specifier.contains(installed, prereleases=True):
        yield Remark(MANIFEST, f"needs {text}, installed is {installed}")


def _plugin(found: Found) -> Iterator[Remark]:
    if found.path is None or found.error is not None:
        yield Remark(found.path.name if found.path else found.name, found.error or "has no file")
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(found.path.read_bytes(), found.path.name)
    local = {path.stem for path in (found.path, *found.helpers)}
    name = found.path.name
    yield from (Remark(f"{name}:{line}", text, is_error=False) for line, text in _imports(tree, local))
    yield from (Remark(f"{name}:{line}", text, is_error=False) for line, text in _api_use(tree))


def _imports(tree: ast.Module, local: set[str]) -> Iterator[tuple[int, str]]:
    """Yield what a file imports when it is imported itself, and cannot."""
    for node in tree.body:
        names: Iterable[str] = ()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for top in {name.partition(".")[0] for name in names} - _IN_THE_BOX - local:
            if top not in sys.builtin_module_names and importlib.util.find_spec(top) is None:
                yield node.lineno, f"imports {top}, which is not installed"


def _api_use(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what the class Plugin reads of itself and nobody gives it."""
    plugins = [it for it in ast.walk(tree) if isinstance(it, ast.ClassDef) and it.name == "Plugin"]
    for plugin in plugins:
        bases = {ast.unparse(base).rpartition(".")[2] for base in plugin.bases}
        if "LoggerPlugin" not in bases:
            yield plugin.lineno, "class Plugin is not derived from LoggerPlugin"
        elif bases == {"LoggerPlugin"}:
            # Of other bases it is not known here what they give.
            own = _GIVEN | _defined(plugin)
            for node in ast.walk(plugin):
                match node:
                    case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Load()) if not (
                        name in own or name.startswith("__")
                    ):
                        yield node.lineno, f"self.{name}: neither the class nor LoggerPlugin has it"


def _defined(plugin: ast.ClassDef) -> set[str]:
    names = set()
    for node in ast.walk(plugin):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Attribute(attr=name, ctx=ast.Store()):
                names.add(name)
            case ast.Call(func=ast.Attribute(attr=made), args=[ast.Constant(value=str(name)), *_]) if (
                made == _MAKES_ATTRIBUTE
            ):
                names.add(name)
    return names
