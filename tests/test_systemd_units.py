"""systemd's own judges read the units that are shipped."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.config import Options

ROOT = Path(__file__).parent.parent
SERVICE = ROOT / "systemd" / "rtoc.service"
SOCKET = ROOT / "systemd" / "rtoc.socket"
EXAMPLE = ROOT / "etc" / "rtoc.toml"
TWISTD = "/opt/rtoc/bin/twistd"


def entries(unit: Path) -> list[tuple[str, str]]:
    """Return the (key, value) lines of a unit in their order."""
    return re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.MULTILINE)


class UnitTests(SynchronousTestCase):
    """systemd-analyze is run for real; without it these tests fail."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        # verify wants the program to exist; any will do.
        self.service = self.copied(SERVICE, TWISTD, sys.executable)
        self.socket = self.copied(SOCKET)

    def copied(self, unit: Path, old: str = "", new: str = "") -> Path:
        copy = self.directory / unit.name
        copy.write_text(unit.read_text().replace(old, new) if old else unit.read_text())
        return copy

    def analyzed(self, *arguments: str) -> tuple[int, str]:
        program = shutil.which("systemd-analyze")
        if program is None:
            self.fail("systemd-analyze is missing: install the package systemd to check the units")
        done = subprocess.run(
            [program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    def verified(self) -> tuple[int, str]:
        return self.analyzed("--man=no", "verify", str(self.service), str(self.socket))

    def test_verify_has_nothing_to_say(self) -> None:
        self.assertEqual(self.verified(), (0, ""))

    def test_verify_tells_a_misspelt_key(self) -> None:
        # It exits 0 for those, so the output is what the test above must look at.
        self.copied(SERVICE, "NoNewPrivileges", "NoNewPrivilages")
        self.assertIn("NoNewPrivilages", self.verified()[1])

    def test_exposure_is_at_most_2(self) -> None:
        code, text = self.analyzed("security", "--offline=true", "--threshold=20", str(self.service))
        self.assertEqual(code, 0, text)

    def test_writable_code_is_allowed_for_pyopenssl(self) -> None:
        self.assertNotIn("MemoryDenyWriteExecute", dict(entries(SERVICE)))

    def test_what_the_service_promises(self) -> None:
        found = dict(entries(SERVICE))
        self.assertEqual((found["Type"], found["NotifyAccess"]), ("notify", "main"))
        self.assertEqual((found["User"], found["StateDirectory"]), ("rtoc", "rtoc"))
        self.assertEqual(found["CapabilityBoundingSet"], "CAP_NET_BIND_SERVICE")
        self.assertEqual(found["KillSignal"], "SIGTERM")
        self.assertGreater(int(found["WatchdogSec"]), 0)
        # A salvage of many gigabytes is not to be killed and begun anew for ever.
        self.assertEqual(found["TimeoutStartSec"], "infinity")

    def test_the_command_line_parses(self) -> None:
        words = shlex.split(dict(entries(SERVICE))["ExecStart"])
        self.assertEqual(words[:4], [TWISTD, "--nodaemon", "--pidfile=", "rtoc"])
        arguments = [str(EXAMPLE) if word == "/etc/rtoc/rtoc.toml" else word for word in words[4:]]
        options = Options({"STATE_DIRECTORY": "/var/lib/rtoc"})
        options.parseOptions(arguments)
        self.assertEqual(options.config.state_dir, Path("/var/lib/rtoc"))

    def test_the_socket_gives_plain_first_and_both_families(self) -> None:
        found = entries(SOCKET)
        streams = [value for key, value in found if key == "ListenStream"]
        self.assertEqual(streams, ["[::]:5050", "[::]:443"])
        self.assertIn(("BindIPv6Only", "both"), found)
        self.assertIn(("FileDescriptorName", "rtoc"), found)
