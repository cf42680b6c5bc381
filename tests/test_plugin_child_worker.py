"""The worker's deadlines and failures, in this process and without a plugin."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.box.messages import Message, pack
from rtoc_twisted.plugins.child.calls import Calls
from rtoc_twisted.plugins.child.outlet import Outlet
from rtoc_twisted.plugins.child.worker import BIRTH, ORPHANED, SILENCE, Worker
from rtoc_twisted.plugins.orders import Failed, Init, Log, Ping, Report, Start, Stop, Stopped, report_reader

from .plugin_child_support import PATIENCE

INIT = Init("Mine", "/does/not/exist/devices/Mine/Mine.py", "", "Mine", "/does/not/exist", memory=-1)


def refuse(init: Init) -> None:
    """Set no limits."""
    raise ValueError(f"no limit of {init.memory}")


class WorkerTest(SynchronousTestCase):
    """Runs to the end of its orders."""

    def setUp(self) -> None:
        # A worker has its process for itself, and so sets this.
        self.patch(threading, "excepthook", threading.excepthook)
        self.written = bytearray()
        self.outlet = Outlet(self.written.extend)
        self.deadlines: list[float | None] = []

    def run_with(self, orders: Iterable[Message]) -> bool:
        """Return whether all went well with these orders, and then none."""
        pieces = iter([*(pack(order) for order in orders), b""])
        worker = Worker(lambda: next(pieces), self.outlet, refuse, self.deadlines.append)
        well = worker.run()
        self.outlet.abandon()
        self.outlet.pong(0)
        return well

    def heard(self) -> list[Report]:
        return report_reader().feed(bytes(self.written))

    def test_a_server_that_is_gone(self) -> None:
        self.assertTrue(self.run_with([]))
        self.assertEqual(self.deadlines, [ORPHANED, ORPHANED])
        self.assertEqual(self.heard()[-1], Stopped())

    def test_a_ping_gives_so_much_time_and_stop_its_own(self) -> None:
        self.assertTrue(self.run_with([Ping(1), Stop(0.5)]))
        self.assertEqual(self.deadlines, [SILENCE, 0.5, 0.5])

    def test_limits_that_cannot_be_set(self) -> None:
        self.assertFalse(self.run_with([INIT]))
        self.assertEqual(self.deadlines[0], BIRTH)
        reports = [report for report in self.heard() if not isinstance(report, Stopped)]
        self.assertEqual(reports[-1], Failed("import", "ValueError: no limit of -1"))
        self.assertIsInstance(reports[0], Log)

    def test_a_start_without_an_init(self) -> None:
        self.assertFalse(self.run_with([Start()]))


class CallsTest(SynchronousTestCase):
    """Threads for calls."""

    def test_one_that_waits_delays_no_other_and_no_more_wait_than_may(self) -> None:
        calls = Calls(size=2, waiting=2)
        gate, ran, again = threading.Event(), threading.Event(), threading.Event()
        self.assertTrue(calls.run(gate.wait))
        self.assertTrue(calls.run(ran.set))
        self.assertTrue(ran.wait(PATIENCE))
        self.assertTrue(calls.run(gate.wait))
        self.assertTrue(calls.run(again.set))
        self.assertFalse(again.is_set())
        gate.set()
        self.assertTrue(again.wait(PATIENCE))

    def test_too_many(self) -> None:
        calls = Calls(size=1, waiting=2)
        gate = threading.Event()
        self.addCleanup(gate.set)
        self.assertEqual([calls.run(gate.wait) for _ in range(4)], [True, True, True, False])
        self.assertEqual(calls.waiting, 2)
