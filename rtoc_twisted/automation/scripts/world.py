"""The world of one script: all names that it finds, and what it keeps for its next run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ...box import library
from ...box.plain import plain
from . import guards
from .effects import LARGEST_FILE, Printer, Recording, Telegram
from .link import Link, Returned, Unwound
from .messages import Begin, Edge, Keep
from .modules import Library, Module, public
from .things import Things, spread, spreading

_LIBRARY = (
    *("lsfit", "resample", "resampleFourier", "combine", "runningMean", "mean", "PID", "d", "diff", "norm"),
    *("estimate", "correlate", "forwardEuler", "PT2_estimation"),
)


class Kept:
    """`global`: its attributes are kept from run to run. tell: called with what is assigned."""

    __slots__ = ("__tell", "__values")

    def __init__(self, values: dict[str, Any], tell: Callable[[str, Any], None]) -> None:
        object.__setattr__(self, "_Kept__values", values)
        object.__setattr__(self, "_Kept__tell", tell)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__values[name]
        except KeyError:
            text = f"global.{name} has no value yet; 'global {name} = ..' gives it the first"
            raise AttributeError(text) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.__values[name] = value
        self.__tell(name, value)

    def __repr__(self) -> str:
        return "global"


class World:
    """What one run of a script has around it.

    begin: what the server said of the run; link: the way to it; modules: all there are.
    """

    def __init__(self, begin: Begin, link: Link, modules: Library) -> None:
        self._begin = begin
        self._link = link
        self._values = dict(begin.globals)
        self._told = {name: plain(value) for name, value in begin.globals.items()}
        self._triggers = dict(begin.triggers)
        self._printer = Printer(link)
        self._recording = Recording(link)
        self._things = Things(link, self._recording.value)
        self._modules = modules.modules(
            self._printer.write, self._leave, link.sleep, begin.files, begin.network
        )
        self._namespace: dict[str, Any] = {}

    def namespace(self, devices: Iterable[str]) -> dict[str, Any]:
        """Return the names that a script runs with, those of these devices among them."""
        names = self._namespace
        names.update({name: self._things.device(name) for name in devices})
        names.update(self._named())
        names.update(self._unwritten())
        builtins = guards.builtin_names()
        if self._begin.files:
            builtins["open"] = open
        names["__builtins__"] = builtins
        names["__name__"] = "script"
        return names

    def _named(self) -> Mapping[str, Any]:
        """Return the names that scripts write: those of words.WORLD."""
        modules, recording = self._modules, self._recording
        functions = {name: spreading(getattr(library, name)) for name in _LIBRARY}
        return {
            "stream": spreading(recording.stream),
            "plot": spreading(recording.plot),
            "event": recording.event,
            "print": self._printer.print,
            "clock": self._begin.clock,
            "clearData": self._clear_data,
            "exportData": self._export_data,
            "device": self._things.device,
            "signal": self._things.signal,
            "telegram": Telegram(self._link, self.file).shown(),
            "rtoc": Module("rtoc", functions),
            "math": modules["math"],
            "np": modules["numpy"],
            "sp": modules["scipy"],
            "sys": modules["sys"],
            # In RTOC `global.` was another word for `self.`.
            "self": self._kept(),
            "cause": self._begin.event,
        }

    def _unwritten(self) -> Mapping[str, Any]:
        """Return the names that only the language puts into scripts."""
        return {
            "global": self._kept(),
            "@format": guards.formatter,
            "@spread": spread,
            "@running": self._link.goes_on,
            "@trigger": self._trigger,
            "@unset": lambda name: name not in self._values,
            "@Returned": Returned,
            "@Unwound": Unwound,
            "@import": self._import,
            "@from": self._import_from,
            "@star": lambda name: self._namespace.update(public(self._import(name, True))),
        }

    def finish(self) -> None:
        """Tell which kept lists and dicts were changed in place, and how much was not printed."""
        for name, value in self._values.items():
            if isinstance(value, list | dict) and plain(value) != self._told.get(name):
                self._keep(name, value)
        self._printer.finish()

    @property
    def has_files(self) -> bool:
        """Return whether the script may have files."""
        return self._begin.files

    def file(self, path: str) -> bytes:
        """Return what is in a file; raises PermissionError where scripts may have none, or OSError."""
        if not self._begin.files:
            raise PermissionError(f"{path}: scripts have no files, unless the configuration allows it")
        with Path(path).open("rb") as file:
            return file.read(LARGEST_FILE + 1)

    def _kept(self) -> Kept:
        return Kept(self._values, self._keep)

    def _keep(self, name: str, value: Any) -> None:
        self._told[name] = plain(value)
        self._link.send(Keep(name, self._told[name]))

    def _trigger(self, key: str, value: Any) -> bool:
        """Return whether a condition became true, and remember what it is."""
        now, before = bool(value), self._triggers.get(key)
        if now is not before:
            self._triggers[key] = now
            self._link.send(Edge(key, now))
        return now and not before

    def _import(self, name: str, whole: bool) -> Any:
        """Return a module by its dotted name, or where not whole what its first word names."""
        first, *inner = name.split(".")
        module: Any = self._modules[first]
        for word in inner:
            module = getattr(module, word, None)
            if not isinstance(module, Module):
                raise ImportError(f"scripts have no module {name}")
        return module if whole else self._modules[first]

    def _import_from(self, name: str, wanted: str) -> Any:
        try:
            return getattr(self._import(name, True), wanted)
        except AttributeError:
            raise ImportError(f"scripts have no {name}.{wanted}") from None

    def _clear_data(self) -> Any:
        return self._link.ask("clear").value

    def _export_data(self, filename: Any = None, filetype: str = "json", overwrite: bool = False) -> Any:
        name = None if filename is None else str(filename)
        return self._link.ask("export", name, str(filetype), bool(overwrite)).value

    def _leave(self, *_: Any) -> None:
        raise Returned
