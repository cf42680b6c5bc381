"""Whatever a client sends, each message gets one answer, in order, and no fault of the server shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from .doubles import LOCAL, REMOTE, Client, Rooms, house
from .golden_replay import PROVIDERS

SETTINGS = settings(
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

names = st.sampled_from(
    ["a", "b", "Dev", "Dev.a", "a.b", "", ".", "signal", "device", "event", "all", "RTOC"]
)
texts = names | st.text(max_size=8) | st.text(st.characters(categories=["Cs", "Cc", "Ll"]), max_size=3)
numbers = (
    st.integers(-3, 3)
    | st.integers()
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.sampled_from([2**53, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308])
)
scalars = st.none() | st.booleans() | numbers | texts
words = st.sampled_from(
    ["dname", "sname", "xmin", "xmax", "maxN", "database", "text", "x", "priority", "id", "value", "token"]
    + ["user", "hash", "clear", "resize", "export", "backup", "tcp", "global", "now", "active", "intervall"]
    + ["interval", "port", "samplerate", "telegram", "postgresql", "reboot", "info"]
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words | texts, inner, max_size=4),
    max_leaves=8,
)
columns = st.lists(scalars, max_size=3) | values
KEYS = tuple(house().table.schema.json_schema()["properties"])
requests = st.dictionaries(st.sampled_from(KEYS), columns, min_size=1, max_size=3)
asked_well = st.fixed_dictionaries(
    {"y": st.lists(numbers, max_size=3)},
    optional={
        "x": st.lists(numbers, max_size=3),
        "sname": st.lists(names, max_size=3) | names,
        "dname": names,
        "unit": texts,
        "plot": st.booleans(),
        "hold": st.sampled_from(["off", "on", "mergeX", "mergeY"]),
        "id": scalars,
    },
)
LIST = b'{"getSignalList": true}'


@contextmanager
def opened(provider: str, **options: Any) -> Iterator[Rooms]:
    with TemporaryDirectory() as name:
        clock, directory = Clock(), Path(name)
        storage = PROVIDERS[provider](directory, clock)
        rooms = house(clock=clock, storage=storage, directory=directory, **options)
        try:
            yield rooms
        finally:
            storage.close()
            clock.advance(0)


def answers(messages: list[Any]) -> list[Any]:
    """Return what is neither a push nor the word about a login."""
    return [
        message for message in messages if not message.keys() & {"signal", "event", "client", "authorized"}
    ]


class AnyInput(SynchronousTestCase):
    def assert_one_answer_each(self, client: Client, payloads: list[bytes], binary: bool = False) -> None:
        found = []
        for payload in payloads:
            got = answers(client.send(payload, binary))
            self.assertEqual(len(got), 1, payload)
            found.append(got[0])
            self.assertEqual(got[0]["error"], bool(got[0].get("errors")))
            for error in got[0].get("errors", []):
                self.assertNotEqual(error["code"], "internal", (payload, error))
        following = client.send(LIST)
        self.assertEqual(len(following), 1)
        self.assertEqual(following[0]["error"], False)
        self.assertEqual(self.flushLoggedErrors(), [])

    def check_requests(self, provider: str, given_requests: list[Any]) -> None:
        with opened(provider, reboot=True) as rooms:
            client = rooms.connect()
            client.send({"y": [1], "sname": ["a"], "dname": "Dev", "x": [1], "event": "kept"})
            self.assert_one_answer_each(client, [json.dumps(request).encode() for request in given_requests])

    @SETTINGS
    @given(st.lists(requests | asked_well, min_size=1, max_size=4))
    def test_requests_on_memory(self, given_requests: list[Any]) -> None:
        self.check_requests("memory", given_requests)

    @SETTINGS
    @given(st.lists(requests | asked_well, min_size=1, max_size=4))
    def test_requests_on_sqlite(self, given_requests: list[Any]) -> None:
        self.check_requests("sqlite", given_requests)

    @SETTINGS
    @given(st.lists(requests | asked_well, min_size=1, max_size=5))
    def test_in_order_when_sent_at_once(self, given_requests: list[Any]) -> None:
        """On SQLite nothing is answered before the clock moves; the order is that of the requests."""
        with opened("sqlite") as rooms:
            client = rooms.connect()
            for number, request in enumerate(given_requests):
                # A login makes requests with an id keep their turn.
                tagged = {**request, "id": number, "authorize": True}
                client.connection.received(json.dumps(tagged).encode())
            rooms.clock.advance(0)
            rooms.clock.advance(0)
            told = [answer["id"] for answer in answers(client.heard())]
            self.assertEqual(told, list(range(len(given_requests))))

    @SETTINGS
    @given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.booleans())
    def test_random_bytes(self, payloads: list[bytes], binary: bool) -> None:
        with opened("memory") as rooms:
            self.assert_one_answer_each(rooms.connect(), payloads, binary)

    @SETTINGS
    @given(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.booleans())
    def test_random_bytes_before_login(self, payloads: list[bytes], binary: bool) -> None:
        """Each gets exactly the one refusal, whatever it is."""
        with opened("memory", password="geheim") as rooms:
            for peer in (LOCAL, REMOTE):
                client = rooms.connect(peer)
                for payload in payloads:
                    self.assertEqual(client.send(payload, binary), [{"authorized": False}])
                client.leave()

    @SETTINGS
    @given(requests)
    def test_msgpack(self, request: Any) -> None:
        try:
            payload = msgspec.msgpack.encode(request)
        except (OverflowError, UnicodeEncodeError):
            return
        with opened("memory", reboot=True) as rooms:
            self.assert_one_answer_each(rooms.connect(), [payload], binary=True)
