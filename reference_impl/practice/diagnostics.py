"""What is wrong with a training run: a monitor, a gradient check, two sanity checks, and a diagnosis from the history.

Derived in the chapter on [diagnostics][diagnostics].
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .. import arrays
from ..arrays.checks import GENERATOR, POSITIVE, SIZE, ArrayOf, Count, Flag, Function, Instance, Optional, checked
from ..arrays.protocol import Array
from ..networks.evaluation import check_data
from ..networks.layers import ReLU
from ..networks.losses import softmax_cross_entropy
from ..networks.model import Sequential, all_params
from ..networks.run import Callback, History, Loss, Run
from ..networks.training import fit
from ..optimization.optimizer import Optimizer
from .initialization import root_mean_square

MODEL, DATA, LOSS = Instance(Sequential), ArrayOf(dtypes="biuf"), Function("outputs and targets")

FAULTS = ("learning rate too high", "learning rate too low", "overfitting", "dead ReLUs", "bad initialization", "shuffled labels",
          "unscaled inputs")
"""What [`diagnose`][reference_impl.practice.diagnostics.diagnose] can find; its other answers are "healthy" and "unsure"."""

LIMITS = {
    "inputs low": 0.05,  # standardised inputs have a root mean square of 1: this is a twentieth of it,
    "inputs high": 5.0,  # and this five times it
    "score std": 2.0,  # normal scores that spread so much before training cost at most 2 on average: a first loss of ln C + 2
    "signal left": 0.1,  # He's weights keep all of it on average; at least half was left in the healthy calibration runs
    "dead": 0.7,  # half way from the worst healthy calibration run to all
    "loss rose": 1.25,  # at a small enough rate only the noise of the batches makes it rise; this leaves room for that
    "loss returned": 1.15,  # the same, from its own minimum
    "high": 0.5,  # of ln C: a training loss that is still high at the end
    "step": 0.1,  # ten such steps make other weights; healthy calibration runs stayed below half of it
    "travelled": 0.45,  # of the weights' length, by all steps; the healthy calibration runs travelled at least 0.6
    "near chance": 0.15,  # of the way from guessing to perfection
    "good": 0.5,  # of the same way
    "knows little": 0.95,  # of ln C: what a network has learnt that is better than nothing
    "validation rose": 1.02,  # the mean of three epochs, from its minimum: noise is less
    "gap": 0.25,  # of ln C, between training and validation loss: healthy calibration runs had less than a fifth
}
"""The thresholds of `diagnose`: from theory where there is one, else from runs of other seeds than those that it is judged by."""


class Monitor(Callback):
    """Write what the losses do not show into every epoch's row.

    - `rms/inputs` and `rms/0`, `rms/1`, …: the root mean square of a fixed batch `inputs` and of each layer's output, and `dead/1`, …:
      the fraction of units of a ReLU that are 0 for the whole batch. Both as the epoch *begins*: the first row shows the first weights.
    - `update/0.W`, …: the length of a step over the length of the weights, and `gradient/0.W`, …: the length of the gradient, for every
      array of weights; both means over the epoch's steps.

    `history` is the run's, for when `fit` raises and returns none. Give it the model as training will start from it.
    Raises TypeError when `model` is none or `inputs` are no array of numbers.

    >>> from reference_impl import SGD, Affine, digits
    >>> data, rng = digits(), np.random.default_rng(0)
    >>> model = Sequential(Affine(64, 20, rng=rng), ReLU(), Affine(20, 10, rng=rng))
    >>> history = fit(model, data.inputs, data.labels, SGD(lr=0.1), epochs=1, rng=rng, callbacks=[Monitor(model, data.inputs)])
    >>> list(history.epochs[0])[1:5], list(history.epochs[0])[5:9]
    (['rms/inputs', 'rms/0', 'rms/1', 'dead/1'], ['rms/2', 'update/0.W', 'gradient/0.W', 'update/2.W'])
    """

    @checked(model=MODEL, inputs=DATA)
    def __init__(self, model: Sequential, inputs: Array) -> None:
        self.inputs, self.history = inputs, History()
        self._before = {key: array.copy() for key, array in model.params.items() if array.ndim > 1}
        self._signal, self._sums, self._steps = self._measure(model), dict[str, float](), 0
        self.columns = [*self._signal, *(f"{what}/{key}" for key in self._before for what in ("update", "gradient"))]

    def _measure(self, model: Sequential) -> dict[str, float]:
        x = self.inputs
        found = {"rms/inputs": root_mean_square(x)}
        with np.errstate(all="ignore"):  # a run that diverges is what a monitor is for
            for i, layer in enumerate(model.layers):
                x = layer.forward(x)
                found[f"rms/{i}"] = root_mean_square(x)
                if isinstance(layer, ReLU):
                    found[f"dead/{i}"] = float((x.reshape(-1, x.shape[-1]) <= 0).all(axis=0).mean())
        return found

    def row(self) -> dict[str, float]:
        """The columns of the epoch so far."""
        return self._signal | {key: value / self._steps for key, value in self._sums.items()}

    def after_step(self, run: Run) -> None:
        self.history = run.history
        params, grads = all_params(run.model), run.model.grads
        for key, before in self._before.items():
            step, length = _length(params[key] - before), _length(before)
            for name, value in ((f"update/{key}", step / length if length else math.inf if step else 0.0),
                                (f"gradient/{key}", _length(grads[key]) if key in grads else 0.0)):
                self._sums[name] = self._sums.get(name, 0.0) + value
            before[...] = params[key]
        self._steps += 1

    def after_epoch(self, run: Run) -> None:
        run.history.epochs[-1] |= self.row()
        self._signal, self._sums, self._steps = self._measure(run.model), {}, 0

    def state_dict(self) -> dict[str, Any]:
        groups: dict[str, Mapping[str, Any]] = {"before": self._before, "signal": self._signal, "sum": self._sums}
        return {f"{group}/{key}": value for group, values in groups.items() for key, value in values.items()} | {"steps": self._steps}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        def group(name: str) -> dict[str, Any]:
            return {key.removeprefix(f"{name}/"): value for key, value in saved.items() if key.startswith(f"{name}/")}

        self._before = {key: arrays.copy(value) for key, value in group("before").items()}
        self._signal, self._sums = ({key: float(value) for key, value in group(name).items()} for name in ("signal", "sum"))
        self._steps = int(saved["steps"])


class GradientCheck(NamedTuple):
    """The relative error of each parameter's gradient, and how many entries were left out because a kink was too near."""

    errors: dict[str, float]
    kinks: int


@checked(model=MODEL, inputs=DATA, targets=DATA, loss=LOSS, rng=GENERATOR, entries=Count(), step=POSITIVE, train=Flag())
def gradient_check(model: Sequential, inputs: Array, targets: Array, loss: Loss = softmax_cross_entropy, *, rng: np.random.Generator,
                   entries: int = 20, step: float = 1e-5, train: bool = False) -> GradientCheck:
    """Compare `backward` with central differences at `entries` random entries of every parameter.

    The error is |a - n| / (|a| + |n|) with the vectors a of `backward` and n of (L(w + h) - L(w - h)) / 2h, h = `step`; 0 when both
    vanish. For inputs of about size 1, right is below 1e-6, wrong mostly above 1e-2. Where the slopes to the left and to the right differ
    by more than a ten-thousandth of the largest, a kink lies within h (or the curvature is very strong): such an entry is left out. With
    `train=True` layers act as in training, with the same random numbers in every pass. All is done to a copy of the model.

    Raises ValueError for parameters that are not float64 (the difference would be mostly rounding) and for a step or a count below or at 0,
    TypeError for arguments of another kind.
    Source: Goodfellow, Bengio & Courville 2016, chapter 11.

    >>> from reference_impl import Affine
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(Affine(3, 4, rng=rng), ReLU(), Affine(4, 2, rng=rng))
    >>> found = gradient_check(model, np.ones((5, 3)), np.array([0, 1, 0, 1, 1]), rng=rng)
    >>> sorted(found.errors), max(found.errors.values()) < 1e-6
    (['0.W', '0.b', '2.W', '2.b'], True)
    """
    model, chance = copy.deepcopy((model, rng))
    params = model.params
    for key, array in params.items():
        if array.dtype != np.float64:
            raise ValueError(f"model must hold float64 parameters, got {array.dtype} in {key!r}")

    def value() -> tuple[float, Array]:
        return loss(model.forward(inputs, train=train, rng=copy.deepcopy(chance)), targets)

    middle, dout = value()
    model.backward(dout)
    grads = {key: array.copy() for key, array in model.grads.items()}
    errors, kinks = {}, 0
    for key, array in params.items():
        chosen = rng.choice(array.size, min(entries, array.size), replace=False)
        left, right = np.empty((2, len(chosen)))
        for i, place in enumerate(np.unravel_index(entry, array.shape) for entry in chosen):
            before = float(array[place])
            array[place] = before + step
            right[i] = (value()[0] - middle) / step
            array[place] = before - step
            left[i] = (middle - value()[0]) / step
            array[place] = before
        numeric, exact = (left + right) / 2, arrays.on_host(grads[key].ravel()[chosen])
        # Curvature makes left and right differ by about h times it, for inputs of size 1 far less than this; a kink by as much as the slope.
        smooth = abs(right - left) <= 1e-4 * abs(numeric).max()
        kinks += int((~smooth).sum())
        size = np.linalg.norm(exact[smooth]) + np.linalg.norm(numeric[smooth])
        errors[key] = float(np.linalg.norm((exact - numeric)[smooth]) / size) if size else 0.0
    return GradientCheck(errors, kinks)


@checked(classes=Count(2), std=SIZE)
def expected_first_loss(classes: int, std: float = 0.0) -> float:
    """ln C, the cross-entropy of equal scores; plus σ²/2, with which it bounds the mean for random ones of deviation σ = `std`.

    With equally frequent classes ln C is the loss of a network that knows nothing. The bound is for normal scores of mean 0 that know
    nothing of the label; their mean cross-entropy lies between the two. Raises ValueError for fewer than two classes or a negative `std`.

    >>> round(expected_first_loss(10), 3), round(expected_first_loss(10, std=1.0), 3)
    (2.303, 2.803)
    """
    return math.log(classes) + std**2 / 2


@checked(model=MODEL, inputs=DATA, targets=DATA, optimizer=Instance(Optimizer), steps=Count(0), loss=LOSS)
def overfit_batch(model: Sequential, inputs: Array, targets: Array, optimizer: Optimizer, *, steps: int = 200,
                  loss: Loss = softmax_cross_entropy) -> np.ndarray:
    """The losses (steps,) of copies of `model` and `optimizer`, trained on one small batch again and again.

    At a suitable rate they should go to about 0: a network of some dozen units a layer that cannot learn ten examples by heart has a fault. Raises as
    [`fit`][reference_impl.networks.training.fit] does.

    >>> from reference_impl import SGD, Affine, digits
    >>> data, rng = digits(), np.random.default_rng(0)
    >>> model = Sequential(Affine(64, 20, rng=rng), ReLU(), Affine(20, 10, rng=rng))
    >>> bool(overfit_batch(model, data.inputs[:10], data.labels[:10], SGD(lr=0.5))[-1] < 0.05)
    True
    """
    check_data(inputs, targets)
    model, optimizer = copy.deepcopy((model, optimizer))
    history = fit(model, inputs, targets, optimizer, epochs=steps, batch_size=len(inputs), loss=loss, rng=np.random.default_rng(0))
    return np.array(history.losses)


class Diagnosis(NamedTuple):
    """A fault's name, "healthy" or "unsure", and what in the history says so."""

    fault: str
    why: str


@checked(history=Instance(History), classes=Count(2), validation=Optional(Instance(str, words="the name of a set that Evaluate was given")))
def diagnose(history: History, classes: int, *, validation: str | None = None) -> Diagnosis:
    """Name the fault of a classifier's training run from its history: the first rule that applies.

    Needs the mean cross-entropy and [`Evaluate`][reference_impl.networks.evaluation.Evaluate] on new data, by loss and accuracy; `validation`
    is their name there: by default "validation", or the only name. The columns of a
    [`Monitor`][reference_impl.practice.diagnostics.Monitor] let it tell apart what looks alike in the losses. The `classes`, about equally
    frequent, are as many as the network has scores. The thresholds come from theory where there is one and from calibration runs; the
    chapter gives each its reason. Raises TypeError when `history` is none, ValueError for fewer than two classes, when `history` holds no
    step, and when it does not tell which data are new.

    >>> print(*diagnose(History(losses=[40.0, 35.0]), classes=10), sep=": ")
    unsure: the first loss is 40, not about 2.3: unscaled inputs or too large weights; a Monitor would tell
    """
    know_nothing, limit = expected_first_loss(classes), LIMITS
    if not history.losses:
        raise ValueError("history must hold at least one step, got none")
    rows, first, name = history.epochs, history.losses[0], _new_data(history, validation)
    start = _columns(rows[0], "rms/") if rows else []
    inputs = start[0] if start else None

    # Before anything is learnt: the inputs, the first loss, the way of the signal through the first weights.
    if inputs is not None and not limit["inputs low"] <= inputs <= limit["inputs high"]:
        return Diagnosis("unscaled inputs", f"the inputs have a root mean square of {inputs:.2g}, far from 1")
    if not first <= expected_first_loss(classes, limit["score std"]):
        why = f"the first loss is {first:.3g}, not about {know_nothing:.2g}: "
        if inputs is None:
            return Diagnosis("unsure", why + "unscaled inputs or too large weights; a Monitor would tell")
        return Diagnosis("bad initialization", why + "the first weights are too large")
    if start and (dead := max(_columns(rows[0], "dead/"), default=0)) >= limit["dead"]:
        return Diagnosis("dead ReLUs", f"{dead:.0%} of a layer's units are 0 for all inputs before the first step")
    if inputs is not None and (left := start[-2] / inputs) < limit["signal left"]:
        return Diagnosis("bad initialization", f"of the inputs' size {left:.2g} is left in the last hidden layer: too small first weights")

    # The steps.
    losses = [row["loss"] for row in rows if "loss" in row] or [float(np.mean(history.losses))]
    end = losses[-1]
    updates = [max(steps) for row in rows if (steps := _columns(row, "update/"))]
    travelled = sum(updates) / len(updates) * len(history.losses) if updates else None
    if (worst := max(losses)) > limit["loss rose"] * max(first, know_nothing):
        return Diagnosis("learning rate too high", f"the loss rose from {first:.3g} to {worst:.3g}")
    if updates and max(updates) > limit["step"] and end > limit["gap"] * know_nothing:
        why = f"a step changes the weights by {max(updates):.0%} of their length, and the loss stays at {end:.2g}"
        return Diagnosis("learning rate too high", why)
    if end > limit["loss returned"] * min(losses) and end > limit["high"] * know_nothing:
        return Diagnosis("learning rate too high", f"the training loss rose again, from {min(losses):.2g} to {end:.2g}")
    if (dead := max(_columns(rows[-1], "dead/"), default=0) if rows else 0) >= limit["dead"]:
        return Diagnosis("dead ReLUs", f"{dead:.0%} of a layer's units have become 0 for all inputs")
    if travelled is not None and travelled < limit["travelled"] and end > limit["gap"] * know_nothing:
        return Diagnosis("learning rate too low", f"all steps together can move no layer by more than {travelled:.2g} of its length")

    # What new data say.
    if name is None or not {f"{name}_loss", f"{name}_accuracy"} <= rows[-1].keys():
        return Diagnosis("unsure", f"the last epoch has no {name or 'validation'}_loss and {name or 'validation'}_accuracy")
    others = [row[f"{name}_loss"] for row in rows if f"{name}_loss" in row]
    right, learnt = rows[-1][f"{name}_accuracy"], end < limit["knows little"] * know_nothing
    if learnt and others[-1] > know_nothing and right < _better_than_chance(limit["near chance"], classes):
        return Diagnosis("shuffled labels", f"the training loss fell to {end:.2g}, yet on new data nothing is better than by chance")
    if travelled is None and end > limit["high"] * know_nothing:
        if not learnt and abs(first - know_nothing) < 0.02:
            return Diagnosis("unsure", f"the loss stays at ln C = {first:.2f}: no signal reaches the output; a Monitor would tell why")
        if len(losses) > 1 and np.mean(np.diff(losses) < 0) > 0.8 and others[-1] < end + limit["gap"] * know_nothing:
            return Diagnosis("learning rate too low", f"the losses are still at {end:.2g} and {others[-1]:.2g}, and falling together")
    smooth = np.convolve(others, np.ones(3) / 3, mode="valid") if len(others) >= 3 else np.array(others)
    if smooth[-1] > limit["validation rose"] * smooth.min() and others[-1] - end > limit["gap"] * know_nothing:
        why = f"the validation loss rose from {smooth.min():.2g} to {smooth[-1]:.2g}, while the training loss fell to {end:.2g}"
        return Diagnosis("overfitting", why)
    if right > _better_than_chance(limit["good"], classes):
        return Diagnosis("healthy", f"{right:.0%} of the new data are right, and nothing speaks against the run")
    return Diagnosis("unsure", f"only {right:.0%} of the new data are right, and no rule says why")


def _new_data(history: History, wanted: str | None) -> str | None:
    """The name under which a run was evaluated on new data, None if it was not."""
    columns = dict.fromkeys(key for row in history.epochs for key in row)
    names = [name for key in columns if f"{(name := key.removesuffix('_loss'))}_accuracy" in columns and name != key]
    if wanted is None and not names:
        return None
    if wanted is None:
        wanted = names[0] if len(names) == 1 else "validation"
    if wanted not in names:
        raise ValueError(f"validation must be one of the evaluated {names}, got {wanted!r}")
    return wanted


def _columns(row: Mapping[str, float], prefix: str) -> list[float]:
    return [value for key, value in row.items() if key.startswith(prefix)]


def _better_than_chance(part: float, classes: int) -> float:
    """The accuracy that is `part` of the way from guessing to perfection."""
    return 1 / classes + part * (1 - 1 / classes)


def _length(array: Array) -> float:
    return math.sqrt(float((arrays.wide(array) ** 2).sum()))
