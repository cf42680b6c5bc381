"""Which peers the whitelist trusts (protocol section 3)."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from rtoc_twisted.auth.origin import OriginRule, plain_address
from rtoc_twisted.interfaces import IPeer

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
RULE = OriginRule(
    LOOPBACK, {"localhost", "127.0.0.1", "::1", "house"}, {"https://app.example", "panel.example"}
)


class OriginTests(SynchronousTestCase):
    def trusted(self, address: str, origin: str | None = None, local: str = "") -> bool:
        return RULE.peer(address, False, origin, local).trusted

    def test_peers(self) -> None:
        peer = RULE.peer("::ffff:127.0.0.1", True, None)
        verifyObject(IPeer, peer)
        self.assertEqual((peer.address, peer.trusted, peer.secure), ("127.0.0.1", True, True))

    def test_the_whitelist(self) -> None:
        for address in ("127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", ""):
            self.assertTrue(self.trusted(address), address)
        for address in ("128.0.0.1", "192.0.2.7", "::2", "::ffff:192.0.2.7", "fe80::1%lo", "localhost", "1"):
            self.assertFalse(self.trusted(address), address)

    def test_own_pages(self) -> None:
        for origin in (
            "http://localhost:5050",
            "https://LOCALHOST",
            "http://127.0.0.1:1",
            "http://[::1]:5050",
            "http://house",
            "https://app.example",
            "HTTPS://app.example",
            "http://panel.example:99",
        ):
            self.assertTrue(self.trusted("127.0.0.1", origin), origin)

    def test_foreign_pages(self) -> None:
        for origin in (
            "http://evil.example",
            "null",
            "",
            "http://",
            "file://",
            "localhost",
            "http://localhost@evil.example",
            "http://localhost.evil.example",
            "http://app.example",
            "http://[::1",
            "http://127.0.0.1.evil.example",
            "chrome-extension://abcdef",
        ):
            self.assertFalse(self.trusted("127.0.0.1", origin), origin)

    def test_where_it_arrived_is_own(self) -> None:
        self.assertTrue(RULE.own("http://192.0.2.1:5050", "192.0.2.1"))
        self.assertTrue(RULE.own("http://192.0.2.1", "::ffff:192.0.2.1"))
        self.assertTrue(RULE.own("http://[2001:db8::1]", "2001:db8:0::1"))
        self.assertFalse(RULE.own("http://192.0.2.2", "192.0.2.1"))
        self.assertFalse(RULE.own("http://192.0.2.2"))

    def test_an_own_page_makes_nobody_trusted(self) -> None:
        self.assertFalse(self.trusted("192.0.2.7", "http://localhost"))

    def test_plain_addresses(self) -> None:
        pairs = {"[::1]": "::1", "fe80::1%eth0": "fe80::1", "2001:DB8:0:0::1": "2001:db8::1", "name": "name"}
        self.assertEqual({given: plain_address(given) for given in pairs}, pairs)
