"""The figures' SVG: what the site relies on, and that bad input is refused."""

import re
import struct
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from base64 import b64decode
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from reference_impl import plots
from reference_impl.engines.outputs import FIGURE
from reference_impl.plots import CARD, CARDS, COLORS, INK, SCREENS, Figure, contours, figure, legend, show, trace
from reference_impl.plots.panels import DASHES


def drawn() -> Figure:
    fig, (left, right) = figure(2, sharey=True)
    contours(left, lambda w: w[..., 0] ** 2 + 9 * w[..., 1] ** 2, (-1, 1), (-1, 1))
    trace(left, np.array([[1.0, 0.5], [0.2, -0.1], [0.0, 0.0]]), "path")
    right.plot([1, 2], label=r"step $\rho = 0.9$ a b")
    right.legend()
    return show(fig, alt='Two "panels" & more', caption="**Lead.** Text.")


def test_svg_is_inline_themed_and_named():
    result = drawn()
    for svg in (result.svg, result.narrow):
        root = ElementTree.fromstring(svg)
        assert root.get("role") == "img" and root.get("aria-label") == 'Two "panels" & more'
        assert root.get("viewBox") and root.get("width") is None
        assert "currentColor" in svg and INK not in svg
        assert "font-family" not in svg and "<style" not in svg and "Matplotlib" not in svg
        ids, used = re.findall(r' id="([^"]+)"', svg), set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
        assert set(ids) == used and len(ids) == len(used)
        assert "step" in svg  # words stay words


def test_what_is_written_keeps_its_digits():
    fig, ax = figure()
    ax.plot([0.0015, 0.0045])
    ax.set_title("0.0123")
    result = show(fig, alt="a", caption="c")
    for text in ("0.0123", "0.0015", "0.0045"):
        assert f">{text}<" in result.svg and f">{text}<" in result.narrow
    assert not re.search(r'="[^"<]*\d\.\d{3}', result.svg)  # places are rounded


def test_letters_that_stand_apart_are_not_set_as_one_word():
    fig, ax = figure()
    ax.set_xlabel("steps $k$, on a chain of $2k + 1$")
    svg = show(fig, alt="a", caption="c").svg
    label = next(text for text in re.findall(r"<text[^>]*>(.*?)</text>", svg) if "chain" in text)
    assert re.findall(r">([^<]+)<", label.replace("\xa0", " ")) == ["steps ", "k", ", on a chain of 2", "k", "+", "1"]
    places = [float(x) for x in re.findall(r'<tspan x="([^"]*)"', label)]
    assert places == sorted(places) and len(set(places)) == len(places)


def test_lines_of_one_figure_differ_in_gray_too():
    _, ax = figure()
    lines = [ax.plot([1, 2])[0] for _ in COLORS]
    assert [line.get_color() for line in lines] == list(COLORS)
    assert all(offset == 0 for offset, _ in DASHES[1:])
    patterns = [length for _, dashes in DASHES[1:] for length in dashes]
    assert len({str(dashes) for dashes in DASHES}) == len(COLORS) and min(patterns) >= 1  # shorter dashes would not be seen
    assert [line.is_dashed() for line in lines] == [False, True, True, True]


def test_a_path_is_thinner_than_a_curve_and_has_a_ring_at_its_start():
    _, ax = figure()
    curve, path = ax.plot([1, 2])[0], np.array([[3.0, 1.0], [2.0, 0.5], [1.0, 0.0]])
    line = trace(ax, path, "path", every=2)
    ring = ax.lines[-1]
    assert 1 < line.get_linewidth() < curve.get_linewidth() and line.get_markevery() == 2
    assert ring.get_xydata().tolist() == [[3.0, 1.0]] and ring.get_color() == line.get_color() and ring.get_markerfacecolor() == "none"


def test_a_title_is_a_little_larger_than_the_labels_of_its_axes():
    _, ax = figure()
    ax.set(title="title", xlabel="label")
    sizes = ax._left_title.get_fontsize(), ax.xaxis.label.get_fontsize(), ax.get_xticklabels()[0].get_fontsize()
    assert sizes[1] * 1.1 >= sizes[0] > sizes[1] > sizes[2] > 9


def test_same_bytes_every_time():
    assert drawn() == drawn()


def test_narrow_is_stacked_and_leaves_the_figure_as_it_was():
    fig, axes = figure(2, sharey=True)
    for ax in axes:
        ax.plot([1, 2])
    result = show(fig, alt="a", caption="c")
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', result.narrow).groups())
    assert width < 300 and height > 400
    assert tuple(fig.get_size_inches()) == (7.2, 3.2)
    assert axes[1].get_subplotspec().colspan.start == 1
    assert not axes[1].yaxis.get_tick_params()["labelleft"]


def test_a_layout_it_does_not_know_has_no_narrow_form():
    fig, ax = figure()
    fig.colorbar(ax.imshow(np.eye(2)))
    assert show(fig, alt="a", caption="c").narrow == ""


def test_where_nobody_has_a_phone_nothing_is_drawn_for_one(monkeypatch):
    both = drawn()
    monkeypatch.setenv(SCREENS, "wide")
    assert drawn() == replace(both, narrow="")


def test_the_first_figure_has_a_picture_for_links_where_the_book_is_built(monkeypatch):
    bare = drawn()
    assert bare.card == "" and "card" not in bare._repr_mimebundle_()[FIGURE]
    monkeypatch.setenv(CARDS, "yes")
    cards = []
    for _ in range(2):
        monkeypatch.setattr(plots, "_cards", count())
        first, second = drawn(), drawn()
        assert (first, second) == (replace(bare, card=first.card), bare)
        assert first._repr_mimebundle_()[FIGURE]["card"] == first.card
        cards.append(b64decode(first.card))
    assert cards[0] == cards[1] and cards[0].startswith(b"\x89PNG")
    assert struct.unpack(">II", cards[0][16:24]) == CARD


def test_mime_bundle():
    data = drawn()._repr_mimebundle_()
    assert data[FIGURE]["caption"] == "**Lead.** Text." and data[FIGURE]["svg"] in data["text/html"]


def test_in_a_notebook_the_caption_is_set_and_leads_nowhere():
    fig, ax = figure()
    ax.plot([1, 2])
    html = show(fig, alt="a", caption="**Lead of $w^*$.** See [*there*](x.md#y), [here][a.b], `c` < 1.")._repr_html_()
    assert "<figcaption><strong>Lead of $w^&#42;$.</strong> See <em>there</em>, here, <code>c</code> &lt; 1.</figcaption>" in html


def test_a_saved_figure_stands_alone(tmp_path):
    drawn().save(tmp_path / "a.svg")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.get("width") == "518.4pt" and "sans-serif" in root.get("style") and "fill: #000" in root.get("style")
    assert root[0].get("fill") == "#fff" and len(root) > 1


def test_a_script_saves_its_figures_and_prints_the_rest(tmp_path):
    (tmp_path / "page.py").write_text("""
from reference_impl.engines.symbolic import latex
from reference_impl.optimization.sgd import sgd
from reference_impl.plots import display, figure, show
for name in "ab":
    fig, ax = figure()
    ax.plot([1, 2])
    display(show(fig, alt=name, caption=f"**{name}** of [this](x.md)."))
display(latex(sgd))
display({"a": 1})
display(None)
""")
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page-1.svg", "page-2.svg", "page.py"]
    lines = done.stdout.splitlines()
    assert lines[:2] == ["page-1.svg: **a** of this.", "page-2.svg: **b** of this."] and lines[-1] == "{'a': 1}"
    assert r"w_{t+1} &= w_{t} - \alpha g_{t}" in done.stdout


@pytest.mark.parametrize(("call", "said"), [
    (lambda fig, ax: figure(0), "ncols must be a whole number from 1 up, got 0"),
    (lambda fig, ax: figure(height=-1), "height must be a number in (0, inf), got -1"),
    (lambda fig, ax: show(fig, alt=" ", caption="c"), "alt must be a sentence, got ' '"),
    (lambda fig, ax: show(fig, alt="a", caption=""), "caption must be a sentence, got ''"),
    (lambda fig, ax: show(type(fig)(), alt="a", caption="c"), "fig must have something drawn, got no axes"),
    (lambda fig, ax: contours(ax, lambda w: w, (-1, 1), (-1, 1)), "landscape must return the shape (121, 121)"),
    (lambda fig, ax: contours(ax, lambda w: w[..., 0], (1, -1), (-1, 1)), "xlim must be 2 finite numbers that rise, got (1, -1)"),
    (lambda fig, ax: contours(ax, lambda w: w[..., 0], (-1, 1), (1, 1)), "ylim must be 2 finite numbers that rise, got (1, 1)"),
    (lambda fig, ax: contours(ax, lambda w: w[..., 0] * np.nan, (-1, 1), (-1, 1)), "landscape must be finite and vary within the limits"),
    (lambda fig, ax: contours(ax, lambda w: w[..., 0] * 0, (-1, 1), (-1, 1)), "landscape must be finite and vary within the limits"),
    (lambda fig, ax: contours(ax, lambda w: w[..., 0], (-1, 1), (-1, 1), [1, 1]), "levels must rise, got [1, 1]"),
    (lambda fig, ax: trace(ax, np.zeros((3, 3)), "p"), "path must have the shape (steps + 1, 2), got (3, 3)"),
    (lambda fig, ax: trace(ax, np.full((3, 2), np.inf), "p"), "path must be a non-empty matrix of finite numbers, got array([[inf, inf]"),
    (lambda fig, ax: trace(ax, np.zeros((3, 2)), ""), "label must be the path's name, got ''"),
    (lambda fig, ax: trace(ax, np.zeros((3, 2)), "p", every=0), "every must be a whole number from 1 up, got 0"),
    (lambda fig, ax: legend(ax), "ax must hold something with a label, got none"),
])  # fmt: skip
def test_bad_input_is_refused(call, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        call(*figure())


def test_a_label_wider_than_a_phone_stays_in_one_column():
    fig, ax = figure()
    ax.plot([1, 2], label="a label that is as wide as a phone or somewhat wider")
    legend(ax)
    assert show(fig, alt="a", caption="c").narrow.count("a label that is as wide") == 1


@pytest.mark.parametrize("title", ["", "A title"])
def test_a_legend_stands_above_the_axes_and_their_title_and_begins_where_they_do(title):
    fig, ax = figure()
    ax.plot([1, 2], label="momentum")
    ax.set_title(title)
    key = legend(ax)
    fig.draw_without_rendering()
    box, inside = key.get_window_extent(), ax.get_window_extent()
    assert inside.x0 <= box.x0 < inside.x0 + 10
    assert box.y0 >= (ax._left_title.get_window_extent().y1 if title else inside.y1) - 1


def test_a_wide_legend_takes_more_lines_on_a_phone():
    fig, ax = figure()
    for name in ("gradient descent", "momentum with friction", "Nesterov's gradient"):
        ax.plot([0, 1], label=name)
    legend(ax)
    heights = {}
    done = show(fig, alt="Three lines.", caption="c")
    for kind, svg in (("wide", done.svg), ("narrow", done.narrow)):
        labels = re.findall(r'<text[^>]*(?:y="([\d.]+)"|translate\([\d.]+ ([\d.]+)\))[^>]*>(?:gradient descent|momentum with|Nesterov)', svg)
        heights[kind] = {next(filter(None, found)) for found in labels}
    assert len(heights["wide"]) == 1 < len(heights["narrow"])
