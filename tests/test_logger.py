"""The keys `logger` and `hello`: information, settings, backups, reboot (protocol sections 5 and 8)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyClass

from rtoc_twisted.auth.accounts import Account
from rtoc_twisted.auth.passwords import token_hash
from rtoc_twisted.errors import BadValue, StorageFailed
from rtoc_twisted.interfaces import ICommandSource
from rtoc_twisted.logger.backup import Backups
from rtoc_twisted.logger.commands import LoggerCommands
from rtoc_twisted.logger.export import Exporter
from rtoc_twisted.logger.settings import Settings
from rtoc_twisted.model import Permission
from rtoc_twisted.storage.memory import MemoryStorage

from .doubles import EPOCH, REMOTE, house, in_thread


class Base(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.build()

    def build(self, **options: Any) -> None:
        self.rooms = house(directory=self.directory, **options)
        self.client = self.rooms.connect()

    def ask(self, **calls: Any) -> Any:
        answer = self.client.ask(logger=calls)
        self.assertFalse(answer["error"], answer)
        return answer["logger"]

    def code(self, **calls: Any) -> str:
        answer = self.client.ask(logger=calls)
        self.assertNotIn("logger", answer)
        return str(answer["errors"][0]["code"])


class InfoTests(Base):
    def test_the_shape_that_rtremote_reads(self) -> None:
        verifyClass(ICommandSource, LoggerCommands)
        self.client.ask(y=[1, 2, 3], x=[1, 2, 3], sname="A")
        info = self.ask(info=True)["info"]
        self.assertEqual((info["signals"], info["starttime"], info["userActions"]), (2, EPOCH, []))
        self.assertEqual((info["signal_memory"], info["signal_memory_limit"]), (48, 32_000))
        config = info["config"]
        for topic, keys in {
            "global": "language recordLength name documentfolder"
            " globalActionsActivated globalEventsActivated",
            "postgresql": "active onlyPush",
            "telegram": "active default_eventlevel default_permission inlineMenu onlyAdmin",
            "tcp": "active port",
            "websocket": "active port ssl keyfile certfile knownHosts host_whitelist",
            "backup": "active path clear autoIfFull autoOnClose loadOnOpen intervall resample",
            "memory": "total used free freeL usedL totalL",
        }.items():
            self.assertEqual(set(config[topic]), set(keys.split()), topic)
        self.assertEqual((config["global"]["recordLength"], config["websocket"]["knownHosts"]), (1000, {}))
        self.assertRegex(config["memory"]["total"], r"^\d+\.\d+$")
        self.assertEqual((config["memory"]["usedL"], config["memory"]["freeL"]), (48, 31_952))

    def test_no_secret(self) -> None:
        self.build(password="geheim")
        self.client.ask(authorize=True)
        text = json.dumps(self.client.ask(logger={"info": True}, hello=True))
        stored = self.rooms.auth._owner.password_hash
        for secret in ("geheim", "rdsPXngmyFfXN20b", str(stored)):
            self.assertNotIn(secret, text)

    def test_every_answer_has_it(self) -> None:
        self.assertIn("config", self.ask()["info"])
        self.assertIn("config", self.ask(nonsense=1)["info"])

    def test_what_is_not_understood_is_echoed(self) -> None:
        for value in (5, None, "text", [1], {"a": 1}):
            self.assertEqual(self.ask(nonsense=value)["nonsense"], value)
            if not isinstance(value, dict):
                self.assertEqual(self.client.ask(logger=value), {"error": False, "logger": value})

    def test_hello(self) -> None:
        hello = self.client.ask(hello=True)["hello"]
        self.assertEqual((hello["protocol"], hello["codecs"]), ("rtoc/4", ["json", "msgpack"]))
        self.assertEqual((hello["boot"], hello["time"], hello["durability"]), ("boot", EPOCH, "normal"))
        self.assertEqual(hello["permissions"], ["read", "write", "control", "script", "admin"])


class CallTests(Base):
    def test_clear(self) -> None:
        self.client.ask(y=[1, 2], sname=["A", "B"], dname="D", event="x")
        self.assertEqual(self.ask(clear=["D.A", "D.none", 5])["clear"], [None, False, False])
        self.assertEqual(self.client.ask(getSignalList=1)["signalList"], [["D", "B"], ["noDevice", "noName"]])
        self.assertEqual(self.ask(clear="events")["clear"], "events")
        self.assertEqual(self.client.ask(getEventList=True)["events"], {})
        for value in (5, None, "everything"):
            self.assertEqual(self.ask(clear=value)["clear"], value)
        self.assertEqual(len(self.client.ask(getSignalList=1)["signalList"]), 2)
        self.ask(clear="all")
        self.assertEqual(self.client.ask(getSignalList=1)["signalList"], [])

    def test_resize(self) -> None:
        for value in range(5):
            self.client.ask(y=value, sname="A")
        self.assertIs(self.ask(resize=2)["resize"], True)
        self.assertEqual(self.client.ask(getSignal=["noDevice.A"])["signals"]["noDevice.A"][1], [3, 4])
        self.assertEqual(self.ask()["info"]["config"]["global"]["recordLength"], 2)
        self.ask(resize=4)
        self.assertEqual(self.client.ask(getSignal=["noDevice.A"])["signals"]["noDevice.A"][1], [1, 2, 3, 4])
        for value in ("5", 2.5, True, None, []):
            self.assertEqual(self.ask(resize=value)["resize"], value)
        for length in (0, -1, 10**12 + 1, 10**30):
            self.assertEqual(self.code(resize=length), "bad-value")
        self.assertIn("info", self.ask(resize=10**12))

    def test_reboot(self) -> None:
        self.assertEqual(self.code(reboot=True), "not-available")
        self.build(reboot=True)
        self.assertIs(self.ask(reboot=False)["reboot"], False)
        self.assertEqual(self.rooms.reboots, [])
        self.assertIs(self.ask(reboot=True)["reboot"], True)
        self.assertEqual(self.rooms.reboots, [None])

    def test_a_reboot_that_fails_is_told(self) -> None:
        self.build(reboot=True)
        # The command's own code, or None where a signal ended it.
        for code in (1, 127, None):
            self.rooms.reboot_codes.append(code)
            self.assertEqual(self.code(reboot=True), "internal")
        self.assertIs(self.ask(reboot=True)["reboot"], True)

    def test_a_command_that_is_not_there(self) -> None:
        self.build(reboot=True)
        self.rooms.reboot_codes.append(FileNotFoundError(2, "No such file or directory"))
        self.assertEqual(self.code(reboot=True), "not-available")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_permissions(self) -> None:
        reader = Account("reader", Permission.READ, token_hash=token_hash("r"))
        operator = Account("operator", Permission.READ | Permission.CONTROL, token_hash=token_hash("o"))
        self.build(password="geheim", accounts=[reader, operator], reboot=True)
        self.client = self.rooms.connect(REMOTE)
        self.client.ask(authorize={"token": "r"})
        self.assertIn("info", self.ask(info=1))
        for call in (
            "clear",
            "resize",
            "export",
            "backup",
            "postgresql",
            "tcp",
            "telegram",
            "global",
            "reboot",
        ):
            answer = self.client.ask(logger={call: True})
            (error,) = answer["errors"]
            self.assertEqual(error["code"], "not-permitted")
            self.assertRegex(error["message"], f"^logger.{call}: .* permission (control|admin)$")
        self.client.ask(authorize={"token": "o"})
        self.assertIs(self.ask(resize=5)["resize"], True)
        self.assertEqual(self.code(reboot=True), "not-permitted")
        self.assertEqual(self.rooms.reboots, [])


class SettingsTests(Base):
    def config(self, topic: str) -> Any:
        return self.ask()["info"]["config"][topic]

    def test_changes_are_echoed_and_kept(self) -> None:
        changed = {"active": True, "interval": 60, "resample": 5, "clear": True, "loadOnOpen": False}
        self.assertEqual(self.ask(backup=changed)["backup"], changed)
        backup = self.config("backup")
        self.assertEqual((backup["active"], backup["intervall"], backup["clear"]), (True, 60, True))
        self.assertNotIn("interval", backup)
        self.ask(tcp={"port": 6060}, telegram={"enablactiveed": True}, postgresql={"active": True})
        self.ask(**{"global": {"samplerate": 2.5}})
        self.assertEqual(self.config("tcp"), {"port": 6060, "active": False})
        self.assertTrue(self.config("telegram")["active"])
        self.assertEqual(self.config("postgresql"), {"active": True, "onlyPush": True})
        self.assertEqual(self.config("global")["samplerate"], 2.5)
        again = Settings(self.rooms.storage, 7)
        self.assertEqual((again.topic("tcp")["port"], again.record_length()), (6060, 7))

    def settled(self) -> dict[str, Any]:
        """Return the configuration that `info` tells, without how full the disk is, which others change."""
        told: dict[str, Any] = self.ask()["info"]["config"]
        return {topic: values for topic, values in told.items() if topic != "memory"}

    def test_wrong_types_change_nothing(self) -> None:
        before = self.settled()
        for topic, wanted in (
            ("backup", {"active": 1, "resample": "5", "intervall": 2.5, "clear": None, "path": "/etc"}),
            ("backup", {"intervall": True, "resample": -1}),
            ("backup", {"intervall": 2**60}),
            ("backup", True),
            ("tcp", {"port": "6060", "active": "yes"}),
            ("tcp", []),
            ("telegram", {"token": "secret", "onlyAdmin": True}),
            ("global", {"samplerate": "fast", "name": "other", "recordLength": 1}),
            ("global", {"samplerate": True}),
        ):
            self.assertEqual(self.ask(**{topic: wanted})[topic], wanted)
            self.assertEqual(self.settled(), before, wanted)
        self.client.send(b'{"logger":{"global":{"samplerate":NaN}}}')
        self.client.send(b'{"logger":{"global":{"samplerate":Infinity}}}')
        self.assertEqual(self.settled(), before)

    def test_nothing_changed_is_no_write(self) -> None:
        settings = Settings(MemoryStorage(), 5)
        self.assertIsNone(settings.change("backup", {"nonsense": 1}))
        self.assertIsNone(settings.change("websocket", {"port": 1}))
        self.assertIsNotNone(settings.change("tcp", {"port": 1}))
        self.assertRaises(BadValue, settings.resize, 10**13)

    def test_what_is_returned_is_a_copy(self) -> None:
        settings = Settings(MemoryStorage(), 5)
        settings.change("tcp", {"port": 1})
        settings.topic("tcp")["port"] = 2
        settings.topic("backup")["active"] = True
        self.assertEqual((settings.topic("tcp")["port"], settings.topic("backup")["active"]), (1, False))


class SlowExporter:
    """Writes when the test says so."""

    def __init__(self) -> None:
        self.writing: list[tuple[Path, Deferred[None]]] = []

    def write(self, path: Path, kind: str, record_length: int) -> Deferred[None]:
        self.writing.append((path, Deferred()))
        return self.writing[-1][1]


class BackupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.clock = Clock()
        self.storage = MemoryStorage()
        self.settings = Settings(self.storage, 10)
        rooms = house(clock=self.clock, storage=self.storage)
        self.exporter: Any = Exporter(self.storage, rooms.events, in_thread)

    def make(self) -> Backups:
        return Backups(
            self.exporter, self.settings, self.directory, self.clock, lambda: EPOCH + self.clock.seconds()
        )

    def files(self) -> int:
        return len(list(self.directory.glob("RTOC_*.json"))) if self.directory.exists() else 0

    def activate(self, **changes: Any) -> Backups:
        self.settings.change("backup", {"active": True, "intervall": 60, **changes})
        backups = self.make()
        backups.reschedule()
        return backups

    def test_on_request(self) -> None:
        backups = self.make()
        for _ in range(3):
            self.successResultOf(backups.now())
        names = sorted(path.name for path in self.directory.iterdir())
        self.assertEqual(len(names), 3)
        for name in names:
            self.assertRegex(name, r"^RTOC_\d\d_\d\d_\d\dh\d\dm\d\ds(_\d)?\.json$")
        self.assertEqual(json.loads((self.directory / names[0]).read_bytes())["maxLength"], 10)

    def test_every_so_often(self) -> None:
        backups = self.activate()
        self.clock.advance(59)
        self.assertEqual(self.files(), 0)
        self.clock.pump([1, 60, 60])
        self.assertEqual(self.files(), 3)
        backups.stop()
        backups.stop()
        self.clock.advance(1000)
        self.assertEqual((self.files(), self.clock.getDelayedCalls()), (3, []))

    def test_not_unless_active(self) -> None:
        self.make().reschedule()
        self.activate(intervall=0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_settings_change(self) -> None:
        backups = self.activate()
        self.clock.advance(30)
        self.settings.change("backup", {"resample": 3})
        backups.reschedule()
        self.clock.advance(30)
        self.assertEqual(self.files(), 1)
        self.settings.change("backup", {"intervall": 10})
        backups.reschedule()
        self.clock.pump([10, 10])
        self.assertEqual(self.files(), 3)
        self.settings.change("backup", {"active": False})
        backups.reschedule()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.settings.change("backup", {"active": True})
        backups.reschedule()
        self.clock.advance(10)
        self.assertEqual(self.files(), 4)

    def test_a_change_during_a_backup_does_not_double_it(self) -> None:
        self.exporter = SlowExporter()
        backups = self.activate()
        self.clock.advance(60)
        for seconds in (61, 62, 63):
            self.settings.change("backup", {"intervall": seconds})
            backups.reschedule()
        self.exporter.writing[0][1].callback(None)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_one_at_a_time(self) -> None:
        self.exporter = SlowExporter()
        backups = self.make()
        first, second = backups.now(), backups.now()
        self.assertEqual(len(self.exporter.writing), 1)
        path, done = self.exporter.writing[0]
        self.directory.mkdir()
        path.touch()
        done.callback(None)
        self.successResultOf(first)
        self.assertNotEqual(self.exporter.writing[1][0], path)
        self.exporter.writing[1][1].errback(StorageFailed("full"))
        self.failureResultOf(second, StorageFailed)

    def test_a_failure_is_logged_and_the_next_one_tried(self) -> None:
        self.activate()
        self.directory.write_text("a file where the directory should be")
        self.clock.advance(60)
        self.directory.unlink()
        self.clock.advance(60)
        self.assertEqual(self.files(), 1)

    def test_over_the_wire(self) -> None:
        rooms = house(clock=self.clock, storage=self.storage, directory=self.directory)
        client = rooms.connect()
        answer = client.ask(logger={"backup": {"now": True, "active": True, "interval": 5}})
        self.assertEqual(answer["logger"]["backup"], {"now": True, "active": True, "interval": 5})
        self.clock.advance(5)
        self.assertEqual(len(list((self.directory / "backup").iterdir())), 2)

    def test_the_disk_refuses(self) -> None:
        rooms = house(clock=self.clock, storage=self.storage, directory=self.directory)
        self.directory.write_text("a file")
        answer = rooms.connect().ask(logger={"backup": {"now": True}})
        self.assertEqual((answer["errors"][0]["code"], answer["errors"][0]["retriable"]), ("internal", True))

    def test_a_failing_commit_of_settings(self) -> None:
        rooms = house(clock=self.clock, storage=self.storage, directory=self.directory)
        client = rooms.connect()

        class Failed:
            done, error = True, StorageFailed("full")

            def when_done(self, callback: Any) -> None:
                callback()

        self.patch(self.storage, "put_document", lambda key, value: Failed())
        for calls in ({"resize": 5}, {"tcp": {"port": 5}}, {"backup": {"active": True}}):
            self.assertEqual(client.ask(logger=calls)["errors"][0]["message"], "full")
