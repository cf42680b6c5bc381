"""`rtoc rules`: files looked at, tests played, rules set on a server and written out of one."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client.shell import Shell
from rtoc_twisted.tools.main import main
from rtoc_twisted.tools.rules_file import dump, load
from rtoc_twisted.tools.rules_trial import Fired, differences

from .files_support import texts
from .storage_support import unhurried
from .test_files_rules import FILES, RULE, RulesServer

GOOD = """
[events.hot]
cond = "Oven.temperature.latest > 80"
off = "Oven.temperature.latest < 75"
for = 60
text = "the oven is hot"
schedule = [{days = "mon-fri", from = 08:00:00, to = "17:30"}, {from = 2026-01-01T00:00:00Z, to = 2026-01-02}]
zone = "Europe/Berlin"

[actions."cool it"]
listenID = "hot"
script = '''
level = 1
Fan.level = level
'''

[user_actions.report]
script = "return 'text', 'all is well'"
"""


class RulesCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)

    def put(self, content: Any, name: str = "rules.toml") -> str:
        path = self.directory / name
        path.write_text(content if isinstance(content, str) else json.dumps(content, indent=4))
        return str(path)

    def rtoc(self, *argv: str, url: str = "ws://127.0.0.1:1") -> tuple[int, str, str]:
        """Return exit code, output and errors of a run of the command."""
        out, err = io.StringIO(), io.StringIO()
        code = main(["rules", *argv], Shell(io.StringIO(), out, err, {"RTOC_URL": url}))
        return code, out.getvalue(), err.getvalue()


class CheckTests(RulesCase):
    def faults(self, content: Any, name: str = "rules.toml") -> list[str]:
        """Return the faults of a file, without its name."""
        path = self.put(content, name)
        code, out, err = self.rtoc("check", path)
        lines = out.splitlines()
        self.assertEqual((code, err), (1, f"rtoc: {len(lines)} fault{'s' * (len(lines) > 1)}\n"))
        return [line.removeprefix(path).removeprefix(":") for line in lines]

    def test_what_is_right(self) -> None:
        code, out, err = self.rtoc("check", self.put(GOOD))
        self.assertEqual((code, err), (0, ""), out)
        self.assertEqual(out, "3 rules and actions, 0 tests, no faults\n")
        # As some editors begin a file.
        self.assertEqual(self.rtoc("check", self.put("\ufeff" + GOOD))[0], 0)

    def test_rtoc_s_own_files(self) -> None:
        paths = [self.put(document, name) for name, document in FILES.items()]
        self.assertEqual(self.rtoc("check", *paths)[:2], (0, "4 rules and actions, 0 tests, no faults\n"))

    def test_each_fault_has_its_line_and_its_column(self) -> None:
        wrong = GOOD.replace("temperature.latest > 80", "temperature.latest > sqr(80)")
        wrong = wrong.replace("for = 60", "fro = 60").replace("Fan.level = level", "Fan.level = __import__")
        wrong = wrong.replace('"Europe/Berlin"', '"Europe/Berlon"').replace("return 'text'", "open('x')")
        first, second, third, fourth, fifth = self.faults(wrong)
        self.assertIn("3: events.hot.cond: column 27: there is no function sqr", first)
        self.assertIn("5: events.hot.fro: unknown field; did you mean for", second)
        self.assertIn("8: events.hot.zone: unknown time zone 'Europe/Berlon'", third)
        self.assertIn("14: actions.cool it.script: line 2, column 13: __import__", fourth)
        self.assertIn("18: user_actions.report.script: line 1, column 1: open", fifth)

    def test_what_the_server_lets_scripts_have(self) -> None:
        path = self.put(GOOD.replace("Fan.level = level", "import urllib\nopen('x')"))
        self.assertIn("line 2, column 1: urllib cannot be imported", self.rtoc("check", path)[1])
        self.assertIn("line 3, column 1: open", self.rtoc("check", path, "--script-network")[1])
        self.assertEqual(self.rtoc("check", path, "--script-network", "--script-files")[0], 0)

    def test_a_rule_as_a_whole(self) -> None:
        (fault,) = self.faults('\n[events.hot]\ntext = "x"\n')
        self.assertEqual(fault, "2: events.hot.cond: missing")

    def test_json_has_lines_too(self) -> None:
        document = {"first": RULE, "second": {**RULE, "cond": "Generator.Square.latest >=", "trigger": "up"}}
        first, second = self.faults(document, "globalEvents.json")
        self.assertTrue(first.startswith("14: events.second.cond: column "), first)
        self.assertTrue(second.startswith("19: events.second.trigger: expected one of rising"), second)

    def test_what_is_no_document(self) -> None:
        (fault,) = self.faults("[events.hot\n")
        self.assertTrue(fault.startswith("1: column "), fault)
        (fault,) = self.faults('{"a": \n}', "globalEvents.json")
        self.assertTrue(fault.startswith("2: column "), fault)
        (fault,) = self.faults('{"a": 5}', "other.json")
        self.assertEqual(fault, " neither rules, nor actions, nor user actions of RTOC's")
        (fault,) = self.faults('{"a": 5}', "globalEvents.json")
        self.assertIn("a: expected an object", fault)
        for name in ("deep.toml", "globalEvents.json"):
            (fault,) = self.faults("a = "[: 4 * name.endswith("toml")] + "[" * 20_000, name)
            self.assertEqual(fault, " brackets within brackets, too many")

    def test_what_is_no_rule(self) -> None:
        first, second, third = self.faults(
            '[event.hot]\ncond = "True"\n[events]\nhot = 5\n[events.x]\nname = "y"\n'
        )
        self.assertEqual(
            first, "1: event: expected [events.NAME], [actions.NAME], [user_actions.NAME] or [[test]]"
        )
        self.assertEqual(second, "4: events.hot: expected a table")
        self.assertEqual(third, "5: events.x: expected no name but that of the table")

    def test_the_same_rule_in_two_files(self) -> None:
        one, two = self.put(GOOD), self.put('[events.hot]\ncond = "True"\n', "two.toml")
        code, out, _ = self.rtoc("check", one, two)
        self.assertEqual((code, out), (1, f"{two}:1: events.hot: it is in {one}, too\n"))

    def test_tests_that_are_none(self) -> None:
        for line, told in (
            ('name = "t"\nuntil = 5', "Object missing required field `input`"),
            ('name = "t"\nuntil = 5\ninput = {}\nexpects = []', "Object contains unknown field `expects`"),
            ('name = "t"\nuntil = -5\ninput = {}', ".until: expected 0 to"),
            ('name = "t"\nuntil = 5\ninput = {}\nstart = 2026-01-01T00:00:00', ".start: it needs a zone"),
            ('name = "t"\nuntil = 5\ninput = {A = [[0, 1]]}', ".input: expected \"Device.Signal\", got 'A'"),
            ('name = "t"\nuntil = 5\ninput = {"A.B" = [[6, 1]]}', ".input.A.B: t = 6 is not within 0"),
            ('name = "t"\nuntil = 5\ninput = {"A.B" = [[0, "x"]]}', ".input[...][0][1]: Expected `float`"),
        ):
            (fault,) = self.faults(f"# a comment\n[[test]]\n{line}\n")
            self.assertTrue(fault.startswith("2: test.1"), fault)
            self.assertIn(told, fault)

    def test_files_that_are_not_there(self) -> None:
        code, out, err = self.rtoc("check", str(self.directory / "none.toml"))
        self.assertEqual((code, out, err.count("\n")), (2, "", 1))
        code, out, err = self.rtoc("check", str(self.directory))
        self.assertEqual((code, out, err.count("\n")), (2, "", 1))
        (self.directory / "latin.toml").write_bytes(b"\xff")
        self.assertIn("not UTF-8", self.rtoc("check", str(self.directory / "latin.toml"))[2])


class TrialTests(RulesCase):
    def played(self, content: str) -> tuple[int, list[str]]:
        """Play the tests of a file; return the exit code and what was told, without the file's name."""
        path = self.put(content)
        code, out, err = self.rtoc("test", path)
        self.assertEqual(bool(code), bool(err), err)
        return code, [line.replace(f"{path}: ", "") for line in out.splitlines()]

    def test_an_event_has_the_time_at_which_it_was_due(self) -> None:
        rule = '[events.hot]\ncond = "Oven.t.latest > 80"\nfor = 60.5\ntext = "hot"\n'
        test = '[[test]]\nname = "held"\ninput = {"Oven.t" = [[10, 90]]}\nuntil = 100\n'
        expect = 'expect = [{event = "hot", at = 70.5, text = "hot"}]'
        self.assertEqual(self.played(rule + test + expect), (0, ["ok    held", "1 test passed"]))
        too_early = test.replace("until = 100", "until = 70")
        self.assertEqual(self.played(rule + too_early), (0, ["ok    held", "1 test passed"]))

    def test_what_fails_is_shown(self) -> None:
        rule = '[events.hot]\ncond = "Oven.t.latest > 80"\ntrigger = "both"\ntext = "hot"\n'
        test = '[[test]]\nname = "wrong"\nuntil = 100\ninput = {"Oven.t" = [[10, 90], [20, 70]]}\n'
        expect = 'expect = [{event = "hot", at = 10}, {event = "hot", at = 25}]\n'
        code, lines = self.played(rule + test + expect + test.replace("[20, 70]", "[20, 95]"))
        self.assertEqual(
            (code, lines),
            (
                1,
                [
                    "FAIL  wrong",
                    '        {event = "hot", at = 10}',
                    '      - {event = "hot", at = 25}',
                    '      + {event = "hot", at = 20, text = "hot"}',
                    "FAIL  wrong",
                    '      + {event = "hot", at = 10, text = "hot"}',
                ],
            ),
        )

    def test_values_come_in_the_order_of_time_and_those_of_one_moment_together(self) -> None:
        rule = '[events.both]\ncond = "A.a.latest + A.b.latest > 3"\n'
        values = '{"A.b" = [[5, 2], [1, 0]], "A.a" = [[5, 2], [2, 3]]}'
        test = f'[[test]]\nname = "sum"\nuntil = 9\ninput = {values}\n'
        expect = 'expect = [{event = "both", at = 5}]'
        self.assertEqual(self.played(rule + test + expect)[0], 0)

    def test_schedules_go_by_the_start(self) -> None:
        rule = (
            '[events.night]\ncond = "True"\nzone = "Europe/Berlin"\n'
            'schedule = [{from = "22:00", to = "23:00"}]\n'
        )
        test = '[[test]]\nname = "at ten"\nstart = 2026-07-01T21:30:00+02:00\ninput = {}\nuntil = 90000\n'
        expect = 'expect = [{event = "night", at = 1800}, {event = "night", at = 88200}]'
        self.assertEqual(self.played(rule + test + expect), (0, ["ok    at ten", "1 test passed"]))

    def test_a_storm_is_no_secret(self) -> None:
        rule = '[events.storm]\ncond = "A.a.latest > 0"\ntrigger = "true"\nperMinute = 2\ntext = "s"\n'
        test = '[[test]]\nname = "storm"\nuntil = 10\ninput = {"A.a" = [[1, 1], [2, 1], [3, 1], [4, 1]]}\n'
        code, lines = self.played(rule + test)
        self.assertEqual((code, len(lines)), (1, 4))
        self.assertIn("more than 2 events a minute", lines[-1])

    def test_the_rules_of_all_files_are_there(self) -> None:
        rules = self.put('[events.hot]\ncond = "Oven.t.latest > 80"\n')
        test = '[[test]]\nname = "it"\nuntil = 9\ninput = {"Oven.t" = [[1, 90]]}\n'
        tests = self.put(test + 'expect = [{event = "hot", at = 1}]', "tests.toml")
        self.assertEqual(self.rtoc("test", rules, tests)[0], 0)
        self.assertEqual(self.rtoc("test", tests)[0], 1)
        self.assertEqual(self.rtoc("test", rules), (0, "0 tests passed\n", ""))

    def test_rules_with_faults_are_not_played(self) -> None:
        code, lines = self.played('[events.hot]\ncond = "Oven.t.latest >"\n')
        self.assertEqual(code, 1)
        self.assertEqual(len(lines), 1)


json_values = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
entries = st.dictionaries(texts, st.dictionaries(texts, json_values, max_size=4), max_size=3)


class DumpTests(RulesCase):
    @unhurried
    @given(entries, st.dictionaries(texts, st.fixed_dictionaries({"script": texts}), max_size=2))
    def test_whatever_is_written_is_read_again(self, events: Any, scripts: Any) -> None:
        document = {"events": events, "user_actions": scripts}
        found = tomllib.loads(dump(document))
        self.assertEqual({"events": {}, "user_actions": {}, **found}, document)

    def test_scripts_are_lines(self) -> None:
        script = "a = 1\nprint(a)\n"
        self.assertIn(f"script = '''\n{script}'''\n", dump({"actions": {"a": {"script": script}}}))
        for awkward in ("a = '''\n'''", "a\r\n", "a\n\x7f", "\0\n"):
            document = {"actions": {"a": {"script": awkward}}}
            self.assertEqual(tomllib.loads(dump(document)), document)

    def test_what_has_no_value_is_left_out(self) -> None:
        document = {"events": {"a": {"off": None, "return": [1, None, {"b": None}]}}}
        self.assertEqual(tomllib.loads(dump(document)), {"events": {"a": {"return": [1, {}]}}})


class DifferenceTests(SynchronousTestCase):
    def test_equal(self) -> None:
        fired = [Fired("a", 1.0004, "x"), Fired("b", 2.0, "y")]
        self.assertEqual(differences([Fired("a", 1.0), Fired("b", 2.0, "y")], fired), [])

    def test_too_much_too_little_and_other_texts(self) -> None:
        wanted = [Fired("a", 1.0), Fired("b", 2.0, "y"), Fired("c", 3.0)]
        fired = [Fired("c", 0.5, ""), Fired("a", 1.0, "x"), Fired("b", 2.0, 'z"'), Fired("c", 3.0, "")]
        self.assertEqual(
            differences(wanted, fired),
            [
                '+ {event = "c", at = 0.5, text = ""}',
                '  {event = "a", at = 1}',
                '- {event = "b", at = 2, text = "y"}',
                '+ {event = "b", at = 2, text = "z\\""}',
                '  {event = "c", at = 3}',
            ],
        )
        self.assertEqual(differences(wanted[:1], []), ['- {event = "a", at = 1}'])
        self.assertEqual(differences([], fired[:1]), ['+ {event = "c", at = 0.5, text = ""}'])


class ServerTests(RulesCase):
    def serve(self, refused: str = "") -> RulesServer:
        server = RulesServer(refused)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def test_apply_tells_what_changes_and_sets_it(self) -> None:
        server = self.serve()
        server.events_set = {"old": RULE, "hot": RULE}
        path = self.put(GOOD)
        lines = [
            "~ event hot: cond, text, return, id, off, for, schedule, zone",
            "+ action cool it",
            "+ user action report",
            "  event old: only on the server, left alone",
        ]
        code, out, err = self.rtoc("apply", path, "--dry-run", url=server.url)
        self.assertEqual((code, out.splitlines(), err, server.calls), (0, lines, "", []))
        code, out, err = self.rtoc("apply", path, url=server.url)
        self.assertEqual((code, out.splitlines(), err), (0, [*lines, "3 set, 0 there already"], ""))
        self.assertEqual(server.calls, ["hot", "cool it", "report"])
        self.assertEqual(server.events_set["hot"]["for"], 60)
        self.assertEqual(server.actions["cool it"]["script"], "level = 1\nFan.level = level\n")
        code, out, err = self.rtoc("apply", path, url=server.url)
        self.assertEqual(out.splitlines(), [lines[-1], "0 set, 3 there already"])

    def test_apply_switches_on_what_it_sets(self) -> None:
        server = self.serve()
        server.active = {"events": False, "actions": False}
        path = self.put(GOOD)
        _, _, err = self.rtoc("apply", path, url=server.url)
        self.assertEqual([line.split()[1] for line in err.splitlines()], ["events", "actions"])
        self.assertEqual(server.active, {"events": False, "actions": False})
        only_events = self.put('[events.E]\ncond = "True"\n', "events.toml")
        for file, active in (
            (only_events, {"events": True, "actions": False}),
            (path, dict.fromkeys(server.active, True)),
        ):
            self.assertEqual(self.rtoc("apply", file, "--activate", url=server.url)[::2], (0, ""))
            self.assertEqual(server.active, active)

    def test_apply_sets_nothing_with_a_fault_in_it(self) -> None:
        server = self.serve()
        code, _, err = self.rtoc("apply", self.put(GOOD.replace("for =", "fro =")), url=server.url)
        self.assertEqual((code, err, server.received), (1, "rtoc: 1 fault\n", []))

    def test_what_the_server_refuses(self) -> None:
        server = self.serve(refused="hot")
        code, out, err = self.rtoc("apply", self.put(GOOD), url=server.url)
        self.assertEqual(code, 1)
        self.assertEqual(out.splitlines()[-1], "2 set, 0 there already")
        self.assertIn("rtoc: hot: automation.setEvent.cond: column 7: no such function\n", err)

    def test_export_is_what_apply_reads(self) -> None:
        server = self.serve()
        self.rtoc("apply", self.put(GOOD), url=server.url)
        code, out, err = self.rtoc("export", url=server.url)
        self.assertEqual((code, err), (0, ""))
        found = load(Path(self.put(out, "out.toml")))
        self.assertEqual((len(found.rules), found.faults), (3, []))
        code, out, err = self.rtoc("apply", str(found.path), url=server.url)
        self.assertEqual(out, "0 set, 3 there already\n")
