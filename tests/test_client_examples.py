"""The programs in examples/ run against a small server."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from .client_support import FakeServer, make_certificate

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name: str) -> ModuleType:
    """Import an example by its file name."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class SystemMonitorTests(SynchronousTestCase):
    def test_it_sends_all_its_signals_over_tls(self) -> None:
        example = load("system_monitor")
        _, context, fingerprint = make_certificate(Path(self.mktemp()))
        with FakeServer(context=context) as server, contextlib.redirect_stdout(io.StringIO()) as out:
            options = [
                "--fingerprint",
                fingerprint,
                "--device",
                "Host",
                "--interval",
                "0.001",
                "--count",
                "2",
            ]
            self.assertEqual(example.main(["--url", server.url, *options]), 0)
        self.assertEqual(set(server.signals), {f"Host.{name}" for name in example.UNITS})
        for key, signal in server.signals.items():
            self.assertEqual(len(signal["y"]), 2)
            self.assertEqual(signal["unit"], example.UNITS[key.removeprefix("Host.")])
        self.assertGreater(server.signals["Host.Memory used"]["y"][0], 0)
        self.assertIn("sending to", out.getvalue())

    def test_a_refusal_is_told_in_a_line(self) -> None:
        example = load("system_monitor")
        with FakeServer(password="geheim") as server, contextlib.redirect_stderr(io.StringIO()) as err:
            self.assertEqual(example.main(["--url", server.url, "--count", "1"]), 1)
        self.assertEqual(err.getvalue().count("\n"), 1)


class MicroPythonTests(SynchronousTestCase):
    def run_board(self, server: FakeServer, count: int, password: str | None = None) -> list[float]:
        """Send so many values and return how long it wanted to sleep, each time."""
        example = load("esp32_micropython")
        sleeps: list[float] = []
        values = iter(range(100))
        with contextlib.redirect_stdout(io.StringIO()):
            example.run(
                ("127.0.0.1", server.port),
                password,
                read=lambda: next(values) + 0.5,
                count=count,
                sleep=sleeps.append,
            )
        return sleeps

    def test_it_sends(self) -> None:
        with FakeServer(password="geheim") as server:
            self.run_board(server, 3, "geheim")
        signal = server.signals["ESP32.Temperature"]
        self.assertEqual((signal["y"], signal["unit"]), ([0.5, 1.5, 2.5], "°C"))

    def test_frames_of_every_length(self) -> None:
        example = load("esp32_micropython")
        with FakeServer() as server:
            connection = example.Connection("127.0.0.1", server.port)
            for length in (1, 125, 126, 65535, 65536, 70000):
                server.replies = {"echo": {"echo": "y" * length}}
                answer = connection.request({"echo": "x" * length})
                self.assertEqual(len(answer["echo"]), length)
                self.assertEqual(len(server.wait_for("echo")["echo"]), length)
            connection.close()

    def test_pushes_and_pings_are_passed_over(self) -> None:
        example = load("esp32_micropython")
        with FakeServer() as server:
            connection = example.Connection("127.0.0.1", server.port)
            server.push({"client": "newconnected"})
            pongs = server.ping()
            self.assertTrue(connection.send("D", "a", 1.5, "V"))
            self.assertTrue(all(pong.wait(10.0) for pong in pongs))
            connection.close()

    def test_it_comes_back(self) -> None:
        example = load("esp32_micropython")
        with FakeServer() as server, contextlib.redirect_stdout(io.StringIO()) as out:

            def sleep(seconds: float) -> None:
                if seconds == example.INTERVAL and len(server.signals["ESP32.Temperature"]["y"]) == 1:
                    server.drop()

            example.RETRY_FIRST = 2
            example.run(("127.0.0.1", server.port), read=lambda: 1.5, count=2, sleep=sleep)
        self.assertEqual(server.signals["ESP32.Temperature"]["y"], [1.5, 1.5])
        self.assertIn("again in 2 s", out.getvalue())

    def test_a_wrong_password_is_told_and_tried_slower_each_time(self) -> None:
        class EnoughError(Exception):
            pass

        example = load("esp32_micropython")
        sleeps: list[float] = []

        def sleep(seconds: float) -> None:
            sleeps.append(seconds)
            if len(sleeps) == 3:
                raise EnoughError

        with FakeServer(password="geheim") as server, contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertRaises(EnoughError, example.run, ("127.0.0.1", server.port), "falsch", sleep=sleep)
        self.assertEqual(sleeps, [1, 2, 4])
        self.assertIn("refuses the login", out.getvalue())
