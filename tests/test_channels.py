"""Channels without a network: what goes where, when, together with what, and what is lost."""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.channels import queue
from rtoc_twisted.channels.delivery import Delivery, as_json, merge, of_notice, read, text, title
from rtoc_twisted.channels.pace import Allowance, Backoff
from rtoc_twisted.channels.queue import Queue
from rtoc_twisted.channels.rules import Rules
from rtoc_twisted.channels.sender import DELIVERED, Outcome, Verdict
from rtoc_twisted.model import Attachment, Event, Notice, Selector, Signal, SignalName
from rtoc_twisted.storage.memory import MemoryStorage

from .channels_support import AGAIN, HOUR, REFUSED, Server
from .doubles import EPOCH, sqlite_storage
from .storage_support import unhurried

DUTY = Rules("duty")


class Ears:
    """A listener that keeps the texts of events."""

    def __init__(self, heard: list[str]) -> None:
        self._heard = heard

    def event_raised(self, event: Event) -> None:
        self._heard.append(event.text)

    def signal_added(self, _: Signal) -> None:
        """It is all the same."""


PHOTO = Attachment("a.png", b"png", "image/png")


def notice(what: str = "hello", priority: int = 0, **fields: Any) -> Notice:
    return Notice(what, priority=priority, x=EPOCH, **fields)


class RulesTests(SynchronousTestCase):
    """Who wants what."""

    def wants(self, rules: Rules, key: str, priority: int = 1, said: str = "t", event: int = 1) -> bool:
        return rules.want(Notice(said, "", priority, SignalName(*key.split(".")), 0.0, event))

    def test_priority_of_events(self) -> None:
        self.assertEqual([self.wants(DUTY, "A.b", p) for p in (0, 1, 2)], [False, True, True])
        silent = Rules("x", priority=3)
        self.assertEqual([self.wants(silent, "A.b", p) for p in (0, 1, 2)], [False, False, False])

    def test_priority_of_messages(self) -> None:
        self.assertTrue(DUTY.want(Notice("t")))
        self.assertTrue(self.wants(DUTY, "Plugin.", 0, event=0))
        high = Rules("x", message_priority=2)
        self.assertEqual([high.want(Notice("t", priority=p)) for p in (1, 2)], [False, True])

    def test_patterns(self) -> None:
        rules = Rules("x", events=("Freezer.*", "Lab ?.T"), text=("*warm*",))
        self.assertTrue(self.wants(rules, "Freezer.Temp", said="too warm\nnow"))
        self.assertTrue(self.wants(rules, "Lab 1.T", said="warm"))
        self.assertFalse(self.wants(rules, "Freezer.Temp", said="cold"))
        self.assertFalse(self.wants(rules, "Fridge.Temp", said="warm"))
        self.assertFalse(self.wants(rules, "Plugin.", said="warm", event=0))
        self.assertTrue(self.wants(rules, "Freezer.", said="warm", event=0))

    def test_the_servers_own(self) -> None:
        self.assertTrue(self.wants(DUTY, "RTOC."))
        self.assertFalse(self.wants(Rules("x", server_events=False), "RTOC."))
        self.assertFalse(self.wants(Rules("x", events=("A.*",)), "RTOC."))

    def test_those_about_channels_go_to_none(self) -> None:
        self.assertFalse(self.wants(Rules("x", events=("RTOC.channels",)), "RTOC.channels", 2))

    def test_no_secret_is_in_a_repr(self) -> None:
        rules = Rules("x", url="https://geheim", apprise="tgram://geheim", headers={"A": "geheim"})
        self.assertNotIn("geheim", repr(rules))


class PaceTests(SynchronousTestCase):
    """Allowance and back-off."""

    def test_a_quarter_at_once_then_evenly(self) -> None:
        allowance = Allowance(60, 0.0)
        times: list[float] = []
        now = 0.0
        while now < HOUR:
            now = allowance.ready(now)
            allowance.take(now)
            times.append(now)
        self.assertEqual(times[:15], [0.0] * 15)
        self.assertEqual([round(b - a) for a, b in zip(times[14:], times[15:], strict=False)][:10], [60] * 10)
        self.assertEqual(len(times), 15 + 60)

    def test_one_an_hour(self) -> None:
        allowance = Allowance(1, 5.0)
        self.assertEqual(allowance.ready(5.0), 5.0)
        allowance.take(5.0)
        self.assertAlmostEqual(allowance.ready(6.0), 5.0 + HOUR)

    @unhurried
    @given(st.integers(1, 3600), st.lists(st.floats(0, 5000), max_size=60))
    def test_never_more_than_the_rate_allows(self, per_hour: int, pauses: list[float]) -> None:
        allowance = Allowance(per_hour, 0.0)
        now = 0.0
        for count, pause in enumerate(pauses, 1):
            now = allowance.ready(now + pause)
            allowance.take(now)
            self.assertLessEqual(count, max(1, per_hour / 4) + now * per_hour / HOUR + 1e-6)

    def test_backoff_doubles_to_its_limit_and_starts_over(self) -> None:
        backoff = Backoff(lambda: 0.0)
        self.assertEqual([backoff.delay(0) for _ in range(10)], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300])
        backoff.reset()
        self.assertEqual(backoff.delay(0), 1)

    def test_backoff_has_jitter_and_heeds_the_other_side(self) -> None:
        self.assertAlmostEqual(Backoff(lambda: 0.5).delay(0), 1.5)
        self.assertEqual(Backoff(lambda: 0.0).delay(77), 77)
        self.assertEqual(Backoff(lambda: 0.0).delay(1e12), 24 * HOUR)


class DeliveryTests(SynchronousTestCase):
    """What a message says."""

    def event(self, number: int, priority: int = 1) -> Delivery:
        fields = {"name": SignalName("Dev", f"s{number}"), "event": number, "title": f"Dev.s{number}"}
        return of_notice(notice(f"text {number}", priority, **fields), EPOCH + number)

    def test_one_event(self) -> None:
        one = self.event(7, 2)
        self.assertEqual((title(one, "Lab"), text(one)), ("Lab: Dev.s7", "text 7"))
        self.assertEqual(
            as_json(one, "Lab"),
            {
                "id": one.id,
                "title": "Lab: Dev.s7",
                "text": "text 7",
                "server": "Lab",
                "priority": 2,
                "device": "Dev",
                "signal": "s7",
                "x": EPOCH,
                "event": 7,
                "count": 1,
                "attachments": [],
            },
        )

    def test_a_message_about_nothing(self) -> None:
        one = of_notice(Notice("hello", x=float("nan"), priority=9), EPOCH)
        told = as_json(one, "Lab")
        self.assertEqual(told["title"], "Lab")
        self.assertEqual([told[key] for key in ("device", "signal", "x", "event")], ["", "", None, 0])
        self.assertEqual(told["priority"], 2)

    def test_several_name_the_most_urgent(self) -> None:
        parts = [self.event(1), self.event(2, 2), self.event(3, 2)]
        whole = merge(parts)
        self.assertEqual((whole.id, whole.count, whole.made), (parts[0].id, 3, EPOCH + 3))
        told = as_json(whole, "Lab")
        self.assertEqual((told["event"], told["priority"], told["title"]), (2, 2, "Lab: 3 messages"))
        self.assertEqual([event["event"] for event in told["events"]], [1, 2, 3])
        lines = told["text"].splitlines()
        self.assertEqual(
            [line.split(" ", 2)[2] for line in lines], [f"Dev.s{n}: text {n}" for n in (1, 2, 3)]
        )

    def test_of_many_the_most_urgent_are_shown_and_the_others_counted(self) -> None:
        whole = merge([self.event(n, 2 if n % 50 == 0 else 1) for n in range(1, 251)])
        self.assertEqual((whole.count, len(whole.notices)), (250, 100))
        self.assertEqual([each["event"] for each in whole.notices], [*range(1, 97), 100, 150, 200, 250])
        lines = text(whole).splitlines()
        self.assertEqual((len(lines), lines[-1]), (21, "and 230 more"))
        self.assertIn("Dev.s250: text 250", lines[-2])

    def test_long_texts_are_cut(self) -> None:
        one = of_notice(notice("x" * 100_000, title="t" * 100_000), EPOCH)
        self.assertLess(one.size, 10_000)
        self.assertTrue(text(one).endswith(" .."))

    def test_files(self) -> None:
        one = of_notice(notice(attachments=(PHOTO,)), EPOCH)
        (told,) = as_json(one, "Lab")["attachments"]
        self.assertEqual(told, {"name": "a.png", "type": "image/png", "data": "cG5n"})
        self.assertEqual(list(one.attachments()), [PHOTO])

    def test_files_too_large_are_left_out_and_named(self) -> None:
        large = Attachment("l.bin", bytes(13 << 20))
        one = of_notice(notice(attachments=(PHOTO, large)), EPOCH)
        self.assertEqual(one.files, ())
        self.assertEqual(text(one), "hello (without a.png, l.bin: too large)")

    def test_documents_come_back(self) -> None:
        for one in (self.event(1), merge([self.event(1), self.event(2)]), of_notice(notice(), EPOCH)):
            self.assertEqual(read(one.document()), one)

    def test_other_documents_are_refused(self) -> None:
        right = of_notice(notice(attachments=(PHOTO,)), EPOCH).document()
        wrong: list[Any] = [5, [], {}, "x", right | {"more": 1}, right | {"notices": []}]
        wrong += [
            right | {"notices": [{"text": 1}]},
            right | {"files": [{"data": "?"}]},
            right | {"files": 7},
        ]
        for document in wrong:
            self.assertRaises(ValueError, read, document)


class QueueTests(SynchronousTestCase):
    """The queue in the store."""

    def setUp(self) -> None:
        self.storage = MemoryStorage()
        self.queue = Queue("duty", self.storage, 0.0, EPOCH)

    def add(self, said: str, priority: int = 0, **fields: Any) -> int:
        return self.queue.add(of_notice(notice(said, priority, **fields), EPOCH), 0.0)

    def kept(self) -> list[str]:
        """Return the texts in the store."""
        return [read(each).notices[0]["text"] for each in self.storage.documents("channels/").values()]

    def test_every_message_is_a_document_until_it_goes(self) -> None:
        self.add("a")
        self.add("b")
        self.assertEqual(
            list(self.storage.documents("")), ["channels/duty/000000000001", "channels/duty/000000000002"]
        )
        self.queue.remove(1)
        self.assertEqual(self.kept(), ["b"])

    def test_what_was_kept_is_there_again_in_order(self) -> None:
        for number in range(12):
            self.add(str(number))
        again = Queue("duty", self.storage, 100.0, EPOCH + 5)
        entries = list(again.open())
        self.assertEqual([e.delivery.notices[0]["text"] for e in entries], [str(n) for n in range(12)])
        self.assertEqual(entries[0].since, 95.0)
        again.add(of_notice(notice("new"), EPOCH), 0.0)
        self.assertEqual(self.kept()[-1], "new")

    def test_sealing_leaves_one_document(self) -> None:
        for said in "abc":
            self.add(said)
        whole, commit = self.queue.seal(list(self.queue.open()))
        self.assertTrue(commit.done)
        self.add("d")
        (first, second) = map(read, self.storage.documents("channels/").values())
        self.assertEqual((first, first.sealed, first.count), (whole.delivery, True, 3))
        self.assertFalse(second.sealed)
        again = Queue("duty", self.storage, 0.0, EPOCH)
        sealed = again.sealed()
        assert sealed is not None
        self.assertEqual(sealed.delivery, whole.delivery)

    def test_when_it_is_full_the_oldest_of_the_least_urgent_goes(self) -> None:
        self.patch(queue, "MOST", 3)
        for said, priority in (("a", 1), ("b", 0), ("c", 0)):
            self.assertEqual(self.add(said, priority), 0)
        self.assertEqual(self.add("d", 2), 1)
        self.assertEqual(self.kept(), ["a", "c", "d"])
        self.assertEqual(self.add("e", 1), 1)
        self.assertEqual(self.kept(), ["a", "d", "e"])
        self.assertEqual(self.add("f", 0), 1)
        self.assertEqual(self.kept(), ["a", "d", "e"])
        self.assertEqual(self.add("g", 1), 1)
        self.assertEqual(self.kept(), ["d", "e", "g"])

    def test_bytes_count_too(self) -> None:
        file = Attachment("f", bytes(9 << 20))
        self.assertEqual([self.add(said, attachments=(file,)) for said in "abc"], [0, 0, 1])
        self.assertEqual(self.kept(), ["b", "c"])
        self.queue.remove(2)
        self.queue.remove(3)
        self.assertEqual([self.add(said, attachments=(file,)) for said in "de"], [0, 0])

    def test_the_one_that_is_under_way_stays(self) -> None:
        self.patch(queue, "MOST", 1)
        self.add("a")
        self.assertEqual(self.queue.add(of_notice(notice("b"), EPOCH), 0.0, busy=1), 1)
        self.assertEqual(self.kept(), ["a"])

    def test_a_document_that_is_no_message_is_thrown_away(self) -> None:
        self.storage.put_document("channels/duty/000000000001", {"id": 5})
        self.storage.put_document("channels/duty/x", of_notice(notice(), EPOCH).document())
        with capturedLogs() as logs:
            again = Queue("duty", self.storage, 0.0, EPOCH)
        self.assertEqual((len(again), len(logs)), (0, 2))
        self.assertEqual(self.storage.documents(""), {})

    @unhurried
    @given(
        st.lists(
            st.tuples(st.sampled_from(["add", "seal", "remove", "again"]), st.integers(0, 2)), max_size=60
        )
    )
    def test_store_and_memory_agree(self, steps: list[tuple[str, int]]) -> None:
        self.patch(queue, "MOST", 6)
        storage = MemoryStorage()
        held = Queue("duty", storage, 0.0, EPOCH)
        taken = gone = 0
        for step, priority in steps:
            sealed = held.sealed()
            if step == "add":
                taken += 1
                gone += held.add(of_notice(notice(str(taken), priority), EPOCH), 0.0)
            elif step == "seal" and sealed is None and (parts := list(held.open())):
                held.seal(parts)
            elif step == "remove" and sealed is not None:
                gone += sealed.delivery.count
                held.remove(sealed.number)
            elif step == "again":
                held = Queue("duty", storage, 0.0, EPOCH)
            kept = [read(each) for each in storage.documents("channels/").values()]
            self.assertEqual(sum(each.count for each in kept), len(held))
            self.assertEqual(taken, gone + len(held))
            self.assertLessEqual(len(kept), 6)


class ChannelTests(SynchronousTestCase):
    """When messages go, and what becomes of them."""

    def start(self, **rules: Any) -> Server:
        self.server = Server(Rules("duty", **rules))
        return self.server

    def test_an_event_goes_when_its_group_is_complete(self) -> None:
        server = self.start()
        server.event("a")
        server.pass_time(4)
        server.event("b")
        self.assertEqual(server.sender.texts(), [])
        server.pass_time(1)
        self.assertEqual(server.sender.texts(), [["a", "b"]])
        self.assertEqual(
            server.told(), {"waiting": 0, "sent": 2, "failed": 0, "dropped": 0, "lastError": None}
        )
        self.assertEqual(server.storage.documents("channels/"), {})

    def test_what_is_not_wanted_stays(self) -> None:
        server = self.start(group_seconds=0)
        server.event("a", priority=0)
        server.pass_time(10)
        self.assertEqual(server.sender.texts(), [])

    def test_an_event_is_told_with_its_number_and_name(self) -> None:
        server = self.start(group_seconds=0)
        server.event("a", 2)
        server.pass_time(0)
        told = as_json(server.sender.given[0], "Lab")
        self.assertEqual((told["device"], told["signal"], told["event"]), ("Freezer", "Temp", 1))
        self.assertEqual((told["x"], told["title"]), (EPOCH, "Lab: Freezer.Temp"))

    def test_one_at_a_time(self) -> None:
        server = self.start(group_seconds=0)
        server.sender.answer = None
        for said in "abc":
            server.event(said)
            server.pass_time(1)
        self.assertEqual(server.sender.texts(), [["a"]])
        server.sender.end(DELIVERED)
        server.pass_time(0)
        self.assertEqual(server.sender.texts(), [["b", "c"]])

    def test_a_file_goes_alone_and_at_once(self) -> None:
        server = self.start()
        for said in "ab":
            server.channels.notify(notice(said, attachments=(PHOTO,)))
        server.channels.notify(notice("c"))
        server.pass_time(0, 0.1)
        self.assertEqual(server.sender.texts(), [["a"], ["b"]])
        server.pass_time(5)
        self.assertEqual(server.sender.texts(), [["c"]])

    def test_over_the_rate_they_become_one(self) -> None:
        server = self.start(per_hour=8, group_seconds=0)
        for number in range(20):
            server.event(str(number))
            server.pass_time(1)
        self.assertEqual(server.sender.texts(), [["0"], ["1"]])
        server.pass_time(HOUR / 8)
        self.assertEqual(server.sender.texts(), [[str(n) for n in range(2, 20)]])

    def test_tries_are_further_and_further_apart_and_say_the_same(self) -> None:
        server = self.start(group_seconds=0)
        server.sender.answer = AGAIN
        server.event("a")
        times = []
        for _ in range(130):
            before = len(server.sender.given)
            server.pass_time(1)
            times += [server.clock.seconds()] * (len(server.sender.given) - before)
        self.assertEqual(times, [1, 3, 7, 15, 31, 63, 127])
        first, *others = server.sender.given
        self.assertEqual(others, [first] * 6)
        self.assertEqual(server.told()["lastError"], "HTTP 503")

    def test_after_a_success_tries_begin_anew(self) -> None:
        server = self.start(group_seconds=0)
        server.sender.answer = AGAIN
        server.event("a")
        server.pass_time(30)
        server.sender.answer = DELIVERED
        server.pass_time(10)
        server.sender.answer = AGAIN
        server.event("b")
        server.pass_time(0)
        server.sender.texts()
        server.pass_time(2)
        self.assertEqual(server.sender.texts(), [["b"]])

    def test_what_comes_meanwhile_waits_for_the_one_that_fails(self) -> None:
        server = self.start(group_seconds=0)
        server.sender.answer = AGAIN
        server.event("a")
        server.pass_time(0)
        server.event("b")
        server.event("c")
        server.pass_time(1)
        server.sender.answer = DELIVERED
        server.pass_time(2)
        self.assertEqual(server.sender.texts(), [["a"], ["a"], ["b", "c"]])
        self.assertEqual(server.told()["sent"], 3)

    def test_the_other_side_says_how_long_to_wait(self) -> None:
        server = self.start(group_seconds=0)
        server.sender.answer = Outcome(Verdict.AGAIN, "HTTP 429", after=50.0)
        server.event("a")
        server.pass_time(49)
        self.assertEqual(len(server.sender.given), 1)
        server.pass_time(2)
        self.assertEqual(len(server.sender.given), 2)

    def test_one_line_for_the_failure_and_one_for_its_end(self) -> None:
        server = self.start(group_seconds=0)
        with capturedLogs() as logs:
            server.sender.answer = AGAIN
            server.event("a")
            server.pass_time(300)
            server.sender.answer = DELIVERED
            server.pass_time(600)
            server.event("b")
            server.pass_time(1)
        self.assertEqual([log["log_level"] for log in logs], [LogLevel.warn, LogLevel.info])
        self.assertEqual((logs[0]["name"], logs[0]["reason"]), ("duty", "HTTP 503"))

    def test_what_is_refused_is_lost_and_told(self) -> None:
        server = self.start(group_seconds=0)
        server.sender.answer = REFUSED
        for said in "abc":
            server.event(said)
            server.pass_time(1)
        self.assertEqual(server.sender.texts(), [["a"], ["b"], ["c"]])
        self.assertEqual((server.told()["failed"], server.told()["waiting"]), (3, 0))
        self.assertEqual(server.own_events(), ["channel duty: 1 message lost: HTTP 404"])
        server.pass_time(HOUR, 60)
        self.assertEqual(server.own_events()[1:], ["channel duty: 2 messages lost: HTTP 404"])
        server.pass_time(2 * HOUR, 60)
        self.assertEqual(len(server.own_events()), 2)
        self.assertEqual(server.sender.texts(), [])

    def test_what_is_too_old_is_given_up_after_a_last_try(self) -> None:
        server = self.start(group_seconds=0, give_up_hours=1)
        server.sender.answer = AGAIN
        server.event("a")
        server.pass_time(HOUR - 10, 10)
        self.assertEqual(server.told()["failed"], 0)
        server.pass_time(660, 10)
        self.assertEqual((server.told()["failed"], server.told()["waiting"]), (1, 0))
        self.assertEqual(server.own_events(), ["channel duty: 1 message lost: tried for 1 hours, HTTP 503"])

    def test_a_wall_clock_that_is_set_makes_nothing_old(self) -> None:
        server = self.start(group_seconds=0)
        server.sender.answer = AGAIN
        server.event("a")
        server.pass_time(1)
        server.offset = 50 * 365 * 86400
        server.pass_time(10)
        self.assertEqual(server.told()["waiting"], 1)

    def test_when_too_many_wait_it_is_told_once(self) -> None:
        self.patch(queue, "MOST", 3)
        server = self.start(group_seconds=0)
        server.sender.answer = AGAIN
        server.event("x", priority=2)
        server.pass_time(0)
        for number in range(6):
            server.event(str(number))
        self.assertEqual((server.told()["waiting"], server.told()["dropped"]), (3, 4))
        self.assertEqual(server.own_events(), ["channel duty: 1 message lost: too many wait"])
        server.pass_time(HOUR, 60)
        self.assertEqual(server.own_events()[1:], ["channel duty: 3 messages lost: too many wait"])

    def test_a_sender_that_breaks_is_tried_again(self) -> None:
        server = self.start(group_seconds=0)
        server.sender.answer = None
        server.event("a")
        server.pass_time(0)
        server.sender.end(RuntimeError("geheim"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(server.told()["lastError"], "RuntimeError")
        server.pass_time(2)
        server.sender.end(DELIVERED)
        self.assertEqual(server.told()["sent"], 1)

    def test_messages_go_to_those_who_want_them(self) -> None:
        server = Server(Rules("duty"), Rules("chat", message_priority=1), Rules("lab", events=("Lab.*",)))
        self.assertEqual(server.channels.notify(notice()), 2)
        self.assertEqual(server.channels.notify(notice(name=SignalName("Lab", ""), priority=1)), 3)
        self.assertEqual([server.told(name)["waiting"] for name in ("duty", "chat", "lab")], [2, 1, 2])
        self.assertEqual(server.channels.counters()["channels_waiting"], 5)

    def test_those_that_stay_wait_their_time_when_the_oldest_had_to_go(self) -> None:
        self.patch(queue, "MOST", 1)
        server = self.start()
        server.event("a")
        server.pass_time(3)
        server.event("b")
        server.pass_time(4)
        self.assertEqual(server.sender.texts(), [])
        server.pass_time(1)
        self.assertEqual(server.sender.texts(), [["b"]])

    def test_others_hear_of_the_cause_before_the_consequence(self) -> None:
        self.patch(queue, "MOST", 1)
        server = self.start()
        heard: list[str] = []
        # It listens after the channels, and is told after them.
        listener = Ears(heard)
        server.recorder.subscribe(listener, Selector())
        server.event("a")
        server.event("b")
        self.assertEqual(heard, ["a", "b", "channel duty: 1 message lost: too many wait"])


class RestartTests(SynchronousTestCase):
    """What is left when the server is killed, or stops."""

    def again(self, server: Server, **rules: Any) -> Server:
        """Return a server with the same store; of the old one nothing but that is left."""
        return Server(Rules("duty", group_seconds=0, **rules), storage=server.storage)

    def test_what_waits_goes_afterwards(self) -> None:
        server = Server(Rules("duty"))
        server.event("a")
        server.event("b")
        after = self.again(server)
        after.pass_time(0)
        self.assertEqual(after.sender.texts(), [["a", "b"]])
        self.assertEqual(after.storage.documents("channels/"), {})

    def test_what_was_tried_goes_again_under_its_id_and_nothing_joins_it(self) -> None:
        server = Server(Rules("duty", group_seconds=0))
        server.sender.answer = None
        server.event("a")
        server.event("b")
        server.pass_time(0)
        server.event("c")
        after = self.again(server)
        after.pass_time(0, 0.1)
        after.pass_time(0, 0.1)
        self.assertEqual(after.sender.given[0], server.sender.given[0])
        self.assertEqual(after.sender.texts(), [["a", "b"], ["c"]])

    def test_what_arrived_does_not_go_again(self) -> None:
        server = Server(Rules("duty", group_seconds=0))
        server.event("a")
        server.pass_time(0)
        after = self.again(server)
        after.pass_time(60)
        self.assertEqual(after.sender.texts(), [])

    def test_what_waits_for_a_channel_that_is_no_more_is_thrown_away(self) -> None:
        server = Server(Rules("duty"), Rules("duty2"))
        server.event("a")
        with capturedLogs() as logs:
            self.again(server)
        self.assertEqual([log["count"] for log in logs], [1])
        self.assertEqual(list(server.storage.documents("channels/")), ["channels/duty/000000000001"])

    def test_stopping_waits_for_the_one_under_way(self) -> None:
        server = Server(Rules("duty", group_seconds=0))
        server.sender.answer = None
        server.event("a")
        server.pass_time(0)
        server.event("b")
        stopped = server.channels.stop()
        self.assertNoResult(stopped)
        server.sender.end(DELIVERED)
        self.successResultOf(stopped)
        server.event("c")
        self.assertEqual(server.told()["waiting"], 1)
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_stopping_waits_not_for_long_and_keeps_the_message(self) -> None:
        server = Server(Rules("duty", group_seconds=0))
        server.sender.answer = None
        server.event("a")
        server.pass_time(0)
        with capturedLogs() as logs:
            stopped = server.channels.stop()
            server.pass_time(3.5, 0.5)
        self.successResultOf(stopped)
        self.assertEqual((server.sender.cancelled, logs), (1, []))
        self.assertEqual(server.told()["lastError"], None)
        after = self.again(server)
        after.pass_time(0)
        self.assertEqual(after.sender.texts(), [["a"]])

    def test_stopping_an_idle_one_is_at_once_and_tells_what_was_lost(self) -> None:
        server = Server(Rules("duty", group_seconds=0))
        server.sender.answer = REFUSED
        for said in "ab":
            server.event(said)
            server.pass_time(0)
        self.successResultOf(server.channels.stop())
        self.assertEqual(len(server.own_events()), 2)
        self.assertEqual(server.clock.getDelayedCalls(), [])

    def test_in_sqlite_a_try_begins_when_it_is_on_disk(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        clock = Server().clock
        storage = sqlite_storage(directory, clock)
        server = Server(Rules("duty", group_seconds=5), storage=storage, clock=clock)
        on_disk: list[Any] = []

        def look(_: Delivery) -> None:
            with closing(sqlite3.connect(directory / "rtoc.sqlite")) as reader:
                rows = reader.execute("SELECT value FROM documents WHERE key GLOB 'channels/*'")
                on_disk.extend(json.loads(text) for (text,) in rows)

        server.sender.answer = None
        server.sender.on_send = look
        server.event("a")
        server.event("b")
        clock.pump([5, 0])
        self.assertEqual(server.sender.texts(), [["a", "b"]])
        self.assertEqual([(each["count"], each["sealed"]) for each in on_disk], [(2, True)])
        # Nobody stops the channels: it is as if the server were killed now.
        closed = storage.close()
        clock.pump([0] * 5)
        self.successResultOf(closed)
        again = sqlite_storage(directory, clock)
        after = Server(Rules("duty"), storage=again, clock=clock)
        clock.pump([0, 0])
        self.assertEqual(after.sender.texts(), [["a", "b"]])
        clock.pump([0, 0])
        self.assertEqual(again.documents("channels/"), {})
        closed = again.close()
        clock.pump([0] * 5)
        self.successResultOf(closed)


class FileTests(SynchronousTestCase):
    def test_base64_is_what_people_can_read(self) -> None:
        one = of_notice(notice(attachments=(Attachment("x", bytes(range(256))),)), EPOCH)
        self.assertEqual(base64.b64decode(one.files[0]["data"]), bytes(range(256)))
