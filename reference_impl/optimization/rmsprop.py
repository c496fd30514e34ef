"""RMSProp: AdaGrad whose sum of squares forgets.

Derived in the chapter on [RMSProp][rmsprop].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays.checks import POSITIVE, SHARE, SIZE, Flag, Numbers, Real, checked
from ..engines.tape import Rule
from .optimizer import Optimizer, Schedule, hyper


def rmsprop(w: Any, g: Any, s: Any, *, lr: Any, decay: Any, eps: Any) -> tuple[Any, Any]:
    """One step of RMSProp: `s` is a moving average of the squared gradient, and its root divides the step.

    Source: Tieleman & Hinton 2012, lecture 6e, slide 29; ε outside the root as in PyTorch.

    >>> w, s = rmsprop(1.0, 2.0, 0.0, lr=0.1, decay=0.75, eps=0.0)
    >>> round(float(w), 6), s
    (0.8, 1.0)
    """
    s = decay * s + (1 - decay) * g**2
    w = w - lr * g / (np.sqrt(s) + eps)
    return w, s


def rmsprop_eps_inside(w: Any, g: Any, s: Any, *, lr: Any, decay: Any, eps: Any) -> tuple[Any, Any]:
    """RMSProp with ε inside the root, as TensorFlow's operation, Keras 3 and, by default, Optax have it.

    Source: `tf.raw_ops.ResourceApplyRMSProp`; `optax.rmsprop` with `eps_in_sqrt=True`.

    >>> w, s = rmsprop_eps_inside(1.0, 2.0, 0.0, lr=0.1, decay=0.75, eps=3.0)
    >>> round(float(w), 6), s
    (0.9, 1.0)
    """
    s = decay * s + (1 - decay) * g**2
    w = w - lr * g / np.sqrt(s + eps)
    return w, s


@dataclass
class RMSProp(Optimizer):
    """Root mean square propagation: [`rmsprop`][reference_impl.optimization.rmsprop.rmsprop] on every array.

    `lr` > 0; `decay` in [0, 1) is what the average keeps in a step; `eps` ≥ 0 is added to the root
    of the average, or to the average with `eps_inside_root=True`.

    >>> params = {"w": np.array([1.0])}
    >>> RMSProp(lr=0.1, decay=0.75).update(params, {"w": np.array([2.0])})
    >>> print(params["w"].round(6))
    [0.8]
    """

    rule = staticmethod(rmsprop)

    lr: float | Schedule = hyper(0.01, 0, open_low=True)
    decay: float | Schedule = hyper(0.99, 0, 1)
    eps: float | Schedule = hyper(1e-8, 0)
    eps_inside_root: bool = False

    def _rule(self) -> Rule:
        return rmsprop_eps_inside if self.eps_inside_root else rmsprop


@checked(decay=Real(0, 1, open_low=True, open_high=True))
def half_life(decay: float) -> float:
    """The steps after which a squared gradient counts half in the average: ln 2 / -ln β, for β in (0, 1).

    Not to be confused with the window 1/(1 - β), the mean age of a squared gradient (counted from 1). Raises ValueError for another β.

    >>> round(half_life(0.9), 2), round(half_life(0.99), 2)
    (6.58, 68.97)
    """
    return math.log(2) / -math.log(decay)


@checked(step=Numbers(low=1, whole=True), lr=POSITIVE, decay=SHARE)
def constant_slope_step(step: float | np.ndarray, lr: float, decay: float) -> float | np.ndarray:
    """The length of step number `step` = 1, 2, … on a slope that does not change, with ε = 0: α/√(1 - βᵗ).

    The first is α/√(1 - β), longer than α; in the end they are α, whatever the slope.

    >>> [round(constant_slope_step(t, lr=0.1, decay=0.75), 4) for t in (1, 2, 100)]
    [0.2, 0.1512, 0.1]
    """
    return lr / (1 - decay**step) ** 0.5


@checked(step=Numbers(low=1, whole=True), ratio=POSITIVE, lr=POSITIVE, decay=SHARE)
def changed_slope_step(step: float | np.ndarray, ratio: float, lr: float, decay: float) -> float | np.ndarray:
    """The length of step number `step` = 1, 2, … after a long slope became `ratio` times as flat: α/√(1 + βᵗ(r² - 1)).

    It starts near α/(r√β), for a large r, and is back at α/√2 after about 2 ln r / -ln β steps.

    >>> [round(changed_slope_step(t, ratio=100, lr=1.0, decay=0.9), 3) for t in (1, 88, 200)]
    [0.011, 0.718, 1.0]
    """
    return lr / (1 + decay**step * (ratio**2 - 1)) ** 0.5


@checked(lr=POSITIVE, curvature=POSITIVE, eps=SIZE, eps_inside_root=Flag())
def cycle_amplitude(lr: float, curvature: float = 1.0, eps: float = 0.0, *, eps_inside_root: bool = False) -> float:
    """How far from the minimum of ½λw² RMSProp swings for ever, from +a to -a: a = α/2 - ε/λ, or 0 where that is negative.

    With ε inside the root it is √(α²/4 - ε/λ²), or 0. Derived in the chapter. `lr` and `curvature` are
    positive, `eps` ≥ 0; else raises ValueError.

    >>> cycle_amplitude(0.1), cycle_amplitude(0.1, curvature=0.01, eps=0.001)
    (0.05, 0.0)
    """
    if eps_inside_root:
        return math.sqrt(max(lr**2 / 4 - eps / curvature**2, 0.0))
    return max(lr / 2 - eps / curvature, 0.0)
