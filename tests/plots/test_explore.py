"""A figure that the reader steers computes in the browser what Python computes, and can be steered to what is said of it."""

import gzip
import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from py_mini_racer import MiniRacer

from reference_impl import Adam, beale, booth, double_well, himmelblau, rosenbrock, saddle, taco_shell
from reference_impl.optimization.momentum import momentum
from reference_impl.optimization.sgd import sgd
from reference_impl.plots import Compute, Data, Descent, Explore, Handle, Iterate, Levels, Line, Mark, Panel, Slider, show
from reference_impl.plots.panels import color_of, plain

SCRIPT = Path(__file__).parents[2] / "docs/javascripts/explore.js"
COMPILER = Path(__file__).parents[2] / "scripts/browser/node_modules/.bin/tsc"
BLANK = Panel((0, 1), (0, 1), [])
LR, RHO = Slider("lr", 0.001, 0.1, 0.02), Slider("rho", 0, 0.99, 0.5)


@pytest.fixture(scope="module")
def browser():
    """The site's script, in an engine without a page."""
    engine = MiniRacer()
    engine.eval("var window = {addEventListener() {}}, document = {querySelectorAll: () => [], documentElement: {classList: {toggle() {}}}}, location = {hash: ''}, matchMedia = () => ({})")
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
        if script.name not in (SCRIPT.name, "python.js"):  # which is a worker, alone
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
    "draws": ([Data("u", np.random.default_rng(0).uniform(size=300)),
               Compute(("mask", "kept"), lambda u, keep: (sp.Piecewise((1, u < keep), (0, True)), sp.Piecewise((1 / keep, u < keep), (0, True))))],
              [Slider("keep", 0.1, 1, 0.5, label="keep probability")]),
    "a recurrence": ([Data("g", np.random.default_rng(0).normal(size=50)),
                      Iterate({"m": 0, "rate": "lr"}, lambda m, g, rate, t, lr: (m + (g - m) / t, lr / t), 50)], [LR]),
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
    (lambda: figure([Compute(("a", "b"), lambda lr: lr)], [LR]).values(), "name must be a name for each of the 1 results"),
    (lambda: figure([], [LR]).values(rho=1), r"numbers must be among \['lr', 'start_x', 'start_y'\], got 'rho'"),
])
def test_what_cannot_be_shown_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_function_that_neither_the_tape_nor_sympy_follows_is_refused():
    with pytest.raises(TypeError, match="what must be elementwise, for the tape or for SymPy"):
        figure([Compute("a", lambda lr: float(lr))], [LR])


def test_the_shown_figure_carries_it():
    explore = figure(*FIGURES["a valley"])
    bundle = show(explore.draw(), alt="A blank panel.", caption="**Blank.**", play=explore)._repr_mimebundle_()
    assert any(isinstance(part, dict) and part["play"]["name"] == "figure" for part in bundle.values())


@pytest.mark.parametrize(("label", "text"), [("$w_1$", "w₁"), (r"learning rate $\alpha$", "learning rate α"), ("loss", "loss"), (r"$\beta_2^t$", "β₂^t"), (r"$\max f$", "maxf"),
                                             (r"$|w|^2$", "|w|²"), (r"$v_{10}$ of $u_{t}$", "v₁₀ of uₜ")])
def test_labels_are_written_as_the_browser_writes_them(label, text):
    assert plain(label) == text
