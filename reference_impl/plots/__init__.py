"""The figure helpers that the book's pages share: drawings that suit light and dark, wide and narrow screens.

They need Matplotlib, an optional extra; nothing in the package but the pages' cells imports this module.
"""

from __future__ import annotations

import os
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from io import BytesIO, StringIO
from itertools import count
from pathlib import Path
from typing import Any, Literal, overload

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure as Drawing
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from ..arrays.checks import POSITIVE, Count, Either, Flag, Function, Instance, Numbers, Optional, check, checked, shown
from ..engines import outputs
from .explore import Explore
from .panels import DASHES, Handle, Levels, Line, Mark, Panel, check_limits
from .paths import compact
from .play import Play
from .programs import Chain, Compute, Data, Descent, Iterate, Slider

__all__ = [
    "COLORS", "Chain", "Compute", "Data", "Descent", "Explore", "Figure", "Handle", "Iterate", "Levels", "Line", "Mark", "Panel", "Play", "Slider",
    "contours", "display", "figure", "legend", "show", "trace",
]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Okabe and Ito's colours that stand out on white and on slate, and from one another for colour-blind eyes."""

INK = "#010203"  # text and axes are drawn in this colour, then take the page's: `currentColor`
ABOVE = "above"  # marks the legends that `legend` made
NARROW = 3.9  # inches: as wide as a phone is at the size of the text
SCREENS = "FIGURE_SCREENS"  # "wide" in this variable of the environment leaves the drawing for phones out, which takes as long as the other
CARDS = "FIGURE_CARDS"  # in the environment: the first figure that is shown gets a picture for links to the page
CARD = (1200, 630)  # pixels, as those who show such links want it
LINK = re.compile(r"\[([^\]]+)\](?:\([^)\s]*\)|\[[\w.]*\])")  # Markdown's, in a caption

TEXT, AXES, FIGURE = Instance(str, words="a string"), Instance(Axes, words="axes"), Instance(Drawing, words="a figure")
PLAY = Optional(Instance(Explore, Play))

STYLE: Any = {  # for Matplotlib's stubs every key is a type of its own
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=COLORS) + cycler(linestyle=DASHES),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "font.size": 10,
    "grid.alpha": 0.13,
    "grid.color": INK,
    "grid.linewidth": 0.7,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "svg.fonttype": "none",
    "svg.hashsalt": "descent, derived",
    "text.color": INK,
    "xtick.color": INK,
    "xtick.labelsize": 9.5,
    "ytick.color": INK,
    "ytick.labelsize": 9.5,
}


@dataclass(frozen=True)
class Figure:
    """A finished figure: its SVG, the SVG for narrow screens (empty if there is none), alternative text and caption.

    `card` is its picture as PNG, in base64, for links to the page; only the book's build asks for it, of the first figure. Jupyter shows it as HTML; on the site the caption is Markdown of the page, with links and math.
    """

    svg: str
    narrow: str
    alt: str
    caption: str
    play: Explore | Play | None = None
    card: str = ""

    def __post_init__(self) -> None:
        for name in ("svg", "narrow", "alt", "caption", "card"):
            check(name, getattr(self, name), TEXT)
        check("play", self.play, PLAY)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        data = {"svg": self.svg, "narrow": self.narrow, "alt": self.alt, "caption": self.caption, "play": self.play and self.play.data}
        if self.card:
            data["card"] = self.card
        return {"text/plain": f"Figure: {self.alt}", "text/html": self._repr_html_(), outputs.FIGURE: data}

    def _repr_html_(self) -> str:
        caption = re.sub(r"\$[^$]+\$", lambda math: math[0].replace("*", "&#42;"), escape(self.caption, quote=False))
        caption = LINK.sub(r"\1", caption)
        for mark, tag in ((r"\*\*", "strong"), (r"\*", "em"), ("`", "code")):
            caption = re.sub(rf"{mark}(\S(?:.*?\S)?){mark}", rf"<{tag}>\1</{tag}>", caption, flags=re.S)
        return f'<figure style="margin: 0; max-width: 48em">{self.svg}<figcaption>{caption}</figcaption></figure>'

    @checked(path=Instance(str, os.PathLike, words="a path"))
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the drawing to an SVG file that stands alone: black on white, in the size in which it was drawn.

        >>> import os, tempfile
        >>> fig, ax = figure()
        >>> lines = ax.plot([1.0, 0.5, 0.25])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     show(fig, alt="A loss that halves.", caption="**Halving.**").save(f"{folder}/halving.svg")
        ...     os.listdir(folder)
        ['halving.svg']
        """
        opening, drawing = self.svg.split(">", 1)
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', opening)
        assert box is not None
        alone = opening.replace("fill: currentColor", "fill: #000; color: #000; font-family: sans-serif")
        text = f'{alone} width="{box[1]}pt" height="{box[2]}pt"><rect width="100%" height="100%" fill="#fff"/>{drawing}'
        Path(path).write_text(text + "\n", encoding="utf-8")


@overload
def figure(ncols: Literal[1] = 1, *, width: float = 7.2, height: float = 3.2, sharey: bool = False) -> tuple[Drawing, Axes]: ...  # type: ignore[overload-overlap]
@overload
def figure(ncols: int, *, width: float = 7.2, height: float = 3.2, sharey: bool = False) -> tuple[Drawing, np.ndarray]: ...
@checked(ncols=Count(), width=POSITIVE, height=POSITIVE, sharey=Flag())
def figure(ncols: int = 1, *, width: float = 7.2, height: float = 3.2, sharey: bool = False) -> tuple[Drawing, Any]:
    """A figure in the book's style, with one axes, or an array of `ncols` side by side.

    `width` and `height` are in inches; at 7.2 inches the text comes out at the size of a caption. On a narrow screen the
    axes are shown one below the other. Sets Matplotlib's `rcParams` to the book's style, for what is drawn next.

    Raises `TypeError` or `ValueError` unless `ncols` is a whole number from 1 up and both lengths are positive.

    >>> fig, (left, right) = figure(2, sharey=True)
    >>> left.get_facecolor() == right.get_facecolor()
    True
    """
    matplotlib.rcParams.update(STYLE)
    fig = Drawing(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(1, ncols, sharey=sharey)


@checked(ax=AXES, ncols=Optional(Count()))
def legend(ax: Axes, ncols: int | None = None) -> Legend:
    """The legend above the axes and their title, where it covers nothing, in `ncols` columns: by default in one line, on a phone in fewer.

    Raises `ValueError` where nothing drawn has a label.

    >>> fig, ax = figure()
    >>> _ = ax.plot([0, 1], label="momentum")
    >>> [text.get_text() for text in legend(ax).get_texts()]
    ['momentum']
    """
    labels = ax.get_legend_handles_labels()[1]
    if not labels:
        raise ValueError("ax must hold something with a label, got none")
    ncols = ncols or len(labels)
    title = 1.9 * STYLE["axes.titlesize"] / 72 if ax.get_title(loc="left") else 0.0  # inches: above it, if there is one
    above = ScaledTranslation(0, title, ax.figure.dpi_scale_trans)
    key = ax.legend(loc="lower left", bbox_to_anchor=(0, 1), bbox_transform=ax.transAxes + above, ncols=ncols, borderpad=0.1, columnspacing=1.4)
    key.set_gid(ABOVE)
    return key


@checked(fig=FIGURE, alt=TEXT, caption=TEXT, play=PLAY)
def show(fig: Drawing, *, alt: str, caption: str, play: Explore | Play | None = None) -> Figure:
    """The finished figure, for the last line of a cell; `fig` is closed.

    `alt` says in a sentence what there is to see, for those who do not; `caption` is Markdown, its lead in bold.
    `play` makes it one that the reader steers; the drawing stays for print and where no script runs.

    Raises `ValueError` if either is empty, or if nothing is drawn.

    >>> fig, ax = figure()
    >>> lines = ax.plot([1.0, 0.5, 0.25])
    >>> result = show(fig, alt="The loss halves with every step.", caption="**Halving.** The loss over three steps.")
    >>> result.alt
    'The loss halves with every step.'
    """
    for name, value in (("alt", alt), ("caption", caption)):
        if not value.strip():
            raise ValueError(f"{name} must be a sentence, got {value!r}")
    if not fig.axes:
        raise ValueError("fig must have something drawn, got no axes")
    alt = " ".join(alt.split())
    wide = _svg(fig, alt)
    card = _card(fig) if os.environ.get(CARDS) and next(_cards) == 0 else ""
    narrow = ""
    if os.environ.get(SCREENS) != "wide":
        with _narrowed(fig) as possible:
            narrow = _svg(fig, alt) if possible else ""
    if fig.canvas.manager is not None:  # made by pyplot, which would keep it
        from matplotlib import pyplot

        pyplot.close(fig)
    return Figure(wide, narrow, alt, caption.strip(), play, card)


_cards = count()
_shown = count(1)


def display(value: object) -> None:
    """Show a value as a notebook shows the last one of a cell; the book's scripts do it with what their pages show.

    Outside of a notebook a [figure][reference_impl.plots.Figure] is saved in the current folder, as `<script>-<number>.svg`,
    and its caption is printed; of anything else its text is printed, of a formula its LaTeX. None is nothing to show.

    >>> display([1, 2])
    [1, 2]
    """
    if value is None:
        return
    notebook = sys.modules.get("IPython")
    if notebook and hasattr(notebook.get_ipython(), "kernel"):
        notebook.display.display(value)
    elif isinstance(value, Figure):
        script = Path(getattr(sys.modules["__main__"], "__file__", None) or "figure.py").stem
        name = f"{script}-{next(_shown)}.svg"
        value.save(name)
        print(f"{name}: " + LINK.sub(r"\1", value.caption))
    elif isinstance(value, str) and hasattr(value, "_repr_latex_"):
        print(value)
    else:
        bundle = getattr(value, "_repr_mimebundle_", None)
        print(bundle()["text/plain"] if bundle else repr(value))


@checked(ax=AXES, landscape=Function("points (..., 2)"), levels=Either(Count(), Numbers(1)))
def contours(
    ax: Axes,
    landscape: Callable[[np.ndarray], np.ndarray],
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    levels: int | Sequence[float] = 12,
) -> QuadContourSet:
    """Draw a landscape's level lines, in the colour of the page's text.

    `landscape` takes points of shape (..., 2) and returns their losses, of shape (...). `levels` is the losses to draw, or
    their number: the k-th then lies k² times as high above the lowest loss as the first, so that on a bowl the rings are evenly spaced.

    Raises `ValueError` if limits or levels do not rise, the losses have another shape, are all the same, or one is not finite.

    >>> fig, ax = figure()
    >>> lines = contours(ax, lambda w: (w**2).sum(axis=-1), (-1, 1), (-1, 1), levels=[0.25, 0.5])
    >>> [float(level) for level in lines.levels]
    [0.25, 0.5]
    """
    check_limits("xlim", xlim)
    check_limits("ylim", ylim)
    x, y = np.meshgrid(np.linspace(*xlim, 121), np.linspace(*ylim, 121))
    loss = np.asarray(landscape(np.stack([x, y], axis=-1)))
    if loss.shape != x.shape:
        raise ValueError(f"landscape must return the shape {x.shape} for points of shape {(*x.shape, 2)}, got {loss.shape}")
    if not np.isfinite(loss).all() or loss.min() == loss.max():
        raise ValueError(f"landscape must be finite and vary within the limits, got losses from {loss.min()} to {loss.max()}")
    if isinstance(levels, int | np.integer):
        levels = list(loss.min() + (loss.max() - loss.min()) * (np.arange(1, levels + 1) / (levels + 1)) ** 2)
    if (np.diff(levels) <= 0).any():
        raise ValueError(f"levels must rise, got {shown(levels)}")
    lines = ax.contour(x, y, loss, levels=levels, colors=[INK], alpha=0.3, linewidths=0.8, linestyles="solid")
    ax.set(xlim=xlim, ylim=ylim)
    ax.grid(visible=False)
    return lines


@checked(ax=AXES, path=Numbers(2), label=TEXT, every=Count())
def trace(ax: Axes, path: np.ndarray, label: str, every: int = 1) -> Line2D:
    """Draw an optimizer's path, of shape (steps + 1, 2), with a mark at every `every`-th step and a ring at its start.

    Raises `TypeError` or `ValueError` if the path has another shape or is not finite, the label is empty or `every` is below 1.

    >>> fig, ax = figure()
    >>> trace(ax, np.array([[1.0, 1.0], [0.5, 0.0]]), "descent").get_label()
    'descent'
    """
    path = np.asarray(path)
    if path.shape[1] != 2:
        raise ValueError(f"path must have the shape (steps + 1, 2), got {path.shape}")
    if not label:
        raise ValueError(f"label must be the path's name, got {label!r}")
    (line,) = ax.plot(path[:, 0], path[:, 1], label=label, marker="o", markersize=3, markevery=every, linewidth=1.4)
    ax.plot(*path[0], marker="o", markersize=7, markerfacecolor="none", color=line.get_color(), linestyle="none")
    return line


@contextmanager
def _narrowed(fig: Drawing) -> Iterator[bool]:
    """Lay the figure out for a phone: axes in a grid become one column, legends as narrow as need be.

    False for a layout that it does not know. The legends stay narrow.
    """
    (width, height), specs = map(float, fig.get_size_inches()), [ax.get_subplotspec() for ax in fig.axes]
    found, count = [spec for spec in specs if spec], len(specs)
    if len(found) < count or len({spec.get_gridspec() for spec in found}) != 1:
        yield False  # a colour bar, a grid in a grid: it scrolls
        return
    heights: Any = found[0].get_gridspec().get_height_ratios()
    rows = len(heights)
    hidden = [ax for ax in fig.axes if not ax.yaxis.get_tick_params()["labelleft"]]
    fig.set_size_inches(NARROW, 0.85 * height if count == 1 else height * count / rows)
    column = fig.add_gridspec(count, 1, hspace=0.12, height_ratios=[heights[spec.rowspan.start] for spec in found])
    for row, ax in enumerate(fig.axes):
        ax.set_subplotspec(column[row, 0])
    for ax in hidden:  # a shared axis had its numbers on the left neighbour
        ax.tick_params(labelleft=True)
    for ax in fig.axes:
        if (key := ax.get_legend()) and key.get_gid() == ABOVE:
            columns = len(key.get_texts())
            while columns > 1 and key.get_window_extent().width > 0.84 * fig.bbox.width:
                columns -= 1
                key = legend(ax, columns)
    try:
        yield True
    finally:
        fig.set_size_inches(width, height)
        for ax, old in zip(fig.axes, specs, strict=True):
            ax.set_subplotspec(old)  # type: ignore[arg-type]
        for ax in hidden:
            ax.tick_params(labelleft=False)


def _card(fig: Drawing) -> str:
    """The drawing as a picture for links, in base64."""
    picture, (width, height) = BytesIO(), map(float, fig.get_size_inches())
    fig.set_size_inches(7.2, 7.2 * CARD[1] / CARD[0])
    engine = fig.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0.025, 0.035, 0.95, 0.93))  # some air: others cut the corners
    fig.savefig(picture, format="png", dpi=CARD[0] / 7.2, facecolor="white", metadata={"Software": None})
    if isinstance(engine, ConstrainedLayoutEngine):
        engine.set(rect=(0, 0, 1, 1))
    fig.set_size_inches(width, height)
    return b64encode(picture.getvalue()).decode()


def _svg(fig: Drawing, alt: str) -> str:
    """The drawing as an inline SVG: the page's colours and font, no size but its proportions, no id but those in use."""
    text = StringIO()
    with matplotlib.rc_context({name: value for name, value in STYLE.items() if name.startswith("svg.")}):
        fig.savefig(text, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = text.getvalue()
    svg = re.sub(r"[ \n]+", " ", svg[svg.index("<svg") :].replace(INK, "currentColor"))
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    for pattern, by in (
        (r"<metadata>.*?</metadata>|<!--.*?-->", ""),
        (r"<style.*?</style>", ""),  # inline, it would style every drawing of the page
        (r'<path d="[^"]*" style="fill: none" ?/>', ""),  # the transparent backgrounds
        (r' transform="rotate\(-0 [^"]*"', ""),
        (r"font-family: [^;\"]*; ?", ""),  # the page's font
        (r" (?=/>)|(?<=>) (?=<)", ""),
        (r"<(defs|g)></\1>", ""),
    ):
        svg = re.sub(pattern, by, svg)
    svg = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r'(?<= d=")[^"]*', lambda path: compact(path[0]), svg)
    long = re.compile(r"(?<![#\w.])-?\d+\.\d{3,}(?!\w)")  # in tags only: what is written stays as it is
    places = {"<use ": 1}  # as exact as paths are
    svg = re.sub(r"<[^>]+>", lambda tag: long.sub(lambda match: f"{float(match[0]):.{places.get(tag[0][:5], 2)}f}".rstrip("0").rstrip("."), tag[0]), svg)
    # Matplotlib makes ids of coordinates before they are rounded, and their last bits differ from process to process: these are made of what is drawn.
    reference, names = re.compile(r'( id="|href="#|url\(#)([^")]+)'), dict[str, str]()
    salt = sha256(reference.sub(r"\1", svg).encode()).hexdigest()[:10]
    svg = reference.sub(lambda match: match[1] + names.setdefault(match[2], f"i{salt}-{len(names)}"), svg)
    # Math is set letter by letter for Matplotlib's own font; words and numbers in it flow in the page's.
    # Matplotlib sorts it by style: in the order of reading, letters that stand side by side follow one another.
    place = re.compile(r'<tspan x="([^"]*)".*?</tspan>')
    svg = re.sub(
        r"(?:<tspan.*?</tspan>)+",
        lambda line: "".join(match[0] for match in sorted(place.finditer(line[0]), key=lambda match: float(match[1]))),
        svg,
    )
    letters = re.compile(r'(<tspan x="[^"]*"( y="[^"]*" style="[^"]*">)[\w.,\xa0]+)</tspan><tspan x="[^"]*"\2([\w.,\xa0])')
    while (merged := letters.sub(r"\1\3", svg)) != svg:
        svg = merged
    box = re.search(r'viewBox="([^"]+)"', svg)
    assert box is not None
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} role="img" '
        f'aria-label="{escape(alt)}" style="stroke-linejoin: round; stroke-linecap: butt; fill: currentColor">'
    )
    return opening + svg[svg.index(">") + 1 :].replace("fill: currentColor;", "").replace('; fill: currentColor"', '"')
