"""The sender: what waits while the server is away, and that it comes exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client import (
    CannotConnect,
    ConnectionLost,
    Counters,
    LoginRefused,
    QueueFull,
    RequestFailed,
    Sender,
)
from rtoc_twisted.client.diskqueue import DiskQueue
from rtoc_twisted.client.queue import Limits
from rtoc_twisted.client.sender import WINDOW, WINDOW_SIZE
from rtoc_twisted.errors import BadValue, Busy, RTOCError, TooLarge

from .client_memory import Exchange, Store, failed, with_answers

Scenario = Callable[[Sender], Awaitable[None]]
STORED = {"sent": True, "batch": {"accepted": 1, "duplicate": 0}}


class SenderTests(SynchronousTestCase):
    def run_with(
        self, exchange: Exchange, scenario: Scenario, timeout: float = 10.0, **options: Any
    ) -> Counters:
        """Run a scenario in a sender of a client that is not open; return the counters at the end."""

        async def main() -> Counters:
            async with exchange.client(timeout=timeout).sender(clock=lambda: 7.0, **options) as out:
                await scenario(out)
            return out.counters

        return asyncio.run(main())

    def send(self, *faults: Any, count: int = 3, **options: Any) -> tuple[Store, Counters]:
        """Send so many messages to a server with these faults."""

        async def scenario(out: Sender) -> None:
            for n in range(count):
                await out.send("D", {"a": n})

        store = Store(*faults)
        return store, self.run_with(store.exchange, scenario, **options)

    def test_a_server_that_is_there(self) -> None:
        store, counters = self.send(count=100)
        self.assertEqual(store.values, list(range(100)))
        self.assertEqual(counters, Counters(queued=100, sent=100, acknowledged=100))
        batches = [it["batch"] for it in store.stored]
        self.assertEqual(len({it["source"] for it in batches}), 1)
        self.assertEqual([it["seq"] for it in batches], list(range(100)))

    def test_several_are_on_their_way(self) -> None:
        unanswered: list[dict[str, Any]] = []

        def reply(request: dict[str, Any]) -> list[dict[str, Any]]:
            if "y" in request and request["batch"]["seq"] > WINDOW:
                unanswered.append(request)
                return []
            return [{"error": False, "id": request["id"], **STORED}]

        exchange = Exchange(reply)

        async def scenario(out: Sender) -> None:
            for n in range(4 * WINDOW):
                await out.send("D", {"a": n})
            while len(unanswered) < WINDOW:
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.sleep(0)
            self.assertEqual(len(unanswered), WINDOW)
            for request in unanswered[::-1]:
                exchange.lines[0].push({"error": False, "id": request["id"], **STORED})
            while len(unanswered) < 2 * WINDOW:
                await asyncio.sleep(0)
            raise BadValue("enough")

        self.assertRaises(BadValue, self.run_with, exchange, scenario)
        self.assertEqual([it["y"][0] for it in unanswered], list(range(WINDOW + 1, 3 * WINDOW + 1)))

    def test_large_ones_are_few_on_their_way(self) -> None:
        unanswered: list[dict[str, Any]] = []

        def reply(request: dict[str, Any]) -> list[dict[str, Any]]:
            if "y" in request and request["batch"]["seq"] > 9:
                unanswered.append(request)
                return []
            return [{"error": False, "id": request["id"], **STORED}]

        async def scenario(out: Sender) -> None:
            for _ in range(20):
                await out.plot("D", "a", [0.5] * (WINDOW_SIZE // 12))
            while len(unanswered) < 3:
                await asyncio.sleep(0)
            for _ in range(100):
                await asyncio.sleep(0)
            raise BadValue("enough")

        self.assertRaises(BadValue, self.run_with, Exchange(reply), scenario)
        self.assertEqual(len(unanswered), 3)

    def test_it_waits_for_a_server_that_is_away(self) -> None:
        times = iter((5.0, 6.0, 8.0))

        async def main() -> None:
            exchange.failures = [CannotConnect("nobody there")] * 9
            async with exchange.client().sender(clock=lambda: next(times)) as out:
                await out.send("D", {"a": 1, "b": 2}, units={"b": "V"})
                await out.send("D", {"a": 3}, x=1.5)
                await out.plot("D", "p", [1, 2], unit="V", hold="mergeX")
                await out.store({"y": [4], "sname": ["a"], "x": None})
                await out.store({"y": 5})
                self.assertEqual((out.counters.queued, out.counters.waiting, exchange.lines), (5, 5, []))
                await out.flush()
                self.assertEqual((out.counters.acknowledged, out.counters.waiting), (5, 0))

        exchange = Exchange(with_answers(y=STORED))
        asyncio.run(main())
        sent = [it for it in exchange.lines[0].asked if "y" in it]
        for it in sent:
            del it["batch"]
        first = {"dname": "D", "sname": ["a", "b"], "y": [1, 2], "unit": ["", "V"], "x": [5.0, 5.0]}
        self.assertEqual(sent[0], first)
        self.assertEqual((sent[1]["x"], sent[3]["x"], sent[4]["x"]), ([1.5], [6.0], 8.0))
        plot = {"plot": True, "dname": "D", "sname": "p", "y": [1, 2], "unit": "V", "hold": "mergeX"}
        self.assertEqual(sent[2], plot)

    def test_a_connection_that_breaks(self) -> None:
        store, counters = self.send("before", None, "after", "before", count=5)
        self.assertEqual(store.values, list(range(5)))
        self.assertEqual((counters.acknowledged, counters.duplicates, counters.waiting), (5, 1, 0))
        self.assertGreaterEqual(counters.sent, len(store.numbers))
        self.assertEqual(store.numbers[:3], [0, 0, 1])

    def test_an_answer_that_does_not_come(self) -> None:
        answered: list[int] = []

        def reply(request: dict[str, Any]) -> list[dict[str, Any]]:
            answered.append(len(answered)) if "y" in request else None
            return [] if len(answered) == 1 and "y" in request else store.reply(request)

        store = Store()
        store.exchange.reply = reply

        async def scenario(out: Sender) -> None:
            await out.send("D", {"a": 1})

        counters = self.run_with(store.exchange, scenario, timeout=0.01)
        self.assertEqual((counters.sent, counters.acknowledged, store.numbers), (2, 1, [0, 0]))

    def test_failures_that_pass(self) -> None:
        store, counters = self.send(
            failed("busy", True), failed("internal", True), None, failed("busy", True)
        )
        self.assertEqual((sorted(store.values), counters.acknowledged), ([0, 1, 2], 3))
        self.assertEqual(store.numbers[:3], [0, 0, 0])
        first, second, third = store.exchange.sleeps
        self.assertLess(first, second)
        self.assertLessEqual(third, 0.5)

    def test_what_is_on_its_way_meanwhile_is_not_sent_again(self) -> None:
        held: list[dict[str, Any]] = []

        def reply(request: dict[str, Any]) -> list[dict[str, Any]]:
            if "y" in request and request["y"] == [2]:
                held.append(request)
                return []
            return store.reply(request)

        async def scenario(out: Sender) -> None:
            for n in range(3):
                await out.send("D", {"a": n})
            while not held:
                await asyncio.sleep(0)
            for _ in range(20):
                await asyncio.sleep(0)
            for message in store.reply(held[0]):
                store.exchange.lines[0].push(message)

        store = Store(None, failed("busy", True))
        store.exchange.reply = reply
        self.run_with(store.exchange, scenario)
        self.assertEqual((store.values, store.numbers), ([0, 2, 1], [0, 1, 2, 1]))

    def test_what_is_refused_for_good(self) -> None:
        told: list[tuple[Any, str]] = []
        store, counters = self.send(
            None, failed("bad-value"), on_refused=lambda fields, why: told.append((fields["y"], why.code))
        )
        self.assertEqual((store.values, told), ([0, 2], [([1], "bad-value")]))
        self.assertEqual((counters.refused, counters.acknowledged, counters.waiting), (1, 2, 0))

    def test_refusals_are_logged_once(self) -> None:
        with self.assertLogs("rtoc_twisted.client", "ERROR") as logs:
            _, counters = self.send(failed("bad-value"), {"error": False}, failed("too-large"))
        self.assertEqual((counters.refused, len(logs.output)), (3, 1))

    def test_a_callback_that_fails(self) -> None:
        def on_refused(*_: object) -> None:
            raise KeyError

        with self.assertLogs("rtoc_twisted.client", "ERROR"):
            store, counters = self.send(failed("bad-value"), on_refused=on_refused)
        self.assertEqual((store.values, counters.refused), ([1, 2], 1))

    def test_a_message_that_is_too_big(self) -> None:
        """The server closes the connection: the one that does it must not stop the others for ever."""
        told: list[RTOCError] = []
        store, _ = self.send(None, 1009, 1009, count=4, on_refused=lambda _, failure: told.append(failure))
        self.assertEqual((store.values, len(told)), ([0, 2, 3], 1))

    def test_an_account_that_may_not_send_loses_nothing(self) -> None:
        async def main() -> None:
            async with store.exchange.client() as client, client.sender() as out:
                await out.send("D", {"a": 1})
                with self.assertRaises(RequestFailed):
                    await out.flush()
                self.assertEqual((out.counters.waiting, out.counters.refused), (1, 0))
                with self.assertRaises(RequestFailed):
                    await out.send("D", {"a": 2})
                self.assertEqual(out.counters.queued, 1)
                raise BadValue("leave at once")

        store = Store(failed("not-permitted"))
        self.assertRaises(BadValue, asyncio.run, main())

    def test_a_refused_login_ends_it(self) -> None:
        async def scenario(out: Sender) -> None:
            await out.send("D", {"a": 1})

        exchange = Exchange(lambda _: [{"authorized": False}])
        self.assertRaises(LoginRefused, self.run_with, exchange, scenario)

    def test_a_client_that_is_closed_ends_it(self) -> None:
        async def main() -> None:
            client = store.exchange.client()
            async with client, client.sender() as out:
                await client.close()
                await out.send("D", {"a": 1})

        store = Store()
        self.assertRaises(ConnectionLost, asyncio.run, main())

    def test_a_client_that_is_open_stays_so(self) -> None:
        async def main() -> int:
            async with store.exchange.client() as client:
                async with client.sender() as out:
                    await out.send("D", {"a": 1})
                await client.send("D", {"a": 2})
                return len(store.exchange.lines)

        store = Store()
        self.assertEqual((asyncio.run(main()), store.values), (1, [1, 2]))

    def test_a_full_queue(self) -> None:
        async def main() -> None:
            store.exchange.failures = [CannotConnect("nobody there")] * 100
            async with store.exchange.client().sender(limit=2) as out:
                await out.send("D", {"a": 0})
                await out.send("D", {"a": 1})
                with self.assertRaises(QueueFull):
                    await out.send("D", {"a": 2})

        store = Store()
        asyncio.run(main())
        self.assertEqual(store.values, [0, 1])
        store, counters = self.send(count=10, limit=1, when_full="wait")
        self.assertEqual((store.values, counters.dropped), (list(range(10)), 0))
        with self.assertRaises(TooLarge):
            self.send(limit_size=10)

    def test_dropping_while_somebody_waits(self) -> None:
        async def main() -> None:
            exchange = Exchange(with_answers())
            exchange.failures = [CannotConnect("nobody there")] * 10_000
            async with exchange.client().sender(limit=1, when_full="oldest") as out:
                await out.send("D", {"a": 0})
                flushed = asyncio.create_task(out.flush())
                await asyncio.sleep(0)
                await out.send("D", {"a": 1})
                await flushed
                counters = out.counters
                self.assertEqual((counters.queued, counters.dropped, counters.waiting), (2, 1, 1))
                raise BadValue("leave at once")

        self.assertRaises(BadValue, asyncio.run, main())

    def test_a_server_that_does_not_know_batches(self) -> None:
        async def scenario(out: Sender) -> None:
            await out.send("D", {"a": 1})
            await out.send("D", {"a": 2})

        with self.assertLogs("rtoc_twisted.client", "WARNING") as logs:
            counters = self.run_with(Exchange(with_answers(y={"sent": True})), scenario)
        self.assertEqual((counters.acknowledged, len(logs.output)), (2, 1))

    def test_numbers_of_all_kinds(self) -> None:
        async def scenario(out: Sender) -> None:
            await out.send(
                "D", {"a": float("nan"), "b": float("-inf"), "c": np.float32(0.5), "d": np.int64(3)}
            )
            await out.plot("D", "p", np.array([1.0, 2.0]), x=np.arange(2))
            with self.assertRaises(TypeError):
                await out.send("D", {"a": object()})

        store = Store()
        self.run_with(store.exchange, scenario)
        self.assertEqual(str(store.stored[0]["y"]), "[nan, -inf, 0.5, 3]")
        self.assertEqual((store.stored[1]["y"], store.stored[1]["x"]), ([1.0, 2.0], [0, 1]))

    def test_durable(self) -> None:
        store, _ = self.send(ack="durable")
        self.assertEqual({it["ack"] for it in store.stored}, {"durable"})

    def test_what_is_the_sender_s_own(self) -> None:
        async def scenario(out: Sender) -> None:
            await out.store({"y": [1], "x": [2], "ack": "none", "batch": 5, "id": 9})

        store = Store()
        counters = self.run_with(store.exchange, scenario)
        self.assertEqual((counters.acknowledged, set(store.stored[0])), (1, {"y", "x", "batch", "id"}))

    def test_a_queue_that_is_in_use(self) -> None:
        path = Path(self.mktemp())
        queue = DiskQueue(path, Limits())
        self.addCleanup(queue.close)
        self.assertRaises(Busy, self.send, path=path)

    def test_what_waits_on_disk_is_sent_by_the_next(self) -> None:
        async def leave(out: Sender) -> None:
            await out.send("D", {"a": 10})
            await out.send("D", {"a": 11})
            raise BadValue("no server")

        path = Path(self.mktemp())
        away = Exchange(with_answers())
        away.failures = [CannotConnect("nobody there")] * 10_000
        self.assertRaises(BadValue, self.run_with, away, leave, path=path)
        store, counters = self.send(path=path)
        self.assertEqual(store.values, [10, 11, 0, 1, 2])
        self.assertEqual((counters.queued, counters.acknowledged), (3, 5))
        self.assertEqual(len({it["batch"]["source"] for it in store.stored}), 1)
