"""How far to go along a direction: the Armijo and Wolfe conditions, and the objective that counts what a search costs.

Used in the chapters on [Newton's method][newtons-method] and [quasi-Newton methods][quasi-newton-methods].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import frexp, inf, isfinite, isnan, ldexp, sqrt
from typing import Literal, NamedTuple, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import on_device
from ..arrays.checks import POSITIVE, SHARE, Count, Flag, Function, Instance, Numbers, Real, check, checked, shown

Loss = Callable[[np.ndarray], SupportsFloat]
LossAndGradient = Callable[[np.ndarray], tuple[SupportsFloat, ArrayLike]]
Gradient = Callable[[np.ndarray], ArrayLike]

ROUNDING = float(np.finfo(float).eps)
SINGLE = float(np.finfo(np.float32).eps)
VECTOR = Numbers(1, finite=False)
DOWN = Real(high=0, open_high=True, infinite=True)


class _Gradient:
    """The gradient as minimisers take it."""

    def fault(self, value: object) -> type[Exception] | None:
        return None if value is True else Function("x").fault(value)

    def __str__(self) -> str:
        return "a function of x, or True where fun returns loss and gradient"


GRADIENT = _Gradient()


@dataclass(frozen=True)
class Result:
    """What a minimiser found: the point `x` (n,), its loss `fun`, what it cost, and whether and why it is the end.

    `success` is True where no slope is larger than `gtol` and nothing that the method looked at spoke against a minimum; `message`
    says what that was, and what it did not look at. `nit` counts the iterations, `nfev`, `ngev` and `nhev` the losses, gradients
    and Hessians (or products with one).

    >>> print(Result(np.array([1.0, 2.0]), 0.5, 3, 5, 4, False, "the iteration limit is reached"))
    not converged: the iteration limit is reached
    x [1. 2.], fun 0.5, nit 3, nfev 5, ngev 4, nhev 0
    """

    x: np.ndarray
    fun: float
    nit: int
    nfev: int
    ngev: int
    success: bool
    message: str
    nhev: int = 0

    def __post_init__(self) -> None:
        check("x", self.x, VECTOR)
        check("fun", self.fun, Instance(float, int, words="a number"))
        for name in ("nit", "nfev", "ngev", "nhev"):
            check(name, getattr(self, name), Count(0))
        check("success", self.success, Flag())
        check("message", self.message, Instance(str, words="a string"))

    def __str__(self) -> str:
        point = np.array2string(self.x, precision=6, threshold=6)
        return (f"{'converged' if self.success else 'not converged'}: {self.message}\n"
                f"x {point}, fun {self.fun:.9g}, nit {self.nit}, nfev {self.nfev}, ngev {self.ngev}, nhev {self.nhev}")


class Objective:
    """A loss and its gradient, counted and checked: `fun(x)` is a float, `grad(x)` a new array of floats (n,).

    `fun` and `grad` are the user's functions of a vector (n,). They get copies of the point, so that they can neither
    spoil it nor be spoiled; what they return is copied too. `grad=True` says that `fun` returns loss and gradient at once, as SciPy's
    `jac=True` does; a call then counts for both, and a gradient at the point of the last loss costs nothing. `rounding` is the
    relative error of the losses: float64's, or float32's where every loss so far was a float32, though it may have come as a Python number.

    Raises TypeError when `fun` or `grad` cannot be called or return no real numbers, ValueError when they return a wrong shape.

    >>> objective = Objective(lambda x: x @ x, lambda x: 2 * x)
    >>> x = np.array([1.0, 2.0])
    >>> print(objective.fun(x), objective.grad(x), objective.nfev, objective.ngev)
    5.0 [2. 4.] 1 1
    """

    def __init__(self, fun: Loss | LossAndGradient, grad: Gradient | Literal[True]) -> None:
        check("fun", fun, Function("x"))
        check("grad", grad, GRADIENT)
        self._fun, self._grad = fun, grad
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self.nfev = self.ngev = 0
        self.rounding, self._single = ROUNDING, True

    def fun(self, x: np.ndarray) -> float:
        """The loss at `x` (n,); it may be infinite or NaN."""
        self.nfev += 1
        given = self._fun(x.copy())
        if self._grad is True:
            self.ngev += 1
            if not isinstance(given, tuple | list) or len(given) != 2:
                raise TypeError(f"fun must return (loss, gradient) when grad is True, got {type(given).__name__}")
            given, slopes = given
            self._last = x.copy(), returned(slopes, "grad", x.shape, x)
        loss = _number(given)
        if self._single and isfinite(loss):
            digits = frexp(loss)[0]
            self._single = (digits * 2**24).is_integer()
            if not (digits * 2**16).is_integer():  # that a round number fits into a float32 says nothing
                self.rounding = SINGLE if self._single else ROUNDING
        return loss

    def grad(self, x: np.ndarray) -> np.ndarray:
        """The gradient (n,) at `x` (n,), a new array."""
        if callable(self._grad):
            self.ngev += 1
            return returned(self._grad(x.copy()), "grad", x.shape, x)
        if self._last is None or not np.array_equal(self._last[0], x):
            self.fun(x)
        assert self._last is not None
        return self._last[1].copy()


def _number(given: object) -> float:
    """One real number, of Python or of any library's arrays, as a float."""
    if not isinstance(given, float | int):
        dtype = getattr(given, "dtype", np.dtype(object))
        real = getattr(dtype, "kind", "c" if "complex" in str(dtype) else "f") in "fiub"  # PyTorch's dtypes have no kind
        if not real or getattr(given, "shape", None) != () or isinstance(given, np.ma.MaskedArray):
            raise TypeError(f"fun must return one real number, got {shown(given)}")
    try:
        return float(given)  # type: ignore[arg-type]
    except OverflowError:  # an int of hundreds of digits
        raise ValueError(f"fun must return a number within float64, got {shown(given)}") from None


def returned(given: object, name: str, shape: tuple[int | None, ...], like: np.ndarray) -> np.ndarray:
    """What the user's function `name` returned, as a new array of floats beside `like`; None in `shape` stands for any length from 1 up.

    Raises TypeError where it holds no real numbers, is sparse or masked, or cannot be read by NumPy; ValueError for another shape.

    >>> returned([1, 2], "grad", (2,), np.zeros(2))
    array([1., 2.])
    """
    if hasattr(given, "toarray"):
        raise TypeError(f"{name} must return a dense array, got a sparse {type(given).__name__}: its toarray() is one")
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{name} must return real numbers, got a masked array")
    try:
        array = np.array(given, like=like if on_device(like) else None)
    except (TypeError, ValueError, RuntimeError) as error:  # a ragged list, an array on another device, a tensor that keeps its history
        raise TypeError(f"{name} must return real numbers, got {shown(given)}: {error}") from error
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must return real numbers, got {array.dtype}")
    if len(array.shape) != len(shape) or any(n == 0 if wanted is None else n != wanted for n, wanted in zip(array.shape, shape)):
        raise ValueError(f"{name} must return shape {str(shape).replace('None', 'any')}, got {array.shape}")
    return array.astype(float, copy=False)


def largest(g: np.ndarray) -> float:
    """The largest absolute value, NaN if there is one, without a copy of the array.

    >>> largest(np.array([1.0, -3.0]))
    3.0
    """
    return max(float(g.max()), -float(g.min()))


def scaled(v: np.ndarray) -> tuple[np.ndarray, float]:
    """An array over a unit, a power of two, that keeps squares of its largest elements in range; 1 where they are.

    >>> v, unit = scaled(np.array([0.0, 3 * 2.0**600]))
    >>> print(v, unit == 2.0**601)
    [0.  1.5] True
    """
    top = float(np.abs(v).max())
    if 1e-100 < top < 1e100 or not 0 < top < inf:
        return v, 1.0
    unit = ldexp(1.0, frexp(top)[1] - 1)
    return v / unit, unit


def length(v: np.ndarray) -> float:
    """The Euclidean length of a vector, also where its squares would leave the range.

    >>> length(2.0**600 * np.array([3.0, 4.0])) == 2.0**600 * 5
    True
    """
    v, unit = scaled(v)
    return float(np.linalg.norm(v)) * unit


@checked(objective=Instance(Objective), x=VECTOR, p=VECTOR, g=VECTOR, loss=Real(), promise=Real(infinite=True))
def cause(objective: Objective, x: np.ndarray, p: np.ndarray, g: np.ndarray, loss: float, promise: float = inf) -> str:
    """What keeps the loss from falling from `x` along `p`, behind a colon, as far as the losses on either side tell; "" where they do not.

    `g` (n,) is the gradient, along which `p` (n,) leads down, and `promise` about how far the `loss` should fall.

    >>> wrong = Objective(lambda x: x @ x, lambda x: -2 * x)
    >>> cause(wrong, np.array([1.0]), np.array([2.0]), np.array([-2.0]), 1.0)
    ": the gradient has the wrong sign, or is noisy or another loss's: the loss changes -1 times as fast as it says"
    """
    aside = p * (objective.rounding ** (1 / 3) * (1 + largest(x)) / largest(p))
    ahead, behind, says = objective.fun(x + aside) - loss, objective.fun(x - aside) - loss, float(g @ aside) or -5e-324  # which may have underflowed
    if not isfinite(ahead):
        return ": just ahead the loss is not finite"
    rise, noise = (ahead - behind) / 2, 64 * objective.rounding * abs(loss)
    seen, ratio = max(abs(rise), abs(says)), rise / says if abs(rise) > noise else 0.0
    if seen > noise and abs(ahead + behind) < seen / 10 and not 0.5 < ratio < 2:
        wrong = "sign" if ratio < 0 else "scale"
        return f": the gradient has the wrong {wrong}, or is noisy or another loss's: the loss changes {ratio:.2g} times as fast as it says"
    if promise <= 1e4 * objective.rounding * abs(loss):
        return ": precision of the loss reached, rounding hides what it could still fall"
    if min(ahead, behind) > noise:
        return ": the loss is lowest here, though the gradient is not zero: a kink, rounding within the loss, or another loss's gradient"
    return ""


@checked(objective=Instance(Objective), x=VECTOR, p=VECTOR, loss=Real(infinite=True), slope=DOWN, t=POSITIVE,
         c1=SHARE, trials=Count())
def backtracking(objective: Objective, x: np.ndarray, p: np.ndarray, loss: float, slope: float, *, t: float = 1.0,
                 c1: float = 1e-4, trials: int = 60) -> tuple[float, float] | None:
    """Halve the step `t` until the loss falls by the part `c1` of what its slope promises (Armijo's condition).

    From `x` (n,) with its `loss` along `p` (n,), where `slope` = ∇f(x)·p < 0. Returns t and the loss at x + t·p, or None
    if no step in `trials` will do. Losses that are not numbers, or +∞, make the step shorter.
    A loss that rounding cannot tell from `loss` is no fall.
    Source: Armijo 1966; Nocedal & Wright 2006, algorithm 3.1.

    >>> bowl = Objective(lambda x: x @ x, lambda x: 2 * x)
    >>> backtracking(bowl, np.array([1.0]), np.array([-4.0]), 1.0, -8.0)
    (0.25, 0.0)
    """
    for _ in range(trials):
        after = objective.fun(x + t * p)
        if after < loss and after <= loss + c1 * t * slope:
            return t, after
        t /= 2
    return None


class Step(NamedTuple):
    """Where a line search stopped: at `x` (n,), `t` along the direction, with this `loss`, `slope` and gradient `grad` (n,)."""

    t: float
    x: np.ndarray
    loss: float
    slope: float
    grad: np.ndarray


class _Trial(NamedTuple):
    t: float
    loss: float
    slope: float = inf  # not known
    at: Step | None = None


@checked(objective=Instance(Objective), x=VECTOR, p=VECTOR, loss=Real(infinite=True), slope=DOWN, t=POSITIVE,
         c1=SHARE, c2=SHARE, trials=Count())
def strong_wolfe(objective: Objective, x: np.ndarray, p: np.ndarray, loss: float, slope: float, *, t: float = 1.0,
                 c1: float = 1e-4, c2: float = 0.9, trials: int = 50) -> Step | None:
    """A step that lowers the loss by the part `c1` of the promise, and the slope to the part `c2` of what it was.

    From `x` (n,) with its `loss` along `p` (n,), where `slope` = ∇f(x)·p < 0; `t` is tried first. Where no step in `trials`
    meets both conditions, the lowest that meets the first comes back (at a kink; or astronomically far off, where the loss falls
    for ever), or None if there is none. Where rounding hides whether the loss falls, the slopes decide.
    Source: Nocedal & Wright 2006, algorithms 3.5 and 3.6 in one loop; Hager & Zhang 2005, the approximate Wolfe conditions, for rounding.

    >>> bowl = Objective(lambda x: x @ x, lambda x: 2 * x)
    >>> step = strong_wolfe(bowl, np.array([1.0]), np.array([-40.0]), 1.0, -80.0)
    >>> print(round(step.t, 3), step.x.round(2))
    0.027 [-0.08]
    """
    if c1 > c2:
        raise ValueError(f"c2 must be at least c1 = {c1!r}, got {c2!r}")
    low, high = _Trial(0.0, loss, slope), None
    for _ in range(trials):
        point = t * p
        point += x
        after = objective.fun(point)
        tolerance = 4 * objective.rounding * abs(loss)
        hidden = -c1 * t * slope < tolerance and after <= loss + tolerance
        if not hidden and not (after <= loss + c1 * t * slope and after < low.loss):  # too far, or no number
            high = _Trial(t, after)
        else:
            grad = objective.grad(point)
            steep = float(grad @ p)
            here = _Trial(t, after, steep, Step(t, point, after, steep, grad))
            if abs(steep) <= -c2 * slope or after == -inf:
                return here.at
            if isnan(steep):
                high = _Trial(t, inf)
            else:
                if (high is None and steep >= 0) or (high is not None and steep * (high.t - low.t) >= 0):
                    high = low
                low = here
        if high is None:
            t = 4 * t
        else:
            if abs(high.t - low.t) <= ROUNDING * max(high.t, low.t):
                break
            t = _between(low, high)
    return low.at if low.loss < loss else None


def _between(low: _Trial, high: _Trial) -> float:
    """Where the parabola or the cubic through what is known of both ends is lowest, three tenths of the way off either end."""
    width = high.t - low.t
    share = 0.5
    if isfinite(high.loss):
        rise, out, back = high.loss - low.loss, low.slope * width, high.slope * width
        if isfinite(back):
            d = out + back - 3 * rise
            if 0 <= (square := d * d - out * back) < inf and (below := back - out + 2 * sqrt(square)):
                share = (sqrt(square) - out + d) / below
        elif rise > out:
            share = out / (out - rise) / 2
    return low.t + width * min(max(share, 0.3), 0.7)
