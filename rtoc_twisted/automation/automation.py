"""Automation: rules and actions with all that belongs to them, behind one door."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from ..errors import BadValue
from ..interfaces import IAutomation, ICommit, IPlugins, IRecorder, IStorage
from .actions import Outcome
from .chain import Chain, new_link
from .engine import Engine
from .kept import ACTION, EVENT, USER_ACTION, Item, Kept, fields_of, read_item
from .live import LiveRule
from .revisions import Revisions, Step
from .rule import EventRule
from .running import Runner, Running

_VERBS: Final = ("acknowledge", "confirm", "shelve", "unshelve", "suppress", "unsuppress", "unlatch")


class Scripts(Runner, Protocol):
    """Who runs scripts: actions.Actions."""

    def answer_user(self, name: str, script: str) -> Deferred[Any]:
        """Run a user action; fires with {name, success, type, data}."""

    def stop(self, name: str) -> bool:
        """Let the runs of an action end; return whether there were any."""

    def forget(self, name: str, kind: str = "action") -> None:
        """Stop an action (kind "user": a user action) that is removed, and forget its globals."""

    def runs(self) -> Sequence[Mapping[str, Any]]:
        """Return the runs under way and the newest that ended."""

    def close(self) -> Deferred[None]:
        """End all runs; fires when nothing is left of them."""

    def counters(self) -> Mapping[str, float]:
        """Return figures for people and monitors."""


class Backtests(Protocol):
    """Who tries rules on what is recorded: backtest.Backtest."""

    def run(
        self, rule: EventRule, start: float | None, stop: float | None, progress: Callable[[float], None]
    ) -> Deferred[Any]:
        """Fire with when a rule would have fired."""


@dataclass(frozen=True)
class Policy:
    """What rules may take.

    window: newest samples of a signal that a condition sees at most; per_minute: events of a rule that does
    not say, 0 for any number.
    """

    window: int = 10_000
    per_minute: int = 60


@implementer(IAutomation)
class Automation:
    """Rules, actions and user actions; nothing is evaluated or run before `start`.

    check_script: raises BadValue, with line and column, for a script that is not in the language; chain: the
    one that `scripts` knows, too; wall: seconds since the epoch.
    """

    def __init__(
        self,
        storage: IStorage,
        recorder: IRecorder,
        plugins: IPlugins,
        *,
        scripts: Scripts,
        check_script: Callable[[str], None],
        backtests: Backtests,
        chain: Chain,
        clock: IReactorTime,
        wall: Callable[[], float],
        policy: Policy,
    ) -> None:
        self._scripts = scripts
        self._check_script = check_script
        self._backtests = backtests
        self._wall = wall
        self._kept = Kept(storage)
        self._revisions = Revisions(storage)
        self._running = Running(storage, recorder, self._kept, scripts, chain, wall)
        self._engine = Engine(
            storage,
            recorder,
            plugins,
            chain=chain,
            clock=clock,
            wall=wall,
            window=policy.window,
            per_minute=policy.per_minute,
            tell=self._running.event_raised,
        )

    def start(self) -> None:
        """Go on where the last server ended."""
        self._running.listen()
        self._engine.start(self._kept.events.values(), bool(self._kept.active["events"]))

    def stop(self) -> Deferred[None]:
        """Evaluate nothing more, write what is still to be written, and end what runs; fires when it has."""
        self._engine.stop()
        return self._scripts.close()

    # What is set.

    def told(self) -> Mapping[str, Any]:
        """Return {events, actions, active} as the key `automation` answers them."""
        return self._kept.told()

    def set_event(self, fields: Mapping[str, Any], who: str) -> ICommit:
        """Set a rule; raises BadValue, naming key and column, and TooLarge."""
        return self._set(EVENT, fields, who)

    def set_action(self, fields: Mapping[str, Any], who: str) -> ICommit:
        """Set an action; raises BadValue, naming key and line, and TooLarge."""
        return self._set(ACTION, fields, who)

    def set_user_action(self, fields: Mapping[str, Any], who: str) -> ICommit:
        """Set a user action, {name, script}; raises BadValue, naming key and line, and TooLarge."""
        return self._set(USER_ACTION, fields, who)

    def _set(self, kind: str, fields: Mapping[str, Any], who: str) -> ICommit:
        item = read_item(kind, fields)
        self._check(kind, item)
        self._kept.check_room(kind, [item.name])
        before = self._kept.get(kind, item.name)
        step = Step(kind, item.name, fields_of(before), fields_of(item))
        if step.before == step.after:
            return self._kept.put(kind, item)
        self._do(step, item)
        return self._revisions.add(step, who, self._wall())

    def _check(self, kind: str, item: Item) -> None:
        if isinstance(item, EventRule):
            self._engine.check(item)
            return
        try:
            self._check_script(item.script)
        except BadValue as error:
            key = "setAction" if kind == ACTION else "setUserAction"
            raise BadValue(f"{key}.script: {error.message}") from None

    def remove(self, kind: str, name: str, who: str) -> ICommit | None:
        """Remove an "event", "action" or "userAction"; return None where there is none of that name."""
        before = self._kept.get(kind, name)
        if before is None:
            return None
        step = Step(kind, name, fields_of(before), None)
        self._do(step, None)
        return self._revisions.add(step, who, self._wall())

    def _do(self, step: Step, item: Item | None) -> None:
        """Keep an item, None to remove the one of that name, and work with it from now on."""
        kind, name = step.kind, step.name
        if item is None:
            self._kept.remove(kind, name)
        else:
            self._kept.put(kind, item)
        if kind == EVENT:
            if isinstance(item, EventRule):
                self._engine.set(item)
            else:
                self._engine.remove(name)
        elif item is None:
            self._scripts.forget(name, "action" if kind == ACTION else "user")
        elif kind == ACTION:
            # What runs is the script that was.
            self._scripts.stop(name)
        self._running.listen()

    def user_actions(self) -> Mapping[str, str]:
        """Return the scripts of the user actions by name."""
        return {name: action.script for name, action in self._kept.user_actions.items()}

    def activate(self, active: Mapping[str, Any], who: str) -> ICommit:
        """Switch all events or all actions on or off, each as it was given; raises BadValue."""
        commit = self._kept.activate(active)
        self._engine.activate(bool(self._kept.active["events"]))
        self._running.listen()
        if not self._kept.active["actions"]:
            for name in self._kept.actions:
                self._scripts.stop(name)
        return commit

    def revisions(self, limit: int | None = None) -> Sequence[Mapping[str, Any]]:
        """Return the newest changes of rules and actions, oldest first."""
        return self._revisions.told(limit)

    def rollback(self, number: int, who: str) -> ICommit:
        """Set everything as it was after that revision, all of it or nothing.

        Raises BadValue where that is not known any more, or what was set then is refused now; TooLarge.
        """
        steps = self._revisions.way_back(number)
        items: list[Item | None] = []
        for step in steps:
            item = None if step.after is None else read_item(step.kind, step.after)
            if item is not None:
                self._check(step.kind, item)
            items.append(item)
        for kind in (EVENT, ACTION, USER_ACTION):
            here = [step for step in steps if step.kind == kind]
            coming = [step.name for step in here if step.after is not None]
            self._kept.check_room(kind, coming, [step.name for step in here if step.after is None])
        # What goes makes room for what comes.
        for step, item in sorted(zip(steps, items, strict=True), key=lambda each: each[1] is not None):
            self._do(step, item)
        return self._revisions.add_rollback(number, steps, who, self._wall())

    def rollback_changes_scripts(self, number: int) -> bool:
        """Return whether a rollback would change what scripts do; raises BadValue as it does."""
        return any(step.kind != EVENT for step in self._revisions.way_back(number))

    # What is tried.

    def test_event(self, name: str, force: bool = False) -> Deferred[Mapping[str, Any]]:
        """Evaluate a rule's condition; raise its event if it holds or `force` is set.

        Fires with {ok, value}, at once unless samples have to be read.
        """
        if name not in self._kept.events:
            return succeed({"ok": False, "value": None})
        testing = self._engine.test(name, force)
        return testing.addCallback(lambda found: {"ok": found[0], "value": found[1]})

    def test_action(self, name: str, dry: bool = False) -> Deferred[Mapping[str, Any]]:
        """Run an action; fires with {ok, value}, and when dry with the `effects` that it would have had."""
        action = self._kept.actions.get(name)
        if action is None:
            return succeed({"ok": False, "value": None})

        def told(outcome: Outcome) -> dict[str, Any]:
            effects = {"effects": list(outcome.calls)} if dry else {}
            return {"ok": outcome.ok, "value": outcome.told, **effects}

        return self._scripts.run(name, action, None, new_link("test"), dry).addCallback(told)

    def run_user_action(self, name: str) -> Deferred[Mapping[str, Any]]:
        """Run a user action; fires with {name, success, type, data}."""
        action = self._kept.user_actions.get(name)
        if action is None:
            # In RTOC's words.
            return succeed({"name": name, "success": False, "type": "text", "data": "Action is incorrect"})
        return self._scripts.answer_user(name, action.script)

    def stop_action(self, name: str) -> bool:
        """Ask the runs of an action to end; return whether there were any."""
        return self._scripts.stop(name)

    def runs(self) -> Sequence[Mapping[str, Any]]:
        """Return the runs of actions that are under way, and the newest that ended."""
        return self._scripts.runs()

    def backtest(
        self,
        event: Mapping[str, Any] | str,
        start: float | None,
        stop: float | None,
        progress: Callable[[float], None],
    ) -> Deferred[Mapping[str, Any]]:
        """Fire with when a rule would have fired on what is recorded; cancelling it ends the work."""
        if isinstance(event, str):
            rule = self._kept.events.get(event)
            if rule is None:
                raise BadValue(f"backtest.event: there is no rule {event}")
        else:
            rule = EventRule.read({"name": "backtest", **event}, "backtest.event")
        return self._backtests.run(rule, start, stop, progress)

    # How alarms stand.

    def reset(self, names: Sequence[str] | None) -> ICommit:
        """Let rules, None for all, forget what their conditions said last; raises BadValue for no rule."""
        for name in names or ():
            self._known(name, "reset")
        commit = self._engine.reset(self._kept.events if names is None else names)
        return self._kept.activate({}) if commit is None else commit

    def alarms(self, names: Sequence[str] | None = None) -> Mapping[str, Any]:
        """Return the states of alarms by their rules' names (OPC UA Part 9); raises BadValue for no rule."""
        wanted = self._kept.events if names is None else names
        return {name: self._known(name, "alarms").told() for name in wanted}

    def change_alarm(
        self, verb: str, name: str, who: str, comment: str | None = None, seconds: float | None = None
    ) -> tuple[Mapping[str, Any], ICommit]:
        """Acknowledge, confirm, shelve, unshelve, suppress, unsuppress or unlatch; return the new state.

        Raises BadValue where the state does not allow it.
        """
        if verb not in _VERBS:
            raise BadValue(f"{verb}: expected one of {', '.join(_VERBS)}")
        live = self._known(name, verb)
        more: tuple[Any, ...] = ()
        if verb in ("acknowledge", "confirm", "unlatch"):
            more = (comment,)
        elif verb == "shelve":
            more = (seconds,)
        change = getattr(live.alarm, verb)
        commit = self._engine.act(live, lambda now: change(now, who, *more))
        return live.told(), commit

    def _known(self, name: str, key: str) -> LiveRule:
        live = self._engine.rule(name)
        if live is None:
            raise BadValue(f"{key}: there is no rule {name}")
        return live

    def why(self, number: int) -> Deferred[Sequence[Mapping[str, Any]] | None]:
        """Fire with the causes of an event, its own first, then its parent's; None if there is no event."""
        return self._running.why(number)

    def counters(self) -> Mapping[str, float]:
        """Return figures for people and monitors."""
        return {
            **self._engine.counters(),
            **self._scripts.counters(),
            "actions_started": self._running.started,
            "actions_in_circles": self._running.circles,
            "revisions": self._revisions.newest,
        }
