"""One port for the page and the socket: an upgrade request at any path becomes a connection."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from twisted.web.http import Request as HTTPRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from .websocket import SERVER, RtocFactory

_REQUEST_SECONDS = 30
_CSP = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    b" base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"Server", SERVER.encode()),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Content-Security-Policy", _CSP),
    (b"Cache-Control", b"no-cache"),
)


class _Document(Resource):
    """A document that is made for each request, and is the same for everybody."""

    isLeaf = True

    def __init__(self, kind: bytes, make: Callable[[], bytes]) -> None:
        super().__init__()
        self._kind = kind
        self._make = make

    # IResource

    def render_GET(self, request: Request) -> bytes:
        """Return the document."""
        request.setHeader(b"Content-Type", self._kind)
        return self._make()


class _Upgrade(WebSocketResource):
    """Hands the transport of a request over to the socket."""

    # IResource

    def render(self, request: Request) -> Any:
        """Let the socket answer; what came in one segment with the request is read by it, too."""
        channel: Any = request.channel
        transport: Any = channel.transport
        answer = super().render(request)
        if channel.transport is None:
            # Over TLS the transport is itself the protocol that wraps ours.
            taker = transport.wrappedProtocol if hasattr(transport, "wrappedProtocol") else transport.protocol
            channel.rawDataReceived = taker.dataReceived
        return answer


class _QuietSite(Site):
    """A site without an access log: connections log themselves, and the page is not worth a line.

    Every answer, a refusal too, has the headers that keep browsers careful, and no version.
    """

    # HTTPFactory

    noisy = False
    displayTracebacks = False

    def log(self, request: HTTPRequest) -> None:
        """Say nothing."""

    def getResourceFor(self, request: Request) -> IResource:  # noqa: N802 - Site calls it so
        """Return what answers a request."""
        for name, value in _HEADERS:
            request.setHeader(name, value)
        found: IResource = super().getResourceFor(request)
        return found


class Root(Resource):
    """The tree of the page; whatever asks for an upgrade is handed to the socket."""

    def __init__(self, socket: IResource) -> None:
        super().__init__()
        self._socket = socket

    # IResource

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """Return the socket for upgrade requests, else the document of that path."""
        upgrade = request.getHeader(b"upgrade")
        if upgrade is not None and upgrade.lower() == b"websocket":
            return self._socket
        child: IResource = super().getChildWithDefault(path, request)
        return child


def make_site(
    factory: RtocFactory, schema: Mapping[str, Any], health: Callable[[], Mapping[str, Any]]
) -> Site:
    """Return the site of both ports.

    schema: the JSON Schema of requests, served at /protocol.json; health: the figures of /health,
    which are for everybody.
    """
    root = Root(_Upgrade(factory))
    published = json.dumps(schema, indent=1).encode()
    root.putChild(b"protocol.json", _Document(b"application/schema+json", lambda: published))
    root.putChild(b"health", _Document(b"application/json", lambda: json.dumps(health()).encode()))
    for entry in files("rtoc_twisted.web").joinpath("static").iterdir():
        if entry.is_file():
            content = entry.read_bytes()
            kind = (mimetypes.guess_type(entry.name)[0] or "application/octet-stream").encode()
            kind += b"; charset=utf-8" if kind.startswith(b"text/") else b""
            name = b"" if entry.name == "index.html" else entry.name.encode()
            root.putChild(name, _Document(kind, partial(bytes, content)))
    return _QuietSite(root, timeout=_REQUEST_SECONDS, reactor=factory.reactor)
