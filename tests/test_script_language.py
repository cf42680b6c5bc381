"""The script language, as text: what is refused and where, and how RTOC's own words are read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.scripts.language import DEEPEST, LONGEST, MOST, check, translated
from rtoc_twisted.automation.scripts.spelling import spelled
from rtoc_twisted.errors import BadValue
from tests.storage_support import unhurried

PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "trig ",
                "global ",
                "global.",
                "x",
                "=",
                "1",
                ":",
                "\n",
                "\t",
                "    ",
                "if ",
                "(",
                ")",
                "[",
                "]",
            ),
            *(
                '"',
                "'",
                "#",
                "\\\n",
                "f'{",
                "}'",
                "é",
                ";",
                "lambda",
                " ",
                "\r\n",
                "def f():",
                "return ",
                "__",
            ),
        ]
    ),
    max_size=30,
).map("".join)


class LanguageCase(SynchronousTestCase):
    """Asks what the language says to a script."""

    def assert_fine(self, *sources: str) -> None:
        for source in sources:
            check(source)

    def assert_refused(self, source: str, start: str, files: bool = False) -> None:
        error = self.assertRaises(BadValue, check, source, files)
        self.assertTrue(error.message.startswith(start), f"{source!r}: {error.message}")


class WordsTest(LanguageCase):
    """RTOC's spelling."""

    def test_trig_is_a_statement(self) -> None:
        self.assert_fine(
            "trig Generator.Square.latest == 1:\n\tprint('one')",
            "trig x > 0: y = 1\nx = 0",
            "trig (Generator.Square.latest\n      > 0):\n  pass",
            "trig not Generator.Square.latest:\n  pass\nelse:\n  pass",
            "trig -Generator.Square.latest > 1: # why\n    pass",
            "if True:\n  trig Generator.Square.latest == 1:\n    pass",
            "trig {1: 2}[1] == Generator.gen_level:\n    pass",
        )

    def test_trig_is_a_name_elsewhere(self) -> None:
        for source in ("trig = 1\nx = trig + 1", "trig = lambda: 0\ntrig()", "trig: int = 3"):
            self.assert_fine(source)
            self.assertEqual(spelled(source).text, source)
        self.assertEqual(spelled("print('''\ntrig x:\n''')").triggers, frozenset())

    def test_global_in_all_its_forms(self) -> None:
        self.assert_fine(
            "global x=0",
            "global x = 0\nglobal.x += 1",
            "global\tx\t=\t0\nglobal.x = global.x",
            "global   x = {'a': [1]}\nprint(global.x['a'])",
            "print(f'{global.x + 1:.2f} of global. things')",
            "if Generator.gen_level:\n    global x = 1",
            "def f():\n    global count\n    count = 1\nf()",
        )

    def test_no_letter_moves(self) -> None:
        text = spelled("  \nglobal x = 1\ntrig y:\n\tz(global.x)").text
        self.assertEqual(text, "  \ngl_bal.x = 1\nif   y:\n\tz(gl_bal.x)")

    @unhurried
    @given(PIECES)
    def test_no_letter_moves_in_any_text(self, source: str) -> None:
        plain = source.replace("\r\n", "\n")
        self.assertEqual(
            [len(line) for line in spelled(source).text.split("\n")],
            [len(line) for line in plain.split("\n")],
        )

    def test_files_of_all_editors(self) -> None:
        self.assert_fine(
            "if Generator.gen_level:\r\n\tprint(1)\r\n",
            "x = 1\rprint(x)",
            "\ufeffx = 1",
            "",
            "# nothing",
            "print('°C')",
        )

    def test_returns_at_the_top(self) -> None:
        self.assert_fine("return 'text', 'hello'", "if Generator.gen_level:\n    return\nprint(1)")
        self.assert_refused("class A:\n    return 1", "line 2, column 5: 'return' outside function")

    def test_modules_that_may_be_imported(self) -> None:
        self.assert_fine(
            "import math, cmath, statistics, datetime, time, json, re, random, itertools, functools",
            "import collections, string, decimal, fractions, numpy.linalg as la, scipy.signal",
            "from collections import deque as d, Counter",
            "from math import *\nprint(sin(1))",
        )
        check("import socket, urllib.request", network=True)
        check("open('a')", files=True)

    def test_classes_and_the_rest_of_python(self) -> None:
        self.assert_fine(
            "class A:\n    def __init__(self, v):\n        self._v = v\n    def __len__(self): return 1",
            "class B(dict):\n    def __init__(self):\n        super().__init__()",
            "f = lambda x: x\nprint([f(i) for i in range(3) if i], {k: 1 for k in 'ab'})",
            "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    print(e)\nfinally:\n    pass",
            "def g():\n    yield 1\nprint(*g())\nwith A() as a:\n    pass\nA = list",
            "match 3:\n    case int(real=r) if r > 2:\n        print(r)",
            "input = 3\nprint(input)",
        )

    def test_only_what_has_attributes_can_be_a_device(self) -> None:
        script = translated("x = Generator.Square.latest + offset\nnp.sin(x)\nx.real\nlen('').real")
        self.assertEqual(script.devices, {"Generator"})


class RefusalTest(LanguageCase):
    """What is no script, with the place of the fault."""

    def test_where_the_fault_is(self) -> None:
        for source, start in (
            ("x = 1\ny = (2", "line 2, column 5: '(' was never closed"),
            ("x = 1\n  y = 2", "line 2, column 2: unexpected indent"),
            ("trig x:\nprint(1)", "line 2, column 1: expected an indented block"),
            ("global x=0\ntrig x > :\n  pass", "line 2, column 10: invalid syntax"),
            ("global x = 1 +", "line 1, column 15: invalid syntax"),
            ("break", "line 1, column 1: 'break' outside loop"),
            ("x = ().__class__", "line 1, column 8: .__class__: names that begin with _"),
            ("import os", "line 1, column 1: os cannot be imported"),
            ("if 1:\n\texec('')", "line 2, column 2: exec: not part"),
            ("async def f(): pass", "line 1, column 1: async"),
            ("x = '\ud800'", "no script: "),
            ("x = 1\0", "no script: "),
        ):
            self.assert_refused(source, start)

    def test_files_need_to_be_allowed(self) -> None:
        self.assert_refused("open('x')", "line 1, column 1: open: scripts have no files")
        self.assert_refused("import socket", "line 1, column 1: socket cannot be imported")

    def test_limits(self) -> None:
        self.assert_refused("x" * (LONGEST + 1), f"a script of {LONGEST + 1} letters")
        self.assert_refused("x = " + "-" * DEEPEST + "1", "the script is nested too deeply")
        self.assert_refused("x = " + "not " * 3000 + "1", "the script is nested too deeply")
        self.assert_refused("x\n" * (MOST // 2) + "1", f"a script of more than {MOST} words")
        self.assert_fine("x\n" * (MOST // 2))
        self.assert_refused("x = " + "(" * 150 + "1" + ")" * 149, "line 1")
        self.assert_fine("x = " + "-" * (DEEPEST - 10) + "1", "y = " + "+".join(["1"] * 100))

    def test_what_doubles_in_code_is_refused(self) -> None:
        def nested(depth: int) -> str:
            opened = "".join(f"{' ' * level}try: pass\n{' ' * level}finally:\n" for level in range(depth))
            return f"{opened}{' ' * depth}pass\n"

        ways = "while x:\n try:\n" + "  if x: break\n" * 150 + " finally:\n" + "  x\n" * 150
        within = "".join(f"{' ' * level}with x, x, x, x:\n" for level in range(1, 20))
        for source in (nested(16), ways, f"def f():\n{within}" + f"{' ' * 20}if x: return x\n" * 99):
            self.assert_refused(source, "there are too many ways out")
        self.assert_fine(nested(5), "def f():\n with x, x:\n" + "  if x: return x\n" * 50)

    @unhurried
    @given(st.one_of(PIECES, st.text(max_size=40)))
    def test_any_text_is_a_script_or_a_bad_value(self, source: str) -> None:
        try:
            check(source)
        except BadValue as error:
            self.assertNotEqual(error.message, "")
