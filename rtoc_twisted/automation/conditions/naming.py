"""Names in a condition: which signal, parameter or constant is meant."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from ...wire.batch import MAX_NAME
from .language import CONSTANTS, FUNCTIONS, MODULES
from .source import Source
from .uses import View

MAX_NAMES = 64

_VIEWS = {"latest": View.LATEST, "x": View.X, "y": View.Y}
_SIGNAL_WORDS = ("nodata", "age", "rate", "signal", "parameter")
_TOLD = 60
"""Characters of a name that a fault repeats."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A signal or a parameter. view: LATEST also where the signal itself is named (`bare`)."""

    key: str
    view: View
    bare: bool


def short(name: str) -> str:
    """Return a name for a fault."""
    return name if len(name) <= _TOLD else f"{name[:_TOLD]}.."


def module_of(name: str) -> str:
    """Return the module's name in the tables."""
    return "np" if name == "numpy" else name


def reference(source: Source, node: ast.expr) -> Reference | None:
    """Return the signal or parameter that something names, None where it names neither.

    Raises BadValue for a name that is outside the language.
    """
    if isinstance(node, ast.Attribute):
        named = meant(source, node)
        return named if isinstance(named, Reference) else None
    return _called(source, node) if isinstance(node, ast.Call) else None


def meant(source: Source, node: ast.Attribute) -> Reference | float:
    """Return the signal, the parameter or the constant (math.pi) that a name with points means.

    Raises BadValue for a name that is outside the language.
    """
    parts, base = _parts(node)
    if isinstance(base, ast.Name):
        if base.id in MODULES:
            return _constant(source, node, base.id, parts)
        return _dotted(source, node, base, parts)
    if not isinstance(base, ast.Call) or (named := _called(source, base)) is None or not named.bare:
        raise _fault_at(source, parts[0], "only signals have .latest, .x and .y")
    if named.view is View.PARAMETER or len(parts) > 1 or parts[0].attr not in _VIEWS:
        raise _fault_at(source, parts[-1], "after signal(..) comes .latest, .x or .y, or nothing")
    return Reference(named.key, _VIEWS[parts[0].attr], bare=False)


def unknown(source: Source, node: ast.Name) -> str:
    """Return what to say of a single name that means nothing."""
    name = short(source.words(node))
    if node.id in MODULES:
        return f"{name} is followed by a function or a constant: {name}.name"
    if node.id in FUNCTIONS[""] or node.id in _SIGNAL_WORDS:
        return f"{name} is a function: {name}(..)"
    return f"{name} alone means nothing here: Device.Signal.latest, Plugin.parameter, clock or a function"


def _constant(source: Source, node: ast.Attribute, module: str, parts: list[ast.Attribute]) -> float:
    known, name = CONSTANTS.get(module_of(module), {}), parts[0].attr
    words = short(source.words(node))
    if len(parts) == 1 and name in known:
        return known[name]
    if len(parts) == 1 and name in FUNCTIONS[module_of(module)]:
        raise source.fault(source.start(node), f"{words} is a function: {words}(..)")
    told = ", ".join(f"{module}.{name}" for name in known) or f"none in {module}"
    raise source.fault(source.start(node), f"there is no constant {words} here; there are {told}")


def _called(source: Source, node: ast.Call) -> Reference | None:
    """Return what signal("..") or parameter("..") names, None where another function is called."""
    if not isinstance(node.func, ast.Name) or node.func.id not in ("signal", "parameter"):
        return None
    word = node.func.id
    given = node.args[0] if len(node.args) == 1 and not node.keywords else None
    if not isinstance(given, ast.Constant) or not isinstance(given.value, str):
        raise source.fault(source.start(node), f'{word} takes a name in quotes: {word}("Device.Name")')
    device, _, name = given.value.partition(".")
    if not device or not name:
        raise source.fault(source.start(given), 'a name has a device and a name of its own: "Device.Name"')
    if len(given.value) > 2 * MAX_NAME:
        raise source.fault(source.start(given), f"a name has {MAX_NAME} letters at most")
    view = View.LATEST if word == "signal" else View.PARAMETER
    return Reference(given.value, view, bare=True)


def _dotted(source: Source, node: ast.Attribute, base: ast.Name, parts: list[ast.Attribute]) -> Reference:
    source.words(node)
    for part in parts:
        if part.attr.startswith("__"):
            raise _fault_at(source, part, f"{short(part.attr)} is not part of the language")
    if base.id.startswith("__"):
        raise source.fault(source.start(base), f"{short(base.id)} is not part of the language")
    names = [base.id, *(part.attr for part in parts)]
    view = _VIEWS.get(names[-1])
    if len(names) == 2:
        if names[1] == "latest":
            raise source.fault(source.start(base), f"which signal of {short(base.id)}? Device.Signal.latest")
        return Reference(".".join(names), View.LATEST, bare=True)
    if len(names) == 3 and view is not None:
        return Reference(".".join(names[:2]), view, bare=False)
    if names[2] in _VIEWS:
        raise _fault_at(source, parts[2], f"after .{names[2]} comes nothing more")
    if view is None:
        told = f'signal("{short(".".join(names))}"), if that is its name'
    else:
        told = f'signal("{short(".".join(names[:-1]))}").{names[-1]}, if that is its name'
    raise _fault_at(
        source, parts[1], f"after Device.Signal comes .latest, .x or .y, or nothing; or say {told}"
    )


def _parts(node: ast.Attribute) -> tuple[list[ast.Attribute], ast.expr]:
    """Return the attributes in the order in which they are written, and what is before them."""
    parts = [node]
    while isinstance(parts[-1].value, ast.Attribute):
        parts.append(parts[-1].value)
    return parts[::-1], parts[-1].value


def _fault_at(source: Source, part: ast.Attribute, text: str) -> Exception:
    """Return a fault at the name after the point."""
    return source.fault(source.end(part) - len(part.attr), text)
