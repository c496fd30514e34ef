"""Adam: two moving averages of the gradient, corrected for their start at zero; AdamW and AMSGrad.

Derived in the chapter on [Adam][adam].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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
    w = w - lr * (1 - beta2**t) ** 0.5 / (1 - beta1**t) * m / (np.sqrt(v) + eps)
    return w, m, v


def adamw(w: Any, g: Any, m: Any, v: Any, *,
          lr: Any, beta1: Any, beta2: Any, eps: Any, weight_decay: Any, t: Any) -> tuple[Any, Any, Any]:
    """Adam with weight decay beside it: `w` shrinks first, and the gradient knows nothing of it.

    Source: Loshchilov & Hutter 2019, algorithm 2, with the decay times `lr` as in PyTorch.

    >>> w, m, v = adamw(1.0, 2.0, 0.0, 0.0, lr=0.1, beta1=0.9, beta2=0.999, eps=0.0, weight_decay=0.5, t=1)
    >>> round(float(w), 6)
    0.85
    """
    return adam((1 - lr * weight_decay) * w, g, m, v, lr=lr, beta1=beta1, beta2=beta2, eps=eps, t=t)


def amsgrad(w: Any, g: Any, m: Any, v: Any, top: Any, *,
            lr: Any, beta1: Any, beta2: Any, eps: Any, t: Any) -> tuple[Any, Any, Any, Any]:
    """Adam whose denominator never falls: it takes the largest `v` so far, `top`.

    Source: Reddi, Kale & Kumar 2018, algorithm 2; with Adam's corrections, as in PyTorch.

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


@dataclass
class Adam(Optimizer):
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

    lr: float | Schedule = hyper(1e-3, 0, open_low=True)
    beta1: float | Schedule = hyper(0.9, 0, 1)
    beta2: float | Schedule = hyper(0.999, 0, 1)
    eps: float | Schedule = hyper(1e-8, 0)
    eps_hat: bool = False

    def _rule(self) -> Rule:
        return adam_eps_hat if self.eps_hat else adam


@dataclass
class AdamW(Optimizer):
    """Adam with decoupled weight decay: [`adamw`][reference_impl.optimization.adam.adamw] on every array.

    `weight_decay` ≥ 0 is the part of a weight that a step of length `lr` = 1 takes away; the others
    are [`Adam`][reference_impl.optimization.adam.Adam]'s.

    >>> params = {"w": np.array([1.0])}
    >>> AdamW(lr=0.1, weight_decay=0.5).update(params, {"w": np.array([0.0])})
    >>> print(params["w"])
    [0.95]
    """

    rule = staticmethod(adamw)

    lr: float | Schedule = hyper(1e-3, 0, open_low=True)
    beta1: float | Schedule = hyper(0.9, 0, 1)
    beta2: float | Schedule = hyper(0.999, 0, 1)
    eps: float | Schedule = hyper(1e-8, 0)
    weight_decay: float | Schedule = hyper(0.01, 0)


@dataclass
class AMSGrad(Optimizer):
    """Adam with a denominator that never falls: [`amsgrad`][reference_impl.optimization.adam.amsgrad] on every array.

    The hyperparameters are [`Adam`][reference_impl.optimization.adam.Adam]'s.

    >>> params = {"w": np.array([1.0])}
    >>> AMSGrad(lr=0.1).update(params, {"w": np.array([2.0])})
    >>> print(params["w"].round(6))
    [0.9]
    """

    rule = staticmethod(amsgrad)

    lr: float | Schedule = hyper(1e-3, 0, open_low=True)
    beta1: float | Schedule = hyper(0.9, 0, 1)
    beta2: float | Schedule = hyper(0.999, 0, 1)
    eps: float | Schedule = hyper(1e-8, 0)
