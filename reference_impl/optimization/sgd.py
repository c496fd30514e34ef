"""Gradient descent, plain and stochastic: the rule, its rate, random saddles, the minibatch loop.

Derived in the chapter on [gradient descent][gradient-descent-and-what-goes-wrong].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays.checks import GENERATOR, POSITIVE, SIZE, ArrayOf, Count, Function, Instance, Numbers, Real, checked, shown
from ..arrays.protocol import Array
from .optimizer import Optimizer, Schedule, hyper


def sgd(w: Any, g: Any, *, lr: Any) -> Any:
    """One step of gradient descent: `w` moves against the gradient `g`, `lr` times as far.

    Source: Robbins & Monro 1951; Goodfellow, Bengio & Courville 2016, algorithm 8.1.

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


@checked(lr=POSITIVE, curvatures=Numbers())
def convergence_rate(lr: float, curvatures: Array | Sequence[float]) -> float:
    """The factor by which the slowest direction of a quadratic shrinks in one step, max |1 - αλ|.

    `curvatures` are the eigenvalues λ > 0 of the Hessian. At or above 1 the steps do not converge.
    Source: Goh 2017, "First Steps: Gradient Descent".

    >>> convergence_rate(0.5, [1.0, 3.0])
    0.5
    """
    return float(np.max(np.abs(1 - lr * np.asarray(curvatures, dtype=float))))


@checked(curvatures=Numbers(low=0))
def best_learning_rate(curvatures: Array | Sequence[float]) -> float:
    """The α that makes [`convergence_rate`][reference_impl.optimization.sgd.convergence_rate] smallest: 2/(λ₁ + λₙ).

    They are 0 or more, and not all 0; else ValueError. Source: Polyak 1987, section 1.4, theorem 3.

    >>> best_learning_rate([1.0, 3.0])
    0.5
    """
    known = np.asarray(curvatures, dtype=float)
    if not known.any():
        raise ValueError(f"curvatures must not all be 0, got {curvatures!r}")
    return float(2 / (known.min() + known.max()))


@checked(factor=POSITIVE, rate=SIZE)
def steps_to(factor: float, rate: float) -> int:
    """The steps after which something multiplied by `rate` in each has reached `factor`: the least k with rate^k beyond it.

    A `factor` in (0, 1) is reached by shrinking, `rate` in [0, 1); one above 1 by growing, `rate` > 1.
    Raises ValueError when `rate` never leads there.

    >>> steps_to(1e-3, 0.5), steps_to(1e3, 2.0)
    (10, 10)
    """
    if not ((0 < factor < 1 and 0 <= rate < 1) or (1 < factor < math.inf and 1 < rate < math.inf)):
        raise ValueError(f"factor and rate must lie on the same side of 1, factor > 0 and rate >= 0, got {factor!r} and {rate!r}")
    return 1 if rate == 0 else math.ceil(math.log(factor) / math.log(rate))


@checked(variance=SIZE, size=Count(), batch_size=Count())
def minibatch_variance(variance: float, size: int, batch_size: int) -> float:
    """The variance of the mean of `batch_size` examples drawn without replacement from `size`: σ²/B · (N - B)/(N - 1).

    `variance` is σ² of one example drawn from the `size`: the mean squared distance from their mean.
    Raises ValueError when `batch_size` is not in [1, size]. Source: Cochran 1977, theorem 2.2.

    >>> minibatch_variance(1.0, 5, 1), minibatch_variance(1.0, 5, 2), minibatch_variance(1.0, 5, 5)
    (1.0, 0.375, 0.0)
    """
    _check_batch(batch_size, size)
    return variance / batch_size * (size - batch_size) / max(size - 1, 1)


@checked(n=Count(), rng=GENERATOR, samples=Count())
def goe(n: int, rng: np.random.Generator, samples: int = 1) -> np.ndarray:
    """Random symmetric matrices (samples, n, n), no direction favoured, entries independent: the Gaussian orthogonal ensemble.

    Normal entries of mean 0, variance 1 on the diagonal and ½ beside it. For large n the eigenvalues
    fill a semicircle of radius √(2n). Source: Mehta 2004, section 2.3. Raises ValueError when `n` < 1.

    >>> h = goe(3, np.random.default_rng(0), samples=2)
    >>> h.shape, bool((h == h.transpose(0, 2, 1)).all())
    ((2, 3, 3), True)
    """
    a = rng.standard_normal((samples, n, n))
    return (a + a.transpose(0, 2, 1)) / 2


@checked(n=Count(1, 10))
def positive_definite_probability(n: int) -> float:
    """The probability that all `n` eigenvalues of a [`goe`][reference_impl.optimization.sgd.goe] matrix are positive.

    The integral of their joint density ∏|λᵢ - λⱼ| exp(-½ Σ λᵢ²) over λ > 0, against that over all λ:
    two Pfaffians of integrals over pairs, done exactly in polar coordinates. `n` from 1 to 10 (relative
    error below 1e-7); else raises ValueError. Source: de Bruijn 1955; Dean & Majumdar 2008.

    >>> [round(positive_definite_probability(n), 5) for n in (1, 2, 3)]
    [0.5, 0.14645, 0.02492]
    """
    powers = np.arange(n)
    radial = np.array([[2 ** (s / 2) * math.gamma(s / 2 + 1) for s in powers + j] for j in powers])
    moment = np.array([2 ** ((j - 1) / 2) * math.gamma((j + 1) / 2) for j in powers])
    nodes, weights = np.polynomial.legendre.leggauss(n + 12)  # in each eighth of the circle
    log_det = []
    for eighths, moments in ((2, moment), (8, moment * (1 + (-1.0) ** powers))):
        angle = np.pi / 8 * np.add.outer(2 * np.arange(eighths) + 1, nodes).ravel()
        x, y = np.cos(angle), np.sin(angle)
        weight = np.pi / 8 * np.tile(weights, eighths) * np.sign(y - x)
        pairs = x ** powers[:, None] * weight @ y[:, None] ** powers * radial
        if n % 2:  # a Pfaffian needs an even size
            pairs = np.block([[pairs, moments[:, None]], [-moments, 0]])
        log_det.append(np.linalg.slogdet(pairs)[1])
    return math.exp((log_det[0] - log_det[1]) / 2)


@checked(shift=Real())
def semicircle_index(shift: float) -> float:
    """The fraction of a semicircle of eigenvalues, of radius 1 and centre `shift`, that is negative.

    Source: Wigner 1958; Bray & Dean 2007, for the Hessians of a random landscape.

    >>> semicircle_index(0.0), semicircle_index(1.0), round(semicircle_index(-0.5), 4)
    (0.5, 0.0, 0.8045)
    """
    s = min(max(shift, -1.0), 1.0)
    return (math.acos(s) - s * math.sqrt(1 - s**2)) / math.pi


@checked(rng=GENERATOR, size=Count(), batch_size=Count())
def minibatches(rng: np.random.Generator, size: int, batch_size: int) -> Iterator[np.ndarray]:
    """The indexes 0, …, size - 1 in random order, `batch_size` at a time; the last batch may be smaller.

    One pass is one epoch. Raises ValueError when `batch_size` is not in [1, size].

    >>> [batch.tolist() for batch in minibatches(np.random.default_rng(0), 5, 2)]
    [[2, 4], [3, 0], [1]]
    """
    _check_batch(batch_size, size)
    return _batches(rng, size, batch_size)


@checked(loss=Function("(params, inputs, targets)"), params=Instance(Mapping, words="a dict of arrays"), inputs=ArrayOf(dtypes="biuf"),
         targets=ArrayOf(dtypes="biuf"), optimizer=Instance(Optimizer), epochs=Count(0), batch_size=Count(), rng=GENERATOR)
def train(loss: Callable[..., tuple[float, dict[str, np.ndarray]]], params: dict[str, np.ndarray],
          inputs: np.ndarray, targets: np.ndarray, optimizer: Optimizer, *,
          epochs: int, batch_size: int, rng: np.random.Generator) -> list[float]:
    """The minibatch loop: batch, loss and gradient, `optimizer.update`; the loss of every step.

    `loss(params, inputs, targets)` returns the batch's mean loss and its gradients, a dict with
    the keys of `params`. `params` and the optimizer's state change in place. `inputs` and `targets` are arrays whose first axis counts
    examples. Raises TypeError or ValueError for arguments that do not fit, before the first step; for gradients that do not, or a loss
    that is not finite, before their step.

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
    if not inputs.ndim or not targets.ndim or len(inputs) != len(targets):
        raise ValueError(f"targets must be as many as the inputs, got the shapes {targets.shape} for {inputs.shape}")
    _check_batch(batch_size, len(inputs))
    if not params or not all(isinstance(key, str) and not ArrayOf().fault(array) for key, array in params.items()):
        raise TypeError(f"params must be a dict of arrays of floating-point numbers, got {shown(params)}")
    losses: list[float] = []
    for _ in range(epochs):
        for batch in minibatches(rng, len(inputs), batch_size):
            value, grads = loss(params, inputs[batch], targets[batch])
            if not math.isfinite(value):
                raise ValueError(f"loss must return a finite number, got {value!r} in step {len(losses)}")
            optimizer.update(params, grads)
            losses.append(value)
    return losses


def _batches(rng: np.random.Generator, size: int, batch_size: int) -> Iterator[np.ndarray]:
    order = rng.permutation(size)
    for start in range(0, size, batch_size):
        yield order[start:start + batch_size]


def _check_batch(batch_size: int, size: int) -> None:
    if batch_size > size:
        raise ValueError(f"batch_size must lie in [1, {size}], got {batch_size}")
