"""LoggerPlugin, and the way out of its process, in this process."""

from __future__ import annotations

from array import array
from itertools import cycle
from pathlib import Path
from threading import Event as Signal
from threading import Lock, Thread
from threading import enumerate as threads
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.box.columns import Series, series
from rtoc_twisted.box.frames import LIMIT
from rtoc_twisted.box.messages import Event, Notify, Plot, Samples
from rtoc_twisted.errors import TooLarge
from rtoc_twisted.plugins.child import look
from rtoc_twisted.plugins.child.api import LARGEST_FILE, LoggerPlugin
from rtoc_twisted.plugins.child.link import LONGEST, Link
from rtoc_twisted.plugins.child.load import bind, make
from rtoc_twisted.plugins.child.outlet import AT_ONCE, FULL, HOLD, MOST_ENTRIES, SLICE, Outlet
from rtoc_twisted.plugins.child.timers import PerpetualTimer
from rtoc_twisted.plugins.orders import Init, Log, Pong, Report, Started, Variable, report_reader

from .plugin_child_support import PATIENCE, floats
from .storage_support import unhurried

NOW = 1000.0


class Pipe:
    """What an outlet writes to; `heard` are the reports in it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.broken = False
        self.now = NOW
        self.outlet = Outlet(self.write, lambda: self.now)

    def write(self, data: bytes) -> None:
        if self.broken:
            raise BrokenPipeError
        self.written.append(data)

    def heard(self) -> list[Report]:
        """Return the reports so far, those that were held back too."""
        self.outlet.flush()
        return report_reader().feed(b"".join(self.written))


def values(names: str, count: int, y: float = 0.0) -> Series:
    """Return as many values of the signals, one letter each, as told."""
    return series([y] * count, (list(names) * count)[:count], None, NOW, NOW)


class OutletTest(SynchronousTestCase):
    """Order, gathering, and the end of the pipe."""

    def setUp(self) -> None:
        self.pipe = Pipe()
        self.outlet = self.pipe.outlet

    def call_often(self) -> None:
        """Make as many calls as are worked off at once, and forget them."""
        for _ in range(AT_ONCE):
            self.outlet.samples("d", values("a", 1))
        self.pipe.written.clear()

    def test_values_are_written_at_once(self) -> None:
        for calls in range(1, AT_ONCE + 1):
            self.outlet.samples("d", values("a", 1))
            self.assertEqual(len(self.pipe.written), calls)
        self.outlet.samples("d", values("a", 1))
        self.assertEqual(len(self.pipe.written), AT_ONCE, "one more waits")

    def test_after_a_while_values_are_written_at_once_again_and_none_overtakes_another(self) -> None:
        self.call_often()
        self.outlet.samples("d", values("a", 1, 1))
        self.pipe.now += HOLD
        self.outlet.samples("d", values("b", 1, 2))
        self.assertEqual(self.pipe.written, [])
        self.outlet.flush()
        self.outlet.samples("d", values("a", 1, 3))
        self.assertEqual(len(self.pipe.written), 2)
        heard = [floats(report.y) for report in self.pipe.heard() if isinstance(report, Samples)]
        self.assertEqual(heard, [[1.0], [2.0], [3.0]])

    def test_of_many_calls_values_wait_for_others_of_the_same_names(self) -> None:
        self.call_often()
        for y in range(3):
            self.assertTrue(self.outlet.samples("d", values("ab", 2, y)))
        self.assertEqual(self.pipe.written, [])
        (samples,) = self.pipe.heard()
        assert isinstance(samples, Samples)
        self.assertEqual((samples.dname, samples.names, samples.units), ("d", ["a", "b"], [None, None]))
        self.assertEqual(floats(samples.x), [NOW] * 6)
        self.assertEqual(floats(samples.y), [0, 0, 1, 1, 2, 2])

    def test_others_are_kept_apart(self) -> None:
        self.call_often()
        for dname, names in (("d", "a"), ("d", "b"), ("e", "b"), ("d", "a")):
            self.outlet.samples(dname, values(names, 1))
        heard = [report for report in self.pipe.heard() if isinstance(report, Samples)]
        found = [(report.dname, report.names, len(floats(report.y))) for report in heard]
        self.assertEqual(found, [("d", ["a"], 2), ("d", ["b"], 1), ("e", ["b"], 1)])

    def test_no_value_overtakes_another_of_its_signal(self) -> None:
        self.call_often()
        for names in ("a", "ab", "a"):
            self.outlet.samples("d", values(names, len(names)))
        heard = [report.names for report in self.pipe.heard() if isinstance(report, Samples)]
        self.assertEqual(heard, [["a"], ["a", "b"], ["a"]])

    @given(
        st.lists(st.tuples(st.sampled_from("de"), st.sampled_from(("a", "b", "ab", "")), st.integers(1, 3)))
    )
    @unhurried
    def test_any_values_of_a_signal_and_messages_keep_their_order(
        self, calls: list[tuple[str, str, int]]
    ) -> None:
        pipe = Pipe()
        for _ in range(AT_ONCE):
            pipe.outlet.samples("before", values("a", 1))
        pipe.written.clear()
        wanted: dict[tuple[str, str], list[tuple[int, float]]] = {}
        messages = 0
        for number, (dname, names, times) in enumerate(calls):
            if names:
                pipe.outlet.samples(dname, values(names, len(names) * times, number))
                for name in names * times:
                    wanted.setdefault((dname, name), []).append((messages, float(number)))
            else:
                pipe.outlet.send(Started())
                messages += 1
        found: dict[tuple[str, str], list[tuple[int, float]]] = {}
        messages = 0
        for report in pipe.heard():
            if isinstance(report, Samples):
                signals = cycle(report.names)
                for y in floats(report.y):
                    found.setdefault((report.dname, next(signals)), []).append((messages, y))
            else:
                messages += 1
        self.assertEqual(found, wanted)

    def test_a_message_comes_after_the_values_before_it(self) -> None:
        self.outlet.samples("d", values("a", 1))
        self.outlet.send(Started())
        self.outlet.samples("d", values("a", 1))
        self.assertEqual([type(report) for report in self.pipe.heard()], [Samples, Started, Samples])

    def test_many_values_wait_for_nothing(self) -> None:
        self.call_often()
        self.outlet.samples("d", values("a", FULL - 1))
        self.assertEqual(len(self.pipe.written), 0)
        self.outlet.samples("d", values("a", 1))
        self.assertEqual(len(self.pipe.written), 1)

    def test_many_kinds_wait_for_nothing(self) -> None:
        self.call_often()
        for index in range(MOST_ENTRIES):
            self.outlet.samples(f"d{index}", values("a", 1))
        self.assertEqual(len(self.pipe.written), 1)

    def test_long_columns_are_cut_where_the_names_begin_again(self) -> None:
        count = 3 * (SLICE // 3) + 3
        self.outlet.samples(
            "d", Series(("a", "b", "c"), (None,) * 3, array("d", range(count)), array("d", range(count)))
        )
        first, second = (report for report in self.pipe.heard() if isinstance(report, Samples))
        self.assertEqual(floats(first.y) + floats(second.y), list(map(float, range(count))))
        self.assertEqual(floats(second.y), [count - 3.0, count - 2.0, count - 1.0])

    def test_more_names_than_a_message_has_values(self) -> None:
        names = [f"{index:x}" for index in range(SLICE + 2)]
        self.outlet.samples("d", series([1.0] * len(names), names, None, None, NOW))
        heard = [name for report in self.pipe.heard() if isinstance(report, Samples) for name in report.names]
        self.assertEqual(heard, names)

    def test_no_values_are_no_message(self) -> None:
        self.assertTrue(self.outlet.samples("d", values("a", 0)))
        self.assertEqual(self.pipe.heard(), [])

    def test_nobody_reads(self) -> None:
        self.pipe.broken = True
        self.assertFalse(self.outlet.send(Started()))
        self.assertFalse(self.outlet.open)
        self.assertFalse(self.outlet.samples("d", values("a", 1)))
        self.assertEqual(self.pipe.heard(), [])

    def test_a_forked_process_writes_nothing(self) -> None:
        self.call_often()
        self.outlet.samples("d", values("a", 1))
        self.outlet.abandon()
        self.assertFalse(self.outlet.send(Started()))
        self.assertEqual(self.pipe.written, [])

    def test_too_large(self) -> None:
        self.assertRaises(TooLarge, self.outlet.send, Plot("d", "s", "", "off", bytes(LIMIT), b""))

    def test_the_thread_writes_what_waits_and_answers_pings(self) -> None:
        arrived, first = Signal(), Signal()

        def write(data: bytes) -> None:
            for report in report_reader().feed(data):
                if isinstance(report, Samples) and report.names == ["b"]:
                    first.set()
                if isinstance(report, Pong):
                    arrived.set()
                    raise BrokenPipeError

        # Its time stands still: after some, values wait for the thread.
        outlet = Outlet(write, lambda: NOW)
        thread = Thread(target=outlet.keep_flushing, daemon=True)
        thread.start()
        for name in "a" * AT_ONCE + "b":
            outlet.samples("d", values(name, 1))
        self.assertTrue(first.wait(PATIENCE))
        outlet.pong(7)
        thread.join(PATIENCE)
        self.assertTrue(arrived.is_set())
        self.assertFalse(thread.is_alive())


class PluginCase(SynchronousTestCase):
    """Makes plugins that are bound to a pipe."""

    def setUp(self) -> None:
        self.pipe = Pipe()
        self.changes = 0
        self.kept: dict[str, dict[str, Any]] = {}
        init = Init("Mine", "/s/devices/Mine/Mine.py", "", "Mine", "/s", 4.0, self.kept, {"port": 1})
        self.link = Link(init, self.pipe.outlet, self.changed, lambda: NOW)

    def changed(self) -> None:
        self.changes += 1

    def made(self, kind: type[LoggerPlugin] = LoggerPlugin) -> Any:
        """Return an object of a class that derives from the given one."""
        plugin = type("Plugin", (kind,), {})
        bind(plugin, self.link)
        return make(plugin, self.link)

    def heard(self, kind: type) -> list[Any]:
        """Return the reports of a kind so far."""
        return [report for report in self.pipe.heard() if isinstance(report, kind)]

    def errors(self) -> list[str]:
        """Return the errors in the log."""
        return [line.text for line in self.heard(Log) if line.level == 2]


class StreamTest(PluginCase):
    """stream, plot and event."""

    def setUp(self) -> None:
        super().setUp()
        self.plugin = self.made()

    def streamed(self) -> list[tuple[str, str, str | None, float, float]]:
        """Return device, signal, unit, x and y of each value so far."""
        return [
            (report.dname, report.names[i % len(report.names)], report.units[i % len(report.names)], x, y)
            for report in self.heard(Samples)
            for i, (x, y) in enumerate(zip(floats(report.x), floats(report.y), strict=True))
        ]

    def test_the_three_forms(self) -> None:
        self.assertIs(self.plugin.stream(1, "a", unit=[""]), True)
        self.assertIs(self.plugin.stream([2, 3], ["a", "b"], "D", ["V", "A"]), True)
        self.assertIs(self.plugin.stream(y=[4], snames=["a"], x=[5]), True)
        self.assertIs(self.plugin.stream(slist=[[6, "a", "V"]], dname="L"), True)
        self.assertIs(self.plugin.stream(sdict={"E": {"a": [7, "V"]}, "F": {"b": [np.float32(8), ""]}}), True)
        self.assertEqual(
            self.streamed(),
            [
                ("Mine", "a", "", NOW, 1),
                ("D", "a", "V", NOW, 2),
                ("D", "b", "A", NOW, 3),
                ("Mine", "a", None, 5, 4),
                ("L", "a", "V", NOW, 6),
                ("E", "a", "V", NOW, 7),
                ("F", "b", "", NOW, 8),
            ],
        )
        self.assertEqual(self.errors(), [])

    def test_wrong_values_are_logged_and_answered_with_false(self) -> None:
        self.assertIs(self.plugin.stream("text", "a"), False)
        self.assertIs(self.plugin.stream([1, "x"], ["a", "b"]), False)
        self.assertIs(self.plugin.stream(sdict=[1]), False)
        self.assertIs(self.plugin.stream(slist=[1]), False)
        self.assertIs(self.plugin.stream(sdict={"D": 1, "E": {"a": [1, "V"]}}), False)
        self.assertEqual(self.streamed(), [("E", "a", "V", NOW, 1)])
        self.assertEqual(
            self.errors(),
            [
                "stream: y is a str, not a number or a list of numbers",
                "stream: y[1]: 'x' is no number",
                "stream: sdict is no {dname: {sname: [y, unit]}}",
                "stream: slist[0] is not [y, name, unit]",
                "stream: D: a device in sdict has no {name: [y, unit]}",
            ],
        )

    def test_the_device_name(self) -> None:
        self.plugin.setDeviceName("Other")
        self.plugin.stream(1, "a")
        self.plugin.setDeviceName()
        self.plugin.stream(1, "a")
        self.assertEqual([value[0] for value in self.streamed()], ["Other", "noDevice"])

    def test_the_server_is_gone(self) -> None:
        self.pipe.broken = True
        self.plugin.stream(1, "a")
        self.pipe.outlet.flush()
        self.assertIs(self.plugin.stream(1, "a"), False)
        self.assertIs(self.plugin.event("x"), False)
        self.assertIs(self.plugin.plot([1], [1]), False)

    def test_plot(self) -> None:
        self.assertIs(self.plugin.plot([-10, 0], [2, 1], sname="P", unit="Wow"), True)
        self.assertIs(self.plugin.plot([3, 4], dname="D", hold="mergeX", autoResize=True), True)
        self.assertIs(self.plugin.plot(np.arange(1.0), np.ones(1), ["P"], "D", ["V", "A"], "on"), True)
        heard = [(p.dname, p.sname, p.unit, p.hold, floats(p.x), floats(p.y)) for p in self.heard(Plot)]
        self.assertEqual(
            heard,
            [
                ("Mine", "P", "Wow", "off", [-10, 0], [2, 1]),
                ("D", "noName", "", "mergeX", [0, 1], [3, 4]),
                ("D", "P", "A", "on", [0], [1]),
            ],
        )

    def test_a_plot_that_is_none(self) -> None:
        self.assertIs(self.plugin.plot([1, 2], [1]), False)
        self.assertIs(self.plugin.plot([1], ["x"]), False)
        self.assertIs(self.plugin.plot([1], [1], hold="maybe"), False)
        self.assertEqual(self.heard(Plot), [])
        self.assertEqual(len(self.errors()), 3)

    def test_a_long_plot_comes_in_parts_that_append(self) -> None:
        axis = np.arange(2.0 * SLICE + 1)
        self.plugin.plot(axis, axis)
        plots = self.heard(Plot)
        self.assertEqual([plot.hold for plot in plots], ["off", "on", "on"])
        self.assertEqual(b"".join(plot.y for plot in plots), axis.astype("<f8").tobytes())

    def test_an_empty_plot_empties(self) -> None:
        self.assertIs(self.plugin.plot([], []), True)
        self.assertEqual(self.heard(Plot), [Plot("Mine", "noName", "", "off", b"", b"")])

    def test_event(self) -> None:
        self.assertIs(self.plugin.event("text", "s", "d", 2, "id", {"a": (1,)}, 5), True)
        self.assertIs(self.plugin.event(), True)
        self.assertIs(self.plugin.event("x", priority=7, x=np.float64(6)), True)
        self.assertIs(self.plugin.event("x", x="never"), False)
        self.assertEqual(
            self.heard(Event),
            [
                Event("text", "d", "s", 5.0, 2, "id", {"a": [1]}),
                Event("", "Mine", "unknownEvent", NOW, 0, "", None),
                Event("x", "Mine", "unknownEvent", 6.0, 0, "", None),
            ],
        )

    def test_values_and_events_keep_their_order(self) -> None:
        self.plugin.stream(1, "a")
        self.plugin.event("x")
        self.plugin.stream(2, "a")
        self.plugin.plot([1], [1])
        self.assertEqual([type(r) for r in self.pipe.heard()], [Samples, Event, Samples, Plot])

    def test_the_log(self) -> None:
        self.plugin.debug("d")
        self.plugin.info(5)
        self.plugin.warning("w")
        self.plugin.error("x" * (LONGEST + 3))
        lines = [(line.level, line.text, line.moment) for line in self.heard(Log)]
        cut = "x" * LONGEST + " ... (3 letters more)"
        self.assertEqual(lines, [(-1, "d", NOW), (0, "5", NOW), (1, "w", NOW), (2, cut, NOW)])

    def test_notes_to_people(self) -> None:
        photo = Path(self.mktemp())
        photo.write_bytes(b"png")
        self.assertIs(self.plugin.telegram_send_message("hello", priority=2, permission="read"), True)
        self.assertIs(self.plugin.telegram_send_photo(str(photo)), True)
        self.assertIs(self.plugin.telegram_send_document(photo, 1), True)
        self.assertIs(self.plugin.telegram_send_plot({"s": [np.arange(2), [3, 4]]}, "T", "t"), True)
        data = {"signals": {"s": [[0, 1], [3, 4]]}, "events": [], "dpi": 300}
        self.assertEqual(
            self.heard(Notify),
            [
                Notify("message", "Mine: hello", "", None, 2, "read"),
                Notify("photo", "", photo.name, b"png"),
                Notify("document", "", photo.name, b"png", 1),
                Notify("plot", "t", "T", data),
            ],
        )

    def test_a_file_that_is_not_sent(self) -> None:
        large = Path(self.mktemp())
        with large.open("wb") as file:
            file.truncate(LARGEST_FILE + 1)
        self.assertIs(self.plugin.telegram_send_photo("/does/not/exist"), False)
        self.assertIs(self.plugin.telegram_send_document(large), False)
        self.assertIs(self.plugin.telegram_send_photo(None), False)
        self.assertEqual(len(self.errors()), 3)

    def test_get_dir(self) -> None:
        self.assertEqual(self.plugin.getDir(), "/s/devices/Mine")
        self.assertEqual(self.plugin.getDir(__file__), str(Path(__file__).resolve().parent))

    def test_update_info(self) -> None:
        self.plugin.updateInfo()
        self.plugin.logger.analysePlugins()
        self.assertEqual(self.changes, 2)

    def test_the_logger_is_not_the_server(self) -> None:
        self.assertIn(
            "process of its own",
            str(self.assertRaises(AttributeError, getattr, self.plugin.logger, "database")),
        )

    def test_config(self) -> None:
        self.assertEqual(self.plugin.config, {"port": 1})
        self.assertNotIn("config", [entry[0] for entry in look.parameters(self.plugin)])


class LonePluginTest(SynchronousTestCase):
    """An object that no server made."""

    def test_it_says_so_and_does_nothing(self) -> None:
        plugin = LoggerPlugin(None, None, event=None)
        told: list[str] = []
        self.patch(plugin, "_tell", lambda level, text: told.append(text))
        self.assertFalse(plugin.stream(1, "a"))
        self.assertFalse(plugin.plot([1], [1]))
        self.assertFalse(plugin.event("x"))
        self.assertFalse(plugin.telegram_send_message("x"))
        self.assertFalse(plugin.savePersistentVariable("v", 1))
        self.assertEqual(plugin.initPersistentVariable("v", 2), 2)
        self.assertEqual(plugin.loadPersistentVariable("v", 3), 3)
        self.assertEqual(told[0], "stream: this plugin was not started by a server")
        self.assertEqual(len(told), 4)


class VariablesTest(PluginCase):
    """Persistent variables."""

    def test_init_load_save(self) -> None:
        self.kept["Mine"] = {"old": 5}
        plugin = self.made()
        self.assertEqual(plugin.initPersistentVariable("old", 1), 5)
        self.assertEqual(plugin.initPersistentVariable("new", 1), 1)
        self.assertEqual(plugin.loadPersistentVariable("new", 9), 1)
        self.assertEqual(plugin.loadPersistentVariable("none", 9), 9)
        self.assertIs(plugin.savePersistentVariable("new", (2, np.int8(3)), "D"), True)
        self.assertEqual(plugin.loadPersistentVariable("new", 9, "D"), (2, 3))
        self.assertEqual(self.heard(Variable), [Variable("Mine", "new", 1), Variable("D", "new", [2, 3])])
        self.assertTrue(plugin.logger.isPersistentVariable("old", "Mine"))
        self.assertFalse(plugin.logger.isPersistentVariable("old", "D"))

    def test_an_attribute_that_saves_itself(self) -> None:
        self.kept["D"] = {"limit": 7}
        plugin = self.made()
        plugin.createPersistentVariable("limit", 5, "D", docs="The limit")
        plugin.createPersistentVariable("other", [1])
        self.assertEqual((plugin.limit, plugin.other), (7, [1]))
        self.assertEqual(self.heard(Variable), [])
        plugin.limit = 8
        self.assertEqual(plugin.limit, 8)
        self.assertEqual(self.heard(Variable), [Variable("D", "limit", 8)])
        self.assertIn(["limit", 8, "The limit"], look.parameters(plugin))
        self.assertIn(["other", [1], None], look.parameters(plugin))

    def test_another_plugin_has_no_such_attribute(self) -> None:
        self.made().createPersistentVariable("limit", 5)
        self.assertFalse(hasattr(LoggerPlugin, "limit"))


class FormsTest(PluginCase):
    """The ways in which plugins take what RTOC's versions gave them."""

    def test_three(self) -> None:
        class Third(LoggerPlugin):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.given = set(kwargs)

        self.assertEqual(self.made(Third).given, {"logger"})

    def test_logger(self) -> None:
        class Named(LoggerPlugin):
            def __init__(self, logger: Any) -> None:
                super().__init__(logger)
                self.same = type(logger) is type(self.logger)

        self.assertTrue(self.made(Named).same)

    def test_two(self) -> None:
        class Second(LoggerPlugin):
            def __init__(self, stream: Any = None, plot: Any = None, event: Any = None) -> None:
                super().__init__(stream, plot, event)

        self.assertTrue(self.made(Second).stream(1, "a"))

    def test_one(self) -> None:
        class First(LoggerPlugin):
            def __init__(self, stream: Any, plot: Any, event: Any) -> None:
                super().__init__(stream, plot, event)

        self.assertTrue(self.made(First).event("x"))

    def test_what_init_does_comes_after_the_link(self) -> None:
        class Early(LoggerPlugin):
            def __init__(self) -> None:
                self.stream(1, "a")
                super().__init__()

        self.made(Early)
        self.assertEqual([samples.names for samples in self.heard(Samples)], [["a"]])


class TimerTest(PluginCase):
    """Perpetual timers; only what they do, not when."""

    def setUp(self) -> None:
        super().setUp()
        self.plugin = self.made()
        self.addCleanup(self.plugin.close)

    def test_it_calls_again_and_again(self) -> None:
        calls: list[int] = []
        enough = Signal()

        def called() -> None:
            calls.append(1)
            if len(calls) == 3:
                enough.set()

        self.assertIs(self.plugin.setPerpetualTimer(called, samplerate=1000), True)
        self.assertIs(self.plugin.run, False)
        self.assertIs(self.plugin.start(), True)
        self.assertIs(self.plugin.run, True)
        self.assertTrue(enough.wait(PATIENCE))
        self.assertIs(self.plugin.cancel(), True)
        self.assertIs(self.plugin.run, False)

    def test_no_call_after_cancel(self) -> None:
        lock, calls = Lock(), []
        timer = PerpetualTimer(lambda: calls.append(1), 1000, lock, lambda level, text: None)
        with lock:
            timer.start()
            timer.start()
            (thread,) = [thread for thread in threads() if thread.name == "perpetual timer"]
            timer.cancel()
        thread.join(PATIENCE)
        self.assertFalse(thread.is_alive())
        self.assertEqual(calls, [])

    def test_another_rate_wakes_it(self) -> None:
        again = Signal()
        calls: list[int] = []

        def called() -> None:
            calls.append(1)
            if len(calls) == 1:
                self.plugin.samplerate = 1000
            else:
                again.set()

        self.plugin.setPerpetualTimer(called, interval=3600)
        self.plugin.start()
        self.assertTrue(again.wait(PATIENCE))

    def test_old_timers_begin_with_an_interval(self) -> None:
        called = Signal()
        self.plugin.setPerpetualTimer(called.set, interval=3600, old=True)
        self.plugin.start()
        self.plugin.setInterval(1e-3)
        self.assertTrue(called.wait(PATIENCE))

    def test_rates(self) -> None:
        self.assertEqual(self.plugin.samplerate, 4)
        self.assertIs(self.plugin.setSamplerate(5), False)
        self.assertIs(self.plugin.setInterval(5), False)
        self.assertIs(self.plugin.setPerpetualTimer(int), True)
        self.assertEqual(self.plugin.samplerate, 4)
        self.assertIs(self.plugin.setSamplerate(5), True)
        self.assertEqual(self.plugin.samplerate, 5)
        self.assertIs(self.plugin.setInterval(0.5), True)
        self.assertEqual(self.plugin.samplerate, 2)
        self.plugin.samplerate = 0
        self.assertIs(self.plugin.setSamplerate("fast"), False)
        self.assertIs(self.plugin.setInterval(-1), False)
        self.assertEqual(self.plugin.samplerate, 2)
        self.assertEqual(len(self.errors()), 3)

    def test_no_timer(self) -> None:
        self.assertIs(self.plugin.start(), False)
        self.assertIs(self.plugin.cancel(), False)
        for wrong in ({"fun": 5}, {"fun": int, "samplerate": 0}, {"fun": int, "interval": "x"}):
            self.assertIs(self.plugin.setPerpetualTimer(**wrong), False)
        self.assertEqual(len(self.errors()), 3)

    def test_a_function_that_raises_is_told_once_and_called_again(self) -> None:
        told: list[tuple[int, str]] = []
        faults: list[Exception | None] = [ValueError("a"), ValueError("a"), ValueError("b"), None, None]

        def called() -> None:
            fault = faults.pop(0)
            if fault is not None:
                raise fault

        timer = PerpetualTimer(called, 1, Lock(), lambda level, text: told.append((level, text)))
        for _ in range(5):
            timer.call()
        self.assertEqual([level for level, _ in told], [2, 2, 0])
        self.assertIn("ValueError: a\n", told[0][1])
        self.assertIn("Traceback", told[0][1])
        self.assertIn("ValueError: b\n", told[1][1])
        self.assertIn("after 3 failures", told[2][1])

    def test_close_hides_the_widget(self) -> None:
        done: list[str] = []

        class Widget:
            def hide(self) -> None:
                done.append("hide")

            def close(self) -> None:
                done.append("close")

        self.plugin.widget = Widget()
        self.plugin.close()
        self.assertEqual(done, ["hide", "close"])
