"""A run's checkpoints: one file, written whole or not at all, from which training goes on as if nothing had been."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arrays
from .model import Sequential

if TYPE_CHECKING:
    from .training import Callback, History, Run


class Diverged(ArithmeticError):
    """A number became NaN or infinite: after how many finished steps, in which `layer`, the last good `checkpoint`, the `history` so far.

    >>> print(Diverged(7, "layer 0 (ReLU)", None))
    step 7: NaN or infinity, first in layer 0 (ReLU); there is no checkpoint to go back to
    """

    def __init__(self, step: int, layer: str, checkpoint: tuple[Path, int] | None, history: History | None = None) -> None:
        super().__init__(step, layer, checkpoint)
        self.step, self.layer, self.checkpoint, self.history = step, layer, checkpoint, history

    def __str__(self) -> str:
        back = "the last good checkpoint is {}, of step {}".format(*self.checkpoint) if self.checkpoint else "there is no checkpoint to go back to"
        return f"step {self.step}: NaN or infinity, first in {self.layer}; {back}"


class Checkpoint:
    """The file of a run's checkpoints, and the step of the last one."""

    def __init__(self, path: Path, run: Run, callbacks: Sequence[Callback], settings: dict[str, Any]) -> None:
        self.path, self.run, self.settings = path, run, settings
        self.parts: dict[str, Any] = {"model": run.model, "optimizer": run.optimizer}
        self.parts |= {f"callback {i}": callback for i, callback in enumerate(callbacks)}
        self.last: tuple[Path, int] | None = None

    def save(self, order: np.ndarray) -> None:
        """Write the run as it is; Diverged if a parameter or the optimizer's state is not finite."""
        run = self.run
        groups = {name: part.state_dict() for name, part in self.parts.items()}
        if (key := not_finite(groups["model"] | groups["optimizer"])) is not None:
            raise Diverged(run.step, layer_of(run.model, key), self.last, run.history)
        about = {"settings": self.settings, "rng": run.rng.bit_generator.state, "step": run.step, "epoch": run.epoch, "stop": run.stop,
                 "losses": run.history.losses, "epochs": run.history.epochs}
        content: dict[str, Any] = {f"{name}/{key}": np.asarray(arrays.on_host(value))
                                   for name, values in groups.items() for key, value in values.items()}
        for key, value in content.items():
            if value.dtype.hasobject:
                raise TypeError(f"state_dict must hold arrays, numbers and strings, got {value!r} for {key!r}")
        content |= {"order": order, "about": np.array(json.dumps(about, default=lambda value: value.tolist()))}
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

    def load(self) -> Any:
        """Take the run back as it was, and return its order; ValueError when that cannot be, and nothing is changed."""
        with self.path.open("rb") as stream:
            try:
                with np.load(stream, allow_pickle=False) as file:
                    content = dict(file)
                about, order = json.loads(str(content["about"])), content["order"]
                step, epoch, stop, losses, epochs, chance = (about[name] for name in ("step", "epoch", "stop", "losses", "epochs", "rng"))
                settings, kind = dict(about["settings"]), chance["bit_generator"]
            except Exception as error:  # a damaged file makes zipfile and NumPy raise almost anything
                raise ValueError(f"checkpoint must be a file that fit has written, got {self.path}: {error}") from error
        run = self.run
        for name, value in self.settings.items():
            if settings.get(name) != value:
                raise ValueError(f"checkpoint must come from a run with {name} = {value!r}, got {self.path} with {settings.get(name)!r}")
        if type(run.rng.bit_generator).__name__ != kind:
            raise ValueError(f"rng must be a {kind} generator as in {self.path}, got {type(run.rng.bit_generator).__name__}")
        before = {name: part.state_dict() for name, part in self.parts.items()}
        device = next(filter(arrays.on_device, before["model"].values()), None)
        if device is not None:
            content |= {key: np.asarray(value, like=device) for key, value in content.items() if value.dtype.kind == "f"}
        try:
            for name, part in self.parts.items():
                part.load_state_dict({key.removeprefix(f"{name}/"): value for key, value in content.items() if key.startswith(f"{name}/")})
            run.rng.bit_generator.state = chance
        except BaseException:
            for name, part in self.parts.items():
                part.load_state_dict(before[name])
            raise
        run.step, run.epoch, run.stop, run.history.losses, run.history.epochs = step, epoch, stop, losses, epochs
        self.last = self.path, run.step
        return order


def not_finite(named: Mapping[str, Any], *, last: bool = False) -> str | None:
    """The key of the first array, or the last, that holds NaN or infinity."""
    keys = [key for key, array in named.items() if arrays.is_plain(array) and arrays.is_floating(array) and not np.isfinite(array).all()]
    return keys[-1 if last else 0] if keys else None


def layer_of(model: Sequential, key: str) -> str:
    """The layer that an array of a model belongs to, in words."""
    state, _, param = key.rpartition("/")
    index, _, name = param.partition(".")
    return f"layer {index} ({type(model.layers[int(index)]).__name__}), {name}" + (f", the optimizer's {state}" if state else "")
