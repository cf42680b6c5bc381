"""RTWebsocketClient, as programs written for the original use it (protocol section 7)."""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.client import ConnectionLost, QueueFull, rtwebsocketclient
from rtoc_twisted.client.rtwebsocketclient import RTWebsocketClient

from .client_support import WAIT, FakeServer, make_certificate

EXAMPLE = """
import RTWebsocketClient

data = {'x':[0,1,2,3],'y':[1,2,3,4],'dname':'Test','sname':['T1','T2','T3','T4'],'unit':['','','','']}
sock = RTWebsocketClient.RTWebsocketClient()
sock.on_message = lambda msg: print(msg)
sock.connect('', PORT)
sock.send(data)
sock.close()
"""


class ReceivingTests(SynchronousTestCase):
    """What a message calls, by plain calls."""

    def calls_of(self, message: dict[str, Any], *handlers: str) -> list[tuple[Any, ...]]:
        client, calls = RTWebsocketClient(), []

        def recorder(name: str) -> Any:
            return lambda *arguments: calls.append((name, *arguments))

        for name in handlers:
            setattr(client, name, recorder(name))
        client._received(json.dumps(message))
        return calls

    def test_each_key_has_its_handler(self) -> None:
        keys = ["pluginList", "signalList", "plugin", "latest", "automation", "client", "events"]
        keys += ["signal", "userAction", "logger", "event", "signals"]
        for key in keys:
            calls = self.calls_of({key: [1]}, f"handle_{key}", "handle_unknown", "on_message")
            self.assertEqual(calls, [(f"handle_{key}", [1]), ("on_message", {})])
        calls = self.calls_of({"authorized": False}, "handle_authorize", "on_message")
        self.assertEqual(calls, [("handle_authorize", False), ("on_message", {})])

    def test_without_a_handler_a_key_stays(self) -> None:
        message = {"error": False, "latest": {}, "sent": True}
        rest = {"latest": {}, "sent": True}
        calls = self.calls_of(message, "handle_unknown", "on_message")
        self.assertEqual(calls, [("handle_unknown", rest), ("on_message", rest)])

    def test_a_session_is_handed_over_and_stays(self) -> None:
        calls = self.calls_of({"session": {}}, "handle_session", "on_message")
        self.assertEqual(calls, [("handle_session", {}), ("on_message", {"session": {}})])

    def test_errors(self) -> None:
        self.assertEqual(
            self.calls_of({"error": True}, "handle_RTOCError", "on_message"),
            [("handle_RTOCError",), ("on_message", {})],
        )
        self.assertEqual(self.calls_of({"error": False}, "handle_RTOCError"), [])

    def test_what_cannot_be_read(self) -> None:
        client, calls = RTWebsocketClient(), []
        client.handle_RTOCError = lambda: calls.append("error")
        client.on_message = lambda rest: calls.append(rest)
        client._received("nonsense")
        self.assertEqual(calls, ["error"])

    def test_a_callback_that_raises_harms_no_other(self) -> None:
        client, calls = RTWebsocketClient(), []
        client.handle_latest = lambda value: 1 / 0
        client.on_message = lambda rest: calls.append(rest)
        with self.assertLogs("rtoc_twisted.client", "ERROR"):
            client._received('{"latest": {}}')
        self.assertEqual(calls, [{}])


class ConnectedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.calls: queue.Queue[tuple[Any, ...]] = queue.Queue()

    def server(self, **options: Any) -> FakeServer:
        server = FakeServer(**options)
        server.__enter__()
        self.addCleanup(server.__exit__, None, None, None)
        return server

    def client(self, *handlers: str) -> RTWebsocketClient:
        client = RTWebsocketClient()
        for name in handlers:
            setattr(client, name, lambda *arguments, name=name: self.calls.put((name, *arguments)))
        self.addCleanup(client.close)
        return client

    def next_call(self) -> tuple[Any, ...]:
        return self.calls.get(timeout=WAIT)

    def test_nothing_sent_early_is_lost(self) -> None:
        server, client = self.server(), self.client()
        client.send(first=1)
        client.connect("127.0.0.1", server.port)
        client.send({"second": 2}, third=3)
        client.close()
        expected = [{"authorize": True}, {"first": 1}, {"second": 2, "third": 3}]
        self.assertEqual(server.received, expected)

    def test_the_queue_is_bounded(self) -> None:
        self.patch(rtwebsocketclient, "QUEUE_LIMIT", 2)
        client = RTWebsocketClient()
        client.send(a=1)
        self.assertRaises(TypeError, client.send, a=object())
        client.send(a=2)
        self.assertRaises(QueueFull, client.send, a=3)

    def test_the_order_of_callbacks(self) -> None:
        server = self.server()
        client = self.client("on_open", "handle_authorize", "on_message", "on_close", "on_error")
        client.connect("127.0.0.1", server.port)
        self.assertEqual(sorted([self.next_call(), self.next_call()])[1], ("on_open",))
        while self.next_call()[0] != "on_message":
            pass
        client.close()
        self.assertFalse(client.run)
        self.assertEqual(list(self.calls.queue)[-1], ("on_close",))
        self.assertRaises(ConnectionLost, client.send, getLatest=True)

    def test_answers_and_pushes(self) -> None:
        server, client = self.server(), self.client("handle_latest", "handle_signal")
        client.connect("localhost", server.port)
        client.send(y=[1.5], sname=["a"], dname="D", unit=["V"], x=[5.0])
        client.send(getLatest=True)
        self.assertEqual(self.next_call()[1]["sname"], "a")
        self.assertEqual(self.next_call(), ("handle_latest", {"D.a": [5.0, 1.5, "V", 1, 5.0, 5.0]}))

    def test_the_cipher_is_used_for_strangers_only(self) -> None:
        # Written in another way, 127.0.0.1 is a stranger's address to the original's rule.
        server = self.server(echo_ids=False, password="geheim", cipher=True)
        client = self.client("handle_authorize", "handle_latest")
        client.connect("127.1", server.port, "geheim")
        client.send(getLatest=True)
        self.assertEqual(self.next_call(), ("handle_authorize", True))
        self.assertEqual(self.next_call(), ("handle_latest", {}))

        plain = self.server(password="geheim")
        client = self.client("handle_authorize")
        client.connect("", plain.port, password="geheim")
        self.assertEqual(self.next_call(), ("handle_authorize", True))

    def test_tls_is_plain_json_and_verified(self) -> None:
        ca_file, context, fingerprint = make_certificate(Path(self.mktemp()))
        server = self.server(password="geheim", context=context)
        for trust in ({"ca_file": ca_file}, {"fingerprint": fingerprint}, {"insecure": True}):
            client = self.client("handle_authorize")
            client.connect("127.0.0.1", server.port, "geheim", tls=True, **trust)
            self.assertEqual(self.next_call(), ("handle_authorize", True))

        client = self.client("on_error", "on_close")
        client.connect("127.0.0.1", server.port, "geheim", True)
        name, failure = self.next_call()
        self.assertEqual(name, "on_error")
        self.assertIn("fingerprint", str(failure))
        self.assertEqual(self.next_call(), ("on_close",))

    def test_nobody_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        client = self.client("on_error", "on_close")
        client.connect("127.0.0.1", port)
        self.assertEqual(self.next_call()[0], "on_error")
        self.assertEqual(self.next_call(), ("on_close",))

    def test_it_can_connect_again_from_a_callback(self) -> None:
        server, client = self.server(), self.client("on_open")
        again = threading.Event()

        def reconnect() -> None:
            if not again.is_set():
                again.set()
                client.connect()

        client.on_close = reconnect
        client.connect("127.0.0.1", server.port)
        self.next_call()
        server.wait_for("authorize")
        server.drop()
        self.next_call()
        self.assertTrue(again.is_set())
        client.send(second=True)
        server.wait_for("second")

    def test_closing_from_a_callback(self) -> None:
        server, client = self.server(), self.client("on_close")
        client.on_open = client.disconnect
        client.connect("127.0.0.1", server.port)
        self.assertEqual(self.next_call(), ("on_close",))

    def test_the_constructor_connects(self) -> None:
        server = self.server()
        client = RTWebsocketClient("127.0.0.1", server.port)
        self.addCleanup(client.close)
        server.wait_for("authorize")

    def test_the_published_example(self) -> None:
        server = self.server()
        script = Path(self.mktemp())
        script.write_text(EXAMPLE.replace("PORT", str(server.port)))
        shim = Path(rtwebsocketclient.__file__).parent / "legacy"
        root = Path(rtwebsocketclient.__file__).parents[2]
        ran = subprocess.run(
            [sys.executable, str(script)],
            env={"PYTHONPATH": f"{shim}:{root}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        self.assertEqual(server.wait_for("y")["sname"], ["T1", "T2", "T3", "T4"])
        self.assertIn("'sent': True", ran.stdout)
