"""A signal generator: something to look at while there is no instrument."""

# No `from __future__ import annotations`: clients show the signatures, and it would put types in quotes.

import json
import math
import random
import time
from collections.abc import Callable

from rtoc_twisted.plugins.child.api import LoggerPlugin

_TURN = 2 * math.pi

# The share of the level that is there at a part of a turn, 0 <= part < 1.
_SHAPES: dict[str, Callable[[float], float]] = {
    "Sinus": lambda part: math.sin(_TURN * part),
    "Cosinus": lambda part: math.cos(_TURN * part),
    "Square": lambda part: float(part < 0.5),
    "Sawtooth": lambda part: part,
    "Random": lambda part: random.random(),  # noqa: S311 - a test signal, no secret
    "AC": lambda part: math.sqrt(2) * math.sin(_TURN * part),
    "DC": lambda part: 1.0,
}


def _colour_form(kind: str, *parts: str) -> str:
    """Return the docstring of a function of colours: a line of JSON, for which clients offer a chooser."""
    form = {"type": kind} | {part: {"min": 0, "max": 255} for part in parts}
    return f"\n{json.dumps(form)}\nLog a colour, each part of it from 0 to 255.\n"


class Plugin(LoggerPlugin):
    """Generates one signal: Sinus, Cosinus, Square, Sawtooth, Random, AC or DC.

    Square, Sawtooth, Random and DC go from the offset up to offset + level, Sinus and Cosinus swing around
    the offset by the level; the level of AC is its root mean square.
    """

    __doc_gen_freq__ = "Frequency in Hz"
    __doc_gen_level__ = "Level, in the unit of the values"
    __doc_offset__ = "Added to each value"
    __doc_phase__ = "Phase in radians"
    __doc_exampleString__ = "A text, to try out how a client edits one"
    __doc_exampleBoolean__ = "A truth value, to try out how a client edits one"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.setDeviceName("Generator")
        # What a client sets is kept over a restart; what a function changes is not, as in RTOC.
        self.gen_freq = self.initPersistentVariable("gen_freq", 1.0)
        self.gen_level = self.initPersistentVariable("gen_level", 1.0)
        self.offset = self.initPersistentVariable("offset", 1.0)
        self.phase = self.initPersistentVariable("phase", 1.0)
        self.gen_start = time.time()
        self.exampleString = self.initPersistentVariable("exampleString", "Hello")
        self.exampleBoolean = self.initPersistentVariable("exampleBoolean", True)
        self.test = 2
        self._type = "Square"
        self.setPerpetualTimer(self._generate, samplerate=10)
        self.start()
        self.info("Generator started")

    def _generate(self) -> None:
        now = time.time()
        part = ((now - self.gen_start) * self.gen_freq + self.phase / _TURN) % 1.0
        self.stream([self.offset + self.gen_level * _SHAPES[self._type](part)], [self._type], x=[now])

    # The functions and parameters below have the names that RTOC's clients and rules know.

    def changeType(self, stype: str = "Square") -> bool:
        """Choose the shape: 'Sinus', 'Cosinus', 'Square', 'Sawtooth', 'Random', 'AC' or 'DC'.

        Returns whether there is such a shape; each has a signal of its own.
        """
        if stype not in _SHAPES:
            return False
        self._type = stype
        return True

    def setFrequency(self, freq: float, inverse: bool = False) -> bool:
        """Set the frequency in Hz; with inverse, the seconds of a period. False for what is neither."""
        if isinstance(freq, bool) or not isinstance(freq, int | float) or not 0 < freq < math.inf:
            return False
        self.gen_freq = 1 / freq if inverse else freq
        return True

    def changeExampleString(self, name: str) -> None:
        """Set the parameter exampleString."""
        self.exampleString = name

    def setColor(self, red: int = 0, green: int = 255, blue: int = 0) -> None:
        self.info(f"colour {red}, {green}, {blue}")

    def setAlphaColor(self, red: int = 0, green: int = 255, blue: int = 0, alpha: int = 255) -> None:
        self.info(f"colour {red}, {green}, {blue}, alpha {alpha}")

    setColor.__doc__ = _colour_form("RGB_Color", "red", "green", "blue")
    setAlphaColor.__doc__ = _colour_form("RGBA_Color", "red", "green", "blue", "alpha")
