"""The training loop: epochs of minibatches, in which callbacks take part."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..arrays.checks import GENERATOR, ArrayOf, Count, Flag, Instance, Optional, checked, shown
from ..arrays.protocol import Array
from ..optimization.groups import Groups
from ..optimization.optimizer import Optimizer
from .checkpoint import Checkpoint
from .evaluation import LOSS, check_data, check_finite, check_loss
from .losses import softmax_cross_entropy
from .model import MODEL, Sequential, all_params
from .run import Batch, Callback, History, Loss, Run, largest, layer_of, too_large


@checked(model=MODEL, optimizer=Instance(Optimizer, words="an Optimizer object, such as SGD(lr=0.1)"), epochs=Count(0), rng=GENERATOR,
         batch_size=Count(), drop_last=Flag(), loss=LOSS, weights=Optional(ArrayOf("examples", "biuf")))
def fit(model: Sequential, inputs: Array, targets: Array, optimizer: Optimizer, *, epochs: int, rng: np.random.Generator, batch_size: int = 64,
        drop_last: bool = False, loss: Loss = softmax_cross_entropy, weights: Array | None = None,
        callbacks: Sequence[Callback] = ()) -> History:
    """Train `model` on `inputs` and `targets`, whose first axis counts examples, and return the history.

    Each epoch goes once through all examples in an order drawn from `rng`, `batch_size` at a time: forward, loss,
    backward, `optimizer.update`. Parameters and optimizer change in place. All chance comes from `rng`.

    - `loss(outputs, targets)` returns the batch's mean loss and its gradient by the outputs.
    - `weights` (examples,) say how much each example's loss counts in the mean: `loss(outputs, targets, weights)` is called then.
      [`class_weights`][reference_impl.networks.losses.class_weights] makes them from labels.
    - `drop_last` leaves out what remains of an epoch when it is no whole batch.
    - `callbacks` do everything else: [`Evaluate`][reference_impl.networks.evaluation.Evaluate] on other examples,
      penalties such as [`L2`][reference_impl.generalization.weight_decay.L2], [`Augment`][reference_impl.networks.callbacks.Augment],
      [`EarlyStopping`][reference_impl.networks.callbacks.EarlyStopping], [`Progress`][reference_impl.networks.progress.Progress],
      [`Checkpoint`][reference_impl.networks.checkpoint.Checkpoint], and your own
      [`Callback`][reference_impl.networks.run.Callback]. They are told in this order, a checkpoint last.

    Before the first step a batch as small as the last one goes through copies of model and optimizer, all targets through the loss, and the
    hyperparameters through all steps to come; every callback looks at what it needs. What does not fit is a ValueError or TypeError,
    and nothing has changed. What ends a run later has the history so far as an attribute `history`, whatever it is; that is
    [`Diverged`][reference_impl.networks.run.Diverged] when a loss, gradient or parameter is NaN, infinite, or so large that its square is.

    >>> from reference_impl import SGD, Evaluate, digits
    >>> from reference_impl.networks.layers import Affine
    >>> data, rng = digits(), np.random.default_rng(0)
    >>> model = Sequential(Affine(64, 10, rng=rng, std=0.0))
    >>> history = fit(model, data.inputs, data.labels, SGD(lr=0.5), epochs=5, rng=rng,
    ...               callbacks=[Evaluate({"test": (data.test_inputs, data.test_labels)})])
    >>> bool(history["test_accuracy"][-1] > 0.9), len(history.losses)
    (True, 110)
    """
    check_data(inputs, targets)
    check_finite("inputs", inputs)
    check_finite("targets", targets)
    if weights is not None and (len(weights) != len(inputs) or not (weights >= 0).all() or not 0 < float(weights.sum()) < math.inf):
        raise ValueError(f"weights must be numbers from 0 up, one for each of {len(inputs)} examples and not all 0, got {shown(weights)}")
    if drop_last and batch_size > len(inputs):
        raise ValueError(f"batch_size must be at most the {len(inputs)} examples when drop_last=True, got {batch_size}")
    _check_callbacks(callbacks)
    told = sorted(callbacks, key=lambda callback: isinstance(callback, Checkpoint))  # it writes down what the others have done
    run = Run(model, optimizer, rng, loss, inputs, targets, weights, batch_size, drop_last, epochs, told, Batch(inputs[:0], targets[:0]))
    with np.errstate(all="ignore"), run.exits:
        _rehearse(run)
        for callback in run.callbacks:
            callback.before_fit(run)
        try:
            while run.epoch < epochs and not run.stop:
                _take_epoch(run)
            run.history.stopped = run.stop
            if (key := too_large(model.params)) is not None:
                raise run.diverged(layer_of(model, key))
            for callback in run.callbacks:
                callback.after_fit(run)
        except BaseException as error:
            run.history.stopped = f"{type(error).__name__}: {error}"
            error.history = run.history  # type: ignore[attr-defined]
            error.add_note(f"The run ended after {run.step} steps; this error's attribute `history` holds what it had gone through.")
            raise
    return run.history


def _take_epoch(run: Run) -> None:
    """One epoch, or what is left of it, unless a callback stops in its midst."""
    steps = run.steps_per_epoch
    if run.step == run.epoch * steps:
        run.order = run.rng.permutation(len(run.inputs))
    while run.step < (run.epoch + 1) * steps:
        _take_step(run)
        for callback in run.callbacks:
            callback.after_step(run)
        if run.stop and run.step % steps:
            return
    run.epoch += 1
    run.history.epochs.append({"loss": float(np.mean(run.history.losses[-steps:]))})
    for callback in run.callbacks:
        callback.after_epoch(run)


def _take_step(run: Run) -> None:
    """One batch forward and back, and one update."""
    model, first = run.model, run.step % run.steps_per_epoch * run.batch_size
    run.batch = run.examples(run.order[first:first + run.batch_size])
    for callback in run.callbacks:
        callback.before_step(run)
    batch = run.batch
    outputs = model.forward(batch.inputs, train=True, rng=run.rng)
    value, dout = run.loss(outputs, batch.targets) if batch.weights is None else run.loss(outputs, batch.targets, batch.weights)
    run.value = float(value)
    model.backward_params(dout)
    for callback in run.callbacks:
        callback.before_update(run)
    if not abs(run.value) <= largest(outputs.dtype):
        raise run.diverged(_where(run) or "the loss itself")
    params, grads = model.params, model.grads
    try:
        run.optimizer.update(params, grads)
    except ValueError:
        if (key := too_large(grads, last=True)) is None:
            raise
        raise run.diverged(_where(run) or f"the gradient of {layer_of(model, key)}") from None
    run.history.losses.append(run.value)
    run.step += 1


def _rehearse(run: Run) -> None:
    """Refuse what will not go through, with copies of all that training changes."""
    if isinstance(run.optimizer, Groups):
        run.optimizer.assign(all_params(run.model).keys())
    examples, steps = len(run.inputs), run.steps_per_epoch
    last = run.batch_size if run.drop_last else examples - (steps - 1) * run.batch_size
    model, optimizer, rng = copy.deepcopy((run.model, run.optimizer, run.rng))
    trial = dataclasses.replace(run, model=model, optimizer=optimizer, rng=rng, history=History(), batch=run.examples(np.arange(last)))
    for callback in run.callbacks:
        callback.rehearse(trial)
    if (key := too_large(model.params)) is not None:
        raise run.diverged(layer_of(model, key))
    outputs = model.forward(trial.batch.inputs, train=True, rng=rng)
    check_loss(run.loss, outputs, run.targets, run.weights)
    model.backward_params(np.zeros_like(outputs))
    for g in model.grads.values():
        g[...] = 1  # not 0, by which a rule without eps would divide
    coming = range(optimizer.steps, optimizer.steps + run.epochs * steps - trial.step)
    for step in [coming.start, *_telling(optimizer, coming)] if coming else []:
        optimizer.steps = step
        optimizer.update(model.params, model.grads)


def _telling(optimizer: Optimizer, steps: range) -> Iterator[int]:
    """The steps at which a schedule of the optimizer, or of one of its groups, is smallest or largest, or gives what is no number.

    Of more than a million steps, as many, evenly spaced, and the last.
    """
    looked_at = [*steps[::1 + len(steps) // 2**20], *steps[-1:]]
    for one in (optimizer, *getattr(optimizer, "groups", {}).values()):
        for f in dataclasses.fields(one):
            if callable(schedule := getattr(one, f.name)):
                values = [_number(schedule(step)) for step in looked_at]
                telling = [np.argmin(values), np.argmax(values)]  # of NaN the first
                yield from (looked_at[i] for i in telling)


def _number(value: object) -> float:
    try:
        return math.nan if isinstance(value, str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


def _check_callbacks(callbacks: Sequence[Callback]) -> None:
    if not isinstance(callbacks, list | tuple) or not all(isinstance(callback, Callback) for callback in callbacks):
        raise TypeError(f"callbacks must be a list of Callback objects, got {shown(callbacks)}")
    if len({id(callback) for callback in callbacks}) < len(callbacks):
        raise ValueError(f"callbacks must be different objects, got one of them twice in {shown(callbacks)}")
    if sum(isinstance(callback, Checkpoint) for callback in callbacks) > 1:
        raise ValueError(f"callbacks must hold one Checkpoint at most, got {shown(callbacks)}")


def _where(run: Run) -> str | None:
    """Where the first number that is none, or too large, stands on the way from the batch to its outputs."""
    x = run.batch.inputs
    if not np.isfinite(x).all():
        return "the inputs"
    model, rng = copy.deepcopy((run.model, run.rng))  # a forward pass in training changes buffers, and draws
    for i, layer in enumerate(model.layers):
        if (name := too_large(layer.params)) is not None:
            return layer_of(model, f"{i}.{name}")
        x = layer.forward(x, train=not layer.frozen, rng=rng)
        if not (abs(x) <= largest(x.dtype)).all():
            return f"the output of layer {i} ({type(layer).__name__})"
    return None
