"""What a new plugin looks like: the plugin, its manifest, and a test."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from ..errors import BadValue

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ -]*")

_PLUGIN = Template('''\
"""$name."""

import random

from RTOC.LoggerPlugin import LoggerPlugin


class Plugin(LoggerPlugin):
    """Records a made-up temperature; put your instrument in its place."""

    __doc_offset__ = "Added to each value, in degrees"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.setDeviceName("$name")
        self.offset = self.config["offset"]
        self.setPerpetualTimer(self.measure, samplerate=1)
        self.start()

    def measure(self):
        """Record one value. Called by the timer, and by whoever calls `measure()` over the network."""
        self.stream(20 + self.offset + random.random(), "temperature", unit="°C")

    def setOffset(self, offset: float = 0.0):
        """Set the offset, in degrees."""
        self.offset = offset
        return True
''')

_MANIFEST = Template("""\
[plugin]
name = "$name"
version = "0.1.0"
api = 1
description = "Records a made-up temperature"
python = ">=3.11"
requirements = []
# What it reaches, for people to read: "network", "files", "signals".
permissions = []

[config.offset]
type = "number"
description = "Added to each value, in degrees"
default = 0.0
minimum = -50
maximum = 50
""")

_TEST = Template('''\
"""The plugin $name in its box: run with `python -m unittest`."""

import contextlib
import io
import unittest
from pathlib import Path

from rtoc_twisted.tools.main import main


class ${word}Test(unittest.TestCase):
    def test_it_measures(self):
        with contextlib.redirect_stdout(io.StringIO()) as told:
            code = main(["plugin", "test", str(Path(__file__).parent), "--seconds", "10"])
        self.assertEqual(code, 0, told.getvalue())
        self.assertIn("$name.temperature", told.getvalue())


if __name__ == "__main__":
    unittest.main()
''')


def make(name: str, directory: Path) -> list[Path]:
    """Write the folder of a new plugin into a directory; return its files.

    Raises BadValue if the name cannot be one, or the folder is there already.
    """
    if not _NAME.fullmatch(name) or name != name.strip():
        raise BadValue(f"{name!r} is no name: a letter, then letters, digits, blanks, _ or -")
    folder = directory / name
    word = "".join(part[:1].upper() + part[1:] for part in re.split(r"[ _-]+", name))
    texts = {
        f"{name}.py": _PLUGIN,
        "plugin.toml": _MANIFEST,
        f"test_{word.lower()}.py": _TEST,
    }
    try:
        folder.mkdir(parents=True)
        for file, text in texts.items():
            (folder / file).write_text(text.substitute(name=name, word=word), encoding="utf-8")
    except OSError as error:
        raise BadValue(f"{folder}: {error.strerror}") from None
    return [folder / file for file in texts]
