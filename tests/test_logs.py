"""The observer that `twistd --logger` is given."""

from __future__ import annotations

import io
import json
import sys

from twisted.logger import Logger
from twisted.python.reflect import namedAny
from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.logs import json_lines


class JsonLinesTests(SynchronousTestCase):
    """One event, one line, nothing around it."""

    def test_a_line_is_json(self) -> None:
        out = io.StringIO()
        self.patch(sys, "stdout", out)
        logger = Logger(namespace="test", observer=json_lines())
        logger.info("{count} clients", count=3)
        logger.info("two\nlines")
        first, second, rest = out.getvalue().split("\n")
        self.assertEqual((json.loads(first)["count"], rest), (3, ""))
        self.assertEqual(json.loads(second)["log_format"], "two\nlines")

    def test_twistd_finds_it(self) -> None:
        self.assertIs(namedAny("rtoc_twisted.logs.json_lines"), json_lines)
