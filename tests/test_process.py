"""The server as a process: start, restart, stop, refusals, daemon, signals, systemd."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from rtoc_twisted import tls
from rtoc_twisted.auth.passwords import verify
from rtoc_twisted.config import SETTINGS
from rtoc_twisted.wire.aes import password_hash
from tests.process_support import (
    FOREGROUND,
    LOOPBACK,
    PATIENCE,
    ProcessCase,
    answer,
    ask,
    client,
    environment,
    ports_in,
    twistd,
)
from tests.web_support import TEXT, frame, request

SHOWN = "a password was made"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def pair(directory: Path) -> tuple[Path, Path]:
    """Return the files of a certificate for localhost that is valid now."""
    return tls.self_signed(directory, [], time.time)


def certificate(port: int) -> bytes:
    """Return the certificate, DER, that a TLS port shows."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE))


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


class StartTests(ProcessCase):
    """The first start, and what is there after the next one."""

    def test_a_password_is_shown_once_and_only_its_hash_is_kept(self) -> None:
        first = self.start()
        password = first.wait_for(SHOWN).split("once: ")[1].split()[0]
        first.ports()
        first.stop()
        kept = self.state / "password"
        self.assertEqual((mode(self.state), mode(kept)), (0o700, 0o600))
        self.assertTrue(verify(password_hash(password), kept.read_text().splitlines()[0]))
        for path in self.state.iterdir():
            self.assertNotIn(password.encode(), path.read_bytes(), path)
        second = self.start(environ={"RTOC_AUTH_WHITELIST": "192.0.2.1/32"})
        (port,) = second.ports()
        with connect(f"ws://127.0.0.1:{port}", proxy=None) as stranger:
            stranger.send(json.dumps({"authorize": password_hash("another")}))
            self.assertEqual(json.loads(stranger.recv(PATIENCE)), {"authorized": False})
            stranger.send(json.dumps({"authorize": password_hash(password)}))
            self.assertEqual(json.loads(stranger.recv(PATIENCE)), {"authorized": True})
        second.stop()
        self.assertNotIn(SHOWN, "\n".join(second.lines))

    def test_a_damaged_store_is_salvaged_and_an_event_tells(self) -> None:
        first = self.start()
        (port,) = first.ports()
        with client(port) as ws:
            self.assertTrue(ask(ws, y=1.5, x=10, sname="a", dname="D")["sent"])
        first.stop()
        store = self.state / "rtoc.sqlite"
        content = store.read_bytes()
        store.write_bytes(bytes(4096) + content[4096:])
        second = self.start()
        (port,) = second.ports()
        with client(port) as ws:
            found = ask(ws, getSignal=["D.a"], getEventList=True)
        self.assertEqual(found["signals"]["D.a"][:2], [[10], [1.5]])
        (told,) = [text for text in json.dumps(found["events"]).split('"') if "salvaged" in text]
        self.assertIn("the damaged file is kept as rtoc.sqlite.damaged-1", told)
        second.stop()

    def check_data_is_there_after(self, number: signal.Signals) -> None:
        with_tls = ("--tls-port", "0")
        first = self.start(*with_tls)
        plain, secure = first.ports()
        trust = self.state / tls.CERTIFICATE
        with client(plain) as ws, client(secure, trust) as wss:
            told = ask(ws, y=[1.5, 2.5], x=[10, 11], sname=["a", "b"], dname="D", unit=["V", "A"])
            self.assertTrue(told["sent"])
            told = ask(wss, plot=True, y=[3, 4, 5], x=[1, 2, 3], sname=["c"], dname="D")
            self.assertTrue(told["sent"])
            self.assertFalse(ask(ws, event={"text": "E", "dname": "D", "sname": "a", "x": 9})["error"])
            first.stop(number)
        second = self.start(*with_tls)
        plain, secure = second.ports()
        asked = {"getSignal": ["D.a", "D.c"], "getEvent": ["D.a"], "getSignalList": True}
        with client(plain) as ws, client(secure, trust) as wss:
            found = ask(ws, **asked)
            self.assertEqual(ask(wss, **asked), found)
        self.assertEqual(found["signals"]["D.a"][:2], [[10], [1.5]])
        self.assertEqual(found["signals"]["D.c"][:2], [[1, 2, 3], [3, 4, 5]])
        self.assertEqual(found["signalList"], [["D", "a"], ["D", "b"], ["D", "c"]])
        self.assertIn("E", json.dumps(found["events"]))

    def test_data_is_there_after_term(self) -> None:
        self.check_data_is_there_after(signal.SIGTERM)

    def test_data_is_there_after_kill(self) -> None:
        self.check_data_is_there_after(signal.SIGKILL)

    def test_term_says_goodbye_and_keeps_what_it_acknowledged(self) -> None:
        first = self.start()
        (port,) = first.ports()
        sent = 0
        with client(port) as writer, client(port) as idle:
            for number in range(500):
                writer.send(json.dumps({"y": number, "x": number, "sname": "n", "dname": "D"}))
            answer(writer)
            first.send(signal.SIGTERM)
            with self.assertRaises(ConnectionClosed) as writers:
                while True:
                    sent += answer(writer)["sent"]
            with self.assertRaises(ConnectionClosed) as idlers:
                answer(idle)
        for closed in (writers.exception, idlers.exception):
            self.assertEqual(closed.rcvd and closed.rcvd.code, 1001)
        self.assertEqual(first.ended(), -signal.SIGTERM)
        second = self.start()
        with client(*second.ports()) as reader:
            x, y = ask(reader, getSignal=["D.n"])["signals"]["D.n"][:2]
        self.assertGreaterEqual(len(y), sent + 1)
        self.assertEqual((x, y), (list(range(len(y))),) * 2)


class RefusalTests(ProcessCase):
    """What hinders the start ends the process with one line that says what to do, in either way to run."""

    def check(self, expected: str, *arguments: str, environ: dict[str, str] | None = None) -> None:
        command = ("rtoc", *LOOPBACK, "--state-dir", str(self.state), *arguments)
        code, output = twistd(self.directory, *FOREGROUND, *command, environ=environ)
        self.check_output(code, output, expected)
        pid, log = self.directory / "pid", self.directory / "log"
        daemon = (f"--pidfile={pid}", f"--logfile={log}")
        code, output = twistd(self.directory, *daemon, *command, environ=environ)
        # A daemon has no terminal any more: twistd tells how the line begins, and where the rest is.
        self.assertIn("cannot ", output)
        self.check_output(code, log.read_text(), expected)
        self.assertNotIn("Traceback", output)
        self.assertFalse(pid.exists())

    def check_output(self, code: int, output: str, expected: str) -> None:
        self.assertEqual(code, 1, output)
        self.assertNotIn("Traceback", output)
        told = [line for line in output.splitlines() if "rtoc: " in line]
        self.assertEqual(len(told), 1, output)
        self.assertIn(expected, told[0])

    def test_busy_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            port = str(holder.getsockname()[1])
            self.check(f"port {port}: Address already in use - stop the program that uses it", "--port", port)

    def test_port_without_the_privilege(self) -> None:
        # Which ports need it differs by machine and user: the child hears the kernel's no in any case.
        (self.directory / "sitecustomize.py").write_text(
            "import socket, errno, os\n"
            "def bind(self, address):\n"
            "    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))\n"
            "socket.socket.bind = bind\n"
        )
        path = os.pathsep.join([str(self.directory), environment()["PYTHONPATH"]])
        self.check("CAP_NET_BIND_SERVICE", "--port", "80", environ={"PYTHONPATH": path})

    def test_systemd_without_sockets(self) -> None:
        self.check("start it through its .socket unit", "--port", "systemd:domain=INET:index=0")

    def test_state_directory_in_use(self) -> None:
        self.start().ports()
        self.check("in use by another rtoc server: stop it, or choose another --state-dir")

    def test_state_directory_that_cannot_be(self) -> None:
        (self.directory / "file").touch()
        self.check("the state directory must be", "--state-dir", str(self.directory / "file" / "state"))

    def test_unreadable_password_file(self) -> None:
        self.check(f"the password file {self.directory} cannot be read", "--password-file", ".")

    def test_certificate_and_key_that_do_not_fit(self) -> None:
        cert, _ = pair(self.directory / "one")
        _, key = pair(self.directory / "other")
        files = ("--tls-cert", str(cert), "--tls-key", str(key))
        self.check(f"{key} is not the key of {cert}", "--tls-port", "0", *files)

    def test_broken_configuration(self) -> None:
        file = self.directory / "rtoc.toml"
        file.write_text("prot = 5050\n")
        for way in (FOREGROUND, ()):
            code, output = twistd(self.directory, *way, "rtoc", "--config", str(file))
            self.assertEqual(
                (code, output), (1, f"rtoc: {file}: prot: unknown setting; did you mean port?\n")
            )

    def test_failing_start_leaves_nothing_running(self) -> None:
        # No file can be made there: the ports are bound, the lock is taken, the writer runs.
        (self.state / "rtoc.sqlite").mkdir(parents=True)
        self.check("rtoc.sqlite cannot be used")


class DaemonTests(ProcessCase):
    """Without -n twistd goes to the background."""

    def test_starts_serves_and_stops_by_its_pid(self) -> None:
        pidfile, log = self.directory / "pid", self.directory / "log"
        daemon = (f"--pidfile={pidfile}", f"--logfile={log}")
        options = (*LOOPBACK, "--tls-port", "0", "--state-dir", str(self.state))
        self.assertEqual(twistd(self.directory, *daemon, "rtoc", *options), (0, ""))
        pid = int(pidfile.read_text())
        handle = os.pidfd_open(pid)
        try:
            listening = next(line for line in log.read_text().splitlines() if "listening on" in line)
            plain, secure = ports_in(listening)
            with client(plain) as ws, client(secure, self.state / tls.CERTIFICATE) as wss:
                self.assertTrue(ask(ws, y=1, sname="a", dname="D")["sent"])
                self.assertEqual(ask(wss, getSignalList=True)["signalList"], [["D", "a"]])
            os.kill(pid, signal.SIGTERM)
            # A process id's descriptor is readable once the process has ended.
            self.assertTrue(select.select([handle], [], [], PATIENCE)[0], log.read_text())
        finally:
            if not select.select([handle], [], [], 0)[0]:
                os.kill(pid, signal.SIGKILL)
            os.close(handle)
        self.assertIn("stopped", log.read_text())
        self.assertFalse(pidfile.exists())


class CommandLineTests(ProcessCase):
    """What twistd tells about us."""

    def test_help_of_twistd_lists_us_and_imports_nothing_of_ours(self) -> None:
        code = (
            "import sys; sys.argv = ['twistd', '--help']; from twisted.scripts.twistd import run\n"
            "try: run()\n"
            "finally: print('imported:', [name for name in sys.modules if name.startswith('rtoc_twisted')])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.directory,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=True,
        )
        self.assertRegex(done.stdout, r"\n +rtoc +Record measurements")
        self.assertIn("imported: []", done.stdout)

    def test_help_explains_every_option(self) -> None:
        code, output = twistd(self.directory, "rtoc", "--help")
        self.assertEqual(code, 0)
        words = " ".join(output.split())
        for setting in SETTINGS:
            if setting.option:
                self.assertRegex(words, rf"--{setting.option}=? +{setting.meaning.replace('`', '')}")

    def test_check_config(self) -> None:
        options = ("rtoc", "--state-dir", str(self.state), "--check-config")
        code, output = twistd(self.directory, *options)
        self.assertEqual((code, "problem" in output), (0, False))
        code, output = twistd(self.directory, *options, "--port", "70000")
        self.assertEqual(code, 1)
        self.assertIn("# problem: option --port: expected", output)
        self.assertFalse(self.state.exists())


class HangUpTests(ProcessCase):
    """HUP reads the certificate again."""

    def test_reload(self) -> None:
        cert, key = pair(self.directory / "in use")
        options = ("--tls-cert", str(cert), "--tls-key", str(key))
        child = self.start("--tls-port", "0", *options)
        _, port = child.ports()
        old = der(cert)
        self.assertEqual(certificate(port), old)
        new_cert, new_key = pair(self.directory / "renewed")
        with client(port, cert) as stays:
            cert.write_bytes(new_cert.read_bytes())
            child.send(signal.SIGHUP)
            child.wait_for(f"not reloaded, the certificate stays as it was: {key} is not the key of {cert}")
            self.assertEqual(certificate(port), old)
            key.write_bytes(new_key.read_bytes())
            child.send(signal.SIGHUP)
            child.wait_for("reloaded")
            self.assertEqual(certificate(port), der(new_cert))
            self.assertNotEqual(der(new_cert), old)
            self.assertFalse(ask(stays, getSignalList=True)["error"])
        self.assertEqual(child.stop(), -signal.SIGTERM)

    def test_without_tls_the_server_goes_on(self) -> None:
        child = self.start()
        (port,) = child.ports()
        child.send(signal.SIGHUP)
        child.wait_for("reloaded")
        with client(port) as socket:
            self.assertFalse(ask(socket, getSignalList=True)["error"])


class HastyClientTests(ProcessCase):
    """A client that does not wait for the answer to its handshake."""

    def test_its_first_frames_are_read_on_both_ports(self) -> None:
        plain, secure = self.start("--no-password", "--tls-port", "0").ports()
        context = ssl.create_default_context(cafile=str(self.state / tls.CERTIFICATE))
        for port, wrap in ((plain, False), (secure, True)):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as raw:
                talk = context.wrap_socket(raw, server_hostname="localhost") if wrap else raw
                talk.sendall(request() + frame(TEXT, b'{"getSignalList": true}'))
                heard = b""
                while b'"signalList"' not in heard:
                    data = talk.recv(4096)
                    self.assertTrue(data, heard)
                    heard += data
                talk.close()


class SystemdTests(ProcessCase):
    """What systemd is told, on a real datagram socket."""

    def test_ready_status_watchdog_stopping(self) -> None:
        with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            # The name of such a socket has little room, and trial's directories are deep.
            name = str(Path(short, "notify"))
            ear.bind(name)
            ear.settimeout(PATIENCE)
            child = self.start(environ={"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "100000"})
            ready = ear.recv(4096).decode()
            (port,) = child.ports()
            self.assertEqual(ready, f"READY=1\nSTATUS=listening on 127.0.0.1:{port}")
            self.assertEqual([ear.recv(4096) for _ in range(3)], [b"WATCHDOG=1"] * 3)
            child.send(signal.SIGTERM)
            while (told := ear.recv(4096)) == b"WATCHDOG=1":
                pass
            self.assertEqual(told, b"STOPPING=1")
            self.assertEqual(child.ended(), -signal.SIGTERM)
            ear.setblocking(False)
            self.assertRaises(BlockingIOError, ear.recv, 4096)
