"""The training loop: epochs of minibatches, a history, callbacks, early stopping, checkpoints to resume from."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from .losses import accuracy, softmax_cross_entropy
from .model import Sequential

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

    One whose past matters gives it out with `state_dict`, a flat dict of arrays and numbers, and takes it back.
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
        if patience < 1:
            raise ValueError(f"patience must be 1 or more, got {patience!r}")
        self.column, self.patience, self.larger_is_better = column, patience, larger_is_better
        self.best: dict[str, Any] = {}
        self.best_epoch, self.best_value = 0, math.nan

    def after_epoch(self, run: Run) -> None:
        value = float(run.history[self.column][-1])
        if not self.best or (value > self.best_value if self.larger_is_better else value < self.best_value):
            self.best, self.best_epoch, self.best_value = run.model.state_dict(), run.epoch, value
        elif run.epoch - self.best_epoch >= self.patience:
            run.stop = f"{self.column} has not improved on {self.best_value:.4g} since epoch {self.best_epoch}"

    def after_fit(self, run: Run) -> None:
        if self.best:
            run.model.load_state_dict(self.best)

    def state_dict(self) -> dict[str, Any]:
        return {f"best/{key}": array for key, array in self.best.items()} | {"epoch": self.best_epoch, "value": self.best_value}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        self.best = {key.removeprefix("best/"): np.array(array) for key, array in saved.items() if key.startswith("best/")}
        self.best_epoch, self.best_value = int(saved["epoch"]), float(saved["value"])


class Diverged(ArithmeticError):
    """A loss, a gradient or a parameter became NaN or infinite: at which `step`, in which `layer`, and the last good `checkpoint`.

    >>> print(Diverged(7, "layer 0 (ReLU)", None))
    step 7: the loss is no longer finite, first in layer 0 (ReLU); there is no checkpoint to go back to
    """

    def __init__(self, step: int, layer: str, checkpoint: tuple[Path, int] | None) -> None:
        self.step, self.layer, self.checkpoint = step, layer, checkpoint
        back = f"the last good checkpoint is {checkpoint[0]}, of step {checkpoint[1]}" if checkpoint else "there is no checkpoint to go back to"
        super().__init__(f"step {step}: the loss is no longer finite, first in {layer}; {back}")


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
      as the uninterrupted run does, bit for bit.
    - `progress` shows a bar (needs tqdm); by default on a terminal.

    Raises [`Diverged`][reference_impl.networks.training.Diverged] when the loss is no longer finite, ValueError or TypeError for
    arguments that do not fit, before anything is changed.

    >>> from reference_impl import SGD, digits
    >>> from reference_impl.networks.layers import Affine
    >>> data, rng = digits(), np.random.default_rng(0)
    >>> model = Sequential(Affine(64, 10, rng=rng, std=0.0))
    >>> history = fit(model, data.inputs, data.labels, SGD(lr=0.5), epochs=5, rng=rng,
    ...               evaluate_on={"test": (data.test_inputs, data.test_labels)})
    >>> bool(history["test_accuracy"][-1] > 0.9), len(history.losses)
    (True, 110)
    """
    if len(inputs) != len(targets) or not len(inputs):
        raise ValueError(f"targets must be as many as the inputs, and some, got {len(targets)} for {len(inputs)}")
    if not 1 <= batch_size:
        raise ValueError(f"batch_size must be 1 or more, got {batch_size!r}")
    if epochs < 0:
        raise ValueError(f"epochs must be 0 or more, got {epochs!r}")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}")
    if checkpoint is None and (resume or checkpoint_every is not None):
        raise ValueError("checkpoint must name a file when resume or checkpoint_every is given, got None")
    if checkpoint_every is not None and checkpoint_every < 1:
        raise ValueError(f"checkpoint_every must be 1 or more, got {checkpoint_every!r}")
    run = Run(model, optimizer, rng, History())
    steps = math.ceil(len(inputs) / batch_size)
    order = np.empty(0, dtype=np.intp)
    file = None if checkpoint is None else _File(Path(checkpoint), {"examples": len(inputs), "batch_size": batch_size})
    if file and resume and file.path.exists():
        order = file.load(run, callbacks)
    elif file:
        file.save(run, callbacks, order)
    params, grads = model.params, model.grads
    with _bar(epochs * steps, run.step, progress) as bar, np.errstate(all="ignore"):
        while run.epoch < epochs and not run.stop:
            at = run.step - run.epoch * steps
            if at == 0:
                order = rng.permutation(len(inputs))
            for first in range(at * batch_size, len(order), batch_size):
                batch = order[first:first + batch_size]
                x = inputs[batch] if augment is None else augment(inputs[batch], rng)
                value, dout = loss(model.forward(x, train=True, rng=rng), targets[batch])
                model.backward(dout)
                if penalty is not None:
                    value += penalty(params, grads)
                if not math.isfinite(value):
                    raise Diverged(run.step, _where(model, x, rng), file and file.last)
                try:
                    optimizer.update(params, grads)
                except ValueError:
                    if (key := _not_finite(grads)) is None:
                        raise
                    raise Diverged(run.step, f"the gradient of {_layer(model, key)}", file and file.last) from None
                run.history.losses.append(value)
                run.step += 1
                bar.update()
                for callback in callbacks:
                    callback.after_step(run)
                if file and checkpoint_every and run.step % checkpoint_every == 0 and run.step % steps:
                    file.save(run, callbacks, order)
                if run.stop:
                    break
            else:
                run.epoch += 1
                row = {"loss": float(np.mean(run.history.losses[-steps:]))}
                for name, (x, y) in (evaluate_on or {}).items():
                    row |= {f"{name}_{key}": value for key, value in evaluate(model, x, y, loss=loss, metric=metric).items()}
                run.history.epochs.append(row)
                bar.set_postfix({key: f"{value:.4g}" for key, value in row.items()}, refresh=False)
                for callback in callbacks:
                    callback.after_epoch(run)
                if file and (not checkpoint_every or run.step % checkpoint_every == 0):
                    file.save(run, callbacks, order)
    run.history.stopped = run.stop
    if file and file.last != (file.path, run.step):
        file.save(run, callbacks, order)
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
    found = np.zeros(2)
    for first in range(0, len(inputs), batch_size):
        outputs, y = model.forward(inputs[first:first + batch_size]), targets[first:first + batch_size]
        found += np.array([loss(outputs, y)[0], metric(outputs, y) if metric else 0.0]) * (len(y) / len(inputs))
    values = {"loss": float(found[0])}
    return values if metric is None else values | {getattr(metric, "__name__", "metric"): float(found[1])}


class _File:
    """The file of a run's checkpoints, and the step of the last one."""

    def __init__(self, path: Path, settings: dict[str, int]) -> None:
        self.path, self.settings = path, settings
        self.last: tuple[Path, int] | None = None

    def save(self, run: Run, callbacks: Sequence[Callback], order: np.ndarray) -> None:
        if (key := _not_finite(run.model.state_dict())) is not None:
            raise Diverged(run.step, _layer(run.model, key), self.last)
        groups = {"model": run.model.state_dict(), "optimizer": run.optimizer.state_dict(),
                  **{f"callback {i}": callback.state_dict() for i, callback in enumerate(callbacks)}}
        about = {"settings": self.settings, "rng": run.rng.bit_generator.state, "step": run.step, "epoch": run.epoch, "stop": run.stop,
                 "losses": run.history.losses, "epochs": run.history.epochs}
        content = {f"{group}/{key}": value for group, values in groups.items() for key, value in values.items()}
        content |= {"order": order, "about": json.dumps(about, default=lambda value: value.tolist())}
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            with beside.open("wb") as stream:
                np.savez(stream, **content)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(beside, self.path)
        finally:
            beside.unlink(missing_ok=True)
        self.last = self.path, run.step

    def load(self, run: Run, callbacks: Sequence[Callback]) -> np.ndarray:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                content = dict(file)
            about = json.loads(str(content["about"]))
        except (ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ValueError(f"checkpoint must be a file that fit has written, got {self.path}: {error}") from error
        if about["settings"] != self.settings:
            raise ValueError(f"checkpoint must come from a run with {self.settings}, got {self.path} with {about['settings']}")
        kind = type(run.rng.bit_generator).__name__
        if about["rng"]["bit_generator"] != kind:
            raise ValueError(f"rng must be a {about['rng']['bit_generator']} generator as in {self.path}, got {kind}")

        def group(name: str) -> dict[str, Any]:
            return {key.removeprefix(f"{name}/"): value for key, value in content.items() if key.startswith(f"{name}/")}

        before = run.optimizer.state_dict()
        run.optimizer.load_state_dict(group("optimizer"))
        try:
            run.model.load_state_dict(group("model"))
        except ValueError:
            run.optimizer.load_state_dict(before)
            raise
        for i, callback in enumerate(callbacks):
            callback.load_state_dict(group(f"callback {i}"))
        run.rng.bit_generator.state = about["rng"]
        run.step, run.epoch, run.stop = about["step"], about["epoch"], about["stop"]
        run.history.losses, run.history.epochs = about["losses"], about["epochs"]
        self.last = self.path, run.step
        return content["order"]


def _not_finite(arrays: Mapping[str, Any]) -> str | None:
    """The key of the first array that holds NaN or infinity."""
    return next((key for key, array in arrays.items() if not np.isfinite(array).all()), None)


def _layer(model: Sequential, key: str) -> str:
    """The layer that an array of a model belongs to, in words."""
    index, _, name = key.partition(".")
    return f"layer {index} ({type(model.layers[int(index)]).__name__}), {name}"


def _where(model: Sequential, x: Any, rng: np.random.Generator) -> str:
    """The first layer from which something comes out that is not finite."""
    if not np.isfinite(x).all():
        return "the inputs"
    if (key := _not_finite(model.state_dict())) is not None:
        return _layer(model, key)
    model, rng = copy.deepcopy((model, rng))  # a forward pass in training changes buffers, and draws
    for i, layer in enumerate(model.layers):
        x = layer.forward(x, train=not layer.frozen, rng=rng)
        if not np.isfinite(x).all():
            return f"the output of layer {i} ({type(layer).__name__})"
    return "the loss itself"


@contextmanager
def _bar(total: int, done: int, wanted: bool | None) -> Iterator[Any]:
    """A progress bar, or something as silent as one that is not shown."""
    if wanted is None:
        wanted = sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None
    if wanted:
        try:
            from tqdm import tqdm
        except ImportError:
            raise ModuleNotFoundError('progress needs tqdm: pip install "descent-derived[progress]"') from None
        with tqdm(total=total, initial=done, unit="step") as bar:
            yield bar
    else:
        yield _Silent()


class _Silent:
    def update(self) -> None:
        """No bar, nothing to do."""

    def set_postfix(self, values: Mapping[str, str], refresh: bool = True) -> None:
        """No bar, nothing to do."""
