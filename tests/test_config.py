"""Options, environment and file become one typed value, or every fault is told with its place."""

from __future__ import annotations

import io
import ipaddress
import re
import shlex
import socket
import sys
import tomllib
from configparser import ConfigParser
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted import __version__
from rtoc_twisted.auth.passwords import store, token_hash
from rtoc_twisted.channels.rules import Rules
from rtoc_twisted.config import (
    SETTINGS,
    Auth,
    Config,
    ConfigError,
    Limits,
    Logger,
    Options,
    Storage,
    Tls,
    endpoint_description,
    ipv6_available,
    load,
)
from rtoc_twisted.model import Permission
from rtoc_twisted.storage.retention import Rule

ROOT = Path(__file__).parent.parent
HOME = {"HOME": "/home/ada"}
STATE = Path("/home/ada/.local/state/rtoc")
DEFAULTS = Config(state_dir=STATE, logger=Logger(export_dir=STATE / "export", backup_dir=STATE / "backup"))
EXAMPLE = ROOT / "etc" / "rtoc.toml"
PASSWORD = store("geheim").scrypt
TOKEN = token_hash("a token")

# A value other than the default for each setting: as text, as TOML, as it arrives in Config.
OTHERS: dict[str, tuple[str, str, Any]] = {
    "state_dir": ("/srv/rtoc", '"/srv/rtoc"', Path("/srv/rtoc")),
    "name": ("Lab 3", '"Lab 3"', "Lab 3"),
    "port": ("5051", "5051", "5051"),
    "tls_port": ("8443", '"8443"', "8443"),
    "interface": ("::1", '"::1"', "::1"),
    "auth.password_file": ("/srv/pw", '"/srv/pw"', Path("/srv/pw")),
    "auth.no_password": ("yes", "true", True),
    "auth.whitelist": (
        "10.0.0.0/8, ::1",
        '["10.0.0.0/8", "::1"]',
        (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1")),
    ),
    "auth.allowed_origins": ("https://a.example", '["https://a.example"]', ("https://a.example",)),
    "auth.legacy_cipher": ("require", '"require"', "require"),
    "tls.cert": ("/srv/cert.pem", '"/srv/cert.pem"', Path("/srv/cert.pem")),
    "tls.key": ("/srv/key.pem", '"/srv/key.pem"', Path("/srv/key.pem")),
    "limits.max_message": ("1 MiB", '"1 MiB"', 2**20),
    "limits.max_connections": ("7", "7", 7),
    "limits.max_connections_per_address": ("7", "7", 7),
    "limits.max_subscriptions": ("7", "7", 7),
    "limits.login_seconds": ("2.5", "2.5", 2.5),
    "limits.outbox_bytes": ("100000", "100000", 100_000),
    "limits.max_signals": ("7", "7", 7),
    "limits.write_behind_values": ("5000", "5000", 5000),
    "limits.ping_seconds": ("5", "5", 5.0),
    "limits.ping_timeout_seconds": ("5", "5", 5.0),
    "storage.durability": ("fsync", '"fsync"', "fsync"),
    "storage.record_length": ("1000", "1000", 1000),
    "storage.backend": ("memory", '"memory"', "memory"),
    "storage.rollups": ("1, 7.5", "[1, 7.5]", (1.0, 7.5)),
    "storage.budget": ("1 GiB", '"1 GiB"', 2**30),
    "storage.keep_free": ("0", "0", 0),
    "logger.export_dir": ("/srv/out", '"/srv/out"', Path("/srv/out")),
    "logger.backup_dir": ("/srv/safe", '"/srv/safe"', Path("/srv/safe")),
    "logger.reboot_command": ("sudo 'a b'", '["sudo", "a b"]', ("sudo", "a b")),
    "plugins.enabled": ("no", "false", False),
    "plugins.reload": ("no", "false", False),
    "plugins.restarts": ("0", "0", 0),
    "plugins.start_seconds": ("7.5", "7.5", 7.5),
    "plugins.call_seconds": ("7.5", "7.5", 7.5),
    "plugins.close_seconds": ("7.5", "7.5", 7.5),
    "plugins.heartbeat_seconds": ("7.5", "7.5", 7.5),
    "plugins.memory": ("1 GiB", '"1 GiB"', 2**30),
    "plugins.open_files": ("64", "64", 64),
    "plugins.cpu_percent": ("50", "50", 50),
    "automation.script_seconds": ("7.5", "7.5", 7.5),
    "automation.script_memory": ("1 GiB", '"1 GiB"', 2**30),
    "automation.scripts_at_once": ("7", "7", 7),
    "automation.script_files": ("yes", "true", True),
    "automation.script_network": ("yes", "true", True),
    "automation.window": ("7", "7", 7),
    "automation.events_per_minute": ("7", "7", 7),
    "retention": (
        '{a = {signals = "A.*", days = 2}}',
        '{a = {signals = ["A.*"], days = 2}}',
        (Rule("a", ("A.*",), days=2.0),),
    ),
    "channels": (
        '{a = {url = "https://a.example/hook"}}',
        '{a = {url = "https://a.example/hook"}}',
        (Rules("a", url="https://a.example/hook"),),
    ),
}
# What cannot be checked alone, because two settings must agree.
PARTNERS = {"tls.cert": "tls.key", "tls.key": "tls.cert"}


def held(config: Config, key: str) -> Any:
    """Return the value of a setting by its key."""
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    return value


def as_toml(*keys: str) -> str:
    """Return a file that gives those settings their other values, each as a dotted key."""
    return "".join(f"{key} = {OTHERS[key][1]}\n" for key in keys)


class Base(SynchronousTestCase):
    """Helpers that write a file and look at problems."""

    def file(self, text: str | bytes) -> Path:
        path = Path(self.mktemp()).absolute()
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def problems(self, options: dict[str, Any] | None = None, **environ: str) -> list[str]:
        error = self.assertRaises(ConfigError, load, options or {}, HOME | environ)
        self.assertEqual(str(error), "\n".join(error.problems))
        return list(error.problems)

    def file_problems(self, text: str | bytes) -> list[str]:
        path = self.file(text)
        found = self.problems({"config": str(path)})
        for problem in found:
            self.assertTrue(problem.startswith(f"{path}: "), problem)
        return [problem.removeprefix(f"{path}: ") for problem in found]


class SourceTests(Base):
    """Where values come from, and who wins."""

    def test_nothing_given(self) -> None:
        self.assertEqual(load({}, HOME), DEFAULTS)

    def test_the_dataclasses_have_the_same_defaults(self) -> None:
        config = load({}, HOME)
        self.assertEqual((config.auth, config.tls), (Auth(), Tls()))
        self.assertEqual((config.limits, config.storage), (Limits(), Storage()))
        self.assertEqual(config.limits.max_message, 16 * 1024 * 1024)
        self.assertEqual(config.auth.whitelist[0], ipaddress.ip_network("127.0.0.0/8"))

    def test_config_is_frozen(self) -> None:
        config = load({}, HOME)
        with self.assertRaises(FrozenInstanceError):
            config.port = "1"  # type: ignore[misc]  # the assignment is what must fail

    def test_every_setting_from_the_environment(self) -> None:
        for setting in SETTINGS:
            if setting.secret:
                continue
            environ = HOME | {setting.environment: OTHERS[setting.key][0]}
            if setting.key in PARTNERS:
                partner = PARTNERS[setting.key]
                environ["RTOC_" + partner.replace(".", "_").upper()] = OTHERS[partner][0]
            self.assertEqual(held(load({}, environ), setting.key), OTHERS[setting.key][2], setting.key)

    def test_every_setting_from_the_file(self) -> None:
        for setting in SETTINGS:
            if setting.secret:
                continue
            keys = [setting.key, *([PARTNERS[setting.key]] if setting.key in PARTNERS else [])]
            config = load({"config": str(self.file(as_toml(*keys)))}, HOME)
            self.assertEqual(held(config, setting.key), OTHERS[setting.key][2], setting.key)

    def test_every_option(self) -> None:
        for setting in SETTINGS:
            if not setting.option:
                continue
            text = OTHERS[setting.key][0]
            arguments = [f"--{setting.option}"] if setting.default is False else [f"--{setting.option}", text]
            if setting.key in PARTNERS:
                arguments += [f"--{PARTNERS[setting.key].replace('.', '-')}", "/srv/other"]
            options = Options(HOME)
            options.parseOptions(arguments)
            self.assertEqual(held(options.config, setting.key), OTHERS[setting.key][2], setting.key)

    def test_environment_names_are_unique_and_readable(self) -> None:
        names = [setting.environment for setting in SETTINGS]
        self.assertEqual(len(set(names)), len(names))
        self.assertIn("RTOC_LIMITS_MAX_MESSAGE", names)
        self.assertIn("RTOC_PORT", names)

    def test_option_over_environment_over_file(self) -> None:
        path = str(self.file('name = "file"\nport = 1\ntls_port = 2\n'))
        config = load({"config": path, "tls-port": "22"}, HOME | {"RTOC_PORT": "11", "RTOC_TLS_PORT": "12"})
        self.assertEqual((config.name, config.port, config.tls_port), ("file", "11", "22"))

    def test_file_named_by_the_environment(self) -> None:
        path = self.file('name = "file"')
        self.assertEqual(load({}, HOME | {"RTOC_CONFIG": str(path)}).name, "file")

    def test_empty_environment_variable_is_not_set(self) -> None:
        self.assertEqual(load({}, HOME | {"RTOC_TLS_PORT": "", "RTOC_AUTH_NO_PASSWORD": ""}), DEFAULTS)

    def test_variables_of_the_client_mean_nothing(self) -> None:
        self.assertEqual(
            load({}, HOME | {"RTOC_URL": "ws://x", "RTOC_PASSWORD": "s", "OTHER": "1"}), DEFAULTS
        )


class PathTests(Base):
    """The state directory, and what relative paths mean."""

    def test_state_dir_chain(self) -> None:
        environ = HOME.copy()
        self.assertEqual(load({}, environ).state_dir, STATE)
        environ["XDG_STATE_HOME"] = "relative/is/ignored"
        self.assertEqual(load({}, environ).state_dir, STATE)
        environ["XDG_STATE_HOME"] = "/xdg"
        self.assertEqual(load({}, environ).state_dir, Path("/xdg/rtoc"))
        environ["STATE_DIRECTORY"] = "/var/lib/rtoc:/var/lib/other"
        self.assertEqual(load({}, environ).state_dir, Path("/var/lib/rtoc"))
        environ["RTOC_STATE_DIR"] = "/mine"
        self.assertEqual(load({}, environ).state_dir, Path("/mine"))
        self.assertEqual(load({"state-dir": "/option"}, environ).state_dir, Path("/option"))

    def test_no_home(self) -> None:
        error = self.assertRaises(ConfigError, load, {}, {})
        self.assertIn("--state-dir", str(error))

    def test_relative_in_the_file_is_below_the_files_directory(self) -> None:
        path = self.file('auth.password_file = "secret/pw"')
        self.assertEqual(load({"config": str(path)}, HOME).auth.password_file, path.parent / "secret/pw")

    def test_relative_on_the_command_line_is_below_the_working_directory(self) -> None:
        self.assertEqual(load({"state-dir": "var"}, HOME).state_dir, Path.cwd() / "var")

    def test_home_sign(self) -> None:
        self.assertEqual(load({"state-dir": "~/rtoc"}, HOME).state_dir, Path("/home/ada/rtoc"))

    def test_logger_directories_follow_the_state_directory(self) -> None:
        path = self.file('logger.export_dir = "out/here"')
        config = load({"config": str(path), "state-dir": "/state"}, HOME)
        self.assertEqual(config.logger.export_dir, Path("/state/out/here"))
        self.assertEqual(config.logger.backup_dir, Path("/state/backup"))


class ProblemTests(Base):
    """Every fault with its place; never a default instead."""

    def test_wrong_values(self) -> None:
        for key, value, expected in [
            ("port", "70000", "from 0 to 65535"),
            ("port", "true", "port number"),
            ("port", '"tpc:5050"', "unknown kind of endpoint tpc:"),
            ("tls_port", '"ssl:443"', "brings its own TLS"),
            ("interface", '"eth0"', "IP address"),
            ("name", '""', "text"),
            ("state_dir", "5", "a path"),
            ("auth.no_password", '"yes"', "true or false"),
            ("auth.no_password", "1", "true or false"),
            ("auth.whitelist", '"10.0.0.0/8"', "a list of IP networks"),
            ("auth.whitelist", '["10.0.0.5/8"]', "has host bits set"),
            ("auth.whitelist", "[5]", "IP network"),
            ("auth.allowed_origins", '["*"]', "an origin"),
            ("auth.allowed_origins", '["https://a.example/page"]', "an origin"),
            ("auth.legacy_cipher", '"always"', '"allow", "require", "off"'),
            ("limits.max_message", '"16 mibs"', "bytes, or text"),
            ("limits.max_message", "-1", "bytes, or text"),
            ("limits.max_message", "true", "bytes, or text"),
            ("limits.max_message", '"5 GiB"', "1 KiB to 1 GiB"),
            ("limits.max_connections", "0", "1 to 1000000"),
            ("limits.max_connections", '"many"', "whole number"),
            ("limits.max_connections", "true", "whole number"),
            ("limits.login_seconds", "true", "seconds, 1 to 3600"),
            ("limits.max_connections", "7.5", "whole number"),
            ("limits.login_seconds", "nan", "seconds, 1 to 3600"),
            ("limits.login_seconds", "inf", "seconds, 1 to 3600"),
            ("limits.login_seconds", '"10"', "seconds, 1 to 3600"),
            ("storage.durability", '"maybe"', '"normal", "fsync"'),
            ("logger.reboot_command", "[]", "a list of text"),
            ("logger.reboot_command", '"reboot"', "a list of text"),
        ]:
            (problem,) = self.file_problems(f"{key} = {value}\n")
            self.assertTrue(problem.startswith(f"{key}: "), problem)
            self.assertIn(expected, problem)

    def test_wrong_environment_and_option(self) -> None:
        found = self.problems({"port": "x"}, RTOC_LIMITS_MAX_CONNECTIONS="few", RTOC_AUTH_NO_PASSWORD="maybe")
        self.assertEqual(
            [problem.partition(": ")[0] for problem in found],
            [
                "environment variable RTOC_AUTH_NO_PASSWORD",
                "environment variable RTOC_LIMITS_MAX_CONNECTIONS",
                "option --port",
            ],
        )

    def test_all_problems_at_once(self) -> None:
        path = self.file('port = "x"\nprot = 5\n[limits]\nmax_mesage = 1\n')
        found = self.problems({"config": str(path), "interface": "nowhere"}, RTOC_PROT="1")
        self.assertEqual(len(found), 5)
        self.assertIn(f"{path}: prot: unknown setting; did you mean port?", found)
        self.assertIn(f"{path}: limits.max_mesage: unknown setting; did you mean limits.max_message?", found)
        self.assertIn("environment variable RTOC_PROT: unknown setting; did you mean RTOC_PORT?", found)

    def test_a_fault_is_told_though_a_better_source_wins(self) -> None:
        path = self.file('port = "x"')
        self.assertEqual(len(self.problems({"config": str(path), "port": "5050"})), 1)

    def test_unknown_table_and_table_that_is_none(self) -> None:
        self.assertEqual(self.file_problems("[limit]\na = 1\n"), ["limit: unknown setting"])
        self.assertEqual(self.file_problems("limits = 5"), ["limits: expected a table [limits]"])

    def test_broken_files(self) -> None:
        (problem,) = self.file_problems("port = \n")
        self.assertTrue(problem.startswith("not TOML: ") and "line 1" in problem, problem)
        (problem,) = self.file_problems(b"name = '\xff'")
        self.assertTrue(problem.startswith("not UTF-8: "), problem)

    def test_unreadable_files(self) -> None:
        missing = Path(self.mktemp()).absolute()
        (problem,) = self.problems({"config": str(missing)})
        self.assertEqual(problem, f"{missing}: cannot be read: No such file or directory")
        (problem,) = self.problems({"config": str(missing.parent)})
        self.assertIn("Is a directory", problem)

    def test_contradictions(self) -> None:
        (problem,) = self.problems({"tls-cert": "/c"})
        self.assertIn("tls.cert (--tls-cert): tls.key is missing", problem)
        (problem,) = self.problems({"tls-key": "/k"})
        self.assertIn("tls.key (--tls-key): tls.cert is missing", problem)
        (problem,) = self.problems({"no-password": 1}, RTOC_AUTH_PASSWORD_FILE="/p")
        self.assertIn("--no-password", problem)
        self.assertIn("RTOC_AUTH_PASSWORD_FILE", problem)
        (problem,) = self.problems({"tls-port": "5050"})
        self.assertIn("a port each", problem)
        self.assertEqual(load({"port": "0", "tls-port": "0"}, HOME).tls_port, "0")

    def test_sizes(self) -> None:
        for text, amount in [("2000", 2000), ("2 kB", 2000), ("1.5MiB", 1572864), ("3 MB", 3_000_000)]:
            config = load({}, HOME | {"RTOC_LIMITS_MAX_MESSAGE": text})
            self.assertEqual(config.limits.max_message, amount)


class AccountTests(Base):
    """The tables [accounts.NAME]."""

    def test_from_file(self) -> None:
        path = self.file(
            f'[accounts.ada]\npassword_hash = "{PASSWORD}"\npermissions = ["read", "write"]\n'
            f'[accounts."b c"]\ntoken_hash = "{TOKEN}"\npermissions = ["admin"]\n'
        )
        ada, other = load({"config": str(path)}, HOME).accounts
        self.assertEqual((ada.name, ada.password_hash, ada.token_hash), ("ada", PASSWORD, None))
        self.assertEqual(ada.permissions, Permission.READ | Permission.WRITE)
        self.assertEqual((other.name, other.token_hash), ("b c", TOKEN))
        self.assertEqual(other.permissions, Permission.ADMIN)

    def test_from_the_environment(self) -> None:
        text = f'{{ada = {{token_hash = "{TOKEN}", permissions = ["read"]}}}}'
        (ada,) = load({}, HOME | {"RTOC_ACCOUNTS": text}).accounts
        self.assertEqual((ada.name, ada.token_hash), ("ada", TOKEN))
        self.assertNotIn(TOKEN, repr(ada))

    def test_problems_with_their_places_and_without_secrets(self) -> None:
        found = self.file_problems(
            '[accounts]\nx = "hunter2"\n'
            f'[accounts.a]\ntoken_hash = "{TOKEN}"\npermissions = ["fly"]\n'
            "[accounts.b]\npassword_hash = 12345678\npermissions = []\n"
            '[accounts.c]\npassword = "hunter2"\npermissions = ["read"]\n'
            f'[accounts.d]\ntoken_hash = "{TOKEN}"\n'
            '[accounts.e]\ntoken_hash = "hunter2"\npermissions = ["read"]\n'
            f'[accounts.owner]\ntoken_hash = "{TOKEN}"\npermissions = ["read"]\n'
        )
        self.assertEqual(
            [problem.partition(": ")[0] for problem in found],
            [
                "accounts.x",
                "accounts.a.permissions",
                "accounts.b.password_hash",
                "accounts.b.permissions",
                "accounts.c.password",
                "accounts.c",
                "accounts.d",
                "accounts.e.token_hash",
                "accounts.owner",
            ],
        )
        for secret in ("hunter2", "12345678", TOKEN):
            self.assertNotIn(secret, str(found))

    def test_no_table_at_all(self) -> None:
        self.assertEqual(
            self.file_problems("accounts = 5"),
            ["accounts: expected a table [accounts.NAME] for each account"],
        )

    def test_broken_text_is_not_repeated(self) -> None:
        (problem,) = self.problems({}, RTOC_ACCOUNTS="{hunter2")
        self.assertNotIn("hunter2", problem)


class OptionsTests(Base):
    """The command line."""

    def run_check(self, *arguments: str, **environ: str) -> tuple[int, str]:
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        error = self.assertRaises(
            SystemExit, Options(HOME | environ).parseOptions, ["--check-config", *arguments]
        )
        return int(str(error.code)), out.getvalue()

    def test_help_explains_every_option(self) -> None:
        text = re.sub(r"\s+", " ", str(Options(HOME)))
        for setting in SETTINGS:
            if setting.option:
                self.assertRegex(text, rf"--{setting.option}=? {re.escape(setting.meaning)}")
                self.assertIn(setting.environment, text)
        self.assertRegex(text, r"--config=? \S")
        self.assertRegex(text, r"--check-config \S")

    def test_version_is_ours(self) -> None:
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        error = self.assertRaises(SystemExit, Options(HOME).parseOptions, ["--version"])
        self.assertEqual((error.code, out.getvalue()), (0, f"rtoc_twisted {__version__}\n"))

    def test_problems_end_the_start(self) -> None:
        out = io.StringIO()
        self.patch(sys, "stderr", out)
        error = self.assertRaises(SystemExit, Options(HOME).parseOptions, ["--port", "x", "--interface", "y"])
        self.assertEqual(error.code, 1)
        self.assertEqual([line[:14] for line in out.getvalue().splitlines()], ["rtoc: option -"] * 2)

    def test_check_of_the_defaults(self) -> None:
        code, text = self.run_check()
        self.assertEqual(code, 0)
        self.assertIn('port = "5050"  # default\n', text)
        self.assertIn("# tls_port: no TLS\n", text)

    def test_check_shows_origins(self) -> None:
        path = self.file("[limits]\nmax_signals = 5\n")
        code, text = self.run_check(
            "--config", str(path), "--port", "1", RTOC_TLS_PORT="2", STATE_DIRECTORY="/s"
        )
        self.assertEqual(code, 0)
        self.assertIn(f"max_signals = 5  # {path}\n", text)
        self.assertIn('port = "1"  # --port\n', text)
        self.assertIn('tls_port = "2"  # RTOC_TLS_PORT\n', text)
        self.assertIn('state_dir = "/s"  # STATE_DIRECTORY\n', text)

    def test_check_prints_toml_that_means_the_same(self) -> None:
        keys = [setting.key for setting in SETTINGS if not setting.secret]
        environ = {s.environment: OTHERS[s.key][0] for s in SETTINGS if not s.secret}
        del environ["RTOC_AUTH_PASSWORD_FILE"], environ["RTOC_TLS_CERT"], environ["RTOC_TLS_KEY"]
        code, text = self.run_check(**environ)
        self.assertEqual(code, 0)
        again = load({"config": str(self.file(text))}, HOME)
        for key in keys:
            self.assertEqual(held(again, key), held(load({}, HOME | environ), key), key)

    def test_check_masks_secrets(self) -> None:
        path = self.file('[accounts.ada]\ntoken_hash = "' + TOKEN + '"\npermissions = ["read"]\n')
        code, text = self.run_check("--config", str(path))
        self.assertEqual(code, 0)
        self.assertNotIn(TOKEN, text)
        self.assertEqual(
            tomllib.loads(text)["accounts"]["ada"], {"token_hash": "***", "permissions": ["read"]}
        )

    def test_check_tells_problems_and_exits_1(self) -> None:
        code, text = self.run_check("--port", "x", "--interface", "y")
        self.assertEqual(code, 1)
        self.assertEqual(len(re.findall(r"^# problem: option --", text, re.MULTILINE)), 2)

    def test_check_tries_the_certificate(self) -> None:
        path = self.file("no certificate")
        code, text = self.run_check("--tls-cert", str(path), "--tls-key", str(path))
        self.assertEqual(code, 1)
        self.assertIn("# problem: tls.cert (--tls-cert): ", text)


class ChannelTests(Base):
    """The tables [channels.NAME]."""

    def test_all_that_a_channel_may_have(self) -> None:
        path = self.file(
            '[channels.duty]\nurl = "https://a.example:8443/h?k=1"\nheaders = {Authorization = "Bearer x"}\n'
            'priority = 2\nmessage_priority = 3\nevents = ["A.*", "B.?"]\ntext = "*warm*"\n'
            "server_events = false\nper_hour = 10\ngroup_seconds = 0\ngive_up_hours = 0.5\n"
            '[channels.chat]\napprise = "tgram://token/chat"\n'
            '[channels.a]\nurl_file = "/etc/rtoc/a.url"\n[channels.b]\napprise_file = "/etc/rtoc/b.url"\n'
        )
        duty, chat, a, b = load({"config": str(path)}, HOME).channels
        self.assertEqual(
            duty,
            Rules(
                "duty",
                url="https://a.example:8443/h?k=1",
                headers={"Authorization": "Bearer x"},
                priority=2,
                message_priority=3,
                events=("A.*", "B.?"),
                text=("*warm*",),
                server_events=False,
                per_hour=10,
                group_seconds=0.0,
                give_up_hours=0.5,
            ),
        )
        self.assertEqual(chat, Rules("chat", apprise="tgram://token/chat"))
        self.assertEqual((a.url_file, b.apprise_file), (Path("/etc/rtoc/a.url"), Path("/etc/rtoc/b.url")))

    def test_what_is_wrong_is_told_without_secrets(self) -> None:
        found = self.file_problems(
            '[channels]\nx = "geheim"\n'
            '[channels.a]\nurl = "ftp://geheim"\n'
            '[channels.b]\nurl = "https://me:geheim@a.example/"\n'
            '[channels.c]\nurl = "https://a.example:geheim/"\n'
            '[channels.d]\nurl = "https:///geheim"\n'
            '[channels.e]\napprise = "geheim"\n'
            '[channels.f]\nurl = "https://a.example"\nheaders = {A = "geheim\\n"}\n'
            '[channels.g]\nurl = "https://a.example"\nheaders = {"A b" = "geheim"}\n'
            '[channels.h]\nurl_file = "geheim.url"\n'
            '[channels.i]\nurl = "https://geheim.example"\napprise = "json://geheim"\n'
            '[channels.j]\napprise = "json://geheim"\nheaders = {A = "geheim"}\n'
            '[channels."k/l"]\nurl = "https://geheim.example"\n'
            '[channels.m]\nurl = "https://geheim.example"\npriority = 4\nper_minute = 3\n'
            "[channels.n]\npriority = 1\n"
        )
        self.assertNotIn("geheim", "".join(found))
        self.assertEqual(
            [problem.partition(": ")[0] for problem in found],
            [
                "channels.x",
                "channels.a.url",
                "channels.b.url",
                "channels.c.url",
                "channels.d.url",
                "channels.e.apprise",
                "channels.f.headers",
                "channels.g.headers",
                "channels.h.url_file",
                "channels.i",
                "channels.j",
                "channels.k/l",
                "channels.m.priority",
                "channels.m.per_minute",
                "channels.n",
            ],
        )

    def test_something_else_than_a_table(self) -> None:
        self.assertEqual(
            self.file_problems("channels = 5"),
            ["channels: expected a table [channels.NAME] for each channel"],
        )

    def test_check_masks_urls_and_headers(self) -> None:
        path = self.file(
            '[channels.a]\nurl = "https://geheim.example"\nheaders = {A = "geheim"}\nevents = "A.*"\n'
            '[channels.b]\napprise = "json://geheim"\n'
        )
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        self.assertRaises(SystemExit, Options(HOME).parseOptions, ["--config", str(path), "--check-config"])
        self.assertNotIn("geheim", out.getvalue())
        told = tomllib.loads(out.getvalue())["channels"]
        self.assertEqual(
            (told["a"]["url"], told["a"]["events"], told["b"]["apprise"]), ("***", ["A.*"], "***")
        )


class RetentionTests(Base):
    """The tables [retention.NAME]."""

    def test_rules_in_their_order(self) -> None:
        path = self.file(
            '[retention.z]\nsignals = ["A.*", "B.?"]\nraw_days = 0.5\nraw_points = 10\n'
            '[retention.a]\nsignals = "*"\nraw_bytes = "1 MiB"\ndays = 30\n'
        )
        self.assertEqual(
            load({"config": str(path)}, HOME).retention,
            (
                Rule("z", ("A.*", "B.?"), raw_days=0.5, raw_points=10),
                Rule("a", ("*",), raw_bytes=2**20, days=30.0),
            ),
        )

    def test_every_fault_has_its_place(self) -> None:
        problems = self.file_problems(
            '[retention]\nx = "A.*"\n'
            "[retention.a]\nsignals = []\ndays = 1\n"
            '[retention.b]\nsignals = "*"\n'
            '[retention.c]\nsignals = "*"\nraw_days = 0\nweeks = 3\n'
            "[retention.d]\ndays = 3\n"
        )
        self.assertEqual(
            [problem.partition(": ")[0] for problem in problems],
            [
                "retention.x",
                "retention.a.signals",
                "retention.b",
                "retention.c.raw_days",
                "retention.c.weeks",
                "retention.d",
            ],
        )
        self.assertEqual(
            self.file_problems("retention = 5"),
            ["retention: expected a table [retention.NAME] for each rule"],
        )

    def test_a_text_that_is_no_table(self) -> None:
        self.assertIn("signals", self.problems(RTOC_RETENTION="{")[0])


class EndpointTests(SynchronousTestCase):
    """From ports to Twisted endpoint descriptions."""

    def listened(self, description: str) -> tuple[str, int]:
        reactor = MemoryReactor()
        self.successResultOf(serverFromString(reactor, description).listen(object()))
        ((port, _factory, _backlog, interface),) = reactor.tcpServers
        return interface, port

    def test_all_interfaces(self) -> None:
        self.assertEqual(self.listened(endpoint_description("5050")), ("::", 5050))
        self.assertEqual(self.listened(endpoint_description("5050", ipv6=False)), ("0.0.0.0", 5050))

    def test_one_interface(self) -> None:
        self.assertEqual(self.listened(endpoint_description("1", "192.0.2.1")), ("192.0.2.1", 1))
        self.assertEqual(self.listened(endpoint_description("1", "2001:db8::1")), ("2001:db8::1", 1))

    def test_descriptions_pass(self) -> None:
        text = "systemd:domain=INET6:index=0"
        self.assertEqual(endpoint_description(text, "192.0.2.1"), text)

    def test_ipv6_available_asks_the_kernel(self) -> None:
        def refuse(*_: object) -> None:
            raise OSError(97, "Address family not supported by protocol")

        self.patch(socket, "socket", refuse)
        self.assertFalse(ipv6_available())


class ExampleTests(Base):
    """etc/rtoc.toml and the command lines that are shipped."""

    def uncommented(self) -> dict[str, Any]:
        text = re.sub(r"^#(?=\[|\w+ = )", "", EXAMPLE.read_text(), flags=re.MULTILINE)
        return tomllib.loads(text)

    def test_loading_it_gives_the_defaults(self) -> None:
        self.assertEqual(load({"config": str(EXAMPLE)}, HOME), DEFAULTS)

    def test_it_has_every_setting_in_order(self) -> None:
        content = self.uncommented()
        top = [name for name, value in content.items() if not isinstance(value, dict)]
        below = [
            f"{name}.{key}"
            for name, table in content.items()
            if name not in ("accounts", "channels", "retention")
            for key in (table if isinstance(table, dict) else ())
        ]
        keys = [setting.key for setting in SETTINGS if not setting.secret]
        self.assertEqual([*top, *below, "retention"], keys)
        self.assertLess({"accounts", "channels", "retention"}, content.keys())

    def test_its_values_are_the_defaults(self) -> None:
        content = self.uncommented()
        for setting in SETTINGS:
            head, _, name = setting.key.rpartition(".")
            shown = (content[head] if head else content)[name]
            if setting.default is None or setting.secret or setting.key == "retention":
                setting.kind.check(shown)
            else:
                self.assertEqual(setting.kind.check(shown), setting.kind.check(setting.default), setting.key)

    def test_supervisor_runs_a_command_line_that_parses(self) -> None:
        parser = ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
        parser.read(ROOT / "etc" / "supervisor" / "rtoc.conf")
        section = parser["program:rtoc"]
        words = shlex.split(section["command"])
        self.assertEqual(words[:4], ["/opt/rtoc/bin/twistd", "--nodaemon", "--pidfile=", "rtoc"])
        environ = dict(re.findall(r'(\w+)="([^"]*)"', section["environment"]))
        arguments = [str(EXAMPLE) if word == "/etc/rtoc/rtoc.toml" else word for word in words[4:]]
        options = Options(environ)
        options.parseOptions(arguments)
        self.assertEqual(options.config.state_dir, Path(section["directory"]))
        self.assertEqual(section["stopsignal"], "TERM")
