"""The import arrows of docs/architecture.md, read from the source of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent

# Beside the rooms of the design: hub holds the open connections, as far as connection and web need to know of
# each other; box is what the child processes of plugins and automation share; channels tell people; notify
# (systemd) and logs are for service alone.
LAYERS = (
    {"errors", "model"},
    {"interfaces", "wire", "command", "hub", "house", "box"},
    {
        "recorder",
        "connection",
        "subscriptions",
        "logger",
        "auth",
        "storage",
        "events",
        "plugins",
        "automation",
        "channels",
    },
    {"web", "tls", "cluster", "notify", "logs", "lifecycle"},
    {"config", "policies"},
    {"service", "tools"},
)
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
APART = LAYERS[2] | LAYERS[5]
"""Rooms that do not import others of their layer."""
ONLY_FOR_CLIENT = {"errors", "model", "wire"}
DATABASES = ("sqlite3", "psycopg")


def imported(tree: ast.Module, package: str) -> Iterator[tuple[int, str]]:
    """Yield line and full dotted name of all that is imported, anywhere in a module of the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                above = parents[: len(parents) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def is_in(name: str, *modules: str) -> bool:
    """Whether the dotted name is one of the modules or inside one."""
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def may_import(room: str, other: str) -> bool:
    """Whether a module of one room may import from the other room."""
    if room == other:
        return True
    if room == "client":
        return other in ONLY_FOR_CLIENT
    if other == "client":
        return room == "tools"
    if other not in RANK:
        return False
    if RANK[other] == RANK[room]:
        return room not in APART
    return RANK[other] < RANK[room]


def room_of(name: str) -> str | None:
    """Return the room that a dotted name of ours is in; None for the package itself and its dunders."""
    room = name.removeprefix("rtoc_twisted").removeprefix(".").partition(".")[0]
    return None if not room or room.startswith("__") else room


def wrong_import(room: str | None, name: str) -> str | None:
    """Return why a module of the room may not import the name, None where it may."""
    if room is None:
        return "the package itself imports nothing of ours" if is_in(name, "rtoc_twisted") else None
    if is_in(name, "rtoc_twisted"):
        other = room_of(name)
        return None if other is None or may_import(room, other) else f"{room} may not import {other}"
    if is_in(name, "twisted.internet.reactor") and room != "service":
        return "only service knows the global reactor"
    if is_in(name, "autobahn") and RANK.get(room, 0) <= RANK["storage"]:
        return "Autobahn is for web"
    if is_in(name, *DATABASES) and room != "storage":
        return "databases are for storage"
    return None


def wrong_arrows(source: str, path: str) -> list[str]:
    """Return one line for each import in the source that the arrows forbid.

    The path is relative to the checkout, such as rtoc_twisted/wire/codec.py.
    """
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    package = module if path.endswith("/__init__.py") else module.rpartition(".")[0]
    room = room_of(module)
    if room is not None and room != "client" and room not in RANK:
        return [f"{path}: {room} has no place in the layers"]
    return [
        f"{path}:{line}: {name}: {reason}"
        for line, name in imported(ast.parse(source, path), package)
        if (reason := wrong_import(room, name))
    ]


class ArrowsTest(SynchronousTestCase):
    """The code as it is."""

    def test_every_module(self) -> None:
        modules = sorted((ROOT / "rtoc_twisted").rglob("*.py"))
        wrong = [
            line
            for module in modules
            for line in wrong_arrows(module.read_text(), module.relative_to(ROOT).as_posix())
        ]
        self.assertIn(ROOT / "rtoc_twisted" / "model.py", modules)
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))

    def test_plugin_file_imports_none_of_our_code(self) -> None:
        tree = ast.parse((ROOT / "twisted" / "plugins" / "rtoc_plugin.py").read_text())
        names = [name for _, name in imported(tree, "twisted.plugins")]
        self.assertEqual(names, ["twisted.application.service.ServiceMaker"])


class CheckerTest(SynchronousTestCase):
    """The checker itself, on made-up modules."""

    def assert_wrong(self, path: str, source: str) -> None:
        self.assertEqual(len(wrong_arrows(source, path)), 1, f"{path}: {source}")

    def assert_right(self, path: str, source: str) -> None:
        self.assertEqual(wrong_arrows(source, path), [])

    def test_up_the_layers_is_wrong(self) -> None:
        self.assert_wrong("rtoc_twisted/model.py", "import rtoc_twisted.wire.codec")
        self.assert_wrong("rtoc_twisted/wire/codec.py", "from rtoc_twisted.recorder import Recorder")
        self.assert_wrong("rtoc_twisted/connection.py", "from rtoc_twisted import web")
        self.assert_wrong("rtoc_twisted/web/site.py", "from rtoc_twisted.config import Config")
        self.assert_wrong("rtoc_twisted/config.py", "import rtoc_twisted.service")

    def test_down_the_layers_is_right(self) -> None:
        self.assert_right("rtoc_twisted/interfaces.py", "from rtoc_twisted.model import Signal")
        self.assert_right("rtoc_twisted/storage/sqlite.py", "from rtoc_twisted.interfaces import IStorage")
        self.assert_right("rtoc_twisted/web/websocket.py", "from rtoc_twisted.connection import Connection")
        self.assert_right("rtoc_twisted/service.py", "from rtoc_twisted import config, web, storage, errors")

    def test_middle_rooms_do_not_import_each_other(self) -> None:
        self.assert_wrong("rtoc_twisted/events/log.py", "from rtoc_twisted.storage.memory import Memory")
        self.assert_wrong("rtoc_twisted/recorder.py", "import rtoc_twisted.connection")
        self.assert_right("rtoc_twisted/storage/sqlite.py", "from rtoc_twisted.storage import schema")
        self.assert_right("rtoc_twisted/command.py", "from rtoc_twisted.interfaces import IConnection")

    def test_relative_imports_are_resolved(self) -> None:
        self.assert_wrong("rtoc_twisted/events/log.py", "from ..storage import memory")
        self.assert_wrong("rtoc_twisted/events/__init__.py", "from .. import storage")
        self.assert_wrong("rtoc_twisted/model.py", "from .wire import codec")
        self.assert_right("rtoc_twisted/events/__init__.py", "from . import log\nfrom .log import Log")

    def test_imports_of_types_and_inside_functions_count(self) -> None:
        self.assert_wrong(
            "rtoc_twisted/model.py", "if TYPE_CHECKING:\n    from rtoc_twisted.interfaces import IStorage"
        )
        self.assert_wrong("rtoc_twisted/model.py", "def f():\n    import rtoc_twisted.interfaces")

    def test_reactor_is_for_service(self) -> None:
        for source in ("from twisted.internet import reactor", "import twisted.internet.reactor"):
            self.assert_wrong("rtoc_twisted/recorder.py", source)
            self.assert_wrong("rtoc_twisted/web/websocket.py", source)
            self.assert_right("rtoc_twisted/service.py", source)
        self.assert_right("rtoc_twisted/recorder.py", "from twisted.internet import defer, interfaces, task")

    def test_autobahn_is_for_web(self) -> None:
        source = "from autobahn.twisted.websocket import WebSocketServerProtocol"
        self.assert_wrong("rtoc_twisted/connection.py", source)
        self.assert_wrong("rtoc_twisted/wire/codec.py", source)
        self.assert_wrong("rtoc_twisted/client/connection.py", source)
        self.assert_right("rtoc_twisted/web/websocket.py", source)

    def test_databases_are_for_storage(self) -> None:
        for source in ("import sqlite3", "from psycopg import sql", "import psycopg.rows"):
            self.assert_wrong("rtoc_twisted/events/log.py", source)
            self.assert_wrong("rtoc_twisted/client/cli.py", source)
            self.assert_right("rtoc_twisted/storage/sqlite.py", source)

    def test_client_knows_errors_model_and_wire(self) -> None:
        self.assert_right("rtoc_twisted/client/cli.py", "from rtoc_twisted import client, model, wire")
        self.assert_wrong("rtoc_twisted/client/cli.py", "from rtoc_twisted.interfaces import IStorage")
        self.assert_wrong("rtoc_twisted/web/site.py", "from rtoc_twisted.client import cli")

    def test_tools_stand_beside_the_service(self) -> None:
        self.assert_right("rtoc_twisted/tools/main.py", "from rtoc_twisted import client, config, storage")
        self.assert_wrong("rtoc_twisted/tools/main.py", "from rtoc_twisted.service import makeService")
        self.assert_wrong("rtoc_twisted/tools/main.py", "from twisted.internet import reactor")
        for room in ("service", "web/site", "client/cli"):
            self.assert_wrong(f"rtoc_twisted/{room}.py", "from rtoc_twisted.tools import main")

    def test_package_itself(self) -> None:
        self.assert_wrong("rtoc_twisted/__init__.py", "from rtoc_twisted.model import Signal")
        self.assert_right("rtoc_twisted/wire/answers.py", "from rtoc_twisted import __version__")

    def test_a_room_without_a_place_is_wrong(self) -> None:
        self.assert_wrong("rtoc_twisted/helpers.py", "")
        self.assert_wrong("rtoc_twisted/service.py", "import rtoc_twisted.helpers")
