"""The language of conditions: what it says, what it uses, and how it fails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.conditions import (
    Condition,
    EvaluationFailed,
    Unknown,
    Use,
    View,
    parse,
    values_told,
)

X = np.array([10.0, 20.0, 30.0, 40.0])
Y = np.array([1.0, 4.0, 2.0, 8.0])
BY_VIEW: dict[View, Any] = {
    View.LATEST: 8.0,
    View.PARAMETER: 3.0,
    View.X: X,
    View.Y: Y,
    View.PAIR: (X, Y),
    View.RECEIVED: 100.0,
    View.RATE: 0.5,
}


def values_of(condition: Condition) -> list[Any]:
    """Return for each use what the signal of these tests has."""
    return [BY_VIEW[use.view] for use in condition.uses]


def value_of(text: str, clock: float = 130.0) -> Any:
    """Return the value of a condition over the signal of these tests."""
    condition = parse(text)
    return condition.evaluate(values_of(condition), clock)


class ValueTest(SynchronousTestCase):
    """What a condition's value is."""

    def assert_values(self, table: Sequence[tuple[str, Any]]) -> None:
        for text, expected in table:
            value = value_of(text)
            self.assertEqual(value, expected, text)
            self.assertIs(type(value), type(expected), text)
            condition = parse(text)
            self.assertIs(condition.holds(values_of(condition), 130.0), bool(expected), text)

    def test_numbers(self) -> None:
        self.assert_values(
            [
                ("2", 2.0),
                ("-2 ** 2", -4.0),
                ("7 // 2 + 7 % 4 - 1 / 4", 5.75),
                ("-7 // 2", -4.0),
                ("-7 % 3", 2.0),
                ("2 ** 0.5", math.sqrt(2)),
                ("+3 - -3", 6.0),
                ("0xff + 1_000 + 1e3", 2255.0),
                ("math.pi * 2", math.tau),
                ("numpy.e", math.e),
                ("-np.inf", -math.inf),
                ("clock + 1", 131.0),
                ("True + True", 2.0),
                ("-(1 < 2)", -1.0),
            ]
        )

    def test_truths(self) -> None:
        self.assert_values(
            [
                ("True", True),
                ("1 < 2 <= 2 != 3", True),
                ("1 < 2 > 2", False),
                ("2 == True + 1", True),
                ("not 0.0", True),
                ("not np.nan", False),
                ("np.nan == np.nan", False),
                ("0.0 or 3", 3.0),
                ("2 and 0.0 and 1 / 0", 0.0),
                ("1 or 1 / 0", 1.0),
                ("1 if 2 > 1 else 1 / 0", 1.0),
                ("(0 if 2 > 1 else 1) == 0", True),
            ]
        )

    def test_signals(self) -> None:
        self.assert_values(
            [
                ("Dev.A.latest >= 2", True),
                ("Dev.A>=9", False),
                ("Dev.A.y[-1] - Dev.A.y[0]", 7.0),
                ("Dev.A.x[2]", 30.0),
                ("np.sum(Dev.A.y[-3:-1])", 6.0),
                ("np.sum(Dev.A.y[::2])", 3.0),
                ("Dev.A.y[::-1][0]", 8.0),
                ("Dev.A.y[len(Dev.A.y) - 2]", 2.0),
                ("Dev.A.x[np.argmax(Dev.A.y)]", 40.0),
                ('signal("Dev.A b").latest + signal("Dev.A b") + signal("Dev.A b").y[-1]', 24.0),
                ('parameter("Plugin.level") > 2', True),
                ("nodata(Dev.A, 30)", True),
                ("nodata(Dev.A, seconds=60 / 2 + 1)", False),
                ('age(signal("Dev.A"))', 30.0),
                ("rate(Dev.A, 60) > 0.4", True),
                ("max.min.latest > clock.pi", False),
            ]
        )

    def test_functions(self) -> None:
        self.assert_values(
            [
                ("abs(-3)", 3.0),
                ("min(3, 1, 2) + max(1, True)", 2.0),
                ("min(Dev.A.y) + max(Dev.A.y)", 9.0),
                ("round(2.567, 2) + round(1.5)", 4.57),
                ("round(1234, decimals=-2)", 1200.0),
                ("sqrt(16) + math.floor(1.9) + np.ceil(0.1)", 6.0),
                ("math.log(8, 2) + log10(100)", 5.0),
                ("math.hypot(3, 4)", 5.0),
                ("int(-3.9) + float(True)", -2.0),
                ("isnan(np.sqrt(-1))", True),
                ("np.isfinite(np.log(0))", False),
                ("np.clip(Dev.A, 0, 5)", 5.0),
                ("np.where(Dev.A > 5, 1, 2)", 1.0),
                ("len(Dev.A.y) + sum(Dev.A.y)", 19.0),
                ("any(Dev.A.y > 7) and not np.all(Dev.A.y > 7)", True),
                ("np.sum((Dev.A.y > 1) + (Dev.A.y > 3))", 5.0),
                ("np.any(np.logical_and(Dev.A.y > 2, Dev.A.y < 8))", True),
                ("np.mean(np.abs(-Dev.A.y))", 3.75),
                ("np.median(Dev.A.y) + np.ptp(Dev.A.y)", 10.0),
                ("np.std(Dev.A.y) == np.sqrt(np.var(Dev.A.y))", True),
                ("np.percentile(Dev.A.y, 100) + np.quantile(Dev.A.y, 0)", 9.0),
                ("np.max(np.diff(Dev.A.y))", 6.0),
                ("np.trapezoid(Dev.A.y, Dev.A.x)", 105.0),
                ("np.nanmax(np.log(Dev.A.y - 2)) > 1", True),
                ("np.sum(Dev.A.y ** 2 / Dev.A.y)", 15.0),
                ("np.max(np.maximum(Dev.A.y, 5 if Dev.A > 3 else Dev.A.x))", 8.0),
            ]
        )

    def test_script_library(self) -> None:
        self.assert_values(
            [
                ("rtoc.mean(Dev.A)", 3.75),
                ("rtoc.mean(Dev.A, 2)", 5.0),
                ("rtoc.mean(Dev.A.x, Dev.A.y, n=1)", 8.0),
                ('rtoc.d(signal("Dev.A"))', 0.6),
                ("rtoc.PID(Dev.A, 20)", -12.0),
                ("rtoc.PID(Dev.A, 20, kd=10)", -6.0),
                ("rtoc.PID(Dev.A, desvalue=Dev.A.latest)", 0.0),
            ]
        )

    def test_blanks_and_lines(self) -> None:
        self.assert_values(
            [(" \t1 < 2 ", True), ("\n\n (1 <\r\n 2) # so", True), ("Dev . A . latest > 1", True)]
        )


class UseTest(SynchronousTestCase):
    """What a condition says that it uses."""

    def assert_uses(self, text: str, *uses: Use) -> None:
        self.assertEqual(parse(text).uses, uses, text)

    def test_each_value_once(self) -> None:
        self.assert_uses("Dev.A > 1 or Dev.A.latest < 0", Use("Dev.A", View.LATEST))
        self.assert_uses(
            'Dev.A.latest > parameter("Plugin.p q") + rate(Dev.A, 5) and nodata(Dev.A, 3) and age(Dev.A) > 0',
            Use("Dev.A", View.LATEST),
            Use("Plugin.p q", View.PARAMETER),
            Use("Dev.A", View.RATE, 5.0),
            Use("Dev.A", View.RECEIVED, 3.0),
            Use("Dev.A", View.RECEIVED),
        )
        self.assert_uses('signal("Dev.with.points").x[-1]', Use("Dev.with.points", View.X, samples=1))
        self.assert_uses("1 < 2")

    def test_samples_needed(self) -> None:
        for subscript, samples in [
            ("[-1]", 1),
            ("[-10]", 10),
            ("[-2 * 5:]", 10),
            ("[-10:-2]", 10),
            ("[-10::2]", 10),
            ("[:-5:-1]", 5),
            ("[-2:-9:-1]", 9),
            ("[0]", None),
            ("[:]", None),
            ("[5:]", None),
            ("[:-1]", None),
            ("[-3:2]", None),
            ("[::-1]", None),
            ("[5:-3:-1]", None),
            ("[-clock]", None),
            ("[-clock:]", None),
        ]:
            use = Use("Dev.A", View.Y, samples=samples)
            self.assert_uses(
                f"len(Dev.A.y{subscript}[:])" if ":" in subscript else f"Dev.A.y{subscript}", use
            )

    def test_the_most_samples_count(self) -> None:
        self.assert_uses("Dev.A.y[-1] > Dev.A.y[-5]", Use("Dev.A", View.Y, samples=5))
        self.assert_uses("Dev.A.y[-1] > Dev.A.y[0] + Dev.A.y[-2]", Use("Dev.A", View.Y))
        self.assert_uses("rtoc.d(Dev.A) > rtoc.mean(Dev.A, 7)", Use("Dev.A", View.PAIR, samples=7))
        self.assert_uses("rtoc.mean(Dev.A) > rtoc.PID(Dev.A, 1)", Use("Dev.A", View.PAIR))

    def test_what_can_be_swept(self) -> None:
        for text in ("Dev.A > 1", "nodata(Dev.A, 3) or rate(Dev.A, 5) > clock", "True"):
            self.assertTrue(parse(text).sweepable, text)
        for text in ("Dev.A.y[-1] > 1", "rtoc.d(Dev.A) > 1", 'parameter("Plugin.p") > 1', "len(Dev.A.x) > 1"):
            self.assertFalse(parse(text).sweepable, text)
            self.assertRaises(ValueError, parse(text).sweep, [X], X)

    def test_values_told(self) -> None:
        condition = parse(
            "Dev.A > rate(Dev.A, 60) and rtoc.d(Dev.B) > 1 and nodata(Dev.A, 5) and "
            'parameter("Plugin.p") and len(Dev.A.y) > 1 and Dev.C'
        )
        values = [8.0, 0.5, (X, Y), 100.0, 3.0, np.arange(100.0), None]
        self.assertEqual(
            values_told(condition, values),
            {
                "Dev.A.latest": 8.0,
                "rate(Dev.A, 60)": 0.5,
                "Dev.B": [[10.0, 20.0, 30.0, 40.0], [1.0, 4.0, 2.0, 8.0]],
                "Dev.A.received": 100.0,
                "Plugin.p": 3.0,
                "Dev.A.y": [95.0, 96.0, 97.0, 98.0, 99.0],
                "Dev.C.latest": None,
            },
        )


class FailingTest(SynchronousTestCase):
    """Evaluations without a result."""

    def assert_fails(self, text: str, values: Sequence[Any], reason: str) -> None:
        condition = parse(text)
        for evaluate in (condition.evaluate, condition.holds):
            error = self.assertRaises(EvaluationFailed, evaluate, values, 130.0)
            self.assertIn(reason, error.message, text)

    def test_unknown_values(self) -> None:
        condition = parse("Dev.A.latest > 2 or Dev.B.latest == 3 or not Dev.C.y[-1]")
        self.assertIs(condition.holds([3.0, None, None], 0.0), True)
        for values, name in [
            ([None, 3.0, Y], "Dev.A"),
            ([1.0, None, Y], "Dev.B"),
            ([1.0, 1.0, None], "Dev.C"),
        ]:
            for evaluate in (condition.evaluate, condition.holds):
                error = self.assertRaises(Unknown, evaluate, values, 0.0)
                self.assertEqual((error.name, error.code), (name, "unknown-signal"))

    def test_arithmetic(self) -> None:
        for sign in ("/", "//", "%"):
            self.assert_fails(f"1 {sign} Dev.A.latest > 2", [0.0], "division by zero")
            # numpy's own floats would warn and go on with an infinity.
            self.assert_fails(f"Dev.B.latest {sign} Dev.A > 2", np.zeros(2), "division by zero")
        self.assert_fails("0 ** -1", [], "no value for 0, -1")
        self.assert_fails("(-8) ** (1 / 3)", [], "no value")
        self.assert_fails("9 ** 9 ** 9", [], "no value for 9, 3.8742e+08")
        for text in ("sqrt(-1)", "math.log(0)", "math.asin(2)", "exp(1e4)", "math.sin(np.inf)", "pow(0, -1)"):
            self.assert_fails(text, [], "")

    def test_arrays(self) -> None:
        self.assert_fails("Dev.A.y[-5] > 1", [Y], "there is no [-5] among 4 samples")
        self.assert_fails("Dev.A.y[4] > 1", [Y], "there is no [4]")
        self.assert_fails("Dev.A.y[Dev.B]", [Y, 0.5], "whole number, not 0.5")
        self.assert_fails("Dev.A.y[1e300 * Dev.B]", [Y, 1e300], "whole number, not inf")
        self.assert_fails("np.sum(Dev.A.y[::Dev.B])", [Y, 0.0], "zero")
        self.assert_fails("np.mean(Dev.A.y[4:]) > 1", [Y], "the array is empty")
        self.assert_fails("np.nanmean(np.sqrt(-Dev.A.y)) > 1", [Y], "nothing in the array is a number")
        self.assert_fails("np.sum(Dev.A.y + Dev.A.x)", [Y, X[1:]], "shapes")
        self.assert_fails("rtoc.PID(Dev.A, 2)", [(X[:0], Y[:0])], "")
        self.assert_fails("rtoc.mean(Dev.A.x, Dev.A.y)", [X, Y[1:]], "one length")

    def test_texts_of_parameters_are_no_numbers(self) -> None:
        big = "%999999999d"
        for text in (
            "{} % 5",
            "{} * 5",
            "5 * {}",
            "{} + 5",
            "{} > 5",
            "-{}",
            "sin({})",
            "{} ** 5",
            "round({})",
        ):
            condition = parse(text.format('parameter("Plugin.p")'))
            self.assertRaises(EvaluationFailed, condition.evaluate, [big], 0.0)
