"""All actions: who runs when, and what is kept of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...box.notices import Notices
from ...box.plain import plain
from ...errors import RTOCError
from ...interfaces import IPlugins, IRecorder, IStorage
from ...model import HIDDEN_DEVICE, Event, SignalName
from ...wire import answers
from ..chain import Chain, Link, new_link
from ..rule import ActionRule
from ..scripts import messages
from .doors import Launch
from .dry import DryEffects
from .effects import Effects, World
from .keeping import Kept
from .mother import Mother
from .outcome import Outcome, ScriptPolicy
from .run import Run
from .shelf import Shelf, answer, checked

_WAITING = 16
"""Runs of one action that may wait."""

_ENDLESS = 16
"""Runs without a limit of time at the same time; those with one have their own places."""

_HISTORY = 50
_ERROR = 1000
"""Runs that have ended, and the letters of their failures, that `runs` tells."""

_MINUTE = 60.0
_CLOSE_SECONDS = 2.0
"""Time that scripts have to end when the server does."""

GLOBALS = {"action": "automation/globals/", "user": "automation/userGlobals/"}
"""Keys of the documents in which scripts keep their globals, before the name of the action."""


@dataclass(eq=False)
class _Job:
    """A run that waits, is under way or has ended."""

    number: int
    kind: str
    name: str
    source: str
    seconds: float
    event: Event | None
    link: Link
    dry: bool
    done: Deferred[Outcome] = field(default_factory=Deferred)
    run: Run | None = None
    began: float = 0.0


class Actions:
    """Runs the scripts of actions and user actions, one at a time of each.

    notices: tells people what scripts say; exporter: writes an export, ([filename, type]) -> Deferred; chain:
    whose doing it is, while an effect is done; launch: starts the process in which scripts run; wall: seconds
    since the epoch; record_length: how many samples of a signal a script sees; in_thread: calls a function in
    a thread; export_dir, media_dir: where the files may be that scripts have the server send.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        storage: IStorage,
        recorder: IRecorder,
        plugins: IPlugins,
        notices: Notices,
        exporter: Callable[[Sequence[Any]], Deferred[Any]],
        chain: Chain,
        launch: Launch,
        clock: IReactorTime,
        wall: Callable[[], float],
        policy: ScriptPolicy,
        record_length: Callable[[], int],
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        export_dir: Path,
        media_dir: Path,
    ) -> None:
        self._storage = storage
        self._recorder = recorder
        self._clock = clock
        self._wall = wall
        self._policy = policy
        self._in_thread = in_thread
        self._shelf = Shelf((media_dir, export_dir))
        self._world = World(
            storage=storage,
            recorder=recorder,
            plugins=plugins,
            notices=notices,
            exporter=exporter,
            chain=chain,
            clock=clock,
            wall=wall,
            record_length=record_length,
            shelf=self._shelf,
            network=policy.network,
            in_thread=in_thread,
        )
        self._mother = Mother(launch, clock, self._next)
        self._waiting: dict[tuple[str, str], deque[_Job]] = {}
        # Whose next run may begin, in the order of their coming.
        self._turn: dict[tuple[str, str], None] = {}
        self._running: dict[tuple[str, str], _Job] = {}
        self._history: deque[dict[str, Any]] = deque(maxlen=_HISTORY)
        self._number = 0
        self._counts = dict.fromkeys(("done", "failed", "left_out"), 0)
        # How actions failed that did so in their newest run.
        self._failing: dict[tuple[str, str], str] = {}
        self._untold: dict[str, int] = {}
        self._telling: IDelayedCall | None = None
        self._closing: Deferred[None] | None = None

    def run(
        self, name: str, action: ActionRule, event: Event | None, link: Link, dry: bool = False
    ) -> Deferred[Outcome]:
        """Run an action after what is under way of it; fires with how it went, never fails.

        link: whose doing it is. At most 16 wait; then the oldest of them goes, and its Outcome says so. A dry
        run lists its effects and does none; it reads what it would have written.
        """
        seconds = self._policy.seconds if action.seconds is None else action.seconds
        return self._take("action", name, action.script, seconds, event, link, dry)

    def run_user(self, name: str, script: str, dry: bool = False) -> Deferred[Outcome]:
        """Run a user action; fires as `run` does.

        What went well has the kind "text" and a text for data, or "picture" or "document" and bytes.
        """
        ran = self._take("user", name, script, self._policy.seconds, None, new_link("userAction"), dry)
        read: Deferred[Outcome] = ran.addCallback(self._with_file)
        return read.addCallback(checked)

    def answer_user(self, name: str, script: str) -> Deferred[dict[str, Any]]:
        """Run a user action; fires with what `userAction` answers: {name, success, type, data}."""
        return self.run_user(name, script).addCallback(partial(answer, name))

    def stop(self, name: str) -> bool:
        """Let what runs of an action end, and leave out what waits of it; return whether there was any."""
        return self._stop(("action", name))

    def forget(self, name: str, kind: str = "action") -> None:
        """Stop an action, or a "user" action, that is removed, and forget its globals."""
        running = self._running.get((kind, name))
        self._stop((kind, name))
        self._failing.pop((kind, name), None)
        if running is not None and running.run is not None:
            running.run.drop()
        self._storage.put_document(GLOBALS[kind] + name, None)

    def runs(self) -> list[dict[str, Any]]:
        """Return the newest runs that ended, oldest first, and those under way and waiting."""
        waiting = [job for queue in self._waiting.values() for job in queue]
        now = [*map(self._told, self._running.values()), *map(self._told, waiting)]
        return [*self._history, *now]

    def close(self) -> Deferred[None]:
        """End all runs, first by word, after 2 s by force; fires when the process of scripts is gone."""
        if self._closing is None:
            self._closing = Deferred()
            if self._telling is not None:
                self._telling.cancel()
                self._telling = None
            for queue in list(self._waiting.values()):
                for job in list(queue):
                    self._leave_out(job, "the server stops")
            self._waiting.clear()
            self._turn.clear()
            late = self._clock.callLater(_CLOSE_SECONDS, self._end_all)
            running = [job.run for job in self._running.values() if job.run is not None]
            for run in running:
                run.stop("the server stops")

            def ended(_: Any) -> Deferred[None]:
                if late.active():
                    late.cancel()
                return self._mother.close()

            DeferredList([run.done for run in running]).addCallback(ended).chainDeferred(self._closing)
        return self._closing

    def counters(self) -> Mapping[str, float]:
        """Return figures for people and monitors."""
        return {
            "actions_running": len(self._running),
            "actions_waiting": sum(map(len, self._waiting.values())),
            "actions_done": self._counts["done"],
            "actions_failed": self._counts["failed"],
            "actions_left_out": self._counts["left_out"],
            "actions_process_ends": self._mother.ends,
        }

    # Who waits.

    def _take(
        self,
        kind: str,
        name: str,
        source: str,
        seconds: float,
        event: Event | None,
        link: Link,
        dry: bool,
    ) -> Deferred[Outcome]:
        self._number += 1
        if dry and not seconds:
            # What it would do without end has no list.
            seconds = self._policy.seconds
        job = _Job(self._number, kind, name, source, seconds, event, link, dry)
        if self._closing is not None:
            return succeed(Outcome(str(job.number), ok=False, error="the server stops"))
        key = kind, name
        queue = self._waiting.setdefault(key, deque())
        queue.append(job)
        if len(queue) > _WAITING:
            self._leave_out(queue[0], f"left out: more than {_WAITING} runs of it wait")
            self._count_left_out(name)
        elif key not in self._running:
            self._turn[key] = None
        self._next()
        return job.done

    def _leave_out(self, job: _Job, why: str) -> None:
        key = job.kind, job.name
        queue = self._waiting[key]
        queue.remove(job)
        if not queue:
            del self._waiting[key]
            self._turn.pop(key, None)
        job.done.callback(Outcome(str(job.number), ok=False, error=why))

    def _stop(self, key: tuple[str, str]) -> bool:
        waiting = list(self._waiting.get(key, ()))
        for job in waiting:
            self._leave_out(job, "it was stopped before it began")
        running = self._running.get(key)
        if running is not None and running.run is not None:
            running.run.stop()
        return bool(waiting) or running is not None

    def _count_left_out(self, name: str) -> None:
        self._counts["left_out"] += 1
        self._untold[name] = self._untold.get(name, 0) + 1
        if self._telling is None:
            self._tell_left_out()

    def _tell_left_out(self) -> None:
        """Say, once a minute, which actions could not run as often as they should have."""
        self._telling = None
        untold, self._untold = self._untold, {}
        if untold:
            told = ", ".join(f"{name} {count} times" for name, count in list(untold.items())[:10])
            text = f"actions were left out, as more than {_WAITING} runs waited: {told}"
            self._telling = self._clock.callLater(_MINUTE, self._tell_left_out)
            self._recorder.raise_event(Event(SignalName(HIDDEN_DEVICE, ""), text, self._wall(), 1))

    # Who runs.

    def _next(self) -> None:
        while self._mother.ready and self._closing is None:
            key = next(filter(self._has_place, self._turn), None)
            if key is None:
                return
            del self._turn[key]
            queue = self._waiting[key]
            job = queue.popleft()
            if not queue:
                del self._waiting[key]
            self._begin(job)

    def _has_place(self, key: tuple[str, str]) -> bool:
        limited = bool(self._waiting[key][0].seconds)
        alike = sum(bool(job.seconds) is limited for job in self._running.values())
        return alike < (self._policy.at_once if limited else _ENDLESS)

    def _begin(self, job: _Job) -> None:
        kept = Kept(self._storage, self._clock, GLOBALS[job.kind] + job.name, firm=not job.dry)
        begin = messages.Begin(
            job.number,
            plain(job.name),
            job.kind,
            plain(job.source),
            0.0,
            event=None if job.event is None else plain(answers.event_raised(job.event).value["event"]),
            globals=dict(kept.globals),
            triggers=dict(kept.edges),
            memory=self._policy.memory,
            seconds=job.seconds,
            files=self._policy.files,
            network=self._policy.network,
        )
        run = Run(
            begin, mother=self._mother, kept=kept, clock=self._clock, wall=self._wall, seconds=job.seconds
        )
        job.run, job.began = run, self._wall()
        self._running[job.kind, job.name] = job
        run.done.addCallback(partial(self._ended, job)).addErrback(self._not_ended, job)
        kind = DryEffects if job.dry else Effects
        run.start(kind(self._world, job.link, {"action": job.name, "run": str(job.number)}, run))

    def _ended(self, job: _Job, outcome: Outcome) -> None:
        key = job.kind, job.name
        del self._running[key]
        self._counts["done" if outcome.ok else "failed"] += 1
        self._history.append(self._told(job, outcome))
        self._log_news(job, outcome)
        if key in self._waiting:
            self._turn[key] = None
        job.done.callback(outcome)
        self._next()

    def _log_news(self, job: _Job, outcome: Outcome) -> None:
        """Log that an action fails, fails in another way, or works again: not each of its runs."""
        key = job.kind, job.name
        before = self._failing.pop(key, None)
        if outcome.ok or self._closing is not None:
            if outcome.ok and before is not None:
                self._log.info("action {name} works again", name=job.name)
            return
        # What the reason says beside its kind may be another value each time.
        kind = self._failing[key] = outcome.error.rpartition("\n")[2].partition(":")[0]
        if kind != before:
            self._log.warn("action {name} failed: {error}", name=job.name, error=outcome.error)

    def _not_ended(self, failure: Failure, job: _Job) -> None:
        self._log.failure("the end of action {name} was not worked off", failure, name=job.name)

    def _end_all(self) -> None:
        for job in list(self._running.values()):
            if job.run is not None:
                job.run.kill("it was killed as the server stops")

    def _told(self, job: _Job, outcome: Outcome | None = None) -> dict[str, Any]:
        running = job.run is not None
        told = {
            "id": str(job.number),
            "action": job.name,
            "kind": job.kind,
            "dry": job.dry,
            "chain": job.link.id,
            "event": job.event.number if job.event is not None else None,
            "state": "ended" if outcome is not None else "running" if running else "waiting",
        }
        if running:
            told["began"] = job.began
        if outcome is not None:
            told |= {"seconds": outcome.seconds, "ok": outcome.ok, "error": outcome.error[-_ERROR:]}
        return told

    def _with_file(self, outcome: Outcome) -> Outcome | Deferred[Outcome]:
        """Return the outcome of a user action with the bytes of the file that it named."""
        path = outcome.data
        if not outcome.ok or outcome.kind not in ("picture", "document") or not isinstance(path, str):
            return outcome

        def read(data: bytes) -> Outcome:
            return replace(outcome, data=data)

        def failed(failure: Failure) -> Outcome:
            failure.trap(RTOCError)
            return replace(outcome, ok=False, error=failure.getErrorMessage())

        return self._in_thread(lambda: self._shelf.read(path)).addCallbacks(read, failed)
