"""What a script asks and does: in order, seen by itself, and told as its own doing."""

from __future__ import annotations

import math
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.actions import ScriptPolicy
from rtoc_twisted.automation.chain import Link
from rtoc_twisted.automation.scripts import messages
from rtoc_twisted.box.messages import Event, Notify, Plot, Samples
from rtoc_twisted.model import Selector
from tests.actions_support import EPOCH, Heard, Stage, packed, unpacked

LINK = Link("c0ffee", 1, 7, "action")


class EffectsCase(SynchronousTestCase):
    """A script that runs."""

    dry = False

    def setUp(self) -> None:
        self.stage = Stage(Path(self.mktemp()))
        self.outcomes = self.stage.run(dry=self.dry)
        self.script = self.stage.script

    def asked(self, what: str, *args: object) -> object:
        """Return the value of an answer that comes at once and is right."""
        reply = self.script.ask(what, *args)
        assert reply is not None and reply.ok, reply
        return reply.value

    def refused(self, what: str, *args: object) -> str:
        """Return the reason of an answer that comes at once and is none."""
        reply = self.script.ask(what, *args)
        assert reply is not None and not reply.ok, reply
        return str(reply.value)

    def calls(self) -> list[object]:
        """Return what the outcome tells of what was done."""
        self.script.done()
        return list(self.outcomes[0].calls)


class AskTests(EffectsCase):
    """Questions."""

    def test_what_is_too_long_for_a_name_is_not_looked_for(self) -> None:
        for what in ("look", "latest", "samples", "get", "set", "call"):
            self.assertIn("characters are too many", self.refused(what, "Dev." * 400, "A", 1))
            self.assertIn("characters are too many", self.refused(what, "Dev", ".A" * 501, 1))

    def test_look(self) -> None:
        self.stage.append([1, 2], unit="V")
        self.stage.append([1], "level", "Gen")
        self.assertEqual(self.asked("look", "Dev", "A"), ["signal", "V"])
        self.assertEqual(self.asked("look", "Gen", "level"), ["signal", ""])
        self.stage.plugins.parameters["rate"] = 5
        self.assertEqual(self.asked("look", "Gen", "rate"), ["parameter", 5])
        self.assertEqual(self.asked("look", "Gen", "cmd"), ["function"])
        self.assertIsNone(self.asked("look", "Gen", "other"))
        self.assertIsNone(self.asked("look", "Nobody", "x"))

    def test_samples_are_the_newest(self) -> None:
        self.stage.append([float(i) for i in range(1500)])
        reply = self.script.ask("samples", "Dev", "A", 3)
        assert reply is not None
        self.assertEqual((unpacked(reply.x), unpacked(reply.y)), ([1497, 1498, 1499], [1497, 1498, 1499]))
        reply = self.script.ask("samples", "Dev", "A", None)
        assert reply is not None
        self.assertEqual(len(unpacked(reply.y)), 1000)
        for none in (0, -1):
            reply = self.script.ask("samples", "Dev", "A", none)
            assert reply is not None
            self.assertEqual(reply.y, b"")

    def test_script_sees_what_it_wrote(self) -> None:
        self.script.stream([4, 5])
        self.assertEqual(self.asked("latest", "Dev", "A"), [2.0, 5.0])
        self.assertEqual(self.asked("look", "Dev", "A"), ["signal", ""])
        self.script.say(Plot("Dev", "P", "m", "off", packed([1, 2]), packed([8, 9])))
        self.assertEqual(self.asked("latest", "Dev", "P"), [2.0, 9.0])

    def test_signal_that_has_no_samples(self) -> None:
        self.script.say(Event("made", "Dev", "E", 1.0, 0, "", None))
        self.assertIsNone(self.asked("latest", "Dev", "E"))

    def test_name_with_a_dot_is_found_where_it_ends_otherwise(self) -> None:
        self.stage.append([3], "c", "a.b")
        self.assertEqual(self.asked("latest", "a", "b.c"), [0.0, 3.0])

    def test_what_is_not_there_is_told(self) -> None:
        self.assertEqual(self.refused("latest", "Dev", "Nope"), "there is no signal Dev.Nope")
        self.assertEqual(self.refused("samples", "Dev", "Nope", None), "there is no signal Dev.Nope")
        self.assertEqual(self.refused("set", "Nope", "x", 1), "there is no plugin 'Nope'")
        self.assertEqual(self.refused("call", "Idle", "cmd", [], {}), "the plugin Idle does not run")

    def test_wrong_questions_are_refused(self) -> None:
        for what, args in (
            ("format", []),
            ("latest", ["Dev"]),
            ("look", [1, 2]),
            ("call", ["Gen", "cmd", 1, {}]),
            ("call", ["Gen", "cmd", [], []]),
        ):
            self.assertTrue(self.refused(what, *args))

    def test_addresses_only_where_there_is_a_network(self) -> None:
        self.assertEqual(self.refused("resolve", "localhost"), "scripts may not use the network")
        self.stage = Stage(Path(self.mktemp()), policy=ScriptPolicy(network=True))
        self.stage.run()
        self.script = self.stage.script
        self.assertEqual(self.asked("resolve", "127.0.0.1"), ["127.0.0.1"])
        self.assertIn("x..y", self.refused("resolve", "x..y"))


class DoTests(EffectsCase):
    """Effects."""

    def test_effects_are_recorded_in_order_as_the_doing_of_the_run(self) -> None:
        heard = Heard(self.stage.chain)
        self.stage.recorder.subscribe(heard, Selector(all_signals=True))  # type: ignore[arg-type]
        self.script.stream([1, 2])
        self.script.say(Event("e", "Dev", "A", 1.0, 1, "id", [3]))
        self.script.say(Plot("Dev", "A", "", "off", packed([1]), packed([9])))
        self.script.ask("clear")
        self.assertEqual(
            heard.facts,
            [
                ("samples", [1, 2], LINK),
                ("event", "e", LINK),
                ("plot", [9], LINK),
                ("removed", "Dev.A", LINK),
            ],
        )
        self.assertIsNone(self.stage.chain.now())

    def test_event_of_a_script_has_its_cause(self) -> None:
        self.stage.clock.advance(2)
        self.script.say(Event("e", "Dev", "A", 1.0, 1, "", None))
        (event,) = self.stage.events()
        found: list[object] = []
        self.stage.storage.event_notes(event.number).addCallback(found.append)
        cause = {"id": "c0ffee", "depth": 2, "parent": 7, "by": "action", "action": "a", "run": "1"}
        self.assertEqual(found, [{"cause": {**cause, "at": EPOCH + 2}}])

    def test_plugins(self) -> None:
        self.assertEqual(self.asked("set", "Gen", "level", 3), 3)
        self.assertEqual(self.asked("get", "Gen", "level"), 3)
        self.assertEqual(self.asked("call", "Gen", "cmd", ["a=1"], {"n": 2}), "called")
        self.stage.plugins.answer = (False, "no such function")
        self.assertEqual(self.refused("call", "Gen", "fly", [], {}), "Gen.fly: no such function")
        self.assertEqual(self.refused("set", "Gen", "nope", 3), "Gen.nope could not be set")
        self.stage.plugins.parameters["on"] = True
        self.assertIs(self.asked("set", "Gen", "on", False), False)
        self.assertEqual(self.stage.plugins.done[1], ("call", "Gen", "cmd", ["a=1"], {"n": 2}))

    def test_answers_that_cannot_be_given(self) -> None:
        self.stage.plugins.answer = (True, "x" * (17 << 20))
        self.assertIn("is the limit", self.refused("call", "Gen", "cmd"))
        self.patch(self.stage.plugins, "call", lambda *_: 1 / 0)
        self.assertEqual(self.refused("call", "Gen", "cmd"), "the server could not answer")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_export(self) -> None:
        self.assertIs(self.asked("export", "out", "csv", False), True)
        self.asked("export", None, "json", False)
        self.assertEqual(self.stage.exports[0], ["out", "csv"])
        self.assertRegex(self.stage.exports[1][0], r"^2026-\d\d-\d\d_\d\d-\d\d-\d\d$")

    def test_notices(self) -> None:
        (self.stage.media / "p.png").write_bytes(b"PNG")
        self.script.say(
            Notify("message", "hello", priority=1),
            Notify("document", "see", "log.txt", b"data"),
            Notify("photo", "look", "", "p.png"),
            Notify("photo", "look", "", "/etc/passwd"),
        )
        told = [
            (notice.text, [file.data for file in notice.attachments])
            for notice in self.stage.notifier.notices
        ]
        self.assertEqual(told, [("hello", []), ("see", [b"data"]), ("look", [b"PNG"])])
        self.script.done()
        self.assertTrue(self.outcomes[0].ok)
        self.assertIn("nobody was told: there is no file '/etc/passwd'", self.outcomes[0].output)

    def test_what_the_recorder_refuses_fails_the_run(self) -> None:
        self.script.stream(1, name="x" * 100_000)
        self.script.say(Samples("Dev", ["A"], [None], packed([1, 2]), packed([1])))
        self.script.say(Plot("Dev", "A", "", "sometimes", packed([1]), packed([9])))
        self.script.stream(2)
        self.script.done()
        self.assertFalse(self.outcomes[0].ok)
        self.assertRegex(self.outcomes[0].error, "^not recorded: .*, and 2 more$")
        self.assertEqual(self.stage.samples(), [2])

    def test_calls_are_listed(self) -> None:
        self.script.stream([1, 2])
        self.script.stream(3)
        self.script.say(Samples("Dev", ["A", "B"], [None, None], packed([1, 2]), packed([4, 5])))
        self.script.say(Event("e", "Dev", "A", 1.0, 1, "id", None))
        self.script.say(Notify("message", "hello"))
        self.script.ask("set", "Gen", "level", 3)
        self.script.ask("call", "Gen", "cmd", ["x" * 300], {})
        self.script.ask("export", "out", "csv")
        self.script.say(Plot("Dev", "P", "m", "on", packed([1, 2]), packed([8, 9])))
        self.script.ask("clear")
        self.assertEqual(
            self.calls(),
            [
                {"what": "stream", "signal": "Dev.A", "values": 4, "newest": 4.0},
                {"what": "stream", "signal": "Dev.B", "values": 1, "newest": 5.0},
                {"what": "event", "signal": "Dev.A", "text": "e", "priority": 1, "id": "id"},
                {"what": "notify", "kind": "message", "text": "hello", "name": ""},
                {"what": "set", "plugin": "Gen", "parameter": "level", "value": 3},
                {"what": "call", "plugin": "Gen", "function": "cmd", "args": ["x" * 198 + ".."]},
                {"what": "export", "file": "out", "type": "csv"},
                {"what": "plot", "signal": "Dev.P", "values": 2, "hold": "on"},
                {"what": "clear"},
            ],
        )

    def test_only_so_many_calls_are_listed(self) -> None:
        self.script.ask("set", "Gen", "level", [[[["deep"]]], b"bytes", {"key": None}])
        for value in range(102):
            self.script.ask("set", "Gen", "level", [value] * 12)
        calls = self.calls()
        self.assertEqual(len(calls), 101)
        self.assertEqual(calls[-1], {"what": "further", "count": 3})
        told = [call["value"] for call in calls[:2]]  # type: ignore[index]
        self.assertEqual(told, [[[[".."]], "5 bytes", {"key": None}], [*[0] * 10, ".. 2 more"]])


class DryTests(EffectsCase):
    """A dry run does nothing, and reads what there would be."""

    dry = True

    def test_what_is_no_name_is_refused(self) -> None:
        for what in ("look", "latest", "samples", "get", "set", "call"):
            self.assertIn("wrong arguments", self.refused(what, ["Gen"], {"level": 1}))

    def test_nothing_is_done(self) -> None:
        self.stage.append([1, 2], "Old")
        self.script.stream([4, 5])
        self.script.say(Event("e", "Dev", "E", 1.0, 1, "id", None))
        self.script.say(Plot("Dev", "P", "m", "off", packed([1]), packed([9])))
        self.script.say(Notify("message", "hello"))
        self.assertIsNone(self.asked("call", "Gen", "cmd", ["x"], {}))
        self.assertEqual(self.asked("set", "Gen", "level", 3), 3)
        self.asked("export", "out", "csv")
        self.script.say(messages.Keep("n", 1), messages.Edge("c", True))
        self.asked("clear")
        self.stage.pump(2)
        told = [call["what"] for call in self.calls()]  # type: ignore[index]
        self.assertEqual(told, ["stream", "event", "plot", "notify", "call", "set", "export", "clear"])
        self.assertEqual([signal.name.name for signal in self.stage.storage.signals()], ["Old"])
        self.assertEqual(self.stage.samples("Old"), [1, 2])
        self.assertEqual((self.stage.events(), self.stage.plugins.done), ([], []))
        self.assertEqual((self.stage.exports, self.stage.notifier.notices), ([], []))
        self.assertIsNone(self.stage.storage.document("automation/globals/a"))

    def test_run_sees_what_it_would_have_written(self) -> None:
        self.stage.append([1, 2], unit="V")
        self.assertEqual(self.asked("latest", "Dev", "A"), [1.0, 2.0])
        self.script.stream([4, 5], x=10)
        self.assertEqual(self.asked("latest", "Dev", "A"), [11.0, 5.0])
        self.assertEqual(self.asked("look", "Dev", "A"), ["signal", "V"])
        self.assertEqual(self.samples("A"), [1, 2, 4, 5])
        self.assertEqual(self.samples("A", 3), [2, 4, 5])
        self.script.stream(6, name="New")
        self.assertEqual(self.asked("look", "Dev", "New"), ["signal", ""])
        self.assertEqual(self.samples("New"), [6])
        self.asked("set", "Gen", "level", 3)
        self.assertEqual(self.asked("get", "Gen", "level"), 3)
        self.assertEqual(self.asked("look", "Gen", "level"), ["parameter", 3])
        self.asked("clear")
        self.assertIsNone(self.asked("look", "Dev", "A"))
        self.assertEqual(self.samples("A"), [])
        self.script.stream(7)
        self.assertEqual(self.samples("A"), [7])

    def samples(self, name: str, newest: int | None = None) -> list[float]:
        reply = self.script.ask("samples", "Dev", name, newest)
        assert reply is not None and reply.ok, reply
        return unpacked(reply.y)

    def test_plots_meet_what_is_there(self) -> None:
        self.stage.append([1, 2])
        for hold, x, y, expected in (
            ("on", [5], [6], [1, 2, 6]),
            ("mergeX", [0, 7], [9, 10], [1, 2, 6, 10]),
            ("mergeY", [8, 9], [10, 11], [1, 2, 6, 10, 11]),
            ("off", [0], [3], [3]),
        ):
            self.script.say(Plot("Dev", "A", "", hold, packed(x), packed(y)))
            self.assertEqual(self.samples("A"), expected, hold)
        self.assertEqual(self.asked("latest", "Dev", "A"), [0.0, 3.0])
        self.script.say(Plot("Dev", "A", "", "off", b"", b""))
        self.assertIsNone(self.asked("latest", "Dev", "A"))

    def test_what_would_be_refused_is_told(self) -> None:
        self.assertEqual(self.refused("call", "Idle", "cmd", [], {}), "the plugin Idle does not run")
        self.script.stream(1, name="x" * 100_000)
        self.script.stream([math.nan])
        self.script.done()
        self.assertIn("not recorded: ", self.outcomes[0].error)

    def test_only_so_many_values_are_held(self) -> None:
        block = packed([0.0] * 300_000)
        for _ in range(4):
            self.script.say(Samples("Dev", ["A"], [None], block, block))
            self.stage.pump(2)
        self.script.done()
        self.stage.pump(1)
        self.assertIn("a dry run holds 1000000 values", self.outcomes[0].error)

    def test_dry_run_always_has_an_end(self) -> None:
        self.script.done()
        self.stage.run(dry=True, seconds=0)
        self.assertEqual(self.stage.script.begin.seconds, 10)
