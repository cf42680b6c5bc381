"""Which peers the whitelist trusts: the rule that keeps foreign web pages out (protocol section 3)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from zope.interface import implementer

from ..interfaces import IPeer

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@implementer(IPeer)
@dataclass(frozen=True)
class Peer:
    """Where a connection comes from. address: as text, empty for a local socket."""

    address: str
    trusted: bool
    secure: bool


@dataclass(frozen=True)
class OriginRule:
    """Judges addresses and origins.

    whitelist: networks whose peers are trusted; hosts: names and addresses that are this server's
    own; allowed: further origins (as a browser sends them) or hosts that are trusted like its own.
    """

    whitelist: Sequence[Network]
    hosts: Collection[str]
    allowed: Collection[str] = ()

    def own(self, origin: str | None, local_address: str = "") -> bool:
        """Return whether a page of that origin is the server's own; no origin means it is no page.

        local_address: where the connection arrived. The Host header is not asked: a foreign name
        that was made to point here would be in both.
        """
        if origin is None:
            return True
        try:
            host = urlsplit(origin).hostname
        except ValueError:
            return False
        if origin.lower() in self.allowed or (host is not None and host in self.allowed):
            return True
        return host is not None and (
            host in self.hosts or plain_address(host) == plain_address(local_address)
        )

    def whitelisted(self, address: str) -> bool:
        """Return whether an address is in the whitelist; a local socket is."""
        if not address:
            return True
        try:
            parsed = ipaddress.ip_address(plain_address(address))
        except ValueError:
            return False
        return any(parsed in network for network in self.whitelist)

    def peer(
        self,
        address: str,
        secure: bool,
        origin: str | None,
        local_address: str = "",
        forwarded: bool = False,
    ) -> Peer:
        """Return the peer of a connection.

        forwarded: whether a proxy says that it speaks for somebody else, who then is not trusted.
        """
        plain = plain_address(address)
        trusted = self.whitelisted(plain) and not forwarded and self.own(origin, local_address)
        return Peer(plain, trusted, secure)


def plain_address(address: str) -> str:
    """Return an address without its zone, and an IPv4 address in IPv6 form as IPv4."""
    try:
        parsed = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return address
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)
