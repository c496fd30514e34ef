"""Adam: two moving averages of the gradient, corrected for their start at zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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


@dataclass
class Adam(Optimizer):
    """Adaptive moments: [`adam`][reference_impl.optimization.adam.adam] on every array.

    `lr` > 0; `beta1` and `beta2` in [0, 1) are what each average keeps in a step; `eps` ≥ 0 is added
    to the root. Any of them may be a schedule.

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
