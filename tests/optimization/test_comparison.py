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
    AdamW,
    Landscape,
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
    on_one_scale,
    read_hessian,
    refutes_convexity,
    relative_gradients,
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
    row = Row("Keras", "Adam", AdamW, {"eps": BeforeCorrection(1e-7), "weight_decay": 0.1}, {"weight_decay": 0.1}, lr=1e-3)
    assert row.cells() == ("`Adam(weight_decay=0.1)`", "`AdamW` with `eps=BeforeCorrection(1e-07)`, `weight_decay=0.1`", "0.001",
                           "1e-07, after the root, uncorrected", "decay decoupled, 0.1")
    assert Row("PyTorch", "SGD", Momentum, options={"momentum": 0.9}, l2=0.1).cells()[-1] == "α outside the velocity; decay coupled, 0.1"
    assert Table(ROWS[:1])._repr_markdown_().splitlines() == ["| PyTorch (2.13.0) | here | default α |", "| --- | --- | --- |", "| `SGD()` | `SGD` | 0.001 |"]


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


def test_a_small_residual_vouches_for_no_curvature():
    valley = rosenbrock()
    path, _ = minimize(valley, [-1.2, 1.0], Momentum(lr=1e-3, rho=0.9), 320)
    path = path[300:320]
    reading = read_hessian(path, valley.grad(path))
    assert reading.residual < 0.05
    assert reading.spectrum[0] < 0 < np.linalg.eigvalsh(valley.hess(path)).min()
    assert not refutes_convexity(path, valley.grad(path))


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


TURN = np.array([[1, 1], [-1, 1]]) / 2**0.5


def turned_shell(condition):
    shell = taco_shell(condition)
    return Landscape("turned", 2, lambda w: shell(w @ TURN), lambda w: shell.grad(w @ TURN) @ TURN.T,
                     lambda w: TURN @ shell.hess(w @ TURN) @ TURN.T, shell.minima)


ADAPTIVE = pytest.mark.parametrize(
    "optimizer",
    [AdaGrad(lr=0.5, eps=0.0), AdaGrad(lr=lambda k: 0.5 / (1 + k) ** 0.5, eps=0.0), RMSProp(lr=0.05, eps=0.0), RMSProp(lr=0.05, decay=0.9, eps=0.0),
     Adam(lr=0.05, eps=0.0), Adam(lr=0.05, eps=0.0, eps_hat=True), Adam(lr=lambda k: 0.1 / (1 + k), beta1=0.5, beta2=0.9, eps=0.0)],
    ids=["AdaGrad", "AdaGrad, falling", "RMSProp", "RMSProp .9", "Adam", "Adam hat", "Adam, falling"])


@ADAPTIVE
def test_an_adaptive_path_gives_the_gradients_up_to_one_factor_a_coordinate(optimizer):
    shell = turned_shell(50)
    path, _ = minimize(shell, TURN @ [3.0, 1.6], optimizer, 30)
    ratio = relative_gradients(path, optimizer) / shell.grad(path[:-1])
    np.testing.assert_allclose(ratio / ratio[0], 1, atol=1e-9)
    np.testing.assert_allclose(1 / ratio[0], np.abs(shell.grad(path[0])), rtol=1e-9)  # the unit is the first gradient


@ADAPTIVE
def test_the_hessians_symmetry_ties_the_factors_together(optimizer):
    path, _ = minimize(turned_shell(50), TURN @ [3.0, 1.6], optimizer, 30)
    reading = read_hessian(path[:-1], on_one_scale(path[:-1], relative_gradients(path, optimizer)), tolerance=1e-9)
    assert reading.spectrum[1] / reading.spectrum[0] == pytest.approx(50, rel=1e-6)
    assert reading.residual < 1e-8


def test_an_adagrad_path_alone_refutes_convexity_and_never_that_of_a_convex_loss():
    optimizer = AdaGrad(lr=0.1, eps=0.0)
    for start, convex in ((-0.1, False), (-0.5, False), (-1.8, True), (2.0, True)):
        path, _ = minimize(double_well(), [start], optimizer, 20)
        grads = relative_gradients(path, optimizer)
        ratio = grads / double_well().grad(path[:-1])
        np.testing.assert_allclose(ratio / ratio[0], 1, atol=1e-12)
        assert refutes_convexity(path[:-1], grads) is not convex
    assert abs(path[1, 0] - path[0, 0]) == pytest.approx(0.1)  # the first step is the learning rate


@pytest.mark.parametrize("factor", [1e-9, 1.0, 1e9])
def test_a_factor_may_be_of_any_size(factor):
    hessian, path = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.5]])
    np.testing.assert_allclose(on_one_scale(path, path @ hessian * [1.0, factor]), path @ hessian, rtol=1e-6)


def test_an_axis_parallel_shell_keeps_a_factor_for_each_coordinate():
    path, _ = minimize(quadratic([1.0, 30.0]), [8.0, 2.0], AdaGrad(lr=1.5, eps=0.0), 20)
    with pytest.raises(ValueError, match="path must couple all coordinates in one Hessian"):
        on_one_scale(path[:-1], relative_gradients(path, AdaGrad(lr=1.5, eps=0.0)))
    with pytest.raises(ValueError, match="path must span 2 directions, got 1"):
        on_one_scale(path[:2], path[:2])
    assert on_one_scale(path[:, :1], path[:, :1] * 3).tolist() == (path[:, :1] * 3).tolist()


def test_a_known_start_of_the_sum_or_a_known_eps_gives_the_scale_away():
    shell, start = taco_shell(30), np.array([8.0, 2.0])
    optimizer = AdaGrad(lr=1.5, eps=0.0, initial_accumulator=0.1)
    path, _ = minimize(shell, start, optimizer, 10)
    np.testing.assert_allclose(relative_gradients(path, optimizer), shell.grad(path[:-1]), rtol=1e-10)
    for eps, digits in ((1e-3, 1e-10), (1e-8, 1e-6)):
        path, _ = minimize(shell, start, AdaGrad(lr=1.5, eps=eps), 1)
        r = np.abs(path[1] - path[0]) / 1.5
        np.testing.assert_allclose(eps * r / (1 - r), np.abs(shell.grad(start)), rtol=digits)


def test_what_eps_and_cancellation_cost():
    path, _ = minimize(double_well(), [-0.1], AdaGrad(lr=0.1, eps=1e-6), 20)
    ratio = relative_gradients(path, AdaGrad(lr=0.1)) / double_well().grad(path[:-1])
    assert 1e-7 < np.abs(ratio / ratio[0] - 1).max() < 1e-4
    costs = []
    for beside in (1e-2, 1e-4, 1e-6):
        path, _ = minimize(saddle(), [1.0, beside], AdaGrad(lr=1.0, eps=0.0), 5)
        ratio = relative_gradients(path, AdaGrad(lr=1.0))[:, 1] / saddle().grad(path[:-1])[:, 1]
        costs.append(np.abs(ratio / ratio[0] - 1).max())
    assert costs[0] < 1e-11 < costs[1] < 1e-7 < costs[2] < 1e-2
    for q in (10, 100, 1000):  # a gradient q times all before it multiplies what ε leaves by q²
        path, _ = minimize(saddle(), [1.0, 1 / q], AdaGrad(lr=1.0, eps=1e-8), 5)
        ratio = relative_gradients(path, AdaGrad(lr=1.0))[:, 1] / saddle().grad(path[:-1])[:, 1]
        assert 0.5 < np.abs(ratio / ratio[0] - 1).max() / (q**2 * 1e-8) < 2
    path, _ = minimize(saddle(), [1.0, 1e-9], AdaGrad(lr=1.0, eps=0.0), 5)
    with pytest.raises(ValueError, match="path must let each gradient be told from those before it, got step 1"):
        relative_gradients(path, AdaGrad(lr=1.0))


def test_a_coordinate_that_waits_takes_its_unit_later():
    gradients_met = np.array([[2.0, 0.0], [1.0, 0.0], [1.0, -4.0], [0.5, 2.0]])
    optimizer, params, path = AdaGrad(lr=0.1), {"w": np.zeros(2)}, [np.zeros(2)]
    for g in gradients_met:
        optimizer.update(params, {"w": g})
        path.append(params["w"].copy())
    np.testing.assert_allclose(relative_gradients(np.array(path), AdaGrad(lr=0.1)), gradients_met / [2.0, 4.0], atol=1e-9)


def adam_path(slopes):
    optimizer, params, path = Adam(lr=0.1, eps=0.0), {"w": np.zeros(1)}, [np.zeros(1)]
    for g in slopes:
        optimizer.update(params, {"w": np.array([g])})
        path.append(params["w"].copy())
    return np.array(path)


def test_two_slopes_make_adam_take_one_step_and_the_smaller_is_returned():
    m, v = 0.1, 0.001  # after a first slope of 1
    turning = (0.1 * 0.999) / (0.9 * 0.001) * v / m
    assert turning == pytest.approx(0.999 / 0.9)
    a, b, c, d = 0.9 * m, 0.1, 0.999 * v, 0.001  # step ~ (a + b g)/√(c + d g²); the two solutions' product from the quadratic
    r2 = (a + b) ** 2 / (c + d)
    twin = (a**2 - r2 * c) / (b**2 - r2 * d)
    assert 1 < turning < twin
    np.testing.assert_allclose(adam_path([1.0, twin]), adam_path([1.0, 1.0]), atol=1e-15)
    np.testing.assert_allclose(relative_gradients(adam_path([1.0, twin]), Adam(lr=0.1)).ravel(), [1, 1], atol=1e-9)


def test_adam_off_a_bump_is_not_read_and_down_a_flattening_slope_is():
    for start, right in ((-1.8, True), (-0.1, False)):
        path, _ = minimize(double_well(), [start], Adam(lr=0.1, eps=0.0), 40)
        ratio = relative_gradients(path, Adam(lr=0.1)) / double_well().grad(path[:-1])
        assert bool(np.abs(ratio / ratio[0] - 1).max() < 1e-9) is right


def test_relative_gradients_refuse_what_they_cannot_read():
    path, _ = minimize(bowl(), [1.0, 1.0], AdaGrad(lr=0.1), 3)
    for wrong in (SGD(lr=0.1), Momentum(lr=0.1), AdamW(lr=0.1)):
        with pytest.raises(TypeError, match=f"optimizer must be an AdaGrad, RMSProp or Adam, got {type(wrong).__name__}"):
            relative_gradients(path, wrong)
    for lr in (0.05, 0.2):
        with pytest.raises(ValueError, match=r"path must be this optimizer's, got step 0 that it cannot take: -0\.1"):
            relative_gradients(path, AdaGrad(lr=lr))
    jump = np.array([[0.0], [0.1], [0.3]])
    with pytest.raises(ValueError, match=r"path must be this optimizer's, got step 1 that it cannot take: 0\.2"):
        relative_gradients(jump, AdaGrad(lr=0.1))
    for forgetful in (RMSProp(lr=0.1, decay=0.0), Adam(lr=0.1, beta2=0.0)):
        with pytest.raises(ValueError, match="optimizer must keep some of its average of squares, got a share of 0"):
            relative_gradients(path, forgetful)


def krylov(curvatures, w, steps):
    basis = np.empty((0, len(w)))
    for _ in range(steps):
        w = w * curvatures
        for _ in range(2):
            w = w - basis.T @ (basis @ w)
        w = w / np.linalg.norm(w)
        basis = np.vstack([basis, w])
    return np.linalg.eigvalsh(basis * curvatures @ basis.T)


@pytest.mark.parametrize("lr", [0.05, 0.1, 0.15])
def test_a_path_of_descent_tells_what_lanczos_finds_whatever_the_learning_rate(lr):
    curvatures = np.geomspace(0.5, 10, 30)
    start = np.random.default_rng(0).standard_normal(30)
    path, _ = minimize(quadratic(curvatures), start, SGD(lr=lr), 6)
    np.testing.assert_allclose(read_hessian(path, path * curvatures, tolerance=1e-9).spectrum, krylov(curvatures, start, 6), rtol=1e-6)


def test_what_stands_apart_is_missed_where_the_gradient_has_little_of_it():
    curvatures, start = np.geomspace(0.1, 10, 50), np.random.default_rng(1).standard_normal(50)
    mirrored = 10.1 - curvatures[::-1]
    steep, flat = krylov(curvatures, start, 10), krylov(mirrored, start, 10)
    assert np.abs(steep[-3:] - curvatures[-3:]).max() < 0.01
    assert (np.abs(flat[:3] - mirrored[:3]) > 0.1).all()
    same_parts = krylov(mirrored, (curvatures * start)[::-1] / mirrored, 10)
    np.testing.assert_allclose(same_parts, 10.1 - steep[::-1], atol=1e-8)


# Side by side


def test_turning_a_steep_shell_costs_adam_steps_at_every_learning_rate():
    starts = 2 * np.random.default_rng(0).standard_normal((20, 2))
    lrs = 10.0 ** np.arange(-1, 1.01, 0.25)[:, None, None]
    needed = {}
    for name, turn in (("straight", np.eye(2)), ("turned", TURN)):
        hessian = turn @ np.diag([1.0, 500.0]) @ turn.T
        w, m, v = np.array([starts @ turn.T] * len(lrs)), 0.0, 0.0
        away = np.zeros(w.shape[:2])
        for t in range(1, 501):
            w, m, v = Adam.rule(w, w @ hessian, m, v, t=t, **(Adam().hyperparameters() | {"lr": lrs}))
            away[((w @ hessian) * w).sum(axis=-1) / 2 > 1e-6] = t
        needed[name] = np.median(away, axis=1).min()
    assert needed["straight"] < 200
    assert needed["turned"] > 1.4 * needed["straight"]


def test_sgd_crosses_the_bump_at_a_large_learning_rate_and_settles_only_below_two_over_the_curvature():
    wells = double_well(0.1)
    left, curvature = wells.minima[0], float(wells.hess(wells.minima[:1]).item())
    for lr, settles in ((0.8, True), (1.0, False)):
        assert (lr < 2 / curvature) is settles
        path, _ = minimize(wells, [1.5], SGD(lr=lr), 400)
        assert (path[-40:] < 0).all()
        assert bool(np.abs(path[-1] - left).item() < 1e-6) is settles
    path, _ = minimize(wells, [1.5], SGD(lr=10**-0.25), 400)  # the grid's next smaller one stays
    assert path[-1].item() > 0


def test_turning_the_shell_turns_the_plain_rules_paths_and_no_adaptive_ones():
    shell, start = taco_shell(50), np.array([3.0, 1.6])
    for optimizer in (SGD(lr=0.03), Momentum(lr=0.005), Nesterov(lr=0.01), AdaGrad(lr=1.0), RMSProp(lr=0.05), Adam(lr=0.1)):
        straight, _ = minimize(shell, start, optimizer, 40)
        turned, _ = minimize(turned_shell(50), TURN @ start, optimizer, 40)
        same = np.abs(turned @ TURN - straight).max() < 1e-9
        assert same == isinstance(optimizer, (SGD, Momentum, Nesterov))


def test_on_a_straight_shell_adagrad_arrives_the_sooner_the_farther_it_is_thrown():
    steps = []
    for lr in (10, 100, 1000):
        _, losses = minimize(taco_shell(50), [8.0, 2.0], AdaGrad(lr=lr, eps=0.0), 10)
        steps.append(int((losses > 1e-6).sum()))
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] == 4
    assert losses.max() > 1e7


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
    with pytest.raises(ValueError, match=r"tolerance must be a number in \(0, 1\), got 1"):
        read_hessian(path, path, tolerance=1)
    assert np.isnan(curvature_along(np.ones((2, 1)), np.ones((2, 1)))).all()
    assert read_hessian(path, np.zeros((4, 2))).residual == 0
