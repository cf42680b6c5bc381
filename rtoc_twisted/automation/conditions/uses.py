"""What a condition needs to be evaluated, and how an evaluation fails."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ...errors import BadValue, UnknownSignal


class View(Enum):
    """What of a signal a condition looks at, and so what its slot of the values holds.

    LATEST: the newest y, float; of a plugin's parameter its value, where no signal has that name.
    PARAMETER: a plugin's parameter and nothing else, float. X, Y: float64[n], the newest last. PAIR: both of
    these, as a tuple. RECEIVED: the wall time at which something came last, float; in a backtest its x.
    RATE: the change of y per unit of x, float. None in a slot of any view: not known.
    """

    LATEST = "latest"
    PARAMETER = "parameter"
    X = "x"
    Y = "y"
    PAIR = "pair"
    RECEIVED = "received"
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class Use:
    """One value that a condition needs.

    key: "Device.Signal", as in a sigKey; seconds: of RATE how much of x it looks back at, of RECEIVED after
    how long `nodata` is true, 0 where only `age` asks; samples: how many of the newest X, Y and PAIR need at
    most, None for all that there are.
    """

    key: str
    view: View
    seconds: float = 0.0
    samples: int | None = None

    @property
    def told(self) -> str:
        """Return the value's name, as a cause tells it: "Device.Signal.latest"."""
        match self.view:
            case View.PARAMETER | View.PAIR:
                return self.key
            case View.RATE:
                return f"rate({self.key}, {self.seconds:g})"
            case _:
                return f"{self.key}.{self.view.value}"


class Unknown(UnknownSignal):
    """A value that the condition needs is not known (yet). name: "Device.Signal"."""

    def __init__(self, name: str) -> None:
        super().__init__(f"nothing is known of {name}")
        self.name = name


class EvaluationFailed(BadValue):
    """The condition has no value for these values: a division by zero, an element that is not there."""
