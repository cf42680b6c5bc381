"""Webhooks and Apprise against an HTTP server on this machine."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Generator
from email.utils import formatdate
from pathlib import Path
from typing import Any

from twisted.internet import reactor as the_reactor
from twisted.internet import ssl
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from rtoc_twisted import __version__, tls
from rtoc_twisted.channels.delivery import Delivery, merge, of_notice
from rtoc_twisted.channels.rules import Rules
from rtoc_twisted.channels.sender import DELIVERED, Outcome, Sender, Verdict
from rtoc_twisted.channels.senders import Senders
from rtoc_twisted.channels.webhook import Webhook, agent
from rtoc_twisted.channels.with_apprise import ThroughApprise
from rtoc_twisted.errors import BadValue, NotAvailable
from rtoc_twisted.model import Attachment, Notice, SignalName

from .channels_support import Server
from .doubles import EPOCH

reactor: Any = the_reactor
Waiting = Generator[Deferred[Any], Any, None]

NOTICE = Notice("too warm", "Freezer.Temp", 2, SignalName("Freezer", "Temp"), EPOCH, 7)
PHOTO = Attachment("a.png", bytes(range(256)), "image/png")


class Hook(Resource):
    """Keeps what it is sent, and answers by `answer`: a status, or a function of the request."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, dict[str, str], Any]] = []
        self.answer: int | Callable[[Request], Any] = 200
        self.headers: dict[str, str] = {}
        self._expected: Deferred[None] | None = None

    def next(self) -> Deferred[None]:
        """Return what fires with the next request."""
        self._expected = Deferred()
        return self._expected

    def render_POST(self, request: Request) -> Any:
        assert request.content is not None and request.uri is not None
        headers = {
            name.decode().lower(): values[0].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self.heard.append((request.uri.decode(), headers, json.loads(request.content.read())))
        expected, self._expected = self._expected, None
        if expected is not None:
            expected.callback(None)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        if callable(self.answer):
            return self.answer(request)
        request.setResponseCode(self.answer)
        return b"ignored"


def hold(request: Request) -> Any:
    """Answer never."""
    request.notifyFinish().addErrback(lambda _: None)
    return NOT_DONE_YET


class HttpCase(TestCase):
    """A server with one hook, and a clock for timeouts."""

    def setUp(self) -> None:
        self.hook = Hook()
        self.clock = Clock()
        self.site = Site(self.hook)
        self.site.noisy = False
        # What it hears is no matter of the log that tests look at.
        self.patch(self.site, "log", lambda _: None)
        self.port: Any = reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.addCleanup(lambda: self.port.stopListening())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port.getHost().port}/hook?key=geheim"

    def webhook(self, url: str = "", headers: dict[str, str] | None = None) -> Webhook:
        return Webhook(url or self.url, headers or {}, "Lab", agent(reactor), self.clock, lambda: EPOCH)

    def send(self, url: str = "") -> Deferred[Outcome]:
        return self.webhook(url).send(of_notice(NOTICE, EPOCH))

    def heard(self) -> list[Any]:
        """Return the documents that came."""
        return [body for _, _, body in self.hook.heard]


class WebhookTests(HttpCase):
    """One try of a webhook."""

    @inlineCallbacks
    def test_a_message_is_one_json_document(self) -> Waiting:
        one = of_notice(NOTICE, EPOCH)
        outcome = yield self.webhook(headers={"Authorization": "Bearer x"}).send(one)
        self.assertEqual(outcome, DELIVERED)
        ((uri, headers, body),) = self.hook.heard
        self.assertEqual(uri, "/hook?key=geheim")
        self.assertEqual(headers["content-type"], "application/json")
        self.assertEqual(headers["authorization"], "Bearer x")
        self.assertEqual(headers["user-agent"], f"rtoc_twisted/{__version__}")
        self.assertEqual(
            body,
            {
                "id": one.id,
                "title": "Lab: Freezer.Temp",
                "text": "too warm",
                "priority": 2,
                "device": "Freezer",
                "signal": "Temp",
                "x": EPOCH,
                "event": 7,
                "server": "Lab",
                "count": 1,
                "attachments": [],
            },
        )

    @inlineCallbacks
    def test_nothing_of_it_is_in_the_log(self) -> Waiting:
        with capturedLogs() as logs:
            yield self.send()
        self.assertEqual(logs, [])

    @inlineCallbacks
    def test_what_the_answers_mean(self) -> Waiting:
        meant = {
            Verdict.DELIVERED: (200, 201, 202, 204, 299),
            Verdict.AGAIN: (408, 425, 429, 500, 502, 503, 504),
            Verdict.REFUSED: (301, 302, 307, 400, 401, 404, 410, 422),
        }
        self.hook.headers["Location"] = self.url
        for verdict, codes in meant.items():
            for code in codes:
                self.hook.answer = code
                outcome = yield self.send()
                self.assertEqual(outcome.verdict, verdict, code)
                self.assertEqual(outcome.reason, "" if outcome is DELIVERED else f"HTTP {code}")
        self.assertEqual(len(self.hook.heard), sum(map(len, meant.values())))

    @inlineCallbacks
    def test_retry_after(self) -> Waiting:
        self.hook.answer = 429
        told = {
            "120": 120.0,
            formatdate(EPOCH + 60, usegmt=True): 60.0,
            formatdate(EPOCH - 60, usegmt=True): 0.0,
            "soon": 0.0,
            "-5": 0.0,
            "9" * 30: 1e30,
        }
        for text, seconds in told.items():
            self.hook.headers["Retry-After"] = text
            outcome = yield self.send()
            self.assertAlmostEqual(outcome.after, seconds, msg=text)

    @inlineCallbacks
    def test_nobody_listens(self) -> Waiting:
        url = self.url
        yield self.port.stopListening()
        outcome = yield self.send(url)
        self.assertEqual(outcome, Outcome(Verdict.AGAIN, "ConnectionRefusedError"))

    @inlineCallbacks
    def test_no_answer(self) -> Waiting:
        self.hook.answer = hold
        asked = self.hook.next()
        sent = self.send()
        yield asked
        self.clock.advance(29)
        self.assertNoResult(sent)
        self.clock.advance(2)
        outcome = yield sent
        self.assertEqual(outcome, Outcome(Verdict.AGAIN, "no answer in time"))

    @inlineCallbacks
    def test_an_answer_cut_off(self) -> Waiting:
        def cut(request: Request) -> Any:
            request.transport.abortConnection()
            return NOT_DONE_YET

        self.hook.answer = cut
        outcome = yield self.send()
        self.assertIs(outcome.verdict, Verdict.AGAIN)
        self.assertNotIn("geheim", outcome.reason)

    @inlineCallbacks
    def test_a_body_without_end_is_cut_at_its_limit(self) -> Waiting:
        gone: Deferred[None] = Deferred()

        def flood(request: Request) -> Any:
            request.notifyFinish().addErrback(lambda _: gone.callback(None))
            request.write(bytes(1 << 20))
            return NOT_DONE_YET

        self.hook.answer = flood
        outcome = yield self.send()
        self.assertEqual(outcome, DELIVERED)
        yield gone

    @inlineCallbacks
    def test_a_body_that_never_ends_is_cut_in_time(self) -> Waiting:
        gone: Deferred[None] = Deferred()

        def drip(request: Request) -> Any:
            request.notifyFinish().addErrback(lambda _: gone.callback(None))
            request.write(b"x")
            return NOT_DONE_YET

        self.hook.answer = drip
        sent = self.send()
        yield self.body_begun()
        self.clock.advance(5)
        self.assertEqual((yield sent), DELIVERED)
        yield gone

    @inlineCallbacks
    def body_begun(self) -> Waiting:
        """Fire when an answer has come but for its body: the one timer is that of the body."""
        while [call.getTime() for call in self.clock.getDelayedCalls()] != [5.0]:
            turn: Deferred[None] = Deferred()
            reactor.callLater(0, turn.callback, None)
            yield turn

    @inlineCallbacks
    def test_giving_a_try_up(self) -> Waiting:
        self.hook.answer = hold
        asked = self.hook.next()
        sent = self.send()
        yield asked
        sent.cancel()
        outcome = yield sent
        self.assertIs(outcome.verdict, Verdict.AGAIN)

    @inlineCallbacks
    def test_giving_up_what_was_answered(self) -> Waiting:
        def drip(request: Request) -> Any:
            request.notifyFinish().addErrback(lambda _: None)
            request.write(b"x")
            return NOT_DONE_YET

        self.hook.answer = drip
        webhook = self.webhook()
        sent = webhook.send(of_notice(NOTICE, EPOCH))
        yield self.body_begun()
        sent.cancel()
        self.assertEqual((yield sent), DELIVERED)


class TlsTests(HttpCase):
    """Certificates are verified."""

    def setUp(self) -> None:
        super().setUp()
        self.cert, key = tls.self_signed(Path(self.mktemp()), [], time.time)
        context = ssl.DefaultOpenSSLContextFactory(str(key), str(self.cert))
        self.secure: Any = reactor.listenSSL(0, self.site, context, interface="127.0.0.1")
        self.addCleanup(lambda: self.secure.stopListening())

    def at(self, host: str) -> str:
        return f"https://{host}:{self.secure.getHost().port}/geheim"

    def trust(self) -> None:
        """Let OpenSSL trust the server's certificate."""
        self.addCleanup(os.environ.pop, "SSL_CERT_FILE", None)
        os.environ["SSL_CERT_FILE"] = str(self.cert.absolute())

    @inlineCallbacks
    def test_a_stranger_is_refused(self) -> Waiting:
        outcome = yield self.send(self.at("localhost"))
        self.assertEqual(outcome, Outcome(Verdict.AGAIN, "TLS: certificate verify failed"))
        self.assertEqual(self.hook.heard, [])

    @inlineCallbacks
    def test_one_that_the_system_trusts_is_taken(self) -> Waiting:
        self.trust()
        for host in ("localhost", "127.0.0.1"):
            outcome = yield self.send(self.at(host))
            self.assertEqual(outcome, DELIVERED)

    @inlineCallbacks
    def test_another_name_is_refused(self) -> Waiting:
        self.trust()
        # 127.0.0.2 is this machine, too, and not in the certificate.
        elsewhere: Any = reactor.listenSSL(
            0,
            self.site,
            ssl.DefaultOpenSSLContextFactory(str(self.cert.with_name(tls.KEY)), str(self.cert)),
            interface="127.0.0.2",
        )
        self.addCleanup(elsewhere.stopListening)
        outcome = yield self.send(f"https://127.0.0.2:{elsewhere.getHost().port}/")
        self.assertIs(outcome.verdict, Verdict.AGAIN)
        self.assertEqual(self.hook.heard, [])


class Watched:
    """A sender around another; `tried` fires when a try has ended."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.tried: Deferred[None] = Deferred()

    def send(self, delivery: Delivery) -> Deferred[Outcome]:
        return self._sender.send(delivery).addBoth(self._ended)

    def _ended(self, outcome: Any) -> Any:
        tried, self.tried = self.tried, Deferred()
        reactor.callLater(0, tried.callback, None)
        return outcome


class ChannelTests(HttpCase):
    """A whole channel, its timers on a Clock, its requests on the network."""

    def start(self, before: Server | None = None) -> Server:
        """Return a server with a channel; before: one that was killed: its store and its time are left."""
        self.watched = Watched(self.webhook())
        storage, clock = (None, None) if before is None else (before.storage, before.clock)
        return Server(
            Rules("duty", group_seconds=0), storage=storage, clock=clock, senders=lambda _: self.watched
        )

    @inlineCallbacks
    def test_after_503_it_comes_again(self) -> Waiting:
        server = self.start()
        self.hook.answer = 503
        server.event("a")
        tried = self.watched.tried
        server.pass_time(0)
        yield tried
        self.assertEqual((server.told()["waiting"], server.told()["lastError"]), (1, "HTTP 503"))
        self.hook.answer = 200
        tried = self.watched.tried
        server.pass_time(2)
        yield tried
        first, second = self.heard()
        self.assertEqual(first, second)
        self.assertEqual((server.told()["waiting"], server.told()["sent"]), (0, 1))

    @inlineCallbacks
    def test_retry_after_is_heeded(self) -> Waiting:
        server = self.start()
        self.hook.answer, self.hook.headers["Retry-After"] = 429, "100"
        server.event("a")
        tried = self.watched.tried
        server.pass_time(0)
        yield tried
        server.pass_time(99)
        self.assertEqual(len(self.hook.heard), 1)
        tried = self.watched.tried
        server.pass_time(1)
        yield tried
        self.assertEqual(len(self.hook.heard), 2)

    @inlineCallbacks
    def test_killed_before_the_answer_it_comes_again_under_its_id(self) -> Waiting:
        server = self.start()
        self.hook.answer = hold
        server.event("a")
        asked = self.hook.next()
        server.pass_time(0)
        yield asked
        left = self.start(before=server)
        self.hook.answer = 200
        tried = self.watched.tried
        left.pass_time(0)
        yield tried
        first, second = self.heard()
        self.assertEqual(first, second)
        self.assertEqual(left.storage.documents("channels/"), {})
        # The one that was killed gives its connection up.
        stopped = server.channels.stop()
        server.clock.advance(3)
        yield stopped


class AppriseTests(HttpCase):
    """Apprise, with its own JSON service."""

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port.getHost().port}/hook"

    def apprise(self, url: str = "") -> ThroughApprise:
        return ThroughApprise(url or self.url, "channels.duty", "Lab", deferToThread)

    @inlineCallbacks
    def test_a_message(self) -> Waiting:
        outcome = yield self.apprise().send(of_notice(NOTICE, EPOCH))
        self.assertEqual(outcome, DELIVERED)
        (body,) = self.heard()
        self.assertEqual((body["title"], body["message"]), ("Lab: Freezer.Temp", "too warm"))
        self.assertEqual(body["type"], "failure")

    @inlineCallbacks
    def test_several_and_their_lines(self) -> Waiting:
        parts = [of_notice(Notice(text, priority=1), EPOCH) for text in ("a <b>", "c")]
        yield self.apprise().send(merge(parts))
        (body,) = self.heard()
        self.assertEqual((body["title"], body["message"]), ("Lab: 2 messages", "a <b>\nc"))
        self.assertEqual(body["type"], "warning")

    @inlineCallbacks
    def test_files(self) -> Waiting:
        yield self.apprise().send(of_notice(Notice("look", attachments=(PHOTO,)), EPOCH))
        ((told,),) = [body["attachments"] for body in self.heard()]
        self.assertEqual((told["filename"], told["mimetype"]), ("a.png", "image/png"))
        self.assertEqual(told["base64"], of_notice(Notice("", attachments=(PHOTO,)), 0.0).files[0]["data"])

    @inlineCallbacks
    def test_a_failure_is_tried_again(self) -> Waiting:
        self.hook.answer = 503
        outcome = yield self.apprise().send(of_notice(NOTICE, EPOCH))
        self.assertEqual(outcome, Outcome(Verdict.AGAIN, "Apprise could not deliver it"))

    @inlineCallbacks
    def test_what_it_raises_is_told_without_its_text(self) -> Waiting:
        def broken(**_: Any) -> bool:
            raise RuntimeError("geheim")

        sender = self.apprise()
        self.patch(sender._target, "notify", broken)
        outcome = yield sender.send(of_notice(NOTICE, EPOCH))
        self.assertEqual(outcome, Outcome(Verdict.AGAIN, "Apprise failed: RuntimeError"))


class SendersTests(SynchronousTestCase):
    """What is made of the configuration, and what keeps the server from starting."""

    def make(self, **rules: Any) -> Any:
        return Senders(Clock(), deferToThread, "Lab")(Rules("duty", **rules))

    def fault(self, kind: type[Exception], **rules: Any) -> str:
        text = str(self.assertRaises(kind, self.make, **rules))
        self.assertIn("channels.duty", text)
        self.assertNotIn("geheim", text)
        return text

    def file(self, content: bytes) -> Path:
        path = Path(self.mktemp()).absolute()
        path.write_bytes(content)
        return path

    def test_urls_and_files_with_them(self) -> None:
        self.assertIsInstance(self.make(url="https://a.example/x"), Webhook)
        self.assertIsInstance(self.make(url_file=self.file(b"https://a.example/x\n")), Webhook)
        self.assertIsInstance(self.make(apprise="json://a.example"), ThroughApprise)
        self.assertIsInstance(self.make(apprise_file=self.file(b"json://a.example\n")), ThroughApprise)

    def test_files_that_hold_none(self) -> None:
        self.fault(BadValue, url_file=self.file(b"geheim"))
        self.fault(BadValue, url_file=self.file(b"https://a.example/geheim\nhttps://b.example"))
        self.fault(BadValue, apprise_file=self.file(b"\xffgeheim"))
        self.fault(BadValue, apprise_file=self.file(b""))
        self.assertIn("No such file", self.fault(BadValue, url_file=Path("/nowhere/at/all")))

    def test_a_url_that_apprise_does_not_know(self) -> None:
        self.fault(BadValue, apprise="nosuchthing://geheim")

    def test_without_apprise(self) -> None:
        modules: dict[str, Any] = sys.modules
        hidden = {name: modules[name] for name in modules if name.split(".")[0] == "apprise"}
        self.addCleanup(modules.update, hidden)
        self.addCleanup(modules.pop, "apprise")
        modules["apprise"] = None
        self.assertIn("rtoc_twisted[notify]", self.fault(NotAvailable, apprise="json://geheim"))
        self.assertIsInstance(self.make(url="https://a.example/x"), Webhook)
