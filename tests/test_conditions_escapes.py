"""Attempts to get out of the language of conditions, or to make it work too long or with too much."""

from __future__ import annotations

import tracemalloc

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.conditions import EvaluationFailed, parse
from rtoc_twisted.errors import BadValue

MEGABYTE = 2**20

ESCAPES = {
    "dunder walks": [
        "().__class__",
        "().__class__.__bases__[0].__subclasses__()",
        "(1).__class__",
        "(1.0).real",
        "''.__class__",
        "Dev.__class__",
        "Dev.__dict__.latest",
        "Dev.A.__class__",
        "Dev.A.latest.__class__",
        "Dev.A.y.__array_interface__",
        "Dev.A.y.__class__.__mro__",
        "Dev.A.y[-1].__class__",
        "Dev.A.y.tofile('/tmp/x')",
        "Dev.A.y.base",
        "__dev.A",
        "signal('Dev.A').__class__",
        "signal('Dev.A').latest.__class__",
        "signal('Dev.A').y.dtype",
        "np.mean(Dev.A.y).__class__",
        "abs.__self__",
        "math.__loader__",
        "math.sqrt.__self__",
        "np.__builtins__",
        "np.pi.__class__",
        "clock.__class__",
        "clock.real.imag",
        "(Dev.A.latest > 2).__class__",
        "(clock if 1 else clock).__class__",
        "[].__class__",
    ],
    "names": [
        "__import__",
        "__import__('os')",
        "__builtins__",
        "__builtins__['eval']",
        "__name__",
        "values",
        "values[0]",
        "missing(0)",
        "quiet()",
        "plain",
        "f0(1)",
        "v",
        "Exception",
        "getattr(1, 'real')",
        "setattr(1, 'a', 2)",
        "exec('1')",
        "eval('1')",
        "compile('1', '', 'eval')",
        "open('/etc/passwd')",
        "input()",
        "print(1)",
        "globals()",
        "vars()",
        "type(1)",
        "object()",
        "id(1)",
        "hash(1)",
        "range(10)",
        "list(Dev.A.y)",
        "bytes(9)",
        "str(1)",
        "os.system('true')",
        "sys.exit()",
        "rtoc.np",
        "rtoc.combine.__globals__",
    ],
    "functions of the modules": [
        "np.load('x')",
        "np.save('x', Dev.A.y)",
        "np.fromfile('x')",
        "np.memmap('x')",
        "np.loadtxt('x')",
        "np.genfromtxt('http://localhost/')",
        "np.ctypeslib",
        "np.ctypeslib.load_library('c', '/')",
        "np.f2py.compile('')",
        "np.lib.npyio.os.system('true')",
        "np.testing.assert_(1)",
        "np.random.rand(3)",
        "np.linalg.inv(Dev.A.y)",
        "np.vectorize(abs)",
        "np.frompyfunc(abs, 1, 1)",
        "np.apply_along_axis(abs, 0, Dev.A.y)",
        "np.zeros(10 ** 10)",
        "np.ones(10)",
        "np.arange(1e9)",
        "np.linspace(0, 1, 10 ** 9)",
        "np.repeat(Dev.A.y, 10 ** 9)",
        "np.tile(Dev.A.y, 10 ** 9)",
        "np.outer(Dev.A.y, Dev.A.y)",
        "np.array(1)",
        "np.float64(1)",
        "np.sum(Dev.A.y, dtype=int)",
        "np.sin(1, out=Dev.A.y)",
        "np.mean(Dev.A.y, keepdims=True)",
        "numpy.load('x')",
        "math.factorial(99999)",
        "math.comb(99999, 5)",
        "math.perm(99999)",
        "math.prod(Dev.A.y)",
        "rtoc.lsfit(Dev.A, exec)",
        "rtoc.forwardEuler(Dev.A, abs, 0, 1e9, 1e9)",
        "rtoc.PID(Dev.A, 1, 1, 1, 1, 1)",
        "Generator.start()",
        "Generator.A.latest()",
        "abs(1)(2)",
        "(abs)(1)()",
        "signal('Dev.A')()",
        "signal(parameter('Dev.A'))",
        "signal('Dev.' + 'A')",
        "signal(f'Dev.{1}')",
        "signal(*'ab')",
        "signal(name='Dev.A')",
    ],
    "syntax": [
        "f'{Dev.A.latest}'",
        "'{0.__class__}'.format(1)",
        "'%s' % 1",
        "'a' * 10 ** 9",
        "'a' 'b'",
        "b'a' * 9",
        "'a' < 'b'",
        "Dev.A == 'on'",
        "lambda: 1",
        "(lambda: 1)()",
        "[1, 2]",
        "[1] * 10 ** 9",
        "(1, 2)",
        "()",
        "{1}",
        "{1: 2}",
        "{**Dev.A}",
        "[x for x in Dev.A.y]",
        "{x for x in Dev.A.y}",
        "{x: x for x in Dev.A.y}",
        "(x for x in Dev.A.y)",
        "any(x > 1 for x in Dev.A.y)",
        "(x := 1)",
        "max(*Dev.A.y)",
        "max(**Dev.A)",
        "sqrt(**{'x': 1})",
        "*Dev.A.y",
        "(yield)",
        "await Dev.A",
        "1 << 10 ** 9",
        "1 | 2",
        "1 ^ 2",
        "~1",
        "1 @ 2",
        "1 in Dev.A.y",
        "1 is 1",
        "None",
        "...",
        "1j",
        "Dev.A.y[None]",
        "Dev.A.y[...]",
        "Dev.A.y['real']",
        "Dev.A.y[True]",
        "Dev.A.y[0, 0]",
        "Dev.A.y[(0,)]",
        "Dev.A.y[0][0]",
        "import os",
        "x = 1",
        "1; 2",
        "1\n2",
        "1 # \n; import os",
        "del x",
        "global x",
        "while True: 1",
    ],
    "numbers": [
        "1e999",
        "-1e400",
        "9" * 400,
        "9" * 9000,
        "0x" + "f" * 9000,
        "0b" + "1" * 9000,
        "1" + "_0" * 4000,
    ],
    "letters that only look the same": [
        "Dev.A.__cl\u00aass__",
        "Dev.A.\uff3f\uff3fclass__",
        "Dev.A.cl\u200cass",
        "Dev.\u200bA > 1",
        "\uff4eumpy.load('x')",
        "\U0001d41e\U0001d431\U0001d41e\U0001d41c('1')",
        "abs\u2024real",
        "Dev\uff0eA",
        "1\u00a0\u202e+ 1",
        "\ufeff__import__('os')",
        "1\0",
        "\ud800",
    ],
    "depth": [
        "(" * 10_000,
        "(" * 5_000 + ")" * 5_000,
        "(" * 150 + "-" * 60 + "1" + ")" * 150,
        "-" * 9_999 + "1",
        "not " * 2_000 + "1",
        "1" + "+1" * 4_000,
        "1" + "**1" * 3_000,
        "Dev" + ".A" * 4_000,
        "Dev.A.y" + "[0]" * 3_000,
        "[" * 5_000,
        "abs(" * 2_000,
        "abs" + "()" * 4_000,
        "1 if 1 else " * 800 + "1",
        "lambda:" * 1_400 + "1",
        "f'{" * 1_000,
        "{" * 9_000 + "}",
    ],
    "length": [
        "1" * MEGABYTE,
        " " * MEGABYTE,
        "(" * MEGABYTE,
        "1 or " * (MEGABYTE // 5) + "1",
        "\n" * MEGABYTE,
        'signal("' + "D." * 2_000 + '")',
    ],
    "parts": [
        "+".join(["1"] * 40) + " or 1" * 1_900,
        "min(" + "1," * 1_900 + "1)",
        "1" + "<1" * 1_900,
        " or ".join(["any(D.A.y)"] * 33),
        " or ".join(["np.mean(D.A.y + D.B.y) > 0"] * 17),
        "np.any(np.fmod(D.A.y, D.B.y))",
        "any(D.A.y > " + "min(" * 9 + "D.B.y, 1" + ", D.A.y * 2, -D.A.y) % 2" * 9 + ") or 1 > 0" * 40,
    ],
}


class EscapeTest(SynchronousTestCase):
    """Each attempt is refused when it is set, and nothing of it is done."""

    def refused(self, kind: str) -> None:
        for text in ESCAPES[kind]:
            error = self.assertRaises(BadValue, parse, text)
            self.assertRegex(error.message, r"^(line \d+, )?column \d+: ", text[:80])
            self.assertLess(len(error.message), 400, text[:80])

    def test_dunder_walks(self) -> None:
        self.refused("dunder walks")

    def test_names(self) -> None:
        self.refused("names")

    def test_functions(self) -> None:
        self.refused("functions of the modules")

    def test_syntax(self) -> None:
        self.refused("syntax")

    def test_numbers(self) -> None:
        self.refused("numbers")

    def test_letters(self) -> None:
        self.refused("letters that only look the same")

    def test_depth(self) -> None:
        self.refused("depth")

    def test_length(self) -> None:
        self.refused("length")

    def test_parts(self) -> None:
        self.refused("parts")
        parse(" or ".join([f"np.mean(D.A{number}.y) > 0" for number in range(32)]))
        parse(" or ".join(["D.A.latest > 0"] * 300))

    def test_names_in_quotes_are_only_names(self) -> None:
        for name in (
            "Dev.__class__",
            "os.system('x')",
            'a."]; import os; ["',
            "D.{0.__class__}",
            "__builtins__.x",
        ):
            condition = parse(f"signal({name!r}) > 1")
            self.assertEqual([use.key for use in condition.uses], [name])
            self.assertIs(condition.holds([2.0], 0.0), True)

    def test_letters_of_other_alphabets_make_other_names(self) -> None:
        self.assertEqual([use.key for use in parse("m\u0430th.pi > 1").uses], ["m\u0430th.pi"])
        self.assertRaises(BadValue, parse, "\u0430bs(1)")

    def test_nothing_is_built_in(self) -> None:
        for text in ("Dev.A > 1", "np.mean(Dev.A.y) ** 2 > 1"):
            self.assertEqual(parse(text).holds.__globals__["__builtins__"], {})


class EffortTest(SynchronousTestCase):
    """No condition takes much more memory than its values do."""

    def test_powers_are_of_floats(self) -> None:
        for text in ("9 ** 9 ** 9", "9 ** 9 ** 9 ** 9", "(9 ** 9) ** (9 ** 9) % 7", "(True + 9) ** 999999"):
            self.assertRaises(EvaluationFailed, parse(text).evaluate, [], 0.0)
        self.assertEqual(parse("np.power(9, 9 ** 9)").evaluate([], 0.0), float("inf"))
        self.assertEqual(parse("*".join(["1e9"] * 40)).evaluate([], 0.0), float("inf"))

    def test_memory(self) -> None:
        y = np.random.default_rng(5).random(100_000)
        for text in [
            "np.sum(Dev.A.y[::-1] * Dev.A.y[::-1])",
            "np.sum(" + " + ".join(["Dev.A.y"] * 30) + ")",
            "np.sum(" + "np.cumsum(" * 30 + "Dev.A.y" + ")" * 31,
            "np.any(" + " ** ".join(["Dev.A.y"] * 30) + ")",
            "np.nanmedian(np.where(Dev.A.y > 0.5, Dev.A.y, np.nan))",
            "np.percentile(Dev.A.y, 30) + np.trapezoid(Dev.A.y, Dev.A.y)",
        ]:
            condition = parse(text)
            tracemalloc.start()
            try:
                condition.holds([y] * len(condition.uses), 0.0)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            self.assertLess(peak, 8 * y.nbytes, text)
