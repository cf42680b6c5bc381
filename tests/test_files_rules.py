"""`rtoc import` of RTOC's rules and scripts, and of a whole directory of RTOC's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client.rtoc_rules import ACTION, EVENT, USER_ACTION, kind_of

from .files_support import ExactServer, run_rtoc
from .golden_automation import ACTION as SCRIPT
from .golden_automation import EVENT as RULE
from .test_files_config import rtoc_config

FILES: dict[str, Any] = {
    "globalEvents.json": {"big": RULE, "x": RULE},
    "globalActions.json": {"signals": SCRIPT},
    "telegramActions.json": {"Hello": "return 'text', 'hi'"},
}


class RulesServer(ExactServer):
    """Keeps rules and scripts; refuses those that are named `refused`."""

    def __init__(self, refused: str = "") -> None:
        super().__init__()
        self.events_set: dict[str, Any] = {}
        self.actions: dict[str, Any] = {}
        self.scripts: dict[str, Any] = {}
        self.active = {"events": True, "actions": True}
        self.calls: list[str] = []
        self._refused = refused

    def _handlers(self) -> Any:
        return {**super()._handlers(), "automation": self._automation}

    def _automation(self, _: Any, __: Any, calls: dict[str, Any]) -> dict[str, Any]:
        kept = {EVENT: self.events_set, ACTION: self.actions, USER_ACTION: self.scripts}
        for key, fields in calls.items():
            if key in kept:
                self.calls.append(fields["name"])
                if fields["name"] == self._refused:
                    message = f"automation.{key}.cond: column 7: no such function"
                    errors = [{"key": "automation", "code": "bad-value", "message": message}]
                    return {"error": True, "errors": errors}
                kept[key][fields["name"]] = {it: value for it, value in fields.items() if it != "name"}
        self.active.update(calls.get("active", {}))
        told: dict[str, Any] = {"events": self.events_set, "actions": self.actions, "active": self.active}
        if "userActions" in calls:
            told["userActions"] = {name: entry["script"] for name, entry in self.scripts.items()}
        return {"automation": told}


class RulesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)

    def serve(self, refused: str = "") -> RulesServer:
        server = RulesServer(refused)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def put(self, name: str, document: Any) -> str:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        text = document if isinstance(document, str | bytes) else json.dumps(document)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)


class FileTests(RulesCase):
    def test_each_of_the_three(self) -> None:
        server = self.serve()
        for name, document in FILES.items():
            code, out, err = run_rtoc(server.url, "import", self.put(name, document))
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(json.loads(out)["refused"], 0)
        self.assertEqual(server.events_set, FILES["globalEvents.json"])
        self.assertEqual(server.actions, FILES["globalActions.json"])
        self.assertEqual(server.scripts, {"Hello": {"script": "return 'text', 'hi'"}})

    def test_a_second_time_nothing_is_set(self) -> None:
        server = self.serve()
        path = self.put("globalEvents.json", FILES["globalEvents.json"])
        for counts in ((2, 0), (0, 2)):
            _, out, _ = run_rtoc(server.url, "import", path)
            told = json.loads(out)
            self.assertEqual((told["events"], told["there already"]), counts)
        self.assertEqual(server.calls, ["big", "x"])

    def test_what_is_switched_off_is_told(self) -> None:
        server = self.serve()
        server.active = {"events": False, "actions": False}
        code, _, err = run_rtoc(
            server.url, "import", self.put("globalEvents.json", FILES["globalEvents.json"])
        )
        wanted = '{"automation": {"active": {"events": true}}}'
        told = f"rtoc: events are switched off on the server: {wanted} switches them on\n"
        self.assertEqual((code, err), (0, told))

    def test_what_is_refused_is_told_and_the_others_are_set(self) -> None:
        server = self.serve(refused="big")
        code, out, err = run_rtoc(
            server.url, "import", self.put("globalEvents.json", FILES["globalEvents.json"])
        )
        self.assertEqual((code, json.loads(out)["refused"], json.loads(out)["events"]), (1, 1, 1))
        self.assertIn("rtoc: big: automation.setEvent.cond: column 7: no such function\n", err)
        self.assertIn("rtoc: 1 of 2 were refused\n", err)

    def test_what_rtoc_s_server_leaves_in_its_files_is_left_out(self) -> None:
        server = self.serve()
        run_rtoc(
            server.url, "import", self.put("globalEvents.json", {"E": {**RULE, "errors": False, "latest": 1}})
        )
        self.assertEqual(server.events_set, {"E": RULE})

    def test_files_of_other_names_are_known_by_their_content(self) -> None:
        for document, kind in (
            *zip(FILES.values(), (EVENT, ACTION, USER_ACTION), strict=True),
            (rtoc_config(), None),
            ({}, None),
            ("{", None),
            ({"a": RULE, "b": "text"}, None),
        ):
            self.assertEqual(kind_of(Path(self.put("other.json", document))), kind)
        server = self.serve()
        code, _, err = run_rtoc(server.url, "import", self.put("saved.json", {"E": RULE}))
        self.assertEqual((code, err, server.events_set), (0, "", {"E": RULE}))

    def test_what_is_none(self) -> None:
        for name, document in (
            ("globalEvents.json", "{"),
            ("globalEvents.json", "[]"),
            ("globalEvents.json", {"E": "text"}),
            ("globalActions.json", {"A": 5}),
            ("telegramActions.json", {"A": SCRIPT}),
            ("telegramActions.json", '{"A": ""}' + " " * (16 << 20)),
            ("telegramActions.json", b'{"\xe4": "pass"}'),
        ):
            code, out, err = run_rtoc("ws://127.0.0.1:1", "import", self.put(name, document))
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), err)
            self.assertIn(name, err)


class DirectoryTests(RulesCase):
    def test_all_of_it(self) -> None:
        for name, document in FILES.items():
            self.put(name, document)
        self.put("config.json", rtoc_config())
        self.put("backup/RTOC.json", "{}")
        self.put("autorun_devices", "Generator\n")
        server = self.serve()
        toml = str(self.directory / "rtoc.toml")
        code, out, err = run_rtoc(server.url, "import", str(self.directory), "--config-out", toml)
        self.assertEqual(code, 0)
        self.assertEqual((self.directory / "rtoc.toml").read_text().splitlines()[2], "port = 5151")
        self.assertEqual(
            json.loads(out),
            {"events": 2, "actions": 1, "user actions": 1, "there already": 0, "refused": 0},
        )
        self.assertIn("left out: backup/*.json: sessions", err)
        self.assertIn("left out: autorun_devices: copy", err)
        self.assertNotIn("restore.json", err)

    def test_without_a_file_for_the_configuration(self) -> None:
        self.put("config.json", rtoc_config())
        code, out, err = run_rtoc("ws://127.0.0.1:1", "import", str(self.directory))
        self.assertEqual((code, out), (0, ""))
        self.assertIn("left out: config.json: --config-out names a file", err)

    def test_a_directory_of_something_else(self) -> None:
        code, out, err = run_rtoc("ws://127.0.0.1:1", "import", str(self.directory))
        self.assertEqual((code, out), (2, ""))
        self.assertIn("none of RTOC's files", err)
        self.put("globalActions.json", "[]")
        code, _, err = run_rtoc("ws://127.0.0.1:1", "import", str(self.directory))
        self.assertEqual(code, 2)
        self.assertIn("globalActions.json: no JSON object", err)
