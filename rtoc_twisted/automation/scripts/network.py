"""What a script's process needs beside sockets where it may have the network: names and certificates.

Both are files, of which it has none: names are resolved by the server, certificates read before the sandbox.
So are the modules that its script may import; only processes that need them import this one.
"""

from __future__ import annotations

import http.client  # noqa: F401  for the script
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request  # noqa: F401  for the script
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from .link import Link

_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


def prepare(link: Link) -> None:
    """Make socket and ssl of this process work without files."""
    context = ssl.create_default_context()
    for place in _CERTIFICATES:
        if Path(place).is_file():
            with suppress(OSError):
                context.load_verify_locations(place)
    # The door that http.client goes through, also documented in PEP 476.
    ssl._create_default_https_context = lambda *args, **kwargs: context
    socket.getaddrinfo = resolver(lambda host: link.ask("resolve", host).value, socket.getaddrinfo)


def resolver(ask: Callable[[str], list[str]], numeric: Callable[..., Any]) -> Callable[..., Any]:
    """Return a getaddrinfo() that asks for the addresses of a name.

    numeric: the system's, which gets addresses only.
    """

    def getaddrinfo(
        host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[Any]:
        flags |= socket.AI_NUMERICHOST
        name = host.decode() if isinstance(host, bytes) else host
        addresses = [name] if name is None or _is_address(name) else ask(str(name))
        found = []
        for address in addresses:
            if not family or (":" in (address or "")) == (family == socket.AF_INET6):
                found += numeric(address, port, family, type, proto, flags)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, f"no address of {name}")
        return found

    return getaddrinfo


def _is_address(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
