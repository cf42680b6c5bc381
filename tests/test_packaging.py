"""What is in the archives, and that twistd and old programs find us once they are installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from zipfile import ZipFile

from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
NOT_COPIED = (
    ".*venv*",
    ".git",
    "_trial_temp*",
    "__pycache__",
    "var",
    "dist",
    "build",
    ".*_cache",
    ".hypothesis",
)


def run_apart(path: list[Path], code: str) -> str:
    """Run code in a new interpreter and return what it prints.

    It sees the given directories before the libraries, but no .pth file: not our own editable installation.
    """
    prologue = f"import sys; sys.path[:0] = {[str(entry) for entry in path]!r}\n"
    prologue += f"sys.path.append({sysconfig.get_path('purelib')!r})\n"
    done = subprocess.run(
        [sys.executable, "-S", "-c", prologue + code], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


class PackagingTest(SynchronousTestCase):
    """A copy of the checkout, in which twistd has left its cache, is built."""

    def setUp(self) -> None:
        self.scratch = Path(self.mktemp()).absolute()
        self.checkout = self.scratch / "checkout"
        shutil.copytree(ROOT, self.checkout, ignore=shutil.ignore_patterns(*NOT_COPIED))
        (self.checkout / "twisted" / "plugins" / "dropin.cache").write_bytes(b"of this machine")

    def build_wheel(self, version: str) -> Path:
        """Build a wheel, version "standard" or "editable", and return the directory it is unpacked to."""
        builder = WheelBuilder(str(self.checkout))
        wheel = next(builder.build(directory=str(self.scratch / version), versions=[version]))
        site = self.scratch / f"site-{version}"
        with ZipFile(wheel) as archive:
            archive.extractall(site)
        return site

    def assert_found(self, path: list[Path]) -> None:
        """twistd offers the command, and the old name of the client is there."""
        usage = run_apart(
            path, "sys.argv = ['twistd', '--help']\nfrom twisted.scripts.twistd import run\nrun()"
        )
        self.assertRegex(usage, r"\n +rtoc +Record measurements")
        legacy = run_apart(path, "import RTWebsocketClient\nprint(RTWebsocketClient.RTWebsocketClient)")
        self.assertRegex(legacy, r"^<class 'rtoc_twisted\.client\..*RTWebsocketClient'>\n$")

    def test_wheel_holds_the_package_and_nothing_else(self) -> None:
        site = self.build_wheel("standard")
        packed = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
        ours = {
            path.relative_to(self.checkout).as_posix()
            for path in (self.checkout / "rtoc_twisted").rglob("*")
            if path.is_file() and path.parent.name != "legacy"
        }
        info = {name for name in packed if ".dist-info/" in name}
        self.assertEqual(packed - info, ours | {"RTWebsocketClient.py", "twisted/plugins/rtoc_plugin.py"})
        self.assertIn("rtoc_twisted/py.typed", packed)
        self.assertTrue(any(name.endswith("/licenses/LICENSE") for name in info), info)

    def test_wheel_is_found(self) -> None:
        self.assert_found([self.build_wheel("standard")])

    def test_editable_installation_is_found(self) -> None:
        site = self.build_wheel("editable")
        (pth,) = site.glob("*.pth")
        self.assert_found([site, *map(Path, pth.read_text().split("\n"))])

    def test_source_archive_holds_examples_and_service_files(self) -> None:
        archive = next(SdistBuilder(str(self.checkout)).build(directory=str(self.scratch)))
        with tarfile.open(archive) as sdist:
            names = {name.partition("/")[2] for name in sdist.getnames()}
        for room in ("examples", "etc", "systemd", "docs", "tests"):
            there = {
                path.relative_to(self.checkout).as_posix()
                for path in (self.checkout / room).rglob("*")
                if path.is_file()
            }
            self.assertTrue(there, f"{room}/ is missing")
            self.assertLessEqual(there, names)
        self.assertNotIn("twisted/plugins/dropin.cache", names)
