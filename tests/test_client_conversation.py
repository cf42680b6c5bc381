"""The parts of the client that do no I/O, by plain calls."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client.backoff import Backoff
from rtoc_twisted.client.conversation import (
    Answered,
    Authorized,
    Conversation,
    Ignored,
    Pushed,
    Refused,
    Subscriptions,
)
from rtoc_twisted.client.failures import CertificateRefused, ConnectionLost, RequestFailed
from rtoc_twisted.client.frames import CipherFrames, PlainFrames
from rtoc_twisted.client.pushes import PushStream
from rtoc_twisted.client.trust import Credentials, Trust
from rtoc_twisted.client.values import (
    ClientConnected,
    EventRaised,
    Latest,
    PluginsChanged,
    SignalAdded,
    Values,
    action_of,
    latest_of,
    listed_event,
    push_of,
    signal_of,
)
from rtoc_twisted.errors import BadValue
from rtoc_twisted.model import Event, SignalName

VECTORS = {
    "AqA9v8IMAWYhQ4fDc/p5IZJwel6zGhGtQGeR3rKqKSM=": {"Wow": True},
    "AAECAwQFBgcICQoLDA0ODzCtdImY5Mcr7imy+R0DP9rld+NNpNODTA4uDbQYwmLV": {"authorize": True},
}
HASH = "rdsPXngmyFfXN20b2bwzwMVEeQourJYUSoryKxKYyUA="


class FramesTests(SynchronousTestCase):
    def test_vectors_of_the_cipher(self) -> None:
        frames = CipherFrames("geheim")
        for wire, message in VECTORS.items():
            self.assertEqual(frames.decode(wire), message)
            self.assertEqual(frames.decode(wire.encode()), message)

    def test_cipher_round_trip_differs_each_time(self) -> None:
        frames = CipherFrames("geheim")
        first, second = frames.encode({"unit": "°C"}), frames.encode({"unit": "°C"})
        self.assertNotEqual(first, second)
        self.assertEqual(frames.decode(first), {"unit": "°C"})
        self.assertIsNone(CipherFrames("other").decode(first))

    def test_cipher_reads_plain_answers_too(self) -> None:
        self.assertEqual(CipherFrames("geheim").decode('{"error": true}'), {"error": True})

    def test_what_is_no_object_is_none(self) -> None:
        for frame in ("", "nonsense", "[1]", "5", "null", b"\xff"):
            self.assertIsNone(PlainFrames().decode(frame))
            self.assertIsNone(CipherFrames("geheim").decode(frame))

    def test_numpy_is_written_as_numbers(self) -> None:
        frame = PlainFrames().encode({"y": np.array([1.5, 2.0]), "n": np.int64(3)})
        self.assertEqual(json.loads(frame), {"y": [1.5, 2.0], "n": 3})

    def test_nan_survives_both_ways(self) -> None:
        message = PlainFrames().decode(PlainFrames().encode({"y": math.nan}))
        assert message is not None
        self.assertTrue(math.isnan(message["y"]))

    def test_what_json_has_no_word_for(self) -> None:
        self.assertRaises(TypeError, PlainFrames().encode, {"y": object()})


class ConversationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.conversation = Conversation(PlainFrames())

    def receive(self, message: Any) -> list[Any]:
        return self.conversation.received(json.dumps(message))

    def test_requests_carry_their_number(self) -> None:
        number, frame = self.conversation.request({"getLatest": True})
        self.assertEqual(json.loads(frame), {"getLatest": True, "id": number})
        self.assertNotEqual(self.conversation.request({})[0], number)

    def test_answers_with_ids_come_in_any_order(self) -> None:
        first, second = self.conversation.request({})[0], self.conversation.request({})[0]
        self.assertEqual(
            self.receive({"error": False, "b": 1, "id": second}), [Answered(second, {"error": False, "b": 1})]
        )
        self.assertEqual(self.receive({"error": True, "id": first}), [Answered(first, {"error": True})])

    def test_answers_without_ids_come_in_order(self) -> None:
        numbers = [self.conversation.request({})[0] for _ in range(3)]
        answers = [self.receive({"error": False})[0] for _ in range(3)]
        self.assertEqual([answer.request for answer in answers], numbers)

    def test_an_answer_to_nothing_is_ignored(self) -> None:
        self.assertIsInstance(self.receive({"error": False})[0], Ignored)
        self.conversation.request({})
        self.assertIsInstance(self.receive({"error": False, "id": 77})[0], Ignored)

    def test_login_accepted_and_then_answered(self) -> None:
        number, _ = self.conversation.request({"authorize": True})
        self.assertEqual(self.receive({"authorized": True}), [Authorized()])
        self.assertEqual(self.receive({"error": False}), [Answered(number, {"error": False})])

    def test_a_refusal_is_the_answer_of_the_oldest_request(self) -> None:
        first, second = self.conversation.request({})[0], self.conversation.request({})[0]
        self.assertEqual(self.receive({"authorized": False}), [Refused(first)])
        self.assertEqual(self.receive({"authorized": False}), [Refused(second)])
        self.assertEqual(self.receive({"authorized": False}), [Refused(None)])

    def test_pushes_answer_nothing(self) -> None:
        number, _ = self.conversation.request({})
        self.assertEqual(self.receive({"client": "newconnected"}), [Pushed(ClientConnected())])
        self.assertEqual(self.receive({"pluginList": {"P": {}}}), [Pushed(PluginsChanged({"P": {}}))])
        answer = {"error": False, "pluginList": {}}
        self.assertEqual(self.receive(answer), [Answered(number, answer)])

    def test_what_means_nothing_is_ignored(self) -> None:
        for message in ({"news": 1}, {"signal": {"dname": "D"}}, {"event": 5}, [1]):
            self.assertIsInstance(self.receive(message)[0], Ignored)

    def test_what_cannot_be_written_takes_no_place(self) -> None:
        self.assertRaises(TypeError, self.conversation.request, {"y": object()})
        number, _ = self.conversation.request({})
        self.assertEqual(self.receive({"error": False})[0].request, number)


class SubscriptionsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.subscriptions = Subscriptions()

    def test_nothing_at_first(self) -> None:
        self.assertEqual(self.subscriptions.requests(), [])

    def test_singles_on_and_off(self) -> None:
        self.subscriptions.single("signal", "D.a", on=True)
        self.subscriptions.single("device", "E", on=True)
        self.subscriptions.single("signal", "D.a", on=False)
        self.assertEqual(self.subscriptions.requests(), [{"subscribe": ["device", "E"]}])

    def test_all_but_one(self) -> None:
        self.subscriptions.single("signal", "D.a", on=True)
        self.subscriptions.everything(on=True)
        self.subscriptions.single("signal", "D.b", on=False)
        self.assertEqual(
            self.subscriptions.requests(), [{"subscribeAll": True}, {"unsubscribe": ["signal", "D.b"]}]
        )
        self.subscriptions.everything(on=False)
        self.assertEqual(self.subscriptions.requests(), [])

    def test_event_level(self) -> None:
        self.subscriptions.event_level(2)
        self.assertEqual(self.subscriptions.requests(), [{"eventLevel": 2}])


class ValuesTests(SynchronousTestCase):
    def test_pushes_of_signals(self) -> None:
        fields = {"dname": "D.E", "sname": "a", "id": 3, "x": [], "y": [], "unit": None}
        name = SignalName("D.E", "a")
        self.assertEqual(push_of({"signal": fields}), SignalAdded(name, 3))
        values = {**fields, "x": [1], "y": [2], "unit": "V"}
        self.assertEqual(push_of({"signal": values}), Values(name, 3, [1.0], [2.0], "V"))

    def test_null_is_nan(self) -> None:
        fields = {"dname": "D", "sname": "a", "id": 3, "x": [1], "y": [None], "unit": None}
        push = push_of({"signal": fields})
        assert isinstance(push, Values)
        self.assertTrue(math.isnan(push.y[0]))
        self.assertEqual(push.unit, "")

    def test_events(self) -> None:
        event = Event(SignalName("D", "a"), "hot", 5.0, 2, "i", {"t": 1}, 7)
        pushed = {"text": "hot", "dname": "D", "sname": "a", "x": 5, "priority": 2, "value": {"t": 1}}
        self.assertEqual(push_of({"event": {**pushed, "id": "i", "eventId": 7}}), EventRaised(event))
        alarm = {"rule": "hot", "acknowledged": False}
        raised = push_of({"event": {**pushed, "id": "i", "eventId": 7, "alarm": alarm}})
        self.assertEqual(raised, EventRaised(replace(event, alarm=alarm)))
        self.assertEqual(listed_event(["D", "a", 7, "hot", 5.0, {"t": 1}, 2, "i"]), event)

    def test_latest_in_both_lengths(self) -> None:
        self.assertEqual(latest_of([2, 1.5, "V", 4, 1, 2]), Latest(2.0, 1.5, "V", 4, 1.0, 2.0))
        self.assertEqual(latest_of([2, 1.5, None]), Latest(2.0, 1.5, ""))

    def test_samples(self) -> None:
        data = signal_of([[1, 2], [3, None], "V", 4, 0, 9])
        self.assertEqual((data.x, data.y[0], data.unit, data.id), ([1.0, 2.0], 3.0, "V", 4))
        self.assertEqual((data.x_min, data.x_max), (0.0, 9.0))

    def test_results_of_actions(self) -> None:
        fields = {"name": "a", "success": True, "type": "document", "data": "aGk="}
        self.assertEqual(action_of(fields).data, b"hi")
        self.assertEqual(action_of({**fields, "type": "text"}).data, "aGk=")
        self.assertEqual(action_of({**fields, "success": False, "data": "no"}).data, "no")
        self.assertRaises(ValueError, action_of, {**fields, "data": "no base64"})


class FailuresTests(SynchronousTestCase):
    def test_a_failure_tells_what_the_server_said(self) -> None:
        busy = {"key": "y", "code": "busy", "message": "later", "retriable": True}
        failure = RequestFailed({"error": True, "errors": [busy]})
        self.assertEqual((failure.code, failure.retriable, str(failure)), ("busy", True, "y: later"))
        bad = {"key": "event", "code": "bad-value", "message": "no", "retriable": False}
        both = RequestFailed({"error": True, "errors": [busy, bad]})
        self.assertFalse(both.retriable)
        self.assertEqual(both.errors, (busy, bad))

    def test_the_original_says_nothing(self) -> None:
        failure = RequestFailed({"error": True})
        self.assertEqual((failure.code, failure.errors), ("internal", ()))


class TrustTests(SynchronousTestCase):
    def test_fingerprints(self) -> None:
        digest = (
            "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"
        )
        Trust(fingerprint=digest).check(b"abc")
        Trust(fingerprint=digest.lower().replace(":", "")).check(b"abc")
        Trust().check(None)
        refused = self.assertRaises(CertificateRefused, Trust(fingerprint=digest).check, b"abd")
        self.assertNotIn(digest, str(refused))
        self.assertRaises(CertificateRefused, Trust(fingerprint=digest).check, None)
        self.assertRaises(BadValue, Trust, fingerprint="AB:CD")

    def test_an_unreadable_ca_file(self) -> None:
        self.assertRaises(BadValue, Trust(ca_file="/nowhere/ca.pem").context)

    def test_credentials(self) -> None:
        self.assertEqual(Credentials().authorize(), True)
        self.assertEqual(Credentials("geheim").authorize(), HASH)
        self.assertEqual(Credentials("geheim", "ann").authorize(), {"user": "ann", "hash": HASH})
        self.assertEqual(Credentials(token="t0k").authorize(), {"token": "t0k"})
        self.assertNotIn("geheim", repr(Credentials("geheim", token="t0k")))
        self.assertNotIn("t0k", repr(Credentials("geheim", token="t0k")))


class BackoffTests(SynchronousTestCase):
    def test_delays_double_up_to_the_limit(self) -> None:
        backoff = Backoff(lambda: 1.0, first=1.0, limit=5.0)
        self.assertEqual([backoff.delay() for _ in range(5)], [1.0, 2.0, 4.0, 5.0, 5.0])
        backoff.reset()
        self.assertEqual(backoff.delay(), 1.0)

    def test_chance_halves_at_most(self) -> None:
        self.assertEqual(Backoff(lambda: 0.0, first=1.0).delay(), 0.5)


class PushStreamTests(SynchronousTestCase):
    def test_the_oldest_go_when_it_is_full(self) -> None:
        async def scenario() -> tuple[list[Any], int]:
            stream = PushStream(2, lambda _: None)
            for number in range(5):
                stream.put(SignalAdded(SignalName("D", "a"), number))
            stream.end(None)
            return [push async for push in stream], stream.dropped

        kept, dropped = asyncio.run(scenario())
        self.assertEqual([push.id for push in kept], [3, 4])
        self.assertEqual(dropped, 3)

    def test_a_waiting_reader_is_woken(self) -> None:
        async def scenario() -> Any:
            stream = PushStream(2, lambda _: None)
            reader = asyncio.ensure_future(anext(stream))
            await asyncio.sleep(0)
            stream.put(ClientConnected())
            return await reader

        self.assertEqual(asyncio.run(scenario()), ClientConnected())

    def test_a_failure_comes_after_what_waits(self) -> None:
        async def scenario() -> None:
            stream = PushStream(2, lambda _: None)
            stream.put(ClientConnected())
            stream.end(ConnectionLost("gone"))
            self.assertEqual(await anext(stream), ClientConnected())
            await anext(stream)

        self.assertRaises(ConnectionLost, asyncio.run, scenario())

    def test_leaving_the_context_closes(self) -> None:
        closed: list[PushStream] = []

        async def scenario() -> list[Any]:
            with PushStream(2, closed.append) as stream:
                pass
            return [push async for push in stream]

        self.assertEqual(asyncio.run(scenario()), [])
        self.assertEqual(len(closed), 1)
