"""Messages as HTTP requests: a POST of one JSON document."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, inlineCallbacks, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IConsumer, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from .. import __version__
from ..wire.codec import to_json
from .delivery import Delivery, as_json
from .sender import DELIVERED, Outcome, Verdict

_CONNECT_SECONDS, _ANSWER_SECONDS, _BODY_SECONDS = 10.0, 30.0, 5.0
_LARGEST_BODY = 64 << 10
"""Bytes of an answer's body that are read, and thrown away, before the connection is cut."""

_LATER = frozenset({408, 425, 429})
"""Answers below 500 after which the same request may succeed (RFC 9110, RFC 6585, RFC 8470)."""


def agent(reactor: Any) -> Agent:
    """Return what connects webhooks: TLS certificates are verified, redirects not followed."""
    made: Agent = Agent.usingEndpointFactory(reactor, _Endpoints(reactor))
    return made


class Webhook:
    """Posts messages to a URL. headers: further ones of each request; server: this one's name."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        server: str,
        agent: IAgent,
        clock: IReactorTime,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._url = url.encode("ascii")
        self._headers = Headers({"User-Agent": [f"rtoc_twisted/{__version__}"]})
        for name, value in headers.items():
            self._headers.setRawHeaders(name, [value])
        self._headers.setRawHeaders("Content-Type", ["application/json"])
        self._server = server
        self._agent = agent
        self._clock = clock
        self._wall = wall

    @inlineCallbacks
    def send(self, delivery: Delivery) -> Generator[Deferred[Any], Any, Outcome]:
        """Post a message once."""
        body = _Body(to_json(as_json(delivery, self._server)))
        try:
            asked = self._agent.request(b"POST", self._url, self._headers.copy(), body)
            response = yield asked.addTimeout(_ANSWER_SECONDS, self._clock)
        except Exception as error:
            return Outcome(Verdict.AGAIN, _reason(error))
        yield self._ignore(response)
        return self._judge(response)

    def _ignore(self, response: IResponse) -> Deferred[None]:
        if response.length is not UNKNOWN_LENGTH and not response.length:
            return succeed(None)
        body = _Ignored()
        response.deliverBody(body)
        return body.done.addTimeout(_BODY_SECONDS, self._clock)

    def _judge(self, response: IResponse) -> Outcome:
        code = response.code
        if 200 <= code < 300:
            return DELIVERED
        reason = f"HTTP {code}"
        if code >= 500 or code in _LATER:
            return Outcome(Verdict.AGAIN, reason, self._after(response))
        return Outcome(Verdict.REFUSED, reason)

    def _after(self, response: IResponse) -> float:
        """Return the seconds of a Retry-After, which names these or a date (RFC 9110 section 10.2.3)."""
        told = (response.headers.getRawHeaders("Retry-After") or [""])[-1].strip()
        if told.isdecimal():
            return float(told)
        try:
            return max(0.0, parsedate_to_datetime(told).timestamp() - self._wall())
        except (ValueError, OverflowError):
            return 0.0


def _reason(error: Exception) -> str:
    """Return why there was no answer. No text of the exception is in it: there the URL may be."""
    if isinstance(error, ResponseNeverReceived) and error.reasons:
        error = error.reasons[0].value
    if isinstance(error, CancelledError | TimeoutError):
        return "no answer in time"
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return f"TLS: {error.args[0][0][-1]}"
    return type(error).__name__


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Makes what connects, as Agent would."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._policy = BrowserLikePolicyForHTTPS()

    # IAgentEndpointFactory

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802 - as the interface has it
        """Return the endpoint of a URL."""
        endpoint: Any = HostnameEndpoint(self._reactor, uri.host, uri.port, _CONNECT_SECONDS)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return _Quiet(endpoint)


@implementer(IStreamClientEndpoint)
class _Quiet:
    """An endpoint whose connections leave no lines in the log."""

    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    # IStreamClientEndpoint

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: N803 - as the interface has it
        """Connect."""
        protocolFactory.noisy = False
        return self._endpoint.connect(protocolFactory)


@implementer(IBodyProducer)
class _Body:
    """A request's body, in one piece."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    # IBodyProducer

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write it."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: all is written."""

    def resumeProducing(self) -> None:
        """Do nothing."""

    def stopProducing(self) -> None:
        """Do nothing."""


class _Ignored(Protocol):
    """Reads an answer's body to its end or its limit; `done` fires then, or when it is cancelled."""

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred(self._enough)
        self._read = 0

    def _enough(self, done: Deferred[None]) -> None:
        self._cut()
        done.callback(None)

    def _cut(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    # IProtocol

    def dataReceived(self, data: bytes) -> None:
        """Count what comes."""
        self._read += len(data)
        if self._read > _LARGEST_BODY:
            self._cut()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell that it has ended."""
        if not self.done.called:
            self.done.callback(None)
