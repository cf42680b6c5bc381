"""The plugins that are shipped: Generator's shapes and names, System's signals."""

from __future__ import annotations

import json
import math
import sys
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.plugins.child import look
from rtoc_twisted.plugins.shipped import Generator, System

from .golden_replay import lines


class Heard:
    """A plugin's way out, for tests: what it streamed and logged; its timer is not started."""

    def __init__(self, plugin: type) -> None:
        self.values: list[tuple[dict[str, float], list[str]]] = []
        self.log: list[str] = []
        heard = self

        class Silent(plugin):  # type: ignore[misc]  # the class is an argument
            def stream(self, y: list[float], names: list[str], unit: Any = None, x: Any = None) -> bool:
                heard.values.append((dict(zip(names, y, strict=True)), unit))
                return True

            def start(self) -> bool:
                return True

            def info(self, msg: object) -> None:
                heard.log.append(str(msg))

        self.plugin = Silent()


class GeneratorTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.now = 1000.0
        self.patch(Generator.time, "time", lambda: self.now)
        self.heard = Heard(Generator.Plugin)
        self.plugin = self.heard.plugin
        self.plugin.gen_freq, self.plugin.gen_level = 0.5, 3.0
        self.plugin.offset, self.plugin.phase = 10.0, 0.0

    def turn(self, kind: str) -> list[float]:
        """Return the values of a shape at each eighth of its period of 2 seconds."""
        self.assertTrue(self.plugin.changeType(kind))
        self.heard.values.clear()
        for eighth in range(8):
            self.now = 1000.0 + eighth / 4
            self.plugin._generate()
        return [values[kind] for values, _ in self.heard.values]

    def test_shapes(self) -> None:
        root = math.sqrt(0.5)
        shapes = {
            "Sinus": [0, root, 1, root, 0, -root, -1, -root],
            "Cosinus": [1, root, 0, -root, -1, -root, 0, root],
            "Square": [1, 1, 1, 1, 0, 0, 0, 0],
            "Sawtooth": [0, 1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8, 6 / 8, 7 / 8],
            "AC": [0, 1, 1 / root, 1, 0, -1, -1 / root, -1],
            "DC": [1] * 8,
        }
        for kind, shape in shapes.items():
            for got, share in zip(self.turn(kind), shape, strict=True):
                self.assertAlmostEqual(got, 10 + 3 * share, msg=kind)

    def test_random(self) -> None:
        values = self.turn("Random")
        self.assertGreater(len(set(values)), 1)
        self.assertTrue(all(10 <= value < 13 for value in values), values)

    def test_the_level_of_ac_is_its_root_mean_square(self) -> None:
        squares = [(value - 10) ** 2 for value in self.turn("AC")]
        self.assertAlmostEqual(math.sqrt(sum(squares) / len(squares)), 3)

    def test_phase(self) -> None:
        self.plugin.phase = math.pi / 2
        self.assertAlmostEqual(self.turn("Sinus")[0], 13)

    def test_functions(self) -> None:
        self.assertFalse(self.plugin.changeType("Triangle"))
        self.assertEqual(self.plugin._type, "Square")
        self.assertTrue(self.plugin.setFrequency(5))
        self.assertEqual(self.plugin.gen_freq, 5)
        self.assertTrue(self.plugin.setFrequency(5, inverse=True))
        self.assertEqual(self.plugin.gen_freq, 0.2)
        for wrong in ("x", 0, -1, True, None, math.nan, math.inf):
            self.assertFalse(self.plugin.setFrequency(wrong), wrong)
        self.assertEqual(self.plugin.gen_freq, 0.2)
        self.plugin.changeExampleString("it's")
        self.assertEqual(self.plugin.exampleString, "it's")
        self.plugin.setAlphaColor(1, 2, 3, 4)
        self.assertEqual(self.heard.log[-1], "colour 1, 2, 3, alpha 4")

    def test_what_clients_see_of_it_is_what_they_saw_of_rtoc_s(self) -> None:
        """Names, arguments and defaults, and the first values of the parameters, as RTOC 3.0 answered."""
        (original, *_) = lines()["plugin.list.started"]
        told = original["recv"][0]["pluginList"]["Generator"]
        plugin = Heard(Generator.Plugin).plugin
        functions = {it[0]: it[1:5] for it in look.functions(plugin)}
        self.assertEqual(functions, {it[0]: it[1:5] for it in told["functions"]})
        parameters = {name: value for name, value, _ in look.parameters(plugin)}
        expected = {name: value for name, value, _ in told["parameters"]} | {"gen_start": self.now}
        parameters.pop("config", None)
        self.assertEqual(parameters, expected)

    def test_colours_have_a_form(self) -> None:
        form = json.loads(Generator.Plugin.setAlphaColor.__doc__.splitlines()[1])
        self.assertEqual(form["type"], "RGBA_Color")
        self.assertEqual(form["alpha"], {"min": 0, "max": 255})


class SystemTest(SynchronousTestCase):
    def test_its_signals(self) -> None:
        heard = Heard(System.Plugin)
        moments = iter([10.0, 12.0])
        traffic = mock.Mock(side_effect=[mock.Mock(bytes_recv=0, bytes_sent=0), None])
        self.patch(System.time, "monotonic", lambda: next(moments))
        self.patch(heard.plugin._psutil, "net_io_counters", traffic)
        heard.plugin._network = heard.plugin._traffic()
        heard.plugin._measure()
        ((values, units),) = heard.values
        self.assertEqual(list(values)[:5], ["CPU", "Memory", "Disk", "Received", "Sent"])
        self.assertEqual(units[:5], ["%", "%", "%", "MiB/s", "MiB/s"])
        self.assertTrue(0 < values["Memory"] < 100, values)

    def test_rates_are_of_the_time_between(self) -> None:
        plugin = Heard(System.Plugin).plugin
        plugin._network = (10.0, 0, 1 << 20)
        self.patch(plugin, "_traffic", lambda: (12.0, 4 << 20, 2 << 20))
        self.assertEqual(plugin._rates(), {"Received": (2.0, "MiB/s"), "Sent": (0.5, "MiB/s")})
        self.assertEqual(plugin._rates(), {})

    def test_temperatures(self) -> None:
        plugin = Heard(System.Plugin).plugin
        sensors = {"coretemp": [mock.Mock(label="Core 0", current=41.5), mock.Mock(label="", current=40.0)]}
        plugin._psutil = mock.Mock(sensors_temperatures=lambda: sensors)
        self.assertEqual(
            plugin._temperatures(),
            {"Temperature coretemp Core 0": (41.5, "°C"), "Temperature coretemp 2": (40.0, "°C")},
        )
        plugin._psutil = object()
        self.assertEqual(plugin._temperatures(), {})

    def test_without_psutil_it_says_what_to_do(self) -> None:
        with mock.patch.dict(sys.modules, {"psutil": None}):
            error = self.assertRaises(RuntimeError, System.Plugin)
        self.assertIn("pip install 'rtoc_twisted[system]'", str(error))
