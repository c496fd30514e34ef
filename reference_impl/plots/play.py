"""A descent that the reader steers: what a page hands to the site's script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arrays.checks import Count, Function, Instance, Numbers, Optional, Real, check, shown
from ..engines import javascript
from ..engines.operations import LETTERS
from ..engines.tape import Rule, signature


@dataclass(frozen=True)
class Play:
    """A descent on ½(λ₁w₁² + λ₂w₂²) that the reader steers: the site puts it in the place of the drawing.

    `curvatures` and `start` are pairs, `steps` is how many are taken; `sliders` maps hyperparameters of `rule` to
    (lowest, highest, first value); `xlim` and `ylim` are the part of the plane that is seen. `best`, where the page knows them, are the
    settings of the best rate in the long run, which a button sets.
    The browser runs `rule` itself, printed by [`javascript`][reference_impl.engines.javascript.source].

    Raises `TypeError` for arguments of another kind, `ValueError` if a slider's first or best value lies outside it or its name is no
    hyperparameter of the rule.

    >>> from reference_impl.optimization.sgd import sgd
    >>> play = Play(sgd, [1, 10], [9, 1], 30, {"lr": (0.01, 0.22, 0.1)}, (-1, 10), (-2, 2), best={"lr": 2 / 11})
    >>> play.data["sliders"][0]
    {'name': 'lr', 'letter': 'α', 'low': 0.01, 'high': 0.22, 'value': 0.1}
    """

    rule: Rule
    curvatures: Sequence[float]
    start: Sequence[float]
    steps: int
    sliders: dict[str, tuple[float, float, float]]
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    best: dict[str, float] | None = None

    def __post_init__(self) -> None:
        check("rule", self.rule, Function("(w, g, …)"))
        for pair in ("curvatures", "start"):
            check_numbers(pair, getattr(self, pair), 2)
        check("steps", self.steps, Count())
        check("sliders", self.sliders, Instance(Mapping, words="a dict of hyperparameters"))
        check("best", self.best, Optional(Instance(Mapping, words="a dict of hyperparameters")))
        check_limits("xlim", self.xlim)
        check_limits("ylim", self.ylim)
        names = signature(self.rule).hyper
        if sorted(self.sliders) != sorted(names):
            raise ValueError(f"sliders must be the rule's hyperparameters {list(names)}, got {list(self.sliders)}")
        if self.best is not None and sorted(self.best) != sorted(names):
            raise ValueError(f"best must be the rule's hyperparameters {list(names)}, got {list(self.best)}")
        for name, slider in self.sliders.items():
            check_numbers(f"sliders[{name!r}]", slider, 3)
            low, high, value = slider
            if not low <= value <= high:
                raise ValueError(f"sliders[{name!r}] must start in [{low}, {high}], got {value}")
            if self.best is not None:
                check(f"best[{name!r}]", self.best[name], Real(float(low), float(high)))

    @property
    def data(self) -> dict[str, Any]:
        """What the site's script needs, ready for JSON."""
        order = signature(self.rule).hyper
        sliders = [{"name": n, "letter": LETTERS[n].text if n in LETTERS else n, **dict(zip(("low", "high", "value"), map(float, self.sliders[n])))} for n in order]
        numbers = {k: [float(x) for x in getattr(self, k)] for k in ("curvatures", "start", "xlim", "ylim")}
        return {"rule": self.rule.__name__, "states": len(signature(self.rule).state), "steps": self.steps, "sliders": sliders,
                "best": self.best and {k: float(v) for k, v in self.best.items()}, "source": javascript.source(self.rule)} | numbers


def check_numbers(name: str, value: Sequence[float], count: int) -> None:
    """Refuse what are not so many finite numbers.

    >>> check_numbers("start", [1.0], 2)
    Traceback (most recent call last):
        ...
    ValueError: start must be 2 finite numbers, got [1.0]
    """
    fault = Numbers(1).fault(value)
    if fault or len(value) != count:
        raise (fault or ValueError)(f"{name} must be {count} finite numbers, got {shown(value)}")


def check_limits(name: str, value: Sequence[float]) -> None:
    """Refuse what are not two finite numbers that rise.

    >>> check_limits("xlim", (1, -1))
    Traceback (most recent call last):
        ...
    ValueError: xlim must be 2 finite numbers that rise, got (1, -1)
    """
    check_numbers(name, value, 2)
    if not value[0] < value[1]:
        raise ValueError(f"{name} must be 2 finite numbers that rise, got {shown(value)}")
