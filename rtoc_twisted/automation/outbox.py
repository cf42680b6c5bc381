"""What follows from changes of alarms, once everybody was told their cause: events, and states on disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from twisted.logger import Logger

from ..errors import RTOCError
from ..interfaces import IRecorder, IStorage
from ..model import Event
from .live import LiveRule
from .states import States


class Outbox:
    """Holds back what the recorder is to be told until it has told the present fact.

    live: all rules by name, as they are at any time; wall: seconds since the epoch. raised counts events.
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
        # The greatest number of an event that wants to be acknowledged, None while nobody has asked.
        self._newest: int | None = None
        self._waiting: deque[tuple[LiveRule, Event | None]] = deque()
        self.raised = 0

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
            self._newest = max((live.newest or 0 for live in self._live.values()), default=0)
        if event.number <= self._newest:
            # Numbers have begun anew: those that are known are of events that are gone.
            self._newest = 0
            for live in self._live.values():
                live.newest = None
        if event.alarm is not None and event.cause is not None:
            alarmed = self._live.get(event.cause["rule"])
            if alarmed is not None:
                self._newest = alarmed.newest = event.number
                alarmed.noted = event.alarm

    def _settle(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        now = self._wall()
        newest = {live: live.newest for live, _ in waiting}
        for live, event in waiting:
            if event is not None:
                self._raise(live, event)
        for live, number in newest.items():
            if self._live.get(live.rule.name) is live:
                self._note(live)
                if live.alarm.dirty or live.newest != number:
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
        """Let the newest event of a rule tell how its alarm stands."""
        note = live.note()
        if live.newest is not None and note is not None and note != live.noted:
            live.noted = note
            self._storage.note_event(live.newest, {"alarm": note})
