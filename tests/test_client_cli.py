"""The rtoc command against a small server: what it prints, and its exit codes."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client.cli import main
from rtoc_twisted.client.shell import Shell, assignment, flat, moment, shown_x
from rtoc_twisted.errors import BadValue

from .client_support import FakeServer
from .process_support import ROOT, environment


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Feed(io.StringIO):
    """An input whose lines are made when they are read."""

    def __init__(self, lines: Iterator[str]) -> None:
        super().__init__()
        self._lines = lines

    def __next__(self) -> str:
        return next(self._lines)


class Screen(io.StringIO):
    """An output that calls back once so much text is on it."""

    def __init__(self, lines: int, then: Callable[[], None]) -> None:
        super().__init__()
        self._lines, self._then = lines, then

    def flush(self) -> None:
        if self.getvalue().count("\n") == self._lines:
            self._then()


class CommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = self.serve()
        self.asked: list[str] = []
        self.directory = str(Path(self.mktemp()).absolute())

    def serve(self, **options: Any) -> FakeServer:
        server = FakeServer(**options)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def run_rtoc(
        self,
        *argv: str,
        url: str | None = None,
        stdin: io.StringIO | None = None,
        stdout: io.StringIO | None = None,
        environ: dict[str, str] | None = None,
    ) -> tuple[int, str, str]:
        """Return exit code, output and errors of a run."""

        def ask(prompt: str) -> str:
            self.asked.append(prompt)
            return "geheim"

        environ = {"RTOC_URL": url or self.server.url} | (environ or {})
        out, err = stdout or io.StringIO(), io.StringIO()
        code = main(argv, Shell(stdin or io.StringIO(), out, err, environ, ask))
        return code, out.getvalue(), err.getvalue()

    def json_of(self, *argv: str) -> Any:
        code, out, err = self.run_rtoc(*argv)
        self.assertEqual((code, err), (0, ""))
        return json.loads(out)

    def fill(self) -> None:
        self.assertEqual(self.run_rtoc("send", "D", "a=1.5V", "b=-2e3 kPa", "--x", "1700000000")[0], 0)

    def test_send(self) -> None:
        self.assertEqual(self.run_rtoc("send", "D", "a=1.5V", "b=-2e3 kPa", "--x", "5"), (0, "", ""))
        sent = self.server.wait_for("y")
        expected = {"dname": "D", "sname": ["a", "b"], "y": [1.5, -2000.0], "unit": ["V", "kPa"], "x": [5, 5]}
        self.assertEqual({key: sent[key] for key in expected}, expected)

    def test_send_from_standard_input(self) -> None:
        lines = '{"a": 1, "b": [2, "V"]}\n\n{"y": [3], "sname": ["c"], "unit": [""], "dname": "E"}\n'
        self.assertEqual(self.run_rtoc("send", "D", stdin=io.StringIO(lines)), (0, "", ""))
        latest = self.json_of("get", "--latest")
        self.assertEqual([latest["D.a"]["y"], latest["D.b"]["unit"], latest["E.c"]["y"]], [1, "V", 3])

    def test_lines_that_cannot_be_sent(self) -> None:
        for line in ("nonsense", "[1]", '{"a": "x"}', '{"a": [1]}', '{"a": null}'):
            code, _, err = self.run_rtoc("send", "D", stdin=io.StringIO('{"a": 1}\n' + line))
            self.assertEqual(code, 2)
            self.assertIn("line 2", err)

    def queued(self, *argv: str, stdin: io.StringIO | None = None, **options: Any) -> tuple[int, str, str]:
        """Send through a queue in this test's directory."""
        return self.run_rtoc("send", "--queue", self.directory, "D", *argv, stdin=stdin, **options)

    def test_send_through_a_queue(self) -> None:
        lines = (
            '{"a": 1, "b": [2, "V"]}\n\n{"y": [3], "sname": ["c"], "unit": [""], "dname": "E", "x": [5]}\n'
        )
        self.assertEqual(self.queued(stdin=io.StringIO(lines)), (0, "", ""))
        self.assertEqual(self.queued("a=2", "--x", "7"), (0, "", ""))
        self.assertEqual(self.server.signals["D.a"]["y"], [1, 2])
        self.assertEqual((self.server.signals["D.b"]["unit"], self.server.signals["E.c"]["x"]), ("V", [5]))
        first, _, third = (it for it in self.server.received if "y" in it)
        self.assertGreater(first["x"][0], 1.7e9)
        self.assertEqual((third["batch"]["source"], third["x"]), (first["batch"]["source"], [7]))

    def test_a_queue_waits_for_the_server(self) -> None:
        """The lines come while it is away, it breaks down in between, and every line is stored once."""
        port = self.server.port
        self.server.__exit__(None, None, None)

        def lines() -> Iterator[str]:
            for n in range(200):
                if n == 100:
                    self.server = self.serve(port=port)
                elif n > 100 and n % 20 == 0:
                    self.server.drop()
                yield f'{{"a": {n}}}\n'

        code, _, _ = self.queued(stdin=Feed(lines()))
        self.assertEqual((code, self.server.signals["D.a"]["y"]), (0, list(range(200))))

    def test_an_interrupted_queue_keeps_its_lines(self) -> None:
        def lines() -> Iterator[str]:
            yield '{"a": 1}\n'
            yield '{"a": 2}\n'
            raise KeyboardInterrupt

        with socket.create_server(("127.0.0.1", 0)) as free:
            url = f"ws://127.0.0.1:{free.getsockname()[1]}"
        code, _, err = self.queued(stdin=Feed(lines()), url=url)
        self.assertEqual(code, 130)
        self.assertIn("2 messages wait in", err)
        self.assertEqual(self.queued("a=3"), (0, "", ""))
        self.assertEqual(self.server.signals["D.a"]["y"], [1, 2, 3])

    def test_a_killed_queue_is_sent_by_the_next(self) -> None:
        def feed() -> None:
            assert child.stdin is not None
            # The pipe breaks with the kill.
            with contextlib.suppress(BrokenPipeError), child.stdin as lines:
                for n in range(10**9):
                    lines.write(f'{{"a": {n}}}\n')

        program = "from rtoc_twisted.client.cli import main; main()"
        with subprocess.Popen(
            [sys.executable, "-c", program, "send", "--queue", self.directory, "D"],
            cwd=ROOT,
            env=environment({"RTOC_URL": self.server.url}),
            stdin=subprocess.PIPE,
            text=True,
        ) as child:
            feeder = threading.Thread(target=feed)
            feeder.start()
            for _ in range(200):
                self.server.wait_for("batch")
            child.kill()
            feeder.join()
        self.assertEqual(self.queued(stdin=io.StringIO('{"a": -1}')), (0, "", ""))
        *values, last = self.server.signals["D.a"]["y"]
        self.assertEqual((values, last), (list(range(len(values))), -1))

    def test_a_queue_goes_on_after_lines_that_cannot_be_sent(self) -> None:
        lines = 'nonsense\n{"a": 1}\n{"a": null}\n{"a": 2}'
        code, _, err = self.queued(stdin=io.StringIO(lines))
        self.assertEqual((code, self.server.signals["D.a"]["y"]), (2, [1, 2]))
        self.assertIn("line 1:", err)
        self.assertIn("line 3:", err)
        told = {"error": True, "errors": [{"key": "y", "code": "bad-value", "message": "y: wrong"}]}
        self.server.replies = {"y": told}
        code, _, err = self.queued(stdin=io.StringIO('{"a": 3}\n{"a": 4}'))
        self.assertEqual(
            (code, err.count("refused: y: wrong"), err.splitlines()[-1][-10:]), (1, 2, "2 messages")
        )
        self.assertEqual(self.queued(stdin=io.StringIO()), (0, "", ""))

    def test_a_status_line_on_a_terminal(self) -> None:
        err = Terminal()
        shell = Shell(io.StringIO('{"a": 1}\n{"a": 2}'), io.StringIO(), err, {"RTOC_URL": self.server.url})
        self.assertEqual(main(["send", "D", "--queue", self.mktemp()], shell), 0)
        self.assertEqual(err.getvalue().rpartition("\x1b[K")[2], "2 queued, 2 stored, 0 waiting\n")

    def test_get_samples(self) -> None:
        self.fill()
        expected = {"x": [1.7e9], "y": [1.5], "unit": "V"}
        self.assertEqual(self.json_of("get")["D.a"], expected)
        self.assertEqual(self.json_of("get", "D.a", "--from", "1", "--max-n", "9"), {"D.a": expected})
        asked = [request["getSignal"] for request in self.server.received if "getSignal" in request]
        self.assertEqual(asked[-1], [{"dname": "D", "sname": "a", "xmin": 1.0, "maxN": 9}])

    def test_get_sums(self) -> None:
        self.fill()
        sums = {"width": 60.0, "x": [0.0, 60.0], "count": [2, 1], "mean": [1.5, 2.0]}
        self.server.replies = {"getSignal": {"aggregates": {"D.a": sums}}}
        argv = ("get", "D.a", "--aggregate", "60", "--functions", "count,mean", "--from", "1")
        self.assertEqual(self.json_of(*argv), {"D.a": {key: sums[key] for key in ("x", "count", "mean")}})
        asked = {"width": 60.0, "functions": ["count", "mean"], "origin": 0.0}
        (request,) = self.server.wait_for("getSignal")["getSignal"]
        self.assertEqual(request, {"dname": "D", "sname": "a", "xmin": 1.0, "aggregate": asked})
        _, out, _ = self.run_rtoc(*argv, stdout=Terminal())
        head, *rows = [line.split() for line in out.splitlines()]
        self.assertEqual(head, ["signal", "x", "count", "mean"])
        self.assertEqual(rows, [["D.a", "0", "2", "1.5"], ["D.a", "60", "1", "2"]])
        code, out, err = self.run_rtoc("get", "D.b", "--aggregate", "60")
        self.assertEqual((code, err), (1, "rtoc: no such signal: D.b\n"))

    def test_get_says_what_was_left_out(self) -> None:
        self.fill()
        row = [[1.0], [2.0], "V", 1, 1.0, 1.0]
        told = {"signals": {"D.a": row}, "decimated": {"D.a": {"points": 1, "of": 9}}}
        self.server.replies = {"getSignal": told}
        self.assertEqual(self.json_of("get", "D.a"), {"D.a": {"x": [1.0], "y": [2.0], "unit": "V", "of": 9}})

    def test_get_lists(self) -> None:
        self.fill()
        self.assertEqual(self.json_of("get", "--list"), ["D.a", "D.b"])
        self.assertEqual(list(self.json_of("get", "--latest", "D.b")), ["D.b"])

    def test_get_events(self) -> None:
        self.server.events["1"] = ["D", "a", 1, "hot", 5.0, None, 2, "i"]
        (event,) = self.json_of("get", "--events")
        expected = {"number": 1, "device": "D", "signal": "a", "text": "hot", "x": 5.0, "priority": 2}
        self.assertEqual(event, {**expected, "id": "i", "value": None})
        self.assertEqual(self.json_of("get", "--events", "D.a"), [event])

    def test_tables_on_a_terminal(self) -> None:
        self.fill()
        self.server.events["1"] = ["D", "a", 1, "hot", 5.0, None, 2, "i"]
        tables = {
            ("get", "--list"): ["device  signal", "D       a", "D       b"],
            ("get", "--latest"): ["signal  x", f"D.a     {shown_x(1.7e9)}  1.5    V"],
            ("get", "D.b"): ["signal  x", f"D.b     {shown_x(1.7e9)}  -2000  kPa"],
            ("get", "--events"): ["number  x  signal  priority  text", "1       5  D.a     error     hot"],
        }
        for argv, starts in tables.items():
            code, out, _ = self.run_rtoc(*argv, stdout=Terminal())
            self.assertEqual(code, 0)
            for line, start in zip(out.splitlines(), starts, strict=False):
                self.assertEqual(line[: len(start)], start)
        self.assertEqual(self.run_rtoc("get", "--list", "--format", "json", stdout=Terminal())[1][0], "[")

    def test_unknown_signals(self) -> None:
        self.fill()
        for argv in (("get", "D.a", "no.such"), ("get", "--latest", "D.a", "no.such")):
            code, out, err = self.run_rtoc(*argv)
            self.assertEqual((code, list(json.loads(out))), (1, ["D.a"]))
            self.assertEqual(err, "rtoc: no such signal: no.such\n")

    def test_tail(self) -> None:
        def feed() -> None:
            self.server.wait_for("subscribeAll")
            self.run_rtoc("send", "D", "a=1.5V", "b=nan", "--x", "5")
            self.server.push({"event": {**event, "eventId": 1, "value": None}})

        event = {"text": "hot", "dname": "D", "sname": "a", "x": 5.0, "priority": 1, "id": "i"}
        feeder = threading.Thread(target=feed)
        feeder.start()
        code, out, err = self.run_rtoc("tail", "--all", "--count", "3")
        feeder.join()
        self.assertEqual((code, err), (0, ""))
        first, second, third = map(json.loads, out.splitlines())
        self.assertEqual(first, {"signal": "D.a", "x": 5.0, "y": 1.5, "unit": "V"})
        self.assertEqual((second["signal"], second["y"]), ("D.b", None))
        self.assertEqual((third["event"]["text"], third["event"]["number"]), ("hot", 1))

    def test_tail_of_some_signals_on_a_terminal(self) -> None:
        def feed() -> None:
            self.server.wait_for("subscribe")
            self.server.push({"event": {**event, "sname": "other"}})
            self.server.push({"event": event})
            self.run_rtoc("send", "D", "a=1.5V", "b=2", "--x", "5")

        event = {"text": "hot", "dname": "D", "sname": "a", "x": 5.0, "priority": 1, "id": "i"}
        event |= {"eventId": 1, "value": None}
        feeder = threading.Thread(target=feed)
        feeder.start()
        _, out, _ = self.run_rtoc("tail", "D.a", "--count", "2", stdout=Terminal())
        feeder.join()
        self.assertEqual(out, "5  D.a  warning  hot\n5  D.a = 1.5 V\n")

    def test_tail_ends_quietly(self) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        def feed() -> None:
            self.server.wait_for("subscribeAll")
            self.run_rtoc("send", "D", "a=1", "--x", "5")

        feeder = threading.Thread(target=feed)
        feeder.start()
        code, _, err = self.run_rtoc("tail", stdout=Screen(1, interrupt))
        feeder.join()
        self.assertEqual((code, err), (130, ""))

    def test_info(self) -> None:
        self.server.replies = {
            "hello": {"hello": {"server": "rtoc", "limits": {"message": 5}}},
            "logger": {"logger": {"info": {"signals": 3}}},
        }
        self.assertEqual(self.json_of("info"), {"server": "rtoc", "limits": {"message": 5}, "signals": 3})
        _, out, _ = self.run_rtoc("info", stdout=Terminal())
        self.assertIn("limits.message  5\n", out)

    def test_errors_of_the_server(self) -> None:
        told = {"error": True, "errors": [{"key": "y", "code": "busy", "message": "disk\nis slow"}]}
        self.server.replies = {"y": told}
        code, out, err = self.run_rtoc("send", "D", "a=1")
        self.assertEqual((code, out, err), (1, "", "rtoc: y: disk is slow\n"))
        self.server.replies = {"getSignalList": {"signalList": 5}}
        code, _, err = self.run_rtoc("get", "--list")
        self.assertEqual((code, err.count("\n")), (1, 1))

    def test_wrong_usage(self) -> None:
        for argv in ((), ("nonsense",), ("send",), ("get", "--from", "x"), ("tail", "--count", "0")):
            code, out, err = self.run_rtoc(*argv)
            self.assertEqual((code, out), (2, ""))
            self.assertIn("usage: rtoc", err)
        wrong = (
            ("send", "D", "a"),
            ("get", "--url", "http://x"),
            ("get", "--url", "ws://x:y"),
            ("get", "--fingerprint", "AB"),
            ("get", "--url", "wss://localhost:1", "--ca", "no-such-file.pem"),
        )
        for argv in wrong:
            code, out, err = self.run_rtoc(*argv)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), err)
        self.assertEqual(self.run_rtoc("--help")[0], 0)

    def test_no_connection(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        code, out, err = self.run_rtoc("get", url=f"ws://127.0.0.1:{port}")
        self.assertEqual((code, out, err.count("\n")), (3, "", 1))

    def test_passwords(self) -> None:
        url = self.serve(password="geheim").url
        run = self.run_rtoc
        self.assertEqual(run("get", "--list", url=url)[0], 1)
        self.assertEqual(
            run("get", "--list", url=url, environ={"RTOC_PASSWORD": "no"}, stdin=Terminal())[0], 1
        )
        self.assertEqual(run("get", "--list", url=url, environ={"RTOC_PASSWORD": "geheim"})[0], 0)
        self.assertEqual(self.asked, [])
        self.assertEqual(run("get", "--list", url=url, stdin=Terminal())[0], 0)
        self.assertEqual(self.asked, ["password: "])

    def test_tokens_and_users(self) -> None:
        self.run_rtoc("get", "--list", environ={"RTOC_TOKEN": "t0k"})
        self.assertEqual(self.server.wait_for("authorize")["authorize"], {"token": "t0k"})
        self.run_rtoc("get", "--list", "--user", "ann", environ={"RTOC_PASSWORD": "geheim"})
        self.assertEqual(self.server.wait_for("authorize")["authorize"]["user"], "ann")

    def test_the_cipher(self) -> None:
        url = self.serve(echo_ids=False, password="geheim", cipher=True).url
        environ = {"RTOC_PASSWORD": "geheim"}
        self.assertEqual(
            self.run_rtoc("get", "--list", "--cipher", url=url, environ=environ)[:2], (0, "[]\n")
        )


class ShellTests(SynchronousTestCase):
    def test_assignments(self) -> None:
        for text, expected in {
            "T=21.5°C": ("T", 21.5, "°C"),
            "T=-.5e-3": ("T", -0.0005, ""),
            "E=5eV": ("E", 5.0, "eV"),
            "Oil T=1 m/s": ("Oil T", 1.0, "m/s"),
            "T=inf": ("T", float("inf"), ""),
        }.items():
            self.assertEqual(assignment(text), expected)
        for text in ("T", "=5", "T=", "T=warm", ""):
            self.assertRaises(BadValue, assignment, text)

    def test_moments(self) -> None:
        self.assertEqual(moment("-1.5"), -1.5)
        self.assertEqual(moment("1970-01-02T00:00:00+00:00"), 86400.0)
        self.assertRaises(BadValue, moment, "tomorrow")

    def test_times_are_shown_as_such(self) -> None:
        self.assertEqual(shown_x(12.5), "12.5")
        self.assertEqual(moment(shown_x(1.7e9)), 1.7e9)

    def test_flat(self) -> None:
        self.assertEqual(flat({"a": {"b": 1, "c": {}}, "d": [2]}), [("a.b", 1), ("a.c", {}), ("d", [2])])
