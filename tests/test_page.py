"""The page of the server, in a real browser, against a real server."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO, Any

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright
from twisted.trial.unittest import SynchronousTestCase
from websockets.sync.client import connect

from rtoc_twisted import __version__
from tests.process_support import environment

PASSWORD = "geheim"
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Milliseconds after which a condition has failed; nothing waits this long when all is well.
PATIENCE = 10_000
HASHED_TEXTS = ["", PASSWORD, "pässwörd € 🔑", *("x" * n for n in (55, 56, 63, 64, 119, 120, 1000))]
NOTE_RATES = """() => {
    const rates = [], element = document.getElementById("rate");
    new MutationObserver(() => rates.push(Number(element.textContent))).observe(element, { childList: true });
    return rates;
}"""


class Server:
    """A `twistd rtoc` child. ports: plain and TLS; 0 is any free one. whitelist: as in the environment."""

    def __init__(self, directory: Path, whitelist: str, ports: tuple[int, int]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        secret = directory / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o600)
        options = ["--interface", "127.0.0.1", "--state-dir", str(directory / "state")]
        options += ["--password-file", str(secret), "--port", str(ports[0]), "--tls-port", str(ports[1])]
        self._process = subprocess.Popen(
            [*TWISTD, "rtoc", *options],
            env=environment({"RTOC_AUTH_WHITELIST": whitelist}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=directory,
        )
        assert self._process.stdout is not None
        self._log = self._process.stdout
        self._drain = Thread(target=_read_all, args=[self._log], daemon=True)

    def wait(self) -> None:
        """Wait until it listens."""
        lines = []
        for line in self._log:
            lines.append(line)
            if "listening on" in line:
                break
        else:
            raise AssertionError("the server did not start:\n" + "".join(lines))
        plain, tls = re.findall(r"127\.0\.0\.1:(\d+)", line)
        self.ports = int(plain), int(tls)
        self.url, self.tls_url = f"http://127.0.0.1:{plain}/", f"https://127.0.0.1:{tls}/"
        self._drain.start()

    def stop(self) -> None:
        """Stop it as systemd does, and wait for its end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._process.wait(20)
        if self._drain.ident is not None:
            self._drain.join(20)
        self._log.close()

    def send(self, *requests: dict[str, Any]) -> None:
        """Do requests as a client of their own."""
        everything = [{"authorize": password_hash(PASSWORD)}, *requests]
        with connect(f"ws://127.0.0.1:{self.ports[0]}/") as socket:
            for number, request in enumerate(everything):
                socket.send(json.dumps({"id": number, **request}))
            answered = 0
            while answered < len(everything):
                message = json.loads(socket.recv(timeout=PATIENCE / 1000))
                if "id" in message and "error" in message:
                    assert message["error"] is False, message
                    answered += 1


def _read_all(log: IO[str]) -> None:
    for _ in log:
        pass


def password_hash(password: str) -> str:
    """Return a password as `authorize` takes it (protocol section 3)."""
    return base64.b64encode(hashlib.sha256(password.encode()).digest()).decode()


class PageCase(SynchronousTestCase):
    """A browser and a server for each test, which tries several things: starting both takes its time."""

    # Nobody here comes from there.
    whitelist = "::1"

    def setUp(self) -> None:
        program = shutil.which("chromium")
        if program is None:
            self.fail("chromium is missing: install the package chromium to test the page")
        self.directory = Path(self.mktemp()).absolute()
        self.start_server()
        driver = sync_playwright().start()
        self.addCleanup(driver.stop)
        self.browser: Browser = driver.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        self.addCleanup(self.browser.close)
        expect.set_options(timeout=PATIENCE)
        self.server.wait()

    def start_server(self, ports: tuple[int, int] = (0, 0)) -> None:
        self.server = Server(self.directory, self.whitelist, ports)
        self.addCleanup(self.server.stop)

    @contextmanager
    def opened(self, url: str = "", **context: Any) -> Iterator[Page]:
        """Open the page as somebody new, who must see no error in the console."""
        with self.browser.new_context(ignore_https_errors=True, **context) as visitor:
            page = visitor.new_page()
            page.set_default_timeout(PATIENCE)
            wrong: list[str] = []

            def said(message: ConsoleMessage) -> None:
                if message.type in ("error", "warning"):
                    wrong.append(message.text)

            page.on("console", said)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.goto(url or self.server.url)
            yield page
            self.assertEqual(wrong, [])


def log_in(page: Page, password: str = PASSWORD) -> None:
    """Type a password, with the keyboard alone: the field has the focus."""
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def expect_state(page: Page, words: str | re.Pattern[str]) -> None:
    """Wait for the state of the connection, as it is read out."""
    expect(page.get_by_role("status")).to_have_text(words)


def row(page: Page, device: str, name: str) -> Locator:
    """Return the row of a signal in its device's group."""
    group = page.get_by_role("rowgroup").filter(has=page.get_by_role("rowheader", name=device, exact=True))
    return group.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name, exact=True))


def expect_cells(page: Page, device: str, name: str, *texts: str | re.Pattern[str]) -> None:
    """Wait for a signal's value, unit, trend (which has no text) and age, as far as they are given."""
    cells = row(page, device, name).get_by_role("cell")
    for index, text in enumerate(texts):
        expect(cells.nth(index)).to_have_text(text)


class VisitorTests(PageCase):
    """Somebody from a whitelisted address, who needs no password."""

    whitelist = "127.0.0.0/8"

    def test_values(self) -> None:
        self.server.send({"dname": "Old", "sname": ["a", "b"], "y": [1.5, 2], "unit": ["V", "°C"]})
        with self.opened() as page:
            expect_state(page, "Live")
            expect(page.get_by_role("heading", level=1)).to_have_text(f"127.0.0.1:{self.server.ports[0]}")
            expect(page.get_by_text(f"rtoc_twisted {__version__}")).to_be_visible()
            expect_cells(page, "Old", "a", "1.5", "V")
            expect_cells(page, "Old", "b", "2", "°C")

            self.server.send({"dname": "Old", "sname": ["b"], "y": [-2.5e-7], "unit": ["K"]})
            expect_cells(page, "Old", "b", "-2.5e-7", "K", "", re.compile(r"^(now|\d+ s)$"))
            expect_cells(page, "Old", "a", "1.5", "V")
            self.server.send({"dname": "New", "sname": ["c"], "y": [-123456789]})
            expect_cells(page, "New", "c", "-123456789", "")

            y = [*[0] * 98, 5, 10]
            self.server.send({"plot": True, "dname": "Plot", "sname": ["p"], "x": list(range(100)), "y": y})
            expect_cells(page, "Plot", "p", "10", "", "", "x = 99")
            last_60 = re.compile(r"^0,19\.0 .* 57,19\.0 58,10\.0 59,1\.0$")
            expect(row(page, "Plot", "p").locator("polyline")).to_have_attribute("points", last_60)

            expect(page.locator("#rate")).to_have_text("0")
            rates = page.evaluate_handle(NOTE_RATES)
            self.server.send({"dname": "Many", "sname": ["a", "b"], "y": [1, 1]})
            page.wait_for_function("rates => rates.some((rate) => rate > 0)", arg=rates)
            expect(page.locator("#rate")).to_have_text("0")
            expect(page.locator("#signal-count")).to_have_text("6")

            # A flood ends with the newest values, and only what is in view is drawn.
            names = [f"s{n}" for n in range(120)]
            self.server.send(*({"dname": "Flood", "sname": names, "y": [k] * 120} for k in range(40)))
            # Role queries look at all of a table; in a long one, they take their time.
            rows = page.locator("#signal-table tbody").filter(has_text="Flood").locator("tr")
            expect(rows).to_have_count(1 + 120)
            rows.last.scroll_into_view_if_needed()
            expect(rows.last).to_contain_text(re.compile(r"^\s*s119\s*39\s"))
            self.server.send({"dname": "Flood", "sname": names, "y": [100] * 120})
            expect(rows.last).to_contain_text(re.compile(r"^\s*s119\s*100\s"))
            expect(rows.nth(60)).not_to_contain_text("100")

    def test_events_and_names_of_all_kinds(self) -> None:
        door = {"dname": "House", "sname": "door"}
        self.server.send({"event": {**door, "text": "open", "priority": 1}})
        with self.opened() as page:
            items = page.get_by_role("listitem")
            expect(items).to_have_count(1)
            expect(items.first).to_contain_text(re.compile("Warning.*open.*House · door", re.DOTALL))
            self.server.send({"event": {**door, "text": "fire", "priority": 2}})
            expect(items).to_have_count(2)
            expect(items.first).to_contain_text(re.compile("Error.*fire", re.DOTALL))
            colours = {items.nth(n).evaluate("it => getComputedStyle(it).borderLeftColor") for n in (0, 1)}
            self.assertEqual(len(colours), 2)

            code = "<img src=x onerror=\"document.title='taken'\">"
            self.server.send(
                {"dname": code, "sname": [code], "y": [1], "unit": [code]},
                {"event": {"text": code, "dname": code, "sname": code}},
                {"dname": "W" * 80, "sname": ["n" * 80], "y": [1.23456e-200], "unit": ["u" * 30]},
            )
            expect_cells(page, code, code, "1", code)
            expect(items.first).to_contain_text(code)
            expect(page.locator("main img")).to_have_count(0)
            self.assertNotEqual(page.title(), "taken")

            page.set_viewport_size({"width": 360, "height": 640})
            row(page, "W" * 80, "n" * 80).scroll_into_view_if_needed()
            expect_cells(page, "W" * 80, "n" * 80, "1.23456e-200", "u" * 30)
            self.assertLessEqual(page.evaluate("document.documentElement.scrollWidth"), 360)

    def test_alarms_are_acknowledged(self) -> None:
        code = "<b>'\"&"
        rule = {"name": code, "cond": "Freezer.T.latest > -15", "text": "warm", "ack": True}
        self.server.send(
            {"automation": {"setEvent": rule, "active": {"events": True}}},
            {"dname": "Freezer", "sname": ["T"], "y": [-20]},
            {"dname": "Freezer", "sname": ["T"], "y": [-10]},
            {"event": {"text": "plain"}},
        )
        with self.opened() as page:
            items = page.get_by_role("listitem")
            expect(items).to_have_count(2)
            expect(items.first.get_by_role("button")).to_have_count(0)
            expect(items.nth(1)).to_contain_text("Not acknowledged")
            items.nth(1).get_by_role("button").click()
            expect(items.nth(1)).to_contain_text("Acknowledged by owner")
            expect(items.get_by_role("button")).to_have_count(0)
            self.server.send(
                {"dname": "Freezer", "sname": ["T"], "y": [-20]},
                {"dname": "Freezer", "sname": ["T"], "y": [-5]},
            )
            # What is pushed can be acknowledged like what was listed.
            expect(items.first).to_contain_text("Not acknowledged")
            page.reload()
            expect(items.first).to_contain_text("Not acknowledged")
            expect(items.nth(2)).to_contain_text("Acknowledged by owner")
            # Somebody else is quicker.
            self.server.send({"automation": {"acknowledge": code}})
            items.first.get_by_role("button").click()
            expect(items.first).to_contain_text("Acknowledged by owner")
            expect(page.get_by_role("alert")).to_have_count(0)


class StrangerTests(PageCase):
    """Somebody who needs the password."""

    def test_login(self) -> None:
        self.server.send({"dname": "Secret", "sname": ["a"], "y": [1]})
        with self.opened() as page:
            expect_state(page, "Login needed")
            hashed = page.evaluate(
                "texts => import('/sha256.js').then((it) => texts.map(it.passwordHash))", HASHED_TEXTS
            )
            self.assertEqual(hashed, [password_hash(text) for text in HASHED_TEXTS])
            page.get_by_label("Account").fill("nobody")
            page.get_by_label("Password").focus()
            log_in(page)
            expect(page.get_by_role("alert")).to_contain_text("refused")
            page.get_by_label("Account").fill("")
            page.get_by_label("Password").focus()
            log_in(page)
            expect_state(page, "Live")
            expect_cells(page, "Secret", "a", "1")
            expect(page.get_by_role("alert")).to_have_count(0)
            expect(page.get_by_label("Password")).to_be_hidden()
            self.assertEqual(page.get_by_label("Password").input_value(), "")
            kept = page.evaluate("[Object.keys(localStorage), Object.keys(sessionStorage), document.cookie]")
            self.assertEqual(kept, [[], [], ""])

        with self.opened(self.server.tls_url) as page:
            log_in(page, "wrong")
            expect(page.get_by_role("alert")).to_contain_text("the password is wrong")
            expect(page.get_by_text("Secret")).to_have_count(0)
            log_in(page)
            expect_state(page, "Live")
            self.server.send({"dname": "Secret", "sname": ["a"], "y": [2]})
            expect_cells(page, "Secret", "a", "2")

    def test_it_comes_back_by_itself(self) -> None:
        with self.browser.new_context() as visitor:
            page = visitor.new_page()
            page.goto(self.server.url)
            log_in(page)
            self.server.send({"dname": "D", "sname": ["a"], "y": [1]})
            expect_cells(page, "D", "a", "1")
            self.server.stop()
            expect_state(page, re.compile(r"^Not connected, next try in \d s$"))
            self.start_server(self.server.ports)
            self.server.wait()
            # The password is not asked for again, and the page hears what it missed.
            expect_state(page, "Live")
            self.server.send({"dname": "D", "sname": ["a"], "y": [2]})
            expect_cells(page, "D", "a", "2")
