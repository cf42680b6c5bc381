"""Where the server is put together: the only place that constructs, and it reads as the architecture."""

from __future__ import annotations

import os
import random
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

from . import __version__, policies, tls
from .auth import passwordfile
from .auth.accounts import Account
from .auth.commands import AuthCommands
from .auth.origin import OriginRule
from .auth.provider import Auth
from .automation import actions, backtest, chain
from .automation.automation import Automation
from .automation.commands import AutomationCommands
from .automation.scripts import language
from .box.environment import environment
from .box.notices import Notices
from .channels.notifier import Channels
from .channels.senders import Senders
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
from .logger.settings import Settings
from .model import Event, SignalName
from .notify import Notifier
from .plugins import discovery, pipes
from .plugins.commands import PluginCommands
from .plugins.host import PluginHost
from .recorder import Recorder
from .storage.commands import StorageCommands
from .storage.memory import MemoryStorage
from .storage.reading import ReadingCommands
from .storage.sqlite import SqliteStorage
from .storage.writer import WriterThread
from .subscriptions import SubscriptionCommands
from .web.site import make_site
from .web.websocket import Doors, RtocFactory
from .wire.batch import BatchDecoder

_log = Logger()
_READERS = 4
_COURIERS = 4


def makeService(options: Options, reactor: Any = None) -> IService:
    """Return the service that `twistd rtoc` runs. reactor: the global one, except in tests."""
    if reactor is None:
        from twisted.internet import reactor as twisteds

        reactor = _steady(twisteds)
    config = options.config
    context = tls.SwappableContext()
    return Server(
        list(endpoints(config, context, reactor)),
        partial(build, config, context, reactor),
        Notifier(os.environ, reactor),
        reactor,
    )


def _steady(reactor: Any) -> Any:
    # Twisted's own tells the wall's time: a clock that is set back would hold up every timer.
    reactor.seconds = time.monotonic
    return reactor


def endpoints(config: Config, context: tls.SwappableContext, reactor: Any) -> Iterator[tuple[str, Any]]:
    """Yield the words that name each port, and what makes its endpoint."""
    describe = partial(endpoint_description, interface=config.interface, ipv6=ipv6_available())
    plain = partial(serverFromString, reactor)
    yield f"port {config.port}", partial(plain, describe(config.port))
    if config.tls_port is not None:
        description = describe(config.tls_port)
        yield f"TLS port {config.tls_port}", lambda: wrapServerTLS(context, plain(description))


def load_certificate(config: Config, context: tls.SwappableContext) -> None:
    """Put in force what the certificate's files hold now, self-signed where none are configured.

    Raises CertificateError, and changes nothing, where they cannot be used. Not to be called before
    privileges are shed: what it makes must belong to the user who renews it.
    """
    if config.tls_port is None:
        return
    certificate, key = config.tls.cert, config.tls.key
    if certificate is None or key is None:
        certificate, key = tls.self_signed(config.state_dir, [socket.gethostname()], time.time)
    context.swap(tls.load(certificate, key))
    _log.info(
        "certificate {certificate}, SHA-256 {fingerprint}",
        certificate=str(certificate),
        fingerprint=tls.fingerprint(certificate),
    )


def build(config: Config, context: tls.SwappableContext, reactor: Any) -> Running:
    """Put the server together: opens the store, starts the threads, listens nowhere."""
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    load_certificate(config, context)
    pool = ThreadPool(1, _READERS, "rtoc-readers")
    in_thread = partial(deferToThreadPool, reactor, pool)
    # Of its own: a mail server that hangs must not hold up those who read.
    couriers = ThreadPool(0, _COURIERS, "rtoc-couriers")
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
            keeping=policies.keeping(config),
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
    channels = Channels(
        config.channels,
        storage,
        recorder,
        Senders(reactor, partial(deferToThreadPool, reactor, couriers), config.name),
        clock=reactor,
        wall=time.time,
        chance=random.random,
    )
    notices = Notices(channels, in_thread, time.time)
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
        policy=policies.of_plugins(config),
        notify=notices.tell,
    )
    exporter = Exporter(storage, events, in_thread)
    backups = Backups(exporter, settings, config.logger.backup_dir, reactor, time.time)
    backups.reschedule()
    whose = chain.Chain()
    scripts = actions.Actions(
        storage=storage,
        recorder=recorder,
        plugins=plugins,
        notices=notices,
        exporter=lambda wanted: logger.export(wanted),
        chain=whose,
        launch=actions.spawn(reactor, environment(os.environ)),
        clock=reactor,
        wall=time.time,
        policy=policies.of_scripts(config),
        record_length=settings.record_length,
        in_thread=in_thread,
        export_dir=config.logger.export_dir,
        media_dir=config.state_dir / "media",
    )
    rules = policies.of_rules(config)
    automation = Automation(
        storage,
        recorder,
        plugins,
        scripts=scripts,
        check_script=partial(
            language.check, files=config.automation.script_files, network=config.automation.script_network
        ),
        backtests=backtest.Backtest(
            storage, in_thread, clock=reactor.seconds, wall=time.time, window=rules.window
        ),
        chain=whose,
        clock=reactor,
        wall=time.time,
        policy=rules,
    )

    def counters() -> dict[str, float]:
        return {
            **storage.counters(),
            **plugins.counters(),
            **automation.counters(),
            **channels.counters(),
            "connections": len(hub),
            "connections_accepted": hub.accepted,
            "connections_refused": hub.refused,
            "connections_cut": factory.cut,
            "logins_refused": auth.refused,
            "layouts_forgotten": batches.forgotten,
        }

    logger = LoggerCommands(
        storage,
        events,
        recorder,
        settings,
        policies.facts(config, storage.durability),
        exporter,
        backups,
        clock=time.time,
        export_dir=config.logger.export_dir,
        counters=counters,
        set_samplerate=plugins.set_samplerate,
        reboot=reboot(config, reactor),
        automation=automation,
    )
    table = CommandTable(
        [
            AuthCommands(),
            StorageCommands(storage, events, recorder, batches, clock=time.time),
            ReadingCommands(storage, events, record_length=settings.record_length),
            EventCommands(storage, events, recorder, time.time),
            SubscriptionCommands(),
            logger,
            PluginCommands(plugins),
            AutomationCommands(automation, channels),
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
        origins=OriginRule(config.auth.whitelist, policies.own_hosts(config), config.auth.allowed_origins),
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
    couriers.start()
    plugins.start()
    automation.start()

    def reload() -> None:
        plugins.look()
        load_certificate(config, context)

    return Running(
        site,
        hub,
        storage,
        reload,
        before_flush=[automation, plugins],
        before_close=[backups, channels],
        after_close=[pool, couriers],
    )


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


def reboot(config: Config, reactor: Any) -> Any:
    """Return what runs the configuration's reboot command, None where it names none."""
    command = config.logger.reboot_command
    if command is None:
        return None

    def run() -> Any:
        _log.warn("a client asked for a reboot: {command}", command=command)
        return getProcessValue(command[0], command[1:], env=None, reactor=reactor)

    return run
