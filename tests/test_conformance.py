"""The Autobahn test suite's cases 1 to 7 and 10 against this server's site, with an echo behind it."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.process_support import PATIENCE, environment

KOSOKU = [sys.executable, str(Path(sysconfig.get_path("scripts"), "kosoku"))]
SEVERITIES = {"OK", "NON-STRICT", "INFORMATIONAL"}
"""How the suite calls what passes; it fails what is not there."""

ECHO = """
from twisted.internet import endpoints, reactor
from rtoc_twisted.auth.origin import OriginRule
from rtoc_twisted.hub import Hub
from rtoc_twisted.web.site import make_site
from rtoc_twisted.web.websocket import Doors, RtocFactory
from rtoc_twisted.wire.frames import binary_frame, text_frame

class Echo:
    def __init__(self, socket):
        self.socket = socket
        self.opened = self.ended = self.writable = lambda: None

    def received(self, payload, binary):
        self.socket.send(binary_frame(payload) if binary else text_frame(payload))

factory = RtocFactory(Doors(Echo, Hub(reactor), OriginRule([], []), False), reactor)
site = make_site(factory, {}, dict)
listening = endpoints.serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(site)
listening.addCallback(lambda port: print(port.getHost().port, flush=True))
reactor.run()
"""


class SuiteTests(SynchronousTestCase):
    """kosoku runs the cases: 9 is about speed, 12 and 13 about compression, which is not offered."""

    def setUp(self) -> None:
        self.report = Path(self.mktemp()).absolute()
        self.echo = subprocess.Popen(
            [sys.executable, "-c", ECHO], env=environment(), stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(self.end)

    def end(self) -> None:
        self.echo.kill()
        self.echo.communicate()

    def test_cases_1_to_7_and_10(self) -> None:
        assert self.echo.stdout is not None
        port = int(self.echo.stdout.readline())
        done = subprocess.run(
            [*KOSOKU, "-m", "fuzzingclient", "-x", "9.*", "-x", "12.*", "-x", "13.*"]
            + ["-o", str(self.report), f"127.0.0.1:{port}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3 * PATIENCE,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        (results,) = json.loads((self.report / "index.json").read_text()).values()
        self.assertEqual({case.partition(".")[0] for case in results}, set("1234567") | {"10"})
        failed = {case for case, told in results.items() if told["behavior"] not in SEVERITIES}
        failed |= {case for case, told in results.items() if told["behaviorClose"] not in SEVERITIES}
        self.assertEqual(failed, set())
