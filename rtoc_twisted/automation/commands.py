"""The keys `automation` and `userAction` (protocol section 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import isfinite
from typing import Annotated, Any, TypeVar

import msgspec
from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.python.failure import Failure
from zope.interface import implementer

from ..command import Command, command, require, tagged
from ..errors import BadValue, Busy, NotAvailable, RTOCError
from ..interfaces import IAutomation, ICommandSource, ICommit, IConnection, INotifier
from ..model import Permission
from ..wire.answer import Partly
from ..wire.codec import check_value
from .fields import MAX_NAME

_BACKTESTS = 2
"""Backtests of one connection that are under way at once."""

_VERBS = ("acknowledge", "confirm", "shelve", "unshelve", "suppress", "unsuppress", "unlatch")

_COMMENTED = ("acknowledge", "confirm", "unlatch")
"""Those that keep a comment with the state."""

_UNSAID = frozenset(("setEvent", "setAction", "setUserAction", "active", "reset"))
"""Calls whose result is the state in the answer."""

_Calls = Mapping[str, Any]
_Do = Callable[[IConnection, Any, _Calls], Any]
_K = TypeVar("_K")
_Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class _Named(msgspec.Struct, forbid_unknown_fields=True):
    name: _Name


class _TestEvent(_Named):
    force: bool = False


class _TestAction(_Named):
    dry: bool = False


class _Verb(_Named):
    comment: str | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0)] | None = None


class _Backtest(msgspec.Struct, forbid_unknown_fields=True, rename={"start": "from", "stop": "to"}):
    event: dict[str, Any] | str
    start: float | None = None
    stop: float | None = None
    id: Any = None


@implementer(ICommandSource)
class AutomationCommands:
    """Sets rules and actions, tries them, tells how alarms stand and why events were raised.

    The calls of one `automation` are done in the order of the table below, whatever their order in the
    message: first what changes something, then what tries, then what asks. One that fails is told in
    `errors` by its path, and the others are done.
    """

    def __init__(self, automation: IAutomation, notifier: INotifier) -> None:
        self._automation = automation
        self._backtests: Counter[IConnection] = Counter()
        self._calls: Mapping[str, _Do] = {
            "rollback": self._rollback,
            "setEvent": self._set_event,
            "setAction": partial(self._set_script, "setAction", automation.set_action),
            "setUserAction": partial(self._set_script, "setUserAction", automation.set_user_action),
            "removeEvent": partial(self._remove, "event", Permission.CONTROL),
            "removeAction": partial(self._remove, "action", Permission.SCRIPT),
            "removeUserAction": partial(self._remove, "userAction", Permission.SCRIPT),
            "active": self._activate,
            "reset": self._reset,
            **{verb: partial(self._change_alarm, verb) for verb in _VERBS},
            "stopAction": lambda _, name, __: automation.stop_action(_read(name, str)),
            "testEvent": self._test_event,
            "testAction": self._test_action,
            "backtest": self._backtest,
            "alarms": lambda _, names, __: automation.alarms(_names(names)),
            "why": lambda _, number, __: automation.why(_read(number, _Number)),
            "userActions": lambda *_: automation.user_actions(),
            "runs": lambda *_: automation.runs(),
            "channels": lambda *_: notifier.told(),
            "revisions": self._revisions,
        }

    def commands(self) -> Iterable[Command]:
        """Return the commands."""
        return tagged(self)

    @command("automation", dict[str, Any], Permission.CONTROL)
    @inlineCallbacks
    def automation(self, connection: IConnection, calls: _Calls) -> Any:
        """Set rules and actions, try them, acknowledge alarms, ask why: {call: argument}."""
        # Names are said again in the answer.
        check_value(calls, "automation")
        answer: dict[str, Any] = {}
        errors: list[RTOCError] = []
        for key, do in self._calls.items():
            if key not in calls:
                continue
            try:
                result = do(connection, calls[key], calls)
                if isinstance(result, Deferred):
                    result = yield result
            except RTOCError as error:
                errors.append(type(error)(_placed(key, error.message)))
            else:
                if key not in _UNSAID:
                    answer[key] = result
        return Partly({"automation": {**answer, **self._automation.told()}}, errors)

    @command("userAction", str | dict[str, Any], Permission.CONTROL)
    def user_action(self, connection: IConnection, wanted: Any) -> Any:
        """Run a user action, named by a text or {name}, and answer what it gave."""
        check_value(wanted, "userAction")
        try:
            name = _named(wanted, _Named).name
        except BadValue as error:
            raise BadValue(f"userAction{_joint(error.message)}{error.message}") from None
        return self._automation.run_user_action(name).addCallback(lambda told: {"userAction": told})

    # What changes something: before anything waits, for the answer is to wait for the commits.

    def _rollback(self, connection: IConnection, number: Any, _: _Calls) -> bool:
        number = _read(number, _Number)
        if self._automation.rollback_changes_scripts(number):
            require(connection.account, Permission.SCRIPT, "automation.rollback")
        connection.settle(self._automation.rollback(number, _who(connection)))
        return True

    def _set_event(self, connection: IConnection, fields: Any, _: _Calls) -> None:
        connection.settle(self._automation.set_event(_read(fields, dict[str, Any]), _who(connection)))

    def _set_script(
        self,
        key: str,
        set_fields: Callable[[Mapping[str, Any], str], ICommit],
        connection: IConnection,
        fields: Any,
        _: _Calls,
    ) -> None:
        require(connection.account, Permission.SCRIPT, f"automation.{key}")
        connection.settle(set_fields(_read(fields, dict[str, Any]), _who(connection)))

    def _remove(
        self, kind: str, permission: Permission, connection: IConnection, name: Any, _: _Calls
    ) -> bool:
        require(connection.account, permission, f"automation.remove{kind[:1].upper()}{kind[1:]}")
        commit = self._automation.remove(kind, _read(name, str), _who(connection))
        if commit is not None:
            connection.settle(commit)
        return commit is not None

    def _activate(self, connection: IConnection, active: Any, _: _Calls) -> None:
        connection.settle(self._automation.activate(_read(active, dict[str, Any]), _who(connection)))

    def _reset(self, connection: IConnection, names: Any, _: _Calls) -> None:
        # RTOC takes any value for all.
        named = isinstance(names, str | list)
        connection.settle(self._automation.reset(_names(names) if named else None))

    def _change_alarm(self, verb: str, connection: IConnection, wanted: Any, _: _Calls) -> Mapping[str, Any]:
        given = _named(wanted, _Verb)
        if given.seconds is not None and verb != "shelve":
            raise BadValue(".seconds: only shelve has an end")
        if given.comment is not None and verb not in _COMMENTED:
            raise BadValue(f".comment: it is kept with {', '.join(_COMMENTED)} alone")
        _check_finite(given.seconds, ".seconds")
        told, commit = self._automation.change_alarm(
            verb, given.name, _who(connection), given.comment, given.seconds
        )
        connection.settle(commit)
        return told

    # What tries.

    def _test_event(self, connection: IConnection, wanted: Any, calls: _Calls) -> Deferred[Mapping[str, Any]]:
        given = _named(wanted, _TestEvent)
        return self._automation.test_event(given.name, given.force or calls.get("force") is True)

    def _test_action(
        self, connection: IConnection, wanted: Any, calls: _Calls
    ) -> Deferred[Mapping[str, Any]]:
        given = _named(wanted, _TestAction)
        return self._automation.test_action(given.name, given.dry or calls.get("dry") is True)

    def _backtest(self, connection: IConnection, wanted: Any, _: _Calls) -> Deferred[Mapping[str, Any]]:
        given = _read(wanted, _Backtest)
        _check_finite(given.start, ".from")
        _check_finite(given.stop, ".to")
        if self._backtests[connection] == _BACKTESTS:
            raise Busy(f"{_BACKTESTS} backtests of this connection are under way")
        echo = {} if given.id is None else {"id": given.id}

        def progress(done: float) -> None:
            connection.tell({"progress": {"key": "automation.backtest", **echo, "done": done}})

        testing = self._automation.backtest(given.event, given.start, given.stop, progress)
        self._backtests[connection] += 1
        undo = connection.when_ended(testing.cancel)

        def ended(result: Any) -> Any:
            undo()
            self._backtests[connection] -= 1
            if not self._backtests[connection]:
                del self._backtests[connection]
            return result

        def cancelled(failure: Failure) -> Any:
            failure.trap(CancelledError)
            raise NotAvailable("it was ended before it was done")

        testing.addBoth(ended)
        testing.addErrback(cancelled)
        return testing

    # What asks.

    def _revisions(self, connection: IConnection, limit: Any, _: _Calls) -> Any:
        return self._automation.revisions(None if limit is True else _read(limit, _Number))


def _who(connection: IConnection) -> str:
    return "" if connection.account is None else connection.account.name


def _read(value: Any, kind: type[_K]) -> _K:
    """Return a value as the type that is expected; BadValue, its place within the value first."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$")
        raise BadValue(f"{path.rstrip('`')}: {what}" if path else what) from None


def _named(value: Any, kind: type[_K]) -> _K:
    """Return what a name means, or an object with a name in it."""
    if not isinstance(value, str | dict):
        raise BadValue("expected a name, or an object with one")
    return _read({"name": value} if isinstance(value, str) else value, kind)


def _names(value: Any) -> list[str] | None:
    """Return the names that a name or a list of them means; None, for all, of true."""
    if value is True:
        return None
    return _read([value] if isinstance(value, str) else value, list[_Name])


def _check_finite(number: float | None, place: str) -> None:
    if number is not None and not isfinite(number):
        raise BadValue(f"{place}: expected a finite number")


def _joint(message: str) -> str:
    """Return what stands between a key and what is said of it: a message may begin with a place within."""
    return "" if message.startswith((".", "[")) else ": "


def _placed(key: str, message: str) -> str:
    """Return a message that names the whole path, whatever of it the message names already."""
    if message.startswith("automation."):
        return message
    if message.startswith(key) and message[len(key) : len(key) + 1] in (".", "[", ":"):
        return f"automation.{message}"
    return f"automation.{key}{_joint(message)}{message}"
