"""A figure that the reader steers computes in the browser what Python computes, and can be steered to what is said of it."""

import gzip
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from matplotlib.colors import to_hex, to_rgb
from py_mini_racer import MiniRacer

from reference_impl import Adam, beale, booth, double_well, himmelblau, rosenbrock, saddle, taco_shell
from reference_impl.optimization.momentum import momentum
from reference_impl.optimization.sgd import sgd
from reference_impl.plots import (
    COLORS,
    INK,
    Chain,
    Compute,
    Data,
    Descent,
    Explore,
    Handle,
    Iterate,
    Levels,
    Line,
    Mark,
    Panel,
    Slider,
    show,
)
from reference_impl.plots.explore import _shade
from reference_impl.plots.panels import color_of, plain

SCRIPT = Path(__file__).parents[2] / "docs/javascripts/explore.js"
COMPILER = Path(__file__).parents[2] / "scripts/browser/node_modules/.bin/tsc"
BLANK = Panel((0, 1), (0, 1), [])
LR, RHO = Slider("lr", 0.001, 0.1, 0.02), Slider("rho", 0, 0.99, 0.5)


@pytest.fixture(scope="module")
def browser():
    """The site's script, in an engine without a page."""
    engine = MiniRacer()
    engine.eval("var window = {addEventListener() {}}, document = {querySelectorAll: () => [], documentElement: {classList: {toggle() {}}}}, location = {hash: ''}, matchMedia = () => ({}); class ResizeObserver {}")
    engine.eval(SCRIPT.read_text())
    return engine


def in_browser(engine, explore, **numbers):
    """What the site's script computes, by name."""
    data = explore.data
    spec = json.dumps({key: value for key, value in data.items() if key != "sources"})
    text = engine.eval(f"""JSON.stringify(compute({{...{spec}, functions: [{', '.join(data['sources'])}]}}, {json.dumps(explore.numbers | numbers)}),
        (_, x) => (typeof x === "number" && !Number.isFinite(x) ? String(x) : x))""")
    return {name: np.array(value, dtype=float) for name, value in json.loads(text).items()}


def test_no_other_script_of_the_site_takes_its_names():
    """All scripts of a page share one scope: what one of them declares outside of a block, or inside of one without "use strict", is another's too."""
    for script in SCRIPT.parent.glob("*.js"):
        if script.name not in (SCRIPT.name, "python.js", "search.js"):  # of which two are workers, alone
            text = re.sub("^//.*\n", "", script.read_text(), flags=re.M)
            assert text.startswith('"use strict"\n'), script.name
            assert not re.search(r"^(const|let|var|function|class)\b", text, re.M), script.name


FIGURES = {
    "a valley": ([Descent("d", momentum, taco_shell(50), 40)], [LR, RHO]),
    "an optimizer with its own settings": ([Descent("d", Adam(lr=0.1), rosenbrock(), 60)], []),
    "an optimizer with a slider": ([Descent("d", Adam(), himmelblau(), 60, settings={"lr": "lr"})], [LR]),
    "a saddle": ([Descent("d", sgd, saddle(), 60)], [LR]),
    "corners": ([Descent("d", sgd, beale(), 60, settings={"lr": 0.001})], []),
    "an askew bowl": ([Descent("d", sgd, booth(), 60)], [LR]),
    "one dimension": ([Descent("d", momentum, double_well(0.1), 60)], [LR, RHO]),
    "a loss with a slider": ([Descent("d", sgd, lambda x, y, kappa: (x**2 + kappa * y**2) / 2, 30)], [LR, Slider("kappa", 1, 100, 10, log=True)]),
    "another loss of SymPy's": ([Descent("d", sgd, lambda x, y: sp.log(1 + x**2) + sp.cos(y) + y**2, 30)], [LR]),
    "noise": ([Data("a", np.random.default_rng(0).normal(size=30)), Compute("b", lambda a, sigma: a * sigma),
               Descent("d", sgd, taco_shell(10), 30, noise=("b", "b"))], [LR, Slider("sigma", 0, 2, 1)]),
    "curves": ([Data("t", np.arange(1, 200)), Compute("c", lambda t, beta1, beta2: np.sqrt(1 - beta2**t) / (1 - beta1**t))],
               [Slider("beta1", 0, 0.99, 0.9), Slider("beta2", 0, 0.9999, 0.999)]),
    "functions of many": ([Data("x", np.linspace(-1, 1, 21)), Compute(("a", "b"), lambda *y: (y[0] + 2 * y[1], y[0] * y[2]), reads=["lr", "rho", "start_x"]),
                           Compute("line", lambda at, *w: w[0] + at * w[1], reads=("x", "a", "b")),
                           Compute("pick", lambda at, *w: sp.Piecewise((w[0], at < 0), (w[1], True)), reads=("x", "a", "b"))], [LR, RHO]),
    "draws": ([Data("u", np.random.default_rng(0).uniform(size=300)),
               Compute(("mask", "kept"), lambda u, keep: (sp.Piecewise((1, u < keep), (0, True)), sp.Piecewise((1 / keep, u < keep), (0, True))))],
              [Slider("keep", 0.1, 1, 0.5, label="keep probability")]),
    "a recurrence": ([Data("g", np.random.default_rng(0).normal(size=50)),
                      Iterate({"m": 0, "rate": "lr"}, lambda m, g, rate, t, lr: (m + (g - m) / t, lr / t), 50)], [LR]),
    "a chain": ([Data("node", np.arange(1, 13)), Compute("goal", lambda node, rho: rho**node),
                 Chain({"w": "goal", "v": 0}, lambda w, w_before, w_after, v, lr, rho, t: momentum(w, 2 * w - w_before - w_after, v, lr=lr / t, rho=rho), places=12, steps=9,
                       ends=(1, -0.5), sums={"off": lambda w, goal: (w - goal)**2, "ties": lambda w, w_after: abs(w - w_after)}),
                 Compute("far", lambda off: np.sqrt(off)), Compute("when", lambda now, lr: lr * now)], [LR, RHO]),
}


def figure(programs, sliders, **more):
    return Explore("figure", sliders, {"start": (1.5, -0.5)}, programs, [BLANK], **more)


@pytest.mark.parametrize("name", FIGURES)
def test_the_browser_computes_what_python_computes(browser, name):
    explore = figure(*FIGURES[name])
    rng = np.random.default_rng(0)
    for _ in range(5):
        at = {s.name: rng.uniform(s.low, s.high) for s in explore.sliders} | {"start_x": rng.uniform(-1, 2), "start_y": rng.uniform(-1, 1)}
        with np.errstate(all="ignore"):
            ours = explore.values(**at)
        theirs = in_browser(browser, explore, **at)
        assert set(ours) == set(theirs)
        for key, value in ours.items():
            same = np.isfinite(value) & (abs(value) < 1e100)
            assert np.allclose(np.asarray(value)[same], theirs[key][same], rtol=1e-9, atol=1e-9), key


def test_a_chain_is_shown_at_the_step_at_which_the_figure_stands(browser):
    explore = figure(*FIGURES["a chain"])
    assert {"off", "ties", "far"} < explore.timed and not {"w", "v", "now", "when", "goal"} & explore.timed
    w, v, goal = explore.values()["goal"], np.zeros(12), explore.values()["goal"]
    for step in range(10):
        ours, theirs = explore.values(now=step), in_browser(browser, explore, now=step)
        assert ours["now"] == theirs["now"] == step and ours["when"] == pytest.approx(0.02 * step)
        for found in (ours, theirs):
            np.testing.assert_allclose(found["w"], w, rtol=1e-12)
            np.testing.assert_allclose(found["v"], v, rtol=1e-12)
            assert found["off"][step] == pytest.approx(((w - goal)**2).sum(), rel=1e-12, abs=1e-15)
        near = np.concatenate([[1.0], w, [-0.5]])
        assert ours["ties"][step] == pytest.approx(abs(w - near[2:]).sum())
        w, v = momentum(w, 2 * w - near[:-2] - near[2:], v, lr=0.02 / (step + 1), rho=0.5)
    assert explore.values()["w"].tolist() == explore.values(now=9)["w"].tolist() == in_browser(browser, explore)["w"].tolist()


def test_the_script_is_small():
    assert len(gzip.compress(SCRIPT.read_bytes())) <= 12 * 1024


@pytest.mark.skipif(not COMPILER.exists(), reason="`npm install` in scripts/browser brings the compiler")
def test_the_script_is_typed():
    done = subprocess.run([COMPILER, "-p", COMPILER.parents[2]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_numbers_of_python_travel_with_the_figure(browser):
    explore = figure(*FIGURES["a valley"])
    for check in explore.data["checks"]:
        theirs = in_browser(browser, explore, **check["at"])
        for name, (first, middle, last) in check["values"].items():
            assert np.allclose([first, middle, last], theirs[name][[0, len(theirs[name]) // 2, -1]], rtol=1e-9, atol=1e-9)


def test_the_first_frame_is_the_drawing():
    panel = Panel((-1, 2), (-1, 1), [Levels(taco_shell(50)), Line(path="d", label="momentum"), Handle("start"), Mark(x=0.5, label="half")],
                  "$w_1$", "$w_2$", equal=True)
    explore = Explore("figure", [LR, RHO], {"start": (1.5, -0.5)}, FIGURES["a valley"][0], [panel])
    fig = explore.draw()
    ax, = fig.axes
    assert ax.get_xlim() == (-1, 2) and ax.get_ylim() == (-1, 1)
    path = next(line for line in ax.lines if line.get_label() == "momentum")
    values = explore.values()
    assert path.get_xdata().tolist() == values["d_x"].tolist() and path.get_ydata().tolist() == values["d_y"].tolist()
    data = explore.data["panels"][0]
    assert data["xlim"] == [-1, 2] and data["xlabel"] == "w₁"
    assert [layer["kind"] for layer in data["layers"]] == ["levels", "line", "handle", "mark"]
    assert len(data["layers"][0]["paths"]) == 12


def whole() -> Explore:
    """A figure with something of each kind: two small panels in a row, two wide ones below."""
    path = Panel((-1, 2), (-1, 1), [Line(path="d", label="momentum"), Line(path="e", label="SGD", color=3, dots=False), Handle("start")], "$w_1$", "$w_2$", equal=True)
    loss = Panel((0, 40), (1e-3, 10), [Line("step", "d_loss", label="momentum"), Line("step", "low", label="half of it", faint=True), Mark(y=0.5, label="half"), Mark(x=7)], logy=True, aspect=0.6)
    rate = Panel((0.5, 100), (0, 1), [Line("step", "twice", line=False, label="twice"), Mark(x=10.0, label="ten")], title="rates", logx=True, wide=True, aspect=0.25)
    programs = [Descent("d", momentum, taco_shell(50), 40), Descent("e", sgd, taco_shell(50), 40, settings={"lr": "lr"}), Data("grid", [1, 2]),
                Compute("low", lambda d_loss: d_loss / 2), Compute("twice", lambda step, lr: 2 * lr * step), Compute("fine", lambda grid, lr: grid * lr)]
    return Explore("figure", [LR, RHO], {"start": (1.5, -0.5)}, programs, [path, loss, rate, rate], readout="{twice}")


def test_what_has_a_value_for_each_step_is_known():
    assert whole().steps == 40
    assert whole().timed == {"step", "low", "twice", *(f"{path}_{what}" for path in "de" for what in ("x", "y", "x_v", "y_v", "loss", "distance"))} - {"e_x_v", "e_y_v"}
    assert figure([Compute("twice", lambda lr: 2 * lr)], [LR]).timed == set() and figure([], []).steps == 0


def test_the_drawing_has_a_place_for_each_panel():
    fig = whole().draw(width=8)
    path, loss, *_ = fig.axes
    places = [ax.get_subplotspec() for ax in fig.axes]
    assert [(place.rowspan.start, place.colspan.start, place.colspan.stop) for place in places] == [(0, 0, 1), (0, 1, 2), (1, 0, 2), (2, 0, 2)]
    side = 8 / 2 - 0.7
    heights = [0.75 + max(2 / 3, 0.6) * side, *2 * [0.75 + 0.25 * (8 - 0.7)]]
    assert places[0].get_gridspec().get_height_ratios() == pytest.approx(heights) and fig.get_size_inches() == pytest.approx([8, sum(heights)])
    assert whole().draw(height=3).get_size_inches() == pytest.approx([7.2, 3])
    assert [(ax.get_xscale(), ax.get_yscale()) for ax in fig.axes] == [("linear", "linear"), ("linear", "log"), ("log", "linear"), ("log", "linear")]
    assert path.get_aspect() == 1 and loss.get_aspect() == "auto"
    assert [ax.get_title("left") for ax in fig.axes] == ["", "", "rates", "rates"] and path.get_ylabel() == "$w_2$"
    # A name stands in the first panel that has it.
    assert [ax.get_legend_handles_labels()[1] for ax in fig.axes] == [["momentum", "SGD"], ["half of it"], ["twice"], []]
    assert [ax.get_legend() is not None for ax in fig.axes] == [True, True, True, False]


def test_the_drawing_looks_as_the_layers_say():
    path, loss, rate, _ = whole().draw().axes
    moved, other, ring = path.lines
    assert [to_hex(line.get_color()).upper() for line in (moved, other)] == [COLORS[0], COLORS[3]]
    assert [line.get_marker() for line in (moved, other, ring)] == ["o", "None", "o"]
    assert (moved.get_linewidth(), moved.get_markersize()) == (1.4, 3) and moved.get_linestyle() != "None" != other.get_linestyle()
    assert ring.get_xdata().tolist() == [1.5] and ring.get_ydata().tolist() == [-0.5] and ring.get_markerfacecolor() == "none"
    assert (ring.get_markersize(), ring.get_markeredgewidth(), to_hex(ring.get_color()).upper(), ring.get_linestyle()) == (7, 1.6, COLORS[1], "None")
    fall, low, half, seven = loss.lines
    assert fall.get_xdata().tolist() == list(range(41)) and (low.get_ydata() == fall.get_ydata() / 2).all()
    assert (low.get_alpha(), low.get_linewidth(), low.get_color(), low.get_linestyle(), low.get_marker()) == (0.3, 0.8, INK, "-", "None")
    assert list(half.get_ydata()) == [0.5, 0.5] and list(seven.get_xdata()) == [7, 7] and half.get_linewidth() == 0.9 and half.get_alpha() == 0.7
    words, = loss.texts
    assert (words.get_text(), words.xy, words.xyann, words.get_ha(), words.get_fontsize()) == ("half", (1, 0.5), (-3, 3), "right", 8.5)
    above, = rate.texts
    assert (above.get_text(), above.xy, above.xyann, above.get_ha(), above.get_fontsize()) == ("ten", (10, 1), (3, -9), "left", 8.5)
    point = rate.lines[0]
    assert (point.get_linestyle(), point.get_marker(), point.get_markersize()) == ("None", "o", 5)


def test_level_lines_and_bands_are_drawn_where_they_are_asked_for():
    shell, panel = taco_shell(3), {"xlim": (-1, 1), "ylim": (-1, 1)}
    lines, bands, none = (Explore("levels", panels=[Panel(layers=layers, **panel)]).draw().axes[0].collections for layers in (
        [Levels(shell, [0.5, 1.0])], [Levels(shell, [0.0, 0.5, 1.0], filled=True)], []))
    assert lines[0].levels.tolist() == [0.5, 1.0] and not lines[0].filled
    assert bands[0].levels[:3].tolist() == [0.0, 0.5, 1.0] and bands[0].filled
    assert len(none) == 0


def test_series_of_two_lengths_are_refused_by_name():
    figure = Explore("lengths", [Slider("a", 0, 1, 0.5)], programs=[Data("x", [1, 2, 3])], panels=[Panel((0, 1), (0, 1), [Line("x", "a")])])
    with pytest.raises(ValueError, match=r"\('x', 'a'\) of 3 and 1"):
        figure.draw()


def test_what_travels_to_the_browser_is_whole():
    data = whole().data
    assert data["sliders"][0] == {"name": "lr", "label": "learning rate α", "low": 0.001, "high": 0.1, "value": 0.02, "step": None, "log": False, "marks": [], "resets": []}
    assert data["points"] == [{"name": "start_x", "value": 1.5, "low": -1, "high": 2}, {"name": "start_y", "value": -0.5, "low": -1, "high": 1}]
    assert (data["name"], data["steps"], data["timed"], data["readout"]) == ("figure", 40, sorted(whole().timed), "{twice}")
    path, *_ = data["panels"]
    assert [(panel["logx"], panel["logy"], panel["wide"], panel["title"]) for panel in data["panels"]] == [(False, False, False, ""), (False, True, False, ""), *2 * [(True, False, True, "rates")]]
    assert [panel["height"] for panel in data["panels"]] == pytest.approx([2 / 3, 0.6, 0.25, 0.25])
    lines = [layer for panel in data["panels"] for layer in panel["layers"] if layer["kind"] == "line"]
    assert [(line["x"], line["y"], line["label"], line["color"], line["dots"], line["line"], line["faint"], line["timed"]) for line in lines[:5]] == [
        ("d_x", "d_y", "momentum", 0, True, True, False, True), ("e_x", "e_y", "SGD", 3, False, True, False, True),
        ("step", "d_loss", "momentum", 0, False, True, False, True), ("step", "low", "half of it", 0, False, True, True, True), ("step", "twice", "twice", 2, True, False, False, True)]
    marks = [layer for panel in data["panels"][:3] for layer in panel["layers"] if layer["kind"] == "mark"]
    assert [(mark["axis"], mark["at"], mark["label"]) for mark in marks] == [("y", 0.5, "half"), ("x", 7, ""), ("x", 10.0, "ten")]
    assert path["layers"][-1]["numbers"] == ["start_x", "start_y"]
    first, second = data["checks"]
    assert first["at"] == {} and second["at"] == pytest.approx({"lr": 0.75 * 0.02 + 0.25 * 0.001, "rho": 0.375})
    values = whole().values(**second["at"])
    assert second["values"]["d_x"] == [values["d_x"][k] for k in (0, 20, 40)] and second["values"]["twice"] == [values["twice"][k] for k in (0, 20, 40)]


def test_numbers_that_are_not_finite_travel_as_nothing():
    gone = figure([Compute("root", lambda lr: np.sqrt(lr - 0.5))], [LR])
    with np.errstate(invalid="ignore"):
        assert gone.data["checks"][0]["values"]["root"] == [None] * 3


def test_bands_lie_in_the_panel_and_are_as_many_as_their_names():
    levels = Levels(lambda p: (p**2).sum(-1), [0, 0.5, 1.0], filled=True, labels=["near", "far", "out"])
    paths = Panel((-1, 1), (-1, 1), [levels]).data({}, set())["layers"][0]["paths"]
    assert len(paths) == 3 and all(path.startswith("M") and path.endswith("z") for path in paths)


def test_the_static_bands_are_of_the_landscape_as_it_lies(monkeypatch):
    drawn = {}
    monkeypatch.setattr("matplotlib.axes.Axes.contourf", lambda self, x, y, z, **how: drawn.update(x=x, y=y, z=z, **how))
    Explore("a", panels=[Panel((-1, 2), (0, 1), [Levels(lambda p: p[..., 0] + 10 * p[..., 1], [0, 0.5, 1.0], filled=True)])]).draw()
    np.testing.assert_allclose(drawn["z"], drawn["x"] + 10 * drawn["y"])
    assert list(drawn["levels"]) == [0, 0.5, 1.0] and len(drawn["colors"]) == 3


def test_bands_fade_and_what_is_out_of_bounds_has_another_colour():
    shades = [_shade(i, 4) for i in range(4)]
    assert [shade[:3] for shade in shades] == [to_rgb(COLORS[0])] * 3 + [to_rgb(COLORS[1])]
    assert [shade[3] for shade in shades] == pytest.approx([0.5, 1 / 3, 1 / 6, 0.16])
    assert _shade(0, 1) == (*to_rgb(COLORS[1]), 0.16)


def test_a_line_has_its_own_colour_or_its_labels_or_the_first():
    assert color_of(Line("a", "b", color=2, label="x"), {"x": 1}) == 2
    assert color_of(Line("a", "b", label="x"), {"x": 1}) == 1
    assert color_of(Line("a", "b"), {"x": 1}) == 0


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Slider("2nd", 0, 1, 0.5), "name must be a name of letters, digits and _, got '2nd'"),
    (lambda: Slider("a", 0, 1, 2), r"value must be in \[0, 1\], got 2"),
    (lambda: Slider("a", 1, 0, 0.5), "high must be above low = 1, got 0"),
    (lambda: Slider("a", 0, 1, 0.5, log=True), "low must be positive where log is True, got 0"),
    (lambda: Explore("e", [Slider("a", 0, 1, 0.5, resets=["b"])], panels=[BLANK]), r"resets must name sliders, got \['b'\]; known are \['a'\]"),
    (lambda: Slider("a", 0, 1, 0.5, marks={"best": 2}), r"marks\['best'\] must be a number in \[0, 1\], got 2"),
    (lambda: Descent("d", sgd, taco_shell(2), 3, settings={"rho": 1}), r"settings must be hyperparameters of the rule \['lr'\], got \['rho'\]"),
    (lambda: Descent("d", sgd, rosenbrock(3), 3), "loss must be of one or two numbers, got 3"),
    (lambda: Descent("d", sgd, taco_shell(2), 3, noise=["a"]), r"noise must be a name for each of 2 coordinates, got \['a'\]"),
    (lambda: Line(), "path must be the name of a descent"),
    (lambda: Mark(x=1, y=1), "x must be given, or y and not both, got 1 and 1"),
    (lambda: Handle("a", x="b", y="c"), "point must be the name of a point"),
    (lambda: Panel((1, 0), (0, 1), []), "xlim must be 2 finite numbers that rise"),
    (lambda: Panel((0, 1), (0, 1), [], logx=True), "xlim must be positive on an axis of powers"),
    (lambda: Levels(saddle(), [1, 0]), "levels must rise"),
    (lambda: Levels(saddle(), [0, 1], filled=True, labels=["a"]), "labels must be 2"),
    (lambda: Explore("a", panels=[]), r"panels must hold one at least, got \[\]"),
    (lambda: figure([Compute("a", lambda b: b)], []), r"programs must read what is known before them, got \['b'\] in 'a'"),
    (lambda: figure([Compute("lr", lambda lr: lr)], [LR]), r"programs must compute what has no name yet, got \['lr'\] again"),
    (lambda: Explore("a", panels=[Panel((0, 1), (0, 1), [Line("a", "b")])]), r"panels and marks must show what is known, got \['a', 'b'\]"),
    (lambda: figure([], [], readout="{nothing}"), "readout must hold names of what is known in braces, got {nothing}"),
    (lambda: figure([Iterate({"a": 0}, lambda a: a, 3), Iterate({"b": 0}, lambda b: b, 4)], []), r"the same number of steps, got \[3, 4\]"),
    (lambda: Iterate({"2nd": 0}, lambda a: a, 3), "first must be a name of letters, digits and _, got '2nd'"),
    (lambda: Iterate({}, lambda: 0, 3), "first must hold one at least, got {}"),
    (lambda: figure([Compute(("a", "b"), lambda lr: lr)], [LR]).values(), "name must be a name for each of the 1 results"),
    (lambda: figure([], [LR]).values(rho=1), r"numbers must be among \['lr', 'start_x', 'start_y', 'now'\], got 'rho'"),
    (lambda: figure(*FIGURES["a chain"]).values(now=10), r"numbers\['now'\] must be a whole number from 0 to 9, got 10"),
    (lambda: Chain({}, lambda w: w, 3, 3), "first must hold one at least, got {}"),
    (lambda: Chain({"w": 0}, lambda w: w, 3, 3, ends=[0.0]), r"ends must be 2 finite numbers, got \[0.0\]"),
    (lambda: figure([Compute("now", lambda lr: lr)], [LR]), r"programs must compute what has no name yet, got \['now'\] again"),
])
def test_what_cannot_be_shown_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_slider_may_stand_at_its_ends():
    for value in (0, 1):
        assert Slider("a", 0, 1, value, marks={"here": value}).data["value"] == value


def test_a_function_that_neither_the_tape_nor_sympy_follows_is_refused():
    with pytest.raises(TypeError, match="what must be elementwise, for the tape or for SymPy"):
        figure([Compute("a", lambda lr: float(lr))], [LR])


def test_the_shown_figure_carries_it():
    explore = figure(*FIGURES["a valley"])
    bundle = show(explore.draw(), alt="A blank panel.", caption="**Blank.**", play=explore)._repr_mimebundle_()
    assert any(isinstance(part, dict) and part["play"]["name"] == "figure" for part in bundle.values())


def test_beyond_the_ends_of_a_chain_is_zero_unless_it_is_said():
    def middle(w_before, w_after):
        return (w_before + w_after) / 2

    (open_ends,), (held,) = Chain({"w": 1}, middle, places=3, steps=1).made, Chain({"w": 1}, middle, places=3, steps=1, ends=(3, 5)).made
    assert open_ends.run({"now": 1})["w"].tolist() == [0.5, 1.0, 0.5]
    assert held.run({"now": 1})["w"].tolist() == [2.0, 1.0, 3.0]


@pytest.mark.parametrize(("label", "text"), [("$w_1$", "w₁"), (r"learning rate $\alpha$", "learning rate α"), ("loss", "loss"), (r"$\beta_2^t$", "β₂^t"), (r"$\max f$", "maxf"),
                                             (r"$|w|^2$", "|w|²"), (r"$v_{10}$ of $u_{t}$", "v₁₀ of uₜ")])
def test_labels_are_written_as_the_browser_writes_them(label, text):
    assert plain(label) == text
