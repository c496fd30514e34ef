"""A figure that the reader steers: what it computes, what it shows, and its first frame on paper."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Drawing

from ..arrays.checks import POSITIVE, Count, Either, Instance, OneOf, Optional, Real, check
from .panels import DASHES, Levels, Line, Mark, Panel, check_numbers, color_of
from .programs import IDENTIFIER, TEXT, Chain, Compute, Data, Descent, Iterate, Made, Slider, Values, check_each

PART = Instance(Data, Compute, Iterate, Chain, Descent)
FIELD = re.compile(r"\{(\w+)(?::(last|mean|var|min|max|sum))?(?:\?[^{}|]*\|[^{}]*)?\}")


@dataclass(frozen=True)
class Explore:
    """A figure with sliders, points that one drags, panels in step and a sentence that says what is seen.

    `name` is its name in the page's address, by default its number on the page. `sliders` and `points` (names to two coordinates) are what the reader sets; `programs` are computed
    from them in order, and each may use what stands before it; `panels` show the results. `readout` is the sentence: in it `{name}` is a
    number, or of a series the value at the step at which the figure stands, `{name:mean}` the mean of a series (or `last`, `var`, `min`, `max`,
    `sum`), `{name?words|others}` chooses words by whether it is positive, `{step}` is the number of steps.

    Known besides: `step`, the series 0, 1, … of the steps, `now`, the one at which the figure stands (at first the last), and `start_x`, `start_y` of a
    point `start`.

    Raises `TypeError` for arguments of another kind, `ValueError` for a name that is twice there or not there.

    >>> from reference_impl.optimization.landscapes import taco_shell
    >>> from reference_impl.optimization.sgd import sgd
    >>> shell = taco_shell(10)
    >>> explore = Explore(
    ...     "valley", sliders=[Slider("lr", 0.01, 0.21, 0.05)], points={"start": (10, 1)},
    ...     programs=[Descent("descent", sgd, shell, steps=30)],
    ...     panels=[Panel((-1, 11), (-2, 2), [Levels(shell), Line(path="descent")], equal=True)],
    ...     readout="After {step} steps: {descent_distance} from the minimum.")
    >>> explore.values(lr=0.1)["descent_distance"][-1].round(3)
    np.float64(0.424)
    """

    name: str
    sliders: Sequence[Slider] = ()
    points: Mapping[str, Sequence[float]] = field(default_factory=dict)
    programs: Sequence[Data | Compute | Iterate | Chain | Descent] = ()
    panels: Sequence[Panel] = ()
    readout: str = ""

    _parts: list[Made] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check("name", self.name, Either(OneOf(""), IDENTIFIER))
        for name, kind in (("sliders", Instance(Slider)), ("programs", PART), ("panels", Instance(Panel))):
            check_each(name, getattr(self, name), kind)
        check("points", self.points, Instance(Mapping, words="a dict of names to points"))
        check_each("points", list(self.points), IDENTIFIER)
        for name, place in self.points.items():
            check_numbers(f"points[{name!r}]", place, 2)
        check("readout", self.readout, TEXT)
        if not self.panels:
            raise ValueError(f"panels must hold one at least, got {self.panels!r}")
        made = [part for program in self.programs for part in program.made]
        object.__setattr__(self, "_parts", made)
        known = {"step", "now", *self.numbers}
        for part in made:
            if missing := [r for r in part.reads if isinstance(r, str) and r not in known]:
                raise ValueError(f"programs must read what is known before them, got {missing} in {part.out[0]!r}; known are {sorted(known)}")
            if twice := known & set(part.out):
                raise ValueError(f"programs must compute what has no name yet, got {sorted(twice)} again")
            known |= set(part.out)
        wanted = [name for panel in self.panels for layer in panel.layers if not isinstance(layer, Levels) for name in
                  (layer.series if isinstance(layer, Line) else [at for at in (layer.x, layer.y) if isinstance(at, str)]
                   if isinstance(layer, Mark) else layer.numbers)]
        wanted += [at for slider in self.sliders for at in slider.marks.values() if isinstance(at, str)]
        if missing := [name for name in wanted if name not in known]:
            raise ValueError(f"panels and marks must show what is known, got {missing}; known are {sorted(known)}")
        names = [slider.name for slider in self.sliders]
        if missing := [name for slider in self.sliders for name in slider.resets if name not in names]:
            raise ValueError(f"resets must name sliders, got {missing}; known are {names}")
        fields = re.findall(r"\{[^{}]*\}", self.readout)
        for text in fields:
            found = FIELD.fullmatch(text)
            if not found or found[1] not in known:
                raise ValueError(f"readout must hold names of what is known in braces, got {text}; known are {sorted(known)}")
        if len({s.steps for s in made if s.steps}) > 1:
            raise ValueError(f"programs must take the same number of steps, got {sorted({s.steps for s in made if s.steps})}")

    @property
    def numbers(self) -> dict[str, float]:
        """What the reader sets, at first."""
        return {s.name: float(s.value) for s in self.sliders} | {
            f"{name}_{axis}": float(v) for name, place in self.points.items() for axis, v in zip("xy", place)}

    @property
    def steps(self) -> int:
        """How many steps its descents take; 0 if there are none."""
        return max([part.steps for part in self._parts], default=0)

    @property
    def timed(self) -> set[str]:
        """The names of what has a value for each step."""
        timed = {"step"} if self.steps else set()
        for part in self._parts:
            if part.steps or (part.data["kind"] == "map" and timed & set(part.reads)):
                timed |= set(part.out) - set(part.rows)
        return timed

    def values(self, **numbers: float) -> Values:
        """All that is computed, by name, at the first numbers or at others; `now` may be another step.

        Raises `TypeError` or `ValueError` for what is no number of the reader's.

        >>> figure = Explore("line", [Slider("a", 0, 1, 0.5)], programs=[Compute("twice", lambda a: 2 * a)], panels=[Panel((0, 1), (0, 1), [])])
        >>> figure.values(a=0.25)
        {'a': 0.25, 'now': 0.0, 'step': array([0.]), 'twice': 0.5}
        """
        first = self.numbers | {"now": float(self.steps)}
        for name, value in numbers.items():
            check(f"numbers[{name!r}]", value, Count(0, self.steps) if name == "now" else Real())
            if name not in first:
                raise ValueError(f"numbers must be among {list(first)}, got {name!r}")
        known: Values = first | {name: float(value) for name, value in numbers.items()} | {"step": np.arange(self.steps + 1.0)}
        for part in self._parts:
            known |= part.run(known)
        return known

    def draw(self, width: float = 7.2, height: float | None = None) -> Drawing:
        """The first frame as a drawing in the book's style, for [`show`][reference_impl.plots.show]; in inches, the height by default as its panels want it.

        >>> figure = Explore("line", [Slider("a", 0, 1, 0.5)], programs=[Compute("twice", lambda a: 2 * a)], panels=[Panel((0, 1), (0, 1), [])])
        >>> len(figure.draw().axes)
        1
        """
        from . import COLORS, INK, contours, figure as blank, legend

        check("width", width, POSITIVE)
        check("height", height, Optional(POSITIVE))
        rows: list[list[Panel]] = []
        for panel in self.panels:
            if rows and len(rows[-1]) == 1 and not panel.wide and not rows[-1][0].wide:
                rows[-1].append(panel)
            else:
                rows.append([panel])
        heights = [0.75 + max(panel.height for panel in row) * (width / (2 if len(row) > 1 else 1) - 0.7) for row in rows]
        height = height or sum(heights)
        fig = blank(width=width, height=height)[0]
        fig.clear()
        columns = max(map(len, rows))
        grid = fig.add_gridspec(len(rows), columns, height_ratios=heights)
        axes = [fig.add_subplot(grid[i, j] if len(row) > 1 else grid[i, :]) for i, row in enumerate(rows) for j in range(len(row))]
        colors, known, named = self.colors, self.values(), set[str]()
        for ax, panel in zip(axes, self.panels):
            for layer in panel.layers:
                if isinstance(layer, Levels) and layer.filled:
                    x, y = panel.points()
                    ax.contourf(x, y, layer.landscape(np.stack([x, y], axis=-1)), levels=layer.bounds, extend="max",
                                colors=[_shade(i, len(layer.bounds)) for i in range(len(layer.bounds))])
                elif isinstance(layer, Levels):
                    contours(ax, layer.landscape, panel.xlim, panel.ylim, layer.levels)
                elif isinstance(layer, Line):
                    x, y = (np.ravel(known[name]) for name in layer.series)
                    if len(x) != len(y):
                        raise ValueError(f"panels must draw series of one length against one another, got {layer.series} of {len(x)} and {len(y)}")
                    label = layer.label if layer.label not in named else ""
                    if layer.faint:
                        ax.plot(x, y, color=INK, alpha=0.3, linewidth=0.8, linestyle="-", label=label or None)
                        continue
                    color = color_of(layer, colors)
                    ax.plot(x, y, color=COLORS[color], label=label or None, linewidth=1.4, markersize=3 if layer.line else 5,
                            marker="o" if layer.has_dots else None, linestyle=DASHES[color] if layer.line else "none")
                elif isinstance(layer, Mark):
                    at = layer.y if layer.x is None else layer.x
                    place: Any = known[at] if isinstance(at, str) else at
                    (ax.axhline if layer.x is None else ax.axvline)(place, color=INK, linestyle=(0, (4, 3)), linewidth=0.9, alpha=0.7)
                    if layer.label and layer.x is not None:
                        ax.annotate(layer.label, (place, 1), xycoords=("data", "axes fraction"), xytext=(3, -9), textcoords="offset points", fontsize=8.5)
                    elif layer.label:
                        ax.annotate(layer.label, (1, place), xycoords=("axes fraction", "data"), xytext=(-3, 3), textcoords="offset points", ha="right", fontsize=8.5)
                else:
                    x, y = (known[name] for name in layer.numbers)
                    ax.plot(x, y, marker="o", markersize=7, markerfacecolor="none", markeredgewidth=1.6, color=COLORS[1], linestyle="none")
            if panel.logx:
                ax.set_xscale("log")
            if panel.logy:
                ax.set_yscale("log")
            ax.set(xlim=panel.xlim, ylim=panel.ylim, xlabel=panel.xlabel, ylabel=panel.ylabel, title=panel.title)
            if panel.equal:
                ax.set_aspect("equal")
            labels = ax.get_legend_handles_labels()[1]
            if labels:
                legend(ax, min(len(labels), 2) if columns > 1 and not panel.wide else None)
            named.update(labels)
        return fig

    @property
    def colors(self) -> dict[str, int]:
        """The number of each label's colour."""
        labels = dict.fromkeys(layer.label for panel in self.panels for layer in panel.layers if isinstance(layer, Line) and layer.label and not layer.faint)
        chosen = {layer.label: layer.color for panel in self.panels for layer in panel.layers if isinstance(layer, Line) and layer.color is not None}
        return {label: chosen.get(label, i % 4) for i, label in enumerate(labels)}

    @property
    def data(self) -> dict[str, Any]:
        """What the site's script needs, ready for JSON, with the `sources` of the functions apart."""
        timed, colors = self.timed, self.colors
        points = []
        for name, place in self.points.items():
            panel = next((p for p in self.panels for layer in p.layers if getattr(layer, "point", "") == name), self.panels[0])
            for axis, value, limits in zip("xy", place, (panel.xlim, panel.ylim)):
                points.append({"name": f"{name}_{axis}", "value": float(value), "low": float(limits[0]), "high": float(limits[1])})
        return {"name": self.name, "sliders": [s.data for s in self.sliders], "points": points, "steps": self.steps, "timed": sorted(timed),
                "programs": [part.data for part in self._parts], "panels": [panel.data(colors, timed) for panel in self.panels],
                "readout": self.readout, "checks": self._checks(), "sources": [part.source or "null" for part in self._parts]}

    def _checks(self) -> list[dict[str, Any]]:
        """Numbers that Python computed, at the first settings and at others: a test of the site holds the browser's to them."""
        others = {s.name: float(0.75 * s.value + 0.25 * s.low) for s in self.sliders}
        found = []
        for at in ({}, others) if others else ({},):
            known = self.values(**at)
            kept = {}
            for name in (name for part in self._parts if part.source for name in part.out):
                series = np.ravel(known[name])
                some = series[[0, len(series) // 2, -1]]
                kept[name] = [x if np.isfinite(x) else None for x in some.tolist()]
            found.append({"at": at, "values": kept})
        return found


def _shade(index: int, count: int) -> tuple[float, float, float, float]:
    """The colour of a band: the first one that fades, then a tint of the second for what is out of bounds."""
    from . import COLORS

    if index == count - 1:
        return *to_rgb(COLORS[1]), 0.16
    return *to_rgb(COLORS[0]), 0.5 * (1 - index / max(1, count - 1))
