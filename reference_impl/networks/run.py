"""A training run: what it goes through, what its callbacks see and may change, and how it ends when its numbers do."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arrays
from ..arrays.protocol import Array

if TYPE_CHECKING:
    from ..optimization.optimizer import Optimizer
    from .model import Sequential

Loss = Callable[..., tuple[float, Array]]
"""A function of the outputs and the targets, and of the examples' weights where they have some: the mean loss, and its gradient by the outputs."""


@dataclass
class History:
    """What a training run went through.

    `losses` holds the loss of every step, before its update, penalties included; `epochs` one dict of numbers an epoch:
    `loss`, the mean of its steps, and whatever callbacks add. `stopped` says why it ended early, if it did.
    `history["loss"]` is a column of `epochs`; KeyError, which names the columns, for another one.

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
        return np.array([row[column] for row in self.epochs if column in row])  # a last row may be unfinished


@dataclass
class Batch:
    """The examples of a step: `inputs`, `targets`, and their `weights` or None."""

    inputs: Array
    targets: Array
    weights: Array | None = None


@dataclass
class Run:
    """A training run as its callbacks see it: the arguments of `fit`, and how far it has come.

    Set `stop` to a reason, and it ends. `batch` holds the examples of the step that is being taken, `value` their loss. `order` is
    the epoch's order of the examples; `saved` the file and the step of the last checkpoint; what is put on `exits` is closed when
    the run ends, however it does.
    """

    model: Sequential
    optimizer: Optimizer
    rng: np.random.Generator
    loss: Loss
    inputs: Array
    targets: Array
    weights: Array | None
    batch_size: int
    drop_last: bool
    epochs: int
    callbacks: Sequence[Callback]
    batch: Batch
    history: History = field(default_factory=History)
    step: int = 0
    epoch: int = 0
    stop: str = ""
    value: float = math.nan
    order: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    saved: tuple[Path, int] | None = None
    exits: ExitStack = field(default_factory=ExitStack)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has."""
        whole, rest = divmod(len(self.inputs), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def examples(self, chosen: np.ndarray) -> Batch:
        """Copies of the chosen examples."""
        places = arrays.beside(chosen, self.inputs)
        weights = None if self.weights is None else self.weights.take(places, axis=0)
        return Batch(self.inputs.take(places, axis=0), self.targets.take(places, axis=0), weights)

    def diverged(self, where: str) -> Diverged:
        """The error that ends the run."""
        return Diverged(self.step, where, self.saved, self.history)


class Callback:
    """What is told of a run's progress, and may take part in it; each method does nothing until a subclass says more.

    Callbacks are told in the order in which `fit` got them. One whose past matters gives it out with `state_dict`, a flat dict of
    arrays and numbers, and takes it back. Where the model is on a GPU, so are then the floating-point arrays in it. Whoever keeps the
    arguments of `__init__` under their own names has them compared when a run is resumed.

    `columns` are the names that it adds to the row of every epoch. Where it is None, which says nothing, a callback that asks for a
    column that nobody makes is found out after an epoch only.
    """

    columns: Collection[str] | None = None

    def rehearse(self, run: Run) -> None:
        """Called before anything is changed, to refuse what cannot work: raise. `run` has copies of model, optimizer and generator to
        try things on, and as its batch examples as many as in the last one; what `before_step` would make of the batch, this should."""

    def before_fit(self, run: Run) -> None:
        """Called once, when all callbacks have rehearsed."""

    def before_step(self, run: Run) -> None:
        """Called before every step; `run.batch` may be changed."""

    def before_update(self, run: Run) -> None:
        """Called between the backward pass and the update: `run.value` and `run.model.grads` may be changed."""

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


class Diverged(ArithmeticError):
    """A loss, gradient or parameter became NaN, infinite, or so large that its square is.

    After how many finished steps, in which `layer`, the last good `checkpoint`, the `history` so far.

    >>> print(Diverged(7, "layer 0 (ReLU)", None))
    step 7: NaN, infinity or a number too large to square, first in layer 0 (ReLU); there is no checkpoint to go back to
    """

    def __init__(self, step: int, layer: str, checkpoint: tuple[Path, int] | None, history: History | None = None) -> None:
        super().__init__(step, layer, checkpoint)
        self.step, self.layer, self.checkpoint, self.history = step, layer, checkpoint, history

    def __str__(self) -> str:
        back = "the last good checkpoint is {}, of step {}".format(*self.checkpoint) if self.checkpoint else "there is no checkpoint to go back to"
        return f"step {self.step}: NaN, infinity or a number too large to square, first in {self.layer}; {back}"


@cache
def largest(dtype: np.dtype) -> float:
    """The largest number whose square is finite; for float16, whose whole range is small, in float32.

    >>> largest(np.dtype("f2")) == largest(np.dtype("f4")), f"{largest(np.dtype('f8')):.2e}"
    (True, '1.34e+154')
    """
    return math.sqrt(np.finfo(np.result_type(dtype, np.float32)).max)


def too_large(named: Mapping[str, Any], *, last: bool = False) -> str | None:
    """The key of the first array, or the last, that holds NaN, infinity, or a number too large to square."""
    keys = [key for key, array in named.items() if not (abs(array) <= largest(array.dtype)).all()]
    return keys[-1 if last else 0] if keys else None


def not_finite(named: Mapping[str, Any]) -> str | None:
    """The key of the first array that holds NaN or infinity."""
    return next((key for key, array in named.items() if arrays.is_plain(array) and arrays.is_floating(array) and not np.isfinite(array).all()), None)


def layer_of(model: Sequential, key: str) -> str:
    """The layer that an array of a model belongs to, in words."""
    state, _, param = key.rpartition("/")
    index, _, name = param.partition(".")
    return f"layer {index} ({type(model.layers[int(index)]).__name__}), {name}" + (f", the optimizer's {state}" if state else "")
