"""What the asyncio client reads of the real server's rooms: sums, pages, events, and what is told of them."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client import BadAnswer, Client, RequestFailed, SignalSums
from rtoc_twisted.errors import NotAvailable, UnknownSignal
from rtoc_twisted.events import commands
from rtoc_twisted.model import SignalName

from .client_memory import Exchange, Reply, with_answers
from .doubles import house

A, B = SignalName("D.x", "a"), SignalName("D", "b")
AWKWARD = [0.1, float("inf"), -0.0, -float("inf"), 5e-324]


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = house().connect()
        self.server.send({"y": [n * n for n in range(20)], "sname": "a", "dname": "D.x", "plot": True})
        self.server.send(
            b'{"y": [0.1, Infinity, -0.0, -Infinity, 5e-324], "sname": "b", "plot": true, "dname": "D"}'
        )

    def run_with(self, scenario: Callable[[Client], Awaitable[Any]], reply: Reply | None = None) -> Any:
        async def main() -> Any:
            exchange = Exchange(reply or self.server.send)
            async with exchange.client() as client:
                result = await scenario(client)
                self.asked = exchange.lines[0].asked
                return result

        return asyncio.run(main())

    def pages(self, reply: Reply | None = None, **options: Any) -> list[Any]:
        async def scenario(client: Client) -> Any:
            return [page async for page in client.pages(**{"name": A, **options})]

        found: list[Any] = self.run_with(scenario, reply)
        return found

    def events(self, reply: Reply | None = None, **options: Any) -> list[list[int]]:
        async def scenario(client: Client) -> Any:
            return [[event.number for event in page] async for page in client.event_pages(**options)]

        found: list[list[int]] = self.run_with(scenario, reply)
        return found

    def test_sums(self) -> None:
        found = self.run_with(
            lambda client: client.aggregate([A, "D.b", "no.such"], 10, ["count", "max"], 5.0)
        )
        self.assertEqual(found, {
            "D.x.a": SignalSums(10.0, [-5.0, 5.0, 15.0], {"count": [5, 10, 5], "max": [16, 196, 361]}),
            "D.b": SignalSums(10.0, [-5.0], {"count": [5], "max": found["D.b"].columns["max"]}),
        })  # fmt: skip
        every = self.run_with(lambda client: client.aggregate(None, 10, x_min=0, x_max=9))
        self.assertEqual(list(every), ["D.x.a", "D.b"])
        self.assertEqual(every["D.x.a"].columns["count"], [9])
        self.assertEqual(len(every["D.x.a"].columns), 8)
        self.assertEqual(self.run_with(lambda client: client.aggregate(["no.such"], 10)), {})

    def test_wrong_sums(self) -> None:
        with self.assertRaises(RequestFailed):
            self.run_with(lambda client: client.aggregate([A], 0))
        for answer, failure in (({"signals": {}}, NotAvailable), ({"aggregates": {"D.x.a": {}}}, BadAnswer)):
            with self.assertRaises(failure):
                self.run_with(lambda client: client.aggregate([A], 10), with_answers(getSignal=answer))

    def test_what_was_left_out(self) -> None:
        data = self.run_with(lambda client: client.signal(A, max_points=4))
        self.assertEqual(data.decimated, (len(data.x), 20))
        self.assertIsNone(self.run_with(lambda client: client.signal(A)).decimated)
        answer = {
            "aggregates": {"D.x.a": {"width": 1.0, "x": []}},
            "decimated": {"D.x.a": {"points": 1, "of": 9}},
        }
        sums = self.run_with(lambda client: client.aggregate([A], 1), with_answers(getSignal=answer))
        self.assertEqual(sums["D.x.a"], SignalSums(1.0, [], {}, (1, 9)))

    def test_pages(self) -> None:
        found = self.pages(limit=8)
        self.assertEqual([(len(page.x), page.more) for page in found], [(8, True), (8, True), (4, False)])
        self.assertEqual([y for page in found for y in page.y], [n * n for n in range(20)])
        (nothing,) = self.pages(after=found[-1].after)
        self.assertEqual((list(nothing.x), nothing.after, nothing.more), ([], found[-1].after, False))
        self.server.send({"y": 7, "x": 99, "sname": "a", "dname": "D.x", "unit": "V"})
        (news,) = self.pages(name="D.x.a", after=nothing.after)
        self.assertEqual((news.x, news.y, news.unit), (array("d", [99]), array("d", [7]), "V"))

    def test_pages_are_exact(self) -> None:
        (page,) = self.pages(name=B)
        self.assertEqual(page.y.tobytes(), array("d", AWKWARD).tobytes())

    def test_pages_of_a_window(self) -> None:
        found = self.pages(limit=8, x_min=3, x_max=5)
        self.assertEqual([list(page.x) for page in found], [[4.0, 5.0], [], []])

    def test_pages_that_cannot_be(self) -> None:
        for name in ("no.such", SignalName("no", "such")):
            self.assertRaises(UnknownSignal, self.pages, name=name)
        (first, *_) = self.pages(limit=5)
        self.server.send({"plot": True, "y": [1], "sname": "a", "dname": "D.x"})
        with self.assertRaisesRegex(RequestFailed, "begin anew"):
            self.pages(after=first.after)
        row = [[1.0], [2.0], "V", 1, 1.0, 1.0]
        cursor = {"pages": {"D.x.a": {"after": "1.1", "more": False}}}
        for answer, failure in (({}, NotAvailable), (cursor, BadAnswer), ({"pages": {}}, BadAnswer)):
            reply = with_answers(getSignal={"signals": {"D.x.a": row}, **answer})
            self.assertRaises(failure, self.pages, reply)

    def raise_events(self) -> None:
        for number in range(5):
            self.server.send({"event": {"text": str(number), "x": number}})

    def test_events_by_pages(self) -> None:
        self.assertEqual(self.events(), [])
        self.raise_events()
        self.assertEqual(self.events(limit=2), [[1, 2], [3, 4], [5]])
        self.assertEqual(self.events(limit=5), [[1, 2, 3, 4, 5]])
        self.assertEqual(self.events(after=3), [[4, 5]])
        self.assertEqual(self.events(after=5), [])
        self.assertRaises(NotAvailable, self.events, with_answers(getEventList={"events": {}}))

    def test_all_events(self) -> None:
        self.raise_events()
        self.patch(commands, "EVENTS_AT_ONCE", 3)
        self.patch(Client.event_pages, "__defaults__", (3, 0))
        found = self.run_with(lambda client: client.event_list())
        self.assertEqual([event.text for event in found], ["0", "1", "2", "3", "4"])
        newest = self.run_with(lambda client: client.event_list(2))
        self.assertEqual([event.text for event in newest], ["3", "4"])
        self.assertEqual(self.asked[-1], {"getEventList": 2})
