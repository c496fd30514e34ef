"""Comparison: every row of the table against its framework, and what the chapter says about reading a path."""

import json
from pathlib import Path

import numpy as np
import pytest
from peers import our_path, peer_default, peer_lr, peer_path

from reference_impl import (
    SGD,
    AdaGrad,
    Adam,
    Momentum,
    Nesterov,
    RMSProp,
    bowl,
    double_well,
    minimize,
    quadratic,
    rosenbrock,
    saddle,
    taco_shell,
)
from reference_impl.optimization.comparison import (
    ROWS,
    VERSIONS,
    BeforeCorrection,
    Row,
    Table,
    curvature_along,
    implied_gradients,
    read_hessian,
    refutes_convexity,
    secant_error,
)

CONFORMANCE = Path(__file__).parents[1] / "conformance"
LIVE = ("PyTorch", "Keras", "Optax")
PEERS = {name: json.loads((CONFORMANCE / f"peers_{name.lower()}.json").read_text()) for name in LIVE}
SCRATCH = json.loads((CONFORMANCE / "peers_scratch.json").read_text())
CS231N = json.loads((CONFORMANCE / "cs231n_optim.json").read_text())
TOLERANCE = {"rtol": 0, "atol": 1e-12}


def rows(*frameworks):
    chosen = [row for row in ROWS if row.framework in frameworks]
    return pytest.mark.parametrize("row", chosen, ids=[f"{row.framework} {row.call}" for row in chosen])


def test_no_row_goes_untested():
    assert {row.framework for row in ROWS} == {*LIVE, "CS231n", "Deep Learning from Scratch"} == set(VERSIONS)
    assert len({(row.framework, row.call) for row in ROWS}) == len(ROWS)
    for name in LIVE:
        assert {row.call for row in ROWS if row.framework == name} == set(PEERS[name]["rows"])
        assert VERSIONS[name] == PEERS[name]["version"]
    assert {row.call for row in ROWS if row.framework == "Deep Learning from Scratch"} == set(SCRATCH["rows"])
    assert {row.name for row in ROWS if row.framework == "CS231n"} == {name for name in CS231N if isinstance(CS231N[name], dict)}


@rows(*LIVE)
def test_the_path_is_as_recorded(row):
    kept = PEERS[row.framework]["rows"][row.call]
    assert kept["lr"] == row.lr
    theirs = {int(step): np.array(w) for step, w in kept["path"].items()}
    if row.ours is None:
        return
    ours = our_path(row.optimizer(peer_lr), l2=row.l2)
    assert max(theirs) == 100
    for step, w in theirs.items():
        np.testing.assert_allclose(ours[step], w, **TOLERANCE)


@pytest.mark.peers
@rows(*LIVE)
def test_the_path_is_the_frameworks(row):
    theirs = peer_path(row)
    assert peer_default(row) == row.lr
    if row.ours is not None:
        np.testing.assert_allclose(our_path(row.optimizer(peer_lr), l2=row.l2), theirs, **TOLERANCE)


def test_what_is_a_default_there_is_a_default_in_the_row():
    """A setting that is ours by mistake would be seen: each row's settings change its path."""
    for row in ROWS:
        if row.ours is not None:
            for name in row.settings:
                fewer = {key: value for key, value in row.settings.items() if key != name}
                other = our_path(row.ours(lr=peer_lr, **fewer), l2=row.l2)
                assert np.abs(other - our_path(row.optimizer(peer_lr), l2=row.l2)).max() > 1e-11, (row, name)


def test_what_none_of_ours_does_says_so():
    with pytest.raises(ValueError, match="Nesterov until 2021 is none of ours: the velocity is updated"):
        next(row for row in ROWS if row.ours is None).optimizer(0.1)


def arrays(case, *names):
    return {name: np.linspace(*case[name]["linspace"], case[name]["num"]).reshape(case[name]["shape"]) for name in names}


@rows("CS231n")
def test_one_step_is_cs231ns(row):
    case = CS231N[row.name]
    optimizer = row.optimizer(case["learning_rate"])
    for ours, theirs in (("rho", "momentum"), ("decay", "decay_rate"), ("eps", "epsilon"), ("beta1", "beta1"), ("beta2", "beta2")):
        if theirs in case:
            assert getattr(optimizer, ours) == case[theirs]
    states = {"sgd_momentum": {"v": "velocity"}, "rmsprop": {"s": "cache"}, "adam": {"m": "m", "v": "v"}}[row.name]
    given = arrays(case, "w", "dw", *states.values())
    saved = {f"{ours}/w": given[theirs] for ours, theirs in states.items()}
    optimizer.load_state_dict({"rule": optimizer._rule().__name__, "steps": case.get("t_before", 1)} | saved)
    params = {"w": given["w"]}
    optimizer.update(params, {"w": given["dw"]})
    for got, expected in [(params["w"], case["next_w"])] + [(optimizer.state[ours]["w"], case[f"next_{name}"]) for ours, name in states.items()]:
        expected = np.array(expected)
        assert (np.abs(got - expected) / np.maximum(1e-8, np.abs(got) + np.abs(expected))).max() < case["tol"]


@rows("Deep Learning from Scratch")
def test_the_first_steps_are_the_books(row):
    expected = [float(w) for w in SCRATCH["rows"][row.call]["w"]]

    def steps(optimizer):
        params, got = {"w": np.array(1.0)}, []
        for i, g in enumerate(SCRATCH["gradients"]):
            optimizer.update(params, {"w": np.array(float(g))})
            if velocities := SCRATCH["rows"][row.call].get("v"):  # they tell where the learning rate enters
                assert float(optimizer.state["v"]["w"]) == pytest.approx(float(velocities[i]), abs=1e-15)
            got.append(float(params["w"]))
        return got

    if row.ours is not None:
        np.testing.assert_allclose(steps(row.optimizer(row.lr)), expected, rtol=0, atol=1e-15)
    else:  # the first step is already too long: 1 + rho + rho^2 where 1 + rho is right
        assert (1 - expected[0]) / (1 - steps(Nesterov(lr=row.lr, rho=0.9))[0]) == pytest.approx(2.71 / 1.9)


def test_the_table_shows_what_the_row_holds():
    row = Row("Keras", "Adam", Adam, {"eps": BeforeCorrection(1e-7)}, {"amsgrad": True})
    assert row.cells() == ("`Adam(amsgrad=True)`", "`Adam(eps=BeforeCorrection(eps=1e-07, beta2=0.999))`", "", "1e-07, after the root, uncorrected", "", "")
    assert Table(ROWS[:1])._repr_markdown_().splitlines() == [
        "| PyTorch (2.13.0) | here | default α | ε | state | weight decay |", "| --- | --- | --- | --- | --- | --- |",
        "| `SGD()` | `SGD()` | 0.001 |  |  |  |"]


def test_an_uncorrected_eps_is_eps_hat():
    np.testing.assert_allclose(our_path(Adam(lr=0.1, eps=BeforeCorrection(1e-3))), our_path(Adam(lr=0.1, eps=1e-3, eps_hat=True)), **TOLERANCE)


# Reading a path


def gradients(landscape, path):
    return landscape.grad(path)


@pytest.mark.parametrize("optimizer", [SGD(lr=0.15), Momentum(lr=0.05), Nesterov(lr=0.05), Adam(lr=0.1), AdaGrad(lr=0.5)], ids=lambda o: type(o).__name__)
def test_the_spectrum_of_an_askew_quadratic_is_recovered(optimizer):
    rng = np.random.default_rng(0)
    spread = np.array([-0.3, 0.3, 1.0, 4.0, 9.0])
    axes, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    hessian = axes @ np.diag(spread) @ axes.T
    path, _ = minimize(lambda w: w @ hessian @ w / 2, rng.standard_normal(5), optimizer, 30, grad=lambda w: hessian @ w)
    reading = read_hessian(path, path @ hessian, tolerance=1e-9)
    np.testing.assert_allclose(reading.spectrum, spread, atol=1e-6)
    np.testing.assert_allclose(reading.hessian, hessian, atol=1e-6)
    assert reading.residual < 1e-6
    secants = curvature_along(path, path @ hessian)
    assert spread[0] - 1e-9 <= secants.min() <= secants.max() <= spread[-1] + 1e-9


def test_what_the_path_never_visits_stays_unknown():
    path, _ = minimize(saddle(), [1.0, 0.0], SGD(lr=0.1), 40)
    reading = read_hessian(path, saddle().grad(path))
    np.testing.assert_allclose(reading.spectrum, [1.0])
    np.testing.assert_allclose(np.abs(reading.directions.ravel()), [1, 0])
    assert not refutes_convexity(path, saddle().grad(path))
    path, _ = minimize(saddle(), [1.0, 1e-6], SGD(lr=0.1), 100)
    np.testing.assert_allclose(read_hessian(path, saddle().grad(path), tolerance=1e-9).spectrum, [-1.0, 1.0])
    assert refutes_convexity(path, saddle().grad(path))


def test_the_secant_is_the_mean_curvature_of_the_step():
    wells, path = double_well(), np.array([[-1.0], [0.4]])
    at = np.linspace(-1.0, 0.4, 100_001)[:, None]
    assert curvature_along(path, wells.grad(path))[0] == pytest.approx(wells.hess(at).mean(), abs=1e-4)


def test_no_hessian_explains_a_loss_that_is_no_quadratic():
    path, _ = minimize(rosenbrock(), [-1.2, 1.0], SGD(lr=1e-3), 300)
    assert read_hessian(path, rosenbrock().grad(path)).residual > 0.01
    assert refutes_convexity(double_well().minima, double_well().grad(double_well().minima)) is False
    crossing = np.array([[-1.0], [-0.2], [0.2]])
    assert refutes_convexity(crossing, double_well().grad(crossing))


@pytest.mark.parametrize(("optimizer", "rho"), [(SGD(lr=0.1), 0.0), (Momentum(lr=0.1, rho=0.8), 0.8), (Momentum(lr=0.1, rho=0.8, lr_inside=True), 0.8)])
def test_the_path_alone_gives_the_gradients(optimizer, rho):
    shell = taco_shell(5)
    path, _ = minimize(shell, [3.0, 1.0], optimizer, 20)
    np.testing.assert_allclose(implied_gradients(path, 0.1, rho), shell.grad(path[:-1]), atol=1e-12)


@pytest.mark.parametrize("optimizer", [AdaGrad(lr=0.5, eps=0.0), RMSProp(lr=0.1, eps=0.0), Adam(lr=0.1, eps=0.0)], ids=lambda o: type(o).__name__)
def test_an_adaptive_path_is_the_same_on_every_axis_parallel_quadratic(optimizer):
    paths = [minimize(quadratic(c), [2.0, 1.0], optimizer, 20).path for c in ([1.0, 1.0], [1.0, 100.0], [0.3, 7.0])]
    for path in paths[1:]:
        np.testing.assert_allclose(path, paths[0], rtol=0, atol=1e-12)


def test_the_secants_error_under_noise():
    rng, path = np.random.default_rng(0), np.array([[1.0, 0.0], [0.7, 0.4]])
    secants = [curvature_along(path, path + 0.1 * rng.standard_normal(path.shape))[0] for _ in range(4000)]
    assert np.std(secants) == pytest.approx(secant_error(0.5, 0.1), rel=0.05)
    assert np.mean(secants) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("lr", "curvature"), [(0.1, 1.0), (0.5, 2.0)])
def test_a_cloud_tells_the_learning_rate(lr, curvature):
    rng = np.random.default_rng(0)
    w, path, grads = np.zeros(1), [], []
    for _ in range(8000):
        g = curvature * w + rng.standard_normal(1)
        path.append(w)
        grads.append(g)
        w = w - lr * g
    reading = read_hessian(np.array(path), np.array(grads))
    assert reading.spectrum[0] == pytest.approx(1 / lr + curvature / 2, rel=0.05)


def test_bad_input_is_refused():
    path, _ = minimize(bowl(), [1.0, 1.0], SGD(lr=0.1), 3)
    for call in (curvature_along, read_hessian, refutes_convexity):
        with pytest.raises(ValueError, match=r"path and grads must have one shape \(steps \+ 1, n\) with steps >= 1, got \(4, 2\) and \(3, 2\)"):
            call(path, path[:3])
    with pytest.raises(ValueError, match="path must move, got steps that are all zero"):
        read_hessian(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"tolerance must lie in \(0, 1\), got 1"):
        read_hessian(path, path, tolerance=1)
    assert np.isnan(curvature_along(np.ones((2, 1)), np.ones((2, 1)))).all()
    assert read_hessian(path, np.zeros((4, 2))).residual == 0
