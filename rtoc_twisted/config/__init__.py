"""The server's configuration: options, environment and a TOML file merged into one typed `Config`."""

from .load import ConfigError, Merged, load, merge
from .options import Options, endpoint_description, ipv6_available
from .settings import (
    SETTINGS,
    Account,
    Auth,
    Config,
    Limits,
    Logger,
    Setting,
    Storage,
    Tls,
)

__all__ = [
    "SETTINGS",
    "Account",
    "Auth",
    "Config",
    "ConfigError",
    "Limits",
    "Logger",
    "Merged",
    "Options",
    "Setting",
    "Storage",
    "Tls",
    "endpoint_description",
    "ipv6_available",
    "load",
    "merge",
]
