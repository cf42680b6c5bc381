"""Plugins in real processes under the real reactor; hostile ones are in test_plugin_hostile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, execute, inlineCallbacks
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from rtoc_twisted.box.environment import environment
from rtoc_twisted.events.log import EventLog
from rtoc_twisted.plugins import discovery, pipes
from rtoc_twisted.plugins.host import PluginHost, Policy
from rtoc_twisted.plugins.process import Limits
from rtoc_twisted.recorder import Recorder
from rtoc_twisted.storage.memory import MemoryStorage

from .plugin_support import write_plugin

PATIENCE = 60.0


class ChildrenCase(TestCase):
    timeout = PATIENCE
    policy = Policy(Limits(close=0.2), restarts=0)

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.storage = MemoryStorage()
        self.recorder = Recorder(self.storage, EventLog(self.storage))

    def open(self) -> PluginHost:
        self.host = PluginHost(
            self.storage,
            self.recorder,
            state_dir=self.directory,
            launch=pipes.spawn(reactor, environment(os.environ)),
            find=lambda: discovery.find(self.directory, installed=()),
            in_thread=execute,
            samplerate=lambda: None,
            clock=reactor,  # type: ignore[arg-type]  # the module has the type of a module
            wall=time.time,
            policy=self.policy,
        )
        self.host.start()
        self.addCleanup(self.host.stop)
        return self.host

    def until(self, condition: Callable[[], Any]) -> Deferred[None]:
        """Fire once something is so."""

        def look() -> Any:
            return None if condition() else deferLater(reactor, 0.005, look)

        return deferLater(reactor, 0, look)

    def count(self, key: str) -> int:
        signal = self.storage.resolve(key)
        summary = None if signal is None else self.storage.summary(signal.id)
        return 0 if summary is None else summary.count

    def log(self, name: str) -> list[Any]:
        return [text for _, _, text in self.host.listing()[name]["log"] or ()]


class LifeTests(ChildrenCase):
    @inlineCallbacks
    def test_from_start_to_stop(self) -> Any:
        write_plugin(
            self.directory,
            "Heater",
            """
            self.setDeviceName('Heater')
            self.target = 20
            self.stream(1.5, 'now', unit='C')
            """,
            """
            def boost(self, by, times=1):
                print('boosting')
                self.target += by * times
                return self.target
            """,
        )
        host = self.open()
        self.assertEqual((yield host.start_plugin("Heater")), "")
        self.assertEqual((yield host.call("Heater", "boost", [1], {"times": 2})), (True, 22))
        self.assertEqual((yield host.get("Heater", ["target", "nope"])), [22, False])
        self.assertEqual((yield host.set("Heater", "target", 5)), 5)
        self.assertEqual(host.parameter("Heater", "target"), 5)
        yield self.until(lambda: self.count("Heater.now") and "boosting" in self.log("Heater"))
        yield host.stop_plugin("Heater")
        self.assertEqual(host.listing()["Heater"]["status"], False)

    @inlineCallbacks
    def test_what_fails_says_why(self) -> Any:
        write_plugin(self.directory, "Raises", "raise OSError('no such port')")
        write_plugin(self.directory, "Exits", "import os\nos._exit(3)")
        write_plugin(self.directory, "Broken").write_text("class Plugin(:")
        host = self.open()
        self.assertEqual((yield host.start_plugin("Raises")), "OSError: no such port")
        self.assertEqual((yield host.start_plugin("Exits")), "its process ended with the code 3")
        self.assertIn("SyntaxError", (yield host.start_plugin("Broken")))
        self.assertIn("OSError: no such port", host.listing()["Raises"]["status"])

    @inlineCallbacks
    def test_the_shipped_ones_start(self) -> Any:
        host = self.open()
        self.assertEqual((yield host.start_plugin("Generator")), "")
        yield self.until(lambda: self.count("Generator.Square"))
        yield host.stop_plugin("Generator")

    @inlineCallbacks
    def test_what_is_forked_ends_with_its_plugin(self) -> Any:
        write_plugin(
            self.directory,
            "Forks",
            """
            import subprocess
            self.other = subprocess.Popen(['sleep', '1000']).pid
            """,
        )
        host = self.open()
        yield host.start_plugin("Forks")
        ((pid,)) = yield host.get("Forks", ["other"])
        os.kill(pid, 0)
        yield host.stop_plugin("Forks")
        yield self.until(lambda: not _runs(pid))

    @inlineCallbacks
    def test_the_next_server_starts_it_as_it_was(self) -> Any:
        write_plugin(
            self.directory,
            "A",
            """
            self.setDeviceName('A')
            self.level = self.initPersistentVariable('level', 3)
            """,
        )
        host = self.open()
        yield host.start_plugin("A")
        self.assertEqual((yield host.set("A", "level", 7)), 7)
        yield host.set_autorun("A", True)
        yield host.stop()
        again = self.open()
        yield self.until(lambda: again.running("A"))
        self.assertEqual((yield again.get("A", ["level"])), [7])

    @inlineCallbacks
    def test_the_end_of_all(self) -> Any:
        write_plugin(
            self.directory,
            "A",
            "self.stream(1, 'a')",
            """
            def close(self):
                self.stream(2, 'a')
            """,
        )
        host = self.open()
        yield host.start_plugin("A")
        yield host.stop()
        self.assertEqual(self.count("A.a"), 2)


class CrashTests(ChildrenCase):
    @inlineCallbacks
    def test_values_that_are_still_on_their_way_after_a_crash_are_recorded(self) -> Any:
        # As many as fit into a pipe, in no more calls than are written at once.
        write_plugin(
            self.directory,
            "Dies",
            "self.setDeviceName('Dies')",
            """
            def go(self):
                import ctypes
                for turn in range(5):
                    self.stream([1.0] * 400, ['a'] * 400)
                ctypes.string_at(0)
            """,
        )
        host = self.open()
        yield host.start_plugin("Dies")
        process = host._plugins["Dies"].supervisor._process
        assert process is not None and isinstance(process._child, pipes.Pipes)
        child = process._child
        process.hold(True)
        called = host.call("Dies", "go")
        yield self.until(lambda: child.transport.pid is None)
        self.assertEqual(self.count("Dies.a"), 0)
        process.hold(False)
        self.assertEqual((yield called), (False, "the plugin ended before it answered"))
        self.assertEqual(self.count("Dies.a"), 2000)
        status = host.listing()["Dies"]["status"]
        self.assertIn("SIGSEGV", status)
        self.assertIn("is not started again", status)


class LimitTests(ChildrenCase):
    policy = Policy(Limits(close=0.2, memory=192 << 20, open_files=40, cpu=30.0, heartbeat=0.2), restarts=0)

    @inlineCallbacks
    def test_memory_and_files_are_limited_and_the_plugin_is_told(self) -> Any:
        write_plugin(
            self.directory,
            "Greedy",
            more="""
            def grow(self):
                return len(bytearray(1 << 30))

            def open_all(self):
                self.files = [open('/dev/null') for _ in range(100)]
            """,
        )
        host = self.open()
        yield host.start_plugin("Greedy")
        for function, reason in (("grow", "MemoryError"), ("open_all", "Too many open files")):
            done, text = yield host.call("Greedy", function)
            self.assertFalse(done)
            self.assertIn(reason, text)
        self.assertTrue(host.running("Greedy"))

    @inlineCallbacks
    def test_one_that_takes_too_much_cpu_is_ended_and_the_status_tells(self) -> Any:
        write_plugin(self.directory, "Other")
        write_plugin(
            self.directory,
            "Busy",
            """
            import threading
            threading.Thread(target=self.work, daemon=True).start()
            """,
            """
            def work(self):
                while True:
                    pass
            """,
        )
        host = self.open()
        yield host.start_plugin("Other")
        yield host.start_plugin("Busy")
        yield self.until(lambda: not host.running("Busy"))
        self.assertIn("it used more than 30 % of a CPU", host.listing()["Busy"]["status"])
        self.assertTrue(host.running("Other"))


class ReloadTests(ChildrenCase):
    @inlineCallbacks
    def test_one_whose_file_changed_is_another_process_the_others_are_the_same(self) -> Any:
        process_of_it = "import os\nself.number = os.getpid()"
        for name in ("A", "B"):
            write_plugin(self.directory, name, process_of_it)
        host = self.open()
        numbers = {}
        for name in ("A", "B"):
            yield host.start_plugin(name)
            ((numbers[name],)) = yield host.get(name, ["number"])
        write_plugin(self.directory, "A", process_of_it, "def fresh(self):\n    return True")
        yield host.look()
        yield self.until(lambda: not host.running("A"))
        yield self.until(lambda: host.running("A"))
        self.assertEqual((yield host.call("A", "fresh")), (True, True))
        self.assertNotEqual((yield host.get("A", ["number"])), [numbers["A"]])
        self.assertEqual((yield host.get("B", ["number"])), [numbers["B"]])


class PressureTests(ChildrenCase):
    @inlineCallbacks
    def test_who_is_not_read_waits_and_nothing_is_lost(self) -> Any:
        write_plugin(
            self.directory,
            "Flood",
            """
            import threading
            self.setDeviceName('Flood')
            self.sent = 0
            threading.Thread(target=self.flood).start()
            """,
            """
            def flood(self):
                for turn in range(3000):
                    self.stream([1.0] * 100, ['a'] * 100)
                    self.sent += 100
            """,
        )
        host = self.open()
        starting = host.start_plugin("Flood")
        supervisor = host._plugins["Flood"].supervisor
        yield starting
        for _ in range(20):
            supervisor.hold(True)
            yield deferLater(reactor, 0.005, lambda: None)
            supervisor.hold(False)
            yield deferLater(reactor, 0, lambda: None)
        yield self.until(lambda: self.count("Flood.a") == 300_000)
        self.assertEqual((yield host.get("Flood", ["sent"])), [300_000])


def _runs(pid: int) -> bool:
    """Return whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
