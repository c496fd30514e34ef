"""The training loop: epochs of minibatches, a history, callbacks, early stopping."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arrays
from .checkpoint import Checkpoint, Diverged, layer_of, not_finite
from .layers import check_count
from .losses import accuracy, softmax_cross_entropy
from .model import Sequential
from .progress import bar

if TYPE_CHECKING:
    from ..optimization.optimizer import Optimizer

Loss = Callable[[Any, Any], tuple[float, Any]]
Metric = Callable[[Any, Any], float]


@dataclass
class History:
    """What a training run went through.

    `losses` holds the loss of every step, before its update, penalty included; `epochs` one dict of numbers an epoch:
    `loss`, the mean of its steps, and whatever was evaluated. `stopped` says why it ended early, if it did.
    `history["loss"]` is a column of `epochs`.

    >>> history = History(losses=[2.0, 1.0], epochs=[{"loss": 1.5}])
    >>> history["loss"].tolist()
    [1.5]
    """

    losses: list[float] = field(default_factory=list)
    epochs: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""

    def __getitem__(self, column: str) -> np.ndarray:
        names = self.epochs[0].keys() if self.epochs else ()
        if column not in names:
            raise KeyError(f"column must be one of {sorted(names)}, got {column!r}")
        return np.array([row[column] for row in self.epochs])


@dataclass
class Run:
    """A training run as its callbacks see it: set `stop` to a reason, and it ends."""

    model: Sequential
    optimizer: Optimizer
    rng: np.random.Generator
    history: History
    step: int = 0
    epoch: int = 0
    stop: str = ""


class Callback:
    """What is told of a run's progress; each method does nothing until a subclass says more.

    One whose past matters gives it out with `state_dict`, a flat dict of arrays and numbers, and takes it back. Where the
    model is on a GPU, so are then the floating-point arrays in it.
    """

    def after_step(self, run: Run) -> None:
        """Called after every update."""

    def after_epoch(self, run: Run) -> None:
        """Called after every epoch, when its row stands in the history."""

    def after_fit(self, run: Run) -> None:
        """Called once, when the run has ended by itself or by `stop`."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know."""
        return {}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""


class EarlyStopping(Callback):
    """Stop when a column of the history has not improved for `patience` epochs, and go back to its best epoch.

    `larger_is_better` for an accuracy. Raises ValueError when `patience` < 1.
    Source: Goodfellow, Bengio & Courville 2016, algorithm 7.1.

    >>> EarlyStopping("validation_loss", patience=3).patience
    3
    """

    def __init__(self, column: str, *, patience: int, larger_is_better: bool = False) -> None:
        check_count("patience", patience)
        self.column, self.patience, self.larger_is_better = column, patience, larger_is_better
        self._forget()

    def _forget(self) -> None:
        self.best: dict[str, Any] = {}
        self.best_epoch, self.best_value = 0, -math.inf if self.larger_is_better else math.inf

    def after_epoch(self, run: Run) -> None:
        if run.epoch == 1:  # whatever it has seen before was another run
            self._forget()
        value = float(run.history[self.column][-1])
        if value > self.best_value if self.larger_is_better else value < self.best_value:
            self.best, self.best_epoch, self.best_value = run.model.state_dict(), run.epoch, value
        elif run.epoch - self.best_epoch >= self.patience:
            run.stop = f"{self.column} has not improved on {self.best_value:.4g} since epoch {self.best_epoch}"

    def after_fit(self, run: Run) -> None:
        if self.best:
            run.model.load_state_dict(self.best)

    def state_dict(self) -> dict[str, Any]:
        if not self.best:
            return {}
        return {f"best/{key}": array for key, array in self.best.items()} | {"epoch": self.best_epoch, "value": self.best_value}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self._forget()
        if saved:
            self.best_epoch, self.best_value = int(saved["epoch"]), float(saved["value"])
        self.best = {key.removeprefix("best/"): arrays.copy(array) for key, array in saved.items() if key.startswith("best/")}


def fit(model: Sequential, inputs: Any, targets: Any, optimizer: Optimizer, *, epochs: int, rng: np.random.Generator,
        batch_size: int = 64, loss: Loss = softmax_cross_entropy, metric: Metric | None = accuracy,
        evaluate_on: Mapping[str, tuple[Any, Any]] | None = None,
        penalty: Callable[[Mapping[str, Any], Mapping[str, Any]], float] | None = None,
        augment: Callable[[Any, np.random.Generator], Any] | None = None, callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None, checkpoint_every: int | None = None, resume: bool = False,
        progress: bool | None = None) -> History:
    """Train `model` on `inputs` and `targets`, whose first axis counts examples, and return the history.

    Each epoch goes once through all examples in an order drawn from `rng`, `batch_size` at a time: forward, loss,
    backward, `optimizer.update`. Parameters and optimizer change in place. All chance comes from `rng`.

    - `loss(outputs, targets)` returns the batch's loss and its gradient by the outputs.
    - `evaluate_on={"validation": (inputs, targets)}` adds `validation_loss` and, by `metric`, `validation_accuracy` to
      every epoch's row (the metric's own name; None for no metric).
    - `penalty(params, grads)` returns what it adds to the loss, and adds its gradient to `grads`.
    - `augment(inputs, rng)` changes each training batch.
    - `checkpoint` is a file that keeps the whole run, written at the start, every `checkpoint_every` steps (by default, every
      epoch) and at the end, each time whole or not at all. With `resume=True` the run goes on from it, if it is there, and ends
      as the uninterrupted run does, bit for bit, if all arguments are those of the first call: the file keeps no hyperparameters, so
      one that a callback changed is not restored.
    - `progress` shows a bar (needs tqdm); by default on a terminal.

    Raises [`Diverged`][reference_impl.networks.checkpoint.Diverged] when a loss, gradient or parameter is no longer finite, ValueError or
    TypeError for arguments that do not fit: before anything is changed where one example shows it, else when it is met, as with a label
    out of range among later examples, or a column that a callback asks for and no epoch has.

    >>> from reference_impl import SGD, digits
    >>> from reference_impl.networks.layers import Affine
    >>> data, rng = digits(), np.random.default_rng(0)
    >>> model = Sequential(Affine(64, 10, rng=rng, std=0.0))
    >>> history = fit(model, data.inputs, data.labels, SGD(lr=0.5), epochs=5, rng=rng,
    ...               evaluate_on={"test": (data.test_inputs, data.test_labels)})
    >>> bool(history["test_accuracy"][-1] > 0.9), len(history.losses)
    (True, 110)
    """
    _check_data(inputs, targets)
    check_count("batch_size", batch_size)
    check_count("epochs", epochs, low=0)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must be Callback objects, got {callback!r}")
    if checkpoint is None and (resume or checkpoint_every is not None):
        raise ValueError("checkpoint must name a file when resume or checkpoint_every is given, got None")
    if checkpoint_every is not None:
        check_count("checkpoint_every", checkpoint_every)
    evaluate_on = evaluate_on or {}
    run = Run(model, optimizer, rng, History())
    steps = math.ceil(len(inputs) / batch_size)
    file = None if checkpoint is None else Checkpoint(Path(checkpoint), run, callbacks, {
        "examples": len(inputs), "batch_size": batch_size, "model": repr(model), "evaluate_on": list(evaluate_on),
        "callbacks": [type(callback).__name__ for callback in callbacks]})
    params, grads = model.params, model.grads
    order = np.empty(0, dtype=np.intp)

    def diverged(where: str) -> Diverged:
        return Diverged(run.step, where, None if file is None else file.last, run.history)

    with bar(epochs * steps, progress) as shown, np.errstate(all="ignore"):
        # A rehearsal on one example: what does not fit together shows before anything is changed.
        x = inputs[:1] if augment is None else augment(inputs[:1], copy.deepcopy(rng))
        evaluate(model, x, targets[:1], loss=loss, metric=None)
        for x, y in evaluate_on.values():
            _check_data(x, y)
            evaluate(model, x[:1], y[:1], loss=loss, metric=metric)
        if file and resume and file.path.exists():
            order = file.load()
            shown.update(run.step)
        elif file:
            file.save(order)
        while run.epoch < epochs and not run.stop:
            at = run.step - run.epoch * steps
            if at == 0:
                order = rng.permutation(len(inputs))
            for first in range(at * batch_size, len(order), batch_size):
                batch = arrays.beside(order[first:first + batch_size], inputs)
                x, y = inputs.take(batch, axis=0), targets.take(batch, axis=0)
                if augment is not None:
                    x = augment(x, rng)
                value, dout = loss(model.forward(x, train=True, rng=rng), y)
                model.backward_params(dout)
                if penalty is not None:
                    value += penalty(params, grads)
                if not math.isfinite(value):
                    raise diverged(_where(model, x, rng) or "the loss itself")
                try:
                    optimizer.update(params, grads)
                except ValueError:
                    if (key := not_finite(grads, last=True)) is None:
                        raise
                    raise diverged(_where(model, x, rng) or f"the gradient of {layer_of(model, key)}") from None
                run.history.losses.append(float(value))
                run.step += 1
                shown.update()
                for callback in callbacks:
                    callback.after_step(run)
                if run.step % steps:  # within an epoch
                    if file and checkpoint_every and run.step % checkpoint_every == 0:
                        file.save(order)
                    if run.stop:
                        break
            else:
                run.epoch += 1
                row = {"loss": float(np.mean(run.history.losses[-steps:]))}
                for name, (x, y) in evaluate_on.items():
                    row |= {f"{name}_{key}": value for key, value in evaluate(model, x, y, loss=loss, metric=metric).items()}
                run.history.epochs.append(row)
                shown.set_postfix({key: f"{value:.4g}" for key, value in row.items()}, refresh=False)
                for callback in callbacks:
                    callback.after_epoch(run)
                if file and (not checkpoint_every or run.step % checkpoint_every == 0):
                    file.save(order)
    run.history.stopped = run.stop
    if (key := not_finite(model.state_dict())) is not None:
        raise diverged(layer_of(model, key))
    if file and file.last != (file.path, run.step):
        file.save(order)
    for callback in callbacks:
        callback.after_fit(run)
    return run.history


def evaluate(model: Sequential, inputs: Any, targets: Any, *, loss: Loss = softmax_cross_entropy, metric: Metric | None = accuracy,
             batch_size: int = 1024) -> dict[str, float]:
    """The mean loss and metric of a model as it is at test time, a batch at a time.

    >>> from reference_impl.networks.layers import Affine
    >>> model = Sequential(Affine(1, 2, rng=np.random.default_rng(0), std=0.0))
    >>> evaluate(model, np.ones((3, 1)), np.array([0, 0, 1]))
    {'loss': 0.6931471805599453, 'accuracy': 0.6666666666666666}
    """
    _check_data(inputs, targets)
    check_count("batch_size", batch_size)
    found = np.zeros(2)
    for first in range(0, len(inputs), batch_size):
        outputs, y = model.forward(inputs[first:first + batch_size]), targets[first:first + batch_size]
        found += np.array([loss(outputs, y)[0], metric(outputs, y) if metric else 0.0]) * (len(y) / len(inputs))
    values = {"loss": float(found[0])}
    return values if metric is None else values | {getattr(metric, "__name__", "metric"): float(found[1])}


def _check_data(inputs: Any, targets: Any) -> None:
    for name, array in (("inputs", inputs), ("targets", targets)):
        if not arrays.is_plain(array) or not array.ndim:
            raise TypeError(f"{name} must be an array whose first axis counts examples, got {array!r}")
    if len(inputs) != len(targets) or not len(inputs):
        raise ValueError(f"targets must be as many as the inputs, and some, got {len(targets)} for {len(inputs)}")


def _where(model: Sequential, x: Any, rng: np.random.Generator) -> str | None:
    """What is not finite first on the way from a batch to its outputs, if anything is."""
    if not np.isfinite(x).all():
        return "the inputs"
    model, rng = copy.deepcopy((model, rng))  # a forward pass in training changes buffers, and draws
    for i, layer in enumerate(model.layers):
        if (name := not_finite(layer.params)) is not None:
            return layer_of(model, f"{i}.{name}")
        x = layer.forward(x, train=not layer.frozen, rng=rng)
        if not np.isfinite(x).all():
            return f"the output of layer {i} ({type(layer).__name__})"
    return None
