"""One plugin as the server has it: what it is, does, says and sends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorTime

from ..box import messages
from ..box.intake import Intake
from ..box.notices import Tell
from ..errors import BadValue, RTOCError, TooLarge
from ..interfaces import IRecorder
from ..wire.codec import check_value
from . import manifest, orders
from .discovery import Found
from .log import ERROR, INFO, WARNING, PluginLog
from .orders import Report
from .process import Child, Limits, PluginProcess
from .remembered import Remembered, check_size
from .supervisor import State, Supervisor
from .telling import LATER, SOON

_FUNCTION_NAMES, _PARAMETER_NAMES = 4, 1
"""Fields of a function and of a parameter that are names or count them (protocol section 5)."""


class Plugin:
    """A plugin with its supervisor, its log and its way to the recorder.

    launch, limits, restarts: as Supervisor has them; samplerate: returns that of all plugins in Hz, None
    where nobody has set one; changed: told within how many seconds people should hear of a change; crashed:
    told the text of an event; notify: tells people what the plugin wants them to hear.
    """

    def __init__(
        self,
        found: Found,
        *,
        launch: Callable[[PluginProcess], Child],
        limits: Limits,
        restarts: int,
        recorder: IRecorder,
        congested: Callable[[], bool],
        remembered: Remembered,
        state_dir: Path,
        samplerate: Callable[[], float | None],
        clock: IReactorTime,
        wall: Callable[[], float],
        changed: Callable[[float], None],
        crashed: Callable[[str], None],
        notify: Tell,
    ) -> None:
        self.found = found
        self.note = ""
        self._remembered = remembered
        self._state_dir = state_dir
        self._samplerate = samplerate
        self._changed = changed
        self._crashed = crashed
        self._notify = notify
        self._told: bool | str = False
        self._configuration = manifest.Configuration()
        self._log = PluginLog(found.name, wall, lambda: changed(LATER))
        self.intake = Intake(
            recorder,
            clock,
            congested=congested,
            complain=lambda text: self._say(ERROR, text),
            hold=lambda held: self.supervisor.hold(held),
        )
        self.supervisor = Supervisor(launch, self._init, clock, self, limits=limits, restarts=restarts)
        known = remembered.description(found.name)
        self._functions: list[Any] = known.get("functions", [])
        self._parameters: list[Any] = known.get("parameters", [])
        self._info: str | None = known.get("info")

    @property
    def status(self) -> bool | str:
        """Return whether it runs, or the text of why it does not though it should."""
        state = self.supervisor.state
        if state is State.RUNNING:
            return True
        if state is State.STOPPED:
            return self.note or self.found.error or False
        return self.supervisor.problem or False

    def row(self, autorun: bool) -> dict[str, Any]:
        """Return the plugin as getPluginList answers it (protocol section 5)."""
        return {
            "functions": self._functions,
            "parameters": self._parameters,
            "status": self.status,
            "autorun": autorun,
            "info": self._info,
            "log": self._log.rows(),
            **({} if self.found.manifest is None else {"manifest": self.found.manifest}),
        }

    def parameter(self, name: str) -> Any:
        """Return the value that a parameter had when it was last heard of; raises BadValue if it has none."""
        for known, value, *_ in self._parameters:
            if known == name:
                return value
        raise BadValue(f"{self.found.name}.{name}: there is no such parameter")

    def complain(self, text: str) -> None:
        """Write a warning into the plugin's log."""
        self._say(WARNING, text)

    def speakable(self, value: Any) -> Any:
        """Return a value of the plugin as clients are told it: JSON, without secrets."""
        try:
            check_value(value, "result")
        except RTOCError:
            value = repr(value)
        return self._configuration.hide_in(value)

    def _say(self, level: int, text: str, moment: float | None = None) -> None:
        self._log.add(level, self._configuration.hide(text), moment)

    def _init(self) -> orders.Init:
        """Return the first order of a new process; raises BadValue where the plugin's files are wrong."""
        found = self.found
        if found.error is not None:
            raise BadValue(found.error)
        if found.folder is not None:
            told = manifest.read(found.folder)
            self._configuration = manifest.read_configuration(found.folder, told)
        rate = self._samplerate()
        by_path = found.origin == "devices"
        order = orders.Init(
            name=found.name,
            path=str(found.path) if by_path else "",
            module="" if by_path else found.module,
            device=found.name,
            state=str(self._state_dir),
            variables=self._remembered.variables,
            config=dict(self._configuration.values),
        )
        if rate is not None:
            order.samplerate = rate
        return order

    # From the supervisor.

    def state_changed(self) -> None:
        """Tell people of another state."""
        supervisor = self.supervisor
        if supervisor.state is State.STARTING:
            self.note = ""
        elif supervisor.state in (State.FAILED, State.WAITING, State.GIVEN_UP):
            self._say(ERROR, supervisor.problem)
        elif supervisor.state is State.STOPPED:
            self._keep_description()
        if self.status != self._told:
            self._told = self.status
            self._changed(SOON)

    def printed(self, line: str) -> None:
        """Take a printed line into the log."""
        if line:
            self._say(INFO, line)

    def hide(self, text: str) -> str:
        """Return a text with a mask for each secret."""
        return self._configuration.hide(text)

    def crashed(self, text: str) -> None:
        """Tell people that the plugin ended unexpectedly."""
        self._crashed(f"Plugin {self.found.name} {text}")

    def told(self, report: Report) -> None:
        """Do what a report is for."""
        if isinstance(report, messages.Event):
            report.text = self._configuration.hide(report.text)
            report.value = self._configuration.hide_in(report.value)
        if isinstance(report, messages.Samples | messages.Plot | messages.Event):
            self.intake.take(report)
            return
        try:
            self._take(report)
        except (BadValue, TooLarge) as error:
            self._say(ERROR, str(error))

    def _take(self, report: Report) -> None:
        if isinstance(report, orders.Log):
            self._say(report.level, report.text, report.moment)
        elif isinstance(report, orders.Loaded):
            self._describe(report.functions, report.parameters, report.info)
        elif isinstance(report, orders.Changed):
            self._describe(report.functions, report.parameters, self._info)
            if report.asked:
                self._changed(SOON)
        elif isinstance(report, orders.Variable):
            self._remembered.keep_variable(report.dname, report.name, report.value)
        elif isinstance(report, orders.Failed):
            self._say(ERROR, report.text)
        elif isinstance(report, messages.Notify):
            report.text, report.name = map(self._configuration.hide, (report.text, report.name))
            self._notify(report, self.found.name, self.complain)

    def _describe(self, functions: list[Any], parameters: list[Any], info: str | None) -> None:
        check_size([functions, parameters, info], "the description of the plugin")
        self._functions = self._masked(functions, _FUNCTION_NAMES)
        self._parameters = self._masked(parameters, _PARAMETER_NAMES)
        self._info = self._configuration.hide_in(info)

    def _masked(self, rows: list[Any], names: int) -> list[Any]:
        """Return rows with secrets hidden in all but their first fields: by those names clients ask."""
        return [
            [*row[:names], *self._configuration.hide_in(row[names:])] for row in rows if isinstance(row, list)
        ]

    def _keep_description(self) -> None:
        self._remembered.keep_description(
            self.found.name,
            {"functions": self._functions, "parameters": self._parameters, "info": self._info},
        )
