"""The keys of automation on the wire; what is behind them is doubled, and notes what it was asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from rtoc_twisted.auth.accounts import Account
from rtoc_twisted.auth.commands import AuthCommands
from rtoc_twisted.auth.passwords import token_hash
from rtoc_twisted.automation.commands import AutomationCommands
from rtoc_twisted.command import CommandTable
from rtoc_twisted.connection import Connection
from rtoc_twisted.errors import BadValue, StorageFailed
from rtoc_twisted.interfaces import IAutomation, ICommandSource, ICommit, INotifier
from rtoc_twisted.model import Notice, Permission
from rtoc_twisted.storage.commit import Commit, stored

from . import test_docs
from .doubles import LOCAL, REMOTE_TLS, Client, FakeSocket, house
from .golden_replay import PROVIDERS
from .storage_support import unhurried
from .test_any_input import opened

STATE = {"events": {"E": {"cond": "True"}}, "actions": {}, "active": {"events": False, "actions": False}}
ALARM = {"active": True, "acknowledged": False}


@implementer(IAutomation)
class FakeAutomation:
    """Notes its calls; `failing` says what a call raises, `commit` what it returns."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.failing: dict[str, Exception] = {}
        self.commit: Commit = stored()
        self.missing: set[str] = set()
        self.backtests: list[tuple[Deferred[Any], Callable[[float], None]]] = []
        self.cancelled = 0
        self.scripts_change = True

    def _note(self, *call: Any) -> ICommit:
        self.asked.append(call)
        if call[0] in self.failing:
            raise self.failing[call[0]]
        return self.commit

    def told(self) -> Mapping[str, Any]:
        return STATE

    def set_event(self, fields: Mapping[str, Any], who: str) -> ICommit:
        return self._note("setEvent", fields, who)

    def set_action(self, fields: Mapping[str, Any], who: str) -> ICommit:
        return self._note("setAction", fields, who)

    def set_user_action(self, fields: Mapping[str, Any], who: str) -> ICommit:
        return self._note("setUserAction", fields, who)

    def remove(self, kind: str, name: str, who: str) -> ICommit | None:
        commit = self._note("remove", kind, name, who)
        return None if name in self.missing else commit

    def user_actions(self) -> Mapping[str, str]:
        return {"hello": "return 'text', 'hi'"}

    def activate(self, active: Mapping[str, Any], who: str) -> ICommit:
        return self._note("active", active, who)

    def reset(self, names: Sequence[str] | None) -> ICommit:
        return self._note("reset", names)

    def test_event(self, name: str, force: bool = False) -> Deferred[Mapping[str, Any]]:
        self._note("testEvent", name, force)
        return succeed({"ok": True, "value": "Condition is valid\nAnswer: True"})

    def test_action(self, name: str, dry: bool = False) -> Deferred[Mapping[str, Any]]:
        self._note("testAction", name, dry)
        return succeed({"ok": True, "value": "Action is valid\nAnswer: "})

    def run_user_action(self, name: str) -> Deferred[Mapping[str, Any]]:
        self._note("userAction", name)
        return succeed({"name": name, "success": True, "type": "text", "data": "hi"})

    def stop_action(self, name: str) -> bool:
        self._note("stopAction", name)
        return name not in self.missing

    def runs(self) -> Sequence[Mapping[str, Any]]:
        return [{"action": "A"}]

    def alarms(self, names: Sequence[str] | None = None) -> Mapping[str, Any]:
        self._note("alarms", names)
        return {"E": ALARM}

    def change_alarm(
        self, verb: str, name: str, who: str, comment: str | None = None, seconds: float | None = None
    ) -> tuple[Mapping[str, Any], ICommit]:
        return ALARM, self._note(verb, name, who, comment, seconds)

    def why(self, number: int) -> Deferred[Sequence[Mapping[str, Any]] | None]:
        return succeed(None if number > 1 else [{"id": "c0ffee"}])

    def backtest(
        self,
        event: Mapping[str, Any] | str,
        start: float | None,
        stop: float | None,
        progress: Callable[[float], None],
    ) -> Deferred[Mapping[str, Any]]:
        self._note("backtest", event, start, stop)

        def cancel(_: Deferred[Any]) -> None:
            self.cancelled += 1

        done: Deferred[Mapping[str, Any]] = Deferred(cancel)
        self.backtests.append((done, progress))
        return done

    def revisions(self, limit: int | None = None) -> Sequence[Mapping[str, Any]]:
        return [{"number": n} for n in range(1, 4)][-limit if limit else 0 :]

    def rollback(self, number: int, who: str) -> ICommit:
        return self._note("rollback", number, who)

    def rollback_changes_scripts(self, number: int) -> bool:
        return self.scripts_change

    def counters(self) -> Mapping[str, float]:
        return {}


@implementer(INotifier)
class FakeNotifier:
    """Tells of one channel."""

    def notify(self, notice: Notice) -> int:
        return 0

    def told(self) -> Mapping[str, Any]:
        return {"phone": {"waiting": 0}}

    def counters(self) -> Mapping[str, float]:
        return {}


class CommandCase(SynchronousTestCase):
    permissions = Permission.ALL

    def setUp(self) -> None:
        self.behind = FakeAutomation()
        commands = AutomationCommands(self.behind, FakeNotifier())
        operator = Account("ada", self.permissions, token_hash=token_hash("t"))
        self.rooms = house(password="geheim", accounts=[operator])
        self.shared = replace(self.rooms.house, table=CommandTable([AuthCommands(), commands]))
        self.client = self.connect()
        self.client.ask(authorize={"token": "t"})

    def connect(self, peer: Any = REMOTE_TLS) -> Client:
        socket = FakeSocket(peer)
        connection = Connection(socket, self.shared)
        connection.opened()
        return Client(connection, socket, self.rooms.clock)

    def answer(self, **calls: Any) -> Any:
        """Send calls of automation; return what is answered beside the state."""
        message = self.client.ask(automation=calls)
        self.assertEqual((message["error"], "errors" in message), (False, False), message)
        told = message["automation"]
        self.assertEqual({key: told[key] for key in STATE}, STATE)
        return {key: value for key, value in told.items() if key not in STATE}

    def failure(self, **calls: Any) -> tuple[str, str]:
        """Send calls of which one fails; return its code and what is said of it."""
        message = self.client.ask(automation=calls)
        self.assertTrue(message["error"])
        self.assertLessEqual(STATE.items(), message["automation"].items())
        ((error,)) = message["errors"]
        self.assertEqual(error["key"], "automation")
        return error["code"], error["message"]


class ChangeTests(CommandCase):
    def test_interfaces(self) -> None:
        verifyClass(IAutomation, FakeAutomation)
        verifyClass(INotifier, FakeNotifier)
        verifyClass(ICommandSource, AutomationCommands)

    def test_state_is_in_each_answer(self) -> None:
        self.assertEqual(self.answer(), {})
        self.assertEqual(self.answer(unheard_of=1), {})
        self.assertEqual(self.behind.asked, [])

    def test_what_is_set(self) -> None:
        fields = {"name": "E", "cond": "True"}
        for key in ("setEvent", "setAction", "setUserAction"):
            self.assertEqual(self.answer(**{key: fields}), {})
            self.assertEqual(self.behind.asked.pop(), (key, fields, "ada"))

    def test_what_is_removed(self) -> None:
        self.behind.missing = {"F"}
        for key, kind in (
            ("removeEvent", "event"),
            ("removeAction", "action"),
            ("removeUserAction", "userAction"),
        ):
            self.assertEqual(self.answer(**{key: "E"}), {key: True})
            self.assertEqual(self.behind.asked.pop(), ("remove", kind, "E", "ada"))
            self.assertEqual(self.answer(**{key: "F"}), {key: False})

    def test_activate_and_reset(self) -> None:
        self.assertEqual(self.answer(active={"events": [], "actions": True}), {})
        self.assertEqual(self.behind.asked.pop(), ("active", {"events": [], "actions": True}, "ada"))
        for wanted, names in ((True, None), (1, None), ("E", ["E"]), (["E", "F"], ["E", "F"])):
            self.assertEqual(self.answer(reset=wanted), {})
            self.assertEqual(self.behind.asked.pop(), ("reset", names))

    def test_alarms_are_changed(self) -> None:
        for verb in ("acknowledge", "confirm", "shelve", "unshelve", "suppress", "unsuppress", "unlatch"):
            self.assertEqual(self.answer(**{verb: "E"}), {verb: ALARM})
            self.assertEqual(self.behind.asked.pop(), (verb, "E", "ada", None, None))
        self.answer(shelve={"name": "E", "seconds": 60})
        self.assertEqual(self.behind.asked.pop(), ("shelve", "E", "ada", None, 60.0))
        self.answer(acknowledge={"name": "E", "comment": "door repaired"})
        self.assertEqual(self.behind.asked.pop(), ("acknowledge", "E", "ada", "door repaired", None))

    def test_rollback_comes_before_what_is_set(self) -> None:
        self.assertEqual(self.answer(setEvent={}, rollback=3), {"rollback": True})
        self.assertEqual([call[0] for call in self.behind.asked], ["rollback", "setEvent"])

    def test_the_order_is_that_of_the_documents(self) -> None:
        asked = {
            "testAction": "A",
            "testEvent": "E",
            "stopAction": "A",
            "acknowledge": "E",
            "reset": True,
            "active": {},
            "removeUserAction": "U",
            "removeAction": "A",
            "removeEvent": "F",
            "setUserAction": {},
            "setAction": {},
            "setEvent": {},
        }
        self.answer(**asked)
        done = [call[1] + "Removed" if call[0] == "remove" else call[0] for call in self.behind.asked]
        expected = list(reversed(asked))
        expected[3:6] = ["eventRemoved", "actionRemoved", "userActionRemoved"]
        self.assertEqual(done, expected)

    def test_an_answer_waits_for_the_commits(self) -> None:
        self.behind.commit = Commit()
        for key, value in (("setEvent", {}), ("removeEvent", "E"), ("reset", True), ("acknowledge", "E")):
            self.assertEqual(self.client.send({"automation": {key: value, "testAction": "A"}}), [], key)
        self.behind.commit.finish()
        self.assertEqual([it["error"] for it in self.client.heard()], [False] * 4)

    def test_a_commit_that_fails_fails_the_answer(self) -> None:
        self.behind.commit = Commit()
        self.client.send({"automation": {"setEvent": {}}})
        self.behind.commit.finish(StorageFailed("the disk is full"))
        (message,) = self.client.heard()
        self.assertEqual(message["errors"][0]["message"], "the disk is full")


class FailureTests(CommandCase):
    def test_the_path_is_told_once(self) -> None:
        for said, told in (
            ("setEvent.cond: column 7: no", "automation.setEvent.cond: column 7: no"),
            ("no", "automation.setEvent: no"),
            ("setEvents are many", "automation.setEvent: setEvents are many"),
        ):
            self.behind.failing["setEvent"] = BadValue(said)
            self.assertEqual(self.failure(setEvent={}), ("bad-value", told))

    def test_the_others_are_done(self) -> None:
        self.behind.failing["setEvent"] = BadValue("no")
        message = self.client.ask(automation={"setEvent": {}, "setAction": {}, "testEvent": "E"})
        self.assertEqual([call[0] for call in self.behind.asked], ["setEvent", "setAction", "testEvent"])
        self.assertTrue(message["automation"]["testEvent"]["ok"])
        self.assertEqual(len(message["errors"]), 1)

    def test_wrong_arguments(self) -> None:
        for key, value, place in (
            ("setEvent", "x", "setEvent: Expected `object`"),
            ("setAction", None, "setAction: Expected `object`"),
            ("removeEvent", ["E"], "removeEvent: Expected `str`"),
            ("active", True, "active: Expected `object`"),
            ("reset", ["E", 1], "reset[1]: Expected `str`"),
            ("acknowledge", 5, "acknowledge: expected a name, or an object with one"),
            ("acknowledge", "x" * 201, "acknowledge.name: Expected `str` of length <= 200"),
            ("acknowledge", {"comment": "x"}, "acknowledge: Object missing required field `name`"),
            (
                "acknowledge",
                {"name": "E", "coment": "x"},
                "acknowledge: Object contains unknown field `coment`",
            ),
            ("acknowledge", {"name": "E", "seconds": 1}, "acknowledge.seconds: only shelve"),
            ("shelve", {"name": "E", "comment": "x"}, "shelve.comment: it is kept with acknowledge"),
            ("shelve", {"name": "E", "seconds": -1}, "shelve.seconds: Expected `float` >= 0"),
            ("shelve", {"name": "E", "seconds": float("inf")}, "shelve.seconds: expected a finite number"),
            ("testEvent", {"name": "E", "force": 1}, "testEvent.force: Expected `bool`"),
            ("testAction", None, "testAction: expected a name"),
            ("stopAction", 1, "stopAction: Expected `str`"),
            ("backtest", {"event": 5}, "backtest.event: Expected `str | object`"),
            ("backtest", {"event": "E", "from": "x"}, "backtest.from: Expected `float | null`"),
            ("backtest", {"event": "E", "to": float("nan")}, "backtest.to: expected a finite number"),
            ("alarms", 5, "alarms: Expected `array`"),
            ("why", "1", "why: Expected `int`"),
            ("why", True, "why: Expected `int`"),
            ("why", 2**60, "why: Expected `int` <= 9007199254740992"),
            ("revisions", -1, "revisions: Expected `int` >= 0"),
            ("rollback", 1.5, "rollback: Expected `int`"),
        ):
            code, message = self.failure(**{key: value})
            self.assertEqual((code, message[: len(place) + 11]), ("bad-value", f"automation.{place}"))
        self.assertEqual(self.behind.asked, [])

    def test_no_object_at_all(self) -> None:
        for wrong in ("x", None, [], 5):
            message = self.client.ask(automation=wrong)
            self.assertEqual([it["code"] for it in message["errors"]], ["bad-value"])

    def test_names_that_could_not_be_told_again(self) -> None:
        message = self.client.send(b'{"automation": {"setEvent": {"name": "\\ud800"}}}')[-1]
        self.assertEqual(message["errors"][0]["code"], "bad-value")
        self.assertEqual(self.behind.asked, [])


class TryTests(CommandCase):
    def test_test_event(self) -> None:
        told = {"testEvent": {"ok": True, "value": "Condition is valid\nAnswer: True"}}
        for calls, force in (
            ({"testEvent": "E"}, False),
            ({"testEvent": {"name": "E", "force": True}}, True),
            ({"testEvent": "E", "force": True}, True),
            ({"testEvent": "E", "force": False, "dry": True}, False),
        ):
            self.assertEqual(self.answer(**calls), told)
            self.assertEqual(self.behind.asked.pop(), ("testEvent", "E", force))

    def test_test_action(self) -> None:
        for calls, dry in (
            ({"testAction": "A"}, False),
            ({"testAction": {"name": "A", "dry": True}}, True),
            ({"testAction": "A", "dry": True}, True),
        ):
            self.assertTrue(self.answer(**calls)["testAction"]["ok"])
            self.assertEqual(self.behind.asked.pop(), ("testAction", "A", dry))

    def test_stop_action(self) -> None:
        self.behind.missing = {"B"}
        self.assertEqual(self.answer(stopAction="A"), {"stopAction": True})
        self.assertEqual(self.answer(stopAction="B"), {"stopAction": False})

    def test_backtest_with_progress(self) -> None:
        given = {"event": {"cond": "True"}, "from": 5, "id": "mine"}
        self.assertEqual(self.client.send({"automation": {"backtest": given}}), [])
        self.assertEqual(self.behind.asked, [("backtest", {"cond": "True"}, 5.0, None)])
        done, progress = self.behind.backtests[0]
        progress(0.5)
        told = {"progress": {"key": "automation.backtest", "id": "mine", "done": 0.5}}
        self.assertEqual(self.client.heard(), [told])
        done.callback({"fired": []})
        (message,) = self.client.heard()
        self.assertEqual(message["automation"], {"backtest": {"fired": []}, **STATE})

    def test_progress_without_a_name(self) -> None:
        self.client.send({"automation": {"backtest": {"event": "E"}}})
        self.behind.backtests[0][1](1)
        self.assertEqual(self.client.heard(), [{"progress": {"key": "automation.backtest", "done": 1}}])

    def test_a_backtest_ends_with_its_client(self) -> None:
        self.client.send({"automation": {"backtest": {"event": "E"}}})
        self.client.leave()
        self.assertEqual(self.behind.cancelled, 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_backtest_that_was_done_is_not_cancelled(self) -> None:
        self.client.send({"automation": {"backtest": {"event": "E"}}})
        self.behind.backtests[0][0].callback({})
        self.client.leave()
        self.assertEqual(self.behind.cancelled, 0)

    def test_two_at_once_for_one_connection(self) -> None:
        def ask(number: int) -> list[Any]:
            return self.client.send({"id": number, "automation": {"backtest": {"event": "E"}}})

        self.assertEqual(ask(1) + ask(2), [])
        (refused,) = ask(3)
        self.assertEqual((refused["id"], refused["errors"][0]["code"]), (3, "busy"))
        self.behind.backtests[0][0].callback({})
        self.assertEqual([it["id"] for it in self.client.heard()], [1])
        self.assertEqual(ask(4), [])
        other = self.connect(LOCAL)
        other.ask(authorize=True)
        self.assertEqual(other.send({"id": 1, "automation": {"backtest": {"event": "E"}}}), [])

    def test_a_backtest_that_fails_leaves_room(self) -> None:
        self.behind.failing["backtest"] = BadValue("backtest.event.cond: column 1: no")
        for _ in range(3):
            code, message = self.failure(backtest={"event": {}})
            self.assertEqual((code, message), ("bad-value", "automation.backtest.event.cond: column 1: no"))


class AskTests(CommandCase):
    def test_queries(self) -> None:
        self.assertEqual(self.answer(why=1), {"why": [{"id": "c0ffee"}]})
        self.assertEqual(self.answer(why=2), {"why": None})
        self.assertEqual(self.answer(alarms=True), {"alarms": {"E": ALARM}})
        self.assertEqual(self.answer(alarms="E"), {"alarms": {"E": ALARM}})
        self.answer(alarms=["E"])
        self.assertEqual(self.behind.asked, [("alarms", None), ("alarms", ["E"]), ("alarms", ["E"])])
        self.assertEqual(self.answer(userActions=True), {"userActions": {"hello": "return 'text', 'hi'"}})
        self.assertEqual(self.answer(runs=True), {"runs": [{"action": "A"}]})
        self.assertEqual(self.answer(channels=True), {"channels": {"phone": {"waiting": 0}}})
        numbers = [{"number": n} for n in (1, 2, 3)]
        self.assertEqual(self.answer(revisions=True), {"revisions": numbers})
        self.assertEqual(self.answer(revisions=2), {"revisions": numbers[1:]})


class UserActionTests(CommandCase):
    def test_by_name_and_by_object(self) -> None:
        told = {"name": "hello", "success": True, "type": "text", "data": "hi"}
        for wanted in ("hello", {"name": "hello"}):
            self.assertEqual(self.client.ask(userAction=wanted), {"error": False, "userAction": told})
            self.assertEqual(self.behind.asked.pop(), ("userAction", "hello"))

    def test_what_is_no_name(self) -> None:
        for wrong in (["hello"], None, 5, {}, {"name": 5}, {"name": "hello", "x": 1}):
            message = self.client.ask(userAction=wrong)
            (error,) = message["errors"]
            self.assertEqual(error["code"], "bad-value")
            self.assertTrue(error["message"].startswith("userAction"), error)
        self.assertEqual(self.behind.asked, [])


class OperatorTests(CommandCase):
    """An account that may control, and set no scripts."""

    permissions = Permission.READ | Permission.CONTROL

    def test_scripts_are_refused(self) -> None:
        for key in ("setAction", "setUserAction", "removeAction", "removeUserAction"):
            told = f"automation.{key}: this needs the permission script"
            self.assertEqual(self.failure(**{key: {}}), ("not-permitted", told))
        self.assertEqual(self.behind.asked, [])

    def test_rules_are_not(self) -> None:
        self.answer(setEvent={}, removeEvent="E", testAction="A", acknowledge="E")
        self.assertEqual(len(self.behind.asked), 4)
        self.assertTrue(self.client.ask(userAction="hello")["userAction"]["success"])

    def test_rollback_only_where_no_script_changes(self) -> None:
        self.assertEqual(self.failure(rollback=1)[0], "not-permitted")
        self.assertEqual(self.behind.asked, [])
        self.behind.scripts_change = False
        self.assertEqual(self.answer(rollback=1), {"rollback": True})


class ReaderTests(CommandCase):
    permissions = Permission.READ | Permission.WRITE | Permission.SCRIPT

    def test_nothing_without_control(self) -> None:
        for key, value in (("automation", {}), ("userAction", "hello")):
            message = self.client.ask(**{key: value})
            self.assertEqual([it["code"] for it in message["errors"]], ["not-permitted"])


CALLS = (
    *(
        "rollback",
        "setEvent",
        "setAction",
        "setUserAction",
        "removeEvent",
        "removeAction",
        "removeUserAction",
    ),
    *("active", "reset", "acknowledge", "confirm", "shelve", "unshelve", "suppress", "unsuppress", "unlatch"),
    *(
        "stopAction",
        "testEvent",
        "testAction",
        "backtest",
        "alarms",
        "why",
        "userActions",
        "runs",
        "channels",
    ),
    *("revisions", "force", "dry"),
)
NAMES = st.sampled_from(["E", "Dev", "", "\ud800", "name", "x" * 201])
TEXTS = NAMES | st.sampled_from(["Dev.A.latest > 0", "Dev.A.latest", "print(1)", "1 +", "both", "true"])
scalars = st.none() | st.booleans() | st.integers(-2, 2**64) | st.floats() | TEXTS
fields = st.fixed_dictionaries(
    {"name": NAMES, "cond": TEXTS, "script": TEXTS, "listenID": TEXTS},
    optional=dict.fromkeys(
        ("text", "priority", "retur", "id", "trigger", "off", "for", "nOfM", "schedule", "zone", "ack"),
        scalars | st.lists(scalars, max_size=3),
    ),
)
arguments = scalars | fields | st.lists(scalars, max_size=2) | st.dictionaries(TEXTS, scalars, max_size=3)
plausible = st.fixed_dictionaries(
    {},
    optional={
        "setEvent": st.fixed_dictionaries({"name": st.just("E"), "cond": TEXTS}, optional={"ack": scalars}),
        "acknowledge": st.just("E"),
        "shelve": st.fixed_dictionaries({"name": st.just("E"), "seconds": scalars}),
        "testEvent": st.just("E"),
        "backtest": st.fixed_dictionaries({"event": st.just("E")}, optional={"from": scalars, "to": scalars}),
        "rollback": st.integers(-1, 3),
        "removeEvent": st.just("E"),
    },
)


class AnyInputTests(SynchronousTestCase):
    """Whatever is sent, with nothing doubled: one answer, and no fault of the server's."""

    @unhurried
    @given(
        st.sampled_from(sorted(PROVIDERS)),
        st.lists(
            st.dictionaries(st.sampled_from(CALLS), arguments, max_size=4) | plausible,
            min_size=1,
            max_size=5,
        ),
    )
    def test_calls(self, provider: str, requests: list[dict[str, Any]]) -> None:
        with opened(provider) as rooms:
            client = rooms.connect()
            client.ask(y=[1.0], sname=["A"], dname="Dev")
            for calls in requests:
                answer = client.ask(automation=calls)
                for error in answer.get("errors", ()):
                    self.assertNotEqual(error["code"], "internal", (calls, error))
                    self.assertIn("automation", error["message"])
                self.assertIs(answer["error"], "errors" in answer)
            self.assertEqual(self.flushLoggedErrors(), [])
            self.assertEqual(client.ask(automation={})["error"], False)


class DocumentTests(SynchronousTestCase):
    def test_every_call_is_in_the_document_s_table_in_its_order(self) -> None:
        section = test_docs.section("### `automation`")
        table = section.split("|---|---|---|\n")[1].split("\n\n")[0]
        told = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
        self.assertEqual(told, list(AutomationCommands(FakeAutomation(), FakeNotifier())._calls))
        self.assertEqual(set(told), set(CALLS) - {"force", "dry"})
