"""The data of a request (protocol section 5, y)."""

from __future__ import annotations

import json
import random
from array import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import BadValue
from rtoc_twisted.model import Hold, Plot, Samples, SignalName
from rtoc_twisted.wire import batch
from rtoc_twisted.wire.batch import BatchDecoder
from tests.storage_support import unhurried

NOW = 1234.5


class Base(SynchronousTestCase):
    def setUp(self) -> None:
        self.batches = BatchDecoder(lambda: NOW)

    def decode(self, **data: Any) -> Any:
        return self.batches.decode(data)

    def rows(self, found: Any) -> list[tuple[str, str, float, float]]:
        """Return (name, unit, x, y) of each value."""
        self.assertIsInstance(found, Samples)
        names = [name.key for name in found.names.names]
        return list(zip(names, found.names.units, found.x, found.y, strict=True))

    def whole(self, **data: Any) -> Any:
        found = self.batches.whole(json.dumps(data).encode())
        return None if found is None else self.rows(found[0])


class ValuesTests(Base):
    """plot false: one value a signal."""

    def test_defaults(self) -> None:
        expected = [("noDevice.", "", NOW, 5.0)]
        self.assertEqual(self.rows(self.decode(y=5)), expected)
        self.assertEqual(self.whole(y=[5]), expected)
        self.assertEqual(self.rows(self.decode(y=[5], dname=None, unit=None, x=None)), expected)

    def test_further_names(self) -> None:
        expected = [("D.A", "", NOW, 1), ("D.Unnamed", "", NOW, 2), ("D.Unnamed", "", NOW, 3)]
        for sname in ("A", ["A"]):
            self.assertEqual(self.rows(self.decode(y=[1, 2, 3], sname=sname, dname="D")), expected)
            self.assertEqual(self.whole(y=[1, 2, 3], sname=sname, dname="D"), expected)

    def test_both_ways_agree(self) -> None:
        for data in (
            {"y": [1, 2], "x": [3, 4], "sname": ["A", "B"], "dname": "D", "unit": ["V", "A"]},
            {"y": [1, 2], "x": [3, 4, 5], "sname": ["A", "B", "C"], "unit": ["V", "A", "W"]},
            {"y": [1, 2], "unit": "V"},
            {"y": [1, 2], "unit": ["V", None]},
            {"y": [1, 2], "unit": ["V"]},
            {"y": [], "x": []},
            {"y": [1.5], "dname": 5, "unit": 7, "sname": []},
        ):
            self.assertEqual(self.whole(**data), self.rows(self.decode(**data)), data)

    def test_both_ways_agree_on_plots(self) -> None:
        for data in (
            {"y": [1, 2], "x": [3, 4], "sname": "P", "dname": "D", "unit": "V", "hold": "mergeX"},
            {"y": [1, 2], "sname": ["P"], "unit": ["V"], "hold": "on"},
            {"y": [], "x": [1, 2]},
        ):
            plots = [self.decode(plot=True, **data)]
            plots.append(self.batches.whole(json.dumps({"plot": True, **data}).encode())[0])
            one, other = [(p.name, p.unit, p.hold, p.x.tolist(), p.y.tolist()) for p in plots]
            self.assertEqual(one, other, data)

    def test_friendly_numbers(self) -> None:
        found = self.decode(y=["1.5", True, None, 2], x=[1, "2", "no number", 4], sname=list("abcd"))
        expected = [("noDevice.a", "", 1, 1.5), ("noDevice.b", "", 2, 1), ("noDevice.d", "", 4, 2)]
        self.assertEqual(self.rows(found), expected)
        self.assertEqual(self.rows(self.decode(y=None)), [])
        self.assertEqual([x for _, _, x, _ in self.rows(self.decode(y=[1, 2], x=7))], [7, 7])

    def test_a_text_is_an_event(self) -> None:
        self.assertEqual(self.decode(y="hello", x="ignored"), "hello")

    def test_what_is_wrong_and_where(self) -> None:
        for data, place in (
            ({"y": {}}, "y: "),
            ({"y": [1, "a"]}, r"y\[1\]: "),
            ({"y": [1, [2]]}, r"y\[1\]: "),
            ({"y": [10**400]}, r"y\[0\]: "),
            ({"y": [1, 2], "x": [1]}, r"x\[1\]: "),
            ({"y": [1], "x": []}, r"x\[0\]: "),
            ({"y": [1], "x": [None]}, r"x\[0\]: "),
            ({"y": [1], "x": "x"}, "x: "),
            ({"y": [1], "sname": 5}, "sname: "),
            ({"y": [1], "sname": ["a", None]}, r"sname\[1\]: "),
            ({"y": [1], "sname": "\ud800"}, r"sname\[0\]: "),
            ({"y": [1], "dname": "\ud800"}, "dname: "),
            ({"y": [1], "unit": "\ud800"}, "unit: "),
            ({"y": "\ud800"}, "y: "),
        ):
            with self.assertRaisesRegex(BadValue, f"^{place}"):
                self.batches.decode(data)
            self.assertIsNone(self.whole(**data), data)

    def test_what_is_not_whole(self) -> None:
        for payload in (
            b"",
            b"{}",
            b"[]",
            b'{"y":1}',
            b'{"y":[1],"getLatest":true}',
            b'{"y":[1],"unknown":"on"}',
            b'{"y":[NaN]}',
            b'{"y":[1,2],"x":[1],"plot":true}',
            b'{"y":[1],"plot":true,"hold":5}',
            b'{"y":["1"]}',
            b'{"y":[1],"sname":[1]}',
            b'{"y":[1],"sname":"\\ud800"}',
            b'{"y":[1],"x":[]}',
            b"[" * 100_000,
            b"\xff",
        ):
            self.assertIsNone(self.batches.whole(payload), payload[:40])

    def test_the_id(self) -> None:
        found = self.batches.whole(b'{"y":[1],"id":{"a":1}}')
        self.assertEqual(bytes(found[1]), b'{"a":1}')
        self.assertEqual(bytes(self.batches.whole(b'{"y":[1]}')[1]), b"")


class MemoryTests(Base):
    """Names that come again and again are decoded once."""

    def names(self, payload: bytes) -> Any:
        return self.batches.whole(payload)[0].names

    def test_the_same_names_are_the_same_object(self) -> None:
        first = self.names(b'{"y":[1,2],"sname":["A","B"],"dname":"D","unit":"V"}')
        self.assertIs(self.names(b'{"dname":"D","y":[3,4],"unit":"V","sname":["A","B"],"x":[1,2]}'), first)

    def test_other_names_are_not(self) -> None:
        first = self.names(b'{"y":[1],"sname":["A"]}')
        for payload in (
            b'{"y":[1],"sname":["B"]}',
            b'{"y":[1],"sname":["A"],"unit":"V"}',
            b'{"y":[1],"sname":["A"],"dname":"D"}',
            b'{"y":[1,2],"sname":["A"]}',
            b'{"y":[1],"dname":["A"]}',
        ):
            self.assertIsNot(self.names(payload), first)

    def test_bounded(self) -> None:
        self.batches = BatchDecoder(lambda: NOW, remembered=3)
        for number in range(10):
            names = self.names(b'{"y":[1],"sname":"%d"}' % number)
            self.assertEqual(names.names, (SignalName("noDevice", str(number)),))
        self.assertEqual(self.batches.forgotten, 3)


class PlotTests(Base):
    def plot(self, **data: Any) -> Plot:
        found = self.decode(plot=True, **data)
        assert isinstance(found, Plot)
        return found

    def test_a_plot(self) -> None:
        found = self.plot(x=[1, 2], y=[3, "4"], sname=["P"], dname="D", unit=["a", "V"])
        self.assertEqual((found.name, found.unit, found.hold), (SignalName("D", "P"), "V", Hold.OFF))
        self.assertEqual((found.x.tolist(), found.y.tolist()), ([1, 2], [3, 4]))

    def test_indices(self) -> None:
        self.assertEqual(self.plot(y=[5, 6]).x.tolist(), [0, 1])
        found = self.plot(y=[], x=[5, 6, 7])
        self.assertEqual((found.x.tolist(), found.y.tolist()), ([0, 1, 2], [5, 6, 7]))
        self.assertEqual(self.plot(y=[]).x.tolist(), [])
        self.assertEqual(self.plot(y=3).y.tolist(), [3])

    def test_null_is_a_gap(self) -> None:
        first, gap = self.plot(y=[1, None]).y.tolist()
        self.assertEqual(first, 1)
        self.assertNotEqual(gap, gap)

    def test_holds(self) -> None:
        for word in ("off", "on", "mergeX", "mergeY"):
            self.assertEqual(self.plot(y=[1], hold=word).hold, Hold(word))

    def test_what_is_wrong(self) -> None:
        for data, place in (
            ({"y": [1, 2], "x": [1]}, "x: "),
            ({"y": [1, "b"]}, r"y\[1\]: "),
            ({"y": [[1], [2]]}, r"y\[0\]: "),
            ({"y": [1, [2, 3]]}, r"y\[1\]: "),
            ({"y": None}, "y: "),
            ({"y": [1], "x": "x"}, "x: "),
            ({"y": [1], "hold": "never"}, "hold: "),
            ({"y": [1], "hold": None}, "hold: "),
            ({"y": [1], "sname": ["a", "b"]}, r"sname\[1\]: "),
            ({"y": [1, 10**400]}, r"y\[1\]: "),
        ):
            with self.assertRaisesRegex(BadValue, f"^{place}"):
                self.plot(**data)

    def test_an_unhashable_hold(self) -> None:
        self.assertRaises(BadValue, self.plot, y=[1], hold=["on"])


class ColumnTests(SynchronousTestCase):
    """Long messages are read by columns; what they mean is the same."""

    NUMBERS = st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70))
    ANYTHING = (
        NUMBERS
        | st.lists(st.integers() | st.text(max_size=3) | st.none() | st.booleans() | st.lists(st.integers()))
        | st.dictionaries(st.sampled_from(["x", "y"]), NUMBERS, max_size=1)
        | st.none()
        | st.floats(allow_nan=False, allow_infinity=False)
    )

    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "y": ANYTHING,
                "x": ANYTHING,
                "sname": st.lists(st.text(max_size=3)) | ANYTHING | st.just('"y":[1]'),
                "dname": st.text(max_size=3),
                "unit": st.none() | st.text(max_size=3),
                "plot": st.booleans(),
                "hold": st.sampled_from(["off", "on", "mergeX"]),
                "id": st.integers() | st.dictionaries(st.sampled_from(["x", "y"]), NUMBERS),
                "batch": st.fixed_dictionaries(
                    {"source": st.just("s"), "seq": st.integers(0, 3)}, optional={"y": NUMBERS}
                ),
            },
        ),
        st.randoms(use_true_random=False),
        st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
    )
    @unhurried
    def test_both_ways_agree(
        self, message: dict[str, Any], chance: random.Random, separators: tuple[str, str]
    ) -> None:
        keys = list(message)
        chance.shuffle(keys)
        payload = json.dumps({key: message[key] for key in keys}, separators=separators).encode()
        by_columns, plainly = BatchDecoder(lambda: 7.0), BatchDecoder(lambda: 7.0)
        self.patch(batch, "LEAST", 0)
        expected = self.told(by_columns.whole(payload))
        self.assertEqual(self.told(by_columns.whole(payload)), expected)
        self.patch(plainly, "_read_column", None)
        self.assertEqual(self.told(plainly.whole(payload)), expected)

    def told(self, found: Any) -> Any:
        if found is None:
            return None
        data, request_id, of_batch = found
        names = (data.names.names, data.names.units) if isinstance(data, Samples) else (data.name, data.hold)
        pair = of_batch and (of_batch.source, of_batch.seq)
        return type(data), names, list(data.x), list(data.y), bytes(request_id), pair

    def test_numbers_are_never_made_single(self) -> None:
        payload = json.dumps({"sname": ["a"] * 100, "x": [1.5] * 100, "y": list(range(100))}).encode()
        found = BatchDecoder(lambda: 7.0).whole(payload)
        assert found is not None
        self.assertEqual(found[0].y, array("d", range(100)))
        self.assertIsInstance(found[0].y, array)

    def test_shapes_are_remembered_and_bounded(self) -> None:
        decoder = BatchDecoder(lambda: 7.0, remembered=2)
        for device in ("a", "b", "a", "c"):
            message = {"dname": device * 400, "sname": ["s"], "x": [1], "y": [2]}
            decoder.whole(json.dumps(message).encode())
        self.assertEqual((len(decoder._shapes), decoder.forgotten > 0), (1, True))
