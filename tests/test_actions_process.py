"""Scripts in real processes: what RTOC's do works, and what overruns ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.trial.unittest import TestCase

from rtoc_twisted.automation.actions import Outcome, ScriptPolicy, spawn
from rtoc_twisted.automation.actions.mother import Mother
from rtoc_twisted.automation.actions.process import ARGUMENTS
from rtoc_twisted.automation.chain import Link
from rtoc_twisted.box.environment import environment
from rtoc_twisted.model import Selector
from tests.actions_support import Heard, Stage
from tests.script_child_support import BARE


class Waiting(Heard):
    """Tells of the first event with a text."""

    def __init__(self, stage: Stage, text: str) -> None:
        super().__init__(stage.chain)
        self.came: Deferred[None] = Deferred()
        self._text = text
        stage.recorder.subscribe(self, Selector())  # type: ignore[arg-type]

    def event_raised(self, event: Any) -> None:
        if event.text == self._text and not self.came.called:
            self.came.callback(None)


class ProcessCase(TestCase):
    """A stage whose mother is a real process; it is gone after each test."""

    timeout = 120
    policy = ScriptPolicy()
    mother = BARE

    def setUp(self) -> None:
        launch = spawn(reactor, environment(os.environ), self.mother)
        self.mothers: list[Any] = []

        def launched(owner: Any) -> Any:
            self.mothers.append(launch(owner))
            return self.mothers[-1]

        self.stage = Stage(Path(self.mktemp()).absolute(), launch=launched, clock=reactor, policy=self.policy)
        self.addCleanup(self.stage.actions.close)

    def run_script(self, script: str, name: str = "a", dry: bool = False, **rule: Any) -> Deferred[Outcome]:
        """Run a script; fires with its outcome."""
        return self.stage.actions.run(name, self.stage.rule(script, **rule), None, Link("c0ffee"), dry)

    def children(self) -> list[int]:
        """Return the pids of the scripts that run."""
        pid = self.mothers[-1].transport.pid
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


class LibraryTests(ProcessCase):
    """The functions of RTOC's scripts (protocol section 11), those that need scipy too."""

    mother = ARGUMENTS

    @inlineCallbacks
    def test_library_functions_take_a_signal_given_as_one_name(self) -> Any:
        self.stage.append([0.0, 1.0, 4.0, 9.0, 16.0, 25.0])
        outcome = yield self.run_script(
            "x, y = rtoc.resample(Dev.A, 11)\n"
            "print(len(x), y[1])\n"
            "x, y = rtoc.resampleFourier(Dev.A, 12)\n"
            "print(len(x), len(y))\n"
            "x, y, p = rtoc.lsfit(Dev.A, 'quad')\n"
            "print(abs(y - x ** 2).max() < 1e-9)\n"
            "x, y = rtoc.runningMean(Dev.A, 3)\n"
            "print(x.round(9).tolist(), round(float(y[0]), 3))\n"
            "x, y = rtoc.diff(Dev.A)\n"
            "print(y.tolist())\n"
            "print(rtoc.mean(Dev.A, 2))\n"
            "x, y, p = rtoc.lsfit(Dev.A, lambda x, a: a * x ** 2)\n"
            "print(p.round(9).tolist())\n"
            "plot(*rtoc.diff(Dev.A), 'Slope', 'Dev', 'V/s')\n"
        )
        self.assertEqual(outcome.error, "")
        lines = outcome.output.splitlines()
        self.assertEqual(lines[:2], ["11 0.5", "12 12"])
        self.assertEqual(
            lines[2:], ["True", "[1.0, 2.0, 3.0, 4.0] 1.667", "[1.0, 3.0, 5.0, 7.0, 9.0]", "20.5", "[1.0]"]
        )
        self.assertEqual(self.stage.samples("Slope"), [1, 3, 5, 7, 9])


class LanguageTests(ProcessCase):
    """The constructs of RTOC's scripts (protocol section 11)."""

    @inlineCallbacks
    def test_pid_loop_keeps_its_integral_in_a_global(self) -> Any:
        script = (
            "global oldI = 0\n"
            "u, global.oldI = rtoc.PID(Dev.A, 1, 2, 0.5, 0, global.oldI)\n"
            "stream(u, 'u', 'Dev')\n"
        )
        self.stage.append([4.0, 4.0])
        for _ in range(3):
            outcome = yield self.run_script(script)
            self.assertEqual(outcome.error, "")
        self.assertEqual(self.stage.samples("u"), [7.5, 9.0, 10.5])
        kept = self.stage.storage.document("automation/globals/a")
        self.assertEqual(kept["globals"], {"oldI": 9.0})

    @inlineCallbacks
    def test_trig_block_increments_a_plugin_parameter_once(self) -> Any:
        script = "trig Dev.A.latest > 0:\n\tGen.level += 1\n"
        for value in (1.0, 1.0, -1.0, 1.0):
            self.stage.append([value])
            outcome = yield self.run_script(script)
            self.assertEqual(outcome.error, "")
        self.assertEqual(self.stage.plugins.parameters["level"], 3.0)

    @inlineCallbacks
    def test_plugin_function_is_called_with_text_built_from_values(self) -> Any:
        self.stage.append([2.5])
        outcome = yield self.run_script(
            "answer = Gen.cmd('dc1=' + str(Dev.A.latest) + ';' + 'n=%d' % len(Dev.A.y))\nprint(answer)"
        )
        self.assertEqual((outcome.error, outcome.output), ("", "called\n"))
        self.assertEqual(self.stage.plugins.done, [("call", "Gen", "cmd", ["dc1=2.5;n=1"], {})])

    @inlineCallbacks
    def test_product_of_two_signals_is_streamed_and_seen(self) -> Any:
        self.stage.append([2.5])
        self.stage.append([4.0], "B")
        outcome = yield self.run_script(
            "stream(Dev.A.latest * Dev.B.latest, 'P', 'Dev')\nprint(Dev.P.latest)\nDev.P.latest = 11\n"
            "print(Dev.P.latest)"
        )
        self.assertEqual((outcome.error, outcome.output), ("", "10.0\n11.0\n"))
        self.assertEqual(self.stage.samples("P"), [10, 11])

    @inlineCallbacks
    def test_failure_shows_the_lines_of_the_script(self) -> Any:
        outcome = yield self.run_script("x = 1\ny = x / 0\n")
        self.assertFalse(outcome.ok)
        self.assertEqual(outcome.told, "line 2: y = x / 0\nZeroDivisionError: division by zero")
        outcome = yield self.run_script("Gen.cmd('a')\nIdle.cmd('b')\n")
        self.assertIn("line 2", outcome.error)
        self.assertIn("the plugin Idle does not run", outcome.error)
        self.assertEqual(len(self.stage.plugins.done), 1)

    @inlineCallbacks
    def test_dry_run_lists_and_does_nothing(self) -> Any:
        self.stage.append([2.5])
        outcome = yield self.run_script(
            "global n = 5\nstream([1, 2], ['A', 'B'], 'Dev')\nprint(Dev.A.latest)\nGen.level = 7\n"
            "print(Gen.level)\nprint(Gen.cmd('x'))\nevent('e', 'A', 'Dev')\nclearData()\n",
            dry=True,
        )
        self.assertEqual((outcome.error, outcome.output), ("", "1.0\n7\nNone\n"))
        told = [call["what"] for call in outcome.calls]
        self.assertEqual(told, ["stream", "stream", "set", "call", "event", "clear"])
        self.assertEqual(
            (self.stage.samples(), self.stage.plugins.done, self.stage.events()), ([2.5], [], [])
        )
        self.assertIsNone(self.stage.storage.document("automation/globals/a"))

    @inlineCallbacks
    def test_user_actions(self) -> Any:
        answer = self.stage.actions.answer_user
        told = yield answer("u", "return 'text', 'hi there'")
        self.assertEqual(told, {"name": "u", "success": True, "type": "text", "data": "hi there"})
        (self.stage.media / "p.png").write_bytes(b"document body")
        told = yield answer("u", "return 'picture', 'p.png'")
        self.assertEqual((told["success"], told["data"]), (True, "ZG9jdW1lbnQgYm9keQ=="))
        told = yield answer("u", "print('hi')")
        self.assertEqual((told["success"], told["type"]), (False, "text"))
        told = yield answer("u", "return 'picture', '/etc/passwd'")
        self.assertFalse(told["success"])


class EndTests(ProcessCase):
    """What overruns ends, and nothing is left."""

    policy = ScriptPolicy(memory=128 << 20)

    @inlineCallbacks
    def test_script_that_overruns_is_stopped_or_killed(self) -> Any:
        # The first waits for the mother, whose start is not counted.
        for script in ("while True: pass", "n = 0\nfor i in range(10 ** 12):\n    n += 1\n"):
            outcome = yield self.run_script(script, seconds=0.2)
            self.assertEqual((outcome.ok, outcome.error.splitlines()[0]), (False, "stopped after 0.2 s"))

    @inlineCallbacks
    def test_script_that_wants_too_much_memory_ends(self) -> Any:
        for script in (
            "x = np.zeros(10 ** 9)",
            "x = []\nwhile True:\n    x.append('x' * 100000 + str(len(x)))",
        ):
            outcome = yield self.run_script(script)
            self.assertFalse(outcome.ok)
            self.assertIn("128 MB", outcome.error)
        outcome = yield self.run_script("print('still there')")
        self.assertEqual(outcome.output, "still there\n")

    @inlineCallbacks
    def test_loop_without_end_ends_when_the_action_is_stopped(self) -> Any:
        waiting = Waiting(self.stage, "runs")
        ended = self.run_script(
            "n = 0\nwhile True:\n    n += 1\n    if n == 3: event('runs')\nprint('over')", seconds=0
        )
        yield waiting.came
        self.assertTrue(self.stage.actions.stop("a"))
        outcome = yield ended
        self.assertEqual((outcome.ok, outcome.output), (True, "over\n"))

    @inlineCallbacks
    def test_flood_of_prints_and_values_hurts_nobody(self) -> Any:
        script = "n = 0\nwhile True:\n    n += 1\n    print('x' * 1000)\n    stream(n, 'N', 'Dev')\n"
        flood = self.run_script(script, "flood", seconds=2)
        outcome = yield self.run_script("print('me too')", "other")
        self.assertEqual(outcome.output, "me too\n")
        outcome = yield flood
        self.assertEqual(outcome.error, "stopped after 2 s")
        self.assertLess(len(outcome.output), 70_000)

    @inlineCallbacks
    def test_death_of_the_mother_fails_her_runs_and_the_next_works(self) -> Any:
        waiting = Waiting(self.stage, "runs")
        ended = self.run_script("event('runs')\nwhile True: pass", seconds=0)
        yield waiting.came
        (child,) = self.children()
        os.kill(self.mothers[0].transport.pid, signal.SIGKILL)
        outcome = yield ended
        self.assertEqual(outcome.error, "the process that runs scripts is gone: it was ended by SIGKILL")
        outcome = yield self.run_script("print('again')")
        self.assertEqual(outcome.output, "again\n")
        self.assertFalse(alive(child))
        self.assertEqual(len(self.mothers), 2)

    @inlineCallbacks
    def test_close_leaves_nothing_behind(self) -> Any:
        waiting = Waiting(self.stage, "runs")
        ended = self.run_script("event('runs')\nfor i in range(10 ** 12): pass", seconds=0)
        yield waiting.came
        pids = [*self.children(), self.mothers[0].transport.pid]
        yield self.stage.actions.close()
        outcome = yield ended
        self.assertEqual(outcome.error, "the server stops")
        self.assertEqual([pid for pid in pids if alive(pid)], [])

    @inlineCallbacks
    def test_runs_leave_no_descriptors(self) -> Any:
        yield self.run_script("pass")
        before = descriptors()
        for _ in range(5):
            yield self.run_script("print(1)")
        self.assertEqual(descriptors(), before)


HOSTILE = """
from rtoc_twisted.automation.scripts import child, mother
from rtoc_twisted.automation.scripts.messages import Ask
from rtoc_twisted.box.messages import pack
import os, time

def live(connection, parent, modules):
    for number in range(1000):
        os.write(connection, pack(Ask(number, "samples", ["Dev", "A"])))
    time.sleep(60)

child.live = live
mother.main()
"""
"""A mother whose processes ask again and again, and never read an answer."""


class MotherTests(ProcessCase):
    """Mothers that are none."""

    def bear(self, *arguments: str) -> Deferred[Outcome]:
        """Run a script in what is started by these arguments."""
        launch = spawn(reactor, environment(os.environ), arguments)
        self.stage = Stage(Path(self.mktemp()).absolute(), launch=launch, clock=reactor, policy=self.policy)
        self.addCleanup(self.stage.actions.close)
        return self.run_script("pass")

    @inlineCallbacks
    def test_what_is_not_there(self) -> Any:
        outcome = yield self.bear("/nonexistent/python")
        self.assertFalse(outcome.ok)
        self.assertTrue(outcome.error)

    @inlineCallbacks
    def test_what_ends_at_once(self) -> Any:
        outcome = yield self.bear(sys.executable, "-c", "raise SystemExit(3)")
        self.assertIn("it ended with the code 3", outcome.error)

    @inlineCallbacks
    def test_what_sends_no_messages(self) -> Any:
        babble = "import os, time; os.write(3, bytes([255] * 100)); time.sleep(60)"
        outcome = yield self.bear(sys.executable, "-c", babble)
        self.assertIn("it sent what is no message", outcome.error)

    @inlineCallbacks
    def test_what_reads_no_answers_gets_few(self) -> Any:
        self.policy = ScriptPolicy(seconds=1.0)
        running = self.bear(sys.executable, "-c", HOSTILE)
        self.stage.append([0.0] * 1000)
        read = self.stage.storage.read
        reads: list[Any] = []
        self.stage.storage.read = lambda wanted: reads.append(wanted) or read(wanted)  # type: ignore
        outcome = yield running
        self.assertIn("stopped after 1 s", outcome.error)
        # What the system takes of 16 kB each, and a little.
        self.assertLess(len(reads), 200)
        self.assertGreater(len(reads), 1)

    @inlineCallbacks
    def test_what_prints_is_logged_in_lines(self) -> Any:
        lines: list[str] = []
        self.patch(Mother, "printed", lambda mother, line: lines.append(line))
        yield self.bear(sys.executable, "-c", "print('first'); print('x' * 10000)")
        self.assertEqual(lines[0], "first")
        self.assertEqual("".join(lines[1:]), "x" * 10_000)
        self.assertLessEqual(max(map(len, lines)), 4096)

    def test_environment_has_nothing_but_what_python_needs(self) -> None:
        started: list[Any] = []

        class Reactor:
            def adoptStreamConnection(self, *_: Any) -> None: ...

            def spawnProcess(self, *_: Any, env: Any, **__: Any) -> None:
                started.append(env)

        spawn(Reactor(), {"PATH": "/bin", "LC_ALL": "C", "AWS_SECRET": "x"})(Any)  # type: ignore[arg-type]
        self.assertEqual({"PATH", "LC_ALL"}, {name for name in started[0] if "THREADS" not in name})


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def alive(pid: int) -> bool:
    """Return whether there is such a process, other than one that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
