"""Bad input: what each gets, that the conversation goes on, and that nothing recorded is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from .doubles import Client, house
from .golden_replay import PROVIDERS
from .raw_socket import BINARY, Port, close_code, frames

LONG = 10_000_000
DEEP = 100_000
HUGE = "1" + "0" * 400
SURROGATE = r"\ud800"


@dataclass(frozen=True)
class Row:
    """One message, and what it gets.

    key, code: what `errors` names, where it fails; then nothing at all is stored. answer: what the
    answer holds, where it does not. stored: a signal that the message made, and its samples.
    """

    name: str
    payload: bytes | str
    key: str | None = None
    code: str | None = None
    answer: Mapping[str, Any] = field(default_factory=dict)
    stored: tuple[str, list[Any]] | None = None
    binary: bool = False

    @property
    def frame(self) -> bytes:
        """Return the payload as bytes."""
        return self.payload.encode() if isinstance(self.payload, str) else self.payload


def bad_json(name: str, payload: bytes | str, binary: bool = False) -> Row:
    return Row(name, payload, None, "bad-json", binary=binary)


def bad_value(name: str, payload: str, key: str) -> Row:
    return Row(name, payload, key, "bad-value")


def data(**keys: str) -> str:
    """Return a message of data with values as raw JSON, so that it can say what json.dumps cannot."""
    parts = {"dname": '"Bad"', "sname": '["new", "kept"]', "x": "[5, 5]", "y": "[1, 2]", **keys}
    return "{" + ", ".join(f'"{key}": {value}' for key, value in parts.items() if value) + "}"


def msgpack(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


NOT_JSON = (
    bad_json("nonsense", "this is not json"),
    bad_json("half", '{"y": [1, 2'),
    bad_json("two", '{"y": 1} {"y": 2}'),
    bad_json("empty", ""),
    bad_json("blanks", " \n\t"),
    bad_json("list", '["getSignalList"]'),
    bad_json("number", "5"),
    bad_json("string", '"getSignalList"'),
    bad_json("null", "null"),
    bad_json("true", "true"),
    bad_json("nan", "NaN"),
    bad_json("empty object", "{}"),
    bad_json("bom", b'\xef\xbb\xbf{"getSignalList": true}'),
    bad_json("nul", b"\x00"),
    bad_json("deep lists", "[" * DEEP),
    bad_json("deep objects", '{"a":' * DEEP),
    bad_json("deep and whole", '{"a":' * DEEP + "1" + "}" * DEEP),
    bad_json("deep value of a key", '{"getSignal":' + "[" * DEEP + "]" * DEEP + "}"),
    bad_json("deep y", data(y="[" * DEEP + "]" * DEEP)),
    bad_json("wrong UTF-8", b'{"y": 1, "sname": "\xff\xfe"}', binary=True),
    bad_json("binary rubbish", b"\xde\xad\xbe\xef", binary=True),
    bad_json("binary empty", b"", binary=True),
    bad_json("msgpack list", msgpack([1, 2]), binary=True),
    bad_json("msgpack empty map", msgpack({}), binary=True),
    bad_json("msgpack cut off", msgpack({"getSignalList": True})[:-1], binary=True),
    bad_json("msgpack deep", b"\x81\xa1y" + b"\x91" * DEEP + b"\x01", binary=True),
    bad_json("msgpack too long a list", b"\x81\xa1y\xdd\xff\xff\xff\xff", binary=True),
)

DATA = (
    bad_value("y endless integer", data(y="[" + "1" * 5000 + ", 2]"), "y"),
    bad_value("y 1e400", data(y="[1, 1e400]"), "y"),
    bad_value("y object", data(y='{"a": 1}'), "y"),
    bad_value("y true", data(y="[[1], 2]"), "y"),
    bad_value("y words", data(y='[1, "abc"]'), "y"),
    bad_value("y huge integer", data(y=f"[1, {HUGE}]"), "y"),
    bad_value("x short", data(x="[5]"), "y"),
    bad_value("x empty", data(x="[]"), "y"),
    bad_value("x null inside", data(x="[5, null]"), "y"),
    bad_value("x words", data(x='[5, "noon"]'), "y"),
    bad_value("x object", data(x="{}"), "y"),
    bad_value("x text", data(x='"noon"'), "y"),
    bad_value("sname number", data(sname="5"), "y"),
    bad_value("sname object", data(sname="{}"), "y"),
    bad_value("sname numbers inside", data(sname='["new", 5]'), "y"),
    bad_value("sname lone surrogate", data(sname=f'["new", "{SURROGATE}"]', y="[1, NaN]"), "y"),
    bad_value("dname lone surrogate", data(dname=f'"{SURROGATE}"', y="[1, NaN]"), "y"),
    bad_value("unit lone surrogate", data(unit=f'["V", "{SURROGATE}"]', y="[1, NaN]"), "y"),
    bad_value("text lone surrogate", f'{{"y": "{SURROGATE}", "a": NaN}}', "y"),
    bad_value("plot lengths", data(plot="true", sname='"P"', y="[1]"), "y"),
    bad_value("plot words", data(plot="true", sname='"P"', y='[1, "a"]'), "y"),
    bad_value("plot object", data(plot="true", sname='"P"', y="{}"), "y"),
    bad_value("plot null", data(plot="true", sname='"P"', y="null"), "y"),
    bad_value("plot nested", data(plot="true", sname='"P"', y="[[1], [2]]"), "y"),
    bad_value("plot two names", data(plot="true"), "y"),
    bad_value("plot hold", data(plot="true", sname='"P"', hold='"sometimes"'), "y"),
    bad_value("plot hold list", data(plot="true", sname='"P"', y="[1]", x="[1]", hold='["off"]'), "y"),
    bad_value("plot hold number", data(plot="true", sname='"P"', hold="1"), "y"),
    bad_value("plot huge integer", data(plot="true", sname='"P"', y=f"[1, {HUGE}]"), "y"),
    Row("x surplus", data(x="[5, 6, 7]"), stored=("Bad.kept", [[6.0], [2.0]]), answer={"sent": True}),
    Row("x null", data(x="null", y='[1, "2.5"]'), answer={"sent": True}),
    Row("x number", data(x="5"), stored=("Bad.kept", [[5.0], [2.0]]), answer={"sent": True}),
    Row("y number", data(y="7"), stored=("Bad.new", [[5.0], [7.0]]), answer={"sent": True}),
    Row("y null", data(y="null"), answer={"sent": True}),
    Row("y nulls", data(y="[null, 2]"), stored=("Bad.kept", [[5.0], [2.0]]), answer={"sent": True}),
    Row("y booleans", data(y="[1, true]"), stored=("Bad.kept", [[5.0], [1.0]]), answer={"sent": True}),
    Row(
        "y numeric text", data(y='[1, "2e3"]'), stored=("Bad.kept", [[5.0], [2000.0]]), answer={"sent": True}
    ),
    Row("y empty", data(y="[]"), answer={"sent": True}),
    Row("y NaN", data(y="[1, NaN]"), stored=("Bad.kept", [[5.0], [None]]), answer={"sent": True}),
    Row("y Infinity", data(y="[1, -Infinity]"), stored=("Bad.kept", [[5.0], [None]]), answer={"sent": True}),
    Row("y 2**64", data(y=f"[1, {2**64}]"), stored=("Bad.kept", [[5.0], [2.0**64]]), answer={"sent": True}),
    Row("x NaN", data(x="[5, NaN]"), stored=("Bad.kept", [[None], [2.0]]), answer={"sent": True}),
    Row(
        "plot NaN", data(plot="true", sname='"P"', y="[1, NaN]"), stored=("Bad.P", [[5.0, 5.0], [1.0, None]])
    ),
    Row("dname number", data(dname="5"), stored=("noDevice.kept", [[5.0], [2.0]]), answer={"sent": True}),
    Row("unit number", data(unit="5"), stored=("Bad.kept", [[5.0], [2.0]]), answer={"sent": True}),
    Row(
        "unit object inside", data(unit="[{}, 5]"), stored=("Bad.kept", [[5.0], [2.0]]), answer={"sent": True}
    ),
    Row("same name twice", data(sname='["kept", "kept"]'), stored=("Bad.kept", [[5.0, 5.0], [1.0, 2.0]])),
    Row("y twice", data(y='[3, 4], "y": [1, 2]'), stored=("Bad.kept", [[5.0], [2.0]]), answer={"sent": True}),
    bad_value("long sname", data(sname=f'["new", "{"n" * LONG}"]'), "y"),
    bad_value("long dname", data(dname=f'"{"n" * LONG}"'), "y"),
    bad_value("long unit", data(unit=f'["V", "{"n" * LONG}"]'), "y"),
    bad_value("long name of an event", f'{{"event": {{"text": "t", "sname": "{"n" * LONG}"}}}}', "event"),
    bad_value("long id of an event", f'{{"event": {{"text": "t", "id": "{"n" * LONG}"}}}}', "event"),
    Row("long text", f'{{"y": "{"t" * LONG}"}}', answer={"sent": True}),
    Row("long number", data(y=f'[1, "{"9" * LONG}"]'), stored=("Bad.kept", [[5.0], [None]])),
    Row(
        "msgpack",
        msgpack({"y": [1], "sname": ["kept"], "dname": "Bad", "x": [5]}),
        stored=("Bad.kept", [[5.0], [1.0]]),
        answer={"sent": True},
        binary=True,
    ),
    Row("binary JSON", data(), stored=("Bad.kept", [[5.0], [2.0]]), answer={"sent": True}, binary=True),
    Row("msgpack bytes", msgpack({"y": [b"1"]}), "y", "bad-value", binary=True),
    Row("msgpack time", b"\x81\xa1y\x91\xd6\xff\x00\x00\x00\x01", "y", "bad-value", binary=True),
)

KEYS = (
    Row("msgpack list as key", b"\x81\x91\x01\x02", binary=True),
    Row("unknown keys", '{"foo": 1, "bar": {"y": 2}}'),
    Row("long unknown key", f'{{"foo": "{"u" * LONG}"}}'),
    Row("unknown and NaN", '{"foo": NaN}'),
    Row(
        "duplicate keys",
        '{"getSignalList": 1, "getSignalList": 2}',
        answer={"signalList": [["Safe", "kept"]]},
    ),
    Row("getLatest text", '{"getLatest": "Safe.kept"}', answer={"latest": {}}),
    Row("getLatest unknown", '{"getLatest": ["No.thing", 5, null, [], {}]}', answer={"latest": {}}),
    Row("getSignal number", '{"getSignal": 5}', answer={"signals": {}}),
    Row("getSignal text", '{"getSignal": "Safe.kept"}', answer={"signals": {}}),
    Row("getSignal unknown", '{"getSignal": ["No.thing", "nodot", "", "."]}', answer={"signals": {}}),
    Row("getSignal wrong elements", '{"getSignal": [5, null, [1], true]}', answer={"signals": {}}),
    Row("getSignal no names", '{"getSignal": {"dname": "Safe"}}', answer={"signals": False}),
    Row("getSignal wrong names", '{"getSignal": {"dname": 5, "sname": []}}', answer={"signals": {}}),
    Row(
        "getSignal bounds",
        '{"getSignal": {"dname": "Safe", "sname": "kept", "xmin": -Infinity, "xmax": 1e400}}',
        answer={"signals": {"Safe.kept": [[1.0], [1.5], "V", 1, 1.0, 1.0]}},
    ),
    Row("getSignal database text", '{"getSignal": {"dname": "Safe", "sname": "kept", "database": "x"}}'),
    Row("getSignal maxN Infinity", '{"getSignal": {"dname": "Safe", "sname": "kept", "maxN": Infinity}}'),
    Row("getSignal maxN 2**64", f'{{"getSignal": {{"dname": "Safe", "sname": "kept", "maxN": {2**64}}}}}'),
    *(
        bad_value(
            f"getSignal {key} {value[:9]}",
            f'{{"getSignal": {{"dname": "Safe", "sname": "kept", "{key}": {value}}}}}',
            "getSignal",
        )
        for key, value in (
            ("xmin", '"a"'),
            ("xmax", "[]"),
            ("maxN", "0"),
            ("maxN", "-1"),
            ("maxN", "{}"),
            ("maxN", "true"),
            ("maxN", "NaN"),
            ("maxN", "-Infinity"),
            ("maxN", "1e400"),
            ("xmin", HUGE),
        )
    ),
    bad_value("getEvent text", '{"getEvent": "Safe.kept"}', "getEvent"),
    bad_value("getEvent lone surrogate", f'{{"getEvent": ["{SURROGATE}"], "a": NaN}}', "getEvent"),
    bad_value("getEvent number", '{"getEvent": 5}', "getEvent"),
    Row(
        "getEvent wrong elements",
        '{"getEvent": [5, {}, null, "No.thing"]}',
        answer={"events": {"No.thing": []}},
    ),
    Row("getEventList text", '{"getEventList": "all"}'),
    Row("getEventList 2**64", f'{{"getEventList": {2**64}}}'),
    bad_value("getEventList negative", '{"getEventList": -1}', "getEventList"),
    bad_value("getSession id", '{"eventLevel": 3, "getSession": 1}', "eventLevel"),
    bad_value("eventLevel text", '{"eventLevel": "high"}', "eventLevel"),
    bad_value("event number", '{"event": 5}', "event"),
    bad_value("event null", '{"event": null}', "event"),
    bad_value("event too long", '{"event": ["t", "s", "d", 1, 0, "i", 1, 2]}', "event"),
    bad_value("event text number", '{"event": {"text": 5}}', "event"),
    bad_value("event id number", '{"event": {"text": "t", "id": 5}}', "event"),
    bad_value("event x words", '{"event": {"text": "t", "x": "noon"}}', "event"),
    bad_value("event x huge", f'{{"event": {{"text": "t", "x": {HUGE}}}}}', "event"),
    bad_value("event x list", '{"event": {"text": "t", "x": [1]}}', "event"),
    bad_value("event value huge", f'{{"event": {{"text": "t", "value": {HUGE}}}}}', "event"),
    bad_value("event lone surrogate", f'{{"event": {{"text": "{SURROGATE}", "x": NaN}}}}', "event"),
    bad_value("event value lone surrogate", f'{{"event": {{"value": "{SURROGATE}", "x": NaN}}}}', "event"),
    Row("event wrong names", '{"event": {"text": "t", "dname": 5, "sname": [], "priority": "high"}}'),
    Row("event x NaN", '{"event": {"text": "t", "x": NaN}}'),
    bad_value("subscribe text", '{"subscribe": "Safe.kept"}', "subscribe"),
    bad_value("subscribe one", '{"subscribe": ["signal"]}', "subscribe"),
    bad_value("subscribe three", '{"subscribe": ["signal", "a", "b"]}', "subscribe"),
    bad_value("unsubscribe object", '{"unsubscribe": {"signal": "a.b"}}', "unsubscribe"),
    Row("subscribe wrong element", '{"subscribe": [{}, "a.b"]}'),
    Row("subscribe wrong names", '{"subscribe": ["signal", [5, {}, null, []]]}'),
    Row("subscribeAll object", '{"subscribeAll": {"a": 1}}'),
    Row("unsubscribeAll list", '{"unsubscribeAll": [1]}'),
    bad_value("remove text", '{"remove": "Safe.kept"}', "remove"),
    bad_value("remove number", '{"remove": 1}', "remove"),
    bad_value("remove three", '{"remove": [[], [], []]}', "remove"),
    bad_value("remove words as numbers", '{"remove": [["a"], []]}', "remove"),
    bad_value("remove no second list", '{"remove": [[], 5]}', "remove"),
    bad_value("remove half", '{"remove": ["signal"]}', "remove"),
    bad_value("remove events by word", '{"remove": ["event", ["a"]]}', "remove"),
    Row("remove unknown", '{"remove": ["signal", ["No.thing", 5, {}]]}', answer={"remove": [0, 0]}),
    Row("remove unknown device", '{"remove": ["device", [5, {}, "No"]]}', answer={"remove": [0, 0]}),
    Row("remove 2**64", f'{{"remove": [[{2**64}], [{2**64}, -1]]}}', answer={"remove": [0, 0]}),
    Row("remove event 2**64", f'{{"remove": ["event", {2**64}]}}', answer={"remove": [0, 0]}),
    bad_value("remove huge", f'{{"remove": [[1.5], [{HUGE}]]}}', "remove"),
    bad_value("resize 0", '{"logger": {"resize": 0}}', "logger"),
    bad_value("resize huge", f'{{"logger": {{"resize": {HUGE}}}}}', "logger"),
    bad_value("resize 2**64", f'{{"logger": {{"resize": {2**64}}}}}', "logger"),
    bad_value("export nothing", '{"logger": {"export": []}}', "logger"),
    bad_value("export number", '{"logger": {"export": [5]}}', "logger"),
    bad_value("export elsewhere", '{"logger": {"export": ["../../x", "json"]}}', "logger"),
    bad_value("export absolute", '{"logger": {"export": ["/x", "json"]}}', "logger"),
    bad_value("export nul", '{"logger": {"export": ["a\\u0000b"]}}', "logger"),
    bad_value("export long", f'{{"logger": {{"export": ["{"e" * 300}"]}}}}', "logger"),
    bad_value("export very long", f'{{"logger": {{"export": ["{"e" * LONG}"]}}}}', "logger"),
    bad_value("export lone surrogate", f'{{"logger": {{"export": ["{SURROGATE}"], "a": NaN}}}}', "logger"),
    bad_value("export kind", '{"logger": {"export": ["x", "exe"]}}', "logger"),
    bad_value("logger echo huge", f'{{"logger": {{"foo": {HUGE}}}}}', "logger"),
    bad_value("logger huge", f'{{"logger": {HUGE}}}', "logger"),
    bad_value("logger lone surrogate", f'{{"logger": {{"foo": "{SURROGATE}", "a": NaN}}}}', "logger"),
    bad_value("logger settings huge", f'{{"logger": {{"backup": {{"intervall": {HUGE}}}}}}}', "logger"),
    Row(
        "logger wrong types",
        '{"logger": {"backup": 5, "tcp": [], "global": null, "clear": {}, "resize": "x"}}',
    ),
    Row("logger clear unknown", '{"logger": {"clear": ["No.thing", 5, null, {}]}}'),
    Row("logger reboot", '{"logger": {"reboot": true}}', "logger", "not-available"),
    Row("plugins", '{"getPluginList": {}}', answer={"pluginList": {}}),
    bad_value("plugin start 1", '{"plugin": {"P": {"start": 1}}}', "plugin"),
    bad_value("plugin call 5", '{"plugin": {"P": {"f()": 5}}}', "plugin"),
    Row("plugin unknown", '{"plugin": {"P": {"autostart": true}}}', "plugin", "unknown-plugin"),
    Row("plugin list", '{"plugin": [1, {}]}', answer={"plugin": [1, {}]}),
    Row("id lone surrogate", f'{{"id": "{SURROGATE}", "getSignalList": 1}}', None, "bad-value"),
    Row("id of any kind", '{"id": [1, {"a": NaN}], "getSignalList": 1}', answer={"id": [1, {"a": None}]}),
)


@contextmanager
def opened(provider: str) -> Iterator[Client]:
    with TemporaryDirectory() as name:
        clock, directory = Clock(), Path(name)
        storage = PROVIDERS[provider](directory, clock)
        rooms = house(clock=clock, storage=storage, directory=directory)
        client = rooms.connect()
        client.ask(y=[1.5], sname=["kept"], dname="Safe", unit=["V"], x=[1.0])
        try:
            yield client
        finally:
            client.leave()
            storage.close()
            clock.advance(0)


def recorded(client: Client) -> Any:
    return client.ask(getSession=True)["session"]


class Rows:
    """The rows of the table on one provider of storage."""

    provider: str

    def check(self: Any, row: Row) -> None:
        with opened(self.provider) as client:
            before = recorded(client)
            answer = client.send(row.frame, row.binary)[-1]
            errors = [(error["key"], error["code"]) for error in answer.get("errors", [])]
            if row.code is not None:
                self.assertEqual((answer["error"], errors), (True, [(row.key, row.code)]))
                self.assertEqual(answer.get("sent", False), False)
                self.assertEqual(recorded(client), before)
            else:
                self.assertEqual((answer["error"], errors), (False, []))
                self.assertEqual({key: answer.get(key) for key in row.answer}, row.answer)
            after = recorded(client)
            self.assertEqual(after["signals"]["1"], before["signals"]["1"])
            if row.stored is not None:
                key, columns = row.stored
                self.assertEqual(client.ask(getSignal=[key])["signals"][key][:2], columns)
            self.assertEqual(client.ask(getSignalList=True)["signalList"][0], ["Safe", "kept"])
            self.assertEqual(client.socket.closed, None)


class OnMemory(Rows, SynchronousTestCase):
    provider = "memory"


class OnSqlite(Rows, SynchronousTestCase):
    provider = "sqlite"


def _test_of(row: Row) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        self.check(row)

    test.__doc__ = f"{row.name}: {row.frame[:60]!r}"
    return test


def _give_tests(*classes: type) -> None:
    for row in (*NOT_JSON, *DATA, *KEYS):
        name = "test_" + "".join(letter if letter.isalnum() else "_" for letter in row.name)
        for owner in classes:
            assert not hasattr(owner, name), f"two rows are named {row.name}"
            setattr(owner, name, _test_of(row))


_give_tests(OnMemory, OnSqlite)


class OnTheSocket(SynchronousTestCase):
    """What only bytes can say."""

    def setUp(self) -> None:
        self.client = Port(house(), max_message=1 << 20).connect()
        self.client.ask(y=[1.5], sname=["kept"], dname="Safe", x=[1.0])

    def assert_goes_on(self) -> None:
        self.assertEqual(self.client.ask(getSignalList=True)["signalList"], [["Safe", "kept"]])

    def test_wrong_utf8_in_text(self) -> None:
        """RFC 6455 section 8.1: the connection fails; what was recorded stays."""
        self.assertEqual(close_code(self.client.send(b'{"y": 1, "sname": "\xc3\x28"}')), 1007)

    def test_wrong_utf8_in_binary(self) -> None:
        ((_, answer),) = frames(self.client.send(b'{"y": 1, "sname": "\xc3\x28"}', BINARY))
        self.assertEqual(answer["errors"][0]["code"], "bad-json")
        self.assert_goes_on()

    def test_empty_frames(self) -> None:
        for opcode in (1, BINARY):
            ((_, answer),) = frames(self.client.send(b"", opcode))
            self.assertEqual(answer["errors"][0]["code"], "bad-json")
        self.assert_goes_on()

    def test_message_beyond_the_limit(self) -> None:
        self.assertEqual(close_code(self.client.send(b" " * ((1 << 20) + 1))), 1009)

    def test_msgpack_is_answered_in_msgpack(self) -> None:
        ((opcode, payload),) = frames(self.client.send(msgpack({"getSignalList": 1}), BINARY))
        answer = msgspec.msgpack.decode(payload)
        self.assertEqual((opcode, answer), (BINARY, {"error": False, "signalList": [["Safe", "kept"]]}))

    def test_many_bad_ones_in_one_segment(self) -> None:
        """Answers in the order of the requests, each its own."""
        requests = ["nonsense", '{"getSignal": {"dname": "a", "sname": "b", "xmin": []}}', '{"foo": 1}', "[]"]
        stream = b"".join(self.client.send(request.encode()) for request in requests)
        errors = [answer["error"] for _, answer in frames(stream)]
        self.assertEqual(errors, [True, True, False, True])
        self.assert_goes_on()
