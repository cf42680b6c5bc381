"""The life of a plugin's process: orders in, reports out.

The main thread imports, makes and closes the plugin, one reads orders, one writes what waits, and a few run
what clients ask for. So an order is read whatever the plugin does, as long as it lets other threads run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from time import monotonic
from traceback import format_exc
from typing import Any

from ...box.plain import plain
from ...errors import RTOCError, TooLarge
from ..orders import (
    Call,
    Changed,
    Failed,
    Get,
    Init,
    Loaded,
    Order,
    Ping,
    Result,
    Samplerate,
    Set,
    Start,
    Started,
    Stop,
    Stopped,
    order_reader,
)
from . import look
from .calls import Calls
from .link import Link
from .load import bind, load, make
from .outlet import Outlet

ORPHANED = 3.0
"""Seconds that close() has when the server is gone, or at a signal."""

SILENCE = 60.0
"""Seconds after a Ping within which another order comes; a process that cannot read them ends itself."""

BIRTH = 600.0
"""Seconds that the import and `__init__` of a plugin may take before the process takes itself for hung."""

LINGER = 1.0
"""Seconds that a plugin's own threads have to see that `run` is False."""


class Worker:
    """Does what the server orders.

    read: returns the next bytes of the orders, none at their end; prepare: sets the limits that Init asks
    for, and may raise OSError or ValueError; deadline: ends the process in so many seconds, whatever it does
    then, None for never; a further call replaces the one before.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        outlet: Outlet,
        prepare: Callable[[Init], None],
        deadline: Callable[[float | None], None],
    ) -> None:
        self._read = read
        self._outlet = outlet
        self._prepare = prepare
        self._deadline = deadline
        self._tasks: SimpleQueue[Init | Start | Stop] = SimpleQueue()
        self._calls = Calls()
        self._link: Link | None = None
        self._class: type | None = None
        self._plugin: Any = None
        self._shown: tuple[Any, Any] = ([], [])
        self._looking = Lock()
        self._look_again = False

    def run(self) -> bool:
        """Do everything until Stop or the end of the orders; return whether all went well.

        To be called in the main thread, where plugins may set signal handlers.
        """
        threading.excepthook = self._thread_failed
        Thread(target=self._outlet.keep_flushing, name="reports", daemon=True).start()
        Thread(target=self._follow, name="orders", daemon=True).start()
        well = True
        while well:
            task = self._tasks.get()
            if isinstance(task, Init):
                well = self._loaded(task)
            elif isinstance(task, Start):
                well = self._started()
            else:
                self._close(task.seconds)
                return True
        self._outlet.flush()
        return False

    def stop(self, seconds: float = ORPHANED) -> None:
        """Close the plugin and end within so many seconds; may be called by a signal handler."""
        # And again when the main thread comes to it: it may just be done with what has a deadline of its own.
        self._deadline(seconds)
        self._tasks.put(Stop(seconds))

    def _follow(self) -> None:
        reader = order_reader()
        while data := self._read():
            try:
                orders = reader.feed(data)
            except RTOCError as error:
                self._log(2, f"The server's orders make no sense: {error.message}")
                break
            for order in orders:
                self._obey(order)
                if isinstance(order, Stop):
                    return
        self.stop()

    def _obey(self, order: Order) -> None:
        match order:
            case Ping(number):
                self._deadline(SILENCE)
                self._outlet.pong(number)
                if not self._calls.waiting:
                    self._calls.run(self._look, False)
            case Call():
                self._ask(order, self._call)
            case Get():
                self._ask(order, self._get)
            case Set():
                self._ask(order, self._set)
            case Samplerate(rate):
                self._calls.run(self._set_samplerate, rate)
            case Stop(seconds):
                self.stop(seconds)
            case Init() | Start():
                self._deadline(BIRTH)
                self._tasks.put(order)

    def _loaded(self, init: Init) -> bool:
        self._link = Link(init, self._outlet, self._look)
        try:
            self._prepare(init)
            self._class = load(init)
            bind(self._class, self._link)
        except BaseException as error:
            return self._failed("import", error)
        functions, parameters = look.functions(self._class), look.class_parameters(self._class)
        self._shown = (functions, parameters)
        return self._outlet.send(Loaded(functions, parameters, plain(self._class.__doc__)))

    def _started(self) -> bool:
        if self._class is None or self._link is None:
            return False
        try:
            self._plugin = make(self._class, self._link)
        except BaseException as error:
            return self._failed("init", error)
        # From now on a server that wants to know sends Pings.
        self._deadline(None)
        self._look()
        return self._outlet.send(Started())

    def _failed(self, stage: str, error: BaseException) -> bool:
        """Report what a plugin raised, SystemExit too: it ends the plugin, and says so."""
        self._log(2, format_exc())
        self._outlet.send(Failed(stage, _line(error)))
        return False

    def _close(self, seconds: float) -> None:
        self._deadline(seconds)
        until = monotonic() + min(seconds / 2, LINGER)
        plugin = self._plugin
        if plugin is not None:
            try:
                close = getattr(plugin, "close", None)
                if callable(close):
                    close()
            except BaseException:
                self._log(2, f"close() failed.\n{format_exc()}")
            plugin.run = False
            cancel = getattr(getattr(plugin, "_pluginThread", None), "cancel", None)
            if callable(cancel):
                cancel()
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.main_thread():
                thread.join(max(0.0, until - monotonic()))
        self._outlet.send(Stopped())

    def _ask(self, order: Call | Get | Set, answer: Callable[[Any], Any]) -> None:
        if not self._calls.run(self._answer, order, answer):
            self._outlet.send(
                Result(order.id, False, f"the plugin is busy: {self._calls.waiting} calls wait")
            )

    def _answer(self, order: Call | Get | Set, answer: Callable[[Any], Any]) -> None:
        """Report what an order came to; runs in a thread of `calls`."""
        try:
            if self._plugin is None:
                raise look.Refused("the plugin is not started")
            result = Result(order.id, True, answer(order))
        except look.Refused as refusal:
            result = Result(order.id, False, str(refusal))
        except BaseException:
            result = Result(order.id, False, plain(format_exc()))
        if not isinstance(order, Get):
            self._look()
        try:
            self._outlet.send(result)
        except TooLarge as error:
            self._outlet.send(Result(order.id, False, f"The result is too large: {error.message}"))

    def _call(self, order: Call) -> Any:
        function = look.function(self._plugin, order.function)
        return plain(function(*order.args, **order.kwargs))

    def _get(self, order: Get) -> list[Any]:
        return [self._value(name) for name in order.names]

    def _value(self, name: str) -> Any:
        try:
            return look.value(self._plugin, name)
        except look.Refused:
            return False
        except Exception:
            self._log(1, f"{name} cannot be read.\n{format_exc()}")
            return False

    def _set(self, order: Set) -> Any:
        look.settable(self._plugin, order.name)
        setattr(self._plugin, order.name, order.value)
        held = look.value(self._plugin, order.name)
        device = getattr(self._plugin, "_devicename", "")
        # RTOC keeps a parameter that was made by initPersistentVariable when a client sets it.
        if self._link is not None and self._link.is_kept(device, order.name):
            self._link.keep(device, order.name, held)
        return held

    def _set_samplerate(self, rate: float) -> None:
        if self._link is not None:
            self._link.samplerate = rate
        try:
            if self._plugin is not None:
                self._plugin.samplerate = rate
        except Exception:
            self._log(1, f"The samplerate cannot be set.\n{format_exc()}")
        self._look()

    def _look(self, asked: bool = True) -> None:
        """Report functions and parameters if they are others; one that blocks holds up no second thread."""
        self._look_again = True
        while self._look_again and self._plugin is not None and self._looking.acquire(blocking=False):
            try:
                self._look_again = False
                shown = (look.functions(self._plugin), look.parameters(self._plugin))
                if shown != self._shown:
                    self._shown = shown
                    self._outlet.send(Changed(*shown, asked))
            except Exception:
                self._log(2, f"The plugin cannot be looked at.\n{format_exc()}")
            finally:
                self._looking.release()

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        if failure.exc_type is SystemExit:
            return
        from traceback import format_exception

        name = failure.thread.name if failure.thread is not None else "?"
        lines = format_exception(failure.exc_type, failure.exc_value, failure.exc_traceback)
        self._log(2, f"The thread {name} died; the plugin goes on.\n{''.join(lines)}")

    def _log(self, level: int, text: str) -> None:
        if self._link is not None:
            self._link.log(level, text.rstrip())


def _line(error: BaseException) -> str:
    """Return an exception as one line of a status."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
