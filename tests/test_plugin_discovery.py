"""Plugins are found by reading files: names, clashes, what is broken, and what changes them."""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.plugins.discovery import GROUP, Found, find, in_folder, look, stamp

PLUGIN = "class Plugin:\n    pass\n"


class Folders(SynchronousTestCase):
    """A state directory, empty at first."""

    def setUp(self) -> None:
        self.state = Path(self.mktemp()).absolute()
        self.devices = self.state / "devices"
        self.devices.mkdir(parents=True)
        self.nowhere = self.state / "nowhere"

    def write(self, place: str, text: str | bytes = PLUGIN) -> Path:
        """Write a file below devices."""
        path = self.devices / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def found(self, *installed: EntryPoint) -> dict[str, Found]:
        """Return what is found, by name, without what is shipped."""
        return {it.name: it for it in find(self.state, installed, self.nowhere)}


class DevicesTest(Folders):
    def test_each_file_with_a_class_plugin(self) -> None:
        one = self.write("Lab/One.py")
        two = self.write("Lab/Two Blanks.py", "if True:\n    class Plugin(Base):\n        pass\n")
        self.write("Lab/helper.py", "class Helper:\n    'of the Plugin'\n")
        found = self.found()
        self.assertEqual(list(found), ["One", "Two Blanks"])
        self.assertEqual((found["One"].path, found["One"].folder), (one, self.devices / "Lab"))
        self.assertEqual(found["Two Blanks"].module, "devices.Lab.Two Blanks")
        self.assertEqual(found["Two Blanks"].path, two)
        self.assertEqual({it.origin for it in found.values()}, {"devices"})
        self.assertEqual({it.error for it in found.values()}, {None})

    def test_what_is_none(self) -> None:
        for place in ("Lab/_hidden.py", "Lab/.hidden.py", ".git/One.py", "__pycache__/One.py", "One.py"):
            self.write(place)
        self.write("Lab/inner.py", "def make():\n    class Plugin:\n        pass\n")
        self.write("Lab/notes.txt")
        (self.devices / "Lab" / "folder.py").mkdir()
        self.assertEqual(self.found(), {})

    def test_nothing_is_imported(self) -> None:
        self.write("Lab/Bad.py", "import sys\nsys.exit(3)\n" + PLUGIN)
        self.assertIsNone(self.found()["Bad"].error)
        self.assertFalse([name for name in sys.modules if name.startswith("devices")])

    def test_broken_files_are_listed_with_the_reason(self) -> None:
        self.write("Lab/Syntax.py", "class Plugin(:\n")
        self.write("Lab/Word.py", "clas Plugin(LoggerPlugin):\n    pass\n")
        self.write("Lab/Zero.py", b"class Plugin: pass\0")
        self.write("Lab/Latin.py", b"class Plugin: '\xe9'\n")
        self.write("Lab/Deep.py", "class Plugin: x = " + "(" * 5000 + ")" * 5000)
        self.write("Lab/Long.py", "class Plugin: pass\n" + "#" * (4 << 20))
        self.write("Lab/python2.py", "print 'a helper that nobody may import'\n")
        found = self.found()
        self.assertEqual(sorted(found), ["Deep", "Latin", "Long", "Syntax", "Word", "Zero"])
        for name, it in found.items():
            self.assertTrue(it.error, name)
        self.assertIn("line 1", found["Syntax"].error or "")
        self.assertIn("longer than", found["Long"].error or "")

    def test_a_file_that_cannot_be_read(self) -> None:
        (self.devices / "Lab").mkdir()
        (self.devices / "Lab" / "Loop.py").symlink_to("Loop.py")
        is_plugin, error = look(self.devices / "Lab" / "Loop.py")
        self.assertTrue(is_plugin)
        self.assertIn("cannot be read", error or "")

    def test_a_name_is_there_once(self) -> None:
        kept = self.write("A/Same.py")
        lost = self.write("B/Same.py")
        found = self.found()["Same"]
        self.assertEqual((found.path, found.hides), (kept, (str(lost),)))

    def test_the_manifest_comes_along(self) -> None:
        self.write("Lab/One.py")
        self.assertIsNone(self.found()["One"].manifest)
        self.write("Lab/plugin.toml", "[plugin]\nversion = '3'\n")
        self.assertEqual((self.found()["One"].manifest or {})["version"], "3")

    def test_no_devices(self) -> None:
        self.assertEqual(find(self.nowhere, [], self.nowhere), [])
        self.assertRaises(OSError, in_folder, self.nowhere)

    def test_a_bad_escape_is_nobody_s_business(self) -> None:
        self.write("Lab/Escape.py", 'class Plugin:\n    x = "\\d"\n')
        self.assertIsNone(self.found()["Escape"].error)
        self.assertEqual(self.flushWarnings(), [])


class InstalledTest(Folders):
    """Packages that name a plugin among their entry points; none of them is imported."""

    def setUp(self) -> None:
        super().setUp()
        site = self.state / "site"
        self.package = site / "rtoc_test_package"
        self.package.mkdir(parents=True)
        (self.package / "__init__.py").write_text("raise RuntimeError('imported')\n")
        (self.package / "scope.py").write_text(PLUGIN)
        (self.package / "empty.py").write_text("")
        sys.path.insert(0, str(site))
        self.addCleanup(sys.path.remove, str(site))

    def entry(self, name: str, value: str) -> EntryPoint:
        return EntryPoint(name, value, GROUP)

    def test_it_is_found(self) -> None:
        found = self.found(self.entry("Scope", "rtoc_test_package.scope:Plugin"))["Scope"]
        self.assertEqual((found.origin, found.module), ("installed", "rtoc_test_package.scope"))
        self.assertEqual((found.path, found.folder), (self.package / "scope.py", self.package))
        self.assertIsNone(found.error)
        self.assertNotIn("rtoc_test_package", sys.modules)

    def test_what_is_wrong_with_it_is_told(self) -> None:
        found = self.found(
            self.entry("Class", "rtoc_test_package.scope:Other"),
            self.entry("Gone", "rtoc_test_package.gone"),
            self.entry("NoPackage", "rtoc_test_missing.scope"),
            self.entry("Empty", "rtoc_test_package.empty"),
        )
        self.assertIn("must be Plugin", found["Class"].error or "")
        self.assertIn("no such module", found["Gone"].error or "")
        self.assertIn("no such module", found["NoPackage"].error or "")
        self.assertEqual("empty.py has no class Plugin", found["Empty"].error)

    def test_devices_win(self) -> None:
        own = self.write("Lab/Scope.py")
        found = self.found(self.entry("Scope", "rtoc_test_package.scope"))["Scope"]
        self.assertEqual((found.path, found.hides), (own, (str(self.package / "scope.py"),)))


class ShippedTest(Folders):
    def test_those_that_are_shipped(self) -> None:
        found = {it.name: it for it in find(self.state, [])}
        self.assertEqual(sorted(found), ["Generator", "System"])
        for name, it in found.items():
            self.assertEqual((it.origin, it.error), ("shipped", None))
            self.assertEqual(it.module, f"rtoc_twisted.plugins.shipped.{name}")
            self.assertEqual(look(it.path) if it.path else None, (True, None))


class StampTest(Folders):
    def test_what_belongs_to_a_plugin_changes_it_and_nothing_else(self) -> None:
        self.write("Lab/One.py")
        self.write("Lab/Two.py")
        self.write("Lab/helper.py", "x = 1\n")

        def stamps() -> tuple[object, object]:
            found = self.found()
            return stamp(found["One"]), stamp(found["Two"])

        before = stamps()
        self.assertEqual(stamps(), before)
        for place, text, changed in (
            ("Lab/One.py", PLUGIN + "# longer\n", (True, False)),
            ("Lab/helper.py", "x = 22\n", (True, True)),
            ("Lab/plugin.toml", "[plugin]\n", (True, True)),
            ("Lab/config.toml", "", (True, True)),
            ("Lab/data.csv", "1;2\n", (False, False)),
            ("Other/One more.py", PLUGIN, (False, False)),
            ("Lab/new_helper.py", "", (True, True)),
        ):
            self.write(place, text)
            after = stamps()
            self.assertEqual(tuple(a != b for a, b in zip(before, after, strict=True)), changed, place)
            before = after

    def test_the_same_length_at_another_time(self) -> None:
        path = self.write("Lab/One.py")
        found = self.found()["One"]
        before = stamp(found)
        os.utime(path, ns=(1, 1))
        self.assertNotEqual(stamp(found), before)

    def test_a_file_that_is_gone(self) -> None:
        path = self.write("Lab/One.py")
        found = self.found()["One"]
        before = stamp(found)
        path.unlink()
        self.assertNotEqual(stamp(found), before)
