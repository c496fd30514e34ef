"""Hyperparameters and options: what each may be, which an optimizer has, and how they stand in a saved state."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import arrays
from ..arrays.checks import Flag, Real, check

if TYPE_CHECKING:
    from .optimizer import Optimizer

Schedule = Callable[[int], float]
Saved: TypeAlias = float | str | None


@dataclass(frozen=True)
class Setting:
    """What a hyperparameter may be: a number from `low` (excluded if `open_low`) up to `high`, excluded, or a schedule of such numbers."""

    low: float
    high: float = math.inf
    open_low: bool = False
    scheduled: bool = True
    optional: bool = False

    def check(self, name: str, given: object) -> None:
        """Refuse what cannot be one; what a schedule gives is only seen when it is asked."""
        if not self._is_schedule(given) and not (given is None and self.optional):
            self._number(name, given)

    def value(self, name: str, given: Any, steps: int) -> float:
        """Its value after so many finished steps."""
        return self._number(f"{name}({steps})", given(steps)) if self._is_schedule(given) else self._number(name, given)

    def _is_schedule(self, given: object) -> bool:
        return self.scheduled and callable(given) and not isinstance(given, type)

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, np.generic | np.ndarray) and value.shape == ():
            value = value.item()
        if type(value) is float and self.low < value < self.high:
            return value
        within = Real(self.low, self.high, self.open_low, open_high=True)
        if (fault := within.fault(value)) is None:
            return float(value)
        interval = str(within).removeprefix("a number in ")
        if fault is TypeError:
            raise TypeError(f"{name} must be a number in {interval}{' or a schedule' * self.scheduled}, got {value!r}")
        raise ValueError(f"{name} must lie in {interval}, got {value!r}")


BOUND = Setting(0, open_low=True, optional=True)


class _Settings(dict[type["Optimizer"], dict[str, Setting]]):
    """The hyperparameters of each optimizer, collected when first asked for."""

    def __missing__(self, optimizer: type[Optimizer]) -> dict[str, Setting]:
        self[optimizer] = {f.name: f.metadata["setting"] for f in fields(optimizer) if "setting" in f.metadata}
        return self[optimizer]


SETTINGS = _Settings()


def check_settings(optimizer: Optimizer) -> None:
    """Refuse hyperparameters and options that cannot be: TypeError or ValueError."""
    for f in fields(optimizer):
        if f.init and f.type in (bool, "bool"):
            check(f.name, getattr(optimizer, f.name), Flag())
    for name, setting in SETTINGS[type(optimizer)].items():
        setting.check(name, getattr(optimizer, name))


def settings_of(optimizer: Optimizer) -> dict[str, Saved]:
    """The hyperparameters and options as they can be saved: a number, a word, or "schedule"; nothing for None."""
    names = [f.name for f in fields(optimizer) if f.init and f.name not in ("check_finite", "engine")]
    given = {name: "schedule" if callable(value := getattr(optimizer, name)) else value for name in names}
    given |= {name: float(value) for name, value in given.items() if name in SETTINGS[type(optimizer)] and not isinstance(value, str | None)}
    return {name: value for name, value in given.items() if isinstance(value, bool | int | float | str)}


def settings_to_go_on_with(optimizer: Optimizer, now: Mapping[str, object], changed: Mapping[str, object]) -> dict[str, Saved]:
    """What saved settings make of an optimizer's: those `now`, if it was made with the same; `changed` are those it was made with, where they differ.

    A file from before they were saved says nothing of them. Raises ValueError where the optimizers were made with others.
    """
    if not now and not changed:
        return {}
    found = {name: _plain(value) for name, value in now.items()}
    made = found | {name: _plain(value) for name, value in changed.items()}
    for name, setting in SETTINGS[type(optimizer)].items():
        if name in found and found[name] != "schedule":
            setting.check(f"saved['hyper/{name}']", found[name])
    for name in sorted(made.keys() | optimizer._made.keys()):
        theirs, ours = made.get(name), optimizer._made.get(name)
        if theirs != ours:
            raise ValueError(f"saved must come from an optimizer made with {name} = {ours!r} as this one is, got {name} = {theirs!r}")
        if found.get(name) == "schedule" and not callable(getattr(optimizer, name)):
            raise ValueError(f"{name} must be set to the schedule that saved speaks of before it is loaded, got {getattr(optimizer, name)!r}")
    return {name: found.get(name) for name in made | settings_of(optimizer) if found.get(name) != "schedule"}


def _plain(value: object) -> Saved:
    """A setting as it was saved, from what NumPy's files make of it."""
    array = np.asarray(arrays.on_host(value))
    if array.shape != () or array.dtype.kind not in "bifU":
        raise TypeError(f"saved must hold hyperparameters as numbers and words, got {value!r}")
    plain: Saved = array.item()
    return None if plain == "none" else plain
