"""The loop that all minimisers share: step until the gradient vanishes, then ask whether it is a minimum.

Used in the chapters on [Newton's method][newtons-method] and [quasi-Newton methods][quasi-newton-methods].
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import floats
from ..arrays.checks import POSITIVE, Count, Function, Instance, Kind, Numbers, Optional, Real, checked
from .line_search import VECTOR, Objective, Result, backtracking, cause, largest, length

FURTHER = 32  # times the next step leads over the bottom of w², w⁴, …, w¹⁶ and up again, but on down the slope of w³
REACH = 1e8  # times the weights and 1: what the first derivatives say of so far off is nothing
IDLE = 20  # so many steps that change neither the loss beyond rounding nor lower the largest slope are the end
Point = tuple[np.ndarray, float, np.ndarray]
OPTIONS: dict[str, Kind] = {"x0": Numbers(1), "gtol": POSITIVE, "maxiter": Count(0), "callback": Optional(Function("x"))}


class Stop(Exception):
    """There is no next step, and the message says why."""


class Verdict(NamedTuple):
    """Whether a point without slope is taken for a minimum, and what was looked at."""

    success: bool
    message: str


class Doubts(NamedTuple):
    """What decides whether a point without slope is a minimum: its `lowest` curvature, told to within a `tolerance`, the directions (k, n) along
    which the curvature does not tell, the step `ahead` (n,) that would be the next, and in words what was `seen`."""

    lowest: float
    tolerance: float
    flat: np.ndarray
    ahead: np.ndarray
    seen: str


@checked(objective=Instance(Objective), advance=Function("x, loss and gradient"), verdict=Function("x, loss and gradient"), **OPTIONS)
def descend(objective: Objective, x0: ArrayLike, advance: Callable[[np.ndarray, float, np.ndarray], Point],
            verdict: Callable[[np.ndarray, float, np.ndarray], Verdict], *, nhev: Callable[[], int] = lambda: 0, gtol: float = 1e-6,
            maxiter: int = 1000, callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Step after step from `x0` until every slope is at most `gtol`; then `verdict` says whether it is taken for a minimum.

    `advance(x, loss, g)` returns the next point with its loss and gradient, or raises `Stop` with the reason why there is none.
    `verdict(x, loss, g)` is asked once, at the end. `callback(x)` gets a copy of each new point, and may raise StopIteration to end
    here; `nhev()` counts what the result calls Hessians. Steps that get nowhere end after 20. Raises ValueError or TypeError when `x0` is
    no vector of finite numbers, `gtol` is not positive or `maxiter` is no whole number from 0 on.

    >>> bowl = Objective(lambda x: x @ x / 2, lambda x: x)
    >>> halved = lambda x, loss, g: (x / 2, loss / 4, g / 2)
    >>> found = descend(bowl, [1.0], halved, lambda x, loss, g: Verdict(True, "as a bowl has one"), gtol=0.01)
    >>> found.success, found.nit, found.fun == (0.5**7) ** 2 / 2
    (True, 7, True)
    """
    x = floats(x0)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is reported in the message
        loss, g, nit, idle = objective.fun(x), objective.grad(x), 0, 0
        first = level = loss
        steepest = flattest = largest(g)

        def result(success: bool, message: str) -> Result:
            return Result(x, loss, nit, objective.nfev, objective.ngev, success, message, nhev())

        try:
            while True:
                if loss < -1e30 * (1 + abs(first)):
                    return result(False, "the loss falls without end: it seems to be unbounded below")
                if not (isfinite(loss) and isfinite(steepest)):
                    return result(False, "the loss or its gradient is not finite")
                if steepest <= gtol:
                    return result(*verdict(x, loss, g))
                if nit == maxiter:
                    return result(False, f"the iteration limit is reached{cause(objective, x, -g, g, loss)}")
                if idle == IDLE:
                    why = cause(objective, x, -g, g, loss) or ": rounding or noise hides what is left of the slope"
                    return result(False, f"neither loss nor gradient gets smaller{why}")
                x, loss, g = advance(x, loss, g)
                steepest, nit, idle = largest(g), nit + 1, idle + 1
                if abs(loss - level) > 64 * objective.rounding * abs(level) or steepest < flattest:
                    level, flattest, idle = loss, min(steepest, flattest), 0
                if callback is not None:
                    try:
                        callback(x.copy())
                    except StopIteration:
                        return result(False, "the callback raised StopIteration")
        except Stop as stop:
            return result(False, str(stop))


def check_step(p: np.ndarray) -> None:
    """Refuse a step `p` (n,) that is no number: `Stop`."""
    if not np.isfinite(p).all():
        raise Stop("the step leaves float64: the curvature is too small beside the gradient")


def anywhere(x: np.ndarray) -> np.ndarray:
    """A direction (n,) of length 1 beside `x` (n,), at right angles to nothing in particular.

    >>> print(anywhere(np.zeros(2)).round(3))
    [ 0.744 -0.669]
    """
    d = np.sin(np.arange(1.0, len(x) + 1, like=x) ** 2)
    unit: np.ndarray = d / np.linalg.norm(d)
    return unit


def judged(objective: Objective, x: np.ndarray, loss: float, g: np.ndarray, found: Doubts) -> Verdict:
    """No minimum where a curvature is negative beyond its tolerance, or the loss falls: below its tangent along a `flat` direction, or further `ahead`.

    >>> bowl = Objective(lambda x: x @ x / 2, lambda x: x)
    >>> judged(bowl, np.zeros(1), 0.0, np.zeros(1), Doubts(1.0, 1e-14, np.empty((0, 1)), np.zeros(1), "it curves up")).message
    'the gradient is at most gtol, and it curves up'
    """
    none = "the gradient vanishes at a point that is no minimum"
    if found.lowest < -found.tolerance:
        return Verdict(False, f"{none}: the lowest curvature is {found.lowest:.3g} ± {found.tolerance:.1g}")
    size = 1 + largest(x)
    for d in found.flat:
        for step in (1e-3 * size, -1e-3 * size, 1e-5 * size, -1e-5 * size):
            if objective.fun(x + step * d) < loss + step * float(g @ d) - 64 * objective.rounding * (1 + abs(loss)):
                return Verdict(False, f"{none}: the loss is lower {abs(step):.1g} beside it")
    if objective.fun(x + FURTHER * found.ahead) < loss - 64 * objective.rounding * (1 + abs(loss)):
        return Verdict(False, "the gradient is at most gtol, but further along the next step the loss still falls")
    return Verdict(True, f"the gradient is at most gtol, and {found.seen}")


@checked(objective=Instance(Objective), x=VECTOR, p=VECTOR, loss=Real(), g=VECTOR)
def searched(objective: Objective, x: np.ndarray, p: np.ndarray, loss: float, g: np.ndarray) -> Point:
    """The point, its loss and its gradient after a backtracking search from `x` (n,) along `p` (n,).

    `loss` and `g` (n,) belong to `x`. Raises `Stop` where `p` does not lead down or the search finds nothing.

    >>> bowl = Objective(lambda x: x @ x, lambda x: 2 * x)
    >>> print(searched(bowl, np.array([1.0]), np.array([-4.0]), 1.0, np.array([2.0])))
    (array([0.]), 0.0, array([0.]))
    """
    check_step(p)
    slope = float(g @ p)
    if not slope < 0:
        raise Stop("the step does not lead down: the Hessian is not positive definite")
    hidden = -slope <= 64 * objective.rounding * abs(loss)  # then a search would end on the spot
    if hidden and (near := by_slope(objective, x, p, loss, g, -slope)) is not None:
        return near
    found = backtracking(objective, x, p, loss, slope)
    if found is None and (share := REACH * (1 + length(x)) / length(p)) < 1:
        p, slope = share * p, share * slope
        found = backtracking(objective, x, p, loss, slope)
    if found is not None:
        t, after = found
        return x + t * p, after, objective.grad(x + t * p)
    if not hidden and (near := by_slope(objective, x, p, loss, g, -slope)) is not None:
        return near
    raise Stop(f"the line search found no step that lowers the loss enough{cause(objective, x, p, g, loss, -slope)}")


@checked(objective=Instance(Objective), x=VECTOR, p=VECTOR, loss=Real(), g=VECTOR, promise=Real(infinite=True))
def by_slope(objective: Objective, x: np.ndarray, p: np.ndarray, loss: float, g: np.ndarray, promise: float) -> Point | None:
    """The whole step `p`, where rounding hides the `promise` that the loss falls by and the slopes do get smaller; else None.

    >>> far_up = Objective(lambda x: 1e9 + x @ x, lambda x: 2 * x)
    >>> by_slope(far_up, np.array([1e-5]), np.array([-1e-5]), 1e9, np.array([2e-5]), 1e-10)[0]
    array([0.])
    """
    if promise <= max(1e-8, 64 * objective.rounding) * abs(loss):
        near, slopes = objective.fun(x + p), objective.grad(x + p)
        if isfinite(near) and largest(slopes) < largest(g):
            return x + p, near, slopes
    return None
