"""Nesterov's accelerated gradient: momentum that looks ahead before it takes the gradient.

Derived in the chapter on [Nesterov's gradient][nesterovs-gradient].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays.checks import POSITIVE, SYMBOL, Count, Either, Function, Numbers, Real, checked
from ..arrays.protocol import Array
from ..engines.tape import Rule
from . import momentum as heavy_ball
from .landscapes import Landscape
from .momentum import NUMBER, Quantity, Tuning
from .optimizer import Optimizer, Schedule, hyper


def nesterov(w: Any, g: Any, v: Any, *, lr: Any, rho: Any) -> tuple[Any, Any]:
    """One step of Nesterov's method, `w` being the point ahead: `g` is the gradient there.

    Source: Nesterov 1983; in these variables Bengio, Boulanger-Lewandowski & Pascanu 2013, eq. (7); PyTorch's `nesterov=True`.

    >>> nesterov(1.0, 2.0, 0.0, lr=0.1, rho=0.5)
    (0.7, 2.0)
    """
    v = rho * v + g
    w = w - lr * (g + rho * v)
    return w, v


def nesterov_lr_inside(w: Any, g: Any, v: Any, *, lr: Any, rho: Any) -> tuple[Any, Any]:
    """Nesterov's method with the learning rate inside the velocity.

    Source: Sutskever et al. 2013, eq. (3)-(4), at the point ahead; CS231n and Keras write it so.

    >>> nesterov_lr_inside(1.0, 2.0, 0.0, lr=0.1, rho=0.5)
    (0.7, -0.2)
    """
    v = rho * v - lr * g
    w = w + rho * v - lr * g
    return w, v


@dataclass
class Nesterov(Optimizer):
    """Momentum with a look ahead: [`nesterov`][reference_impl.optimization.nesterov.nesterov] on every array.

    `lr` > 0 is the learning rate α, `rho` in [0, 1) what friction leaves; either may be a schedule.
    `lr_inside=True` takes [`nesterov_lr_inside`][reference_impl.optimization.nesterov.nesterov_lr_inside].
    The parameters are the points ahead, where gradients are taken.

    >>> import numpy as np
    >>> params = {"w": np.array([1.0])}
    >>> Nesterov(lr=0.1, rho=0.5).update(params, {"w": np.array([2.0])})
    >>> print(params["w"])
    [0.7]
    """

    rule = staticmethod(nesterov)

    lr: float | Schedule = hyper(0.01, 0, open_low=True)
    rho: float | Schedule = hyper(0.9, 0, 1)
    lr_inside: bool = False

    def _rule(self) -> Rule:
        return nesterov_lr_inside if self.lr_inside else nesterov


@checked(w=NUMBER, v=NUMBER, lr=NUMBER, rho=NUMBER)
def ahead(w: Quantity, v: Quantity, *, lr: Quantity, rho: Quantity) -> Quantity:
    """The point ahead of `w`: where the velocity `v`, after friction, will carry it; w - αρv.

    The look-ahead form of Nesterov's method is momentum with the gradient taken there.
    Source: Sutskever et al. 2013, eq. (3), with v = -v/lr.

    >>> ahead(1.0, 2.0, lr=0.25, rho=0.5)
    0.75
    """
    return w - lr * rho * v


@checked(lr=NUMBER, rho=NUMBER, curvature=NUMBER)
def effective_rho(lr: Quantity, rho: Quantity, curvature: Quantity) -> Quantity:
    """The momentum with which the heavy ball moves on ½λw² as Nesterov's method does: ρ(1 - αλ).

    Source: Sutskever et al. 2013. Numbers or SymPy symbols.

    >>> effective_rho(0.25, 0.5, 2.0)
    0.25
    """
    return rho * (1 - lr * curvature)


@checked(rho=Either(Numbers(low=0, high=1), SYMBOL))
def stable_edge(rho: Quantity) -> Quantity:
    """The αλ at which Nesterov's method stops converging on ½λw², for ρ in [0, 1): 2(1 + ρ)/(1 + 2ρ).

    Derived in the chapter; the heavy ball's is 2(1 + ρ), gradient descent's 2.

    >>> stable_edge(0.0), stable_edge(0.5)
    (2.0, 1.5)
    """
    return 2 * (1 + rho) / (1 + 2 * rho)


@checked(lr=Either(Numbers(low=0), SYMBOL), curvature=Either(Numbers(low=0), SYMBOL))
def critical_rho(lr: Quantity, curvature: Quantity) -> Quantity:
    """The ρ between creeping and swinging on ½λw², (1 - √(αλ))/(1 + √(αλ)): the best rate for this α while αλ ≤ 1.

    >>> round(critical_rho(0.01, 1.0), 6)
    0.818182
    """
    root = (lr * curvature) ** 0.5
    return (1 - root) / (1 + root)


@checked(lr=Real(), rho=Real(), curvatures=Numbers())
def convergence_rate(lr: float, rho: float, curvatures: Array | Sequence[float]) -> float:
    """The factor per step at which the slowest direction shrinks in the long run: the spectral radius.

    `curvatures` are the eigenvalues λ > 0 of the Hessian. At or above 1 the steps do not converge.

    >>> round(convergence_rate(0.75, 0.4, [1.0]), 6)  # swinging: the root of ρ(1 - αλ)
    0.316228
    """
    known = np.ravel(np.asarray(curvatures, dtype=float))
    return max(float(heavy_ball.convergence_rate(lr, effective_rho(lr, rho, c), c)) for c in known)


@checked(curvatures=Numbers(low=0, open_low=True))
def best_tuning(curvatures: Array | Sequence[float]) -> Tuning:
    """The `lr` and `rho` that make [`convergence_rate`][reference_impl.optimization.nesterov.convergence_rate] smallest.

    With m and L the smallest and the largest curvature: α = 4/(3L + m), ρ is critical for m, and the
    rate is 1 - 2/√(3κ + 1), κ = L/m. Source: Lessard, Recht & Packard 2016.

    >>> best_tuning([1.0, 5.0])
    Tuning(lr=0.25, rho=0.3333333333333333)
    """
    known = np.asarray(curvatures, dtype=float)
    low, high = float(known.min()), float(known.max())
    lr = 4 / (3 * high + low)
    return Tuning(lr, critical_rho(lr, low))


@checked(steps=Count())
def momenta(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Nesterov's sequences for convex functions: t₁, t₂, … (steps,) and the ρ of each step (steps,).

    t₁ = 1, t² - t equals the square of the t before, and step k + 1 takes ρ = (tₖ - 1)/tₖ₊₁; the first
    takes 0. Raises ValueError when `steps` < 1. Source: Nesterov 1983; Beck & Teboulle 2009.

    >>> t, rho = momenta(3)
    >>> print(t.round(4), rho.round(4))
    [1.     1.618  2.1935] [0.     0.     0.2818]
    """
    t = np.ones(steps)
    for k in range(1, steps):
        t[k] = (1 + np.sqrt(1 + 4 * t[k - 1] ** 2)) / 2
    return t, np.append(0.0, (t[:-1] - 1) / t[1:])


@checked(grad=Function("w"), w0=Numbers(1), lr=POSITIVE, rhos=Numbers(1, empty=True))
def accelerated(grad: Callable[[np.ndarray], np.ndarray], w0: Array | Sequence[float], lr: float,
                rhos: Array | Sequence[float]) -> np.ndarray:
    """The look-ahead form with a momentum for each step: the path (steps + 1, n) of the points behind, from rest at `w0` (n,).

    With [`momenta`][reference_impl.optimization.nesterov.momenta] and `lr` = 1/L, f(wₖ) - f* is at most
    2L‖w₀ - w*‖²/(k + 1)² on every convex f whose curvature nowhere exceeds L. Raises ValueError for a gradient of another shape,
    and where the path leaves the finite numbers.
    Source: Beck & Teboulle 2009; Nesterov 1983.

    >>> accelerated(lambda w: w, [1.0], 0.5, [0.0, 0.5]).ravel().tolist()
    [1.0, 0.5, 0.125]
    """
    w = np.array(w0, dtype=float)
    v, path = np.zeros_like(w), [w]
    for rho in rhos:
        g = np.asarray(grad(ahead(w, v, lr=lr, rho=rho)), dtype=float)
        if g.shape != w.shape:
            raise ValueError(f"grad must return the shape {w.shape} of w, got {g.shape}")
        w, v = heavy_ball.momentum(w, g, v, lr=lr, rho=rho)
        path.append(w)
    return np.array(path)


@checked(k=Count(), smoothness=POSITIVE)
def worst_case(k: int, smoothness: float = 1.0) -> Landscape:
    """A convex quadratic of n = 2k + 1 weights on which no method of gradients is fast for k steps, from 0.

    L/4·(½(w₁² + Σ(wᵢ - wᵢ₊₁)² + wₙ²) - w₁) with L = `smoothness`: a chain pulled at one end, along which
    news travels one weight a step. After k steps f - f* is at least 3L‖w*‖²/(32(k + 1)²).
    Raises ValueError when `k` < 1 or `smoothness` ≤ 0. Source: Nesterov 2004, theorem 2.1.7.

    >>> f = worst_case(1, smoothness=4.0)
    >>> f.minima.tolist(), float(f(f.minima[0]))
    ([[0.75, 0.5, 0.25]], -0.375)
    """
    n = 2 * k + 1
    chain = smoothness / 4 * (2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1))
    pull = smoothness / 4 * np.eye(n)[0]
    return Landscape("worst case", n, lambda w: ((w @ chain / 2 - pull) * w).sum(-1), lambda w: w @ chain - pull,
                     lambda w: np.broadcast_to(chain, (*w.shape, n)), (1 - np.arange(1, n + 1) / (n + 1))[None])


def steep_flat_steep() -> Landscape:
    """A convex f in one dimension on which tuned momentum cycles: curvature 25 below 1, 1 from 1 to 2, 25 above.

    The slope is 25w, w + 24, 25w - 24. Source: Lessard, Recht & Packard 2016.

    >>> f = steep_flat_steep()
    >>> f.grad(np.array([[-1.0], [1.5], [2.0]])).ravel().tolist()
    [-25.0, 25.5, 26.0]
    """
    def fun(w: np.ndarray) -> Any:
        return np.select([w < 1, w < 2], [12.5 * w**2, w**2 / 2 + 24 * w - 12], 12.5 * w**2 - 24 * w + 36).sum(-1)

    return Landscape("steep, flat, steep", 1, fun, lambda w: np.select([w < 1, w < 2], [25 * w, w + 24], 25 * w - 24),
                     lambda w: np.where((w >= 1) & (w < 2), 1.0, 25.0)[..., None], np.zeros((1, 1)))
