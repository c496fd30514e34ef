"""AdaGrad: each coordinate's own learning rate, from the sum of its squared gradients.

Derived in the chapter on [AdaGrad][adagrad].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays.checks import POSITIVE, Numbers, Optional, checked
from ..arrays.protocol import Array
from ..engines.tape import Rule
from .optimizer import Optimizer, Schedule, hyper


def adagrad(w: Any, g: Any, s: Any, *, lr: Any, eps: Any) -> tuple[Any, Any]:
    """One step of AdaGrad: `s` adds up the squared gradients, and its root divides the step.

    Source: Duchi, Hazan & Singer 2011 (the diagonal version), with ε outside the root.

    >>> w, s = adagrad(1.0, 4.0, 0.0, lr=0.5, eps=0.0)
    >>> float(w), s
    (0.5, 16.0)
    """
    s = s + g**2
    w = w - lr * g / (np.sqrt(s) + eps)
    return w, s


def adagrad_eps_inside(w: Any, g: Any, s: Any, *, lr: Any, eps: Any) -> tuple[Any, Any]:
    """AdaGrad with ε inside the root, as Keras and Optax have it.

    >>> w, s = adagrad_eps_inside(1.0, 3.0, 0.0, lr=0.5, eps=16.0)
    >>> float(w), s
    (0.7, 9.0)
    """
    s = s + g**2
    w = w - lr * g / np.sqrt(s + eps)
    return w, s


@dataclass
class AdaGrad(Optimizer):
    """Adaptive gradient: [`adagrad`][reference_impl.optimization.adagrad.adagrad] on every array.

    `lr` > 0; `eps` ≥ 0 is added to the root of the sum, or to the sum with `eps_inside_root=True`;
    the sum starts at `initial_accumulator` ≥ 0.

    >>> params = {"w": np.array([1.0, 1.0])}
    >>> AdaGrad(lr=0.5).update(params, {"w": np.array([4.0, -0.01])})
    >>> print(params["w"].round(6))
    [0.5 1.5]
    """

    rule = staticmethod(adagrad)

    lr: float | Schedule = hyper(0.01, 0, open_low=True)
    eps: float | Schedule = hyper(1e-10, 0)
    initial_accumulator: float = hyper(0.0, 0, scheduled=False)
    eps_inside_root: bool = False

    def _rule(self) -> Rule:
        return adagrad_eps_inside if self.eps_inside_root else adagrad

    def _initial(self, name: str) -> float:
        return self.initial_accumulator


@checked(gradients=Numbers(2), distance=Numbers(low=0, open_low=True))
def best_fixed_rates(gradients: Array | Sequence[object], distance: Array | Sequence[float] | float) -> np.ndarray:
    """Each coordinate's best constant learning rate in hindsight, D/√Σg²: what AdaGrad imitates without it.

    `gradients` (steps, n) are those that came; `distance` D > 0, one for all or (n,), is how far from the
    start the best point lies. Infinite where every gradient was 0. Raises ValueError for other shapes
    and for D ≤ 0. Source: Zinkevich 2003, in each coordinate by itself.

    >>> print(best_fixed_rates([[3.0, 0.0], [4.0, 0.5]], distance=1.0))
    [0.2 2. ]
    """
    norms, far = _norms(gradients), np.asarray(distance, dtype=float)
    if far.shape not in ((), norms.shape):
        raise ValueError(f"distance must be one number, or one for each of {len(norms)} coordinates, got the shape {far.shape}")
    with np.errstate(divide="ignore"):
        result: np.ndarray = far / norms
    return result


@checked(gradients=Numbers(2), distance=POSITIVE, lr=Optional(POSITIVE))
def regret_bound(gradients: Array | Sequence[object], distance: float, lr: float | None = None) -> float:
    """What AdaGrad's regret on convex losses never exceeds: (D²/(2α) + α)·Σᵢ‖g₁:T,ᵢ‖.

    `gradients` (steps, n) are those that it met, `distance` D > 0 is how far any of its weights ever was from
    the point it is compared with. `lr` is its α, by default the best one, D/√2, which makes the bound
    √2·D·Σᵢ‖g₁:T,ᵢ‖. Raises ValueError for other shapes, D ≤ 0 and α ≤ 0.
    Source: Duchi, Hazan & Singer 2011.

    >>> round(regret_bound([[3.0, 0.0], [4.0, 0.5]], distance=1.0), 6)
    7.778175
    """
    total = float(_norms(gradients).sum())
    alpha = float(distance) / 2**0.5 if lr is None else lr
    return (float(distance) ** 2 / (2 * alpha) + alpha) * total


@checked(steps=Numbers(low=0, whole=True), lr=POSITIVE)
def slope_distance(steps: Array | Sequence[int] | int, lr: float) -> Any:
    """How far AdaGrad has gone after `steps` steps on a slope that does not change: α·Σ 1/√k, whatever the slope.

    Between 2α(√(t+1) - 1) and α(2√t - 1), so it grows without end. `steps` ≥ 0, a number or an array.

    >>> round(float(slope_distance(4, lr=1.0)), 6)
    2.784457
    """
    counts = np.asarray(steps, dtype=int)
    reached = np.concatenate([[0.0], np.cumsum(1 / np.sqrt(np.arange(1, counts.max() + 1)))])
    return lr * reached[counts]


def _norms(gradients: Array | Sequence[object]) -> np.ndarray:
    norms: np.ndarray = np.sqrt((np.asarray(gradients, dtype=float) ** 2).sum(axis=0))
    return norms
