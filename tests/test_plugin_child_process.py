"""Real processes of plugins: what they import, what they hear, and how they end."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.box.messages import Event, Plot, Samples
from rtoc_twisted.plugins.child.calls import SIZE, WAITING
from rtoc_twisted.plugins.orders import (
    Call,
    Changed,
    Failed,
    Get,
    Loaded,
    Log,
    Ping,
    Pong,
    Result,
    Samplerate,
    Set,
    Start,
    Stop,
    Stopped,
    Variable,
)

from .plugin_child_support import Child, written

HELLO = '''
    from RTOC.LoggerPlugin import LoggerPlugin

    class Plugin(LoggerPlugin):
        """Says hello."""

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.setDeviceName("Hello")
            self.level = self.initPersistentVariable("level", 3)
            self.__doc_level__ = "How loud"
            self.stream(1, "greeting", unit="dB")
            self.event("hello")

        def greet(self, name, times=1):
            """Greets."""
            return [f"hello {name}"] * times

        def wrong(self):
            raise KeyError("missing")

        def leave(self):
            raise SystemExit(3)

        def odd(self):
            return {"me": object, 1: (1, 2)}

        def wait(self):
            import threading
            threading.Event().wait()

        def show(self):
            self.fresh = 1
            self.updateInfo()
    '''


class ProcessCase(SynchronousTestCase):
    """Starts plugins in processes."""

    def child(self, source: str, folder: str = "Mine", name: str = "Mine", **settings: Any) -> Child:
        """Return the process of a plugin with this source."""
        self.state = Path(self.mktemp()).absolute()
        return self.child_of(written(self.state, source, folder, name), **settings)

    def child_of(self, path: Path, **settings: Any) -> Child:
        """Return the process of a plugin in a file."""
        child = Child(path, **settings)
        self.addCleanup(child.kill)
        return child

    def result(self, child: Child, order: Call | Get | Set) -> Result:
        """Return the answer to an order."""
        child.order(order)
        return child.until(Result, lambda report: report.id == order.id)

    def assert_starts(self, child: Child, dname: str = "Mine") -> None:
        """Start a plugin that streams 1 as `ready`."""
        child.start()
        child.until(Samples, lambda report: (report.dname, report.names) == (dname, ["ready"]))

    def assert_fails(self, child: Child, stage: str, text: str) -> None:
        """Start a plugin that ends at once."""
        child.order(Start())
        failed = child.until(Failed)
        self.assertEqual(failed.stage, stage)
        self.assertIn(text, failed.text)
        self.assertNotIn("\n", failed.text)
        self.assertTrue(any("Traceback" in line.text and line.level == 2 for line in child.of(Log)))
        self.assertEqual(child.end(), 1)


class LifeTest(ProcessCase):
    """From Init to Stopped."""

    def test_hello(self) -> None:
        child = self.child(HELLO, variables={"Hello": {"level": 5}})
        loaded = child.until(Loaded)
        self.assertEqual(loaded.info, "Says hello.")
        self.assertIn(
            ["greet", ["name", "times"], 2, ["self", "name", "times"], [1], "Greets.", "(name, times=1)"],
            loaded.functions,
        )
        child.start()
        self.assertEqual(child.values("Hello", "greeting"), [1])
        self.assertEqual([(event.text, event.dname) for event in child.of(Event)], [("hello", "Hello")])
        self.assertEqual(
            child.of(Changed)[-1].parameters, [["level", 5, "How loud"], ["samplerate", 1.0, None]]
        )
        self.assertEqual(child.of(Variable), [])
        child.order(Stop(5.0))
        self.assertEqual(child.end(), 0)
        self.assertEqual(child.heard[-1], Stopped())

    def test_calls(self) -> None:
        child = self.child(HELLO)
        self.assertEqual(self.result(child, Call(1, "greet", ["you"])).value, "the plugin is not started")
        child.start()
        self.assertEqual(self.result(child, Call(2, "greet", ["you", 2])), Result(2, True, ["hello you"] * 2))
        self.assertEqual(
            self.result(child, Call(3, "greet", [], {"name": "x"})), Result(3, True, ["hello x"])
        )
        self.assertEqual(self.result(child, Call(4, "odd")).value, {"me": "<class 'object'>", "1": [1, 2]})
        for number, (name, text) in enumerate(
            {"wrong": "KeyError: 'missing'", "leave": "SystemExit: 3", "greet": "TypeError"}.items(), 5
        ):
            result = self.result(child, Call(number, name))
            self.assertFalse(result.ok)
            self.assertIn("Traceback", result.value)
            self.assertIn(text, result.value)
        for number, name in enumerate(("_tell", "close", "__init__", "nope", "level", "greet.__call__"), 20):
            self.assertFalse(self.result(child, Call(number, name)).ok)

    def test_a_call_that_waits_delays_no_other(self) -> None:
        child = self.child(HELLO)
        child.start()
        child.order(Call(1, "wait"))
        self.assertTrue(self.result(child, Call(2, "greet", ["you"])).ok)
        child.order(Stop(5.0))
        self.assertEqual(child.end(), 0)

    def test_calls_that_wait_are_limited(self) -> None:
        child = self.child(HELLO)
        child.start()
        child.order(*(Call(number, "wait") for number in range(SIZE + WAITING)))
        result = self.result(child, Call(-1, "greet", ["you"]))
        self.assertEqual(result, Result(-1, False, f"the plugin is busy: {WAITING} calls wait"))
        child.order(Ping(1))
        child.until(Pong)

    def test_parameters(self) -> None:
        child = self.child(HELLO)
        child.start()
        self.assertEqual(
            self.result(child, Get(1, ["level", "nope", "_x", "greet"])).value, [3, False, False, False]
        )
        self.assertEqual(self.result(child, Set(2, "level", 4)), Result(2, True, 4))
        self.assertEqual(child.of(Variable)[-1], Variable("Hello", "level", 4))
        changed = child.until(Changed, lambda report: ["level", 4, "How loud"] in report.parameters)
        self.assertTrue(changed.asked)
        self.assertFalse(self.result(child, Set(3, "run", True)).ok)
        self.assertFalse(self.result(child, Set(4, "level=1;self._x", 1)).ok)
        self.assertEqual(self.result(child, Set(5, "brandnew", "x")), Result(5, True, "x"))
        self.assertEqual(self.result(child, Set(6, "samplerate", 5)), Result(6, True, 5))
        child.order(Samplerate(7.0))
        child.until(Changed, lambda report: ["samplerate", 7.0, None] in report.parameters)
        child.order(Call(7, "show"))
        child.until(Changed, lambda report: ["fresh", 1, None] in report.parameters)

    def test_a_ping_is_a_look(self) -> None:
        child = self.child(
            """
            from LoggerPlugin import LoggerPlugin

            class Plugin(LoggerPlugin):
                looks = 0

                @property
                def seen(self):
                    self._looks = getattr(self, "_looks", 0) + 1
                    return self._looks
            """
        )
        child.start()
        child.order(Ping(5))
        self.assertEqual(child.until(Pong), Pong(5))
        child.until(Changed, lambda report: not report.asked)

    def test_order_of_values_plots_and_events(self) -> None:
        child = self.child(
            """
            from RTOC.LoggerPlugin import LoggerPlugin

            class Plugin(LoggerPlugin):
                def __init__(self, logger):
                    super().__init__(logger)
                    for index in range(50):
                        self.stream([index] * 3, ["a", "b", "c"])
                        self.event(str(index))
                        self.plot([index], [index])
                        self.stream(sdict={"D": {"s": [index, "V"]}})
            """
        )
        child.start()
        kinds = [type(report) for report in child.heard if isinstance(report, Samples | Event | Plot)]
        self.assertEqual(kinds[:-1], [Samples, Event, Plot] + [Samples, Samples, Event, Plot] * 49)
        self.assertEqual(child.values("Mine", "b"), list(range(50)))


class PortingTest(ProcessCase):
    """Shapes of plugins that were written for RTOC."""

    def test_version_2_with_a_gui_and_helpers_in_its_folder(self) -> None:
        path = written(
            Path(self.mktemp()).absolute(),
            """
            try:
                from LoggerPlugin import LoggerPlugin
            except ImportError:
                from RTOC.LoggerPlugin import LoggerPlugin
            from PyQt5 import uic
            from PyQt5 import QtWidgets
            from PyQt5.QtCore import QTimer, Qt
            import json
            import logging as log
            log.basicConfig(level=log.INFO)
            logging = log.getLogger(__name__)
            from .parts.Meter import read
            from . import near

            class Table(QtWidgets.QWidget):
                def __init__(self):
                    super(Table, self).__init__()
                    self.kind = QtWidgets.QTableWidget.NoEditTriggers
                    self.setLayout(QtWidgets.QVBoxLayout())

            class Plugin(LoggerPlugin):
                def __init__(self, stream=None, plot=None, event=None):
                    super(Plugin, self).__init__(stream, plot, event)
                    self.setDeviceName("Meter")
                    self.smallGUI = True
                    self.loadGUI()
                    logging.info("from logging")
                    one = json.loads("1", encoding="UTF-8") * json.loads("1")
                    self.stream(read() + near.ONE * one, 'ready', unit=[''])

                def loadGUI(self):
                    self.widget = Table()
                    uic.loadUi(self.getDir(__file__) + "/x.ui", self.widget)
                    self.widget.button.clicked.connect(self.loadGUI)
                    return self.widget
            """,
            "HoldPeak VC820",
            "HoldPeak VC820",
        )
        (path.parent / "parts").mkdir()
        (path.parent / "parts" / "Meter.py").write_text("def read():\n    return 0\n")
        (path.parent / "near.py").write_text("ONE = 1\n")
        child = self.child_of(path)
        self.assert_starts(child, "Meter")
        child.order(Stop(5.0))
        self.assertEqual(child.end(), 0)
        self.assertIn("from logging", child.output.read_text())

    def test_a_folder_that_is_a_package_and_a_name_with_dots(self) -> None:
        path = written(
            Path(self.mktemp()).absolute(),
            """
            from ..LoggerPlugin import LoggerPlugin
            from . import WHAT

            class Plugin(LoggerPlugin):
                def __init__(self, *args, **kwargs):
                    LoggerPlugin.__init__(self, *args, **kwargs)
                    self.stream(1, WHAT, "Mine")
            """,
            "v1.2",
            "My.Plugin",
        )
        (path.parent / "__init__.py").write_text("WHAT = 'ready'\n")
        self.assert_starts(self.child_of(path))

    def test_a_timer_and_a_thread_of_its_own(self) -> None:
        child = self.child(
            """
            from RTOC.LoggerPlugin import LoggerPlugin
            from threading import Thread
            import time

            class Plugin(LoggerPlugin):
                def __init__(self, *args, **kwargs):
                    super().__init__(*args, **kwargs)
                    self.setPerpetualTimer(self.__update, samplerate=200)
                    self.start()
                    self._thread = Thread(target=self.__work)
                    self._thread.start()

                def __update(self):
                    self.stream(self.samplerate, "timer")

                def __work(self):
                    while self.run:
                        self.stream([1.0], ["thread"])
                        time.sleep(0.001)
                    self.event("seen")
            """
        )
        child.start()
        while len(child.values("Mine", "timer")) < 3 or len(child.values("Mine", "thread")) < 3:
            child.hear()
        child.order(Stop(5.0))
        self.assertEqual(child.end(), 0)
        self.assertEqual([event.text for event in child.of(Event)], ["seen"])

    def test_the_script_library(self) -> None:
        child = self.child(
            """
            import sys
            from RTOC.LoggerPlugin import LoggerPlugin
            from RTOC.RTLogger import scriptLibrary

            class Plugin(LoggerPlugin):
                def __init__(self, *args, **kwargs):
                    super().__init__(*args, **kwargs)
                    lazy = "numpy" not in sys.modules
                    mean = self.rtoc.mean([0, 1], [lazy, lazy])
                    self.stream(mean * scriptLibrary.norm([0, 1], [0, 1])[1][1], "ready")
            """
        )
        self.assert_starts(child)
        self.assertEqual(child.values("Mine", "ready"), [1])

    def test_nothing_of_the_server_is_imported(self) -> None:
        child = self.child(
            """
            import sys
            from RTOC.LoggerPlugin import LoggerPlugin

            class Plugin(LoggerPlugin):
                loaded = sorted(name for name in sys.modules if name.startswith("rtoc_twisted."))
                others = [name for name in ("twisted", "numpy", "orjson", "asyncio") if name in sys.modules]
            """
        )
        loaded = child.until(Loaded)
        parameters = {name: value for name, value, _ in loaded.parameters}
        self.assertEqual(parameters["others"], [])
        ours = ("rtoc_twisted.errors", "rtoc_twisted.plugins", "rtoc_twisted.box")
        self.assertEqual([name for name in parameters["loaded"] if not name.startswith(ours)], [])

    def test_an_installed_module(self) -> None:
        path = written(
            Path(self.mktemp()).absolute(),
            """
            from RTOC.LoggerPlugin import LoggerPlugin

            class Plugin(LoggerPlugin):
                def __init__(self, *args, **kwargs):
                    super().__init__(*args, **kwargs)
                    self.stream(1, "ready")
            """,
        )
        self.assert_starts(self.child_of(path, module="Mine"))


class FailingTest(ProcessCase):
    """Plugins that raise, leave, or die."""

    def test_at_import(self) -> None:
        for source, text in (
            ("import sys\nsys.exit('no driver\\nreally')", "SystemExit: no driver"),
            ("import does_not_exist", "ModuleNotFoundError: No module named 'does_not_exist'"),
            ("def f(:", "SyntaxError"),
            ("x = 1", "ImportError"),
            ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ):
            self.assert_fails(self.child(source), "import", text)

    def test_in_init(self) -> None:
        source = """
            from LoggerPlugin import LoggerPlugin

            class Plugin(LoggerPlugin):
                def __init__(self, *args, **kwargs):
                    {}
            """
        self.assert_fails(self.child(source.format("1 / 0")), "init", "ZeroDivisionError: division by zero")
        self.assert_fails(self.child(source.format("raise SystemExit")), "init", "SystemExit")

    def test_in_a_thread_or_a_timer(self) -> None:
        child = self.child(
            """
            from RTOC.LoggerPlugin import LoggerPlugin
            from threading import Thread

            class Plugin(LoggerPlugin):
                def __init__(self, *args, **kwargs):
                    super().__init__(*args, **kwargs)
                    Thread(target=self.die, name="poller").start()
                    self.setPerpetualTimer(self.fail, samplerate=500)
                    self.start()
                    self._calls = 0

                def die(self):
                    raise RuntimeError("in a thread")

                def fail(self):
                    self._calls += 1
                    self.stream(self._calls, "calls")
                    raise RuntimeError("in a timer")
            """
        )
        child.start()
        thread = child.until(Log, lambda line: "in a thread" in line.text)
        timer = child.until(Log, lambda line: "in a timer" in line.text)
        self.assertIn("poller", thread.text)
        self.assertIn("Traceback", thread.text)
        self.assertIn("Traceback", timer.text)
        self.assertEqual((thread.level, timer.level), (2, 2))
        while len(child.values("Mine", "calls")) < 3:
            child.hear()
        child.order(Stop(5.0))
        self.assertEqual(child.end(), 0)

    def test_in_close(self) -> None:
        child = self.child(
            """
            from RTOC.LoggerPlugin import LoggerPlugin

            class Plugin(LoggerPlugin):
                def close(self):
                    raise RuntimeError("not today")
            """
        )
        child.start()
        child.order(Stop(5.0))
        self.assertEqual(child.end(), 0)
        self.assertTrue(any("not today" in line.text for line in child.of(Log)))
        self.assertEqual(child.heard[-1], Stopped())

    def test_a_close_that_blocks_is_ended_with_a_traceback(self) -> None:
        child = self.child(
            """
            from RTOC.LoggerPlugin import LoggerPlugin
            import threading

            class Plugin(LoggerPlugin):
                def close(self):
                    threading.Event().wait()
            """
        )
        child.start()
        child.order(Stop(0.2))
        self.assertEqual(child.end(), 1)
        self.assertIn("in close", child.output.read_text())

    def test_an_init_that_blocks_is_ended_by_stop(self) -> None:
        child = self.child(
            """
            from RTOC.LoggerPlugin import LoggerPlugin
            import threading

            class Plugin(LoggerPlugin):
                def __init__(self, *args, **kwargs):
                    super().__init__(*args, **kwargs)
                    self.stream(1, "ready")
                    threading.Event().wait()
            """
        )
        child.order(Start())
        child.until(Samples)
        child.order(Stop(0.2))
        self.assertEqual(child.end(), 1)
        self.assertIn("in __init__", child.output.read_text())

    def test_a_crash_leaves_its_values_and_a_traceback(self) -> None:
        child = self.child(
            """
            from RTOC.LoggerPlugin import LoggerPlugin
            import ctypes

            class Plugin(LoggerPlugin):
                def crash(self):
                    self.stream(1, "last")
                    self.event("now")
                    ctypes.string_at(0)
            """
        )
        child.start()
        child.order(Call(1, "crash"))
        self.assertEqual(child.end(), -signal.SIGSEGV)
        self.assertEqual(child.values("Mine", "last"), [1])
        self.assertIn("in crash", child.output.read_text())

    def test_memory_above_the_limit(self) -> None:
        child = self.child(
            """
            from RTOC.LoggerPlugin import LoggerPlugin

            class Plugin(LoggerPlugin):
                def grow(self):
                    return len(bytearray(1 << 30))
            """,
            memory=256 << 20,
            open_files=64,
            nice=1,
        )
        child.start()
        result = self.result(child, Call(1, "grow"))
        self.assertFalse(result.ok)
        self.assertIn("MemoryError", result.value)
        limits = Path(f"/proc/{child.pid}/limits").read_text().splitlines()
        (files,) = [line.split()[3] for line in limits if line.startswith("Max open files")]
        (core,) = [line.split()[4] for line in limits if line.startswith("Max core file size")]
        self.assertEqual((files, core), ("64", "0"))

    def test_a_result_that_is_too_large(self) -> None:
        child = self.child(
            """
            from RTOC.LoggerPlugin import LoggerPlugin

            class Plugin(LoggerPlugin):
                def large(self):
                    return "x" * (17 << 20)
            """
        )
        child.start()
        result = self.result(child, Call(1, "large"))
        self.assertFalse(result.ok)
        self.assertIn("too large", result.value)


class EndTest(ProcessCase):
    """Processes whose server is gone, and signals."""

    BUSY = """
        from RTOC.LoggerPlugin import LoggerPlugin
        from threading import Thread

        class Plugin(LoggerPlugin):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.run = True
                Thread(target=self.work).start()

            def work(self):
                while self.run:
                    self.stream([1.0] * 100, ["a"] * 100)

            def close(self):
                super().close()
                print("closed")
        """

    def test_it_ends_when_the_server_is_gone(self) -> None:
        child = self.child(self.BUSY)
        child.start()
        child.forget()
        os.close(child.reports)
        child.reports = -1
        self.assertEqual(child.reap(), 0)
        self.assertEqual(child.output.read_text(), "closed\n")

    def test_it_ends_even_when_what_it_writes_is_not_read(self) -> None:
        child = self.child(self.BUSY)
        child.start()
        child.fill()
        child.order(Stop(0.2))
        self.assertEqual(child.reap(), 1)

    def test_sigterm(self) -> None:
        child = self.child(self.BUSY)
        child.start()
        os.kill(child.pid, signal.SIGTERM)
        self.assertEqual(child.end(), 0)
        self.assertEqual(child.heard[-1], Stopped())
        self.assertEqual(child.output.read_text(), "closed\n")

    def test_orders_that_make_no_sense(self) -> None:
        child = self.child(HELLO)
        child.start()
        os.write(child.orders, b"\xff\xff\xff\xff")
        self.assertEqual(child.end(), 0)
        self.assertTrue(any("make no sense" in line.text for line in child.of(Log)))

    def test_start_without_a_plugin(self) -> None:
        path = written(Path(self.mktemp()).absolute(), "")
        child = self.child_of(path)
        self.assertEqual(child.until(Failed).stage, "import")
        self.assertEqual(child.end(), 1)

    def test_a_forked_process_has_none_of_its_pipes(self) -> None:
        child = self.child(
            """
            from RTOC.LoggerPlugin import LoggerPlugin
            import os, time

            class Plugin(LoggerPlugin):
                def fork(self):
                    pid = os.fork()
                    if pid == 0:
                        self.stream(1, "twice")
                        self.event("twice")
                        time.sleep(3600)
                    return pid
            """
        )
        child.start()
        self.result(child, Call(1, "fork"))
        child.order(Stop(5.0))
        self.assertEqual(child.end(), 0)
        self.assertEqual(child.of(Event), [])
        os.killpg(child.group, signal.SIGKILL)
