"""What takes part in a training run: a change of every batch, and the end when nothing gets better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .. import arrays
from ..arrays.checks import SIZE, Count, Flag, Function, Instance, check
from ..arrays.protocol import Array
from .run import Callback, Run


class Augment(Callback):
    """Change the inputs of every training batch: `function(inputs, rng)` returns what the model is to see.

    Raises TypeError when `function` cannot be called.

    >>> from reference_impl import flip
    >>> Augment(lambda images, rng: flip(images)).columns
    ()
    """

    columns = ()

    def __init__(self, function: Callable[[Array, np.random.Generator], Array]) -> None:
        check("function", function, Function("inputs and rng"))
        self.function = function

    def rehearse(self, run: Run) -> None:
        self.before_step(run)

    def before_step(self, run: Run) -> None:
        run.batch.inputs = self.function(run.batch.inputs, run.rng)


class EarlyStopping(Callback):
    """Stop when a column of the history has not improved for `patience` epochs, and go back to its best epoch.

    Better is what lies more than `min_delta` below the best so far, or above it where `larger_is_better`, as for an accuracy.
    Raises ValueError when `patience` < 1 or `min_delta` < 0; `fit` refuses a column that no callback before this one makes.
    Source: Goodfellow, Bengio & Courville 2016, algorithm 7.1; `min_delta` is Keras's.

    >>> EarlyStopping("validation_loss", patience=3).patience
    3
    """

    columns = ()

    def __init__(self, column: str, *, patience: int, min_delta: float = 0.0, larger_is_better: bool = False) -> None:
        check("column", column, Instance(str, words="the name of a column"))
        check("patience", patience, Count())
        check("min_delta", min_delta, SIZE)
        check("larger_is_better", larger_is_better, Flag())
        self.column, self.patience, self.min_delta, self.larger_is_better = column, patience, min_delta, larger_is_better
        self._forget()

    def _forget(self) -> None:
        self.best: dict[str, Array] = {}
        self.best_epoch, self.best_value = 0, -math.inf if self.larger_is_better else math.inf

    def rehearse(self, run: Run) -> None:
        before = run.callbacks[:next(i for i, callback in enumerate(run.callbacks) if callback is self)]
        unsaid = any(callback.columns is None and type(callback).after_epoch is not Callback.after_epoch for callback in before)
        columns = ["loss", *(column for callback in before for column in callback.columns or ())]
        if self.column not in columns and not unsaid:
            raise ValueError(f"column must be one of {columns}, which callbacks before it make, got {self.column!r}")

    def before_fit(self, run: Run) -> None:
        self._forget()  # whatever it has seen before was another run

    def after_epoch(self, run: Run) -> None:
        value = float(run.history[self.column][-1])
        gain = value - self.best_value if self.larger_is_better else self.best_value - value
        if gain > self.min_delta:
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
