"""RTOC's rules and scripts, and a file of ours, on a real server: set, at work, and there after a crash."""

from __future__ import annotations

import io
import json
import signal
from typing import Any

from rtoc_twisted.client.shell import Shell
from rtoc_twisted.tools.main import main

from .process_support import ProcessCase, ask, client
from .test_automation_doc import blocks

RULES = {
    "big": {
        "cond": "Dev.A.latest >= 2 and np.mean(Dev.A.y[-10:]) > 0",
        "text": "It is big",
        "return": "7",
        "priority": 1,
        "id": "testID",
        "trigger": "rising",
        "sname": "A",
        "dname": "Dev",
        "active": True,
    },
    "outside": {"cond": "__import__('os').system('id')", "text": "", "trigger": "rising", "active": True},
}
SCRIPT = "stream([Dev.A.latest * Dev.B.latest], ['product'], 'Dev')"
FILES: dict[str, Any] = {
    "globalEvents.json": RULES,
    "globalActions.json": {
        "multiply": {"listenID": ["testID"], "parameters": "", "script": SCRIPT, "active": True}
    },
    "telegramActions.json": {"newest": "return 'text', 'A is ' + str(Dev.A.latest)"},
}


class RulesOnAServerTests(ProcessCase):
    def rtoc(self, port: int, *argv: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        url = f"ws://127.0.0.1:{port}"
        code = main(argv, Shell(io.StringIO(), out, err, {"RTOC_URL": url}))
        return code, out.getvalue(), err.getvalue()

    def test_from_the_files_to_the_event_and_over_a_crash(self) -> None:
        folder = self.directory / "old"
        folder.mkdir()
        for name, document in FILES.items():
            (folder / name).write_text(json.dumps(document))
        child = self.start()
        (port,) = child.ports()
        code, out, err = self.rtoc(port, "import", str(folder))
        counts = {"events": 1, "actions": 1, "user actions": 1, "there already": 0, "refused": 1}
        self.assertEqual((code, json.loads(out)), (1, counts))
        self.assertIn("rtoc: outside: automation.setEvent.cond: column 1: ", err)

        recipe = folder / "freezer.toml"
        recipe.write_text(blocks("toml")[1])
        code, out, err = self.rtoc(port, "rules", "apply", str(recipe), "--activate")
        self.assertEqual((code, out.splitlines()[-1], err), (0, "1 set, 0 there already", ""))

        with client(port) as socket:
            ask(socket, automation={"active": {"events": True, "actions": True}})
            ask(socket, y=[1, 10], sname=["A", "B"], dname="Dev")
            ask(socket, y=[3], sname=["A"], dname="Dev")
            told = ask(socket, userAction="newest")["userAction"]
            self.assertEqual(told, {"name": "newest", "success": True, "type": "text", "data": "A is 3.0"})
            # Actions are done one after the other, so this ends after the one that the event began.
            self.assertTrue(
                ask(socket, automation={"testAction": "multiply"})["automation"]["testAction"]["ok"]
            )
            self.assertEqual(ask(socket, getLatest=["Dev.product"])["latest"]["Dev.product"][1], 30.0)
            (event,) = ask(socket, getEventList=True)["events"].values()
            self.assertEqual(event[3:], ["It is big", event[4], "7", 1, "testID"])
            (why,) = ask(socket, automation={"why": event[2]})["automation"]["why"]
            self.assertEqual((why["rule"], why["sample"]["y"], why["actions"][0]["ok"]), ("big", 3.0, True))

        child.send(signal.SIGKILL)
        child.ended()
        (port,) = self.start().ports()
        code, out, err = self.rtoc(port, "import", str(folder))
        self.assertEqual(json.loads(out)["there already"], 3)
        code, out, err = self.rtoc(port, "rules", "export")
        self.assertEqual((code, err), (0, ""))
        for table in ("[events.big]", "[events.freezer]", "[actions.multiply]", "[user_actions.newest]"):
            self.assertIn(table, out)
        with client(port) as socket:
            told = ask(socket, logger={"info": True})["logger"]["info"]
            self.assertEqual(told["userActions"], ["newest"])
            self.assertTrue(told["config"]["global"]["globalEventsActivated"])
