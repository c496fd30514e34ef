"""The loop that Newton's method and Gauss–Newton share: step until the gradient vanishes, then ask whether it is a minimum.

Used in the chapter on [Newton's method][newtons-method].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..arrays import on_device
from .line_search import ROUNDING, Objective, Result, backtracking

FURTHER = 32  # times the next step leads over the bottom of w², w⁴, …, w¹⁶ and up again, but on down the slope of w³
Point = tuple[np.ndarray, float, np.ndarray]


class Stop(Exception):
    """There is no next step, and the message says why."""


class Doubts(NamedTuple):
    """What decides whether a point without slope is a minimum: its `lowest` and `largest` curvature, the directions (k, n) along
    which the curvature does not tell, and the step `ahead` (n,) that would be the next."""

    lowest: float
    largest: float
    flat: np.ndarray
    ahead: np.ndarray


def real(given: Any, name: str, like: Any) -> np.ndarray:
    """`given`, which is called `name`, as a new array of floats on the side where `like` lies. Raises TypeError where it is not real.

    >>> real([1, 2], "x0", None)
    array([1., 2.])
    """
    array: np.ndarray
    try:
        if getattr(getattr(given, "dtype", None), "kind", "") != "c":  # NumPy would drop the imaginary part with a warning
            array = np.array(given, dtype=float, like=like if on_device(like) else None)
            return array
    except TypeError:
        pass
    raise TypeError(f"{name} must be real numbers, got {given!r}")


def descend(objective: Objective, x0: Any, advance: Callable[[np.ndarray, float, np.ndarray], Point],
            doubts: Callable[[np.ndarray, np.ndarray], Doubts], *, nhev: Callable[[], int] = lambda: 0, gtol: float = 1e-6,
            maxiter: int = 1000, callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Step after step from `x0` until every slope is at most `gtol`; then say whether it looks like a minimum.

    `advance(x, loss, g)` returns the next point with its loss and gradient, or raises `Stop` with the reason why there is none.
    `doubts(x, g)` is asked once, at the end. `callback(x)` gets a copy of each new point; `nhev()` counts what the result calls
    Hessians. Raises ValueError when `x0` is no vector of finite numbers, `gtol` ≤ 0 or `maxiter` is no whole number from 0 on;
    TypeError when `x0` is complex.

    >>> bowl = Objective(lambda x: x @ x / 2, lambda x: x)
    >>> halved = lambda x, loss, g: (x / 2, loss / 4, g / 2)
    >>> found = descend(bowl, [1.0], halved, lambda x, g: Doubts(1.0, 1.0, np.empty((0, 1)), -g), gtol=0.01)
    >>> found.success, found.nit, found.fun == (0.5**7) ** 2 / 2
    (True, 7, True)
    """
    x = real(x0, "x0", x0)
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"x0 must be a non-empty vector of finite numbers, got {x0!r}")
    if not gtol > 0:
        raise ValueError(f"gtol must be positive, got {gtol!r}")
    if not isinstance(maxiter, int | np.integer) or maxiter < 0:
        raise ValueError(f"maxiter must be a whole number, 0 or more, got {maxiter!r}")
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is reported in the message
        loss, g, nit = objective.fun(x), objective.grad(x), 0
        first = loss

        def result(message: str, success: bool = False) -> Result:
            return Result(x, loss, nit, objective.nfev, objective.ngev, success, message, nhev())

        try:
            while True:
                if loss < -1e30 * (1 + abs(first)):
                    return result("the loss falls without end: it seems to be unbounded below")
                if not (np.isfinite(loss) and np.isfinite(g).all()):
                    return result("the loss or its gradient is not finite")
                if np.abs(g).max() <= gtol:
                    found = doubts(x, g)
                    if not _is_minimum(objective, x, loss, g, found):
                        return result("the gradient vanishes at a point that is no minimum")
                    if objective.fun(x + FURTHER * found.ahead) < loss - 64 * ROUNDING * (1 + abs(loss)):
                        return result("the gradient is at most gtol, but further along the next step the loss still falls")
                    return result("the gradient is at most gtol and no negative curvature was found", True)
                if nit == maxiter:
                    return result("the iteration limit is reached")
                x, loss, g = advance(x, loss, g)
                nit += 1
                if callback is not None:
                    callback(x.copy())
        except Stop as stop:
            return result(str(stop))


def searched(objective: Objective, x: np.ndarray, p: np.ndarray, loss: float, g: np.ndarray) -> Point:
    """The point, its loss and its gradient after a backtracking search from `x` (n,) along `p` (n,).

    `loss` and `g` (n,) belong to `x`. Raises `Stop` where `p` does not lead down or the search finds nothing.

    >>> bowl = Objective(lambda x: x @ x, lambda x: 2 * x)
    >>> print(searched(bowl, np.array([1.0]), np.array([-4.0]), 1.0, np.array([2.0])))
    (array([0.]), 0.0, array([0.]))
    """
    slope = float(g @ p)
    if not slope < 0:
        raise Stop("the step does not lead down: the Hessian is not positive definite")
    hidden = -slope <= 64 * ROUNDING * abs(loss)  # then a search would end on the spot, and call it no rise
    if hidden and (near := by_slope(objective, x, p, loss, g, -slope)) is not None:
        return near
    found = backtracking(objective, x, p, loss, slope)
    if found is not None and not (hidden and found[1] == loss):
        t, after = found
        return x + t * p, after, objective.grad(x + t * p)
    if not hidden and (near := by_slope(objective, x, p, loss, g, -slope)) is not None:
        return near
    raise Stop("the line search found no step that lowers the loss enough")


def by_slope(objective: Objective, x: np.ndarray, p: np.ndarray, loss: float, g: np.ndarray, promise: float) -> Point | None:
    """The whole step `p`, where rounding hides the `promise` that the loss falls by and the slopes do get smaller; else None.

    >>> far_up = Objective(lambda x: 1e9 + x @ x, lambda x: 2 * x)
    >>> by_slope(far_up, np.array([1e-5]), np.array([-1e-5]), 1e9, np.array([2e-5]), 1e-10)[0]
    array([0.])
    """
    if promise <= 1e-8 * abs(loss):
        near, slopes = objective.fun(x + p), objective.grad(x + p)
        if np.isfinite(near) and np.abs(slopes).max() < np.abs(g).max():
            return x + p, near, slopes
    return None


def _is_minimum(objective: Objective, x: np.ndarray, loss: float, g: np.ndarray, found: Doubts) -> bool:
    """False where a curvature is negative beyond doubt, or the loss falls below its tangent along a `flat` direction."""
    if found.lowest < -ROUNDING**0.5 * found.largest:
        return False
    size = 1 + float(np.abs(x).max())
    for d in found.flat:
        for step in (1e-3 * size, -1e-3 * size, 1e-5 * size, -1e-5 * size):
            if objective.fun(x + step * d) < loss + step * float(g @ d) - 64 * ROUNDING * (1 + abs(loss)):
                return False
    return True
