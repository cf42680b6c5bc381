"""docs/automation.md: its rules fire, its scripts run, its messages are answered, it names all there is."""

from __future__ import annotations

import io
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation import rule, schedule
from rtoc_twisted.automation.actions import Outcome
from rtoc_twisted.automation.chain import new_link
from rtoc_twisted.automation.conditions import parse
from rtoc_twisted.automation.conditions.language import FUNCTIONS
from rtoc_twisted.automation.rule import ActionRule
from rtoc_twisted.automation.scripts.words import WORLD
from rtoc_twisted.automation.state import State
from rtoc_twisted.client.shell import Shell
from rtoc_twisted.config import SETTINGS
from rtoc_twisted.tools.main import main

from . import actions_support
from .actions_support import FakePlugins, Stage
from .doubles import house
from .threaded_scripts import ThreadedScripts

ROOT = Path(__file__).parent.parent
DOCUMENT = (ROOT / "docs" / "automation.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)


def column(head: str) -> list[str]:
    """Return the first column of the table with that head."""
    table = DOCUMENT.split(f"| {head} |")[1].split("\n\n")[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def quoted(cells: list[str]) -> list[str]:
    """Return what is in backquotes."""
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


class Plugins(FakePlugins):
    """Fan and Heater, with what the scripts of the document want of them."""

    def names(self) -> list[str]:
        return ["Fan", "Heater"]

    def running(self, name: str) -> bool:
        return True

    def listing(self) -> dict[str, Any]:
        functions = [["announce", ["text"], 1, [], None, None, "(text)"]]
        return dict.fromkeys(self.names(), {"functions": functions, "parameters": []})


class ScriptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(actions_support, "FakePlugins", Plugins)
        directory = Path(self.mktemp()).absolute()
        clock = actions_support.Clock()
        self.stage = Stage(directory, clock=clock, launch=ThreadedScripts(clock))
        self.stage.plugins.parameters = {"level": 1, "power": 0.0, "on": False}
        self.stage.append([85.0, 95.0], "temperature", "Oven", "°C")

    def run_script(self, script: str, name: str = "a") -> Outcome:
        """Run an action; return how it went."""
        action = ActionRule.read({"name": name, "listenID": [], "script": script})
        running = self.stage.actions.run(name, action, None, new_link("test"))
        self.stage.clock.advance(0)
        outcome: Outcome = self.successResultOf(running)
        self.assertEqual(outcome.error, "")
        return outcome

    def test_the_tour(self) -> None:
        tour, _ = blocks("python")
        self.assertEqual(self.run_script(tour).output, "run 1\n")
        self.assertEqual(self.stage.samples("mean", "Oven"), [90.0])
        self.assertEqual(self.run_script(tour).output, "run 2\n")
        called = [done for done in self.stage.plugins.done if done[0] == "call"]
        self.assertEqual(called, [("call", "Fan", "announce", ["level 2 at 95.0"], {})])

    def test_the_user_action(self) -> None:
        _, script = blocks("python")
        told = self.stage.actions.answer_user("report", script)
        self.stage.clock.advance(0)
        self.assertEqual(self.successResultOf(told)["data"], "the oven has 95.0 °C")

    def test_the_thermostat(self) -> None:
        script = tomllib.loads(blocks("toml")[0])["actions"]["heater"]["script"]
        for degrees, on in ((19.0, True), (21.5, False)):
            self.stage.append([degrees], "temperature", "Room")
            self.run_script(script)
            self.assertIs(self.stage.plugins.parameters["on"], on)

    def test_the_pid_loop(self) -> None:
        script = tomllib.loads(blocks("toml")[3])["actions"]["pid"]["script"]
        powers = []
        for second, degrees in enumerate((190.0, 195.0, 195.0), 2):
            self.stage.recorder.append(
                actions_support.Values(
                    actions_support.Names([actions_support.SignalName("Oven", "temperature")], ["°C"]),
                    [float(second)],
                    [degrees],
                )
            )
            self.run_script(script)
            powers.append(self.stage.plugins.parameters["power"])
        # Proportional 20, 10, 10; the integral adds 0.01 a second for each degree that is missing.
        self.assertEqual([round(power, 6) for power in powers], [20.1, 10.15, 10.2])

    def test_the_pid_s_integral_rests_at_the_end(self) -> None:
        script = tomllib.loads(blocks("toml")[3])["actions"]["pid"]["script"]
        for _ in range(3):
            self.run_script(script)
        self.assertEqual(self.stage.plugins.parameters["power"], 100)
        self.stage.append([200.0], "temperature", "Oven")
        self.run_script(script)
        self.assertEqual(self.stage.plugins.parameters["power"], 0)

    def test_there_are_no_further_scripts(self) -> None:
        self.assertEqual(len(blocks("python")), 2)


class RuleTests(SynchronousTestCase):
    def test_each_recipe_passes_its_tests(self) -> None:
        for number, recipe in enumerate(blocks("toml")):
            path = Path(self.mktemp())
            path.write_text(recipe)
            out = io.StringIO()
            code = main(["rules", "test", str(path)], Shell(io.StringIO(), out, out, {}))
            self.assertEqual(code, 0, out.getvalue())
            self.assertRegex(out.getvalue(), r"[1-9]\d* tests? passed", str(number))

    def test_the_rule_of_the_readme(self) -> None:
        (shown,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        path = Path(self.mktemp())
        path.write_text(shown)
        self.assertEqual(main(["rules", "check", str(path)], Shell(stdout=io.StringIO())), 0)

    def test_the_spans(self) -> None:
        (spans,) = [json.loads(block) for block in blocks("json") if block.startswith("[")]
        self.assertIsNotNone(schedule.Spans.read(spans, schedule.read_zone("UTC", "zone"), "schedule"))

    def test_the_messages_are_answered(self) -> None:
        rooms = house()
        client = rooms.connect()
        freezer = {"name": "freezer", "cond": "True", "ack": True}
        client.ask(automation={"active": {"events": True}, "setEvent": freezer})
        client.ask(y=[0], sname=["temperature"], dname="Oven")
        client.ask(automation={"setEvent": {**freezer, "cond": "Oven.temperature.latest < 1"}})
        client.ask(y=[0, 0], sname=["temperature"] * 2, dname="Oven")
        count = 0
        for block in blocks("json"):
            if block.startswith("{"):
                answer = client.send(block.encode())[-1]
                self.assertFalse(answer["error"], (block, answer))
                count += 1
        self.assertGreater(count, 4)


class CompletenessTests(SynchronousTestCase):
    def test_every_field_of_a_rule(self) -> None:
        told = {name for cell in column("field") for name in re.findall(r"`(\w+)`", cell)}
        self.assertEqual(told, set(rule._EVENT_FIELDS) - {"retur"})

    def test_its_conditions_are_some(self) -> None:
        (examples,) = blocks("condition")
        words = quoted(column("in a condition"))
        for example in (*examples.splitlines(), *(f"{word} > 1" for word in words[:1] + words[5:8])):
            self.assertTrue(parse(example).uses, example)

    def test_the_functions_of_conditions(self) -> None:
        cells = column("in a condition")
        (named,) = [cell for cell in cells if cell.startswith("`abs ")]
        self.assertLessEqual(set(quoted([named])[0].split()), FUNCTIONS[""].keys())
        self.assertEqual(set(re.findall(r"`rtoc\.(\w+)`", cells[-1])), FUNCTIONS["rtoc"].keys())

    def test_every_word_of_scripts(self) -> None:
        told = set(re.findall(r"\w+", " ".join(quoted(column("in a script")))))
        self.assertLessEqual(WORLD - {"self"}, told)

    def test_every_state_of_an_alarm(self) -> None:
        told = " ".join(column("state"))
        for name in ("active", "latched", "shelved", "suppressed"):
            self.assertIn(name, State.__struct_fields__)
            self.assertIn(f"`{name}`", told)

    def test_settings_exist(self) -> None:
        told = set(re.findall(r"`(automation\.\w+)`", DOCUMENT))
        self.assertEqual(told, {it.key for it in SETTINGS if it.key.startswith("automation.")})

    def test_the_verbs(self) -> None:
        (shell,) = [block for block in blocks("sh") if "rtoc rules" in block]
        told = dict.fromkeys(re.findall(r"^rtoc rules (\w+)", shell, re.MULTILINE))
        out = Shell(io.StringIO(), io.StringIO(), io.StringIO(), {})
        main(["rules", "--help"], out)
        self.assertEqual(list(told), re.findall(r"^    (\w+) ", out.stdout.getvalue(), re.MULTILINE))

    def test_its_links(self) -> None:
        links = re.findall(r"\]\(([^)#]*)(#[^)]*)?\)", DOCUMENT)
        self.assertGreater(len(links), 4)
        for name, anchor in links:
            text = (ROOT / "docs" / name).read_text() if name else DOCUMENT
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", it).strip().lower().replace(" ", "-") for it in headings}
            self.assertIn(anchor.removeprefix("#"), anchors | {""}, (name, anchor))
