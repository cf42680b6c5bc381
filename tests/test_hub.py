"""All connections: the limits, who hears of newcomers, and the goodbye."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.auth.origin import Peer
from rtoc_twisted.hub import Hub


class Somebody:
    """A member that keeps what it hears; it leaves when told goodbye, if `polite`."""

    def __init__(self, hub: Hub, address: str = "192.0.2.7", polite: bool = False) -> None:
        self.peer = Peer(address, False, False)
        self.hub = hub
        self.polite = polite
        self.heard = 0
        self.goodbyes = 0
        hub.join(self)

    def hear_newcomer(self) -> None:
        self.heard += 1

    def say_goodbye(self) -> None:
        self.goodbyes += 1
        if self.polite:
            self.hub.leave(self)


class HubTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.hub = Hub(self.clock, max_connections=4, max_per_address=2)

    def test_newcomers_are_gathered(self) -> None:
        first = Somebody(self.hub)
        second, third = Somebody(self.hub), Somebody(self.hub)
        self.assertEqual((first.heard, second.heard, third.heard), (0, 0, 0))
        self.clock.advance(0.05)
        self.assertEqual((first.heard, second.heard, third.heard), (1, 1, 1))
        self.clock.advance(10)
        self.assertEqual(first.heard, 1)

    def test_nobody_hears_of_himself(self) -> None:
        first = Somebody(self.hub)
        self.clock.advance(1)
        second = Somebody(self.hub)
        self.clock.advance(1)
        self.assertEqual((first.heard, second.heard), (1, 0))

    def test_a_newcomer_that_left_is_no_news(self) -> None:
        first, second = Somebody(self.hub), Somebody(self.hub)
        self.hub.leave(second)
        self.clock.advance(1)
        self.assertEqual((first.heard, second.heard), (0, 0))

    def test_the_last_one_turns_off_the_clock(self) -> None:
        for member in [Somebody(self.hub), Somebody(self.hub)]:
            self.hub.leave(member)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        first, second = Somebody(self.hub), Somebody(self.hub)
        self.clock.advance(1)
        self.assertEqual((first.heard, second.heard), (1, 0))

    def test_who_leaves_while_others_are_told(self) -> None:
        first, second = Somebody(self.hub), Somebody(self.hub)
        self.patch(first, "hear_newcomer", lambda: self.hub.leave(second))
        third = Somebody(self.hub)
        self.clock.advance(1)
        self.assertEqual((len(self.hub), third.heard), (2, 1))

    def test_limits(self) -> None:
        a, b, c = "192.0.2.1", "192.0.2.2", "192.0.2.3"
        here = [Somebody(self.hub, a), Somebody(self.hub, a)]
        self.assertEqual((self.hub.has_room(a), self.hub.has_room(b)), (False, True))
        Somebody(self.hub, b)
        Somebody(self.hub, b)
        self.assertFalse(self.hub.has_room(c))
        self.hub.leave(here[0])
        self.hub.leave(here[0])
        self.assertEqual((self.hub.has_room(a), self.hub.has_room(b)), (True, False))
        self.assertEqual((self.hub.refused, self.hub.accepted, len(self.hub)), (3, 4, 3))

    def test_local_sockets_have_no_address_to_count(self) -> None:
        for _ in range(3):
            self.assertTrue(self.hub.has_room(""))
            Somebody(self.hub, "")

    def test_nothing_is_kept_of_addresses_that_left(self) -> None:
        self.hub.leave(Somebody(self.hub))
        self.assertFalse(self.hub._by_address)

    def test_goodbye(self) -> None:
        polite, slow = Somebody(self.hub, polite=True), Somebody(self.hub)
        gone = self.hub.say_goodbye()
        self.assertEqual((polite.goodbyes, slow.goodbyes), (1, 1))
        self.assertNoResult(gone)
        self.hub.leave(slow)
        self.assertIsNone(self.successResultOf(gone))

    def test_goodbye_to_nobody(self) -> None:
        self.assertIsNone(self.successResultOf(self.hub.say_goodbye()))

    def test_goodbye_to_polite_ones(self) -> None:
        Somebody(self.hub, polite=True)
        Somebody(self.hub, polite=True)
        self.assertIsNone(self.successResultOf(self.hub.say_goodbye()))

    def test_who_comes_during_the_goodbye_is_sent_away(self) -> None:
        slow = Somebody(self.hub)
        gone = self.hub.say_goodbye()
        late = Somebody(self.hub)
        self.assertEqual(late.goodbyes, 1)
        self.hub.leave(late)
        self.hub.leave(slow)
        self.assertIsNone(self.successResultOf(gone))
        self.assertEqual(Somebody(self.hub).goodbyes, 1)
        self.assertFalse(self.hub.has_room("192.0.2.9"))
