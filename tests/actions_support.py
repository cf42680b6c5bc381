"""Doubles for the tests of actions: a mother whose scripts do what the test says, plugins, listeners."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from rtoc_twisted.automation.actions import Actions, Outcome, ScriptPolicy
from rtoc_twisted.automation.actions.doors import Launch
from rtoc_twisted.automation.chain import Chain, Link
from rtoc_twisted.automation.rule import ActionRule
from rtoc_twisted.automation.scripts import messages
from rtoc_twisted.box.messages import Message, Samples, pack
from rtoc_twisted.box.notices import Notices
from rtoc_twisted.errors import BadValue, UnknownPlugin
from rtoc_twisted.events.log import EventLog
from rtoc_twisted.interfaces import INotifier, IPlugins, IStorage
from rtoc_twisted.model import Event, Names, Notice, SignalName, Window
from rtoc_twisted.model import Samples as Values
from rtoc_twisted.recorder import Recorder
from rtoc_twisted.storage.memory import MemoryStorage

EPOCH = 1.79e9


class FakeScript:
    """The process of a run without a process: `got` is what the host sent, by way of bytes."""

    def __init__(self, process: FakeProcess, number: int, child: Any) -> None:
        self._process = process
        self._number = number
        self.child = child
        self._host = messages.childs_reader()
        self._own = messages.child_reader()
        self._waiting: deque[Message] = deque()
        self._asked = 0
        self._over = False
        self.held = False
        self.closed = False
        self.killed = False
        self.got: list[Any] = []

    # The line.

    def send(self, message: Message) -> None:
        self.got += self._own.feed(pack(message))

    def hold(self, held: bool) -> None:
        self.held = held
        while self._waiting and not self.held:
            self._tell(self._waiting.popleft())
        if self._over and not self.held:
            self._over = False
            self.child.hung_up()

    def close(self) -> None:
        self.closed = True
        self.child.hung_up()

    # What the test has it do.

    @property
    def begin(self) -> messages.Begin:
        """Return the first message."""
        (found,) = [message for message in self.got if isinstance(message, messages.Begin)]
        return found

    @property
    def stopped(self) -> bool:
        """Return whether it was told to stop."""
        return any(isinstance(message, messages.Stop) for message in self.got)

    def say(self, *told: Message) -> None:
        """Send messages; while the host holds the line they wait."""
        for message in told:
            if self.held:
                self._waiting.append(message)
            else:
                self._tell(message)

    def _tell(self, message: Message) -> None:
        frame = pack(message)
        self.child.came(len(frame))
        for heard in self._host.feed(frame):
            self.child.heard(heard)

    def ask(self, what: str, *args: Any) -> messages.Reply | None:
        """Ask; return the answer, None while there is none."""
        self._asked += 1
        self.say(messages.Ask(self._asked, what, list(args)))
        return self.reply(self._asked)

    def reply(self, number: int) -> messages.Reply | None:
        """Return the answer to that question."""
        found = [it for it in self.got if isinstance(it, messages.Reply) and it.id == number]
        return found[0] if found else None

    def stream(
        self, y: float | Sequence[float], name: str = "A", device: str = "Dev", x: float = 1.0
    ) -> None:
        """Stream values."""
        values = [y] if isinstance(y, int | float) else list(y)
        columns = packed([x + i for i in range(len(values))]), packed(values)
        self.say(Samples(device, [name], [None], *columns))

    def exit(self, status: int = 0) -> None:
        """Be gone."""
        self._process.owner.ended(self._number, status)
        self.hang_up()

    def hang_up(self) -> None:
        """Close the line from this side."""
        if self.held:
            self._over = True
        else:
            self.child.hung_up()

    def done(self, kind: str = "none", data: Any = None) -> None:
        """Come to an end."""
        self.say(messages.Done(kind, data))
        self.exit()

    def fail(self, text: str, line: int = 1) -> None:
        """Fail."""
        self.say(messages.Failed(text, line))
        self.exit(1)

    def babble(self) -> None:
        """Send what is no message."""
        self.child.nonsense("no message: it is not")


class FakeProcess:
    """A mother without a process; `scripts` are those that she was to fork, `numbers` their numbers."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.scripts: list[FakeScript] = []
        self.numbers: list[int] = []
        self.fail: OSError | None = None
        self.ended = False
        self.killed = False

    def fork(self, number: int, child: Any) -> FakeScript:
        if self.fail is not None:
            raise self.fail
        self.scripts.append(FakeScript(self, number, child))
        self.numbers.append(number)
        return self.scripts[-1]

    def fork_now(self) -> None:
        """Have the newest run forked."""
        self.owner.forked(self.numbers[-1])

    def kill_child(self, number: int) -> None:
        self.scripts[self.numbers.index(number)].killed = True

    def end(self) -> None:
        self.ended = True

    def kill(self) -> None:
        self.killed = True

    def die(self, reason: str = "it was ended by SIGKILL") -> None:
        """Be gone, and all children."""
        self.owner.gone(reason)
        for script in self.scripts:
            script.hang_up()


class Mothers:
    """Starts such processes; `fail` is raised by the next start if it is set."""

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.fail: OSError | None = None

    def __call__(self, owner: Any) -> FakeProcess:
        if self.fail is not None:
            raise self.fail
        self.processes.append(FakeProcess(owner))
        return self.processes[-1]


@implementer(IPlugins)
class FakePlugins:
    """Gen runs and has a parameter level, Idle does not run; `done` is what was asked.

    `answer` is what a call answers, `late` keeps the next call waiting.
    """

    def __init__(self) -> None:
        self.parameters: dict[str, Any] = {"level": 1.0}
        self.done: list[tuple[Any, ...]] = []
        self.answer: tuple[bool, Any] = (True, "called")
        self.late: Deferred[tuple[bool, Any]] | None = None

    def names(self) -> Sequence[str]:
        return ["Gen", "Idle"]

    def running(self, name: str) -> bool:
        if name not in self.names():
            raise UnknownPlugin(f"there is no plugin {name!r}")
        return name == "Gen"

    def listing(self) -> Mapping[str, Any]:
        described = {"functions": [["cmd", ["text"], 1, [], None, None, "(text)"]], "parameters": []}
        return dict.fromkeys(self.names(), described)

    def parameter(self, name: str, parameter: str) -> Any:
        try:
            return self.parameters[parameter]
        except KeyError:
            raise BadValue("there is no such parameter") from None

    def get(self, name: str, parameters: Sequence[str]) -> Deferred[list[Any]]:
        return succeed([self.parameters.get(parameter, False) for parameter in parameters])

    def set(self, name: str, parameter: str, value: Any) -> Deferred[Any]:
        self.done.append(("set", name, parameter, value))
        if parameter not in self.parameters:
            return succeed(False)
        self.parameters[parameter] = value
        return succeed(value)

    def call(
        self, name: str, function: str, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Deferred[tuple[bool, Any]]:
        self.done.append(("call", name, function, list(args), dict(kwargs or {})))
        return succeed(self.answer) if self.late is None else self.late

    # What no script reaches.

    def start_plugin(self, name: str) -> Deferred[str]:
        raise AssertionError(name)

    def stop_plugin(self, name: str) -> Deferred[None]:
        raise AssertionError(name)

    def set_autorun(self, name: str, on: bool) -> Deferred[bool]:
        raise AssertionError(name)

    def set_samplerate(self, rate: float) -> None:
        raise AssertionError(rate)

    def tell(self) -> None:
        raise AssertionError


@implementer(INotifier)
class FakeNotifier:
    """Keeps notices."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    def notify(self, notice: Notice) -> int:
        self.notices.append(notice)
        return 1

    def told(self) -> Mapping[str, Any]:
        return {"test": {}}

    def counters(self) -> Mapping[str, float]:
        return {}


class Heard:
    """Hears what the recorder tells, and whose doing it was."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self.facts: list[tuple[str, Any, Link | None]] = []

    def samples_appended(self, signals: Any, samples: Values) -> None:
        self.facts.append(("samples", list(samples.y), self._chain.now()))

    def plot_drawn(self, signal: Any, plot: Any) -> None:
        self.facts.append(("plot", plot.y.tolist(), self._chain.now()))

    def event_raised(self, event: Event) -> None:
        self.facts.append(("event", event.text, self._chain.now()))

    def signal_added(self, signal: Any) -> None: ...

    def signal_removed(self, signal: Any) -> None:
        self.facts.append(("removed", signal.name.key, self._chain.now()))

    def plugins_changed(self, plugins: Any) -> None: ...


class Stage:
    """Actions with everything that they act on; `mothers` are fakes unless `launch` is given."""

    def __init__(
        self,
        directory: Path,
        *,
        storage: IStorage | None = None,
        policy: ScriptPolicy | None = None,
        launch: Launch | None = None,
        clock: Any = None,
    ) -> None:
        self.clock: Any = Clock() if clock is None else clock
        self.storage = MemoryStorage() if storage is None else storage
        self.recorder = Recorder(self.storage, EventLog(self.storage))
        self.plugins = FakePlugins()
        self.notifier = FakeNotifier()
        self.chain = Chain()
        self.mothers = Mothers()
        self.exports: list[Sequence[Any]] = []
        self.media, self.export = directory / "media", directory / "export"
        for place in (self.media, self.export):
            place.mkdir(parents=True, exist_ok=True)
        self.actions = Actions(
            storage=self.storage,
            recorder=self.recorder,
            plugins=self.plugins,
            notices=Notices(self.notifier, lambda do, *args: execute(do, *args), self.wall),
            exporter=self._export,
            chain=self.chain,
            launch=self.mothers if launch is None else launch,
            clock=self.clock,
            wall=self.wall,
            policy=policy or ScriptPolicy(),
            record_length=lambda: 1000,
            in_thread=execute,
            export_dir=self.export,
            media_dir=self.media,
        )

    def wall(self) -> float:
        now = float(self.clock.seconds())
        return now if now > EPOCH / 2 else EPOCH + now

    def _export(self, wanted: Sequence[Any]) -> Deferred[Any]:
        self.exports.append(wanted)
        return succeed(True)

    @property
    def mother(self) -> FakeProcess:
        """Return the newest mother."""
        return self.mothers.processes[-1]

    @property
    def script(self) -> FakeScript:
        """Return the newest script."""
        return self.mother.scripts[-1]

    def rule(self, script: str = "pass", seconds: float | None = None) -> ActionRule:
        return ActionRule("a", ("id",), script, "", True, seconds)

    def run(
        self,
        name: str = "a",
        *,
        event: Event | None = None,
        dry: bool = False,
        fork: bool = True,
        **rule: Any,
    ) -> list[Outcome]:
        """Run an action; return the list that its outcome comes to. fork: whether it is forked at once."""
        outcomes: list[Outcome] = []
        forked = len(self.mothers.processes and self.mother.scripts)
        link = Link("c0ffee", 1, 7, "action")
        self.actions.run(name, self.rule(**rule), event, link, dry).addCallback(outcomes.append)
        if fork:
            self.fork(forked)
        return outcomes

    def fork(self, known: int) -> None:
        """Have a run forked that has come."""
        if self.mothers.processes and len(self.mother.scripts) > known:
            self.mother.fork_now()

    def append(self, y: Sequence[float], name: str = "A", device: str = "Dev", unit: str = "") -> None:
        """Record values of a signal, x being 0, 1, .."""
        names = Names([SignalName(device, name)] * len(y), [unit] * len(y))
        self.recorder.append(Values(names, [float(i) for i in range(len(y))], list(y)))

    def samples(self, name: str = "A", device: str = "Dev") -> list[float]:
        """Return the y of a signal."""
        signal = self.storage.find(SignalName(device, name))
        assert signal is not None, name
        found: list[Any] = []
        self.storage.read([(signal.id, Window())]).addCallback(found.extend)
        return list(found[0].y)

    def events(self) -> list[Event]:
        """Return all events."""
        found: list[Event] = []
        self.storage.events().addCallback(found.extend)
        return found

    def pump(self, seconds: float) -> None:
        """Let time pass, in small steps."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)


def packed(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def unpacked(column: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(column) // 8}d", column))
