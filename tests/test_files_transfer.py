"""`rtoc export` and `rtoc import` against a small server: what is sent, told, and stored once."""

from __future__ import annotations

import io
import json
import re
import shlex
import socket
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client import importing
from rtoc_twisted.client.cli import _parser
from rtoc_twisted.client.formats import records
from rtoc_twisted.client.formats.records import EMPTY, Page
from rtoc_twisted.client.frames import PackedFrames
from rtoc_twisted.client.progress import Progress
from rtoc_twisted.client.shell import Shell
from rtoc_twisted.model import Event, SignalName

from .files_support import AWKWARD, ExactServer, bits, comparable, events, pages, read, run_rtoc, write
from .storage_support import unhurried

ROOT = Path(__file__).parent.parent
SIGNALS = [
    Page(SignalName("Dev.1", "a,b"), "°C", np.array(AWKWARD), np.array(AWKWARD[::-1])),
    Page(SignalName("Dev.1", "empty"), "V", EMPTY, EMPTY),
    Page(SignalName("Dev", "1.x"), "", np.arange(25.0), np.arange(25.0) / 3),
]
EVENTS = [
    Event(SignalName("Dev", "1.x"), "hot", 5.0, 2, "id", {"a": [1, None, "é"]}),
    Event(SignalName("RTOC", ""), "disk", float("inf"), 1, "", None),
    Event(SignalName("Dev", "1.x"), "hot", 5.0, 2, "id", {"a": [1, None, "é"]}),
]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class TransferCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(parents=True)
        self.server = self.serve()

    def serve(self, **options: Any) -> ExactServer:
        server = ExactServer(**options)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def fill(self, server: ExactServer) -> None:
        for page in SIGNALS:
            server.put(page)
        for event in EVENTS:
            name = event.name
            row = [event.text, event.x, event.value, event.priority, event.action_id]
            number = len(server.events) + 1
            server.events[str(number)] = [name.device, name.name, number, *row]

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def rtoc(self, *argv: str, server: ExactServer | None = None, **options: Any) -> tuple[int, str, str]:
        return run_rtoc((server or self.server).url, *argv, **options)

    def done(self, *argv: str, **options: Any) -> str:
        code, out, err = self.rtoc(*argv, **options)
        self.assertEqual((code, err), (0, ""))
        return out


class ExportTests(TransferCase):
    def test_each_format(self) -> None:
        self.fill(self.server)
        for suffix in ("csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"):
            data, raised = Path(self.path(f"a.{suffix}")), Path(self.path(f"e.{suffix}"))
            self.assertEqual(self.done("export", str(data), "--events", str(raised)), "")
            self.assertEqual(comparable([*read(data), *read(raised)]), comparable([*SIGNALS, *EVENTS]))

    def test_json_lines_hold_both(self) -> None:
        self.fill(self.server)
        self.done("export", self.path("a.jsonl"))
        self.assertEqual(comparable(read(Path(self.path("a.jsonl")))), comparable([*SIGNALS, *EVENTS]))

    def test_some_signals_in_a_window(self) -> None:
        self.fill(self.server)
        out = self.done(
            "export", "-", "Dev.1.x", "Dev.1.empty", "--from", "3", "--to", "4", "--format", "jsonl"
        )
        first, second = map(json.loads, out.splitlines())
        self.assertEqual(first, {"dname": "Dev", "sname": "1.x", "unit": "", "x": [4.0], "y": [4 / 3]})
        self.assertEqual(second, {"dname": "Dev.1", "sname": "empty", "unit": "V", "x": [], "y": []})
        out = self.done("export", "-", "Dev.1.x", "--from", "4", "--format", "jsonl")
        self.assertEqual([json.loads(line)["event"]["text"] for line in out.splitlines()[4:]], ["hot", "hot"])
        self.assertEqual(self.done("export", "-").splitlines()[0], "device,signal,unit,x,y")

    def test_in_the_old_cipher(self) -> None:
        server = self.serve(password="geheim", cipher=True)
        self.fill(server)
        environ = {"RTOC_PASSWORD": "geheim"}
        self.done("export", self.path("a.csv"), "--cipher", server=server, environ=environ)
        self.assertEqual(comparable(read(Path(self.path("a.csv")))), comparable(SIGNALS))

    def test_nothing_is_left_of_what_failed(self) -> None:
        self.fill(self.server)
        told = {"error": True, "errors": [{"key": "getSignal", "code": "bad-value", "message": "begin anew"}]}
        for replies, reason in (
            (told, "Dev.1.a,b: getSignal: begin anew"),
            ({"signals": {"a": [b"", b"", "", 1, 0, 0]}}, "newer one does"),
            ({"signals": {"a": [[1], [2], "", 1, 0, 0]}, "pages": {"a": {}}}, "no proper page"),
        ):
            server = self.serve()
            server.replies = {"getSignal": replies}
            self.fill(server)
            code, out, err = self.rtoc("export", self.path("a.csv"), server=server)
            self.assertEqual((code, out, err.count("\n")), (1, "", 1))
            self.assertIn(reason, err)
        self.assertEqual(list(self.directory.iterdir()), [])

    def test_wrong_usage_needs_no_server(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"ws://127.0.0.1:{free.getsockname()[1]}"
        Path(self.path("there.csv")).touch()
        for argv in (
            (self.path("a.txt"),),
            (self.path("there.csv"),),
            (self.path("a.csv"), "--events", self.path("there.csv")),
            (self.path("a.csv"), "--events", self.path("a.csv")),
        ):
            code, out, err = run_rtoc(url, "export", *argv)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), err)
        self.assertEqual(run_rtoc(url, "export", self.path("a.csv"))[0], 3)

    def test_signals_that_are_not_there(self) -> None:
        self.fill(self.server)
        self.assertEqual(
            self.rtoc("export", self.path("a.csv"), "Dev.1", "no.such"),
            (1, "", "rtoc: no such signal: Dev.1, no.such\n"),
        )

    def test_a_signal_that_was_removed_meanwhile(self) -> None:
        self.fill(self.server)
        self.server.replies = {"getSignal": {"signals": {}}}
        self.assertEqual(self.done("export", "-"), "device,signal,unit,x,y\r\n")

    def test_force(self) -> None:
        Path(self.path("a.csv")).write_text("old")
        self.done("export", self.path("a.csv"), "--force")
        self.assertEqual(Path(self.path("a.csv")).read_text(), "device,signal,unit,x,y\n")


class ImportTests(TransferCase):
    def told(self, *argv: str, **options: Any) -> dict[str, int]:
        told: dict[str, int] = json.loads(self.done("import", *argv, **options))
        return told

    def expected(self, prefix: str = "") -> Any:
        return {(prefix + it.name.device, it.name.name): (it.unit, bits(it.x), bits(it.y)) for it in SIGNALS}

    def test_each_format_once(self) -> None:
        for suffix in ("csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"):
            server = self.serve()
            data, raised = Path(self.path(f"a.{suffix}")), Path(self.path(f"e.{suffix}"))
            chosen = suffix.removesuffix(".gz")
            write(data, chosen, SIGNALS)
            write(raised, chosen, EVENTS, events=True)
            for again in range(2):
                told = self.told(str(data), server=server)
                self.assertEqual((told["samples"], told["samples there already"]), ((35, 0), (0, 35))[again])
                told = self.told(str(raised), server=server)
                self.assertEqual((told["events"], told["events there already"]), ((3, 0), (0, 3))[again])
                self.assertEqual(server.contents(), self.expected())
                self.assertEqual(list(server.contents()), list(self.expected()))
                self.assertEqual(len(server.events), 3)

    @settings(unhurried, max_examples=25)
    @given(pages(), st.lists(events, max_size=3))
    def test_what_comes_out_is_what_went_in(self, signals: list[Page], raised: list[Event]) -> None:
        path = Path(self.path("a.jsonl"))
        write(path, "jsonl", [*signals, *raised])
        self.server.signals.clear()
        self.server.events.clear()
        self.server.seen.clear()
        self.done("import", str(path))
        self.done("export", self.path("b.jsonl"), "--force")
        self.assertEqual(comparable(read(Path(self.path("b.jsonl")))), comparable([*signals, *raised]))

    def test_in_the_old_cipher(self) -> None:
        server = self.serve(password="geheim", cipher=True)
        write(Path(self.path("a.csv")), "csv", SIGNALS)
        self.told(self.path("a.csv"), "--cipher", server=server, environ={"RTOC_PASSWORD": "geheim"})
        self.assertEqual(server.contents(), self.expected())

    def test_an_import_that_broke_off(self) -> None:
        self.patch(records, "PAGE", 4)
        write(Path(self.path("a.csv")), "csv", SIGNALS)
        write(Path(self.path("a.jsonl")), "jsonl", [*SIGNALS, *EVENTS])
        for name in ("a.csv", "a.jsonl"):
            for stored in (False, True):
                server = self.serve()
                server.stored = stored
                tries = 0
                for server.stop_at in range(1, 40, 3):
                    code, out, err = self.rtoc("import", self.path(name), server=server)
                    tries += code == 3
                    if not code:
                        break
                    self.assertEqual((code, out, err.count("\n")), (3, "", 1))
                self.assertGreater(tries, 2)
                self.assertEqual(server.contents(), self.expected())

    def test_events_that_were_raised_before_it_broke_off(self) -> None:
        write(Path(self.path("a.jsonl")), "jsonl", EVENTS)
        self.fill(self.server)
        del self.server.events["3"]
        told = self.told(self.path("a.jsonl"))
        self.assertEqual((told["events"], told["events there already"]), (1, 2))

    def test_devices_with_a_prefix(self) -> None:
        write(Path(self.path("a.jsonl")), "jsonl", [*SIGNALS, *EVENTS])
        self.told(self.path("a.jsonl"))
        told = self.told(self.path("a.jsonl"), "--device", "lab-")
        self.assertEqual((told["samples"], told["events"]), (35, 3))
        self.assertEqual(self.server.contents(), {**self.expected(), **self.expected("lab-")})

    def test_a_server_that_stores_things_twice(self) -> None:
        server = self.serve(batches=False)
        write(Path(self.path("a.csv")), "csv", SIGNALS[2:])
        code, _, err = self.rtoc("import", self.path("a.csv"), server=server)
        self.assertEqual((code, "twice" in err), (1, True), err)
        self.assertEqual([it["y"] for it in server.signals.values()], [[]])

    def test_a_server_that_refuses(self) -> None:
        write(Path(self.path("a.csv")), "csv", SIGNALS)
        told = {"error": True, "sent": False, "errors": [{"key": "y", "code": "busy", "message": "full"}]}
        self.server.replies = {"y": told}
        self.assertEqual(self.rtoc("import", self.path("a.csv")), (1, "", "rtoc: y: full\n"))
        self.server.replies = {"y": {"sent": False}}
        self.assertEqual(self.rtoc("import", self.path("a.csv"))[0], 1)

    def test_wrong_lines_store_nothing(self) -> None:
        path = Path(self.path("a.csv"))
        path.write_text("device,signal,unit,x,y\nD,s,V,1,1\nD,s,V,x,2\nD,s,V,3,3\nD,s\n")
        code, out, err = self.rtoc("import", str(path))
        self.assertEqual((code, out, err.count("\n"), self.server.received), (2, "", 1, []))
        self.assertIn("a.csv: line 3: could not convert string to float: 'x'; nothing was stored", err)
        code, out, err = self.rtoc("import", str(path), "--keep-going")
        self.assertEqual((code, err.count("\n"), json.loads(out)["wrong lines"]), (0, 2, 2))
        self.assertEqual(self.server.contents(), {("D", "s"): ("V", bits([1, 3]), bits([1, 3]))})

    def test_many_wrong_lines_are_counted(self) -> None:
        path = Path(self.path("a.csv"))
        path.write_text("device,signal,unit,x,y\n" + "D\n" * 50)
        code, out, err = self.rtoc("import", str(path), "--keep-going")
        self.assertEqual((code, json.loads(out)["wrong lines"], err.count("\n")), (0, 50, 21))
        self.assertIn("30 more like these", err)

    def test_files_that_cannot_be_read(self) -> None:
        broken = Path(self.path("broken.csv.gz"))
        write(broken, "csv", SIGNALS)
        broken.write_bytes(broken.read_bytes()[:-20])
        Path(self.path("a.json")).write_text('{"a": 1}')
        Path(self.path("good.csv")).write_text("device,signal,unit,x,y\n")
        for argv in (
            ("missing.csv",),
            (".",),
            ("broken.csv.gz",),
            ("a.json",),
            ("good.csv", "--format", "parquet"),
            ("good.csv", "--device", "\udcff"),
        ):
            code, out, err = self.rtoc("import", self.path(argv[0]), *argv[1:])
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), err)
        self.assertEqual(self.server.received, [])

    def test_a_file_that_is_gone_when_it_is_sent(self) -> None:
        path = Path(self.path("a.csv"))
        write(path, "csv", SIGNALS)
        self.patch(importing, "_Sending", lambda *_: path.unlink())
        told = f"rtoc: {path}: No such file or directory\n"
        self.assertEqual(self.rtoc("import", str(path)), (2, "", told))

    def test_what_a_terminal_shows(self) -> None:
        write(Path(self.path("a.csv")), "csv", SIGNALS)
        screen = Terminal()
        self.assertEqual(self.rtoc("import", self.path("a.csv"), stdout=screen)[0], 0)
        self.assertRegex(screen.getvalue(), r"\nsamples +35\nsamples there already +0\n")

    def test_a_session(self) -> None:
        session = {
            "maxLength": 5,
            "signals": {"1": [1, "A", [1.0, 2.0], [0.1, None], "V"]},
            "events": {"1": [1, 1, 1, "hot", 5.0, None, 1, "id"]},
            "devices": {"1": "Dev"},
        }
        Path(self.path("a.json")).write_text(json.dumps({"error": False, "session": session}))
        self.told(self.path("a.json"))
        self.assertEqual(self.server.contents(), {("Dev", "A"): ("V", bits([1, 2]), bits([0.1, np.nan]))})
        self.assertEqual(self.server.events["1"], ["Dev", "A", 1, "hot", 5.0, None, 1, "id"])


class FramesTests(SynchronousTestCase):
    def test_messagepack(self) -> None:
        frames = PackedFrames()
        message = {"x": [float("inf"), -0.0], "text": "é", "raw": b"\0"}
        self.assertEqual(frames.decode(frames.encode(message)), message)
        self.assertEqual(
            frames.decode(frames.encode({"y": np.ones(2), "n": np.float64(5)})), {"y": [1, 1], "n": 5}
        )
        self.assertEqual(frames.decode('{"error": false}'), {"error": False})
        for frame in (b"", b"\xc1", b"\x91\x01", b"\x81\x01", b"\x81\xa1\xff\x01", b"\x91" * 10**6, "[1]"):
            self.assertIsNone(frames.decode(frame))
        self.assertRaises(TypeError, frames.encode, {"a": object()})


class DocumentTests(SynchronousTestCase):
    def test_its_command_lines_parse(self) -> None:
        text = (ROOT / "docs" / "operations.md").read_text()
        lines = re.findall(r"^rtoc ((?:export|import) .*)$", text, re.MULTILINE)
        self.assertGreater(len(lines), 4)
        for line in lines:
            _parser(Shell(), ()).parse_args(shlex.split(line))


class ProgressTests(TransferCase):
    def test_off_where_there_is_no_terminal(self) -> None:
        self.fill(self.server)
        self.done("export", self.path("a.csv"))
        self.done("import", self.path("a.csv"))

    def test_on_a_terminal(self) -> None:
        self.fill(self.server)
        for verb in ("export", "import"):
            code, _, err = self.rtoc(verb, self.path("a.csv"), stderr=Terminal())
            self.assertEqual(code, 0)
            self.assertEqual((err.count("\n"), err[-1]), (1, "\n"))
            self.assertIn("100%  3 signals  35 samples  ", err.rpartition("\r")[2])

    def test_what_the_bar_says(self) -> None:
        screen, now = Terminal(), [100.0]
        with Progress(screen, lambda: now[0], of=2000) as progress:
            now[0] += 0.5
            progress.update(500, 1, 500)
            now[0] += 0.05
            progress.update(600, 1, 600)
            now[0] += 1.45
            progress.update(2000, 2, 2000)
        first, second, last = screen.getvalue().split("\r\x1b[K")[1:]
        self.assertEqual(first, "[######..................]  25%  1 signals  500 samples  1 000/s")
        self.assertEqual(second, f"[{'#' * 24}] 100%  2 signals  2 000 samples  1 000/s")
        self.assertEqual(last, second + "\n")

    def test_nothing_to_do(self) -> None:
        screen = Terminal()
        with Progress(screen, lambda: 1.0, of=0):
            pass
        self.assertIn("100%  0 signals  0 samples  0/s", screen.getvalue())
