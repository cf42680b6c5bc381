"""LoggerPlugin: the class that every plugin written for RTOC derives from (protocol section 10)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from threading import Lock
from typing import Any

from ...box import library
from ...box.columns import Wrong, number, of_dict, of_list, plotted, series
from ...box.messages import Event, Notify, Plot
from ...box.plain import plain
from .link import Link
from .logger import Logger
from .outlet import SLICE, little_endian
from .timers import PerpetualTimer

HOLDS = ("off", "on", "mergeX", "mergeY")
PRIORITIES = (0, 1, 2)
LARGEST_FILE = 10 << 20
"""Bytes of a photo or document."""


class LoggerPlugin:
    """Talks to the server for a plugin.

    Any arguments are taken, in the forms of all versions of RTOC, and mean nothing: what leads to the server
    is put on the class before an object of it is made. An object made elsewhere says so, and records nothing.

    Every function may be called from any thread. What cannot be recorded or done is logged as an error and
    answered with False; nothing here raises on the values of a measurement.
    """

    _rtoc_link: Link | None = None
    _pluginThread: PerpetualTimer | None = None
    _devicename = "noDevice"
    _samplerate: float = 1
    run = False
    smallGUI = False
    widget: Any = None
    config: dict[str, Any] = {}
    logger: Any = None
    rtoc = library

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        link = self._rtoc_link
        self.lockPerpetialTimer = Lock()
        self.run = False
        self.smallGUI = False
        self.widget = None
        if link is not None:
            self.logger = Logger(link)
            self._devicename = link.device
            self._samplerate = link.samplerate

    # RTOC's names from here on.

    def stream(
        self,
        y: Any = (),
        snames: Any = (),
        dname: str | None = None,
        unit: Any = None,
        x: Any = None,
        slist: Any = None,
        sdict: Any = None,
    ) -> bool:
        """Record values; return whether all of them are on their way.

        One of three forms: y, a number or a list, with snames, a text or a list, unit (None, text, list) and
        x (seconds since the epoch; None, or of another length: now); slist [[y, sname, unit], ..]; sdict
        {dname: {sname: [y, unit]}}. dname: None is the name that setDeviceName set. None in y is no value.
        """
        link = self._rtoc_link
        if link is None:
            return self._unheard("stream")
        device = self._devicename if dname is None else str(dname)
        faults: list[str] = []
        try:
            if slist is not None:
                link.outlet.samples(device, of_list(slist, link.now(), faults))
            elif sdict is not None:
                self._stream_devices(link, sdict, faults)
            else:
                link.outlet.samples(device, series(y, snames, unit, x, link.now()))
        except Wrong as error:
            faults.append(str(error))
        for fault in faults:
            link.log(2, f"stream: {fault}")
        return link.outlet.open and not faults

    def _stream_devices(self, link: Link, devices: Any, faults: list[str]) -> None:
        if not isinstance(devices, dict):
            raise Wrong("sdict is no {dname: {sname: [y, unit]}}")
        now = link.now()
        for dname, signals in devices.items():
            try:
                link.outlet.samples(str(dname), of_dict(signals, now, faults))
            except Wrong as error:
                faults.append(f"{dname}: {error}")

    def plot(
        self,
        x: Any = (),
        y: Any = (),
        sname: str = "noName",
        dname: str | None = None,
        unit: Any = "",
        hold: str = "off",
        autoResize: bool = False,
    ) -> bool:
        """Record a whole signal; return whether it is on its way.

        Without y, x are the values and their indices the x. hold: "off" replaces the signal, "on" appends,
        "mergeX" adds pairs whose x is new, "mergeY" those whose y is new. autoResize has no meaning here:
        older values are kept on the disk.
        """
        link = self._rtoc_link
        if link is None:
            return self._unheard("plot")
        try:
            axis, values = plotted(x, y)
        except Wrong as error:
            return self._refuse(link, f"plot: {error}")
        if hold not in HOLDS:
            return self._refuse(link, f"plot: hold is one of {', '.join(HOLDS)}, not {hold!r}")
        if isinstance(unit, list | tuple):
            unit = unit[-1] if unit else ""
        if isinstance(sname, list | tuple):
            sname = sname[0] if sname else "noName"
        device = self._devicename if dname is None else str(dname)
        sent = True
        for start in range(0, len(axis) or 1, SLICE):
            part = slice(start, start + SLICE)
            x_bytes, y_bytes = little_endian(axis[part]), little_endian(values[part])
            sent &= link.send(Plot(device, str(sname), str(unit or ""), hold, x_bytes, y_bytes))
            hold = "on" if hold == "off" else hold
        return sent

    def event(
        self,
        text: str = "",
        sname: str | None = None,
        dname: str | None = None,
        priority: int = 0,
        id: str | None = None,
        value: Any = None,
        x: float | None = None,
    ) -> bool:
        """Raise an event; return whether it is on its way.

        priority: 0 information, 1 warning, 2 error; id: the name that actions listen for; x: seconds since
        the epoch, None: now.
        """
        link = self._rtoc_link
        if link is None:
            return self._unheard("event")
        try:
            moment = link.now() if x is None else number(x, "event: x")
        except Wrong as error:
            return self._refuse(link, str(error))
        device = self._devicename if dname is None else str(dname)
        signal = "unknownEvent" if sname is None else str(sname)
        level = int(priority) if priority in PRIORITIES else 0
        action = "" if id is None else str(id)
        return link.send(Event(plain(str(text)), device, signal, moment, level, action, plain(value)))

    def setDeviceName(self, devicename: str = "noDevice") -> None:
        """Set the device that values and events belong to when no other is named."""
        self._devicename = str(devicename)

    def getDir(self, dir: str | None = None) -> str:
        """Return the directory of a file, such as `__file__`; without one that of the plugin."""
        if dir is None:
            return self._rtoc_link.folder if self._rtoc_link is not None else ""
        return os.path.dirname(os.path.realpath(dir))  # noqa: PTH120  a text, as in RTOC

    # Clients are shown its docstring and its signature, of which RTOC's has none and this one.
    def updateInfo(self):  # type: ignore[no-untyped-def]
        if self._rtoc_link is not None:
            self._rtoc_link.changed()

    def close(self) -> None:
        """Stop the timer and set `run` to False, which ends threads that ask for it; called at a stop."""
        self.run = False
        if self._pluginThread is not None:
            self._pluginThread.cancel()
        if self.widget:
            self.widget.hide()
            self.widget.close()

    def setPerpetualTimer(
        self,
        fun: Callable[[], Any],
        samplerate: float | None = None,
        interval: float | None = None,
        old: bool = False,
    ) -> bool:
        """Set the function that start() calls again and again; return whether it could be.

        samplerate: calls a second, or interval: seconds; without both, the samplerate that is set. old: the
        first call comes after one interval. A function that raises is logged, and called again.
        """
        try:
            if samplerate is None:
                samplerate = self._samplerate if interval is None else 1 / _positive(interval)
            rate = _positive(samplerate)
            if not callable(fun):
                raise Wrong(f"{fun!r} is no function")
        except Wrong as error:
            return self._refuse(self._rtoc_link, f"setPerpetualTimer: {error}")
        if self._pluginThread is not None:
            self._pluginThread.cancel()
        self._samplerate = samplerate
        self._pluginThread = PerpetualTimer(fun, rate, self.lockPerpetialTimer, self._tell, bool(old))
        return True

    def start(self) -> bool:
        """Start the timer and set `run`; return False where there is no timer."""
        self.run = self._pluginThread is not None
        if self._pluginThread is not None:
            self._pluginThread.start()
        return self.run

    def cancel(self) -> bool:
        """Stop the timer and clear `run`; return False where there is no timer."""
        self.run = False
        if self._pluginThread is None:
            return False
        self._pluginThread.cancel()
        return True

    def setSamplerate(self, rate: float) -> bool:
        """Set the calls a second of the timer; return False where there is no timer."""
        if self._pluginThread is None:
            return False
        self.samplerate = rate
        return self._samplerate == rate

    def setInterval(self, interval: float) -> bool:
        """Set the seconds from call to call of the timer; return False where there is no timer."""
        try:
            return self.setSamplerate(1 / _positive(interval))
        except Wrong as error:
            return self._refuse(self._rtoc_link, f"setInterval: {error}")

    @property
    def samplerate(self) -> float:
        """Return the calls a second of the timer; one that is no number above 0 is not taken."""
        return self._samplerate

    @samplerate.setter
    def samplerate(self, samplerate: float) -> None:
        try:
            rate = _positive(samplerate)
        except Wrong as error:
            self._refuse(self._rtoc_link, f"samplerate: {error}")
            return
        self._samplerate = samplerate
        if self._pluginThread is not None:
            self._pluginThread.rate = rate

    def initPersistentVariable(self, parname: str, value: Any = None, dname: str | None = None) -> Any:
        """Return a variable that survives restarts; where there is none, make it with this value."""
        if self.logger is None:
            return value
        return self.logger.initPersistentVariable(parname, value, dname or self._devicename)

    def loadPersistentVariable(self, parname: str, fallback: Any = None, dname: str | None = None) -> Any:
        """Return a variable that survives restarts, the fallback where there is none."""
        if self.logger is None:
            return fallback
        return self.logger.loadPersistentVariable(parname, fallback, dname or self._devicename)

    def savePersistentVariable(self, parname: str, value: Any, dname: str | None = None) -> bool:
        """Set a variable that survives restarts; return whether the server was told."""
        if self.logger is None:
            return False
        return bool(self.logger.savePersistentVariable(parname, value, dname or self._devicename))

    def createPersistentVariable(
        self, name: str, fallback: Any = None, dname: str | None = None, docs: str | None = None
    ) -> None:
        """Make an attribute of the plugin that is saved whenever it is set; docs: its `__doc_NAME__`."""
        device = dname or self._devicename
        held = [self.loadPersistentVariable(name, fallback, device)]

        def read(plugin: LoggerPlugin) -> Any:
            return held[0]

        def write(plugin: LoggerPlugin, value: Any) -> None:
            held[0] = value
            plugin.savePersistentVariable(name, value, device)

        setattr(type(self), name, property(read, write))
        if docs is not None:
            setattr(self, f"__doc_{name}__", docs)

    def info(self, msg: Any) -> None:
        """Log a line."""
        self._tell(0, msg)

    def warning(self, msg: Any) -> None:
        """Log a warning."""
        self._tell(1, msg)

    def error(self, msg: Any) -> None:
        """Log an error."""
        self._tell(2, msg)

    def debug(self, msg: Any) -> None:
        """Log what matters to the plugin's author."""
        self._tell(-1, msg)

    def telegram_send_message(self, text: Any, priority: int = 0, permission: str = "write") -> bool:
        """Send a text to the people whom the server notifies; return whether it is on its way."""
        return self._notify("message", f"{self._devicename}: {text}", "", None, priority, permission)

    def telegram_send_photo(self, path: str, priority: int = 0, permission: str = "write") -> bool:
        """Send the picture in a file, as telegram_send_message."""
        return self._notify_file("photo", path, priority, permission)

    def telegram_send_document(self, path: str, priority: int = 0, permission: str = "write") -> bool:
        """Send a file, as telegram_send_message."""
        return self._notify_file("document", path, priority, permission)

    def telegram_send_plot(
        self,
        signals: Any = None,
        title: str = "",
        text: str = "",
        events: Any = (),
        dpi: int = 300,
        priority: int = 0,
        permission: str = "write",
    ) -> bool:
        """Send a picture of signals {name: [x, y]} with events [[x, text], ..], as telegram_send_message."""
        data = plain({"signals": signals or {}, "events": events, "dpi": dpi})
        return self._notify("plot", str(text), str(title), data, priority, permission)

    def _notify_file(self, kind: str, path: Any, priority: int, permission: str) -> bool:
        try:
            with open(path, "rb") as file:  # noqa: PTH123  without pathlib the process starts sooner
                data = file.read(LARGEST_FILE + 1)
            if len(data) > LARGEST_FILE:
                raise Wrong(f"more than {LARGEST_FILE} bytes")
        except (OSError, TypeError, Wrong) as error:
            return self._refuse(self._rtoc_link, f"{kind} {path!s} is not sent: {error}")
        return self._notify(kind, "", os.path.basename(path), data, priority, permission)  # noqa: PTH119

    def _notify(self, kind: str, text: str, name: str, data: Any, priority: int, permission: str) -> bool:
        if self._rtoc_link is None:
            return self._unheard(f"telegram_send_{kind}")
        level = int(priority) if priority in PRIORITIES else 0
        return self._rtoc_link.send(Notify(kind, plain(text), name, data, level, str(permission)))

    def _tell(self, level: int, message: Any) -> None:
        if self._rtoc_link is not None:
            self._rtoc_link.log(level, str(message))
        else:
            sys.stderr.write(f"{message}\n")

    def _refuse(self, link: Link | None, reason: str) -> bool:
        self._tell(2, reason)
        return False

    def _unheard(self, what: str) -> bool:
        self._tell(1, f"{what}: this plugin was not started by a server")
        return False


def _positive(value: Any) -> float:
    wanted = number(value, "a samplerate or interval")
    if not 0 < wanted < float("inf"):
        raise Wrong(f"{value!r} is not above 0")
    return wanted
