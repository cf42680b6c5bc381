"""User actions: what they answer, and which files they may have sent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted.automation.actions.shelf import Shelf
from rtoc_twisted.automation.scripts import messages
from rtoc_twisted.errors import BadValue, TooLarge
from tests.actions_support import Stage


class UserActionTests(SynchronousTestCase):
    """The answer of `userAction` (golden: userAction.*)."""

    def setUp(self) -> None:
        self.stage = Stage(Path(self.mktemp()).absolute())

    def answer(self, kind: str, data: Any = None) -> Any:
        """Return the answer of a user action whose script returns that."""
        ran = self.stage.actions.answer_user("u", "script")
        self.stage.mother.fork_now()
        self.assertEqual(self.stage.script.begin.kind, "user")
        self.stage.script.done(kind, data)
        return self.successResultOf(ran)

    def test_text(self) -> None:
        told = self.answer("text", "hi there")
        self.assertEqual(told, {"name": "u", "success": True, "type": "text", "data": "hi there"})

    def test_bytes(self) -> None:
        for kind in ("picture", "document"):
            told = self.answer(kind, b"document body")
            data = "ZG9jdW1lbnQgYm9keQ=="
            self.assertEqual(told, {"name": "u", "success": True, "type": kind, "data": data})

    def test_file(self) -> None:
        (self.stage.export / "doc.txt").write_bytes(b"document body")
        for path in ("doc.txt", str(self.stage.export / "doc.txt")):
            self.assertEqual(self.answer("document", path)["data"], "ZG9jdW1lbnQgYm9keQ==")

    def test_file_that_may_not_be_sent(self) -> None:
        told = self.answer("picture", "/etc/passwd")
        self.assertEqual((told["success"], told["type"]), (False, "text"))
        self.assertIn("there is no file '/etc/passwd' below", told["data"])

    def test_what_is_no_pair(self) -> None:
        for kind, data in (("none", None), ("value", ["other", "x"]), ("text", 3), ("document", None)):
            told = self.answer(kind, data)
            self.assertEqual((told["success"], told["type"]), (False, "text"))
            self.assertIn("a user action returns a pair", told["data"])

    def test_script_that_fails(self) -> None:
        ran = self.stage.actions.answer_user("u", "1/0")
        self.stage.mother.fork_now()
        self.stage.script.fail("ZeroDivisionError: division by zero")
        told = {"name": "u", "success": False, "type": "text", "data": "ZeroDivisionError: division by zero"}
        self.assertEqual(self.successResultOf(ran), told)

    def test_too_large(self) -> None:
        self.assertIn("has more than", self.answer("picture", b"x" * (10 << 20 | 1))["data"])

    def test_globals_are_not_those_of_the_action_of_that_name(self) -> None:
        ran = self.stage.actions.answer_user("a", "script")
        self.stage.mother.fork_now()
        self.stage.script.say(messages.Keep("n", 1))
        self.stage.script.done("text", "")
        self.assertTrue(self.successResultOf(ran)["success"])
        self.stage.run("a")
        self.assertEqual(self.stage.script.begin.globals, {})
        self.stage.actions.forget("a", "user")
        self.assertIsNone(self.stage.storage.document("automation/userGlobals/a"))


class ShelfTests(SynchronousTestCase):
    """Files below the directories, and none else."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.first, self.second = self.root / "first", self.root / "second"
        for directory in (self.first, self.second):
            directory.mkdir(parents=True)
        self.shelf = Shelf((self.first, self.second))

    def test_first_directory_wins(self) -> None:
        (self.second / "f").write_bytes(b"2")
        self.assertEqual(self.shelf.read("f"), b"2")
        (self.first / "f").write_bytes(b"1")
        self.assertEqual(self.shelf.read("f"), b"1")

    def test_link_within_is_followed_and_one_that_leads_out_is_not(self) -> None:
        (self.root / "secret").write_bytes(b"secret")
        (self.first / "f").write_bytes(b"1")
        (self.first / "in").symlink_to("f")
        (self.first / "out").symlink_to("../secret")
        (self.first / "up").symlink_to("..")
        (self.first / "loop").symlink_to("loop")
        self.assertEqual(self.shelf.read("in"), b"1")
        for name in ("out", "../secret", "up/secret", "loop", "none", "", "\0", str(self.root / "secret")):
            self.assertRaises(BadValue, self.shelf.read, name)

    def test_what_is_no_file_is_refused(self) -> None:
        os.mkfifo(self.first / "pipe")
        (self.first / "directory").mkdir()
        before = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208  numbers are all
        for name in ("pipe", "directory", "."):
            self.assertRaises(BadValue, self.shelf.read, name)
        self.assertEqual(sorted(os.listdir("/proc/self/fd")), before)  # noqa: PTH208

    def test_large_file_is_refused(self) -> None:
        with (self.first / "large").open("wb") as file:
            file.truncate(10 << 20)
        self.assertEqual(len(self.shelf.read("large")), 10 << 20)
        with (self.first / "large").open("ab") as file:
            file.write(b"x")
        self.assertRaises(TooLarge, self.shelf.read, "large")
