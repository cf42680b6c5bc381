"""docs/operations.md says of each setting what the code does, and its examples work."""

from __future__ import annotations

import getpass
import io
import json
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.auth.passwords import token_hash, verify
from rtoc_twisted.channels.rules import Rules
from rtoc_twisted.config import SETTINGS, Options, Setting, load
from rtoc_twisted.config.channels import CHANNEL_KEYS
from rtoc_twisted.config.load import CLIENT_VARIABLES
from rtoc_twisted.wire.aes import password_hash

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "operations.md").read_text()
EXAMPLE = ROOT / "etc" / "rtoc.toml"
HOME = {"HOME": "/home/ada"}


def row(setting: Setting) -> str:
    """Return the line of the table that a setting must have."""
    option = f"`--{setting.option}`" if setting.option else ""
    if setting.default is None:
        default = setting.absent
    elif setting.secret:
        default = "none"
    else:
        default = f"`{json.dumps(setting.default)}`"
    names = f"`{setting.key}` | `{setting.environment}` | {option}"
    return f"| {names} | {setting.kind.name} | {default} | {setting.meaning} |"


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


class OperationsTests(SynchronousTestCase):
    """The document against the table of settings."""

    def test_every_setting_has_its_row_and_no_other(self) -> None:
        rows = [line for line in TEXT.splitlines() if re.match(r"\| `[a-z_.]+` \| `RTOC_", line)]
        self.assertEqual(rows, [row(setting) for setting in SETTINGS])

    def test_every_option_is_there(self) -> None:
        options = Options(HOME)
        for name in options:
            self.assertIn(f"`--{name}", TEXT, name)

    def test_every_variable_that_is_named_exists(self) -> None:
        known = {setting.environment for setting in SETTINGS} | CLIENT_VARIABLES | {"RTOC_CONFIG"}
        self.assertLessEqual(set(re.findall(r"RTOC_[A-Z_]+[A-Z]", TEXT)), known)

    def test_the_clients_variables_are_those_of_the_client(self) -> None:
        sources = (ROOT / "rtoc_twisted" / "client").glob("*.py")
        named = {name for path in sources for name in re.findall(r'"(RTOC_[A-Z_]+)"', path.read_text())}
        self.assertEqual(named, CLIENT_VARIABLES)

    def test_toml_examples_load(self) -> None:
        examples = blocks("toml")
        self.assertGreater(len(examples), 1)
        for example in examples:
            path = Path(self.mktemp())
            path.write_text(example)
            load({"config": str(path)}, HOME)

    def test_recipes_make_hashes_that_the_configuration_takes(self) -> None:
        self.patch(getpass, "getpass", lambda: "geheim")
        printed = io.StringIO()
        with redirect_stdout(printed):
            for recipe in blocks("python"):
                exec(recipe, {})
        password, token, hashed = printed.getvalue().split()
        account = f'{{a = {{password_hash = "{password}", token_hash = "{hashed}", permissions = ["read"]}}}}'
        (found,) = load({}, HOME | {"RTOC_ACCOUNTS": account}).accounts
        self.assertTrue(verify(password_hash("geheim"), found.password_hash or ""))
        self.assertEqual(found.token_hash, token_hash(token))

    def test_every_key_of_a_channel_is_told_with_its_default(self) -> None:
        told: dict[str, str] = {}
        for line in re.findall(r"^\| (`[a-z_]+`(?: or `[a-z_]+`)?) \| (.*?) ?\| ", TEXT, re.MULTILINE):
            told |= dict.fromkeys(re.findall(r"`(\w+)`", line[0]), line[1].strip("`"))
        for key in CHANNEL_KEYS:
            default = getattr(Rules("x"), key)
            if isinstance(default, tuple):
                (default,) = default
            shown = "" if default is None else json.dumps(default).removesuffix(".0")
            self.assertEqual(told[key], "none" if default == {} else shown, key)

    def test_command_lines_parse(self) -> None:
        lines = [line for block in blocks("sh") for line in block.splitlines()]
        commands = [
            shlex.split(line, comments=True) for line in lines if re.search(r"\btwistd\b.* rtoc\b", line)
        ]
        self.assertGreater(len(commands), 2)
        for words in commands:
            arguments = words[words.index("rtoc") + 1 :]
            if "--check-config" in arguments:
                arguments.remove("--check-config")
            options = Options(HOME)
            options.parseOptions([str(EXAMPLE) if a.endswith("rtoc.toml") else a for a in arguments])
            self.assertEqual(options.config.name, "RTOC-Remote")

    def test_socket_activation_drop_in_takes_the_sockets_in_their_order(self) -> None:
        assignments = re.findall(r"^Environment=(\w+)=(\S+)$", "\n".join(blocks("ini")), re.MULTILINE)
        config = load({}, HOME | dict(assignments))
        self.assertEqual(
            (config.port, config.tls_port),
            ("systemd:domain=INET6:index=0", "systemd:domain=INET6:index=1"),
        )
