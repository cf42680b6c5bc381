"""getSignal beyond what RTOC had: pages, aggregates, exact columns, and what an answer says of itself."""

from __future__ import annotations

import struct
from base64 import b64decode
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.interfaces import IStorage
from rtoc_twisted.storage import chunks, reading
from rtoc_twisted.storage.memory import MemoryStorage
from tests.doubles import house, sqlite_storage

COUNT = 20
OF_A = {"dname": "Dev", "sname": "A"}
OF_B = {"dname": "Dev", "sname": "B"}


class ReadingCase(SynchronousTestCase):
    """Two signals: x 0 to 19 and y its squares; x 0 and y NaN."""

    max_points = 100

    def setUp(self) -> None:
        self.clock = Clock()
        self.storage = self.make_storage()
        self.rooms = house(
            storage=self.storage, clock=self.clock, max_points=self.max_points, record_length=5
        )
        self.client = self.rooms.connect()
        for n in range(COUNT):
            self.client.send({"y": n * n, "x": n, "sname": "A", "dname": "Dev", "unit": "V"})
        self.client.send(b'{"y": [NaN], "x": [0], "sname": ["B"], "dname": "Dev"}')

    def make_storage(self) -> IStorage:
        return MemoryStorage()

    def get(self, *requests: Any, **options: Any) -> Any:
        """Ask for these, or for the first signal with these options."""
        return self.client.ask(getSignal=list(requests) if requests else {**OF_A, **options})

    def assert_refused(self, code: str, path: str, **options: Any) -> str:
        """Check that a request fails as a whole, naming a place in it; return the message."""
        answer = self.get(**options)
        self.assertEqual(set(answer), {"error", "errors"}, options)
        (error,) = answer["errors"]
        self.assertEqual(
            (error["key"], error["code"], error["retriable"]), ("getSignal", code, False), options
        )
        self.assertEqual(error["message"].partition(":")[0], path, options)
        return str(error["message"])


class PageTest(ReadingCase):
    def test_page_by_page(self) -> None:
        y: list[float] = []
        after, sizes = None, []
        while True:
            answer = self.get(limit=8, after=after)
            y += answer["signals"]["Dev.A"][1]
            sizes.append(len(answer["signals"]["Dev.A"][0]))
            self.assertEqual(answer.keys(), {"error", "signals", "pages"})
            after, more = answer["pages"]["Dev.A"]["after"], answer["pages"]["Dev.A"]["more"]
            if not more:
                break
        self.assertEqual((sizes, y), ([8, 8, 4], [n * n for n in range(COUNT)]))
        self.client.send({"y": 7, "x": 99, "sname": "A", "dname": "Dev"})
        news = self.get(after=after)
        self.assertEqual(news["signals"]["Dev.A"][:2], [[99.0], [7.0]])
        self.assertEqual(news["signals"]["Dev.A"][4:], [0.0, 99.0])

    def test_after_alone_begins_with_the_oldest(self) -> None:
        answer = self.get(after=None)
        self.assertEqual(len(answer["signals"]["Dev.A"][0]), COUNT)
        self.assertFalse(answer["pages"]["Dev.A"]["more"])

    def test_bounds_choose_within_a_page(self) -> None:
        answer = self.get(limit=8, xmin=5, xmax=6)
        self.assertEqual(answer["signals"]["Dev.A"][0], [6.0])
        self.assertTrue(answer["pages"]["Dev.A"]["more"])
        self.assertNotIn("decimated", answer)

    def test_wrong_limits(self) -> None:
        for limit in (0, -1, 1.5, "5", True, []):
            self.assert_refused("bad-value", "getSignal.limit", limit=limit)
        self.assert_refused("too-large", "getSignal.limit", limit=self.max_points + 1)
        self.assert_refused("too-large", "getSignal.limit", limit=10**30)

    def test_wrong_cursors(self) -> None:
        for after in (5, "", "5", "1.2.3", "-1.5", "1.5 ", "١.٢", f"1.{10**16}", True, ["1.2"]):
            self.assert_refused("bad-value", "getSignal.after", after=after, limit=5)

    def test_what_does_not_go_together(self) -> None:
        for more in ({"maxN": 5}, {"aggregate": {"width": 5}}, {"database": False}):
            (key,) = more
            self.assert_refused("bad-value", f"getSignal.{key}", limit=5, **more)
            self.assert_refused("bad-value", f"getSignal.{key}", after=None, **more)

    def test_a_cursor_of_samples_that_were_replaced(self) -> None:
        after = self.get(limit=8)["pages"]["Dev.A"]["after"]
        self.client.send({"plot": True, "y": [1, 2, 3], "sname": "A", "dname": "Dev"})
        answer = self.get({**OF_A, "limit": 2, "after": after}, {**OF_B, "limit": 2})
        (error,) = answer.pop("errors")
        self.assertEqual((error["key"], error["code"]), ("getSignal", "bad-value"))
        self.assertRegex(error["message"], "^getSignal.after: Dev.A: .*begin anew$")
        self.assertEqual((answer["error"], list(answer["signals"]), list(answer["pages"])),
                         (True, ["Dev.B"], ["Dev.B"]))  # fmt: skip
        self.assertEqual(self.get(limit=2)["signals"]["Dev.A"][1], [1.0, 2.0])

    def test_pages_count_for_the_limit_of_an_answer(self) -> None:
        page = {**OF_A, "limit": self.max_points}
        self.assertFalse(self.get(*[page] * (self.max_points // COUNT))["error"])
        self.assertEqual(self.get(*[page] * (self.max_points // COUNT + 1))["errors"][0]["code"], "too-large")
        after = self.get(limit=COUNT - 1)["pages"]["Dev.A"]["after"]
        self.assertFalse(self.get(*[{**page, "after": after}] * (self.max_points // COUNT + 1))["error"])

    def test_an_unknown_signal_has_no_pages(self) -> None:
        self.assertEqual(self.get(sname="none", limit=5), {"error": False, "signals": {}})


class AggregateTest(ReadingCase):
    def test_all_functions(self) -> None:
        answer = self.get(aggregate={"width": 10}, xmax=11)
        self.assertEqual(answer.keys(), {"error", "aggregates"})
        found = answer["aggregates"]["Dev.A"]
        deviation = found.pop("std")
        self.assertEqual(
            found,
            {
                "width": 10.0,
                "x": [0.0, 10.0],
                "count": [10.0, 2.0],
                "min": [0.0, 100.0],
                "max": [81.0, 121.0],
                "mean": [28.5, 110.5],
                "sum": [285.0, 221.0],
                "first": [0.0, 100.0],
                "last": [81.0, 121.0],
            },
        )
        self.assertAlmostEqual(deviation[0], 26.852374196707448)
        self.assertEqual(deviation[1], 10.5)

    def test_some_functions_and_an_origin(self) -> None:
        answer = self.get(aggregate={"width": 15, "functions": ["max", "count"], "origin": 2}, xmin=-1)
        expected = {
            "width": 15.0,
            "x": [-13.0, 2.0, 17.0],
            "max": [1.0, 256.0, 361.0],
            "count": [2.0, 15.0, 3.0],
        }
        self.assertEqual(answer["aggregates"], {"Dev.A": expected})

    def test_beside_samples(self) -> None:
        sums = {"aggregate": {"width": 100, "functions": ["count"]}}
        answer = self.get({**OF_A, **sums}, {**OF_B, **sums}, {**OF_A, "xmin": 18}, "Dev.B")
        self.assertEqual(answer["aggregates"], {
            "Dev.A": {"width": 100.0, "x": [0.0], "count": [20.0]},
            "Dev.B": {"width": 100.0, "x": [], "count": []},
        })  # fmt: skip
        self.assertEqual(answer["signals"]["Dev.A"][0], [19.0])
        self.assertEqual(answer["signals"]["Dev.B"][1], [None])

    def test_an_unknown_signal(self) -> None:
        self.assertEqual(self.get(sname="no", aggregate={"width": 1}), {"error": False, "aggregates": {}})

    def test_wrong_requests(self) -> None:
        path = "getSignal.aggregate"
        self.assert_refused("bad-value", path, aggregate=5)
        self.assert_refused("bad-value", f"{path}.width", aggregate={})
        for width in (0, -1, "5", True, None, 10**400):
            self.assert_refused("bad-value", f"{path}.width", aggregate={"width": width})
        for origin in ("5", True, 10**400):
            self.assert_refused("bad-value", f"{path}.origin", aggregate={"width": 1, "origin": origin})
        self.assert_refused("bad-value", f"{path}.functions", aggregate={"width": 1, "functions": "max"})
        for wrong in ("median", 5, ["max"]):
            functions = {"width": 1, "functions": ["max", wrong]}
            self.assert_refused("bad-value", f"{path}.functions[1]", aggregate=functions)
        for more in ({"maxN": 5}, {"database": False}):
            self.assert_refused("bad-value", f"getSignal.{next(iter(more))}", aggregate={"width": 1}, **more)

    def test_what_is_not_finite(self) -> None:
        for key in ("width", "origin"):
            for word in ("NaN", "Infinity"):
                request = '{"getSignal": {"dname": "Dev", "sname": "A", "aggregate": {"width": 1, "%s": %s}}}'
                answer = self.client.send((request % (key, word)).encode())[-1]
                self.assertRegex(answer["errors"][0]["message"], f"^getSignal.aggregate.{key}: ")

    def test_too_many_buckets_of_one_signal(self) -> None:
        self.client.send({"plot": True, "y": list(range(101)), "sname": "B", "dname": "Dev"})
        sums = {"aggregate": {"width": 1, "functions": ["count"]}}
        answer = self.get({**OF_A, **sums}, {**OF_B, **sums})
        (error,) = answer["errors"]
        self.assertEqual((error["key"], error["code"]), ("getSignal", "too-large"))
        self.assertRegex(error["message"], "^getSignal.aggregate.width: Dev.B: more than 100 buckets")
        self.assertEqual(list(answer["aggregates"]), ["Dev.A"])

    def test_counts_are_whole_numbers(self) -> None:
        self.client.send({"plot": True, "y": list(range(100)), "sname": "A", "dname": "Dev"})
        # Few are encoded in passing, many as a column.
        for width, expected in ((10.0, [10] * 10), (1.0, [1] * 100)):
            request = {"getSignal": {**OF_A, "aggregate": {"width": width, "functions": ["count"]}}}
            (packed,) = self.client.send(msgspec.msgpack.encode(request), binary=True)
            for answer in (self.client.ask(**request), packed):
                count = answer["aggregates"]["Dev.A"]["count"]
                self.assertEqual((count, {type(number) for number in count}), (expected, {int}))


class LimitTest(ReadingCase):
    """More samples than an answer may hold are refused, whatever asks for them."""

    max_points = 10

    def test_a_window(self) -> None:
        self.assertEqual(len(self.get(xmin=4, xmax=14)["signals"]["Dev.A"][0]), 10)
        message = self.assert_refused("too-large", "getSignal", xmin=4, xmax=15)
        for key in ("xmin", "maxN", "limit", "aggregate"):
            self.assertIn(key, message)
        self.assert_refused("too-large", "getSignal", xmin=-1)
        self.assert_refused("too-large", "getSignal")

    def test_windows_together(self) -> None:
        half = {**OF_A, "xmin": 4, "xmax": 9}
        self.assertFalse(self.get(half, half)["error"])
        (error,) = self.get(half, half, OF_B)["errors"]
        self.assertEqual(error["code"], "too-large")

    def test_what_is_within_it(self) -> None:
        for options in ({"maxN": 10, "xmin": -1}, {"limit": 10}, {"aggregate": {"width": 2}, "xmin": -1}):
            self.assertFalse(self.get(**options)["error"], options)

    def test_events_of_a_session(self) -> None:
        self.patch(reading, "EVENTS_AT_ONCE", 2)
        for number in range(3):
            self.assertNotIn("eventsLeftOut", self.client.ask(getSession=True))
            self.client.ask(event={"text": f"{number}", "dname": "Dev", "sname": "A"})
        answer = self.client.ask(getSession=True)
        self.assertEqual((list(answer["session"]["events"]), answer["eventsLeftOut"]), (["2", "3"], True))


class StoredLimitTest(LimitTest):
    """The same of samples in chunks."""

    def make_storage(self) -> IStorage:
        self.patch(chunks, "CHUNK_SAMPLES", 6)
        directory = Path(self.mktemp())
        directory.mkdir()
        storage = sqlite_storage(directory, self.clock)
        self.addCleanup(storage.close)
        return storage

    def setUp(self) -> None:
        super().setUp()
        self.storage._database.fold()  # type: ignore[attr-defined]


class ExactTest(ReadingCase):
    def test_in_json(self) -> None:
        self.client.send(b'{"y": [Infinity], "x": [0.1], "sname": ["B"], "dname": "Dev"}')
        row = self.get(**OF_B, binary=True)["signals"]["Dev.B"]
        self.assertEqual(b64decode(row[0]), struct.pack("<2d", 0.0, 0.1))
        nan, infinity = struct.unpack("<2d", b64decode(row[1]))
        self.assertEqual((nan == nan, infinity), (False, float("inf")))
        self.assertEqual(self.get(**OF_B, binary=False)["signals"]["Dev.B"][1], [None, None])

    def test_in_message_pack(self) -> None:
        request = {"getSignal": {**OF_A, "binary": True, "limit": 2}}
        (answer,) = self.client.send(msgspec.msgpack.encode(request), binary=True)
        self.assertEqual(answer["signals"]["Dev.A"][:2], [struct.pack("<2d", 0, 1)] * 2)

    def test_of_sums(self) -> None:
        answer = self.get(binary=True, aggregate={"width": 100, "functions": ["count"]})
        found = answer["aggregates"]["Dev.A"]
        self.assertEqual((b64decode(found["x"]), b64decode(found["count"])),
                         (struct.pack("<d", 0), struct.pack("<d", COUNT)))  # fmt: skip

    def test_wrong_words(self) -> None:
        for wrong in (1, "yes", []):
            self.assert_refused("bad-value", "getSignal.binary", binary=wrong)


class DecimatedTest(ReadingCase):
    def test_the_answer_says_what_was_left_out(self) -> None:
        answer = self.get({**OF_A, "maxN": 4, "xmin": 3}, {**OF_B, "maxN": 4})
        points = len(answer["signals"]["Dev.A"][0])
        self.assertLessEqual(points, 4)
        self.assertEqual(answer["decimated"], {"Dev.A": {"points": points, "of": 16}})

    def test_it_says_nothing_where_nothing_was(self) -> None:
        for options in ({"maxN": COUNT}, {"database": False}, {"xmin": 5}):
            self.assertNotIn("decimated", self.get(**options))
        self.assertNotIn("decimated", self.get("Dev.A"))


class DamageTest(ReadingCase):
    """One damaged signal does not fail the others."""

    def make_storage(self) -> IStorage:
        self.patch(chunks, "CHUNK_SAMPLES", 15)
        directory = Path(self.mktemp())
        directory.mkdir()
        storage = sqlite_storage(directory, self.clock)
        self.addCleanup(storage.close)
        return storage

    def setUp(self) -> None:
        super().setUp()
        database: Any = self.storage._database  # type: ignore[attr-defined]
        database.fold()
        database._sql.execute("UPDATE chunks SET data = x'00' WHERE samples = 15")

    def check(self, key: str, answer: Any) -> None:
        self.assertEqual(answer["error"], True)
        self.assertEqual(answer["errors"], [{
            "key": key,
            "code": "internal",
            "message": f"{key}: Dev.A: 15 samples are damaged on disk and left out",
            "retriable": False,
        }])  # fmt: skip

    def test_of_samples(self) -> None:
        answer = self.get(OF_A, OF_B)
        self.check("getSignal", answer)
        self.assertEqual(answer["signals"]["Dev.A"][0], [15.0, 16.0, 17.0, 18.0, 19.0])
        self.assertEqual(answer["signals"]["Dev.B"][0], [0.0])
        self.assertEqual(answer["decimated"], {"Dev.A": {"points": 5, "of": COUNT}})

    def test_of_sums(self) -> None:
        answer = self.get(aggregate={"width": 100, "functions": ["count"]})
        self.check("getSignal", answer)
        self.assertEqual(answer["aggregates"]["Dev.A"]["count"], [5.0])

    def test_of_a_session(self) -> None:
        self.client.ask(logger={"resize": 100})
        answer = self.client.ask(getSession=True)
        self.check("getSession", answer)
        samples = [row[2] for row in answer["session"]["signals"].values()]
        self.assertEqual(samples, [[15.0, 16.0, 17.0, 18.0, 19.0], [0.0]])

    def test_what_is_whole_is_no_error(self) -> None:
        answer = self.client.ask(getSignal="all")
        self.assertFalse(answer["error"])
        self.assertEqual(answer["signals"]["Dev.A"][0], [15.0, 16.0, 17.0, 18.0, 19.0])
