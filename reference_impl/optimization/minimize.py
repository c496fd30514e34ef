"""Run an optimizer on a function and keep the whole path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol, SupportsFloat, cast, overload

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import floats
from ..arrays.checks import Count, Function, Instance, Numbers, Optional, check, checked
from .line_search import Gradient, Loss, Objective
from .optimizer import Optimizer


class Descent(NamedTuple):
    """Where an optimizer went: `path` (steps + 1, n), start included, and the `losses` (steps + 1,), both where `w0` lay."""

    path: np.ndarray
    losses: np.ndarray


class Differentiable(Protocol):
    """A loss that knows its gradient, as every landscape does."""

    @property
    def grad(self) -> Callable[[np.ndarray], ArrayLike]: ...
    def __call__(self, w: np.ndarray, /) -> SupportsFloat: ...


@overload
def minimize(fun: Differentiable, w0: ArrayLike, optimizer: Optimizer, steps: int) -> Descent: ...
@overload
def minimize(fun: Loss, w0: ArrayLike, optimizer: Optimizer, steps: int, *, grad: Gradient) -> Descent: ...
@checked(fun=Function("w"), w0=Numbers(1), optimizer=Instance(Optimizer, words="an optimizer such as SGD(lr=0.1)"), steps=Count(0),
         grad=Optional(Function("w")))
def minimize(fun: Loss, w0: ArrayLike, optimizer: Optimizer, steps: int, *, grad: Gradient | None = None) -> Descent:
    """Take `steps` steps from `w0` on `fun` and return the path and the loss at each of its points.

    `fun(w)` is the loss at `w`, of shape (n,); `grad(w)` its gradient, by default `fun.grad`, as
    every landscape has one. Both get copies of the weights. `optimizer` gives the rule and its hyperparameters; a fresh copy of it
    runs, so it can serve again. `w0` is where the weights begin, as the chapters name them; [`newton`][reference_impl.newton],
    [`bfgs`][reference_impl.bfgs] and their kin, which end where they converge, call their start `x0`, as SciPy does.
    Raises ValueError or TypeError when an argument, or what `fun` or `grad` returns, is of a wrong kind or shape,
    and when a gradient is not finite.

    >>> from reference_impl import SGD, bowl
    >>> path, losses = minimize(bowl(), [2.0, 1.0], SGD(lr=0.5), steps=2)
    >>> print(path)
    [[2.   1.  ]
     [1.   0.5 ]
     [0.5  0.25]]
    >>> print(losses)
    [2.5     0.625   0.15625]
    """
    if grad is None:
        check("grad, where fun has none,", getattr(fun, "grad", None), Function("w"))
        grad = cast(Differentiable, fun).grad
    objective, w = Objective(fun, grad), floats(w0)
    optimizer = replace(optimizer)
    path, losses = np.empty_like(w, shape=(steps + 1, w.size)), np.empty_like(w, shape=steps + 1)
    path[0], losses[0] = w, objective.fun(w)
    for step in range(1, steps + 1):
        optimizer.update({"w": w}, {"w": objective.grad(w)})
        path[step], losses[step] = w, objective.fun(w)
    return Descent(path, losses)
