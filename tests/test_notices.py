"""What plugins and scripts send to people becomes notices, and plots become pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from rtoc_twisted.box import plots
from rtoc_twisted.box.messages import Notify
from rtoc_twisted.box.notices import Notices, unheard
from rtoc_twisted.errors import BadValue
from rtoc_twisted.events.log import EventLog
from rtoc_twisted.interfaces import INotifier
from rtoc_twisted.model import Attachment, Notice, SignalName
from rtoc_twisted.plugins.host import PluginHost, Policy
from rtoc_twisted.recorder import Recorder
from rtoc_twisted.storage.memory import MemoryStorage

from .doubles import EPOCH
from .plugin_support import Launcher, found
from .storage_support import unhurried

PNG = b"\x89PNG\r\n\x1a\n"
PLOT: dict[str, Any] = {
    "signals": {"a": [[EPOCH, EPOCH + 1], [1.0, 2.5]], "_b $x$": [[EPOCH], [float("nan")]]},
    "events": [[EPOCH + 0.5, "now $^"]],
    "dpi": 60,
}


@implementer(INotifier)
class FakeNotifier:
    """Keeps notices; `wanting` channels want each."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.wanting = 1
        self.there = True

    def notify(self, notice: Notice) -> int:
        self.notices.append(notice)
        return self.wanting

    def told(self) -> dict[str, Any]:
        return {"duty": {}} if self.there else {}

    def counters(self) -> dict[str, float]:
        return {}


class NoticesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.notifier = FakeNotifier()
        self.complaints: list[str] = []

    def tell(self, message: Notify, device: str = "Plugin", thread: Any = execute) -> list[Notice]:
        Notices(self.notifier, thread, lambda: EPOCH).tell(message, device, self.complaints.append)
        return self.notifier.notices

    def test_a_message(self) -> None:
        told = self.tell(Notify("message", "Plugin: hello", priority=1))
        self.assertEqual(told, [Notice("Plugin: hello", "", 1, SignalName("Plugin", ""), EPOCH)])
        self.assertEqual(self.complaints, [])

    def test_a_message_of_nobody(self) -> None:
        (told,) = self.tell(Notify("message", "hello"), device="")
        self.assertIs(told.name, None)

    def test_files(self) -> None:
        self.tell(Notify("photo", "", "a.png", PNG))
        self.tell(Notify("document", "see", "/etc/../x\n.csv", b"1"))
        self.tell(Notify("document", "", "", b"2"))
        photo, document, nameless = self.notifier.notices
        self.assertEqual((photo.text, photo.title), ("a.png", "Plugin"))
        self.assertEqual(photo.attachments, (Attachment("a.png", PNG, "image/png"),))
        self.assertEqual(document.text, "see")
        self.assertEqual(document.attachments, (Attachment("x.csv", b"1", "text/csv"),))
        self.assertEqual(nameless.attachments, (Attachment("document", b"2"),))

    def test_a_file_that_is_none(self) -> None:
        (told,) = self.tell(Notify("photo", "look", "a.png", "no bytes"))
        self.assertEqual((told.text, told.attachments), ("look", ()))

    def test_a_plot(self) -> None:
        (told,) = self.tell(Notify("plot", "caption", "Title", PLOT, 2))
        self.assertEqual((told.text, told.title, told.priority), ("caption", "Title", 2))
        (file,) = told.attachments
        self.assertEqual((file.name, file.media_type, file.data[:8]), ("plot.png", "image/png", PNG))

    def test_no_channel_wants_it(self) -> None:
        self.notifier.wanting = 0
        self.tell(Notify("message", "hello"))
        self.assertEqual(self.complaints, ["nobody was told, no channel wants it: hello"])

    def test_there_is_no_channel(self) -> None:
        self.notifier.there = False
        self.assertEqual(self.tell(Notify("plot", "hello", "", PLOT)), [])
        unheard(Notify("message", "too"), "Plugin", self.complaints.append)
        self.assertEqual(
            self.complaints,
            ["nobody was told, no channel is set up: hello", "nobody was told, no channel is set up: too"],
        )

    def test_a_plot_that_is_none(self) -> None:
        self.assertEqual(self.tell(Notify("plot", "hello", "", {"signals": 5})), [])
        self.assertEqual(len(self.complaints), 1)
        self.assertIn("nobody was told, this is no plot", self.complaints[0])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_drawing_that_breaks_is_told_and_logged(self) -> None:
        def broken(*_: Any) -> Any:
            raise MemoryError("none left")

        self.patch(plots, "attach", broken)
        self.tell(Notify("plot", "hello", "", PLOT))
        self.assertEqual(self.complaints, ["nobody was told, none left: hello"])
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)

    def test_plots_are_drawn_one_at_a_time_and_not_too_many_wait(self) -> None:
        drawing: list[Deferred[Attachment]] = []

        def thread(function: Callable[..., Any], *_: Any) -> Deferred[Any]:
            drawing.append(Deferred())
            return drawing[-1]

        notices = Notices(self.notifier, thread, lambda: EPOCH)
        for number in range(10):
            notices.tell(Notify("plot", str(number), "", PLOT), "P", self.complaints.append)
        self.assertEqual(len(drawing), 1)
        self.assertEqual(self.complaints, ["nobody was told, 8 plots wait to be drawn: 9"])
        for _ in range(9):
            drawing[-1].callback(Attachment("plot.csv", b""))
        self.assertEqual([told.text for told in self.notifier.notices], [str(n) for n in range(9)])


class PluginTests(SynchronousTestCase):
    """What a plugin's process reports for people."""

    def setUp(self) -> None:
        self.notifier, self.launcher, self.clock = FakeNotifier(), Launcher(), Clock()
        self.directory = Path(self.mktemp())
        storage = MemoryStorage()
        wall = self.clock.seconds
        self.host = PluginHost(
            storage,
            Recorder(storage, EventLog(storage)),
            state_dir=self.directory,
            launch=self.launcher,
            find=lambda: [replace(found("A"), folder=self.directory)],
            in_thread=execute,
            samplerate=lambda: None,
            clock=self.clock,
            wall=wall,
            policy=Policy(),
            notify=Notices(self.notifier, execute, wall).tell,
        )
        self.directory.mkdir()
        (self.directory / "config.toml").write_text('token = "hunter22"')
        self.host.start()
        self.host.start_plugin("A")
        self.launcher.child.start()

    def log(self) -> list[str]:
        return [row[2] for row in self.host.listing()["A"]["log"] or ()]

    def test_it_becomes_a_notice_without_secrets(self) -> None:
        self.launcher.child.report(
            Notify("message", "A: with hunter22", "", None, 1), Notify("plot", "p", "of hunter22", PLOT)
        )
        message, plot = self.notifier.notices
        self.assertEqual((message.text, message.priority), ("A: with ***", 1))
        self.assertEqual((plot.title, plot.name), ("of ***", SignalName("A", "")))
        self.assertEqual(self.log(), [])

    def test_what_nobody_wants_is_in_its_log(self) -> None:
        self.notifier.wanting = 0
        self.launcher.child.report(Notify("message", "hello"))
        self.assertEqual(self.log(), ["nobody was told, no channel wants it: hello"])


class PlotTests(SynchronousTestCase):
    def without_matplotlib(self) -> None:
        hidden = {name: sys.modules[name] for name in sys.modules if name.split(".")[0] == "matplotlib"}
        self.addCleanup(sys.modules.update, hidden)
        self.addCleanup(sys.modules.pop, "matplotlib")
        for name in hidden:
            del sys.modules[name]
        modules: dict[str, Any] = sys.modules
        modules["matplotlib"] = None

    def test_a_picture(self) -> None:
        for signals in (PLOT["signals"], {}, {"xy": [[3, 1, 2], [1, 2, 3]]}, {"none": [[], []]}):
            file = plots.attach("T_$", {"signals": signals, "events": PLOT["events"], "dpi": 50})
            self.assertEqual(file.data[:8], PNG)

    def test_its_size_has_a_limit(self) -> None:
        file = plots.attach("", {"signals": {}, "dpi": 10**9})
        width, height = (int.from_bytes(file.data[at : at + 4], "big") for at in (16, 20))
        self.assertEqual((width, height), (2400, 1350))

    def test_a_table_without_matplotlib(self) -> None:
        self.without_matplotlib()
        file = plots.attach("T", PLOT)
        self.assertEqual((file.name, file.media_type), ("plot.csv", "text/csv"))
        self.assertEqual(
            file.data.decode().splitlines(),
            [
                "signal,x,y,event",
                "a,1790000000.0,1.0,",
                "a,1790000001.0,2.5,",
                "_b $x$,1790000000.0,nan,",
                ",1790000000.5,,now $^",
            ],
        )

    def test_what_is_no_plot(self) -> None:
        wrong: list[Any] = [None, 5, [], {}, {"signals": {"a": 1}}, {"signals": {"a": [1, 2]}}]
        wrong += [{"signals": {"a": [[1], [1, 2]]}}, {"signals": {"a": [["x"], ["y"]]}}]
        wrong += [{"signals": {}, "events": 5}, {"signals": {}, "events": [[1]]}, {"signals": {}, "dpi": "x"}]
        wrong += [{"signals": {str(n): [[], []] for n in range(51)}}, {"signals": {}, "dpi": float("inf")}]
        for data in wrong:
            self.assertRaises(BadValue, plots.attach, "", data)

    @unhurried
    @given(
        st.recursive(
            st.none() | st.integers() | st.text() | st.floats(), lambda inner: st.lists(inner, max_size=3)
        )
    )
    def test_anything_is_a_plot_or_is_refused(self, column: Any) -> None:
        try:
            curves, _, _ = plots._read({"signals": {"a": [column, column]}})
        except BadValue:
            return
        self.assertEqual(curves["a"][0].dtype, np.float64)
