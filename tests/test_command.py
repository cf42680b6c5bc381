"""One tag, one table: the commands, their order, and the schema made of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from rtoc_twisted.command import ORDER, Command, CommandTable, command, tagged
from rtoc_twisted.errors import BadValue
from rtoc_twisted.interfaces import ICommandSource
from rtoc_twisted.model import Permission
from rtoc_twisted.wire.request import Request, lenient

from .doubles import house


@implementer(ICommandSource)
class Source:
    """A source of the commands that it is given."""

    def __init__(self, *commands: Command) -> None:
        self._commands = commands

    def commands(self) -> Iterable[Command]:
        return self._commands


@implementer(ICommandSource)
class ThirdParty:
    """A package from elsewhere."""

    def commands(self) -> Iterable[Command]:
        return tagged(self)

    @command("square", float, Permission.READ)
    def square(self, connection: Any, number: float) -> dict[str, float]:
        """Answer the square of a number.

        And much more.
        """
        return {"square": number * number}

    @command("area", float, Permission.WRITE, {"height": float})
    def area(self, connection: Any, data: dict[str, float]) -> dict[str, float]:
        """Answer an area."""
        return {"area": data["area"] * data.get("height", 1)}


def plain(key: str, **companions: Any) -> Command:
    """Return a command that does nothing."""
    return Command(key, Any, Permission.NONE, "", lambda *_: None, companions)


class TableTests(SynchronousTestCase):
    def keys(self, *sources: ICommandSource) -> list[str]:
        return [found.key for found in CommandTable(sources).commands]

    def test_order(self) -> None:
        backwards = Source(*map(plain, reversed(ORDER)))
        self.assertEqual(self.keys(Source(plain("z"), plain("a")), backwards), [*ORDER, "z", "a"])

    def test_the_order_of_the_protocol(self) -> None:
        self.assertEqual(ORDER[0], "authorize")
        self.assertLess(ORDER.index("y"), ORDER.index("getLatest"))
        keys = [found.key for found in house().table.commands]
        self.assertEqual(keys[: len(ORDER)], list(ORDER))

    def test_one_key_one_owner(self) -> None:
        for one, other in (
            (plain("a"), plain("a")),
            (plain("a", b=int), plain("b")),
            (plain("a"), plain("b", a=int)),
            (plain("a", c=int), plain("b", c=str)),
            (plain("a"), plain("id")),
        ):
            self.assertRaises(ValueError, CommandTable, [Source(one), Source(other)])

    def test_present(self) -> None:
        table = CommandTable([Source(plain("b"), plain("y"), plain("c"))])
        found = table.present(table.schema.decode(b'{"c":1,"unknown":2,"y":3}'))
        self.assertEqual([one.key for one in found], ["y", "c"])

    def test_tagged(self) -> None:
        verifyObject(ICommandSource, ThirdParty())
        area, square = tagged(ThirdParty())
        self.assertEqual((square.key, square.argument, square.permission), ("square", float, Permission.READ))
        self.assertEqual(square.summary, "Answer the square of a number.")
        self.assertEqual((dict(area.companions), dict(square.companions)), ({"height": float}, {}))

    def test_reading_an_argument(self) -> None:
        area, square = tagged(ThirdParty())
        request = Request({"square": 3, "area": "x", "height": 2}, raw=False)
        self.assertEqual(square.read(request), 3)
        with self.assertRaisesRegex(BadValue, "^area: "):
            area.read(request)

    def test_third_parties(self) -> None:
        client = house(sources=[ThirdParty()]).connect()
        self.assertEqual(client.ask(square=3, area=2, height=5), {"error": False, "square": 9, "area": 10})
        self.assertEqual(client.ask(square="x", area=2)["errors"][0]["key"], "square")
        self.assertRaises(ValueError, house, sources=[ThirdParty(), ThirdParty()])


class SchemaTests(SynchronousTestCase):
    """The JSON Schema of requests."""

    def setUp(self) -> None:
        self.table = house().table
        self.schema = self.table.schema.json_schema()

    def test_every_key_and_companion(self) -> None:
        keys = {"id"}
        for found in self.table.commands:
            keys |= {found.key, *found.companions}
        self.assertEqual(set(self.schema["properties"]), keys)
        self.assertLessEqual({"x", "y", "sname", "dname", "unit", "plot", "hold", "hello"}, keys)

    def test_it_says_what_it_is(self) -> None:
        self.assertEqual(self.schema["$schema"], "https://json-schema.org/draft/2020-12/schema")
        self.assertEqual((self.schema["type"], "required" in self.schema), ("object", False))

    def test_it_is_json_and_always_the_same(self) -> None:
        self.assertEqual(json.dumps(self.schema), json.dumps(house().table.schema.json_schema()))

    def test_lenient_keys_are_published_as_expected(self) -> None:
        self.assertEqual(self.schema["properties"]["hold"]["enum"], sorted(["off", "on", "mergeX", "mergeY"]))
        self.assertEqual(self.schema["properties"]["plot"], {"type": "boolean"})

    def test_every_element_is_a_schema(self) -> None:
        known = {"type", "anyOf", "items", "enum", "properties", "additionalProperties", "required", "title"}
        known |= {"minItems", "maxItems", "prefixItems", "const", "description", "default"}
        defined = self.schema["$defs"]

        def walk(element: Any) -> None:
            self.assertIsInstance(element, dict)
            if "$ref" in element:
                self.assertIn(element["$ref"].removeprefix("#/$defs/"), defined)
                return
            self.assertLessEqual(set(element), known)
            kinds = element.get("type", [])
            kinds = [kinds] if isinstance(kinds, str) else kinds
            self.assertLessEqual(
                set(kinds), {"object", "array", "string", "number", "integer", "boolean", "null"}
            )
            for part in element.get("anyOf", []):
                walk(part)
            for key in ("items", "additionalProperties"):
                if isinstance(element.get(key), dict):
                    walk(element[key])

        for element in (*self.schema["properties"].values(), *defined.values()):
            walk(element)

    def test_structs_of_third_parties_are_referred_to(self) -> None:
        class Point(msgspec.Struct):
            x: float

        schema = CommandTable([Source(Command("go", Point, Permission.NONE, "", print))]).schema.json_schema()
        self.assertEqual(schema["properties"]["go"], {"$ref": "#/$defs/Point"})
        self.assertIn("Point", schema["$defs"])

    def test_lenient_takes_everything(self) -> None:
        table = CommandTable([Source(Command("go", lenient(int), Permission.NONE, "", print))])
        request = table.schema.decode(b'{"go":"text"}')
        self.assertEqual(table.commands[0].read(request), "text")
        self.assertEqual(table.schema.json_schema()["properties"]["go"], {"type": "integer"})
