"""What plugins hand to stream() and plot(), and values as JSON has words for them."""

from __future__ import annotations

from array import array
from collections import deque
from enum import Enum
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.box.columns import NAMES_LIMIT, Series, Wrong, of_dict, of_list, plotted, series
from rtoc_twisted.box.plain import plain
from rtoc_twisted.wire.codec import to_json

from .storage_support import unhurried

NOW = 1000.0


def made(names: Any, units: Any, y: Any, x: Any = None) -> Series:
    """Return a series with the time NOW where no x is given."""
    return Series(tuple(names), tuple(units), array("d", x or [NOW] * len(y)), array("d", y))


class SeriesTest(SynchronousTestCase):
    """The first form: y, names, unit, x."""

    def assert_streams(
        self, wanted: Series, y: Any, names: Any = (), unit: Any = None, x: Any = None
    ) -> None:
        self.assertEqual(series(y, names, unit, x, NOW), wanted)

    def test_one_number_or_a_list(self) -> None:
        self.assert_streams(made(["a"], [None], [1]), 1, "a")
        self.assert_streams(made(["a"], [""], [1.5]), 1.5, "a", [""])
        self.assert_streams(made(["a", "b"], ["V", "A"], [1, 2]), [1, 2], ["a", "b"], ["V", "A"])
        self.assert_streams(made(["a", "b"], [None, None], [1, 2]), (1, 2), ("a", "b"))
        self.assert_streams(made(["a", "b"], [None, None], [1, 2]), deque([1, 2]), ["a", "b"])

    def test_one_unit_for_all(self) -> None:
        self.assert_streams(made(["a", "b"], ["V", "V"], [1, 2]), [1, 2], ["a", "b"], "V")

    def test_numpy(self) -> None:
        self.assert_streams(made(["a"], [None], [2.5]), np.float32(2.5), "a")
        self.assert_streams(made(["a"], [None], [3]), np.int64(3), "a")
        self.assert_streams(made(["a", "b"], [None, None], [1, 2]), np.array([1, 2]), ["a", "b"])
        self.assert_streams(made(["a", "b"], [None, None], [1, 2]), [np.int8(1), np.float16(2)], ["a", "b"])
        self.assert_streams(made(["a"], [None], [2]), 2, "a", x=np.array([NOW]))

    def test_lists_of_other_lengths(self) -> None:
        self.assert_streams(made(["a", "Unnamed"], [None, None], [1, 2]), [1, 2], "a")
        self.assert_streams(made(["Unnamed"], [None], [1]), 1)
        self.assert_streams(made(["a"], ["V"], [1]), [1], ["a", "b"], ["V", "A", "W"])
        self.assert_streams(made(["a", "b"], ["V", ""], [1, 2]), [1, 2], ["a", "b"], ["V"])

    def test_x(self) -> None:
        self.assert_streams(made(["a", "b"], [None] * 2, [1, 2], [5, 6]), [1, 2], ["a", "b"], x=[5, 6])
        self.assert_streams(made(["a", "b"], [None] * 2, [1, 2]), [1, 2], ["a", "b"], x=[5])
        self.assert_streams(made(["a", "b"], [None] * 2, [1, 2], [5, 5]), [1, 2], ["a", "b"], x=5)

    def test_what_counts_as_a_number(self) -> None:
        self.assert_streams(made("ab", [None] * 2, [1.5, 1]), ["1.5", True], ["a", "b"])

    def test_none_is_no_value(self) -> None:
        self.assert_streams(
            made("ac", "VW", [1, 3], [5, 7]), [1, None, 3], list("abc"), list("VAW"), [5, 6, 7]
        )
        self.assert_streams(made([], [], []), None, "a")

    def test_names_that_are_no_texts(self) -> None:
        self.assert_streams(made(["1", "Unnamed"], ["", "2"], [1, 2]), [1, 2], [1, None], [None, 2])

    def test_no_measurement(self) -> None:
        wrong: list[Any] = ["text", b"x", {}, [[1]], ["x"], [1, object()], [10**400], [1j]]
        for y in wrong:
            self.assertRaises(Wrong, series, y, "a", None, None, NOW)
        self.assertRaises(Wrong, series, [1], "a", None, ["x"], NOW)
        self.assertRaises(Wrong, series, [1, 2], ["a" * NAMES_LIMIT, "b"], None, None, NOW)

    def test_the_fault_is_named(self) -> None:
        self.assertIn("y[1]: 'x'", str(self.assertRaises(Wrong, series, [1, "x"], "a", None, None, NOW)))

    @given(st.lists(st.none() | st.floats(allow_nan=False) | st.integers(-(2**40), 2**40)))
    @unhurried
    def test_every_value_keeps_its_name(self, y: list[float | None]) -> None:
        names = [f"s{index}" for index in range(len(y))]
        made = series(y, names, names, None, NOW)
        wanted = [(name, name, float(v)) for name, v in zip(names, y, strict=True) if v is not None]
        self.assertEqual(list(zip(made.names, made.units, made.y, strict=True)), wanted)


class FormsTest(SynchronousTestCase):
    """The other forms, and plots."""

    def test_list(self) -> None:
        faults: list[str] = []
        entries = [[1, "a", "V"], (2, "b", None), [3, "c"], "abc", 4]
        self.assertEqual(of_list(entries, NOW, faults), made("ab", ["V", ""], [1, 2]))
        self.assertEqual(faults, [f"slist[{index}] is not [y, name, unit]" for index in (2, 3, 4)])
        self.assertEqual(of_list([], NOW, faults), made([], [], []))
        self.assertRaises(Wrong, of_list, "abc", NOW, faults)

    def test_dict(self) -> None:
        faults: list[str] = []
        signals = {"a": [1, "V"], "b": [None, "A"], "c": 3, "d": (4, "")}
        self.assertEqual(of_dict(signals, NOW, faults), made("ad", ["V", ""], [1, 4]))
        self.assertEqual(faults, ["c in sdict is not [y, unit]"])
        self.assertRaises(Wrong, of_dict, [1], NOW, faults)

    def test_plot(self) -> None:
        self.assertEqual(plotted([1, 2], [3, None])[0], array("d", [1, 2]))
        self.assertEqual(plotted([5, 6], []), (array("d", [0, 1]), array("d", [5, 6])))
        self.assertEqual(plotted(np.array([1.0]), np.array([2.0])), (array("d", [1]), array("d", [2])))
        self.assertRaises(Wrong, plotted, [1, 2], [3])
        self.assertRaises(Wrong, plotted, [1], ["x"])

    def test_a_gap_in_a_plot(self) -> None:
        _, values = plotted([1, 2], [3, None])
        self.assertEqual(str(values.tolist()), "[3.0, nan]")


class Colour(Enum):
    """Something that JSON has no word for."""

    RED = 1


class Unspeakable:
    """An object whose repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError


class PlainTest(SynchronousTestCase):
    """Values without their Python."""

    def test_plain_values_stay(self) -> None:
        value = {"a": [1, 2.5, None, True, "ä"], "b": {}}
        self.assertEqual(plain(value), value)

    def test_containers(self) -> None:
        self.assertEqual(plain(((1, {2}), {3: "x"})), [[1, [2]], {"3": "x"}])

    def test_numpy(self) -> None:
        self.assertEqual(
            plain([np.float64(1.5), np.int8(2), np.array([[1, 2]]), np.bool_(True)]), [1.5, 2, [[1, 2]], True]
        )
        self.assertIs(type(plain(np.float64(1.5))), float)

    def test_what_has_no_word_is_its_repr(self) -> None:
        self.assertEqual(plain([Colour.RED, 1j, b"x"]), ["<Colour.RED: 1>", "1j", "b'x'"])
        self.assertEqual(plain(1 << 64), str(1 << 64))
        self.assertEqual(plain(Unspeakable()), "<Unspeakable: RuntimeError>")
        self.assertEqual(plain("a\ud800"), "a?")

    def test_what_is_in_itself_ends(self) -> None:
        endless: list[Any] = []
        endless += [endless, endless]
        self.assertIn("[...]", str(plain(endless)))

    @given(
        st.recursive(
            st.none() | st.text() | st.binary() | st.integers() | st.floats() | st.complex_numbers(),
            lambda inner: st.lists(inner) | st.dictionaries(st.integers() | st.text(), inner),
            max_leaves=20,
        )
    )
    @unhurried
    def test_json_has_words_for_it(self, value: Any) -> None:
        to_json(plain(value))
