"""Events run actions, and keep what these did as part of their causes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from weakref import WeakSet

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger

from ..errors import RTOCError
from ..interfaces import IRecorder, IStorage
from ..model import Event
from .actions import Outcome
from .chain import DEEPEST, Chain, Link, link_after, new_link
from .kept import Kept
from .raising import MINUTE, NOTICES, beginning, notice
from .records import MOST, Records
from .rule import ActionRule


class Runner(Protocol):
    """Who runs actions: actions.Actions."""

    def run(
        self, name: str, action: ActionRule, event: Event | None, link: Link, dry: bool = False
    ) -> Deferred[Outcome]:
        """Run an action; fires with how it went, never fails."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Told:
    """The cause of an event, to which runs add what they did; number is None when the event is gone."""

    number: int | None
    cause: dict[str, Any]


class Running:
    """Runs the actions that listen for events, whoever raised these: rules, clients, plugins, actions."""

    _log = Logger()

    def __init__(
        self,
        storage: IStorage,
        recorder: IRecorder,
        kept: Kept,
        runner: Runner,
        chain: Chain,
        wall: Callable[[], float],
    ) -> None:
        self._storage = storage
        self._recorder = recorder
        self._kept = kept
        self._runner = runner
        self._chain = chain
        self._wall = wall
        self._records = Records(wall)
        # Nobody but their runs holds them.
        self._told: WeakSet[_Told] = WeakSet()
        self._newest = 0
        self._listening: dict[str, list[str]] = {}
        self._told_circles: dict[str, float] = {}
        self.started = 0
        self.circles = 0

    def listen(self) -> None:
        """Look anew which actions listen for which events."""
        self._listening = {}
        known = self._kept.actions.keys()
        self._told_circles = {name: at for name, at in self._told_circles.items() if name in known}
        if not self._kept.active["actions"]:
            return
        for name, action in self._kept.actions.items():
            if action.active:
                for listened in action.listen_ids:
                    self._listening.setdefault(listened, []).append(name)

    def event_raised(self, event: Event) -> None:
        """Let the actions run that listen for an event, once everybody was told of it."""
        if event.number <= self._newest:
            # Numbers have begun anew, and with this one: whoever had it, or a greater one, is gone.
            for told in self._told:
                if told.number is not None and told.number >= event.number:
                    told.number = None
        self._newest = event.number
        cause = event.cause
        link = self._chain.now()
        names = self._listening.get(event.action_id, ())
        if cause is None and (names or link is not None):
            cause = _cause_of(event, link)
            self._storage.note_event(event.number, {"cause": cause})
        if cause is None or not names or cause.get("by") in NOTICES:
            return
        link = link_after(event.number, cause)
        if link.depth > DEEPEST:
            self.circles += 1
            self._tell_circle(names[0])
            return
        told = _Told(event.number, {**cause, "actions": []})
        self._told.add(told)
        for name in names:
            self._recorder.afterwards(partial(self._run, name, event, link, told))

    def _tell_circle(self, name: str) -> None:
        """Raise an event that tells that an action does not run, unless that was done a moment ago."""
        now = self._wall()
        if now - self._told_circles.get(name, -math.inf) >= MINUTE:
            self._told_circles[name] = now
            text = f"{name}: not run, it would follow from itself"
            event = notice(text, now, {**beginning(new_link(), "circle", now), "action": name})
            self._recorder.afterwards(partial(self._raise, event))

    def _raise(self, event: Event) -> None:
        self._recorder.raise_event(event)

    def _run(self, name: str, event: Event, link: Link, told: _Told) -> None:
        action = self._kept.actions.get(name)
        if action is None:
            return
        self.started += 1
        running = self._runner.run(name, action, event, link)
        running.addCallback(self._ended, name, told)
        running.addErrback(lambda failure: self._log.failure("an action failed", failure))

    def _ended(self, outcome: Outcome, name: str, told: _Told) -> None:
        if told.number is None:
            return
        # Others may have been waiting with the same cause: each adds to what it is by then.
        cause = told.cause
        try:
            if len(cause["actions"]) < MOST:
                cause["actions"].append(self._records.of(name, outcome))
            else:
                cause["further"] = cause.get("further", 0) + 1
            self._storage.note_event(told.number, {"cause": cause})
        except RTOCError as error:
            self._log.error("what {action} did is not kept: {problem}", action=name, problem=error.message)

    @inlineCallbacks
    def why(self, number: int) -> Any:
        """Return, as a Deferred, the causes of an event, as IAutomation.why does."""
        causes: list[Mapping[str, Any]] = []
        while len(causes) <= DEEPEST:
            notes = yield self._storage.event_notes(number)
            if notes is None:
                # The event itself, or one that led to it and was removed.
                return causes or None
            cause = notes.get("cause")
            if cause is None or (causes and cause.get("id") != causes[0].get("id")):
                # The event that led here is gone, and another one has its number.
                break
            causes.append({"event": number, **cause})
            parent = cause.get("parent")
            if parent is None or parent >= number:
                break
            number = parent
        return causes


def _cause_of(event: Event, link: Link | None) -> dict[str, Any]:
    """Return the cause of an event that no rule raised."""
    if link is None:
        link = new_link("outside")
    return beginning(link, link.by, event.x)
