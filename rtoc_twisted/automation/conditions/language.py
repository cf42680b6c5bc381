"""The functions and constants of the language: one table of them, and nothing beside it.

None makes more values than it is given. Functions without a module, and those of `math`, fail as Python's do
where they have no value (`sqrt(-1)`); those of `np` answer NaN or an infinity there, as numpy's do. Both
compute by numpy, for one number and for columns of them, so that they agree to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...box import library

MODULES = ("math", "np", "numpy", "rtoc")

CONSTANTS: Mapping[str, Mapping[str, float]] = {
    "math": {"pi": math.pi, "e": math.e, "tau": math.tau, "inf": math.inf, "nan": math.nan},
    "np": {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan},
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a function takes in one place.

    what: "value" (a number or an array), "number", "array", "signal" (both arrays of one), "whole" (a whole
    number that is written there); name: "" where it has no keyword; default: in place of one that is left out
    before others.
    """

    what: str
    name: str = ""
    optional: bool = False
    default: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """A function of the language.

    one: computes from floats, and from arrays where it does not give an array; many: from columns and arrays;
    both positionally. each: it is computed for each value by itself. strict: it fails where it has no value.
    truth: it gives True and False. array: it gives an array. repeats: it takes any number more of its last
    argument. samples: how many newest samples of its signal it needs, or the parameter that says so.
    """

    parameters: tuple[Parameter, ...]
    one: Callable[..., Any]
    many: Callable[..., Any]
    each: bool = False
    strict: bool = False
    truth: bool = False
    array: bool = False
    repeats: bool = False
    samples: int | str | None = None


def lost(result: Any, numbers: Iterable[Any]) -> Any:
    """Return where a function, of numbers or columns, has no value: NaN and infinities out of no such."""
    known, finite = np.bool_(True), np.bool_(True)
    for number in numbers:
        known, finite = known & ~np.isnan(number), finite & np.isfinite(number)
    return (np.isnan(result) & known) | (np.isinf(result) & finite)


def power(base: float, exponent: float) -> float:
    """Return the power of two floats. Raises ValueError where it has no value that a float can be."""
    result: float = _power(float(base), float(exponent))
    return result


def _single(many: Callable[..., Any], strict: bool, truth: bool) -> Callable[..., Any]:
    """Return the function for single numbers of one for columns."""
    if truth:
        return lambda *numbers: bool(many(*numbers))
    if not strict:
        return lambda *numbers: float(many(*numbers))

    def one(*numbers: float) -> float:
        result = float(many(*numbers))
        if not math.isfinite(result) and lost(result, numbers):
            told = ", ".join(f"{number:g}" for number in numbers)
            raise ValueError(f"no value for {told}")
        return result

    return one


_power = _single(np.power, True, False)


def _parameters(text: str) -> Iterator[Parameter]:
    for word in text.split():
        needed, _, default = word.partition("=")
        name, _, what = needed.rstrip("?").rpartition(":")
        yield Parameter(
            what, name, needed != word or needed.endswith("?"), float(default) if default else None
        )


def _each(
    many: Callable[..., Any],
    takes: str = "value",
    *,
    one: Callable[..., Any] | None = None,
    strict: bool = False,
    truth: bool = False,
    repeats: bool = False,
) -> Function:
    """Return a function that is computed for each value by itself."""
    one = one or _single(many, strict, truth)
    return Function(tuple(_parameters(takes)), one, many, True, strict, truth, repeats=repeats)


def _whole(
    do: Callable[..., Any], takes: str = "array", *, empty: bool = False, truth: bool = False
) -> Function:
    """Return a function of arrays that gives one number. empty: it has a value for an empty array, too."""

    def one(array: Any, *rest: Any) -> Any:
        if not empty and not len(array):
            raise ValueError("the array is empty")
        return bool(do(array, *rest)) if truth else float(do(array, *rest))

    return Function(tuple(_parameters(takes)), one, one, truth=truth)


def _known(do: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of what is not NaN in an array."""

    def of_known(array: Any) -> Any:
        known = array[~np.isnan(array)]
        if not len(known):
            raise ValueError("nothing in the array is a number")
        return do(known)

    return of_known


def _least(first: Any, *others: Any) -> Any:
    for other in others:
        first = np.where(other < first, other, first)
    return first


def _greatest(first: Any, *others: Any) -> Any:
    for other in others:
        first = np.where(other > first, other, first)
    return first


def _log(number: Any, base: Any = None) -> Any:
    return np.log(number) if base is None else np.log(number) / np.log(base)


def _integral(y: Any, x: Any) -> Any:
    return np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2


def _choose(test: Any, then: Any, otherwise: Any) -> Any:
    return np.where(test != 0, then, otherwise)


def _of_signal(do: Callable[..., Any], takes: str, samples: int | str | None) -> Function:
    """Return a function of the script library that gives one number."""

    def one(*arguments: Any) -> float:
        return float(do(*arguments))

    return Function(tuple(_parameters(takes)), one, one, samples=samples)


_OF_ONE = (
    "cbrt", "exp", "exp2", "expm1", "log2", "log10", "log1p", "sin", "cos", "tan", "sinh", "cosh", "tanh",
    "degrees", "radians", "floor", "ceil", "trunc", "fabs",
)  # fmt: skip
_OF_TWO = (
    "arctan2", "hypot", "mod", "remainder", "power", "copysign", "maximum", "minimum", "fmax", "fmin",
)  # fmt: skip
_INVERSE = ("sin", "cos", "tan", "sinh", "cosh", "tanh")
_TRUTHS = ("isnan", "isinf", "isfinite")

_common: dict[str, Function] = {
    **{name: _each(getattr(np, name), one=getattr(math, name), truth=True) for name in _TRUTHS},
}
_python: dict[str, Function] = {
    **_common,
    **{name: _each(getattr(np, name), strict=True) for name in _OF_ONE},
    **{f"a{name}": _each(getattr(np, f"arc{name}"), strict=True) for name in _INVERSE},
    "sqrt": _each(np.sqrt, one=math.sqrt, strict=True),
    "log": _each(_log, "value value?", strict=True),
    "atan2": _each(np.arctan2, "value value", strict=True),
    "hypot": _each(np.hypot, "value value", strict=True),
    "fmod": _each(np.fmod, "value value", strict=True),
    "pow": _each(np.power, "value value", strict=True),
    "copysign": _each(np.copysign, "value value"),
}
_numpy: dict[str, Function] = {
    **_common,
    **{name: _each(getattr(np, name)) for name in _OF_ONE},
    **{f"arc{name}": _each(getattr(np, f"arc{name}")) for name in _INVERSE},
    **{
        name: _each(getattr(np, name))
        for name in ("sqrt", "square", "log", "rint", "sign", "deg2rad", "rad2deg")
    },
    **{name: _each(np.abs, one=abs) for name in ("abs", "absolute")},
    **{name: _each(getattr(np, name), "value value") for name in _OF_TWO},
    **{name: _each(np.round, "value decimals:whole?") for name in ("round", "around")},
    # Of some arrays it takes a microsecond for each element.
    "fmod": _each(np.fmod, "number number"),
    "clip": _each(np.clip, "value value value"),
    "where": _each(_choose, "value value value"),
    "logical_not": _each(np.logical_not, truth=True),
    **{
        f"logical_{name}": _each(getattr(np, f"logical_{name}"), "value value", truth=True)
        for name in ("and", "or", "xor")
    },
    **{
        name: _whole(getattr(np, name))
        for name in ("mean", "median", "std", "var", "min", "max", "amin", "amax", "ptp", "argmin", "argmax")
    },
    **{
        f"nan{name}": _whole(_known(getattr(np, name)))
        for name in ("mean", "median", "std", "var", "min", "max", "sum")
    },
    **{name: _whole(getattr(np, name), empty=True) for name in ("sum", "count_nonzero", "size")},
    **{name: _whole(getattr(np, name), empty=True, truth=True) for name in ("any", "all")},
    "percentile": _whole(np.percentile, "array number"),
    "quantile": _whole(np.quantile, "array number"),
    **{name: _whole(_integral, "array array", empty=True) for name in ("trapezoid", "trapz")},
    **{
        name: Function((Parameter("array"),), getattr(np, name), getattr(np, name), array=True)
        for name in ("diff", "cumsum")
    },
}
_built_in: dict[str, Function] = {
    **_python,
    **{name: _numpy[name] for name in ("sum", "any", "all", "clip", "sign")},
    "abs": _each(np.abs, one=abs),
    "round": _numpy["round"],
    "min": _each(_least, "value value", one=min, repeats=True),
    "max": _each(_greatest, "value value", one=max, repeats=True),
    "int": _python["trunc"],
    "float": _each(np.positive, one=float),
    "len": _whole(len, empty=True),
}
_library: dict[str, Function] = {
    "mean": _of_signal(library.mean, "signal n:whole?", "n"),
    "d": _of_signal(library.d, "signal", 2),
    "PID": _of_signal(library.PID, "signal desvalue:number kp:number=1 ki:number=0 kd:number=0", 2),
}

FUNCTIONS: Mapping[str, Mapping[str, Function]] = {
    "": _built_in,
    "math": _python,
    "np": _numpy,
    "rtoc": _library,
}
"""By module ("" for none) and name; those of numpy are under "np". What else there is, the reader knows:
signal, parameter, nodata, age and rate, which name a signal."""
