"""The asyncio client over connections in memory: no sockets, no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client import (
    BadAnswer,
    CannotConnect,
    CertificateRefused,
    Client,
    ClientConnected,
    ConnectionLost,
    Credentials,
    LoginRefused,
    RequestFailed,
    RequestTimedOut,
)
from rtoc_twisted.errors import BadValue, UnknownSignal
from rtoc_twisted.model import SignalName

from .client_memory import Exchange, Reply, with_answers


class LinkTests(SynchronousTestCase):
    def run_with(
        self, reply: Reply, scenario: Callable[[Client, Exchange], Awaitable[Any]], **options: Any
    ) -> Any:
        async def main() -> Any:
            exchange = Exchange(reply)
            async with exchange.client(**options) as client:
                return await scenario(client, exchange)

        return asyncio.run(main())

    def test_it_logs_in_first(self) -> None:
        async def scenario(client: Client, exchange: Exchange) -> Any:
            await client.hello()
            return exchange.lines[0].asked

        credentials = Credentials(token="t")
        asked = self.run_with(with_answers(hello={"hello": {}}), scenario, credentials=credentials)
        self.assertEqual(asked, [{"authorize": {"token": "t"}}, {"hello": True}])

    def test_answers_out_of_order_find_their_requests(self) -> None:
        held: list[dict[str, Any]] = []

        def reply(request: dict[str, Any]) -> list[dict[str, Any]]:
            if "n" not in request:
                return [{"error": False, "id": request["id"]}]
            held.append({"error": False, "id": request["id"], "n": request["n"]})
            return held[::-1] if len(held) == 3 else []

        async def scenario(client: Client, _: Exchange) -> Any:
            return await asyncio.gather(*(client.request({"n": n}) for n in range(3)))

        self.assertEqual([answer["n"] for answer in self.run_with(reply, scenario)], [0, 1, 2])

    def test_a_late_answer_without_a_number_is_not_the_next_ones(self) -> None:
        def reply(request: dict[str, Any]) -> list[dict[str, Any]]:
            if "slow" in request:
                return []
            late = [{"error": False, "is": "late"}] if "fast" in request else []
            return [*late, {"error": False, "is": "in time"}]

        async def scenario(client: Client, _: Exchange) -> Any:
            slow = asyncio.create_task(client.request({"slow": 1}))
            await asyncio.sleep(0)
            slow.cancel()
            return await client.request({"fast": 1})

        self.assertEqual(self.run_with(reply, scenario)["is"], "in time")

    def test_no_answer_in_time(self) -> None:
        def reply(request: dict[str, Any]) -> list[dict[str, Any]]:
            return [] if "getLatest" in request else [{"error": False}]

        async def scenario(client: Client, _: Exchange) -> None:
            await client.latest()

        self.assertRaises(RequestTimedOut, self.run_with, reply, scenario, timeout=0.01)

    def test_errors_are_raised(self) -> None:
        wrong = {"error": True, "errors": [{"key": "y", "code": "bad-value", "message": "y[1]"}]}

        async def scenario(client: Client, _: Exchange) -> None:
            await client.send("D", {"a": 1})

        failed = self.assertRaises(RequestFailed, self.run_with, with_answers(y=wrong), scenario)
        self.assertEqual((failed.code, str(failed)), ("bad-value", "y[1]"))

    def test_values_not_told_stored_are_a_failure(self) -> None:
        async def scenario(client: Client, _: Exchange) -> None:
            await client.send("D", {"a": 1})

        self.assertRaises(RequestFailed, self.run_with, with_answers(), scenario)

    def test_a_refused_login_ends_it_and_is_not_tried_again(self) -> None:
        exchange = Exchange(lambda _: [{"authorized": False}])

        async def main() -> None:
            async with exchange.client(patient=True):
                pass

        self.assertRaises(LoginRefused, asyncio.run, main())
        self.assertEqual(len(exchange.lines), 1)
        self.assertTrue(exchange.lines[0].closed)

    def test_other_credentials(self) -> None:
        async def scenario(client: Client, exchange: Exchange) -> Any:
            await client.login(Credentials(token="b"))
            await exchange.break_line()
            await client.hello()
            return [line.asked[0] for line in exchange.lines], exchange.lines[0].asked[1]

        firsts, second = self.run_with(
            with_answers(hello={"hello": {}}), scenario, credentials=Credentials(token="a")
        )
        self.assertEqual(second, {"authorize": {"token": "b"}})
        self.assertEqual(firsts, [{"authorize": {"token": "a"}}, {"authorize": {"token": "b"}}])

    def test_no_server(self) -> None:
        exchange = Exchange(with_answers())
        exchange.failures = [CannotConnect("nobody there")]

        async def main() -> None:
            async with exchange.client():
                pass

        self.assertRaises(CannotConnect, asyncio.run, main())
        self.assertEqual(exchange.sleeps, [])

    def test_patience(self) -> None:
        exchange = Exchange(with_answers())
        exchange.failures = [CannotConnect("nobody there")] * 3

        async def main() -> None:
            async with exchange.client(patient=True):
                pass

        asyncio.run(main())
        self.assertEqual(exchange.sleeps, [1.0, 2.0, 4.0])

    def test_a_wrong_certificate_ends_patience(self) -> None:
        exchange = Exchange(with_answers())
        exchange.failures = [CertificateRefused("another fingerprint")]

        async def main() -> None:
            async with exchange.client(patient=True):
                pass

        self.assertRaises(CertificateRefused, asyncio.run, main())

    def test_it_comes_back_with_its_subscriptions(self) -> None:
        async def scenario(client: Client, exchange: Exchange) -> Any:
            stream = client.pushes()
            await client.subscribe(signal="D.a")
            await client.subscribe(device="E")
            await client.unsubscribe(device="E")
            await client.event_level(1)
            exchange.failures = [CannotConnect("down")]
            await exchange.break_line()
            await client.request({"after": 1})
            exchange.lines[1].push({"client": "newconnected"})
            return exchange, await anext(stream)

        exchange, push = self.run_with(with_answers(), scenario)
        expected = [{"authorize": True}, {"eventLevel": 1}, {"subscribe": ["signal", "D.a"]}, {"after": 1}]
        self.assertEqual(exchange.lines[1].asked, expected)
        self.assertEqual(exchange.sleeps, [1.0, 2.0])
        self.assertEqual(push, ClientConnected())

    def test_the_delays_start_over_after_a_success(self) -> None:
        async def scenario(client: Client, exchange: Exchange) -> Any:
            for _ in range(3):
                await exchange.break_line()
                await client.request({})
            return exchange.sleeps

        self.assertEqual(self.run_with(with_answers(), scenario), [1.0, 1.0, 1.0])

    def test_requests_in_flight_fail_with_the_connection(self) -> None:
        def reply(request: dict[str, Any]) -> list[dict[str, Any]]:
            return [] if "slow" in request else [{"error": False}]

        async def scenario(client: Client, exchange: Exchange) -> Any:
            slow = [asyncio.create_task(client.request({"slow": n})) for n in range(2)]
            while len(exchange.lines[0].requests) < 3:
                await asyncio.sleep(0)
            exchange.lines[0].cut()
            return await asyncio.gather(*slow, return_exceptions=True)

        for failure in self.run_with(reply, scenario):
            self.assertIsInstance(failure, ConnectionLost)

    def test_a_connection_that_ends_while_a_request_is_being_sent(self) -> None:
        async def main() -> None:
            exchange = Exchange(with_answers())
            async with exchange.client(reconnect=False) as client:
                line = exchange.lines[0]

                async def send(frame: str) -> None:
                    # The reader hears of it before the sender does.
                    line.cut()
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
                    raise ConnectionLost("gone")

                line.send = send  # type: ignore[method-assign]  # this line is spoiled
                with self.assertRaises(ConnectionLost):
                    await client.request({"getLatest": True})

        asyncio.run(main())

    def test_without_reconnect_it_ends(self) -> None:
        async def scenario(client: Client, exchange: Exchange) -> None:
            stream = client.pushes()
            exchange.lines[0].push({"client": "newconnected"})
            exchange.lines[0].cut()
            self.assertEqual(await anext(stream), ClientConnected())
            with self.assertRaises(ConnectionLost):
                await anext(stream)
            with self.assertRaises(ConnectionLost):
                await client.hello()
            self.assertEqual(len(exchange.lines), 1)

        self.run_with(with_answers(), scenario, reconnect=False)

    def test_closing_ends_streams_and_requests(self) -> None:
        async def scenario(client: Client, exchange: Exchange) -> None:
            stream = client.pushes()
            await client.close()
            self.assertEqual([push async for push in stream], [])
            self.assertTrue(exchange.lines[0].closed)
            with self.assertRaises(ConnectionLost):
                await client.hello()

        self.run_with(with_answers(), scenario)

    def test_it_can_be_opened_again(self) -> None:
        async def scenario(client: Client, exchange: Exchange) -> Any:
            await client.close()
            await client.open()
            await client.request({})
            return len(exchange.lines)

        self.assertEqual(self.run_with(with_answers(), scenario), 2)

    def test_not_open_yet(self) -> None:
        client = Exchange(with_answers()).client()
        self.assertRaises(ConnectionLost, asyncio.run, client.hello())

    def test_settings_that_cannot_be(self) -> None:
        self.assertRaises(BadValue, Client, "http://localhost")
        self.assertRaises(BadValue, Client, cipher=True)


class KeysTests(SynchronousTestCase):
    """Each helper: what it asks, and what it makes of the answer."""

    def ask(self, call: Callable[[Client], Awaitable[Any]], **answers: Any) -> tuple[Any, Any]:
        """Return the last request that the call made, and its result."""

        async def main() -> tuple[Any, Any]:
            exchange = Exchange(with_answers(**answers))
            async with exchange.client() as client:
                result = await call(client)
                return exchange.lines[0].asked[-1], result

        return asyncio.run(main())

    def test_send(self) -> None:
        asked, _ = self.ask(
            lambda client: client.send("D", {"a": 1, "b": 2.5}, units={"b": "V"}, x=7), y={"sent": True}
        )
        values = {"dname": "D", "sname": ["a", "b"], "y": [1, 2.5], "unit": ["", "V"]}
        self.assertEqual(asked, {**values, "x": [7, 7]})
        asked, _ = self.ask(lambda client: client.send("D", {"a": 1}, x=[3.5]), y={"sent": True})
        self.assertEqual(asked["x"], [3.5])
        asked, _ = self.ask(lambda client: client.send("D", {"a": 1}), y={"sent": True})
        self.assertNotIn("x", asked)
        asked, _ = self.ask(lambda client: client.send("D", {"a": 1}, ack="durable"), y={"sent": True})
        self.assertEqual(asked["ack"], "durable")

    def test_plot(self) -> None:
        asked, _ = self.ask(
            lambda client: client.plot("D", "a", [1, 2], x=[3, 4], unit="V", hold="mergeX"), y={"sent": True}
        )
        plot = {"plot": True, "dname": "D", "sname": "a", "y": [1, 2], "unit": "V"}
        self.assertEqual(asked, {**plot, "x": [3, 4], "hold": "mergeX"})
        asked, _ = self.ask(lambda client: client.plot("D", "a", [1, 2], unit="V"), y={"sent": True})
        self.assertEqual(asked, plot)
        asked, _ = self.ask(
            lambda client: client.plot("D", "a", [1, 2], unit="V", ack="received"), y={"sent": True}
        )
        self.assertEqual(asked, {**plot, "ack": "received"})

    def test_event(self) -> None:
        asked, _ = self.ask(lambda client: client.event("hot", device="D", signal="a", priority=2, x=5.0))
        expected = {"text": "hot", "dname": "D", "sname": "a", "priority": 2, "x": 5.0}
        self.assertEqual(asked, {"event": expected})
        asked, _ = self.ask(lambda client: client.event("hot", action_id="i", value=[1]))
        self.assertEqual((asked["event"]["id"], asked["event"]["value"]), ("i", [1]))

    def test_signal_list(self) -> None:
        asked, names = self.ask(
            lambda client: client.signal_list(), getSignalList={"signalList": [["D", "a"], ["D.x", "b"]]}
        )
        self.assertEqual(asked, {"getSignalList": True})
        self.assertEqual(names, [SignalName("D", "a"), SignalName("D.x", "b")])

    def test_latest(self) -> None:
        answer = {"latest": {"D.a": [2.0, 1.5, "V", 1, 0.0, 2.0]}}
        asked, found = self.ask(lambda client: client.latest(), getLatest=answer)
        self.assertEqual((asked, found["D.a"].y), ({"getLatest": True}, 1.5))
        asked, _ = self.ask(lambda client: client.latest(["D.a"]), getLatest=answer)
        self.assertEqual(asked, {"getLatest": ["D.a"]})

    def test_signals(self) -> None:
        names = {"signalList": [["D", "a"], ["D.x", "b"]]}
        answer = {"signals": {"D.x.b": [[1.0], [2.0], "V", 1, 1.0, 1.0]}}
        asked, found = self.ask(lambda client: client.signals(), getSignal=answer)
        self.assertEqual((asked, found["D.x.b"].y), ({"getSignal": "all"}, [2.0]))

        asked, _ = self.ask(
            lambda client: client.signals(["D.x.b", "no.such"], x_min=1, max_points=5),
            getSignal=answer,
            getSignalList=names,
        )
        self.assertEqual(asked, {"getSignal": [{"dname": "D.x", "sname": "b", "xmin": 1, "maxN": 5}]})

        asked, _ = self.ask(lambda client: client.signals(x_max=9), getSignal=answer, getSignalList=names)
        every = [{"dname": "D", "sname": "a", "xmax": 9}, {"dname": "D.x", "sname": "b", "xmax": 9}]
        self.assertEqual(asked, {"getSignal": every})

    def test_signal(self) -> None:
        answer = {"signals": {"D.a": [[1.0], [2.0], "V", 1, 1.0, 1.0]}}
        asked, data = self.ask(lambda client: client.signal(SignalName("D", "a")), getSignal=answer)
        self.assertEqual((asked, data.y), ({"getSignal": [{"dname": "D", "sname": "a"}]}, [2.0]))
        with self.assertRaises(UnknownSignal):
            self.ask(lambda client: client.signal("no.such"), getSignalList={"signalList": []})

    def test_events(self) -> None:
        listed = ["D", "a", 7, "hot", 5.0, None, 2, "i"]
        asked, found = self.ask(lambda client: client.event_list(10), getEventList={"events": {"7": listed}})
        self.assertEqual((asked, found[0].number), ({"getEventList": 10}, 7))
        asked, found = self.ask(
            lambda client: client.events(["D.a"]), getEvent={"events": {"D.a": [listed], "D.b": []}}
        )
        self.assertEqual((asked, found["D.a"][0].text, found["D.b"]), ({"getEvent": ["D.a"]}, "hot", []))

    def test_session(self) -> None:
        asked, found = self.ask(lambda client: client.session(), getSession={"session": {"devices": {}}})
        self.assertEqual((asked, found), ({"getSession": True}, {"devices": {}}))

    def test_remove(self) -> None:
        calls: list[tuple[Callable[[Client], Awaitable[Any]], list[Any]]] = [
            (lambda client: client.remove_signals(["D.a"]), ["signal", ["D.a"]]),
            (lambda client: client.remove_device("D"), ["device", "D"]),
            (lambda client: client.remove_events([4, 5]), ["event", [4, 5]]),
        ]
        for call, expected in calls:
            asked, counts = self.ask(call, remove={"remove": [1, 2]})
            self.assertEqual((asked, counts), ({"remove": expected}, (1, 2)))

    def test_control(self) -> None:
        calls: list[tuple[Callable[[Client], Awaitable[Any]], dict[str, Any], Any, Any]] = [
            (lambda it: it.logger(resize=5), {"logger": {"resize": 5}}, {"resize": True}, {"resize": True}),
            (lambda it: it.plugin("P", {"p": 3}), {"plugin": {"P": {"p": 3}}}, {"P": {"p": 3}}, {"p": 3}),
            (lambda it: it.automation(reset=True), {"automation": {"reset": True}}, {"e": 1}, {"e": 1}),
        ]
        for call, request, answer, expected in calls:
            (key,) = request
            asked, found = self.ask(call, **{key: {key: answer}})
            self.assertEqual((asked, found), (request, expected))
        asked, found = self.ask(lambda it: it.plugin_list(), getPluginList={"pluginList": {"P": {}}})
        self.assertEqual((asked, found), ({"getPluginList": True}, {"P": {}}))

    def test_user_action(self) -> None:
        answer = {"name": "a", "success": True, "type": "picture", "data": "aGk="}
        asked, found = self.ask(lambda it: it.user_action("a"), userAction={"userAction": answer})
        self.assertEqual((asked, found.data), ({"userAction": "a"}, b"hi"))

    def test_subscriptions(self) -> None:
        calls: list[tuple[Callable[[Client], Awaitable[Any]], dict[str, Any]]] = [
            (lambda it: it.subscribe(signal="D.a"), {"subscribe": ["signal", "D.a"]}),
            (lambda it: it.unsubscribe(device="D"), {"unsubscribe": ["device", "D"]}),
            (lambda it: it.subscribe_all(), {"subscribeAll": True}),
            (lambda it: it.unsubscribe_all(), {"unsubscribeAll": True}),
            (lambda it: it.event_level(2), {"eventLevel": 2}),
        ]
        for call, expected in calls:
            self.assertEqual(self.ask(call)[0], expected)

    def test_an_answer_without_its_key(self) -> None:
        for answer in ({}, {"latest": 5}, {"latest": {"D.a": [1]}}):
            with self.assertRaises(BadAnswer):
                self.ask(lambda client: client.latest(), getLatest=answer)

    def test_servers_without_hello(self) -> None:
        self.assertEqual(self.ask(lambda client: client.hello())[1], {})
