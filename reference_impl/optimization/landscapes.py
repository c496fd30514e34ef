"""Loss functions to look at: small, exact, each with its gradient and its Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Function = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class Landscape:
    """A loss on vectors w of `n` numbers: call it for the loss, `grad(w)` (…, n), `hess(w)` (…, n, n).

    All three take arrays of shape (…, n), so a whole grid of points is one call. `minima` (k, n)
    holds the minima known in closed form, none where the loss falls without end.

    >>> f = saddle()
    >>> w = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> print(f(w))
    [ 0.5 -2. ]
    >>> print(f.grad(w))
    [[ 1. -0.]
     [ 0. -2.]]
    """

    name: str
    n: int
    fun: Function
    grad: Function
    hess: Function
    minima: np.ndarray

    def __call__(self, w: Any) -> Any:
        w = np.asarray(w, dtype=float)
        if not w.ndim or w.shape[-1] != self.n:
            raise ValueError(f"w must have shape (..., {self.n}), got {w.shape}")
        return self.fun(w)


def quadratic(curvatures: Any, name: str = "quadratic") -> Landscape:
    """½ Σ λᵢ wᵢ²: a quadratic in its own eigenbasis, with the given curvatures λ.

    Raises ValueError when `curvatures` is not a non-empty vector of finite numbers.

    >>> float(quadratic([1.0, 4.0])([2.0, 1.0]))
    4.0
    """
    scale = np.array(curvatures, dtype=float)
    if scale.ndim != 1 or not scale.size or not np.isfinite(scale).all():
        raise ValueError(f"curvatures must be a non-empty vector of finite numbers, got {curvatures!r}")

    def hess(w: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.diag(scale), (*w.shape, scale.size))

    bounded = (scale > 0).all()
    return Landscape(name, scale.size, lambda w: w**2 @ scale / 2, lambda w: w * scale, hess,
                     np.zeros((int(bounded), scale.size)))


def bowl(n: int = 2) -> Landscape:
    """½‖w‖²: the round bowl, every curvature 1.

    >>> bowl().grad(np.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """
    return quadratic(np.ones(n), "bowl")


def taco_shell(condition: float = 100.0) -> Landscape:
    """½(w₁² + κ w₂²): a long valley with steep walls, condition number `condition` = κ ≥ 1.

    Raises ValueError when κ < 1.

    >>> float(np.linalg.cond(taco_shell(50.0).hess(np.zeros(2))))
    50.0
    """
    if not condition >= 1:
        raise ValueError(f"condition must be 1 or more, got {condition!r}")
    return quadratic([1.0, condition], "taco shell")


def saddle() -> Landscape:
    """½(w₁² - w₂²): up along the first axis, down along the second, flat at the origin.

    >>> saddle().grad(np.zeros(2)).tolist()
    [0.0, -0.0]
    """
    return quadratic([1.0, -1.0], "saddle")


def double_well(tilt: float = 0.0) -> Landscape:
    """¼(w² - 1)² + tilt·w, in one dimension: two valleys near w = ±1 and a bump between them.

    There are two valleys while |tilt| < 2/(3√3); beyond that one is left. Raises ValueError when
    `tilt` is not finite.

    >>> float(double_well()([0.0]))
    0.25
    >>> double_well().minima.ravel().round(6).tolist()
    [-1.0, 1.0]
    """
    if not np.isfinite(tilt):
        raise ValueError(f"tilt must be finite, got {tilt!r}")
    roots = np.roots([1.0, 0.0, -1.0, tilt])
    flat = np.sort(roots.real[np.abs(roots.imag) < 1e-9])
    return Landscape("double well", 1, lambda w: ((w**2 - 1) ** 2 / 4 + tilt * w).sum(-1),
                     lambda w: w * (w**2 - 1) + tilt, lambda w: (3 * w**2 - 1)[..., None],
                     flat[3 * flat**2 > 1][:, None])


def rosenbrock(n: int = 2) -> Landscape:
    """Σ 100(wᵢ₊₁ - wᵢ²)² + (1 - wᵢ)²: a curved valley whose floor hardly falls.

    Source: Rosenbrock 1960; SciPy's `scipy.optimize.rosen` for n > 2. Raises ValueError when n < 2.

    >>> float(rosenbrock()([1.0, 1.0]))
    0.0
    """
    if n < 2:
        raise ValueError(f"n must be 2 or more, got {n}")

    def fun(w: np.ndarray) -> Any:
        here, after = w[..., :-1], w[..., 1:]
        return (100 * (after - here**2) ** 2 + (1 - here) ** 2).sum(-1)

    def grad(w: np.ndarray) -> np.ndarray:
        here, after = w[..., :-1], w[..., 1:]
        g = np.zeros(w.shape)
        g[..., :-1] = -400 * here * (after - here**2) - 2 * (1 - here)
        g[..., 1:] += 200 * (after - here**2)
        return g

    def hess(w: np.ndarray) -> np.ndarray:
        here, after = w[..., :-1], w[..., 1:]
        h, i = np.zeros((*w.shape, n)), np.arange(n - 1)
        h[..., i, i] = 1200 * here**2 - 400 * after + 2
        h[..., i + 1, i + 1] += 200
        h[..., i, i + 1] = h[..., i + 1, i] = -400 * here
        return h

    return Landscape("Rosenbrock", n, fun, grad, hess, np.ones((1, n)))


def noisy(landscape: Landscape, sigma: float, rng: np.random.Generator) -> Landscape:
    """`landscape` whose every call of `grad` adds fresh normal noise of standard deviation `sigma`.

    Loss and Hessian stay exact: they show where the steps really are. Raises ValueError when
    `sigma` is negative or not finite.

    >>> f = noisy(bowl(), 0.1, np.random.default_rng(0))
    >>> bool((f.grad(np.zeros(2)) == f.grad(np.zeros(2))).any())
    False
    """
    if not (np.isfinite(sigma) and sigma >= 0):
        raise ValueError(f"sigma must be finite and 0 or more, got {sigma!r}")
    return Landscape(f"noisy {landscape.name}", landscape.n, landscape.fun,
                     lambda w: landscape.grad(w) + sigma * rng.standard_normal(np.shape(w)),
                     landscape.hess, landscape.minima)
