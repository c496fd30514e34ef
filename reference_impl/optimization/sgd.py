"""Gradient descent, plain and stochastic: the rule, its rate on a quadratic, the minibatch loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .optimizer import Optimizer, Schedule, hyper


def sgd(w: Any, g: Any, *, lr: Any) -> Any:
    """One step of gradient descent: `w` moves against the gradient `g`, `lr` times as far.

    Source: Robbins & Monro 1951, eq. (2); Goodfellow, Bengio & Courville 2016, algorithm 8.1.

    >>> sgd(1.0, 4.0, lr=0.25)
    0.0
    """
    return w - lr * g


@dataclass
class SGD(Optimizer):
    """Stochastic gradient descent: [`sgd`][reference_impl.optimization.sgd.sgd] on every array.

    `lr` > 0 is the learning rate α, a number or a schedule.

    >>> params = {"w": np.array([1.0, 2.0])}
    >>> SGD(lr=0.5).update(params, {"w": np.array([1.0, 2.0])})
    >>> print(params["w"])
    [0.5 1. ]
    """

    rule = staticmethod(sgd)

    lr: float | Schedule = hyper(0.01, 0, open_low=True)


def convergence_rate(lr: float, curvatures: Any) -> float:
    """The factor by which the slowest direction of a quadratic shrinks in one step, max |1 - αλ|.

    `curvatures` are the eigenvalues λ > 0 of the Hessian. At or above 1 the steps do not converge.
    Source: Goh 2017, "First Steps: Gradient Descent"; Nocedal & Wright 2006, section 3.3.

    >>> convergence_rate(0.5, [1.0, 3.0])
    0.5
    """
    return float(np.max(np.abs(1 - lr * np.asarray(curvatures, dtype=float))))


def best_learning_rate(curvatures: Any) -> float:
    """The α that makes [`convergence_rate`][reference_impl.optimization.sgd.convergence_rate] smallest: 2/(λ₁ + λₙ).

    Source: Polyak 1987, section 1.4, theorem 3.

    >>> best_learning_rate([1.0, 3.0])
    0.5
    """
    curvatures = np.asarray(curvatures, dtype=float)
    return float(2 / (curvatures.min() + curvatures.max()))


def minibatches(rng: np.random.Generator, size: int, batch_size: int) -> Iterator[np.ndarray]:
    """The indexes 0, …, size - 1 in random order, `batch_size` at a time; the last batch may be smaller.

    One pass is one epoch. Raises ValueError when `batch_size` is not in [1, size].

    >>> [batch.tolist() for batch in minibatches(np.random.default_rng(0), 5, 2)]
    [[2, 4], [3, 0], [1]]
    """
    if not 1 <= batch_size <= size:
        raise ValueError(f"batch_size must lie in [1, {size}], got {batch_size}")
    order = rng.permutation(size)
    for start in range(0, size, batch_size):
        yield order[start:start + batch_size]


def train(loss: Callable[..., tuple[float, dict[str, np.ndarray]]], params: dict[str, np.ndarray],
          inputs: np.ndarray, targets: np.ndarray, optimizer: Optimizer, *,
          epochs: int, batch_size: int, rng: np.random.Generator) -> list[float]:
    """The minibatch loop: batch, loss and gradient, `optimizer.update`; the loss of every step.

    `loss(params, inputs, targets)` returns the batch's mean loss and its gradients, a dict with
    the keys of `params`. `params` and the optimizer's state change in place.

    >>> def loss(params, x, y):
    ...     error = x @ params["w"] - y
    ...     return float(np.mean(error**2)), {"w": 2 * x.T @ error / len(x)}
    >>> x = np.array([[1.0], [2.0], [3.0], [4.0]])
    >>> params = {"w": np.zeros(1)}
    >>> losses = train(loss, params, x, 5 * x[:, 0], SGD(lr=0.05), epochs=20, batch_size=2,
    ...                rng=np.random.default_rng(0))
    >>> print(len(losses), params["w"].round(6))
    40 [5.]
    """
    losses = []
    for _ in range(epochs):
        for batch in minibatches(rng, len(inputs), batch_size):
            value, grads = loss(params, inputs[batch], targets[batch])
            optimizer.update(params, grads)
            losses.append(value)
    return losses
