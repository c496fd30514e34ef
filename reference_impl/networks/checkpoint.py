"""A run's checkpoints: one file, written whole or not at all, from which training goes on as if nothing had been."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from .. import arrays
from ..arrays.checks import Count, Flag, Instance, Optional, check, shown
from ..optimization.optimizer import Optimizer
from .files import HeldFile, read
from .fingerprint import arguments, told
from .progress import Progress
from .run import Callback, Run, layer_of, not_finite, too_large


class Checkpoint(Callback):
    """Keep the whole run in a file: model, optimizer, generator, history, and the states of all callbacks.

    The file is written at the start, every `every` steps (by default, every epoch) and at the end, each time whole or not at all. With
    `resume=True` the run goes on from it, if it is there, and ends as the uninterrupted run does, bit for bit. A run that differs is
    refused, and the message says in what: model, data (by checksum), loss (by name), batches, the kind of optimizer and its
    hyperparameters, callbacks and their arguments; `epochs` may be more. A process that is killed leaves the file, and at most
    a `.part` beside it that the next run takes away. Two runs cannot have one file at the same time (on Windows
    they are not told apart).

    Raises ValueError or TypeError for what is no path and no count. `fit` raises FileNotFoundError when the file's folder is
    missing, IsADirectoryError when it is a folder itself, BlockingIOError when another run holds it, and ValueError when it is damaged
    or of another run.

    >>> Checkpoint("run.npz", every=100, resume=True).path.name
    'run.npz'
    """

    columns = ()

    def __init__(self, path: str | os.PathLike[str], *, every: int | None = None, resume: bool = False) -> None:
        if not isinstance(path, str | os.PathLike) or not str(path):
            raise TypeError(f"path must name a file, got {shown(path)}")
        check("every", every, Optional(Count()))
        check("resume", resume, Flag())
        self.path, self.every, self.resume = Path(path), every, resume

    def rehearse(self, run: Run) -> None:
        self._file, self._content = HeldFile(self.path), dict[str, np.ndarray]()
        run.exits.callback(self._file.release)
        there = self._file.hold()
        self._settings = _settings(run)
        if there and self.resume:
            self._content = read(self.path, "fit")
            self._load(run, _parts(run, callbacks=False))

    def before_fit(self, run: Run) -> None:
        if self._content:
            self._load(run, _parts(run))
            self._content = {}
        else:
            self._save(run)

    def after_step(self, run: Run) -> None:
        if run.step % run.steps_per_epoch and (run.stop or (self.every and run.step % self.every == 0)):
            self._save(run)

    def after_epoch(self, run: Run) -> None:
        if not self.every or run.step % self.every == 0 or run.stop or run.epoch == run.epochs:
            self._save(run)

    def _save(self, run: Run) -> None:
        """Write the run as it is; Diverged if a parameter or the optimizer's state is not what numbers should be."""
        groups = {name: part.state_dict() for name, part in _parts(run).items()}
        for name, values in groups.items():
            check(f"{name}: state_dict()", values, Instance(Mapping, words="a dict of arrays, numbers and strings"))
        if (key := too_large(run.model.params) or not_finite(groups["model"] | groups["optimizer"])) is not None:
            raise run.diverged(layer_of(run.model, key))
        about = {"settings": self._settings, "model": _model(run), "layers": _layers(run), "rng": run.rng.bit_generator.state,
                 "step": run.step, "epoch": run.epoch, "stop": run.stop, "losses": run.history.losses, "epochs": run.history.epochs}
        content: dict[str, np.ndarray] = {f"{name}/{key}": np.asarray(arrays.on_host(value))
                                          for name, values in groups.items() for key, value in values.items()}
        for key, value in content.items():
            if value.dtype.hasobject:
                raise TypeError(f"state_dict must hold arrays, numbers and strings, got {value!r} for {key!r}")
        self._file.write(content | {"order": run.order, "about": np.array(json.dumps(about, default=_listed))})
        run.saved = self.path, run.step

    def _load(self, run: Run, parts: dict[str, Any]) -> None:
        """Take the run back as it was; ValueError when that cannot be, and nothing is changed."""
        content = self._content
        try:
            about, order = json.loads(str(content["about"])), content["order"]
            step, epoch, stop, losses, epochs, chance = (about[name] for name in ("step", "epoch", "stop", "losses", "epochs", "rng"))
            settings, model, layers, kind = dict(about["settings"]), dict(about["model"]), list(about["layers"]), chance["bit_generator"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"path must be a file that fit has written, got {self.path}: {error!r}") from error
        for name in self._settings | settings:
            ours, theirs = self._settings.get(name), settings.get(name)
            new = None in (ours, theirs) and name.startswith("schedules.")  # of a step that only the longer run has
            if ours != theirs and not new and (name not in model or ours != model[name]):
                raise ValueError(f"path must hold a run with {name} = {shown(ours)}, got {self.path} with {shown(theirs)}")
        if epoch > run.epochs:
            raise ValueError(f"epochs must be at least the {epoch} that {self.path} has, got {run.epochs}")
        if type(run.rng.bit_generator).__name__ != kind:
            raise ValueError(f"rng must be a {kind} generator as in {self.path}, got {type(run.rng.bit_generator).__name__}")
        before, layers_before = {name: part.state_dict() for name, part in parts.items()}, _layers(run)
        device = next(filter(arrays.on_device, before["model"].values()), None)
        if device is not None:
            content = {key: np.asarray(value, like=device) if value.dtype.kind == "f" else value for key, value in content.items()}
        try:
            _set_layers(run, layers)
            for name, part in parts.items():
                part.load_state_dict({key.removeprefix(f"{name}/"): value for key, value in content.items() if key.startswith(f"{name}/")})
            run.rng.bit_generator.state = chance
        except BaseException:
            _set_layers(run, layers_before)
            for name, part in parts.items():
                part.load_state_dict(before[name])
            raise
        run.step, run.epoch, run.stop, run.history.losses, run.history.epochs = step, epoch, stop, losses, epochs
        run.order, run.saved = order, (self.path, step)
        self._settings |= {name: settings[name] for name in model}  # as the run began


def _listed(value: Any) -> Any:
    """An array or a number of NumPy's, in a row of the history, as JSON can write it."""
    check("history", value, Instance(np.ndarray, np.generic, words="rows of numbers"))
    return value.tolist()


def _parts(run: Run, callbacks: bool = True) -> dict[str, Any]:
    """What of a run has a `state_dict`."""
    parts: dict[str, Any] = {"model": run.model, "optimizer": run.optimizer}
    return parts | {f"callback {i}": callback for i, callback in enumerate(_others(run)) if callbacks}


def _others(run: Run) -> list[Callback]:
    """The callbacks that have a part in the run."""
    return [callback for callback in run.callbacks if not isinstance(callback, Checkpoint | Progress)]


def _model(run: Run) -> dict[str, Any]:
    return {"model": run.model.architecture(), "frozen": [layer.frozen for layer in run.model.layers]}


def _settings(run: Run) -> dict[str, Any]:
    """What must be the same when the run is resumed."""
    settings = _model(run) | {
        "optimizer": type(run.optimizer).__name__, "inputs": told(run.inputs), "targets": told(run.targets), "weights": told(run.weights),
        "batch_size": run.batch_size, "drop_last": run.drop_last, "loss": told(run.loss),
        "callbacks": [type(callback).__name__ for callback in _others(run)],
    }
    for i, callback in enumerate(_others(run)):
        settings |= {f"callbacks[{i}].{name}": value for name, value in arguments(callback).items()}
    return settings | _schedules(run)


def _schedules(run: Run) -> dict[str, Any]:
    """Values of the schedules among the settings, numbers that an optimizer compares itself: at the first step and at every power of two, and by
    their checksum between those, up to 2²⁰ steps."""
    groups: dict[str, Optimizer] = getattr(run.optimizer, "groups", {})
    owners = {"": run.optimizer} | {f"{pattern}/": one for pattern, one in groups.items()}
    scheduled = {f"{prefix}{f.name}": schedule for prefix, one in owners.items() for f in fields(one)
                 if callable(schedule := getattr(one, f.name))}
    total = run.epochs * run.steps_per_epoch
    steps = [step for step in (0, *(2**i for i in range(total.bit_length()))) if step < total]
    found = {f"schedules.{name}({step})": told(schedule(step)) for name, schedule in scheduled.items() for step in steps}
    between = [(first + 1, min(2 * first, total) - 1) for first in steps if 2 <= first < 2**20 and first + 1 < total]
    return found | {f"schedules.{name}({first} to {last})": told(np.array([schedule(step) for step in range(first, last + 1)], dtype=float))
                    for name, schedule in scheduled.items() for first, last in between}


def _layers(run: Run) -> list[dict[str, Any]]:
    """The numbers and words among the layers' attributes: a callback may change them."""
    return [{"frozen": layer.frozen} | {name: value for name, value in vars(layer).items() if isinstance(value, bool | int | float | str)}
            for layer in run.model.layers]


def _set_layers(run: Run, saved: list[dict[str, Any]]) -> None:
    for layer, attributes in zip(run.model.layers, saved):
        vars(layer).update(attributes)
