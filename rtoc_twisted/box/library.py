"""The script library `rtoc` (protocol section 11): signals as x and y, both float[n].

numpy is imported by the first function that needs it, scipy only where a function of one's own is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[np.float64]

ORDER = 6
"""Values that the autoregression of estimate() looks back at, at most."""


def _ownerless(function: Callable[..., Any]) -> Callable[..., Any]:
    """Drop a first argument that is no signal: RTOC's own functions had the logger, or None, there."""

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if args and not hasattr(args[0], "__len__"):
            args = args[1:]
        return function(*args, **kwargs)

    return called


def _columns(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    import numpy as np

    axis, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if axis.shape != values.shape or axis.ndim != 1:
        raise ValueError(f"x and y are lists of one length, not {axis.shape} and {values.shape}")
    return axis, values


def _sorted(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    axis, values = _columns(x, y)
    if not len(axis):
        raise ValueError("the signal is empty")
    order = axis.argsort(kind="stable")
    return axis[order], values[order]


def _later(axis: Floats, n: int) -> Floats:
    """Return the n steps after even x."""
    import numpy as np

    step = float(axis[-1] - axis[0]) / max(len(axis) - 1, 1)
    return np.asarray(axis[-1] + step * np.arange(1, n + 1), dtype=np.float64)


@_ownerless
def lsfit(
    x: ArrayLike,
    y: ArrayLike,
    func: str | Callable[..., Any] = "linear",
    x0: ArrayLike | None = None,
    n: int | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Fit a function by least squares; return n even x, the function there, and its parameters.

    func: "linear", y = p0 + p1 x; "quad", with p2 x^2 also; or a function f(x, p0, p1, ..), which needs scipy
    and starts at x0. n: as many as x has, when not given. Raises ValueError for another func, ImportError
    without scipy.
    """
    import numpy as np

    axis, values = _sorted(x, y)
    even = np.linspace(axis[0], axis[-1], len(axis) if n is None else n)
    if callable(func):
        parameters = _curve_fit(func, axis, values, x0)
        return even, np.asarray([func(at, *parameters) for at in even], dtype=np.float64), parameters
    if func not in ("linear", "quad"):
        raise ValueError(f"func is 'linear', 'quad' or a function, not {func!r}")
    # Fitted on x moved and scaled to -1 .. 1: seconds since 1970 would leave no digits for the rest.
    fitted = np.polynomial.Polynomial.fit(axis, values, 1 if func == "linear" else 2)
    return even, np.asarray(fitted(even)), np.asarray(fitted.convert().coef, dtype=np.float64)


def _curve_fit(func: Callable[..., Any], x: Floats, y: Floats, x0: ArrayLike | None) -> Floats:
    import numpy as np

    try:
        from scipy.optimize import curve_fit
    except ImportError as error:
        raise ImportError(
            "rtoc: to fit a function of one's own needs scipy, which is not installed"
        ) from error
    parameters, _ = curve_fit(func, x, y, x0)
    return np.asarray(parameters, dtype=np.float64)


@_ownerless
def resample(x: ArrayLike, y: ArrayLike, n: int | None = None) -> tuple[Floats, Floats]:
    """Return n even x and the values on the straight lines between the samples."""
    import numpy as np

    axis, values = _sorted(x, y)
    even = np.linspace(axis[0], axis[-1], len(axis) if n is None else n)
    return even, np.interp(even, axis, values)


@_ownerless
def resampleFourier(x: ArrayLike, y: ArrayLike, n: int | None = None) -> tuple[Floats, Floats]:
    """Return n even x and the values of the periodic function through the samples there (by FFT).

    The period is as many steps as there are samples; samples that are not even are resampled first. Of an
    even number of samples the highest frequency is halved or doubled, so that a real signal stays real.
    """
    import numpy as np

    axis, values = resample(x, y)
    count = len(values)
    wanted = count if n is None else n
    spectrum = np.fft.rfft(values)
    shorter = min(count, wanted)
    kept = np.zeros(wanted // 2 + 1, np.complex128)
    kept[: shorter // 2 + 1] = spectrum[: shorter // 2 + 1]
    if shorter % 2 == 0 and wanted != count:
        kept[shorter // 2] *= 0.5 if wanted > count else 2
    step = (axis[1] - axis[0]) * count / wanted if count > 1 else 0.0
    return axis[0] + step * np.arange(wanted), np.fft.irfft(kept, wanted) * (wanted / count)


@_ownerless
def combine(signals: Sequence[Any], n: int | None = None) -> tuple[Floats, list[Floats]]:
    """Return n even x of the stretch that all signals have, and the values of each there.

    signals: [[x, y], ..], or [x, y, x, y, ..]. n: as many as the longest has, when not given. Raises
    ValueError where the signals have no stretch in common.
    """
    import numpy as np

    if len(signals) and np.ndim(signals[0][0]) == 0:
        signals = list(zip(signals[::2], signals[1::2], strict=True))
    columns = [_sorted(x, y) for x, y in signals]
    if not columns:
        raise ValueError("no signals")
    start, stop = max(x[0] for x, _ in columns), min(x[-1] for x, _ in columns)
    if start > stop:
        raise ValueError("the signals have no x in common")
    even = np.linspace(start, stop, max(len(x) for x, _ in columns) if n is None else n)
    return even, [np.interp(even, x, y) for x, y in columns]


def runningMean(x: ArrayLike, y: ArrayLike, n: int = 5) -> tuple[Floats, Floats]:
    """Return the mean of each n neighbours, of x and of y: n - 1 fewer than there were."""
    import numpy as np

    axis, values = _columns(x, y)
    if not 0 < n <= len(values):
        return axis[:0], values[:0]
    window = np.full(n, 1 / n)
    return np.convolve(axis - axis[0], window, "valid") + axis[0], np.convolve(values, window, "valid")


def mean(x: ArrayLike, y: ArrayLike, n: int | None = None) -> float:
    """Return the mean of y, or of the newest n; NaN where there are none."""
    _, values = _columns(x, y)
    newest = values if n is None else values[max(0, len(values) - n) :]
    return float(newest.mean()) if len(newest) else float("nan")


def PID(
    x: ArrayLike,
    y: ArrayLike,
    desvalue: float,
    kp: float = 1,
    ki: float = 0,
    kd: float = 0,
    initI: float | None = None,
) -> Any:
    """Return kp e + ki I + kd de/dt, where e = y - desvalue as in RTOC; with initI also the new I.

    I, the integral of e over x, grows by the newest e times the newest step of x.
    """
    axis, values = _columns(x, y)
    error = float(values[-1]) - desvalue
    control = kp * error + (kd * d(axis, values) if kd else 0.0)
    if initI is None:
        return control
    step = float(axis[-1] - axis[-2]) if len(axis) > 1 else 0.0
    integral = initI + error * step
    return control + ki * integral, integral


def d(x: ArrayLike, y: ArrayLike) -> float:
    """Return dy/dx of the newest two samples: 0 where there are not two, infinite where y jumps at one x."""
    axis, values = _columns(x, y)
    if len(values) < 2:
        return 0.0
    dx, dy = float(axis[-1] - axis[-2]), float(values[-1] - values[-2])
    if dx:
        return dy / dx
    return float("inf") if dy > 0 else float("-inf") if dy < 0 else 0.0


def diff(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Return x without the last and dy/dx from each sample to the next."""
    import numpy as np

    axis, values = _columns(x, y)
    if len(values) < 2:
        return axis[:0], values[:0]
    with np.errstate(divide="ignore", invalid="ignore"):
        return axis[:-1], np.diff(values) / np.diff(axis)


def norm(
    x: ArrayLike,
    y: ArrayLike,
    max: float = 1,
    min: float = 0,
    oldMin: float | None = None,
    oldMax: float | None = None,
) -> tuple[Floats, Floats]:
    """Return x and y moved and scaled so that oldMin (that of y) becomes min, and oldMax becomes max.

    Where oldMin is oldMax, y becomes min.
    """
    axis, values = _columns(x, y)
    if not len(values):
        return axis, values
    low = float(values.min()) if oldMin is None else oldMin
    high = float(values.max()) if oldMax is None else oldMax
    if high == low:
        return axis, values * 0 + min
    return axis, min + (values - low) * float((max - min) / (high - low))


def estimate(x: ArrayLike, y: ArrayLike, n: int) -> tuple[Floats, Floats]:
    """Return the next n x and y, foreseen by an autoregression of the samples (least squares, AR(6) at most).

    Samples that are not even are resampled first. Raises ValueError for fewer than 4.
    """
    import numpy as np

    axis, values = resample(x, y)
    count = len(values)
    if count < 4:
        raise ValueError(f"an estimate needs 4 samples, and there are {count}")
    order = min(ORDER, (count - 1) // 2)
    past = np.lib.stride_tricks.sliding_window_view(values, order)[:-1]
    history = np.column_stack([np.ones(len(past)), past])
    weights = np.linalg.lstsq(history, values[order:], rcond=None)[0]
    foreseen = list(values[-order:])
    for _ in range(n):
        foreseen.append(weights[0] + float(np.dot(weights[1:], foreseen[-order:])))
    return _later(axis, n), np.asarray(foreseen[order:], dtype=np.float64)


def correlate(
    x1: ArrayLike, y1: ArrayLike, x2: ArrayLike, y2: ArrayLike, mode: Any = "valid"
) -> tuple[Floats, Floats]:
    """Return shifts s, in the unit of x, and the cross-correlation there: the sums of y1(x + s) y2(x).

    Both are combined first. mode: "valid" (shift 0 alone), "same" or "full", as numpy.correlate.
    """
    import numpy as np

    even, (first, second) = combine([[x1, y1], [x2, y2]])
    count = len(even)
    values = np.correlate(first, second, mode)
    step = (even[-1] - even[0]) / (count - 1) if count > 1 else 0.0
    earliest = {"valid": 0, "same": -(count // 2), "full": 1 - count}[mode]
    return np.asarray(step * (earliest + np.arange(len(values))), dtype=np.float64), values


def forwardEuler(
    x: Any, y: Any, f: Callable[[float, float], float], U_0: float, samplerate: float, T: float
) -> tuple[Floats, Floats]:
    """Return t and u of du/dt = f(u, t) from u(0) = U_0 to about T, in steps of 1 / samplerate.

    x, y: a signal, which is of no use here.
    """
    import numpy as np

    count = round(T * samplerate)
    t = np.arange(count + 1) / samplerate
    u = np.empty(count + 1)
    u[0] = U_0
    for step in range(count):
        u[step + 1] = u[step] + f(u[step], t[step]) / samplerate
    return t, u


def PT2_estimation(
    x: ArrayLike,
    y: ArrayLike,
    n: int,
    k: float = 100,
    t1: float = 101,
    t2: float = 100,
    t0: float = 25,
) -> tuple[Floats, Floats]:
    """Return the next n x and y of a step response of second order, fitted to the samples; needs scipy.

    y = t0 + k (1 - (t1 e^(-x/t1) - t2 e^(-x/t2)) / (t1 - t2)), with x from the first sample on; k, t1, t2 and
    t0 are where the fit starts.
    """
    import numpy as np

    def response(at: Any, k: float, t1: float, t2: float, t0: float) -> Any:
        if t1 == t2:
            return t0 + k * (1 - (1 + at / t1) * np.exp(-at / t1))
        return t0 + k * (1 - (t1 * np.exp(-at / t1) - t2 * np.exp(-at / t2)) / (t1 - t2))

    axis, values = _sorted(x, y)
    parameters = _curve_fit(response, axis - axis[0], values, [k, t1, t2, t0])
    later = _later(axis, n)
    return later, response(later - axis[0], *parameters)
