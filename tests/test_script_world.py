"""What scripts do: every construct of protocol section 11, against a server that is a part of the test."""

from __future__ import annotations

import math
import socket
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.scripts.effects import PRINTED
from rtoc_twisted.automation.scripts.guards import builtin_names
from rtoc_twisted.automation.scripts.link import Link
from rtoc_twisted.automation.scripts.messages import Ask, Done, Edge, Failed, Keep
from rtoc_twisted.automation.scripts.modules import Missing
from rtoc_twisted.automation.scripts.network import resolver
from rtoc_twisted.automation.scripts.words import BUILTINS, MODULES, WORLD
from rtoc_twisted.automation.scripts.world import World
from rtoc_twisted.box.messages import Event, Notify, Plot, Samples
from tests.script_child_support import CLOCK, Said, Server, begin, column, columns, modules, play


class WorldCase(SynchronousTestCase):
    """Runs scripts."""

    def run_well(self, source: str, server: Server | None = None, **more: Any) -> Said:
        said = play(source, server, **more)
        self.assertIsInstance(said.end, Done, said.failure)
        return said

    def assert_printed(self, source: str, text: str, server: Server | None = None, **more: Any) -> None:
        self.assertEqual(self.run_well(source, server, **more).printed, text)

    def assert_fails(self, source: str, reason: str, line: int = 1, **more: Any) -> None:
        end = play(source, **more).end
        assert isinstance(end, Failed), source
        self.assertIn(reason, end.text.splitlines()[-1])
        self.assertEqual(end.line, line)

    def only(self, said: Said, kind: type[Any]) -> Any:
        (effect,) = said.effects
        self.assertIsInstance(effect, kind)
        return effect


class SignalsTest(WorldCase):
    """Device.Signal, its parts, and its two in calls and assignments."""

    def test_a_signal_is_two_arguments(self) -> None:
        self.assert_printed("print(rtoc.mean(Generator.Square, 10))", "0.0\n")
        self.assert_printed(
            "def f(*a): return len(a)\nprint(f(Generator.Square, Generator.gen_level))", "3\n"
        )

    def test_a_signal_is_two_variables(self) -> None:
        self.assert_printed("x, y = Generator.Square\nprint(len(x), y[-1], x[0] == clock)", "50 -1.0 True\n")

    def test_a_signal_in_lists(self) -> None:
        both = "[Generator.Square, Generator.Sinus]"
        self.assert_printed(f"x, y = rtoc.combine({both}, n=7)\nprint(len(x), len(y))", "7 2\n")
        self.assert_printed(f"x, y = rtoc.combine({both}, 9)\nprint(y[0][0], y[1][0])", "1.0 0.0\n")

    def test_a_signal_in_a_variable(self) -> None:
        self.assert_printed(
            "s = Generator.Square\nprint(rtoc.mean(s), len(s), s[1][0], s)", "0.0 2 1.0 Generator.Square\n"
        )
        self.assert_printed("g = device('Generator')\nprint(rtoc.mean(g.Square, 3))", "-1.0\n")

    def test_its_parts(self) -> None:
        self.assert_printed(
            "print(Generator.Square.latest * 2, Generator.Sinus.y[:2].sum() > 0)", "-2.0 True\n"
        )
        self.assert_printed("print(Generator.Square.x.shape, Generator.Square.y.dtype)", "(50,) float64\n")

    def test_names_with_blanks_and_dots(self) -> None:
        server = Server()
        server.signals["Room 1", "Air temp."] = ([1.0], [20.5])
        server.signals["a.b", "c"] = ([1.0], [7.0])
        self.assert_printed(
            "print(signal('Room 1.Air temp.').latest, signal('a.b.c').latest)", "20.5 7.0\n", server
        )
        self.assert_printed("print(rtoc.mean(signal('a.b.c')))", "7.0\n", server)
        self.assert_printed("print(getattr(device('Room 1'), 'Air temp.').latest)", "20.5\n", server)

    def test_assigning_latest_streams(self) -> None:
        server = Server()
        said = self.run_well("Generator.Sinus.latest = 0.5\nprint(Generator.Sinus.latest)", server)
        self.assertEqual(said.printed, "0.5\n")
        sent = self.only(said, Samples)
        self.assertEqual((sent.dname, sent.names, column(sent.y)), ("Generator", ["Sinus"], [0.5]))
        said = self.run_well("Generator.Sinus.latest *= 4\nsignal('new.one').latest = 1", server)
        self.assertEqual([column(effect.y) for effect in said.effects], [[2.0], [1.0]])

    def test_product_of_two_latest_values(self) -> None:
        source = (
            "stream(np.sin(clock), 'a', 'no')\nstream(np.sin(clock + math.pi / 2), 'b', 'no')\n"
            "stream(no.a.latest * no.b.latest, 'product', 'no', 'V2')"
        )
        *_, product = self.run_well(source).effects
        assert isinstance(product, Samples)
        self.assertAlmostEqual(column(product.y)[0], math.sin(CLOCK) * math.cos(CLOCK))
        self.assertEqual((product.names, product.units), (["product"], ["V2"]))

    def test_what_is_not_there(self) -> None:
        server = Server()
        server.signals["Generator", "Empty"] = ([], [])
        self.assert_fails(
            "x = 1\nprint(Generator.Squre)", "Generator.Squre: no signal, parameter or function", 2
        )
        self.assert_fails("print(vlue)", "NameError: name 'vlue' is not defined")
        self.assert_fails("time.sleep(1)", "write 'import time' first")
        self.assertIn("Generator.Empty has no values", play("Generator.Empty.latest", server).failure)


class PluginsTest(WorldCase):
    """Device.PARAMETER and Device.FUNCTION()."""

    def test_parameters(self) -> None:
        server = Server()
        said = self.run_well("Generator.gen_level += 1.5\nprint(Generator.gen_level)", server)
        self.assertEqual(said.printed, "2.5\n")
        self.assertEqual(self.only(said, Ask).args, ["Generator", "gen_level", 2.5])

    def test_a_function_with_text_built_from_values(self) -> None:
        server = Server()
        server.functions["Deneb", "cmd"] = {"ok": True}
        said = self.run_well(
            "v = Generator.Square.latest\n"
            "r = Deneb.cmd('dc1=' + str(v) + ';' + 'dc2=' + str(-v) + ';', fast=True)\nprint(r['ok'])",
            server,
        )
        self.assertEqual(said.printed, "True\n")
        self.assertEqual(self.only(said, Ask).args, ["Deneb", "cmd", ["dc1=-1.0;dc2=1.0;"], {"fast": True}])

    def test_what_is_handed_over_is_plain(self) -> None:
        server = Server()
        said = self.run_well("Generator.setLabels(np.arange(2), np.float64(1), {'a': (1,)})", server)
        self.assertEqual(self.only(said, Ask).args[2:], [[[0, 1], 1.0, {"a": [1]}], {}])

    def test_refusals_are_exceptions(self) -> None:
        server = Server()
        server.functions["Generator", "setLabels"] = ValueError("not so")
        self.assertIn("RuntimeError: ", play("Generator.setLabels()", server).failure)
        self.assertIn("RuntimeError: Generator has no nothing", play("Generator.nothing = 1", server).failure)
        self.assert_printed(
            "try:\n    Generator.nothing = 1\nexcept RuntimeError:\n    print('no')", "no\n", server
        )


class EffectsTest(WorldCase):
    """stream, plot, event, print, clearData, exportData, telegram."""

    def test_stream_in_its_forms(self) -> None:
        for call, device, names, units, values in (
            ("stream(2)", "noDevice", ["Unnamed"], [None], [2.0]),
            ("stream(np.float32(2), 'a', 'D', 'V')", "D", ["a"], ["V"], [2.0]),
            ("stream([1, 2], ['a', 'b'], 'D', ['V', 'A'])", "D", ["a", "b"], ["V", "A"], [1.0, 2.0]),
            ("stream([1, 2], sname='a', dname='D')", "D", ["a", "Unnamed"], [None, None], [1.0, 2.0]),
            ("stream(np.array([1, 2]), snames=['a', 'b'])", "noDevice", ["a", "b"], [None, None], [1.0, 2.0]),
            ("stream(slist=[[1, 'a', 'V']])", "noDevice", ["a"], ["V"], [1.0]),
            ("stream(sdict={'D': {'a': [1, 'V']}})", "D", ["a"], ["V"], [1.0]),
        ):
            sent = self.only(self.run_well(call), Samples)
            self.assertEqual(
                (sent.dname, sent.names, sent.units, column(sent.y)), (device, names, units, values)
            )
        sent = self.only(self.run_well("stream([1, 2], ['a', 'b'], x=[3, 4])"), Samples)
        self.assertEqual(column(sent.x), [3.0, 4.0])
        self.assertEqual(self.only(self.run_well("stream('text')"), Event).text, "text")

    def test_long_streams_are_cut(self) -> None:
        said = self.run_well("stream(np.arange(100000), ['a'] * 100000, 'D')")
        values = [
            value for effect in said.effects if isinstance(effect, Samples) for value in column(effect.y)
        ]
        self.assertEqual(values, [float(value) for value in range(100_000)])
        self.assertEqual(len(said.effects), 2)

    def test_stream_of_no_numbers(self) -> None:
        self.assert_fails("\nstream([1, 'x'], ['a', 'b'])", "ValueError: y[1]", 2)
        self.assert_fails("stream(slist=[[1, 'a', 'V'], 3])", "slist[1] is not [y, name, unit]")
        self.assertEqual(play("stream(slist=[[1, 'a', 'V'], 3])").effects, [])

    def test_plot(self) -> None:
        plot = self.only(self.run_well("plot(Generator.Square, 'klaus', 'baum')"), Plot)
        self.assertEqual((plot.dname, plot.sname, plot.unit, plot.hold), ("baum", "klaus", "", "off"))
        self.assertEqual(columns(plot), Server().signals["Generator", "Square"])
        plot = self.only(self.run_well("plot([5, 6], unit='rad', hold='mergeX')"), Plot)
        self.assertEqual(
            (plot.dname, plot.sname, plot.unit, plot.hold), ("noDevice", "noName", "rad", "mergeX")
        )
        self.assertEqual(columns(plot), ([0.0, 1.0], [5.0, 6.0]))
        plot = self.only(self.run_well("s = Generator.Sinus\nplot(s, 'copy', 'D', 'V', False)"), Plot)
        self.assertEqual((plot.sname, plot.hold, len(column(plot.x))), ("copy", "off", 50))
        long = self.run_well("plot(np.arange(70000), np.arange(70000))").effects
        self.assertEqual(
            [(effect.hold, len(column(effect.x))) for effect in long], [("off", 65536), ("on", 4464)]
        )
        self.assert_fails("plot([1, 2], [3])", "ValueError: plot: 2 of x, and 1 of y")
        self.assert_fails("plot([1], hold='of')", "hold is one of off, on")

    def test_event(self) -> None:
        told = self.only(self.run_well("event('ten', 'Note', 'two', x=clock + 10)"), Event)
        self.assertEqual((told.text, told.sname, told.dname, told.x), ("ten", "Note", "two", CLOCK + 10))
        self.assertEqual((told.priority, told.id, told.value), (0, "", None))
        for call in (
            "event('t', 's', 'd', 5, 2, 'me', {'a': 1})",
            "event(['t', 's', 'd', 5, 2, 'me', {'a': 1}])",
        ):
            told = self.only(self.run_well(call), Event)
            self.assertEqual(told, Event("t", "d", "s", 5.0, 2, "me", {"a": 1}))
        told = self.only(self.run_well("event({'text': 't', 'priority': 9})"), Event)
        self.assertEqual((told.dname, told.sname, told.priority), ("noDevice", "noName", 0))

    def test_print(self) -> None:
        self.assert_printed("print('a', 1, sep='-', end='!')\nprint(file=sys.stderr)", "a-1!\n")
        self.assert_printed("sys.stdout.write('x')\nprint('é\\ud800')", "xé?\n")

    def test_printed_text_is_limited(self) -> None:
        said = self.run_well("for i in range(100): print('x' * 999)")
        self.assertEqual(said.printed[:PRINTED], ("x" * 999 + "\n") * 65 + "x" * 536)
        self.assertEqual(
            said.printed[PRINTED:], f"\n... {100_000 - PRINTED} letters more were printed, and dropped\n"
        )

    def test_clear_and_export(self) -> None:
        said = self.run_well("clearData()\nexportData('a', 'csv')\nprint(exportData())")
        asked = [(effect.what, effect.args) for effect in said.effects if isinstance(effect, Ask)]
        self.assertEqual(
            asked, [("clear", []), ("export", ["a", "csv", False]), ("export", [None, "json", False])]
        )

    def test_telegram(self) -> None:
        said = self.run_well(
            "telegram.send_message_to_all('Hi')\n"
            "telegram.send_photo(b'png', priority=2, permission='admin')\n"
            "telegram.send_plot({'a': Generator.Square, 'b': [[1], [2]]}, 'T', 'text', [[1, 'e']])"
        )
        message, photo, plot = (effect for effect in said.effects if isinstance(effect, Notify))
        self.assertEqual((message.kind, message.text, message.permission), ("message", "Hi", "write"))
        self.assertEqual(
            (photo.kind, photo.data, photo.priority, photo.permission), ("photo", b"png", 2, "admin")
        )
        self.assertEqual((plot.kind, plot.name, plot.text), ("plot", "T", "text"))
        self.assertEqual([len(line[1]) for line in plot.data["signals"].values()], [50, 1])

    def test_files_of_notifications(self) -> None:
        path = self.mktemp()
        Path(path).write_bytes(b"data")
        sent = self.only(self.run_well(f"telegram.send_document({path!r})"), Notify)
        # Which files may be sent so is the server's to decide.
        self.assertEqual((sent.kind, sent.data, "/" in sent.name), ("document", path, False))
        sent = self.only(self.run_well(f"telegram.send_document({path!r})", files=True), Notify)
        self.assertEqual((sent.kind, sent.data, "/" in sent.name), ("document", b"data", False))


class KeptTest(WorldCase):
    """global and trig: what lasts from run to run."""

    def test_first_value_once(self) -> None:
        server = Server()
        source = "global x=1\nglobal.x += 1\nprint(global.x)"
        said = self.run_well(source, server)
        self.assertEqual(said.effects, [Keep("x", 1), Keep("x", 2)])
        self.assert_printed(source, "3\n", server)
        self.assertEqual(server.globals, {"x": 3})

    def test_self_is_another_word(self) -> None:
        self.assert_printed("global x = 4\nself.x += 1\nprint(self.x, f'{global.x}')", "5 5\n")

    def test_names_that_begin_with_an_underscore(self) -> None:
        self.assert_printed("global _x = 1\nglobal._x += 1\nprint(global._x)", "2\n")

    def test_not_set(self) -> None:
        self.assert_fails("print(global.x)", "global.x has no value yet")

    def test_lists_that_change_in_place(self) -> None:
        server = Server()
        self.run_well("global log = []\nglobal.log.append(np.float64(1))", server)
        self.assertEqual(server.globals, {"log": [1.0]})
        self.assertEqual(self.run_well("print(global.log)", server).effects, [])

    def test_integral_of_a_pid_loop(self) -> None:
        server = Server()
        server.signals["Engine", "brightness"] = ([0.0, 1.0], [10.0, 12.0])
        source = (
            "ki = 0.5\nglobal oldI=0\n"
            "out, newI = rtoc.PID(Engine.brightness, 8, 2, ki, 0, global.oldI)\n"
            "global.oldI = newI\nstream(out, 'controller')"
        )
        outs = [column(self.run_well(source, server).effects[-1].y)[0] for _ in range(3)]
        self.assertEqual(outs, [2 * 4 + 0.5 * 4, 2 * 4 + 0.5 * 8, 2 * 4 + 0.5 * 12])
        self.assertEqual(server.globals, {"oldI": 12.0})

    def test_trig_fires_at_the_edge(self) -> None:
        server = Server()
        square = server.signals["Generator", "Square"][1]
        source = "trig Generator.Square.latest == 1:\n\tGenerator.gen_level += 1\n"
        levels = []
        for value in (-1.0, 1.0, 1.0, -1.0, 1.0):
            square[-1] = value
            self.run_well(source, server)
            levels.append(server.parameters["Generator", "gen_level"])
        self.assertEqual(levels, [1.0, 2.0, 2.0, 2.0, 3.0])
        self.assertEqual(server.triggers, {"Generator.Square.latest == 1": True})

    def test_trig_fires_at_once(self) -> None:
        said = self.run_well("trig True: print('one')\ntrig True: print('two')\nelse: print('not')")
        self.assertEqual(said.printed, "one\ntwo\n")
        self.assertEqual(said.effects, [Edge("True", True), Edge("True (2)", True)])

    def test_trig_in_a_loop(self) -> None:
        self.assert_printed("for i in [0, 1, 1, 0, 1]:\n  trig i > 0:\n    print(i)", "1\n1\n")


class StopTest(WorldCase):
    """while True, time.sleep and what ends a script."""

    def test_while_true_ends(self) -> None:
        source = "n = 0\nwhile True:\n\tn += 1\nelse:\n\tprint('left', n)\nprint('after')"
        self.assert_printed(source, "left 4\nafter\n", stop_after=5)
        self.assert_printed("def f():\n  while 1:\n    pass\nf()\nprint('after')", "after\n", stop_after=3)

    def test_sleep_ends(self) -> None:
        self.assert_printed("import time\ntime.sleep(1e6)\nprint('woken')", "woken\n", stop_after=2)

    def test_sleeping_on_is_ended(self) -> None:
        source = "import time\nn = 0\nfor i in range(10**6):\n  time.sleep(1e6)\n  print(i)"
        said = self.run_well(source, stop_after=1)
        self.assertEqual(said.printed.split(), [str(index) for index in range(16)])

    def test_except_does_not_hold_up(self) -> None:
        self.assert_printed("try:\n  return\nexcept:\n  print('held')\nfinally:\n  print('last')", "last\n")
        self.assert_printed("try:\n  sys.exit(3)\nexcept:\n  print('held')", "")
        self.assert_printed("try:\n  1/0\nexcept:\n  print('held')", "held\n")


class EndTest(WorldCase):
    """What a script returns, and how it fails."""

    def test_returned(self) -> None:
        for value, kind, data in (
            ("", "none", None),
            ("'text', 5", "text", "5"),
            ("['document', b'data']", "document", b"data"),
            ("('picture', 'some/where.png')", "picture", "some/where.png"),
            ("np.arange(3)", "value", [0, 1, 2]),
            ("'text', 1, 2", "value", ["text", 1, 2]),
            ("{'a': 1}", "value", {"a": 1}),
        ):
            end = self.run_well(f"if True:\n    return {value}\nprint(1)").end
            self.assertEqual(end, Done(kind, data))

    def test_returned_file(self) -> None:
        path = self.mktemp()
        Path(path).write_bytes(b"data")
        self.assertEqual(
            self.run_well(f"return 'document', {path!r}", files=True).end, Done("document", b"data")
        )
        self.assertEqual(
            self.run_well(f"with open({path!r}) as f:\n    print(f.read())", files=True).printed, "data\n"
        )
        self.assertEqual(
            self.run_well(f"np.savetxt({path!r}, [1.5])\nprint(np.loadtxt({path!r}))", files=True).printed,
            "1.5\n",
        )

    def test_lines_of_a_failure(self) -> None:
        source = "def half(n):\n    return 1 / n\n\nx = 'é'\nprint(half(0))"
        end = play(source).end
        text = "line 5: print(half(0))\nline 2, in half: return 1 / n\nZeroDivisionError: division by zero"
        self.assertEqual(end, Failed(text, 2))

    def test_lines_of_a_failure_within_ours(self) -> None:
        end = play("x = 1\nrtoc.lsfit([1], [2, 3])").end
        assert isinstance(end, Failed)
        self.assertEqual(end.line, 2)
        self.assertEqual(len(end.text.splitlines()), 2)

    def test_lines_after_rtocs_words(self) -> None:
        self.assert_fails("global x = 1\ntrig True:\n\tglobal.x += 1\n\ty = 1 / 0", "ZeroDivisionError", 4)

    def test_no_script(self) -> None:
        self.assertEqual(play("x = (").end, Failed("line 1, column 5: '(' was never closed", 1))

    def test_errors_that_cannot_be_told(self) -> None:
        source = "class E(Exception):\n    def __str__(self): return 1 / 0\nraise E"
        self.assert_fails(source, "E: (its text failed: ZeroDivisionError)", 3)
        self.assert_fails("def f(): return f()\nf()", "RecursionError", 1)

    def test_long_reasons_are_cut(self) -> None:
        end = play("x = '" + "y" * 999 + "'; raise ValueError('z' * (20 << 20))").end
        assert isinstance(end, Failed)
        self.assertEqual(end.text, "line 1: x = '" + "y" * 195 + "\nValueError: " + "z" * 4096)

    def test_lines_of_all_editors(self) -> None:
        end = play("# \u2028 \x0c\r\nx = 1\ry = z").end
        self.assertEqual(end, Failed("line 3: y = z\nNameError: name 'z' is not defined", 3))

    def test_what_is_too_large_to_tell(self) -> None:
        self.assert_fails("return b'x' * (17 << 20)", "TooLarge", 0)
        self.assert_fails("event('x' * (17 << 20))", "TooLarge")


class ModulesTest(WorldCase):
    """math, np, sp, sys, imports, and the library."""

    def test_those_that_are_there(self) -> None:
        self.assert_printed("print(math.floor(np.sqrt(17)), np.linalg.det([[2, 0], [0, 2]]))", "4 4.0\n")
        self.assert_printed(
            "print(sys.maxsize > 1, sys.float_info.max > 1, sys.argv)", "True True ['script']\n"
        )
        self.assert_printed(
            "from math import *\nimport numpy.fft as f\nprint(cos(0), f.fft([1])[0].real)", "1.0 1.0\n"
        )
        self.assert_printed("import json, re\nprint(json.loads('[1]'), re.sub('a', 'b', 'aa'))", "[1] bb\n")
        self.assert_printed(
            "from datetime import datetime as d\nprint(d.strptime('2020', '%Y').year)", "2020\n"
        )
        self.assert_printed(
            "from functools import wraps, reduce\n@wraps(len)\ndef f(): pass\nprint(reduce(max, [1, 3, 2]))",
            "3\n",
        )

    def test_all_can_be_imported(self) -> None:
        for name in MODULES:
            self.run_well(f"import {name}\nprint({name})")

    def test_what_is_not_in_them(self) -> None:
        self.assert_fails("import numpy.ctypeslib", "ImportError: scripts have no module numpy.ctypeslib")
        self.assert_fails(
            "from random import SystemRandom", "ImportError: scripts have no random.SystemRandom"
        )
        self.assert_fails("np.load('x')", "AttributeError: scripts have no numpy.load")

    def test_scipy_where_it_is_installed(self) -> None:
        said = play("from scipy import special\nprint(sp.special.erf(0), special.erf(0))")
        if "scipy" in modules().missing:
            self.assertEqual(said.failure.splitlines()[-1], "ImportError: scipy is not installed")
        else:
            self.assertEqual(said.printed, "0.0 0.0\n")

    def test_a_module_that_is_not_installed(self) -> None:
        error = self.assertRaises(ImportError, getattr, Missing("scipy", {}), "signal")
        self.assertEqual(str(error), "scipy is not installed")

    def test_every_function_of_the_library(self) -> None:
        for call in (
            *("lsfit(Generator.Sinus)", "lsfit(Generator.Sinus, 'quad')", "resample(Generator.Sinus, 9)"),
            *("resampleFourier(Generator.Sinus, 100)", "combine([Generator.Sinus, Generator.Square])"),
            *("runningMean(Generator.Sinus, 5)", "mean(Generator.Sinus)", "PID(Generator.Sinus, 1)"),
            *("d(Generator.Sinus)", "diff(Generator.Sinus)", "norm(Generator.Sinus, 2, 1)"),
            *("estimate(Generator.Sinus, 5)", "correlate(Generator.Sinus, Generator.Square, 'full')"),
            "forwardEuler(Generator.Sinus, lambda u, t: -u, 1, 10, 1)",
        ):
            self.run_well(f"print(rtoc.{call})")

    def test_values_that_make_sense(self) -> None:
        self.assert_printed("x, y = rtoc.resample(Generator.Sinus, 99)\nprint(len(x), y[0])", "99 0.0\n")
        self.assert_printed("x, y = rtoc.diff(Generator.Square)\nprint(len(x), y.min() < -10)", "49 True\n")
        self.assert_printed("x, y, p = rtoc.lsfit([0, 1, 2], [1, 3, 5])\nprint(*p.round(9))", "1.0 2.0\n")

    def test_formats(self) -> None:
        self.assert_printed(
            "print('{:.1f} {a[0]} {}'.format(1.25, 'x', a=[3]), '{a}'.format_map({'a': 1}))", "1.2 3 x 1\n"
        )
        self.assert_printed(
            "print(list(map('{:>3}'.format, [1])), str.format('{}', 2), f'{1:03d}')", "['  1'] 2 001\n"
        )

    def test_names_in_formats_that_only_look_hidden(self) -> None:
        self.assert_printed("print('{mro_dump} {a[_b]}'.format(mro_dump=1, a={'_b': 2}))", "1 2\n")

    def test_the_event_that_is_answered(self) -> None:
        self.assert_printed("print(cause['text'])", "hot\n", event={"text": "hot"})
        self.assert_printed("print(cause)", "None\n")

    def test_words_are_those_of_the_language(self) -> None:
        world = World(begin("", Server()), Link(bytes, lambda data: None, bool), modules())
        names = {name for name in world.namespace(()) if name.isidentifier() and not name.startswith("__")}
        self.assertEqual(names - {"global"}, WORLD)
        inner = {name for name in builtin_names() if not name.startswith("__")}
        self.assertEqual(inner, BUILTINS - {"open"})


class ResolverTest(SynchronousTestCase):
    """Names of hosts, for scripts that may have the network."""

    def setUp(self) -> None:
        """Have a resolver that knows one name."""
        self.asked: list[str] = []
        self.resolve = resolver(self.addresses, socket.getaddrinfo)

    def addresses(self, name: str) -> list[str]:
        """Return the addresses of a name."""
        self.asked.append(name)
        return ["192.0.2.1", "2001:db8::1"] if name == "some.where" else []

    def test_names(self) -> None:
        found = self.resolve("some.where", 80, type=socket.SOCK_STREAM)
        self.assertEqual([entry[4][:2] for entry in found], [("192.0.2.1", 80), ("2001:db8::1", 80)])
        found = self.resolve(b"some.where", 80, socket.AF_INET, socket.SOCK_STREAM)
        self.assertEqual([entry[4] for entry in found], [("192.0.2.1", 80)])
        self.assertEqual(self.asked, ["some.where"] * 2)

    def test_addresses(self) -> None:
        for address in ("127.0.0.1", "::1"):
            self.assertEqual(self.resolve(address, 80)[0][4][:2], (address, 80))
        self.assertNotEqual(self.resolve(None, 80), [])
        self.assertEqual(self.asked, [])

    def test_unknown_names(self) -> None:
        self.assertRaises(socket.gaierror, self.resolve, "nowhere", 80)
