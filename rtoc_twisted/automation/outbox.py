"""What follows from changes of alarms, once everybody was told their cause: events, and states on disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from twisted.logger import Logger

from ..errors import RTOCError
from ..interfaces import IRecorder, IStorage
from ..model import Event
from .live import LiveRule
from .states import States

MOST: Final = 100
"""Events of a rule that tell how its alarm stands: its newest, as far as nobody has answered them."""


class Outbox:
    """Holds back what the recorder is to be told until it has told the present fact.

    live: all rules by name, as they are at any time; wall: seconds since the epoch. raised counts events,
    forgotten those that tell nothing more of their alarm, because there were too many.
    """

    _log = Logger()

    def __init__(
        self,
        storage: IStorage,
        recorder: IRecorder,
        states: States,
        wall: Callable[[], float],
        live: Mapping[str, LiveRule],
    ) -> None:
        self._storage = storage
        self._recorder = recorder
        self._states = states
        self._wall = wall
        self._live = live
        # The number of the newest event, None while nobody has asked.
        self._newest: int | None = None
        self._waiting: deque[tuple[LiveRule, Event | None]] = deque()
        self.raised = 0
        self.forgotten = 0

    def put(self, live: LiveRule, event: Event | None = None) -> None:
        """Raise an event of a rule, and write how its alarm stands, when `send` is called."""
        self._waiting.append((live, event))

    def send(self) -> None:
        """Do what waits as soon as the recorder has told the present fact."""
        if self._waiting:
            self._recorder.afterwards(self._settle)

    def event_raised(self, event: Event) -> None:
        """Take note of the number of a rule's event, and of what it tells of its alarm."""
        if self._newest is None:
            self._newest = max((number for live in self._live.values() for number in live.events), default=0)
        if event.number <= self._newest:
            # Numbers have begun anew, and with this one: whoever had it, or a greater one, is gone.
            for live in self._live.values():
                live.events = {number: told for number, told in live.events.items() if number < event.number}
        self._newest = event.number
        if event.alarm is not None:
            # Of a rule, or of code that knows of no rules.
            alarmed = self._live.get(str(event.alarm.get("rule")))
            if alarmed is not None:
                alarmed.events[event.number] = event.alarm

    def forget(self, live: LiveRule) -> None:
        """Let nobody wait for the events of a rule: it is gone, or wants nothing of people any more."""
        for number, told in live.events.items():
            note = {**told, "active": False} if _is_answered(told) else None
            self._storage.note_event(number, {"alarm": note})
        live.events = {}

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        now = self._wall()
        numbers = {live: list(live.events) for live, _ in waiting}
        for live, event in waiting:
            if event is not None:
                self._raise(live, event)
        for live, before in numbers.items():
            if self._live.get(live.rule.name) is live:
                self._note(live)
                if live.alarm.dirty or list(live.events) != before:
                    self._states.write(live, now)

    def _raise(self, live: LiveRule, event: Event) -> None:
        try:
            self._recorder.raise_event(event)
        except RTOCError as error:
            self._log.error(
                "the event of {rule} cannot be raised: {problem}", rule=live.rule.name, problem=error.message
            )
        else:
            self.raised += 1

    def _note(self, live: LiveRule) -> None:
        """Let the events of a rule tell how its alarm stands; of several the newest alone may be active."""
        note = live.note()
        if note is None:
            self.forget(live)
        if note is None or not live.events:
            return
        *earlier, newest = live.events
        for number in earlier:
            told = live.events[number]
            told = {**(told if _is_answered(told) else note), "active": False}
            self._say(live, number, told)
            if _is_answered(told):
                # Nothing of it changes any more.
                del live.events[number]
        self._say(live, newest, note)
        while len(live.events) > MOST:
            oldest = next(iter(live.events))
            del live.events[oldest]
            self._storage.note_event(oldest, {"alarm": None})
            self.forgotten += 1

    def _say(self, live: LiveRule, number: int, note: Mapping[str, Any]) -> None:
        if live.events[number] != note:
            live.events[number] = note
            self._storage.note_event(number, {"alarm": note})


def _is_answered(note: Mapping[str, Any]) -> bool:
    return bool(note.get("acknowledged") and note.get("confirmed"))
