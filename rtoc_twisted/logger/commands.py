"""The keys `logger` and `hello` (protocol sections 5 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from zope.interface import implementer

from ..command import Command, command, require, tagged
from ..errors import BadValue, NotAvailable, RTOCError
from ..interfaces import IAutomation, ICommandSource, IConnection, IEvents, IRecorder, IStorage
from ..model import Permission
from ..wire.codec import check_value
from ..wire.request import lenient
from .backup import Backups
from .export import WRITERS, Exporter, below
from .info import ServerFacts, hello, info
from .settings import Settings

Reboot = Callable[[], Deferred[int | None]]


@implementer(ICommandSource)
class LoggerCommands:
    """Answers `logger`: each call in it by a method, what none understands is echoed.

    counters: what the buffers of the server have counted; set_samplerate: lets the timers of all plugins run
    at that rate, in Hz; automation: what `info` tells of; reboot: runs the command that the configuration
    names and fires with its exit code, None where a signal ended it; None where the configuration names none.
    """

    def __init__(
        self,
        storage: IStorage,
        events: IEvents,
        recorder: IRecorder,
        settings: Settings,
        facts: ServerFacts,
        exporter: Exporter,
        backups: Backups,
        *,
        clock: Callable[[], float],
        export_dir: Path,
        counters: Callable[[], Mapping[str, float]],
        set_samplerate: Callable[[float], None],
        automation: IAutomation,
        reboot: Reboot | None = None,
    ) -> None:
        self._storage = storage
        self._events = events
        self._recorder = recorder
        self._settings = settings
        self._facts = facts
        self._exporter = exporter
        self._backups = backups
        self._clock = clock
        self._export_dir = export_dir
        self._counters = counters
        self._set_samplerate = set_samplerate
        self._automation = automation
        self._reboot = reboot
        self._calls: Mapping[str, tuple[Permission, Callable[[Any], Any]]] = {
            "clear": (Permission.CONTROL, self._clear),
            "resize": (Permission.CONTROL, self._resize),
            "export": (Permission.CONTROL, self.export),
            "backup": (Permission.CONTROL, self._backup),
            "postgresql": (Permission.CONTROL, lambda value: self._change("postgresql", value)),
            "tcp": (Permission.CONTROL, lambda value: self._change("tcp", value)),
            "telegram": (Permission.CONTROL, lambda value: self._change("telegram", value)),
            "global": (Permission.CONTROL, self._global),
            "reboot": (Permission.ADMIN, self._run_reboot),
        }

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)

    @command("hello", Any, Permission.READ)
    def hello(self, connection: IConnection, _: Any) -> dict[str, Any]:
        """Tell which server this is, its limits, and what the account may do."""
        account = connection.account
        names = [p.name.lower() for p in Permission.ALL if p.name and account and account.may(p)]
        return {"hello": hello(self._facts, self._clock(), names)}

    @command("logger", lenient(dict[str, Any]), Permission.READ)
    @inlineCallbacks
    def logger(self, connection: IConnection, calls: Any) -> Any:
        """Inform, clear, resize, export, back up, change settings, reboot: {call: argument}."""
        # What is said is said again in the answer.
        check_value(calls, "logger")
        if not isinstance(calls, dict):
            return {"logger": calls}
        answer = {}
        for name, value in calls.items():
            permission, call = self._calls.get(name, (Permission.NONE, _echo))
            require(connection.account, permission, f"logger.{name}")
            answer[name] = yield call(value)
        # RTRemote reads info in every answer.
        told = info(self._facts, self._storage, self._settings, self._counters(), self._automation)
        return {"logger": {**answer, "info": told}}

    @inlineCallbacks
    def _clear(self, what: Any) -> Any:
        if what == "all":
            yield self._recorder.clear()
        elif what == "events":
            yield self._events.remove(None)
        elif isinstance(what, list):
            found = [self._storage.resolve(key) if isinstance(key, str) else None for key in what]
            yield self._recorder.remove([signal for signal in found if signal is not None])
            return [False if signal is None else None for signal in found]
        return what

    def _resize(self, length: Any) -> Any:
        if isinstance(length, bool) or not isinstance(length, int):
            return length
        if length < 1:
            raise BadValue(f"logger.resize: expected 1 or more samples, got {length}")
        return _when_done(self._settings.resize(length), True)

    @inlineCallbacks
    def export(self, wanted: Any) -> Any:
        """Write what is recorded to [filename(, type)] below the export directory; fires with the answer."""
        if not isinstance(wanted, list) or len(wanted) > 2:
            return wanted
        if not wanted or not all(isinstance(element, str) for element in wanted):
            raise BadValue("logger.export: expected [filename] or [filename, type]")
        kind = wanted[1] if len(wanted) == 2 else "json"
        if kind not in WRITERS:
            raise BadValue(f"logger.export[1]: expected one of {', '.join(WRITERS)}, got {kind[:40]!r}")
        path = below(self._export_dir, wanted[0], f".{kind}")
        rests = yield self._exporter.write(path, kind, self._settings.record_length())
        told = {rest.signal.name.key: {"points": rest.points, "of": rest.of} for rest in rests}
        return {"decimated": told} if told else True

    @inlineCallbacks
    def _backup(self, wanted: Any) -> Any:
        now = wanted.get("now") if isinstance(wanted, dict) else None
        if now is not None and not isinstance(now, bool) and now != "full":
            # To say it again unchanged would let people believe that there is a backup.
            raise BadValue(f'logger.backup.now: expected true or "full", got {str(now)[:40]!r}')
        yield self._change("backup", wanted)
        self._backups.reschedule()
        if now is True:
            yield self._backups.now()
        elif now == "full":
            name = yield self._backups.now(full=True)
            return {**wanted, "file": name}
        return wanted

    def _global(self, wanted: Any) -> Any:
        answer = self._change("global", wanted)
        rate = self._settings.topic("global").get("samplerate")
        if isinstance(wanted, dict) and "samplerate" in wanted and rate:
            self._set_samplerate(rate)
        return answer

    def _change(self, topic: str, wanted: Any) -> Any:
        commit = self._settings.change(topic, wanted)
        return wanted if commit is None else _when_done(commit, wanted)

    @inlineCallbacks
    def _run_reboot(self, wanted: Any) -> Any:
        if wanted is False:
            return wanted
        if self._reboot is None:
            raise NotAvailable("logger.reboot: the configuration names no command (logger.reboot_command)")
        try:
            code = yield self._reboot()
        except OSError as error:
            raise NotAvailable(f"logger.reboot: the command cannot be run: {error.strerror}") from None
        if code != 0:
            ended = "was ended by a signal" if code is None else f"failed with the code {code}"
            raise RTOCError(f"logger.reboot: the command {ended}")
        return True


def _echo(value: Any) -> Any:
    return value


def _when_done(commit: Any, value: Any) -> Deferred[Any]:
    fired: Deferred[Any] = Deferred()

    def done() -> None:
        if commit.error is None:
            fired.callback(value)
        else:
            fired.errback(commit.error)

    commit.when_done(done)
    return fired
