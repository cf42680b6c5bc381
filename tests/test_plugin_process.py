"""One process of a plugin as the server talks to it, and the pipes to it."""

from __future__ import annotations

import struct
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.box import frames, messages
from rtoc_twisted.box.environment import environment
from rtoc_twisted.errors import Busy, NotAvailable, TimedOut, TooLarge
from rtoc_twisted.plugins import orders
from rtoc_twisted.plugins.pipes import Pipes
from rtoc_twisted.plugins.process import Limits, PluginProcess

from .plugin_support import Ears, Launcher, init, samples

LIMITS = Limits(start=30, call=10, heartbeat=5, close=5, memory=1 << 29, open_files=64, nice=3)


class ProcessCase(SynchronousTestCase):
    limits = LIMITS

    def setUp(self) -> None:
        self.clock = Clock()
        self.launcher = Launcher()
        self.ears = Ears()
        self.process = PluginProcess(self.launcher, self.clock, self.limits, self.ears)

    def begin(self) -> None:
        """Start, and get as far as started."""
        self.process.start(init())
        self.child = self.launcher.child
        self.child.report(orders.Loaded([], [], None), orders.Started())

    def call(self) -> Deferred[orders.Result]:
        return self.process.ask(lambda number: orders.Call(number, "f"))


class StartTests(ProcessCase):
    def test_it_is_told_its_limits_and_then_to_start(self) -> None:
        self.process.start(init("Name"))
        first, second = self.launcher.child.orders
        assert isinstance(first, orders.Init)
        self.assertEqual((first.name, first.memory, first.open_files, first.nice), ("Name", 1 << 29, 64, 3))
        self.assertIsInstance(second, orders.Start)

    def test_started_is_told(self) -> None:
        self.begin()
        self.assertEqual(self.ears.of("started"), [None])
        self.assertIsInstance(self.ears.of("told")[0], orders.Loaded)

    def test_a_failure_is_told_and_a_process_that_stays_is_ended(self) -> None:
        self.process.start(init())
        self.launcher.child.report(orders.Failed("init", "ValueError: no"))
        self.assertEqual(self.ears.of("failed"), ["ValueError: no"])
        self.assertEqual(self.launcher.child.signals, [])
        self.clock.advance(2)
        self.assertEqual(self.launcher.child.signals, ["KILL"])

    def test_a_failure_of_a_timer_is_no_failed_start(self) -> None:
        self.begin()
        self.child.report(orders.Failed("timer", "ValueError: no"))
        self.assertEqual(self.ears.of("failed"), [])
        self.assertEqual(self.ears.of("told")[-1], orders.Failed("timer", "ValueError: no"))

    def test_one_that_takes_too_long_is_ended(self) -> None:
        self.process.start(init())
        self.clock.advance(30)
        self.assertEqual(self.ears.of("failed"), ["it did not start within 30 s"])
        self.launcher.child.end("killed")
        self.assertEqual(self.ears.of("ended"), ["it did not start within 30 s"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_is_stopped_while_it_starts_is_ended_in_time(self) -> None:
        self.process.start(init())
        self.process.stop()
        self.launcher.child.report(orders.Started())
        self.assertEqual(self.ears.of("started"), [])
        self.clock.advance(6)
        self.assertEqual(self.launcher.child.signals, ["TERM"])

    def test_a_first_order_above_the_limit_is_a_failure(self) -> None:
        order = init()
        order.variables = {"D": {"v": "x" * (frames.LIMIT + 1)}}
        self.process.start(order)
        self.assertEqual(len(self.ears.of("failed")), 1)
        self.assertEqual(self.launcher.child.signals, ["KILL"])


class CallTests(ProcessCase):
    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def test_results_find_their_calls_in_any_order(self) -> None:
        first, second = self.call(), self.call()
        self.child.report(orders.Result(2, True, "b"), orders.Result(1, False, "a"))
        self.assertEqual(self.successResultOf(first).value, "a")
        self.assertEqual(self.successResultOf(second).value, "b")

    def test_a_call_has_its_time(self) -> None:
        late = self.call()
        self.clock.advance(9.9)
        self.assertNoResult(late)
        self.clock.advance(0.2)
        self.assertIn("timed out", str(self.failureResultOf(late, TimedOut).value))
        # Its result comes all the same, and is nobody's any more.
        self.child.answer(True, 1)

    def test_the_end_fails_calls(self) -> None:
        waiting = self.call()
        self.child.end()
        self.failureResultOf(waiting, NotAvailable)
        self.failureResultOf(self.call(), NotAvailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_too_many_calls_are_refused(self) -> None:
        waiting = [self.call() for _ in range(64)]
        self.failureResultOf(self.call(), Busy)
        self.child.answer(True, None)
        self.successResultOf(waiting[-1])
        self.assertNoResult(self.call())

    def test_too_many_bytes_of_calls_are_refused(self) -> None:
        big = "x" * (12 << 20)
        waiting = [self.process.ask(lambda n: orders.Set(n, "p", big)) for _ in range(3)]
        self.failureResultOf(self.call(), Busy)
        self.child.answer(True, None)
        self.successResultOf(waiting[-1])
        self.assertNoResult(self.call())

    def test_an_order_above_the_limit_fails_alone(self) -> None:
        big = "x" * (frames.LIMIT + 1)
        self.failureResultOf(self.process.ask(lambda n: orders.Set(n, "p", big)), TooLarge)
        self.assertNoResult(self.call())


class LifeTests(ProcessCase):
    limits = Limits(heartbeat=5, close=5, cpu=50)

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def test_one_that_answers_lives(self) -> None:
        for _ in range(10):
            self.clock.advance(5)
            ping = self.child.ordered(orders.Ping)[-1]
            self.child.report(orders.Pong(ping.number))
        self.assertEqual(self.child.signals, [])

    def test_one_that_gives_no_sign_is_ended(self) -> None:
        self.clock.pump([5, 5, 5])
        self.assertEqual(self.child.signals, [])
        self.clock.advance(5)
        self.assertEqual(self.child.signals, ["KILL"])
        self.child.end("its process was ended by SIGKILL")
        self.assertEqual(self.ears.of("ended"), ["it gave no sign of life for 15 s"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_is_not_read_is_not_taken_for_dead(self) -> None:
        self.process.hold(True)
        self.assertTrue(self.child.held)
        self.clock.pump([5] * 10)
        self.process.hold(False)
        self.clock.pump([5] * 3)
        self.assertEqual(self.child.signals, [])
        self.assertFalse(self.child.held)

    def beat(self, used: float) -> None:
        self.child.cpu = (self.child.cpu or 0) + used
        self.clock.advance(5)
        self.child.report(orders.Pong(0))

    def test_a_short_burst_of_work_is_allowed(self) -> None:
        for used in (5, 1, 1, 1, 5, 1, 0):
            self.beat(used)
        self.assertEqual(self.child.signals, [])

    def test_one_that_takes_too_much_cpu_for_long_is_ended(self) -> None:
        for _ in range(4):
            self.assertEqual(self.child.signals, [])
            self.beat(2.6)
        self.assertEqual(self.child.signals, ["KILL"])

    def test_where_cpu_is_not_told_nothing_happens(self) -> None:
        self.child.cpu = None
        for _ in range(5):
            self.clock.advance(5)
            self.child.report(orders.Pong(0))
        self.assertEqual(self.child.signals, [])

    def test_stop(self) -> None:
        self.process.stop()
        self.assertEqual(self.child.ordered(orders.Stop), [orders.Stop(5)])
        self.child.report(orders.Stopped())
        self.child.end()
        self.assertEqual(self.ears.of("ended"), ["its process ended"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_does_not_stop_is_ended(self) -> None:
        self.process.stop()
        self.clock.advance(6)
        self.assertEqual(self.child.signals, ["TERM"])
        self.clock.advance(2)
        self.assertEqual(self.child.signals, ["TERM", "KILL"])

    def test_what_is_no_report_ends_it(self) -> None:
        self.process.nonsense("no message")
        self.assertEqual(self.child.signals, ["KILL"])
        self.child.end()
        self.assertEqual(self.ears.of("ended"), ["it sent what is no report: no message"])


class FakePipe:
    reading = True

    def startReading(self) -> None:  # noqa: N802  Twisted's name
        self.reading = True

    def stopReading(self) -> None:  # noqa: N802  Twisted's name
        self.reading = False


class FakeTransport:
    """Twisted's Process, as far as Pipes uses it."""

    # No process has this number.
    pid: int | None = 2**22 + 1

    def __init__(self) -> None:
        self.pipes: dict[int, Any] = {fd: FakePipe() for fd in (1, 2, 3, 4)}
        self.written: list[bytes] = []
        self.closed: list[int] = []

    def writeToChild(self, fd: int, data: bytes) -> None:  # noqa: N802  Twisted's name
        self.written.append(data)

    def closeChildFD(self, fd: int) -> None:  # noqa: N802  Twisted's name
        self.closed.append(fd)


class PipesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.ears = Ears()
        self.pipes = Pipes(self.ears, self.clock)
        self.transport = FakeTransport()
        self.pipes.makeConnection(self.transport)

    def end(self, reason: BaseException) -> list[str]:
        self.pipes.processExited(Failure(reason))
        self.pipes.processEnded(Failure(reason))
        return self.ears.of("ended")

    def test_orders_are_frames(self) -> None:
        size = self.pipes.order(orders.Ping(7))
        (frame,) = self.transport.written
        self.assertEqual(size, len(frame))
        self.assertEqual(orders.order_reader().feed(frame), [orders.Ping(7)])

    def test_orders_to_a_process_that_takes_none_are_forgotten(self) -> None:
        self.pipes.childConnectionLost(3)
        self.pipes.order(orders.Ping(7))
        self.assertEqual(self.transport.written, [])

    def test_reports_come_in_pieces(self) -> None:
        report = samples([1.0, 2.0])
        frame = messages.pack(report) + messages.pack(orders.Started())
        for byte in frame:
            self.pipes.childDataReceived(4, bytes([byte]))
        self.assertEqual(self.ears.of("reported"), [report, orders.Started()])

    def test_nonsense_is_told_once(self) -> None:
        self.pipes.childDataReceived(4, struct.pack(">I", 2) + b"??")
        self.pipes.childDataReceived(4, messages.pack(orders.Started()))
        self.assertEqual(len(self.ears.of("nonsense")), 1)
        self.assertEqual(self.ears.of("reported"), [])

    def test_a_frame_that_is_announced_too_long(self) -> None:
        self.pipes.childDataReceived(4, struct.pack(">I", frames.LIMIT + 1))
        self.assertEqual(len(self.ears.of("nonsense")), 1)

    def test_one_bad_report_leaves_the_next_alone(self) -> None:
        def once(report: Any) -> None:
            del self.ears.reported  # type: ignore[method-assign]  # the class's own is back
            raise KeyError("a fault of ours")

        self.ears.reported = once  # type: ignore[method-assign]  # for one report
        self.pipes.childDataReceived(4, messages.pack(orders.Started()) * 2)
        self.assertEqual(self.ears.of("reported"), [orders.Started()])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_lines(self) -> None:
        self.pipes.childDataReceived(1, b"one\ntw")
        self.pipes.childDataReceived(2, b"err\xff\n")
        self.pipes.childDataReceived(1, b"o\r\nrest")
        self.assertEqual(self.ears.of("printed"), ["one", "err\ufffd", "two"])
        self.pipes.childConnectionLost(1)
        self.assertEqual(self.ears.of("printed")[-1], "rest")

    def test_a_line_without_end_is_told_in_pieces(self) -> None:
        for _ in range(3):
            self.pipes.childDataReceived(1, b"x" * 3000)
        self.assertEqual([len(line) for line in self.ears.of("printed")], [4096, 4096])

    def test_who_prints_too_much_waits_for_the_next_second(self) -> None:
        self.pipes.childDataReceived(1, b"y\n" * (128 * 1024))
        self.assertTrue(self.transport.pipes[1].reading)
        self.pipes.childDataReceived(1, b"y\n")
        self.assertFalse(self.transport.pipes[1].reading)
        self.assertFalse(self.transport.pipes[2].reading)
        self.assertTrue(self.transport.pipes[4].reading)
        self.clock.advance(1)
        self.assertTrue(self.transport.pipes[1].reading)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reports_are_read_or_not(self) -> None:
        self.pipes.pause()
        self.assertFalse(self.transport.pipes[4].reading)
        self.assertTrue(self.transport.pipes[1].reading)
        self.pipes.resume()
        self.assertTrue(self.transport.pipes[4].reading)

    def test_ends_in_words(self) -> None:
        for reason, words in (
            (ProcessDone(0), "its process ended"),
            (ProcessTerminated(3), "its process ended with the code 3"),
            (ProcessTerminated(signal=11), "its process was ended by SIGSEGV"),
        ):
            self.assertEqual(self.end(reason)[-1], words)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_descendants_that_keep_the_pipes_are_not_waited_for(self) -> None:
        self.pipes.childConnectionLost(1)
        self.pipes.processExited(Failure(ProcessDone(0)))
        self.clock.advance(2)
        self.assertEqual(self.transport.closed, [2, 3, 4])

    def test_what_a_dead_process_sent_is_waited_for_while_it_is_not_read(self) -> None:
        self.pipes.pause()
        self.pipes.processExited(Failure(ProcessDone(0)))
        self.clock.pump([2, 2, 2])
        self.assertEqual(self.transport.closed, [])
        self.pipes.resume()
        self.clock.advance(2)
        self.assertEqual(self.transport.closed, [1, 2, 3, 4])


class EnvironmentTests(SynchronousTestCase):
    def test_what_is_the_server_s_stays_there(self) -> None:
        server = {
            "PATH": "/bin",
            "RTOC_STATE_DIR": "/s",
            "NOTIFY_SOCKET": "/n",
            "LISTEN_FDS": "1",
            "HOME": "/h",
        }
        kept = environment(server)
        self.assertEqual(kept.keys() - {"PYTHONPATH"}, {"PATH", "HOME"})
