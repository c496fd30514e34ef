"""Quasi-Newton methods: the curvature that Newton's method computes, learnt from the gradients on the way.

Derived in the chapter on [quasi-Newton methods][quasi-newton-methods].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, isfinite, sqrt
from typing import Any, Protocol

import numpy as np

from ..arrays import on_device, on_host
from .line_search import ROUNDING, Objective, Result, strong_wolfe

IDLE = 20  # so many steps without progress are the end
Fun = Callable[[np.ndarray], Any]


def bfgs_update(h: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The inverse Hessian `h` (n, n) after the weights moved by `s` (n,) and the gradient by `y` (n,), with s·y > 0.

    Of all symmetric matrices that map y to s it is the one nearest to `h`, in the Frobenius norm weighted with any positive
    definite W for which W s = y. Takes O(n²) operations.
    Source: Nocedal & Wright 2006, eq. (6.17), multiplied out.

    >>> h = bfgs_update(np.eye(2), np.array([1.0, 0.0]), np.array([4.0, 2.0]))
    >>> print(h @ [4.0, 2.0])
    [1. 0.]
    """
    rho = 1 / (s @ y)
    hy = h @ y
    mixed = np.outer(s, hy)
    updated: np.ndarray = h - rho * (mixed + mixed.T) + (rho + rho**2 * (y @ hy)) * np.outer(s, s)
    return updated


def two_loop(g: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]], scale: float) -> np.ndarray:
    """H g for the H that BFGS builds from `scale`·I and the `pairs` (s, y), oldest first, without building it.

    `g`, s and y are (n,). Source: Nocedal 1980; Nocedal & Wright 2006, algorithm 7.4.

    >>> s, y = np.array([1.0, 0.0]), np.array([4.0, 2.0])
    >>> print(two_loop(y, [(s, y)], scale=1.0))
    [1. 0.]
    """
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    r = scale * q
    for (s, y), alpha in zip(pairs, reversed(alphas)):
        r += (alpha - y @ r / (s @ y)) * s
    return r


class Inverse(Protocol):
    """What stands for the inverse Hessian: it learns from pairs, multiplies a gradient, and can forget."""

    learnt: int

    def learn(self, s: np.ndarray, y: np.ndarray) -> None: ...
    def times(self, g: np.ndarray) -> np.ndarray: ...
    def forget(self) -> None: ...


class DenseInverse:
    """The inverse Hessian as BFGS has it: a matrix of n² numbers, scaled by s·y / y·y before its first update.

    >>> inverse = DenseInverse(n=2)
    >>> inverse.learn(np.array([1.0, 0.0]), np.array([4.0, 2.0]))
    >>> print(inverse.times(np.array([4.0, 2.0])))
    [1. 0.]
    """

    def __init__(self, n: int, like: Any = None) -> None:
        self.h, self.learnt = np.asarray(np.eye(n), like=like), 0

    def learn(self, s: np.ndarray, y: np.ndarray) -> None:
        if not self.learnt:
            self.h *= float(s @ y) / float(y @ y)
        self.h = bfgs_update(self.h, s, y)
        self.learnt += 1

    def times(self, g: np.ndarray) -> np.ndarray:
        product: np.ndarray = self.h @ g
        return product

    def forget(self) -> None:
        self.h, self.learnt = np.asarray(np.eye(len(self.h)), like=self.h), 0


class LimitedInverse:
    """The same from the last `memory` pairs, never as a matrix: 2·memory·n numbers.

    The pairs are the rows of `s` and `y`, a new one in the place of the oldest. `r` holds sᵢ·yⱼ where pair i is not newer
    than pair j, else 0. Then the two loops are two triangular systems: R α = S g, and Rᵀ c = D α - γ Y q with q = g - α Y,
    where D is the diagonal of R, and H g = γ q + c S. Each of the four passes over the pairs is one matrix times a vector, and so
    is the one in which a new pair is learnt: about 10·memory·n operations a step.
    The pairs lie where the array `like` lies, on a GPU say; R is small and stays in main memory.
    Source: Byrd, Nocedal & Schnabel 1994, theorem 2.2, in the order of the two loops.

    >>> inverse = LimitedInverse(n=2, memory=5)
    >>> inverse.learn(np.array([1.0, 0.0]), np.array([4.0, 2.0]))
    >>> print(inverse.times(np.array([4.0, 2.0])))
    [1. 0.]
    """

    def __init__(self, n: int, memory: int, like: Any = None) -> None:
        self.s, self.y = np.empty((memory, n), like=like), np.empty((memory, n), like=like)
        self.r, self.scale, self.learnt = np.zeros((memory, memory)), 1.0, 0

    def learn(self, s: np.ndarray, y: np.ndarray) -> None:
        at = self.learnt % len(self.s)
        self.s[at], self.y[at] = s, y
        self.learnt += 1
        k = min(self.learnt, len(self.s))
        self.r[at] = 0
        self.r[:k, at] = on_host(self.s[:k] @ y)
        self.scale = float(self.r[at, at]) / float(y @ y)

    def times(self, g: np.ndarray) -> np.ndarray:
        k = min(self.learnt, len(self.s))
        s, y, r = self.s[:k], self.y[:k], self.r[:k, :k]
        alpha = np.linalg.solve(r, on_host(s @ g))
        q: np.ndarray = np.asarray(alpha, like=y) @ y
        np.subtract(g, q, out=q)
        c = np.linalg.solve(r.T, r.diagonal() * alpha - self.scale * on_host(y @ q))
        q *= self.scale
        q += np.asarray(c, like=s) @ s
        return q

    def forget(self) -> None:
        self.scale, self.learnt = 1.0, 0


def bfgs(fun: Fun, x0: Any, grad: Fun | bool, *, gtol: float = 1e-6, maxiter: int = 15_000,
         callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Minimise `fun` from `x0` with the inverse Hessian learnt as a matrix: n² numbers, O(n²) operations a step.

    The arguments, the result and the errors are those of [`lbfgs`][reference_impl.optimization.quasi_newton.lbfgs].
    Source: Nocedal & Wright 2006, algorithm 6.1, with a strong-Wolfe line search and eq. (6.20) for the first scale.

    >>> from reference_impl import rosenbrock
    >>> valley = rosenbrock()
    >>> result = bfgs(valley, [-1.2, 1.0], valley.grad)
    >>> print(result.x.round(6), result.success)
    [1. 1.] True
    """
    x = _start(x0)
    return _descend(Objective(fun, grad), x, DenseInverse(x.size, like=x), gtol, maxiter, callback)


def lbfgs(fun: Fun, x0: Any, grad: Fun | bool, *, memory: int = 10, gtol: float = 1e-6, maxiter: int = 15_000,
          callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Minimise `fun` from `x0` with what the last `memory` steps told about the curvature: 2·memory·n numbers.

    `fun(x)` is the loss at `x` (n,), a number, and `grad(x)` its gradient (n,); with `grad=True` `fun` returns both. Both must
    be exact, not those of a minibatch. Converged means that no slope is larger than `gtol` in absolute value, one of the two
    criteria of SciPy's L-BFGS-B (its `ftol` has no counterpart). The slopes at one point cannot tell a saddle from a minimum: where
    there is reason to doubt (no slope at the start, a weight that never moved, a loss that fell otherwise than its gradient says)
    the loss next to the point is looked at. That does not find every saddle.

    `callback(x)` gets a copy of each new point. Where the descent ends otherwise, `success` is False, `message` says why,
    and `x` is its last point. Raises ValueError or TypeError when an argument, or what `fun` or `grad` returns, has a wrong shape
    or type, `x0` is not finite, `memory` < 1, `gtol` ≤ 0 or `maxiter` < 0.
    Source: Liu & Nocedal 1989; Nocedal & Wright 2006, algorithm 7.5.

    >>> from reference_impl import rosenbrock
    >>> valley = rosenbrock(1000)
    >>> result = lbfgs(valley, np.zeros(1000), valley.grad)
    >>> print(result.x.round(6).min(), result.success)
    1.0 True
    """
    if isinstance(memory, bool) or not isinstance(memory, int | np.integer) or memory < 1:
        raise ValueError(f"memory must be a whole number, 1 or more, got {memory!r}")
    x = _start(x0)
    return _descend(Objective(fun, grad), x, LimitedInverse(x.size, int(memory), like=x), gtol, maxiter, callback)


def _start(x0: Any) -> np.ndarray:
    x = np.array(x0, like=x0 if on_device(x0) else None)
    if x.dtype.kind not in "fiub" or x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"x0 must be a non-empty vector of finite numbers, got {x0!r}")
    return x.astype(float)


def _descend(objective: Objective, x: np.ndarray, inverse: Inverse, gtol: float, maxiter: int,
             callback: Callable[[np.ndarray], object] | None) -> Result:
    """Step after step along -H g, H learning from each, until no slope is larger than `gtol`."""
    if not gtol > 0:
        raise ValueError(f"gtol must be positive, got {gtol!r}")
    if isinstance(maxiter, bool) or not isinstance(maxiter, int | np.integer) or maxiter < 0:
        raise ValueError(f"maxiter must be a whole number, 0 or more, got {maxiter!r}")
    nit = idle = 0
    promise, doubtful, x0 = inf, True, x
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what overflows is reported in the message
        loss, g = objective.fun(x), objective.grad(x)
        steepest = _largest(g)
        lowest, flattest, endless = loss, steepest, False

        def result(message: str, success: bool = False) -> Result:
            return Result(x, loss, nit, objective.nfev, objective.ngev, success, message)

        while True:
            if endless or loss == -inf:
                return result("the loss falls without end: it seems to be unbounded below")
            if not (isfinite(loss) and isfinite(steepest)):
                return result("the loss or its gradient is not finite")
            if steepest <= gtol:
                if (doubtful or (x == x0).any()) and _falls(objective, x, loss, gtol):
                    return result("the gradient vanishes, but the loss falls next to it: no minimum, or a wrong gradient")
                return result("no slope is larger than gtol" if nit else "no slope at the start is larger than gtol", True)
            if nit == maxiter:
                return result("the iteration limit is reached")
            if idle == IDLE:
                return result("neither loss nor gradient gets smaller: rounding hides what is left of the slope")
            p = inverse.times(g) if inverse.learnt else g / max(1.0, steepest * float(np.linalg.norm(g / steepest)))
            np.negative(p, out=p)
            slope = float(g @ p)
            step = strong_wolfe(objective, x, p, loss, slope) if slope < 0 else None
            if step is None:
                promise = min(promise, -slope)
                if inverse.learnt:
                    inverse.forget()
                    continue
                return result(_why_not(slope, promise, loss))
            s, y = step.x - x, step.grad - g
            if float(s @ y) > ROUNDING * sqrt(float(s @ s) * float(y @ y)) > 0:
                inverse.learn(s, y)
            told, fell = -step.t * (slope + step.slope) / 2, loss - step.loss
            doubtful = abs(fell - told) > 0.01 * told + 64 * ROUNDING * abs(loss)
            endless = step.t > 1e25
            x, loss, g, promise = step.x, step.loss, step.grad, inf
            steepest = _largest(g)
            idle = 0 if loss < lowest or steepest < flattest else idle + 1
            lowest, flattest = min(loss, lowest), min(steepest, flattest)
            nit += 1
            if callback is not None:
                callback(x.copy())


def _largest(g: np.ndarray) -> float:
    """The largest absolute value, NaN if there is one, without a copy of the array."""
    return max(float(g.max()), -float(g.min()))


def _falls(objective: Objective, x: np.ndarray, loss: float, gtol: float) -> bool:
    """Whether the loss falls next to `x`, by more than slopes up to `gtol` explain, or curves down."""
    h, numbers = 1e-4 * (1 + _largest(x)), np.arange(1.0, x.size + 1, like=x) ** 2
    for d in (np.sin(numbers), np.cos(numbers)):  # at right angles to nothing in particular
        up, down = objective.fun(x + h * d), objective.fun(x - h * d)
        slack, rounding = gtol * h * float(np.abs(d).sum()), 64 * ROUNDING * abs(loss)
        if min(up, down) < loss - slack - rounding or up + down < 2 * loss - 1e-3 * slack - rounding:
            return True
    return False


def _why_not(slope: float, promise: float, loss: float) -> str:
    if not slope < 0:
        return "the direction does not lead down: its slope is not negative"
    if promise <= 1e4 * ROUNDING * abs(loss):
        return "the line search failed: rounding hides the little that the loss could still fall"
    return "the line search failed: no step lowers the loss as its gradient says: it is wrong, or the loss has a kink, an edge or NaN there"
