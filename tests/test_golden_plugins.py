"""What RTOC 3.0 said of its Generator on the wire, replayed with the one that we ship, in its real process.

Of a list of plugins the Generator's row is compared: status and autorun in all cases, parameters where both
had the same done to them. Values that it streams are not: their number is the time's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.plugins import discovery

from .doubles import Client, Rooms, house
from .golden_replay import Line
from .golden_rules import CASES
from .pumped_child import PumpedChild


def cases(first: str, last: str) -> tuple[str, ...]:
    names = list(CASES)
    return tuple(names[names.index(first) : names.index(last) + 1])


RUNS = (
    cases("plugin.list.full", "plugin.leaked"),
    cases("plugin.g.start", "plugin.after.nonbool.set"),
    cases("samplerate.start", "samplerate.check"),
)
"""The cases of each run of a server."""

RUN_OF = {case: run for run in RUNS for case in run}

_EXEC = "5, plugin: 'Never through exec: names are looked up, private and lifecycle names refused'"
_VALUE = "5, plugin: 'Any other key sets a parameter and answers the value now held'"
_ARGUMENTS = "5, plugin: '\"fun()\": [args]'; 2: what is wrong is told"
_TEXT = "5, plugin: '[false, text]'"
_READS = '5, plugin: \'{"p": "get"} reads too (documented form)\''
_STOPPED = "5, plugin: 'false if not running'"
_BOOL = "5, plugin: 'start true: ..; start false: true'; another value is no parameter's"
_AUTOSTART = "9: 'autostart of a stopped plugin ..: always errors' is not to be copied"
_DIRECTORY = "10: 'getDir(file)'; without a file there is no directory"

FAILED = {"error": True}

DIFFERENCES: Mapping[str, tuple[str, Any]] = {
    "plugin.set.string.quote": (_EXEC, {"exampleString": "it's"}),
    "plugin.call.noargs": (_DIRECTORY, {"getDir()": [True, ""]}),
    "plugin.call.unknown": (_TEXT, {"nope()": [False, "the plugin has no function nope"]}),
    "plugin.call.str": (_ARGUMENTS, FAILED),
    "plugin.call.afterstop": (
        _STOPPED,
        {"setFrequency()": [False, "Plugin Generator not found or started"]},
    ),
    "plugin.set.unknown": (_VALUE, {"brandnew": 5}),
    "plugin.set.injection": (_EXEC, {"gen_level=77;self._inj": False}),
    "plugin.set.injection.check": (_EXEC, {"get": 1}),
    "plugin.get.injection": (_EXEC, {"get": False}),
    "plugin.set.private": (_EXEC, {"_sname": False}),
    "plugin.call.close": (_EXEC, {"close()": [False, "close() is not for clients"]}),
    "plugin.call.close.check": (_EXEC, {"get": True}),
    "plugin.param.get.docstring": (_READS, {"offset": 1}),
    "plugin.start.nonbool": (_BOOL, FAILED),
    "plugin.after.nonbool.set": (_VALUE, {"offset": 1}),
}
"""What we answer where the original answered otherwise, with the rule of the protocol that says so."""

PARAMETERS_ALIKE = {
    "plugin.list.full",
    "plugin.start",
    "plugin.list.started",
    "plugin.set",
    "plugin.set.string",
    "plugin.set.null",
    "plugin.set.list",
    "plugin.set.multi",
    "plugin.samplerate",
    "plugin.call",
    "plugin.call.badtype",
    "plugin.start2",
    "plugin.g.start",
    "samplerate.start",
    "samplerate.global",
}


@dataclass(frozen=True)
class Outcome:
    """What a case brought: messages to the sender and to a passive client, the row before and after it."""

    received: list[Any]
    observed: list[Any]
    before: Any
    after: Any


@cache
def outcomes(run: tuple[str, ...]) -> Mapping[str, Outcome]:
    """Play one run of a server."""
    clock = Clock()
    with TemporaryDirectory() as name:
        directory = Path(name)
        rooms = house(
            clock=clock,
            directory=directory,
            find=lambda: discovery.find(directory, installed=()),
            launch=lambda process: PumpedChild(process, clock),
        )
        rooms.plugins.start()
        sender, observer = rooms.connect(), rooms.connect()
        result = {}
        for case in run:
            turn(clock)
            sender.heard(), observer.heard()
            before = row(rooms.plugins.listing())
            received = play(rooms, sender, CASES[case][0]["send"])
            result[case] = Outcome(received, observer.heard(), before, row(rooms.plugins.listing()))
        rooms.plugins.stop()
        turn(clock)
        return result


def turn(clock: Clock) -> None:
    """Let a while pass, so that pushes are not taken for one burst."""
    clock.pump([0.0] * 5 + [1.1])


def play(rooms: Rooms, sender: Client, request: Any) -> list[Any]:
    received = sender.send(request)
    for _ in range(5):
        rooms.clock.advance(0)
        received += sender.heard()
    turn(rooms.clock)
    return received + sender.heard()


def row(plugins: Mapping[str, Any]) -> Any:
    """Return status, autorun and parameters of the Generator, without what tells the time."""
    generator = plugins["Generator"]
    parameters = generator["parameters"]
    if isinstance(parameters, list):
        parameters = {name: value for name, value, _ in parameters}
    values = {name: value for name, value in parameters.items() if name != "gen_start"}
    return generator["status"], generator["autorun"], values


def answer(messages: Sequence[Any]) -> Any:
    """Return the answer among messages, without what only ours has, and without the lines of tracebacks."""
    (found,) = [message for message in messages if "error" in message]
    told = {key: value for key, value in found.items() if key not in ("errors", "pluginList", "__abbrev__")}
    if isinstance(told.get("logger"), dict):
        told["logger"] = {key: value for key, value in told["logger"].items() if key != "info"}
    return plain(told)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return (
        re.sub(r"Traceback.*\b(\w+Error: )", r"\1", value, flags=re.DOTALL).strip()
        if is_text(value)
        else value
    )


def is_text(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("Traceback")


def pushed(messages: Sequence[Any]) -> list[Any]:
    return [row(message["pluginList"]) for message in messages if list(message) == ["pluginList"]]


class ReplayTests(SynchronousTestCase):
    """A test for each case."""

    def check(self, case: str) -> None:
        # What the key was meant to do is told by the repaired original, where it was asked.
        theirs: Line = CASES[case][-1]
        ours = outcomes(RUN_OF[case])[case]
        self.check_answer(case, theirs, answer(ours.received))
        self.check_row(case, theirs, ours)
        self.check_pushes(ours)

    def check_answer(self, case: str, theirs: Line, ours: Any) -> None:
        if case not in DIFFERENCES:
            # The subscription's answer may come after values.
            self.assertEqual(ours, answer(theirs["recv"]))
            return
        rule, expected = DIFFERENCES[case]
        if expected is not FAILED:
            expected = {"error": False, "plugin": {"Generator": expected}}
        self.assertEqual(ours, expected, rule)

    def check_row(self, case: str, theirs: Line, ours: Outcome) -> None:
        lists = [row(message["pluginList"]) for message in theirs["recv"] if "pluginList" in message]
        if lists:
            self.assertEqual(ours.after[:2], lists[-1][:2])
            if case in PARAMETERS_ALIKE:
                self.assertEqual(ours.after[2], lists[-1][2])

    def check_pushes(self, ours: Outcome) -> None:
        """Everybody is told of a change, once, the sender before its answer unless plugins work it off."""
        if ours.before != ours.after:
            self.assertEqual(pushed(ours.observed)[-1], ours.after)
            self.assertEqual(pushed(ours.received)[-1], ours.after)
            if "logger" not in answer(ours.received):
                keys = [next(iter(message)) for message in ours.received]
                self.assertLess(keys.index("pluginList"), keys.index("error"))


def _give_tests() -> None:
    def test_of(case: str) -> Callable[[Any], None]:
        def test(self: Any) -> None:
            self.check(case)

        test.__doc__ = f"The case {case} of the transcript."
        return test

    for case in RUN_OF:
        setattr(ReplayTests, "test_" + case.replace(".", "_"), test_of(case))


_give_tests()


class CompletenessTests(SynchronousTestCase):
    def test_every_difference_is_one(self) -> None:
        for case, (_, expected) in DIFFERENCES.items():
            theirs = answer(CASES[case][-1]["recv"])
            ours = expected if expected is FAILED else {"error": False, "plugin": {"Generator": expected}}
            self.assertNotEqual(ours, theirs, case)

    def test_every_entry_is_of_a_case_that_is_replayed(self) -> None:
        self.assertLessEqual({*DIFFERENCES, *PARAMETERS_ALIKE}, set(RUN_OF))
