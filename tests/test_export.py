"""Exports: whole or not at all, and only where they belong."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from openpyxl import load_workbook
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.errors import BadValue, StorageFailed
from rtoc_twisted.logger import export
from rtoc_twisted.logger.export import Exporter, below
from rtoc_twisted.storage import chunks

from .doubles import Client, house, sqlite_storage

NAN = float("nan")


class Base(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        self.rooms = house(directory=self.directory, record_length=2)
        self.client: Client = self.rooms.connect()
        self.client.ask(y=[1.5, -2], x=[10, 11], sname=["A", 'ünï, "x"\n'], dname="D", unit=["V", "°C"])
        self.client.send(b'{"y":[NaN,3,4],"x":[12,13,14],"sname":["A","A","A"],"dname":"D","unit":"V"}')
        self.client.ask(event={"text": "hello", "sname": "A", "dname": "D", "x": 5, "value": {"a": [1]}})
        self.client.ask(event={"text": "=1+1", "sname": "only events", "x": 6})

    def left(self) -> list[str]:
        """Return the names of all files."""
        return sorted(
            str(path.relative_to(self.directory)) for path in self.directory.rglob("*") if path.is_file()
        )


class FormatTests(Base):
    def test_json_is_the_session(self) -> None:
        self.assertIs(self.client.ask(logger={"export": ["all"]})["logger"]["export"], True)
        read = json.loads((self.directory / "export" / "all.json").read_bytes())
        session = self.client.ask(getSession=True)["session"]
        first = session["signals"]["1"]
        self.assertEqual((first[0], first[2], first[3]), (1, [13, 14], [3, 4]))
        self.assertEqual(read["signals"]["1"], [1, "A", [10, 12, 13, 14], [1.5, None, 3, 4], "V"])
        session["signals"]["1"] = read["signals"]["1"]
        self.assertEqual(read, session)

    def test_csv(self) -> None:
        self.client.ask(logger={"export": ["all", "csv"]})
        with (self.directory / "export" / "all.csv").open(newline="", encoding="utf-8") as file:
            head, *rows = list(csv.reader(file))
        self.assertEqual(head, ["device", "signal", "unit", "x", "y"])
        self.assertEqual(rows[0], ["D", "A", "V", "10.0", "1.5"])
        self.assertEqual(rows[1][3:], ["12.0", "nan"])
        self.assertEqual(rows[4], ["D", 'ünï, "x"\n', "°C", "11.0", "-2.0"])
        self.assertEqual(len(rows), 5)

    def test_xlsx(self) -> None:
        self.client.ask(y=1, x=1, sname="=1+1", dname="{=2}", unit="http://x")
        self.client.ask(logger={"export": ["all.xlsx", "xlsx"]})
        book = load_workbook(self.directory / "export" / "all.xlsx")
        samples, events = book.worksheets
        rows = [[cell.value for cell in row] for row in samples.iter_rows()]
        self.assertEqual(rows[:2], [["device", "signal", "unit", "x", "y"], ["D", "A", "V", 10, 1.5]])
        self.assertEqual(rows[-1], ["{=2}", "=1+1", "http://x", 1, 1])
        self.assertEqual({cell.data_type for cell in list(samples.iter_rows())[-1][:3]}, {"s"})
        self.assertEqual(len(rows), 7)
        listed = [[cell.value for cell in row] for row in events.iter_rows(min_row=2)]
        self.assertEqual(
            [row[:5] for row in listed], [[1, "D", "A", 5, 0], [2, "noDevice", "only events", 6, 0]]
        )
        self.assertEqual([row[6:] for row in listed], [["hello", '{"a": [1]}'], ["=1+1", "null"]])
        self.assertEqual(self.left(), ["export/all.xlsx"])

    def test_xlsx_continues_on_further_sheets(self) -> None:
        self.patch(export, "_SHEET_ROWS", 3)
        self.client.ask(logger={"export": ["all", "xlsx"]})
        book = load_workbook(self.directory / "export" / "all.xlsx")
        self.assertEqual([sheet.max_row for sheet in book.worksheets], [3, 3, 2, 3])

    def test_xlsx_without_its_library(self) -> None:
        with patch.dict(sys.modules, {"xlsxwriter": None}):
            answer = self.client.ask(logger={"export": ["all", "xlsx"]})
        self.assertEqual(answer["errors"][0]["code"], "not-available")
        self.assertEqual(self.left(), [])

    def test_nothing_recorded(self) -> None:
        self.client.ask(logger={"clear": "all"})
        for kind in ("json", "csv", "xlsx"):
            self.assertTrue(self.client.ask(logger={"export": ["empty", kind]})["logger"]["export"])
        read = json.loads((self.directory / "export" / "empty.json").read_bytes())
        self.assertEqual(read, {"signals": {}, "maxLength": 2, "events": {}, "devices": {}})

    def test_page_by_page(self) -> None:
        """However little is in memory at a time, the files are the same."""
        for kind in ("json", "csv", "xlsx"):
            self.client.ask(logger={"export": ["whole", kind]})
        self.patch(export, "_SAMPLES", 1)
        self.patch(export, "_EVENTS", 1)
        self.patch(export, "_SPOOLED", 1)
        for kind in ("json", "csv"):
            self.client.ask(logger={"export": ["paged", kind]})
            whole, paged = (self.directory / "export" / f"{name}.{kind}" for name in ("whole", "paged"))
            self.assertEqual(paged.read_bytes(), whole.read_bytes())
        self.client.ask(logger={"export": ["paged", "xlsx"]})
        cells = [
            [[cell.value for row in sheet.iter_rows() for cell in row] for sheet in load_workbook(path)]
            for path in (self.directory / "export" / "whole.xlsx", self.directory / "export" / "paged.xlsx")
        ]
        self.assertEqual(cells[0], cells[1])

    def test_a_signal_that_was_replaced_meanwhile(self) -> None:
        self.patch(export, "_SAMPLES", 2)
        read, other = self.rooms.storage.read, self.rooms.connect()

        def read_and_replace(requests: Any) -> Any:
            found = read(requests)
            other.ask(y=[1], sname="A", dname="D", plot=True)
            return found

        self.patch(self.rooms.storage, "read", read_and_replace)
        for kind in ("json", "csv", "xlsx"):
            (error,) = self.client.ask(logger={"export": ["all", kind]})["errors"]
            self.assertEqual((error["code"], error["retriable"]), ("busy", True))
            self.assertIn("D.A was replaced", error["message"])
            self.client.ask(y=[1, 2, 3], sname="A", dname="D", plot=True)
        self.assertEqual(self.left(), [])


class RetiredTests(Base):
    """A signal of which a part is gone: the answer and the files say so."""

    def setUp(self) -> None:
        self.patch(chunks, "CHUNK_SAMPLES", 640)
        self.directory = Path(self.mktemp()).resolve()
        self.directory.mkdir()
        clock = Clock()
        (self.directory / "store").mkdir()
        storage: Any = sqlite_storage(self.directory / "store", clock)
        self.addCleanup(storage.close)
        self.client = house(directory=self.directory, storage=storage, clock=clock).connect()
        self.client.ask(y=list(range(640)), sname="A", dname="D", unit="V", plot=True)
        self.client.ask(y=[5], x=[7], sname="B", dname="D")
        database = storage._database
        database.fold()
        with database.transaction():
            database.chunks.retire(1)

    def export(self, kind: str) -> tuple[Path, int]:
        """Return the file, and how many samples are left of the first signal."""
        told = self.client.ask(logger={"export": ["all", kind]})["logger"]["export"]
        left = told["decimated"]["D.A"]["points"]
        self.assertEqual(told, {"decimated": {"D.A": {"points": left, "of": 640}}})
        self.assertLess(left, 100)
        return self.directory / "export" / f"all.{kind}", left

    def test_json(self) -> None:
        file, left = self.export("json")
        read = json.loads(file.read_bytes())
        self.assertEqual(read["decimated"], {"1": {"points": left, "of": 640}})
        self.assertEqual([len(read["signals"][number][2]) for number in "12"], [left, 1])

    def test_csv(self) -> None:
        file, left = self.export("csv")
        self.assertEqual(len(file.read_text().splitlines()), 1 + left + 1)

    def test_xlsx(self) -> None:
        file, left = self.export("xlsx")
        samples, _, decimated = load_workbook(file).worksheets
        self.assertEqual(samples.max_row, 1 + left + 1)
        self.assertEqual(decimated.title, "decimated")
        rows = [[cell.value for cell in row] for row in decimated.iter_rows()]
        self.assertEqual(rows, [["device", "signal", "points", "of"], ["D", "A", left, 640]])


class PlaceTests(Base):
    def test_nothing_is_overwritten(self) -> None:
        self.client.ask(logger={"export": ["all", "csv"]})
        before = (self.directory / "export" / "all.csv").read_bytes()
        self.client.ask(y=99, sname="B")
        answer = self.client.ask(logger={"export": ["all", "csv"]})
        self.assertEqual(answer["errors"][0]["code"], "bad-value")
        self.assertEqual((self.directory / "export" / "all.csv").read_bytes(), before)
        self.assertEqual(self.left(), ["export/all.csv"])

    def test_outside_of_the_directory(self) -> None:
        (self.directory / "export").mkdir()
        (self.directory / "export" / "link").symlink_to(self.directory)
        (self.directory / "exporter").mkdir()
        outside = [
            "../x",
            "/tmp/x",
            "a/../../x",
            "link/x",
            "../export/../x",
            "../exporter/x",
            str(self.directory / "x"),
        ]
        for name in outside:
            answer = self.client.ask(logger={"export": [name]})
            self.assertEqual(answer["errors"][0]["code"], "bad-value", name)
        self.assertEqual(self.left(), [])

    def test_odd_names(self) -> None:
        for name in ("", "\0", "a\0b", "a\nb", "a\x1b[31m", "\ud800", "\udc80"):
            with self.assertRaises(BadValue):
                below(self.directory, name, ".json")
        for name, file in (
            (".", "..json"),
            ("..", "...json"),
            ("~", "~.json"),
            ("a/b/c", "a/b/c.json"),
            ("a/../b", "a/../b.json"),
            ("x.json", "x.json"),
            ("x.JSON", "x.JSON.json"),
            ("Übung °C", "Übung °C.json"),
            ("-rf *", "-rf *.json"),
        ):
            self.assertEqual(below(self.directory, name, ".json"), self.directory / file)

    def test_folders_are_made(self) -> None:
        self.assertFalse(self.client.ask(logger={"export": ["2026/june/all"]})["error"])
        self.assertEqual(self.left(), ["export/2026/june/all.json"])

    def test_arguments(self) -> None:
        for wanted in (5, None, True, "all", {"a": 1}, ["a", "json", "more"]):
            self.assertEqual(self.client.ask(logger={"export": wanted})["logger"]["export"], wanted)
        for wanted in ([], [5], ["a", 5], ["a", "pdf"], [""], ["a", ""]):
            answer = self.client.ask(logger={"export": wanted})
            self.assertEqual(answer["errors"][0]["code"], "bad-value", wanted)
        self.assertEqual(self.left(), [])

    def test_a_name_that_is_too_long(self) -> None:
        answer = self.client.ask(logger={"export": ["x" * 300]})
        self.assertEqual(answer["errors"][0]["code"], "bad-value")
        self.assertEqual(self.left(), [])


class DiskTests(Base):
    """A disk that refuses leaves nothing behind."""

    def exporter(self, failing: str, error: Exception) -> Exporter:
        def in_thread(function: Callable[[], Any]) -> Deferred[Any]:
            name = getattr(getattr(function, "func", function), "__name__", "")
            return execute(function) if name != failing else execute(self.refuse, error)

        return Exporter(self.rooms.storage, self.rooms.events, in_thread)

    def refuse(self, error: Exception) -> None:
        raise error

    def test_in_the_middle(self) -> None:
        full = OSError(28, "No space left on device")
        for kind in ("json", "csv", "xlsx"):
            for step in ("signal", "samples", "begin_events", "events", "finish"):
                path = self.directory / f"x.{kind}"
                writing = self.exporter(step, full).write(path, kind, 5)
                failure = self.failureResultOf(writing, StorageFailed)
                self.assertEqual(
                    failure.value.message, f"x.{kind} could not be written: No space left on device"
                )
                self.assertEqual([path.name for path in self.directory.iterdir()], [])

    def test_a_file_where_a_folder_should_be(self) -> None:
        (self.directory / "export").write_text("a file")
        answer = self.client.ask(logger={"export": ["x"]})
        self.assertEqual((answer["errors"][0]["code"], answer["errors"][0]["retriable"]), ("internal", True))
        self.assertEqual(self.left(), ["export"])

    def test_what_xlsxwriter_finds_wrong(self) -> None:
        path = self.directory / "x.xlsx"
        writer = export.WRITERS["xlsx"](path, 5)
        self.directory.joinpath("x.xlsx").mkdir()
        self.assertRaises(OSError, writer.close)
        self.assertEqual([entry.name for entry in self.directory.iterdir()], ["x.xlsx"])

    def test_the_store_fails(self) -> None:
        self.patch(self.rooms.storage, "read", lambda requests: execute(self.refuse, StorageFailed("gone")))
        self.assertEqual(self.client.ask(logger={"export": ["x"]})["errors"][0]["message"], "gone")
        self.assertEqual(self.left(), [])

    def test_no_file_stays_open(self) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        for kind in ("json", "csv", "xlsx"):
            self.failureResultOf(
                self.exporter("signal", OSError(28, "full")).write(self.directory / "x", kind, 5),
                StorageFailed,
            )
        self.assertEqual(len(list(Path("/proc/self/fd").iterdir())), before)
