"""Quasi-Newton methods: the curvature that Newton's method computes, learnt from the gradients on the way.

Derived in the chapter on [quasi-Newton methods][quasi-newton-methods].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, sqrt
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import floats, on_host
from ..arrays.checks import POSITIVE, ArrayOf, Count, Function, Instance, Numbers, Optional, checked, shown
from .line_search import GRADIENT, ROUNDING, Gradient, Loss, LossAndGradient, Objective, Result, cause, largest, length, strong_wolfe
from .second_order import OPTIONS, Point, Stop, Verdict, descend


@checked(h=Numbers(2), s=Numbers(1), y=Numbers(1))
def bfgs_update(h: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The inverse Hessian `h` (n, n) after the weights moved by `s` (n,) and the gradient by `y` (n,), with s·y > 0.

    Of all symmetric matrices that map y to s it is the one nearest to `h`, in the Frobenius norm weighted with any positive
    definite W for which W s = y. Takes O(n²) operations. Raises ValueError where the shapes do not fit, or s·y is not positive.
    Source: Nocedal & Wright 2006, eq. (6.17), multiplied out.

    >>> h = bfgs_update(np.eye(2), np.array([1.0, 0.0]), np.array([4.0, 2.0]))
    >>> print(h @ [4.0, 2.0])
    [1. 0.]
    """
    h, s, y = floats(h), floats(s), floats(y)
    for name, given, shape in (("h", h, 2 * s.shape), ("y", y, s.shape)):
        if given.shape != shape:
            raise ValueError(f"{name} must have shape {shape} for s of shape {s.shape}, got {given.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        if not (product := float(s @ y)) > 0:
            raise ValueError(f"s·y must be positive, got {product!r}")
        updated = _updated(h, s, y)
    if not np.isfinite(updated).all():
        raise ValueError(f"s and y must have squares within float64, got {shown(s)} and {shown(y)}")
    return updated


def _updated(h: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    rho = 1 / (s @ y)
    hy = h @ y
    mixed = np.outer(s, hy)
    updated: np.ndarray = h - rho * (mixed + mixed.T) + (rho + rho**2 * (y @ hy)) * np.outer(s, s)
    return updated


@checked(g=Numbers(1), pairs=Instance(list, tuple, words="a list of pairs (s, y)"), scale=POSITIVE)
def two_loop(g: np.ndarray, pairs: Sequence[tuple[np.ndarray, np.ndarray]], scale: float) -> np.ndarray:
    """H g for the H that BFGS builds from `scale`·I and the `pairs` (s, y), oldest first, without building it.

    `g`, s and y are (n,). Raises ValueError where the shapes do not fit. Source: Nocedal 1980; Nocedal & Wright 2006, algorithm 7.4.

    >>> s, y = np.array([1.0, 0.0]), np.array([4.0, 2.0])
    >>> print(two_loop(y, [(s, y)], scale=1.0))
    [1. 0.]
    """
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        raise TypeError(f"pairs must be a list of pairs (s, y), got {shown(pairs)}")
    for pair in pairs:
        if not all(Numbers(1).fault(v) is None and np.shape(v) == np.shape(g) for v in pair):
            raise ValueError(f"pairs must be pairs (s, y) of finite vectors of shape {np.shape(g)} as g, got {shown(pair)}")
    pairs = [(floats(s), floats(y)) for s, y in pairs]
    if not all(s @ y for s, y in pairs):
        raise ValueError(f"pairs must be pairs (s, y) with s·y not 0, got {shown(pairs)}")
    q, alphas = floats(g), []
    for s, y in reversed(pairs):
        alphas.append(s @ q / (s @ y))
        q -= alphas[-1] * y
    r: np.ndarray = scale * q
    for (s, y), alpha in zip(pairs, reversed(alphas)):
        r += (alpha - y @ r / (s @ y)) * s
    return r


class Inverse(Protocol):
    """What stands for the inverse Hessian: it learns from pairs, multiplies a gradient, and can forget."""

    learnt: int

    def learn(self, s: np.ndarray, y: np.ndarray) -> None: ...
    def times(self, g: np.ndarray) -> np.ndarray: ...
    def forget(self) -> None: ...


LIKE = Optional(ArrayOf("", "biuf"))


class DenseInverse:
    """The inverse Hessian as BFGS has it: a matrix of n² numbers, scaled by s·y / y·y before its first update.

    >>> inverse = DenseInverse(n=2)
    >>> inverse.learn(np.array([1.0, 0.0]), np.array([4.0, 2.0]))
    >>> print(inverse.times(np.array([4.0, 2.0])))
    [1. 0.]
    """

    @checked(n=Count(), like=LIKE)
    def __init__(self, n: int, like: np.ndarray | None = None) -> None:
        self.h, self.learnt = np.asarray(np.eye(n), like=like), 0

    def learn(self, s: np.ndarray, y: np.ndarray) -> None:
        if not self.learnt:
            self.h *= float(s @ y) / float(y @ y)
        self.h = _updated(self.h, s, y)
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

    @checked(n=Count(), memory=Count(), like=LIKE)
    def __init__(self, n: int, memory: int, like: np.ndarray | None = None) -> None:
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


@checked(fun=Function("x"), grad=GRADIENT, **OPTIONS)
def bfgs(fun: Loss | LossAndGradient, x0: ArrayLike, grad: Gradient | Literal[True], *, gtol: float = 1e-6, maxiter: int = 15_000,
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
    x = floats(x0)
    return _descend(Objective(fun, grad), x, DenseInverse(x.size, like=x), gtol, maxiter, callback)


@checked(fun=Function("x"), grad=GRADIENT, memory=Count(), **OPTIONS)
def lbfgs(fun: Loss | LossAndGradient, x0: ArrayLike, grad: Gradient | Literal[True], *, memory: int = 10, gtol: float = 1e-6,
          maxiter: int = 15_000, callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Minimise `fun` from `x0` with what the last `memory` steps told about the curvature: 2·memory·n numbers.

    `fun(x)` is the loss at `x` (n,), a number, and `grad(x)` its gradient (n,); with `grad=True` `fun` returns both. Both must
    be exact, not those of a minibatch. Converged means that no slope is larger than `gtol` in absolute value, one of the two
    criteria of SciPy's L-BFGS-B (its `ftol` has no counterpart). Only the gradient is looked at, as the message says: slopes at one
    point cannot tell a saddle from a minimum. But where there is reason to doubt (no slope at the start, a weight that never moved, a loss that
    fell otherwise than its gradient says) the loss next to the point is looked at. That does not find every saddle.

    `callback(x)` gets a copy of each new point, and may raise StopIteration to end there. Where the descent ends otherwise, `success` is
    False, `message` says why, and `x` is its last point; a loss in float32 may end it where its precision is reached. Raises ValueError or
    TypeError when an argument, or what `fun` or `grad` returns, is of a wrong kind or shape.
    Source: Liu & Nocedal 1989; Nocedal & Wright 2006, algorithm 7.5.

    >>> from reference_impl import rosenbrock
    >>> valley = rosenbrock(1000)
    >>> result = lbfgs(valley, np.zeros(1000), valley.grad)
    >>> print(result.x.round(6).min(), result.success)
    1.0 True
    """
    x = floats(x0)
    memory = max(1, min(int(memory), maxiter))  # no more pairs than steps
    return _descend(Objective(fun, grad), x, LimitedInverse(x.size, memory, like=x), gtol, maxiter, callback)


def _descend(objective: Objective, x0: np.ndarray, inverse: Inverse, gtol: float, maxiter: int,
             callback: Callable[[np.ndarray], object] | None) -> Result:
    """Step after step along -H g, H learning from each, until no slope is larger than `gtol`."""
    doubtful, endless = True, False

    def advance(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        nonlocal doubtful, endless
        if endless:
            raise Stop("the loss falls without end: it seems to be unbounded below")
        promise, steepest = inf, largest(g)
        if not 0 < length(g) * length(g) < inf:
            raise Stop("the square of the gradient leaves float64: measure the loss or the weights in other units")
        while True:
            p = inverse.times(g) if inverse.learnt else g / max(1.0, steepest * float(np.linalg.norm(g / steepest)))
            np.negative(p, out=p)
            slope = float(g @ p)
            step = strong_wolfe(objective, x, p, loss, slope) if slope < 0 else None
            if step is not None:
                break
            promise = min(promise, -slope) if slope < 0 else promise  # what H foretold is nearer to the truth than the slope alone
            if not inverse.learnt:
                raise Stop(f"the line search failed{cause(objective, x, p, g, loss, promise)}")
            inverse.forget()
        s, y = step.x - x, step.grad - g
        if float(s @ y) > ROUNDING * sqrt(float(s @ s) * float(y @ y)) > 0:
            inverse.learn(s, y)
        told, fell = -step.t * (slope + step.slope) / 2, loss - step.loss
        doubtful = abs(fell - told) > 0.01 * told + 64 * objective.rounding * abs(loss)
        endless = step.t > 1e25
        return step.x, step.loss, step.grad

    def verdict(x: np.ndarray, loss: float, g: np.ndarray) -> Verdict:
        if (doubtful or (x == x0).any()) and _falls(objective, x, loss, gtol):
            return Verdict(False, "the gradient vanishes, but the loss falls next to it: no minimum, or a wrong gradient")
        return Verdict(True, "no slope is larger than gtol; only the gradient was looked at, not the curvature: a saddle would look the same")

    return descend(objective, x0, advance, verdict, gtol=gtol, maxiter=maxiter, callback=callback)


def _falls(objective: Objective, x: np.ndarray, loss: float, gtol: float) -> bool:
    """Whether the loss falls next to `x`, by more than slopes up to `gtol` explain, or curves down."""
    h, numbers = 1e-4 * (1 + largest(x)), np.arange(1.0, x.size + 1, like=x) ** 2
    for d in (np.sin(numbers), np.cos(numbers)):  # at right angles to nothing in particular
        up, down = objective.fun(x + h * d), objective.fun(x - h * d)
        slack, rounding = gtol * h * float(np.abs(d).sum()), 64 * objective.rounding * abs(loss)
        if min(up, down) < loss - slack - rounding or up + down < 2 * loss - 1e-3 * slack - rounding:
            return True
    return False
