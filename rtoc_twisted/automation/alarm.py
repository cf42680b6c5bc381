"""A rule's alarm: what its condition says, over time, made into the states of OPC UA Part 9 and into events.

Pure: nothing here knows a clock, a file or a server. Every call gets `now`, wall time in seconds.

    condition, `off` (hysteresis) -> `nOfM` -> `schedule` -> `for`, `forOff` -> active or not -> trigger

The words are those of OPC 10000-9 (release 1.05); the clause is named with each transition:

| from | by | to | clause |
|---|---|---|---|
| inactive | level true for `for` seconds (OnDelay) | active; latched, unacknowledged | 5.8.2, B.1 |
| active | level false for `forOff` seconds (OffDelay) | inactive; the rest stays | 5.8.2, B.1 |
| unacknowledged | acknowledge, active or not | acknowledged; where wanted unconfirmed | 5.7.3, B.1 |
| unconfirmed, acknowledged | confirm | confirmed | 5.7.4, B.1 |
| latched | unlatch (Reset), once inactive, acknowledged, confirmed | not latched | 5.8.5 |
| any shelving | shelve with seconds (TimedShelve) | timed, anew | 5.8.17.4 |
| not shelved, timed | shelve without (OneShotShelve) | oneShot | 5.8.17.6 |
| timed | its time is over | not shelved | 5.8.17.1 |
| oneShot | the alarm becomes inactive | not shelved | 5.8.17.1 |
| timed, oneShot | unshelve | not shelved | 5.8.17.2 |
| not suppressed | suppress, or a mute time begins | suppressed | 5.8.8, 5.8.2 |
| suppressed | unsuppress, and it is no mute time | not suppressed | 5.8.10 |

Latched, unacknowledged and unconfirmed are states of rules that want them (`latch`, `ack`, `confirm`). There
are no branches (clause 4.4): a new activation wants to be acknowledged anew, and a confirmation that was open
stays so. `reset` is RTOC's: it forgets what the condition said, and touches nothing that a person did but
one-shot shelving, as the alarm becomes inactive.

Shelved and suppressed alarms go on as if nothing were, and raise no events; what became active meanwhile and
still is when both are over raises its event then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import BadValue
from ..wire.batch import check_name
from .change import Change, ChangeKind
from .fields import MAX_SECONDS, shown
from .rule import EventRule
from .state import State

__all__ = ["Alarm", "Change", "ChangeKind"]


class Alarm:
    """The state of one rule.

    document: what `document` returned before, of this rule or of an earlier form of it; what is wrong in it,
    or means nothing to this rule, is as in the beginning. `dirty` is set whenever the document is another one
    than before; whoever keeps it clears it. `who` is kept and told where the state is somebody's doing.
    """

    __slots__ = (
        *("_fresh", "_full", "_in_band", "_level", "_mute_until", "_needed", "_next", "_open", "_open_until"),
        *("_state", "_steady", "_votes", "dirty", "rule"),
    )

    def __init__(self, rule: EventRule, document: Mapping[str, Any] | None = None) -> None:
        self.rule = rule
        self.dirty = False
        self._state = State.read(document)
        self._needed, length = rule.votes or (1, 1)
        self._full = (1 << length) - 1
        self._votes = int(self._state.votes, 16) & self._full
        self._level = rule.trigger.level
        # Whether the time was never seen with what was kept.
        self._fresh = self._state.pending is not None
        self._open = rule.schedule is None
        self._forget_edges()
        self._state.fit(rule)
        self._arrange()

    @property
    def repeats(self) -> int:
        """How many equal evaluations in a row can change anything, but for what `restless` says."""
        return self.rule.votes[1] if self.rule.votes else 1

    @property
    def restless(self) -> bool:
        """Whether each evaluation fires now (triggers true, false)."""
        return self._state.active is self._level and not self._is_hidden()

    def step(self, on: bool, off: bool | None, now: float) -> Sequence[Change]:
        """Take a new evaluation; return what it changed, timers that are due included, in order.

        on: what the condition says; off: what the rule's `off` says, None where it has none or nobody knows.
        """
        changes: list[Change] = []
        if now >= self._next:
            changes = self._catch_up(now)
        elif on is self._steady or (self._in_band and not on and not off):
            return changes
        state = self._state
        level = bool(on) or (self.rule.off_condition is not None and state.level and not off)
        if level is not state.level:
            state.level = level
            self.dirty = True
        votes = (self._votes << 1 | level) & self._full
        if votes != self._votes:
            self._votes = votes
            self.dirty = True
        self._settle(now, now, changes)
        if state.active is self._level and not self._is_hidden():
            changes.append(Change(ChangeKind.FIRED, now))
        self._arrange()
        return changes

    def tick(self, now: float) -> Sequence[Change]:
        """Do what is due: ends of hold times and of shelving, edges of schedule and mute; return the changes.

        Late is not too late: a hold time that ended while nobody looked counts, with `now` as its moment.
        """
        if now < self._next:
            return ()
        changes = self._catch_up(now)
        self._arrange()
        return changes

    def due(self, now: float) -> float | None:
        """Return when `tick` is wanted next, None for never; after a tick that is later than `now`."""
        if self._next == math.inf:
            return None
        return now if self._next == -math.inf else self._next

    def shift(self, seconds: float) -> None:
        """Move all times: the wall clock jumped by that much. Schedules and mutes go by the new time."""
        before = self._state.document()
        self._state.shift(seconds)
        self.dirty = self.dirty or self._state.document() != before
        self._forget_edges()
        self._arrange()

    def reset(self, now: float) -> Sequence[Change]:
        """Forget what the condition said: the next evaluation is like the first one (RTOC's `reset`)."""
        changes: list[Change] = []
        state = self._state
        if state.active:
            self._turn(False, now, changes)
        self.dirty = self.dirty or state.level or self._votes != 0 or state.pending is not None
        state.level, self._votes, state.pending = False, 0, None
        self._arrange()
        return changes

    def acknowledge(self, now: float, who: str, comment: str | None = None) -> Sequence[Change]:
        """Note that a person has seen it; raises BadValue unless it wants to be acknowledged."""
        state = self._state
        if state.acknowledged:
            wanted = self.rule.wants_ack
            why = "is acknowledged already" if wanted else "does not want to be acknowledged"
            raise self._refusal("acknowledge", why)
        self._remark(comment)
        state.acknowledged, state.acknowledged_by = True, who
        if self.rule.wants_confirm:
            state.confirmed, state.confirmed_by = False, None
        return self._did(ChangeKind.ACKNOWLEDGED, now)

    def confirm(self, now: float, who: str, comment: str | None = None) -> Sequence[Change]:
        """Note that a person has done something about it; raises BadValue before it is acknowledged."""
        state = self._state
        if state.confirmed:
            raise self._refusal("confirm", "does not want to be confirmed")
        if not state.acknowledged:
            raise self._refusal("confirm", "is to be acknowledged first")
        self._remark(comment)
        state.confirmed, state.confirmed_by = True, who
        return self._did(ChangeKind.CONFIRMED, now)

    def unlatch(self, now: float, who: str, comment: str | None = None) -> Sequence[Change]:
        """End its latching; raises BadValue while it is active, unacknowledged or unconfirmed."""
        state = self._state
        if not state.latched:
            raise self._refusal("unlatch", "is not latched")
        if state.active:
            raise self._refusal("unlatch", "is active")
        if not (state.acknowledged and state.confirmed):
            raise self._refusal("unlatch", "is to be acknowledged and confirmed first")
        self._remark(comment)
        state.latched = False
        return self._did(ChangeKind.UNLATCHED, now)

    def shelve(self, now: float, who: str, seconds: float | None = None) -> Sequence[Change]:
        """Hide it for some seconds, from now on, or for None until it becomes inactive.

        Raises BadValue for a time that is none, and where it has no end already.
        """
        state = self._state
        if seconds is None and state.shelved == "oneShot":
            raise self._refusal("shelve", "is shelved already")
        if seconds is not None and not 0 < seconds <= MAX_SECONDS:
            most = f"more than 0 and at most {MAX_SECONDS:g}"
            raise BadValue(f"shelve.seconds: expected {most} seconds, got {shown(seconds)}")
        state.shelved = "oneShot" if seconds is None else "timed"
        state.shelved_by, state.until = who, None if seconds is None else now + seconds
        return self._did(ChangeKind.SHELVED, now)

    def unshelve(self, now: float, who: str) -> Sequence[Change]:
        """Show it again; raises BadValue if it is not shelved."""
        if not self._state.shelved:
            raise self._refusal("unshelve", "is not shelved")
        changes: list[Change] = []
        self._unshelve(now, changes)
        return self._shown(now, changes)

    def suppress(self, now: float, who: str) -> Sequence[Change]:
        """Hide it until `unsuppress`; raises BadValue if that was done already."""
        state = self._state
        if state.suppressed:
            raise self._refusal("suppress", "is suppressed already")
        state.suppressed, state.suppressed_by = True, who
        self.dirty = True
        return () if state.muted else self._did(ChangeKind.SUPPRESSED, now)

    def unsuppress(self, now: float, who: str) -> Sequence[Change]:
        """End what `suppress` began, mute times go on; raises BadValue if nobody suppressed it."""
        state = self._state
        if not state.suppressed:
            raise self._refusal("unsuppress", "is muted by its times" if state.muted else "is not suppressed")
        state.suppressed, state.suppressed_by = False, None
        self.dirty = True
        if state.muted:
            return ()
        return self._shown(now, [Change(ChangeKind.UNSUPPRESSED, now)])

    def document(self) -> dict[str, Any]:
        """Return all that must be kept, as JSON."""
        self._state.votes = f"{self._votes:x}"
        return self._state.document()

    def told(self) -> dict[str, Any]:
        """Return the state as clients see it.

        since: when it became active or inactive last; waiting: the hold time that runs, and due: its end;
        suppressedBy is null where it is a mute time; shelvedUntil is null for one shot.
        """
        return self._state.told(self._deadline())

    def _forget_edges(self) -> None:
        self._open_until = -math.inf if self.rule.schedule else math.inf
        self._mute_until = -math.inf if self.rule.mute or self._state.muted else math.inf

    def _arrange(self) -> None:
        """Find out until when nothing happens by itself, and which evaluation changes nothing until then."""
        state = self._state
        self._next = -math.inf if self._fresh else min(self._mute_until, self._open_until)
        deadline = self._deadline()
        if deadline is not None and deadline < self._next:
            self._next = deadline
        if state.until is not None and state.until < self._next:
            self._next = state.until
        settled = self._votes == (self._full if state.level else 0)
        self._steady = state.level if settled and state.active is not self._level else None
        self._in_band = self._steady is True and self.rule.off_condition is not None

    def _deadline(self) -> float | None:
        """Return when the hold time ends that runs, None where none does."""
        state = self._state
        if state.pending is None:
            return None
        return state.pending + (self.rule.hold_off if state.active else self.rule.hold_on)

    def _catch_up(self, now: float) -> list[Change]:
        """Do what is due, and return the changes."""
        changes: list[Change] = []
        state = self._state
        if self._fresh:
            self._fresh = False
            # Where the clock was put back while the server was off: wait the whole time, but not for years.
            state.pending = min(state.pending or now, now)
        before = state.active
        self._look_at_hiding(now, changes)
        self._end_hold(now, changes)
        self._look_at_schedule(now)
        self._settle(now, now, changes)
        self._reveal(now, changes)
        if state.active is self._level and before is not self._level and not self._is_hidden():
            changes.append(Change(ChangeKind.FIRED, now))
        return changes

    def _end_hold(self, now: float, changes: list[Change]) -> None:
        """End the hold time if it ended before now, or an edge of the schedule before its end."""
        state = self._state
        deadline = self._deadline()
        if deadline is None or state.pending is None:
            return
        if self._open_until == -math.inf:
            self._look_at_schedule(min(max(state.pending, state.looked or state.pending), now))
        moment = min(deadline, self._open_until)
        if moment < now:
            self._look_at_schedule(moment)
            self._settle(moment, now, changes)

    def _look_at_schedule(self, moment: float) -> None:
        if moment >= self._open_until and self.rule.schedule:
            self._open, self._open_until = self.rule.schedule.look(moment)
            self._state.looked = moment
            self.dirty = True

    def _look_at_hiding(self, now: float, changes: list[Change]) -> None:
        """End timed shelving, begin and end mute times."""
        state, mute = self._state, self.rule.mute
        if state.until is not None and now >= state.until:
            self._unshelve(now, changes)
        if now >= self._mute_until:
            muted, self._mute_until = mute.look(now) if mute else (False, math.inf)
            if muted is not state.muted:
                state.muted = muted
                self.dirty = True
                if not state.suppressed:
                    kind = ChangeKind.SUPPRESSED if muted else ChangeKind.UNSUPPRESSED
                    changes.append(Change(kind, now))

    def _settle(self, moment: float, now: float, changes: list[Change]) -> None:
        """Make the alarm what its level says at a moment, if its hold time is over then."""
        state = self._state
        level = self._open and self._votes.bit_count() >= self._needed
        if level is state.active:
            if state.pending is not None:
                state.pending = None
                self.dirty = True
            return
        if state.pending is None:
            state.pending = moment
            self.dirty = True
        if moment < state.pending + (self.rule.hold_on if level else self.rule.hold_off):
            return
        hidden = self._is_hidden()
        self._turn(level, now, changes)
        if self.rule.trigger.fires_at(level):
            if not hidden:
                changes.append(Change(ChangeKind.FIRED, now))
            elif level:
                state.untold = True

    def _turn(self, active: bool, now: float, changes: list[Change]) -> None:
        """Make the alarm active or inactive."""
        state, rule = self._state, self.rule
        state.active, state.since, state.pending, state.untold = active, now, None, False
        self.dirty = True
        changes.append(Change(ChangeKind.ACTIVE if active else ChangeKind.INACTIVE, now))
        if not active:
            if state.shelved == "oneShot":
                self._unshelve(now, changes)
            return
        if rule.latch and not state.latched:
            state.latched = True
            changes.append(Change(ChangeKind.LATCHED, now))
        if rule.wants_ack:
            state.acknowledged, state.acknowledged_by, state.comment = False, None, None

    def _is_hidden(self) -> bool:
        state = self._state
        return state.suppressed or state.muted or state.shelved != ""

    def _unshelve(self, now: float, changes: list[Change]) -> None:
        state = self._state
        state.shelved, state.shelved_by, state.until = "", None, None
        self.dirty = True
        changes.append(Change(ChangeKind.UNSHELVED, now))

    def _reveal(self, now: float, changes: list[Change]) -> None:
        """Raise the event that could not be raised while the alarm was hidden, if it is not any more."""
        if self._state.untold and not self._is_hidden():
            self._state.untold = False
            self.dirty = True
            changes.append(Change(ChangeKind.FIRED, now))

    def _shown(self, now: float, changes: list[Change]) -> Sequence[Change]:
        """Return these changes, and the event that waited for them."""
        self._reveal(now, changes)
        self._arrange()
        return changes

    def _did(self, kind: ChangeKind, now: float) -> Sequence[Change]:
        self.dirty = True
        self._arrange()
        return (Change(kind, now),)

    def _remark(self, comment: str | None) -> None:
        """Keep a comment in place of the one before; None leaves that (Part 9, 5.7.3)."""
        if comment is not None:
            check_name(comment, "comment")
            self._state.comment = comment

    def _refusal(self, verb: str, why: str) -> BadValue:
        return BadValue(f"{verb}: {self.rule.name} {why}")
