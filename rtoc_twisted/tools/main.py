"""The rtoc command of an installation: the client's verbs, and those that work on a server's files."""

from __future__ import annotations

from collections.abc import Sequence

from ..client import cli
from ..client.shell import Shell
from .plugin import add_plugin
from .restoring import add_restore
from .rules import add_rules


def main(argv: Sequence[str] | None = None, shell: Shell | None = None) -> int:
    """Run the command and return its exit code; what goes wrong is told in one line on stderr."""
    return cli.main(argv, shell, further=[add_restore, add_plugin, add_rules])
