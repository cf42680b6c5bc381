"""Persistent variables of plugins in a real server that is killed, and in one that plugins bring down."""

from __future__ import annotations

import signal
from contextlib import closing
from threading import Timer
from typing import Any

from benchmarks.client import Client, ServerFailed
from benchmarks.hostile import control, row

from .plugin_support import write_plugin
from .process_support import Child, ProcessCase

ROUNDS = 3


class KeptTest(ProcessCase):
    """Each server of a test has the directory of the one before."""

    def serve(self) -> tuple[Child, int]:
        server = self.start("--no-password")
        return server, server.ports()[0]

    def test_what_was_acknowledged_survives_a_kill_right_after_it(self) -> None:
        write_plugin(
            self.state,
            "Kept",
            """
            self.level = self.initPersistentVariable('level', 0)
            self.createPersistentVariable('count', 0)
            """,
            """
            def add(self):
                self.count += 1
                return self.count
            """,
        )
        count = 0
        for _ in range(ROUNDS):
            server, port = self.serve()
            with closing(Client(port)) as client:
                self.assertEqual(control(client, "Kept", start=True), {"start": [True, ""]})
                self.assertIn(control(client, "Kept", get="count")["get"], (count, count + 1))
                Timer(0.1, server.send, [signal.SIGKILL]).start()
                try:
                    while True:
                        count = self.add(client)
                except (OSError, ServerFailed):
                    pass
            server.ended()
        self.assertGreater(count, ROUNDS)
        _, port = self.serve()
        with closing(Client(port)) as client:
            control(client, "Kept", start=True)
            level, kept = control(client, "Kept", get=["level", "count"])["get"]
        self.assertIn(kept, (count, count + 1))
        self.assertIn(level, (count, count + 1))

    def add(self, client: Client) -> int:
        """Change both variables; return the number of changes once they are acknowledged."""
        asked: dict[str, Any] = {"add()": []}
        number = control(client, "Kept", **asked)["add()"][1]
        self.assertEqual(control(client, "Kept", level=number), {"level": number})
        return int(number)

    def test_after_three_starts_that_plugins_ended_there_is_one_without_them(self) -> None:
        write_plugin(self.state, "Killer", "import os\nif self.armed():\n    os.kill(os.getppid(), 9)", ARMED)
        server, port = self.serve()
        with closing(Client(port)) as client:
            self.assertEqual(control(client, "Killer", start=True, autostart=True)["autostart"], True)
        server.stop()
        (self.state / "armed").touch()
        for _ in range(3):
            self.start("--no-password").ended()
        _, port = self.serve()
        with closing(Client(port)) as client:
            self.assertIn("without plugins", row(client, "Killer")["status"])
            events = client.ask({"getEventList": True})["events"].values()
            self.assertTrue(any("without plugins" in event[3] for event in events), events)


ARMED = """
def armed(self):
    from pathlib import Path
    return (Path(__file__).parents[2] / 'armed').exists()
"""
