"""`rtoc plugin`: a new one, its check, its trial in a real process, and what a server says of its plugins."""

from __future__ import annotations

import io
import math
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.box import messages
from rtoc_twisted.client.cli import NO_CONNECTION, OK, SERVER_ERROR, USAGE
from rtoc_twisted.client.shell import Shell
from rtoc_twisted.plugins import orders
from rtoc_twisted.plugins.discovery import in_folder
from rtoc_twisted.plugins.fake import FakeRecorder
from rtoc_twisted.plugins.fakeclock import FakeClock
from rtoc_twisted.tools.main import main
from rtoc_twisted.tools.plugin import added
from rtoc_twisted.tools.plugin_check import Remark, check
from rtoc_twisted.tools.plugin_trial import Trial, run

from .client_support import FakeServer

HEAD = "from RTOC.LoggerPlugin import LoggerPlugin\n\nclass Plugin(LoggerPlugin):\n"


class Tools(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def rtoc(self, *arguments: str) -> tuple[int, str, str]:
        """Run the command; return its exit code, output and complaints."""
        shell = Shell(io.StringIO(), io.StringIO(), io.StringIO(), {})
        code = main(["plugin", *arguments], shell)
        return code, shell.stdout.getvalue(), shell.stderr.getvalue()

    def write(self, body: str, file: str = "Mine.py") -> None:
        """Write a plugin whose class has this body."""
        (self.folder / file).write_text(HEAD + body)


class NewTest(Tools):
    def test_what_is_made_is_right_and_works(self) -> None:
        code, told, _ = self.rtoc("new", "Wet bulb", "--dir", str(self.folder))
        made = self.folder / "Wet bulb"
        self.assertEqual(code, OK)
        self.assertEqual(
            told.splitlines(), [str(made / it) for it in ("Wet bulb.py", "plugin.toml", "test_wetbulb.py")]
        )
        self.assertEqual(self.rtoc("check", str(made)), (OK, f"{made}: no warnings, no errors\n", ""))
        code, told, complaint = self.rtoc("test", str(made))
        self.assertEqual((code, complaint), (OK, ""), told)
        self.assertRegex(told, r"Wet bulb\.temperature: 1[01] values over (9|10)")
        for file in made.glob("*.py"):
            compile(file.read_text(), file.name, "exec")

    def test_it_overwrites_nothing_and_takes_no_path(self) -> None:
        self.assertEqual(self.rtoc("new", "One", "--dir", str(self.folder))[0], OK)
        self.assertEqual(self.rtoc("new", "One", "--dir", str(self.folder))[0], USAGE)
        for name in ("../One", "", " One", "One.py", "1"):
            self.assertEqual(self.rtoc("new", name, "--dir", str(self.folder))[0], USAGE, name)


class CheckTest(Tools):
    def remarks(self, body: str, manifest: str = "") -> list[str]:
        """Return what is said of a plugin."""
        self.write(body)
        (self.folder / "plugin.toml").write_text(manifest)
        return list(map(str, check(self.folder)))

    def test_names_that_nobody_gives(self) -> None:
        body = """
    limit = 1
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.level, self.other = 1, 2
        self.createPersistentVariable('count', 0)
        self.setPerpetualTimer(self.work, interval=self.limit)
        self.start()
        self.strat()
    def work(self):
        self.stream(self.level + self.count, 'a', self._devicename)
        return self.levle, self.__class__, self.run, self.config, self.samplerate
"""
        self.assertEqual(
            self.remarks(body),
            [
                "Mine.py:12: warning: self.strat: neither the class nor LoggerPlugin has it",
                "Mine.py:15: warning: self.levle: neither the class nor LoggerPlugin has it",
            ],
        )

    def test_another_base_may_give_anything(self) -> None:
        self.write("    pass\n")
        source = (self.folder / "Mine.py").read_text()
        (self.folder / "Mine.py").write_text(
            source.replace("(LoggerPlugin)", "(LoggerPlugin, Mixin)") + "    x = lambda self: self.any\n"
        )
        (self.folder / "plugin.toml").touch()
        self.assertEqual(check(self.folder), [])
        (self.folder / "Mine.py").write_text("class Plugin:\n    pass\n")
        self.assertIn("not derived from LoggerPlugin", str(check(self.folder)[0]))

    def test_the_manifest(self) -> None:
        told = self.remarks(
            "    pass\n",
            """[plugin]
python = ">=4"
requirements = ["msgspec", "msgspec<0.1", "rtoc-no-such-package", "??", "nothing; python_version < '3'"]
""",
        )
        self.assertEqual(len(told), 4, told)
        for line, word in zip(
            told, ("needs Python >=4", "installed is", "not installed", "'??'"), strict=True
        ):
            self.assertIn(word, line)
        self.assertIn("no version specifier", self.remarks("    pass\n", '[plugin]\npython = "new"\n')[0])
        self.assertEqual(self.remarks("    pass\n", "[plugin]\napi = 9\n[x]\n")[0][:12], "plugin.toml:")

    def test_the_configuration(self) -> None:
        (self.folder / "config.toml").write_text("rate = 3\n")
        told = self.remarks("    pass\n", "[config.rate]\ntype = 'number'\nmaximum = 2\n")
        self.assertEqual(told, ["config.toml: rate: must be 2 or less"])

    def test_imports(self) -> None:
        self.write("    pass\n")
        source = (self.folder / "Mine.py").read_text()
        imports = "import rtoc_no_such, os\nfrom PyQt5 import uic\nfrom . import x\nimport helper\n"
        guard = "try:\n    import rtoc_none_either\nexcept ImportError:\n    pass\n"
        (self.folder / "Mine.py").write_text(imports + guard + source)
        (self.folder / "helper.py").touch()
        (self.folder / "plugin.toml").touch()
        self.assertEqual(
            list(map(str, check(self.folder))),
            ["Mine.py:1: warning: imports rtoc_no_such, which is not installed"],
        )

    def test_what_cannot_work_is_an_error(self) -> None:
        self.assertEqual(self.rtoc("check", str(self.folder / "none"))[0], USAGE)
        code, told, complaint = self.rtoc("check", str(self.folder))
        self.assertEqual((code, complaint.count("\n")), (SERVER_ERROR, 1))
        self.assertIn("no file in it has a class Plugin", told)
        (self.folder / "Mine.py").write_text("class Plugin(:\n")
        told = self.rtoc("check", str(self.folder))[1]
        self.assertIn("Mine.py: SyntaxError in line 1", told)
        self.assertIn("plugin.toml: warning: there is none", told)

    def test_remarks(self) -> None:
        self.assertEqual(str(Remark("a.py:3", "odd", is_error=False)), "a.py:3: warning: odd")


class TrialTest(Tools):
    """Plugins in real processes, with a clock that jumps."""

    def trial(self, body: str, seconds: float = 5.0, **more: Any) -> Trial:
        self.write(body)
        (found,) = in_folder(self.folder)
        return run(found, seconds, **more)

    def test_all_that_a_plugin_tells(self) -> None:
        (self.folder / "plugin.toml").write_text("[config.key]\ntype = 'string'\nsecret = true\n")
        (self.folder / "config.toml").write_text("key = 'geheimnis'\n")
        body = """
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.savePersistentVariable('count', 3)
        self.event('it starts', 'state', priority=1)
        self.plot([1, 2, 3], [4, 5, 6], 'curve', unit='V')
        self.telegram_send_message('hello')
        print('logged in with', self.config['key'])
        self.warning('key is ' + self.config['key'])
        self.setPerpetualTimer(self.work, interval=0.5)
        self.start()
    def work(self):
        self.stream([1.5, 2], ['a', 'b'], unit=['A', 'B'])
    def set(self, what: int = 3):
        pass
"""
        trial = self.trial(body)
        told = list(trial.report())
        self.assertEqual(trial.problems, [], told)
        for line in (
            "Mine.curve: 3 values over 2, 4 to 6 V, last 6",
            "event Mine.state, priority 1: it starts",
            "persistent variable Mine.count = 3",
            "log, warning: key is ***",
            "functions: set(what: int = 3)",
            "output: logged in with ***",
        ):
            self.assertTrue(any(it.startswith(line) for it in told), (line, told))
        self.assertTrue(any(it.startswith("told people, message: ") for it in told), told)
        signal = trial.recorder.signals["Mine.a"]
        self.assertIn(signal.count, (10, 11))
        self.assertAlmostEqual(signal.x[1] - signal.x[0], (signal.count - 1) / 2, places=0)
        self.assertEqual((signal.unit, signal.last), ("A", 1.5))

    def test_own_threads_and_sleep(self) -> None:
        body = """
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        import threading
        self.run = True
        threading.Thread(target=self.work).start()
    def work(self):
        import time
        while self.run:
            self.stream(1, 'a')
            time.sleep(60)
"""
        trial = self.trial(body, seconds=3000)
        (signal,) = trial.recorder.signals.values()
        self.assertIn(signal.count, (50, 51))
        self.assertEqual(trial.problems, [])

    def test_failures(self) -> None:
        init = "    def __init__(self, *args, **kwargs):\n        super().__init__(*args, **kwargs)\n        "
        for body, problem in (
            ("    raise ImportError('no driver')\n", "it cannot be imported"),
            ("    import sys\n    sys.exit(3)\n", "it cannot be imported"),
            (init + "1 / 0\n", "its __init__ did not end well"),
            (init + "import os, signal; os.kill(os.getpid(), signal.SIGABRT)\n", "it ended by SIGABRT"),
            (init + "self.setPerpetualTimer(lambda: 1 / 0, 1)\n        self.start()\n", "ZeroDivisionError"),
        ):
            trial = self.trial(body, 2.0)
            self.assertTrue(any(problem in it for it in trial.problems), (problem, trial.problems))

    def test_one_that_dies_while_it_runs(self) -> None:
        body = """
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.setPerpetualTimer(self.work, interval=1, old=True)
        self.start()
    def work(self):
        import os
        import time
        self.stream(1, 'last')
        time.sleep(0.5)
        os.abort()
"""
        trial = self.trial(body)
        self.assertEqual(len(trial.problems), 2, trial.problems)
        self.assertEqual(trial.problems[1], "it ended by SIGABRT")
        self.assertEqual(trial.recorder.signals["Mine.last"].count, 1)

    def test_one_that_does_not_stop(self) -> None:
        body = "    def close(self):\n        import time\n        time.sleep(1000)\n"
        trial = self.trial(body, 0.1, stop_seconds=0.2)
        self.assertEqual(len(trial.problems), 1, trial.problems)
        self.assertIn("did not stop in order", trial.problems[0])

    def test_the_command(self) -> None:
        self.write("    raise ValueError('bad')\n")
        code, told, complaint = self.rtoc("test", str(self.folder), "--seconds", "1")
        self.assertEqual(code, SERVER_ERROR)
        self.assertIn("ValueError: bad", told)
        self.assertIn("Mine: it cannot be imported", complaint)
        self.write("    pass\n", "Other.py")
        self.assertIn("--name", self.rtoc("test", str(self.folder))[2])
        self.assertEqual(self.rtoc("test", str(self.folder), "--name", "Third")[0], USAGE)
        self.assertEqual(self.rtoc("test", str(self.folder / "none"))[0], USAGE)
        self.assertEqual(self.rtoc("test", str(self.folder), "--seconds", "0")[0], USAGE)
        (self.folder / "plugin.toml").write_text("[config.key]\ntype = 'string'\nrequired = true\n")
        code, _, complaint = self.rtoc("test", str(self.folder), "--name", "Mine")
        self.assertEqual((code, "config.toml: key: is missing" in complaint), (USAGE, True))


class FakeRecorderTest(SynchronousTestCase):
    def test_values_belong_to_their_names_in_turn(self) -> None:
        recorder = FakeRecorder()
        x, y = array("d", [1, 1, 2, 2]).tobytes(), array("d", [5, 6, math.nan, 8]).tobytes()
        recorder.take(messages.Samples("D", ["a", "b"], ["V", None], x, y))
        self.assertEqual(
            list(recorder.report()),
            ["D.a: 2 values over 1, 5 to 5 V, last nan", "D.b: 2 values over 1, 6 to 8, last 8"],
        )

    def test_only_the_newest_are_kept(self) -> None:
        recorder = FakeRecorder()
        for number in range(150):
            recorder.take(orders.Log(0, f"line {number}", 1.0))
            recorder.take(messages.Event(f"event {number}", "D", "s", 1.0, 0, "", None))
        told = list(recorder.report())
        self.assertIn("130 earlier events are not shown", told)
        self.assertIn("50 earlier lines of the log are not shown", told)
        self.assertEqual(told[0], "no signals")

    def test_signals_without_end(self) -> None:
        recorder = FakeRecorder()
        one = array("d", [1]).tobytes()
        for number in range(1100):
            recorder.take(messages.Samples("D", [f"s{number}"], [None], one, one))
        self.assertEqual(len(recorder.signals), 1001)
        self.assertEqual(recorder.signals["further signals"].count, 100)

    def test_errors(self) -> None:
        recorder = FakeRecorder()
        recorder.take(orders.Log(2, "bad", 1.0))
        recorder.take(orders.Failed("init", "worse"))
        self.assertEqual(list(recorder.errors), ["bad", "init: worse"])


class Real:
    """A clock and a sleep that take no time: whoever sleeps turns the clock."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


class FakeClockTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.real = Real()
        self.clock = FakeClock((self.real.now, self.real.sleep))
        self.over: list[float] = []

    def begin(self, seconds: float) -> None:
        self.clock.begin(seconds, lambda: self.over.append(self.clock.monotonic()))

    def test_it_is_a_common_clock_at_first(self) -> None:
        self.clock.sleep(0.5)
        self.assertEqual(self.clock.monotonic(), self.real.seconds)
        self.assertAlmostEqual(sum(self.real.slept), 0.5, places=2)

    def test_one_who_sleeps_needs_no_time(self) -> None:
        self.begin(10)
        before = self.clock.time()
        self.clock.sleep(3)
        self.clock.sleep(4)
        self.assertLess(sum(self.real.slept), 0.01)
        self.assertAlmostEqual(self.clock.time() - before, 7)

    def test_it_ends(self) -> None:
        self.begin(1)
        self.clock.sleep(1.25)
        self.assertEqual(len(self.over), 1)
        self.assertAlmostEqual(self.over[0], 101.0, places=2)
        self.assertAlmostEqual(sum(self.real.slept), 0.25, places=2)

    def test_nobody_who_waits_without_end_is_hurried(self) -> None:
        """Where all wait for something else, time goes on in real time."""
        clock = FakeClock()
        clock.begin(1000, lambda: self.over.append(0))
        condition, ready, answers = threading.Condition(), threading.Event(), []

        def wait() -> None:
            with condition:
                ready.set()
                answers.append(clock.wait(condition, None))

        thread = threading.Thread(target=wait)
        thread.start()
        ready.wait(60)
        with condition:
            condition.notify()
        thread.join(60)
        self.assertEqual((answers, self.over), ([True], []))
        self.assertLess(clock.monotonic() - time.monotonic(), 500)

    def test_no_notification_is_lost(self) -> None:
        """However often one wakes another, and at whichever moment."""
        clock, condition, turns = FakeClock(), threading.Condition(), [0]

        def take_turns(parity: int) -> None:
            with condition:
                while turns[0] < 400:
                    if turns[0] % 2 == parity:
                        turns[0] += 1
                        condition.notify()
                    else:
                        clock.wait(condition, None)
                condition.notify()

        threads = [threading.Thread(target=take_turns, args=(parity,), daemon=True) for parity in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(turns, [400])

    def test_only_who_holds_it_may_wait(self) -> None:
        self.assertRaises(RuntimeError, self.clock.wait, threading.Condition(), 1.0)

    def test_a_wait_that_times_out(self) -> None:
        self.begin(10)
        condition = threading.Condition()
        with condition:
            self.assertFalse(self.clock.wait(condition, 5.0))
        self.assertLess(sum(self.real.slept), 0.01)
        self.assertAlmostEqual(self.clock.monotonic(), 105.0)

    def test_nobody_is_passed_over(self) -> None:
        """Of two threads each wakes at its moments, in the order of these."""
        clock = FakeClock()
        clock.begin(1000, lambda: None)
        started, woken, guard = clock.monotonic(), [], threading.Lock()

        def wake(every: float, times: int) -> Callable[[], None]:
            def work() -> None:
                for _ in range(times):
                    clock.sleep(every)
                    with guard:
                        woken.append((round(clock.monotonic() - started), every))

            return work

        threads = [threading.Thread(target=wake(every, 100 // every)) for every in (20, 50)]
        # Both are known to the clock before it may jump for one of them.
        with clock._lock:
            for thread in threads:
                thread.start()
                clock._awake[thread.ident or 0] = time.monotonic()
        for thread in threads:
            thread.join(60)
        self.assertEqual(
            sorted(woken), [(20, 20), (40, 20), (50, 50), (60, 20), (80, 20), (100, 20), (100, 50)]
        )
        self.assertEqual([moment for moment, _ in woken], sorted(moment for moment, _ in woken))


LINE = ["2026-11-22 14:55:58", 0, "Generator started"]
PLUGINS = {
    "Generator": {
        "functions": [],
        "parameters": [],
        "status": True,
        "autorun": True,
        "info": "\nSignals.\n",
        "log": [LINE],
        "manifest": {"version": "1.2", "permissions": {"network": "", "files": ""}},
    },
    "Bad": {
        "functions": [],
        "parameters": [],
        "status": "no driver",
        "autorun": False,
        "info": None,
        "log": None,
    },
    "Idle": {"functions": [], "parameters": [], "status": False, "autorun": False, "info": None, "log": None},
}


class OnlineTest(Tools):
    def test_list(self) -> None:
        with FakeServer() as server:
            server.replies = {"getPluginList": {"pluginList": PLUGINS}}
            code, told, _ = self.rtoc("list", "--url", server.url, "--format", "table")
            self.assertEqual(code, OK)
            self.assertEqual(
                [line.split() for line in told.splitlines()],
                [
                    ["plugin", "version", "status", "autorun", "asks", "for", "info"],
                    ["Generator", "1.2", "runs", "yes", "network,", "files", "Signals."],
                    ["Bad", "-", "no", "driver", "-", "-"],
                    ["Idle", "-", "-", "-", "-"],
                ],
            )
            self.assertIn('"no driver"', self.rtoc("list", "--url", server.url)[1])

    def test_logs(self) -> None:
        with FakeServer() as server:
            server.replies = {"getPluginList": {"pluginList": PLUGINS}}
            online = ("--url", server.url, "--format", "table")
            told = self.rtoc("logs", "Generator", *online)
            self.assertEqual(told, (OK, "2026-11-22 14:55:58  info     Generator started\n", ""))
            self.assertEqual(self.rtoc("logs", "Idle", *online), (OK, "", ""))
            self.assertEqual(self.rtoc("logs", "None", *online)[0], SERVER_ERROR)
            self.assertIn('"level": "info"', self.rtoc("logs", "Generator", "--url", server.url)[1])

    def test_follow(self) -> None:
        """Each line once, until the server goes."""
        with FakeServer() as server:
            server.replies = {"getPluginList": {"pluginList": PLUGINS}}

            class Screen(io.StringIO):
                def flush(self) -> None:
                    if "second" in self.getvalue():
                        server.drop()
                    else:
                        log = [LINE, ["2026-11-22 14:55:59", 2, "second"]]
                        server.replies["getPluginList"] = {
                            "pluginList": {"Generator": {**PLUGINS["Generator"], "log": log}}
                        }

            shell = Shell(io.StringIO(), Screen(), io.StringIO(), {})
            command = ["plugin", "logs", "Generator", "--follow", "--url", server.url, "--format", "table"]
            self.assertEqual(main(command, shell), NO_CONNECTION)
            self.assertEqual(
                [it.split()[-1] for it in shell.stdout.getvalue().splitlines()], ["started", "second"]
            )

    def test_lines_that_are_new(self) -> None:
        a, b, c, d = ([str(number), 0, "same"] for number in range(4))
        self.assertEqual(added([], [a, b]), [a, b])
        self.assertEqual(added([a, b], [a, b]), [])
        self.assertEqual(added([a, b, c], [b, c, d]), [d])
        self.assertEqual(added([a, b], [c, d]), [c, d])
        self.assertEqual(added([a, a], [a, a, a]), [a])
        self.assertEqual(added([a], []), [])
