"""The documents say what the code does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from rtoc_twisted import errors
from tests.doubles import house

ROOT = Path(__file__).parent.parent
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """Return the text under a heading of docs/protocol.md, up to the next of its level."""
    level = heading.partition(" ")[0]
    return PROTOCOL.split(f"\n{heading}\n", 1)[1].split(f"\n{level} ", 1)[0]


def conversation() -> Iterator[tuple[str, list[str]]]:
    """Yield each message that is sent in the document, with those that are received then."""
    lines = "\n".join(re.findall(r"```rtoc\n(.*?)```", PROTOCOL, re.DOTALL)).splitlines()
    sent, received = "", []
    for line in filter(None, lines):
        if line.startswith("> "):
            if sent:
                yield sent, received
            sent, received = line[2:], []
        else:
            received.append(line.removeprefix("< "))
    yield sent, received


class ProtocolTest(SynchronousTestCase):
    def test_every_key_has_a_heading(self) -> None:
        headings = set(re.findall(r"^### `(\w+)`$", PROTOCOL, re.MULTILINE))
        keys = {command.key for command in house().table.commands}
        self.assertEqual(headings, keys | {"id"})

    def test_every_companion_is_in_its_key_s_section(self) -> None:
        for command in house().table.commands:
            for key in command.companions:
                self.assertIn(f"`{key}`", section(f"### `{command.key}`"))

    def test_the_order_of_work_is_the_document_s(self) -> None:
        told = re.search(r"\*\*Order inside a request\*\*.*?: (.*?), then ours", PROTOCOL, re.DOTALL)
        self.assertIsNotNone(told)
        keys = re.split(r",\s+", told[1]) if told else []
        self.assertEqual([command.key for command in house().table.commands][: len(keys)], keys)

    def test_every_error_code(self) -> None:
        rows = [line.split("|")[1] for line in section("## Errors").splitlines() if line.startswith("| `")]
        told = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}
        codes = {
            kind.code
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, errors.RTOCError)
        }
        self.assertEqual(told, codes)

    def test_the_conversation_is_what_the_server_says(self) -> None:
        client = house().connect()
        count = 0
        for sent, received in conversation():
            self.assertEqual(client.send(sent.encode()), [json.loads(line) for line in received], sent)
            count += 1
        self.assertGreater(count, 10)

    def test_links_within_the_document(self) -> None:
        anchors = {
            re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", PROTOCOL, re.MULTILINE)
        }
        self.assertLessEqual(set(re.findall(r"\]\(#([^)]*)\)", PROTOCOL)), anchors)


class ArchitectureTest(SynchronousTestCase):
    def test_every_room_is_named(self) -> None:
        rooms = {
            path.stem
            for path in (ROOT / "rtoc_twisted").iterdir()
            if (path.suffix == ".py" or (path / "__init__.py").exists()) and not path.stem.startswith("__")
        }
        named = set(re.findall(r"`(\w+)/?`", ARCHITECTURE.split("## Rooms", 1)[1].split("## Arrows", 1)[0]))
        self.assertLessEqual(rooms, named)


class ReadmeTest(SynchronousTestCase):
    def test_its_make_targets_exist(self) -> None:
        targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        self.assertLessEqual({"run", "test"}, targets)
        self.assertLessEqual(set(re.findall(r"\bmake (\w+)\b`", README)), targets)

    def test_its_files_exist(self) -> None:
        links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
        self.assertTrue(links)
        for link in links:
            self.assertTrue((ROOT / link).exists(), link)

    def test_its_python_compiles(self) -> None:
        blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        self.assertTrue(blocks)
        for block in blocks:
            compile(block, "README.md", "exec")
