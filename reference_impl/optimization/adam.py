"""Adam: two moving averages of the gradient, corrected for their start at zero; AdamW, AMSGrad and Yogi.

Derived in the chapter on [Adam][adam].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays.checks import SHARE, SIZE, SYMBOL, Count, Either, Flag, Numbers, Real, checked
from ..arrays.protocol import Array
from ..engines.tape import Rule
from .optimizer import Optimizer, Schedule, hyper


def adam(w: Any, g: Any, m: Any, v: Any, *, lr: Any, beta1: Any, beta2: Any, eps: Any, t: Any) -> tuple[Any, Any, Any]:
    """One step of Adam, number `t` = 1, 2, …: `m` averages the gradient, `v` its square.

    Source: Kingma & Ba 2015, algorithm 1.

    >>> w, m, v = adam(1.0, 2.0, 0.0, 0.0, lr=0.1, beta1=0.9, beta2=0.999, eps=1e-8, t=1)
    >>> round(float(w), 6), round(m, 6), round(v, 6)
    (0.9, 0.2, 0.004)
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - lr * m_hat / (np.sqrt(v_hat) + eps)
    return w, m, v


def adam_eps_hat(w: Any, g: Any, m: Any, v: Any, *, lr: Any, beta1: Any, beta2: Any, eps: Any, t: Any) -> tuple[Any, Any, Any]:
    """Adam with both corrections in the learning rate, so that ε is added to the uncorrected root.

    Source: Kingma & Ba 2015, the last paragraph of section 2, where ε is called ε̂; TensorFlow and Keras.

    >>> w, m, v = adam_eps_hat(1.0, 2.0, 0.0, 0.0, lr=0.1, beta1=0.9, beta2=0.999, eps=0.0, t=1)
    >>> round(float(w), 6)
    0.9
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    lr_t = lr * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
    w = w - lr_t * m / (np.sqrt(v) + eps)
    return w, m, v


def adamw(w: Any, g: Any, m: Any, v: Any, *,
          lr: Any, beta1: Any, beta2: Any, eps: Any, weight_decay: Any, t: Any) -> tuple[Any, Any, Any]:
    """Adam with weight decay beside it: `w` shrinks first, and the gradient knows nothing of it.

    Source: Loshchilov & Hutter 2019, algorithm 2, but with the decay times `lr` as in PyTorch: their λ
    is `lr`·`weight_decay`.

    >>> w, m, v = adamw(1.0, 2.0, 0.0, 0.0, lr=0.1, beta1=0.9, beta2=0.999, eps=0.0, weight_decay=0.5, t=1)
    >>> round(float(w), 6)
    0.85
    """
    return adam((1 - lr * weight_decay) * w, g, m, v, lr=lr, beta1=beta1, beta2=beta2, eps=eps, t=t)


def amsgrad(w: Any, g: Any, m: Any, v: Any, top: Any, *,
            lr: Any, beta1: Any, beta2: Any, eps: Any, t: Any) -> tuple[Any, Any, Any, Any]:
    """Adam with the largest `v` so far, `top`, in the place of `v`.

    `top` never falls. The root of the corrected `top` can, as 1 - β₂ᵗ grows. Source: Reddi, Kale &
    Kumar 2018, algorithm 2, which has no corrections; with Adam's corrections after the maximum, as
    in PyTorch.

    >>> w, m, v, top = amsgrad(1.0, 2.0, 0.0, 0.0, 0.0, lr=0.1, beta1=0.9, beta2=0.999, eps=0.0, t=1)
    >>> round(float(w), 6)
    0.9
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    top = np.maximum(top, v)
    m_hat = m / (1 - beta1**t)
    v_hat = top / (1 - beta2**t)
    w = w - lr * m_hat / (np.sqrt(v_hat) + eps)
    return w, m, v, top


def amsgrad_corrected_max(w: Any, g: Any, m: Any, v: Any, top: Any, *,
                          lr: Any, beta1: Any, beta2: Any, eps: Any, t: Any) -> tuple[Any, Any, Any, Any]:
    """AMSGrad that takes the largest of the *corrected* averages, as Optax does: its denominator never falls.

    It never forgets the first gradient either, which is corrected to count in full.

    >>> w, m, v, top = amsgrad_corrected_max(1.0, 2.0, 0.0, 0.0, 0.0, lr=0.1, beta1=0.9, beta2=0.999, eps=0.0, t=1)
    >>> round(float(w), 6), round(float(top), 6)
    (0.9, 4.0)
    """
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    top = np.maximum(top, v_hat)
    w = w - lr * m_hat / (np.sqrt(top) + eps)
    return w, m, v, top


def yogi(w: Any, g: Any, m: Any, v: Any, *, lr: Any, beta1: Any, beta2: Any, eps: Any, t: Any) -> tuple[Any, Any, Any]:
    """Adam whose `v` moves by (1 - β₂)g² towards g², however far it is from it: small gradients make it forget slowly.

    Source: Zaheer et al. 2018, algorithm 2, with Adam's corrections, as *Dive into Deep Learning*, TensorFlow and Optax have it.

    >>> w, m, v = yogi(1.0, 2.0, 0.0, 100.0, lr=0.1, beta1=0.9, beta2=0.75, eps=0.0, t=1)
    >>> round(float(v), 6)
    99.0
    """
    m = beta1 * m + (1 - beta1) * g
    v = v + (1 - beta2) * np.sign(g**2 - v) * g**2
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - lr * m_hat / (np.sqrt(v_hat) + eps)
    return w, m, v


@dataclass
class Moments(Optimizer):
    """The hyperparameters that Adam and its relatives share."""

    lr: float | Schedule = hyper(1e-3, 0, open_low=True)
    beta1: float | Schedule = hyper(0.9, 0, 1)
    beta2: float | Schedule = hyper(0.999, 0, 1)
    eps: float | Schedule = hyper(1e-8, 0)


@dataclass
class Adam(Moments):
    """Adaptive moments: [`adam`][reference_impl.optimization.adam.adam] on every array.

    `lr` > 0; `beta1` and `beta2` in [0, 1) are what each average keeps in a step; `eps` ≥ 0 is added
    to the root: to the corrected one, or with `eps_hat=True` to the uncorrected one. Any of the
    numbers may be a schedule.

    >>> params = {"w": np.array([1.0, -1.0])}
    >>> Adam(lr=0.1).update(params, {"w": np.array([5.0, -0.01])})
    >>> print(params["w"].round(6))
    [ 0.9 -0.9]
    """

    rule = staticmethod(adam)

    eps_hat: bool = False

    def _rule(self) -> Rule:
        return adam_eps_hat if self.eps_hat else adam


@dataclass
class AdamW(Moments):
    """Adam with decoupled weight decay: [`adamw`][reference_impl.optimization.adam.adamw] on every array.

    `weight_decay` ≥ 0 is the part of a weight that a step of length `lr` = 1 takes away; the others
    are [`Adam`][reference_impl.optimization.adam.Adam]'s.

    >>> params = {"w": np.array([1.0])}
    >>> AdamW(lr=0.1, weight_decay=0.5).update(params, {"w": np.array([0.0])})
    >>> print(params["w"])
    [0.95]
    """

    rule = staticmethod(adamw)

    weight_decay: float | Schedule = hyper(0.01, 0)


@dataclass
class AMSGrad(Moments):
    """Adam with the largest average of squares so far: [`amsgrad`][reference_impl.optimization.adam.amsgrad] on every array.

    The hyperparameters are [`Adam`][reference_impl.optimization.adam.Adam]'s. The largest average is
    taken before the averages are corrected, as in PyTorch, or with `corrected_max=True` after, as in
    Optax; only then the denominator never falls.

    >>> params = {"w": np.array([1.0])}
    >>> AMSGrad(lr=0.1).update(params, {"w": np.array([2.0])})
    >>> print(params["w"].round(6))
    [0.9]
    """

    rule = staticmethod(amsgrad)

    corrected_max: bool = False

    def _rule(self) -> Rule:
        return amsgrad_corrected_max if self.corrected_max else amsgrad


@checked(gradients=Numbers(), beta1=SHARE, beta2=SHARE, eps=SIZE)
def follow(gradients: Array | Sequence[object], beta1: float = 0.9, beta2: float = 0.999,
           eps: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What Adam makes of given gradients: its steps, in units of the learning rate, and its two averages after each.

    `gradients` has a row for each step, and the three results have its shape. A step is `lr`·m̂/(√v̂ + ε),
    and the weight moves against it. Source: Kingma & Ba 2015, algorithm 1.

    >>> steps, m, v = follow([5.0, 5.0, -5.0])
    >>> print(steps.round(3), m.round(3), v.round(3))
    [1.    1.    0.262] [0.5   0.95  0.355] [0.025 0.05  0.075]
    """
    given = np.asarray(gradients, dtype=float)
    if not given.ndim:
        raise ValueError(f"gradients must have a row for each step, got {gradients!r}")
    steps, m, v = (np.zeros_like(given) for _ in range(3))
    first = second = np.zeros(given.shape[1:])
    for at, g in enumerate(given):
        moved, first, second = adam(0.0, g, first, second, lr=1.0, beta1=beta1, beta2=beta2, eps=eps, t=at + 1)
        steps[at], m[at], v[at] = -moved, first, second
    return steps, m, v


@checked(t=Either(Numbers(low=1, finite=False), SYMBOL), beta1=Either(Numbers(low=0, high=1, open_high=True), SYMBOL),
         beta2=Either(Numbers(low=0, high=1, open_high=True), SYMBOL))
def correction_ratio(t: Any, beta1: Any, beta2: Any) -> Any:
    """How many times longer step `t` = 1, 2, … would be without the two corrections (for ε = 0): (1 - β₁ᵗ)/√(1 - β₂ᵗ).

    Numbers, arrays or SymPy symbols; `t=inf` gives 1. Derived in the chapter from Kingma & Ba 2015, algorithm 1.

    >>> round(correction_ratio(1, 0.9, 0.999), 6)
    3.162278
    """
    return (1 - beta1**t) / (1 - beta2**t) ** 0.5


@checked(t=Numbers(low=1), beta=SHARE, drift=SIZE)
def drift_bound(t: Any, beta: float, drift: float) -> Any:
    """The most that an average of `t` values can be off when their mean moves by at most `drift` ≥ 0 a step.

    It bounds |E[mₜ] - (1 - βᵗ)E[gₜ]| by drift·(β(1 - βᵗ)/(1 - β) - tβᵗ), which a steady drift reaches
    and which rises to drift·β/(1 - β). `beta` in [0, 1). Source: the ζ of Kingma & Ba 2015, section 3.

    >>> round(drift_bound(1, 0.9, 1.0), 6), round(drift_bound(1000, 0.9, 1.0), 6)
    (0.0, 9.0)
    """
    return drift * (beta * (1 - beta**t) / (1 - beta) - t * beta**t)


@checked(t=Real(1, infinite=True), beta1=SHARE, beta2=Real(0, 1, open_low=True, open_high=True), corrected=Flag())
def step_bound(t: float, beta1: float, beta2: float, *, corrected: bool = True) -> float:
    """The longest that step `t` = 1, 2, … or inf can be, in units of `lr`, whatever the gradients were (ε = 0).

    With q = β₁²/β₂ it is (1 - β₁)/√(1 - β₂) · √((1 - qᵗ)/(1 - q)), divided by `correction_ratio` if
    `corrected`. Raises ValueError unless `beta1` is in [0, 1) and `beta2` in (0, 1). It corrects the
    bound of Kingma & Ba 2015, section 2.1; derived in the chapter with Cauchy and Schwarz.

    >>> round(step_bound(1, 0.9, 0.999), 6), round(step_bound(float("inf"), 0.9, 0.999), 6)
    (1.0, 7.270292)
    """
    q = beta1**2 / beta2
    total = t if q == 1 else (1 - q**t) / (1 - q)
    ratio = correction_ratio(t, beta1, beta2) if corrected else 1.0
    return float((1 - beta1) / (1 - beta2) ** 0.5 * total**0.5 / ratio)


@checked(t=Count(), beta1=SHARE, beta2=Real(0, 1, open_low=True, open_high=True))
def longest_step_gradients(t: int, beta1: float, beta2: float) -> np.ndarray:
    """The `t` gradients whose last step is as long as `step_bound` allows: gᵢ = (β₁/β₂)^(t - i), shape (t,).

    >>> print(longest_step_gradients(3, 0.5, 0.8).round(6))
    [0.390625 0.625    1.      ]
    """
    powers: np.ndarray = (beta1 / beta2) ** np.arange(t - 1, -1, -1.0)
    return powers
