"""The formats of export and import: round trips to the last bit, and what is wrong in a file."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client.formats import json_stream, records, streams
from rtoc_twisted.client.formats.choice import CONFIG, format_of, format_to_write
from rtoc_twisted.client.formats.json_stream import JsonStream
from rtoc_twisted.client.formats.records import EMPTY, PAGE, Page, Wrong
from rtoc_twisted.errors import BadValue, NotAvailable, StorageFailed
from rtoc_twisted.model import Event, SignalName

from .files_support import AWKWARD, comparable, events, pages, read, write
from .storage_support import unhurried

ONE = SignalName("Oven, left", 'T "in"\nside')


class FormatCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def assert_same(self, found: Iterable[records.Record], expected: Iterable[records.Record]) -> None:
        self.assertEqual(comparable(found), comparable(expected))


class RoundTripTests(FormatCase):
    def there_and_back(self, chosen: str, suffix: str, signals: list[Page], raised: list[Event]) -> None:
        path, other = self.directory / f"data{suffix}", self.directory / f"events{suffix}"
        if chosen == "jsonl":
            write(path, chosen, [*signals, *raised])
            self.assert_same(read(path), [*signals, *raised])
        else:
            write(path, chosen, signals)
            write(other, chosen, raised, events=True)
            self.assert_same([*read(path), *read(other)], [*signals, *raised])

    @unhurried
    @given(pages(), st.lists(events, max_size=4))
    def test_csv(self, signals: list[Page], raised: list[Event]) -> None:
        self.there_and_back("csv", ".csv", signals, raised)

    @unhurried
    @given(pages(), st.lists(events, max_size=4))
    def test_json_lines(self, signals: list[Page], raised: list[Event]) -> None:
        self.there_and_back("jsonl", ".jsonl", signals, raised)

    @unhurried
    @given(pages(), st.lists(events, max_size=4))
    def test_parquet(self, signals: list[Page], raised: list[Event]) -> None:
        self.there_and_back("parquet", ".parquet", signals, raised)

    def test_compressed(self) -> None:
        page = Page(ONE, "°C", np.array(AWKWARD), np.array(AWKWARD[::-1]))
        for chosen in ("csv", "jsonl"):
            path = self.directory / f"data.{chosen}.gz"
            write(path, chosen, [page])
            first = path.read_bytes()
            self.assertTrue(first.startswith(b"\x1f\x8b"))
            self.assert_same(read(path), [page])
            write(path, chosen, [page])
            self.assertEqual(path.read_bytes(), first)

    def test_long_signals_come_in_pages(self) -> None:
        x = np.arange(2.5 * PAGE)
        long = Page(ONE, "V", x, np.sqrt(x))
        short = Page(SignalName("D", "short"), "", np.array([1.0]), np.array([2.0]))
        for chosen in ("csv", "jsonl", "parquet"):
            path = self.directory / f"data.{chosen}"
            write(path, chosen, [short, long])
            found = read(path)
            self.assert_same(found, [short, long])
            self.assertEqual(max(len(it.x) for it in found if isinstance(it, Page)), PAGE)

    def test_the_numbers_of_a_csv(self) -> None:
        write(
            self.directory / "a.csv",
            "csv",
            [Page(SignalName("D", "s"), "V", np.array([0.1]), np.array([-0.0]))],
        )
        self.assertEqual(
            (self.directory / "a.csv").read_bytes(), b"device,signal,unit,x,y\r\nD,s,V,0.1,-0.0\r\n"
        )


class CsvTests(FormatCase):
    def test_signals_in_any_order(self) -> None:
        self.patch(records, "PAGE", 3)
        self.patch(records, "_HELD", 5)
        rows = [(f"s{n * n % 7 % 3}", n, n / 7) for n in range(40)]
        path = self.file(
            "a.csv", "device,signal,unit,x,y\n" + "".join(f"D,{s},V,{x},{y}\n" for s, x, y in rows)
        )
        expected = [
            Page(SignalName("D", name), "V", *np.array([row[1:] for row in rows if row[0] == name]).T)
            for name in dict.fromkeys(row[0] for row in rows)
        ]
        found = read(path)
        self.assert_same(found, expected)
        self.assertLessEqual(max(len(it.x) for it in found if isinstance(it, Page)), 3)

    def test_the_newest_unit_wins(self) -> None:
        path = self.file("a.csv", "device,signal,unit,x,y\nD,s,V,1,1\nD,s,A,2,2\n")
        self.assert_same(
            read(path), [Page(SignalName("D", "s"), "A", np.array([1.0, 2.0]), np.array([1.0, 2.0]))]
        )

    def test_wrong_lines(self) -> None:
        lines = {
            3: "D,s,V,1",
            4: "D,s,V,one,1",
            5: "D,s,V,,1",
            6: 'D,"s"x,V,1,1',
            7: f"{'D' * 1001},s,V,1,1",
            9: "D,\udcff,V,1,1",
        }
        text = ["device,signal,unit,x,y", "D,s,V,0,0", *lines.values()]
        text.insert(7, "")
        path = self.file("a.csv", "\n".join([*text, "D,s,V,10,10\n"]).encode(errors="surrogateescape"))
        found = read(path)
        wrong = [it.place for it in found if isinstance(it, Wrong)]
        self.assertEqual(wrong, [f"line {number}" for number in lines])
        ten = np.array([0.0, 10.0])
        kept = [it for it in found if not isinstance(it, Wrong)]
        self.assert_same(kept, [Page(SignalName("D", "s"), "V", ten, ten)])

    def test_a_quote_without_an_end(self) -> None:
        path = self.file("a.csv", 'device,signal,unit,x,y\nD,"s,V,1,1\nD,s,V,2,2\n')
        self.assertEqual([str(it) for it in read(path)], ["line 2: not CSV: unexpected end of data"])

    def test_other_columns(self) -> None:
        self.assertRaises(BadValue, read, self.file("a.csv", "time,value\n1,2\n"))
        self.assertEqual(read(self.file("a.csv", "\n\n")), [])

    def test_wrong_events(self) -> None:
        path = self.directory / "a.csv"
        write(path, "csv", [Event(ONE, "hot", 1.0)], events=True)
        with path.open("a", newline="") as file:
            file.write("D,s,1,3,i,t,null\nD,s,1,x,i,t,null\nD,s,1,1,i,t,{\nD,s,now,1,i,t,1\nD,s\n")
        self.assertEqual(
            comparable(read(path))[2],
            [
                "line 4: priority: expected 0, 1 or 2",
                "line 5: invalid literal for int() with base 10: 'x'",
                "line 6: unexpected end of data: line 1 column 2 (char 1)",
                "line 7: x: expected a number",
                "line 8: expected 7 fields (device,signal,x,priority,id,text,value), found 2",
            ],
        )


class JsonLinesTests(FormatCase):
    def test_wrong_lines(self) -> None:
        lines = {
            '{"dname": "D", "sname": "s", "x": [1], "y": [1, 2]}': "x has 1 values and y has 2",
            '{"dname": "D", "sname": "s", "x": [1], "y": [null]}': "y[0]: expected a number, found 'None'",
            '{"dname": "D", "sname": "s", "x": ["nan"], "y": [1]}': "x[0]: expected a number, found 'nan'",
            '{"dname": "D", "sname": "s", "x": [true], "y": [1]}': "x[0]: expected a number, found 'True'",
            '{"dname": "D", "sname": "s", "y": [1]}': "x: expected a list of numbers",
            '{"dname": "D", "x": [1], "y": [1]}': "sname: expected a text",
            '{"dname": "D", "sname": "s", "unit": 5, "x": [], "y": []}': "unit: expected a text",
            '{"event": {"text": 5}}': "text: expected a text",
            '{"event": {"text": "a"}}': "x: expected a number",
            '{"event": {"x": 1, "id": "' + "i" * 1001 + '"}}': "id: 1001 characters are too many",
            '{"dname": "D", "sname": "s", "x": [1' + "0" * 400 + '], "y": [1]}': "no JSON: ",
            "[1]": "expected an object",
            '{"dname": "D",': "no JSON: ",
        }
        good = '{"dname": "D", "sname": "s", "x": [1], "y": ["-Infinity"]}'
        found = read(self.file("a.jsonl", "\n".join([good, *lines, "", good])))
        _, _, wrong = comparable(found)
        self.assertEqual(len(wrong), len(lines))
        for number, (told, reason) in enumerate(zip(wrong, lines.values(), strict=True), 2):
            self.assertTrue(told.startswith(f"line {number}: {reason}"), told)
        both = Page(SignalName("D", "s"), "", np.ones(2), np.full(2, -np.inf))
        self.assert_same([it for it in found if not isinstance(it, Wrong)], [both])

    def test_a_line_beyond_all_bounds(self) -> None:
        self.patch(streams, "LONGEST_LINE", 100)
        good = '{"dname": "D", "sname": "s", "x": [1], "y": [2]}'
        path = self.file("a.jsonl", "\n".join([good, '{"dname": "' + "D" * 1000, good]))
        self.assertEqual([type(it) for it in read(path)], [Page, Wrong, Page])


class ParquetTests(FormatCase):
    def table(self, **columns: object) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.directory / "a.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    def test_tables_of_others(self) -> None:
        import pyarrow as pa

        path = self.table(
            more=[1, 2, 3, 4],
            y=pa.array([1, 2, 3, 4]),
            x=pa.array([4.5, 3.5, 2.5, 1.5], pa.float32()),
            unit=[None, "V", None, "A"],
            signal=["b", "a", "b", "a"],
            device=["D"] * 4,
        )
        self.assert_same(
            read(path),
            [
                Page(SignalName("D", "b"), "", np.array([4.5, 2.5]), np.array([1.0, 3.0])),
                Page(SignalName("D", "a"), "A", np.array([3.5, 1.5]), np.array([2.0, 4.0])),
            ],
        )

    def test_wrong_rows(self) -> None:
        names = ["s", "s", "s" * 1001]
        path = self.table(
            device=["D"] * 3, signal=names, unit=[""] * 3, x=[1.0, None, 1.0], y=[1.0, 1.0, 1.0]
        )
        signals, _, wrong = comparable(read(path))
        self.assertEqual(len(signals[SignalName("D", "s")][1]), 1)
        self.assertEqual([told.partition(":")[0] for told in wrong], ["row 2", "row 3"])

    def test_other_columns(self) -> None:
        self.assertRaises(BadValue, read, self.table(a=[1]))
        self.assertRaises(BadValue, read, self.table(device=["D"], signal=["s"], unit=[""], x=["a"], y=[1.0]))
        self.assertRaises(BadValue, read, self.file("a.parquet", b"PAR1" + b"x" * 50))

    def test_a_row_group_a_page(self) -> None:
        import pyarrow.parquet as pq

        path = self.directory / "a.parquet"
        two = [Page(SignalName("D", name), "", np.ones(3), np.ones(3)) for name in "ab"]
        write(path, "parquet", two)
        self.assertEqual(pq.ParquetFile(path).num_row_groups, 2)

    def test_without_pyarrow(self) -> None:
        with mock.patch.dict(sys.modules, {"pyarrow": None, "pyarrow.parquet": None}):
            with self.assertRaises(NotAvailable) as caught:
                format_to_write("a.parquet", None, False)
            self.assertIn("pip install 'rtoc_twisted[parquet]'", caught.exception.message)
            self.assertRaises(NotAvailable, read, self.file("a.parquet", b"PAR1"))


class SessionTests(FormatCase):
    session = {
        "maxLength": 5,
        "signals": {
            "1": [1, "A", [1000.0, 1001.5, 3], [0.1, None, float("inf")], "V"],
            "4": [2, "", [], [], None],
        },
        "events": {
            "7": [1, 1, 7, "hot", 5.5, {"a": [None]}, 2, "id"],
            "8": [3, 3, 8, "disk", None, None, 1, ""],
        },
        "devices": {"1": "Dev", "2": "Dev.2", "3": "RTOC"},
    }
    expected = (
        Page(SignalName("Dev", "A"), "V", np.array([1000.0, 1001.5, 3]), np.array([0.1, np.nan, np.inf])),
        Page(SignalName("Dev.2", ""), "", EMPTY, EMPTY),
        Event(SignalName("Dev", "A"), "hot", 5.5, 2, "id", {"a": [None]}),
        Event(SignalName("RTOC", ""), "disk", float("nan"), 1, ""),
    )

    def test_all_their_forms(self) -> None:
        turned = {key: self.session[key] for key in ("devices", "events", "signals", "maxLength")}
        forms: dict[str, object] = {
            "rtoc.json": self.session,
            "backup.json": {key: self.session[key] for key in ("signals", "maxLength", "events", "devices")},
            "turned.json": turned,
            "answer.json": {"error": False, "session": self.session, "getSession": self.session, "id": 5},
            "second.json": {"id": None, "error": False, "getSession": self.session},
        }
        for size in (1, 7, 1 << 20):
            self.patch(json_stream, "_CHUNK", size)
            for name, form in forms.items():
                for indent in (None, 4):
                    self.assert_same(read(self.file(name, json.dumps(form, indent=indent))), self.expected)
        self.assert_same(
            read(self.file("a.json.gz", gzip.compress(json.dumps(turned).encode()))), self.expected
        )

    def changed(self, **topics: object) -> list[str]:
        return comparable(read(self.file("a.json", json.dumps({**self.session, **topics}))))[2]

    def test_wrong_entries(self) -> None:
        signals = {
            "0": [1, "Z", [], [], ""],
            "1": [1, "A", [1], [1, 2], "V"],
            "2": [9, "A", [], [], "V"],
            "3": [1, 5, [], [], "V"],
            "4": [2, "B", [1], [1], ""],
        }
        self.assertEqual(
            self.changed(
                signals=signals,
                events={
                    "1": [1, 1],
                    "2": [1, 5, 1, "t", 5, None, 0, ""],
                    "3": 5,
                    "4": [1, 0, 1, "t", 5, 10**30, 0, ""],
                },
            ),
            [
                "signal 1: x has 1 values and y has 2",
                "signal 2: there is no device 9",
                "signal 3: name and unit must be texts",
                "event 1: expected a list of 8 elements",
                "event 2: there is no signal 5",
                "event 3: expected a list of 8 elements",
                "event 4: value: Integer exceeds 64-bit range",
            ],
        )

    def test_no_sessions(self) -> None:
        whole = json.dumps(self.session)
        broken = (
            whole[:-5],
            whole[:60],
            whole.replace("[1000.0", '["a"'),
            whole.replace("[1000.0", "[[]"),
            whole.replace('"V"]', '"V", 5]'),
            whole.replace("maxLength", 'x\\"', 0).replace(', "signals"', ' "signals"'),
            '{"maxLength": 5}',
            '{"signals": []}',
        )
        for text in broken:
            with self.assertRaises(BadValue) as caught:
                read(self.file("a.json", text))
            self.assertTrue(caught.exception.message)

    def test_a_long_signal_comes_in_pages(self) -> None:
        self.patch(json_stream, "_CHUNK", 1000)
        x = np.arange(2.5 * PAGE)
        session = {"signals": {"1": [1, "A", x.tolist(), (x / 7).tolist(), "V"]}, "devices": {"1": "D"}}
        found = read(self.file("a.json", json.dumps(session)))
        self.assert_same(found, [Page(SignalName("D", "A"), "V", x, x / 7)])
        self.assertLessEqual(max(len(it.x) for it in found if isinstance(it, Page)), PAGE)

    def test_values_have_a_limit(self) -> None:
        self.patch(json_stream, "_LONGEST", 100)
        self.patch(json_stream, "_CHUNK", 10)
        with (self.file("a.json", '"' + "a" * 1000 + '"')).open() as text:
            self.assertRaises(BadValue, JsonStream(text).value)
            self.assertLess(text.tell(), 500)


class ChoiceTests(FormatCase):
    def test_by_content(self) -> None:
        for content, chosen in {
            "device,signal,unit,x,y\n": "csv",
            '\ufeff{"event": {}}': "jsonl",
            ' {"dname": "D"': "jsonl",
            '{"maxLength": ': "session",
            '{"error": false': "session",
            '{"global": {}': CONFIG,
            "PAR1": "parquet",
            " ": "jsonl",
            "{}": CONFIG,
        }.items():
            self.assertEqual(format_of(self.file("any", content)), chosen, content)
            self.assertEqual(format_of(self.file("any", gzip.compress(content.encode()))), chosen)

    def test_to_write(self) -> None:
        for name, wanted, chosen in (
            ("a.csv", None, "csv"),
            ("a.b.jsonl.gz", None, "jsonl"),
            ("a.parquet", None, "parquet"),
            ("-", None, "csv"),
            ("-", "jsonl", "jsonl"),
            ("a.txt", "csv", "csv"),
        ):
            self.assertEqual(format_to_write(name, wanted, False), chosen)
        for name, wanted in (
            ("a", None),
            ("a.json", None),
            (".csv", None),
            ("-", "parquet"),
            ("a.parquet.gz", None),
        ):
            self.assertRaises(BadValue, format_to_write, name, wanted, False)


class PublishedTests(FormatCase):
    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def test_whole_or_not_at_all(self) -> None:
        path = self.directory / "a"
        with self.assertRaises(ZeroDivisionError), streams.published(path, force=False) as file:
            file.write(b"half")
            self.assertFalse(path.exists())
            raise ZeroDivisionError
        self.assertEqual(self.names(), [])
        with streams.published(path, force=False) as file:
            file.write(b"all")
        self.assertEqual((self.names(), path.read_bytes()), (["a"], b"all"))

    def test_nothing_is_overwritten_without_force(self) -> None:
        path = self.directory / "a"
        with self.assertRaises(BadValue), streams.published(path, force=False) as file:
            file.write(b"new")
            path.write_bytes(b"of somebody else")
        self.assertEqual((self.names(), path.read_bytes()), (["a"], b"of somebody else"))
        self.assertRaises(BadValue, streams.published(path, force=False).__enter__)
        with streams.published(path, force=True) as file:
            file.write(b"new")
        self.assertEqual((self.names(), path.read_bytes()), (["a"], b"new"))

    def test_a_disk_that_refuses(self) -> None:
        self.assertRaises(
            StorageFailed, streams.published(self.directory / "no" / "a", force=False).__enter__
        )
        with self.assertRaises(StorageFailed), streams.published(self.directory / "a", force=False):
            raise OSError(28, "No space left on device")
        self.assertEqual(self.names(), [])
