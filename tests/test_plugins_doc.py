"""docs/plugins.md: its programs run, its manifest is one, and it names all there is."""

from __future__ import annotations

import inspect
import io
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client.shell import Shell
from rtoc_twisted.config.settings import Plugins
from rtoc_twisted.plugins import manifest, settings
from rtoc_twisted.plugins.child.api import LoggerPlugin
from rtoc_twisted.plugins.discovery import find
from rtoc_twisted.tools.main import main

DOCUMENT = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def calls() -> list[str]:
    """Return the first column of the table of the API."""
    table = DOCUMENT.split("| call | meaning |")[1].split("\n\n")[0]
    return [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]


class PluginsDocumentTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute() / "Room"
        self.folder.mkdir(parents=True)

    def tried(self, source: str) -> str:
        """Return what `rtoc plugin test` tells of a plugin that has nothing wrong with it."""
        (self.folder / "Room.py").write_text(source)
        for verb in ("check", "test"):
            shell = Shell(io.StringIO(), io.StringIO(), io.StringIO(), {})
            code = main(["plugin", verb, str(self.folder)], shell)
            self.assertEqual(code, 0, shell.stdout.getvalue() + shell.stderr.getvalue())
        return shell.stdout.getvalue()

    def test_the_first_program(self) -> None:
        told = self.tried(blocks("python")[0])
        self.assertRegex(told, r"Room\.temperature: 1[01] values over (9|10)[.\d]*, 20.* °C")
        self.assertRegex(told, r"Room\.humidity: 1[01] values .* %, last 45")
        self.assertLessEqual(len(list(filter(None, blocks("python")[0].splitlines()))), 10)

    def test_the_manifest_and_the_program_that_uses_it(self) -> None:
        about, config = blocks("toml")
        about = about.replace('requirements = ["pyserial>=3.5"]', 'requirements = ["msgspec"]')
        (self.folder / "plugin.toml").write_text(about)
        (self.folder / "config.toml").write_text(config)
        told = self.tried(blocks("python")[1])
        self.assertIn("log, info: /dev/ttyUSB1, 1.0 Hz, login with ***", told)
        self.assertIn("Room.level: 1", told)

    def test_every_key_of_a_manifest_is_shown(self) -> None:
        about = blocks("toml")[0]
        for key in (*manifest.KEYS, *settings.KEYS):
            self.assertTrue(re.search(rf"^{key} = ", about, re.MULTILINE) or f"`{key} = " in DOCUMENT, key)
        for name in manifest.PERMISSIONS:
            self.assertIn(f"`{name}`", DOCUMENT)

    def test_there_are_no_further_programs(self) -> None:
        self.assertEqual(len(blocks("python")), 2)

    def test_the_whole_api_is_named_and_no_more(self) -> None:
        told = {name for cell in calls() for name in re.findall(r"`(\w+)[(`]", cell)}
        there = {name for name in (*dir(LoggerPlugin), *vars(LoggerPlugin())) if not name.startswith("_")}
        self.assertEqual(told, there)

    def test_arguments_are_those_of_the_code(self) -> None:
        for name, given in re.findall(r"`(\w+)\(([^`]*)\)`", " ".join(calls())):
            known = list(inspect.signature(getattr(LoggerPlugin, name)).parameters)[1:]
            named = re.findall(r"(\w+)=", re.sub(r"[\[{].*[\]}]", "", given))
            self.assertLessEqual(set(named), set(known), name)

    def test_settings_exist(self) -> None:
        told = set(re.findall(r"`plugins\.(\w+)`", DOCUMENT))
        self.assertGreater(len(told), 5)
        self.assertLessEqual(told, set(Plugins.__dataclass_fields__))

    def test_those_that_are_shipped(self) -> None:
        for found in find(self.folder, []):
            self.assertIn(f"**{found.name}**", DOCUMENT)

    def test_the_verbs(self) -> None:
        (shell,) = [block for block in blocks("sh") if "rtoc plugin" in block]
        told = re.findall(r"^rtoc plugin (\w+)", shell, re.MULTILINE)
        out = Shell(io.StringIO(), io.StringIO(), io.StringIO(), {})
        main(["plugin", "--help"], out)
        self.assertEqual(told, re.findall(r"^    (\w+) ", out.stdout.getvalue(), re.MULTILINE))
