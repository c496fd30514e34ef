"""A descent in a valley that the reader steers, in one line: the short way to an explorable figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..arrays.checks import Count, Function, Instance, Optional, Real, check
from ..engines.tape import Rule, signature
from ..optimization.landscapes import quadratic
from .explore import Explore
from .panels import Handle, Levels, Line, Panel, check_limits, check_numbers
from .programs import Descent, Slider


@dataclass(frozen=True)
class Play:
    """A descent on ½(λ₁w₁² + λ₂w₂²) that the reader steers: an [`Explore`][reference_impl.plots.explore.Explore] of one panel.

    `curvatures` and `start` are pairs, `steps` is how many are taken; `sliders` maps hyperparameters of `rule` to
    (lowest, highest, first value); `xlim` and `ylim` are the part of the plane that is seen. `best`, where the page knows them, are the
    settings of the best rate in the long run, to which buttons jump.

    Raises `TypeError` for arguments of another kind, `ValueError` if a slider's first or best value lies outside it or its name is no
    hyperparameter of the rule.

    >>> from reference_impl.optimization.sgd import sgd
    >>> play = Play(sgd, [1, 10], [9, 1], 30, {"lr": (0.01, 0.22, 0.1)}, (-1, 10), (-2, 2), best={"lr": 2 / 11})
    >>> play.explore.sliders[0].label
    'learning rate α'
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

    @cached_property
    def explore(self) -> Explore:
        """The figure."""
        sliders = []
        for name in signature(self.rule).hyper:
            low, high, value = map(float, self.sliders[name])
            sliders.append(Slider(name, low, high, value, marks={"best in the long run": float(self.best[name])} if self.best else {}))
        landscape = quadratic(self.curvatures)
        panel = Panel(self.xlim, self.ylim, [Levels(landscape), Line(path="descent", label=self.rule.__name__), Handle("start")],
                      xlabel="$w_1$", ylabel="$w_2$", equal=True)
        return Explore("", sliders, {"start": [float(x) for x in self.start]}, [Descent("descent", self.rule, landscape, self.steps)], [panel],
                       readout="After {step} steps: {descent_distance} from the minimum.")

    @property
    def data(self) -> dict[str, Any]:
        """What the site's script needs, ready for JSON."""
        return self.explore.data
