"""`rtoc import` and `rtoc export` with real servers: what was imported is exported again, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from websockets.sync.client import connect

from rtoc_twisted.client.formats.records import EMPTY, Page
from rtoc_twisted.model import Event, SignalName

from .files_support import AWKWARD, comparable, read, run_rtoc, write
from .process_support import LOOPBACK, Child, ProcessCase, ask

LONG = 23_456
SUFFIXES = ("csv", "csv.gz", "jsonl", "parquet")


class ServerTests(ProcessCase):
    def second(self) -> Child:
        """Start another server, on a state directory of its own."""
        child = Child(self.directory, [*LOOPBACK, "--state-dir", str(self.directory / "other")])
        self.addCleanup(child.dispose)
        return child

    def rtoc(self, server: str, *argv: str) -> str:
        code, out, err = run_rtoc(server, *argv)
        self.assertEqual((code, err), (0, ""))
        return out

    def test_there_and_back(self) -> None:
        x = np.random.default_rng(5).normal(size=LONG)
        signals = [
            Page(SignalName("Oven, left", 'T "in"\nside'), "°C", np.array(AWKWARD), np.array(AWKWARD[::-1])),
            Page(SignalName("Oven", "empty"), "V", EMPTY, EMPTY),
            Page(SignalName("a.b", "c.d"), "", x, np.sqrt(abs(x))),
        ]
        raised = [
            Event(SignalName("Oven", "empty"), "hot, \n", 5.25, 2, "id", {"a": [1.5, None, "é"]}),
            Event(SignalName("a.b", "c.d"), "", float("-inf"), 0, "other", None),
        ]
        write(self.directory / "first.csv", "csv", signals)
        write(self.directory / "first-events.csv", "csv", raised, events=True)
        one, two = (f"ws://127.0.0.1:{child.ports()[0]}" for child in (self.start(), self.second()))
        for name in ("first.csv", "first-events.csv", "first.csv"):
            told = json.loads(self.rtoc(one, "import", str(self.directory / name)))
        self.assertEqual((told["samples"], told["samples there already"]), (0, LONG + len(AWKWARD)))
        for suffix in SUFFIXES:
            self.export(one, "one", suffix)
        data = read(self.directory / "one.jsonl")
        self.assertEqual(comparable(data), comparable([*signals, *raised]))
        self.assertEqual(
            (self.directory / "one.csv").read_bytes(), (self.directory / "first.csv").read_bytes()
        )
        self.rtoc(two, "import", str(self.directory / "one.jsonl"))
        for suffix in SUFFIXES:
            self.export(two, "two", suffix)
            for name in (f"{{}}.{suffix}", f"{{}}-events.{suffix}"):
                first, second = (Path(self.directory, name.format(server)) for server in ("one", "two"))
                self.assertEqual(first.exists(), second.exists())
                if first.exists():
                    self.assertEqual(first.read_bytes(), second.read_bytes(), name)

    def export(self, server: str, stem: str, suffix: str) -> None:
        files = [str(self.directory / f"{stem}.{suffix}")]
        if suffix != "jsonl":
            files += ["--events", str(self.directory / f"{stem}-events.{suffix}")]
        self.rtoc(server, "export", *files)

    def test_a_session_of_the_server(self) -> None:
        server = f"ws://127.0.0.1:{self.start().ports()[0]}"
        page = Page(SignalName("D", "s"), "V", np.arange(5.0), np.array([1.0, np.nan, 2.0, -0.0, 4.0]))
        write(self.directory / "a.csv", "csv", [page])
        self.rtoc(server, "import", str(self.directory / "a.csv"))
        self.rtoc(server, "send", "D", "s=5.5V", "--x", "99")
        expected = [Page(page.name, "V", np.append(page.x, 99), np.append(page.y, 5.5))]
        for file in written_by_the_server(server, self.directory / "session.json", self.state / "export"):
            self.assertEqual(comparable(read(file)), comparable(expected), file.name)


def written_by_the_server(server: str, session: Path, exports: Path) -> list[Path]:
    """Return files with what is stored: getSession's answer as it came, and exports of `logger`."""
    with connect(server, proxy=None) as socket:
        ask(socket, authorize=True)
        socket.send('{"getSession": true}')
        session.write_text(str(socket.recv()))
        for kind in ("json", "csv"):
            ask(socket, logger={"export": ["all", kind]})
    return [session, exports / "all.json", exports / "all.csv"]
