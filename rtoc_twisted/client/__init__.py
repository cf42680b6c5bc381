"""The client library, RTWebsocketClient for old code, and the rtoc command."""

from __future__ import annotations

from rtoc_twisted.client.blocking import BlockingSender
from rtoc_twisted.client.client import DEFAULT_URL, Client
from rtoc_twisted.client.failures import (
    BadAnswer,
    CannotConnect,
    CertificateRefused,
    ConnectionLost,
    LoginRefused,
    QueueFull,
    RequestFailed,
    RequestTimedOut,
)
from rtoc_twisted.client.pushes import PushStream
from rtoc_twisted.client.sender import Counters, Sender
from rtoc_twisted.client.trust import Credentials, Trust
from rtoc_twisted.client.values import (
    ActionResult,
    ClientConnected,
    EventRaised,
    Latest,
    PluginsChanged,
    SignalAdded,
    SignalData,
    SignalPage,
    SignalSums,
    Values,
)

__all__ = [
    "DEFAULT_URL",
    "ActionResult",
    "BadAnswer",
    "BlockingSender",
    "CannotConnect",
    "CertificateRefused",
    "Client",
    "ClientConnected",
    "ConnectionLost",
    "Counters",
    "Credentials",
    "EventRaised",
    "Latest",
    "LoginRefused",
    "PluginsChanged",
    "PushStream",
    "QueueFull",
    "RequestFailed",
    "RequestTimedOut",
    "Sender",
    "SignalAdded",
    "SignalData",
    "SignalPage",
    "SignalSums",
    "Trust",
    "Values",
]
