"""All plugins of a server, their processes doubled."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from rtoc_twisted.box import messages
from rtoc_twisted.errors import NotAvailable, StorageFailed, UnknownPlugin
from rtoc_twisted.interfaces import IPlugins
from rtoc_twisted.plugins import discovery, orders
from rtoc_twisted.plugins.discovery import Found
from rtoc_twisted.plugins.log import PluginLog
from rtoc_twisted.storage.commit import Commit
from rtoc_twisted.storage.memory import MemoryStorage

from .doubles import EPOCH, Client, Rooms, house
from .plugin_support import FakeChild, Launcher, found, samples, write_plugin

LEVEL = ["level", 1, None]


class HostCase(SynchronousTestCase):
    names: Sequence[str] = ("A", "B")

    def setUp(self) -> None:
        self.clock = Clock()
        self.storage = MemoryStorage()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.founds = [found(name) for name in self.names]
        self.boot()

    def boot(self) -> Rooms:
        """Start a server, with what another may have left in the store."""
        self.launcher = Launcher()
        self.rooms = house(
            clock=self.clock,
            storage=self.storage,
            directory=self.directory,
            find=self.find,
            launch=self.launcher,
        )
        self.host = self.rooms.plugins
        self.host.start()
        return self.rooms

    def find(self) -> list[Found]:
        return list(self.founds)

    def run_plugin(
        self, name: str = "A", parameters: Sequence[Any] = (LEVEL,), functions: Sequence[Any] = ()
    ) -> FakeChild:
        started = self.host.start_plugin(name)
        child = self.launcher.child
        child.start(parameters, functions)
        self.assertEqual(self.successResultOf(started), "")
        return child

    def halt(self) -> None:
        """Stop the server; processes end as soon as they are told to."""
        stopping = self.host.stop()
        for child in self.launcher.children:
            if child.ordered(orders.Stop):
                child.end()
        self.clock.advance(0)
        self.successResultOf(stopping)

    def status(self, name: str = "A") -> Any:
        return self.host.listing()[name]["status"]

    def log(self, name: str = "A") -> list[str]:
        return [text for _, _, text in self.host.listing()[name]["log"] or ()]

    def events(self) -> list[str]:
        return [event.text for event in self.successResultOf(self.storage.events())]

    def observer(self) -> Client:
        client = self.rooms.connect()
        self.clock.advance(0.1)
        client.heard()
        return client


class ListingTests(HostCase):
    def test_the_interface(self) -> None:
        verifyObject(IPlugins, self.host)

    def test_before_anything_ran(self) -> None:
        row = {
            "functions": [],
            "parameters": [],
            "status": False,
            "autorun": False,
            "info": None,
            "log": None,
        }
        self.assertEqual(self.host.listing(), {"A": row, "B": row})
        self.assertEqual(self.host.names(), ("A", "B"))

    def test_one_that_runs(self) -> None:
        self.run_plugin()
        row = self.host.listing()["A"]
        self.assertEqual((row["status"], row["parameters"], row["info"]), (True, [LEVEL], "about it"))
        self.assertEqual(self.host.parameter("A", "level"), 1)

    def test_how_it_looked_is_kept_after_a_stop_and_a_restart_of_the_server(self) -> None:
        self.run_plugin()
        self.halt()
        self.boot()
        row = self.host.listing()["A"]
        self.assertEqual((row["status"], row["parameters"], row["info"]), (False, [LEVEL], "about it"))

    def test_a_broken_file_is_listed_with_its_error(self) -> None:
        self.founds = [found("A", "SyntaxError in line 3: invalid syntax")]
        self.boot()
        self.assertEqual(self.status(), "SyntaxError in line 3: invalid syntax")
        text = self.successResultOf(self.host.start_plugin("A"))
        self.assertEqual(text, "SyntaxError in line 3: invalid syntax")
        self.assertEqual(self.launcher.children, [])

    def test_a_description_that_cannot_be_told_is_not_taken(self) -> None:
        child = self.run_plugin()
        child.report(orders.Changed([], [["p", b"\xff", None]]))
        child.report(orders.Changed([], [["p", "x" * (2 << 20), None]]))
        self.assertEqual(self.host.listing()["A"]["parameters"], [LEVEL])
        self.assertEqual(len(self.log()), 2)

    def test_counters(self) -> None:
        self.run_plugin()
        counters = self.host.counters()
        self.assertEqual((counters["plugins"], counters["plugins_running"]), (2, 1))

    def test_unknown_ones(self) -> None:
        for ask in (self.host.start_plugin, self.host.stop_plugin):
            self.assertRaises(UnknownPlugin, ask, "Nope")
        self.assertRaises(UnknownPlugin, self.host.set_autorun, "Nope", True)
        self.assertRaises(UnknownPlugin, self.host.call, "Nope", "f")


class DataTests(HostCase):
    def test_values_are_recorded(self) -> None:
        self.run_plugin().report(samples([1, 2, 3, 4], ["a", "b"], dname="Dev"))
        latest = self.rooms.connect().ask(getLatest=True)["latest"]
        self.assertEqual(latest["Dev.a"][:3], [2, 3, "V"])

    def test_values_of_a_process_that_died_are_recorded(self) -> None:
        child = self.run_plugin()
        child.report(samples([1.0] * 40_000, dname="Dev"))
        child.end("its process was ended by SIGSEGV")
        self.clock.pump([0, 0, 0])
        (signal,) = [it for it in self.storage.signals() if it.name.device == "Dev"]
        summary = self.storage.summary(signal.id)
        assert summary is not None
        self.assertEqual(summary.count, 40_000)

    def test_what_is_wrong_is_in_the_log(self) -> None:
        self.run_plugin().report(messages.Samples("D", [], [], b"", b""))
        self.assertIn("not recorded", self.log()[0])
        self.assertEqual(self.host.counters()["plugin_reports_refused"], 1)

    def test_a_message_to_people_is_refused_in_the_log(self) -> None:
        self.run_plugin().report(messages.Notify("message", "hello"))
        self.assertEqual(self.log(), ["nobody was told, no channel is set up: hello"])


class VariableTests(HostCase):
    def test_they_survive_the_plugin_and_the_server(self) -> None:
        child = self.run_plugin()
        child.report(orders.Variable("Dev", "v", [1, 2]))
        child.end("crashed")
        self.clock.advance(1)
        (again,) = self.launcher.child.ordered(orders.Init)
        self.assertEqual(again.variables, {"Dev": {"v": [1, 2]}})
        self.halt()
        self.boot()
        self.run_plugin()
        (again,) = self.launcher.child.ordered(orders.Init)
        self.assertEqual(again.variables, {"Dev": {"v": [1, 2]}})

    def test_many_changes_within_a_turn_are_one_write(self) -> None:
        writes: list[str] = []
        put = self.storage.put_document
        self.patch(self.storage, "put_document", lambda key, value: (writes.append(key), put(key, value))[1])
        child = self.run_plugin()
        for value in range(10):
            child.report(orders.Variable("Dev", "v", value))
        self.clock.advance(0)
        self.assertEqual(writes, ["persistentVariables"])

    def test_a_call_is_answered_when_what_it_changed_is_stored(self) -> None:
        commits: list[Commit] = []

        def put(key: str, value: Any) -> Commit:
            commits.append(Commit())
            return commits[-1]

        child = self.run_plugin()
        self.patch(self.storage, "put_document", put)
        called, held = self.host.call("A", "f"), self.host.set("A", "v", 3)
        call, change = child.orders[-2:]
        assert isinstance(call, orders.Call) and isinstance(change, orders.Set)
        child.report(orders.Variable("Dev", "v", 3), orders.Result(change.id, True, 3))
        self.assertNoResult(held)
        commits[0].finish()
        self.assertEqual(self.successResultOf(held), 3)
        child.report(orders.Variable("Dev", "w", 3), orders.Result(call.id, True, None))
        commits[1].finish(StorageFailed("no room"))
        self.failureResultOf(called, StorageFailed)
        self.assertEqual(len(commits), 2)

    def test_what_cannot_be_kept_is_told(self) -> None:
        child = self.run_plugin()
        child.report(orders.Variable("Dev", "v", b"\xff"))
        child.report(orders.Variable("Dev", "v", "x" * (2 << 20)))
        self.assertEqual(len(self.log()), 2)
        self.clock.advance(0)
        self.assertIsNone(self.storage.document("persistentVariables"))

    def test_rtoc_s_files_are_taken_over_once(self) -> None:
        (self.directory / "persistentVariables.json").write_text(json.dumps({"Dev": {"v": 7}}))
        (self.directory / "autorun_devices").write_text("A\n\nGone\n")
        self.boot()
        self.assertTrue(self.host.listing()["A"]["autorun"])
        (order,) = self.launcher.child.ordered(orders.Init)
        self.assertEqual(order.variables, {"Dev": {"v": 7}})
        self.host.set_autorun("A", False)
        self.halt()
        self.boot()
        self.assertFalse(self.host.listing()["A"]["autorun"])

    def test_broken_files_of_rtoc_hinder_nothing(self) -> None:
        (self.directory / "persistentVariables.json").write_text('{"Dev": 1')
        (self.directory / "autorun_devices").mkdir()
        self.boot()
        self.run_plugin()


class AutorunTests(HostCase):
    def test_those_that_start_with_the_server(self) -> None:
        self.assertTrue(self.successResultOf(self.host.set_autorun("A", True)))
        self.assertFalse(self.successResultOf(self.host.set_autorun("A", True)))
        self.halt()
        self.boot()
        self.assertEqual(len(self.launcher.children), 1)
        self.launcher.child.start()
        self.assertEqual((self.status("A"), self.status("B")), (True, False))

    def crash_server(self) -> None:
        """Start a server that ends without a word soon."""
        self.clock = Clock()
        self.boot()

    def test_after_three_starts_that_went_wrong_there_is_one_without_plugins(self) -> None:
        self.host.set_autorun("A", True)
        self.halt()
        for _ in range(3):
            self.crash_server()
            self.assertEqual(len(self.launcher.children), 1)
        self.crash_server()
        self.assertEqual(self.launcher.children, [])
        self.assertIn("without plugins", self.status("A"))
        self.assertEqual(self.status("B"), False)
        self.assertIn("without plugins", self.events()[-1])
        self.run_plugin("A")
        self.assertEqual(self.status("A"), True)

    def test_after_that_plugins_have_another_chance(self) -> None:
        self.test_after_three_starts_that_went_wrong_there_is_one_without_plugins()
        self.crash_server()
        self.assertEqual(len(self.launcher.children), 1)

    def test_a_server_that_ran_for_long_counts_as_well_started(self) -> None:
        self.host.set_autorun("A", True)
        for _ in range(10):
            self.crash_server()
            self.clock.advance(30)
        self.assertEqual(len(self.launcher.children), 1)

    def test_a_server_that_was_stopped_counts_as_well_started(self) -> None:
        self.host.set_autorun("A", True)
        for _ in range(10):
            self.crash_server()
            self.assertEqual(len(self.launcher.children), 1)
            self.halt()


class CrashTests(HostCase):
    def test_a_crash_is_told(self) -> None:
        self.run_plugin().end("its process was ended by SIGSEGV")
        text = "ended, and is started again in 1 s: its process was ended by SIGSEGV"
        self.assertEqual(self.status(), text)
        self.assertEqual(self.log(), [text])
        self.assertEqual(self.events(), [f"Plugin A {text}"])
        self.clock.advance(1)
        self.launcher.child.start()
        self.assertEqual(self.status(), True)

    def test_others_are_left_alone(self) -> None:
        crashing, other = self.run_plugin("A"), self.run_plugin("B")
        crashing.end("crashed")
        self.assertTrue(self.host.running("B"))
        self.assertEqual(other.ordered(orders.Stop), [])


class TellingTests(HostCase):
    def pushes(self, client: Client) -> list[Any]:
        return [message["pluginList"] for message in client.heard() if "pluginList" in message]

    def test_a_change_is_pushed_to_all(self) -> None:
        client = self.observer()
        self.run_plugin()
        self.clock.advance(0.05)
        (push,) = self.pushes(client)
        self.assertEqual(push, self.host.listing())

    def test_many_changes_are_one_push_in_a_while(self) -> None:
        client = self.observer()
        child = self.run_plugin()
        for value in range(100):
            child.report(orders.Changed([], [["level", value, None]]))
            self.clock.advance(0.001)
        self.clock.advance(0.05)
        pushes = self.pushes(client)
        self.assertLessEqual(len(pushes), 4)
        self.assertEqual(pushes[-1]["A"]["parameters"], [["level", 99, None]])

    def test_what_was_seen_in_passing_is_not_pushed(self) -> None:
        child = self.run_plugin()
        client = self.observer()
        child.report(orders.Changed([], [["level", 5, None]], asked=False))
        self.clock.advance(2)
        self.assertEqual(self.pushes(client), [])
        self.assertEqual(self.host.parameter("A", "level"), 5)

    def test_lines_are_pushed_once_a_second(self) -> None:
        child = self.run_plugin()
        client = self.observer()
        for _ in range(25):
            child.process.printed("line")
            self.clock.advance(0.1)
        self.assertEqual(len(self.pushes(client)), 2)

    def test_nothing_is_pushed_without_a_change(self) -> None:
        client = self.observer()
        self.host.tell()
        self.clock.advance(10)
        self.assertEqual(self.pushes(client), [])


class LogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = EPOCH
        self.changes = 0
        self.log = PluginLog("A", lambda: self.now, self.changed)

    def changed(self) -> None:
        self.changes += 1

    def test_the_newest_hundred_lines(self) -> None:
        for number in range(150):
            self.now += 0.5
            self.log.add(0, f"line {number}")
        rows = self.log.rows() or []
        self.assertEqual([text for _, _, text in rows], [f"line {number}" for number in range(50, 150)])
        self.assertRegex(str(rows[0][0]), r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d$")

    def test_of_a_flood_the_rest_is_counted(self) -> None:
        for number in range(1000):
            self.log.add(0, f"line {number}")
        self.assertEqual(self.changes, 50)
        self.now += 1
        rows = self.log.rows() or []
        self.assertEqual(rows[-1][1:], [1, "950 more lines within a second were left out"])
        self.assertEqual(len(rows), 51)

    def test_a_flood_that_goes_on_leaves_what_was_counted_to_be_read(self) -> None:
        for _ in range(5):
            for number in range(1000):
                self.log.add(0, f"line {number}")
            self.now += 1
            rows = self.log.rows() or []
            for number in range(999):
                self.log.add(0, f"line {number}")
            rows = self.log.rows() or []
            self.assertTrue(any("left out" in str(text) for _, _, text in rows))

    def test_wrong_moments_and_levels(self) -> None:
        self.log.add(17, "x" * 10_000, 1e300)
        (row,) = self.log.rows() or []
        self.assertEqual((row[1], len(str(row[2]))), (0, 4000))


class OrderTests(HostCase):
    def test_a_call(self) -> None:
        child = self.run_plugin()
        called = self.host.call("A", "f", [1], {"b": 2})
        (order,) = child.ordered(orders.Call)
        self.assertEqual((order.function, order.args, order.kwargs), ("f", [1], {"b": 2}))
        child.answer(True, b"\x00")
        self.assertEqual(self.successResultOf(called), (True, "b'\\x00'"))

    def test_a_call_that_takes_too_long(self) -> None:
        self.run_plugin()
        called = self.host.call("A", "f")
        self.clock.advance(10)
        done, text = self.successResultOf(called)
        self.assertFalse(done)
        self.assertIn("timed out", text)

    def test_the_samplerate_of_all(self) -> None:
        children = [self.run_plugin("A"), self.run_plugin("B")]
        self.rooms.connect().ask(logger={"global": {"samplerate": 5}})
        for child in children:
            self.assertEqual(child.ordered(orders.Samplerate), [orders.Samplerate(5)])
        # A later one gets it at its start.
        self.host.stop_plugin("A")
        children[0].end()
        self.run_plugin("A")
        self.assertEqual(self.launcher.child.ordered(orders.Init)[0].samplerate, 5)

    def test_a_samplerate_that_is_none_reaches_nobody(self) -> None:
        child = self.run_plugin()
        client = self.rooms.connect()
        for wrong in ({"samplerate": "fast"}, {"samplerate": -1}, {"language": "en"}, "samplerate"):
            client.ask(logger={"global": wrong})
        self.assertEqual(child.ordered(orders.Samplerate), [])


class StopTests(HostCase):
    def test_it_waits_for_the_processes_and_what_they_sent(self) -> None:
        child = self.run_plugin()
        stopping = self.host.stop()
        child.report(samples([1.0] * 20_000, dname="Dev"))
        child.end()
        self.assertNoResult(stopping)
        self.clock.advance(0)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nothing_is_started_any_more(self) -> None:
        self.successResultOf(self.host.stop())
        self.assertRaises(NotAvailable, self.host.start_plugin, "A")
        self.successResultOf(self.host.look())

    def test_one_that_waits_for_its_next_start_stays_away(self) -> None:
        self.run_plugin().end("crashed")
        self.halt()
        self.clock.advance(100)
        self.assertEqual(len(self.launcher.children), 1)


class FilesTests(HostCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = write_plugin(self.directory, "A")
        write_plugin(self.directory, "B")
        self.boot()

    def find(self) -> list[Found]:
        return discovery.find(self.directory, installed=(), shipped=self.directory / "none")

    def change(self, path: Path, text: str | None = None) -> None:
        """Change a file so that its times tell."""
        path.write_text(path.read_text() + "\n" if text is None else text)
        status = path.stat()
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))

    def test_a_plugin_of_a_folder_is_started_by_its_path(self) -> None:
        self.run_plugin()
        (order,) = self.launcher.child.ordered(orders.Init)
        self.assertEqual((order.path, order.module, order.device), (str(self.path), "", "A"))

    def test_one_that_changed_is_restarted_others_are_not(self) -> None:
        changed, other = self.run_plugin("A"), self.run_plugin("B")
        self.change(self.path)
        self.clock.advance(2)
        self.assertEqual(len(changed.ordered(orders.Stop)), 1)
        self.assertEqual(other.ordered(orders.Stop), [])
        changed.end()
        self.launcher.child.start()
        self.assertEqual(self.status("A"), True)
        self.assertEqual(self.events(), [])

    def test_nothing_happens_without_a_change(self) -> None:
        child = self.run_plugin()
        self.clock.pump([2] * 5)
        self.assertEqual(child.ordered(orders.Stop), [])

    def test_one_that_became_broken_goes_on_as_it_was(self) -> None:
        child = self.run_plugin()
        self.change(self.path, "class Plugin(:")
        self.clock.advance(2)
        self.assertEqual(child.ordered(orders.Stop), [])
        self.assertIn("cannot be used", self.log()[-1])

    def test_new_ones_come_and_gone_ones_go(self) -> None:
        client = self.observer()
        write_plugin(self.directory, "C")
        self.path.unlink()
        self.clock.advance(2)
        self.assertEqual(self.host.names(), ("B", "C"))
        self.clock.advance(0.05)
        self.assertEqual(list(client.heard()[-1]["pluginList"]), ["B", "C"])

    def test_one_that_runs_without_its_file_stays_until_it_is_stopped(self) -> None:
        child = self.run_plugin()
        self.path.unlink()
        self.clock.advance(2)
        self.assertTrue(self.host.running("A"))
        self.host.stop_plugin("A")
        child.end()
        self.successResultOf(self.host.look())
        self.assertEqual(self.host.names(), ("B",))

    def test_a_look_that_fails_is_followed_by_others(self) -> None:
        self.patch(self.host._watch, "look", lambda thoroughly=False: 1 / 0)
        self.clock.advance(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_its_configuration_and_secrets(self) -> None:
        (self.path.parent / "plugin.toml").write_text(
            '[config.token]\ntype = "string"\nsecret = true\n', encoding="utf-8"
        )
        (self.path.parent / "config.toml").write_text('token = "geheim-geheim"\n', encoding="utf-8")
        child = self.run_plugin()
        (order,) = child.ordered(orders.Init)
        self.assertEqual(order.config, {"token": "geheim-geheim"})
        child.process.printed("I use geheim-geheim")
        child.report(orders.Log(0, "and geheim-geheim", EPOCH))
        self.assertEqual(self.log(), ["I use ***", "and ***"])

    def configure(self, config: str = 'token = "geheim-geheim"') -> None:
        (self.path.parent / "plugin.toml").write_text(
            '[plugin]\nversion = "1.2"\n[config.token]\ntype = "string"\nsecret = true\n', encoding="utf-8"
        )
        (self.path.parent / "config.toml").write_text(config, encoding="utf-8")
        self.clock.advance(2)

    def test_clients_see_the_manifest_and_what_is_wrong_with_it(self) -> None:
        self.assertNotIn("manifest", self.host.listing()["A"])
        self.configure()
        told = self.rooms.connect().ask(getPluginList=True)["pluginList"]["A"]["manifest"]
        self.assertEqual((told["version"], told["config"]), ("1.2", {"token": "***"}))
        self.assertTrue(told["schema"]["properties"]["token"]["writeOnly"])
        self.configure("token = 5")
        self.assertIn("token", self.host.listing()["A"]["manifest"]["error"])

    def test_secrets_are_masked_in_all_that_clients_are_told(self) -> None:
        self.configure()
        secret = "geheim-geheim"
        child = self.run_plugin(
            parameters=[["token", secret, None], ["all", {"t": [secret, 5]}, secret], LEVEL],
            functions=[["f", ["by"], 1, ["by"], [secret], f"Use {secret}", f"(by='{secret}')"]],
        )
        called, got, held = (
            self.host.call("A", "f"),
            self.host.get("A", ["token"]),
            self.host.set("A", "token", "x"),
        )
        for order in child.orders:
            if isinstance(order, orders.Call | orders.Set):
                child.report(orders.Result(order.id, True, {"why": (secret,)}))
            elif isinstance(order, orders.Get):
                child.report(orders.Result(order.id, True, [secret]))
        answers = [self.successResultOf(it) for it in (called, got, held)]
        self.assertEqual(answers, [(True, {"why": ["***"]}), ["***"], {"why": ["***"]}])
        child.report(
            messages.Event(f"wrong {secret}", "Dev", "s", 1.0, 0, "", [secret]),
            orders.Failed("timer", f"no login with {secret}"),
            messages.Samples("D", [f"\0{secret}"], [None], bytes(8), bytes(8)),
            messages.Notify("message", secret),
        )
        child.end(f"no login with {secret}")
        self.clock.advance(1)
        self.launcher.child.report(orders.Failed("init", f"OSError: {secret} is wrong"))
        self.launcher.child.end("its process ended")
        told = json.dumps([self.host.listing(), self.events(), self.host.parameter("A", "all")])
        self.assertNotIn(secret, told)
        self.assertIn("OSError: *** is wrong", str(self.status()))
        self.assertIn("no login with ***", str(self.log()))
        self.assertIn("wrong ***", self.events())
        self.halt()
        self.assertNotIn(secret, json.dumps(self.storage.document("plugins.descriptions")))
        self.boot()
        started = self.host.start_plugin("A")
        self.launcher.child.report(orders.Failed("init", f"OSError: {secret} is wrong"))
        self.launcher.child.end("its process ended")
        self.assertEqual(self.successResultOf(started), "OSError: *** is wrong")

    def test_a_name_by_which_clients_ask_is_no_secret(self) -> None:
        (self.path.parent / "config.toml").write_text('signal = "level"', encoding="utf-8")
        self.clock.advance(2)
        self.run_plugin(parameters=[["level", "level", None]])
        self.assertEqual(self.host.listing()["A"]["parameters"], [["level", "***", None]])
        self.assertEqual(self.host.parameter("A", "level"), "***")

    def test_an_installed_one_is_started_by_its_module_wherever_it_lies(self) -> None:
        inside = found("C")
        self.patch(self, "find", lambda: [replace(inside, path=self.directory / "venv" / "C.py")])
        self.boot()
        self.run_plugin("C")
        (order,) = self.launcher.child.ordered(orders.Init)
        self.assertEqual((order.path, order.module), ("", "nowhere.C"))

    def test_a_wrong_manifest_is_the_reason_why_it_does_not_start(self) -> None:
        (self.path.parent / "plugin.toml").write_text("[plugin]\napi = 99\n", encoding="utf-8")
        self.assertIn("version 99", self.successResultOf(self.host.start_plugin("A")))
