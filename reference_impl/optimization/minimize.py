"""Run an optimizer on a function and keep the whole path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..arrays import floats
from .optimizer import Optimizer


class Descent(NamedTuple):
    """Where an optimizer went: `path` (steps + 1, n), start included, and the `losses` (steps + 1,), both where `w0` lay."""

    path: np.ndarray
    losses: np.ndarray


def minimize(fun: Callable[[np.ndarray], Any], w0: Any, optimizer: Optimizer, steps: int, *,
             grad: Callable[[np.ndarray], np.ndarray] | None = None) -> Descent:
    """Take `steps` steps from `w0` on `fun` and return the path and the loss at each of its points.

    `fun(w)` is the loss at `w`, of shape (n,); `grad(w)` its gradient, by default `fun.grad`, as
    every landscape has one. `optimizer` gives the rule and its hyperparameters; a fresh copy of it
    runs, so it can serve again. Raises ValueError when `w0` is not a vector of finite numbers or
    `steps` is negative, and when a gradient is not finite.

    >>> from reference_impl import SGD, bowl
    >>> path, losses = minimize(bowl(), [2.0, 1.0], SGD(lr=0.5), steps=2)
    >>> print(path)
    [[2.   1.  ]
     [1.   0.5 ]
     [0.5  0.25]]
    >>> print(losses)
    [2.5     0.625   0.15625]
    """
    grad = fun.grad if grad is None else grad  # type: ignore[attr-defined]
    w = floats(w0)
    if w.ndim != 1 or not np.isfinite(w).all():
        raise ValueError(f"w0 must be a vector of finite numbers, got {w0!r}")
    if steps < 0:
        raise ValueError(f"steps must be 0 or more, got {steps}")
    optimizer = replace(optimizer)
    path, losses = np.empty_like(w, shape=(steps + 1, w.size)), np.empty_like(w, shape=steps + 1)
    path[0], losses[0] = w, fun(w)
    for step in range(1, steps + 1):
        optimizer.update({"w": w}, {"w": np.asarray(grad(w), dtype=float, like=w)})
        path[step], losses[step] = w, fun(w)
    return Descent(path, losses)
