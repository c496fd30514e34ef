"""What a figure that the reader steers shows: panels with limits, and the things drawn in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Drawing

from ..arrays.checks import POSITIVE, Count, Either, Flag, Function, Instance, Numbers, Optional, check, shown
from .programs import NAMED, TEXT, Named, check_each

DASHES: Any = ["-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2))]
"""How the lines of the four colours are dashed, so that they differ in gray too: lengths in widths of the line."""

GRID = 1000  # level lines travel in thousandths of their panel


@dataclass(frozen=True)
class Levels:
    """Level lines of `landscape`, a function of points (..., 2) in the panel's coordinates; where `filled`, the bands between them.

    `levels` is the values, or for lines their number, as [`contours`][reference_impl.plots.contours] takes it. Bands run from the first level to
    the last, with a name each in `labels`, from the strongest colour to none; what is above the last level is tinted as out of bounds and is
    called by one name more.

    Raises `TypeError` for arguments of another kind, `ValueError` for levels that do not rise or labels of another number.

    >>> Levels(lambda w: (w**2).sum(axis=-1), levels=[0.25, 0.5]).filled
    False
    """

    landscape: Callable[[np.ndarray], Any]
    levels: int | Sequence[float] = 12
    filled: bool = False
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        check("landscape", self.landscape, Function("points (..., 2)"))
        check("filled", self.filled, Flag())
        check("levels", self.levels, Numbers(1) if self.filled else Either(Count(), Numbers(1)))
        check_each("labels", self.labels, TEXT)
        if not isinstance(self.levels, int | np.integer):
            if (np.diff(self.levels) <= 0).any():
                raise ValueError(f"levels must rise, got {shown(self.levels)}")
            if self.labels and len(self.labels) != len(self.levels):
                raise ValueError(f"labels must be {len(self.levels)}, one for each band and one for what is above, got {shown(self.labels)}")

    @property
    def bounds(self) -> list[float]:
        """The levels, where they are not a number of them."""
        return [] if isinstance(self.levels, int | np.integer) else [float(level) for level in self.levels]


@dataclass(frozen=True)
class Line:
    """A line through the series `x` and `y`, or through the path of the descent `path`; `dots` marks its points, `line` joins them.

    What has a value for each step is shown up to the step at which the figure stands. Lines with the same `label` have the same colour,
    and stand in the legend once; `color` is a number from 0 to 3 to choose it. A `faint` one is drawn as level lines are, and takes no colour.

    Raises `TypeError` for arguments of another kind, `ValueError` unless it names either a path or two series.

    >>> Line(path="descent", label="gradient descent").series
    ('descent_x', 'descent_y')
    """

    x: str = ""
    y: str = ""
    path: str = ""
    label: str = ""
    dots: bool | None = None
    line: bool = True
    color: int | None = None
    faint: bool = False

    def __post_init__(self) -> None:
        check("faint", self.faint, Flag())
        for name in ("x", "y", "path", "label"):
            check(name, getattr(self, name), TEXT)
        check("dots", self.dots, Optional(Flag()))
        check("line", self.line, Flag())
        check("color", self.color, Optional(Count(0, 3)))
        if bool(self.path) == bool(self.x and self.y):
            raise ValueError(f"path must be the name of a descent, or x and y those of two series, got {self.path!r}, {self.x!r}, {self.y!r}")

    @property
    def series(self) -> tuple[str, str]:
        """The names of what it shows."""
        return (f"{self.path}_x", f"{self.path}_y") if self.path else (self.x, self.y)

    @property
    def has_dots(self) -> bool:
        """Whether its points are marked: on paths, and where there is no line."""
        return bool(self.path) or not self.line if self.dots is None else self.dots


@dataclass(frozen=True)
class Mark:
    """A straight line across the panel at `x` or at `y`, a number or the name of one, with a label.

    >>> Mark(x=0.25, label="edge of stability").x
    0.25
    """

    x: Named | None = None
    y: Named | None = None
    label: str = ""

    def __post_init__(self) -> None:
        check("x", self.x, Optional(NAMED))
        check("y", self.y, Optional(NAMED))
        check("label", self.label, TEXT)
        if (self.x is None) == (self.y is None):
            raise ValueError(f"x must be given, or y and not both, got {self.x!r} and {self.y!r}")


@dataclass(frozen=True)
class Handle:
    """What the reader drags: a point of the figure by its name, or the two numbers `x` and `y`, such as two sliders.

    A coordinate that is no number of the reader's but a computed one is followed, not set. `label` is its name in words.

    >>> Handle("start").numbers
    ('start_x', 'start_y')
    """

    point: str = ""
    x: str = ""
    y: str = ""
    label: str = ""

    def __post_init__(self) -> None:
        for name in ("point", "x", "y", "label"):
            check(name, getattr(self, name), TEXT)
        if bool(self.point) == bool(self.x and self.y):
            raise ValueError(f"point must be the name of a point, or x and y those of two numbers, got {self.point!r}, {self.x!r}, {self.y!r}")

    @property
    def numbers(self) -> tuple[str, str]:
        """The names of its coordinates."""
        return (f"{self.point}_x", f"{self.point}_y") if self.point else (self.x, self.y)


LAYER = Instance(Levels, Line, Mark, Handle)


@dataclass(frozen=True)
class Panel:
    """A part of the plane that is seen, from `xlim[0]` to `xlim[1]` and from `ylim[0]` to `ylim[1]`, with what is drawn in it.

    `equal` gives both axes one scale, so that angles are true; else the panel is `aspect` times as high as wide. `logx` and `logy` are for
    axes of powers. Panels stand two in a row, but a `wide` one alone.

    Raises `TypeError` for arguments of another kind, `ValueError` for limits that do not rise, or are not positive on an axis of powers.

    >>> Panel((0, 40), (1e-6, 100), [Line("step", "descent_loss")], xlabel="step", ylabel="loss", logy=True).height
    0.6
    """

    xlim: tuple[float, float]
    ylim: tuple[float, float]
    layers: Sequence[Levels | Line | Mark | Handle]
    xlabel: str = ""
    ylabel: str = ""
    title: str = ""
    equal: bool = False
    aspect: float = 0.6
    logx: bool = False
    logy: bool = False
    wide: bool = False

    def __post_init__(self) -> None:
        for name, log in (("xlim", self.logx), ("ylim", self.logy)):
            check_limits(name, getattr(self, name))
            check(f"log{name[0]}", log, Flag())
            if log and getattr(self, name)[0] <= 0:
                raise ValueError(f"{name} must be positive on an axis of powers, got {shown(getattr(self, name))}")
        check_each("layers", self.layers, LAYER)
        for name in ("xlabel", "ylabel", "title"):
            check(name, getattr(self, name), TEXT)
        check("equal", self.equal, Flag())
        check("wide", self.wide, Flag())
        check("aspect", self.aspect, POSITIVE)

    @property
    def height(self) -> float:
        """How many times as high as wide it is."""
        return (self.ylim[1] - self.ylim[0]) / (self.xlim[1] - self.xlim[0]) if self.equal else self.aspect

    def data(self, colors: dict[str, int], timed: set[str]) -> dict[str, Any]:
        """For the browser; `colors` has the number of each label's colour, `timed` what has a value for each step."""
        limits = {"xlim": [float(v) for v in self.xlim], "ylim": [float(v) for v in self.ylim]}
        layers: list[dict[str, Any]] = []
        for layer in self.layers:
            if isinstance(layer, Levels):
                layers.append({"kind": "areas" if layer.filled else "levels", "paths": self._outlines(layer), "labels": list(layer.labels)})
            elif isinstance(layer, Line):
                x, y = layer.series
                layers.append({"kind": "line", "x": x, "y": y, "label": layer.label, "color": color_of(layer, colors), "dots": layer.has_dots,
                               "line": layer.line, "faint": layer.faint, "timed": x in timed and y in timed})
            elif isinstance(layer, Mark):
                axis, at = ("y", layer.y) if layer.x is None else ("x", layer.x)
                layers.append({"kind": "mark", "axis": axis, "at": at if isinstance(at, str) else float(at or 0), "label": layer.label})
            else:
                layers.append({"kind": "handle", "numbers": list(layer.numbers), "label": layer.label or layer.point or "point"})
        words = {name: plain(getattr(self, name)) for name in ("xlabel", "ylabel", "title")}
        return {**limits, **words, "wide": self.wide, "height": self.height, "logx": self.logx,
                "logy": self.logy, "layers": layers}

    def points(self, count: int = 201) -> tuple[np.ndarray, np.ndarray]:
        """The coordinates of a grid over the panel."""
        x, y = (np.geomspace(*limits, count) if log else np.linspace(*limits, count)
                for limits, log in ((self.xlim, self.logx), (self.ylim, self.logy)))
        across, up = np.meshgrid(x, y)
        return across, up

    def _outlines(self, layer: Levels) -> list[str]:
        """The lines or bands as paths in thousandths of the panel."""
        from . import contours

        ax = Drawing().subplots()
        if layer.filled:
            x, y = self.points()
            drawn = ax.contourf(x, y, layer.landscape(np.stack([x, y], axis=-1)), levels=layer.bounds, extend="max")
        else:
            drawn = contours(ax, layer.landscape, self.xlim, self.ylim, layer.levels)
        return [self._path(path) for path in drawn.get_paths()]

    def _path(self, outline: Any) -> str:
        """A path of Matplotlib's as SVG, in whole thousandths, from point to point."""
        text, here, first = [], (0, 0), (0, 0)
        for vertices, code in outline.iter_segments(simplify=False):
            if code == outline.CLOSEPOLY:
                text.append("z")
                here = first
                continue
            x, y = (round(GRID * _share(v, limits, log)) for v, limits, log in
                    zip(vertices, (self.xlim, self.ylim), (self.logx, self.logy)))
            point = (x, GRID - y)
            if code == outline.MOVETO:
                text.append(f"M{point[0]} {point[1]}l")
                first = here = point
            elif point != here:
                text.append(f"{point[0] - here[0]} {point[1] - here[1]} ")
                here = point
        return "".join(text).replace(" -", "-").replace("lz", "z").replace(" z", "z").replace(" M", "M").strip()


LETTERS: dict[str, str] = dict(zip(("alpha", "beta", "gamma", "delta", "varepsilon", "kappa", "lambda", "mu", "rho", "sigma", "eta", "theta", "tau"), "αβγδεκλμρσηθτ"))
RAISED = str.maketrans("0123456789tn", "₀₁₂₃₄₅₆₇₈₉ₜₙ")


def plain(label: str) -> str:
    r"""A label with Matplotlib's mathematics as the browser writes it.

    >>> plain(r"$\alpha\lambda_1$, along $w_1$"), plain(r"$|w|$")
    ('αλ₁, along w₁', '|w|')
    """
    def maths(match: re.Match[str]) -> str:
        text = re.sub(r"\\([a-z]+) ?", lambda word: LETTERS.get(word[1], word[1]), match[1])
        text = re.sub(r"_\{?(\w+)\}?", lambda below: below[1].translate(RAISED), text)
        return text.replace("^2", "²").replace("{", "").replace("}", "")

    return re.sub(r"\$([^$]+)\$", maths, label)


def _share(value: float, limits: tuple[float, float], log: bool) -> float:
    low, high = np.log(limits) if log else limits
    return float(((np.log(value) if log else value) - low) / (high - low))


def color_of(layer: Line, colors: dict[str, int]) -> int:
    """The number of a line's colour: its own, or its label's.

    >>> color_of(Line(path="descent", label="Adam"), {"Adam": 2})
    2
    """
    return colors.get(layer.label, 0) if layer.color is None else layer.color


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
