"""The wall clock is set, by years and while data come: nothing is lost, reordered or closed for that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.storage import chunks
from rtoc_twisted.storage.retention import DAY, Keeping, Moments, Rule
from tests import doubles
from tests.doubles import EPOCH, REMOTE, house, sqlite_storage

YEAR = 365.25 * DAY
JUMPS = (0.0, 20 * YEAR, -56 * YEAR, 20 * YEAR, 0.0, -1.0, 3600.0)
"""What the clock is ahead of the true time; -56 years is 1970, where a board without a battery begins."""

KEPT = Keeping(rules=(Rule("raw", ("noDevice.raw",), raw_days=1), Rule("gone", ("noDevice.gone",), days=1)))
LOOK = 60.0


class ClockJumpTests(SynchronousTestCase):
    """A whole house on SQLite; `Clock` is the monotonic time, the wall is set by hand."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.open()
        self.addCleanup(self.close)

    def open(self) -> None:
        # The server's start: the house's wall and that of the store show the same.
        moments = Moments(lambda: doubles.EPOCH + self.clock.seconds(), self.clock.seconds)
        self.storage: Any = sqlite_storage(self.directory, self.clock, keeping=KEPT, moments=moments)
        self.rooms = house(clock=self.clock, storage=self.storage, directory=self.directory)
        self.client = self.rooms.connect()

    def close(self) -> None:
        self.storage.close()
        self.clock.advance(0)

    def reopen(self) -> None:
        self.close()
        self.open()

    def set_clock(self, ahead: float) -> float:
        """Set the wall clock; return what it shows."""
        self.patch(doubles, "EPOCH", EPOCH + ahead)
        return self.rooms.wall()

    def ask(self, **keys: Any) -> Any:
        answer = self.client.ask(**keys)
        self.assertFalse(answer["error"], answer)
        return answer

    def signal(self, name: str = "s") -> tuple[list[float], list[float]]:
        x, y = self.ask(getSignal=[f"noDevice.{name}"])["signals"][f"noDevice.{name}"][:2]
        return x, y

    def test_the_order_of_arrival_stays(self) -> None:
        expected: list[tuple[float, float]] = []
        for number, ahead in enumerate(JUMPS * 3):
            now = self.set_clock(ahead)
            self.assertIs(self.ask(y=[number], sname=["s"])["sent"], True)
            expected.append((now, number))
            self.assertEqual(self.ask(getLatest=True)["latest"]["noDevice.s"][:2], [now, number])
            self.clock.advance(1)
        for reopen in (False, True, True):
            if reopen:
                self.reopen()
            self.assertEqual(list(zip(*self.signal(), strict=True)), expected)
            self.assertEqual(self.storage.summary(self.storage.resolve("noDevice.s").id).count, len(expected))

    def test_pages_miss_nothing(self) -> None:
        found: list[float] = []
        after = None
        for number, ahead in enumerate(JUMPS):
            self.set_clock(ahead)
            for value in range(3):
                self.ask(y=[10 * number + value], sname=["s"])
            more = True
            while more:
                answer = self.ask(getSignal={"dname": "noDevice", "sname": "s", "limit": 2, "after": after})
                found += answer["signals"]["noDevice.s"][1]
                after, more = (answer["pages"]["noDevice.s"][key] for key in ("after", "more"))
            if number % 2:
                self.reopen()
        self.assertEqual(found, [10 * number + value for number in range(len(JUMPS)) for value in range(3)])

    def test_events_keep_their_order(self) -> None:
        for number, ahead in enumerate(JUMPS):
            self.set_clock(ahead)
            self.ask(event=f"event {number}")
        self.reopen()
        events = self.rooms.events.query(None, None)
        found = [(event.text, event.x - EPOCH) for event in self.successResultOf(events)]
        self.assertEqual(found, [(f"event {number}", ahead) for number, ahead in enumerate(JUMPS)])

    def test_nobody_is_closed_for_it(self) -> None:
        rooms = house(clock=self.clock, storage=self.storage, password="p")
        stranger, client = rooms.connect(REMOTE), rooms.connect()
        self.assertFalse(client.ask(authorize=True)["error"])
        for ahead in JUMPS:
            self.set_clock(ahead)
            self.clock.advance(1)
            self.assertIsNone(stranger.socket.closed)
        self.clock.advance(10)
        self.assertIsNotNone(stranger.socket.closed)
        self.assertIsNone(client.socket.closed)

    def test_backups_come_when_they_are_due(self) -> None:
        self.ask(logger={"backup": {"active": True, "interval": 60, "full": True}})
        for number, ahead in enumerate(JUMPS, start=1):
            self.set_clock(ahead)
            self.clock.advance(60)
            self.assertEqual(len(list((self.directory / "backup").iterdir())), number)
        # A name that was used is not used again.
        self.set_clock(0.0 - self.clock.seconds() + 60)
        self.clock.advance(0)
        self.ask(logger={"backup": {"active": False, "now": "full"}})
        self.assertEqual(len(list((self.directory / "backup").iterdir())), len(JUMPS) + 1)

    def age(self, seconds: float) -> None:
        """Let time go by, and samples come, so that the store looks at what is old."""
        self.patch(chunks, "CHUNK_SAMPLES", 4)
        for _ in range(6):
            self.ask(y=[1] * 2, sname=["raw", "gone"])
            self.storage._database.fold()
            self.clock.advance(seconds / 6)
        self.clock.pump([LOOK] * 3)

    def test_nothing_grows_old_by_a_jump(self) -> None:
        for ahead in JUMPS:
            self.set_clock(ahead)
            self.age(1000)
        count = 6 * len(JUMPS)
        for name in ("raw", "gone"):
            self.assertEqual(len(self.signal(name)[1]), count)
        # Time that does go by counts, whatever the clock says.
        self.age(3 * DAY)
        self.assertLess(len(self.signal("gone")[1]), count)

    def test_nothing_grows_old_by_a_start_in_1970(self) -> None:
        self.age(1000)
        self.set_clock(-56 * YEAR)
        self.reopen()
        self.age(1000)
        self.set_clock(0)
        self.reopen()
        self.age(1000)
        self.assertEqual(len(self.signal("gone")[1]), 18)
