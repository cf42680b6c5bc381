"""What RTOC 3.0 said on the wire, replayed: the same answers, except where the protocol says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from . import golden_automation, golden_rules, test_golden_plugins, test_golden_socket
from .doubles import REMOTE, Client
from .golden_replay import (
    Line,
    Outcome,
    Scenario,
    comparable,
    ordered,
    replay,
)
from .golden_rules import CASES, ELSEWHERE, ON_THE_SOCKET, renumbered

DIFFERENCES = {**golden_rules.DIFFERENCES, **golden_automation.DIFFERENCES}
NAMES = [name for name in CASES if name != "__meta__"]


def seed_window(client: Client) -> None:
    """Record twelve points of Dev.A and Dev.B, as the answers of getSignal show them."""
    for n in range(12):
        client.ask(y=[n, 10 * n], sname=["A", "B"], dname="Dev", unit=["V", "A"], x=[1000.0 + n] * 2)


def seed_more_events(client: Client) -> None:
    for n in range(4):
        client.ask(event=[f"more {n}", "Sig", "Dev", 1400 + n, 0, "idm", n])


def seed_logger(client: Client) -> None:
    for n in range(6):
        y, unit = [n, 2 * n, 3 * n], ["V", "A", "W"]
        client.ask(y=y, sname=["A", "B", "C"], dname="Dev", unit=unit, x=[100.0 + n] * 3)


def seed_session(client: Client) -> None:
    for n in range(3):
        client.ask(y=[n, 1], sname=["A", "B"], dname="Dev", x=[100.0 + n] * 2)
    client.ask(event=["e1", "A", "Dev", 101.0])
    client.ask(event=["e2", "B", "Dev", 102.0])


def between(first: str, last: str) -> list[str]:
    return NAMES[NAMES.index(first) : NAMES.index(last) + 1]


SCENARIOS = (
    Scenario(
        "connections", between("connect.first", "getSignalList.false"), watched_from="nopw.noauth.request"
    ),
    Scenario("empty", between("empty.getLatest", "empty.getSignal.all")),
    Scenario(
        "reading and plots",
        between("getLatest.true", "final.latest"),
        setup=seed_window,
        watched_from="getLatest.true",
    ),
    Scenario(
        "events",
        between("event.list.full", "getEventList.poisoned"),
        before={"getEvent.list.many": seed_more_events},
        watched_from="event.list.full",
    ),
    Scenario("subscriptions", between("sub.create", "sub.event.push"), watched_from="sub.create"),
    Scenario(
        "logger",
        between("logger.info.true", "logger.clear.all.check"),
        setup=seed_logger,
        watched_from="logger.info.true",
    ),
    Scenario(
        "session and remove", between("session", "remove.dict"), setup=seed_session, watched_from="session"
    ),
    Scenario("password", between("pw.noauth.request", "pw.unauth.no.push"), password="geheim"),
    Scenario("empty password", between("pwempty.request", "pwempty.auth")),
    Scenario("cipher", between("aes.noauth", "aes.after"), password="geheim", peer=REMOTE),
    Scenario("no whitelist", between("nopw.nowhitelist", "nopw.nowhitelist.bad"), peer=REMOTE),
    Scenario(
        "full",
        [
            *between("full.point0", "full.point4"),
            "full.point5",
            "full.point6",
            "full.same.connection",
            "full.other.reads",
            "full.other.writes",
        ],
        record_length=5,
        watched_from="full.point0",
    ),
    *golden_automation.SCENARIOS,
)


SCENARIO_OF = {case: scenario for scenario in SCENARIOS for case in scenario.cases}


@cache
def outcomes(name: str, provider: str) -> Mapping[str, Outcome]:
    """Return what the cases of a scenario bring; played once for all their tests."""
    (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == name)
    return replay(scenario, CASES, provider)


def told(messages: Sequence[Any], request: Any) -> tuple[list[Any], list[str | None]]:
    """Return our messages as the original would have said them, and the keys that `errors` names.

    Taken off: `errors`, the `info` that each answer of logger carries, and the counters in it.
    """
    plain, failed = [], []
    for message in messages:
        shown = dict(message)
        errors = shown.pop("errors", [])
        assert bool(errors) is (shown.get("error") is True), message
        for error in errors:
            assert error.keys() == {"key", "code", "message", "retriable"}, error
            assert error["code"] != "internal" and error["message"], error
            failed.append(error["key"])
        logger = shown.get("logger")
        if isinstance(logger, dict):
            info = {key: value for key, value in logger["info"].items() if key != "counters"}
            asked = isinstance(request, dict) and "info" in request["logger"]
            rest = {key: value for key, value in logger.items() if key != "info"}
            shown["logger"] = {**rest, "info": info} if asked else rest
        plain.append(comparable(shown))
    return ordered(plain), failed


def theirs(line: Line, key: str, missing: Sequence[int]) -> list[Any]:
    """Return messages of the original, with our numbers of signals."""
    messages = [message.get("plain", message) for message in line[key]]
    return ordered([comparable(renumbered(message, missing)) for message in messages])


def missing_until(case: str) -> list[int]:
    """Return the signals that the original had created in this scenario, and we had not."""
    cases = SCENARIO_OF[case].cases
    past = cases[: cases.index(case) + 1]
    numbers = (DIFFERENCES[name].missing for name in past if name in DIFFERENCES)
    return [number for number in numbers if number is not None]


class Replayed:
    """The tests of one provider of storage, one for each case."""

    provider: str

    def check(self: Any, case: str) -> None:
        found = CASES[case]
        request = found[0]["send"]
        outcome = outcomes(SCENARIO_OF[case].name, self.provider)[case]
        received, failed = told(outcome.received, request)
        observed, _ = told(outcome.observed, request)
        difference = DIFFERENCES.get(case)
        if difference is not None:
            self.assertEqual(received, ordered(difference.received), difference.rule)
            self.assertEqual(failed, list(difference.failed))
            if self.watched(case):
                self.assertEqual(observed, ordered(difference.heard), difference.rule)
            return
        missing = missing_until(case)
        self.assertIn(received, [theirs(line, "recv", missing) for line in found])
        expected = [None] if not isinstance(request, dict) or not request else list(request)
        self.assertEqual([key for key in failed if key not in expected], [])
        watched = [line for line in found if "observer" in line]
        if watched and self.watched(case):
            self.assertIn(observed, [theirs(line, "observer", missing) for line in watched])
        if "wire" in str(found[0]["recv"]):
            self.assertTrue(outcome.encrypted)

    def watched(self, case: str) -> bool:
        """Return whether a second client was there."""
        scenario = SCENARIO_OF[case]
        if case in ("connect.first", "connect.second", "disconnect.second"):
            return True
        first = scenario.watched_from
        return first is not None and scenario.cases.index(first) <= scenario.cases.index(case)


class OnMemory(Replayed, SynchronousTestCase):
    provider = "memory"


class OnSqlite(Replayed, SynchronousTestCase):
    provider = "sqlite"


def _test_of(case: str) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        self.check(case)

    test.__doc__ = f"The case {case} of the transcript."
    return test


def _give_tests(*classes: type) -> None:
    for case in SCENARIO_OF:
        name = "test_" + case.replace(".", "_").replace("+", "_and_")
        for owner in classes:
            setattr(owner, name, _test_of(case))


_give_tests(OnMemory, OnSqlite)


class Completeness(SynchronousTestCase):
    """No line of the transcript is forgotten, and no rule is left over."""

    def test_every_case_is_replayed_on_a_socket_or_excused(self) -> None:
        for case in NAMES:
            places = [
                case in SCENARIO_OF,
                case.startswith(ON_THE_SOCKET),
                case in test_golden_plugins.RUN_OF,
                any(case.startswith(prefix) for prefix in ELSEWHERE),
            ]
            self.assertEqual(sum(places), 1, case)

    def test_no_case_is_in_two_scenarios(self) -> None:
        self.assertEqual(len(SCENARIO_OF), sum(len(scenario.cases) for scenario in SCENARIOS))

    def test_every_excuse_is_needed(self) -> None:
        for prefix in (*ELSEWHERE, *ON_THE_SOCKET):
            self.assertTrue(any(case.startswith(prefix) for case in NAMES), prefix)

    def test_every_case_of_the_socket_has_its_test(self) -> None:
        for case in NAMES:
            if case.startswith(ON_THE_SOCKET):
                self.assertTrue(
                    hasattr(test_golden_socket.OnTheSocket, "test_" + case.replace(".", "_")), case
                )

    def test_every_difference_is_of_a_case_that_is_replayed(self) -> None:
        self.assertEqual([case for case in DIFFERENCES if case not in SCENARIO_OF], [])

    def test_every_difference_is_one(self) -> None:
        """An entry that says what the original said would hide nothing, and mean nothing."""
        for case, difference in DIFFERENCES.items():
            missing = missing_until(case)
            ours = ordered(difference.received)
            self.assertNotIn(ours, [theirs(line, "recv", missing) for line in CASES[case]], case)
