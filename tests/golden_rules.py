"""Where this server answers otherwise than RTOC 3.0 did, each with the rule of the protocol that says so."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .golden_replay import comparable, goes_to_all, lines

SENT = {"error": False, "sent": True}
DONE = {"error": False}
FAILED_DATA = {"error": True, "sent": False}


@dataclass(frozen=True)
class Difference:
    """What we say where the original said something else.

    rule: the section of the protocol, and its words; received: our messages to the sender, without
    `errors`; failed: the keys that `errors` names; observed: what a second client hears, by default
    those messages that go to all; missing: the number of a signal that the original created and we do
    not, so that later signals have smaller numbers here.
    """

    rule: str
    received: Sequence[Any]
    failed: Sequence[str | None] = ()
    observed: Sequence[Any] | None = None
    missing: int | None = None

    @property
    def heard(self) -> Sequence[Any]:
        """Return what a second client hears."""
        pushed = [message for message in self.received if goes_to_all(message)]
        return pushed if self.observed is None else self.observed


CASES = lines()


def renumbered(message: Any, missing: Sequence[int]) -> Any:
    """Return a message of the original with the numbers of signals that they have here."""
    if not missing or not isinstance(message, dict):
        return message
    changed = dict(message)
    if "signal" in message:
        signal = message["signal"]
        changed["signal"] = {**signal, "id": _number(signal["id"], missing)}
    for key in ("latest", "signals"):
        if isinstance(message.get(key), dict):
            changed[key] = {name: _row(row, missing) for name, row in message[key].items()}
    return changed


def _row(row: list[Any], missing: Sequence[int]) -> list[Any]:
    return [*row[:3], _number(row[3], missing), *row[4:]] if len(row) > 3 else row


def _number(number: int, missing: Sequence[int]) -> int:
    return number - sum(gone < number for gone in missing)


def _event(row: list[Any]) -> dict[str, Any]:
    """Return push P3 of an event's row in getEventList."""
    dname, sname, number, text, x, value, priority, action_id = row
    return {
        "event": {
            "x": x,
            "text": text,
            "dname": dname,
            "sname": sname,
            "priority": priority,
            "value": value,
            "id": action_id,
            "eventId": number,
        }
    }


def _of_a(indices: Sequence[int]) -> dict[str, Any]:
    """Return these of the samples of Dev.A."""
    row = [[1000.0 + n for n in indices], [float(n) for n in indices], "V", 1, 1000.0, 1011.0]
    return {"error": False, "signals": {"Dev.A": row}}


def _few_of_a(indices: Sequence[int]) -> dict[str, Any]:
    """Return these of the twelve samples of Dev.A, where fewer were asked for than there are."""
    return {**_of_a(indices), "decimated": {"Dev.A": {"points": len(indices), "of": 12}}}


def _events(*rows: list[Any]) -> dict[str, Any]:
    return {"error": False, "events": {str(row[2]): row for row in rows}}


def _info(record_length: int, **topics: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer of logger.info: that of the original, with other settings."""
    answer = copy.deepcopy(comparable(CASES["logger.info.after"][0]["recv"][0]))
    config = answer["logger"]["info"]["config"]
    config["global"]["recordLength"] = record_length
    del config["backup"]["interval"]
    for topic, settings in topics.items():
        config[topic].update(settings)
    return answer


def _with_signals(count: int, answer: dict[str, Any]) -> dict[str, Any]:
    answer["logger"]["info"]["signals"] = count
    return answer


def _and_resized(answer: dict[str, Any]) -> dict[str, Any]:
    answer["logger"]["resize"] = True
    return answer


def _session(case: str) -> dict[str, Any]:
    """Return the repaired original's session, under both names."""
    (answer,) = next(line["recv"] for line in CASES[case] if line["server"] == "fixed")
    return {**answer, "getSession": answer["session"]}


_ATOMIC = "5: 'nothing of the request is stored, `sent: false`, `error: true`, with the index at fault'"
_NULL = "5: 'NaN, Infinity ... are accepted on input; stored as they are; answered as null'"
_UNKNOWN = "5, getSignal: 'Unknown: left out, `error: false`'"
_LATEST = (
    "5, getLatest: 'list: those (unknown ones left out; the original gave three elements and failed ..)'"
)
_DOTS = "5: 'Names with dots: ...; in a sigKey the longest device name that exists wins'"
_WINDOW = "5, getSignal: 'Window: xmin < x <= xmax'"
_SPIKES = "5, getSignal: 'At most maxN samples, spikes kept (the original: every k-th, up to twice as many)'"
_BOTH = "5, getSession: 'BOTH `session` and `getSession`'"
_LENGTHS = "5, plot true: 'Lengths differ: error'"
_TEXT = "5, event: 'a str is the text'"
_NEWEST = "5, getEventList: 'n: newest n'"
_MERGED = "5, getEvent: 'merged with getEventList's'"
_POISON = "9: 'Events with x <= 0 poison getEventList' is not to be copied"
_PLOT_PUSHED = "5: 'values to subscribers (P2); plot data too (the original did not)'"
_DEVICE = "5, subscribe: '['device', dname] (all its signals)'"
_RESIZE = "9: 'ours is a ring in memory with everything older in storage'"
_WHOLE = "5, getSignal: '(xMin, xMax of the whole signal)'; 9: 'with everything older in storage'"
_CLEAR = "5, logger: 'clear: [sigKey, ..] (null removed, false unknown)'"
_BACKUP = "2: 'so send it for real failures only'; 5, logger: 'backup {now, ..}'"
_SETTINGS = "5, logger: 'settings, kept', 'interval = intervall'"
_REMOVE = "5, remove: '['signal', sigKey or list]'"
_COUNTS = "5, remove: '[nSignals, nEvents], true counts'"
_BEFORE_LOGIN = "3: 'Before login ... nothing is pushed to it'"
_EMPTY_PASSWORD = "3: 'An empty password string is no password set in a configuration'"
_PLAIN = "4: 'detect by frame; ... over plain ws too, unless the configuration requires the cipher or TLS'"
_ONCE = "3: 'Wrong: {authorized: false} (once; the original sent it twice)'"
_FULL = "9: 'A full signal: deadlock ..., then everything deleted (g:full.*); ours is a ring'"

_A = [1011.0, 11.0, "V", 1, 1000.0, 1011.0]
_B = [1011.0, 110.0, "A", 2, 1000.0, 1011.0]
_NOW_X = "<now>"
_RAISED = (
    ["Dev", "Sig", 1, "Text 1", 1234.5, 42, 1, "myID"],
    ["noDevice", "noName", 2, "Text 2", _NOW_X, None, 0, "5fdc05d330f9b5470b0294ebb1275e1be046aba0"],
    ["Dev", "Sig", 3, "Text 3", _NOW_X, None, 0, "810c26a1a064e3159d66d5edcae3741331ee79bc"],
    ["Dev", "Sig", 4, "Text 4", 1236, None, 0, "ace770846071e8f035a0fc94ce8afb37128e6db6"],
    ["noDevice", "noName", 5, "", _NOW_X, None, 0, "a461ce5d2a96ca6bc72a0e1d5426a68fbb409ac1"],
    ["Dev", "Sig", 6, "Dict", 1300.0, None, 2, "65487607955c2637ff71c463832e085fcb1635a9"],
    ["noDevice", "noName", 7, "hello", _NOW_X, None, 0, "a97404059cac84971116e9df21bf6c1162d46a45"],
)
_MORE = tuple(["Dev", "Sig", 8 + n, f"more {n}", 1400 + n, n, 0, "idm"] for n in range(4))
_LISTED = [
    *(["Dev", name] for name in ("A", "B", "C", "NoX", "Scalar", "U1", "U2", "S1", "Unnamed")),
    ["noDevice", ""],
    ["noDevice", "Z"],
    *(["Dev", name] for name in ("XL", "NumStr", "Bool", "Nan")),
    ["noDevice", "noName"],
]
_FIRST_LATEST = {
    "Dev.A": [1002.0, 1.0, "V", 1, 1000.0, 1002.0],
    "Dev.B": [1002.0, 2.0, "A", 2, 1002.0, 1002.0],
    "Dev.C": [1002.0, 3.0, "W", 3, 1002.0, 1002.0],
    "Dev.NoX": [_NOW_X, 7.0, "", 4, _NOW_X, _NOW_X],
    "Dev.Scalar": [5.0, 3.25, "K", 5, 5.0, 5.0],
    "Dev.U1": [1.0, 1.0, "K", 6, 1.0, 1.0],
    # Section 5: 'A str unit applies to all values (the original: to the first)'.
    "Dev.U2": [1.0, 2.0, "K", 7, 1.0, 1.0],
    "Dev.S1": [1.0, 1.0, "", 8, 1.0, 1.0],
    "Dev.Unnamed": [1.0, 3.0, "", 9, 1.0, 1.0],
    "noDevice.": [_NOW_X, 4.0, "", 10, _NOW_X, _NOW_X],
    "noDevice.Z": [_NOW_X, 4.0, "", 11, _NOW_X, _NOW_X],
    "Dev.XL": [1.0, 1.0, "", 12, 1.0, 1.0],
}
_LAST_LATEST = {
    "Dev.A": [1013.0, 98.0, "V", 1, 1000.0, 1013.0],
    "Dev.B": _B,
    "Plt.P": [11, 2, "m", 3, 10, 11],
    "Plt.Q": [1, 6, "m", 4, 0, 1],
    "Plt.R": [1, 6, "", 5, 0, 1],
    "Plt.T": [1, 5, "", 6, 1, 1],
    "Dot.a.b": [1.0, 1.0, "", 7, 1.0, 1.0],
}


_B_OF_LOGGER = {
    "error": False,
    "signals": {"Dev.B": [[100.0 + n for n in range(6)], [2.0 * n for n in range(6)], "A", 2, 100.0, 105.0]},
}


def _latest(**rows: list[Any]) -> dict[str, Any]:
    return {"error": False, "latest": {name.replace("_", "."): row for name, row in rows.items()}}


DIFFERENCES: Mapping[str, Difference] = {
    # Data.
    "xy.x.shorter": Difference(_ATOMIC, [FAILED_DATA], ["y"], missing=13),
    "xy.y.nonnumeric": Difference(_ATOMIC, [FAILED_DATA], ["y"], missing=14),
    "xy.y.nonnumeric.after": Difference(_UNKNOWN, [{"error": False, "signals": {}}]),
    "xy.y.nonnumeric.latest": Difference(_ATOMIC, [{"error": False, "latest": _FIRST_LATEST}]),
    "xy.y.dict": Difference(_ATOMIC, [FAILED_DATA], ["y"]),
    "xy.sname.wrongtype": Difference(_ATOMIC, [FAILED_DATA], ["y"]),
    "xy.nan.read": Difference(
        _NULL, [{"error": False, "signals": {"Dev.Nan": [[1.0], [None], "", 15, 1.0, 1.0]}}]
    ),
    "getSignalList.true": Difference(_ATOMIC, [{"error": False, "signalList": _LISTED}]),
    "getSignalList.false": Difference(_ATOMIC, [{"error": False, "signalList": _LISTED}]),
    # Reading.
    "getLatest.list": Difference(_LATEST, [_latest(Dev_A=_A)]),
    "getLatest.list.two": Difference(_LATEST, [_latest(Dev_A=_A, Dev_B=_B)]),
    "getLatest.list.unknown": Difference(_LATEST, [_latest()]),
    "getLatest.list.mixed": Difference(_LATEST, [_latest(Dev_A=_A)]),
    "getLatest.list.nodot": Difference(_LATEST, [_latest()]),
    "getLatest.list.threeparts": Difference(_DOTS, [_latest()]),
    "getLatest.list.nonstr": Difference(_LATEST, [_latest()]),
    "getSignal.list.unknown": Difference(_UNKNOWN, [{"error": False, "signals": {}}]),
    "getSignal.list.unknown.device": Difference(_UNKNOWN, [{"error": False, "signals": {}}]),
    "getSignal.list.nodot": Difference(_UNKNOWN, [{"error": False, "signals": {}}]),
    "getSignal.dict.xmax": Difference(_WINDOW, [_of_a(range(9))]),
    "getSignal.dict.window": Difference(_WINDOW, [_of_a(range(3, 9))]),
    "getSignal.dict.xmin.after": Difference(_WINDOW, [_of_a([])]),
    "getSignal.dict.xmax.before": Difference(_WINDOW, [_of_a([])]),
    "getSignal.dict.maxN4": Difference(_SPIKES, [_few_of_a([0, 5, 6, 11])]),
    "getSignal.dict.maxN5": Difference(_SPIKES, [_few_of_a([0, 5, 6, 11])]),
    "getSignal.dict.maxN7": Difference(_SPIKES, [_few_of_a([0, 3, 4, 7, 8, 11])]),
    "getSignal.dict.maxN.float": Difference(_SPIKES, [_few_of_a([0, 5, 6, 11])]),
    "getSignal.dict.unknown": Difference(_UNKNOWN, [{"error": False, "signals": {}}]),
    "getSession.true": Difference(_BOTH, [_session("getSession.true")]),
    "multi.keys.one.fails": Difference(
        _UNKNOWN,
        [
            {
                "error": False,
                "sent": True,
                "signals": {},
                "latest": {"Dev.A": _LAST_LATEST["Dev.A"], "Dev.B": _B},
            }
        ],
    ),
    # Plots.
    "plot.x.empty": Difference(_LENGTHS, [FAILED_DATA], ["y"]),
    "plot.mismatch": Difference(_LENGTHS, [FAILED_DATA], ["y"]),
    "plot.strings": Difference(_ATOMIC, [FAILED_DATA], ["y"], missing=6),
    "plot.strings.read": Difference(_UNKNOWN, [{"error": False, "signals": {}}]),
    "dotted.name.read": Difference(
        _DOTS, [{"error": False, "signals": {"Dot.a.b": [[1.0], [1.0], "", 7, 1.0, 1.0]}}]
    ),
    "final.latest": Difference(_ATOMIC, [{"error": False, "latest": _LAST_LATEST}]),
    # Events.
    "event.string": Difference(_TEXT, [_event(_RAISED[6]), DONE], missing=3),
    "getEventList.true": Difference(_TEXT, [_events(*_RAISED)]),
    "getEventList.10": Difference(_TEXT, [_events(*_RAISED)]),
    "getEventList.1": Difference(_NEWEST, [_events(_RAISED[6])]),
    "getEventList.dict": Difference(_TEXT, [_events(*_RAISED)]),
    "getEvent+getEventList": Difference(_MERGED, [_events(*_RAISED, *_MORE)]),
    "event.signal.in.list": Difference(
        _TEXT, [{"error": False, "signalList": [["Dev", "Sig"], ["noDevice", "noName"]]}]
    ),
    "event.signal.read": Difference(
        _UNKNOWN, [{"error": False, "signals": {"Dev.Sig": [[], [], None, 1, None, None]}}]
    ),
    "event.signal.latest.list": Difference(_LATEST, [_latest()]),
    "getEventList.poisoned": Difference(_POISON, [_events()]),
    # Subscriptions.
    "sub.signal.plot": Difference(
        _PLOT_PUSHED,
        [
            {"signal": {"x": [1, 2], "y": [3, 4], "unit": "V", "dname": "Dev", "sname": "A", "id": 1}},
            SENT,
        ],
    ),
    "sub.device.data": Difference(
        _DEVICE,
        [{"signal": {"x": [6.0], "y": [6.0], "unit": "V", "dname": "Dev", "sname": "A", "id": 1}}, SENT],
    ),
    # logger.
    "logger.resize.check": Difference(
        _WHOLE,
        [
            {
                "error": False,
                "signals": {
                    "Dev.A": [[102.0, 103.0, 104.0, 105.0], [2.0, 3.0, 4.0, 5.0], "V", 1, 100.0, 105.0]
                },
            }
        ],
    ),
    "logger.resize.neg.check": Difference(
        "2: what fails changes nothing",
        [_with_signals(3, _info(4, tcp={"port": 5050}, backup={"autoOnClose": True}))],
    ),
    "logger.clear.list.bad": Difference(_CLEAR, [{"error": False, "logger": {"clear": [False]}}]),
    "logger.backup.now3": Difference(_BACKUP, [{"error": False, "logger": {"backup": {"now": True}}}]),
    "logger.multi": Difference(
        _SETTINGS,
        [_and_resized(_info(500_000, backup={"intervall": 60}, **{"global": {"samplerate": 5}}))],
    ),
    "logger.info.after": Difference(
        _SETTINGS, [_info(500_000, backup={"intervall": 60}, **{"global": {"samplerate": 5}})]
    ),
    "logger.postgresql.poison": Difference(
        _SETTINGS,
        [
            _info(
                500_000,
                backup={"intervall": 60},
                postgresql={"active": True},
                **{"global": {"samplerate": 5}},
            )
        ],
    ),
    "logger.postgresql.poison.signal": Difference(_RESIZE, [_B_OF_LOGGER]),
    "logger.postgresql.poison.list": Difference(_RESIZE, [_B_OF_LOGGER]),
    # Session and remove.
    "session": Difference(_BOTH, [_session("session")]),
    "session.false": Difference(_BOTH, [_session("session.false")]),
    "remove.seed": Difference(_REMOVE, [{"error": False, "remove": [1, 1]}]),
    "remove.seed.check": Difference(_REMOVE, [{"error": False, "signalList": [["Dev", "B"]]}]),
    "remove.ids.event": Difference(_COUNTS, [{"error": False, "remove": [0, 1]}]),
    "remove.ids.event.check": Difference(_REMOVE, [_events()]),
    "remove.ids.one": Difference(_COUNTS, [{"error": False, "remove": [1, 0]}]),
    # Login.
    "pw.noauth.newconnected": Difference(_BEFORE_LOGIN, []),
    "pwempty.request": Difference(_EMPTY_PASSWORD, [{"error": False, "signalList": []}]),
    "aes.plainjson": Difference(_PLAIN, [{"authorized": True}, DONE]),
    "aes.auth.wrong": Difference(_ONCE, [{"authorized": False}]),
    "aes.auth.key16": Difference(_ONCE, [{"authorized": False}]),
    "aes.auth.wrong.again": Difference(_ONCE, [{"authorized": False}]),
    # A full signal.
    "full.point4": Difference(_FULL, [SENT]),
}

ELSEWHERE: Mapping[str, str] = {
    "plugin.test.": "of a plugin of the original's own tests; test_plugin_child_api has such ones",
    "plugins.shutdown": "the end of a process that plugins keep alive; see test_plugin_host.StopTests",
    "full.shutdown": "the end of a process that hung; ours cannot hang there, see full.point4",
    "ssl.": "TLS is below this conversation: test_tls speaks it, over the same site",
}
"""Cases that are not replayed, by the beginning of their names, and why."""

ON_THE_SOCKET = ("ws.", "slow.")
"""Cases that need bytes on a socket: test_golden_socket has a test of that name for each."""
