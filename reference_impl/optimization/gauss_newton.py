"""Gauss–Newton and its kin: curvature that is never negative, made of first derivatives alone.

For a sum of squares it is JᵀJ (Gauss–Newton, Levenberg–Marquardt), for a likelihood Fisher's information, and K-FAC keeps two
small factors of that. Derived in the chapter on [Newton's method][newtons-method].
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import beside, floats
from ..arrays.checks import SIZE, Function, Numbers, OneOf, checked, shown
from .line_search import ROUNDING, Objective, Result, cause, returned
from .second_order import OPTIONS, Doubts, Point, Stop, Verdict, by_slope, descend, judged, searched

Residuals = Callable[[np.ndarray], ArrayLike]


@checked(r=Numbers(1), j=Numbers(2), mu=SIZE)
def gauss_newton_step(r: np.ndarray, j: np.ndarray, mu: float = 0.0) -> np.ndarray:
    """The step p with (JᵀJ + μI) p = -Jᵀr, the lowest point of ½‖r + Jp‖² + ½μ‖p‖²: Gauss–Newton's if `mu` is 0, else Levenberg's.

    `r` (m,) are the residuals, `j` (m, n) their derivatives. JᵀJ, whose condition number is the square of J's, is never formed:
    the step solves a linear least-squares problem with J, on top of √μ I. Where that has many solutions it is the shortest.
    Raises ValueError if `mu` < 0 or the shapes do not fit. Source: Nocedal & Wright 2006, eq. (10.25) and (10.34); Levenberg 1944.

    >>> j = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> print(gauss_newton_step(np.array([-1.0, -3.0, -5.0]), j).round(6))
    [1. 2.]
    """
    r, j = floats(r), floats(j)
    if len(r) != len(j):
        raise ValueError(f"j must have a row for each of the {len(r)} residuals, got shape {j.shape}")
    n = j.shape[1]
    if mu:
        j = np.concatenate([j, beside(mu**0.5 * np.eye(n), j)])
        r = np.concatenate([r, beside(np.zeros(n), r)])
    step: np.ndarray = np.linalg.lstsq(j, -r, rcond=None)[0]
    return step


@checked(residuals=Function("x"), jac=Function("x"), method=OneOf("line search", "pure"), **OPTIONS)
def gauss_newton(residuals: Residuals, x0: ArrayLike, jac: Residuals, *, method: Literal["line search", "pure"] = "line search",
                 gtol: float = 1e-6, maxiter: int = 1000, callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Minimise ½‖r(x)‖² from `x0` by Newton steps with JᵀJ in place of the Hessian.

    `residuals(x)` is r (m,) at `x` (n,), `jac(x)` its derivatives J (m, n). `method` is

    - `"line search"`: the step with backtracking. It leads down wherever the gradient Jᵀr is not zero.
    - `"pure"`: the whole step, no questions asked.

    The result is that of [`newton`][reference_impl.optimization.newton.newton]; it counts the residuals as `nfev` and the
    Jacobians as `ngev`. JᵀJ has no negative curvature, so it is the losses on either side, along each eigenvector of JᵀJ, that
    must not be lower at the end; the curvature of the loss is not looked at, as the message says. Raises ValueError or TypeError when an
    argument, or what a function returns, is of a wrong kind or shape. Source: Nocedal & Wright 2006, section 10.3.

    >>> t = np.array([0.0, 1.0, 2.0, 3.0])
    >>> y = 5 * np.exp(-0.7 * t)
    >>> found = gauss_newton(lambda w: w[0] * np.exp(-w[1] * t) - y, [4.0, 1.0],
    ...                      lambda w: np.stack([np.exp(-w[1] * t), -w[0] * t * np.exp(-w[1] * t)], axis=1))
    >>> print(found.x.round(6), found.success)
    [5.  0.7] True
    """
    squares = _Squares(residuals, jac)
    objective = Objective(squares.loss, squares.grad)

    def advance(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        p = _step(squares.r, squares.j)
        if method == "line search":
            return searched(objective, x, p, loss, g)
        return x + p, objective.fun(x + p), objective.grad(x + p)

    return descend(objective, x0, advance, lambda x, loss, g: squares.verdict(objective, x, loss, g, 0.0), gtol=gtol, maxiter=maxiter, callback=callback)


@checked(residuals=Function("x"), jac=Function("x"), **OPTIONS)
def levenberg_marquardt(residuals: Residuals, x0: ArrayLike, jac: Residuals, *, gtol: float = 1e-6, maxiter: int = 1000,
                        callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Minimise ½‖r(x)‖² from `x0` by steps with JᵀJ + μI, where μ falls after steps that did what was foretold and grows after others.

    `residuals(x)` is r (m,) at `x` (n,), `jac(x)` its derivatives J (m, n). μ starts at a thousandth of the largest number on the
    diagonal of JᵀJ. A step that lowers the loss is taken, and μ multiplied by max(⅓, 1 - (2γ - 1)³), where γ is the fall
    over what the parabola foretold; else μ is doubled, then quadrupled, and so on. Result, checks and errors are those of
    [`gauss_newton`][reference_impl.optimization.gauss_newton.gauss_newton].
    Source: Marquardt 1963, with Nielsen's rule for μ (Madsen, Nielsen & Tingleff 2004, algorithm 3.16).

    >>> t = np.array([0.0, 1.0, 2.0, 3.0])
    >>> y = 5 * np.exp(-0.7 * t)
    >>> found = levenberg_marquardt(lambda w: w[0] * np.exp(-w[1] * t) - y, [1.0, 5.0],
    ...                             lambda w: np.stack([np.exp(-w[1] * t), -w[0] * t * np.exp(-w[1] * t)], axis=1))
    >>> print(found.x.round(6), found.success)
    [5.  0.7] True
    """
    squares = _Squares(residuals, jac)
    objective = Objective(squares.loss, squares.grad)
    mu, growth = -1.0, 2.0

    def advance(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        nonlocal mu, growth
        r, j, most = squares.r, squares.j, 0.0
        if mu < 0:
            mu = 1e-3 * float((j * j).sum(axis=0).max())
        while mu < inf:
            p = _step(r, j, mu)
            promise = max(0.0, float(p @ (mu * p - g)) / 2)
            after = objective.fun(x + p)
            gain, most = (loss - after) / promise if promise > 0 else 0.0, max(most, promise)
            if gain > 0:
                mu, growth = mu * max(1 / 3, 1 - (2 * gain - 1) ** 3), 2.0
                return x + p, after, objective.grad(x + p)
            if (near := by_slope(objective, x, p, loss, g, promise)) is not None:
                return near
            mu, growth = max(mu, 1e-300) * growth, 2 * growth
        raise Stop(f"no μ makes a step that lowers the loss{cause(objective, x, -g, g, loss, most)}")

    return descend(objective, x0, advance, lambda x, loss, g: squares.verdict(objective, x, loss, g, max(mu, 0.0)),
                   gtol=gtol, maxiter=maxiter, callback=callback)


@checked(derivatives=Numbers(3), chances=Numbers(2, low=0, high=1))
def fisher(derivatives: np.ndarray, chances: np.ndarray) -> np.ndarray:
    """Fisher's information of a classifier, the mean of Jᵀ(diag p - p pᵀ)J: exact, over the labels that the model itself gives.

    `derivatives` (N, k, n) are those of the k scores of N examples by the n weights, `chances` (N, k) the softmax of the scores.
    For the mean cross-entropy it equals the generalised Gauss–Newton matrix, and the Hessian where the scores are linear.
    Raises ValueError where the shapes do not fit, or a chance lies outside [0, 1]. Source: Martens 2020, section 9.2.

    >>> print(fisher(np.array([[[1.0, 2.0], [0.0, 0.0]]]), np.array([[0.5, 0.5]])))
    [[0.25 0.5 ]
     [0.5  1.  ]]
    """
    derivatives, chances = floats(derivatives), floats(chances)
    if derivatives.shape[:2] != chances.shape:
        raise ValueError(f"chances must have shape {derivatives.shape[:2]} for derivatives of shape {derivatives.shape}, got {chances.shape}")
    centred = derivatives - np.einsum("ik,ikn->in", chances, derivatives)[:, None]
    weighted = np.sqrt(chances)[..., None] * centred
    rows = weighted.reshape(-1, weighted.shape[-1])
    information: np.ndarray = rows.T @ rows / len(derivatives)
    return information


@checked(g=Numbers(2), a=Numbers(2), s=Numbers(2), damping=SIZE)
def kronecker_step(g: np.ndarray, a: np.ndarray, s: np.ndarray, damping: float = 0.0) -> np.ndarray:
    """K-FAC's step for one layer, P = -A⁻¹ G S⁻¹: two small solves in place of one with A ⊗ S.

    `g` (p, q) is the gradient of the weights, `a` (p, p) the second moment of the layer's inputs, `s` (q, q) that of the slopes
    at its outputs, for labels that the model itself gives. A `damping` λ adds π√λ to the diagonal of A and √λ/π to that of S, with
    π² the mean of A's diagonal over that of S's (1 if either is 0), which is about λ on the diagonal of A ⊗ S. Raises ValueError if it
    is negative, the shapes do not fit or a diagonal is negative, and LinAlgError where A or S is singular.
    Source: Martens & Grosse 2015, sections 4.2 and 6.3.

    >>> g, a, s = np.ones((2, 1)), np.diag([1.0, 4.0]), np.array([[0.5]])
    >>> print(kronecker_step(g, a, s).ravel(), np.linalg.solve(np.kron(a, s), -g.ravel()))
    [-2.  -0.5] [-2.  -0.5]
    """
    g, a, s = floats(g), floats(a), floats(s)
    for name, given, n in (("a", a, g.shape[0]), ("s", s, g.shape[1])):
        if given.shape != (n, n):
            raise ValueError(f"{name} must have shape {(n, n)} for g of shape {g.shape}, got {given.shape}")
        if not float(np.diagonal(given).min()) >= 0:
            raise ValueError(f"{name} must be a second moment, whose diagonal is not negative, got {shown(given)}")
    if damping:
        inputs, slopes = float(np.diagonal(a).mean()), float(np.diagonal(s).mean())
        pi = (inputs / slopes) ** 0.5 if inputs and slopes else 1.0  # a layer whose units are all dead has zeros alone
        a = a + pi * damping**0.5 * beside(np.eye(len(a)), a)
        s = s + damping**0.5 / pi * beside(np.eye(len(s)), s)
    step: np.ndarray = -np.linalg.solve(s, np.linalg.solve(a, g).T).T
    return step


class _Squares:
    """½‖r(x)‖² and its gradient Jᵀr, with the last residuals `r` and Jacobian `j` kept for the step."""

    r: np.ndarray
    j: np.ndarray

    def __init__(self, residuals: Residuals, jac: Residuals) -> None:
        self._residuals, self._jac = residuals, jac
        self._at: np.ndarray | None = None

    def loss(self, x: np.ndarray) -> float:
        self._last, self._at = returned(self._residuals(x.copy()), "residuals", (None,), x), x
        return float(self._last @ self._last) / 2

    def grad(self, x: np.ndarray) -> np.ndarray:
        if self._at is None or not np.array_equal(self._at, x):
            self.loss(x)
        self.r, self.j = self._last, returned(self._jac(x.copy()), "jac", (len(self._last), len(x)), x)
        g: np.ndarray = self.r @ self.j
        return g

    def verdict(self, objective: Objective, x: np.ndarray, loss: float, g: np.ndarray, mu: float) -> Verdict:
        """Along no direction can JᵀJ tell a minimum from a saddle, so each is looked at."""
        try:
            values, vectors = np.linalg.eigh(self.j.T @ self.j)
        except np.linalg.LinAlgError:
            raise Stop("the Jacobian is not finite") from None
        ahead = _step(self.r, self.j, max(mu, ROUNDING * float(values[-1])))
        seen = "the loss does not fall beside it along the eigenvectors of JᵀJ: the curvature was not looked at"
        return judged(objective, x, loss, g, Doubts(0.0, 0.0, vectors.T, ahead, seen))


def _step(r: np.ndarray, j: np.ndarray, mu: float = 0.0) -> np.ndarray:
    try:
        if np.isfinite(j).all():
            return gauss_newton_step(r, j, mu)
    except np.linalg.LinAlgError:
        pass
    raise Stop("the Jacobian is not finite or too large: there is no Gauss–Newton step")
