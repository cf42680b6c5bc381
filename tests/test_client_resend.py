"""Exactly once, whatever breaks: in memory, over sockets, with a server that is killed."""

from __future__ import annotations

import asyncio
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client import BlockingSender, Client
from rtoc_twisted.errors import BadValue

from .client_memory import Store, failed
from .client_support import FakeServer
from .process_support import PATIENCE, ProcessCase
from .storage_support import unhurried


class Killed(Exception):
    """The client ended without an end; left: what it left of its queue."""

    def __init__(self, left: Path) -> None:
        super().__init__()
        self.left = left


class PropertyTests(SynchronousTestCase):
    @unhurried
    @given(
        st.lists(st.sampled_from(["before", "after", "busy", "crash", None, None, None]), max_size=30),
        st.integers(1, 60),
        st.booleans(),
    )
    def test_every_value_once_and_in_order(self, faults: list[Any], count: int, on_disk: bool) -> None:
        """The connection breaks before or after storing; on disk, the client is killed too.

        "busy" is left out of the order: what is behind such a message may be stored before it.
        """
        busy = [failed("busy", True) if fault == "busy" else fault for fault in faults if fault != "crash"]
        crashes = faults.count("crash") if on_disk else 0
        store = Store(*busy)

        async def part(path: Path | None, values: range, crash: bool) -> None:
            async with store.exchange.client().sender(path) as out:
                for value in values:
                    await out.send("D", {"a": value})
                if crash and path is not None:
                    raise Killed(shutil.copytree(path, Path(self.mktemp())))

        async def main() -> None:
            path = Path(self.mktemp()) if on_disk else None
            bounds = [count * n // (crashes + 1) for n in range(crashes + 2)]
            for start, end in zip(bounds, bounds[1:], strict=False):
                try:
                    await part(path, range(start, end), crash=end < count)
                except Killed as killed:
                    path = killed.left

        asyncio.run(main())
        self.assertEqual(sorted(store.values), list(range(count)))
        if "busy" not in faults:
            self.assertEqual(store.values, list(range(count)))


class SocketTests(SynchronousTestCase):
    """Over real sockets, from threads."""

    def test_a_blocking_sender(self) -> None:
        with FakeServer() as server:
            sender = Client(server.url).sender(Path(self.mktemp()))
            with BlockingSender(sender) as out:
                for n in range(50):
                    out.send("D", {"a": n}, x=n)
                    if n in (10, 30):
                        server.drop()
                out.plot("D", "p", [1, 2])
                out.store({"y": [3], "sname": ["b"], "dname": "D", "unit": [""]})
                self.assertTrue(out.flush(60.0))
                self.assertEqual(out.counters.acknowledged, 52)
        self.assertEqual(server.signals["D.a"]["y"], list(range(50)))
        self.assertEqual((server.signals["D.p"]["y"], server.signals["D.b"]["y"]), ([1, 2], [3]))

    def test_a_flush_that_takes_too_long(self) -> None:
        store = Store()
        store.exchange.reply = lambda request: [] if "y" in request else [{"error": False}]
        with self.assertRaises(BadValue), BlockingSender(store.exchange.client().sender()) as out:
            out.send("D", {"a": 1})
            self.assertFalse(out.flush(0.0))
            raise BadValue("leave at once")

    def test_a_blocking_sender_that_cannot_be(self) -> None:
        path = Path(self.mktemp())
        path.write_text("a file")
        before = threading.active_count()
        with self.assertRaises(BadValue), BlockingSender(Client().sender(path)):
            self.fail("it was entered")
        self.assertEqual(threading.active_count(), before)


class ServerTests(ProcessCase):
    """With the real server, which is killed and started again on its port and its data."""

    def test_a_server_that_is_killed(self) -> None:
        async def stored() -> list[float]:
            async with Client(url) as client:
                return (await client.signal("D.a")).y

        child = self.start()
        port = child.ports()[0]
        url = f"ws://127.0.0.1:{port}"
        with BlockingSender(Client(url).sender(self.directory / "queue")) as out:
            for n in range(1000):
                out.send("D", {"a": n})
                if n in (300, 700):
                    child.stop(signal.SIGKILL)
                elif n in (400, 800):
                    child = self.start("--port", str(port))
                    child.ports()
                elif n == 600:
                    self.assertTrue(out.flush(PATIENCE), out.counters)
            self.assertTrue(out.flush(PATIENCE), out.counters)
            self.assertEqual((out.counters.acknowledged, out.counters.refused), (1000, 0))
        self.assertEqual(asyncio.run(stored()), list(range(1000)))
