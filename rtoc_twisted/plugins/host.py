"""All plugins: found, started, watched, told of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ..box.notices import Tell, unheard
from ..errors import NotAvailable, RTOCError, UnknownPlugin
from ..interfaces import IPlugins, IRecorder, IStorage
from ..model import Event, SignalName
from . import orders
from .discovery import Found, Stamp
from .orders import Order
from .plugin import Plugin
from .process import Child, Limits, PluginProcess
from .remembered import Remembered, stored
from .supervisor import State
from .telling import Telling
from .watch import Find, Survey, Watch

_T = TypeVar("_T")

_LOOK_SECONDS = 2.0
_SETTLED_SECONDS = 30.0
"""How long a server must run for its start to have gone well."""

_BAD_STARTS = 3
"""Starts in a row that did not, after which the next one is without plugins."""

_SAFE = f"not started: the last {_BAD_STARTS} starts of the server ended early, this one is without plugins"


@dataclass(frozen=True)
class Policy:
    """What is done with plugins. restarts: as of Supervisor; reload: whether changed files restart one."""

    limits: Limits = Limits()
    restarts: int = 4
    reload: bool = True


@implementer(IPlugins)
class PluginHost:
    """The plugins of a server; nothing is read or started before `start`.

    launch: starts a process; find: reads which plugins there are; in_thread: calls a function in a thread,
    returns a Deferred; samplerate: returns that of all plugins in Hz, None where nobody has set one; notify:
    tells people what a plugin wants them to hear.
    """

    _log = Logger()

    def __init__(
        self,
        storage: IStorage,
        recorder: IRecorder,
        *,
        state_dir: Path,
        launch: Callable[[PluginProcess], Child],
        find: Find,
        in_thread: Callable[..., Deferred[Any]],
        samplerate: Callable[[], float | None],
        clock: IReactorTime,
        wall: Callable[[], float],
        policy: Policy,
        notify: Tell = unheard,
    ) -> None:
        self._storage = storage
        self._recorder = recorder
        self._state_dir = state_dir
        self._launch = launch
        self._in_thread = in_thread
        self._samplerate = samplerate
        self._clock = clock
        self._wall = wall
        self._policy = policy
        self._notify = notify
        self._remembered = Remembered(storage, clock, state_dir)
        self._telling = Telling(clock, lambda: recorder.tell_plugins(self.listing()))
        self._watch = Watch(state_dir / "devices", find)
        self._plugins: dict[str, Plugin] = {}
        self._stamps: dict[str, Stamp] = {}
        self._looking: Deferred[None] | None = None
        self._look_timer: IDelayedCall | None = None
        self._settling: IDelayedCall | None = None
        self._stopping = False

    def start(self) -> None:
        """Find the plugins, and start those that start with the server, unless that went wrong too often."""
        self._adopt(self._watch.look(thoroughly=True) or ())
        # Nobody knows of another list.
        self._telling.stop()
        self._look_later()
        wanted = [self._plugins[name] for name in self._remembered.autorun if name in self._plugins]
        if not wanted:
            return
        starts = self._remembered.starts
        if starts >= _BAD_STARTS:
            self._remembered.keep_starts(0)
            for plugin in wanted:
                plugin.note = _SAFE
            self._tell_event(f"Plugins are {_SAFE}")
            return
        self._settling = self._clock.callLater(_SETTLED_SECONDS, self._settle)

        def begin() -> None:
            if not self._stopping:
                for plugin in wanted:
                    plugin.supervisor.start(tries_on=True)

        # First it must be known that this was tried.
        self._remembered.keep_starts(starts + 1).when_done(begin)

    def _settle(self) -> None:
        self._settling = None
        self._remembered.keep_starts(0)

    @inlineCallbacks
    def stop(self) -> Any:
        """Stop all plugins; fires when they are gone, and what they sent is with the recorder."""
        self._stopping = True
        for timer in (self._look_timer, self._settling):
            if timer is not None and timer.active():
                timer.cancel()
        if self._looking is not None:
            yield self._looking
        plugins = list(self._plugins.values())
        yield DeferredList([plugin.supervisor.stop() for plugin in plugins])
        yield DeferredList([plugin.intake.when_idle() for plugin in plugins])
        if self._settling is not None:
            self._settle()
        self._remembered.write()
        self._telling.stop()

    # IPlugins

    def names(self) -> Sequence[str]:
        """Return the names of all plugins."""
        return tuple(self._plugins)

    def running(self, name: str) -> bool:
        """Return whether there is a plugin of that name, and it runs."""
        return name in self._plugins and self._plugins[name].supervisor.running

    def listing(self) -> Mapping[str, Any]:
        """Return all plugins as getPluginList answers them."""
        autorun = set(self._remembered.autorun)
        return {name: plugin.row(name in autorun) for name, plugin in self._plugins.items()}

    def start_plugin(self, name: str) -> Deferred[str]:
        """Start a plugin; fires with "" or with why it does not run."""
        if self._stopping:
            raise NotAvailable("plugin: the server stops")
        return self._plugin(name).supervisor.start()

    def stop_plugin(self, name: str) -> Deferred[None]:
        """Stop a plugin; fires when its process is gone."""
        plugin = self._plugin(name)
        plugin.note = ""
        return plugin.supervisor.stop()

    def set_autorun(self, name: str, on: bool) -> Deferred[bool]:
        """Let a plugin start with the server, or not; fires with whether that is a change when it is kept."""
        if on:
            self._plugin(name)
        commit = self._remembered.set_autorun(name, on)
        if commit is None:
            return succeed(False)
        self._telling.changed()
        return stored(commit).addCallback(lambda _: True)

    def call(
        self, name: str, function: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Deferred[tuple[bool, Any]]:
        """Call a function; fires with (True, what it returned) or (False, why not)."""
        plugin = self._plugin(name)
        asked = self._ask(name, lambda number: orders.Call(number, function, list(args), dict(kwargs or {})))
        speakable = asked.addCallback(lambda answer: (answer[0], plugin.speakable(answer[1])))
        return speakable.addCallback(self._kept)

    def get(self, name: str, parameters: Sequence[str]) -> Deferred[list[Any]]:
        """Read parameters; fires with one value each, false for one that cannot be read."""
        plugin = self._plugin(name)

        def answered(answer: tuple[bool, Any]) -> list[Any]:
            done, values = answer
            if not done or not isinstance(values, list) or len(values) != len(parameters):
                return [False] * len(parameters)
            return [plugin.speakable(value) for value in values]

        return self._ask(name, lambda number: orders.Get(number, list(parameters))).addCallback(answered)

    def set(self, name: str, parameter: str, value: Any) -> Deferred[Any]:
        """Set a parameter; fires with the value that it holds then, false if that failed."""
        plugin = self._plugin(name)

        def answered(answer: tuple[bool, Any]) -> Any:
            done, held = answer
            if not done and plugin.supervisor.running:
                plugin.complain(f"{parameter} was not set: {held}")
            return plugin.speakable(held) if done else False

        asked = self._ask(name, lambda number: orders.Set(number, parameter, value))
        return asked.addCallback(answered).addCallback(self._kept)

    def parameter(self, name: str, parameter: str) -> Any:
        """Return the value of a parameter as it was last heard of."""
        return self._plugin(name).parameter(parameter)

    def set_samplerate(self, rate: float) -> None:
        """Let the timers of all plugins run at that rate, in Hz."""
        for plugin in self._plugins.values():
            plugin.supervisor.tell(orders.Samplerate(rate))

    def tell(self) -> None:
        """Tell listeners of changes now, unless they were told a moment ago: then soon."""
        self._telling.hurry()

    def look(self, thoroughly: bool = True) -> Deferred[None]:
        """Look which plugins there are and restart those that run and have changed; fires when done.

        thoroughly: look at those outside of the state directory, too.
        """
        if self._looking is not None or self._stopping:
            return succeed(None)

        def looked(survey: Survey | None) -> None:
            if survey is not None and not self._stopping:
                self._adopt(survey, reload=thoroughly or self._policy.reload)

        def failed(failure: Failure) -> None:
            self._log.failure("the plugins were not looked at", failure)

        def done(_: Any) -> None:
            self._looking = None
            if not self._stopping:
                self._look_later()

        if self._look_timer is not None and self._look_timer.active():
            self._look_timer.cancel()
        self._looking = looking = self._in_thread(self._watch.look, thoroughly)
        return looking.addCallback(looked).addErrback(failed).addCallback(done)

    def counters(self) -> dict[str, float]:
        """Return figures for people and monitors."""
        plugins = self._plugins.values()
        return {
            "plugins": len(plugins),
            "plugins_running": sum(plugin.supervisor.running for plugin in plugins),
            "plugins_given_up": sum(plugin.supervisor.state is State.GIVEN_UP for plugin in plugins),
            "plugin_reports_refused": sum(plugin.intake.refused for plugin in plugins),
        }

    def _plugin(self, name: str) -> Plugin:
        plugin = self._plugins.get(name)
        if plugin is None:
            raise UnknownPlugin(f"there is no plugin {name[:100]!r}")
        return plugin

    def _ask(self, name: str, make: Callable[[int], Order]) -> Deferred[tuple[bool, Any]]:
        plugin = self._plugin(name)

        def answered(result: orders.Result) -> tuple[bool, Any]:
            return result.ok, result.value

        def failed(failure: Failure) -> tuple[bool, Any]:
            failure.trap(RTOCError)
            return False, failure.getErrorMessage()

        return plugin.supervisor.ask(make).addCallback(answered).addErrback(failed)

    def _kept(self, answer: _T) -> Deferred[_T]:
        """Return an answer once the persistent variables are kept that changed before it."""
        return self._remembered.kept().addCallback(lambda _: answer)

    def _look_later(self) -> None:
        self._look_timer = self._clock.callLater(_LOOK_SECONDS, self.look, False)

    def _adopt(self, survey: Survey, reload: bool = False) -> None:
        """Take over which plugins there are now."""
        there = {found.name for found, _ in survey}
        changed = False
        for name in [name for name in self._plugins if name not in there]:
            if self._plugins[name].supervisor.state in (State.STOPPED, State.FAILED, State.GIVEN_UP):
                del self._plugins[name]
                changed = True
        for found, stamp in survey:
            known = self._plugins.get(found.name)
            same = known is not None and self._stamps.get(found.name) == stamp and known.found == found
            self._stamps[found.name] = stamp
            if same:
                continue
            changed = True
            if known is None:
                self._plugins[found.name] = self._make(found)
            else:
                self._renew(known, found, reload)
        self._plugins = dict(sorted(self._plugins.items()))
        if changed:
            self._telling.changed()

    def _renew(self, plugin: Plugin, found: Found, reload: bool) -> None:
        plugin.found = found
        if found.error is not None:
            plugin.complain(f"its files changed, and cannot be used: {found.error}")
        elif reload:
            plugin.supervisor.renew()

    def _make(self, found: Found) -> Plugin:
        return Plugin(
            found,
            launch=self._launch,
            limits=self._policy.limits,
            restarts=self._policy.restarts,
            recorder=self._recorder,
            congested=lambda: self._storage.congested,
            remembered=self._remembered,
            state_dir=self._state_dir,
            samplerate=self._samplerate,
            clock=self._clock,
            wall=self._wall,
            changed=self._telling.changed,
            crashed=self._tell_event,
            notify=self._notify,
        )

    def _tell_event(self, text: str) -> None:
        self._log.error("{text}", text=text)
        self._recorder.raise_event(Event(SignalName("RTOC", ""), text, self._wall(), priority=2))
