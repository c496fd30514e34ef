"""How far to go along a direction: the Armijo and Wolfe conditions, and the objective that counts what a search costs.

Used in the chapters on [Newton's method][newtons-method] and [quasi-Newton methods][quasi-newton-methods].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite, isnan, sqrt
from typing import Any, NamedTuple

import numpy as np

ROUNDING = float(np.finfo(float).eps)


@dataclass(frozen=True)
class Result:
    """What a minimiser found: the point `x` (n,), its loss `fun`, what it cost, and whether and why it is the end.

    `nit` counts the iterations, `nfev`, `ngev` and `nhev` the losses, gradients and Hessians (or products with one).

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

    def __str__(self) -> str:
        point = np.array2string(self.x, precision=6, threshold=6)
        return (f"{'converged' if self.success else 'not converged'}: {self.message}\n"
                f"x {point}, fun {self.fun:.9g}, nit {self.nit}, nfev {self.nfev}, ngev {self.ngev}, nhev {self.nhev}")


class Objective:
    """A loss and its gradient, counted and checked: `fun(x)` is a float, `grad(x)` a new array of floats (n,).

    `fun` and `grad` are the user's functions of a vector (n,). They get copies of the point, so that they can neither
    spoil it nor be spoiled; what they return is copied too. `grad=True` says that `fun` returns loss and gradient at once, as SciPy's
    `jac=True` does; a call then counts for both, and a gradient at the point of the last loss costs nothing.

    Raises TypeError when `fun` or `grad` cannot be called or return no real numbers, ValueError when they return a wrong shape.

    >>> objective = Objective(lambda x: x @ x, lambda x: 2 * x)
    >>> x = np.array([1.0, 2.0])
    >>> print(objective.fun(x), objective.grad(x), objective.nfev, objective.ngev)
    5.0 [2. 4.] 1 1
    """

    def __init__(self, fun: Callable[[np.ndarray], Any], grad: Callable[[np.ndarray], Any] | bool) -> None:
        if not callable(fun):
            raise TypeError(f"fun must be a function of x, got {fun!r}")
        if grad is not True and not callable(grad):
            raise TypeError(f"grad must be a function of x, or True where fun returns loss and gradient, got {grad!r}")
        self._fun, self._grad = fun, grad
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self.nfev = self.ngev = 0

    def fun(self, x: np.ndarray) -> float:
        """The loss at `x` (n,); it may be infinite or NaN."""
        self.nfev += 1
        value = self._fun(x.copy())
        if self._grad is True:
            self.ngev += 1
            if not isinstance(value, tuple | list) or len(value) != 2:
                raise TypeError(f"fun must return (loss, gradient) when grad is True, got {type(value).__name__}")
            value, slopes = value
            self._last = x.copy(), _vector(slopes, x)
        kind = getattr(value, "dtype", np.dtype(type(value)) if isinstance(value, int | float | complex) else None)
        if getattr(value, "shape", ()) != () or getattr(kind, "kind", "f" if kind else "O") not in "fiub":
            raise TypeError(f"fun must return one real number, got {value!r}")
        return float(value)

    def grad(self, x: np.ndarray) -> np.ndarray:
        """The gradient (n,) at `x` (n,), a new array."""
        if callable(self._grad):
            self.ngev += 1
            return _vector(self._grad(x.copy()), x)
        if self._last is None or not np.array_equal(self._last[0], x):
            self.fun(x)
        assert self._last is not None
        return self._last[1].copy()


def _vector(slopes: Any, x: np.ndarray) -> np.ndarray:
    g = slopes if hasattr(slopes, "dtype") else np.asarray(slopes, like=x)
    if g.shape != x.shape:
        raise ValueError(f"grad must return shape {x.shape}, got {g.shape}")
    if g.dtype.kind not in "fiub":
        raise TypeError(f"grad must return real numbers, got {g.dtype}")
    copy: np.ndarray = g.astype(x.dtype)
    return copy


def backtracking(objective: Objective, x: np.ndarray, p: np.ndarray, loss: float, slope: float, *, t: float = 1.0,
                 c1: float = 1e-4, trials: int = 60) -> tuple[float, float] | None:
    """Halve the step `t` until the loss falls by the part `c1` of what its slope promises (Armijo's condition).

    From `x` (n,) with its `loss` along `p` (n,), where `slope` = ∇f(x)·p < 0. Returns t and the loss at x + t·p, or None
    if no step in `trials` will do. Losses that are not numbers, or +∞, make the step shorter.
    Source: Armijo 1966; Nocedal & Wright 2006, algorithm 3.1.

    >>> bowl = Objective(lambda x: x @ x, lambda x: 2 * x)
    >>> backtracking(bowl, np.array([1.0]), np.array([-4.0]), 1.0, -8.0)
    (0.25, 0.0)
    """
    for _ in range(trials):
        after = objective.fun(x + t * p)
        if after <= loss + c1 * t * slope:
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
    low, high = _Trial(0.0, loss, slope), None
    tolerance = 4 * ROUNDING * abs(loss)
    for _ in range(trials):
        point = t * p
        point += x
        after = objective.fun(point)
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
        rise = (high.loss - low.loss) / width
        if isfinite(high.slope):
            d = low.slope + high.slope - 3 * rise
            root = d * d - low.slope * high.slope
            if root >= 0:
                below = high.slope - low.slope + 2 * (root := sqrt(root))
                share = (root - low.slope - d) / below if below else 0.5
        elif rise > low.slope if width > 0 else rise < low.slope:
            share = low.slope / (low.slope - rise) / 2
    return low.t + width * min(max(share, 0.3), 0.7)
