"""Conditions of all kinds, made up: one evaluation, whole columns and Python itself say the same of them."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.conditions import Condition, EvaluationFailed, Unknown, View, parse
from rtoc_twisted.automation.conditions.language import FUNCTIONS
from rtoc_twisted.errors import BadValue

from .storage_support import examples

SIGNALS = ("A", "B", "C")
EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -3.0, 1e-320, 1e200, -1e308, math.inf, -math.inf, math.nan]
NUMBERS = st.one_of(st.sampled_from(EDGES), st.floats(), st.floats(-10, 10))
EACH = sorted(
    (f"{module}.{name}" if module else name, function)
    for module, functions in FUNCTIONS.items()
    for name, function in functions.items()
    if function.each
)


def _written(number: float) -> str:
    return repr(number) if math.isfinite(number) else f"{'-' if number < 0 else ''}np.{repr(abs(number))}"


def conditions(leaves: st.SearchStrategy[str], calls: bool) -> st.SearchStrategy[str]:
    """Return texts over the leaves; calls: with powers and the functions of the language, too."""

    def grown(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        signs = ["+", "-", "*", "/", "//", "%", "==", "!=", "<", "<=", ">", ">=", "and", "or"]
        choices = [
            st.builds("({} {} {})".format, parts, st.sampled_from(signs), parts),
            st.builds(
                "({} {} {} {} {})".format, parts, st.sampled_from(signs[6:12]), parts, st.just("<"), parts
            ),
            st.builds("({}{})".format, st.sampled_from(["-", "+", "not "]), parts),
            st.builds("({} if {} else {})".format, parts, parts, parts),
            st.builds("{}({}, {}, {})".format, st.sampled_from(["min", "max"]), parts, parts, parts),
            st.builds("abs({})".format, parts),
        ]
        if calls:
            choices.append(st.builds("({} ** {})".format, parts, parts))
            choices.append(st.sampled_from(EACH).flatmap(lambda each: called(*each, parts)))
        return st.one_of(choices)

    return st.recursive(leaves, grown, max_leaves=8)


def called(name: str, function: Any, parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return calls of the function, with as many arguments as it needs."""
    needed = [parts for parameter in function.parameters if not parameter.optional]
    return st.tuples(*needed).map(lambda given: f"{name}({', '.join(given)})")


LATEST = st.one_of(
    st.sampled_from([f"Dev.{name}.latest" for name in SIGNALS]),
    st.sampled_from(["clock", "True", "False"]),
    NUMBERS.map(_written),
)
VIEWS = st.one_of(
    LATEST,
    st.sampled_from(["nodata(Dev.A, 5)", "age(Dev.B)", "rate(Dev.C, 60)", "nodata(Dev.A, 0.5)"]),
)
ROWS = st.lists(st.tuples(*[NUMBERS] * 9), min_size=1, max_size=6)


def answer(condition: Condition, values: Any, clock: float) -> bool | None:
    """Return whether the condition holds, None where there is no result."""
    try:
        return condition.holds(values, clock)
    except EvaluationFailed:
        return None


class AgreementTest(SynchronousTestCase):
    """The ways to ask agree."""

    @examples(150)
    @given(conditions(VIEWS, calls=True), ROWS)
    def test_columns_and_single_evaluations(self, text: str, rows: list[tuple[float, ...]]) -> None:
        condition = parse(text)
        self.assertTrue(condition.sweepable)
        count = len(condition.uses)
        table = np.array(rows)
        holds, failed = condition.sweep([table[:, 1 + slot] for slot in range(count)], table[:, 0].copy())
        told = [None if bad else bool(good) for good, bad in zip(holds, failed, strict=True)]
        one_by_one = [answer(condition, row[1 : 1 + count], row[0]) for row in rows]
        self.assertEqual(told, one_by_one, text)
        self.assertFalse(np.any(holds & failed))

    @examples(100)
    @given(conditions(LATEST, calls=False), ROWS)
    def test_python(self, text: str, rows: list[tuple[float, ...]]) -> None:
        condition = parse(text)
        for clock, *values in rows:
            signals = dict(zip(SIGNALS, values, strict=False))
            names: dict[str, Any] = {f"Dev.{name}": value for name, value in signals.items()}
            dev = SimpleNamespace(**{name: SimpleNamespace(latest=value) for name, value in signals.items()})
            try:
                expected = bool(eval(text, {"Dev": dev, "clock": clock, "np": np}))
            except ZeroDivisionError:
                expected = None
            self.assertIs(
                answer(condition, [names[use.key] for use in condition.uses], clock), expected, text
            )

    def test_many_rows(self) -> None:
        condition = parse("Dev.A / Dev.B > 1 or clock > 0.9")
        random = np.random.default_rng(7)
        a, clock = random.random((2, 100_000))
        b = random.integers(0, 3, 100_000).astype(np.float64)
        holds, failed = condition.sweep([a, b], clock)
        self.assertEqual(failed.tolist(), (b == 0).tolist())
        with np.errstate(divide="ignore"):
            self.assertEqual(holds.tolist(), ((b != 0) & ((a / b > 1) | (clock > 0.9))).tolist())

    def test_every_function_in_long_columns(self) -> None:
        # Long enough for the processor's vectors, which numpy computes by other code than single numbers.
        random = np.random.default_rng(11)
        columns = [
            np.concatenate([EDGES, random.normal(size=200), random.normal(size=50) * 1e6]) for _ in SIGNALS
        ]
        for column in columns:
            random.shuffle(column)
        rows = [tuple(row) for row in np.array(columns).T.tolist()]
        texts = [f"Dev.A {sign} Dev.B" for sign in ("+", "-", "*", "/", "//", "%", "**")]
        for name, function in EACH:
            least = sum(not parameter.optional for parameter in function.parameters)
            texts.append(f"{name}({', '.join(f'Dev.{signal}' for signal in SIGNALS[:least])})")
        for text in texts:
            condition = parse(text)
            used = len(condition.uses)
            # D is what one evaluation says of the row.
            asked, said = parse(f"{text} == Dev.D.latest"), np.full(len(rows), math.nan)
            failed = np.zeros(len(rows), np.bool_)
            for row, values in enumerate(rows):
                try:
                    said[row] = condition.evaluate(values[:used], 0.0)
                except EvaluationFailed:
                    failed[row] = True
            same, not_told = asked.sweep([*columns[:used], said], said)
            self.assertEqual(not_told.tolist(), failed.tolist(), text)
            self.assertEqual(same.tolist(), (~np.isnan(said)).tolist(), text)

    def test_no_rows_and_constants(self) -> None:
        for text, expected in [("True", True), ("1 > 2", False), ("np.nan", True), ("3 and 0.0", False)]:
            for count in (0, 3):
                holds, failed = parse(text).sweep([], np.zeros(count))
                self.assertEqual((holds.tolist(), failed.tolist()), ([expected] * count, [False] * count))
        holds, failed = parse("1 / 0 > 1").sweep([], np.zeros(2))
        self.assertEqual((holds.tolist(), failed.tolist()), ([False] * 2, [True] * 2))

    def test_what_is_not_reached_does_not_fail(self) -> None:
        zero = np.array([0.0, 4.0])
        for text, expected in [
            ("Dev.A != 0 and 8 / Dev.A > 1", [False, True]),
            ("Dev.A == 0 or 8 / Dev.A > 1", [True, True]),
            ("1 < Dev.A < 8 / Dev.A + 9", [False, True]),
            ("8 / Dev.A if Dev.A else True", [True, True]),
            ("not (Dev.A and (Dev.A > 1 and sqrt(-1)))", None),
        ]:
            holds, failed = parse(text).sweep([zero], zero)
            if expected is None:
                self.assertEqual((holds.tolist(), failed.tolist()), ([True, False], [False, True]), text)
            else:
                self.assertEqual((holds.tolist(), failed.tolist()), (expected, [False, False]), text)


class AnyTextTest(SynchronousTestCase):
    """Whatever is written, it is refused or it can be evaluated."""

    WORDS = st.sampled_from(
        [
            *"()[]{},.:+-*/%<>=~&|@!'\"#\\ \n0123459eEjx",
            *(
                "Dev.A",
                "Dev.A.y",
                "Dev.A.x",
                "Dev.A.latest",
                "clock",
                "signal('Dev.B')",
                "parameter('Dev.p')",
            ),
            *(
                "nodata(Dev.A, 3)",
                "age(",
                "rate(",
                "np.",
                "math.",
                "rtoc.",
                "mean(",
                "max(",
                "sqrt(",
                "d(",
                "PID(",
            ),
            *(
                " if ",
                " else ",
                " and ",
                " or ",
                "not ",
                " in ",
                " is ",
                "lambda ",
                "**",
                "//",
                "==",
                "True",
                "None",
            ),
            *(
                "[-1]",
                "[-3:]",
                "[:]",
                "__class__",
                "np.mean(Dev.A.y)",
                "rtoc.d(Dev.A)",
                " > 1",
                "1e999",
                "é",
                "\0",
            ),
        ]
    )
    VALUES = st.sampled_from([None, 0.0, 1.0, -2.5, math.nan, math.inf])
    ARRAYS = st.lists(NUMBERS, max_size=4).map(np.array)

    @examples(250)
    @given(st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=12).map("".join)), st.data())
    def test_refused_or_evaluated(self, text: str, data: st.DataObject) -> None:
        try:
            condition = parse(text)
        except BadValue as error:
            self.assertRegex(error.message, r"^(line \d+, )?column \d+: ")
            return
        values: list[Any] = []
        for use in condition.uses:
            array = data.draw(self.ARRAYS)
            by_view = {View.X: array, View.Y: array, View.PAIR: (array, array)}
            values.append(by_view[use.view] if use.view in by_view else data.draw(self.VALUES))
        try:
            value = condition.evaluate(values, 5.0)
        except (Unknown, EvaluationFailed) as error:
            self.assertRaises(type(error), condition.holds, values, 5.0)
        else:
            self.assertIn(type(value), (bool, float))
            self.assertIs(condition.holds(values, 5.0), bool(value))
