"""What the configuration means for the parts of the server."""

from __future__ import annotations

import secrets
import socket
import time

from . import __version__
from .automation.actions import ScriptPolicy
from .automation.automation import Policy as RulesPolicy
from .config import Config
from .logger.info import ServerFacts
from .plugins.host import Policy
from .plugins.process import Limits
from .storage import reserve
from .storage.retention import Keeping


def of_plugins(config: Config) -> Policy:
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


def of_scripts(config: Config) -> ScriptPolicy:
    """Return what scripts may take, by the configuration."""
    automation = config.automation
    return ScriptPolicy(
        automation.script_seconds,
        automation.script_memory,
        automation.scripts_at_once,
        automation.script_files,
        automation.script_network,
    )


def of_rules(config: Config) -> RulesPolicy:
    """Return what rules may take, by the configuration."""
    return RulesPolicy(config.automation.window, config.automation.events_per_minute)


def keeping(config: Config) -> Keeping:
    """Return what the store keeps, by the configuration."""
    storage = config.storage
    return Keeping(config.retention, storage.rollups, storage.budget, storage.keep_free, reserve.SIZE)


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
