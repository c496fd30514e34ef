"""Ensembles: several models, or several moments of one, averaged; and what the average is worth.

Derived in the chapter on [ensembles][ensembles].
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from .. import arrays
from ..arrays.checks import GENERATOR, ArrayOf, Count, Numbers, Optional, Real, check, checked, shown
from ..arrays.protocol import Array
from ..networks.evaluation import check_examples
from ..networks.losses import softmax
from ..networks.model import MODEL, Sequential, all_params
from ..networks.run import Callback, Run
from .batch_norm import BatchNorm


class Ambiguity(NamedTuple):
    """Mean squared errors: the `ensemble`'s, its `members`' on average, and how far they lie from it, the `ambiguity`."""

    ensemble: float
    members: float
    ambiguity: float


@checked(predictions=ArrayOf("", "iuf"), targets=ArrayOf("", "iuf"), weights=Optional(Numbers(1, low=0)))
def ambiguity(predictions: Array, targets: Array, weights: Array | None = None) -> Ambiguity:
    """The squared error of an average, taken apart: `ensemble` = `members` - `ambiguity`, whatever the predictions.

    `predictions` is (members, …), `targets` (…), the shape of one member's; means run over all its elements.
    `weights` (members,), not negative, are divided by their sum; by default all members count alike.
    The three are computed each by itself, so that the identity can be seen to hold.
    Raises ValueError for other shapes, nothing to average, and weights that are negative, not finite or all 0.
    Source: Krogh & Vedelsby 1995.

    >>> ambiguity(np.array([[1.0], [5.0]]), np.array([2.0]))
    Ambiguity(ensemble=1.0, members=5.0, ambiguity=4.0)
    """
    if predictions.ndim < 1 or not predictions.size or targets.shape != predictions.shape[1:]:
        raise ValueError(f"targets must have the shape of each of the predictions, some, got {targets.shape} for {predictions.shape}")
    predictions, targets = arrays.wide(predictions), arrays.wide(targets)
    weights = cast(Array, np.asarray(np.ones(len(predictions)) if weights is None else weights, dtype=float, like=predictions))
    if weights.shape != predictions.shape[:1]:
        raise ValueError(f"weights must be as many as the members, ({len(predictions)},), got {weights.shape}")
    if not weights.any():
        raise ValueError(f"weights must not all be 0, got {weights}")
    weights = (weights / weights.sum()).reshape(-1, *[1] * targets.ndim)
    mean = (weights * predictions).sum(axis=0)
    return Ambiguity(
        float(((mean - targets) ** 2).mean()),
        float((weights * (predictions - targets) ** 2).sum(axis=0).mean()),
        float((weights * (predictions - mean) ** 2).sum(axis=0).mean()),
    )


def average(models: Sequence[Sequential], x: Array) -> Array:
    """The mean of the class probabilities that the models give to a batch `x`: (batch, classes).

    Each model runs as at test time, and its outputs are scores. Raises ValueError when there is no model.
    Source: Goodfellow, Bengio & Courville 2016, section 7.11.

    >>> from reference_impl import Affine
    >>> rng = np.random.default_rng(0)
    >>> models = [Sequential(Affine(64, 10, rng=rng)) for _ in range(5)]
    >>> average(models, np.ones((3, 64))).shape
    (3, 10)
    """
    if not isinstance(models, Sequence) or not all(isinstance(model, Sequential) for model in models):
        raise TypeError(f"models must be a list of Sequentials, got {shown(models)}")
    if not models:
        raise ValueError(f"models must hold one model or more, got {models!r}")
    total = softmax(models[0].forward(x))
    for model in models[1:]:
        total += softmax(model.forward(x))
    total /= len(models)
    return total


@checked(variance=Numbers(low=0), correlation=Numbers(low=-1, high=1), members=Numbers(low=1))
def correlated_variance(variance: Array | float, correlation: Array | float, members: Array | float) -> Array | float:
    """The variance of the mean of M numbers of one `variance` σ² and one `correlation` ρ: σ² (ρ + (1 - ρ) / M).

    Numbers or arrays that broadcast; `members` is M. Raises ValueError when `members` < 1, `variance` < 0, or
    `correlation` is above 1 or below -1 / (M - 1), where no such numbers exist.
    Source: Hastie, Tibshirani & Friedman 2009, chapter 15.

    >>> correlated_variance(4.0, 0.25, 3)
    2.0
    """
    share = correlation + (1 - correlation) / members
    if not np.all(np.asarray(share) >= -1e-12):
        raise ValueError(f"correlation must lie in [-1 / (members - 1), 1], got {correlation!r} for members {members!r}")
    return variance * share


class Snapshots(Callback):
    """A copy of the model's weights and buffers after every `every` steps: members of an ensemble, for one run's price.

    With [`cyclic`][reference_impl.cyclic] and the same number of steps each copy is taken where the rate is lowest,
    before it jumps. `states` holds them, the oldest first; a new run begins with none.
    Raises ValueError when `every` is no whole number from 1 up. Source: Huang et al. 2017.

    >>> from reference_impl import SGD, Affine, cyclic, fit
    >>> rng = np.random.default_rng(0)
    >>> model, snapshots = Sequential(Affine(1, 2, rng=rng)), Snapshots(every=5)
    >>> x, labels = np.ones((10, 1)), np.zeros(10, dtype=int)
    >>> history = fit(model, x, labels, SGD(lr=cyclic(0.1, steps=5)), epochs=15, rng=rng, callbacks=[snapshots])
    >>> len(snapshots.states), average(snapshots.models(model), x).shape
    (3, (10, 2))
    """

    columns = ()

    def __init__(self, every: int) -> None:
        check("every", every, Count())
        self.every = every
        self.states: list[dict[str, Array]] = []

    def before_fit(self, run: Run) -> None:
        self.states = []  # whatever it has seen before was another run

    def after_step(self, run: Run) -> None:
        if run.step % self.every == 0:
            self.states.append(run.model.state_dict())

    @checked(model=MODEL)
    def models(self, model: Sequential) -> list[Sequential]:
        """One copy of `model` for each snapshot, with its weights and buffers."""
        members = [copy.deepcopy(model) for _ in self.states]
        for member, state in zip(members, self.states):
            member.load_state_dict(state)
        return members

    def state_dict(self) -> dict[str, Any]:
        return {f"{i}/{key}": array for i, state in enumerate(self.states) for key, array in state.items()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        states: dict[int, dict[str, Array]] = {}
        for name, array in saved.items():
            i, _, key = name.partition("/")
            states.setdefault(int(i), {})[key] = arrays.copy(array)
        self.states = [states[i] for i in sorted(states)]


class WeightAverage(Callback):
    """The average of the weights after the steps from `start` on; those k steps old count `decay`**k as much as the last.

    `decay` = 1 is Polyak's average, in which all count alike; below 1 it is an exponential moving average. After n
    weights, w the last of them,

        average ← average + (w - average) · (1 - decay) / (1 - decay**n),

    where the fraction is 1/n for `decay` = 1. So the weights of all n add up to 1 from the first step on, as in Adam.
    PyTorch's `get_ema_multi_avg_fn` has 1 - `decay` at every step but the first, and leaves `decay`**(n - 1) to the first weights.

    The average is in float64, whatever the model's dtype. Buffers are not averaged: after batch norm the running
    statistics belong to other weights than these: [`recompute_statistics`][reference_impl.recompute_statistics] makes new ones.
    A new run begins a new average. Raises ValueError for `decay` outside (0, 1] and `start` < 1.
    Source: Polyak & Juditsky 1992, from step 1 on; Izmailov et al. 2018 for the buffers.

    >>> from reference_impl import SGD, Affine, fit
    >>> rng = np.random.default_rng(0)
    >>> model, averaged = Sequential(Affine(1, 2, rng=rng)), WeightAverage(decay=0.9)
    >>> x, labels = np.ones((10, 1)), np.zeros(10, dtype=int)
    >>> history = fit(model, x, labels, SGD(lr=0.1), epochs=5, rng=rng, callbacks=[averaged])
    >>> averaged.count, averaged.model(model).forward(x).shape
    (5, (10, 2))
    """

    columns = ()

    def __init__(self, decay: float = 1.0, *, start: int = 1) -> None:
        check("decay", decay, Real(0, 1, open_low=True))
        check("start", start, Count())
        self.decay, self.start = decay, start
        self._forget()

    def _forget(self) -> None:
        self.weights: dict[str, Array] = {}
        self.count = 0

    def before_fit(self, run: Run) -> None:
        self._forget()  # whatever it has seen before was another run

    def before_update(self, run: Run) -> None:
        if self.count:  # a layer that was frozen till now has been what it is all along
            self.weights |= {key: array.astype(np.float64) for key, array in run.model.params.items() if key not in self.weights}

    def after_step(self, run: Run) -> None:
        if run.step < self.start:
            return
        self.count += 1
        part = 1 / self.count if self.decay == 1 else (1 - self.decay) / (1 - self.decay**self.count)
        for key, array in all_params(run.model).items():
            if key in self.weights:
                self.weights[key] += part * (array - self.weights[key])
            elif key in run.model.params:
                self.weights[key] = array.astype(np.float64)

    @checked(model=MODEL)
    def model(self, model: Sequential) -> Sequential:
        """A copy of `model` with the averaged weights, and with its own buffers.

        Raises RuntimeError when there is no average yet, ValueError when `model` has other parameters.
        """
        if not self.count:
            raise RuntimeError(f"WeightAverage must have seen a step from start={self.start} on, got none")
        own = all_params(model)
        if not model.params.keys() <= self.weights.keys() <= own.keys():
            raise ValueError(f"model must have the parameters {sorted(self.weights)} that were averaged, got {sorted(model.params)}")
        averaged = copy.deepcopy(model)
        averaged.load_state_dict(model.state_dict() | {key: array.astype(own[key].dtype) for key, array in self.weights.items()})
        return averaged

    def state_dict(self) -> dict[str, Any]:
        return {f"weights/{key}": array.copy() for key, array in self.weights.items()} | {"count": self.count}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.weights = {key.removeprefix("weights/"): arrays.copy(array) for key, array in saved.items() if key.startswith("weights/")}
        self.count = int(saved["count"])


@checked(model=MODEL, batch_size=Count(2), rng=Optional(GENERATOR))
def recompute_statistics(model: Sequential, inputs: Array, *, batch_size: int = 1024, rng: np.random.Generator | None = None) -> None:
    """Give the batch norm layers of `model` the statistics of its own activations on `inputs`, in place: after averaging weights.

    The inputs go through once, `batch_size` at a time, as in training; `rng` is for layers that draw then. The new statistics are mean
    and variance of all values that reached the layer, summed in float64; the variance keeps the layer's `ddof`. Frozen layers keep
    what they have. A last batch of one example, which has no spread, is left out.
    Raises ValueError when there is no batch norm to be seen to, and for fewer than two examples.
    Source: Izmailov et al. 2018, section 3.2; Wu & Johnson 2021 for the moments of all values instead of a running mean.

    >>> from reference_impl import Affine
    >>> rng = np.random.default_rng(0)
    >>> model, x = Sequential(Affine(2, 3, rng=rng), BatchNorm(3)), rng.normal(5, 2, (100, 2))
    >>> recompute_statistics(model, x)
    >>> bool(np.allclose(model.forward(x).mean(axis=0), 0)), model.forward(x).std(axis=0).round(3).tolist()
    (True, [1.0, 1.0, 1.0])
    """
    norms = [i for i, layer in enumerate(model.layers) if isinstance(layer, BatchNorm) and not layer.frozen]
    if not norms:
        raise ValueError(f"model must have a BatchNorm layer that is not frozen, got {shown(model)}")
    check_examples("inputs", inputs)
    if len(inputs) < 2:
        raise ValueError("inputs must hold two examples or more, got one")
    passing = copy.deepcopy(model)
    moments = {i: _Moments() for i in norms}
    for first in range(0, len(inputs), batch_size):
        x = inputs[first:first + batch_size]
        if len(x) > 1:
            for i, layer in enumerate(passing.layers):
                if i in moments:
                    moments[i].add(x.reshape(-1, x.shape[-1]))
                x = layer.forward(x, train=not layer.frozen, rng=rng)
    for i, of in moments.items():
        norm = cast(BatchNorm, model.layers[i])
        norm.buffers["mean"][...] = of.mean
        norm.buffers["var"][...] = of.squares / (of.count - norm.ddof)


class _Moments:
    """Mean and sum of squared deviations of rows that come in parts. Source: Chan, Golub & LeVeque 1983."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares = 0, cast(Array, 0.0), cast(Array, 0.0)

    def add(self, rows: Array) -> None:
        rows = rows.astype(np.float64)
        count, mean = self.count + len(rows), rows.mean(axis=0)
        moved = mean - self.mean
        self.squares = self.squares + ((rows - mean) ** 2).sum(axis=0) + moved**2 * (self.count * len(rows) / count)
        self.mean = self.mean + moved * (len(rows) / count)
        self.count = count
