"""The asyncio client over real sockets: TLS, the old cipher, a server that goes away."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client import (
    CannotConnect,
    CertificateRefused,
    Client,
    Credentials,
    EventRaised,
    LoginRefused,
    SignalAdded,
    Trust,
    Values,
)
from rtoc_twisted.client.backoff import Backoff
from rtoc_twisted.model import SignalName

from .client_support import FakeServer, make_certificate


def talk(scenario: Callable[[Client], Awaitable[Any]], url: str, **options: Any) -> Any:
    """Run a scenario with an open client."""

    async def main() -> Any:
        backoff = Backoff(lambda: 0.0, first=0.001)
        async with Client(url, backoff=backoff, **options) as client:
            return await scenario(client)

    return asyncio.run(main())


async def send_and_read(client: Client) -> float:
    await client.send("D", {"a": 1.5}, units={"a": "V"}, x=5.0)
    return (await client.latest())["D.a"].y


class PlainTests(SynchronousTestCase):
    def test_values_and_events_come_back(self) -> None:
        async def scenario(client: Client) -> None:
            stream = client.pushes()
            await client.subscribe_all()
            await client.send("D", {"a": 1.5}, units={"a": "V"}, x=5.0)
            await client.event("hot", device="D", signal="a", priority=1)
            name = SignalName("D", "a")
            self.assertEqual(await anext(stream), SignalAdded(name, 1))
            self.assertEqual(await anext(stream), Values(name, 1, [5.0], [1.5], "V"))
            raised = await anext(stream)
            assert isinstance(raised, EventRaised)
            self.assertEqual(raised.event.text, "hot")
            self.assertEqual(await client.signal_list(), [name])
            self.assertEqual((await client.signal("D.a")).y, [1.5])
            self.assertEqual([event.number for event in await client.event_list()], [1])

        with FakeServer() as server:
            talk(scenario, server.url)

    def test_a_server_as_the_original(self) -> None:
        async def scenario(client: Client) -> Any:
            calls = (client.send("D", {str(n): n}, x=5.0) for n in range(20))
            await asyncio.gather(*calls, client.latest())
            return await client.latest()

        with FakeServer(echo_ids=False, password="geheim", cipher=True) as server:
            found = talk(scenario, server.url, credentials=Credentials("geheim"), cipher=True)
        self.assertEqual({key: it.y for key, it in found.items()}, {f"D.{n}": float(n) for n in range(20)})

    def test_a_wrong_password(self) -> None:
        with FakeServer(password="geheim") as server, self.assertRaises(LoginRefused):
            talk(send_and_read, server.url, credentials=Credentials("falsch"))

    def test_a_broken_connection_is_made_again(self) -> None:
        async def scenario(client: Client) -> None:
            stream = client.pushes()
            await client.subscribe(signal="D.a")
            server.drop()
            await asyncio.to_thread(server.wait_for, "subscribe")
            await asyncio.to_thread(server.wait_for, "subscribe")
            await client.send("D", {"a": 1.5}, x=5.0)
            self.assertIsInstance(await anext(stream), SignalAdded)
            self.assertIsInstance(await anext(stream), Values)

        with FakeServer() as server:
            talk(scenario, server.url)

    def test_nobody_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with self.assertRaises(CannotConnect):
            talk(send_and_read, f"ws://127.0.0.1:{port}")

    def test_plain_connections_have_no_fingerprint(self) -> None:
        with FakeServer() as server, self.assertRaises(CertificateRefused):
            talk(send_and_read, server.url, trust=Trust(fingerprint="00" * 32))


class TLSTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ca_file, context, self.fingerprint = make_certificate(Path(self.mktemp()))
        self.server = FakeServer(context=context)
        self.server.__enter__()
        self.addCleanup(self.server.__exit__, None, None, None)

    def test_who_is_trusted(self) -> None:
        for trust in (
            Trust(ca_file=self.ca_file),
            Trust(fingerprint=self.fingerprint),
            Trust(insecure=True),
        ):
            self.assertEqual(talk(send_and_read, self.server.url, trust=trust), 1.5)

    def test_who_is_not(self) -> None:
        for trust in (None, Trust(fingerprint="00" * 32)):
            with self.assertRaises(CertificateRefused):
                talk(send_and_read, self.server.url, trust=trust)
        self.assertEqual(self.server.received, [])
