"""Replays what a client and RTOC 3.0 said to each other, and makes both servers' words comparable."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.task import Clock

from rtoc_twisted.interfaces import IPeer, IStorage
from rtoc_twisted.storage.memory import MemoryStorage

from .doubles import LOCAL, Client, Rooms, house, sqlite_storage
from .threaded_scripts import ThreadedScripts

TRANSCRIPT = Path(__file__).parent / "golden" / "rtoc-3.0.jsonl"

Line = Mapping[str, Any]
Setup = Callable[[Client], None]
MakeStorage = Callable[[Path, Clock], IStorage]

PROVIDERS: Mapping[str, MakeStorage] = {
    "memory": lambda directory, clock: MemoryStorage(),
    "sqlite": sqlite_storage,
}


def lines() -> dict[str, list[Line]]:
    """Return the lines of each case: one of the original, one of the repaired original, or both."""
    cases: dict[str, list[Line]] = defaultdict(list)
    with TRANSCRIPT.open(encoding="utf-8") as file:
        for text in file:
            line = json.loads(text)
            cases[line["case"]].append(line)
    return dict(cases)


@dataclass(frozen=True)
class Scenario:
    """The cases of one run of a server, in order.

    setup: what was done before the first case; before: what was done before one of them; watched:
    whether a second, passive client was there (from the case `watched_from` on); files: what lies in the
    server's directory, by paths below it.
    """

    name: str
    cases: Sequence[str]
    setup: Setup = lambda _: None
    before: Mapping[str, Setup] = field(default_factory=dict)
    password: str | None = None
    record_length: int = 500_000
    peer: IPeer = LOCAL
    watched_from: str | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a case brought: our messages to the sender and to the observer, and whether they were in AES."""

    received: list[Any]
    observed: list[Any]
    encrypted: bool


def replay(scenario: Scenario, cases: Mapping[str, list[Line]], provider: str) -> dict[str, Outcome]:
    """Play a scenario against a new house; return what each case brought."""
    with _storage(provider) as (storage, clock, directory):
        for name, content in scenario.files.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_bytes(content)
        rooms = house(
            clock=clock,
            storage=storage,
            directory=directory,
            password=scenario.password,
            record_length=scenario.record_length,
            scripts=ThreadedScripts,
        )
        return _Replay(rooms, scenario).run(cases)


@contextmanager
def _storage(provider: str) -> Iterator[tuple[IStorage, Clock, Path]]:
    with TemporaryDirectory() as name:
        clock, directory = Clock(), Path(name)
        storage = PROVIDERS[provider](directory, clock)
        try:
            yield storage, clock, directory
        finally:
            storage.close()
            clock.advance(0)


class _Replay:
    def __init__(self, rooms: Rooms, scenario: Scenario) -> None:
        self._rooms = rooms
        self._scenario = scenario
        self._acts: Mapping[str, Callable[[], None]] = {
            "<connect>": self._connect_sender,
            "<connect of a second client>": self._connect_second,
            "<close of second client>": self._close_second,
            "<another client connects>": self._connect_another,
            "<another, authorized client makes a new signal and an event>": self._another_makes_something,
        }
        self._sender: Client | None = None
        self._observer: Client | None = None
        self._other: Client | None = None

    def run(self, cases: Mapping[str, list[Line]]) -> dict[str, Outcome]:
        scenario = self._scenario
        outcomes = {}
        if cases[scenario.cases[0]][0]["send"] != "<connect>":
            self._connect_sender()
            scenario.setup(self.sender)
        for case in scenario.cases:
            if case == scenario.watched_from:
                self._observer = self._rooms.connect()
            if case in scenario.before:
                scenario.before[case](self.sender)
            self._listen()
            outcomes[case] = self._play(cases[case][0])
        return outcomes

    @property
    def sender(self) -> Client:
        assert self._sender is not None
        return self._sender

    def _play(self, line: Line) -> Outcome:
        send = line["send"]
        if isinstance(send, str) and send in self._acts:
            self._acts[send]()
            client = self.sender
        else:
            client = self.sender
            if ".other." in line["case"]:
                client = self._other = self._other or self._rooms.connect()
            if isinstance(send, str):
                payload = line.get("send_wire", send).encode()
            else:
                payload = json.dumps(send).encode()
            self._listen()
            client.connection.received(payload)
        # Long enough for delayed answers to wrong passwords and for coalesced pushes.
        self._rooms.clock.advance(0)
        self._rooms.clock.advance(0.5)
        assert client.socket.closed is None, f"{line['case']}: the connection was closed"
        encrypted = bool(client.socket.sent) and not any(b"{" in frame[:10] for frame in client.socket.sent)
        observed = self._observer.heard() if self._observer else []
        return Outcome(self._placeless(client.heard()), self._placeless(observed), encrypted)

    def _placeless(self, messages: list[Any]) -> list[Any]:
        """Return messages without the directory of this test."""
        named = json.dumps(messages).replace(str(self._rooms.directory), "<directory>")
        return list(json.loads(named))

    def _listen(self) -> None:
        """Let everybody forget what is not of this case."""
        self._rooms.clock.advance(0.1)
        for client in (self._sender, self._observer, self._other):
            if client is not None:
                client.heard()

    def _connect_sender(self) -> None:
        self._sender = self._rooms.connect(self._scenario.peer)

    def _connect_second(self) -> None:
        # The transcript calls the client that is told the observer.
        self._observer = self.sender
        self._sender = self._rooms.connect(self._scenario.peer)

    def _close_second(self) -> None:
        self.sender.leave()
        self._sender, self._observer = self._observer, None

    def _connect_another(self) -> None:
        self._rooms.connect(self._scenario.peer)

    def _another_makes_something(self) -> None:
        writer = self.sender
        self._sender = self._rooms.connect(self._scenario.peer)
        self._rooms.clock.advance(0.1)
        answer = writer.ask(y=[1], sname=["New"], dname="Dev", event=["text", "Newer", "Dev"])
        assert answer == {"error": False, "sent": True}, answer


# Both servers' words, made comparable.

_NOW = range(1_700_000_000, 1_900_000_000)
_VARIES = {
    "starttime",
    "signal_memory",
    "signal_memory_limit",
    "config.global.documentfolder",
    "config.global.name",
    "config.websocket.port",
    "config.websocket.host_whitelist",
    "config.backup.path",
    "config.memory.total",
    "config.memory.used",
    "config.memory.free",
    "config.memory.freeL",
    "config.memory.usedL",
    "config.memory.totalL",
}
"""Figures of logger.info that tell of the machine and its configuration: only their types are compared."""


def comparable(message: Any) -> Any:
    """Return a message with times of the clock and figures of the machine taken out."""
    if isinstance(message, dict):
        logger = message.get("logger")
        plain = {key: _timeless(value) for key, value in message.items() if key != "logger"}
        if "logger" in message:
            known = isinstance(logger, dict) and isinstance(logger.get("info"), dict)
            plain["logger"] = {**logger, "info": _figureless(logger["info"])} if known else logger
        return plain
    return message


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_timeless(entry) for entry in value]
    return "<now>" if isinstance(value, (int, float)) and int(value) in _NOW else value


def _figureless(info: Any, path: str = "") -> Any:
    if isinstance(info, dict):
        return {key: _figureless(value, f"{path}.{key}") for key, value in info.items()}
    return _kind(info) if path[1:] in _VARIES else info


def _kind(value: Any) -> str:
    return "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}"


def ordered(messages: Sequence[Any]) -> list[Any]:
    """Return messages with each new signal's push (P1) before the values (P2) of other signals.

    Protocol section 6 orders P1 and P2 of one signal, and both before the answer; of two signals in
    one message it orders nothing.
    """
    result: list[Any] = []
    for message in messages:
        at = len(result)
        if is_new_signal(message):
            while at and _is_values_of_another(result[at - 1], message):
                at -= 1
        result.insert(at, message)
    return result


def is_new_signal(message: Any) -> bool:
    """Return whether a message is push P1."""
    return isinstance(message, dict) and "signal" in message and message["signal"]["unit"] is None


def _is_values_of_another(message: Any, new: Any) -> bool:
    return (
        "signal" in message and not is_new_signal(message) and message["signal"]["id"] != new["signal"]["id"]
    )


def goes_to_all(message: Any) -> bool:
    """Return whether a message is a push to everybody (protocol section 6)."""
    return is_new_signal(message) or "event" in message or "client" in message
