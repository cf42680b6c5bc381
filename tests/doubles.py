"""Doubles for tests: a socket that keeps what was said to it, and a whole house without a reactor."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from zope.interface import implementer

from rtoc_twisted.auth.accounts import Account
from rtoc_twisted.auth.commands import AuthCommands
from rtoc_twisted.auth.origin import Peer
from rtoc_twisted.auth.passwords import StoredPassword, store
from rtoc_twisted.auth.provider import Auth
from rtoc_twisted.automation import actions
from rtoc_twisted.automation.automation import Automation
from rtoc_twisted.automation.automation import Policy as RulesPolicy
from rtoc_twisted.automation.backtest import Backtest
from rtoc_twisted.automation.chain import Chain
from rtoc_twisted.automation.commands import AutomationCommands
from rtoc_twisted.automation.scripts import language
from rtoc_twisted.box.notices import Notices
from rtoc_twisted.channels.notifier import Channels
from rtoc_twisted.command import CommandTable
from rtoc_twisted.connection import Connection
from rtoc_twisted.events.commands import EventCommands
from rtoc_twisted.events.log import EventLog
from rtoc_twisted.house import House
from rtoc_twisted.hub import Hub
from rtoc_twisted.interfaces import ICommandSource, IPeer, ISocket, IStorage, IStream
from rtoc_twisted.logger.backup import Backups
from rtoc_twisted.logger.commands import LoggerCommands
from rtoc_twisted.logger.export import Exporter
from rtoc_twisted.logger.info import ServerFacts
from rtoc_twisted.logger.settings import Settings
from rtoc_twisted.plugins.commands import PluginCommands
from rtoc_twisted.plugins.host import PluginHost, Policy
from rtoc_twisted.plugins.process import Child, PluginProcess
from rtoc_twisted.plugins.watch import Find
from rtoc_twisted.recorder import Recorder
from rtoc_twisted.storage.commands import StorageCommands
from rtoc_twisted.storage.memory import MemoryStorage
from rtoc_twisted.storage.reading import ReadingCommands
from rtoc_twisted.storage.sqlite import SqliteStorage
from rtoc_twisted.subscriptions import SubscriptionCommands
from rtoc_twisted.wire import aes
from rtoc_twisted.wire.batch import BatchDecoder
from rtoc_twisted.wire.codec import MSGPACK, Message
from rtoc_twisted.wire.frames import BINARY, FIN, TEXT

EPOCH = 1.79e9
"""What the wall clock of a house shows when its Clock begins."""

LOCAL = Peer("127.0.0.1", trusted=True, secure=False)
REMOTE = Peer("192.0.2.7", trusted=False, secure=False)
REMOTE_TLS = Peer("192.0.2.7", trusted=False, secure=True)


def in_thread(function: Callable[[], Any]) -> Deferred[Any]:
    """Run a function at once; return a Deferred of its result, as a pool of threads does."""
    return execute(function)


def messages(stream: bytes, key: bytes | None = None) -> Iterator[Any]:
    """Yield the messages in a server's WebSocket frames (RFC 6455 sections 5.2 and 5.4).

    key: of the old cipher; text that is no JSON object is opened with it. Raises AssertionError if a
    frame is not whole, and ValueError if it is not strict JSON (or MessagePack).
    """
    for opcode, payload in whole_messages(stream):
        if opcode == BINARY:
            yield msgspec.msgpack.decode(payload)
            continue
        if key is not None and not payload.startswith(b"{"):
            plain = aes.decrypt(key, payload)
            assert plain is not None, "a frame that does not open"
            payload = plain
        yield json.loads(payload.decode(), parse_constant=_refuse)


def whole_messages(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the opcode and the payload of each message, put together of its fragments."""
    rest, held, opcode = memoryview(stream), b"", 0
    while rest:
        first, length, at = rest[0], rest[1], 2
        if length > 125:
            at = 4 if length == 126 else 10
            length = int.from_bytes(rest[2:at], "big")
        payload, rest = rest[at : at + length], rest[at + length :]
        assert len(payload) == length, "a broken frame"
        assert first & ~FIN in ((0,) if opcode else (TEXT, BINARY)), "a fragment in the wrong place"
        opcode = opcode or first & ~FIN
        held += payload
        if first & FIN:
            yield opcode, held
            held, opcode = b"", 0
    assert not opcode, "a message without an end"


def all_of(stream: IStream) -> bytes:
    """Return all fragments of a stream."""
    taken = []
    while not stream.done:
        taken.append(stream.take())
    return b"".join(taken)


def packed(value: Any) -> bytes:
    """Return a value as MessagePack, as a client gets it."""
    made = MSGPACK.frame(Message(value))
    ((_, payload),) = whole_messages(made if isinstance(made, bytes) else all_of(made))
    return payload


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


@implementer(ISocket)
class FakeSocket:
    """Keeps frames. `congested` is set by hand, `paused` and `closed` tell what the connection did."""

    def __init__(self, peer: IPeer = LOCAL, key: bytes | None = None) -> None:
        self.peer = peer
        self.key = key
        self.congested = False
        self.paused = False
        self.closed: tuple[int, str] | None = None
        self.sent: list[bytes] = []

    def send(self, frames: bytes | IStream) -> None:
        self.sent.append(frames if isinstance(frames, bytes) else all_of(frames))

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def said(self) -> list[Any]:
        """Return the messages that came since the last call."""
        stream, self.sent = b"".join(self.sent), []
        return list(messages(stream, self.key))


@dataclass
class Client:
    """A connection with the socket that it speaks through."""

    connection: Connection
    socket: FakeSocket
    clock: Clock

    def send(self, message: Any, binary: bool = False) -> list[Any]:
        """Send a value as JSON, or bytes as they are; return what came since the last look."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.connection.received(payload, binary)
        self.clock.advance(0)
        return self.socket.said()

    def ask(self, **keys: Any) -> Any:
        """Send a request; return its answer, past all pushes."""
        return self.send(keys)[-1]

    def heard(self) -> list[Any]:
        """Return what came since the last look."""
        return self.socket.said()

    def leave(self) -> None:
        """Be gone."""
        self.connection.ended()


@dataclass
class Rooms:
    """A house, and the rooms that tests look into."""

    clock: Clock
    storage: IStorage
    events: EventLog
    recorder: Recorder
    auth: Auth
    hub: Hub
    settings: Settings
    plugins: PluginHost
    automation: Automation
    table: CommandTable
    house: House
    directory: Path
    reboots: list[None] = field(default_factory=list)
    reboot_codes: list[int | OSError | None] = field(default_factory=list)

    def wall(self) -> float:
        """Return what the server takes for the time, in seconds since the epoch."""
        return EPOCH + self.clock.seconds()

    def connect(self, peer: IPeer = LOCAL) -> Client:
        """Open a connection."""
        socket = FakeSocket(peer, self.auth.cipher_key)
        connection = Connection(socket, self.house)
        connection.opened()
        return Client(connection, socket, self.clock)


class Now:
    """A writer that works at once."""

    idle = False

    def do(self, job: Callable[[], None]) -> None:
        job()

    def stop(self) -> Deferred[None]:
        return execute(lambda: None)


def call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    """Call a function, as `reactor.callFromThread` does later."""
    function(*arguments, **keywords)


def sqlite_storage(directory: Path, clock: Clock, **options: Any) -> SqliteStorage:
    """Return a SqliteStorage whose threads are plain calls; each group goes with the clock's next turn."""
    return SqliteStorage(directory, clock=clock, writer=Now(), post=call, in_thread=in_thread, **options)


@cache
def stored(password: str) -> StoredPassword:
    """Return what is kept of a password; made once, for it takes its time."""
    return store(password)


def house(
    *,
    clock: Clock | None = None,
    storage: IStorage | None = None,
    password: str | None = None,
    accounts: Sequence[Account] = (),
    cipher_required: bool = False,
    directory: Path | None = None,
    record_length: int = 1000,
    reboot: bool = False,
    max_points: int = 5_000_000,
    max_subscriptions: int = 10_000,
    find: Find = tuple,
    launch: Callable[[PluginProcess], Child] | None = None,
    max_connections: int = 1000,
    login_seconds: float = 10.0,
    congested: Callable[[], bool] | None = None,
    scripts: Callable[[Clock], Any] | None = None,
    sources: Sequence[ICommandSource] = (),
) -> Rooms:
    """Build everything behind the sockets: MemoryStorage and a new Clock unless others are given.

    directory: for exports, backups and plugins, the present one unless given; find, launch: which plugins
    there are, none unless given, and what starts their processes; scripts: makes what runs scripts, none run
    unless given; reboot: whether a command is
    configured (it is counted in `reboots`, and ends with the next of `reboot_codes`, else with 0);
    sources: further commands.
    """
    clock = Clock() if clock is None else clock
    storage = MemoryStorage() if storage is None else storage
    directory = Path.cwd() if directory is None else directory
    reboots: list[None] = []
    reboot_codes: list[int | OSError | None] = []

    def run_reboot() -> int | None:
        reboots.append(None)
        code = reboot_codes.pop(0) if reboot_codes else 0
        if isinstance(code, OSError):
            raise code
        return code

    def wall() -> float:
        return EPOCH + clock.seconds()

    events = EventLog(storage)
    recorder = Recorder(storage, events)
    batches = BatchDecoder(wall)
    hub = Hub(clock, max_connections)
    auth = Auth(
        None if password is None else stored(password),
        accounts,
        clock=clock,
        in_thread=in_thread,
        cipher_required=cipher_required,
    )
    settings = Settings(storage, record_length)

    def call(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return execute(function, *arguments)

    plugins = PluginHost(
        storage,
        recorder,
        state_dir=directory,
        launch=_no_process if launch is None else launch,
        find=find,
        in_thread=call,
        samplerate=lambda: settings.topic("global").get("samplerate"),
        clock=clock,
        wall=wall,
        policy=Policy(),
    )
    exporter = Exporter(storage, events, in_thread)
    channels = Channels((), storage, recorder, _no_sender, clock=clock, wall=wall, chance=lambda: 0.5)
    chain = Chain()
    automation = Automation(
        storage,
        recorder,
        plugins,
        scripts=actions.Actions(
            storage=storage,
            recorder=recorder,
            plugins=plugins,
            notices=Notices(channels, call, wall),
            exporter=None,
            chain=chain,
            launch=_no_process if scripts is None else scripts(clock),
            clock=clock,
            wall=wall,
            policy=actions.ScriptPolicy(),
            record_length=settings.record_length,
            in_thread=call,
            export_dir=directory / "export",
            media_dir=directory / "media",
        ),
        check_script=language.check,
        backtests=Backtest(storage, call, clock=clock.seconds, wall=wall, window=1000),
        chain=chain,
        clock=clock,
        wall=wall,
        policy=RulesPolicy(),
    )
    automation.start()

    def counters() -> Mapping[str, float]:
        return storage.counters()

    table = CommandTable(
        [
            AuthCommands(),
            StorageCommands(storage, events, recorder, batches, clock=wall),
            ReadingCommands(storage, events, record_length=settings.record_length, max_points=max_points),
            EventCommands(storage, events, recorder, wall),
            SubscriptionCommands(),
            LoggerCommands(
                storage,
                events,
                recorder,
                settings,
                _facts(directory),
                exporter,
                Backups(exporter, settings, directory / "backup", clock, wall),
                clock=wall,
                export_dir=directory / "export",
                counters=counters,
                set_samplerate=plugins.set_samplerate,
                reboot=(lambda: execute(run_reboot)) if reboot else None,
                automation=automation,
            ),
            PluginCommands(plugins),
            AutomationCommands(automation, channels),
            *sources,
        ]
    )
    shared = House(
        table=table,
        batches=batches,
        recorder=recorder,
        congested=(lambda: storage.congested) if congested is None else congested,
        auth=auth,
        hub=hub,
        clock=clock,
        login_seconds=login_seconds,
        max_subscriptions=max_subscriptions,
    )
    return Rooms(
        clock,
        storage,
        events,
        recorder,
        auth,
        hub,
        settings,
        plugins,
        automation,
        table,
        shared,
        directory,
        reboots,
        reboot_codes,
    )


def _no_process(_: Any) -> Any:
    raise OSError("no process is expected to start here")


def _no_sender(_: Any) -> Any:
    raise AssertionError("there are no channels here")


def _facts(directory: Path) -> ServerFacts:
    return ServerFacts(
        name="RTOC",
        version="0",
        boot="boot",
        started=EPOCH,
        state_dir=directory,
        backup_dir=directory / "backup",
        port=5050,
        tls=False,
        certificate="",
        key="",
        whitelist=("127.0.0.0/8", "::1/128"),
        durability="normal",
        limits={"max_message": 16 << 20},
    )
