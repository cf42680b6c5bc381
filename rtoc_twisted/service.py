"""Where the server is put together: the only place that constructs, and it reads as the architecture."""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from twisted.application.service import IService
from twisted.internet.endpoints import serverFromString, wrapServerTLS
from twisted.internet.threads import deferToThreadPool
from twisted.internet.utils import getProcessValue
from twisted.logger import Logger
from twisted.plugin import getPlugins
from twisted.python.threadpool import ThreadPool

from . import __version__, tls
from .auth import passwordfile
from .auth.accounts import Account
from .auth.commands import AuthCommands
from .auth.origin import OriginRule
from .auth.provider import Auth
from .automation.commands import AutomationCommands
from .box.environment import environment
from .command import CommandTable
from .config import Config, Options, endpoint_description, ipv6_available
from .connection import Connection
from .events.commands import EventCommands
from .events.log import EventLog
from .house import House
from .hub import Hub
from .interfaces import ICommandSource
from .lifecycle import Running, Server
from .logger.backup import Backups
from .logger.commands import LoggerCommands
from .logger.export import Exporter
from .logger.info import ServerFacts
from .logger.settings import Settings
from .model import Event, SignalName
from .notify import Notifier
from .plugins import discovery, pipes
from .plugins.commands import PluginCommands
from .plugins.host import PluginHost, Policy
from .plugins.process import Limits
from .recorder import Recorder
from .storage import reserve
from .storage.commands import StorageCommands
from .storage.memory import MemoryStorage
from .storage.reading import ReadingCommands
from .storage.retention import Keeping
from .storage.sqlite import SqliteStorage
from .storage.writer import WriterThread
from .subscriptions import SubscriptionCommands
from .web.site import make_site
from .web.websocket import Doors, RtocFactory
from .wire.batch import BatchDecoder

_log = Logger()
_READERS = 4


def makeService(options: Options, reactor: Any = None) -> IService:
    """Return the service that `twistd rtoc` runs. reactor: the global one, except in tests."""
    if reactor is None:
        from twisted.internet import reactor
    config = options.config
    context = tls.SwappableContext()
    return Server(
        list(endpoints(config, context, reactor)),
        partial(build, config, context, reactor),
        Notifier(os.environ, reactor),
        reactor,
    )


def endpoints(config: Config, context: tls.SwappableContext, reactor: Any) -> Iterator[tuple[str, Any]]:
    """Yield the words that name each port, and what makes its endpoint."""
    describe = partial(endpoint_description, interface=config.interface, ipv6=ipv6_available())
    plain = partial(serverFromString, reactor)
    yield f"port {config.port}", partial(plain, describe(config.port))
    if config.tls_port is not None:
        description = describe(config.tls_port)
        yield f"TLS port {config.tls_port}", lambda: wrapServerTLS(context, plain(description))


def load_certificate(config: Config, context: tls.SwappableContext, reactor: Any) -> None:
    """Put in force what the certificate's files hold now, self-signed where none are configured.

    Raises CertificateError, and changes nothing, where they cannot be used. Not to be called before
    privileges are shed: what it makes must belong to the user who renews it.
    """
    if config.tls_port is None:
        return
    certificate, key = config.tls.cert, config.tls.key
    if certificate is None or key is None:
        certificate, key = tls.self_signed(config.state_dir, [socket.gethostname()], reactor)
    context.swap(tls.load(certificate, key))
    _log.info(
        "certificate {certificate}, SHA-256 {fingerprint}",
        certificate=str(certificate),
        fingerprint=tls.fingerprint(certificate),
    )


def build(config: Config, context: tls.SwappableContext, reactor: Any) -> Running:
    """Put the server together: opens the store, starts the threads, listens nowhere."""
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    load_certificate(config, context, reactor)
    pool = ThreadPool(1, _READERS, "rtoc-readers")
    in_thread = partial(deferToThreadPool, reactor, pool)
    limits = config.limits

    storage = (
        MemoryStorage(limits.max_signals)
        if config.storage.backend == "memory"
        else SqliteStorage(
            config.state_dir,
            clock=reactor,
            writer=WriterThread(),
            post=reactor.callFromThread,
            in_thread=in_thread,
            fsync=config.storage.durability == "fsync",
            max_signals=limits.max_signals,
            ceiling=limits.write_behind_values,
            keeping=keeping(config),
            tell=lambda text, priority: recorder.raise_event(
                Event(SignalName("RTOC", ""), text, time.time(), priority)
            ),
        )
    )
    events = EventLog(storage)
    recorder = Recorder(storage, events)
    batches = BatchDecoder(time.time)
    hub = Hub(reactor, limits.max_connections, limits.max_connections_per_address)
    auth = make_auth(config, reactor, in_thread)

    settings = Settings(storage, config.storage.record_length)
    plugins = PluginHost(
        storage,
        recorder,
        state_dir=config.state_dir,
        launch=pipes.spawn(reactor, environment(os.environ)),
        find=partial(discovery.find, config.state_dir) if config.plugins.enabled else tuple,
        in_thread=in_thread,
        samplerate=lambda: settings.topic("global").get("samplerate"),
        clock=reactor,
        wall=time.time,
        policy=policy(config),
    )
    exporter = Exporter(storage, events, in_thread)
    backups = Backups(exporter, settings, config.logger.backup_dir, reactor, time.time)
    backups.reschedule()

    def counters() -> dict[str, float]:
        return {
            **storage.counters(),
            **plugins.counters(),
            "connections": len(hub),
            "connections_accepted": hub.accepted,
            "connections_refused": hub.refused,
            "connections_cut": factory.cut,
            "logins_refused": auth.refused,
            "layouts_forgotten": batches.forgotten,
        }

    table = CommandTable(
        [
            AuthCommands(),
            StorageCommands(storage, events, recorder, batches, clock=time.time),
            ReadingCommands(storage, events, record_length=settings.record_length),
            EventCommands(storage, events, recorder, time.time),
            SubscriptionCommands(),
            LoggerCommands(
                storage,
                events,
                recorder,
                settings,
                facts(config, storage.durability),
                exporter,
                backups,
                clock=time.time,
                export_dir=config.logger.export_dir,
                counters=counters,
                set_samplerate=plugins.set_samplerate,
                reboot=reboot(config, reactor),
            ),
            PluginCommands(plugins),
            AutomationCommands(),
            *getPlugins(ICommandSource),
        ]
    )
    house = House(
        table=table,
        batches=batches,
        recorder=recorder,
        congested=lambda: storage.congested,
        auth=auth,
        hub=hub,
        clock=reactor,
        login_seconds=limits.login_seconds,
        max_subscriptions=limits.max_subscriptions,
    )
    doors = Doors(
        open_connection=lambda opened: Connection(opened, house),
        hub=hub,
        origins=OriginRule(config.auth.whitelist, own_hosts(config), config.auth.allowed_origins),
        closed_to_strangers=not auth.required,
        max_message=limits.max_message,
        outbox_bytes=limits.outbox_bytes,
        ping_seconds=limits.ping_seconds,
        ping_timeout_seconds=limits.ping_timeout_seconds,
    )
    factory = RtocFactory(doors, reactor)
    site = make_site(factory, table.schema.json_schema(), lambda: {"status": "ok", "version": __version__})
    # Last: its threads would keep a process alive that fails to start.
    pool.start()
    plugins.start()

    def reload() -> None:
        plugins.look()
        load_certificate(config, context, reactor)

    return Running(site, hub, storage, reload, before_close=[backups], after_close=[pool], plugins=plugins)


def policy(config: Config) -> Policy:
    """Return what is done with plugins, by the configuration."""
    plugins = config.plugins
    limits = Limits(
        start=plugins.start_seconds,
        call=plugins.call_seconds,
        heartbeat=plugins.heartbeat_seconds,
        close=plugins.close_seconds,
        memory=plugins.memory,
        open_files=plugins.open_files,
        cpu=plugins.cpu_percent,
    )
    return Policy(limits, plugins.restarts, plugins.reload)


def keeping(config: Config) -> Keeping:
    """Return what the store keeps, by the configuration."""
    storage = config.storage
    return Keeping(config.retention, storage.rollups, storage.budget, storage.keep_free, reserve.SIZE)


def make_auth(config: Config, reactor: Any, in_thread: Any) -> Auth:
    """Return who lets people in, with the password of the configuration or of the state directory."""
    cipher = config.auth.legacy_cipher
    password = None
    if config.auth.password_file is not None:
        password = passwordfile.read(config.auth.password_file, cipher != "off")
    elif not config.auth.no_password:
        password = passwordfile.read_or_make(
            config.state_dir,
            cipher != "off",
            lambda made: _log.warn(
                "a password was made, and is shown this once: {password} (loopback clients need none)",
                password=made,
            ),
        )
    accounts = [
        Account(entry.name, entry.permissions, entry.password_hash, entry.token_hash)
        for entry in config.accounts
    ]
    return Auth(password, accounts, clock=reactor, in_thread=in_thread, cipher_required=cipher == "require")


def own_hosts(config: Config) -> set[str]:
    """Return the names by which this server's own pages are reached."""
    name = socket.gethostname().lower()
    return {"localhost", "127.0.0.1", "::1", name, f"{name}.local", config.interface} - {""}


def facts(config: Config, durability: str) -> ServerFacts:
    """Return what `hello` and `logger.info` tell of the configuration and the store."""
    limits = config.limits
    return ServerFacts(
        name=config.name,
        version=__version__,
        boot=secrets.token_hex(8),
        started=time.time(),
        state_dir=config.state_dir,
        backup_dir=config.logger.backup_dir,
        port=int(config.port) if config.port.isdecimal() else config.port,
        tls=config.tls_port is not None,
        certificate=str(config.tls.cert or ""),
        key=str(config.tls.key or ""),
        whitelist=tuple(map(str, config.auth.whitelist)),
        durability=durability,
        limits={
            "max_message": limits.max_message,
            "max_connections": limits.max_connections,
            "max_subscriptions": limits.max_subscriptions,
            "max_signals": limits.max_signals,
            "login_seconds": limits.login_seconds,
        },
    )


def reboot(config: Config, reactor: Any) -> Any:
    """Return what runs the configuration's reboot command, None where it names none."""
    command = config.logger.reboot_command
    if command is None:
        return None

    def run() -> Any:
        _log.warn("a client asked for a reboot: {command}", command=command)
        return getProcessValue(command[0], command[1:], env=None, reactor=reactor)

    return run
