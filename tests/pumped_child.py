"""A real process of a plugin behind a task.Clock: an order returns when the process has obeyed it."""

from __future__ import annotations

import os
from collections.abc import Callable
from select import select

from twisted.internet.task import Clock

from rtoc_twisted.box import messages
from rtoc_twisted.box.environment import environment
from rtoc_twisted.plugins import orders
from rtoc_twisted.plugins.orders import Order, Report
from rtoc_twisted.plugins.pipes import ARGUMENTS
from rtoc_twisted.plugins.process import PluginProcess

PATIENCE = 60.0
"""Seconds after which a process that says nothing is hung."""

_ENDS: dict[type, tuple[type, ...]] = {
    orders.Start: (orders.Started, orders.Failed),
    orders.Call: (orders.Result,),
    orders.Get: (orders.Result,),
    orders.Set: (orders.Result,),
    orders.Samplerate: (orders.Changed,),
    orders.Ping: (orders.Pong,),
}
"""The report that tells that an order is obeyed."""


class PumpedChild:
    """A process as PluginProcess has it; what it reports is told in the clock's next turn."""

    def __init__(self, process: PluginProcess, clock: Clock) -> None:
        self._process = process
        self._clock = clock
        self._read = orders.report_reader().feed
        order_end, self._orders = map(_above, os.pipe())
        self._reports, report_end = map(_above, os.pipe())
        actions = [
            (os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDONLY if fd == 0 else os.O_WRONLY, 0)
            for fd in (0, 1, 2)
        ]
        actions += [(os.POSIX_SPAWN_DUP2, order_end, 3), (os.POSIX_SPAWN_DUP2, report_end, 4)]
        self._pid = os.posix_spawn(ARGUMENTS[0], ARGUMENTS, environment(os.environ), file_actions=actions)
        os.close(order_end)
        os.close(report_end)

    def order(self, order: Order) -> int:
        frame = messages.pack(order)
        os.write(self._orders, frame)
        if isinstance(order, orders.Stop):
            heard = self._heard_until(lambda _: False)
            self._clock.callLater(0, self._tell_end, heard)
        elif type(order) in _ENDS:
            ends = _ENDS[type(order)]
            heard = self._heard_until(lambda report: isinstance(report, ends))
            self._clock.callLater(0, self._tell, heard)
        return len(frame)

    def _heard_until(self, last: Callable[[Report], bool]) -> list[Report]:
        """Return reports up to one, or up to the end."""
        heard: list[Report] = []
        while not any(map(last, heard)):
            assert select([self._reports], [], [], PATIENCE)[0], f"it hangs; heard so far: {heard}"
            data = os.read(self._reports, 1 << 16)
            if not data:
                break
            heard += self._read(data)
        return heard

    def _tell(self, heard: list[Report]) -> None:
        for report in heard:
            self._process.reported(report)

    def _tell_end(self, heard: list[Report]) -> None:
        self._tell(heard)
        os.waitpid(self._pid, 0)
        os.close(self._orders)
        os.close(self._reports)
        self._process.ended("its process ended")

    def pause(self) -> None:
        """Do nothing: it is read only when it was told something."""

    def resume(self) -> None:
        """Do nothing."""

    def terminate(self) -> None:
        raise AssertionError("it did not stop when it was told to")

    def kill(self) -> None:
        raise AssertionError("it was to be killed")

    def cpu_seconds(self) -> None:
        return None


def _above(descriptor: int) -> int:
    """Return a copy of a descriptor that is none of those that a plugin's process has, and close it."""
    copy = os.dup(descriptor)
    if copy < 5:
        copy, low = _above(os.dup(copy)), copy
        os.close(low)
    os.close(descriptor)
    return copy
