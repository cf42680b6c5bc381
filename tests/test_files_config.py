"""`rtoc import config.json`: what becomes of RTOC's configuration, judged by the server's own loader."""

from __future__ import annotations

import json
import stat
import tomllib
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.auth import passwordfile
from rtoc_twisted.auth.passwords import verify
from rtoc_twisted.client.rtoc_config import convert
from rtoc_twisted.config import Config, Options, load
from rtoc_twisted.wire.aes import password_hash

from .client_support import make_certificate
from .files_support import run_rtoc

SECRETS = ("gehéim", "dbsecret", "123:token", "otherpw")
NO_SERVER = "ws://127.0.0.1:1"
HOME = {"HOME": "/home/ada"}
KEPT = "kept by the server, not in its file: send"


def rtoc_config(**websocket: Any) -> dict[str, Any]:
    """Return a config.json as RTOC 3.0 writes it."""
    return {
        "global": {
            "language": "en",
            "recordLength": 250000,
            "name": 'Labor "3" Süd',
            "documentfolder": "~/.RTOC",
            "webserver_port": 8050,
            "globalActionsActivated": False,
            "globalEventsActivated": False,
        },
        "postgresql": {"active": False, "password": SECRETS[1]},
        "GUI": {"darkmode": True},
        "telegram": {"active": False, "token": SECRETS[2]},
        "tcp": {"active": False, "port": 5050, "password": ""},
        "websocket": {
            "active": True,
            "port": 5151,
            "password": SECRETS[0],
            "ssl": False,
            "keyfile": "",
            "certfile": "",
            "knownHosts": {"192.0.2.7:5050": ["RTOC", SECRETS[3]]},
            "host_whitelist": ["127.0.0.1", "localhost", "192.0.2.9", "lab.example"],
        }
        | websocket,
        "backup": {
            "active": True,
            "path": "/srv/rtoc/backup",
            "clear": False,
            "autoIfFull": True,
            "autoOnClose": True,
            "loadOnOpen": True,
            "intervall": 240,
            "resample": 0,
        },
    }


class ConfigTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.toml = self.directory / "rtoc.toml"

    def convert(self, document: Any, *argv: str) -> tuple[int, str, str]:
        path = self.directory / "config.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document, indent=4))
        return run_rtoc(NO_SERVER, "import", str(path), *argv)

    def loaded(self, document: Any) -> tuple[Config, str]:
        """Return what the server makes of the converted file, and what was told."""
        code, out, err = self.convert(document, "--config-out", str(self.toml), "--force")
        self.assertEqual((code, out), (0, ""), err)
        self.assertFalse([secret for secret in SECRETS if secret in err or secret in self.toml.read_text()])
        return load({"config": str(self.toml)}, HOME), err

    def test_what_has_a_counterpart(self) -> None:
        config, told = self.loaded(rtoc_config())
        self.assertEqual((config.name, config.port, config.tls_port), ('Labor "3" Süd', "5151", None))
        self.assertEqual(config.storage.record_length, 250000)
        self.assertEqual(config.logger.backup_dir, Path("/srv/rtoc/backup"))
        networks = ["127.0.0.1/32", "127.0.0.0/8", "::1/128", "192.0.2.9/32"]
        self.assertEqual([str(network) for network in config.auth.whitelist], networks)
        self.assertEqual(config.auth.password_file, self.directory / "rtoc.password")
        for place in (
            "global.language: ",
            f'global.globalEventsActivated: {KEPT} {{"automation": {{"active": {{"events": false}}}}}}',
            f'global.globalActionsActivated: {KEPT} {{"automation": {{"active": {{"actions": false}}}}}}',
            "postgresql: ",
            "GUI: ",
            "telegram: ",
            "tcp: ",
            "websocket.knownHosts: ",
            "websocket.host_whitelist: 1 of its entries",
            f'backup.intervall: {KEPT} {{"logger": {{"backup": {{"intervall": 240}}}}}} once',
            f'backup.active: {KEPT} {{"logger": {{"backup": {{"active": true}}}}}} once',
            "backup.resample: ",
        ):
            self.assertIn(f"rtoc: left out: {place}", told)
        self.assertNotIn("websocket.password", told)

    def test_the_server_s_own_check(self) -> None:
        self.loaded(rtoc_config())
        with self.assertRaises(SystemExit) as ended, redirect_stdout(StringIO()):
            Options(HOME).parseOptions(["--config", str(self.toml), "--check-config"])
        self.assertEqual(ended.exception.code, 0)

    def test_the_password_has_a_file_of_its_own(self) -> None:
        self.loaded(rtoc_config())
        path = self.directory / "rtoc.password"
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertTrue(verify(password_hash(SECRETS[0]), passwordfile.read(path, with_cipher=True).scrypt))

    def test_without_a_file_to_write(self) -> None:
        code, out, err = self.convert(rtoc_config())
        self.assertEqual(code, 0)
        found = tomllib.loads(out)
        self.assertEqual((found["port"], found["name"]), (5151, 'Labor "3" Süd'))
        self.assertNotIn("password_file", found["auth"])
        self.assertIn("left out: websocket.password: not for the screen", err)
        self.assertFalse([secret for secret in SECRETS if secret in out + err])
        self.assertEqual([path.name for path in self.directory.iterdir()], ["config.json"])

    def test_nothing_is_overwritten(self) -> None:
        for name in ("rtoc.toml", "rtoc.password"):
            (self.directory / name).write_text("old")
            code, _, err = self.convert(rtoc_config(), "--config-out", str(self.toml))
            self.assertEqual((code, err.count("\n")), (2, 1))
            self.assertEqual([it.name for it in self.directory.iterdir() if it.read_text() == "old"], [name])
            (self.directory / name).unlink()

    def test_tls(self) -> None:
        make_certificate(self.directory)
        names = {"ssl": True, "certfile": "cert.pem", "keyfile": "key.pem"}
        config, told = self.loaded(rtoc_config(**names))
        self.assertEqual((config.port, config.tls_port), ("tcp:5050:interface=127.0.0.1", "5151"))
        self.assertEqual(
            (config.tls.cert, config.tls.key), tuple(self.directory / it for it in ("cert.pem", "key.pem"))
        )
        self.assertIn("RTOC had no plain port", told)
        config, _ = self.loaded(rtoc_config(**names, port=5050))
        self.assertEqual((config.port, config.tls_port), ("tcp:5051:interface=127.0.0.1", "5050"))
        config, told = self.loaded(rtoc_config(**names | {"keyfile": "none.pem"}))
        self.assertEqual((config.tls.cert, config.tls.key), (None, None))
        self.assertIn("no such files here", told)
        _, told = self.loaded(rtoc_config(certfile="cert.pem"))
        self.assertIn("ssl was off", told)

    def test_passwords_that_are_none(self) -> None:
        for given, reason in (
            ("", "there was none"),
            (None, "there was none"),
            ("two\nlines", "not a text of one line"),
            ("scrypt$1", "not a text of one line"),
            (5, "not a text of one line"),
            ("\ud800", "not a proper text"),
        ):
            config, told = self.loaded(rtoc_config(password=given))
            self.assertIsNone(config.auth.password_file)
            self.assertIn(f"websocket.password: {reason}", told)

    def test_values_that_are_none(self) -> None:
        document = rtoc_config(port="x", active=False, host_whitelist=None)
        document["global"] |= {"name": "\n", "recordLength": True, "new": 1, "documentfolder": None}
        document["backup"] |= {"path": "", "intervall": "often"}
        document["newtopic"] = {"a": 1}
        document["extra"] = 5
        config, told = self.loaded(document)
        self.assertEqual((config.name, config.port, config.auth.whitelist), ("RTOC-Remote", "5050", ()))
        for place in (
            "websocket.port: not a port number",
            "websocket.active: it was off",
            "websocket.host_whitelist: 1 of",
            "global.name: not a printable text",
            "global.recordLength: not a number from 1 to 100000000",
            "global.new: nothing that this server knows",
            "backup.path: not a path",
            "backup.intervall: not a number of seconds",
            "newtopic: nothing that this server knows",
            "extra: nothing that this server knows",
        ):
            self.assertIn(place, told)

    def test_other_files(self) -> None:
        for document in ("{", '{"a": 5}', '{"global": 5}', '{"global": {}' + " " * (1 << 20) + "}"):
            code, out, err = self.convert(document)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), err)

    def test_no_secret_in_its_repr(self) -> None:
        self.assertNotIn(SECRETS[0], repr(convert(rtoc_config(), self.directory)))
