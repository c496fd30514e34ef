"""RMSProp: AdaGrad whose sum of squares forgets.

Derived in the chapter on [RMSProp][rmsprop].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

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
    """RMSProp with ε inside the root, as TensorFlow, Keras and Optax have it.

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
