"""Hyperparameters and options: what each may be, and which an optimizer has."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from ..arrays.checks import Flag, Real, check


@dataclass(frozen=True)
class Setting:
    """What a hyperparameter may be: a number from `low` (excluded if `open_low`) up to `high`, excluded, or a schedule of such numbers."""

    low: float
    high: float = math.inf
    open_low: bool = False
    scheduled: bool = True
    optional: bool = False

    @cached_property
    def least(self) -> float:
        """The smallest number that it may be."""
        return math.nextafter(self.low, math.inf) if self.open_low else self.low

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
        within = Real(self.low, self.high, self.open_low, open_high=True)
        if (fault := within.fault(value)) is None:
            return float(value)
        interval = str(within).removeprefix("a number in ")
        if fault is TypeError:
            raise TypeError(f"{name} must be a number in {interval}{' or a schedule' * self.scheduled}, got {value!r}")
        raise ValueError(f"{name} must lie in {interval}, got {value!r}")


BOUND = Setting(0, open_low=True, optional=True)


def settings_of(optimizer: Any) -> dict[str, Setting]:
    """Its hyperparameters, by name. Those and options that cannot be are refused: TypeError or ValueError."""
    found = {f.name: f.metadata["setting"] for f in fields(optimizer) if "setting" in f.metadata}
    for f in fields(optimizer):
        if f.name in found:
            found[f.name].check(f.name, getattr(optimizer, f.name))
        elif f.init and f.type in (bool, "bool"):
            check(f.name, getattr(optimizer, f.name), Flag())
    return found
