"""AdaGrad: each coordinate's own learning rate, from the sum of its squared gradients.

Derived in the chapter on [AdaGrad][adagrad].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engines.tape import Rule
from .optimizer import Optimizer, Schedule, hyper


def adagrad(w: Any, g: Any, s: Any, *, lr: Any, eps: Any) -> tuple[Any, Any]:
    """One step of AdaGrad: `s` adds up the squared gradients, and its root divides the step.

    Source: Duchi, Hazan & Singer 2011, figure 1 (diagonal version), with ε outside the root.

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
    initial_accumulator: float = hyper(0.0, 0)
    eps_inside_root: bool = False

    def _rule(self) -> Rule:
        return adagrad_eps_inside if self.eps_inside_root else adagrad

    def _initial(self, name: str) -> float:
        return self.initial_accumulator
