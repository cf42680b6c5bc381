"""Faults in conditions: each with its place, and with what would be right."""

from __future__ import annotations

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.conditions import parse
from rtoc_twisted.errors import BadValue


def fault_of(text: str) -> str:
    """Return how a condition is refused."""
    try:
        parse(text)
    except BadValue as error:
        return error.message
    raise AssertionError(f"not refused: {text[:80]!r}")


class FaultTest(SynchronousTestCase):
    """Faults, with the place and what would be right."""

    def test_places(self) -> None:
        for text, where, said in [
            ("", "column 1", "missing"),
            ("Dev.A.latest > ", "column 15", "something is missing"),
            ("Dev.A.latest > > 2", "column 16", "not Python"),
            ("(Dev.A.latest > 2", "column 1", "never closed"),
            ("Dev.A.latest = 2", "column 14", "equality is =="),
            ("Dev.A.latest => 2", "column 14", "it is >= and <="),
            ("Dev.A.latest && 2", "column 15", "&& is and"),
            ("1 Dev.A.latest", "column 3", "not Python"),
            ("Room 1.temp > 2", "column 7", 'in quotes: signal("Device.Name")'),
            ("  Temp > 2", "column 3", "Device.Signal.latest"),
            ("1 < Temp.latest", "column 5", "which signal of Temp?"),
            ("1 < Dev.A.value", "column 11", 'signal("Dev.A.value")'),
            ("Dev.A.B.latest", "column 7", 'signal("Dev.A.B").latest'),
            ("Dev.A.latest.real", "column 14", "after .latest comes nothing"),
            ('signal("Dev.A").value', "column 17", "after signal(..)"),
            ('signal("Dev")', "column 8", '"Device.Name"'),
            ("signal(Dev.A)", "column 1", "in quotes"),
            ('parameter("Dev.A").y', "column 20", "after signal(..)"),
            ("1 + sqare(2)", "column 5", "is np.square meant?"),
            ("1 + mean(Dev.A.y)", "column 5", "is np.mean or rtoc.mean meant?"),
            ("math.sqrt", "column 1", "math.sqrt is a function: math.sqrt(..)"),
            ("math.tay", "column 1", "math.pi, math.e, math.tau"),
            ("abs > 2", "column 1", "abs(..)"),
            ("np > 2", "column 1", "np.name"),
            ("Gen.start()", "column 1", "only functions of the language"),
            ("sqrt(1, 2)", "column 9", "sqrt takes 1 argument"),
            ("log()", "column 1", "log takes 1 to 2 arguments"),
            ("1 + min(1, )", "column 9", "takes an array"),
            ("sqrt(x=1)", "column 6", "none by name"),
            ("rtoc.PID(Dev.A, k=2)", "column 17", "by name: desvalue, kp, ki, kd"),
            ("rtoc.PID(Dev.A, kp=2)", "column 1", "rtoc.PID takes"),
            ("rtoc.PID(Dev.A, 1, desvalue=2)", "column 20", "rtoc.PID takes"),
            ("rtoc.mean(Dev.A, 0)", "column 18", "n is a whole number"),
            ("rtoc.mean(Dev.A, clock)", "column 18", "written here"),
            ("rtoc.mean(Dev.A.y)", "column 1", "takes"),
            ("rtoc.resample(Dev.A, 3)", "column 1", "rtoc.mean, rtoc.d, rtoc.PID"),
            ("round(1, 99)", "column 10", "-15 to 15"),
            ("nodata(Dev.A)", "column 1", "nodata takes 2 arguments"),
            ("nodata(Dev.A.latest, 3)", "column 8", "takes a signal"),
            ('age(parameter("Plugin.p"))', "column 5", "takes a signal"),
            ("rate(Dev.A, clock)", "column 13", "seconds"),
            ("rate(Dev.A, 1 - 1)", "column 13", "seconds"),
            ("rate(Dev.A, 1 / 0)", "column 13", "seconds"),
            ("Dev.A > 2 & Dev.B > 3", "column 11", "and, or, not"),
            ("Dev.A.y in 3", "column 9", "'in' is not"),
            ("Dev.A is not 3", "column 7", "'is' is not"),
            ("1 + ~2", "column 5", "~ is not"),
            ("Dev.A.y > 2", "column 1", "np.any(..)"),
            ("1 or Dev.A.y", "column 6", "np.any(..)"),
            ("not Dev.A.y", "column 5", "np.any(..)"),
            ("1 if Dev.A.y else 2", "column 6", "np.any(..)"),
            ("1 < 2 < Dev.A.y", "column 9", "np.any(..)"),
            ("Dev.A[0] > 1", "column 1", "no elements"),
            ("Dev.A.y[1.5]", "column 9", "whole number"),
            ("Dev.A.y[99999999999]", "column 9", "whole number"),
            ("Dev.A.y[1, 2]", "column 9", "one subscript"),
            ("Dev.A.y[Dev.A.y > 2]", "column 9", "one whole number"),
            ("math.sin(Dev.A.y)", "column 10", "math.sin takes a number"),
            ("np.percentile(Dev.A.y, Dev.A.y)", "column 24", "takes a number"),
            ("np.mean(Dev.A)", "column 9", "takes an array"),
            ("1 + 'a' * 3", "column 5", "a text goes"),
            ("1e999", "column 1", "too large"),
            ("2 > 1j", "column 5", "complex number"),
            ("None", "column 1", "None is not"),
            ("Dev.µ.latest > 1", "column 1", 'signal("Device.Name")'),
            ("Gerät.Größe > größe", "column 15", "größe alone"),
            ('signal("😀.ß") > temp', "column 17", "temp alone"),
            ("1\0", "column 2", "no character"),
            ("1 + '\ud800'", "column 6", "no character"),
        ]:
            fault = fault_of(text)
            self.assertTrue(fault.startswith(f"{where}: "), f"{text}: {fault}")
            self.assertIn(said, fault, text)
            self.assertLess(len(fault), 250)

    def test_several_lines(self) -> None:
        for text, where in [
            ("(1 <\n   temp)", "line 2, column 4"),
            ("\r\n\n  temp > (1\n)", "line 3, column 3"),
            ("(1 <\n 2 > > 3)", "line 2, column 6"),
            ("('ä' if\n 'b')", "line 1, column 2"),
        ]:
            self.assertTrue(fault_of(text).startswith(f"{where}: "), fault_of(text))
        self.assertIn("in parentheses", fault_of("1 <\n2"))

    def test_limits(self) -> None:
        names = [f"D.s{number}" for number in range(65)]
        self.assertEqual(len(parse(" or ".join(names[:64])).uses), 64)
        self.assertIn("64", fault_of(" or ".join(names)))
        self.assertEqual(len(parse(" or ".join(f"D.s.latest > {number}" for number in range(300))).uses), 1)
        self.assertIs(parse("1 < 2" + " " * 9995).holds([], 0.0), True)
        self.assertTrue(fault_of("1 < 2" + " " * 9996).startswith("column 10001: "))
        self.assertEqual(parse("+".join("1" * 50)).evaluate([], 0.0), 50.0)
        self.assertIn("nested", fault_of("+".join("1" * 51)))
        self.assertEqual(parse("-" * 49 + "1").evaluate([], 0.0), -1.0)
        # As deep as it goes, and with the most parentheses in the code that is made of it.
        for before, after in [
            ("-(1 < ", ")"),
            ("1 if (", ") else 0"),
            ("abs(", ")"),
            ("len(Dev.A.y[", ":])"),
        ]:
            for depth in range(10, 60):
                text = before * depth + "2" + after * depth
                try:
                    condition = parse(text)
                except BadValue as error:
                    self.assertIn("nested", error.message)
                    break
                condition.evaluate([np.ones(4)] * len(condition.uses), 0.0)
            else:
                self.fail(f"no limit: {before}")

    def test_not_a_text(self) -> None:
        for value in (5, None, True, ["1"], b"1"):
            self.assertRaises(BadValue, parse, value)
