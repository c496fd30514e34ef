"""A model as it is at test time: its outputs, its loss and metric, and their columns in a run's history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real as Number

import numpy as np

from .. import arrays
from ..arrays.checks import ArrayOf, Count, Function, Instance, Optional, check, checked, shown
from ..arrays.protocol import Array
from .losses import accuracy, softmax_cross_entropy
from .model import MODEL, Sequential
from .run import Callback, Loss, Run

Metric = Callable[[Array, Array], float]
"""A function of outputs and targets whose mean over examples is of interest."""

LOSS = Function("outputs and targets")


@checked(model=MODEL, batch_size=Count())
def predict(model: Sequential, inputs: Array, *, batch_size: int = 1024) -> Array:
    """The outputs of a model as it is at test time, for any number of examples, `batch_size` at a time.

    `inputs` is (examples, …). Raises TypeError for what is no array, ValueError for one without examples.

    >>> from reference_impl.networks.layers import Affine
    >>> model = Sequential(Affine(1, 2, rng=np.random.default_rng(0), std=0.0))
    >>> predict(model, np.ones((3, 1)), batch_size=2).tolist()
    [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    """
    check_examples("inputs", inputs)
    outputs: Array = np.concatenate([model.forward(inputs[first:first + batch_size]) for first in range(0, len(inputs), batch_size)])
    return outputs


@checked(model=MODEL, loss=LOSS, metric=Optional(LOSS), batch_size=Count())
def evaluate(model: Sequential, inputs: Array, targets: Array, *, loss: Loss = softmax_cross_entropy, metric: Metric | None = accuracy,
             batch_size: int = 1024) -> dict[str, float]:
    """The mean loss and metric of a model as it is at test time, a batch at a time.

    The metric goes by its own name; None for no metric. Raises TypeError or ValueError for what does not fit together.

    >>> from reference_impl.networks.layers import Affine
    >>> model = Sequential(Affine(1, 2, rng=np.random.default_rng(0), std=0.0))
    >>> evaluate(model, np.ones((3, 1)), np.array([0, 0, 1]))
    {'loss': 0.6931471805599453, 'accuracy': 0.6666666666666666}
    """
    check_data(inputs, targets)
    found = np.zeros(2)
    for first in range(0, len(inputs), batch_size):
        outputs, y = model.forward(inputs[first:first + batch_size]), targets[first:first + batch_size]
        found += np.array([loss(outputs, y)[0], metric(outputs, y) if metric else 0.0]) * (len(y) / len(inputs))
    values = {"loss": float(found[0])}
    return values if metric is None else values | {_name(metric): float(found[1])}


class Evaluate(Callback):
    """Write what [`evaluate`][reference_impl.networks.evaluation.evaluate] finds on other examples into every epoch's row.

    `Evaluate({"validation": (inputs, targets)})` makes the columns `validation_loss`, by the run's loss, and `validation_accuracy`, by
    the `metric` (its own name; None for no metric). Raises TypeError when `sets` is no dict of pairs of arrays, or `metric` no function.

    >>> Evaluate({"test": (np.ones((1, 1)), np.array([0]))}).columns
    ['test_loss', 'test_accuracy']
    """

    def __init__(self, sets: Mapping[str, tuple[Array, Array]], *, metric: Metric | None = accuracy) -> None:
        check("metric", metric, Optional(LOSS))
        if not isinstance(sets, Mapping) or not sets or not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in sets.values()):
            raise TypeError(f'sets must be a dict of pairs, such as {{"validation": (inputs, targets)}}, got {shown(sets)}')
        for name, pair in sets.items():
            check("sets", name, Instance(str, words="a dict whose keys are names"))
            check_data(*pair, of=f"sets[{name!r}]: ")
        self.sets, self.metric = dict(sets), metric
        self.columns = [f"{name}_{value}" for name in sets for value in ("loss", *([_name(metric)] if metric else []))]

    def rehearse(self, run: Run) -> None:
        for name, (inputs, targets) in self.sets.items():
            check_finite(f"sets[{name!r}]: inputs", inputs)
            check_finite(f"sets[{name!r}]: targets", targets)
            outputs = run.model.forward(inputs[:1])
            check_loss(run.loss, outputs, targets)
            if self.metric and not isinstance(value := self.metric(outputs, targets[:1]), Number):
                raise TypeError(f"metric must return a number, got {shown(value)}")

    def after_epoch(self, run: Run) -> None:
        found = {name: evaluate(run.model, x, y, loss=run.loss, metric=self.metric) for name, (x, y) in self.sets.items()}
        run.history.epochs[-1] |= {f"{name}_{key}": value for name, values in found.items() for key, value in values.items()}


def check_examples(name: str, array: object) -> None:
    """Refuse what is no array of numbers whose first axis counts examples, one or more: TypeError or ValueError."""
    if ArrayOf("", "biuf").fault(array) or not array.ndim:  # type: ignore[attr-defined]
        raise TypeError(f"{name} must be an array of numbers whose first axis counts examples, got {shown(array)}")
    if not len(array):  # type: ignore[arg-type]
        raise ValueError(f"{name} must hold at least one example, got none")


def check_data(inputs: object, targets: object, of: str = "") -> None:
    """Refuse inputs and targets that are not as many; `of` says whose they are."""
    check_examples(f"{of}inputs", inputs)
    check_examples(f"{of}targets", targets)
    if len(inputs) != len(targets):  # type: ignore[arg-type]
        raise ValueError(f"{of}targets must be as many as the inputs, got {len(targets)} for {len(inputs)}")  # type: ignore[arg-type]


def check_finite(name: str, array: Array) -> None:
    """Refuse an array that holds NaN or infinity: ValueError."""
    many = max(1, 2**24 // max(1, array[:1].size))  # a part at a time: data may be larger than main memory
    if array.dtype.kind == "f" and not all(np.isfinite(array[first:first + many]).all() for first in range(0, len(array), many)):
        raise ValueError(f"{name} must be finite, got {arrays.not_finite(array)}")


def check_loss(loss: Loss, outputs: Array, targets: Array, weights: Array | None = None) -> None:
    """Refuse targets that the loss does not take, all of them, and a loss that returns something else than a number and a gradient.

    The first of the `outputs` stands for those of every example.
    """
    many = max(1, 2**22 // outputs[:1].size)
    for first in range(0, len(targets), many):
        y = targets[first:first + many]
        scores = outputs[:1].repeat(len(y), axis=0)
        found = loss(scores, y) if weights is None else loss(scores, y, weights[first:first + many])
        if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], Number) and arrays.is_plain(found[1])):
            raise TypeError(f"loss must return a number and its gradient by the outputs, got {shown(found)}")
        if found[1].shape != scores.shape:
            raise ValueError(f"loss must return a gradient of the outputs' shape {scores.shape}, got {found[1].shape}")


def _name(metric: Metric) -> str:
    return getattr(metric, "__name__", "metric")
