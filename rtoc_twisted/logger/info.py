"""What `logger.info` and `hello` tell of the server (protocol sections 5 and 8)."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..interfaces import IAutomation, IStorage
from ..wire.codec import CODECS
from .settings import Settings

PROTOCOL = "rtoc/4"
_BYTES_A_SAMPLE = 16
_GIGABYTE = 10**9
_LOSSES = {
    "none": {"crash": "everything", "powerCut": "everything"},
    "normal": {"crash": "nothing", "powerCut": "the newest commits, except those acknowledged as durable"},
    "fsync": {"crash": "nothing", "powerCut": "nothing"},
}
"""What of the data that was acknowledged as stored may be lost, by durability."""


@dataclass(frozen=True)
class ServerFacts:
    """What stays the same while the server runs.

    boot: a word that changes with every start; started: seconds since the epoch; port, tls, ...: as
    configured; durability: of the store (IStorage).
    """

    name: str
    version: str
    boot: str
    started: float
    state_dir: Path
    backup_dir: Path
    port: int | str
    tls: bool
    certificate: str
    key: str
    whitelist: tuple[str, ...]
    durability: str
    limits: dict[str, float]


def hello(facts: ServerFacts, now: float, permissions: list[str]) -> dict[str, Any]:
    """Return the value of `hello`. now: seconds since the epoch."""
    return {
        "protocol": PROTOCOL,
        "server": "rtoc_twisted",
        "name": facts.name,
        "version": facts.version,
        "boot": facts.boot,
        "time": now,
        "codecs": list(CODECS),
        "limits": facts.limits,
        "durability": facts.durability,
        "loses": _LOSSES[facts.durability],
        "permissions": permissions,
    }


def info(
    facts: ServerFacts,
    storage: IStorage,
    settings: Settings,
    counters: Mapping[str, float],
    automation: IAutomation,
) -> dict[str, Any]:
    """Return the value of `logger.info`, in the shape that RTRemote reads; `counters` are ours."""
    active = automation.told()["active"]
    signals = storage.signals()
    length = settings.record_length()
    summaries = (storage.summary(signal.id) for signal in signals)
    used = _BYTES_A_SAMPLE * sum(min(length, summary.count) for summary in summaries if summary)
    limit = _BYTES_A_SAMPLE * length * len(signals)
    return {
        "signals": len(signals),
        "starttime": facts.started,
        "signal_memory": used,
        "signal_memory_limit": limit,
        "userActions": list(automation.user_actions()),
        "counters": dict(counters),
        "config": {
            "global": {
                "language": "en",
                "recordLength": length,
                "name": facts.name,
                "documentfolder": str(facts.state_dir),
                "globalActionsActivated": bool(active["actions"]),
                "globalEventsActivated": bool(active["events"]),
                **settings.topic("global"),
            },
            "postgresql": settings.topic("postgresql"),
            "telegram": settings.topic("telegram"),
            "tcp": settings.topic("tcp"),
            "websocket": {
                "active": True,
                "port": facts.port,
                "ssl": facts.tls,
                "keyfile": facts.key,
                "certfile": facts.certificate,
                "knownHosts": {},
                "host_whitelist": list(facts.whitelist),
            },
            "backup": {"path": str(facts.backup_dir), **settings.topic("backup")},
            "memory": _memory(facts.state_dir, used, limit),
        },
    }


def _memory(directory: Path, used: int, limit: int) -> dict[str, Any]:
    disk = shutil.disk_usage(directory)
    gigabytes = {
        name: f"{size / _GIGABYTE:.3f}"
        for name, size in (("total", disk.total), ("used", disk.used), ("free", disk.free))
    }
    return {**gigabytes, "freeL": limit - used, "usedL": used, "totalL": limit}
