"""Momentum (heavy ball): the rule, its two conventions, and what theory says of it on a quadratic.

Derived in the chapter on [momentum][momentum].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..arrays.checks import POSITIVE, SHARE, SIZE, SYMBOL, Count, Either, Function, Numbers, Real, checked
from ..arrays.protocol import Array
from ..engines.tape import Rule
from .landscapes import Landscape
from .optimizer import Optimizer, Schedule, hyper


def momentum(w: Any, g: Any, v: Any, *, lr: Any, rho: Any) -> tuple[Any, Any]:
    """One step of momentum: the velocity `v` keeps `rho` of itself and takes in the gradient `g`.

    Source: Polyak 1964, the heavy ball; PyTorch writes it in this form.

    >>> momentum(1.0, 2.0, 0.0, lr=0.1, rho=0.9)
    (0.8, 2.0)
    """
    v = rho * v + g
    w = w - lr * v
    return w, v


def momentum_lr_inside(w: Any, g: Any, v: Any, *, lr: Any, rho: Any) -> tuple[Any, Any]:
    """Momentum with the learning rate inside the velocity, which then is the step itself.

    Source: Sutskever et al. 2013, classical momentum; CS231n and *Deep Learning from Scratch* write it so.

    >>> momentum_lr_inside(1.0, 2.0, 0.0, lr=0.1, rho=0.9)
    (0.8, -0.2)
    """
    v = rho * v - lr * g
    w = w + v
    return w, v


@dataclass
class Momentum(Optimizer):
    """Gradient descent with a velocity: [`momentum`][reference_impl.optimization.momentum.momentum] on every array.

    `lr` > 0 is the learning rate α; `rho` in [0, 1) is ρ, the part of the velocity that friction
    leaves in each step. Either may be a schedule. `lr_inside=True` takes
    [`momentum_lr_inside`][reference_impl.optimization.momentum.momentum_lr_inside]: the same path
    while `lr` is constant, another one when it changes.

    >>> params = {"w": np.array([1.0])}
    >>> optimizer = Momentum(lr=0.1, rho=0.9)
    >>> for _ in range(2):
    ...     optimizer.update(params, {"w": np.array([1.0])})
    >>> print(params["w"], optimizer.state["v"]["w"])
    [0.71] [1.9]
    """

    rule = staticmethod(momentum)

    lr: float | Schedule = hyper(0.01, 0, open_low=True)
    rho: float | Schedule = hyper(0.9, 0, 1)
    lr_inside: bool = False

    def _rule(self) -> Rule:
        return momentum_lr_inside if self.lr_inside else momentum


class Tuning(NamedTuple):
    """A learning rate and a momentum."""

    lr: float
    rho: float


Quantity = Any
"""A number, an array or an expression of SymPy; a result is of the same kind."""

NUMBER = Either(Numbers(), SYMBOL)


@checked(curvature=NUMBER, lr=NUMBER, rho=NUMBER, rule=Function("(w, g, v, *, lr, rho)"))
def iteration_matrix(curvature: Quantity, lr: Quantity, rho: Quantity, rule: Rule = momentum) -> list[list[Quantity]]:
    """The matrix that takes (w, v) to the next (w, v) on the quadratic ½λw², entry by entry.

    The rule is linear in (w, v) there, so its columns are the rule applied to (1, 0) and to (0, 1).
    Numbers give numbers, SymPy symbols give SymPy expressions.

    >>> iteration_matrix(2, 0.25, 0.5)
    [[0.5, -0.125], [2.0, 0.5]]
    """
    columns = [rule(w, curvature * w, v, lr=lr, rho=rho) for w, v in ((1, 0), (0, 1))]
    return [[column[row] for column in columns] for row in (0, 1)]


@checked(mass=Either(POSITIVE, SYMBOL), friction=Either(SIZE, SYMBOL), time_step=Either(POSITIVE, SYMBOL))
def from_physics(mass: Quantity, friction: Quantity, time_step: Quantity) -> Tuning:
    """The `lr` and `rho` of a ball of `mass` m with `friction` c, followed in time steps h: α = h²/m, ρ = 1 - ch/m.

    Source: Qian 1999. Numbers or SymPy symbols.

    >>> from_physics(mass=1.0, friction=0.5, time_step=0.25)
    Tuning(lr=0.0625, rho=0.875)
    """
    return Tuning(time_step**2 / mass, 1 - friction * time_step / mass)


@checked(lr=Either(Numbers(low=0), SYMBOL), curvature=Either(Numbers(low=0), SYMBOL))
def critical_rho(lr: Quantity, curvature: Quantity) -> Quantity:
    """The ρ between real and complex roots on ½λw², (1 - √(αλ))²: the best rate for this α and λ, where αλ < 4.

    >>> round(critical_rho(0.01, 1.0), 6)
    0.81
    """
    return (1 - (lr * curvature) ** 0.5) ** 2


@checked(lr=Numbers(), rho=Numbers(), curvatures=Numbers())
def convergence_rate(lr: Array | float, rho: Array | float, curvatures: Array | Sequence[float]) -> Any:
    """The factor per step at which the slowest direction shrinks in the long run: the largest spectral radius of the iteration matrices.

    `lr` and `rho` are numbers, or arrays that broadcast against each other; the rate has their shape. `curvatures` (n,) are
    the eigenvalues λ of the Hessian. At or above 1 the steps do not converge.

    The matrix of one λ has the eigenvalues s ± √(s² - ρ) with s = (1 + ρ - αλ)/2.

    >>> round(convergence_rate(0.1, 0.81, [1.0]), 6)
    0.9
    >>> convergence_rate(0.25, np.array([0.0, 0.25]), [1.0, 9.0]).round(6).tolist()
    [1.25, 0.5]
    """
    alpha, kept = (np.asarray(given, dtype=float) for given in (lr, rho))
    _check_broadcast("lr and rho", alpha, kept)
    alpha, kept = alpha[..., None], kept[..., None]
    middle = (1 + kept - alpha * np.ravel(np.asarray(curvatures, dtype=float))) / 2
    apart = middle**2 - kept
    radius = np.where(apart < 0, np.sqrt(np.maximum(kept, 0)), np.abs(middle) + np.sqrt(np.maximum(apart, 0))).max(axis=-1)
    return radius if radius.ndim else float(radius)


@checked(curvatures=Numbers(low=0, open_low=True))
def best_tuning(curvatures: Array | Sequence[float]) -> Tuning:
    """The `lr` and `rho` that make [`convergence_rate`][reference_impl.optimization.momentum.convergence_rate] smallest.

    With m and L the smallest and the largest curvature: α = (2/(√L + √m))², ρ = ((√L - √m)/(√L + √m))²,
    and the rate is √ρ. Source: Polyak 1964; Goh 2017, "Optimal parameters".

    >>> best_tuning([1.0, 9.0])
    Tuning(lr=0.25, rho=0.25)
    """
    roots = np.sqrt(np.asarray(curvatures, dtype=float))
    low, high = float(roots.min()), float(roots.max())
    return Tuning((2 / (high + low)) ** 2, ((high - low) / (high + low)) ** 2)


@checked(losses=Numbers(1), path=Numbers(2), lr=POSITIVE, rho=SHARE)
def energy(losses: np.ndarray, path: np.ndarray, lr: float, rho: float) -> np.ndarray:
    """Height plus motion at each point of a path: f(wₜ) + ρ/(2α)·‖wₜ - wₜ₋₁‖², shape (steps + 1,).

    `losses` (steps + 1,) and `path` (steps + 1, n) are a [`Descent`][reference_impl.Descent] that
    starts at rest. Where no curvature exceeds L and αL ≤ 2(1 - ρ), it never grows.
    Source: Zavriev & Kostyuk 1993, who prove convergence without convexity.

    >>> print(energy(np.array([2.0, 0.5]), np.array([[2.0], [1.0]]), lr=0.5, rho=0.5))
    [2. 1.]
    """
    losses, path = np.asarray(losses), np.asarray(path)
    if len(losses) != len(path):
        raise ValueError(f"losses must be one for each point of the path, got {len(losses)} for {len(path)}")
    moved = np.diff(path, axis=0, prepend=path[:1])
    total: np.ndarray = losses + rho / (2 * lr) * (moved**2).sum(axis=1)
    return total


@checked(lr=Numbers(), rho=Numbers(), curvature=Numbers(), noise=SIZE)
def stationary_variance(lr: Quantity, rho: Quantity, curvature: Quantity, noise: float) -> Quantity:
    """The variance of `w` in the long run on ½λw², with independent noise of standard deviation `noise` in each gradient.

    s²α(1 + ρ)/(λ(1 - ρ)(2(1 + ρ) - αλ)) with s = `noise`, derived in the chapter. The others may be arrays that broadcast.
    Raises ValueError unless 0 ≤ ρ < 1 and 0 < αλ < 2 + 2ρ, the stable range.

    >>> round(stationary_variance(0.1, 0.0, 1.0, 1.0), 6)
    0.052632
    """
    _check_broadcast("lr, rho and curvature", *map(np.asarray, (lr, rho, curvature)))
    for product, r in zip(*(np.ravel(x) for x in np.broadcast_arrays(np.multiply(lr, curvature), rho))):
        if not 0 <= r < 1:
            raise ValueError(f"rho must lie in [0, 1), got {r:g}")
        if not 0 < product < 2 * (1 + r):
            raise ValueError(f"lr * curvature must lie in (0, {2 * (1 + r):g}) for rho = {r:g}, got {product:g}")
    return noise**2 * lr * (1 + rho) / (curvature * (1 - rho) * (2 * (1 + rho) - lr * curvature))


class ExpectedLoss(NamedTuple):
    """The two parts of an expected loss, each of shape (steps + 1, …): `from_start` fades, `from_noise` grows to its long-run value."""

    from_start: np.ndarray
    from_noise: np.ndarray


@checked(lr=Numbers(empty=True), rho=Numbers(empty=True), curvatures=Numbers(1), start=Numbers(1), noise=SIZE)
def expected_loss(lr: Array | Sequence[object], rho: Array | Sequence[object], curvatures: Array | Sequence[float],
                  start: Array | Sequence[float], noise: float) -> ExpectedLoss:
    """The mean loss of momentum on ½ Σ λᵢwᵢ² with noise in each gradient, computed without a simulation.

    `lr` and `rho` (steps, …) hold the settings of each step, for several runs side by side if they have more axes; they broadcast.
    `curvatures` and `start` (n,) are the λᵢ and w at step 0, at rest. The noise is independent, with mean 0 and standard deviation
    `noise` in each coordinate. As 𝔼w² = (𝔼w)² + Var w, the loss is the sum of what the start leaves and what the noise adds.
    Source: Goh 2017, "Momentum with Stochastic Gradients". Raises ValueError if neither `lr` nor `rho` has an axis for the steps.

    >>> parts = expected_loss([0.5, 0.5], [0.0, 0.0], [1.0], [2.0], noise=1.0)
    >>> print(parts.from_start, parts.from_noise)
    [2.    0.5   0.125] [0.      0.125   0.15625]
    """
    alpha, kept, lam, first = (np.asarray(given, dtype=float) for given in (lr, rho, curvatures, start))
    _check_broadcast("lr and rho", alpha, kept)
    if first.shape != lam.shape:
        raise ValueError(f"start must have the shape {lam.shape} of curvatures, got {first.shape}")
    rates, rhos = np.broadcast_arrays(alpha, kept)
    if not rates.ndim:
        raise ValueError(f"lr and rho must hold a value for each step, got {lr!r} and {rho!r}")
    w = np.zeros((*rates.shape[1:], lam.size)) + first
    v, var_w, cov, var_v = np.zeros((4, *w.shape))
    parts = ExpectedLoss(*np.empty((2, rates.shape[0] + 1, *rates.shape[1:])))
    for step in range(rates.shape[0] + 1):
        parts.from_start[step], parts.from_noise[step] = (w**2 @ lam / 2, var_w @ lam / 2)
        if step < rates.shape[0]:
            a, r = rates[step][..., None], rhos[step][..., None]
            w, v = momentum(w, lam * w, v, lr=a, rho=r)
            (p, q), (x, y) = iteration_matrix(lam, a, r)  # the covariance C of (w, v) becomes M C Mᵀ, and noise comes in
            var_w, cov, var_v = (p * p * var_w + 2 * p * q * cov + q * q * var_v + (a * noise) ** 2,
                                 p * x * var_w + (p * y + q * x) * cov + q * y * var_v - a * noise**2,
                                 x * x * var_w + 2 * x * y * cov + y * y * var_v + noise**2)
    return parts


@checked(condition=Real(1, open_low=True), n=Count())
def worst_valley(condition: float, n: int) -> Landscape:
    """Nesterov's chain of `n` coordinates: from w = 0 no sum of multiples of gradients is fast in fewer than `n` steps.

    (κ - 1)/8 · (w₁² + Σ(wᵢ - wᵢ₊₁)² - 2w₁) + ½‖w‖² with κ = `condition` > 1; its curvatures lie between 1 and κ. In the
    limit of large `n` its minimum is at wᵢ = qⁱ with q = (√κ - 1)/(√κ + 1). Source: Nesterov 2004, section 2.1.4.

    Raises ValueError unless κ > 1 and `n` ≥ 1.

    >>> worst_valley(4.0, 30).minima[0, :3].round(6).tolist()
    [0.333333, 0.111111, 0.037037]
    """
    stiffness = (condition - 1) / 4
    hessian = (2 * stiffness + 1) * np.eye(n) - stiffness * (np.eye(n, k=1) + np.eye(n, k=-1))
    pull = stiffness * np.eye(n)[0]
    return Landscape("worst valley", n, lambda w: (w * (w @ hessian / 2 - pull)).sum(-1), lambda w: w @ hessian - pull,
                     lambda w: np.broadcast_to(hessian, (*w.shape, n)), np.linalg.solve(hessian, pull)[None])


def _check_broadcast(names: str, *given: np.ndarray) -> None:
    shapes = [array.shape for array in given]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise ValueError(f"{names} must broadcast against each other, got the shapes {', '.join(map(str, shapes))}") from None
