"""Nesterov's accelerated gradient: momentum that looks ahead before it takes the gradient.

Derived in the chapter on [Nesterov's gradient][nesterovs-gradient].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..engines.tape import Rule
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
