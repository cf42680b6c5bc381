"""A client's conversation: login, order, promises, dialects, pushes, and what nobody can do to others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import numpy as np
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from rtoc_twisted.auth.accounts import Account
from rtoc_twisted.auth.passwords import scrypt_hash, token_hash
from rtoc_twisted.command import Command, command, tagged
from rtoc_twisted.connection import Connection
from rtoc_twisted.errors import BadValue, RTOCError, StorageFailed
from rtoc_twisted.interfaces import ICommandSource, IConnection, IListener, ISocket
from rtoc_twisted.model import Columns, Permission, Selector
from rtoc_twisted.storage.commit import Commit
from rtoc_twisted.storage.memory import MemoryStorage
from rtoc_twisted.wire import aes
from rtoc_twisted.wire.codec import Column, Message

from .doubles import LOCAL, REMOTE, REMOTE_TLS, Client, FakeSocket, Rooms, all_of, house, messages

PASSWORD = "geheim"
HASH = aes.password_hash(PASSWORD)
KEY = aes.cipher_key(HASH)
NO = {"authorized": False}
YES = {"authorized": True}
SENT = {"error": False, "sent": True}


class Slow(MemoryStorage):
    """A store whose commits are finished by hand; each write gets one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[Commit] = []

    def _commit(self) -> Commit:
        self.commits.append(Commit())
        return self.commits[-1]

    def append(self, ids: Any, x: Any, y: Any) -> Commit:
        super().append(ids, x, y)
        return self._commit()

    def replace(self, signal_id: int, x: Any, y: Any) -> Commit:
        super().replace(signal_id, x, y)
        return self._commit()

    def add_event(self, signal_id: int, event: Any) -> Any:
        return super().add_event(signal_id, event)[0], self._commit()


@implementer(ICommandSource)
class Odd:
    """Commands as a third party may write them."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []
        self.settled: list[str] = []

    def commands(self) -> Iterable[Command]:
        return tagged(self)

    @command("later", Any, Permission.READ)
    def later(self, connection: IConnection, _: Any) -> Deferred[Any]:
        """Answer when the test says so."""
        self.waiting.append(Deferred())
        return self.waiting[-1]

    @command("broken", Any, Permission.READ)
    def broken(self, connection: IConnection, _: Any) -> None:
        """Raise what nobody expects."""
        raise ZeroDivisionError("on purpose")

    @command("list", Any, Permission.READ)
    def no_dict(self, connection: IConnection, _: Any) -> Any:
        """Return what is no dict."""
        return ["no dict"]

    @command("set", Any, Permission.READ)
    def no_json(self, connection: IConnection, _: Any) -> Any:
        """Return what no encoding has a word for."""
        return {"set": {1, 2}}

    @command("refusing", Any, Permission.READ)
    def refusing(self, connection: IConnection, _: Any) -> None:
        """Raise what a client is told."""
        raise BadValue("refusing: on purpose")

    @command("tooLate", Any, Permission.READ)
    def too_late(self, connection: IConnection, _: Any) -> Deferred[Any]:
        """Settle when it is too late for that."""
        waiting = self.later(connection, None)
        return waiting.addCallback(lambda _: connection.settle(Commit()))


def post(client: Client, **keys: Any) -> None:
    """Send a request, and do not look at what comes."""
    client.connection.received(json.dumps(keys).encode())


def codes(answer: Any) -> list[tuple[Any, str]]:
    """Return which keys failed and how."""
    return [(error["key"], error["code"]) for error in answer["errors"]]


class Base(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.odd = Odd()

    def build(self, **options: Any) -> Rooms:
        self.rooms = house(clock=self.clock, sources=[self.odd], **options)
        return self.rooms


class LoginTests(Base):
    """Before login there is nothing (protocol section 3)."""

    def setUp(self) -> None:
        super().setUp()
        self.build(password=PASSWORD)

    def logged_in(self, peer: Any = REMOTE) -> Client:
        client = self.rooms.connect(peer)
        self.assertEqual(client.send({"authorize": HASH}), [YES, {"error": False}])
        return client

    def test_interfaces(self) -> None:
        client = self.rooms.connect()
        verifyObject(IConnection, client.connection)
        verifyObject(IListener, client.connection)
        verifyObject(ISocket, client.socket)

    def test_ten_seconds(self) -> None:
        client = self.rooms.connect(REMOTE)
        self.clock.advance(9.9)
        self.assertIsNone(client.socket.closed)
        client.send(b"garbage does not prolong it")
        self.clock.advance(0.1)
        self.assertEqual(client.socket.closed, (1008, "no login in time"))

    def test_ten_seconds_count_for_whitelisted_peers_too(self) -> None:
        client = self.rooms.connect(LOCAL)
        self.clock.advance(10)
        self.assertEqual(client.socket.closed, (1008, "no login in time"))

    def test_login_ends_the_timer(self) -> None:
        client = self.logged_in()
        self.clock.advance(100)
        self.assertIsNone(client.socket.closed)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_leaving_ends_the_timer(self) -> None:
        self.rooms.connect(REMOTE).leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_without_a_password_nobody_needs_to(self) -> None:
        client = self.build().connect(REMOTE)
        self.assertEqual(client.send({"getSignalList": True})[0]["signalList"], [])
        self.assertEqual(client.send({"authorize": "anything"}), [YES, {"error": False}])
        self.clock.advance(100)
        self.assertIsNone(client.socket.closed)

    def test_whitelisted_peers_need_any_value(self) -> None:
        for value in (True, "", "wrong", None, 7):
            client = self.rooms.connect(LOCAL)
            self.assertEqual(client.send({"getSignalList": True}), [NO])
            self.assertEqual(client.send({"authorize": value}), [YES, {"error": False}], value)

    def test_nothing_before_login(self) -> None:
        owner = self.logged_in()
        owner.ask(y=1, sname="A", dname="D")
        stranger = self.rooms.connect(REMOTE)
        for message in (
            b"",
            b"{}",
            b"[]",
            b"garbage",
            b"\xff",
            {"y": 1},
            {"getSession": True},
            {"subscribeAll": True},
            {"event": "x"},
            {"id": 1, "hello": True},
            {"authorize": "wrong", "remove": ["signal", "D.A"]},
            {"authorize": "\ud800"},
            {"authorize": {"user": "owner", "hash": "\ud800"}},
            {"authorize": {"token": "\ud800"}},
            {"authorize": [HASH]},
            {"authorize": None},
        ):
            # The delays of the lockout are tested with it.
            self.rooms.auth._lockout.succeeded(REMOTE.address)
            self.assertEqual(stranger.send(message), [NO], message)
        self.assertEqual(stranger.send(msgspec.msgpack.encode({"getLatest": True}), binary=True), [NO])
        owner.ask(y=2, sname="A", dname="D")
        owner.ask(event="seen")
        self.assertEqual(stranger.heard(), [])
        self.assertEqual(owner.ask(getLatest=True)["latest"]["D.A"][1], 2)

    def test_an_oversized_message_is_refused_unread(self) -> None:
        stranger = self.rooms.connect(REMOTE)
        self.assertEqual(stranger.send(b'{"authorize":"%s"}' % (b"x" * (1 << 20))), [NO])
        long = {"authorize": HASH, "x": ["x" * (1 << 20)]}
        self.assertEqual(stranger.send(long), [NO])
        self.assertEqual(stranger.send({"authorize": HASH})[0], YES)

    def test_wrong_takes_the_authorization_away(self) -> None:
        client, other = self.logged_in(), self.logged_in()
        client.ask(subscribeAll=True)
        client.heard()
        self.assertEqual(client.send({"authorize": "wrong", "getSignalList": True}), [NO])
        other.ask(y=1, sname="A")
        other.ask(event="x")
        self.assertEqual(client.heard(), [])
        self.assertEqual(client.send({"y": 5}), [NO])
        self.assertEqual(client.send({"getSignalList": 1}), [NO])
        self.clock.advance(10)
        self.assertEqual(client.socket.closed, (1008, "no login in time"))

    def test_right_after_wrong(self) -> None:
        client = self.logged_in()
        client.send({"authorize": "wrong"})
        self.assertEqual(client.send({"authorize": HASH}), [YES, {"error": False}])
        self.assertEqual(client.ask(y=1), SENT)
        self.clock.advance(20)
        self.assertIsNone(client.socket.closed)

    def test_what_follows_waits_for_the_verdict(self) -> None:
        verdict: Deferred[Any] = Deferred()
        self.patch(self.rooms.auth, "login", lambda credential, peer: verdict)
        client = self.rooms.connect(REMOTE)
        client.send({"authorize": HASH})
        client.send({"y": 1, "sname": "A"})
        self.assertEqual(client.send({"id": 1, "getSignalList": True}), [])
        self.assertTrue(client.socket.paused)
        verdict.callback(Account("somebody"))
        first, second, pushed, third, fourth = client.heard()
        self.assertEqual((first, second, third), (YES, {"error": False}, SENT))
        self.assertIn("signal", pushed)
        self.assertEqual(fourth, {"error": False, "signalList": [["noDevice", "A"]], "id": 1})
        self.assertFalse(client.socket.paused)

    def test_what_follows_a_refusal_is_refused(self) -> None:
        verdict: Deferred[Any] = Deferred()
        self.patch(self.rooms.auth, "login", lambda credential, peer: verdict)
        client = self.rooms.connect(REMOTE)
        client.send({"authorize": HASH, "y": 1})
        client.send({"y": 1})
        client.send({"getSignalList": True})
        verdict.callback(None)
        self.assertEqual(client.heard(), [NO, NO, NO])
        self.assertEqual(list(self.rooms.storage.signals()), [])

    def test_a_login_that_breaks_is_a_refusal(self) -> None:
        self.patch(self.rooms.auth, "login", lambda credential, peer: deferred_failure(MemoryError()))
        client = self.rooms.connect(REMOTE)
        self.assertEqual(client.send({"authorize": HASH, "getSignalList": 1}), [NO])
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)

    def test_leaving_during_a_login(self) -> None:
        verdict: Deferred[Any] = Deferred()
        self.patch(self.rooms.auth, "login", lambda credential, peer: verdict)
        client = self.rooms.connect(REMOTE)
        client.send({"authorize": HASH, "y": 1})
        client.leave()
        self.assertTrue(verdict.called)
        self.assertEqual((client.heard(), self.clock.getDelayedCalls()), ([], []))
        self.assertEqual(list(self.rooms.storage.signals()), [])

    def test_a_late_login_does_not_open_the_door(self) -> None:
        verdict: Deferred[Any] = Deferred(lambda _: None)
        self.patch(self.rooms.auth, "login", lambda credential, peer: verdict)
        client = self.rooms.connect(REMOTE)
        client.send({"authorize": HASH, "y": 1})
        self.clock.advance(10)
        self.assertEqual(client.socket.closed, (1008, "no login in time"))
        self.assertEqual((client.heard(), list(self.rooms.storage.signals())), ([], []))

    def test_nothing_follows_the_close(self) -> None:
        client, other = self.rooms.connect(REMOTE), self.logged_in()
        self.clock.advance(10)
        client.send({"authorize": HASH})
        client.send({"y": 1})
        other.send({"event": "x"})
        client.connection.hear_newcomer()
        self.assertEqual((client.heard(), client.socket.paused), ([], False))

    def test_the_refusal_keeps_its_place(self) -> None:
        storage = Slow()
        self.build(password=PASSWORD, storage=storage)
        client = self.logged_in()
        client.send({"y": 1})
        client.send({"authorize": "wrong"})
        client.send({"getSignalList": True})
        self.assertEqual(client.heard(), [])
        storage.commits[0].finish()
        self.assertEqual(client.heard(), [SENT, NO, NO])


def deferred_failure(error: Exception) -> Deferred[Any]:
    """Return a Deferred that has failed."""
    waiting: Deferred[Any] = Deferred()
    waiting.errback(error)
    return waiting


class AccountTests(Base):
    """Accounts with few permissions."""

    def setUp(self) -> None:
        super().setUp()
        reader = Account("reader", Permission.READ, password_hash=scrypt_hash(aes.password_hash("lesen")))
        sensor = Account("sensor", Permission.WRITE, token_hash=token_hash("long and random"))
        self.build(password=PASSWORD, accounts=[reader, sensor])
        self.reader = self.rooms.connect(REMOTE)
        self.sensor = self.rooms.connect(REMOTE_TLS)

    def test_user_and_hash(self) -> None:
        login = {"user": "reader", "hash": aes.password_hash("lesen")}
        self.assertEqual(self.reader.send({"authorize": login})[0], YES)
        self.assertEqual(self.reader.ask(hello=True)["hello"]["permissions"], ["read"])
        for keys in ({"y": 1}, {"y": 1, "hold": "off"}, {"y": [1], "id": 4}):
            answer = self.reader.ask(**keys)
            self.assertEqual((answer["error"], answer["sent"]), (True, False))
            self.assertEqual(codes(answer), [("y", "not-permitted")])
            self.assertIn("permission write", answer["errors"][0]["message"])
        self.assertEqual(list(self.rooms.storage.signals()), [])

    def test_token(self) -> None:
        self.assertEqual(self.sensor.send({"authorize": {"token": "long and random"}})[0], YES)
        self.assertEqual(self.sensor.ask(y=1), SENT)
        answer = self.sensor.ask(getSignalList=True, event="works")
        self.assertEqual(codes(answer), [("getSignalList", "not-permitted")])
        self.assertEqual(answer["errors"][0]["message"], "getSignalList: this needs the permission read")

    def test_who_may_not_read_hears_nothing(self) -> None:
        self.sensor.send({"authorize": {"token": "long and random"}})
        owner = self.rooms.connect(LOCAL)
        owner.send({"authorize": True})
        owner.ask(y=1, event="x")
        self.assertEqual(self.sensor.heard(), [])
        self.assertEqual(self.sensor.send({"y": 2, "sname": "new"}), [SENT])

    def test_another_account_has_not_the_subscriptions_of_the_first(self) -> None:
        self.reader.send({"authorize": HASH})
        self.reader.ask(subscribeAll=True)
        self.reader.send({"authorize": {"token": "long and random"}})
        self.assertEqual(self.reader.send({"y": 2, "sname": "new"}), [SENT])

    def test_a_wrong_token_and_a_wrong_user(self) -> None:
        self.assertEqual(self.sensor.send({"authorize": {"token": "wrong"}}), [NO])
        self.assertEqual(self.reader.send({"authorize": {"user": "nobody", "hash": HASH}}), [NO])
        local = self.rooms.connect(LOCAL)
        self.assertEqual(local.send({"authorize": {"token": "wrong"}}), [NO])


class CipherTests(Base):
    """The old cipher, and what it must not give away (protocol section 4)."""

    def setUp(self) -> None:
        super().setUp()
        self.build(password=PASSWORD)

    def encrypted(self, **keys: Any) -> bytes:
        return aes.encrypt(KEY, json.dumps(keys).encode())

    def plain_last(self, client: Client) -> bool:
        return client.socket.sent[-1][2:3] == b"{"

    def test_answers_and_pushes_as_the_client_spoke_last(self) -> None:
        client = self.rooms.connect(REMOTE)
        client.connection.received(self.encrypted(authorize=HASH))
        self.assertFalse(self.plain_last(client))
        self.assertEqual(client.heard(), [YES, {"error": False}])
        other = self.rooms.connect(LOCAL)
        other.send({"authorize": True})
        other.send({"event": "x"})
        self.assertFalse(self.plain_last(client))
        self.assertEqual(len(set(client.socket.sent)), len(client.socket.sent))
        client.heard()
        client.connection.received(b'{"getSignalList":true}')
        self.assertTrue(self.plain_last(client))
        client.heard()
        client.connection.received(self.encrypted(y=1))
        self.assertFalse(self.plain_last(client))

    def test_refusals_too(self) -> None:
        client = self.rooms.connect(REMOTE)
        client.connection.received(self.encrypted(getLatest=True))
        self.assertFalse(self.plain_last(client))
        self.assertEqual(client.heard(), [NO])

    def undecryptable(self) -> dict[str, bytes]:
        whole = aes.encrypt(KEY, b'{"getSignalList":true, "and": "more"}')
        return {
            "no base64": b"!!!",
            "too short": b"AAAA",
            "wrong key": aes.encrypt(b"0123456789abcdef", b'{"authorize": true}'),
            "wrong padding": whole[:-24],
            "right padding, no JSON": aes.encrypt(KEY, b"\xff\xfe"),
            "right padding, JSON but no object": aes.encrypt(KEY, b"[1]"),
            "right padding, empty": aes.encrypt(KEY, b""),
            "no object": b"17",
        }

    def test_one_answer_for_all_causes(self) -> None:
        stranger, client = self.rooms.connect(REMOTE), self.rooms.connect(REMOTE)
        client.send({"authorize": HASH})
        refusals, errors = {}, {}
        for cause, frame in self.undecryptable().items():
            stranger.connection.received(frame)
            refusals[cause] = b"".join(stranger.socket.sent)
            stranger.heard()
            client.connection.received(frame)
            errors[cause] = b"".join(client.socket.sent)
            self.assertTrue(client.heard()[0]["error"])
        self.assertEqual(set(refusals.values()), {b"\x81\x14" + b'{"authorized":false}'})
        self.assertEqual(len(set(errors.values())), 1, errors)

    def test_where_the_cipher_is_required(self) -> None:
        self.build(password=PASSWORD, cipher_required=True)
        exposed = self.rooms.connect(REMOTE)
        self.assertEqual(exposed.send({"authorize": HASH}), [NO])
        self.assertEqual(exposed.send(msgspec.msgpack.encode({"authorize": HASH}), binary=True), [NO])
        self.assertEqual(exposed.send(self.encrypted(authorize=HASH))[0], YES)
        for plain in ({"y": 1}, {"getLatest": True}, {"y": 1, "hold": "on"}):
            exposed.connection.received(json.dumps(plain).encode())
            self.assertFalse(self.plain_last(exposed))
            self.assertEqual(codes(exposed.heard()[0]), [(None, "not-permitted")])
        self.assertEqual(list(self.rooms.storage.signals()), [])
        self.assertEqual(exposed.send(self.encrypted(y=1))[-1], SENT)
        self.assertEqual(self.rooms.connect(REMOTE_TLS).send({"authorize": HASH})[0], YES)
        self.assertEqual(self.rooms.connect(LOCAL).send({"authorize": True})[0], YES)


class MessagePackTests(Base):
    """Binary frames."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.build().connect()

    def pack(self, **keys: Any) -> list[Any]:
        return self.client.send(msgspec.msgpack.encode(keys), binary=True)

    def first_byte(self) -> int:
        return self.client.socket.sent[-1][0]

    def test_in_and_out(self) -> None:
        self.client.connection.received(msgspec.msgpack.encode({"y": [1.5], "sname": "A", "id": 3}), True)
        self.assertEqual(self.first_byte(), 0x82)
        self.assertEqual(self.client.heard()[-1], {**SENT, "id": 3})
        self.rooms.connect().send({"event": "x"})
        self.assertEqual(self.first_byte(), 0x82)
        self.client.heard()
        self.client.connection.received(b'{"y":1}')
        self.assertEqual(self.first_byte(), 0x81)

    def test_json_in_a_binary_frame(self) -> None:
        self.client.connection.received(b'{"y":1}', True)
        self.assertEqual((self.first_byte(), self.client.heard()[-1]), (0x81, SENT))

    def test_an_id_from_json(self) -> None:
        storage = Slow()
        self.client = self.build(storage=storage).connect()
        for keys in ('"y":1', '"y":["1"]'):
            self.client.send(f'{{{keys},"id":[17,"x"]}}'.encode())
            self.pack(eventLevel=0)
            storage.commits.pop().finish()
            self.assertEqual(self.client.heard()[0], {**SENT, "id": [17, "x"]})

    def test_what_one_encoding_says_and_the_other_cannot(self) -> None:
        storage = Slow()
        self.client = self.build(storage=storage).connect()
        other = self.rooms.connect()
        self.client.connection.received(b'{"y":1,"sname":"A","id":123456789012345678901234567890}')
        self.client.heard()
        self.client.connection.received(msgspec.msgpack.encode({"eventLevel": 0}), True)
        other.send({"y": 2.0, "sname": "A"})
        for commit in storage.commits:
            commit.finish()
        first, second = self.client.heard()
        self.assertEqual((codes(first), second), ([(None, "internal")], {"error": False}))
        self.assertEqual(other.heard()[-1], SENT)


class OrderTests(Base):
    """Answers leave in order, and not before they are true."""

    def setUp(self) -> None:
        super().setUp()
        self.storage = Slow()
        self.client = self.build(storage=self.storage).connect()
        self.client.send({"y": 0, "sname": "A"})
        self.storage.commits.pop().finish()
        self.client.heard()

    def test_sent_after_the_commit(self) -> None:
        self.assertEqual(self.client.send({"y": 1, "sname": "A"}), [])
        self.storage.commits[0].finish()
        self.assertEqual(self.client.heard(), [SENT])

    def test_reads_behind_writes_wait_their_turn(self) -> None:
        post(self.client, y=1, sname="A")
        post(self.client, getSignalList=True)
        post(self.client, y=[2], sname="A", plot=True)
        post(self.client, getLatest=["noDevice.A"], event={"sname": "A"})
        self.assertEqual([list(push) for push in self.client.heard()], [["event"]])
        first, plot, event = self.storage.commits
        plot.finish()
        self.assertEqual(self.client.heard(), [])
        first.finish()
        sent, listed, again = self.client.heard()
        self.assertEqual((sent, again), (SENT, SENT))
        self.assertIn("signalList", listed)
        event.finish()
        self.assertEqual(self.client.heard()[0]["latest"]["noDevice.A"][1], 2)

    def test_answers_of_a_commit_leave_in_one_write(self) -> None:
        commit = Commit()
        self.patch(self.storage, "_commit", lambda: commit)
        for value in range(5):
            self.client.send({"y": value, "sname": "A", "id": value})
        commit.finish()
        self.assertEqual(len(self.client.socket.sent), 1)
        self.assertEqual([answer["id"] for answer in self.client.heard()], [0, 1, 2, 3, 4])

    def test_a_failed_commit(self) -> None:
        self.client.send({"y": 1, "sname": "A"})
        self.client.send({"y": 2, "sname": "A", "id": "x"})
        self.client.send({"y": ["3"], "sname": "A", "id": {"a": 1}})
        for commit in self.storage.commits:
            commit.finish(StorageFailed("the disk is full"))
        plain, with_id, through_the_command = self.client.heard()
        entry = {"key": "y", "code": "internal", "message": "the disk is full", "retriable": True}
        self.assertEqual(plain, {"error": True, "sent": False, "errors": [entry]})
        self.assertEqual(with_id, {**plain, "id": "x"})
        self.assertEqual(through_the_command, {**plain, "id": {"a": 1}})

    def test_a_failed_event(self) -> None:
        self.client.send({"event": "x", "getSignalList": True})
        self.client.heard()
        self.storage.commits[0].finish(StorageFailed("full"))
        (answer,) = self.client.heard()
        self.assertEqual(codes(answer), [("event", "internal")])
        self.assertIn("signalList", answer)

    def test_each_commit_of_a_request_counts(self) -> None:
        for failing, key in ((0, "y"), (1, "event")):
            self.storage.commits.clear()
            self.client.send({"y": "1", "x": 1, "event": "e", "sname": "A"})
            self.client.send({"y": [1], "x": [True], "event": "e", "sname": "A"})
            self.client.heard()
            data, event = self.storage.commits[-2:]
            self.storage.commits[0].finish()
            self.storage.commits[1].finish()
            self.client.heard()
            (data, event)[1 - failing].finish()
            self.assertEqual(self.client.heard(), [])
            (data, event)[failing].finish(StorageFailed("full"))
            (answer,) = self.client.heard()
            self.assertEqual((codes(answer), answer["sent"]), ([(key, "internal")], key != "y"))

    def test_a_slow_read_holds_those_behind_it(self) -> None:
        self.client.send({"later": 1})
        self.client.send({"y": 1, "sname": "A"})
        self.assertEqual(self.client.send({"getSignalList": 1, "id": 7}), [])
        self.assertTrue(self.client.socket.paused)
        self.odd.waiting[0].callback({"later": "done"})
        self.storage.commits[0].finish()
        done, listed, sent = self.client.heard()
        self.assertEqual((done, listed["id"], sent), ({"error": False, "later": "done"}, 7, SENT))
        self.assertFalse(self.client.socket.paused)

    def test_a_request_with_an_id_may_be_overtaken(self) -> None:
        self.client.send({"later": 1, "id": "slow"})
        self.client.send({"later": 1, "id": "fast"})
        self.assertEqual(self.client.send({"getSignalList": True})[0]["signalList"], [["noDevice", "A"]])
        self.odd.waiting[1].callback(None)
        self.assertEqual(self.client.heard(), [{"error": False, "id": "fast"}])
        self.odd.waiting[0].callback(None)
        self.assertEqual(self.client.heard(), [{"error": False, "id": "slow"}])

    def test_only_so_many_at_once(self) -> None:
        for number in range(40):
            self.client.send({"later": 1, "id": number})
        self.assertEqual(len(self.odd.waiting), 16)
        self.assertTrue(self.client.socket.paused)
        self.odd.waiting[3].callback(None)
        self.assertEqual(len(self.odd.waiting), 17)
        for number in range(40):
            if number != 3:
                self.odd.waiting[number].callback(None)
        self.assertEqual(sorted(answer["id"] for answer in self.client.heard()), list(range(40)))
        self.assertFalse(self.client.socket.paused)
        self.client.send({"later": 1})
        self.assertTrue(self.odd.waiting[40:])

    def test_the_results_come_in_the_order_of_the_commands(self) -> None:
        self.client.send({"later": 1, "getSignalList": 1, "y": "5", "sname": "B"})
        self.client.heard()
        self.odd.waiting[0].callback({"later": 2})
        self.assertEqual(self.client.heard(), [])
        self.storage.commits[0].finish()


class HoldTests(Base):
    """Who cannot be served now is not read from."""

    def test_a_congested_store_holds_the_producer(self) -> None:
        congested = True
        storage = Slow()
        client = self.build(storage=storage, congested=lambda: congested).connect()
        for message in ({"y": 1, "sname": "A"}, {"y": [2], "sname": "A", "plot": True}, {"event": "e"}):
            post(client, **message)
            before = len(storage.commits)
            post(client, y=9, sname="A")
            self.assertEqual(len(storage.commits), before, message)
            self.assertTrue(client.socket.paused)
            congested = False
            storage.commits[-1].finish()
            self.assertEqual(len(storage.commits), before + 1)
            self.assertFalse(client.socket.paused)
            storage.commits[-1].finish()
            congested = True
        self.assertEqual(
            [answer.get("sent") for answer in client.heard() if "error" in answer],
            [True, True, True, True, None, True],
        )

    def test_other_connections_are_not_held(self) -> None:
        storage = Slow()
        self.build(storage=storage, congested=lambda: True)
        producer, reader = self.rooms.connect(), self.rooms.connect()
        producer.send({"y": 1})
        self.assertIn("signalList", reader.ask(getSignalList=True))

    def test_a_client_that_does_not_take_answers_is_not_worked_for(self) -> None:
        client = self.build().connect()
        client.socket.congested = True
        client.send({"y": 1, "sname": "A"})
        client.send({"y": 2, "sname": "A"})
        self.assertEqual((client.heard(), client.socket.paused), ([], True))
        self.assertEqual(list(self.rooms.storage.signals()), [])
        client.socket.congested = False
        client.connection.writable()
        self.assertEqual(client.heard()[1:], [SENT, SENT])
        self.assertFalse(client.socket.paused)

    def test_others_have_their_turn_between_dear_messages(self) -> None:
        for leaves in (False, True):
            done: list[str] = []

            def work(name: str, done: list[str] = done) -> None:
                done.append(name)
                # While it is worked off, no other call of the clock has its turn.
                self.rooms.clock.rightNow += 0.05

            self.rooms = house(sources=[Dear(work)])
            client = self.rooms.connect()
            client.socket.congested = True
            for name in ("a", "b", "c"):
                client.send({"dear": name})
            client.socket.congested = False
            client.connection.writable()
            self.assertEqual((done, client.socket.paused), (["a"], True))
            if leaves:
                client.leave()
            self.rooms.clock.advance(0)
            self.assertEqual(done, ["a"] if leaves else ["a", "b", "c"])

    def test_it_stops_again_in_the_middle(self) -> None:
        client = self.build().connect()
        client.socket.congested = True
        for _ in range(3):
            client.send({"getSignalList": True})
        client.socket.congested = False

        def send_and_fill(frames: bytes) -> None:
            FakeSocket.send(client.socket, frames)
            client.socket.congested = True

        self.patch(client.socket, "send", send_and_fill)
        client.connection.writable()
        self.assertEqual((len(client.heard()), client.socket.paused), (1, True))

    def test_answers_wait_for_one_that_is_not_taken_yet(self) -> None:
        client = self.build().connect()
        for number in range(3):
            client.send({"later": 1, "id": number})
        client.send({"later": 1})

        def send_and_fill(frames: bytes) -> None:
            FakeSocket.send(client.socket, frames)
            client.socket.congested = True

        self.patch(client.socket, "send", send_and_fill)
        for number in (1, 2, 3, 0):
            self.odd.waiting[number].callback({"later": number})
        for number in (1, 2, 3, 0):
            self.assertEqual([answer["later"] for answer in client.heard()], [number])
            client.connection.writable()
            self.assertEqual(client.heard(), [])
            client.socket.congested = False
            client.connection.writable()
        self.assertFalse(client.socket.paused)

    def test_nothing_begins_while_answers_wait(self) -> None:
        client = self.build().connect()
        for number in range(16):
            client.send({"later": 1, "id": number})
        client.socket.congested = True
        for waiting in self.odd.waiting[:16]:
            waiting.callback(None)
        client.send({"later": 1, "id": 16})
        self.assertEqual((len(self.odd.waiting), client.heard(), client.socket.paused), (16, [], True))
        client.socket.congested = False
        client.connection.writable()
        self.assertEqual([answer["id"] for answer in client.heard()], list(range(16)))
        self.assertEqual((len(self.odd.waiting), client.socket.paused), (17, False))

    def test_answers_that_wait_are_forgotten_with_the_client(self) -> None:
        client = self.build().connect()
        client.send({"later": 1, "id": 1})
        client.socket.congested = True
        self.odd.waiting[0].callback(None)
        client.leave()
        client.socket.congested = False
        client.connection.writable()
        self.assertEqual(client.heard(), [])

    def test_leaving_while_work_waits(self) -> None:
        storage = Slow()
        client = self.build(storage=storage).connect()
        client.send({"y": 1, "sname": "A"})
        waiting: Deferred[Any] = Deferred()
        self.patch(storage, "read", lambda *_: waiting)
        client.send({"getSignal": ["noDevice.A"], "remove": ["signal", "noDevice.A"]})
        client.send({"event": "never read"})
        client.leave()
        waiting.callback([Columns(np.empty(0), np.empty(0), 0.0, 0.0)])
        storage.commits[0].finish()
        self.assertEqual((client.heard(), len(storage.commits)), ([], 1))
        self.assertTrue(client.socket.paused)
        self.assertEqual([signal.name.name for signal in storage.signals()], ["A"])
        self.assertEqual(len(self.rooms.hub), 0)
        client.leave()

    def test_leaving_inside_of_send(self) -> None:
        self.build()
        clients = [self.rooms.connect() for _ in range(3)]
        for client in clients:
            client.ask(subscribeAll=True)

        def cut(frames: bytes) -> None:
            clients[1].connection.ended()

        self.patch(clients[1].socket, "send", cut)
        for client in (clients[0], clients[1], clients[2]):
            client.connection.received(b'{"y":1,"sname":"A"}')
            client.connection.received(b'{"event":"x"}')
        self.assertEqual(len(self.rooms.hub), 2)
        self.assertEqual(sum("event" in message for message in clients[2].heard()), 2)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_leaving_inside_of_a_handler(self) -> None:
        client = self.build().connect()

        def leave(event: Any) -> Commit:
            client.leave()
            return Commit()

        self.patch(self.rooms.recorder, "raise_event", leave)
        client.send({"event": "x", "getSignalList": True})
        self.assertEqual(client.heard(), [])


class FailureTests(Base):
    """What goes wrong is told, and the conversation goes on."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.build().connect()

    def test_what_nobody_expected(self) -> None:
        answer = self.client.ask(broken=1, getSignalList=1, id=3)
        self.assertEqual(
            (codes(answer), answer["signalList"], answer["id"]), ([("broken", "internal")], [], 3)
        )
        self.assertNotIn("on purpose", str(answer))
        (logged,) = self.flushLoggedErrors(ZeroDivisionError)
        self.assertIn("test_connection", logged.getTraceback())
        self.assertEqual(self.client.ask(getSignalList=1)["signalList"], [])

    def test_later(self) -> None:
        self.client.send({"later": 1, "broken": 1})
        self.client.send({"getSignalList": 1})
        self.odd.waiting[0].errback(KeyError("on purpose"))
        first, second = self.client.heard()
        self.assertEqual(sorted(codes(first)), [("broken", "internal"), ("later", "internal")])
        self.assertEqual(second["signalList"], [])
        self.assertEqual(len(self.flushLoggedErrors(KeyError, ZeroDivisionError)), 2)

    def test_an_expected_failure_is_not_logged(self) -> None:
        self.assertEqual(codes(self.client.ask(refusing=1)), [("refusing", "bad-value")])
        self.client.send({"later": 1})
        self.odd.waiting[0].errback(RTOCError("told"))
        self.assertEqual(codes(self.client.heard()[0]), [("later", "internal")])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_result_that_is_no_dict(self) -> None:
        self.assertEqual(codes(self.client.ask(list=1)), [("list", "internal")])
        self.client.send({"later": 1})
        self.odd.waiting[0].callback(7)
        self.assertEqual(codes(self.client.heard()[0]), [("later", "internal")])
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 2)
        self.assertEqual(self.client.ask(getSignalList=1)["signalList"], [])

    def test_what_cannot_be_encoded(self) -> None:
        for request in ({"set": 1}, {"set": 1, "id": 1}, {"set": 1, "id": "x"}):
            (answer,) = self.client.send(request)
            self.assertEqual(codes(answer), [(None, "internal")], request)
            self.assertEqual(self.client.ask(getSignalList=1)["signalList"], [])

    def test_what_cannot_be_encoded_hurts_nobody_else(self) -> None:
        storage, commit = Slow(), Commit()
        self.patch(storage, "_commit", lambda: commit)
        self.build(storage=storage)
        liar, other = self.rooms.connect(), self.rooms.connect()
        liar.send({"y": "1", "set": 1})
        liar.send({"y": "1", "set": 1, "id": 7})
        other.send({"y": 1})
        liar.heard(), other.heard()
        commit.finish()
        self.assertEqual([codes(answer) for answer in liar.heard()], [[(None, "internal")]] * 2)
        self.assertEqual(other.heard(), [SENT])

    def test_an_id_comes_back_as_it_was(self) -> None:
        for text in ("17", '"x"', "1.50", "null", "true", "123456789012345678901234567890", '{"a": [1]}'):
            for keys in ('"y":1', '"getSignalList":1', '"y":1,"hold":"off"', '"nothing known":1'):
                self.client.connection.received(f'{{"id":{text},{keys}}}'.encode())
                self.assertIn(f'"id":{text}'.encode(), self.client.socket.sent[-1])
                self.client.heard()

    def test_the_recorder_breaks(self) -> None:
        def broken(samples: Any) -> Any:
            raise ZeroDivisionError

        self.patch(self.rooms.recorder, "append", broken)
        answer = self.client.ask(y=[1.0], id=5)
        self.assertEqual((codes(answer), answer["sent"], answer["id"]), ([("y", "internal")], False, 5))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_settling_too_late_is_told(self) -> None:
        self.client.send({"tooLate": 1})
        self.odd.waiting[0].callback(None)
        self.assertEqual(codes(self.client.heard()[0]), [("tooLate", "internal")])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_frame_that_is_no_request(self) -> None:
        for frame in (b"", b"{}", b"[1]", b"nonsense", b'{"y":', b"\xff", b"null"):
            (answer,) = self.client.send(frame)
            self.assertEqual(codes(answer), [(None, "bad-json")], frame)


class PushTests(Base):
    """What clients are told unasked (protocol section 6)."""

    def setUp(self) -> None:
        super().setUp()
        self.build()
        self.sender, self.other = self.rooms.connect(), self.rooms.connect()

    def test_p1_and_p2_before_the_answer(self) -> None:
        self.sender.ask(subscribe=["signal", "D.A"])
        new, values, answer = self.sender.send({"y": [1, 2], "x": [5, 6], "sname": ["A", "A"], "dname": "D"})
        self.assertEqual(new["signal"], {"x": [], "y": [], "unit": None, "dname": "D", "sname": "A", "id": 1})
        self.assertEqual(
            values["signal"], {"x": [5, 6], "y": [1, 2], "unit": "", "dname": "D", "sname": "A", "id": 1}
        )
        self.assertEqual(answer, SENT)
        self.assertEqual(self.other.heard(), [new])

    def test_p2_only_what_is_wanted(self) -> None:
        self.other.ask(subscribe=["device", "D"])
        self.sender.send({"y": [1], "sname": "A", "dname": "D"})
        self.sender.send({"y": [1, 2], "sname": ["A", "B"], "dname": "E"})
        self.other.heard()
        self.sender.send({"y": [3], "sname": "A", "dname": "D"})
        self.sender.send({"y": [4, 5], "sname": ["A", "B"], "dname": "E"})
        self.assertEqual([message["signal"]["y"] for message in self.other.heard()], [[3]])
        self.other.ask(subscribe=["signal", "E.B"])
        self.sender.send({"y": [4, 5], "sname": ["A", "B"], "dname": "E"})
        self.assertEqual([message["signal"]["y"] for message in self.other.heard()], [[5]])

    def test_p2_of_plots(self) -> None:
        self.other.ask(subscribeAll=True)
        self.sender.send({"plot": True, "x": [1, 2], "y": [3, 4], "sname": "P", "unit": "V"})
        self.sender.send(
            {"plot": True, "x": [2, 3], "y": [5, 6], "sname": "P", "hold": "mergeX", "unit": "V"}
        )
        _, first, second = (message["signal"] for message in self.other.heard())
        self.assertEqual((first["x"], first["y"], first["unit"]), ([1, 2], [3, 4], "V"))
        self.assertEqual((second["x"], second["y"]), ([3], [6]))

    def test_p3_and_the_level(self) -> None:
        self.other.ask(eventLevel=1)
        self.sender.send({"event": {"text": "quiet", "sname": "A"}})
        push = self.sender.send({"event": {"text": "loud", "sname": "A", "priority": 2, "value": 7}})[0][
            "event"
        ]
        self.assertEqual((push["text"], push["eventId"], push["value"]), ("loud", 2, 7))
        told = [message for message in self.other.heard() if "event" in message]
        self.assertEqual([message["event"]["text"] for message in told], ["loud"])
        self.assertEqual(codes(self.other.ask(eventLevel=3)), [("eventLevel", "bad-value")])

    def test_p4(self) -> None:
        self.other.connection.plugins_changed({"Plugin": {"status": True}})
        self.assertEqual(self.other.heard(), [{"pluginList": {"Plugin": {"status": True}}}])

    def test_p5(self) -> None:
        self.clock.advance(1)
        self.assertEqual(self.sender.heard(), [{"client": "newconnected"}])
        self.assertEqual(self.other.heard(), [])

    def test_pushes_come_before_the_answer_of_a_pending_commit(self) -> None:
        storage = Slow()
        self.build(storage=storage)
        client = self.rooms.connect()
        client.ask(subscribeAll=True)
        self.assertEqual([list(push) for push in client.send({"y": 1})], [["signal"], ["signal"]])
        storage.commits[0].finish()
        self.assertEqual(client.heard(), [SENT])

    def test_goodbye(self) -> None:
        self.sender.connection.say_goodbye()
        self.assertEqual(self.sender.socket.closed, (1001, "the server stops"))
        self.other.send({"event": "x"})
        self.sender.send({"y": 1})
        self.assertEqual(self.sender.heard(), [])
        self.sender.leave()
        self.assertEqual(len(self.rooms.hub), 1)

    def test_a_removed_signal_has_no_push(self) -> None:
        self.sender.ask(y=1)
        self.other.heard()
        self.sender.ask(remove=["signal", "noDevice."])
        self.assertEqual(self.other.heard(), [])

    def test_too_many_subscriptions(self) -> None:
        self.build(max_subscriptions=2)
        client = self.rooms.connect()
        client.ask(subscribe=["signal", "D.A"], subscribeAll=True)
        client.ask(subscribe=["device", "D"])
        self.assertEqual(codes(client.ask(subscribe=["signal", "D.B"])), [("subscribe", "too-large")])
        self.assertEqual(client.ask(subscribe=["signal", "D.A"]), {"error": False})
        self.assertEqual(
            client.connection.selector(),
            Selector(all_signals=True, devices=frozenset({"D"}), signals=frozenset({"D.A"})),
        )

    def test_large_answers_are_streams_in_their_order(self) -> None:
        many = list(range(20_000))
        client = self.rooms.connect()
        client.ask(y=many, x=many, plot=True, sname="A", dname="D")
        sent: list[Any] = []
        self.patch(client.socket, "send", sent.append)
        asked = {"dname": "D", "sname": "A"}
        messages_of_it = [
            Message({"n": 1}),
            None,
            Message({"n": 2}),
            Message({"x": Column(np.zeros(40_000))}),
        ]
        client.connection._speak([*messages_of_it, Message({"n": 3})])
        client.send({"getSignal": asked})
        kinds = [isinstance(each, bytes) for each in sent]
        self.assertEqual(kinds, [True, False, True, False])
        told = [each if isinstance(each, bytes) else all_of(each) for each in sent]
        first, second, large, third, answer = messages(b"".join(told))
        self.assertEqual([first, second, third], [{"n": 1}, {"n": 2}, {"n": 3}])
        self.assertEqual(large, {"x": [0.0] * 40_000})
        self.assertEqual(answer["signals"]["D.A"][:2], [many, many])

    def test_a_connection_that_was_never_opened_says_nothing(self) -> None:
        socket = FakeSocket()
        connection = Connection(socket, self.rooms.house)
        connection.hear_newcomer()
        connection.ended()
        self.assertEqual(socket.said(), [])


@implementer(ICommandSource)
class Patient:
    """A command that tells how far it is, and stops when its client is gone."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.connection: Any = None
        self.undo: Any = None

    def commands(self) -> Iterable[Command]:
        return tagged(self)

    @command("patient", str, Permission.READ)
    def patient(self, connection: IConnection, name: str) -> Deferred[Any]:
        """Work for long."""
        self.connection = connection
        connection.tell({"progress": 0.5})
        self.undo = connection.when_ended(lambda: self.ended.append(name))
        return Deferred()


@implementer(ICommandSource)
class Dear:
    """A command that takes its time."""

    def __init__(self, work: Callable[[str], object]) -> None:
        self._work = work

    def commands(self) -> Iterable[Command]:
        return tagged(self)

    @command("dear", str, Permission.READ)
    def dear(self, connection: IConnection, name: str) -> None:
        """Work."""
        self._work(name)


class LongWorkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.source = Patient()
        self.client = house(sources=[self.source]).connect()

    def test_progress_comes_before_the_answer(self) -> None:
        self.assertEqual(self.client.send({"patient": "a"}), [{"progress": 0.5}])

    def test_who_leaves_ends_the_work(self) -> None:
        self.client.send({"patient": "a"})
        self.client.leave()
        self.assertEqual(self.source.ended, ["a"])
        self.source.connection.when_ended(lambda: self.source.ended.append("late"))()
        self.source.connection.tell({"progress": 1})
        self.assertEqual((self.source.ended, self.client.heard()), (["a", "late"], []))

    def test_work_that_is_done_is_not_ended(self) -> None:
        self.client.send({"patient": "a"})
        self.source.undo()
        self.source.undo()
        self.client.leave()
        self.assertEqual(self.source.ended, [])
