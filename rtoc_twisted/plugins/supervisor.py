"""One plugin's life: started, stopped, started again after an end that nobody wanted, given up in time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..errors import NotAvailable, RTOCError
from . import orders
from .orders import Order, Report
from .process import Child, Limits, PluginProcess

_WINDOW = 600.0
"""Seconds within which unexpected ends count towards giving up."""

_LONG = 60.0
"""Seconds that a plugin must run for its next restart to come as soon as the first."""

_LONGEST_DELAY = 60.0


class State(Enum):
    """What a plugin does."""

    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    WAITING = "waiting"
    """It ended unexpectedly, and is started again soon."""
    FAILED = "failed"
    """It could not be started."""
    GIVEN_UP = "given up"
    """It ended unexpectedly too often."""


class Audience(Protocol):
    """Who hears of one plugin."""

    def state_changed(self) -> None:
        """The state, or its reason, is another."""

    def told(self, report: Report) -> None:
        """The plugin reports something."""

    def printed(self, line: str) -> None:
        """The plugin printed a line."""

    def crashed(self, text: str) -> None:
        """The plugin ended unexpectedly; text: what is to be told of it."""

    def hide(self, text: str) -> str:
        """Return a text without what nobody is to read."""


class Supervisor:
    """Keeps one plugin as it is wanted.

    launch: starts a process, raises OSError; init: returns its first order, raises RTOCError; restarts:
    how many unexpected ends within ten minutes are followed by another start.
    """

    def __init__(
        self,
        launch: Callable[[PluginProcess], Child],
        init: Callable[[], orders.Init],
        clock: IReactorTime,
        audience: Audience,
        *,
        limits: Limits,
        restarts: int = 4,
    ) -> None:
        self._launch = launch
        self._init = init
        self._clock = clock
        self._audience = audience
        self._limits = limits
        self._restarts = restarts
        self._process: PluginProcess | None = None
        self._wanted = False
        self._tries_on = False
        self._since = 0.0
        self._ends: deque[float] = deque(maxlen=restarts + 1)
        self._short_runs = 0
        self._timer: IDelayedCall | None = None
        self._starting: list[Deferred[str]] = []
        self._stopping: list[Deferred[None]] = []
        self.state = State.STOPPED
        self.problem = ""

    @property
    def running(self) -> bool:
        """Return whether the plugin can be called."""
        return self.state is State.RUNNING

    def start(self, tries_on: bool = False) -> Deferred[str]:
        """Start the plugin; fires with "" when its `__init__` is done, else with the reason why not.

        tries_on: a first start that fails is followed by others, as an unexpected end is. A plugin that runs
        is left alone; one that was given up gets all its chances again.
        """
        if self.state is State.RUNNING:
            return succeed("")
        self._wanted = True
        self._forgive()
        waiting: Deferred[str] = Deferred()
        self._starting.append(waiting)
        if self._process is None:
            self._tries_on = tries_on
            self._begin()
        return waiting

    def stop(self) -> Deferred[None]:
        """Stop the plugin; fires when its process is gone."""
        self._wanted = False
        self._forgive()
        if self._process is None:
            self._be(State.STOPPED)
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._stopping.append(waiting)
        self._close()
        return waiting

    def renew(self) -> None:
        """Start a plugin anew whose files have changed, if it is wanted."""
        if not self._wanted:
            return
        self._forgive()
        if self._process is None:
            self._begin()
        else:
            self._close()

    def ask(self, make: Callable[[int], Order]) -> Deferred[orders.Result]:
        """Send an order with an answer; fires as PluginProcess.ask, fails if the plugin does not run."""
        if self._process is None or not self.running:
            return fail(NotAvailable("the plugin does not run"))
        return self._process.ask(make)

    def tell(self, order: Order) -> None:
        """Send an order without an answer, if the plugin runs."""
        if self._process is not None and self.running:
            self._process.tell(order)

    def hold(self, held: bool) -> None:
        """Let the plugin wait with what it reports, or go on."""
        if self._process is not None:
            self._process.hold(held)

    def _forgive(self) -> None:
        self._ends.clear()
        self._short_runs = 0
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _be(self, state: State, problem: str = "") -> None:
        if (state, problem) != (self.state, self.problem):
            self.state, self.problem = state, problem
            self._audience.state_changed()

    def _begin(self) -> None:
        self._timer = None
        self._be(State.STARTING)
        process = PluginProcess(self._launch, self._clock, self._limits, self)
        try:
            process.start(self._init())
            self._process = process
        except (OSError, RTOCError) as error:
            self.ended(str(error))

    def _close(self) -> None:
        if self.state is not State.STOPPING and self._process is not None:
            self._be(State.STOPPING)
            self._process.stop()

    # From the process.

    def started(self) -> None:
        """Take note that the plugin runs."""
        if self.state is State.STARTING:
            self._since = self._clock.seconds()
            self._tries_on = True
            self._be(State.RUNNING)
            self._answer("")

    def failed(self, text: str) -> None:
        """Take note of why the plugin does not start."""
        if self.state is State.STARTING:
            self.problem = self._audience.hide(text)

    def told(self, report: Report) -> None:
        """Pass a report on."""
        self._audience.told(report)

    def printed(self, line: str) -> None:
        """Pass a printed line on."""
        self._audience.printed(line)

    def ended(self, reason: str) -> None:
        """Decide what follows the end of the process."""
        reason = self._audience.hide(reason)
        self._process = None
        before = self.state
        stopping, self._stopping = self._stopping, []
        if before is State.STOPPING:
            self._be(State.STOPPED)
            if self._wanted:
                self._begin()
            else:
                self._answer("it was stopped")
        elif before is State.STARTING and not self._tries_on:
            self._wanted = False
            self._be(State.FAILED, self.problem or reason)
            self._answer(self.problem)
        else:
            self._next_try(self.problem or reason)
        for waiting in stopping:
            waiting.callback(None)

    def _next_try(self, reason: str) -> None:
        now = self._clock.seconds()
        if self.state is State.RUNNING and now - self._since >= _LONG:
            self._short_runs = 0
        self._ends.append(now)
        if len(self._ends) > self._restarts and now - self._ends[0] <= _WINDOW:
            ends = len(self._ends)
            self._be(State.GIVEN_UP, f"ended {ends} times, and is not started again: {reason}")
        else:
            delay = min(_LONGEST_DELAY, 2.0**self._short_runs)
            self._short_runs += 1
            self._timer = self._clock.callLater(delay, self._begin)
            self._be(State.WAITING, f"ended, and is started again in {delay:g} s: {reason}")
        self._answer(self.problem)
        self._audience.crashed(self.problem)

    def _answer(self, text: str) -> None:
        starting, self._starting = self._starting, []
        for waiting in starting:
            waiting.callback(text)
