"""plugin.toml and config.toml: what they may say, what is told of mistakes, and that secrets stay secret."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import BadValue
from rtoc_twisted.plugins.manifest import MASK, Configuration, Manifest, about, read, read_configuration
from rtoc_twisted.plugins.settings import Setting, read_setting, wrong_value

from .storage_support import unhurried

FULL = """
[plugin]
name = "Thermometer"
version = "1.2"
description = "Reads a thermometer"
python = ">=3.11"
api = 1
requirements = ["pyserial>=3.5"]
permissions = {network = "192.168.0.5", files = "/dev/ttyUSB0"}

[config.port]
type = "string"
title = "Port"
description = "The serial port"
default = "/dev/ttyUSB0"

[config.rate]
type = "number"
default = 1
minimum = 0.1
maximum = 10

[config.channel]
type = "integer"
enum = [1, 2, 4]
required = true

[config.password]
type = "string"
secret = true
"""


class Folder(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def write(self, manifest: str | bytes, config: str | None = None) -> None:
        """Write plugin.toml, and config.toml if there is one."""
        (self.folder / "plugin.toml").write_bytes(
            manifest if isinstance(manifest, bytes) else manifest.encode()
        )
        if config is not None:
            (self.folder / "config.toml").write_text(config)

    def refused(self, manifest: str | bytes, config: str | None = None) -> list[str]:
        """Return the reasons why the two are refused."""
        self.write(manifest, config)
        with self.assertRaises(BadValue) as caught:
            read_configuration(self.folder, read(self.folder))
        return caught.exception.message.split("; ")


class ManifestTest(Folder):
    def test_all_of_it(self) -> None:
        self.write(FULL)
        found = read(self.folder)
        self.assertEqual(
            (found.name, found.version, found.python, found.api), ("Thermometer", "1.2", ">=3.11", 1)
        )
        self.assertEqual(found.requirements, ("pyserial>=3.5",))
        self.assertEqual(found.permissions, {"network": "192.168.0.5", "files": "/dev/ttyUSB0"})
        self.assertEqual(list(found.settings), ["port", "rate", "channel", "password"])

    def test_none_of_it(self) -> None:
        self.assertEqual(read(self.folder), Manifest())
        self.write("")
        self.assertEqual(read(self.folder), Manifest())

    def test_permissions_as_a_list(self) -> None:
        self.write('[plugin]\npermissions = ["signals"]\n')
        self.assertEqual(read(self.folder).permissions, {"signals": ""})

    def test_the_form(self) -> None:
        self.write(FULL)
        schema = read(self.folder).schema()
        self.assertEqual(json.loads(json.dumps(schema)), schema)
        self.assertEqual(schema["required"], ["channel"])
        self.assertEqual(
            schema["properties"],
            {
                "port": {
                    "type": "string",
                    "title": "Port",
                    "description": "The serial port",
                    "default": "/dev/ttyUSB0",
                },
                "rate": {"type": "number", "default": 1, "minimum": 0.1, "maximum": 10},
                "channel": {"type": "integer", "enum": [1, 2, 4]},
                "password": {"type": "string", "writeOnly": True},
            },
        )

    def test_mistakes_name_the_key_and_the_reason(self) -> None:
        for manifest, told in (
            ("[plugin]\nversion = 1\n", "plugin.toml: plugin.version: must be a text"),
            ("[plugin]\nVersion = ''\n", "plugin.toml: plugin.Version: there is no such key"),
            ("[plugin]\napi = 2\n", "plugin.toml: plugin.api: the plugin needs version 2, this server has 1"),
            ("[plugin]\napi = true\n", "plugin.toml: plugin.api: must be a whole number from 1"),
            ("[plugin]\nrequirements = 'x'\n", "plugin.toml: plugin.requirements: must be a list of texts"),
            ("plugin = 1\n", "plugin.toml: plugin: must be a table"),
            ("config = 1\n", "plugin.toml: config: must be a table"),
            ("[other]\n", "plugin.toml: other: there is no such table"),
            ("[config]\na = 1\n", "plugin.toml: config.a: must be a table"),
            ("[config.a]\ntype = 'text'\n", "plugin.toml: config.a.type: must be one of "),
            ("[config.a]\ntype = ['string']\n", "plugin.toml: config.a.type: must be one of "),
            ("[config.a]\n", "plugin.toml: config.a.type: must be one of "),
            ("[config.a]\ntype = 'string'\nmin = 1\n", "plugin.toml: config.a.min: there is no such key"),
            ("[config.a]\ntype = 'string'\nminimum = 1\n", "plugin.toml: config.a.minimum: "),
            (
                "[config.a]\ntype = 'integer'\ndefault = 1.5\n",
                "plugin.toml: config.a.default: must be a whole",
            ),
            (
                "[config.a]\ntype = 'boolean'\ndefault = 1\n",
                "plugin.toml: config.a.default: must be true or false",
            ),
            (
                "[config.a]\ntype = 'number'\nmaximum = 1\ndefault = 2\n",
                "plugin.toml: config.a.default: must be 1 or",
            ),
            ("[config.a]\ntype = 'number'\nsecret = true\n", "plugin.toml: config.a.secret: "),
            ("[config.a]\ntype = 'number'\nenum = ['a']\n", "plugin.toml: config.a.enum: "),
            ("[config.a]\ntype = 'number'\nrequired = 1\n", "plugin.toml: config.a.required: must be true"),
            ("[plugin\n", "plugin.toml: "),
            (b"\xff", "plugin.toml: "),
            ("#" * 300_000, "plugin.toml: is longer than "),
        ):
            reasons = self.refused(manifest)
            self.assertEqual(len(reasons), 1, reasons)
            self.assertTrue(reasons[0].startswith(told), reasons)
        for wrong in ("'network'", "['telephone']", "{network = 1}"):
            (reason,) = self.refused(f"[plugin]\npermissions = {wrong}\n")
            self.assertIn("plugin.permissions: must be of network, files, signals", reason)

    def test_all_mistakes_are_told_at_once(self) -> None:
        self.assertEqual(len(self.refused("[plugin]\nname = 1\napi = 0\n[config.a]\n[config.b]\n")), 4)

    def test_a_manifest_that_cannot_be_read(self) -> None:
        (self.folder / "plugin.toml").mkdir()
        with self.assertRaises(BadValue) as caught:
            read(self.folder)
        self.assertIn("plugin.toml: cannot be read", caught.exception.message)


class ConfigurationTest(Folder):
    def test_values_and_defaults(self) -> None:
        self.write(FULL, "channel = 2\nrate = 0.5\n")
        found = read_configuration(self.folder, read(self.folder))
        self.assertEqual(found.values, {"port": "/dev/ttyUSB0", "rate": 0.5, "channel": 2})

    def test_mistakes(self) -> None:
        self.assertEqual(
            self.refused(FULL, "rate = 11\nchannell = 2\nport = 5\n"),
            [
                "config.toml: channell: there is no such setting",
                "port: must be a text",
                "rate: must be 10 or less",
                "channel: is missing",
            ],
        )
        self.assertEqual(
            self.refused(FULL, "channel = 3\n"), ["config.toml: channel: must be one of 1, 2, 4"]
        )
        self.assertEqual(
            self.refused(FULL, "channel = true\n"), ["config.toml: channel: must be a whole number"]
        )
        self.assertEqual(
            self.refused(FULL, "channel = 1\nrate = nan\n"), ["config.toml: rate: must be a number"]
        )
        self.assertEqual(
            self.refused(FULL, "channel = 1\nrate = 0\n"), ["config.toml: rate: must be 0.1 or more"]
        )

    def test_a_wrong_secret_is_not_told(self) -> None:
        (reason,) = self.refused(FULL, "channel = 1\npassword = 123456\n")
        self.assertNotIn("123456", reason)

    def test_secrets_are_masked(self) -> None:
        self.write(FULL, 'channel = 1\npassword = "geheimnis"\n')
        found = read_configuration(self.folder, read(self.folder))
        self.assertEqual(found.values["password"], "geheimnis")
        self.assertEqual(found.shown()["password"], MASK)
        self.assertNotIn("geheimnis", repr(found))
        self.assertEqual(found.hide("login with geheimnis failed"), f"login with {MASK} failed")
        self.assertEqual(found.hide("channel 1"), "channel 1")

    def test_an_empty_secret_is_seen_to_be_empty(self) -> None:
        found = Configuration({"password": ""}, frozenset({"password"}))
        self.assertEqual((found.shown(), found.hide("nothing")), ({"password": ""}, "nothing"))

    def test_without_a_manifest_the_file_is_taken_and_its_texts_are_secrets(self) -> None:
        (self.folder / "config.toml").write_text('host = "printer"\nport = 80\n')
        found = read_configuration(self.folder, read(self.folder))
        self.assertEqual(found.values, {"host": "printer", "port": 80})
        self.assertEqual(found.shown(), {"host": MASK, "port": 80})

    def test_longer_secrets_are_masked_whole(self) -> None:
        found = Configuration({"a": "geheim", "b": "geheimnis"}, frozenset("ab"))
        self.assertEqual(found.hide("geheimnis, geheim"), f"{MASK}, {MASK}")


class AboutTest(Folder):
    """What people are shown."""

    def test_all_of_it_but_secrets(self) -> None:
        self.write(FULL, 'channel = 1\npassword = "geheimnis"\n')
        told = about(self.folder)
        assert told is not None
        self.assertEqual((told["version"], told["requirements"]), ("1.2", ["pyserial>=3.5"]))
        self.assertEqual(told["config"]["password"], MASK)
        self.assertEqual(told["schema"], read(self.folder).schema())
        self.assertNotIn("geheimnis", json.dumps(told))

    def test_what_is_wrong(self) -> None:
        self.assertIsNone(about(self.folder))
        self.write(FULL)
        told = about(self.folder)
        assert told is not None
        self.assertEqual((told["error"], told["version"]), ("config.toml: channel: is missing", "1.2"))
        self.write("[plugin\n")
        self.assertEqual(list(about(self.folder) or ()), ["error"])


class SettingTest(SynchronousTestCase):
    @unhurried
    @given(
        st.dictionaries(
            st.sampled_from(["type", "default", "minimum", "enum", "secret", "x"]),
            st.one_of(
                st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
            ),
        )
    )
    def test_a_table_is_a_setting_or_refused(self, table: dict[str, object]) -> None:
        """Nothing else is raised, and the default of what is taken is a value of it."""
        try:
            setting = read_setting("name", table)
        except BadValue:
            return
        self.assertIsNone(
            setting.default if setting.default is None else wrong_value(setting, setting.default)
        )

    def test_numbers(self) -> None:
        whole = Setting("integer", minimum=-1, maximum=1)
        for value, right in ((0, True), (-1, True), (1, True), (2, False), (0.0, False), (False, False)):
            self.assertEqual(wrong_value(whole, value) is None, right, value)
