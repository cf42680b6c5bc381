"""What a plugin shows, and what clients may use of it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.plugins.child import look
from rtoc_twisted.plugins.child.api import LoggerPlugin
from rtoc_twisted.plugins.child.link import Link
from rtoc_twisted.plugins.child.load import bind
from rtoc_twisted.plugins.child.outlet import Outlet
from rtoc_twisted.plugins.orders import Init

GOLDEN = Path(__file__).parent / "golden" / "rtoc-3.0.jsonl"


class Generator(LoggerPlugin):
    """Has the functions and parameters of RTOC's example plugin."""

    __doc_offset__ = "Y-Offset of selected signal"

    def __init__(self) -> None:
        super().__init__()
        self.samplerate = 10
        self.smallGUI = True
        self.gen_freq = self.gen_level = self.offset = self.phase = 1
        self.gen_start = 1795359358.7979374
        self.exampleString = "Hello"
        self.exampleBoolean = True
        self.__doc_exampleBoolean__ = "Beispiel-Boolean"
        self.__doc_exampleString__ = "Beispiel-Text"
        self.__doc_phase__ = "X-Phase of selected signal"
        self.__doc_gen_freq__ = "Frequency of selected signal"
        self.__doc_gen_level__ = "Amplitude of selected signal"

    @property
    def test(self) -> int:
        """The docstring of a property is not shown."""
        return 2

    def loadGUI(self) -> None:
        pass

    def _hidden(self) -> None:
        pass

    def __hidden(self) -> None:
        pass

    # As the example plugin has them: without annotations, or with these.

    def setFrequency(self, freq: float, inverse: bool = False):  # type: ignore[no-untyped-def]
        pass

    def changeExampleString(self, name: str):  # type: ignore[no-untyped-def]
        pass

    def changeType(self, stype: str = "Square"):  # type: ignore[no-untyped-def]
        pass

    def setAlphaColor(self, red=0, green=255, blue=0, alpha=255):  # type: ignore[no-untyped-def]
        pass

    def setColor(self, red=0, green=255, blue=0):  # type: ignore[no-untyped-def]
        pass


class Odd(LoggerPlugin):
    """What else plugins have."""

    values = [1, np.float64(2.5), object]
    nothing = None
    mapping = {"a": 1}
    measured = np.float32(0.5)
    count = np.int64(7)
    listed = np.array([1, 2])
    part = partial(int, "5")
    builtin = len

    @staticmethod
    def static(a: int, b: Any = object) -> None:
        """Has no self."""

    @property
    def broken(self) -> int:
        raise RuntimeError

    def with_locals(self, a: int) -> int:
        for b in range(a):
            a += b
        return a


def unquoted(entries: list[list[Any]]) -> list[list[Any]]:
    """Return functions with their annotations as where they are not put off."""
    return [[*entry[:6], entry[6].replace("'", "").replace("Square", "'Square'")] for entry in entries]


class LookTest(SynchronousTestCase):
    """Functions and parameters as getPluginList has them."""

    def test_golden(self) -> None:
        cases = map(json.loads, GOLDEN.read_text().splitlines())
        case = next(case for case in cases if case.get("case") == "plugin.list.started")
        wanted = case["recv"][0]["pluginList"]["Generator"]
        functions = [[*entry[:5], None, entry[6]] for entry in wanted["functions"]]
        plugin = type("Plugin", (Generator,), {})
        bind(plugin, Link(Init("n", "", "", "n", "/"), Outlet(bytearray().extend), lambda: None))
        self.assertEqual(unquoted(look.functions(plugin())), functions)
        self.assertEqual(look.parameters(plugin()), wanted["parameters"])

    def test_a_class_shows_its_functions_as_its_objects_do(self) -> None:
        self.assertEqual(look.functions(Generator), look.functions(Generator()))
        self.assertEqual(look.functions(Odd), look.functions(Odd()))
        self.assertNotIn("samplerate", [entry[0] for entry in look.class_parameters(Odd)])
        self.assertIn(["count", 7, None], look.class_parameters(Odd))

    def test_nothing_of_the_api_but_update_info_and_samplerate(self) -> None:
        self.assertEqual([entry[0] for entry in look.functions(LoggerPlugin())], ["updateInfo"])
        names = [entry[0] for entry in look.parameters(LoggerPlugin())]
        self.assertEqual(names, ["config", "samplerate"])

    def test_odd_functions(self) -> None:
        functions = {entry[0]: entry[1:] for entry in look.functions(Odd())}
        self.assertEqual(functions["part"], [[], 0, [], None, partial.__doc__, "(...)"])
        self.assertEqual(functions["builtin"][5], "(obj, /)")
        self.assertEqual(functions["static"][:4], [["a", "b"], 2, ["a", "b"], [repr(object)]])
        self.assertEqual(functions["static"][4], "Has no self.")
        self.assertEqual(functions["with_locals"][:3], [["a"], 1, ["self", "a", "b"]])

    def test_odd_parameters(self) -> None:
        parameters = {entry[0]: entry[1] for entry in look.parameters(Odd())}
        self.assertEqual(parameters["values"], [1, 2.5, repr(object)])
        self.assertEqual(
            (parameters["measured"], parameters["count"], parameters["listed"]), (0.5, 7, [1, 2])
        )
        for name in ("nothing", "mapping", "broken"):
            self.assertEqual(parameters[name], "Unknown datatype")


class UseTest(SynchronousTestCase):
    """Names that clients may use."""

    def test_functions(self) -> None:
        plugin = Generator()
        self.assertEqual(look.function(plugin, "setFrequency"), plugin.setFrequency)
        self.assertEqual(look.function(plugin, "getDir"), plugin.getDir)
        names = [
            "_hidden",
            "__class__",
            "_Generator__hidden",
            "close",
            "start",
            "cancel",
            "nope",
            "offset",
            "",
        ]
        for name in [*names, "setFrequency.__globals__", "setColor(1);x"]:
            self.assertRaises(look.Refused, look.function, plugin, name)

    def test_values(self) -> None:
        self.assertEqual(look.value(Odd(), "mapping"), {"a": 1})
        self.assertIs(look.value(Odd(), "nothing"), None)
        for name in ("_samplerate", "__dict__", "nope", "static", "values.append"):
            self.assertRaises(look.Refused, look.value, Odd(), name)

    def test_settable(self) -> None:
        look.settable(Generator(), "offset")
        look.settable(Generator(), "test")
        look.settable(Generator(), "brandnew")
        names = [
            "_samplerate",
            "__class__",
            "run",
            "logger",
            "rtoc",
            "widget",
            "setFrequency",
            "stream",
            "static",
        ]
        for name in [*names, "gen_level=77;self._inj", "a.b", "", "two words"]:
            self.assertRaises(look.Refused, look.settable, Odd() if name == "static" else Generator(), name)

    def test_a_property_is_not_read_to_see_whether_it_may_be_set(self) -> None:
        look.settable(Odd(), "broken")
