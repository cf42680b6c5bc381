"""The mother of the scripts' processes, and those: all of them real."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.scripts.messages import Done, Failed, Forked, Kill, Printed
from rtoc_twisted.automation.scripts.words import MODULES
from rtoc_twisted.box.messages import Samples
from tests.process_support import PATIENCE, environment
from tests.script_child_support import Child, Mother, Said, Server, begin, column, shared_mother

FOREVER = "while 1 > 0: pass"
LAZY = (
    "import datetime, time, decimal, fractions, statistics, string, re, json, random, itertools",
    "datetime.datetime.strptime('1 Jan 2020', '%d %b %Y'), time.strptime('2020', '%Y')",
    "datetime.datetime.now().astimezone().isoformat(), datetime.date.today().strftime('%A %x')",
    "time.strftime('%c'), time.localtime(), time.ctime(), time.perf_counter(), time.process_time()",
    "decimal.Decimal('1.1').sqrt(), fractions.Fraction('1/3'), statistics.NormalDist(1, 2).samples(3)",
    "statistics.linear_regression([1, 2, 3], [2, 4, 6]), string.Template('$a').substitute(a=1)",
    "re.compile(r'(?i)\\\\w+\\\\N{BULLET}').pattern, random.sample([1, 2], 1)",
    "json.loads(json.dumps({'a': [1.5, None]}, indent=1))",
    "'ä'.encode('latin-1').decode('utf-16', 'replace'), 'a'.encode('idna'), b'a'.decode('cp1252')",
    "np.random.default_rng().normal(size=3), np.random.normal(), np.random.permutation(4)",
    "np.linalg.svd(np.eye(3)), np.linalg.solve(np.eye(2), [1, 2]), np.linalg.eig(np.eye(2))",
    "np.fft.fft(range(8)), np.ma.array([1], mask=[1])",
    "np.polynomial.Polynomial.fit([1, 2, 3], [1, 4, 9], 2), np.polyfit([1, 2, 3], [1, 4, 9], 1)",
    "np.unique([1, 1]), np.median([1, 2]), np.percentile([1, 2], 50), np.histogram([1, 2])",
    "np.datetime64('now'), np.array2string(np.arange(2000)), np.einsum('i,i', [1, 2], [3, 4])",
    "np.char.upper('a')",
    "np.vectorize(lambda v: v + 1)([1, 2]), np.dot(np.ones((300, 300)), np.ones((300, 300))).sum()",
    "np.convolve([1, 2], [1, 2]), np.interp(1.5, [1, 2], [3, 4]), np.gradient([1, 2, 4]), np.sort([3, 1])",
    "math.gamma(5), f'{1e6:,.2f}', '{:%Y}'.format(datetime.date(2020, 1, 1)), repr(1.5), str(2**70)",
    "rtoc.resampleFourier(Generator.Sinus, 100), rtoc.estimate(Generator.Sinus, 5)",
    "rtoc.lsfit(Generator.Sinus, 'quad'), rtoc.combine([Generator.Sinus, Generator.Square], 9)",
    "sp.optimize.curve_fit(lambda x, a: a * x, [1, 2, 3], [2, 4, 6.1]), sp.optimize.linprog([1, 1])",
    "sp.optimize.minimize(lambda v: v[0] ** 2, [3.0]), sp.optimize.brentq(lambda v: v - 1, 0, 3)",
    "sp.optimize.differential_evolution(lambda v: v[0] ** 2, [(-1, 1)], maxiter=3)",
    "sp.signal.filtfilt(*sp.signal.butter(3, 0.1), np.ones(50)), sp.signal.savgol_filter(np.ones(9), 5, 2)",
    "sp.signal.lsim(([1], [1, 1]), [1, 1], [0, 1]), sp.signal.find_peaks([0, 1, 0]), sp.fft.dct([1.0, 2])",
    "sp.integrate.solve_ivp(lambda t, y: -y, (0, 1), [1.0], method='BDF'), sp.linalg.expm(np.eye(2))",
    "sp.interpolate.CubicSpline([1, 2, 3], [1, 4, 9])(2.5), sp.ndimage.gaussian_filter1d([1.0, 2], 1)",
    "sp.stats.linregress([1, 2, 3], [1, 2, 4]), sp.stats.norm.rvs(size=3), sp.constants.c",
)
"""Calls for which modules of Python, numpy or scipy might want to import others, or to read files."""


def is_gone(pid: int) -> bool:
    """Wait until a process that is no child of ours is gone; return False when it does not end."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], PATIENCE)[0])
    finally:
        os.close(handle)


class ImportsTest(SynchronousTestCase):
    """What the mother's module brings with it."""

    def test_neither_numpy_nor_twisted(self) -> None:
        # She tells numpy how many threads it may have before she imports it; what is more costs each fork.
        mother = "rtoc_twisted.automation.scripts.mother"
        code = f"import sys, {mother}\nprint(*{{'numpy', 'twisted'}} & {{*sys.modules}})"
        command = [sys.executable, "-P", "-c", code]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip(), "")


def started(mother: Mother, source: str = FOREVER) -> Child:
    """Begin a run, and return once its script runs."""
    child = mother.fork()
    child.send(begin(f"print('go')\n{source}", Server()))
    first, *_ = child.receive() or [Failed("", 0)]
    if first != Printed("go\n"):
        raise AssertionError(first)
    return child


class Page(BaseHTTPRequestHandler):
    """Serves one page."""

    def do_GET(self) -> None:
        """Serve it."""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"hello {self.headers['Host'].partition(':')[0]}".encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class MotherTest(SynchronousTestCase):
    """Runs of scripts, and ends."""

    def setUp(self) -> None:
        """Have a mother."""
        self.mother = shared_mother()

    def assert_well(self, said: Said) -> None:
        self.assertIsInstance(said.end, Done, said.failure)
        self.assertEqual(said.status, 0)

    def test_a_run(self) -> None:
        server = Server()
        said = self.mother.run("print(Generator.Square.latest)\nstream(3, 'a')\nreturn 'text', clock", server)
        self.assert_well(said)
        self.assertEqual((said.printed, said.end), ("-1.0\n", Done("text", "1600000000.0")))
        (sent,) = said.effects
        assert isinstance(sent, Samples)
        self.assertEqual(column(sent.y), [3.0])

    def test_what_she_says_of_herself(self) -> None:
        self.assertEqual(self.mother.ready.pid, self.mother.pid)
        self.assertEqual([text for text in self.mother.ready.missing if "scipy" not in text], [])

    def test_nothing_is_left_for_the_next(self) -> None:
        source = "print(hasattr(np, 'left'), random.random(), np.random.rand())\nnp.left = 1"
        printed = [self.mother.run(f"import random\n{source}").printed.split() for _ in range(3)]
        self.assertEqual([words[0] for words in printed], ["False"] * 3)
        self.assertEqual(len({word for words in printed for word in words[1:]}), 6)

    def test_many_runs(self) -> None:
        before = len(os.listdir(f"/proc/{self.mother.pid}/fd"))  # noqa: PTH208  a number is all
        children = []
        for index in range(40):
            child = self.mother.fork()
            child.send(begin(f"print({index})", Server()))
            children.append(child)
        printed = [child.served(Server()) for child in children]
        self.assertEqual([said.status for said in printed], [0] * 40)
        self.assertEqual(len(os.listdir(f"/proc/{self.mother.pid}/fd")), before)  # noqa: PTH208

    def test_runs_at_the_same_time(self) -> None:
        slow, quick = started(self.mother), self.mother.run("print(1)")
        self.assertEqual((quick.printed, quick.status), ("1\n", 0))
        slow.kill()
        self.assertEqual(slow.ended(), -signal.SIGKILL)

    def test_kill(self) -> None:
        child = started(self.mother, "try:\n    while 1 > 0: pass\nexcept: pass")
        child.kill()
        self.assertEqual(child.receive(), None)
        self.assertEqual(child.ended(), -signal.SIGKILL)
        self.mother.send(Kill(child.number))
        self.mother.send(Kill(99))
        self.assert_well(self.mother.run(""))

    def test_kill_before_it_begins(self) -> None:
        child = self.mother.fork()
        child.kill()
        self.assertEqual(child.receive(), None)
        self.assertEqual(child.ended(), -signal.SIGKILL)

    def test_stop(self) -> None:
        child = started(self.mother, "while True:\n    pass\nprint('left')")
        child.stop()
        self.assertEqual(child.served(Server()).printed, "left\n")
        child = started(self.mother, "import time\ntime.sleep(1e6)\nprint('woken')")
        child.stop()
        self.assertEqual(child.served(Server()).printed, "woken\n")

    def test_a_host_that_leaves_a_run(self) -> None:
        child = started(self.mother, "while 1 > 0: stream(1)")
        self.assertEqual(child.ended(), 0)
        child = self.mother.fork()
        self.assertEqual(child.ended(), 0)

    def test_a_terminal_does_not_interrupt_her(self) -> None:
        os.kill(self.mother.pid, signal.SIGINT)
        self.assert_well(self.mother.run(""))

    def test_her_processes_are_hers(self) -> None:
        child = self.mother.fork()
        pid = self.mother.expect(Forked, child.number).pid
        parents = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        self.assertEqual(int(parents), self.mother.pid)
        child.kill()
        self.assertEqual(child.receive(), None)
        self.assertEqual(child.ended(), -signal.SIGKILL)

    def test_nothing_is_imported_or_read_later(self) -> None:
        server = Server()
        for line in (*LAZY[1:], *(f"import {name}" for name in MODULES if name != "scipy")):
            text = line if line.startswith("import") else f"{LAZY[0]}\nprint({line})"
            said = self.mother.run(text, server)
            self.assertIsInstance(said.end, Done, f"{line}: {said.failure}")

    def test_local_time_is_known(self) -> None:
        said = self.mother.run("import time\nprint(time.strftime('%H %Z', time.localtime(0)))")
        self.assertEqual(said.printed.strip(), time.strftime("%H %Z", time.localtime(0)))

    def test_files_where_they_are_allowed(self) -> None:
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        # The process may be nobody's.
        folder.chmod(0o777)
        source = (
            "with open(p + '/a', 'w') as f:\n    f.write('written')\nnp.save(p + '/b', [1, 2])\n"
            "print(open(p + '/a').read(), np.load(p + '/b.npy'))\nreturn 'document', p + '/a'"
        )
        said = self.mother.run(f"p = {str(folder)!r}\n{source}", files=True)
        self.assert_well(said)
        self.assertEqual((said.printed, said.end), ("written [1 2]\n", Done("document", b"written")))
        self.assertIn("AttributeError", self.mother.run("np.load('x')").failure)

    def test_the_network_where_it_is_allowed(self) -> None:
        with HTTPServer(("127.0.0.1", 0), Page) as server:
            thread = threading.Thread(target=server.handle_request, daemon=True)
            thread.start()
            source = f"'http://some.where:{server.server_port}/'"
            said = self.mother.run(
                f"import urllib.request\nprint(urllib.request.urlopen({source}).read())", network=True
            )
            thread.join(PATIENCE)
        self.assertEqual(said.printed, "b'hello some.where'\n", said.failure)
        said = self.mother.run("import socket\nsocket.socket(socket.AF_UNIX)", network=True)
        self.assertIn("PermissionError", said.failure)

    def test_events_reach_the_script(self) -> None:
        said = self.mother.run("print(cause['value'] + 1)", event={"value": 2})
        self.assertEqual(said.printed, "3\n")


class EndTest(SynchronousTestCase):
    """The end of the mother, or of the host."""

    def test_all_end_with_the_mother(self) -> None:
        mother = Mother()
        self.addCleanup(mother.hang_up)
        child = started(mother)
        pid = child.pid()
        mother.kill()
        self.assertTrue(is_gone(pid))
        self.assertEqual(child.receive(), None)
        child.close()

    def test_all_end_with_the_host(self) -> None:
        mother = Mother()
        child = started(mother)
        pid = child.pid()
        self.assertEqual(mother.hang_up(), 0)
        child.close()
        self.assertTrue(is_gone(pid))
