"""Plugins that do their worst, in a real server: others are answered, it is shown, the rest goes on.

How long others wait is measured by `python -m benchmarks.hostile`, which has these plugins.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import psutil

from benchmarks.client import Client
from benchmarks.hostile import HOSTILE, SETTINGS, Bystander, bystanding, control, install, row

from .process_support import PATIENCE, Child, ProcessCase

LOG_LINES = 100
ANSWERS = 20
"""What a bystander must at least be answered while a plugin is at it."""


class HostileTest(ProcessCase):
    """A server with a good plugin that runs, and one bad one."""

    def setUp(self) -> None:
        super().setUp()
        install(self.state)
        config = self.directory / "rtoc.toml"
        config.write_text(SETTINGS)
        self.server: Child = self.start("--no-password", "--config", str(config))
        self.port = self.server.ports()[0]
        self.client = Client(self.port)
        self.addCleanup(self.client.close)
        self.assertEqual(control(self.client, "Good", start=True), {"start": [True, ""]})

    def until(self, what: Callable[[], Any]) -> Any:
        """Ask until there is something, and return it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(0.01)
        raise AssertionError(
            f"it did not come to that: {self.client.ask({'getPluginList': True})['pluginList']}"
        )

    def latest(self, name: str) -> float:
        """Return the newest value of a signal, 0 before there is one."""
        found = self.client.ask({"getLatest": [name]})["latest"].get(name)
        return float(found[1]) if found else 0.0

    def status_with(self, name: str, text: str) -> str:
        """Return a plugin's status once it has that text in it."""
        return str(self.until(lambda: text in str(status := row(self.client, name)["status"]) and status))

    def log_with(self, name: str, text: str) -> list[str]:
        """Return the lines of a plugin's log once one of them has that text in it."""

        def lines() -> list[str]:
            found = [line[2] for line in row(self.client, name)["log"] or ()]
            return found if any(text in line for line in found) else []

        return list(self.until(lines))

    @contextmanager
    def others_go_on(self) -> Iterator[Bystander]:
        """See that others are answered all through a block, and that the good plugin goes on."""
        before = self.latest("Good.count")
        with bystanding(self.port) as bystander:
            yield bystander
            self.until(lambda: self.latest("Good.count") > before + 3)
            self.until(lambda: len(bystander.waits) > ANSWERS)
        self.assertIs(row(self.client, "Good")["status"], True)

    def test_one_that_segfaults(self) -> None:
        with self.others_go_on():
            self.assertEqual(control(self.client, "Segfault", start=True), {"start": [True, ""]})
            self.assertIn("SIGSEGV", self.status_with("Segfault", "is not started again"))
        self.assertEqual(self.latest("Segfault.last words"), 1)
        values = self.client.ask({"getSignal": ["Segfault.last words"]})["signals"]["Segfault.last words"]
        self.assertEqual(len(values[1]), 2, "it ran twice, and each time said something before its end")
        events = self.client.ask({"getEventList": True})["events"].values()
        self.assertTrue(any("Plugin Segfault ended" in event[3] for event in events), events)

    def test_one_that_holds_the_gil(self) -> None:
        with self.others_go_on():
            self.assertEqual(control(self.client, "HoldsGIL", start=True), {"start": [True, ""]})
            self.status_with("HoldsGIL", "no sign of life")
        self.assertEqual(control(self.client, "HoldsGIL", start=False), {"start": True})
        self.assertIs(row(self.client, "HoldsGIL")["status"], False)

    def test_one_that_leaks(self) -> None:
        with self.others_go_on():
            self.assertEqual(control(self.client, "Leaks", start=True), {"start": [True, ""]})
            self.log_with("Leaks", "MemoryError")
        for child in psutil.Process(self.server.pid).children():
            self.assertLess(child.memory_full_info().uss, 200 << 20)

    def test_one_that_floods_its_output(self) -> None:
        with self.others_go_on():
            self.assertEqual(control(self.client, "FloodsOutput", start=True), {"start": [True, ""]})
            lines = self.log_with("FloodsOutput", "more lines within a second were left out")
        self.assertLessEqual(len(lines), LOG_LINES)
        self.assertEqual(control(self.client, "FloodsOutput", start=False), {"start": True})

    def test_one_that_floods_samples(self) -> None:
        with self.others_go_on():
            self.assertEqual(control(self.client, "FloodsSamples", start=True), {"start": [True, ""]})
            self.until(
                lambda: self.client.ask({"logger": {"info": True}})["logger"]["info"]["signal_memory"] > 8e6
            )
        memory = psutil.Process(self.server.pid).memory_info().rss
        self.assertLess(memory, 1 << 30)
        self.assertEqual(control(self.client, "FloodsSamples", start=False), {"start": True})

    def test_one_that_blocks_in_close(self) -> None:
        self.assertEqual(control(self.client, "BlocksInClose", start=True), {"start": [True, ""]})
        with self.others_go_on(), closing(Client(self.port)) as stopper:
            self.assertEqual(control(stopper, "BlocksInClose", start=False), {"start": True})
            self.assertIs(row(self.client, "BlocksInClose")["status"], False)

    def test_one_that_raises_in_init(self) -> None:
        with self.others_go_on():
            started, reason = control(self.client, "RaisesInInit", start=True)["start"]
            self.assertFalse(started)
            self.assertIn("no such instrument", reason)
            self.assertIn("no such instrument", row(self.client, "RaisesInInit")["status"])

    def test_one_that_forks(self) -> None:
        with self.others_go_on():
            self.assertEqual(control(self.client, "Forks", start=True), {"start": [True, ""]})
            other = int(control(self.client, "Forks", get="other")["get"])
            self.log_with("Forks", "I am the other")
            os.kill(other, 0)
            self.assertEqual(control(self.client, "Forks", start=False), {"start": True})
            self.until(lambda: not psutil.pid_exists(other) or psutil.Process(other).status() == "zombie")
        self.assertEqual(self.latest("Forks.parent"), 1)

    def test_all_at_once_and_the_server_stops_in_order(self) -> None:
        with self.others_go_on():
            for name in HOSTILE:
                control(self.client, name, start=True)
            self.status_with("Segfault", "SIGSEGV")
            self.status_with("HoldsGIL", "no sign of life")
        children = psutil.Process(self.server.pid).children(recursive=True)
        self.assertGreater(len(children), 3)
        self.server.stop()
        self.assertTrue(self.server.has_said("Server Shut Down"), self.server.lines)
        gone, alive = psutil.wait_procs(children, timeout=PATIENCE)
        self.assertEqual(alive, [])
