"""The keys of plugins on the wire, their processes doubled."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.auth.accounts import Account
from rtoc_twisted.auth.passwords import token_hash
from rtoc_twisted.model import Permission
from rtoc_twisted.plugins import orders

from .doubles import REMOTE_TLS, Client, house
from .plugin_support import FakeChild, Launcher, found

LEVEL = ["level", 1, "how much"]
ADD = ["add", ["a"], 1, ["self", "a"], None, None, "(a)"]


class CommandCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.launcher = Launcher()
        self.rooms = house(find=lambda: [found("A"), found("B")], launch=self.launcher)
        self.rooms.plugins.start()
        self.client = self.rooms.connect()

    def ask(self, **calls: Any) -> list[Any]:
        """Send calls to the plugin A; return what came at once."""
        return self.client.send(
            {"plugin": {"A": {key.replace("_CALL", "()"): it for key, it in calls.items()}}}
        )

    def answer(self, **calls: Any) -> Any:
        """Send calls to the plugin A; return its part of the answer."""
        message = self.ask(**calls)[-1]
        self.assertFalse(message["error"], message)
        return message["plugin"]["A"]

    def heard(self) -> list[Any]:
        self.rooms.clock.advance(0)
        return self.client.heard()

    def run_plugin(self) -> FakeChild:
        self.ask(start=True)
        child = self.launcher.child
        child.start([LEVEL], [ADD])
        self.heard()
        self.rooms.clock.advance(0.1)
        self.heard()
        return child


class StartTests(CommandCase):
    def test_start_answers_when_the_plugin_is_made_after_the_push(self) -> None:
        self.assertEqual(self.ask(start=True), [])
        self.launcher.child.start([LEVEL], [ADD])
        push, answer = self.heard()
        self.assertEqual(push["pluginList"]["A"]["status"], True)
        self.assertEqual(answer, {"error": False, "plugin": {"A": {"start": [True, ""]}}})

    def test_a_start_that_fails(self) -> None:
        self.ask(start=True)
        self.launcher.child.report(orders.Failed("init", "ValueError: no"))
        self.launcher.child.end()
        push, answer = self.heard()
        self.assertEqual(push["pluginList"]["A"]["status"], "ValueError: no")
        self.assertEqual(answer["plugin"]["A"]["start"], [False, "ValueError: no"])

    def test_others_are_not_delayed(self) -> None:
        other = self.rooms.connect()
        self.ask(start=True)
        self.assertEqual(other.ask(getSignalList=True), {"error": False, "signalList": []})
        self.assertEqual(other.ask(plugin={"B": {"start": False}})["plugin"], {"B": {"start": True}})

    def test_stop(self) -> None:
        child = self.run_plugin()
        self.assertEqual(self.ask(start=False), [])
        child.end()
        *pushes, answer = self.heard()
        self.assertEqual(answer["plugin"]["A"], {"start": True})
        self.assertEqual(self.answer(start=False), {"start": True})

    def test_start_is_true_or_false(self) -> None:
        for wrong in (1, "true", None, []):
            (message,) = self.ask(start=wrong)
            self.assertEqual(message["errors"][0]["code"], "bad-value")
            self.assertIn("plugin.A.start", message["errors"][0]["message"])

    def test_what_went_well_is_told_beside_what_did_not(self) -> None:
        (message,) = self.ask(start="yes", level=3)
        self.assertEqual(message["plugin"], {"A": {"level": False}})
        self.assertEqual(len(message["errors"]), 1)


class AutostartTests(CommandCase):
    def test_answers(self) -> None:
        for on, answer in ((True, True), (True, False), (False, False), (False, True)):
            self.assertEqual(self.answer(autostart=on), {"autostart": answer}, (on, answer))

    def test_a_change_is_pushed_before_the_answer(self) -> None:
        self.rooms.clock.advance(1)
        push, _ = self.ask(autostart=True)
        self.assertTrue(push["pluginList"]["A"]["autorun"])
        self.rooms.clock.advance(1)
        self.heard()
        self.assertEqual(len(self.ask(autostart=True)), 1)

    def test_of_an_unknown_plugin(self) -> None:
        (message,) = self.client.send({"plugin": {"Nope": {"autostart": True}}})
        self.assertEqual(message["errors"][0]["code"], "unknown-plugin")
        (message,) = self.ask(autostart=1)
        self.assertEqual(message["errors"][0]["code"], "bad-value")


class ParameterTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.child = self.run_plugin()

    def test_get(self) -> None:
        for asked, names, values, told in (
            ("level", ["level"], [7], 7),
            (["level", "b"], ["level", "b"], [7, 8], [7, 8]),
            (["nope", "b"], ["nope", "b"], [False, 8], [False, 8]),
        ):
            self.ask(get=asked)
            self.assertEqual(self.child.ordered(orders.Get)[-1].names, names)
            self.child.answer(True, values)
            self.assertEqual(self.heard()[-1]["plugin"]["A"], {"get": told})

    def test_get_in_its_other_form(self) -> None:
        self.ask(level="get")
        self.assertEqual(self.child.ordered(orders.Get)[-1].names, ["level"])
        self.child.answer(True, [7])
        self.assertEqual(self.heard()[-1]["plugin"]["A"], {"level": 7})

    def test_get_of_no_name(self) -> None:
        self.assertEqual(self.answer(get=5), {"get": None})
        self.assertEqual(self.child.ordered(orders.Get), [])

    def test_set(self) -> None:
        self.ask(level=9)
        order = self.child.ordered(orders.Set)[-1]
        self.assertEqual((order.name, order.value), ("level", 9))
        self.child.report(orders.Changed([ADD], [["level", 9, None]]))
        self.child.answer(True, 9)
        push, answer = self.heard()
        self.assertEqual(push["pluginList"]["A"]["parameters"], [["level", 9, None]])
        self.assertEqual(answer["plugin"]["A"], {"level": 9})

    def test_a_parameter_that_cannot_be_set_is_false_and_in_the_log(self) -> None:
        self.ask(run=False)
        self.child.answer(False, "run is not for clients")
        self.assertEqual(self.heard()[-1]["plugin"]["A"], {"run": False})
        log = self.client.ask(getPluginList=True)["pluginList"]["A"]["log"]
        self.assertEqual(log[-1][1:], [1, "run was not set: run is not for clients"])

    def test_calls_of_a_request_come_in_order(self) -> None:
        self.ask(level=1, get="level", add_CALL=[2])
        kinds = []
        for value in (1, [1], 3):
            kinds.append(type(self.child.orders[-1]))
            self.child.answer(True, value)
        self.assertEqual(kinds, [orders.Set, orders.Get, orders.Call])
        self.assertEqual(self.heard()[-1]["plugin"]["A"], {"level": 1, "get": 1, "add()": [True, 3]})

    def test_a_value_that_json_has_no_word_for(self) -> None:
        self.ask(get="level")
        self.child.answer(True, [b"\xff"])
        self.assertEqual(self.heard()[-1]["plugin"]["A"], {"get": "b'\\xff'"})


class CallTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.child = self.run_plugin()

    def call(self, argument: Any) -> orders.Call:
        self.ask(add_CALL=argument)
        order: orders.Call = self.child.ordered(orders.Call)[-1]
        return order

    def test_arguments(self) -> None:
        for given, args, kwargs in (([], [], {}), ([1, [2]], [1, [2]], {}), ({"a": 1}, [], {"a": 1})):
            order = self.call(given)
            self.assertEqual((order.function, order.args, order.kwargs), ("add", args, kwargs))
            self.child.answer(True, "sum")
            self.assertEqual(self.heard()[-1]["plugin"]["A"], {"add()": [True, "sum"]})

    def test_failures(self) -> None:
        self.call([1])
        self.child.answer(False, "Traceback: TypeError")
        self.assertEqual(self.heard()[-1]["plugin"]["A"], {"add()": [False, "Traceback: TypeError"]})

    def test_a_call_that_takes_too_long_is_told_in_time(self) -> None:
        self.call([1])
        self.rooms.clock.advance(10)
        done, text = self.heard()[-1]["plugin"]["A"]["add()"]
        self.assertFalse(done)
        self.assertIn("timed out", text)

    def test_a_plugin_that_dies_meanwhile(self) -> None:
        self.call([1])
        self.child.end("its process was ended by SIGSEGV")
        (answer,) = [message for message in self.heard() if "error" in message]
        self.assertEqual(answer["plugin"]["A"]["add()"][0], False)

    def test_arguments_are_a_list_or_an_object(self) -> None:
        for wrong in (5, None, "ab", True):
            (message,) = self.ask(add_CALL=wrong)
            self.assertEqual(message["errors"][0]["code"], "bad-value")
        self.assertEqual(self.child.ordered(orders.Call), [])


class OtherTests(CommandCase):
    def test_a_plugin_that_does_not_run_or_is_unknown(self) -> None:
        for name in ("A", "Nope"):
            calls = {"level": 1, "get": ["level"], "add()": [1], "start": False, "x": "get"}
            (message,) = self.client.send({"plugin": {name: calls}})
            text = f"Plugin {name} not found or started"
            answer = {"level": False, "get": False, "add()": [False, text], "start": True, "x": False}
            self.assertEqual(message, {"error": False, "plugin": {name: answer}})
        (message,) = self.client.send({"plugin": {"Nope": {"start": True}}})
        self.assertEqual(message["plugin"], {"Nope": {"start": [False, "PLUGIN not found: 'Nope'\n"]}})

    def test_what_is_not_understood_is_echoed(self) -> None:
        for value in ("A", ["A"], {"A": True}, {"A": {}}, {}, None):
            self.assertEqual(self.client.send({"plugin": value}), [{"error": False, "plugin": value}])

    def test_list(self) -> None:
        for value in (True, False, None):
            answer = self.client.ask(getPluginList=value)
            self.assertEqual(list(answer["pluginList"]), ["A", "B"])

    def test_permissions(self) -> None:
        def account(name: str, permissions: Permission) -> Account:
            return Account(name, permissions, token_hash=token_hash(name))

        rooms = house(
            password="geheim",
            accounts=[account("reader", Permission.READ), account("driver", Permission.CONTROL)],
            find=lambda: [found("A")],
        )
        rooms.plugins.start()

        def login(name: str) -> Client:
            client = rooms.connect(REMOTE_TLS)
            client.ask(authorize={"token": name})
            return client

        reader, driver = login("reader"), login("driver")
        self.assertEqual(list(reader.ask(getPluginList=True)["pluginList"]), ["A"])
        for client, key in ((reader, "plugin"), (driver, "getPluginList")):
            answer = client.ask(**{key: {"A": {"start": False}}})
            self.assertEqual(answer["errors"][0]["code"], "not-permitted")
        self.assertEqual(driver.ask(plugin={"A": {"start": False}})["plugin"], {"A": {"start": True}})
        # Push P4 is for those who may read.
        rooms.clock.advance(1)
        reader.heard()
        driver.ask(plugin={"A": {"autostart": True}})
        rooms.clock.advance(1)
        self.assertEqual([list(message) for message in reader.heard()], [["pluginList"]])
        self.assertEqual([m for m in driver.heard() if "pluginList" in m], [])
